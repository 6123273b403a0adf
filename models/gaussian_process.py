"""A Gaussian process on a dozen numbers of the path: strong where labels are few."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct, Kernel, Matern, WhiteKernel

from ionbridge.models.baseline import Arrays, Baseline, Floats
from ionbridge.models.hop_graphs import graph_of
from ionbridge.models.prediction import Prediction
from ionbridge.models.transforms import LogShift
from ionbridge.structures.records import Hop

CLIP = 4.0
"""Standardised inputs are clipped to plus and minus this: beyond it a line knows nothing."""


class PathProcess:
    """Matern 3/2 plus a linear kernel on the path scalars, target ln(barrier + shift).

    Inputs are the numbers of :data:`ionbridge.structures.graph.PATH_SCALARS` (bond-valence barrier,
    path geometry, coordination). The linear part carries trends to families never seen; the Matern
    part bends them where there are labels. Hyperparameters maximise the marginal likelihood
    (Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006). A hop and its
    reverse get one value.

    Args:
        inputs: (n, len(PATH_SCALARS)) scalars of the labelled hops.
        target: (n,) barriers in the space of a :class:`ionbridge.models.transforms.LogShift`.
        theta: Log hyperparameters; None finds them.
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
        self.center, self.scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
        kernel = _kernel(n_trends)
        if theta is not None:
            kernel = kernel.clone_with_theta(theta)
        search = "fmin_l_bfgs_b" if theta is None and len(inputs) > 2 else None
        self._process = GaussianProcessRegressor(kernel, normalize_y=True, optimizer=search)
        with warnings.catch_warnings():  # a hyperparameter at its bound is as good as any
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process.fit(self._scaled(inputs), target)

    @property
    def theta(self) -> Floats:
        """Log hyperparameters."""
        return np.asarray(self._process.kernel_.theta)

    @property
    def noise(self) -> float:
        """Standard deviation of the labels' noise, in the space of the target."""
        return float(self._process._y_train_std * np.sqrt(self._process.kernel_.k2.noise_level))

    def predict(self, inputs: Floats) -> tuple[Floats, Floats]:
        """Mean and posterior standard deviation (without noise), in the space of the target.

        Args:
            inputs: (n, len(PATH_SCALARS)).

        Returns:
            Two arrays (n,).
        """
        mean, total = self._process.predict(self._scaled(inputs), return_std=True)
        return mean, np.sqrt(np.maximum(total**2 - self.noise**2, 0.0))

    def _scaled(self, inputs: Floats) -> Floats:
        return np.clip((inputs - self.center) / self.scale, -CLIP, CLIP)


@dataclass
class GaussianProcessBaseline(Baseline):
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
        arrays = {"inputs": process.inputs, "target": process.target, "theta": process.theta}
        return arrays, {"settings": {"shift_eV": self.shift_eV}}

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        model = cls(**settings["settings"])
        model.process_ = PathProcess(arrays["inputs"], arrays["target"], arrays["theta"])
        return model


def path_scalars(hops: Sequence[Hop]) -> Floats:
    """(n_hops, len(PATH_SCALARS)) numbers of each hop's bond-valence path."""
    return np.concatenate([graph_of(hop).scalars.double().numpy() for hop in hops])


class Columns(Kernel):
    """A kernel that sees some of the columns.

    Args:
        kernel: Of these columns.
        first: Index of the first one.
        stop: Index after the last one; None sees all that follow.
    """

    def __init__(self, kernel: Kernel, first: int, stop: int | None) -> None:
        self.kernel, self.first, self.stop = kernel, first, stop

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments, and with ``deep`` those of the kernel."""
        own: dict[str, Any] = {"kernel": self.kernel, "first": self.first, "stop": self.stop}
        inner = self.kernel.get_params().items() if deep else ()
        return own | {f"kernel__{name}": value for name, value in inner}

    @property
    def hyperparameters(self) -> list[Any]:
        """Those of the kernel."""
        return list(self.kernel.hyperparameters)

    @property
    def theta(self) -> Floats:
        """Log hyperparameters."""
        return np.asarray(self.kernel.theta)

    @theta.setter
    def theta(self, value: Floats) -> None:
        self.kernel.theta = value

    @property
    def bounds(self) -> Floats:
        """Bounds of theta."""
        return np.asarray(self.kernel.bounds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Columns) and self.get_params(False) == other.get_params(False)

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        """Covariance, and its gradient where asked for."""
        second = None if Y is None else self._of(Y)
        return self.kernel(self._of(X), second, eval_gradient=eval_gradient)

    def diag(self, X: Floats) -> Floats:
        """Prior variances."""
        return np.asarray(self.kernel.diag(self._of(X)))

    def is_stationary(self) -> bool:
        """As the kernel is."""
        return bool(self.kernel.is_stationary())

    def __repr__(self) -> str:
        return f"Columns({self.kernel}, {self.first}, {self.stop})"

    def _of(self, X: Floats) -> Floats:
        return np.atleast_2d(X)[:, self.first : self.stop]


def _kernel(n_trends: int | None) -> Kernel:
    smooth = 1.0 * Matern(3.0, (0.3, 100.0), nu=1.5)
    linear = 0.1 * DotProduct(1.0, "fixed")
    signal = smooth + linear
    if n_trends is not None:
        alike = 0.3 * Matern(10.0, (0.3, 100.0), nu=1.5)
        signal = Columns(signal, 0, n_trends) + Columns(alike, n_trends, None)
    return signal + WhiteKernel(0.3, (1e-3, 10.0))
