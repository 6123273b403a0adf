"""The cell stage of a campaign: ranked candidates to figures of merit of a cell that holds them.

A candidate changes one number of the base cell, its cathode's diffusivity or its electrolyte's
conductivity. So the figures of merit are functions of that number: they are solved once on a grid,
the `Response`, and every candidate is read off it, its uncertainty folded in. The response is at
the same time the sensitivity: it shows beyond which value a better material changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.screening.cell.base_cells import base_cell, potentials, scalars
from ionbridge.screening.cell.designs import Design, check
from ionbridge.screening.cell.electrode_design import masses
from ionbridge.screening.cell.experiment_spread import (
    OF_KPI,
    note,
    unsupported,
    with_experiment,
)
from ionbridge.screening.cell.full_charge import full_charge, open_circuit
from ionbridge.screening.cell.inputs import CONDUCTIVITY, TRANSFERENCE
from ionbridge.screening.cell.kpis import (
    Curve,
    duty_cycle_energy_Wh,
    mean_heat_W,
    pulse_power_W,
    retention,
    round_trip_efficiency,
)
from ionbridge.screening.cell.own_voltage import CHANGED, own_voltage_V
from ionbridge.screening.cell.parameters import (
    CATHODE_DIFFUSIVITY,
    CandidateParameters,
    NoCellError,
    candidate_parameters,
)
from ionbridge.screening.cell.protocols import ProtocolRuns, protocol
from ionbridge.screening.cell.service import AGEING_COLUMNS, ageing_columns
from ionbridge.screening.cell.settings import CellSettings
from ionbridge.screening.table import Row
from ionbridge.structures.quantities import beside
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]
Solve = Callable[[Sequence[Design]], list[Row]]
"""Designs to rows as `ionbridge.screening.cell.discharge.discharge` returns them; see
`solvers.solver`."""

RATES = (0.2, 1.0, 2.0, 3.0, 5.0)
"""C-rates of the response: the slowest is what the others are compared with."""
SHOWN_RATE = 1.0
"""C-rate of the curves that are shown."""

FOURIER_DECADES = (-2.5, 2.0)
"""log10 of 3600 D / R^2: where the cathode's response is solved."""
CONDUCTIVITY_DECADES = (-4.0, 1.5)
"""log10 of S/m, where the electrolyte's response is solved."""
PER_DECADE = 4

KPIS: dict[str, str] = {
    "specific_energy": "Wh_kg",
    "capacity_retained_1C": "",
    "capacity_retained_3C": "",
    "pulse_power": "W_kg",
    "round_trip_efficiency": "",
    "heat_1C": "W_kg",
    "duty_cycle_energy": "Wh_kg",
}
"""Figure of merit -> unit; per kilogram of the stack (no case)."""

VOLTAGE_COLUMNS = ("cell_average_voltage_V", "cell_average_voltage_std_V")
"""The candidate's own voltage, where energy and power are counted at it."""

GAUSS_NODES, GAUSS_WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


def column(kpi: str, std: bool = False) -> str:
    """Name of a figure of merit's column in ``ranked.csv``."""
    name = "_".join(filter(None, ("cell", kpi, KPIS[kpi])))
    return beside(name, "std") if std else name


CELL_COLUMNS = (
    *(column(kpi, std) for kpi in KPIS for std in (False, True)),
    "cell_base_cell",
    "cell_value",
    "cell_value_kind",
    *AGEING_COLUMNS,
    *VOLTAGE_COLUMNS,
    "cell_from_candidate",
    "cell_from_base",
    "cell_in_domain",
    "cell_status",
    "cell_reason",
)
"""Columns that the stage adds to a row."""


@dataclass(frozen=True, eq=False)
class Response:
    """Figures of merit of a cell against log10 of one of its parameters.

    Attributes:
        parameter: PyBaMM's name.
        log10: (n,) ascending.
        kpis: Figure of merit -> (n,).
        spreads: Figure of merit -> (n,) standard deviation of the cell model.
        skipped: Values at which the cell could not be solved, with the reason.
        least_known: Least log10 at which what discharged the cells was in its domain.
    """

    parameter: str
    log10: Floats
    kpis: Mapping[str, Floats]
    spreads: Mapping[str, Floats]
    skipped: Mapping[float, str]
    least_known: float

    def at(self, log10: float, std: float) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of each figure of merit for an uncertain value.

        Args:
            log10: Of the parameter.
            std: Its spread in decades, taken as normal; beyond the grid its end counts.
        """
        points = log10 + std * GAUSS_NODES
        weights = GAUSS_WEIGHTS / GAUSS_WEIGHTS.sum()
        found = {}
        for kpi, values in self.kpis.items():
            sampled = np.interp(points, self.log10, values)
            mean = float(weights @ sampled)
            model = float(np.interp(log10, self.log10, self.spreads[kpi]))
            found[kpi] = (
                mean,
                math.hypot(math.sqrt(max(0.0, float(weights @ (sampled - mean) ** 2))), model),
            )
        return found

    def covers(self, log10: float) -> bool:
        """Whether a value lies where the cell is known, or above it, where nothing changes."""
        return log10 >= self.least_known

    def caution(self, log10: float) -> str:
        """What to know of a value where the cell model is out of its range; empty where not."""
        if self.covers(log10):
            return ""
        if math.isinf(self.least_known):
            return "the cell model has seen no such cell: a rough estimate"
        return "slower than what the cell model knows"

    def enough(self, kpi: str, share: float = 0.99) -> float | None:
        """log10 of the value beyond which a figure of merit stays within 1 % of its best.

        None where it never gets there, or where the figure does not depend on the value.
        """
        values = self.kpis[kpi]
        if kpi.startswith("heat"):
            values = -values
            good = values >= values.max() - (1.0 - share) * abs(float(values.max()))
        else:
            good = values >= share * values.max()
        below = np.flatnonzero(~good)
        if len(below) == 0 or below[-1] + 1 >= len(values):
            return None
        return float(self.log10[below[-1] + 1])


@dataclass(frozen=True, eq=False)
class CellStage:
    """What the stage found.

    Attributes:
        rows: The rows as given, each with CELL_COLUMNS; where the given ones are read from a disk,
            so are these, each time they are asked for.
        columns: That the stage adds.
        curves: ``candidate_id`` (or the base cell's name) -> {``charge_Ah``, ``voltage_V``} of the
            discharge at SHOWN_RATE.
        responses: Role -> response.
        base: The base cell's own figures of merit.
        ageing: AGEING_COLUMNS of the base cell, which are those of all candidates in it.
    """

    rows: Iterable[Row]
    columns: tuple[str, ...]
    curves: dict[str, dict[str, list[float]]]
    responses: dict[str, Response]
    base: dict[str, float]
    ageing: Row


def cell_columns(
    rows: Iterable[Mapping[str, Any]],
    settings: CellSettings,
    solve: Solve,
    reference_log10_diffusivity: float | None = None,
) -> CellStage:
    """Put ranked candidates into a cell.

    Args:
        rows: Rows of ``ranked.csv``, best first; gone through more than once.
        settings: Which cell.
        solve: Simulation or reduced-order model.
        reference_log10_diffusivity: See `candidate_parameters`; by default that of the first row
            whose formula is the base cell's cathode.
    """
    base = settings.base_cell
    if reference_log10_diffusivity is None:
        reference_log10_diffusivity = _reference(rows, base_cell(base).cathode)
    first: dict[str, list[tuple[int, Mapping[str, Any], CandidateParameters]]] = {}
    for k, row in enumerate(rows):
        parameters = _parameters(row, settings, reference_log10_diffusivity)
        if isinstance(parameters, CandidateParameters):
            own = first.setdefault(parameters.uncertain, [])
            if len(own) < settings.top_n:
                own.append((k, row, parameters))
    responses: dict[str, Response] = {}
    no_response: dict[str, str] = {}
    for name in first:
        try:
            responses[name] = response(name, settings, solve)
        except NoCellError as error:
            no_response[name] = str(error)
    best = sorted((one for name in responses for one in first[name]), key=lambda one: one[0])
    best = best[: settings.top_n]
    ageing = ageing_columns(base, settings.duty, settings.temperature_K)
    runs = settings.protocol != "discharge"
    more = tuple(f"cell_{name}" for name in protocol(settings.protocol).columns) if runs else ()
    in_cells = _InCells(
        rows,
        settings,
        reference_log10_diffusivity,
        responses,
        no_response,
        ageing,
        {k: _protocol_columns(row, p, settings) for k, row, p in best} if runs else {},
    )
    return CellStage(
        rows=in_cells,
        columns=(*CELL_COLUMNS, *(name for name in more if name not in CELL_COLUMNS)),
        curves=_curves([(row, p) for _, row, p in best], settings, solve),
        responses={_role(name): r for name, r in responses.items()},
        base=_base(settings, solve),
        ageing=ageing,
    )


def _parameters(
    row: Mapping[str, Any], settings: CellSettings, reference_log10_diffusivity: float | None
) -> CandidateParameters | Row:
    """What a candidate changes of the cell, or the columns that say why there is no cell."""
    if row.get("status") not in (None, "", "ok"):
        return {"cell_status": "skipped", "cell_reason": "the candidate has no result"}
    try:
        return candidate_parameters(
            row,
            settings.base_cell,
            settings.temperature_K,
            reference_log10_diffusivity,
            settings.absolute,
            settings.parameters,
        )
    except NoCellError as error:
        return {"cell_status": "failed", "cell_reason": str(error)}


@dataclass(frozen=True, eq=False)
class _InCells:
    """Rows with CELL_COLUMNS, one after the other; see `cell_columns`."""

    rows: Iterable[Mapping[str, Any]]
    settings: CellSettings
    reference_log10_diffusivity: float | None
    responses: Mapping[str, Response]
    no_response: Mapping[str, str]
    ageing: Row
    of_protocol: Mapping[int, Row]

    def __iter__(self) -> Iterator[Row]:
        base = self.settings.base_cell
        for k, row in enumerate(self.rows):
            added: Row = {**row, **dict.fromkeys(CELL_COLUMNS), "cell_base_cell": base}
            parameters = _parameters(row, self.settings, self.reference_log10_diffusivity)
            if not isinstance(parameters, CandidateParameters):
                added.update(parameters)
            elif parameters.uncertain in self.no_response:
                reason = self.no_response[parameters.uncertain]
                added.update(cell_status="failed", cell_reason=reason)
            else:
                _fill(added, parameters, self.settings, self.responses[parameters.uncertain])
                added.update(self.ageing)
            more = dict(self.of_protocol.get(k, {}))
            reasons = (added["cell_reason"], more.pop("cell_reason", None))
            added.update(more, cell_reason="; ".join(filter(None, reasons)))
            yield added


def response(parameter: str, settings: CellSettings, solve: Solve) -> Response:
    """Solve a cell's figures of merit on a grid of one parameter.

    Args:
        parameter: CATHODE_DIFFUSIVITY or CONDUCTIVITY (as that of a single-ion conductor).
        settings: Which cell.
        solve: Simulation or reduced-order model.
    """
    if parameter == CATHODE_DIFFUSIVITY:
        values = {**scalars(settings.base_cell), **settings.parameters}
        radius = values["Positive particle radius [m]"]
        offset = math.log10(radius**2 / SECONDS_PER_HOUR)
        low, high = (decade + offset for decade in FOURIER_DECADES)
        also: dict[str, float] = {}
    else:
        low, high = CONDUCTIVITY_DECADES
        also = {TRANSFERENCE: 1.0}
    grid = np.linspace(low, high, round((high - low) * PER_DECADE) + 1)
    designs = [
        _design(f"{k}@{rate:g}", settings, rate, {**also, parameter: 10.0 ** float(value)})
        for k, value in enumerate(grid)
        for rate in RATES
    ]
    rows = solve(designs)
    kept, values_at, spreads_at, skipped, known = [], [], [], {}, []
    for k, value in enumerate(grid):
        own = rows[k * len(RATES) : (k + 1) * len(RATES)]
        reasons = [row["reason"] for row in own[:2] if row["status"] != "ok"]
        if reasons:  # without the slowest and 1C there is nothing to compare
            skipped[float(value)] = reasons[0]
            continue
        kept.append(float(value))
        if all(row.get("in_domain") is not False for row in own[:2]):
            known.append(float(value))
        one, spread = _kpis(own, settings)
        values_at.append(one)
        spreads_at.append(spread)
    if not kept:
        raise NoCellError(
            f"{settings.base_cell} could not be solved with any '{parameter}': "
            f"{next(iter(skipped.values()))}"
        )
    return Response(
        parameter,
        np.array(kept),
        {kpi: np.array([v[kpi] for v in values_at]) for kpi in KPIS},
        {kpi: np.array([v[kpi] for v in spreads_at]) for kpi in KPIS},
        skipped,
        known[0] if known else math.inf,
    )


def _kpis(rows: Sequence[Row], settings: CellSettings) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of merit of one cell from its discharges at RATES, and their spreads, that of the
    model against experiment included where cells were measured.
    """
    values = {**scalars(settings.base_cell), **settings.parameters}
    nominal, lower = values["Nominal cell capacity [A.h]"], values["Lower voltage cut-off [V]"]
    start = full_charge(settings.base_cell, settings.parameters)

    def at_rest(charge: Floats) -> Floats:
        return open_circuit(
            settings.base_cell, {}, *start.stoichiometries(charge), settings.temperature_K
        )

    curves = [
        Curve.from_row(row, nominal, lower, at_rest)
        if row["status"] == "ok"
        else _no_discharge(rate, nominal, lower)
        for rate, row in zip(RATES, rows, strict=True)
    ]
    slowest, at_1C, at_3C = curves[0], curves[1], curves[RATES.index(3.0)]
    weight = masses(settings.base_cell, settings.parameters).total
    able = [curve for curve in curves if curve.capacity_Ah > 0.0]
    found = {
        "specific_energy": slowest.energy_Wh / weight,
        "capacity_retained_1C": retention(at_1C, slowest),
        "capacity_retained_3C": retention(at_3C, slowest),
        "pulse_power": pulse_power_W(able) / weight,
        "round_trip_efficiency": round_trip_efficiency(at_1C),
        "heat_1C": mean_heat_W(at_1C) / weight,
        "duty_cycle_energy": duty_cycle_energy_Wh(able) / weight,
    }
    relative = [_relative_std(row) for row in rows]
    three = relative[RATES.index(3.0)]
    spread = {
        "specific_energy": relative[0] * found["specific_energy"],
        "capacity_retained_1C": math.hypot(relative[0], relative[1])
        * found["capacity_retained_1C"],
        "capacity_retained_3C": math.hypot(relative[0], three) * found["capacity_retained_3C"],
        "pulse_power": relative[-1] * found["pulse_power"],
        "round_trip_efficiency": relative[1] * (1.0 - found["round_trip_efficiency"]),
        "heat_1C": relative[1] * abs(found["heat_1C"]),
        "duty_cycle_energy": relative[1] * found["duty_cycle_energy"],
    }
    for kpi, against in OF_KPI.items():
        spread[kpi] = with_experiment(spread[kpi], found[kpi], against)
    return found, spread


def _relative_std(row: Row) -> float:
    """Relative spread of a discharge's energy about its model; a simulation has none."""
    std = row.get("energy_std_surrogate_Wh", row.get("energy_std_Wh"))
    if row["status"] != "ok" or std is None or not math.isfinite(std) or row["energy_Wh"] <= 0.0:
        return 0.0
    return float(std / row["energy_Wh"])


def _no_discharge(rate: float, nominal_Ah: float, lower_V: float) -> Curve:
    """A rate at which the cell gives nothing."""
    nothing = np.zeros(2)
    return Curve(rate, rate * nominal_Ah, nothing, nothing + lower_V, nothing + lower_V, lower_V)


def _design(name: str, settings: CellSettings, rate: float, given: Mapping[str, float]) -> Design:
    """A discharge of the settings' cell."""
    return check(
        Design(
            name,
            settings.base_cell,
            rate,
            settings.temperature_K,
            {**settings.parameters, **given},
        )
    )


def _fill(
    added: Row, parameters: CandidateParameters, settings: CellSettings, on: Response
) -> None:
    """Put a candidate's figures of merit into its row."""
    value = parameters.values[parameters.uncertain]
    log10 = math.log10(value)
    heavier = _mass_ratio(added, settings) if parameters.uncertain == CATHODE_DIFFUSIVITY else None
    for kpi, (mean, std) in on.at(log10, parameters.log10_std).items():
        factor = heavier if heavier is not None and KPIS[kpi].endswith("kg") else 1.0
        added[column(kpi)] = mean * factor
        added[column(kpi, std=True)] = std * factor
    taken = parameters.from_candidate
    if heavier is not None:
        taken = (*taken, "capacity for its mass of the cathode, from the formula")
    if settings.own_voltage and parameters.uncertain == CATHODE_DIFFUSIVITY:
        taken = (*taken, _at_own_voltage(added, settings))
    added.update(
        cell_value=value,
        cell_value_kind=f"{parameters.kind}, {parameters.uncertain}",
        cell_from_candidate="; ".join(taken),
        cell_from_base="; ".join((*parameters.from_base, note(_unmeasured(settings), tuple(KPIS)))),
        cell_in_domain=on.covers(log10),
        cell_status="ok",
        cell_reason="; ".join(filter(None, (_table_caution(added), on.caution(log10)))),
    )


def _table_caution(row: Mapping[str, Any]) -> str:
    """The domain warning of the table, and its note, for what enters the cell; empty where none."""
    quantity = "conductivity" if row.get("role") == "electrolyte" else "diffusivity"
    carries = str(row.get(f"{quantity}_source") or "").replace("_", " ")
    outside = f"the predicted {quantity} lies outside the domain of its model"
    if carries:
        outside += f" (from {carries})"
    return "; ".join(
        filter(None, (outside if row.get("in_domain") is False else "", row.get("note")))
    )


def _unmeasured(settings: CellSettings) -> str:
    """Why no measured cell supports the settings' cell; empty where one does."""
    return unsupported(settings.base_cell, SHOWN_RATE, settings.temperature_K, settings.parameters)


def _at_own_voltage(added: Row, settings: CellSettings) -> str:
    """Bring energy and power to the candidate's own voltage; what is to be said of it."""
    own = own_voltage_V(added)
    if own is None:
        return "its voltage is not known: that of the base cell's cathode"
    volts, std, source = own
    added.update(zip(VOLTAGE_COLUMNS, (volts, std), strict=True))
    start = full_charge(settings.base_cell, settings.parameters)
    charge = np.linspace(0.0, start.usable_Ah, 201)
    fillings = start.stoichiometries(charge)[1]
    table = potentials(settings.base_cell)
    cathode = float(np.interp(fillings, table.stoichiometry, table.positive_V).mean())
    rest = open_circuit(
        settings.base_cell, {}, *start.stoichiometries(charge), settings.temperature_K
    )
    cell_V = float(rest.mean())
    factor, relative = 1.0 + (volts - cathode) / cell_V, std / cell_V
    for kpi in CHANGED:
        mean, spread = added[column(kpi)], added[column(kpi, std=True)]
        added[column(kpi)] = max(0.0, mean * factor)
        added[column(kpi, std=True)] = math.hypot(spread * factor, mean * relative)
    return f"average voltage {volts:.2f} V {source}, in place of {cathode:.2f} V"


def _mass_ratio(row: Mapping[str, Any], settings: CellSettings) -> float | None:
    """Mass of the base cell's stack over that with the candidate's cathode; None if unknown."""
    from pymatgen.core import Composition

    ion, formula = row.get("working_ion"), row.get("formula")
    if ion != base_cell(settings.base_cell).working_ion or not formula:
        return None
    try:
        composition = Composition(str(formula))
        per_ion = float(composition.weight) / float(composition[str(ion)])
    except (ValueError, ZeroDivisionError):
        return None
    own = masses(settings.base_cell, settings.parameters).total
    return own / masses(settings.base_cell, settings.parameters, per_ion).total


def _reference(rows: Iterable[Mapping[str, Any]], cathode: str) -> float | None:
    """Predicted diffusivity of the base cell's own cathode among the rows."""
    from pymatgen.core import Composition

    wanted = Composition(cathode).reduced_formula
    for row in rows:
        try:
            same = Composition(str(row.get("formula"))).reduced_formula == wanted
            value = float(row["log10_diffusivity_cm2_s"])
        except (ValueError, TypeError, KeyError):
            continue
        if same and math.isfinite(value):
            return value
    return None


def _curves(
    best: Sequence[tuple[Mapping[str, Any], CandidateParameters]],
    settings: CellSettings,
    solve: Solve,
) -> dict[str, dict[str, list[float]]]:
    """Discharge curves of the best candidates and of the base cell."""
    designs = [_design(settings.base_cell, settings, SHOWN_RATE, {})]
    for row, parameters in best:
        designs.append(
            _design(str(row.get("candidate_id")), settings, SHOWN_RATE, parameters.values)
        )
    found = {}
    for row in solve(designs):
        if row["status"] == "ok":
            volts = [float(v) for v in row["voltage_V"]]
            charge = float(row["capacity_Ah"]) * np.linspace(0.0, 1.0, len(volts))
            found[str(row["design_id"])] = {"charge_Ah": charge.tolist(), "voltage_V": volts}
    return found


def _protocol_columns(
    row: Mapping[str, Any], parameters: CandidateParameters, settings: CellSettings
) -> Row:
    """The protocol's columns, ``cell_<name>``, of one of the best candidates."""
    design = _design(str(row.get("candidate_id")), settings, 1.0, parameters.values)
    found = ProtocolRuns(settings.protocol)([design])[0]
    columns: Row = {f"cell_{n}": found.get(n) for n in protocol(settings.protocol).columns}
    return columns if found["status"] == "ok" else {**columns, "cell_reason": found["reason"]}


def _base(settings: CellSettings, solve: Solve) -> dict[str, float]:
    """The base cell's own figures of merit."""
    rows = solve([_design(f"base@{rate:g}", settings, rate, {}) for rate in RATES])
    if any(row["status"] != "ok" for row in rows[:2]):
        return {}
    return {column(kpi): value for kpi, value in _kpis(rows, settings)[0].items()}


def _role(parameter: str) -> str:
    """Role of the candidates that set a parameter."""
    return "electrolyte" if parameter == CONDUCTIVITY else "electrode"
