"""From labels of diffusivity to a calibrated model and its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ionbridge.models.adaptation.multi_fidelity import UNSTATED, asked_method
from ionbridge.models.adaptation.task import Task
from ionbridge.models.calibration import ENOUGH_GROUPS
from ionbridge.models.conductors.diffusivity import DiffusivityProcess
from ionbridge.models.cross_validation import Rows, grouped_folds, out_of_fold
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.transport.closed_forms import decades_per_eV

Floats = NDArray[np.float64]

N_FOLDS = 5
FEWEST_LABELS = 4


class DiffusivityTask(Task):
    """Diffusivities of simulations, learnt as Arrhenius lines over compositions.

    Formulas are kept together in the cross-validation, whose errors stand in the card beside those
    of the common Arrhenius line. Where there are twenty formulas, its residuals scale the
    intervals; fewer can only widen them.

    Args:
        rows: (n,) compositions whose label is log10 D in cm^2/s with its temperature.
        method: Whose labels are learnt; the others are left aside. None takes the most trusted.
        seed: Of the folds.

    Raises:
        ValueError: Too few labels, none of the method, or one that cannot be learnt from.
        UnusableStructureError: A composition without a working ion.
    """

    quantity = "diffusivity"
    candidates = known = ("process",)

    def __init__(
        self, rows: Sequence[ConductivityRow], method: str | None = None, seed: int = 0
    ) -> None:
        methods = [row.label.method or UNSTATED for row in rows if row.label is not None]
        self.method, self.seed = asked_method(methods, method), seed
        self.rows = [row for row, name in zip(rows, methods, strict=True) if name == self.method]
        self.labels = [row.label for row in self.rows if row.label is not None]
        self.n_left_aside = len(rows) - len(self.rows)
        if len(self.rows) < FEWEST_LABELS:
            raise ValueError(
                f"{len(self.rows)} diffusivities of method {self.method}; "
                f"at least {FEWEST_LABELS} are needed"
            )
        self.model = DiffusivityProcess().fit(self.rows, self.labels)
        self.exact = np.array([label.bound == "=" for label in self.labels])

    def out_of_fold(self, strategy: str, final: bool = True) -> Floats:
        """(3, n) mean, spread, common line; NaN where a fold leaves too little to learn from."""
        rows, labels, exact = self.rows, self.labels, self.exact
        temperature_K, y = self.model.temperature_K_, self.model.label_
        x = decades_per_eV(temperature_K)

        def predict(train: Rows, test: Rows) -> Floats:
            own = train[exact[train]]
            if len(own) < 2:
                return np.full((3, len(test)), np.nan)
            part = DiffusivityProcess()
            part.fit([rows[i] for i in train], [labels[i] for i in train], self.model.theta_)
            found = part.predict([rows[i] for i in test], temperature_K[test])
            line = np.polyfit(x[own], y[own], 1 if np.ptp(x[own]) > 0 else 0)
            return np.stack([found.mean, found.std, np.polyval(line, x[test])])

        folds = grouped_folds(rows, lambda row: row.composition.reduced_formula, N_FOLDS, self.seed)
        return out_of_fold(predict, folds, np.full((3, len(rows)), np.nan))

    def error(self, found: Floats) -> float:
        """Mean absolute error of values in decades; bounds are not scored."""
        return float(np.nanmean(np.abs(found[0] - self.model.label_)[self.exact]))

    def fitted(
        self, strategy: str, found: Floats, progress: bool
    ) -> tuple[DiffusivityProcess, dict[str, Any]]:
        """The process of all labels, its spreads scaled to the errors found."""
        model = self.model
        groups = {row.composition.reduced_formula for row in self.rows}
        validation: dict[str, Any] = {"split": "none: labels of two formulas are needed", "n": 0}
        scored = self.exact & np.isfinite(found).all(axis=0)
        if scored.any():
            mean, spread, line = found[:, scored]
            value = model.label_[scored]
            factor = float(np.quantile(np.abs(mean - value) / spread, 0.9) / norm.ppf(0.95))
            model.inflation = factor if len(groups) >= ENOUGH_GROUPS else max(1.0, factor)
            n_folds = min(N_FOLDS, len(groups))
            validation = {
                "split": f"{n_folds} folds grouped by formula; bounds are not scored",
                "n": int(scored.sum()),
                "mae": round(float(np.abs(mean - value).mean()), 4),
                "mae_of_the_common_line": round(float(np.abs(line - value).mean()), 4),
            }
        kelvin = model.temperature_K_
        return model, {
            "predicts": "tracer diffusivity of the working ion, log10 of cm^2/s",
            "quantity": self.quantity,
            "inputs": ["composition and temperature"],
            "working_ions": model.ions_,
            "trained_on": {
                "n_labels": len(self.rows),
                "n_bounds": int((~self.exact).sum()),
                "methods": [self.method],
                "n_labels_left_aside": self.n_left_aside,
                "temperature_K": [float(kelvin.min()), float(kelvin.max())],
                "base_systems": sorted(groups),
            },
            "validation": validation,
        }
