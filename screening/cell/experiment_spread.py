"""Model against experiment: how far cells of published sets lie from measured ones, unfitted.

A surrogate's spread says how near it is to its model; this one says how near the model is to a
cell. Both are added in quadrature. Root mean squares over measured cells
(``base_sets_against_experiment`` in benchmarks/results/cell_experiment.json), widened by Student's
t for so few cells; a fitted cell (``ionbridge cell fit``) has a narrower one of its own.
"""

from __future__ import annotations

import math

from ionbridge.screening.cell.base_cells import base_cell

CAPACITY, ENERGY, RETAINED = 0.031, 0.037, 0.019
"""Relative standard deviations of capacity, energy, and the capacity retained at a rate."""
MEAN_VOLTAGE_V = 0.04
N_CELLS = 4
MEASURED = (
    ("LiCoO2", "graphite"),
    ("LiFePO4", "graphite"),
    ("LiNi0.33Mn0.33Co0.33O2", "graphite"),
    ("Na3V2(PO4)2F3", "hard carbon"),
)
"""Cathode and anode of cells that were measured."""
FASTEST_C_RATE = 2.0
COLDEST_K, WARMEST_K = 293.15, 303.15

OF_KPI = {
    "specific_energy": ENERGY,
    "capacity_retained_1C": RETAINED,
    "duty_cycle_energy": ENERGY,
}
"""Figure of merit of a campaign -> relative standard deviation against experiment."""


def unsupported(base: str, c_rate: float, temperature_K: float) -> str:
    """Why no measured cell supports a discharge; empty where one does."""
    cell = base_cell(base)
    if (cell.cathode, cell.anode) not in MEASURED:
        return f"no measured cell supports it: none with {cell.cathode} against {cell.anode}"
    if c_rate > FASTEST_C_RATE:
        return f"no measured cell supports it: none above {FASTEST_C_RATE:g}C"
    if not COLDEST_K <= temperature_K <= WARMEST_K:
        return "no measured cell supports it: all were measured at 25 C"
    return ""


def with_experiment(std: float, value: float, relative: float) -> float:
    """The sum of a surrogate's spread and of that against experiment."""
    return math.hypot(std, relative * value)


def note(kpis: tuple[str, ...]) -> str:
    """What is to be said of the spreads of figures of merit."""
    left = [kpi for kpi in kpis if kpi not in OF_KPI]
    return (
        f"spreads of {', '.join(OF_KPI)} include model against experiment ({N_CELLS} cells); no "
        f"measured cell supports those of {', '.join(left)}"
    )
