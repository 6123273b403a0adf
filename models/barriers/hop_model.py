"""What every model of hop barriers gives: barriers, and energies of hops and of whole crystals.

A model that knows site energies gives them itself. Of a model that gives barriers alone the forward
and the backward barrier of a hop tell the difference of its ends and the saddle above their mean.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.models.domain import LONGEST_HOP_A, Domain
from ionbridge.models.estimator import Estimator
from ionbridge.models.hop_networks.training import pick_device
from ionbridge.models.metrics import misses
from ionbridge.models.prediction import HALF_WIDTH_90, Prediction
from ionbridge.models.transforms import LogShift
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import Hop, sides

Floats = NDArray[np.float64]


class HopEnergies(NamedTuple):
    """What every member says of every hop (eV).

    Attributes:
        start_eV: (n_members, n_hops) energy of the ion on its initial site.
        end_eV: (n_members, n_hops) on its final site.
        kra_eV: (n_members, n_hops) saddle above the mean of both.
        aleatoric_std_eV: (n_hops,) spread of the barrier that more members would not settle.
        in_domain: (n_hops,) bool.
        target: Space in which errors of barriers are alike.
    """

    start_eV: Floats
    end_eV: Floats
    kra_eV: Floats
    aleatoric_std_eV: Floats
    in_domain: NDArray[np.bool_]
    target: LogShift = LogShift()

    @property
    def central_kra_eV(self) -> Floats:
        """(n_hops,) the members' median in the space of the target.

        With the members' mean site energies (a mean of differences is a difference of means, so
        loops close) this is the one centre of all that is reported of a hop or a crystal.
        """
        return self.target.inverse(np.median(self.target.forward(self.kra_eV), axis=0))

    @property
    def central_barrier_eV(self) -> Floats:
        """(n_hops,) forward barrier, saddle above the initial site, of the centre."""
        difference = (self.end_eV - self.start_eV).mean(axis=0)
        found: Floats = np.maximum(self.central_kra_eV, 0.5 * np.abs(difference)) + 0.5 * difference
        return found

    def divided(self, sizes: Sequence[int]) -> list[HopEnergies]:
        """Parts of so many hops each, in order."""
        stops = np.cumsum(sizes)
        cuts = [slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
        return [
            HopEnergies(
                self.start_eV[:, cut],
                self.end_eV[:, cut],
                self.kra_eV[:, cut],
                self.aleatoric_std_eV[cut],
                self.in_domain[cut],
                self.target,
            )
            for cut in cuts
        ]

    def inflated(self, factor: float) -> HopEnergies:
        """Members moved away from their centre, and the aleatoric spread widened, by a factor.

        Barriers move in the space of the target, where errors are alike for low and high ones, so
        that none is driven to zero. Site energies move as they are, so every loop still closes.
        """
        t = self.target.forward(self.kra_eV)
        center = np.median(t, axis=0)
        start, end = (
            v.mean(axis=0) + factor * (v - v.mean(axis=0)) for v in (self.start_eV, self.end_eV)
        )
        return self._replace(
            start_eV=start,
            end_eV=end,
            kra_eV=self.target.inverse(center + factor * (t - center)),
            aleatoric_std_eV=factor * self.aleatoric_std_eV,
        )


class HopModel(Estimator):
    """A model of hop barriers, eV.

    A subclass learns (``_fit``) and predicts (``_predict``); the rest holds for any model and is
    replaced where one knows better.

    Attributes:
        reads_energies: Whether it reads a potential's energies that a hop brings.
        learns_bounds: Whether labels that are bounds teach it; they are left out otherwise.
        asks_for_profile: Whether a prediction first computes a potential's energies along the path
            of hops that bring none.
        progress: Name on the progress bar of a long fit; None shows none.
    """

    quantity = "migration_barrier"
    inputs: ClassVar[str] = "hop"
    reads_energies: bool = False
    learns_bounds: bool = True
    asks_for_profile: bool = False
    progress: str | None = None
    domain_: Domain

    @property
    def target(self) -> LogShift | None:
        """Space in which its intervals are calibrated; None where they are those of a normal."""
        return None

    def fit(self, records: Sequence[Hop], labels: ArrayLike) -> Self:
        """Learn from hops and their forward barriers.

        A bound teaches only where the prediction is on its wrong side: the model is fitted to the
        values, and again with the bounds that it misses as values at the bound, until it misses no
        further one. A bound that is met changes nothing.

        Args:
            records: (n,) hops; of their own labels only `bound` is looked at.
            labels: (n,) barriers, eV: values, or bounds where the hop's `bound` says so.

        Raises:
            ValueError: No hops, another number of labels, one that is not finite, or bounds alone.
        """
        barriers = np.asarray(labels, dtype=float)
        if barriers.shape != (len(records),) or not len(records):
            raise ValueError(f"{len(records)} hops and labels of shape {barriers.shape}")
        if not np.isfinite(barriers).all():
            raise ValueError("labels must be finite; drop hops without a barrier")
        side = sides(records)
        if side.all():
            raise ValueError("all labels are bounds; at least one value is needed")
        self.card_ = {}
        taught, rest = np.flatnonzero(side == 0), np.flatnonzero(side)
        while True:
            hops = [records[i] for i in taught.tolist()]
            self.ions_ = sorted({hop.working_ion for hop in hops})
            self._fit(hops, barriers[taught])
            if not len(rest) or not self.learns_bounds:
                return self
            found = self.predict([records[i] for i in rest.tolist()]).mean
            missed = misses(barriers[rest], found, side[rest]) > 0
            if not missed.any():
                return self
            taught, rest = np.concatenate([taught, rest[missed]]), rest[~missed]

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

    def energies(self, records: Sequence[Hop]) -> HopEnergies:
        """Energies of (n,) hops, spreads included: each starts at zero, whatever site that is."""
        forward = self.predict(records)
        backward = self.predict([hop.reversed() for hop in records]).mean
        difference = forward.mean - backward
        kra = np.maximum(0.5 * (forward.mean + backward), 0.5 * np.abs(difference))
        return HopEnergies(
            np.zeros((1, len(records))),
            difference[None],
            kra[None],
            np.asarray(forward.std),
            np.asarray(self.in_domain(records)),
        )

    def crystal_energies(self, graphs: Sequence[MigrationGraph]) -> list[HopEnergies]:
        """Energies of the unique hops of each crystal, spreads included; every loop closes."""
        return [closed(graph, self.energies(graph.hops)) for graph in graphs]

    def embedding(self, records: Sequence[Hop]) -> Floats:
        """(n, n_columns) hops in the space that the domain is measured in.

        Raises:
            ValueError: The model has no such space.
        """
        raise ValueError(f"a {type(self).__name__} does not measure how alike hops are")

    def points(self, records: Sequence[Hop]) -> Floats:
        """(n, n_columns) points in the space where nearness means likeness."""
        return (self.embedding(records) - self.domain_.center) / self.domain_.scale

    def distance(self, records: Sequence[Hop]) -> Floats:
        """(n,) distance to the training hops, 1 being the edge of the domain."""
        return self.domain_.distance(self.embedding(records))

    def were_trained_on(self, records: Sequence[Hop]) -> NDArray[np.bool_]:
        """(n,) True for hops that are known to be among those learnt from."""
        return np.zeros(len(records), dtype=bool)

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


def closed(graph: MigrationGraph, energies: HopEnergies) -> HopEnergies:
    """The energies with one energy for each orbit of sites, so that every loop closes.

    Barriers that a model gives hop by hop need not agree on the sites that they share: the site
    energies are those that fit the differences of all hops best (least squares, mean zero).

    Args:
        graph: A crystal with n_hops unique hops.
        energies: Of these hops.
    """
    ends = [[hop.extra[f"{end}_site"] for hop in graph.hops] for end in ("start", "end")]
    start, end = (graph.site_orbit[sites] for sites in ends)
    rows = np.arange(len(graph.hops))
    incidence = np.zeros((len(graph.hops), int(graph.site_orbit.max()) + 1))
    np.add.at(incidence, (rows, end), 1.0)
    np.add.at(incidence, (rows, start), -1.0)
    difference = energies.end_eV - energies.start_eV
    orbit = np.linalg.pinv(incidence) @ difference.T
    return energies._replace(start_eV=orbit[start].T, end_eV=orbit[end].T)
