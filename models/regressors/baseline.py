"""The two verbs and the folder form shared by all models of hop barriers that are not networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ionbridge.models.checkpoint import load_arrays, save_model
from ionbridge.models.domain import LONGEST_HOP_A
from ionbridge.models.estimator import Estimator
from ionbridge.models.hop_networks.training import pick_device
from ionbridge.models.prediction import HALF_WIDTH_90, Prediction
from ionbridge.structures.records import Hop

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]


class Baseline(Estimator, ABC):
    """A model of hop barriers; subclasses say what fitting finds and how it is stored."""

    kind: ClassVar[str]

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
        self.ions_ = sorted({hop.working_ion for hop in records})
        self._fit(records, barriers)
        return self

    def predict(self, records: Sequence[Hop]) -> Prediction:
        """Forward migration barriers of hops with their spreads, eV."""
        if not hasattr(self, "ions_"):
            raise ValueError(f"{type(self).__name__} is not fitted; call fit(records, labels)")
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

    def save(self, directory: str | Path, card: Mapping[str, Any] | None = None) -> None:
        """Write the model folder: weights, settings and the card."""
        arrays, settings = self._state()
        save_model(
            Path(directory),
            {name: torch.tensor(values) for name, values in arrays.items()},
            {"kind": self.kind, "ions": self.ions_, **settings},
            card or {"name": self.kind, "quantity": "migration_barrier_eV"},
        )

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read a model folder; see ``models.checkpoint.load_arrays`` for what is refused."""
        arrays, settings = load_arrays(Path(directory), cls.kind)
        model = cls._restore(arrays, settings)
        model.ions_ = list(settings["ions"])
        return model

    @abstractmethod
    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None: ...

    @abstractmethod
    def _predict(self, hops: Sequence[Hop]) -> Prediction: ...

    @abstractmethod
    def _state(self) -> tuple[Arrays, Mapping[str, Any]]: ...

    @classmethod
    @abstractmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self: ...
