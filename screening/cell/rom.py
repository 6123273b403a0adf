"""The reduced-order cell model at work: simulations to training data, designs to tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cell_correction import Curves
from models.cell_rom import CellRom
from models.single_particle import Cells, CellTables, make_cells
from screening.cell.base_cells import base_cell
from screening.cell.cell_tables import tabulate
from screening.cell.inputs import CURVE_CHANGES, STEP_WIDTH
from screening.cell.simulation import Simulations

Floats = NDArray[np.float64]

POTENTIAL_AT_FULL = "Upper voltage cut-off [V]"


@cache
def base_tables(name: str) -> CellTables:
    """Tables of a base cell, made with PyBaMM.

    Raises:
        InputError: Unknown name.
        MissingExtraError: PyBaMM is not installed.
    """
    return tabulate(base_cell(name).values, name)


def with_curve(tables: CellTables, change: Mapping[str, float]) -> CellTables:
    """A base cell with another cathode, see ``inputs.CURVE_CHANGES``.

    Args:
        tables: The base cell.
        change: Values of CURVE_CHANGES; their defaults where missing.
    """
    tilt, step, where = (change.get(k, default) for k, default in CURVE_CHANGES.items())
    x = np.linspace(0.0, 1.0, len(tables.positive.potential))
    added = tilt * (0.5 - x) - step * np.tanh((x - where) / STEP_WIDTH)
    positive = replace(tables.positive, potential=tables.positive.potential + added)
    name = f"{tables.name} tilt {tilt:.6g} step {step:.6g} at {where:.6g}"
    return replace(tables, name=name, positive=positive)


def training_data(simulations: Simulations) -> tuple[list[Cells], list[Curves], NDArray[np.intp]]:
    """Simulated discharges as cells and curves, one record an open-circuit curve.

    Returns:
        Cells, curves, and the rows of the simulations that they are, in their order.
    """
    tables = base_tables(simulations.base_cell)
    changes = {k: simulations.parameters.get(k) for k in CURVE_CHANGES}
    changed = [k for k, v in changes.items() if v is not None]
    records: list[Cells] = []
    labels: list[Curves] = []
    rows: list[NDArray[np.intp]] = []
    groups: Iterable[NDArray[np.intp]] = [np.arange(len(simulations))]
    if changed:
        groups = [np.array([i]) for i in range(len(simulations))]
    for own in groups:
        change = {k: float(changes[k][own[0]]) for k in changed}
        records.append(
            make_cells(
                with_curve(tables, change) if changed else tables,
                simulations.c_rate[own],
                simulations.temperature_K[own],
                {
                    **{
                        k: v[own]
                        for k, v in simulations.parameters.items()
                        if k not in CURVE_CHANGES and np.isfinite(v[own]).all()
                    },
                    **_start(
                        tables,
                        simulations.results["start_negative"][own],
                        simulations.results["start_positive"][own],
                    ),
                },
            )
        )
        labels.append(Curves(simulations.results["capacity_Ah"][own], simulations.voltage_V[own]))
        rows.append(own)
    return records, labels, np.concatenate(rows)


def _start(tables: CellTables, negative: Floats, positive: Floats) -> dict[str, Floats]:
    """Initial concentrations from the stoichiometries of the full cell."""
    found = {}
    for domain, stoichiometry in (("negative", negative), ("positive", positive)):
        most = tables.scalars[f"Maximum concentration in {domain} electrode [mol.m-3]"]
        found[f"Initial concentration in {domain} electrode [mol.m-3]"] = stoichiometry * most
    return found
