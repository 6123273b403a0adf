"""How an electrode is made: from slurry and gap to the coating, from the roll to its pores.

Published physics without a measured coating behind it: its entries state no error, and a plan says
that they are not validated.

- Wet film under a blade: drag gives half of the gap whatever the speed; a head of slurry adds a
  pressure flow that falls with speed: h = G/2 (1 + G^2 dp / (6 eta U L)) (Chou, Ko and Yan,
  J. Am. Ceram. Soc. 70, C-280 (1987), of tape casting).
- Compaction under a line load: the porosity falls exponentially to a limit, with the compaction
  resistance of the coating: (Meyer, Bockholt, Haselrieder and Kwade, J. Mater. Process. Technol.
  249, 172 (2017)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ionbridge.screening.cell.electrode_design import (
    DENSITIES_KG_M3,
    INACTIVE_KG_M3,
    ElectrodeDesign,
)
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import Entry, StepContext, Tables
from ionbridge.screening.planning.cells import into_cells
from ionbridge.screening.planning.records import row_by_row
from ionbridge.screening.planning.settings_files import HEAD_KEYS
from ionbridge.screening.table import Row
from ionbridge.structures.records import UnusableStructureError

NOT_MEASURED = "published physics, no measured coating behind it"


def manufacture_entries() -> tuple[Entry, ...]:
    """Coating, calendering, and the electrode that comes of them, up to the cell."""
    return (
        Entry(
            name="blade-coating",
            kind="formula",
            about=f"dry mass an area from solids content, gap and line speed; {NOT_MEASURED}",
            inputs=("coating",),
            outputs=("coating_mass",),
            fidelity="physics",
            cost_s=1e-4,
            run=_coated,
        ),
        Entry(
            name="calendering",
            kind="formula",
            about=f"porosity after the roll, from line load and resistance; {NOT_MEASURED}",
            inputs=("calendering",),
            outputs=("electrode_porosity",),
            fidelity="physics",
            cost_s=1e-4,
            run=_calendered,
        ),
        Entry(
            name="coated-electrode",
            kind="formula",
            about=f"thickness and design of a coating of known mass and porosity; {NOT_MEASURED}",
            inputs=("coating", "coating_mass", "electrode_porosity"),
            outputs=("electrode_thickness", "electrode_design"),
            fidelity="physics",
            cost_s=1e-4,
            run=_electrode,
        ),
        Entry(
            name="electrode-in-cell",
            kind="formula",
            about="a cell with the positive electrode of a design; the negative one stays",
            inputs=("base_cell", "electrode_design"),
            outputs=("cell_design",),
            fidelity="physics",
            cost_s=1e-3,
            extra="cell",
            run=_electrode_in_cell,
        ),
    )


def wet_film_um(coating: Mapping[str, float]) -> float:
    """Thickness of the wet film behind the blade.

    Args:
        coating: ``gap_um``, ``line_speed_m_min`` and, with a head of slurry, all of HEAD_KEYS.

    Raises:
        InputError: Some but not all of HEAD_KEYS.
    """
    gap_m = coating["gap_um"] * 1e-6
    stated = [key for key in HEAD_KEYS if key in coating]
    if not stated:
        return 0.5 * coating["gap_um"]
    if len(stated) < len(HEAD_KEYS):
        raise InputError(
            f"a head of slurry needs {', '.join(HEAD_KEYS)}; {', '.join(stated)} given"
        )
    speed_m_s = coating["line_speed_m_min"] / 60.0
    length_m = coating["blade_length_mm"] * 1e-3
    drag = 6.0 * coating["viscosity_Pa_s"] * speed_m_s * length_m
    return 0.5 * coating["gap_um"] * (1.0 + gap_m**2 * coating["head_Pa"] / drag)


def solids_density_g_cm3(coating: Mapping[str, float]) -> float:
    """Of active material, binder and carbon together, volumes added."""
    active = coating["active_mass_fraction"]
    volume = active / coating["active_density_g_cm3"] + (1.0 - active) / (INACTIVE_KG_M3 * 1e-3)
    return 1.0 / volume


def coating_mass_mg_cm2(coating: Mapping[str, float]) -> float:
    """Dry mass an area of one side."""
    solids = coating["solids_mass_fraction"]
    volume = (
        solids / solids_density_g_cm3(coating) + (1 - solids) / coating["solvent_density_g_cm3"]
    )
    wet_cm = wet_film_um(coating) * 1e-4
    return 1e3 * wet_cm * solids / volume


def calendered_porosity(calendering: Mapping[str, float]) -> float:
    """Porosity after the roll: limit + (before - limit) exp(-load / resistance)."""
    before, limit = calendering["porosity_before"], calendering["porosity_limit"]
    load = calendering["line_load_N_mm"] / calendering["compaction_resistance_N_mm"]
    return limit + (before - limit) * math.exp(-load)


def _coated(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def mass(row: Row) -> Row:
        return _number(row, coating_mass_mg_cm2=coating_mass_mg_cm2(row))

    return {"coating_mass": row_by_row(tables["coating"], mass)}


def _calendered(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def porosity(row: Row) -> Row:
        if row["porosity_limit"] >= row["porosity_before"]:
            raise UnusableStructureError("porosity_limit is not below porosity_before")
        return _number(row, electrode_porosity=calendered_porosity(row))

    return {"electrode_porosity": row_by_row(tables["calendering"], porosity)}


def _electrode(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    masses = {row["id"]: row for row in tables["coating_mass"]}
    porosities = tables["electrode_porosity"]

    def design(row: Row) -> Row:
        mass = masses.get(row["id"], tables["coating_mass"][0])
        porosity = next((p for p in porosities if p["id"] == row["id"]), porosities[0])
        for part in (mass, porosity):
            if part.get("status", "ok") != "ok":
                raise UnusableStructureError(part.get("reason", "an earlier step failed"))
        solids = solids_density_g_cm3(row)
        pores = float(porosity["electrode_porosity"])
        thickness_cm = 1e-3 * mass["coating_mass_mg_cm2"] / (solids * (1.0 - pores))
        radius = {k: row[k] for k in ("particle_radius_um",) if k in row}
        return {
            **_number(row, electrode_thickness_um=1e4 * thickness_cm),
            "thickness_um": 1e4 * thickness_cm,
            "porosity": pores,
            "active_fraction": row["active_mass_fraction"] * solids / row["active_density_g_cm3"],
            "density_g_cm3": row["active_density_g_cm3"],
            **radius,
        }

    rows = row_by_row(tables["coating"], design)
    return {"electrode_thickness": rows, "electrode_design": rows}


def _electrode_in_cell(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.cell.base_cells import base_cell

    def put(row: Row, name: str) -> Row:
        base = base_cell(name)
        share = float(row["active_fraction"])
        density = row.get("density_g_cm3")
        if density is not None:  # the same mass of the base cell's own material
            share *= 1e3 * float(density) / DENSITIES_KG_M3[base.cathode]
        radius = row.get("particle_radius_um")
        design = ElectrodeDesign(
            particle_radius_m=None if radius is None else 1e-6 * float(radius),
            thickness_m=1e-6 * float(row["thickness_um"]),
            porosity=float(row["porosity"]),
            active_fraction=(1.0 - float(row["porosity"])) * share,
        )
        return {"parameters": design.parameters(base.name, "Positive")}

    return into_cells(tables["electrode_design"], tables["base_cell"], put)


def _number(row: Row, **values: float) -> Row:
    """A row without a spread: nobody has measured how far such a value is off."""
    return {"id": row["id"], **values, "in_domain": True, "reason": NOT_MEASURED, "status": "ok"}
