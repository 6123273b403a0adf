"""Entries of the cell: from a material's transport to capacity, energy and life."""

from __future__ import annotations

import math
from collections.abc import Mapping

from screening.orchestrator.catalogue import Conditions, Entry, ValidatedError
from structures.units import M2_PER_CM2

NOT_CONNECTED = "the cell stage is not connected yet; use ionbridge cell"
NOMINAL_AH = 2.3
"""Of the base cells, for relative errors."""
NOMINAL_RADIUS_M, NOMINAL_D_CM2_S = 5e-6, 1e-10
"""Particle and diffusivity at which errors are linearised."""
SECONDS_AN_HOUR = 3600.0


def cell_entries() -> tuple[Entry, ...]:
    """Reduced-order model, PyBaMM, ageing and cycle life."""
    capacity = {"all": ValidatedError(0.001 * NOMINAL_AH, 0, "stated, not yet validated here")}
    solved = {"all": ValidatedError(0.0005 * NOMINAL_AH, 0, "mesh converged to 1 mV")}
    return (
        Entry(
            name="cell-rom",
            kind="rom",
            about="reduced-order model of a constant-current discharge",
            inputs=("cell_design", "diffusivity"),
            outputs=("cell_capacity", "cell_energy"),
            fidelity="physics",
            cost_s=0.01,
            errors={"cell_capacity": capacity, "cell_energy": capacity},
            sensitivities=_discharge_slopes,
            missing=NOT_CONNECTED,
        ),
        Entry(
            name="pybamm-dfn",
            kind="simulation",
            about="Doyle-Fuller-Newman model of a constant-current discharge, solved with PyBaMM",
            inputs=("cell_design", "diffusivity"),
            outputs=("cell_capacity", "cell_energy"),
            fidelity="physics",
            cost_s=0.5,
            errors={"cell_capacity": solved, "cell_energy": solved},
            sensitivities=_discharge_slopes,
            licence="BSD-3-Clause (PyBaMM)",
            extra="cell",
            missing=NOT_CONNECTED,
        ),
        Entry(
            name="ageing-rom",
            kind="rom",
            about="capacity lost by mechanism over 500 cycles",
            inputs=("cell_design",),
            outputs=("capacity_fade",),
            fidelity="physics",
            cost_s=0.01,
            missing=NOT_CONNECTED,
        ),
        Entry(
            name="linear-fade",
            kind="formula",
            about="cycles to 80 % if the fade of 500 cycles goes on as it is",
            inputs=("capacity_fade",),
            outputs=("cycle_life",),
            fidelity="physics",
            cost_s=1e-4,
            errors={"cycle_life": {"all": ValidatedError(0.2, 0, "knees are not foreseen")}},
            sensitivities=lambda at: {("cycle_life", "capacity_fade"): 4.0},
            missing=NOT_CONNECTED,
        ),
        Entry(
            name="cycle-life",
            kind="trees",
            about="cycle life from the first hundred cycles",
            inputs=("early_cycles",),
            outputs=("cycle_life",),
            fidelity="experiment",
            cost_s=0.01,
            training_sets=("Severson et al. 2019, 41 LFP cells",),
            missing=NOT_CONNECTED,
        ),
    )


def _discharge_slopes(at: Conditions) -> Mapping[tuple[str, str], float]:
    """Capacity that a decade of diffusivity costs: Q / Q0 = 1 - 1 / (15 Fo) of a sphere.

    Fo = D t / R^2 with the discharge time t; the surface of a sphere under constant flux runs ahead
    of its mean by R^2 / (15 D t) of the range (Crank, The Mathematics of Diffusion, 1975).
    """
    fourier = NOMINAL_D_CM2_S * M2_PER_CM2 * SECONDS_AN_HOUR / at.c_rate / NOMINAL_RADIUS_M**2
    slope = min(NOMINAL_AH, NOMINAL_AH * math.log(10.0) / (15.0 * fourier))
    return {("cell_capacity", "diffusivity"): slope, ("cell_energy", "diffusivity"): 3.5 * slope}
