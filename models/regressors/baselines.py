"""What every network is measured against: means, trees on descriptors, the bond-valence barrier.

All learn migration barriers of hops in eV through the same two verbs as the networks and are
stored in the same form (safetensors + JSON + card).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ionbridge.models.barriers.hop_model import Floats, HopModel
from ionbridge.models.checkpoint import Arrays
from ionbridge.models.cross_validation import Rows, grouped_folds, out_of_fold
from ionbridge.models.hop_networks.hop_graphs import features_of, on_path
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.gaussian_process import GaussianProcessBaseline
from ionbridge.models.regressors.trees import Forest
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.descriptors import HOP_FEATURES
from ionbridge.structures.features.splits import framework
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.records import Hop


@dataclass
class GlobalMean(HopModel):
    """The mean of all training barriers, whatever the hop."""

    kind: ClassVar[str] = "global_mean"

    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None:
        self.mean_ = float(barriers.mean())
        self.std_ = float(barriers.std())
        self.count_ = len(barriers)

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        full = np.ones(len(hops))
        return Prediction(
            full * self.mean_, full * self.std_, full * self.std_ / np.sqrt(self.count_)
        )

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        return {"moments": np.array([self.mean_, self.std_, self.count_])}, {}

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        model = cls()
        model.mean_, model.std_, count = map(float, arrays["moments"])
        model.count_ = int(count)
        return model


@dataclass
class FamilyIonMean(HopModel):
    """Mean of the same family and ion; else of the family, of the ion, of everything."""

    kind: ClassVar[str] = "family_mean"

    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None:
        members: dict[str, list[int]] = {}
        for k, hop in enumerate(hops):
            for group in _groups(hop):
                members.setdefault(group, []).append(k)
        self.means_ = {g: float(barriers[rows].mean()) for g, rows in members.items()}
        self.counts_ = {g: len(rows) for g, rows in members.items()}
        # one spread a level: small groups have none worth trusting
        self.spread_ = []
        for level in range(len(_LEVELS)):
            own = np.array([self.means_[_groups(hop)[level]] for hop in hops])
            n_groups = len({_groups(hop)[level] for hop in hops})
            freedom = max(len(hops) - n_groups, 1)
            self.spread_.append(float(np.sqrt(np.sum((barriers - own) ** 2) / freedom)))

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        rows = []
        for hop in hops:
            level, group = next((k, g) for k, g in enumerate(_groups(hop)) if g in self.means_)
            spread = self.spread_[level]
            rows.append((self.means_[group], spread, spread / np.sqrt(self.counts_[group])))
        return Prediction(*np.array(rows).T)

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        return {"spread": np.array(self.spread_)}, {"means": self.means_, "counts": self.counts_}

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        model = cls()
        model.spread_ = [float(s) for s in arrays["spread"]]
        model.means_, model.counts_ = dict(settings["means"]), dict(settings["counts"])
        return model


@dataclass
class ExtraTreesBaseline(HopModel):
    """Extremely randomised trees on path geometry and composition, target ln(barrier + shift).

    Trees: Geurts et al., Mach. Learn. 63, 3 (2006). The trees' mean in log space is a geometric
    mean, which stays near the median of skewed barriers. Epistemic spread is that between trees;
    the rest of the out-of-fold error (folds keep frameworks together) is aleatoric.

    Attributes:
        n_trees: Number of trees.
        min_leaf: Fewest hops in a leaf.
        max_features: Share of the columns tried at a division.
        shift_eV: Keeps the logarithm of the smallest barriers at bay.
        seed: Of the trees.
    """

    n_trees: int = 200
    min_leaf: int = 2
    max_features: float = 0.3
    shift_eV: float = 0.05
    seed: int = 0

    kind: ClassVar[str] = "trees"

    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None:
        features = features_of(hops)
        target = LogShift(self.shift_eV).forward(barriers)
        self.features_ = list(HOP_FEATURES)
        self.forest_ = self._grow(features, target)
        self.residual_ = self._unexplained(hops, features, target)

    def _grow(self, features: Floats, target: Floats) -> Forest:
        from sklearn.ensemble import ExtraTreesRegressor  # seconds that predictions do not need

        regressor = ExtraTreesRegressor(
            n_estimators=self.n_trees,
            min_samples_leaf=self.min_leaf,
            max_features=self.max_features,
            random_state=self.seed,
        )
        return Forest.from_sklearn(regressor.fit(features, target).estimators_)

    def _unexplained(self, hops: Sequence[Hop], features: Floats, target: Floats) -> float:
        """Out-of-fold error in log space that the spread of the trees does not account for."""
        folds = grouped_folds(hops, framework, 5, self.seed)
        if not folds:
            return float(target.std())

        def predict(train: Rows, test: Rows) -> Floats:
            trees = self._grow(features[train], target[train]).predict(features[test])
            return np.array([target[test] - trees.mean(axis=0), trees.std(axis=0)])

        error, spread = out_of_fold(predict, folds, np.zeros((2, len(hops))))
        unexplained = float(np.mean(error**2) - np.mean(spread**2))
        found: float = max(unexplained, 0.0) ** 0.5
        return found

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        trees = self.forest_.predict(features_of(hops))
        log = LogShift(self.shift_eV)
        mean = log.inverse(trees.mean(axis=0))
        return Prediction(
            mean=mean,
            aleatoric_std=log.inverse_std(mean, np.full(len(hops), self.residual_)),
            epistemic_std=log.inverse_std(mean, trees.std(axis=0)),
        )

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        return (
            {**self.forest_.arrays(), "residual": np.array(self.residual_)},
            {"settings": asdict(self), "features": self.features_},
        )

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        model = cls(**settings["settings"])
        model.features_ = list(settings["features"])
        model.residual_ = float(arrays["residual"])
        model.forest_ = Forest.from_arrays(arrays)
        return model


@dataclass
class BondValenceBarrier(HopModel):
    """Barrier of the bond-valence minimum-energy path, calibrated as a + b E by least deviations.

    E is the highest point of the relaxed path above its first image. Hops without bond valences
    (no anion, pair unknown) get the median of the training barriers.
    """

    kind: ClassVar[str] = "bond_valence"

    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None:
        energy = bond_valence_barriers(hops)
        known = np.isfinite(energy)
        self.median_ = float(np.median(barriers))
        self.offset_, self.slope_ = self.median_, 0.0
        if known.sum() > 1 and np.ptp(energy[known]) > 0:
            from sklearn.linear_model import QuantileRegressor

            line = QuantileRegressor(quantile=0.5, alpha=0.0)
            line.fit(energy[known, None], barriers[known])
            self.offset_, self.slope_ = float(line.intercept_), float(line.coef_[0])
        residual = np.abs(barriers - self._line(energy))
        # the median of |x| of a normal distribution is 0.6745 standard deviations
        self.spread_ = float(np.median(residual)) / 0.6745
        self.count_ = len(hops)

    def _line(self, energy: Floats) -> Floats:
        return np.where(np.isfinite(energy), self.offset_ + self.slope_ * energy, self.median_)

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        mean = np.maximum(self._line(bond_valence_barriers(hops)), 0.0)
        full = np.full(len(hops), self.spread_)
        return Prediction(mean, full, full / np.sqrt(self.count_))

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        line = [self.offset_, self.slope_, self.median_, self.spread_, self.count_]
        return {"line": np.array(line)}, {}

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        model = cls()
        model.offset_, model.slope_, model.median_, model.spread_ = map(float, arrays["line"][:4])
        model.count_ = int(arrays["line"][4])
        return model


BASELINES: dict[str, type[HopModel]] = {
    baseline.kind: baseline
    for baseline in (
        GlobalMean,
        FamilyIonMean,
        ExtraTreesBaseline,
        BondValenceBarrier,
        GaussianProcessBaseline,
    )
}
"""Baselines by name."""


def bond_valence_barriers(hops: Sequence[Hop]) -> Floats:
    """(n,) highest bond-valence energy of the relaxed path above its first image, eV.

    NaN where no bond valences exist.
    """
    profiles = [on_path(hop).extra.get("bvse_profile_eV") for hop in hops]
    return np.array([np.nan if p is None else max(p) - p[0] for p in profiles], dtype=float)


_LEVELS = ("family and ion", "family", "ion", "all")


def _groups(hop: Hop) -> tuple[str, str, str, str]:
    """Group names of a hop, one a level of ``_LEVELS``."""
    family = canonical_family(hop.family)
    return f"{family}/{hop.working_ion}", f"{family}/", f"/{hop.working_ion}", "/"
