"""Model against experiment: how far cells of published sets lie from measured ones, unfitted.

A surrogate's spread says how near it is to its model (a simulation's: how near its mesh is to the
equations); this one says how near the model is to a cell. Both are added in quadrature. Root mean
squares over measured cells (``base_sets_against_experiment`` in
benchmarks/results/cell_experiment.json), widened by Student's t for so few cells; a fitted cell
(``ionbridge cell fit``) has a narrower one of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ionbridge.screening.cell.base_cells import base_cell, scalars

CAPACITY, ENERGY, RETAINED = 0.031, 0.037, 0.019
"""Relative standard deviations of capacity, energy, and the capacity retained at a rate."""
MEAN_VOLTAGE_V = 0.04
MESH, COARSE_MESH, FINER_MESH = (0.0006, 0.002), (0.12, 0.03), (0.002, 0.001)
"""A simulation's own standard deviations by its mesh, of capacity and energy relatively and of the
mean voltage in V: as a rule; where a finer mesh is called for, and then on that mesh
(benchmarks/results/cell_salt.json)."""
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

COATINGS = (0.5, 2.0)
"""Thickness of a design's electrodes over the base cell's, within which measured cells say
something of it."""

OF_KPI = {
    "specific_energy": ENERGY,
    "capacity_retained_1C": RETAINED,
    "duty_cycle_energy": ENERGY,
}
"""Figure of merit of a campaign -> relative standard deviation against experiment."""

SPREADS = (
    "capacity_std_Ah",
    "energy_std_Wh",
    "mean_voltage_std_V",
    "capacity_std_surrogate_Ah",
    "energy_std_surrogate_Wh",
    "experiment",
)
"""Columns that `stated_spreads` gives."""

ONLY_DISCHARGES = "no measured cell supports it: all were discharged from full at constant current"


def unsupported(
    base: str,
    c_rate: float,
    temperature_K: float,
    given: Mapping[str, float] | None = None,
    salt_is_short: bool = False,
) -> str:
    """Why no measured cell supports a discharge; empty where one does.

    Args:
        base: Base cell.
        c_rate: Of the discharge.
        temperature_K: Of the cell.
        given: What the design sets.
        salt_is_short: Whether the salt of the positive electrode is used up.
    """
    cell = base_cell(base)
    if (cell.cathode, cell.anode) not in MEASURED:
        return f"no measured cell supports it: none with {cell.cathode} against {cell.anode}"
    if c_rate > FASTEST_C_RATE:
        return f"no measured cell supports it: none above {FASTEST_C_RATE:g}C"
    if not COLDEST_K <= temperature_K <= WARMEST_K:
        return "no measured cell supports it: all were measured at 25 C"
    if salt_is_short:
        return "no measured cell supports it: none ran short of salt"
    for name in ("Negative electrode thickness [m]", "Positive electrode thickness [m]"):
        ratio = (given or {}).get(name, scalars(base)[name]) / scalars(base)[name]
        if not COATINGS[0] <= ratio <= COATINGS[1]:
            return (
                "no measured cell supports it: none has coatings so "
                f"{'thick' if ratio > 1.0 else 'thin'} ({ratio:.2g} times the base cell's)"
            )
    return ""


def with_experiment(std: float, value: float, relative: float) -> float:
    """The sum of a surrogate's spread and of that against experiment."""
    return math.hypot(std, relative * value)


def stated_spreads(
    about: str, capacity_Ah: tuple[float, float], energy_Wh: tuple[float, float], voltage_V: float
) -> dict[str, float | str]:
    """SPREADS of a discharge, those that are known.

    Args:
        about: Why no measured cell supports it; empty where one does.
        capacity_Ah: Value and standard deviation about the model.
        energy_Wh: Likewise.
        voltage_V: Standard deviation of the mean voltage about the model.
    """
    numbers = {
        "capacity_std_Ah": with_experiment(capacity_Ah[1], capacity_Ah[0], CAPACITY),
        "energy_std_Wh": with_experiment(energy_Wh[1], energy_Wh[0], ENERGY),
        "mean_voltage_std_V": with_experiment(voltage_V, 1.0, MEAN_VOLTAGE_V),
        "capacity_std_surrogate_Ah": capacity_Ah[1],
        "energy_std_surrogate_Wh": energy_Wh[1],
    }
    said = about or f"spreads include model against experiment ({N_CELLS} cells)"
    return {**{k: v for k, v in numbers.items() if math.isfinite(v)}, "experiment": said}


def note(about: str, kpis: tuple[str, ...]) -> str:
    """What is to be said of the spreads of figures of merit.

    Args:
        about: Why no measured cell supports any of them; empty where some do.
        kpis: Their names.
    """
    left = [kpi for kpi in kpis if kpi not in OF_KPI]
    said = (
        f"spreads of {', '.join(OF_KPI)} include model against experiment ({N_CELLS} cells); no "
        f"measured cell supports those of {', '.join(left)}"
    )
    return f"{said}; {about}" if about else said
