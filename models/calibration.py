"""Intervals that hold: cross-conformal calibration on out-of-fold residuals.

After Barber et al., Predictive inference with the jackknife+, Ann. Statist. 49, 486 (2021): the
residuals come from models that did not see the row's group, so the shipped model may be fitted on
all rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ionbridge.models.prediction import Prediction
from ionbridge.models.transforms import LogShift

ENOUGH_GROUPS = 20
"""Groups of labels that speak for themselves; fewer borrow from the source model."""
SMALLEST_FACTOR = 1e-6
"""Predictions without an error leave no spread, but a number to multiply with."""
N_BORROWED = 199
"""Quantiles that stand for the source's residuals."""


@dataclass(frozen=True)
class Calibration:
    """A factor on the predicted spread, in the space of the target transform.

    Attributes:
        factor: Half width of the interval in units of the predicted standard deviation.
        level: Coverage that it was chosen for.
        n_rows: Out-of-fold rows it rests on.
    """

    factor: float = 1.6448536269514722
    level: float = 0.9
    n_rows: int = 0

    def __post_init__(self) -> None:
        if not (0.0 < self.factor < np.inf and 0.0 < self.level < 1.0 and self.n_rows >= 0):
            raise ValueError(
                f"calibration: factor {self.factor} at level {self.level} from {self.n_rows} rows; "
                "expected a positive factor and a level between 0 and 1"
            )

    @classmethod
    def fit(
        cls,
        prediction: Prediction,
        truth_eV: NDArray[np.float64],
        transform: LogShift,
        level: float = 0.9,
        n_groups: int = ENOUGH_GROUPS,
        source: Calibration | None = None,
    ) -> Calibration:
        """From out-of-fold predictions, and of few groups from the source's residuals as well.

        A handful of labels says little about how large errors get. Until there are
        `ENOUGH_GROUPS` groups, the missing ones are made up of the source's normalised residuals,
        taken as normal with the spread that its calibration found.

        Args:
            prediction: Out-of-fold predictions of n rows.
            truth_eV: (n,) labels.
            transform: The space in which spreads are alike.
            level: Wanted coverage.
            n_groups: Independent groups (host frameworks) among the rows.
            source: Calibration of the model that was adapted; None borrows nothing.

        Raises:
            ValueError: No rows.
        """
        if not len(truth_eV):
            raise ValueError("no out-of-fold rows to calibrate on; at least one is needed")
        residual = transform.forward(truth_eV) - transform.forward(prediction.mean)
        spread = transform.forward_std(prediction.mean, prediction.std)
        scores = np.abs(residual) / np.maximum(spread, 1e-6)
        n_rows, weights = len(scores), np.ones(len(scores))
        if source is not None and n_groups < ENOUGH_GROUPS:
            rank = (np.arange(N_BORROWED) + 0.5) / N_BORROWED
            borrowed = source.inflation * ndtri(0.5 + 0.5 * rank)
            lacking = n_rows * (ENOUGH_GROUPS - n_groups) / n_groups
            scores = np.concatenate([scores, borrowed])
            weights = np.append(weights, np.full(N_BORROWED, lacking / N_BORROWED))
        order = np.argsort(scores)
        reached = np.cumsum(weights[order])
        needed = level * (reached[-1] + 1.0) - 1e-9
        place = min(int(np.searchsorted(reached, needed)), len(scores) - 1)
        return cls(max(float(scores[order[place]]), SMALLEST_FACTOR), level, n_rows)

    @property
    def inflation(self) -> float:
        """What predicted spreads are multiplied with to be one sigma of the errors found."""
        return self.factor / self._normal_half_width

    def calibrated(self, prediction: Prediction) -> Prediction:
        """The prediction with both of its spreads inflated."""
        return Prediction(
            prediction.mean,
            prediction.aleatoric_std * self.inflation,
            prediction.epistemic_std * self.inflation,
        )

    @property
    def _normal_half_width(self) -> float:
        return float(ndtri(0.5 * (1.0 + self.level)))

    def interval(
        self, prediction: Prediction, transform: LogShift
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper end of the interval of a calibrated prediction, eV.

        Args:
            prediction: n rows of :meth:`calibrated`.
            transform: The transform used in :meth:`fit`.

        Returns:
            Two arrays (n,), lower <= mean <= upper.
        """
        t = transform.forward(prediction.mean)
        half = self._normal_half_width * transform.forward_std(prediction.mean, prediction.std)
        return transform.inverse(t - half), transform.inverse(t + half)
