"""A Gaussian process on a dozen numbers of the path: strong where labels are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.spatial.distance import cdist

from ionbridge.models.barriers.hop_model import Floats, HopModel
from ionbridge.models.checkpoint import Arrays
from ionbridge.models.hop_networks.hop_graphs import graph_of, one_way
from ionbridge.models.prediction import Prediction
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.graph import PATH_SCALARS
from ionbridge.structures.records import Hop

CLIP = 4.0
"""Standardised inputs are clipped to plus and minus this: beyond it a line knows nothing."""
JITTER = 1e-10
_START = np.log([1.0, 3.0, 0.1, 0.3])
_START_ALIKE = np.log([0.3, 10.0])
_BOUNDS = np.log([[1e-5, 1e5], [0.3, 100.0], [1e-5, 1e5], [1e-3, 10.0]])
"""Of a normalised target: where the search starts, and how far it goes."""


class PathProcess:
    """Matern 3/2 plus a linear kernel on the path scalars, target ln(barrier + shift).

    Inputs are the numbers of :data:`ionbridge.structures.features.graph.PATH_SCALARS` (bond-valence
    barrier, path geometry, coordination). The linear part carries trends to families never seen;
    the Matern part bends them where there are labels. Hyperparameters maximise the marginal
    likelihood (Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006, eq.
    5.9). A hop and its reverse get one value.

    Args:
        inputs: (n, len(PATH_SCALARS)) scalars of the labelled hops.
        target: (n,) barriers in the space of a :class:`ionbridge.models.transforms.LogShift`.
        theta: Log hyperparameters: variance and length of the Matern kernel, variance of the linear
            one, variance and length of the kernel of the further columns if there are any, variance
            of the noise. None finds them.
        n_trends: Only so many of the first columns carry trends; the others have a Matern kernel of
            their own, which knows what is alike and says nothing far from the labels. None: all.
    """

    def __init__(
        self,
        inputs: Floats,
        target: Floats,
        theta: Floats | None = None,
        n_trends: int | None = None,
    ) -> None:
        self.inputs, self.target = inputs, target
        self.n_trends = inputs.shape[1] if n_trends is None else n_trends
        self.center, self.scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
        self.mean, self.std = float(target.mean()), float(target.std()) or 1.0
        parts = self._parts(self._labelled, self._labelled)
        normal = (target - self.mean) / self.std
        if theta is None:
            theta = _START if len(parts) == 2 else np.insert(_START, 3, _START_ALIKE)
            if len(inputs) > 2:
                theta = _most_likely(parts, normal, theta)
        self.theta = np.asarray(theta, dtype=float)
        root = cholesky(_covariance(parts, self.theta), lower=True)
        self.weights = cho_solve((root, True), normal)
        self.root = root.astype(np.float32)

    def arrays(self) -> Arrays:
        """All that predictions need beside inputs and target; the root as its lower triangle."""
        lower = self.root[np.tril_indices(len(self.root))]
        moments = np.array([self.mean, self.std])
        return {
            "theta": self.theta,
            "center": self.center,
            "scale": self.scale,
            "moments": moments,
            "weights": self.weights,
            "root": lower,
        }

    @classmethod
    def of_arrays(
        cls, inputs: Floats, target: Floats, arrays: Arrays, n_trends: int | None = None
    ) -> Self:
        """Inverse of :meth:`arrays`; nothing is fitted again."""
        process = cls.__new__(cls)
        process.inputs, process.target = inputs, target
        process.n_trends = inputs.shape[1] if n_trends is None else n_trends
        process.theta, process.weights = arrays["theta"], arrays["weights"]
        process.center, process.scale = arrays["center"], arrays["scale"]
        process.mean, process.std = map(float, arrays["moments"])
        process.root = np.zeros((len(inputs), len(inputs)), dtype=np.float32)
        process.root[np.tril_indices(len(inputs))] = arrays["root"]
        return process

    @property
    def noise(self) -> float:
        """Standard deviation of the labels' noise, in the space of the target."""
        return float(self.std * np.exp(0.5 * self.theta[-1]))

    def predict(self, inputs: Floats) -> tuple[Floats, Floats]:
        """Mean and posterior standard deviation (without noise), in the space of the target.

        Args:
            inputs: (n, len(PATH_SCALARS)).

        Returns:
            Two arrays (n,).
        """
        cross = self._cross(inputs)
        half = self._inverse_root @ cross.T
        trends = self._scaled(inputs)[:, : self.n_trends]
        prior = _prior((trends**2).sum(axis=1) + 1.0, self.theta)
        variance = np.maximum(prior - (half**2).sum(axis=0), 0.0)
        return self.mean + self.std * (cross @ self.weights), self.std * np.sqrt(variance)

    def mean_of(self, inputs: Floats) -> Floats:
        """(n,) the mean of :meth:`predict` alone, at a fraction of its cost."""
        return np.asarray(self.mean + self.std * (self._cross(inputs) @ self.weights))

    def _cross(self, inputs: Floats) -> Floats:
        """(n, n_labelled) covariance with the labelled rows."""
        parts = self._parts(self._scaled(inputs), self._labelled)
        return _signal(parts, self.theta)

    @cached_property
    def _labelled(self) -> Floats:
        return self._scaled(self.inputs)

    @cached_property
    def _inverse_root(self) -> Floats:
        root = self.root.astype(float)
        return np.asarray(solve_triangular(root, np.eye(len(root)), lower=True))

    def _parts(self, a: Floats, b: Floats) -> list[Floats]:
        """Of scaled rows: distances and products of the trends, distances of the further columns
        if any.
        """
        n = self.n_trends
        parts = [cdist(a[:, :n], b[:, :n]), a[:, :n] @ b[:, :n].T + 1.0]
        return parts + ([cdist(a[:, n:], b[:, n:])] if n < a.shape[1] else [])

    def _scaled(self, inputs: Floats) -> Floats:
        found: Floats = np.clip((inputs - self.center) / self.scale, -CLIP, CLIP)
        return found


@dataclass
class GaussianProcessBaseline(HopModel):
    """A :class:`PathProcess` on its own: noise is aleatoric, posterior spread epistemic.

    Attributes:
        shift_eV: Keeps the logarithm of the smallest barriers at bay.
        known: Process of another model, with targets of the same shift, whose labels are kept
            beside the new ones.
    """

    shift_eV: float = 0.05
    known: PathProcess | None = field(default=None, repr=False, compare=False)

    kind: ClassVar[str] = "gaussian_process"

    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None:
        inputs, target = path_scalars(hops), LogShift(self.shift_eV).forward(barriers)
        if self.known is not None:
            inputs = np.concatenate([self.known.inputs, inputs])
            target = np.concatenate([self.known.target, target])
        self.process_ = PathProcess(inputs, target)

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        mean, spread = self.process_.predict(path_scalars(hops))
        log = LogShift(self.shift_eV)
        barrier = log.inverse(mean)
        return Prediction(
            mean=barrier,
            aleatoric_std=log.inverse_std(barrier, np.full(len(hops), self.process_.noise)),
            epistemic_std=log.inverse_std(barrier, spread),
        )

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        process = self.process_
        arrays = {"inputs": process.inputs, "target": process.target, **process.arrays()}
        return arrays, {"settings": {"shift_eV": self.shift_eV}}

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        model = cls(**settings["settings"])
        model.process_ = PathProcess.of_arrays(arrays["inputs"], arrays["target"], arrays)
        return model


def path_scalars(hops: Sequence[Hop]) -> Floats:
    """(n_hops, len(PATH_SCALARS)) numbers of each hop's bond-valence path."""
    none = np.zeros((0, len(PATH_SCALARS)))
    graphs = [graph_of(one_way(hop)[0]) for hop in hops]
    return np.concatenate([none, *(graph.scalars.double().numpy() for graph in graphs)])


def _kernels(parts: Sequence[Floats], theta: Floats) -> list[tuple[Floats, Floats | None]]:
    """Covariance of each kernel, and its derivative by the logarithm of its length if it has one.

    Args:
        parts: From :meth:`PathProcess._parts`.
        theta: Log hyperparameters, as :class:`PathProcess` has them.
    """
    value = np.exp(theta)

    def matern(distance: Floats, variance: float, length: float) -> tuple[Floats, Floats]:
        x = np.sqrt(3.0) * distance / length
        return _matern(distance, variance, length), x**2 * variance * np.exp(-x)

    found: list[tuple[Floats, Floats | None]] = [matern(parts[0], *value[:2])]
    found.append((value[2] * parts[1], None))
    return found + ([matern(parts[2], *value[3:5])] if len(parts) > 2 else [])


def _signal(parts: Sequence[Floats], theta: Floats) -> Floats:
    """Sum of the covariances of :func:`_kernels`, without derivatives."""
    value = np.exp(theta)
    found: Floats = value[2] * parts[1]
    found += _matern(parts[0], *value[:2])
    if len(parts) > 2:
        found += _matern(parts[2], *value[3:5])
    return found


def _matern(distance: Floats, variance: float, length: float) -> Floats:
    """Matern covariance of smoothness 3/2, in the memory of one array."""
    x: Floats = distance * (np.sqrt(3.0) / length)
    decay = np.exp(-x)
    x += 1.0
    x *= decay
    x *= variance
    return x


def _prior(squares: Floats, theta: Floats) -> Floats:
    """(n,) variance before any label, of points with these squares (linear part)."""
    value = np.exp(theta)
    return np.asarray(value[0] + value[2] * squares + (value[3] if len(theta) > 4 else 0.0))


def _covariance(parts: Sequence[Floats], theta: Floats) -> Floats:
    return np.asarray(_signal(parts, theta) + (np.exp(theta[-1]) + JITTER) * np.eye(len(parts[0])))


def _most_likely(parts: Sequence[Floats], normal: Floats, start: Floats) -> Floats:
    """Log hyperparameters at the maximum of the marginal likelihood, by its gradient."""

    def loss(theta: Floats) -> tuple[float, Floats]:
        root = cholesky(_covariance(parts, theta), lower=True)
        inverse = cho_solve((root, True), np.eye(len(normal)))
        weights = inverse @ normal
        slope = 0.5 * (inverse - np.outer(weights, weights))
        gradient = []
        for value, by_length in _kernels(parts, theta):
            gradient += [np.vdot(slope, d) for d in (value, by_length) if d is not None]
        gradient.append(np.exp(theta[-1]) * np.trace(slope))
        value = 0.5 * normal @ weights + np.log(np.diag(root)).sum()
        return float(value), np.array(gradient)

    from scipy.optimize import minimize  # predictions do without

    bounds = _BOUNDS if len(start) == 4 else np.insert(_BOUNDS, 3, _BOUNDS[:2], axis=0)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)
