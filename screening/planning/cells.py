"""Entries of the cell: from a material's transport to capacity, energy and life."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ionbridge.models import library
from ionbridge.models.library import DEFAULTS
from ionbridge.screening.cell.experiment_spread import (
    CAPACITY,
    FINER_MESH,
    MEAN_VOLTAGE_V,
    N_CELLS,
)
from ionbridge.screening.planning.catalogue import (
    Conditions,
    Entry,
    EntryDomain,
    StepContext,
    Tables,
    ValidatedError,
)
from ionbridge.screening.planning.formulas import MAE_TO_STD
from ionbridge.screening.planning.records import crystal_of, row_by_row
from ionbridge.screening.planning.trained import loaded
from ionbridge.screening.table import Row
from ionbridge.structures.records import UnusableStructureError
from ionbridge.structures.units import M2_PER_CM2, SECONDS_PER_HOUR

NOMINAL_AH = 2.3
"""Of the base cells, for relative errors."""
NOMINAL_V = 3.5
NOMINAL_RADIUS_M, NOMINAL_D_CM2_S = 5e-6, 1e-10
"""Particle and diffusivity at which errors are linearised."""
AGAINST_EXPERIMENT = f"model against experiment ({N_CELLS} cells) included"
CATHODES = (
    (frozenset(("Fe", "P")), "Prada2013_balanced"),
    (frozenset(("Mn", "P")), "Prada2013_balanced"),
    (frozenset(("Ni",)), "Chen2020"),
    (frozenset(("Co",)), "Ai2020_extended"),
)
"""Base cells by elements of the cathode; the first that fits is taken."""
LARGEST_ERRORS = {
    "cell_capacity": NOMINAL_AH,
    "cell_energy": NOMINAL_AH * NOMINAL_V,
    "cell_heat": NOMINAL_AH * NOMINAL_V,
}
ROM = "cell-rom-source"
"""One of the shipped reduced-order models; the others come with it."""
GIVEN = "given"
"""Id of a value that the user gave: it is meant as it stands."""


def cell_entries() -> tuple[Entry, ...]:
    """The material put into a cell, PyBaMM, and what ages it."""
    return (
        Entry(
            name="base-cell-of-crystal",
            kind="formula",
            about="the shipped cell whose cathode is most like a crystal",
            inputs=("crystal",),
            outputs=("base_cell",),
            fidelity="physics",
            cost_s=1e-3,
            run=_base_cells,
        ),
        Entry(
            name="material-in-cell",
            kind="formula",
            about="a cell with the diffusivity of the cathode replaced by that of a material",
            inputs=("base_cell", "diffusivity"),
            outputs=("cell_design",),
            fidelity="physics",
            cost_s=1e-3,
            sensitivities=lambda at: {("cell_design", "diffusivity"): 1.0},
            extra="cell",
            conditions=("temperature_K",),
            run=_material_in_cell,
        ),
        Entry(
            name="measured-in-cell",
            kind="formula",
            about="a cell whose cathode has a measured chemical diffusivity, as it stands",
            inputs=("base_cell", "chemical_diffusivity"),
            outputs=("cell_design",),
            fidelity="experiment",
            cost_s=1e-3,
            sensitivities=lambda at: {("cell_design", "chemical_diffusivity"): 1.0},
            extra="cell",
            run=_measured_in_cell,
        ),
        _discharge(
            "cell-rom",
            kind="rom",
            about="reduced-order model of a constant-current discharge, the one of the base cell",
            cost_s=0.02,
            errors=_rom_errors(),
            training_sets=("DFN discharges of this project (PyBaMM)",),
            missing="" if ROM in library.folders() else "its models are not shipped",
            run=_predicted_discharges,
        ),
        _discharge(
            "pybamm-dfn",
            kind="simulation",
            about="Doyle-Fuller-Newman model of a constant-current discharge, solved with PyBaMM",
            cost_s=2.0,
            errors=_discharge_errors(FINER_MESH[0] * NOMINAL_AH, 0, "the mesh"),
            licence="BSD-3-Clause (PyBaMM)",
            extra="cell",
            run=_discharges,
        ),
        Entry(
            name="ageing-rom",
            kind="rom",
            about="cycles to 80 % and the loss after 500 cycles, by mechanism, from physics",
            inputs=("base_cell",),
            outputs=("cycle_life", "capacity_fade"),
            fidelity="physics",
            cost_s=0.1,
            errors=_ageing_errors(),
            training_sets=("ageing runs of this project (PyBaMM)",),
            missing="" if ageing_models() else "its models are not shipped with this version",
            conditions=("temperature_K", "c_rate"),
            run=_aged,
        ),
        Entry(
            name="linear-fade",
            kind="formula",
            about="cycles to 80 % if the fade of 500 cycles goes on as it is",
            inputs=("capacity_fade",),
            outputs=("cycle_life",),
            fidelity="physics",
            cost_s=1e-4,
            errors={
                "cycle_life": {
                    "all": ValidatedError(
                        LINEAR_FADE_STD, 0, "neither knees nor square roots of time"
                    )
                }
            },
            sensitivities=lambda at: {("cycle_life", "capacity_fade"): 4.0},
            run=_linear_fade,
        ),
    )


def _discharge(name: str, **fields: Any) -> Entry:
    """What gives capacity and energy of a constant-current discharge; ways differ in the rest."""
    return Entry(
        name=name,
        inputs=("cell_design",),
        outputs=("cell_capacity", "cell_energy", "cell_power", "cell_heat"),
        fidelity="physics",
        sensitivities=_discharge_slopes,
        largest_errors=LARGEST_ERRORS,
        domain=EntryDomain(ranges={"temperature_K": (233.0, 343.0), "c_rate": (1e-3, 100.0)}),
        conditions=("temperature_K", "c_rate"),
        **fields,
    )


def _discharge_errors(
    std_Ah: float, n_rows: int, basis: str
) -> Mapping[str, Mapping[str, ValidatedError]]:
    """Of the capacity, and of the energy at the usual voltage; against experiment.

    Power and heat at a given current are off by what the mean voltage is.

    Args:
        std_Ah: What a way of solving may be off its model by.
        n_rows: What that was measured on.
        basis: How.
    """
    std_Ah, basis = math.hypot(std_Ah, CAPACITY * NOMINAL_AH), f"{basis}, {AGAINST_EXPERIMENT}"
    stds = {
        "cell_capacity": std_Ah,
        "cell_energy": NOMINAL_V * std_Ah,
        "cell_power": MEAN_VOLTAGE_V / NOMINAL_V / math.log(10.0),
        "cell_heat": MEAN_VOLTAGE_V * NOMINAL_AH,
    }
    return {name: {"all": ValidatedError(std, n_rows, basis)} for name, std in stds.items()}


def _discharge_slopes(at: Conditions) -> Mapping[tuple[str, str], float]:
    """Capacity that a decade of diffusivity costs: Q / Q0 = 1 - 1 / (15 Fo) of a sphere.

    Fo = D t / R^2 with the discharge time t; the surface of a sphere under constant flux runs ahead
    of its mean by R^2 / (15 D t) of the range (Crank, The Mathematics of Diffusion, 1975).
    """
    seconds = SECONDS_PER_HOUR / at.c_rate
    fourier = NOMINAL_D_CM2_S * M2_PER_CM2 * seconds / NOMINAL_RADIUS_M**2
    slope = min(NOMINAL_AH, NOMINAL_AH * math.log(10.0) / (15.0 * fourier))
    return {
        ("cell_capacity", "cell_design"): slope,
        ("cell_energy", "cell_design"): NOMINAL_V * slope,
        ("cell_power", "cell_design"): slope / NOMINAL_AH / math.log(10.0),
        ("cell_heat", "cell_design"): NOMINAL_V * slope,
    }


def _base_cells(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def cell(row: Row) -> Row:
        crystal = crystal_of(row)
        elements = {str(e) for e in crystal.composition}
        if "Li" not in elements:
            raise UnusableStructureError(
                f"{crystal.id}: the base cells are lithium cells, {crystal.formula} holds no Li"
            )
        name = next((base for needed, base in CATHODES if needed <= elements), None)
        if name is None:
            raise UnusableStructureError(
                f"{crystal.id}: no base cell has a cathode like {crystal.formula}; name one with "
                "chemistry:LFP or chemistry:LCO"
            )
        return {"id": crystal.id, "base_cell": name, "status": "ok"}

    return {"base_cell": row_by_row(tables["crystal"], cell)}


def _material_in_cell(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.cell.base_cells import base_cell
    from ionbridge.screening.cell.parameters import candidate_parameters

    kelvin = context.at.temperature_K

    def put(row: Row, name: str) -> Row:
        base = base_cell(name)
        measured = row["id"] == GIVEN
        reference = None
        if base.phase_separating and not measured:
            reference = predicted_diffusivity(base.cathode, kelvin)
        found = candidate_parameters(
            {**row, "log10_diffusivity_std": row["std"], "temperature_K": kelvin},
            base.name,
            kelvin,
            reference,
            absolute=measured,
        )
        return {
            "parameters": dict(found.values),
            "log10_diffusivity_std": found.log10_std,
            "diffusivity_kind": found.kind,
            "from_material": list(found.from_candidate),
            "from_base": list(found.from_base),
        }

    return into_cells(tables["diffusivity"], tables["base_cell"], put)


def _measured_in_cell(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.cell.parameters import CATHODE_DIFFUSIVITY

    def put(row: Row, base: str) -> Row:
        value = 10.0 ** row["log10_chemical_diffusivity_cm2_s"] * M2_PER_CM2
        return {
            "parameters": {CATHODE_DIFFUSIVITY: value},
            "log10_diffusivity_std": float(row.get("std") or 0.0),
            "diffusivity_kind": "chemical",
        }

    return into_cells(tables["chemical_diffusivity"], tables["base_cell"], put)


def into_cells(
    rows: Sequence[Row], cells: Sequence[Row], put: Callable[[Row, str], Row]
) -> Mapping[str, list[Row]]:
    """Cell designs: each row put into the base cell of its id, or into the only usable one.

    Args:
        rows: What changes a cell, such as diffusivities or designs of an electrode.
        cells: Rows of ``base_cell``.
        put: A row and the name of its base cell to the further columns of its design.
    """
    by_id = {cell["id"]: cell for cell in cells}
    usable = [cell for cell in cells if cell.get("status", "ok") == "ok"]
    other = usable[0] if len(usable) == 1 else cells[0] if len(cells) == 1 else None

    def design(row: Row) -> Row:
        cell = by_id.get(row["id"], other)
        if cell is None:
            raise UnusableStructureError(f"{row['id']}: none of {len(cells)} base cells is its own")
        if cell.get("status", "ok") != "ok":
            raise UnusableStructureError(cell.get("reason", ""))
        return {
            "id": row["id"],
            "base_cell": cell["base_cell"],
            "in_domain": row.get("in_domain", True),
            "status": "ok",
            **put(row, cell["base_cell"]),
        }

    return {"cell_design": row_by_row(rows, design)}


@lru_cache(maxsize=8)
def predicted_diffusivity(formula: str, temperature_K: float) -> float:
    """log10 of the diffusivity (cm2/s) that the shipped hop model predicts for a reference crystal.

    Raises:
        UnusableStructureError: There is no such reference, or no prediction of it.
    """
    from ionbridge.screening.prediction.conduction import Conditions as ConductionConditions
    from ionbridge.screening.prediction.crystals import CrystalPredictor
    from ionbridge.structures.frameworks.prototypes import reference_crystals

    known = [c for c in reference_crystals() if c.formula == formula]
    if not known:
        raise UnusableStructureError(f"no reference crystal of {formula} to scale by")
    predictor = CrystalPredictor(DEFAULTS["migration_barrier"], ConductionConditions(temperature_K))
    row = predictor(known[:1])[0]
    if row["status"] != "ok":
        raise UnusableStructureError(f"{formula}: {row['reason']}")
    return float(row["log10_diffusivity_cm2_s"])


AGEING_MODELS = ("ageing-lco", "ageing-lfp")
AGEING_CATHODES = {"LiCoO2": "LCO", "LiFePO4": "LFP"}
"""Names of the ageing models for the cathodes of the base cells."""
AGEING_RATE, AGEING_DEPTH = 1.0, 0.8
"""Rate and depth at which a cell is cycled where a plan says nothing else."""
FADE_CYCLES = 500.0
TYPICAL_FADE = 0.2
"""At the end of life, for errors that are relative to it."""
UNSEEN_LIFE_STD = 0.3
"""Decades, of a life beyond the cycles that were simulated: no knee can be foreseen there."""


LINEAR_FADE_STD = 0.4
"""Decades: growth of a film with the square root of time lives up to ten times as long."""


def ageing_models() -> tuple[str, ...]:
    """The ageing models that are shipped."""
    return tuple(name for name in AGEING_MODELS if name in library.folders())


def _ageing_errors() -> Mapping[str, Mapping[str, ValidatedError]]:
    """Of the life, what no model of the first cycles can know; of the fade, what the cards state.

    The fade is that of simulated cells: how far a real one is off, no card knows.
    """
    fades = [_fade_error(library.read_card(library.find(name))) for name in ageing_models()]
    known = [fade for fade in fades if fade is not None]
    if not known:
        return {}
    fade = ValidatedError(max(known), 0, "as the cards state, on simulated cells")
    life = ValidatedError(UNSEEN_LIFE_STD, 0, "knees after the simulated cycles are not foreseen")
    return {"cycle_life": {"all": life}, "capacity_fade": {"all": fade}}


def _fade_error(card: Mapping[str, Any]) -> float | None:
    """Fraction of the capacity, from the error of its loss that a card states in percent of it.

    A card states one set of scores a protocol or, under numbers of runs learnt from, several: the
    last, of the most runs, is that of the model as shipped.
    """
    percent = _last_stated(card.get("validation"), "capacity_lost")
    return None if percent is None else MAE_TO_STD * percent / 100.0 * TYPICAL_FADE


def _last_stated(scores: Any, key: str) -> float | None:
    """The last number under a key, at whatever depth; of [mean, spread] the mean."""
    if not isinstance(scores, Mapping):
        return None
    value = scores.get(key)
    value = value[0] if isinstance(value, Sequence) and value else value
    if isinstance(value, int | float):
        return float(value)
    found = [_last_stated(part, key) for part in scores.values()]
    return next((one for one in reversed(found) if one is not None), None)


def _aged(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.models.cells.graphite import Cycling
    from ionbridge.screening.cell.ageing_kpis import LONGEST_CYCLES, ageing_kpis, ageing_model
    from ionbridge.screening.cell.base_cells import base_cell

    at = context.at
    cycling = Cycling(AGEING_RATE, at.c_rate, at.temperature_K, AGEING_DEPTH)

    def aged(row: Row) -> Row:
        cathode = base_cell(row["base_cell"]).cathode
        model = ageing_model(AGEING_CATHODES.get(cathode, cathode))
        found = ageing_kpis(model, cycling, cycles=FADE_CYCLES, seed=at.seed)
        lower = math.log10(found.cycles_to_end / found.cycles_to_end_lower)
        upper = math.log10(found.cycles_to_end_upper / found.cycles_to_end)
        is_cut = found.cycles_to_end_upper >= LONGEST_CYCLES  # then the lower half tells the spread
        spread = 2.0 * lower if is_cut else lower + upper
        return {
            "id": row["id"],
            "base_cell": row["base_cell"],
            "cycles_to_end": found.cycles_to_end,
            "log10_cycle_life": math.log10(found.cycles_to_end),
            "capacity_fade": found.capacity_fade_percent / 100.0,
            "std": max(spread / 3.29, UNSEEN_LIFE_STD if found.extrapolated else 0.0),
            "reason": found.note,
            "fade_std": found.capacity_fade_std_percent / 100.0,
            "main_mechanism": found.main_mechanism,
            "extrapolated": found.extrapolated,
            "cycling_in_domain": found.in_domain,
            "in_domain": found.in_domain and not found.extrapolated,
            "status": "ok",
        }

    def life(row: Row) -> Row:
        if row["cycles_to_end"] < LONGEST_CYCLES:
            return row
        raise UnusableStructureError(
            f"{row['base_cell']} at {at.c_rate:g}C and {at.temperature_K:g} K: {row['reason']}; "
            f"the goal capacity_fade says what is lost after {FADE_CYCLES:g} cycles"
        )

    rows = row_by_row(tables["base_cell"], aged)
    fades = [
        {**row, "std": row["fade_std"], "in_domain": row["cycling_in_domain"], "reason": ""}
        if row["status"] == "ok"
        else row
        for row in rows
    ]
    return {"cycle_life": row_by_row(rows, life), "capacity_fade": fades}


def _discharges(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.cell.simulation import Discharges

    return _capacities(tables, context.at, lambda design: Discharges()([design])[0])


def _predicted_discharges(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.cell.rom import predict_designs
    from ionbridge.screening.cell.shipped import rom_for

    def predicted(design: Any) -> Row:
        return predict_designs([design], loaded(library.find(rom_for(design.base_cell))))[0]

    return _capacities(tables, context.at, predicted)


def _capacities(
    tables: Tables, at: Conditions, solve: Callable[[Any], Row]
) -> Mapping[str, list[Row]]:
    """What discharges of designs give, their spread that of the diffusivity and the solver's own.

    The mean power is the current times the mean voltage; heat is what the cell at rest would have
    given more, and what its entropy takes up or sets free.
    """
    from ionbridge.screening.cell.designs import Design, check

    slope = _discharge_slopes(at)["cell_capacity", "cell_design"] / NOMINAL_AH

    def solved(row: Row) -> Row:
        design = check(_design(row, at, Design))
        found = solve(design)
        if found["status"] != "ok":
            raise UnusableStructureError(found["reason"])
        capacity, energy = float(found["capacity_Ah"]), float(found["energy_Wh"])
        carried = min(float(row.get("log10_diffusivity_std") or 0.0) * slope, 1.0)
        own, own_energy = float(found["capacity_std_Ah"]), float(found["energy_std_Wh"])
        kinds = ("irreversible_heat_J", "reversible_heat_J")
        heat_J = sum(float(found[k]) for k in kinds) if all(k in found for k in kinds) else None
        own_V = float(found["mean_voltage_std_V"])
        volts = float(found["mean_voltage_V"])
        relative_V = math.hypot(carried, own_V / volts)
        return {
            **power_of(design.c_rate * nominal_Ah(design), volts, relative_V * volts),
            "heat_Wh": None if heat_J is None else heat_J / SECONDS_PER_HOUR,
            "heat_std_Wh": math.hypot(carried * energy, own_V * capacity),
            "id": row["id"],
            "capacity_Ah": capacity,
            "energy_Wh": energy,
            "mean_voltage_V": volts,
            "std": math.hypot(carried * capacity, own),
            "energy_std_Wh": math.hypot(carried * energy, own_energy),
            "base_cell": row["base_cell"],
            "c_rate": design.c_rate,
            "temperature_K": design.temperature_K,
            "in_domain": bool(row.get("in_domain", True) and found.get("in_domain", True)),
            "status": "ok",
        }

    def heated(row: Row) -> Row:
        if row["heat_Wh"] is None:
            raise UnusableStructureError("the heat of this discharge is not known")
        return {**row, "std": row["heat_std_Wh"]}

    rows = row_by_row(tables["cell_design"], solved)
    return {**discharge_tables(rows), "cell_heat": row_by_row(rows, heated)}


def discharge_tables(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows of discharges as those of the quantities that they give, each with its own spread."""
    stds = {
        "cell_capacity": "std",
        "cell_energy": "energy_std_Wh",
        "cell_power": "log10_power_std",
    }
    return {
        name: [{**row, "std": row[std]} if row["status"] == "ok" else row for row in rows]
        for name, std in stds.items()
    }


def power_of(current_A: float, mean_V: float, std_V: float) -> Row:
    """log10 of the mean power in W of a discharge at constant current, with its spread."""
    return {
        "log10_power_W": math.log10(current_A * mean_V),
        "log10_power_std": std_V / mean_V / math.log(10.0),
    }


def nominal_Ah(design: Any) -> float:
    """The capacity that a design's C-rate refers to."""
    from ionbridge.screening.cell.base_cells import scalars

    name = "Nominal cell capacity [A.h]"
    return float(design.parameters.get(name, scalars(design.base_cell)[name]))


def _rom_errors() -> Mapping[str, Mapping[str, ValidatedError]]:
    """The relative error of the capacity that its card states, where it does."""
    if ROM not in library.folders():
        return {}
    stated = library.read_card(library.find(ROM)).get("validation", {})
    percent = stated.get("capacity_error_percent") if isinstance(stated, Mapping) else None
    if not isinstance(percent, int | float):
        return {}
    std = MAE_TO_STD * float(percent) / 100.0 * NOMINAL_AH
    return _discharge_errors(std, int(stated.get("n", 0)), "as the card states")


def _design(row: Row, at: Conditions, design: Any) -> Any:
    """A row of ``cell_design`` as a design; rate and temperature of the plan where it has none."""
    return design(
        str(row["id"]),
        str(row["base_cell"]),
        float(row.get("c_rate", at.c_rate)),
        float(row.get("temperature_K", at.temperature_K)),
        dict(row.get("parameters") or {}),
    )


def _linear_fade(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def life(row: Row) -> Row:
        fade = max(float(row["capacity_fade"]), 1e-4)
        return {
            "id": row["id"],
            "log10_cycle_life": math.log10(500.0 * 0.2 / fade),
            "std": math.hypot(LINEAR_FADE_STD, row.get("std", 0.0) / fade / math.log(10.0)),
            "in_domain": row.get("in_domain", True),
            "status": "ok",
        }

    return {"cycle_life": row_by_row(tables["capacity_fade"], life)}
