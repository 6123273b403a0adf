"""A fitted forest as plain arrays: grown by scikit-learn, stored and evaluated without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.compiled import compiled


@dataclass(frozen=True, eq=False)
class Forest:
    """Regression trees, their nodes one after the other.

    Attributes:
        roots: (n_trees,) index of each root among all nodes.
        left: (n_nodes,) child where feature <= threshold; a leaf points to itself.
        right: (n_nodes,) the other child.
        feature: (n_nodes,) column that a node looks at.
        threshold: (n_nodes,) where it divides.
        value: (n_nodes,) mean target of a node.
    """

    roots: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]

    @classmethod
    def grown(
        cls,
        features: NDArray[np.float64],
        target: NDArray[np.float64],
        n_trees: int,
        min_leaf: int,
        max_features: float,
        seed: int,
    ) -> Forest:
        """Extremely randomised trees (Geurts et al., Mach. Learn. 63, 3 (2006)), kept short.

        Args:
            features: (n, n_features) inputs.
            target: (n,) values.
            n_trees: Number of trees.
            min_leaf: Fewest rows in a leaf.
            max_features: Share of the columns tried at a division.
            seed: Of the draws.
        """
        from sklearn.ensemble import ExtraTreesRegressor  # seconds that predictions do not need

        regressor = ExtraTreesRegressor(
            n_estimators=n_trees,
            min_samples_leaf=min_leaf,
            max_features=max_features,
            random_state=seed,
        )
        return cls.from_sklearn(regressor.fit(features, target).estimators_).short()

    def short(self) -> Forest:
        """The same in 32 bits, half the size on disk."""
        kinds = {"i": np.int32, "f": np.float32}
        arrays = {k: v.astype(kinds[v.dtype.kind]) for k, v in self.arrays().items()}
        return Forest.from_arrays(arrays)

    @classmethod
    def from_sklearn(cls, trees: Sequence[Any]) -> Forest:
        """From the ``estimators_`` of a fitted scikit-learn forest with one target."""
        sizes = [tree.tree_.node_count for tree in trees]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

        def children(name: str) -> NDArray[np.int64]:
            parts = []
            for tree, start, size in zip(trees, starts, sizes, strict=True):
                child = getattr(tree.tree_, name)
                parts.append(np.where(child < 0, np.arange(size), child) + start)
            return np.concatenate(parts).astype(np.int64)

        def column(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(tree.tree_, name).reshape(-1) for tree in trees])

        return cls(
            roots=starts,
            left=children("children_left"),
            right=children("children_right"),
            feature=np.maximum(column("feature"), 0).astype(np.int64),
            threshold=column("threshold").astype(float),
            value=column("value").astype(float),
        )

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n_trees, n) prediction of every tree for (n, n_features) inputs.

        Raises:
            ValueError: A node looks at a column that there is not; compiled loops do not notice.
        """
        if self._last_column >= np.shape(features)[1]:
            raise ValueError(
                f"forest: a node looks at column {self._last_column} of {np.shape(features)[1]}"
            )
        # scikit-learn compares in single precision
        x = np.ascontiguousarray(features, dtype=np.float32)
        return _predicted(**self.arrays(), features=x)

    @cached_property
    def _last_column(self) -> int:
        """The last column that an inner node looks at; -1 without any."""
        inner = self.left != np.arange(len(self.left))
        return int(self.feature[inner].max(initial=-1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the nodes by name, for saving."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Forest:
        """What ``arrays`` gave; child and feature indices are checked.

        Raises:
            ValueError: An index points outside, or back to a node above: such a tree has no end.
        """
        forest = cls(**{f.name: np.asarray(arrays[f.name]) for f in fields(cls)})
        n_nodes = len(forest.value)
        for name in ("left", "right", "feature", "threshold", "value"):
            if getattr(forest, name).shape != (n_nodes,):
                raise ValueError(f"forest: {name} is not one number for each of {n_nodes} nodes")
        for name in ("roots", "left", "right", "feature"):
            index = getattr(forest, name)
            if index.dtype.kind != "i":
                raise ValueError(f"forest: {name} holds no integers")
            if len(index) and (index.min() < 0 or (name != "feature" and index.max() >= n_nodes)):
                raise ValueError(f"forest: {name} points outside its {n_nodes} nodes")
        own = np.arange(n_nodes)
        if ((forest.left < own) | (forest.right < own)).any():
            raise ValueError("forest: a node has one above as its child")
        if ((forest.left == own) != (forest.right == own)).any():
            raise ValueError("forest: a node is a leaf on one side alone")
        return forest


@compiled
def _predicted(
    roots: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    feature: NDArray[np.int64],
    threshold: NDArray[np.float64],
    value: NDArray[np.float64],
    features: NDArray[np.float32],
) -> NDArray[np.float64]:
    """(n_trees, n) values of the leaves that rows come to."""
    found = np.empty((len(roots), len(features)), value.dtype)
    for tree in range(len(roots)):
        for row in range(len(features)):
            node = roots[tree]
            while left[node] != node:
                if features[row, feature[node]] <= threshold[node]:
                    node = left[node]
                else:
                    node = right[node]
            found[tree, row] = value[node]
    return found
