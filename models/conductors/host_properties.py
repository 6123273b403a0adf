"""Voltage, formation energy, volume change: trees on a host's composition, couples and density."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.models.checkpoint import Arrays, named, under
from ionbridge.models.cross_validation import Rows, grouped_folds, out_of_fold
from ionbridge.models.domain import Domain
from ionbridge.models.estimator import Estimator
from ionbridge.models.prediction import HALF_WIDTH_90, Prediction
from ionbridge.models.regressors.trees import Forest
from ionbridge.structures.features.conductor_descriptors import composition_block, conductor_ion
from ionbridge.structures.features.host_descriptors import has_cell, host_descriptors, redox_block
from ionbridge.structures.io.tables import ConductivityRow

Floats = NDArray[np.float64]

N_FOLDS = 3
"""Folds of the out-of-fold errors that calibrate the spreads."""
VIEWS = {"composition": False, "cell": True}
"""Forests by what they see; True where they see the cell."""
N_REFERENCE = 1500
"""Training rows kept to measure distances to."""


def host_group(row: ConductivityRow) -> str:
    """The host without its working ion: what grouped validation keeps together."""
    ion = conductor_ion(row)
    rest = {k: n for k, n in row.composition.get_el_amt_dict().items() if k != ion}
    return type(row.composition)(rest or row.composition).reduced_formula


@dataclass
class PropertyTrees(Estimator):
    """Extremely randomised trees (Geurts et al., Mach. Learn. 63, 3 (2006)) on host descriptors.

    Two forests, one for rows with a cell and one for rows that are a composition alone. Their
    spread and the rest of the out-of-fold error are calibrated together so that 90 % of the
    out-of-fold rows lie in the 90 % interval.

    Attributes:
        quantity: What is learnt.
        unit: Of it.
        n_trees: Trees in a forest.
        min_leaf: Fewest rows in a leaf.
        max_features: Share of the columns tried at a division.
        seed: Of the trees and folds.
    """

    quantity: str = "voltage"
    unit: str = "V"
    n_trees: int = 40
    min_leaf: int = 4
    max_features: float = 0.4
    seed: int = 0

    kind: ClassVar[str] = "property_trees"
    inputs: ClassVar[str] = "composition"

    def fit(self, records: Sequence[ConductivityRow], labels: ArrayLike) -> Self:
        """Learn from hosts and their values.

        Args:
            records: (n,) compositions with cells where known.
            labels: (n,) values in ``unit``.

        Raises:
            ValueError: Numbers of rows and labels differ, or a label is not finite.
            UnusableStructureError: A row without a working ion.
        """
        value = np.asarray(labels, dtype=float)
        if value.shape != (len(records),) or not len(records):
            raise ValueError(f"{len(records)} rows and labels of shape {value.shape}")
        if not np.isfinite(value).all():
            raise ValueError("labels must be finite; drop rows without a value")
        order = sorted(range(len(records)), key=lambda i: (records[i].id, value[i]))
        rows, value = [records[i] for i in order], value[order]
        self.card_ = {}
        self.elements_ = sorted({str(e) for row in rows for e in row.composition})
        self.ions_ = sorted({conductor_ion(row) for row in rows})
        self.forests_: dict[str, Forest] = {}
        self.spreads_: dict[str, tuple[float, float]] = {}
        self.out_of_fold_ = np.full(len(rows), np.nan)
        for name, with_cell in VIEWS.items():
            own = [i for i, row in enumerate(rows) if has_cell(row) or not with_cell]
            if len(own) < 2 * N_FOLDS:
                continue
            chosen = [rows[i] for i in own]
            features = self._features(chosen, with_cell)
            mean, spread = self._held_out(chosen, features, value[own])
            self.out_of_fold_[own] = mean  # of the view that sees most, where there are two
            self.forests_[name] = self._grow(features, value[own])
            self.spreads_[name] = _calibrated(value[own] - mean, spread)
        inverse = np.argsort(np.array(order))
        self.out_of_fold_ = self.out_of_fold_[inverse]
        kept = rows[:: max(1, len(rows) // N_REFERENCE)]
        self.domain_ = Domain.fit(
            _embedding(kept), [host_group(row) for row in kept], frozenset(self.elements_)
        )
        return self

    def _features(self, rows: Sequence[ConductivityRow], with_cell: bool) -> Floats:
        return np.array([host_descriptors(row, self.elements_, with_cell) for row in rows])

    def _held_out(
        self, rows: Sequence[ConductivityRow], features: Floats, value: Floats
    ) -> tuple[Floats, Floats]:
        """Mean and spread by trees that saw no row of the same host."""
        unlearnt = np.repeat([[value.mean()], [value.std()]], len(rows), axis=1)

        def predict(train: Rows, test: Rows) -> Floats:
            trees = self._grow(features[train], value[train]).predict(features[test])
            return np.array([trees.mean(axis=0), trees.std(axis=0)])

        folds = grouped_folds(rows, host_group, N_FOLDS, self.seed)
        mean, spread = out_of_fold(predict, folds, unlearnt)
        return mean, spread

    def _grow(self, features: Floats, value: Floats) -> Forest:
        return Forest.grown(
            features, value, self.n_trees, self.min_leaf, self.max_features, self.seed
        )

    def predict(self, records: Sequence[ConductivityRow]) -> Prediction:
        """Values in ``unit``, spreads calibrated.

        Raises:
            UnusableStructureError: A row without a working ion.
        """
        self._check_fitted()
        mean, aleatoric, epistemic = np.zeros((3, len(records)))
        for i, row in enumerate(records):
            name = "cell" if has_cell(row) and "cell" in self.forests_ else "composition"
            trees = self.forests_[name].predict(self._features([row], VIEWS[name])).astype(float)
            factor, residual = self.spreads_[name]
            mean[i] = trees.mean()
            aleatoric[i], epistemic[i] = factor * residual, factor * trees.std()
        return Prediction(mean, aleatoric, epistemic)

    def interval(self, prediction: Prediction) -> tuple[Floats, Floats]:
        """Lower and upper end of the calibrated 90 % interval, in ``unit``."""
        half = HALF_WIDTH_90 * prediction.std
        return prediction.mean - half, prediction.mean + half

    def distance(self, records: Sequence[ConductivityRow]) -> Floats:
        """(n,) distance to the training hosts, 1 being the edge of the domain."""
        return self.domain_.distance(_embedding(records))

    def in_domain(self, records: Sequence[ConductivityRow]) -> NDArray[np.bool_]:
        """(n,) True where ion and elements are known and the composition is near training rows."""
        known = [
            conductor_ion(row) in self.ions_
            and {str(e) for e in row.composition} <= self.domain_.elements
            for row in records
        ]
        return np.array(known, dtype=bool) & (self.distance(records) <= 1.0)

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        domain = {k: v.astype(np.float32) for k, v in self.domain_.arrays().items()}
        arrays = named("domain/", domain)
        for name, forest in self.forests_.items():
            arrays |= named(f"{name}/", forest.arrays())
        return arrays, {
            "settings": self._settings(),
            "elements": self.elements_,
            "spreads": {name: list(pair) for name, pair in self.spreads_.items()},
            "domain": {"threshold": self.domain_.threshold},
        }

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        model = cls(**config["settings"])
        model.elements_ = list(config["elements"])
        model.spreads_ = {name: (pair[0], pair[1]) for name, pair in config["spreads"].items()}
        for name, pair in model.spreads_.items():
            if not all(0.0 < value < np.inf for value in pair):
                raise ValueError(f"spreads of {name}: {pair}; expected two positive numbers")
        model.forests_ = {
            name: Forest.from_arrays(under(f"{name}/", arrays)) for name in model.spreads_
        }
        model.domain_ = Domain.of_arrays(
            under("domain/", arrays), config["domain"]["threshold"], model.elements_
        )
        return model


def _embedding(rows: Sequence[ConductivityRow]) -> Floats:
    parts: tuple[Callable[[ConductivityRow], Floats], ...] = (composition_block, redox_block)
    return np.array([np.concatenate([part(row) for part in parts]) for row in rows])


def _calibrated(error: Floats, spread: Floats) -> tuple[float, float]:
    """Factor on both spreads and constant spread with which 90 % of the errors are covered."""
    residual = max(float(np.mean(error**2) - np.mean(spread**2)), 1e-8) ** 0.5
    ratio = np.abs(error) / np.hypot(spread, residual)
    return float(np.quantile(ratio, 0.9)) / HALF_WIDTH_90, residual
