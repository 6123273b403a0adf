"""From labels of diffusivity to a calibrated model and its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ionbridge.models.adaptation.multi_fidelity import UNSTATED, asked_method
from ionbridge.models.calibration import ENOUGH_GROUPS
from ionbridge.models.conductors.diffusivity import DiffusivityProcess
from ionbridge.models.cross_validation import Rows, grouped_folds, out_of_fold
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Label
from ionbridge.structures.transport.closed_forms import decades_per_eV

Floats = NDArray[np.float64]

N_FOLDS = 5
FEWEST_LABELS = 4


def adapt_diffusivity(
    rows: Sequence[ConductivityRow],
    labels: Sequence[Label],
    method: str | None = None,
    seed: int = 0,
) -> tuple[DiffusivityProcess, dict[str, Any]]:
    """A model of diffusivities and its card.

    Formulas are kept together in the cross-validation, whose errors stand in the card beside those
    of the common Arrhenius line. Where there are twenty formulas, its residuals scale the
    intervals; fewer can only widen them.

    Args:
        rows: (n,) compositions, one a label.
        labels: (n,) log10 D with temperatures, values or bounds.
        method: Whose labels are learnt; the others are left aside. None takes the most trusted.
        seed: Of the folds.

    Raises:
        ValueError: Too few labels, none of the method, or one that cannot be learnt from.
        UnusableStructureError: A composition without a working ion.
    """
    methods = [label.method or UNSTATED for label in labels]
    if not labels:
        raise ValueError("no diffusivity with a composition and a temperature")
    asked = asked_method(methods, method)
    kept = [i for i, name in enumerate(methods) if name == asked]
    rows, labels = [rows[i] for i in kept], [labels[i] for i in kept]
    if len(rows) < FEWEST_LABELS:
        raise ValueError(
            f"{len(rows)} diffusivities of method {asked}; at least {FEWEST_LABELS} are needed"
        )
    model = DiffusivityProcess().fit(rows, labels)
    groups = {row.composition.reduced_formula for row in rows}
    card: dict[str, Any] = {
        "predicts": "tracer diffusivity of the working ion, log10 of cm^2/s",
        "quantity": "diffusivity",
        "inputs": ["composition and temperature"],
        "working_ions": model.ions_,
        "trained_on": {
            "n_labels": len(rows),
            "n_bounds": sum(label.bound != "=" for label in labels),
            "methods": [asked],
            "n_labels_left_aside": len(methods) - len(rows),
            "temperature_K": [float(model.temperature_K_.min()), float(model.temperature_K_.max())],
            "base_systems": sorted(groups),
        },
        "seed": seed,
        "licence": "MIT",
    }
    exact = np.array([label.bound == "=" for label in labels])
    found = _out_of_fold(rows, labels, model.theta_, seed)
    scored = exact & np.isfinite(found).all(axis=0)
    if not scored.any():
        card["validation"] = {"split": "none: labels of two formulas are needed", "n": 0}
        return model, card
    mean, spread, line = found[:, scored]
    value = model.label_[scored]
    factor = float(np.quantile(np.abs(mean - value) / spread, 0.9) / norm.ppf(0.95))
    model.inflation = factor if len(groups) >= ENOUGH_GROUPS else max(1.0, factor)
    card["validation"] = {
        "split": f"{min(N_FOLDS, len(groups))} folds grouped by formula; bounds are not scored",
        "n": int(scored.sum()),
        "mae": round(float(np.abs(mean - value).mean()), 4),
        "mae_of_the_common_line": round(float(np.abs(line - value).mean()), 4),
    }
    return model, card


def _out_of_fold(
    rows: Sequence[ConductivityRow], labels: Sequence[Label], theta: Floats, seed: int
) -> Floats:
    """(3, n) mean, spread, common line; NaN where a fold leaves too little to learn from."""
    temperature_K = np.array([label.temperature_K for label in labels], dtype=float)
    x, y = decades_per_eV(temperature_K), np.array([label.value for label in labels])
    exact = np.array([label.bound == "=" for label in labels])

    def predict(train: Rows, test: Rows) -> Floats:
        own = train[exact[train]]
        if len(own) < 2:
            return np.full((3, len(test)), np.nan)
        part = DiffusivityProcess().fit([rows[i] for i in train], [labels[i] for i in train], theta)
        found = part.predict([rows[i] for i in test], temperature_K[test])
        degree = 1 if np.ptp(x[own]) > 0 else 0
        return np.stack(
            [found.mean, found.std, np.polyval(np.polyfit(x[own], y[own], degree), x[test])]
        )

    unlearnt = np.full((3, len(rows)), np.nan)
    folds = grouped_folds(rows, lambda row: row.composition.reduced_formula, N_FOLDS, seed)
    return out_of_fold(predict, folds, unlearnt)
