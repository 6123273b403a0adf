"""The two verbs shared by all models of hop barriers that are not networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.models.domain import LONGEST_HOP_A
from ionbridge.models.estimator import Estimator
from ionbridge.models.hop_networks.training import pick_device
from ionbridge.models.prediction import HALF_WIDTH_90, Prediction
from ionbridge.structures.records import Hop

Floats = NDArray[np.float64]


class Baseline(Estimator):
    """A model of hop barriers; subclasses say what fitting finds and how it is stored."""

    quantity = "migration_barrier"

    def fit(self, records: Sequence[Hop], labels: ArrayLike) -> Self:
        """Learn from hops and their forward barriers.

        Args:
            records: (n,) hops; their own labels are not looked at.
            labels: (n,) barriers, eV.
        """
        barriers = np.asarray(labels, dtype=float)
        if barriers.shape != (len(records),) or not len(records):
            raise ValueError(f"{len(records)} hops and labels of shape {barriers.shape}")
        if not np.isfinite(barriers).all():
            raise ValueError("labels must be finite; drop hops without a barrier")
        self.card_ = {}
        self.ions_ = sorted({hop.working_ion for hop in records})
        self._fit(records, barriers)
        return self

    def predict(self, records: Sequence[Hop]) -> Prediction:
        """Forward migration barriers of hops with their spreads, eV."""
        self._check_fitted()
        if not records:
            return Prediction(np.zeros(0), np.zeros(0), np.zeros(0))
        return self._predict(records)

    def interval(self, prediction: Prediction) -> tuple[Floats, Floats]:
        """Lower and upper end of the 90 % interval of a normal distribution, eV."""
        half = HALF_WIDTH_90 * prediction.std
        return prediction.mean - half, prediction.mean + half

    def in_domain(self, records: Sequence[Hop]) -> NDArray[np.bool_]:
        """(n,) True where the working ion was among the training hops and the hop is one."""
        known = [h.working_ion in self.ions_ and h.distance_A <= LONGEST_HOP_A for h in records]
        return np.array(known, dtype=bool)

    def to(self, device: str) -> Self:
        """Itself: arrays that are read on the CPU, also where there is a GPU.

        Raises:
            ValueError: No such device.
        """
        pick_device(device)
        return self

    @property
    def device(self) -> str:
        """Where predictions are made: ``cpu`` or ``cuda``."""
        return "cpu"

    @abstractmethod
    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None: ...

    @abstractmethod
    def _predict(self, hops: Sequence[Hop]) -> Prediction: ...
