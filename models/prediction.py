"""What every estimator returns: a mean with its two kinds of spread, kept whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

HALF_WIDTH_90 = 1.645
"""Half width of a normal distribution's 90 % interval in standard deviations."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted values in the unit of the quantity that was learnt.

    Attributes:
        mean: (n,) predicted values.
        aleatoric_std: (n,) one sigma of what no model of these inputs could know.
        epistemic_std: (n,) one sigma of what more data would settle.
    """

    mean: NDArray[np.float64]
    aleatoric_std: NDArray[np.float64]
    epistemic_std: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("mean", "aleatoric_std", "epistemic_std"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        shapes = {self.mean.shape, self.aleatoric_std.shape, self.epistemic_std.shape}
        if len(shapes) > 1 or self.mean.ndim != 1:
            raise ValueError(f"Prediction needs three arrays of one shape (n,), got {shapes}")

    @property
    def std(self) -> NDArray[np.float64]:
        """(n,) total one sigma: sqrt(aleatoric^2 + epistemic^2)."""
        return np.hypot(self.aleatoric_std, self.epistemic_std)

    def _repr_html_(self) -> str:
        import pandas as pd

        columns = {"mean": self.mean, "std": self.std}
        parts = {name: getattr(self, name) for name in ("aleatoric_std", "epistemic_std")}
        shown: str = pd.DataFrame({**columns, **parts}).to_html(
            max_rows=20, float_format="{:.4g}".format
        )
        return f"<b>Prediction of {len(self)} values</b>{shown}"

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: slice | ArrayLike) -> Prediction:
        """The chosen rows, by slice, mask or integer array; an integer keeps one row."""
        chosen = index if isinstance(index, slice) else np.atleast_1d(np.asarray(index))
        return Prediction(self.mean[chosen], self.aleatoric_std[chosen], self.epistemic_std[chosen])
