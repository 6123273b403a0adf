"""``cell fit`` and ``cell predict --fitted``: from measured discharges to a cell and other rates.

A fit is a folder: ``fit.json`` (everything that predicting needs) and ``cell.bpx.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cells.cell_discrepancy import (
    LATE,
    PARTS,
    PLACES,
    CellDiscrepancy,
    DiscrepancyCurve,
    Kind,
    RatedCurve,
    beginning,
    discrepancy,
)
from ionbridge.models.cells.measured_cell import (
    BALANCE,
    PARAMETERS,
    RATES_APART,
    SHARES,
    FittedCell,
    MeasuredCurve,
    Prior,
    fit_cell,
    slow_curves,
)
from ionbridge.models.cells.olivine_end import ended
from ionbridge.models.cells.warm_cell import EquilibriumCurve
from ionbridge.screening.cell import bpx
from ionbridge.screening.cell.base_cells import FIT_FILE
from ionbridge.screening.cell.experiments import Experiment
from ionbridge.screening.cell.fit_bases import GENERIC, FitBase, fit_base, remake
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.table import Row
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

BPX_FILE = "cell.bpx.json"
FORMAT = 1
MODEL = "cell-discrepancy"
"""Shipped model of what fitted cells lack."""
N_POINTS = 201
LONGEST = 1.2
"""Over the slow curve's charge, up to which a model is followed."""
FINE = np.concatenate([np.linspace(0.0, 0.01, 41)[:-1], np.linspace(0.01, 1.0, 400)])
"""Of that, where the closed form is asked."""
SMOOTH = 0.012
"""Part of the charge over which a slow curve is smoothed, finer where it begins and ends."""
FIRST_LOADED = 1e-4
"""Part of the capacity at which the first point under load stands."""
FIRST_MINUTE_S = np.array([2.0, 4.0, 7.0, 12.0, 20.0, 30.0, 45.0, 60.0])
"""After the current is switched on, at which a curve is kept: they tell the cell's resistance."""
REST_V = 0.06
"""By how much cells at rest before a discharge differ with what went before (LiFePO4), V."""
STAND_IN_SPREAD = 2.0
"""Factor to the spread of a cell whose parameter set is that of another cell."""
Z_90 = 1.6448536269514722
IDENTIFIED = 0.5
"""Share of the prior's width that curves must take from a parameter to tell it."""
SLOW_C_RATE = 0.21
"""Slowest curves up to this give balance and equilibrium."""
KNOWN_C_RATE = 2.2
"""Fastest C-rate at which the model was compared with measured cells."""
UNITS = {
    "negative_full": "stoichiometry",
    "positive_full": "stoichiometry",
    "resistance": "V at the nominal current",
}


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted cell with what it was fitted to.

    Attributes:
        base: What it started from.
        cell: The fit to all curves.
        anchor: The fit to the slow ones alone, kinetics at the prior: what other rates are
            predicted from, since what measured cells lack is known against it.
        curves: Measured.
        notes: All that was guessed.
    """

    base: FitBase
    cell: FittedCell
    anchor: FittedCell
    curves: tuple[MeasuredCurve, ...]
    notes: tuple[str, ...]


def fit_experiment(experiment: Experiment, base: FitBase | None = None) -> Fit:
    """Fit a cell to its measured curves.

    Args:
        experiment: Cell and curves.
        base: What the fit starts from, where it is made already.

    Raises:
        InputError: No base set fits the cell.
    """
    if base is None:
        folders = (
            experiment.folder / experiment.name,
            experiment.folder,
            *dict.fromkeys(path.parent for path in experiment.files),
        )
        base = fit_base(experiment.name, experiment.entry, folders, experiment.nominal_Ah)
    notes = [*experiment.notes, *base.notes]

    def solver(parameters: Floats, curve: MeasuredCurve) -> Floats | None:
        try:
            charge, volts, _ = base.dfn.discharge(
                parameters, curve.current_A, curve.ambient_K, 1.1 * curve.capacity_Ah
            )
        except ValueError as error:
            notes.append(f"{curve.name}: closed form in place of DFN: {error}")
            return None
        return np.interp(SHARES * curve.capacity_Ah, charge, volts)

    slow = slow_curves(experiment.curves)
    anchor = fit_cell(base.basis, slow, base.prior, solver)
    cell = anchor
    if len(slow) < len(experiment.curves):
        cell = fit_cell(base.basis, experiment.curves, base.prior, solver)
    slowest = min(c.current_A for c in experiment.curves) / experiment.nominal_Ah
    if slowest > SLOW_C_RATE:
        notes.append(
            f"the slowest curve is {slowest:.3g}C: balance and resistance cannot be told apart "
            f"as from one at {SLOW_C_RATE:g}C or below"
        )
    return Fit(base, cell, anchor, experiment.curves, tuple(dict.fromkeys(notes)))


class FittedPredictor:
    """Discharges of a fitted cell at any rate, corrected by what such cells lack.

    Args:
        fit: The cell.
        discrepancy: What is carried from measured cells.
        resolved: Solve the DFN; False takes the closed form.
    """

    def __init__(self, fit: Fit, discrepancy: CellDiscrepancy, resolved: bool = True) -> None:
        self.fit, self.discrepancy, self.resolved = fit, discrepancy, resolved
        self.notes: list[str] = []
        self._slow_models: dict[bool, tuple[Floats, float]] = {}
        fast = [c for c in fit.curves if c.current_A > RATES_APART * fit.anchor.slowest_A]
        kind = fit.base.kind
        self.ends_as_olivine = kind.is_olivine and not fast
        if kind.is_olivine and fast:
            # what olivines lack was learnt with that end, of which a faster curve says more
            self.discrepancy = discrepancy.unlike(kind)
        self.own = [
            (record, self.lacking(record, curve))
            for curve in fast
            for record in [self.rated(curve.current_A, curve.ambient_K)]
        ]

    @property
    def seen(self) -> bool:
        """Whether curves of a cell of this name are among those that were learnt on."""
        name = self.fit.base.kind.cell
        return any(r.kind.cell == name for r in self.discrepancy.records_)

    def lacking(self, record: RatedCurve, curve: MeasuredCurve) -> Floats:
        """What a prediction lacks of the curve that was measured."""
        share = curve.charge_Ah / self.fit.anchor.capacity_Ah
        return discrepancy(record, share, curve.voltage_V, self.fit.base.basis.lower_V)

    def solved(
        self, current_A: float, ambient_K: float, resolved: bool
    ) -> tuple[Floats, Floats, Floats]:
        """Charge in Ah, voltage in V and temperature in K by the model alone, to the cut-off.

        Args:
            current_A: Positive.
            ambient_K: Temperature of the surroundings.
            resolved: By DFN.

        Raises:
            ValueError: The solver gave up, or the cut-off lies above the first moment.
        """
        cell, base = self.fit.anchor, self.fit.base
        longest = LONGEST * cell.capacity_Ah
        if resolved:
            charge, volts, kelvin = base.dfn.discharge(
                cell.parameters, current_A, ambient_K, longest
            )
        else:
            charge = FINE * longest
            flat = replace(cell, residual=EquilibriumCurve(np.array([0.0, 1.0]), np.zeros(2)))
            course = flat.course(current_A, charge, ambient_K)
            volts, kelvin = course.voltage_V[0], course.temperature_K[0]
        below = np.flatnonzero(volts <= base.basis.lower_V)
        if not len(below):
            return charge, volts, kelvin
        last = int(below[0])
        if last == 0:
            raise ValueError("the voltage lies below the lower cut-off from the first moment")
        pair = slice(last - 1, last + 1)
        end = float(np.interp(-base.basis.lower_V, -volts[pair], charge[pair]))
        at = np.append(charge[:last], end)
        return at, np.append(volts[:last], base.basis.lower_V), np.interp(at, charge, kelvin)

    def rated(self, current_A: float, ambient_K: float) -> RatedCurve:
        """The measured slow curve, and by how much more the model polarises at another current.

        Olivines end as such electrodes do (``ionbridge.models.cells.olivine_end``), unless a faster
        curve shows how this one does.
        """
        record, kelvin = self.by_set(current_A, ambient_K)
        if not self.ends_as_olivine:
            return record
        cell, basis = self.fit.anchor, self.fit.base.basis
        slow_h, fast_h = (
            cell.diffusion_s("Positive", at) / SECONDS_PER_HOUR for at in (ambient_K, kelvin)
        )
        start = float(cell.parameters[PARAMETERS.index("positive_full")])
        return ended(record, (slow_h, fast_h), start, basis.lower_V)

    def by_set(self, current_A: float, ambient_K: float) -> tuple[RatedCurve, float]:
        """The same by the parameter set alone, and the cell's temperature at the end, K."""
        cell = self.fit.anchor
        resolved = self.resolved
        if resolved:
            try:
                modelled, slow_end = self._slow(True)
                charge, volts, kelvin = self.solved(current_A, ambient_K, True)
            except ValueError as error:
                self.notes.append(f"closed form in place of DFN: {error}")
                resolved = False
        if not resolved:
            modelled, slow_end = self._slow(False)
            charge, volts, kelvin = self.solved(current_A, ambient_K, False)
        record = RatedCurve(
            kind=self.fit.base.kind,
            rate=current_A / cell.capacity_Ah,
            slow_rate=cell.slowest_A / cell.capacity_Ah,
            slow_V=modelled + _smooth(self._slow_measured - modelled),
            polarisation_V=modelled - np.interp(PARTS * charge[-1], charge, volts),
            capacity=float(charge[-1]) / slow_end,
        )
        return record, float(kelvin[-1])

    def _begun(self, record: RatedCurve) -> Floats:
        """What a prediction lacks in its first minute, by the slowest curve's."""
        slow = min(self.fit.curves, key=lambda c: c.current_A)
        share = slow.charge_Ah / slow.capacity_Ah
        return beginning(record, share, slow.voltage_V, slow.rest_V)

    @cached_property
    def _slow_measured(self) -> Floats:
        """(n,) voltage at PARTS of the slow curves' own charges."""
        curves = [c.at(PARTS) for c in slow_curves(self.fit.curves)]
        return np.asarray(np.mean(curves, axis=0))

    def _slow(self, resolved: bool) -> tuple[Floats, float]:
        """(n,) the model's own slow discharge at PARTS, V, and its end in Ah."""
        if resolved not in self._slow_models:
            slow = min(self.fit.curves, key=lambda c: c.current_A)
            charge, volts, _ = self.solved(slow.current_A, slow.ambient_K, resolved)
            at_parts = np.interp(PARTS * charge[-1], charge, volts)
            self._slow_models[resolved] = at_parts, float(charge[-1])
        return self._slow_models[resolved]

    def bare(self, current_A: float, ambient_K: float) -> tuple[Floats, Floats]:
        """Charge in Ah and voltage in V with nothing of what such cells lack."""
        record = self.rated(current_A, ambient_K)
        lower = self.fit.base.basis.lower_V
        share, volts = record.corrected(np.zeros(len(PARTS) + 1), lower)
        kept = len(PARTS)
        return share[:kept] * self.fit.anchor.capacity_Ah, volts[:kept]

    def corrected(self, current_A: float, ambient_K: float) -> DiscrepancyCurve:
        """With what measured cells taught, and the interval of model against experiment."""
        record = self.rated(current_A, ambient_K)
        noise = _own_noise(self.fit)
        wanted = np.unique([*np.linspace(0.0, LONGEST, 4 * N_POINTS), *PARTS])
        return self.discrepancy.correct(
            record,
            self.fit.base.basis.lower_V,
            wanted,
            self.own,
            self._begun(record),
            noise,
            STAND_IN_SPREAD if self.fit.base.standing == GENERIC else 1.0,
        )


def predict_rates(predictor: FittedPredictor, rates: Mapping[str, float]) -> list[Row]:
    """Rows of ``kpis.csv`` with their curves.

    Args:
        predictor: Of the fitted cell.
        rates: C-rate as it was given -> its value.
    """
    fit = predictor.fit
    basis, cell = fit.base.basis, fit.anchor
    ambient = fit.curves[0].ambient_K
    rows: list[Row] = []
    for name, rate in rates.items():
        row: Row = {
            "design_id": name, "base_cell": fit.base.kind.cell, "c_rate": rate,
            "temperature_K": ambient,
        }  # fmt: skip
        rows.append(row)
        current = rate * basis.nominal_Ah
        try:
            found = predictor.corrected(current, ambient)
        except (ValueError, np.linalg.LinAlgError) as error:
            row.update(status="failed", reason=" ".join(str(error).split()))
            continue
        capacity = found.capacity * cell.capacity_Ah
        if not capacity > 0.0:
            reason = "the voltage lies below the lower cut-off from the first moment"
            row.update(status="failed", reason=reason)
            continue
        share = np.linspace(0.0, found.capacity, N_POINTS)
        volts = np.interp(share, found.share, found.voltage_V)
        energy = float(np.trapezoid(volts, share)) * cell.capacity_Ah
        if energy < capacity * basis.lower_V:
            reason = "the voltage lies below the lower cut-off almost from the first moment"
            row.update(status="failed", reason=reason)
            continue
        energy_std = found.energy_std_V * cell.capacity_Ah
        fastest = max(KNOWN_C_RATE, max(c.current_A for c in fit.curves) / basis.nominal_Ah * 1.05)
        reasons = []
        if fit.base.standing == GENERIC and not found.supported:
            reasons.append(f"no measured cell supports it: {fit.base.label} is of another cell")
        elif not found.supported:
            reasons.append(
                f"no measured cell supports it: none with {fit.base.kind.cathode_class} against "
                f"{fit.base.kind.negative} was measured at another rate"
            )
        if rate > fastest:
            reasons.append(f"faster than any measured cell ({fastest:.2g}C)")
        early = bool((volts[share < LATE * found.capacity] < basis.lower_V).any())
        if early:
            reasons.append("the curve falls below the cut-off before the capacity that is given")
        if predictor.seen:
            reasons.append("the discrepancy was learnt on faster curves of this cell, too")
        reasons += dict.fromkeys(predictor.notes)
        row.update(
            capacity_Ah=capacity,
            capacity_std_Ah=found.capacity_std * cell.capacity_Ah,
            capacity_Ah_lower=found.capacity_lower * cell.capacity_Ah,
            capacity_Ah_upper=found.capacity_upper * cell.capacity_Ah,
            energy_Wh=energy,
            energy_std_Wh=energy_std,
            mean_voltage_V=energy / capacity,
            mean_voltage_std_V=energy_std / capacity,
            in_domain=found.supported and rate <= fastest and not early,
            status="ok",
            reason="; ".join(reasons),
            curve=_from_rest(fit, found),
        )
    return rows


def _from_rest(fit: Fit, found: DiscrepancyCurve) -> dict[str, list[float]]:
    """Columns of a curve: at rest, as measured curves begin, then under load to the end."""
    loaded = np.concatenate([[FIRST_LOADED], np.linspace(0.0, 1.0, N_POINTS)[1:]])
    share = loaded * found.capacity
    rest = max(float(c.voltage_V[0]) for c in slow_curves(fit.curves))
    columns = {
        "voltage_V": (found.voltage_V, rest),
        "voltage_V_lower": (found.lower_V, rest - REST_V),
        "voltage_V_upper": (found.upper_V, rest + REST_V),
    }
    charge = np.concatenate([[0.0], share]) * fit.anchor.capacity_Ah
    answer = {"discharge_capacity_Ah": charge.tolist()}
    for name, (values, at_rest) in columns.items():
        under_load = np.interp(share, found.share, values)
        answer[name] = [max(at_rest, float(under_load[0])), *under_load.tolist()]
    return answer


def write_fit(fit: Fit, folder: Path) -> None:
    """Write a fit into a folder as ``fit.json`` and ``cell.bpx.json``."""
    document = fit_document(fit)
    folder.mkdir(parents=True, exist_ok=True)
    whole, notes = fitted_bpx(fit)
    document["notes"] += [f"{BPX_FILE}: {note}" for note in notes]
    bpx.write_document(whole, folder / BPX_FILE)
    write_json(folder / FIT_FILE, document)


def fit_document(fit: Fit) -> dict[str, Any]:
    """A fit as plain values: parameters with intervals, residual by curve."""
    cell, base = fit.cell, fit.base
    parameters: dict[str, Any] = {}
    informed = cell.informed
    fast = any(c.current_A > RATES_APART * cell.slowest_A for c in fit.curves)
    for i, name in enumerate(PARAMETERS):
        value, std = float(cell.parameters[i]), float(cell.std[i])
        is_log = name not in UNITS
        ends = (value - Z_90 * std, value + Z_90 * std)
        if name == "resistance":
            ends = (max(ends[0], 0.0), ends[1])
        if name.endswith("_full"):
            ends = (max(ends[0], 0.0), min(ends[1], 1.0))
        parameters[name] = {
            "value": float(np.exp(value)) if is_log else value,
            "lower": float(np.exp(ends[0])) if is_log else ends[0],
            "upper": float(np.exp(ends[1])) if is_log else ends[1],
            "unit": UNITS.get(name, "factor to the base set"),
            "identified": bool(informed[name] >= IDENTIFIED and (fast or name in BALANCE)),
            "width_taken_from_prior": round(informed[name], 3),
        }
    return {
        "format": FORMAT,
        "cell": base.kind.cell,
        "base": base.label,
        "standing": base.standing,
        "kind": {"negative": base.kind.negative, "cathode_class": base.kind.cathode_class},
        "nominal_capacity_Ah": base.basis.nominal_Ah,
        "lower_cutoff_V": base.basis.lower_V,
        "parameters": parameters,
        "residual_by_curve": {c.name: _residual(fit, c) for c in fit.curves},
        "slowest_A": cell.slowest_A,
        "capacity_Ah": cell.capacity_Ah,
        "fit": _as_json(cell),
        "anchor": _as_json(fit.anchor),
        "prior": {"mean": dict(cell.prior.mean), "std": dict(cell.prior.std)},
        "curves": [_thinned(c) for c in fit.curves],
        "origin": dict(base.origin),
        "notes": list(dict.fromkeys(fit.notes)),
    }


def read_fit(folder: Path) -> Fit:
    """A fit from its folder.

    Raises:
        InputError: No such folder, or none that ``cell fit`` wrote.
    """
    return fit_of(read_document(folder), folder / FIT_FILE)


def read_document(folder: Path) -> dict[str, Any]:
    """What ``cell fit`` wrote into a folder, as it stands.

    Raises:
        InputError: It cannot be read, or is no JSON object.
    """
    path = folder / FIT_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not what 'ionbridge cell fit' writes ({error!r})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: not what 'ionbridge cell fit' writes")
    return found


def fit_of(found: Mapping[str, Any], path: Path | str) -> Fit:
    """A fit from its document.

    Args:
        found: What :func:`fit_document` gave.
        path: What errors name.

    Raises:
        InputError: Something is missing in it.
    """
    try:
        kind = Kind(found["cell"], **found["kind"])
        prior = Prior(found["prior"]["mean"], found["prior"]["std"])
        entry = {"lower_cutoff_V": found["lower_cutoff_V"]}
        curves = tuple(
            MeasuredCurve(
                c["name"], c["current_A"], np.array(c["charge_Ah"]), np.array(c["voltage_V"]),
                c["ambient_K"], rest_V=c.get("rest_V"),
            )
            for c in found["curves"]
        )  # fmt: skip
        numbers = [{k: np.array(found[name][k]) for k in _NUMBERS} for name in ("fit", "anchor")]
        origin, nominal = found["origin"], float(found["nominal_capacity_Ah"])
        scalars = float(found["slowest_A"]), float(found["capacity_Ah"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not what 'ionbridge cell fit' writes ({error!r})") from error
    base = remake(found["base"], origin, found["standing"], entry, kind, nominal)
    cell, anchor = (
        FittedCell(
            basis=base.basis,
            parameters=own["parameters"],
            covariance=own["covariance"],
            prior=prior,
            residual=EquilibriumCurve(own["charge_Ah"], own["own_equilibrium_V"]),
            slowest_A=scalars[0],
            capacity_Ah=scalars[1],
        )
        for own in numbers
    )
    return Fit(base, cell, anchor, curves, tuple(found["notes"]))


_NUMBERS = ("parameters", "covariance", "charge_Ah", "own_equilibrium_V")


def _as_json(cell: FittedCell) -> dict[str, Any]:
    """What a fit found, in the order of PARAMETERS, and the cell's own equilibrium."""
    values = (cell.parameters, cell.covariance, cell.residual.charge_Ah, cell.residual.voltage_V)
    return {name: value.tolist() for name, value in zip(_NUMBERS, values, strict=True)}


def fitted_bpx(fit: Fit) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fitted cell as a BPX document with its measured curves, and notes."""
    cell, base = fit.cell, fit.base
    values = base.dfn.fitted_values(cell)
    numbers = {}
    for key, value in values.items():
        try:
            numbers[key] = float(value)
        except (TypeError, ValueError):
            continue
    numbers["Nominal cell capacity [A.h]"] = base.basis.nominal_Ah
    numbers["Lower voltage cut-off [V]"] = base.basis.lower_V
    slow = min(fit.curves, key=lambda c: c.current_A)
    numbers["Upper voltage cut-off [V]"] = max(
        numbers["Upper voltage cut-off [V]"], float(slow.voltage_V.max())
    )
    windows = base.basis.windows(cell.parameters, cell.capacity_Ah)
    notes = [
        "the cell's own equilibrium stands in the positive electrode's OCP",
        "heat loss is left out" if np.isfinite(base.basis.heat_capacity_J_K) else "isothermal",
    ]
    whole, said = bpx.document(
        f"{base.kind.cell}, fitted from {base.label}",
        f"parameters of {base.label}, fitted by ionbridge to "
        + ", ".join(c.name for c in fit.curves),
        values,
        numbers,
        {},
        slow.ambient_K,
        windows,
        notes,
    )
    whole["Validation"] = {c.name: _validation(c) for c in fit.curves}
    return whole, said


def _validation(curve: MeasuredCurve) -> dict[str, list[float]]:
    """A measured curve in BPX's form, its current negative on discharge as in BPX's examples."""
    thin = _thinned(curve)
    time = [q / curve.current_A * SECONDS_PER_HOUR for q in thin["charge_Ah"]]
    return {
        "Time [s]": time,
        "Current [A]": [-curve.current_A] * len(time),
        "Voltage [V]": thin["voltage_V"],
        "Temperature [K]": thin.get("temperature_K", [curve.ambient_K] * len(time)),
    }


def _thinned(curve: MeasuredCurve) -> dict[str, Any]:
    begun = FIRST_MINUTE_S / SECONDS_PER_HOUR * curve.current_A / curve.capacity_Ah
    share = np.unique(np.concatenate([SHARES, begun[begun < 1.0], np.linspace(0.9, 1.0, 81)]))
    charge = share * curve.capacity_Ah
    thin: dict[str, Any] = {
        "name": curve.name,
        "current_A": curve.current_A,
        "ambient_K": curve.ambient_K,
        "rest_V": curve.rest_V,
        "charge_Ah": charge.tolist(),
        "voltage_V": np.interp(charge, curve.charge_Ah, curve.voltage_V).tolist(),
    }
    if curve.temperature_K is not None:
        thin["temperature_K"] = np.interp(charge, curve.charge_Ah, curve.temperature_K).tolist()
    return thin


def _residual(fit: Fit, curve: MeasuredCurve) -> dict[str, float]:
    """How far the fit stays from a curve that it was given."""
    share = SHARES[SHARES <= 0.95]
    found = fit.cell.course(curve.current_A, share * curve.capacity_Ah, curve.ambient_K)
    error = found.voltage_V[0] - curve.at(share)
    return {
        "c_rate": curve.current_A / fit.base.basis.nominal_Ah,
        "rmse_mV_first_95_percent": float(1e3 * np.sqrt(np.mean(error**2))),
        "bias_mV": float(1e3 * np.mean(error)),
        "measured_capacity_Ah": curve.capacity_Ah,
    }


def _own_noise(fit: Fit) -> float:
    """Scatter of the slow curves about the fitted cell, V: what their reading leaves open."""
    slow = slow_curves(fit.curves)
    share = SHARES[(SHARES > 0.02) & (SHARES <= 0.9)]
    errors = []
    for curve in slow:
        found = fit.cell.course(curve.current_A, share * curve.capacity_Ah, curve.ambient_K)
        errors.append(found.voltage_V[0] - curve.at(share))
    return float(np.sqrt(np.mean(np.square(errors))))


def _smooth(values: Floats) -> Floats:
    """Straight lines through what lies nearby of (n,) values at PARTS: reading errors go."""
    apart = (PLACES[None, :] - PLACES[:, None]) / SMOOTH
    weight = np.exp(-0.5 * apart**2)
    weight /= weight.sum(axis=1, keepdims=True)
    centre, level = (weight * apart).sum(axis=1), weight @ values
    off = apart - centre[:, None]
    slope = (weight * off) @ values / (weight * off**2).sum(axis=1)
    return np.asarray(level - slope * centre)


def parse_rates(text: str) -> dict[str, float]:
    """C-rates as they were given -> their values.

    Raises:
        InputError: What is no positive number, or stands there twice.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name = part.strip()
        try:
            value = float(name)
        except ValueError:
            value = float("nan")
        if not 1e-3 <= value <= 100.0:
            raise InputError(
                f"--c-rates: '{name}' is no C-rate between 0.001 and 100; give numbers such as "
                "0.5,1,2"
            )
        if name in found:
            raise InputError(f"--c-rates: {name} stands there twice")
        found[name] = value
    return found
