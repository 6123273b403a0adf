"""Cells against experiment: base set, fits of one slow curve and of two, and what is carried.

``python -m benchmarks.cell_experiment solve --data DIR --work WORK`` solves, cell by cell, and goes
on where it was; ``DIR/cells.yaml`` is in the form that ``ionbridge cell fit`` takes.
``python -m benchmarks.cell_experiment compare --work WORK --out FILE.json [--model DIR]`` compares.
Every cell is predicted by what the other cells taught (leave one cell out). ``--model`` writes the
model that is learnt on all of them, ``--plots`` the figures of docs/cell.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks import cell_discrepancy_networks as networks
from ionbridge.models.cells.cell_discrepancy import (
    PARTS,
    CellDiscrepancy,
    DiscrepancyCurve,
    Kind,
    RatedCurve,
    beginning,
    discrepancy,
)
from ionbridge.models.cells.measured_cell import PARAMETERS, RATES_APART, MeasuredCurve
from ionbridge.models.cells.olivine_end import ended
from ionbridge.screening.cell.experiments import Experiment, read_experiment
from ionbridge.screening.cell.fit_bases import FitBase, fit_base
from ionbridge.screening.cell.fitted import Fit, FittedPredictor, fit_experiment
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

SHARE = np.linspace(0.0, 0.95, 191)
"""Of the measured capacity, over which the voltage is compared."""
GRID = np.concatenate([np.linspace(0.0, 0.02, 21), np.linspace(0.025, 1.0, 240)])
FIRST_PART, AFTER_S = 0.01, (3.0, 30.0, 60.0)
WANTED = np.unique([*np.linspace(0.0, 1.2, 800), *PARTS])
ARRAYS = ("slow_V", "polarisation_V")
PUBLISHED_H = (36.5e-9) ** 2 / 1.184e-18 * 2.0**1.6 / SECONDS_PER_HOUR
"""Radius squared over diffusivity of the published olivine where it is full, h."""
INSTANT_H = 1e-3
TAIL_V = 0.5
NOTHING_CARRIED = "fitted, nothing carried"
"""The fit, an olivine with its end."""
ONE_CURVE, TWO_CURVES = (
    ("nothing", "one scale factor", "fitted", NOTHING_CARRIED, "fitted, carried"),
    ("fitted", "scratch", "carried, one factor", "carried"),
)
"""Ways with the slow curve given, and with the slow one and another."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A cell of the data.

    Attributes:
        experiment: As read, the slowest curve first.
        base: What its fits start from.
        files: One a curve, in the same order.
    """

    experiment: Experiment
    base: FitBase
    files: tuple[Path, ...]

    @property
    def curves(self) -> tuple[MeasuredCurve, ...]:
        """Its discharges."""
        return self.experiment.curves


def measured_cells(data: Path) -> list[Measured]:
    """Every full cell of a folder with its discharges."""
    found = []
    for name in yaml.safe_load((data / "cells.yaml").read_text(encoding="utf-8")):
        files = sorted((data / name).glob("*C*.csv"))
        try:
            read = read_experiment(data / "cells.yaml", name, files)
            base = fit_base(name, read.entry, (data / name, data), read.nominal_Ah)
        except InputError:
            continue  # a half cell, or no charge in Ah
        order = np.argsort([c.current_A for c in read.curves], kind="stable")
        curves = tuple(read.curves[i] for i in order)
        ordered = replace(read, curves=curves)
        found.append(Measured(ordered, base, tuple(read.files[i] for i in order)))
    return found


def fitted(cell: Measured, chosen: Sequence[int]) -> Fit:
    """A cell fitted to some of its curves."""
    curves = tuple(cell.curves[i] for i in chosen)
    return fit_experiment(replace(cell.experiment, curves=curves), cell.base)


def solve(cell: Measured) -> dict[str, Any]:
    """All that has to be solved for a cell, as JSON."""
    nothing = CellDiscrepancy().fit([], [])
    slow = fitted(cell, [0])
    unfitted = replace(slow.cell, parameters=cell.base.basis.start)
    base = FittedPredictor(replace(slow, anchor=unfitted), nothing)
    one = FittedPredictor(slow, nothing)
    rom = FittedPredictor(slow, nothing, resolved=False)
    lower_V = cell.base.basis.lower_V
    rows = []
    for i, curve in enumerate(cell.curves):
        at = curve.current_A, curve.ambient_K
        warmest = one.solved(*at, True)[2].max()
        rated = one.rated(*at)
        rows.append(
            {
                "curve": curve.name,
                "current_A": curve.current_A,
                "fast": curve.current_A > RATES_APART * cell.curves[0].current_A,
                "measured": _pair(curve.charge_Ah, curve.voltage_V),
                "base": _pair(*base.solved(*at, True)[:2]),
                "fitted": _of_record(one.by_set(*at)[0], slow.cell.capacity_Ah, lower_V),
                "rom": _of_record(rom.by_set(*at)[0], slow.cell.capacity_Ah, lower_V),
                "olivine_end": {
                    name: _of_record(record, slow.cell.capacity_Ah, lower_V)
                    for name, record in olivine_ends(one, *at).items()
                },
                "warmer_K": float(warmest - curve.ambient_K),
                "measured_warmer_K": None
                if curve.temperature_K is None
                else float(curve.temperature_K.max() - curve.ambient_K),
                "rated": _as_json(rated),
                "by_set": _as_json(one.by_set(*at)[0]),
                "resistance_mOhm": _resistances(curve),
                "sha256": hashlib.sha256(cell.files[i].read_bytes()).hexdigest(),
                "two": {},
            }
        )
    fast = [i for i, row in enumerate(rows) if row["fast"]]
    for j in fast if len(fast) > 1 else ():
        both = fitted(cell, [0, j])
        two = FittedPredictor(replace(both, anchor=both.cell), nothing)
        for i in fast:
            if i != j:
                curve = cell.curves[i]
                both_fit = two.by_set(curve.current_A, curve.ambient_K)[0]
                rows[i]["two"][rows[j]["curve"]] = _as_json(both_fit)
    return {
        "cell": cell.experiment.name,
        "base": cell.base.label,
        "kind": asdict(cell.base.kind),
        "slow_capacity_Ah": slow.cell.capacity_Ah,
        "beginning": _beginning(cell.curves[0]),
        "nominal_Ah": cell.base.basis.nominal_Ah,
        "lower_V": lower_V,
        "curves": rows,
    }


def olivine_ends(
    predictor: FittedPredictor, current_A: float, ambient_K: float
) -> dict[str, RatedCurve]:
    """Other ways than the one that ships in which an olivine may end -> the prediction."""
    if not predictor.ends_as_olivine:
        return {}
    by_set = predictor.by_set(current_A, ambient_K)[0]
    cell, lower_V = predictor.fit.anchor, predictor.fit.base.basis.lower_V
    start = float(cell.parameters[PARAMETERS.index("positive_full")])
    slow_h = cell.diffusion_s("Positive", ambient_K) / SECONDS_PER_HOUR
    slow = min(predictor.fit.curves, key=lambda c: c.current_A)
    return {
        "without heat": ended(by_set, (slow_h, slow_h), start, lower_V),
        "published diffusivity": ended(by_set, (PUBLISHED_H, PUBLISHED_H), start, lower_V),
        "contacts alone": ended(by_set, (INSTANT_H, INSTANT_H), start, lower_V),
        "in proportion to the current": in_proportion(by_set, slow, lower_V),
    }


def in_proportion(record: RatedCurve, slow: MeasuredCurve, lower_V: float) -> RatedCurve:
    """An end whose charge below a voltage grows with the current, as the slow curve's last part.

    There charge left = a (rate / fall) - b, fall from the plateau; a, b by least squares over
    TAIL_V above the cut-off. Where that lies below the parameter set's prediction it is taken.
    """
    volts = np.linspace(lower_V, lower_V + TAIL_V, 40)
    share = slow.charge_Ah / slow.capacity_Ah
    falling = slow.voltage_V[::-1] + 1e-9 * np.arange(len(share))
    left = 1.0 - np.interp(volts, falling, share[::-1])
    plateau = float(np.interp(0.5, share, slow.voltage_V))
    terms = np.stack([record.slow_rate / (plateau - volts), -np.ones_like(volts)], axis=1)
    a, b = np.linalg.lstsq(terms, left, rcond=None)[0]
    place = np.linspace(0.0, 1.0, 2001)
    fall = a * (record.rate - record.slow_rate) / (1.0 - place + max(b, 1e-6))
    held = np.interp(np.minimum(place, 0.5), PARTS, record.polarisation_V)
    curve = np.interp(place, PARTS, record.slow_V) - np.maximum(held, fall)
    end = _ends(place, curve, lower_V)
    found = np.interp(PARTS * end, place, curve)
    return replace(record, polarisation_V=record.slow_V - found, capacity=end)


def _of_record(record: RatedCurve, scale_Ah: float, lower_V: float) -> dict[str, list[float]]:
    """A prediction with nothing of what cells lack, on GRID."""
    share, volts = record.corrected(np.zeros(len(PARTS) + 1), lower_V)
    kept = len(PARTS)
    return _pair(share[:kept] * scale_Ah, volts[:kept])


def _resistances(curve: MeasuredCurve) -> dict[str, float]:
    """Fall from rest over the current, so many seconds after it is switched on."""
    rest = curve.voltage_V[0] if curve.rest_V is None else curve.rest_V
    charge = curve.current_A * np.array(AFTER_S) / SECONDS_PER_HOUR
    volts = np.interp(charge, curve.charge_Ah, curve.voltage_V)
    found = 1e3 * (rest - volts) / curve.current_A
    return {f"{t:g} s": float(r) for t, r in zip(AFTER_S, found, strict=True)}


def _beginning(curve: MeasuredCurve) -> dict[str, Any]:
    """The first part of the slow curve as it was measured."""
    kept = max(int((curve.charge_Ah <= FIRST_PART * curve.capacity_Ah).sum()), 2)
    share = curve.charge_Ah[:kept] / curve.capacity_Ah
    volts = curve.voltage_V[:kept].tolist()
    return {"share": share.tolist(), "voltage_V": volts, "rest_V": curve.rest_V}


def _pair(charge: Floats, volts: Floats) -> dict[str, list[float]]:
    """A curve on GRID."""
    at = GRID * charge[-1]
    return {"charge_Ah": at.tolist(), "voltage_V": np.interp(at, charge, volts).tolist()}


def _as_json(record: RatedCurve) -> dict[str, Any]:
    numbers = {"rate": record.rate, "slow_rate": record.slow_rate, "capacity": record.capacity}
    return {**numbers, **{k: getattr(record, k).tolist() for k in ARRAYS}}


def _record(kind: Mapping[str, str], found: Mapping[str, Any]) -> RatedCurve:
    arrays = {k: np.array(found[k]) for k in ARRAYS}
    numbers = {k: found[k] for k in ("rate", "slow_rate", "capacity")}
    return RatedCurve(Kind(**kind), **numbers, **arrays)


def error(measured: Mapping[str, Any], charge: Floats, volts: Floats, end: float) -> dict[str, Any]:
    """How far a prediction is from a measured curve."""
    own, at = np.array(measured["charge_Ah"]), np.array(measured["voltage_V"])
    capacity = float(own[-1])
    truth = np.interp(SHARE * capacity, own, at)
    off = np.interp(SHARE * capacity, charge, volts) - truth
    whole = np.linspace(0.0, end, 400)
    energy = float(np.trapezoid(np.interp(whole, charge, volts), whole))
    mean = float(np.trapezoid(at, own)) / capacity
    return {
        "rmse_mV": float(1e3 * np.sqrt(np.mean(off**2))),
        "capacity_error_percent": 100.0 * (end / capacity - 1.0),
        "mean_voltage_error_mV": 1e3 * (energy / end - mean),
        "energy_error_percent": 100.0 * (energy / (mean * capacity) - 1.0),
    }


def _ends(charge: Floats, volts: Floats, lower_V: float) -> float:
    below = np.flatnonzero(volts <= lower_V)
    if not len(below):
        return float(charge[-1])
    j = max(int(below[0]), 1)
    return float(np.interp(-lower_V, -volts[j - 1 : j + 1], charge[j - 1 : j + 1]))


def with_interval(
    measured: Mapping[str, Any], found: DiscrepancyCurve, scale_Ah: float
) -> dict[str, Any]:
    """The same of a corrected prediction, with its intervals."""
    own, at = np.array(measured["charge_Ah"]), np.array(measured["voltage_V"])
    capacity = float(own[-1])
    truth = np.interp(SHARE * capacity, own, at)
    charge = found.share * scale_Ah
    low = np.interp(SHARE * capacity, charge, found.lower_V)
    high = np.interp(SHARE * capacity, charge, found.upper_V)
    inside = found.capacity_lower <= capacity / scale_Ah <= found.capacity_upper
    return {
        **error(measured, charge, found.voltage_V, found.capacity * scale_Ah),
        "voltage_cover_90": float(np.mean((low <= truth) & (truth <= high))),
        "voltage_width_mV": float(1e3 * np.mean(high - low)),
        "capacity_inside_90": bool(inside),
        "capacity_width_percent": float(
            100.0 * (found.capacity_upper - found.capacity_lower) * scale_Ah / capacity
        ),
    }


def _of(row: Mapping[str, Any], pair: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    """How far a predicted pair of arrays is from a measured curve."""
    charge, volts = (np.array(pair[k]) for k in ("charge_Ah", "voltage_V"))
    return error(row["measured"], charge, volts, _ends(charge, volts, cell["lower_V"]))


def _begun(cell: Mapping[str, Any], record: RatedCurve) -> tuple[RatedCurve, Floats]:
    """A prediction, and what of it is known from the first minute of the slow curve."""
    slow = cell["beginning"]
    at = np.array(slow["share"]), np.array(slow["voltage_V"])
    return record, beginning(record, *at, slow["rest_V"])


class Comparison:
    """Solved cells, compared way by way."""

    def __init__(self, cells: Sequence[Mapping[str, Any]]) -> None:
        self.cells = cells
        records, labels = [], []
        for cell in cells:
            for row in cell["curves"]:
                if row["fast"]:
                    records.append(_record(cell["kind"], row["rated"]))
                    labels.append(self.label(cell, row))
        self.everything = CellDiscrepancy().fit(records, labels)
        self._sources: dict[str, Any] = {}

    def label(
        self, cell: Mapping[str, Any], row: Mapping[str, Any], record: RatedCurve | None = None
    ) -> Floats:
        """What a prediction lacks of a measured curve."""
        own = row["measured"]
        share = np.array(own["charge_Ah"]) / cell["slow_capacity_Ah"]
        curve = record or _record(cell["kind"], row["rated"])
        return discrepancy(curve, share, np.array(own["voltage_V"]), cell["lower_V"])

    def rows(self) -> Iterable[dict[str, Any]]:
        """One a curve and way."""
        empty = CellDiscrepancy().fit([], [])
        for cell in self.cells:
            others = self.everything.without(cell["cell"])
            fast = [row for row in cell["curves"] if row["fast"]]
            for row in cell["curves"]:
                named = {"cell": cell["cell"], "curve": row["curve"], "given": "slow"}
                for way in ("nothing", "one scale factor", "fitted", "rom"):
                    yield {**named, "way": way, **self._plain(cell, row, way)}
                for name, pair in row["olivine_end"].items():
                    yield {**named, "way": f"olivine end, {name}", **_of(row, pair, cell)}
                if row["fast"]:
                    record = _record(cell["kind"], row["rated"])
                    begun = _begun(cell, record)
                    plain = _of_record(record, cell["slow_capacity_Ah"], cell["lower_V"])
                    yield {**named, "way": NOTHING_CARRIED, **_of(row, plain, cell)}
                    yield from self._networks(cell, row, record, begun, named)
                    found = self._corrected(others, record, cell)
                    own = with_interval(row["measured"], found, cell["slow_capacity_Ah"])
                    yield {**named, "way": "fitted, carried", **own}
            for second in fast:
                for row in fast:
                    if row is not second:
                        named = {
                            "cell": cell["cell"],
                            "curve": row["curve"],
                            "given": f"slow, {second['curve']}",
                        }
                        for way in TWO_CURVES:
                            own = self._second(cell, row, second, way, others, empty)
                            yield {**named, "way": way, **own}
                        record, known = (
                            _record(cell["kind"], of["by_set"]) for of in (row, second)
                        )
                        given = known, self.label(cell, second, known)
                        yield from self._networks(cell, row, record, given, named)

    def _networks(
        self,
        cell: Mapping[str, Any],
        row: Mapping[str, Any],
        record: RatedCurve,
        known: tuple[RatedCurve, Floats],
        named: Mapping[str, Any],
    ) -> Iterable[dict[str, Any]]:
        """One a way to carry networks: mean over seeds, and each seed's error."""
        points = networks.Points.of([known[0]], [known[1]])
        found = networks.carried(self._source(cell), points, record)
        for way, lacking in found.items():
            errors = []
            for one in lacking:
                share, volts = record.corrected(one, cell["lower_V"])
                charge = share * cell["slow_capacity_Ah"]
                end = _ends(charge, volts, cell["lower_V"])
                errors.append(error(row["measured"], charge, volts, end))
            means = {k: float(np.mean([e[k] for e in errors])) for k in errors[0]}
            by_seed = [e["rmse_mV"] for e in errors]
            yield {**named, "way": f"network, {way}", **means, "rmse_by_seed_mV": by_seed}

    def _source(self, cell: Mapping[str, Any]) -> Any:
        """Networks pretrained on cells like this one; on all others where there is none."""
        name, like = cell["cell"], Kind(**cell["kind"]).like
        if name not in self._sources:
            pairs = zip(self.everything.records_, self.everything.labels_, strict=True)
            others = [(r, y) for r, y in pairs if r.kind.cell != name]
            alike = [pair for pair in others if pair[0].kind.like == like] or others
            data = networks.Points.of([r for r, _ in alike], [y for _, y in alike])
            self._sources[name] = networks.fitted(networks.fresh(), data, networks.Training())
        return self._sources[name]

    def _plain(self, cell: Mapping[str, Any], row: Mapping[str, Any], way: str) -> dict[str, Any]:
        name = {"fitted": "fitted", "rom": "rom"}.get(way, "base")
        charge, volts = (np.array(row[name][k]) for k in ("charge_Ah", "voltage_V"))
        if way == "one scale factor":
            slow = cell["curves"][0]
            own = [np.array(slow["base"][k]) for k in ("charge_Ah", "voltage_V")]
            charge = charge * slow["measured"]["charge_Ah"][-1] / _ends(*own, cell["lower_V"])
        return _of(row, {"charge_Ah": charge, "voltage_V": volts}, cell)

    def _corrected(
        self,
        model: CellDiscrepancy,
        record: RatedCurve,
        cell: Mapping[str, Any],
        own: Sequence[tuple[RatedCurve, Floats]] = (),
    ) -> DiscrepancyCurve:
        return model.correct(record, cell["lower_V"], WANTED, own, _begun(cell, record)[1])

    def _second(
        self,
        cell: Mapping[str, Any],
        row: Mapping[str, Any],
        second: Mapping[str, Any],
        way: str,
        others: CellDiscrepancy,
        empty: CellDiscrepancy,
    ) -> dict[str, Any]:
        """A curve predicted from the slow one and another."""
        record, known = (_record(cell["kind"], of["by_set"]) for of in (row, second))
        label = self.label(cell, second, known)
        scale = cell["slow_capacity_Ah"]
        if way in ("fitted", "carried, one factor"):
            if way == "fitted":
                record = _record(cell["kind"], row["two"][second["curve"]])
                lacking = np.zeros(len(label))
            else:
                source, goal = others.predict(known)[0][:-1], label[:-1]
                told = np.isfinite(goal)
                size = max(float(source[told] @ source[told]), 1e-12)
                lacking = float(source[told] @ goal[told]) / size * others.predict(record)[0]
            share, volts = record.corrected(lacking, cell["lower_V"])
            charge = share * scale
            return error(row["measured"], charge, volts, _ends(charge, volts, cell["lower_V"]))
        model = others if way == "carried" else empty
        found = self._corrected(model, record, cell, [(known, label)])
        return with_interval(row["measured"], found, scale)


def summary(rows: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]) -> Any:
    """Means over curves of each way, and the spread of base sets against experiment."""
    fast = {(c["cell"], r["curve"]) for c in cells for r in c["curves"] if r["fast"]}
    found: dict[str, Any] = {}
    for row in rows:
        if (row["cell"], row["curve"]) in fast:
            given = "two curves" if "," in row["given"] else "slow curve"
            found.setdefault(f"{given}: {row['way']}", []).append(row)
    means = {}
    for name, own in found.items():
        mean: dict[str, float] = {}
        for key in ("rmse_mV", "voltage_cover_90", "voltage_width_mV", "capacity_inside_90"):
            values = [row[key] for row in own if key in row]
            if values:
                mean[key] = float(np.mean(values))
        errors = [abs(row["capacity_error_percent"]) for row in own]
        seeds = [row["rmse_by_seed_mV"] for row in own if "rmse_by_seed_mV" in row]
        if seeds:
            mean["rmse_std_over_seeds_mV"] = float(np.std(np.mean(seeds, axis=0)))
        means[name] = {**mean, "capacity_error_percent": float(np.mean(errors)), "n": len(own)}
    return means


def automatic(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Cell left out -> slow or two curves -> the way with the least error on the other cells."""
    found: dict[str, dict[str, str]] = {}
    faster = {(r["cell"], r["curve"]) for r in rows if r["way"] == "carried"}
    for cell in dict.fromkeys(r["cell"] for r in rows if r["way"] == "carried"):
        for given, ways in (("slow curve", ONE_CURVE), ("two curves", TWO_CURVES)):
            errors = {
                way: np.mean(
                    [
                        r["rmse_mV"]
                        for r in rows
                        if r["cell"] != cell
                        and (r["cell"], r["curve"]) in faster
                        and r["way"] == way
                        and ("," in r["given"]) == (given == "two curves")
                    ]
                )
                for way in ways
            }
            found.setdefault(cell, {})[given] = min(errors, key=lambda way: float(errors[way]))
    return found


def base_spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Root mean square over cells of what base sets lie off experiment, as they are."""
    keys = ("capacity_error_percent", "energy_error_percent", "mean_voltage_error_mV")
    by_cell: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["way"] == "nothing":
            by_cell.setdefault(row["cell"], []).append(row)
    found = {
        key: float(
            np.sqrt(np.mean([np.mean([r[key] ** 2 for r in own]) for own in by_cell.values()]))
        )
        for key in keys
    }
    retained = [
        np.mean([(r[keys[0]] - own[0][keys[0]]) ** 2 for r in own[1:]])
        for own in by_cell.values()
        if len(own) > 1
    ]
    found["retained_error_percent"] = float(np.sqrt(np.mean(retained)))
    return {**found, "n_cells": len(by_cell)}


def card(cells: Sequence[Mapping[str, Any]], means: Mapping[str, Any]) -> dict[str, Any]:
    """Of the model that is learnt on all cells."""
    used = [c for c in cells if any(r["fast"] for r in c["curves"])]
    carried = means["slow curve: fitted, carried"]
    return {
        "name": CellDiscrepancy.kind,
        "predicts": "what a cell fitted to its slow discharge lacks at other rates, with the 90 % "
        "interval of model against experiment",
        "quantity": "cell_voltage",
        "inputs": ["a cell fitted by 'ionbridge cell fit'", "C-rate"],
        "trained_on": {
            "data": [
                {"name": f"{c['cell']}/{r['curve']}", "sha256": r["sha256"]}
                for c in used
                for r in c["curves"]
            ],
            "methods": ["measured constant-current discharges, 25 C"],
            "sources": [
                "PyBaMM's discharge data of an Enertech cell (BSD-3-Clause); 10.1149/2.0122001JES",
                "About:Energy BPX parameterisation (CC BY-SA 4.0)",
            ],
        },
        "validation": {
            "protocol": "leave one cell out: benchmarks/results/cell_experiment.json",
            "voltage": round(carried["voltage_cover_90"], 3),
            "capacity": round(carried["capacity_inside_90"], 3),
            "rmse_mV": round(carried["rmse_mV"], 2),
            "capacity_error_percent": round(carried["capacity_error_percent"], 3),
            "n": carried["n"],
        },
        "limits": [
            "three cells against graphite, layered oxides and LiFePO4, up to 2C at 25 C",
            "cells of another kind get the spread, nothing is carried to them",
        ],
        "licence": "MIT for the code; displacements between predicted and measured curves, in part "
        "learnt on CC BY-SA 4.0 data",
    }


def _below(measured: Mapping[str, Any], volts: float) -> float:
    """Part of a measured discharge that is given below a voltage."""
    charge, at = np.array(measured["charge_Ah"]), np.array(measured["voltage_V"])
    return 1.0 - float(np.interp(-volts, -at, charge)) / float(charge[-1])


def plot(cell: Mapping[str, Any], comparison: Comparison, path: Path) -> None:
    """Measured, DFN, closed form and carried, curve by curve."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    others = comparison.everything.without(cell["cell"])
    scale = cell["slow_capacity_Ah"]
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    for k, row in enumerate(cell["curves"]):
        colour = f"C{k}"
        measured = [np.array(row["measured"][n]) for n in ("charge_Ah", "voltage_V")]
        axes.plot(*measured, color=colour, lw=2.5, alpha=0.45, label=f"{row['curve']} measured")
        for name, style in (("base", ":"), ("rom", "--")):
            own = [np.array(row[name][n]) for n in ("charge_Ah", "voltage_V")]
            axes.plot(*own, style, color=colour, lw=0.8)
        if row["fast"]:
            found = comparison._corrected(others, _record(cell["kind"], row["rated"]), cell)
            kept = found.share <= found.capacity
            charge = found.share[kept] * scale
            axes.plot(charge, found.voltage_V[kept], color=colour, lw=1.0)
            axes.fill_between(
                charge, found.lower_V[kept], found.upper_V[kept], color=colour, alpha=0.12, lw=0
            )
    axes.set_ylim(cell["lower_V"] - 0.02, None)
    axes.set_xlabel("discharged, Ah")
    axes.set_ylabel("voltage, V")
    axes.set_title(
        f"{cell['cell']}: base set (dotted), closed form fitted to the slow curve (dashed),\n"
        "carried from the other cells with 90 % interval (lines, bands)",
        fontsize=8,
    )
    axes.legend(fontsize=7)
    with rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    """Solve or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("solve", "compare"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--plots", type=Path)
    args = parser.parse_args()
    if args.what == "solve":
        args.work.mkdir(parents=True, exist_ok=True)
        for cell in measured_cells(args.data):
            path = args.work / f"{cell.experiment.name}.json"
            if not path.is_file():
                write_json(path, solve(cell))
                print(f"solved {path.stem}", flush=True)
        return
    cells = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(args.work.glob("*.json"))]
    comparison = Comparison(cells)
    rows = list(comparison.rows())
    means = summary(rows, cells)
    if args.model:
        comparison.everything.save(args.model, card(cells, means))
    for name, mean in means.items():
        print(name, json.dumps(mean))
    if args.plots:
        for cell in cells:
            plot(cell, comparison, args.plots / f"cell_{cell['cell'].split('_')[0]}.svg")
    warmer = {
        f"{c['cell']} {r['curve']}": [r["warmer_K"], r["measured_warmer_K"]]
        for c in cells
        for r in c["curves"]
    }
    answer = {
        "rows": rows,
        "means": means,
        "auto": automatic(rows),
        "base_sets_against_experiment": base_spread(rows),
        "warmer_K_model_measured": warmer,
        "resistance_mOhm": {
            f"{c['cell']} {r['curve']}": r["resistance_mOhm"] for c in cells for r in c["curves"]
        },
        "knee_share_below_2.8_V": {
            f"{c['cell']} {r['curve']}": _below(r["measured"], 2.8)
            for c in cells
            for r in c["curves"]
        },
        "sha256": {f"{c['cell']}/{r['curve']}": r["sha256"] for c in cells for r in c["curves"]},
        "widths": asdict(comparison.everything.widths),
    }
    if args.out:
        write_json(args.out, answer)


if __name__ == "__main__":
    main()
