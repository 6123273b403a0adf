"""Three kinds of model that err differently, and their mean: trees, boosting, Gaussian process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.checkpoint import Arrays, named, under
from ionbridge.models.regressors.boosting import Boosting
from ionbridge.models.regressors.gaussian_process import PathProcess
from ionbridge.models.regressors.trees import Forest

Floats = NDArray[np.float64]
Sides = NDArray[np.int_]

MEMBERS = ("trees", "boosting", "process")
MAX_SEARCH_ROWS = 200
"""Rows that hyperparameters of the process are sought on; the process itself keeps all."""


@dataclass(frozen=True)
class CommitteeSettings:
    """How a committee is fitted.

    Attributes:
        n_trees: Extremely randomised trees (Geurts et al., Mach. Learn. 63, 3 (2006)).
        min_leaf: Fewest rows in a leaf of them.
        max_features: Share of the columns tried at a division.
        n_rounds: Trees of the boosting.
        depth: Deepest of them.
        bound_step: How far beyond a bound trees and process take its row to lie; the boosting
            treats bounds as bounds.
    """

    n_trees: int = 100
    min_leaf: int = 2
    max_features: float = 0.3
    n_rounds: int = 200
    depth: int = 4
    bound_step: float = 0.05


@dataclass(frozen=True, eq=False)
class Committee:
    """Fitted members.

    Attributes:
        forest: Extremely randomised trees.
        boosting: Gradient boosting.
        process: Gaussian process on all columns; its inputs and targets are the training rows.
    """

    forest: Forest
    boosting: Boosting
    process: PathProcess

    @classmethod
    def fit(
        cls,
        features: Floats,
        target: Floats,
        side: Sides,
        settings: CommitteeSettings,
        seed: int,
        theta: Floats | None = None,
    ) -> Committee:
        """Fit all members.

        Args:
            features: (n, n_features) finite inputs.
            target: (n,) values and bounds.
            side: (n,) 0 for a value, 1 where the truth lies above the target, -1 where below.
            settings: Of the members.
            seed: Of everything drawn.
            theta: Log hyperparameters of the process; None finds them.
        """
        features = features.astype(np.float32).astype(float)  # as the disk will keep them
        shifted = target + settings.bound_step * side
        forest = Forest.grown(
            features, shifted, settings.n_trees, settings.min_leaf, settings.max_features, seed
        )
        boosting = Boosting.fit(features, target, side, settings.n_rounds, settings.depth, seed)
        if theta is None and len(target) > MAX_SEARCH_ROWS:
            few = np.random.default_rng(seed).permutation(len(target))[:MAX_SEARCH_ROWS]
            theta = PathProcess(features[few], shifted[few]).theta
        return cls(forest, boosting, PathProcess(features, shifted, theta))

    def members(self, features: Floats) -> Floats:
        """(3, n) predictions in the order of ``MEMBERS``."""
        return self._each(features)[:3]

    def predict(self, features: Floats) -> Floats:
        """(2, n): the mean of the members, and the spread of the trees and between the members."""
        *found, trees = self._each(features)
        return np.array([np.mean(found, axis=0), np.hypot(trees, np.std(found, axis=0))])

    def _each(self, features: Floats) -> Floats:
        """(4, n): the members, and the spread of the trees."""
        trees = np.asarray(self.forest.predict(features), dtype=float)
        low, high = self.process.target.min(), self.process.target.max()
        process = np.clip(self.process.mean_of(features), low, high)
        return np.array(
            [trees.mean(axis=0), self.boosting.predict(features), process, trees.std(axis=0)]
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The members by name, for the disk."""
        process = self.process
        return {
            **named("forest/", _short(self.forest)),
            **named("boosting/", _short(self.boosting.forest)),
            "start": np.array([self.boosting.start]),
            "inputs": process.inputs.astype(np.float32),
            "target": process.target,
            "theta": process.theta,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Committee:
        """Make it anew from what :meth:`arrays` gave."""
        inputs, target = arrays["inputs"].astype(float), arrays["target"].astype(float)
        return cls(
            _forest(under("forest/", arrays)),
            Boosting(float(arrays["start"][0]), _forest(under("boosting/", arrays))),
            PathProcess(inputs, target, arrays["theta"].astype(float)),
        )


def _short(forest: Forest) -> dict[str, NDArray[Any]]:
    """Arrays of a forest for the disk: 16 bits are enough for the number of a column."""
    arrays = forest.arrays()
    return {**arrays, "feature": arrays["feature"].astype(np.int16)}


def _forest(arrays: Arrays) -> Forest:
    """Inverse of :func:`_short`; compiled loops take one kind of integer."""
    feature = arrays["feature"].astype(arrays["left"].dtype)
    return Forest.from_arrays({**arrays, "feature": feature})
