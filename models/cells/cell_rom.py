"""The reduced-order cell: the closed form of a single particle, corrected by an ensemble."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ionbridge.models.cells.cell_correction import (
    HIDDEN,
    N_MEMBERS,
    NODES,
    STOICHIOMETRY_STEP,
    Curves,
    Parameters,
    Standard,
    Training,
    features_at_nodes,
    fit,
    forward,
    gate,
    initial,
    points,
)
from ionbridge.models.cells.cell_features import NAMES, electrode_features
from ionbridge.models.cells.cell_residual import ResidualCurves
from ionbridge.models.cells.porous_cell import porous_discharge
from ionbridge.models.cells.single_particle import (
    Cells,
    CellTables,
    Discharge,
    ElectrodeState,
    ElectrodeTables,
    discharge,
    end_of_discharge,
    equilibrium,
    first_crossing,
    mean_stoichiometries,
    potential_slope,
    unevenness,
    voltage,
)
from ionbridge.models.checkpoint import Arrays, named, under
from ionbridge.models.domain import Domain
from ionbridge.models.estimator import Estimator
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

N_MOMENTS = 28
"""Moments of a discharge at which the networks are asked; the correction is smooth in between."""
FRACTIONS = NODES
"""Shares of the capacity at which a predicted curve is given: those of the labels."""
CHUNK = 256
"""Cells predicted at once: their arrays stay in the cache."""
LEVEL = 0.9
HALF_WIDTH = 1.6448536269514722
"""Half width of a normal distribution's 90 % interval, standard deviations."""
MARGIN = 0.05
"""By how much of its range in training a group may leave it and still count as known."""
FARTHEST = 1.5
"""Distance to training cells, in units of that which nearly all of them stay below."""
FEWEST_FOR_FOLDS = 10
N_RESIDUAL_FOLDS = 8
RESOLVED, RESOLVED_EARLY = (0.006, 0.002), (0.009, 0.0045)
"""Standard deviations of stepped cells: of capacity and energy relatively, of the voltage in V;
where more than DRAWN of the charge is drawn, and where less is
(benchmarks/results/cell_salt.json)."""
DRAWN = 0.3
QUANTITIES = ("voltage", "capacity", "energy")
"""Whose spreads are calibrated."""


@dataclass(frozen=True)
class Spread:
    """Calibrated spread of one quantity: factor * sqrt(between members^2 + floor^2).

    Attributes:
        floor: What members share and do not see, in the unit of the quantity.
        factor: So that LEVEL of held-out errors lie in the 90 % interval.
    """

    floor: float = 0.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.floor < np.inf and 0.0 < self.factor < np.inf):
            raise ValueError(f"spread: floor {self.floor}, factor {self.factor}; expected positive")

    @classmethod
    def fit(cls, error: Floats, between: Floats) -> Spread:
        """From held-out errors and the members' spread, any shape."""
        floor = 0.5 * float(np.sqrt(np.mean(error**2)))
        scores = np.sort(np.abs(error / np.hypot(between, floor + 1e-12)).ravel())
        rank = min(int(np.ceil(LEVEL * (len(scores) + 1))) - 1, len(scores) - 1)
        return cls(floor, float(scores[rank]) / HALF_WIDTH)

    def __call__(self, between: Floats) -> Floats:
        """The calibrated standard deviation, any shape."""
        return np.asarray(self.factor * np.hypot(between, self.floor))


@dataclass(frozen=True, eq=False)
class CellPrediction:
    """Predicted discharges of n cells; spreads are one calibrated standard deviation.

    Attributes:
        voltage_V: (n, len(FRACTIONS)) over the predicted capacity.
        voltage_std_V: The same shape.
        capacity_Ah: (n,), with ``capacity_std_Ah``.
        energy_Wh: (n,), with ``energy_std_Wh``.
        mean_voltage_V: (n,), with ``mean_voltage_std_V``.
        irreversible_heat_J: (n,) integral of (U - V) I dt, U at the mean stoichiometries.
        reversible_heat_J: (n,) -T times the integral of dU/dT I dt.
        end_stoichiometry: (n, 4) at the end: negative mean and surface, positive mean and surface.
    """

    voltage_V: Floats
    voltage_std_V: Floats
    capacity_Ah: Floats
    capacity_std_Ah: Floats
    energy_Wh: Floats
    energy_std_Wh: Floats
    mean_voltage_V: Floats
    mean_voltage_std_V: Floats
    irreversible_heat_J: Floats
    reversible_heat_J: Floats
    end_stoichiometry: Floats

    def __len__(self) -> int:
        return len(self.capacity_Ah)

    @classmethod
    def joined(cls, parts: Sequence[CellPrediction]) -> CellPrediction:
        """Predictions one after the other."""
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        )

    def take(self, rows: NDArray[np.intp]) -> CellPrediction:
        """Those of the chosen cells."""
        return CellPrediction(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def with_spreads_of(self, other: CellPrediction) -> CellPrediction:
        """These means with the spreads of another prediction of the same cells."""
        names = ("voltage_std_V", "capacity_std_Ah", "energy_std_Wh", "mean_voltage_std_V")
        return replace(self, **{name: getattr(other, name) for name in names})


@dataclass(frozen=True, eq=False)
class _Corrections:
    """Members' corrections at moments that cluster where a discharge begins and ends.

    Attributes:
        end: (n, 1) s, where the closed form ends.
        shift: (2, n, N_MOMENTS) mean shift of the filling coordinates.
        loss: (n, N_MOMENTS) mean overpotential, V.
        member_shift: (n_members, 2, n, N_MOMENTS).
        member_loss: (n_members, n, N_MOMENTS).
    """

    end: Floats
    shift: Floats
    loss: Floats
    member_shift: Floats
    member_loss: Floats

    @cached_property
    def time(self) -> Floats:
        """(n, N_MOMENTS) s."""
        found: Floats = self.end * _MOMENTS
        return found

    def position(self, time: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Index and part of the interval of (n, m) moments."""
        place = np.interp(time / self.end, _MOMENTS, _PLACES)
        index = np.minimum(place.astype(np.intp), N_MOMENTS - 2)
        return index, place - index


_SHORTEST_S = 1e-6
_TRAPEZOIDS = 0.5 * (np.diff(FRACTIONS, prepend=0.0) + np.diff(FRACTIONS, append=1.0))
"""Weights of a mean over the discharge."""
_BEYOND = np.array([1.004, 1.012, 1.03, 1.07, 1.15])
"""How far past the closed form's end the correction is followed, in units of it. It changes at
once where a surface is full."""
_MOMENTS = np.concatenate(
    [0.5 * (1.0 - np.cos(np.pi * np.linspace(0.0, 1.0, N_MOMENTS - len(_BEYOND)))), _BEYOND]
)
_PLACES = np.arange(N_MOMENTS, dtype=float)


def _answers(parameters: Parameters) -> bool:
    """Whether the last layer answers anything but zero."""
    last = len([k for k in parameters if k[0] == "w"]) - 1
    return any(bool(parameters[f"{k}{last}"].any()) for k in "bw")


def _between(values: Floats, index: NDArray[np.intp], part: Floats) -> Floats:
    """Linear interpolation of (..., n, N_MOMENTS) at (n, m) places."""
    rows = np.arange(len(index))[:, None]
    left = values[..., rows, index]
    return np.asarray(left + (values[..., rows, index + 1] - left) * part)


@dataclass
class CellRom(Estimator):
    """Reduced-order model of constant-current discharges.

    Physics first: ``ionbridge.models.cells.single_particle`` in closed form, whose local states an
    ensemble of small networks corrects (``ionbridge.models.cells.cell_correction``). ``fit`` takes
    any number of base cells at once; what is learnt knows a chemistry only by its open-circuit
    curves.

    Attributes:
        training: Settings of the fit.
        n_members: Networks.
        hidden: Widths of their layers.
        seed: Of initial weights.
    """

    training: Training = field(default_factory=Training)
    n_members: int = N_MEMBERS
    hidden: tuple[int, ...] = HIDDEN
    seed: int = 0

    kind: ClassVar[str] = "cell_rom"
    quantity = "cell_discharge"

    def fit(
        self, records: Sequence[Cells], labels: Sequence[Curves], *, calibrate: bool = True
    ) -> Self:
        """Learn from simulated discharges.

        Args:
            records: Cells of one base cell each.
            labels: Their curves, in the same order.
            calibrate: Fit a second time, cross-wise, to calibrate the spreads. Without it, and with
                fewer than FEWEST_FOR_FOLDS curves, they are calibrated on the training errors of
                the closed form, which is too wide.

        Raises:
            ValueError: Numbers of records and labels differ, or nothing to learn from.
        """
        records, labels = _usable(records, labels)
        self.card_ = {}
        self.tables_ = {cells.tables.name: cells.tables for cells in records}
        self.standard_ = Standard.fit(
            np.concatenate(
                [
                    features_at_nodes(c, y)[2].reshape(-1, len(NAMES))
                    for c, y in zip(records, labels, strict=True)
                ]
            )
        )
        start = initial(self.seed, self.n_members, self.hidden)
        self.parameters_ = fit(start, points(records, labels, self.standard_), self.training)
        self.domain_ = _fit_domain(np.concatenate([groups(cells) for cells in records]))
        self.residual_: ResidualCurves | None = None
        self.spreads_: dict[str, Spread] = {}
        self.calibrate(records, labels, start if calibrate else None)
        return self

    def unlearnt(self, cells: Cells) -> Self:
        """The closed form alone, as a model of these cells; spreads are not known."""
        self.tables_ = {cells.tables.name: cells.tables}
        self.standard_ = Standard(
            np.zeros(len(NAMES), dtype=np.float32), np.ones(len(NAMES), dtype=np.float32)
        )
        start = initial(self.seed, self.n_members, self.hidden)
        self.parameters_ = {k: torch.zeros_like(v) for k, v in start.items()}
        self.domain_ = _fit_domain(groups(cells))
        self.residual_ = None
        self.spreads_ = {k: Spread() for k in QUANTITIES}
        return self

    def carry_only(self, base_cells: Container[str]) -> None:
        """Forget the tables of other cells than these, such as cathodes varied for training."""
        self.tables_ = {k: v for k, v in self.tables_.items() if k in base_cells}

    def calibrate_on(self, records: Sequence[Cells], labels: Sequence[Curves]) -> None:
        """Set the spreads from discharges that nothing was fitted to.

        Args:
            records: Cells of one base cell each.
            labels: Their curves.
        """
        records, labels = _usable(records, labels)
        self.spreads_ = {k: Spread() for k in QUANTITIES}
        self.spreads_ = _spreads_of([self.predict(c, stepped=False) for c in records], labels)

    def moved_to(self, cells: Cells, parameters: Parameters, training: Training) -> CellRom:
        """This model with other weights, for one more base cell; spreads stay as they are."""
        model = replace(self, training=training)
        model.parameters_, model.standard_ = parameters, self.standard_
        model.tables_ = {**self.tables_, cells.tables.name: cells.tables}
        known = self.domain_.reference * self.domain_.scale + self.domain_.center
        model.domain_ = _fit_domain(np.concatenate([known, groups(cells)]))
        model.spreads_ = self.spreads_
        model.residual_ = None
        return model

    def with_residual(self, cells: Cells, curves: Curves, calibrate: bool = True) -> CellRom:
        """This model with a Gaussian process on what it leaves over, for one chemistry.

        Args:
            cells: Cells of that chemistry whose salt lasts.
            curves: Their curves.
            calibrate: Set the spreads from held-out errors.
        """
        model = self.moved_to(cells, self.parameters_, self.training)
        model.residual_ = self._residual(cells, curves)
        if calibrate and len(curves) > 2:
            n_folds = min(len(curves), N_RESIDUAL_FOLDS)
            fold = np.random.default_rng(self.seed).permutation(len(curves)) % n_folds
            found, true = [], []
            for i in range(n_folds):
                part = self.moved_to(cells, self.parameters_, self.training)
                out = np.flatnonzero(fold == i)
                kept = np.flatnonzero(fold != i)
                part.residual_ = self._residual(cells.take(kept), curves.take(kept))
                part.spreads_ = {k: Spread() for k in QUANTITIES}
                found.append(part.predict(cells.take(out), stepped=False))
                true.append(curves.take(out))
            model.spreads_ = _spreads_of(found, true)
        return model

    def _residual(self, cells: Cells, curves: Curves) -> ResidualCurves:
        found = self._predict(cells, self.parameters_, uncertainty=False)
        ratio = np.log(curves.capacity_Ah / found.capacity_Ah)
        residual = curves.voltage_V - found.voltage_V
        return ResidualCurves.fit(groups(cells), residual, ratio, self.seed)

    def calibrate(
        self,
        records: Sequence[Cells],
        labels: Sequence[Curves],
        start: Parameters | None,
        trainable: Sequence[str] | None = None,
    ) -> None:
        """Set the spreads from held-out errors.

        Args:
            records: Training cells.
            labels: Their curves.
            start: Weights that the cross-wise members start from; None: no second fit.
            trainable: Names of the weights to fit; all by default.
        """
        records, labels = _usable(records, labels)
        n = sum(len(y) for y in labels)
        self.spreads_ = {k: Spread() for k in QUANTITIES}
        if start is None or n < FEWEST_FOR_FOLDS:
            own = np.zeros(n, dtype=int)
            parameters = {k: torch.zeros_like(v) for k, v in self.parameters_.items()}
        else:
            own = np.random.default_rng(self.seed).permutation(n) % self.n_members
            shares = torch.from_numpy((own != np.arange(self.n_members)[:, None]).astype("float32"))
            data = points(records, labels, self.standard_)
            parameters = fit(start, data, self.training, trainable, shares)
        found: list[CellPrediction] = []
        true: list[Curves] = []
        done = 0
        for cells, curves in zip(records, labels, strict=True):
            folds = own[done : done + len(curves)]
            done += len(curves)
            for fold in np.unique(folds):
                chosen = np.flatnonzero(folds == fold)
                one = {k: v[fold : fold + 1] for k, v in parameters.items()}
                held_out = self._predict(cells.take(chosen), one, uncertainty=False)
                spread = self._predict(cells.take(chosen), self.parameters_)
                found.append(held_out.with_spreads_of(spread))
                true.append(curves.take(chosen))
        self.spreads_ = _spreads_of(found, true)

    def predict(
        self,
        cells: Cells,
        *,
        uncertainty: bool = True,
        stepped: bool | NDArray[np.bool_] | None = None,
    ) -> CellPrediction:
        """Discharges of n cells of one base cell.

        Args:
            cells: The cells.
            uncertainty: Without it the spreads are NaN.
            stepped: Which cells to step through time (``ionbridge.models.cells.porous_cell``), (n,)
                or all of them alike; those that run short of salt by default, of which else there
                is a rough estimate.

        Raises:
            ValueError: Not fitted.
        """
        self._check_fitted()
        chosen = np.broadcast_to(cells.salt_is_short if stepped is None else stepped, len(cells))
        if len(cells) <= CHUNK and not chosen.any():
            return self._whole(cells, self.parameters_, uncertainty)
        learnt, others = np.flatnonzero(~chosen), np.flatnonzero(chosen)
        parts = [
            self._whole(cells.take(learnt[i : i + CHUNK]), self.parameters_, uncertainty)
            for i in range(0, len(learnt), CHUNK)
        ]
        if len(others):
            parts.append(_resolved(cells.take(others), uncertainty))
        if len(parts) == 1:
            return parts[0]
        return CellPrediction.joined(parts).take(np.argsort(np.concatenate([learnt, others])))

    def _whole(
        self, cells: Cells, parameters: Parameters, uncertainty: bool = True
    ) -> CellPrediction:
        """The corrected closed form, and the residual where one was learnt."""
        found = self._predict(cells, parameters, uncertainty)
        if self.residual_ is None:
            return found
        return _with_residual(found, self.residual_, cells, uncertainty)

    def _corrections(self, cells: Cells, parameters: Parameters) -> tuple[_Corrections, Discharge]:
        # a cell may give nothing at all
        end = np.maximum(end_of_discharge(cells, n_rounds=2), _SHORTEST_S)
        time = end * _MOMENTS
        state = discharge(cells, time)
        uneven = unevenness(cells, state, time)
        if _answers(parameters):
            x = self.standard_(electrode_features(cells, state, uneven, time))
            with torch.inference_mode():
                out = forward(parameters, x).numpy().astype(float)
        else:  # the closed form alone: all members answer nothing
            out = np.zeros((1, 2, *time.shape, 2))
        share = gate(cells)
        shift = STOICHIOMETRY_STEP * share * out[..., 0]
        loss = cells.thermal * (share * out[..., 1]).sum(axis=1) - uneven.gain
        return _Corrections(end, shift.mean(axis=0), loss.mean(axis=0), shift, loss), state

    def _predict(
        self, cells: Cells, parameters: Parameters, uncertainty: bool = True
    ) -> CellPrediction:
        corrections, at_moments = self._corrections(cells, parameters)

        def corrected(time: Floats) -> tuple[Discharge, Floats]:
            place = corrections.position(time)
            state = discharge(cells, time)
            shift = _between(corrections.shift, *place)
            found = voltage(cells, state, -shift[0], shift[1]) - _between(corrections.loss, *place)
            return state, found

        volts = voltage(cells, at_moments, -corrections.shift[0], corrections.shift[1])
        below = volts - corrections.loss <= cells.lower_V
        below[:, -1] = True
        last_moment, rows = np.maximum(below.argmax(axis=1), 1), np.arange(len(cells))
        before = corrections.time[rows, last_moment - 1][:, None]
        after = corrections.time[rows, last_moment][:, None]
        end = first_crossing(
            lambda t: corrected(t)[1], cells.lower_V, before, after - before, n_rounds=2
        )
        end = np.minimum(end, cells.duration)
        time = end * FRACTIONS
        state, volts = corrected(time)
        # a curve may fall by a volt within a ten thousandth of its length
        reached = (end < np.minimum(corrections.time[:, -1:], cells.duration))[:, 0]
        volts[reached, -1] = cells.lower_V[reached, 0]
        capacity = (cells.current * end / SECONDS_PER_HOUR)[:, 0]
        mean_V = np.asarray(volts @ _TRAPEZOIDS)
        rest, entropic = equilibrium(cells, (state.negative.mean, state.positive.mean))
        lost = (rest - volts) @ _TRAPEZOIDS * capacity * SECONDS_PER_HOUR
        turned = entropic @ _TRAPEZOIDS * capacity * SECONDS_PER_HOUR
        last = _between(corrections.shift, *corrections.position(end))[..., 0]
        ends = np.stack(
            [
                state.negative.mean[:, -1],
                np.clip(state.negative.surface[:, -1] - last[0], 0.0, 1.0),
                state.positive.mean[:, -1],
                np.clip(state.positive.surface[:, -1] + last[1], 0.0, 1.0),
            ],
            axis=1,
        )
        nothing = np.full(len(cells), np.nan)
        spreads = (np.full_like(volts, np.nan), nothing, nothing, nothing)
        if uncertainty:
            spreads = self._spreads(cells, corrections, at_moments, end, mean_V)
        return CellPrediction(
            voltage_V=volts,
            voltage_std_V=spreads[0],
            capacity_Ah=capacity,
            capacity_std_Ah=spreads[1],
            energy_Wh=capacity * mean_V,
            energy_std_Wh=spreads[2],
            mean_voltage_V=mean_V,
            mean_voltage_std_V=spreads[3],
            irreversible_heat_J=lost,
            reversible_heat_J=0.0 - cells.temperature[:, 0] * turned,
            end_stoichiometry=ends,
        )

    def _spreads(
        self,
        cells: Cells,
        corrections: _Corrections,
        state: Discharge,
        end: Floats,
        mean_V: Floats,
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Spreads of voltage, capacity, energy and mean voltage, to first order in the members."""
        time = corrections.time
        end = np.maximum(end, _SHORTEST_S)
        capacity = (cells.current * end / SECONDS_PER_HOUR)[:, 0]
        deviation = corrections.loss - corrections.member_loss
        sides = (
            (cells.negative, state.negative.surface - corrections.shift[0], 0),
            (cells.positive, state.positive.surface + corrections.shift[1], 1),
        )
        fall = np.zeros_like(time)
        for electrode, stoichiometry, i in sides:
            slope = potential_slope(electrode.tables, stoichiometry)
            moved = corrections.member_shift[:, i] - corrections.shift[i]
            deviation = deviation + slope * moved
            fall = fall + np.abs(slope * electrode.rate)
        # members move the end of a curve along its steep side, not up and down
        place = corrections.position(end)
        at_end = _between(deviation, *place)[..., 0]
        charge = (cells.current / SECONDS_PER_HOUR)[:, 0]
        relative = at_end * charge / (_between(fall, *place)[:, 0] + 1e-9) / capacity
        steep = 1.0 / np.sqrt(1.0 + (fall * end / SLOPE_LIMIT_V) ** 2)
        inside = np.clip(np.diff(np.minimum(time, end), axis=1) / end, 0.0, None)
        middle = 0.5 * (deviation[..., 1:] + deviation[..., :-1])
        lifted = (middle * inside).sum(axis=-1) / mean_V
        voltage_std = _between(
            (deviation * steep).std(axis=0), *corrections.position(end * FRACTIONS)
        )
        spread = self.spreads_
        energy = (lifted + relative * cells.lower_V[:, 0] / mean_V).std(axis=0)
        mean = (lifted + relative * (cells.lower_V[:, 0] / mean_V - 1.0)).std(axis=0)
        return (
            spread["voltage"](voltage_std),
            spread["capacity"](relative.std(axis=0)) * capacity,
            spread["energy"](energy) * capacity * mean_V,
            spread["energy"](mean) * mean_V,
        )

    def in_domain(self, cells: Cells) -> NDArray[np.bool_]:
        """(n,) True where the dimensionless groups lie among those of the training cells."""
        low, high = self.domain_.limits
        own = groups(cells)
        scaled = (own - self.domain_.center) / self.domain_.scale
        room = MARGIN * (high - low) + 1e-6
        inside = ((scaled >= low - room) & (scaled <= high + room)).all(axis=1) & cells.salt_lasts
        if inside.any():
            inside[inside] = self.domain_.distance(own[inside]) <= FARTHEST
        return np.asarray(inside)

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        arrays = named("weights/", {k: v.numpy() for k, v in self.parameters_.items()})
        arrays |= named("standard/", asdict(self.standard_))
        arrays |= named("domain/", self.domain_.arrays())
        for name, tables in self.tables_.items():
            arrays |= named(f"cell/{name}/", _table_arrays(tables))
        if self.residual_ is not None:
            arrays |= named("residual/", self.residual_.arrays())
        return arrays, {
            "settings": self._settings(),
            "spreads": {k: asdict(v) for k, v in self.spreads_.items()},
            "domain_threshold": self.domain_.threshold,
            "base_cells": {k: dict(t.scalars) for k, t in self.tables_.items()},
        }

    def _card(self) -> dict[str, Any]:
        """What can be said of any model of this kind."""
        spreads = {k: round(v.factor * v.floor, 6) for k, v in self.spreads_.items()}
        return {
            "predicts": "constant-current discharge of a cell: curve, capacity, energy, heat",
            "quantity": self.quantity,
            "inputs": ["base cell, C-rate, temperature, PyBaMM parameters that replace its own"],
            "base_cells": sorted(self.tables_),
            "trained_on": {"methods": ["simulated discharges of the base cells"]},
            "validation": {
                "protocol": "least calibrated standard deviations: V, share of capacity, of energy",
                **spreads,
            },
            "limits": [
                "designs that run short of salt or are unlike the training cells are stepped "
                "through time: slower, not learnt"
            ],
            "licence": "MIT",
        }

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        settings = config["settings"]
        model = cls(
            Training(**settings["training"]),
            settings["n_members"],
            tuple(settings["hidden"]),
            settings["seed"],
        )
        weights = under("weights/", arrays)
        model.parameters_ = {k: torch.from_numpy(v) for k, v in weights.items()}
        model.standard_ = Standard(**under("standard/", arrays))
        model.domain_ = Domain.of_arrays(under("domain/", arrays), config["domain_threshold"])
        left_over = under("residual/", arrays)
        model.residual_ = ResidualCurves.from_arrays(left_over) if left_over else None
        model.spreads_ = {k: Spread(**v) for k, v in config["spreads"].items()}
        model.tables_ = {
            name: _tables(name, under(f"cell/{name}/", arrays), scalars)
            for name, scalars in config["base_cells"].items()
        }
        return model


SLOPE_LIMIT_V = 3.0
"""Where a curve falls faster than this a capacity, its spread is one along the capacity."""


def _spreads_of(found: Sequence[CellPrediction], true: Sequence[Curves]) -> dict[str, Spread]:
    """Spreads that fit the errors of held-out predictions with uncalibrated spreads."""
    errors: dict[str, list[Floats]] = {k: [] for k in QUANTITIES}
    between: dict[str, list[Floats]] = {k: [] for k in QUANTITIES}
    for p, y in zip(found, true, strict=True):
        energy = y.capacity_Ah * np.trapezoid(y.voltage_V, NODES, axis=1)
        errors["voltage"].append((p.voltage_V - y.voltage_V).ravel())
        between["voltage"].append(p.voltage_std_V.ravel())
        errors["capacity"].append(p.capacity_Ah / y.capacity_Ah - 1.0)
        between["capacity"].append(p.capacity_std_Ah / p.capacity_Ah)
        errors["energy"].append(p.energy_Wh / energy - 1.0)
        between["energy"].append(p.energy_std_Wh / p.energy_Wh)
    return {k: Spread.fit(np.concatenate(errors[k]), np.concatenate(between[k])) for k in errors}


def _resolved(cells: Cells, uncertainty: bool) -> CellPrediction:
    """Cells that run short of salt, stepped through time."""
    courses = [
        porous_discharge(cells.take(slice(i, i + CHUNK))) for i in range(0, len(cells), CHUNK)
    ]
    pairs = [
        c.curves(cells.lower_V[i * CHUNK : (i + 1) * CHUNK], FRACTIONS)
        for i, c in enumerate(courses)
    ]
    end, volts = (np.concatenate(x) for x in zip(*pairs, strict=True))
    surface = np.concatenate([c.surface for c in courses], axis=1)
    rest, entropic = equilibrium(cells, mean_stoichiometries(cells, end * FRACTIONS))
    last = mean_stoichiometries(cells, end)
    capacity = (cells.current * end / SECONDS_PER_HOUR)[:, 0]
    mean_V = np.asarray(np.trapezoid(volts, FRACTIONS, axis=1))
    charge = capacity * SECONDS_PER_HOUR
    late = (capacity / cells.full_capacity_Ah[:, 0] > DRAWN)[:, None]
    share, volt = (np.where(late, RESOLVED, RESOLVED_EARLY) if uncertainty else _UNKNOWN).T
    return CellPrediction(
        voltage_V=volts,
        voltage_std_V=np.zeros_like(volts) + volt[:, None],
        capacity_Ah=capacity,
        capacity_std_Ah=share * capacity,
        energy_Wh=capacity * mean_V,
        energy_std_Wh=share * capacity * mean_V,
        mean_voltage_V=mean_V,
        mean_voltage_std_V=np.zeros_like(mean_V) + volt,
        irreversible_heat_J=np.trapezoid(rest - volts, FRACTIONS, axis=1) * charge,
        reversible_heat_J=0.0
        - cells.temperature[:, 0] * np.trapezoid(entropic, FRACTIONS, axis=1) * charge,
        end_stoichiometry=np.stack([last[0][:, 0], surface[0], last[1][:, 0], surface[1]], axis=1),
    )


_UNKNOWN = np.full((1, 2), np.nan)


def _with_residual(
    found: CellPrediction, residual: ResidualCurves, cells: Cells, uncertainty: bool
) -> CellPrediction:
    """A prediction with learnt residuals added; heat and end states stay."""
    volts, volts_std, ratio, ratio_std = residual(groups(cells), uncertainty)
    voltage_V = found.voltage_V + volts
    voltage_V[:, -1] = found.voltage_V[:, -1]
    capacity = found.capacity_Ah * np.exp(ratio)
    mean_V = np.asarray(np.trapezoid(voltage_V, FRACTIONS, axis=1))
    lifted = np.sqrt((volts_std**2).mean(axis=1))
    return replace(
        found,
        voltage_V=voltage_V,
        voltage_std_V=np.hypot(found.voltage_std_V, volts_std),
        capacity_Ah=capacity,
        capacity_std_Ah=np.hypot(found.capacity_std_Ah, capacity * ratio_std),
        energy_Wh=capacity * mean_V,
        energy_std_Wh=np.hypot(
            found.energy_std_Wh, capacity * np.hypot(mean_V * ratio_std, lifted)
        ),
        mean_voltage_V=mean_V,
        mean_voltage_std_V=np.hypot(found.mean_voltage_std_V, lifted),
    )


def groups(cells: Cells) -> Floats:
    """(n, 13) dimensionless groups of cells: what the domain is measured in."""

    def of(electrode: ElectrodeState) -> list[Floats]:
        middle = electrode.tables.log_exchange[len(electrode.tables.log_exchange) // 2]
        kinetic = np.log(electrode.reaction) - middle - electrode.log_exchange_factor
        return [
            np.log(electrode.ohmic / cells.thermal),
            np.log(electrode.solid / cells.thermal),
            kinetic,
            np.log(electrode.rate.__abs__() * electrode.diffusion_time),
            np.log(cells.duration / electrode.diffusion_time),
            electrode.depletion,
        ]

    columns = [*of(cells.negative), *of(cells.positive), np.log(cells.separator / cells.thermal)]
    return np.concatenate(columns, axis=1)


def _fit_domain(rows: Floats) -> Domain:
    return Domain.fit(rows, [str(i) for i in range(len(rows))], frozenset())


def usable(cells: Cells, curves: Curves) -> tuple[Cells, Curves]:
    """Those whose salt lasts: the others teach nothing about the rest."""
    rows = np.flatnonzero(cells.salt_lasts)
    return cells.take(rows), curves.take(rows)


def _usable(records: Sequence[Cells], labels: Sequence[Curves]) -> tuple[list[Cells], list[Curves]]:
    sizes = [(len(c), len(y)) for c, y in zip(records, labels, strict=False)]
    if len(records) != len(labels) or any(a != b for a, b in sizes) or not sizes:
        raise ValueError(f"cells and curves differ in number: {sizes or 'none given'}")
    pairs = [usable(c, y) for c, y in zip(records, labels, strict=True)]
    pairs = [(c, y) for c, y in pairs if len(y)]
    if not pairs:
        raise ValueError("no cell whose salt lasts; lower the C-rate or thin the electrodes")
    return [c for c, _ in pairs], [y for _, y in pairs]


def _table_arrays(tables: CellTables) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for own in fields(tables):
        value = getattr(tables, own.name)
        if isinstance(value, ElectrodeTables):
            found |= {f"{own.name}/{f.name}": getattr(value, f.name) for f in fields(value)}
        elif isinstance(value, np.ndarray):
            found[own.name] = value
    return found


def _tables(name: str, arrays: Mapping[str, Floats], scalars: Mapping[str, float]) -> CellTables:
    def electrode(side: str) -> ElectrodeTables:
        return ElectrodeTables(
            **{f.name: arrays[f"{side}/{f.name}"] for f in fields(ElectrodeTables)}
        )

    return CellTables(
        name=name,
        negative=electrode("negative"),
        positive=electrode("positive"),
        scalars=dict(scalars),
        **{k: v for k, v in arrays.items() if "/" not in k},
    )
