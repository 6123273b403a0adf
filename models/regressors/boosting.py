"""Gradient boosting that takes bounds for what they are, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.regressors.trees import Forest

Floats = NDArray[np.float64]

LEARNING_RATE = 0.06
SUBSAMPLE = 0.7
MIN_LEAF = 5
MAX_FEATURES = 0.3


@dataclass(frozen=True, eq=False)
class Boosting:
    """A start value and trees whose predictions are added to it.

    Stochastic gradient boosting: Friedman, Comput. Stat. Data Anal. 38, 367 (2002). Of a bound only
    the wrong side is penalised: its residual is zero where the prediction respects it.

    Attributes:
        start: Where the sum starts.
        forest: One tree a round, already scaled by the learning rate.
    """

    start: float
    forest: Forest

    @classmethod
    def fit(
        cls,
        features: Floats,
        target: Floats,
        side: NDArray[np.int_],
        n_rounds: int,
        depth: int,
        seed: int,
    ) -> Boosting:
        """Least squares on values, a one-sided square on bounds.

        Args:
            features: (n, n_features) inputs.
            target: (n,) values and bounds.
            side: (n,) 0 for a value, 1 where the truth lies above the target, -1 where below.
            n_rounds: Number of trees.
            depth: Deepest tree.
            seed: Of the draws of rows and columns.
        """
        from sklearn.tree import DecisionTreeRegressor  # seconds that predictions do not need

        rng = np.random.default_rng(seed)
        exact = side == 0
        start = float(target[exact].mean() if exact.any() else target.mean())
        current = np.full(len(target), start)
        size = max(2, round(SUBSAMPLE * len(target)))
        trees: list[Any] = []
        for _ in range(n_rounds):
            gap = target - current
            residual = np.where(exact, gap, side * np.maximum(side * gap, 0.0))
            rows = rng.permutation(len(target))[:size]
            tree = DecisionTreeRegressor(
                max_depth=depth,
                min_samples_leaf=MIN_LEAF,
                max_features=MAX_FEATURES,
                random_state=int(rng.integers(2**31)),
            ).fit(features[rows], residual[rows])
            current += LEARNING_RATE * tree.predict(features)
            trees.append(tree)
        arrays = Forest.from_sklearn(trees).arrays()
        arrays["value"] = LEARNING_RATE * arrays["value"]
        return cls(start, Forest.from_arrays(arrays).short())

    def predict(self, features: Floats) -> Floats:
        """(n,) predictions for (n, n_features) inputs."""
        found: Floats = self.start + np.asarray(self.forest.predict(features), dtype=float).sum(
            axis=0
        )
        return found
