"""One Gaussian process for labels of several methods: what they share, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ionbridge.models.regressors.few_shot import SAME_ROW
from ionbridge.models.regressors.gaussian_process import CLIP
from ionbridge.models.regressors.marginal_likelihood import most_likely

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

SHARED = ("length", "smooth", "linear", "own", "bend", "offset")
"""Hyperparameters of all methods: length scale and variances."""
START = np.log([3.0, 1.0, 0.1, 0.15, 0.05, 0.1])
START_WEIGHT, START_NOISE = 0.0, float(np.log(0.15))
WIDTH, WEIGHT_WIDTH = 1.5, 0.3
"""Prior standard deviations of the logarithms around the start: a method with three labels cannot
say how noisy it is."""
MAX_SEARCH_ROWS = 400
"""Rows on which hyperparameters are found; all rows are learnt from."""
JITTER = 1e-6


@dataclass(frozen=True, eq=False)
class MethodProcess:
    r"""Intrinsic coregionalisation of methods over one set of descriptors.

    A label of method m at descriptors x is

    .. math:: y = \mu + o_m + w_m f(x) + g_m(x) + \epsilon_m .

    f is what all methods see: a Matern 3/2 and a linear kernel, as in
    :class:`ionbridge.models.regressors.gaussian_process.PathProcess`, and a part of every hop's
    own, so that two methods agree on the same hop in what its descriptors do not tell. o_m is a
    constant and g_m a smooth discrepancy of each method; the weights w_m scale, the noises
    :math:`\epsilon_m` differ. The covariance of methods is :math:`w w^T` on f and the identity on
    the rest (Bonilla, Chai and Williams, Multi-task Gaussian process prediction, NIPS 2007). No
    method is special: which is cheap and which is right is a matter of who asks. Hyperparameters
    are at the maximum of likelihood times a wide prior.

    Attributes:
        inputs: (n, n_columns) descriptors of the labels.
        target: (n,) labels in a space where errors are alike.
        code: (n,) index of the method of every label.
        methods: Their names.
        theta: Log hyperparameters: SHARED, a weight a method, a noise a method.
    """

    inputs: Floats
    target: Floats
    code: Codes
    methods: tuple[str, ...]
    theta: Floats

    @classmethod
    def fit(
        cls, inputs: Floats, target: Floats, methods: Sequence[str], theta: Floats | None = None
    ) -> MethodProcess:
        """From labels and the method of each.

        Args:
            inputs: (n, n_columns).
            target: (n,).
            methods: (n,) names.
            theta: Log hyperparameters; None finds them.

        Raises:
            ValueError: No labels, or the numbers of rows differ.
        """
        if not len(target) or len(target) != len(methods) or len(inputs) != len(target):
            raise ValueError(f"{len(inputs)} rows, {len(target)} labels, {len(methods)} methods")
        names = tuple(sorted(set(methods)))
        code = np.array([names.index(m) for m in methods])
        if theta is None:
            start = np.concatenate(
                [START, np.full(len(names), START_WEIGHT), np.full(len(names), START_NOISE)]
            )
            rows = _searched(code)
            theta = _found(cls(inputs[rows], target[rows], code[rows], names, start))
        return cls(inputs, target, code, names, theta)

    def predict(self, inputs: Floats, method: str) -> tuple[Floats, Floats]:
        """What a method would say: mean and posterior standard deviation without noise, (n,) each.

        The spread contains what is a hop's own, unless another method has seen this hop.

        Raises:
            ValueError: The method has no label here.
        """
        code = np.full(len(inputs), self._index(method))
        cross = self._covariance((inputs, code), (self.inputs, self.code))
        mean = self._center + self._scale * (cross @ self._solved)
        half = np.linalg.solve(self._root, cross.T)
        prior = self._prior(code, inputs)
        variance = np.maximum(prior - (half**2).sum(axis=0), 0.0)
        return mean, self._scale * np.sqrt(variance)

    def translated(self, method: str) -> Floats:
        """(n,) labels as the method would have given them: moved by the posterior difference.

        Raises:
            ValueError: The method has no label here.
        """
        moved = self.target.copy()
        aim, _ = self.predict(self.inputs, method)
        for k, name in enumerate(self.methods):
            rows = self.code == k
            if name != method and rows.any():
                moved[rows] += aim[rows] - self.predict(self.inputs[rows], name)[0]
        return moved

    def _index(self, method: str) -> int:
        if method not in self.methods:
            raise ValueError(
                f"no label of method {method!r} was learnt from; methods with labels: "
                f"{', '.join(self.methods)}"
            )
        return self.methods.index(method)

    @cached_property
    def _center(self) -> float:
        """Mean of the methods' means: no method counts more for having more labels."""
        codes = range(len(self.methods))
        return float(np.mean([self.target[self.code == k].mean() for k in codes]))

    @cached_property
    def _scale(self) -> float:
        return float(np.std(self.target)) or 1.0

    @cached_property
    def _spread(self) -> tuple[Floats, Floats]:
        return self.inputs.mean(axis=0), self.inputs.std(axis=0) + 1e-6

    def _scaled(self, inputs: Floats) -> Floats:
        center, scale = self._spread
        return np.clip((inputs - center) / scale, -CLIP, CLIP)

    @cached_property
    def _root(self) -> Floats:
        rows = self.inputs, self.code
        noise = np.exp(self.theta[len(SHARED) + len(self.methods) :])[self.code]
        covariance = self._covariance(rows, rows) + np.diag(noise + JITTER)
        return np.asarray(np.linalg.cholesky(covariance), dtype=float)

    @cached_property
    def _solved(self) -> Floats:
        residual = (self.target - self._center) / self._scale
        return np.linalg.solve(self._root.T, np.linalg.solve(self._root, residual))

    def _covariance(self, a: tuple[Floats, Codes], b: tuple[Floats, Codes]) -> Floats:
        parts = Parts.between(self._scaled(a[0]), a[1], self._scaled(b[0]), b[1])
        with torch.no_grad():
            return parts.covariance(torch.tensor(self.theta)).numpy()

    def _prior(self, code: Codes, inputs: Floats) -> Floats:
        """(n,) prior variances."""
        _, smooth, linear, own, bend, offset = np.exp(self.theta[: len(SHARED)])
        weight = np.exp(self.theta[len(SHARED) :])[code]
        x = self._scaled(inputs)
        shared = smooth + linear * (1.0 + (x**2).sum(axis=1)) + own
        return np.asarray(weight**2 * shared + bend + offset)


@dataclass(frozen=True, eq=False)
class Parts:
    """What the covariance of two sets of labels is made of; all but codes (n_a, n_b).

    Attributes:
        distance: Of the descriptors.
        product: 1 + their scalar product.
        same_hop: 1 where they are equal.
        same_method: 1 where the methods are.
        code_a: (n_a,) method indices; code_b (n_b,).
        code_b: See code_a.
    """

    distance: Tensor
    product: Tensor
    same_hop: Tensor
    same_method: Tensor
    code_a: Tensor
    code_b: Tensor

    @classmethod
    def between(cls, xa: Floats, code_a: Codes, xb: Floats, code_b: Codes) -> Parts:
        """From scaled descriptors and codes."""
        a, b = torch.tensor(xa), torch.tensor(xb)
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        codes = torch.tensor(code_a), torch.tensor(code_b)
        same_method = (codes[0][:, None] == codes[1][None]).double()
        same_hop = (distance < SAME_ROW).double()
        return cls(distance, 1.0 + a @ b.T, same_hop, same_method, *codes)

    def covariance(self, theta: Tensor) -> Tensor:
        """(n_a, n_b) without noise, in units of the scaled target."""
        length, smooth, linear, own, bend, offset = theta[: len(SHARED)].exp()
        weight = theta[len(SHARED) :].exp()
        near = 3.0**0.5 * self.distance / length
        matern = (1.0 + near) * torch.exp(-near)
        shared = smooth * matern + linear * self.product + own * self.same_hop
        both = weight[self.code_a][:, None] * weight[self.code_b][None]
        found: Tensor = both * shared + self.same_method * (bend * matern + offset)
        return found


def _searched(code: Codes) -> Codes:
    """Rows for the search: as many of each method as there are, thinned evenly."""
    if len(code) <= MAX_SEARCH_ROWS:
        return np.arange(len(code))
    rng = np.random.default_rng(0)
    kinds = [rng.permutation(np.flatnonzero(code == k)) for k in range(code.max() + 1)]
    share = MAX_SEARCH_ROWS // len(kinds)
    return np.sort(np.concatenate([rows[:share] for rows in kinds]))


def _found(start: MethodProcess) -> Floats:
    """Theta at the maximum of the posterior."""
    n_methods, n_shared = len(start.methods), len(SHARED)
    x = start._scaled(start.inputs)
    parts = Parts.between(x, start.code, x, start.code)
    code = torch.tensor(start.code)
    width = np.full(len(start.theta), WIDTH)
    width[n_shared : n_shared + n_methods] = WEIGHT_WIDTH

    def covariance(theta: Tensor) -> Tensor:
        noise = theta[n_shared + n_methods :].exp()[code] + JITTER
        return parts.covariance(theta) + torch.diag(noise)

    target = (start.target - start._center) / start._scale
    return most_likely(covariance, target, start.theta, width)
