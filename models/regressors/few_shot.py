"""Ways to learn a property from a handful of labels, with or without a source of other labels.

Everything here works on fixed descriptors, so that a candidate is fitted in a fraction of a second
and can be cross-validated on the labels themselves. A strategy turns a source (descriptors and
values of other chemistries, or of another property) and a few labels into a predictor.

Gaussian processes see the ``core`` columns, a dozen numbers with physics in them; trees see all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ionbridge.models.regressors.gaussian_process import PathProcess
from ionbridge.structures.configuration import nearest

if TYPE_CHECKING:  # a second that those who fit nothing do not need
    from sklearn.ensemble import ExtraTreesRegressor

Floats = NDArray[np.float64]
Predictor = Callable[[Floats], Floats]

N_TREES = 40
LABEL_WEIGHT = 6.0
"""How much more a label of the new chemistry counts than one of the source."""
OFFSET_PRIOR = 2.0
"""An offset is shrunk as if this many labels had said that there is none."""
MAX_PROCESS_ROWS = 800
"""Rows of the source that a Gaussian process keeps."""
SAME_ROW = 1e-3
"""Distance in units of the columns' spreads below which two rows are one hop."""


@dataclass(frozen=True, eq=False)
class Source:
    """What is known of other chemistries, or of another property.

    Attributes:
        descriptors: (n, n_features).
        target: (n,) values in a space where errors are alike.
        core: Indices of the columns that Gaussian processes see.
        seed: Of everything drawn.
    """

    descriptors: Floats
    target: Floats
    core: tuple[int, ...]
    seed: int = 0

    @cached_property
    def process(self) -> PathProcess:
        """Gaussian process on the core columns."""
        rows = _thinned(len(self.target), MAX_PROCESS_ROWS, self.seed)
        few = _thinned(len(self.target), MAX_PROCESS_ROWS // 2, self.seed)
        core = self.descriptors[:, self.core]
        found = PathProcess(core[few], self.target[few])
        return PathProcess(core[rows], self.target[rows], found.theta)

    @cached_property
    def trees(self) -> ExtraTreesRegressor:
        """Extremely randomised trees on all columns of the source."""
        return _trees(self.descriptors, self.target, None, self.seed)

    def without(self, descriptors: Floats) -> Source:
        """The source without rows that are among (n, n_features) labels: they would leak."""
        kept = is_new(self.descriptors, descriptors)
        if kept.all():
            return self
        return replace(self, descriptors=self.descriptors[kept], target=self.target[kept])

    def predict(self, descriptors: Floats) -> Floats:
        """Mean of process and trees, (n,)."""
        process, _ = self.process.predict(descriptors[:, self.core])
        found: Floats = 0.5 * (process + self.trees.predict(descriptors))
        return found

    def views(self, descriptors: Floats) -> tuple[Floats, ...]:
        """What each of its parts says, (n,) each: columns for a model on top of it."""
        return (self.predict(descriptors),)


Fit = Callable[[Source, Floats, Floats], Predictor]


def is_new(descriptors: Floats, labels: Floats) -> NDArray[np.bool_]:
    """(n,) False for rows that are among the labels, up to rounding."""
    if not len(labels):
        return np.ones(len(descriptors), dtype=bool)
    scale = np.concatenate([descriptors, labels]).std(axis=0) + 1e-3  # labels may be stored short
    distance, _ = cKDTree(labels / scale).query(descriptors / scale)
    return np.asarray(distance > SAME_ROW)


def _thinned(n: int, most: int, seed: int) -> NDArray[np.intp]:
    rng = np.random.default_rng(seed)
    return np.sort(rng.permutation(n)[:most]) if n > most else np.arange(n)


def _trees(x: Floats, y: Floats, weight: Floats | None, seed: int) -> ExtraTreesRegressor:
    from sklearn.ensemble import ExtraTreesRegressor

    leaf = 2 if len(y) >= 12 else 1
    trees = ExtraTreesRegressor(N_TREES, min_samples_leaf=leaf, max_features=0.4, random_state=seed)
    return trees.fit(x, y, sample_weight=weight)


def _mean(source: Source, x: Floats, y: Floats) -> Predictor:
    middle = float(np.median(y))
    return lambda new: np.full(len(new), middle)


def _scratch_trees(source: Source, x: Floats, y: Floats) -> Predictor:
    trees = _trees(x, y, None, source.seed)
    return lambda new: np.asarray(trees.predict(new), dtype=float)


def _scratch_process(source: Source, x: Floats, y: Floats) -> Predictor:
    process = PathProcess(x[:, source.core], y)
    return lambda new: process.predict(new[:, source.core])[0]


def _zero_shot(source: Source, x: Floats, y: Floats) -> Predictor:
    return source.predict


def _offset(source: Source, x: Floats, y: Floats) -> Predictor:
    gap = float(np.sum(y - source.predict(x)) / (len(y) + OFFSET_PRIOR))
    return lambda new: source.predict(new) + gap


def _joint_trees(source: Source, x: Floats, y: Floats) -> Predictor:
    weight = np.concatenate([np.ones(len(source.target)), np.full(len(y), LABEL_WEIGHT)])
    trees = _trees(
        np.concatenate([source.descriptors, x]),
        np.concatenate([source.target, y]),
        weight,
        source.seed,
    )
    return lambda new: np.asarray(trees.predict(new), dtype=float)


def _residual(source: Source, x: Floats, y: Floats) -> Predictor:
    process = PathProcess(x[:, source.core], y - source.predict(x))
    return lambda new: source.predict(new) + process.predict(new[:, source.core])[0]


def _stacked(source: Source, x: Floats, y: Floats) -> Predictor:

    def seen(rows: Floats) -> Floats:
        return np.column_stack([rows, *source.views(rows)])

    trees = _trees(seen(x), y, None, source.seed)
    return lambda new: trees.predict(seen(new))


STRATEGIES: Mapping[str, Fit] = {
    "mean": _mean,
    "trees": _scratch_trees,
    "process": _scratch_process,
    "zero-shot": _zero_shot,
    "offset": _offset,
    "trees-joint": _joint_trees,
    "residual": _residual,
    "stacked": _stacked,
}
"""Ways to learn, by name; the first three use no source."""


def strategy_named(name: str) -> Fit:
    """A way to learn by its name.

    Raises:
        ValueError: Unknown; the message names the nearest.
    """
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}; {nearest(name, list(STRATEGIES))}")
    return STRATEGIES[name]
