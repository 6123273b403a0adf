"""Is a hop like those a model was trained on? Distance in embedding space, ions, elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ionbridge.models.checkpoint import Arrays

N_NEIGHBORS = 5
TRAINING_QUANTILE = 0.95
LONGEST_HOP_A = 7.5
"""One published hop in a hundred is longer; beyond it a path is several hops, or ends in another
cell than was meant."""
LARGEST_THRESHOLD = 1e6
"""One group alone gives no ground to refuse anything."""
SMALLEST_THRESHOLD = 1e-6
"""Training rows that are all alike still leave a distance to divide by."""


@dataclass(frozen=True, eq=False)
class Domain:
    """Training embeddings and the distance up to which a new one counts as near them.

    Attributes:
        center: (n_features,) mean of the training embeddings.
        scale: (n_features,) their standard deviation.
        reference: (n_train, n_features) standardised training embeddings.
        threshold: Mean distance to the nearest N_NEIGHBORS of other groups that
            TRAINING_QUANTILE of the training rows stay below.
        elements: Elements seen in training.
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    reference: NDArray[np.float64]
    threshold: float
    elements: frozenset[str]

    def __post_init__(self) -> None:
        shapes = self.center.shape, self.scale.shape, self.reference.shape
        if self.center.ndim != 1 or shapes[1:] != (shapes[0], (len(self.reference), *shapes[0])):
            raise ValueError(f"domain: arrays of shapes {shapes} do not belong together")
        if not len(self.reference) or not (self.scale > 0).all():
            raise ValueError("domain: expected training rows, and scales above 0")
        if not 0.0 < self.threshold <= LARGEST_THRESHOLD:
            raise ValueError(
                f"domain: threshold {self.threshold}; expected more than 0, at most "
                f"{LARGEST_THRESHOLD:g}"
            )

    @classmethod
    def fit(
        cls, embedding: NDArray[np.float64], groups: Sequence[str], elements: frozenset[str]
    ) -> Domain:
        """From training embeddings; a row's neighbours are sought in other groups only.

        Args:
            embedding: (n_train, n_features).
            groups: Group (host framework) of each row.
            elements: Elements of the training hosts.
        """
        center = embedding.mean(axis=0)
        scale = embedding.std(axis=0) + 1e-6
        reference = (embedding - center) / scale
        labels = np.asarray(groups)
        own = []
        for row, label in zip(reference, labels, strict=True):
            others = reference[labels != label]
            if len(others):
                distance = np.sort(np.linalg.norm(others - row, axis=1))
                own.append(distance[:N_NEIGHBORS].mean())
        threshold = float(np.quantile(own, TRAINING_QUANTILE)) if own else LARGEST_THRESHOLD
        return cls(center, scale, reference, max(threshold, SMALLEST_THRESHOLD), elements)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Its arrays by name, for the disk; threshold and elements go elsewhere."""
        return {"center": self.center, "scale": self.scale, "reference": self.reference}

    @classmethod
    def of_arrays(cls, arrays: Arrays, threshold: float, elements: Iterable[str] = ()) -> Domain:
        """Inverse of :meth:`arrays`; single precision will do."""
        center, scale, reference = (
            arrays[k].astype(float) for k in ("center", "scale", "reference")
        )
        return cls(center, scale, reference, float(threshold), frozenset(elements))

    def distance(self, embedding: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) mean distance to the nearest training rows, in units of the threshold."""
        if not len(embedding):
            return np.zeros(0)
        scaled = (embedding - self.center) / self.scale
        k = min(N_NEIGHBORS, len(self.reference))
        distance, _ = self._tree.query(scaled, k=k)
        found: NDArray[np.float64] = (
            np.asarray(distance).reshape(len(scaled), k).mean(axis=1) / self.threshold
        )
        return found

    @cached_property
    def limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(d,) least and greatest of the training rows, scaled."""
        return self.reference.min(axis=0), self.reference.max(axis=0)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.reference)
