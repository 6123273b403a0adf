"""How a campaign's cell grows old under its duty: columns of the cell stage.

All modelled losses happen at the graphite and follow from current, temperature and depth, so that
every candidate has the base cell's ageing; what it says is whether a faster cathode is worth having
in a cell that dies of something else.
"""

from __future__ import annotations

from ionbridge.models.cells.graphite import Cycling
from ionbridge.screening.cell.ageing_base import BASES
from ionbridge.screening.cell.ageing_kpis import ageing_kpis, ageing_model, years_of_service
from ionbridge.screening.cell.base_cells import base_cell
from ionbridge.screening.cell.settings import Duty
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import Row

AGEING_COLUMNS = (
    "cell_fade_500_cycles_percent",
    "cell_fade_500_cycles_std_percent",
    "cell_service_life_years",
    "cell_service_life_lower_years",
    "cell_ageing_note",
)
"""Capacity lost after 500 cycles of the duty; years until 80 % is left, and the lower end of their
90 % interval."""


def ageing_columns(base: str, duty: Duty, temperature_K: float) -> Row:
    """AGEING_COLUMNS of a base cell; without an ageing model, empty and with a note.

    Args:
        base: Name of the base cell.
        duty: How it is used.
        temperature_K: Of the cell.

    Raises:
        InputError: A duty that no cell can have.
    """
    cell = base_cell(base)
    ageing = next((b.name for b in BASES.values() if b.base == cell.pybamm_set), None)
    if ageing is None:
        note = f"no ageing model for {base}; known for {', '.join(b.base for b in BASES.values())}"
        return {**dict.fromkeys(AGEING_COLUMNS), "cell_ageing_note": note}
    model = ageing_model(ageing)
    try:
        cycling = Cycling(
            duty.charge_c_rate, duty.discharge_c_rate, temperature_K, duty.depth_of_discharge
        )
    except ValueError as error:
        raise InputError(f"cell.duty: {error}") from error
    found = ageing_kpis(model, cycling, cycles_per_day=duty.cycles_per_day)
    notes = [f"that of the base cell, as {ageing}: the graphite ages"]
    if not found.in_domain:
        notes.append("duty unlike the training runs")
    if found.note:
        notes.append(found.note)
    return {
        "cell_fade_500_cycles_percent": found.capacity_fade_percent,
        "cell_fade_500_cycles_std_percent": found.capacity_fade_std_percent,
        "cell_service_life_years": years_of_service(found.cycles_to_end, duty.cycles_per_day),
        "cell_service_life_lower_years": years_of_service(
            found.cycles_to_end_lower, duty.cycles_per_day
        ),
        "cell_ageing_note": "; ".join(notes),
    }
