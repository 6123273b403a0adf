"""Conductivity from a user's own labels, with or without those that a shipped model learnt from.

The model is its data: descriptors and labels of the source and of the user. It is fitted anew when
it is loaded, by the same seed to the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.adaptation.task import Task
from ionbridge.models.calibration import Calibration
from ionbridge.models.checkpoint import Arrays, named, under
from ionbridge.models.conductors.conductivity import SCALE, SIDE, ConductivityTrees, source_group
from ionbridge.models.cross_validation import Rows, grouped_folds, out_of_fold
from ionbridge.models.domain import Domain
from ionbridge.models.estimator import Estimator
from ionbridge.models.metrics import misses
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.few_shot import Source, strategy_named
from ionbridge.structures.features.conductor_descriptors import (
    COMPOSITION_FEATURES,
    composition_block,
    conductor_descriptors,
    conductor_ion,
)
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Label

Floats = NDArray[np.float64]

SCRATCH = ("mean", "trees", "process")
TRANSFER = ("zero-shot", "offset", "trees-joint", "residual", "stacked")
CANDIDATES = (*SCRATCH, *TRANSFER)
"""What ``auto`` compares; those that use the source must beat those that do not."""
BOUND_STEP = 0.05
"""How far beyond a bound, on SCALE, its row is taken to lie: half a decade at 1e-10 S/cm."""
HIGHEST_T = 3.3
"""Predictions beyond (1e-27 S/cm) are runaways of a line."""
FEWEST_LABELS = 4
N_FOLDS = 5
CORE = tuple(range(len(COMPOSITION_FEATURES)))
_ARRAYS = ("source", "source_target", "labels", "label_target")


@dataclass
class FewLabelConductivity(Estimator):
    """One strategy of :mod:`ionbridge.models.regressors.few_shot` on rows of a conductivity table.

    Attributes:
        strategy: Its name.
        calibration: Makes the 90 % interval hold on out-of-fold rows.
        spread: One sigma of the errors on SCALE, out of fold.
        seed: Of everything drawn.
    """

    strategy: str = "zero-shot"
    calibration: Calibration = field(default_factory=Calibration)
    spread: float = 0.5
    seed: int = 0

    kind: ClassVar[str] = "few_label_conductivity"
    quantity = "conductivity"
    inputs: ClassVar[str] = "composition"

    def fit(
        self,
        records: Sequence[ConductivityRow],
        labels: Sequence[Label],
        known: ConductivityTrees,
    ) -> Self:
        """Learn from rows and their labels, beside those that another model learnt from.

        Raises:
            ValueError: Numbers of rows and labels differ.
            UnusableStructureError: A row without a working ion.
        """
        if len(records) != len(labels) or not len(records):
            raise ValueError(f"{len(records)} rows and {len(labels)} labels")
        self.card_ = {}
        self.elements_ = known.elements_
        source, target = known.descriptors_and_targets()
        self.ions_ = sorted({conductor_ion(row) for row in records})
        self._set(source, target, descriptors(records, self.elements_), label_targets(labels))
        self.domain_ = Domain.fit(
            np.array([composition_block(row) for row in records]),
            [source_group(row) for row in records],
            frozenset(str(e) for row in records for e in row.composition),
        )
        return self

    def _set(self, source: Floats, target: Floats, labels: Floats, label_target: Floats) -> None:
        self.arrays_ = dict(zip(_ARRAYS, (source, target, labels, label_target), strict=True))
        base = Source(source, target, CORE, seed=self.seed).without(labels)
        self.predictor_ = strategy_named(self.strategy)(base, labels, label_target)

    def predict(self, records: Sequence[ConductivityRow]) -> Prediction:
        """log10 of the conductivity in S/cm, spreads calibrated.

        Raises:
            UnusableStructureError: A row without a working ion.
        """
        if not records:
            return Prediction(np.zeros(0), np.zeros(0), np.zeros(0))
        t = np.clip(self.predictor_(descriptors(records, self.elements_)), -2.0, HIGHEST_T)
        found = self.calibration.calibrated(spread_around(t, self.spread))
        return Prediction(-found.mean, found.aleatoric_std, found.epistemic_std)

    def interval(self, prediction: Prediction) -> tuple[Floats, Floats]:
        """Lower and upper end of the calibrated 90 % interval, log10 of S/cm."""
        return ConductivityTrees().interval(prediction)

    def in_domain(self, records: Sequence[ConductivityRow]) -> NDArray[np.bool_]:
        """(n,) True where ion and elements were labelled and the composition is near labels."""
        known = [
            conductor_ion(row) in self.ions_
            and {str(e) for e in row.composition} <= self.domain_.elements
            for row in records
        ]
        blocks = np.array([composition_block(row) for row in records])
        return np.array(known, dtype=bool) & (self.domain_.distance(blocks) <= 1.0)

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        return self.arrays_ | named("domain/", self.domain_.arrays()), {
            "settings": self._settings(),
            "elements": self.elements_,
            "domain": {
                "threshold": self.domain_.threshold,
                "elements": sorted(self.domain_.elements),
            },
        }

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        settings = dict(config["settings"])
        model = cls(**{**settings, "calibration": Calibration(**settings["calibration"])})
        model.elements_ = list(config["elements"])
        model._set(*(arrays[name] for name in _ARRAYS))
        model.domain_ = Domain.of_arrays(under("domain/", arrays), **config["domain"])
        return model


class ConductivityTask(Task):
    """Conductivities at room temperature, learnt beside the rows that another model knows.

    Papers are kept together in the cross-validation; rows without a source are each their own.

    Args:
        rows: (n,) rows with a label, a value or a bound, log10 S/cm.
        base: The model whose training rows are the source.
        base_name: Its name, for the card.
        seed: Of everything drawn.

    Raises:
        ValueError: Too few labels, or a base that knows no conductivities.
        UnusableStructureError: A row without a working ion.
    """

    quantity = "conductivity"
    candidates = known = CANDIDATES
    simple = frozenset(SCRATCH)

    def __init__(
        self,
        rows: Sequence[ConductivityRow],
        base: Any,
        base_name: str,
        seed: int = 0,
    ) -> None:
        if len(rows) < FEWEST_LABELS:
            raise ValueError(f"{len(rows)} labels; at least {FEWEST_LABELS} are needed")
        if not isinstance(base, ConductivityTrees):
            raise ValueError(f"base {base_name}: a {type(base).__name__} knows no conductivities")
        self.base, self.base_name, self.seed = base, base_name, seed
        self.rows, self.labels = rows, [row.label for row in rows if row.label is not None]
        self.x, self.t = descriptors(rows, base.elements_), label_targets(self.labels)
        self.value = np.array([label.value for label in self.labels])
        self.side = np.array([SIDE[label.bound] for label in self.labels])
        self.source = Source(*base.descriptors_and_targets(), CORE, seed=seed).without(self.x)

    def out_of_fold(self, strategy: str, final: bool = True) -> Floats:
        """(n,) values on SCALE of rows whose paper was not learnt from."""
        fit = strategy_named(strategy)

        def predict(train: Rows, test: Rows) -> Floats:
            found = fit(self.source, self.x[train], self.t[train])(self.x[test])
            return np.clip(found, -2.0, HIGHEST_T)

        unlearnt = np.full(len(self.rows), float(np.median(self.t)))
        folds = grouped_folds(self.rows, source_group, N_FOLDS, self.seed)
        return out_of_fold(predict, folds, unlearnt)

    def error(self, found: Floats) -> float:
        """Mean absolute error in decades; bounds are off only beyond themselves."""
        return float(misses(self.value, -SCALE.inverse(found), -self.side).mean())

    def fitted(
        self, strategy: str, found: Floats, progress: bool
    ) -> tuple[FewLabelConductivity, dict[str, Any]]:
        """The model of all rows, calibrated on those that are values."""
        rows, exact = self.rows, self.side == 0
        residual = (self.t - found)[exact] if exact.any() else self.t - found
        spread = max(float(np.sqrt(np.mean(residual**2))), 0.02)
        calibration = Calibration()
        if exact.any():
            around = spread_around(found[exact], spread)
            calibration = Calibration.fit(around, -self.value[exact], SCALE)
        model = FewLabelConductivity(strategy, calibration, spread, self.seed)
        model.fit(rows, self.labels, self.base)
        n_groups = len({source_group(row) for row in rows})
        return model, {
            "predicts": "ionic conductivity at room temperature, log10 of S/cm",
            "quantity": self.quantity,
            "inputs": ["row of a conductivity table: composition"],
            "working_ions": model.ions_,
            "families": sorted({row.family for row in rows if row.family}),
            "trained_on": {
                "n_rows": len(rows),
                "n_bounds": int((~exact).sum()),
                "n_papers": n_groups,
                "methods": sorted({label.method for label in self.labels if label.method}),
                "base_systems": sorted({row.composition.reduced_formula for row in rows}),
            },
            "base": self.base_name if strategy in TRANSFER else None,
            "validation": {
                "split": f"{min(N_FOLDS, n_groups)} folds grouped by paper; "
                "bounds scored as bounds",
                "n": len(rows),
                "mae": round(self.error(found), 4),
            },
        }


def descriptors(rows: Sequence[ConductivityRow], elements: Sequence[str]) -> Floats:
    """(n, n_features) numbers of the compositions."""
    return np.array([conductor_descriptors(row, elements) for row in rows])


def label_targets(labels: Sequence[Label]) -> Floats:
    """(n,) labels on SCALE, bounds moved beyond themselves."""
    side = np.array([SIDE[label.bound] for label in labels])
    return SCALE.forward(-np.array([label.value for label in labels])) + BOUND_STEP * side


def spread_around(t: Floats, spread: float) -> Prediction:
    """Decades -log10 sigma with one spread on SCALE, half of its square of either kind."""
    mean = SCALE.inverse(t)
    part = SCALE.inverse_std(mean, np.full(len(mean), spread / np.sqrt(2.0)))
    return Prediction(mean, part, part)
