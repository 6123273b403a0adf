"""Barriers from what is known of a hop: its path, its host, and energies of several qualities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import ndtri

from ionbridge.models.barriers.hop_model import Floats, HopEnergies, HopModel
from ionbridge.models.barriers.learned_energies import (
    HIGHEST_EV,
    LARGEST_DIFFERENCE_EV,
    SITE_SHARE,
    LearnedEnergies,
    learned_view,
    site_difference,
)
from ionbridge.models.calibration import Calibration
from ionbridge.models.checkpoint import Arrays, IncompatibleModelError, named, under
from ionbridge.models.cross_validation import Rows, grouped_folds, out_of_fold
from ionbridge.models.domain import Domain
from ionbridge.models.hop_networks.hop_graphs import features_of, graph_of, on_path, one_way
from ionbridge.models.hop_networks.network import HopNetworkConfig
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.gaussian_process import PathProcess
from ionbridge.models.regressors.trees import Forest
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.descriptors import HOP_FEATURES, migration_graph_features
from ionbridge.structures.features.graph import PATH_SCALARS, HopData, migration_graph_data
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import Hop, UnusableStructureError, sides

PROFILE = "potential_profile_eV"
"""Key of a hop's energies along its path while the host stands still, by a universal potential."""
SHORT, SHORT_BACKWARD = "short_relaxation_eV", "short_relaxation_backward_eV"
"""Keys of the barriers, there and back, of a short relaxation with a universal potential."""
SHORT_STD, SHORT_CORRELATION = 0.4, 0.55
"""Errors of short relaxations against DFT on TARGET: spread, and correlation with this model's on
families that it has not seen (both err where the label does)."""
LARGEST_STD_EV = 0.6
"""Predicted spread beyond which a hop is out of domain."""
LOWEST_SHORT_EV = 0.05
"""A relaxed barrier below this, that of an end which is no minimum, counts as this much."""
RELAXED_SHARE, SHORT_TOO_LOW = 0.3, 0.1
"""Of a label whose hop was relaxed as well: the share of the relaxation, and what it lacks of DFT
on TARGET."""
SMALLEST_WINDOW_A = 0.2
"""Narrower windows count as this wide where something is divided by them."""
BAND = "mace_relax_eV"
"""Key of the barrier of a band relaxed with the universal potential MACE-MP."""
LOWEST_EV = -1.0
N_VIEW = 5
TARGET = LogShift(0.1)
N_TREES, MIN_LEAF, MAX_FEATURES = 120, 2, 0.3
N_FOLDS = 5
N_MEMBERS = 5
"""Draws of a crystal's barriers."""
SAME = 1e-4
"""Distance of a hop to itself: path and composition, in standard deviations."""
ENOUGH_ROWS = 50
"""Labels with energies from which they can be learnt from; fewer do if they are half of all."""
Sources = tuple[bool, bool]
"""Whether a hop brings a profile, and whether it brings a relaxed band."""
LESS: dict[Sources, tuple[Sources, ...]] = {
    (True, True): ((False, True), (True, False), (False, False)),
    (False, True): ((False, False),),
    (True, False): ((False, False),),
    (False, False): (),
}
"""What is read instead where too few labels bring all that a hop brings."""


class HopBarrierModel(HopModel):
    """A Gaussian process and trees on path, composition and energies along the path.

    Energies come in qualities. Those that pretrained networks expect of a universal potential
    (:class:`ionbridge.models.barriers.learned_energies.LearnedEnergies`) are there for every hop. A
    model that ``reads_energies`` also takes those that a hop brings: the potential's own along the
    path, the host as it stands (PROFILE), and the barrier of a relaxed band (BAND). Energies of a
    rigid host are too high; the geometric mean of a process and of extremely randomised trees
    learns by how much. Each combination of what hops bring has a process and trees of its own, on
    all labels that bring as much.

    A barrier is the saddle above the initial site, so a hop and its reverse have two wherever the
    ends differ. What is learnt is the saddle above the mean of both ends (the kinetically resolved
    barrier of Van der Ven et al., Phys. Rev. B 64, 184307 (2001)), the same both ways to the last
    bit; half of the difference of the site energies is added, those of the pretrained networks,
    which depend on the site alone, so that every loop of a crystal closes.

    Published labels come from many hands. Where the short relaxation of a labelled hop is known, a
    share of the label is taken from it (RELAXED_SHARE): the potential judges all families alike, so
    what is learnt of one holds for another. Labels that join those of a known model stay as they
    are.

    A hop that brings barriers of a short relaxation (SHORT, SHORT_BACKWARD) gets the mean of these
    and of what the model says, there and back, weighted by inverse variances: the less the model
    knows of a family, the more the potential counts. The mean is never less certain than the model.

    Args:
        seed: Of the trees.
        reads_energies: Take the energies that hops bring.
        learned: The pretrained networks; None takes those that come with the package.
        known: Model whose labels are kept beside the new ones, and whose hyperparameters serve.
        beside: Further labelled hops and their forward barriers in eV, which are learnt from and
            not calibrated on.
        n_folds: Of the cross-validation that calibrates the intervals, on hops that bring nothing,
            as most do that are asked for; 0 leaves that to others.
    """

    kind: ClassVar[str] = "physics_fed"
    calibration_: Calibration

    def __init__(
        self,
        seed: int = 0,
        reads_energies: bool = True,
        learned: LearnedEnergies | None = None,
        known: HopBarrierModel | None = None,
        n_folds: int = N_FOLDS,
        beside: tuple[Sequence[Hop], Floats] | None = None,
    ) -> None:
        self.seed, self.reads_energies, self.known = seed, reads_energies, known
        self.n_folds, self.beside = n_folds, beside
        if learned is None:
            learned = LearnedEnergies.shipped() if known is None else known.learned
        self.learned: LearnedEnergies = learned

    @property
    def target(self) -> LogShift:
        """Space in which barriers are learnt and intervals calibrated."""
        return TARGET

    def interval(self, prediction: Prediction) -> tuple[Floats, Floats]:
        """Calibrated 90 % interval of what :meth:`predict` gave, eV."""
        return self.calibration_.interval(prediction, TARGET)

    def embedding(self, records: Sequence[Hop]) -> Floats:
        """(n, n_columns) path and composition."""
        return self.inputs_of(records).known

    def in_domain(self, records: Sequence[Hop]) -> NDArray[np.bool_]:
        """(n,) True where ion and elements were seen and the predicted spread is small.

        With whole families left out, the distance to the training hops does not tell large errors
        from small ones, the spread does (benchmarks/shipped_hop_barrier.py).
        """
        return self._inside(records, self._predict(records).std)

    def energies(self, records: Sequence[Hop]) -> HopEnergies:
        """Energies of (n,) hops, with calibrated spreads.

        Site energies are those of the pretrained networks, so every loop of a crystal closes;
        saddles are drawn from the model's doubt, the same quantile for all hops, as N_MEMBERS
        members.
        """
        joined = self._joined(self.inputs_of(records))
        return self._energies(records, joined, np.zeros(len(records)), joined.difference)

    def crystal_energies(self, graphs: Sequence[MigrationGraph]) -> list[HopEnergies]:
        """Energies of the unique hops of each crystal, as :meth:`energies`.

        A short relaxation that a hop brings moves its ends apart or together, their mean stays.
        """
        hops = [hop for graph in graphs for hop in graph.hops]
        data = [migration_graph_data(graph) for graph in graphs]
        start, end, _ = energies = self.learned.energies(data)
        none = np.zeros((0, len(HOP_FEATURES)))
        features = np.concatenate([none, *map(migration_graph_features, graphs)])
        inputs = Inputs.made(hops, data, energies, features)
        joined = self._joined(inputs)
        half = 0.5 * np.where(
            np.isfinite(inputs.short[:, 0]), joined.difference - inputs.difference, 0.0
        )
        whole = self._energies(hops, joined, SITE_SHARE * start - half, SITE_SHARE * end + half)
        return whole.divided([len(graph.hops) for graph in graphs])

    def to(self, device: str) -> Self:
        """Move the pretrained networks to ``auto``, ``cpu`` or ``cuda``; the rest stays on the CPU.

        Raises:
            ValueError: No such device.
        """
        self.learned.to(device)
        return self

    @property
    def device(self) -> str:
        """Where the networks are: ``cpu`` or ``cuda``."""
        return self.learned.device

    def _energies(
        self, hops: Sequence[Hop], joined: Joined, start: Floats, end: Floats
    ) -> HopEnergies:
        forward, _, noise, doubt = joined
        saddle_eV = above_mean(forward, end - start)
        t = TARGET.forward(saddle_eV)
        quantile = ndtri((np.arange(N_MEMBERS) + 0.5) / N_MEMBERS)[:, None]
        saddle = np.maximum(TARGET.inverse(t + quantile * doubt), 0.5 * np.abs(end - start))
        spread = TARGET.inverse_std(saddle_eV, noise)
        same = np.ones((N_MEMBERS, 1))
        inside = self._inside(
            hops,
            self.calibration_.inflation * TARGET.inverse_std(saddle_eV, np.hypot(noise, doubt)),
        )
        return HopEnergies(same * start, same * end, saddle, spread, inside, TARGET).inflated(
            self.calibration_.inflation
        )

    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None:
        own = self.inputs_of(hops)
        others, other_eV = self.beside or ((), np.zeros(0))
        every = [*others, *hops]
        elements = frozenset(symbol for hop in every for symbol in hop.elements)
        groups = [hop.framework for hop in every]
        more = (self.inputs_of(others), other_eV) if others else None
        self._learn(own, barriers, more)
        if self.known is not None:
            self.ions_ = sorted({*self.ions_, *self.known.ions_})
            elements |= self.known.domain_.elements
            groups = [*(f"known {k}" for k in range(len(self.known.barrier_eV_))), *groups]
        self.domain_ = Domain.fit(self.inputs_.known, groups, elements)
        source = self.known.calibration_ if self.known is not None else None
        self.calibration_ = source or Calibration()
        folds = grouped_folds(hops, None, self.n_folds)
        if not folds:
            return

        def predict(train: Rows, test: Rows) -> Floats:
            part = HopBarrierModel(self.seed, self.reads_energies, self.learned, self.known)
            part._learn(own.rows(train), barriers[train], more, self._found())
            found = part.predict_inputs(own.rows(test).bare())
            return np.stack([found.mean, found.aleatoric_std, found.epistemic_std])

        found = Prediction(*out_of_fold(predict, folds, np.zeros((3, len(hops)))))
        n_groups = len({hop.framework for hop in hops})
        values = sides(hops) == 0
        self.calibration_ = Calibration.fit(
            found[values], barriers[values], TARGET, n_groups=n_groups, source=source
        )

    def inputs_of(self, hops: Sequence[Hop]) -> Inputs:
        """What this model knows of hops."""
        return Inputs.of(hops, self.learned)

    def without(self, hops: Sequence[Hop]) -> HopBarrierModel:
        """The model as a base that has not seen some hops; its hyperparameters stay."""
        kept = np.flatnonzero(~_same(self.inputs_.known, self.embedding(hops), self._widths))
        rest = HopBarrierModel(self.seed, self.reads_energies, self.learned)
        rest.fit_inputs(self.inputs_.rows(kept), self.barrier_eV_[kept], self._found())
        rest.ions_, rest.domain_, rest.calibration_ = self.ions_, self.domain_, self.calibration_
        return rest

    def relabelled(self, saddle_eV: Floats) -> HopBarrierModel:
        """The model as a base with other labels of the same hops; its hyperparameters stay.

        Args:
            saddle_eV: (n_labels,) saddles above the mean of both ends, eV.
        """
        other = HopBarrierModel(self.seed, self.reads_energies, self.learned)
        inputs = self.inputs_.unrelaxed()
        other.fit_inputs(inputs, inputs.above_start(saddle_eV), self._found())
        other.ions_, other.domain_, other.calibration_ = self.ions_, self.domain_, self.calibration_
        return other

    def were_trained_on(self, records: Sequence[Hop]) -> NDArray[np.bool_]:
        """(n,) True for hops that are among the labels."""
        return _same(self.embedding(records), self.inputs_.known, self._widths)

    @property
    def _widths(self) -> Floats:
        """(n_columns,) of path and composition among the labels."""
        found: Floats = self.inputs_.known.std(axis=0) + SAME
        return found

    def _found(self) -> dict[Sources, Floats]:
        """Log hyperparameters of the processes, by what they read."""
        return {sources: process.theta for sources, (process, _) in self.experts().items()}

    def _learn(
        self,
        own: Inputs,
        barrier_eV: Floats,
        beside: tuple[Inputs, Floats] | None = None,
        theta: Mapping[Sources, Floats] | None = None,
    ) -> None:
        """Fit to labels, beside others and those of the known model, whose theta then serves."""
        if beside is not None:
            own, barrier_eV = beside[0].with_rows(own), np.concatenate([beside[1], barrier_eV])
        if self.known is None:
            self.fit_inputs(own, barrier_eV, theta)
            return
        known = self.known
        self.fit_inputs(
            known.inputs_.with_rows(own.unrelaxed()),
            np.concatenate([known.barrier_eV_, barrier_eV]),
            known._found(),
        )

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        return self.calibration_.calibrated(self.predict_inputs(self.inputs_of(hops)))

    def _inside(self, hops: Sequence[Hop], std_eV: Floats) -> NDArray[np.bool_]:
        seen = [hop.elements <= self.domain_.elements for hop in hops]
        found: NDArray[np.bool_] = (
            super().in_domain(hops) & (std_eV <= LARGEST_STD_EV) & np.array(seen, dtype=bool)
        )
        return found

    def fit_inputs(
        self, inputs: Inputs, barrier_eV: Floats, theta: Mapping[Sources, Floats] | None = None
    ) -> None:
        """Fit to (n,) forward barriers, without calibration.

        Args:
            inputs: Of n hops.
            barrier_eV: (n,) saddles above the initial sites, eV.
            theta: Log hyperparameters of the processes; those that are not given are found.
        """
        self.inputs_, self.barrier_eV_ = inputs, barrier_eV
        self._theta = dict(theta or {})
        self._experts: dict[Sources, tuple[PathProcess, Forest]] = {}

    def experts(self) -> Mapping[Sources, tuple[PathProcess, Forest]]:
        """The process and the trees of every combination that enough labels bring."""
        for sources in LESS:
            if self.reads_energies or not any(sources):
                self._expert(sources)
        return self._experts

    def predict_inputs(self, inputs: Inputs) -> Prediction:
        """Forward barriers, eV, with spreads that are not yet calibrated."""
        forward, difference, noise, doubt = self._joined(inputs)
        saddle = above_mean(forward, difference)
        return Prediction(
            forward,
            TARGET.inverse_std(saddle, noise),
            TARGET.inverse_std(saddle, doubt),
        )

    def _joined(self, inputs: Inputs) -> Joined:
        """What the model says and the short relaxation that a hop brings, there and back.

        The mean of both, each weighted by the inverse of its variance. That their errors are
        correlated widens the spread and stays out of the weights, which is what combinations of
        forecasts are found to be best with (Newbold and Granger, J. R. Stat. Soc. A 137, 131
        (1974)). The relaxation gets less weight where the mean would be less certain than the model
        is alone, and none where the model's spread is below SHORT_CORRELATION SHORT_STD: of a
        crystal that is known this well a relaxation says nothing new.
        """
        t, noise, doubt = self._logarithms(inputs)
        alone = inputs.above_start(TARGET.inverse(t))
        both = np.column_stack([alone, alone - inputs.difference])
        relaxed = inputs.short if self.reads_energies else np.full_like(both, np.nan)
        there = np.isfinite(relaxed)
        gap = np.where(there, relaxed - both, 0.0)
        own = np.hypot(noise, doubt)
        shared = SHORT_CORRELATION * own * SHORT_STD
        narrowest = (own**2 - shared) / (own**2 + SHORT_STD**2 - 2.0 * shared)
        weight = np.minimum(own**2 / (own**2 + SHORT_STD**2), 2.0 * np.maximum(narrowest, 0.0))
        weight = np.where(there[:, 0], weight, 0.0)
        rest = 1.0 - weight
        variance = (weight * SHORT_STD) ** 2 + (rest * own) ** 2 + 2.0 * weight * rest * shared
        left = np.sqrt(variance) / np.maximum(own, 1e-9)
        forward, backward = (both + weight[:, None] * gap).T
        return Joined(forward, forward - backward, noise * left, doubt * left)

    def _logarithms(self, inputs: Inputs) -> tuple[Floats, Floats, Floats]:
        """Mean, noise and doubt, (n,) each, in the space of TARGET."""
        n = len(inputs.scalars)
        t, noise, doubt = np.zeros(n), np.zeros(n), np.zeros(n)
        brought = inputs.sources if self.reads_energies else np.zeros((n, 2), dtype=bool)
        for sources in LESS:
            rows = np.flatnonzero((brought == sources).all(axis=1))
            if not len(rows):
                continue
            read = next(s for s in (sources, *LESS[sources]) if self._expert(s) is not None)
            process, forest = self._experts[read]
            x = inputs.rows(rows)
            mean, spread = process.predict(x.for_process(read))
            each = forest.predict(x.for_trees(read)).mean(axis=0)
            t[rows] = 0.5 * (mean + each)
            noise[rows] = process.noise
            doubt[rows] = np.hypot(spread, 0.5 * (mean - each))
        return t, noise, doubt

    def _expert(self, sources: Sources) -> tuple[PathProcess, Forest] | None:
        """Made when first asked for; None where too few labels bring as much."""
        if sources not in self._experts:
            enough = (self.inputs_.sources | ~np.array(sources)).all(axis=1)
            if any(sources) and enough.sum() < min(ENOUGH_ROWS, 0.5 * len(enough)):
                return None
            x, y = self._labels(enough)
            inputs, theta = x.for_process(sources), self._theta.get(sources)
            self._experts[sources] = (
                PathProcess(inputs, y, theta, x.n_trends(sources)),
                Forest.grown(x.for_trees(sources), y, N_TREES, MIN_LEAF, MAX_FEATURES, self.seed),
            )
        return self._experts[sources]

    def _labels(self, chosen: NDArray[np.bool_]) -> tuple[Inputs, Floats]:
        """Inputs of some labels, and their saddles above the mean of both ends on TARGET."""
        x = self.inputs_.rows(np.flatnonzero(chosen))
        t = TARGET.forward(x.above_mean(self.barrier_eV_[chosen]))
        relaxed = TARGET.forward(x.relaxed_saddle) + SHORT_TOO_LOW
        share = RELAXED_SHARE if self.reads_energies else 0.0
        return x, np.where(np.isfinite(relaxed), (1.0 - share) * t + share * relaxed, t)

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        arrays = self.inputs_.arrays() | {"barrier": self.barrier_eV_} | self.learned.arrays()
        domain = {k: v.astype(np.float32) for k, v in self.domain_.arrays().items()}
        arrays |= named("domain.", domain)
        for sources, (process, forest) in self.experts().items():
            arrays |= named(f"process{_code(sources)}.", process.arrays())
            arrays |= named(f"forest{_code(sources)}.", forest.arrays())
        return arrays, {
            "seed": self.seed,
            "reads_energies": self.reads_energies,
            "network": asdict(self.learned.config),
            "calibration": asdict(self.calibration_),
            "threshold": self.domain_.threshold,
            "elements": sorted(self.domain_.elements),
        }

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        if "barrier" not in arrays:
            raise IncompatibleModelError(
                "this hop model was saved by version 0.1, which kept no fitted process and trees; "
                "make it again with `ionbridge finetune` from its labels"
            )
        learned = LearnedEnergies.of_arrays(arrays, HopNetworkConfig(**settings["network"]))
        model = cls(settings["seed"], settings["reads_energies"], learned)
        model.fit_inputs(Inputs.of_arrays(arrays), arrays["barrier"])
        for sources in LESS:
            process, forest = (
                under(f"{part}{_code(sources)}.", arrays) for part in ("process", "forest")
            )
            if process:
                enough = (model.inputs_.sources | ~np.array(sources)).all(axis=1)
                x, y = model._labels(enough)
                inputs, trends = x.for_process(sources), x.n_trends(sources)
                model._experts[sources] = (
                    PathProcess.of_arrays(inputs, y, process, trends),
                    Forest.from_arrays(forest),
                )
        model._theta = {s: process.theta for s, (process, _) in model._experts.items()}
        model.calibration_ = Calibration(**settings["calibration"])
        model.domain_ = Domain.of_arrays(
            under("domain.", arrays), settings["threshold"], settings["elements"]
        )
        return model


def _same(asked: Floats, among: Floats, widths: Floats) -> NDArray[np.bool_]:
    """(n,) True for rows that are among others, columns measured in widths."""
    distance, _ = cKDTree(among / widths).query(asked / widths)
    return np.asarray(distance < SAME)


class Joined(NamedTuple):
    """Forward barriers of (n,) hops and final sites above initial ones, eV; spreads on TARGET."""

    forward: Floats
    difference: Floats
    noise: Floats
    doubt: Floats


def _code(sources: Sources) -> str:
    return "".join(str(int(there)) for there in sources)


class Inputs:
    """What is known of n hops.

    Args:
        scalars: (n, len(PATH_SCALARS)) path scalars.
        features: (n, n_features) path and composition.
        view: (n, N_VIEW) what :func:`view_of` gives; NaN where there is none.
        learned: (n, 2) what :func:`ionbridge.models.barriers.learned_energies.learned_view` gives.
        band: (n,) logarithm of a relaxed band's barrier; NaN where there is none.
        short: (n, 2) barriers of a short relaxation, there and back, eV; NaN where there are none.
        difference: (n,) energy of the final site above that of the initial one, eV, as the
            pretrained networks expect it.

    All but the last two are the same for a hop and its reverse.
    """

    def __init__(
        self,
        scalars: Floats,
        features: Floats,
        view: Floats,
        learned: Floats,
        band: Floats,
        short: Floats,
        difference: Floats,
    ) -> None:
        self.scalars, self.features, self.view = scalars, features, view
        self.learned, self.band, self.short, self.difference = learned, band, short, difference

    @classmethod
    def of(cls, hops: Sequence[Hop], learned: LearnedEnergies | None = None) -> Inputs:
        """From the hops, all on their bond-valence paths, whatever path they came with.

        Every hop is looked at in one of its two directions, so that rounding is the same for both.
        """
        views = [one_way(hop) for hop in hops]
        graphs = [graph_of(hop) for hop, _ in views]
        energies = (learned or LearnedEnergies.shipped()).energies_of([hop for hop, _ in views])
        ready = [on_path(hop) for hop, _ in views]
        inputs = cls.made(ready, graphs, energies, features_of(ready))
        own = np.array([same for _, same in views], dtype=bool)
        inputs.difference = np.where(own, inputs.difference, -inputs.difference)
        inputs.short = np.where(own[:, None], inputs.short, inputs.short[:, ::-1])
        return inputs

    @classmethod
    def made(
        cls,
        hops: Sequence[Hop],
        graphs: Sequence[HopData],
        energies: tuple[Floats, Floats, Floats],
        features: Floats,
    ) -> Inputs:
        """From hops on their bond-valence paths, and what is known of them in this order.

        Args:
            hops: (n,) hops.
            graphs: Graphs that hold them.
            energies: Of :meth:`LearnedEnergies.energies`.
            features: (n, n_features) of
                :func:`ionbridge.structures.features.descriptors.hop_features`.
        """
        none = np.zeros((0, len(PATH_SCALARS)))
        scalars = np.concatenate([none, *(graph.scalars.double().numpy() for graph in graphs)])
        view = np.array([view_of(hop) for hop in hops]).reshape(len(hops), N_VIEW)
        band = np.array([band_of(hop) for hop in hops])
        short = np.array([short_of(hop) for hop in hops]).reshape(len(hops), 2)
        learned, difference = learned_view(energies, TARGET), site_difference(energies)
        features = both_ways(features, HOP_FEATURES)
        return cls(scalars, features, view, learned, logarithm_of(band), short, difference)

    @property
    def sources(self) -> NDArray[np.bool_]:
        """(n, 2) whether there is a profile, whether there is a band."""
        return np.column_stack([np.isfinite(self.view).all(axis=1), np.isfinite(self.band)])

    @property
    def known(self) -> Floats:
        """(n, n_columns) what is known without a potential, and differs among the labelled hops."""
        varied = [k for k, name in enumerate(PATH_SCALARS) if name != "bvse_missing"]
        return np.hstack([self.scalars[:, varied], self.features])

    @property
    def relaxed_saddle(self) -> Floats:
        """(n,) saddles of a short relaxation above the mean of both sites, eV; NaN without."""
        return above_mean(self.short[:, 0], self.short[:, 0] - self.short[:, 1])

    def unrelaxed(self) -> Inputs:
        """The same without short relaxations."""
        return self._unknown("short")

    def bare(self) -> Inputs:
        """The same without anything that hops bring."""
        return self._unknown("view", "band", "short")

    def _unknown(self, *names: str) -> Inputs:
        unknown = {name: np.full_like(getattr(self, name), np.nan) for name in names}
        return Inputs.of_arrays(self.arrays() | unknown)

    def above_start(self, saddle_eV: Floats) -> Floats:
        """(n,) saddles above the initial sites, eV, of such above the mean of both sites."""
        half = 0.5 * self.difference
        return np.maximum(saddle_eV, np.abs(half)) + half

    def above_mean(self, barrier_eV: Floats) -> Floats:
        """(n,) saddles above the mean of both sites, eV, of forward barriers."""
        return above_mean(barrier_eV, self.difference)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All columns by name, for saving."""
        return {name: getattr(self, name) for name in INPUTS}

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> Inputs:
        """Make it anew from what :meth:`arrays` gave."""
        return cls(*(np.asarray(arrays[name], dtype=float) for name in INPUTS))

    def rows(self, index: NDArray[np.intp]) -> Inputs:
        """The inputs of the hops with these indices."""
        return Inputs(*(value[index] for value in self.arrays().values()))

    def with_rows(self, others: Inputs) -> Inputs:
        """These and then the others."""
        pairs = zip(self.arrays().values(), others.arrays().values(), strict=True)
        return Inputs(*(np.concatenate(pair) for pair in pairs))

    def for_process(self, sources: Sources) -> Floats:
        """(n, n_columns) what the Gaussian process sees; the features come last."""
        return np.hstack([self.scalars, *self._energies(sources), self.features])

    def for_trees(self, sources: Sources) -> Floats:
        """(n, n_columns) what the trees see."""
        brought = self._energies(sources)
        return np.hstack([self.features, self.scalars, *brought, self._by_charge()])

    def _by_charge(self) -> Floats:
        """(n, 6) the ion's charge times what it acts with, which trees find hard to multiply.

        Expected energies, the ion's radius, its charge, how wide the window is for it, and the
        inverse of the window.
        """
        columns = ("ion_charge", "ion_radius_A", "window_over_ion_radius", "window_radius_A")
        charge, radius, fit, window = (self.features[:, HOP_FEATURES.index(c)] for c in columns)
        by = [*self.learned.T, radius, charge, fit, 1.0 / np.maximum(window, SMALLEST_WINDOW_A)]
        found: Floats = charge[:, None] * np.column_stack(by)
        return found

    def n_trends(self, sources: Sources) -> int:
        """Columns of :meth:`for_process` that carry trends: all but the features."""
        found: int = self.for_process(sources).shape[1] - self.features.shape[1]
        return found

    def _energies(self, sources: Sources) -> list[Floats]:
        brought = zip(sources, (self.view, self.band[:, None]), strict=True)
        return [self.learned, *(value for used, value in brought if used)]


INPUTS = ("scalars", "features", "view", "learned", "band", "short", "difference")


def above_mean(barrier_eV: Floats, difference_eV: Floats) -> Floats:
    """(n,) saddles above the mean of both sites, eV, at least as high as the higher site.

    Args:
        barrier_eV: (n,) saddles above the initial sites.
        difference_eV: (n,) energies of the final sites above the initial ones.
    """
    half = 0.5 * difference_eV
    return np.asarray(np.maximum(barrier_eV - half, np.abs(half)))


def both_ways(features: Floats, names: Sequence[str]) -> Floats:
    """(n, n_features) features the same for a hop and its reverse.

    Numbers of the start and of the end become their mean and their absolute difference.
    """
    start = [k for k, name in enumerate(names) if name.startswith("start_")]
    end = [names.index(f"end_{names[k].removeprefix('start_')}") for k in start]
    found = features.copy()
    found[:, start] = 0.5 * (features[:, start] + features[:, end])
    found[:, end] = np.abs(features[:, start] - features[:, end])
    return found


def logarithm_of(energy_eV: Floats) -> Floats:
    """Of energies above a site, cut where they only say that an ion is far; NaN stays."""
    return TARGET.forward(np.clip(energy_eV, 0.0, HIGHEST_EV))


def brought(hop: Hop, key: str) -> Floats:
    """(n,) numbers under a key of the hop; none where it has no such key.

    Raises:
        UnusableStructureError: Something else stands there.
    """
    value = hop.extra.get(key)
    try:
        return np.atleast_1d(np.asarray([] if value is None else value, dtype=float))
    except (TypeError, ValueError):
        text = str(value)[:40]
        raise UnusableStructureError(f"{hop.id}: {key}: expected numbers, got {text!r}") from None


def band_of(hop: Hop) -> float:
    """Barrier of a relaxed band that the hop brings, eV; NaN without."""
    value = brought(hop, BAND)
    return float(value[0]) if value.shape == (1,) and value[0] > 0 else float("nan")


def short_of(hop: Hop) -> Floats:
    """(2,) barriers there and back of a short relaxation that the hop brings, eV; NaN without.

    A barrier below LOWEST_SHORT_EV is cut there: it still says that the hop is easy.
    """
    both = np.concatenate([brought(hop, SHORT), brought(hop, SHORT_BACKWARD)])
    if both.shape != (2,) or not np.isfinite(both).all():
        return np.full(2, np.nan)
    found: Floats = np.maximum(both, LOWEST_SHORT_EV)
    return found


def view_of(hop: Hop) -> Floats:
    """(N_VIEW,) numbers of a hop's energy profile, the same for the hop and its reverse.

    Saddle above the mean of both ends (logarithm), difference of the ends, second highest energy
    (logarithm), lowest energy, share of the path above half of the saddle. NaN without a profile.
    """
    energies = brought(hop, PROFILE)
    if len(energies) < 4 or not np.isfinite(energies).all():
        return np.full(N_VIEW, np.nan)
    above = energies - 0.5 * (energies[0] + energies[-1])
    saddle = above.max()
    logarithm = logarithm_of(np.array([saddle, np.sort(above[1:-1])[-2]]))
    return np.array(
        [
            logarithm[0],
            min(abs(energies[-1] - energies[0]), LARGEST_DIFFERENCE_EV),
            logarithm[1],
            max(above.min(), LOWEST_EV),
            float(np.mean(above > 0.5 * saddle)),
        ]
    )
