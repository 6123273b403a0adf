"""Migration barriers from a few labels on fixed descriptors, as a model that can be kept.

The model is its data: descriptors and barriers of a source and of the labels. Fitting takes a
fraction of a second, so a loaded model is fitted anew, by the same seed to the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.checkpoint import Arrays, named, under
from ionbridge.models.domain import Domain
from ionbridge.models.hop_networks.hop_graphs import features_of
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.baseline import Baseline, Floats
from ionbridge.models.regressors.few_shot import Source, strategy_named
from ionbridge.models.regressors.gaussian_process import path_scalars
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.graph import PATH_SCALARS
from ionbridge.structures.records import Hop

SCALE = LogShift(0.1)
"""Space in which errors of barriers are alike."""
LARGEST_T = 3.0
"""Predictions above this (20 eV) are runaways of a line."""
CORE = tuple(range(len(PATH_SCALARS)))


def hop_descriptors(hops: Sequence[Hop]) -> Floats:
    """(n, n_features): numbers of the bond-valence path, then path geometry and composition."""
    found: Floats = np.nan_to_num(np.concatenate([path_scalars(hops), features_of(hops)], axis=1))
    return found


@dataclass
class FewLabelModel(Baseline):
    """One strategy of :mod:`ionbridge.models.regressors.few_shot` on hops.

    Attributes:
        strategy: Its name; ``zero-shot`` with a source made of the training hops themselves is a
            plain model of all of them.
        spread: One sigma of its errors on SCALE, from out-of-fold predictions.
        seed: Of everything drawn.
    """

    strategy: str = "zero-shot"
    spread: float = 0.5
    seed: int = 0

    kind: ClassVar[str] = "few_label"

    def __post_init__(self) -> None:
        strategy_named(self.strategy)  # or refused

    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None:
        """A plain model of all hops, which are its own source."""
        descriptors, target = hop_descriptors(hops), SCALE.forward(barriers)
        ions = [hop.working_ion for hop in hops]
        self._set(descriptors, target, ions, descriptors[:0], target[:0])
        frameworks = [hop.framework for hop in hops]
        self.domain_ = Domain.fit(descriptors[:, CORE], frameworks, frozenset(ions))

    def _set(
        self,
        source: Floats,
        source_target: Floats,
        source_ions: Sequence[str],
        labels: Floats,
        label_target: Floats,
    ) -> None:
        self.source_ = Source(source, source_target, CORE, seed=self.seed)
        self.source_ions_ = list(source_ions)
        self.labels_, self.label_target_ = labels, label_target
        self.predictor_ = strategy_named(self.strategy)(self.source_, labels, label_target)

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        t = np.minimum(self.predictor_(hop_descriptors(hops)), LARGEST_T)
        barrier = SCALE.inverse(t)
        total = SCALE.inverse_std(barrier, np.full(len(hops), self.spread))
        return Prediction(barrier, total / np.sqrt(2.0), total / np.sqrt(2.0))

    def distance(self, records: Sequence[Hop]) -> Floats:
        """(n,) distance to the training hops, 1 being the edge of the domain."""
        return self.domain_.distance(hop_descriptors(records)[:, CORE])

    def in_domain(self, records: Sequence[Hop]) -> NDArray[np.bool_]:
        """(n,) True where the ion was seen and the path is near those of the training."""
        return super().in_domain(records) & (self.distance(records) <= 1.0)

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        arrays = {
            "source": self.source_.descriptors,
            "source_target": self.source_.target,
            "labels": self.labels_,
            "label_target": self.label_target_,
            **named("domain.", self.domain_.arrays()),
        }
        return {k: v.astype(np.float32) for k, v in arrays.items()}, {
            "settings": asdict(self),
            "source_ions": self.source_ions_,
            "threshold": self.domain_.threshold,
        }

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        model = cls(**settings["settings"])
        names = ("source", "source_target", "labels", "label_target")
        source, target, labels, label_target = (arrays[name].astype(float) for name in names)
        model._set(source, target, list(settings["source_ions"]), labels, label_target)
        model.domain_ = Domain.of_arrays(
            under("domain.", arrays), settings["threshold"], settings["source_ions"]
        )
        return model
