"""A Gaussian process on what a cell model leaves over, for a handful of curves of one chemistry."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

Floats = NDArray[np.float64]

N_COMPONENTS = 6
"""Principal residual curves, each with a process of its own; one more for the log capacity."""
LENGTHS, NOISES = (0.5, 100.0), (1e-5, 1.0)


@dataclass(frozen=True, eq=False)
class ResidualCurves:
    """Fitted processes, as arrays.

    Attributes:
        center: (d,) mean of the inputs.
        scale: (d,) their spread.
        inputs: (n, d) training inputs, standardised.
        axes: (k, m) principal residual curves, V.
        size: (k + 1,) scale of the targets.
        kernel: (k + 1, 2) variance and length of each squared-exponential kernel.
        weights: (k + 1, n) K^-1 y.
        root: (k + 1, n, n) lower Cholesky root of K.
    """

    center: Floats
    scale: Floats
    inputs: Floats
    axes: Floats
    size: Floats
    kernel: Floats
    weights: Floats
    root: Floats

    @classmethod
    def fit(cls, inputs: Floats, residual: Floats, log_ratio: Floats, seed: int = 0) -> Self:
        """Learn residuals.

        Args:
            inputs: (n, d) dimensionless groups of the cells.
            residual: (n, m) true minus predicted voltage at even shares of the capacity.
            log_ratio: (n,) ln of true over predicted capacity.
            seed: Of the optimisation of the kernels.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        center, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
        scaled = (inputs - center) / scale
        _, _, axes = np.linalg.svd(residual, full_matrices=False)
        axes = axes[: min(N_COMPONENTS, len(residual))]
        targets = np.column_stack([residual @ axes.T, log_ratio])
        size = np.sqrt((targets**2).mean(axis=0)) + 1e-12
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(4.0, LENGTHS) + WhiteKernel(1e-2, NOISES)
        with warnings.catch_warnings():  # a kernel at its bounds is an answer, too
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = [
                GaussianProcessRegressor(kernel, random_state=seed).fit(scaled, t)
                for t in (targets / size).T
            ]
        return cls(
            center=center,
            scale=scale,
            inputs=scaled,
            axes=axes,
            size=size,
            kernel=np.array(
                [[p.kernel_.k1.k1.constant_value, p.kernel_.k1.k2.length_scale] for p in found]
            ),
            weights=np.array([p.alpha_ for p in found]),
            root=np.array([p.L_ for p in found]),
        )

    def __call__(
        self, inputs: Floats, uncertainty: bool = True
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Residuals of (q, d) inputs.

        Returns:
            Voltage (q, m) and its spread, log ratio of capacities (q,) and its spread; spreads are
            those of the processes, without noise, or NaN.
        """
        scaled = (inputs - self.center) / self.scale
        squared = ((scaled[:, None] - self.inputs) ** 2).sum(axis=2)
        variance, length = self.kernel[:, :1, None], self.kernel[:, 1:, None]
        cross = variance * np.exp(squared * (-0.5 / length**2))
        mean = (cross @ self.weights[..., None])[..., 0].T * self.size
        std = np.full_like(mean, np.nan)
        if uncertainty:
            explained = ((cross @ self._inverse_roots) ** 2).sum(axis=2)
            std = np.sqrt(np.maximum(variance[:, 0] - explained, 0.0)).T * self.size
        voltage_std = np.sqrt(std[:, :-1] ** 2 @ self.axes**2)
        return mean[:, :-1] @ self.axes, voltage_std, mean[:, -1], std[:, -1]

    @cached_property
    def _inverse_roots(self) -> Floats:
        """(k + 1, n, n) transposed inverses of the roots."""
        eye = np.eye(self.root.shape[1])
        return np.array([solve_triangular(root, eye, lower=True).T for root in self.root])

    def arrays(self) -> dict[str, Floats]:
        """All arrays of the model, by name, for saving."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats]) -> Self:
        """Make it anew from what :meth:`arrays` gave."""
        return cls(**arrays)
