"""Conductivity at room temperature from what a table says: composition, space group, cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, combinations
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.calibration import Calibration
from ionbridge.models.checkpoint import Arrays, named, under
from ionbridge.models.conductors.measured_neighbours import COLUMNS, MeasuredNeighbours
from ionbridge.models.cross_validation import Rows, grouped_folds, out_of_fold
from ionbridge.models.domain import Domain
from ionbridge.models.estimator import Estimator
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.committee import Committee, CommitteeSettings
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.conductor_descriptors import (
    OPTIONAL_BLOCKS,
    composition_block,
    conductor_descriptors,
    conductor_ion,
    known_blocks,
)
from ionbridge.structures.io.tables import ConductivityRow, composition_key
from ionbridge.structures.records import Label

Floats = NDArray[np.float64]
Sides = NDArray[np.int_]

SIDE = {"=": 0, "<": 1, ">": -1}
"""Where -log10 sigma lies of a label's: above it where the label is an upper bound of sigma."""
N_FOLDS = 10
"""Folds of the out-of-fold errors that calibrate the intervals."""
FEWEST_ROWS = 8
"""An ion with fewer rows gets no committee, nor does a block of columns."""
SCALE = LogShift(0.1)
"""What is learnt is ln(-log10 sigma + 0.1): a poor conductor's decades are less well known."""


def source_group(row: ConductivityRow) -> str:
    """The paper of a row, else the row itself: what grouped validation keeps together."""
    return row.doi.strip().lower() if row.doi else f"row {row.id}"


def composition_keys(row: ConductivityRow) -> tuple[str, str]:
    """Keys of a row's own composition and of the measured one; a fold learns from neither."""
    measured = row.measured_composition or row.composition
    return str(composition_key(row.composition)), str(composition_key(measured))


def kept_together(row: ConductivityRow) -> frozenset[str]:
    """The paper and the compositions of a row: what is said of it is learnt without these."""
    return frozenset({f"paper {source_group(row)}", *composition_keys(row)})


@dataclass(frozen=True, eq=False)
class Branch:
    """The committee for one ion and one choice of blocks.

    Attributes:
        ion: Working ion.
        blocks: Which of ``OPTIONAL_BLOCKS`` it looks at.
        committee: Its members, on ``conductor_descriptors`` and the columns of measured
            neighbours, target on ``SCALE``.
    """

    ion: str
    blocks: tuple[str, ...]
    committee: Committee

    @property
    def name(self) -> str:
        """Name of the branch, for example ``Li.space_group.cell``: ion and inputs."""
        return ".".join((self.ion, *self.blocks))


@dataclass(frozen=True)
class Spread:
    """How far predictions from one set of known blocks are off.

    Attributes:
        residual: Spread on ``SCALE`` that the committees do not account for.
        calibration: Of both spreads, for a 90 % interval that holds.
    """

    residual: float
    calibration: Calibration


@dataclass
class ConductivityTrees(Estimator):
    """Trees, boosting and a Gaussian process on composition statistics and, where known, the cell.

    One :class:`ionbridge.models.regressors.committee.Committee` an ion and set of blocks; a row is
    predicted by all committees whose blocks it has, weighted by the inverse square of their
    spreads. So the committee on the composition alone, which knows the most compositions, and the
    one on cells of fewer rows complete each other. Ions are not pooled, nor are missing cells
    filled with medians: both were measured and made errors larger. The boosting learns from bounds
    as bounds, the other members from values just beyond them; none is ever scored as a value. An
    ion without a committee gets mean and spread of all labels and counts as outside the domain.
    Spreads, of the trees and between the members and committees, are calibrated on out-of-fold
    errors of values: papers are kept together, and what was learnt from holds no composition of the
    fold.

    Beside the descriptors all members see what other papers measured on compositions near the row
    (:mod:`ionbridge.models.conductors.measured_neighbours`); of a training row, without its own
    paper and compositions.

    A measured crystal may stand in the rows in several forms, all with its label: as it was
    refined, as an ordered cell, as computed cells of its formula. Cells that are asked for are
    mostly of the latter kinds, and a model that knows refined ones alone takes their lower symmetry
    and larger cells for those of poor conductors.

    Attributes:
        committee: Settings of the members.
        seed: Of the members and folds.
    """

    committee: CommitteeSettings = field(default_factory=CommitteeSettings)
    seed: int = 0

    kind: ClassVar[str] = "conductivity_trees"
    quantity = "conductivity"
    inputs: ClassVar[str] = "composition"

    def fit(self, records: Sequence[ConductivityRow], labels: Sequence[Label]) -> Self:
        """Learn from rows and their labels.

        Args:
            records: (n,) rows; their own labels are not looked at.
            labels: (n,) log10 of the conductivity in S/cm, values or bounds.

        Raises:
            ValueError: Numbers of rows and labels differ, or a label is not finite.
            UnusableStructureError: A row without a working ion.
        """
        if len(records) != len(labels) or not len(records):
            raise ValueError(f"{len(records)} rows and {len(labels)} labels")
        value = np.array([label.value for label in labels], dtype=float)
        if not np.isfinite(value).all():
            raise ValueError("labels must be finite; drop rows without a conductivity")
        order = _order(records, value)
        rows = [records[i] for i in order]
        value = value[order]
        side = np.array([SIDE[labels[i].bound] for i in order])
        self.card_ = {}
        self.elements_ = sorted({str(e) for row in rows for e in row.composition})
        self.moments_ = np.array([value.mean(), value.std()])
        self.branches_: list[Branch] = []
        self.spreads_: dict[tuple[str, tuple[str, ...]], Spread] = {}
        self.keys_ = [str(composition_key(row.composition)) for row in rows]
        held_out = np.full((len(rows), 2), np.nan)
        self.domains_: dict[str, Domain] = {}
        self.neighbours_: dict[str, MeasuredNeighbours] = {}
        ions = np.array([conductor_ion(row) for row in rows])
        for ion in sorted(set(ions)):
            own = np.flatnonzero(ions == ion)
            if len(own) >= FEWEST_ROWS:
                found = self._fit_ion(ion, [rows[i] for i in own], value[own], side[own])
                held_out[own] = np.stack([found.mean, found.std], axis=1)
        self.held_out_ = held_out
        return self

    def out_of_fold(
        self, records: Sequence[ConductivityRow], labels: Sequence[Label]
    ) -> tuple[Floats, Floats]:
        """Mean and spread (n,), log10 S/cm, of training rows by models that did not see them.

        Neither their paper nor their composition was learnt from.

        Args:
            records: (n,) the rows that the model was fitted on, in any order.
            labels: (n,) their labels.

        Raises:
            ValueError: Other rows than those.
        """
        order = _order(records, np.array([label.value for label in labels]))
        if [str(composition_key(records[i].composition)) for i in order] != self.keys_:
            raise ValueError("these are not the rows that the model was fitted on")
        found = np.empty_like(self.held_out_)
        found[order] = self.held_out_
        return found[:, 0], found[:, 1]

    def _fit_ion(
        self, ion: str, rows: Sequence[ConductivityRow], value: Floats, side: Sides
    ) -> Prediction:
        """Fit the committees of an ion; gives what they say of its rows out of fold."""
        known = [set(known_blocks(row)) for row in rows]
        self.domains_[ion] = Domain.fit(
            np.array([composition_block(row) for row in rows]),
            [source_group(row) for row in rows],
            frozenset(str(e) for row in rows for e in row.composition),
        )
        self.neighbours_[ion], columns = self._neighbours(ion, rows, value, side)
        out_of_fold: dict[tuple[str, ...], Floats] = {}
        for blocks in _choices():
            chosen = np.array([set(blocks) <= k for k in known])
            if chosen.sum() < FEWEST_ROWS:
                continue
            committee, found = self._learnt(
                ion, blocks, rows, np.flatnonzero(chosen), value, side, columns
            )
            self.branches_.append(Branch(ion, blocks, committee))
            out_of_fold[blocks] = np.full((2, len(rows)), np.nan)
            out_of_fold[blocks][:, chosen] = found
        for blocks in out_of_fold:
            usable = [t for b, t in out_of_fold.items() if set(b) <= set(blocks)]
            mean, spread = weighted(np.array(usable))
            exact = np.isfinite(mean) & (side == 0)
            self.spreads_[ion, blocks] = calibrated(mean[exact], spread[exact], value[exact])
        mean, aleatoric, epistemic = np.zeros((3, len(rows)))
        for i in range(len(rows)):
            of_row = np.array([t[:, i : i + 1] for t in out_of_fold.values()])
            blocks = max((b for b in out_of_fold if set(b) <= known[i]), key=len)
            one = self._decades(ion, blocks, *weighted(of_row))
            mean[i], aleatoric[i] = one.mean[0], one.aleatoric_std[0]
            epistemic[i] = one.epistemic_std[0]
        return Prediction(mean, aleatoric, epistemic)

    def _neighbours(
        self, ion: str, rows: Sequence[ConductivityRow], value: Floats, side: Sides
    ) -> tuple[MeasuredNeighbours, Floats]:
        """What is measured near, and its columns for the training rows."""
        target = SCALE.forward(-value) + self.committee.bound_step * side
        elements = sorted(self.domains_[ion].elements)
        return MeasuredNeighbours.fit(rows, target, [kept_together(r) for r in rows], elements)

    def _learnt(
        self,
        ion: str,
        blocks: tuple[str, ...],
        rows: Sequence[ConductivityRow],
        chosen: Rows,
        value: Floats,
        side: Sides,
        columns: Floats,
    ) -> tuple[Committee, Floats]:
        """The committee of the chosen rows, and (2, n) mean and spread of each out of fold.

        Args:
            ion: Working ion.
            blocks: What the chosen rows have.
            rows: (n_all,) all rows of the ion: measured neighbours are sought among them.
            chosen: (n,) the rows to learn from, by index.
            value: (n_all,) labels.
            side: (n_all,) their sides.
            columns: (n_all, 3) of measured neighbours.
        """
        picked = [rows[i] for i in chosen]
        bare, t = self._descriptors(picked, blocks), SCALE.forward(-value[chosen])
        sides = side[chosen]
        features = np.hstack([bare, columns[chosen]])
        committee = Committee.fit(features, t, sides, self.committee, self.seed)
        theta = committee.process.theta
        groups = [kept_together(row) for row in rows]

        def predict(train: Rows, test: Rows) -> Floats:
            left_out = frozenset().union(*(groups[i] for i in chosen[test]))
            known = np.array([i for i, g in enumerate(groups) if not g & left_out])
            others = [rows[i] for i in known]
            near, seen = self._neighbours(ion, others, value[known], side[known])
            train = train[np.isin(chosen[train], known)]
            inputs = np.hstack([bare[train], seen[np.searchsorted(known, chosen[train])]])
            member = Committee.fit(inputs, t[train], sides[train], self.committee, self.seed, theta)
            asked = near.columns([picked[i] for i in test])
            return member.predict(np.hstack([bare[test], asked]))

        unlearnt = np.repeat([[t.mean()], [t.std()]], len(picked), axis=1)
        folds = grouped_folds(picked, source_group, N_FOLDS, self.seed)
        return committee, out_of_fold(predict, folds, unlearnt)

    def relearnt(
        self, ion: str, rows: Sequence[ConductivityRow], value: Floats, side: Sides
    ) -> ConductivityTrees:
        """The model learnt again from other rows of one ion, its calibration kept.

        Much faster than :meth:`fit`, which finds kernels and calibration anew.

        Args:
            ion: Working ion of all rows.
            rows: (n,) rows.
            value: (n,) labels, log10 S/cm.
            side: (n,) 0 for a value, 1 for an upper bound, -1 for a lower one.
        """
        result = type(self)(self.committee, self.seed)
        result.elements_, result.moments_ = self.elements_, self.moments_
        result.spreads_, result.branches_ = self.spreads_, []
        result.domains_ = {ion: self.domains_[ion]}
        near, columns = result._neighbours(ion, rows, value, side)
        result.neighbours_ = {ion: near}
        for b in self.branches_:
            own = [i for i, r in enumerate(rows) if set(b.blocks) <= set(known_blocks(r))]
            if b.ion != ion or len(own) < FEWEST_ROWS:
                continue
            bare = self._descriptors([rows[i] for i in own], b.blocks)
            features = np.hstack([bare, columns[own]])
            target, theta = SCALE.forward(-value[own]), b.committee.process.theta
            learnt = Committee.fit(features, target, side[own], self.committee, self.seed, theta)
            result.branches_.append(Branch(ion, b.blocks, learnt))
        return result

    def _decades(
        self, ion: str, blocks: tuple[str, ...], mean_t: Floats, spread_t: Floats
    ) -> Prediction:
        """Calibrated log10 S/cm from values on ``SCALE``."""
        known = self.spreads_[ion, blocks]
        found = known.calibration.calibrated(decades(mean_t, spread_t, known.residual))
        return Prediction(-found.mean, found.aleatoric_std, found.epistemic_std)

    def _descriptors(self, rows: Sequence[ConductivityRow], blocks: Sequence[str]) -> Floats:
        return np.array([conductor_descriptors(row, self.elements_, blocks) for row in rows])

    def predict(self, records: Sequence[ConductivityRow]) -> Prediction:
        """log10 of the conductivity in S/cm at room temperature, spreads calibrated.

        Raises:
            UnusableStructureError: A row without a working ion.
        """
        mean, aleatoric, epistemic = np.zeros((3, len(records)))
        for branches, own in self._by_branches(records):
            if not branches:
                mean[own], aleatoric[own] = self.moments_
                epistemic[own] = self.moments_[1]
                continue
            rows = [records[i] for i in own]
            near = self.neighbours_[branches[0].ion].columns(rows)
            found = weighted(
                np.array(
                    [
                        b.committee.predict(np.hstack([self._descriptors(rows, b.blocks), near]))
                        for b in branches
                    ]
                )
            )
            prediction = self._decades(branches[-1].ion, branches[-1].blocks, *found)
            mean[own] = prediction.mean
            aleatoric[own] = prediction.aleatoric_std
            epistemic[own] = prediction.epistemic_std
        return Prediction(mean, aleatoric, epistemic)

    def interval(self, prediction: Prediction) -> tuple[Floats, Floats]:
        """Lower and upper end of the calibrated 90 % interval, log10 of S/cm.

        Args:
            prediction: n rows of :meth:`predict`, whose spreads are calibrated.
        """
        decades = Prediction(-prediction.mean, prediction.aleatoric_std, prediction.epistemic_std)
        low, high = Calibration().interval(decades, SCALE)
        return np.minimum(-high, prediction.mean), np.maximum(-low, prediction.mean)

    def distance(self, records: Sequence[ConductivityRow]) -> Floats:
        """(n,) distance to the training rows of the ion, 1 being the edge of the domain.

        Infinite for an ion that was not learnt from.
        """
        return np.array([self._distance(row) for row in records], dtype=float)

    def _distance(self, row: ConductivityRow) -> float:
        domain = self.domains_.get(conductor_ion(row))
        if domain is None:
            return float("inf")
        return float(domain.distance(composition_block(row)[None])[0])

    def in_domain(self, records: Sequence[ConductivityRow]) -> NDArray[np.bool_]:
        """(n,) True where ion and elements are known and the composition is near training rows."""
        return np.array([self._is_in_domain(row) for row in records], dtype=bool)

    def _is_in_domain(self, row: ConductivityRow) -> bool:
        return self.knows_elements(row) and self._distance(row) <= 1.0

    def knows_elements(self, row: ConductivityRow) -> bool:
        """Whether all elements of a row were learnt from beside its ion."""
        domain = self.domains_.get(conductor_ion(row))
        return domain is not None and {str(e) for e in row.composition} <= domain.elements

    def _by_branches(
        self, records: Sequence[ConductivityRow]
    ) -> Iterator[tuple[tuple[Branch, ...], NDArray[np.intp]]]:
        """The sets of branches in use and the rows of each; an empty one for unknown ions."""
        self._check_fitted()
        chosen = [self._branches_of(row) for row in records]
        for branches in dict.fromkeys(chosen):
            own = np.array([i for i, b in enumerate(chosen) if b == branches], dtype=np.intp)
            yield branches, own

    def _branches_of(self, row: ConductivityRow) -> tuple[Branch, ...]:
        """The branches that the row can be given to; the one with most blocks comes last."""
        ion, known = conductor_ion(row), set(known_blocks(row))
        usable = [b for b in self.branches_ if b.ion == ion and set(b.blocks) <= known]
        return tuple(sorted(usable, key=lambda b: len(b.blocks)))

    def held_out_of(self, row: ConductivityRow) -> tuple[float, float] | None:
        """Mean and spread, log10 S/cm, of models that saw neither paper nor composition of a row.

        Returns:
            The mean over training rows of this composition; None where there are none.
        """
        key = str(composition_key(row.composition))
        own = self.held_out_[[k == key for k in self.keys_]]
        if not len(own) or not np.isfinite(own).all():
            return None
        return float(own[:, 0].mean()), float(own[:, 1].mean())

    def descriptors_and_targets(self) -> tuple[Floats, Floats]:
        """Descriptors without optional blocks (n, n_features) of all training rows, and targets.

        Targets are on ``SCALE``, bounds moved beyond themselves: a source for few labels.
        """
        bare = [b.committee.process for b in self.branches_ if not b.blocks]
        return (
            np.concatenate([process.inputs[:, : -len(COLUMNS)] for process in bare]),
            np.concatenate([process.target for process in bare]),
        )

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        arrays: dict[str, NDArray[Any]] = {"moments": self.moments_, "held_out": self.held_out_}
        for b in self.branches_:
            arrays |= named(f"{b.name}/", b.committee.arrays())
        for ion, domain in self.domains_.items():
            short = {name: array.astype(np.float32) for name, array in domain.arrays().items()}
            arrays |= named(f"{ion}/domain/", short)
            arrays |= named(f"{ion}/neighbours/", self.neighbours_[ion].arrays())
        return arrays, {
            "settings": self._settings(),
            "elements": self.elements_,
            "keys": self.keys_,
            "branches": [
                {"ion": b.ion, "blocks": list(b.blocks), **asdict(self.spreads_[b.ion, b.blocks])}
                for b in self.branches_
            ],
            "domains": {
                ion: {"threshold": d.threshold, "elements": sorted(d.elements)}
                for ion, d in self.domains_.items()
            },
        }

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        settings = config["settings"]
        model = cls(CommitteeSettings(**settings["committee"]), settings["seed"])
        model.elements_ = list(config["elements"])
        model.moments_ = arrays["moments"]
        model.keys_, model.held_out_ = list(config["keys"]), arrays["held_out"]
        model.branches_, model.spreads_ = [], {}
        for stored in config["branches"]:
            ion, blocks = stored["ion"], tuple(stored["blocks"])
            committee = Committee.from_arrays(under(f"{'.'.join((ion, *blocks))}/", arrays))
            model.branches_.append(Branch(ion, blocks, committee))
            calibration = Calibration(**stored["calibration"])
            model.spreads_[ion, blocks] = Spread(stored["residual"], calibration)
        model.domains_ = {
            ion: Domain.of_arrays(under(f"{ion}/domain/", arrays), **stored)
            for ion, stored in config["domains"].items()
        }
        model.neighbours_ = {
            ion: MeasuredNeighbours.of_arrays(
                under(f"{ion}/neighbours/", arrays), sorted(domain.elements)
            )
            for ion, domain in model.domains_.items()
        }
        return model


def _order(records: Sequence[ConductivityRow], value: Floats) -> list[int]:
    """Rows in one order give one model, as members draw at random."""
    return sorted(range(len(records)), key=lambda i: (records[i].id, value[i]))


def _choices() -> Iterator[tuple[str, ...]]:
    """All subsets of the optional blocks, the empty one first."""
    sizes = range(len(OPTIONAL_BLOCKS) + 1)
    return chain.from_iterable(combinations(OPTIONAL_BLOCKS, k) for k in sizes)


def decades(mean_t: Floats, spread_t: Floats, residual_t: float) -> Prediction:
    """Decades -log10 sigma from values on ``SCALE``.

    Args:
        mean_t: (n,) means of a committee.
        spread_t: (n,) its spreads.
        residual_t: The constant spread beside them.
    """
    mean = SCALE.inverse(mean_t)
    return Prediction(
        mean,
        SCALE.inverse_std(mean, np.full(len(mean), residual_t)),
        SCALE.inverse_std(mean, spread_t),
    )


def weighted(found: Floats) -> Floats:
    """(2, n) mean and spread of several committees, weighted by the inverse square of the spreads.

    The spread is that of their mixture, so that committees which disagree are less certain.

    Args:
        found: (n_committees, 2, n) means and spreads on ``SCALE``; NaN where one says nothing.
    """
    mean, spread = found[:, 0], np.maximum(found[:, 1], 1e-6)
    weight = np.where(np.isfinite(mean), 1.0 / spread**2, 0.0)
    weight /= np.maximum(weight.sum(axis=0), 1e-300)
    centre = np.sum(weight * np.nan_to_num(mean), axis=0)
    variance = np.sum(weight * np.nan_to_num(spread**2 + (mean - centre) ** 2), axis=0)
    centre[~np.isfinite(mean).any(axis=0)] = np.nan
    return np.array([centre, np.sqrt(variance)])


def calibrated(mean_t: Floats, spread_t: Floats, value: Floats) -> Spread:
    """The constant spread beside the committee's, and the calibration of both.

    Args:
        mean_t: (n,) out-of-fold means on ``SCALE``.
        spread_t: (n,) out-of-fold spreads.
        value: (n,) labels, log10 S/cm; bounds left out.
    """
    if not len(value):
        return Spread(0.0, Calibration())
    residual = _residual(SCALE.forward(-value) - mean_t, spread_t)
    calibration = Calibration.fit(decades(mean_t, spread_t, residual), -value, SCALE)
    return Spread(residual, calibration)


def _residual(error: Floats, spread: Floats) -> float:
    """The constant spread beside that of the members with the narrowest 90 % intervals on average.

    Args:
        error: (n,) out-of-fold errors on ``SCALE``.
        spread: (n,) spread of the members.
    """
    candidates = np.linspace(0.0, 1.0, 11) * np.sqrt(np.mean(error**2))

    def width(constant: float) -> float:
        total = np.maximum(np.hypot(spread, constant), 1e-6)
        return float(np.quantile(np.abs(error) / total, 0.9) * total.mean())

    return float(min(candidates, key=width))
