"""Simulated discharges: the scaled model is PyBaMM's, folders resume, bad rows stay rows."""

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pybamm")

import pybamm

from ionbridge.models.cells.porous_cell import porous_discharge
from ionbridge.screening.cell.base_cells import base_cell, scalars
from ionbridge.screening.cell.designs import Design, check
from ionbridge.screening.cell.discharge import discharge
from ionbridge.screening.cell.experiment_spread import CAPACITY
from ionbridge.screening.cell.radial_mesh import N_CELLS, radial_submesh
from ionbridge.screening.cell.rom import cell_of
from ionbridge.screening.cell.simulation import Discharges, load_simulations, simulate, stored_rows
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import ThisProcess

SAME_MODEL_V = 3e-4
"""Two solves of the same equations, scaled and not."""

GEOMETRY = {
    "Positive electrode thickness [m]": 8e-5,
    "Positive particle radius [m]": 1e-7,
    "Negative particle radius [m]": 3e-6,
    "Negative electrode porosity": 0.3,
    "Electrode height [m]": 0.5,
    "Contact resistance [Ohm]": 0.01,
    "Positive particle diffusivity [m2.s-1]": 2e-18,
}


def directly(base: str, c_rate: float, given: dict[str, float]) -> tuple[float, np.ndarray]:
    """The same discharge with PyBaMM's own geometry: capacity and voltages."""
    values = base_cell(base).values
    nominal = values["Nominal cell capacity [A.h]"]
    values.update(
        {
            **given,
            "Current function [A]": c_rate * nominal,
            "Ambient temperature [K]": 300.0,
            "Initial temperature [K]": 300.0,
        }
    )
    model = pybamm.lithium_ion.DFN({"contact resistance": "true"})
    submeshes = dict(model.default_submesh_types)
    for domain in ("Negative", "Positive"):
        radius = values[f"{domain} particle radius [m]"]
        submeshes[f"{domain.lower()} particle"] = radial_submesh(radius)
    simulation = pybamm.Simulation(
        model,
        parameter_values=values,
        var_pts={**dict.fromkeys(("x_n", "x_s", "x_p"), 20), "r_n": N_CELLS, "r_p": N_CELLS},
        submesh_types=submeshes,
        solver=pybamm.IDAKLUSolver(rtol=1e-5, atol=1e-6),
    )
    solution = simulation.solve([0.0, 4000.0], initial_soc=1.0)
    end = float(solution.t[-1])
    volts = np.asarray(solution["Voltage [V]"](np.linspace(0.0, end, 101)))
    return end * c_rate * nominal / 3600.0, volts


def test_scaled_geometry_is_the_geometry() -> None:
    base = "Prada2013_balanced"
    row = discharge(check(Design("a", base, 2.0, 300.0, GEOMETRY)))
    capacity, volts = directly(base, 2.0, GEOMETRY)
    assert row["capacity_Ah"] == pytest.approx(capacity, rel=1e-4)
    error = np.array(row["voltage_V"]) - volts
    assert np.sqrt(np.mean(error[1:-1] ** 2)) < SAME_MODEL_V
    assert row["energy_Wh"] == pytest.approx(np.trapezoid(volts, dx=capacity / 100), rel=2e-3)


def test_a_slow_discharge_follows_the_cell_at_rest() -> None:
    row = discharge(check(Design("a", "Prada2013_balanced", 0.01)))
    gap = np.array(row["open_circuit_V"]) - np.array(row["voltage_V"])
    assert np.median(gap) < 5e-3
    assert row["irreversible_heat_J"] > 0.0
    assert row["end_positive_mean"] == pytest.approx(row["end_positive_surface"], abs=1e-3)


def test_charge_is_conserved() -> None:
    row = discharge(check(Design("a", "Prada2013_balanced", 1.0)))
    values = scalars("Prada2013_balanced")
    moved = (row["end_positive_mean"] - row["start_positive"]) * (
        0.18
        * values["Positive electrode thickness [m]"]
        * values["Positive electrode active material volume fraction"]
        * values["Maximum concentration in positive electrode [mol.m-3]"]
    )
    assert moved * 26.8015 == pytest.approx(row["capacity_Ah"], rel=1e-4)


def test_where_the_salt_runs_short_a_finer_mesh_and_a_second_route_agree() -> None:
    """The stepped cell of the reduced-order model solves the same equations by other means."""
    design = check(Design("a", "Chen2020", 3.0))
    row = discharge(design)
    end, _ = porous_discharge(cell_of(design)).curves(np.array([[2.5]]), np.array([0.0, 1.0]))
    stepped = 3.0 * 5.0 * float(end[0, 0]) / 3600.0
    coarse = discharge(design, n_through=20)
    assert row["capacity_Ah"] == pytest.approx(stepped, rel=0.01)
    assert coarse["capacity_Ah"] < 0.99 * row["capacity_Ah"]
    off = abs(coarse["capacity_Ah"] - row["capacity_Ah"])
    assert off < 1.65 * coarse["capacity_std_surrogate_Ah"]
    assert row["capacity_std_surrogate_Ah"] < coarse["capacity_std_surrogate_Ah"]


def test_a_simulation_states_both_spreads() -> None:
    row = discharge(check(Design("a", "Prada2013_balanced", 1.0)))
    assert row["capacity_std_Ah"] == pytest.approx(
        math.hypot(row["capacity_std_surrogate_Ah"], CAPACITY * row["capacity_Ah"])
    )
    assert "model against experiment" in row["experiment"]
    thick = {"Positive electrode thickness [m]": 2e-4}
    row = discharge(check(Design("a", "Prada2013_balanced", 0.2, 298.15, thick)))
    assert "no measured cell supports it: none has coatings so thick" in row["experiment"]


def test_folders_resume_and_refuse_other_designs(tmp_path: Path) -> None:
    good = check(Design("good", "Prada2013_balanced", 1.0))
    bad = check(
        Design("bad", "Prada2013_balanced", 1.0, 298.15, {"Negative electrode porosity": -1})
    )
    folder = tmp_path / "cells"
    first = dict(simulate([good, bad], folder, ThisProcess()))
    assert [row["status"] for row in first[0]] == ["ok", "failed"]
    assert dict(simulate([good, bad], folder, ThisProcess(), resume=True)) == {}
    assert [row["design_id"] for row in stored_rows(folder)] == ["good", "bad"]
    with pytest.raises(InputError, match="other designs"):
        list(simulate([good], folder, ThisProcess(), resume=True))
    with pytest.raises(InputError, match="not empty"):
        list(simulate([good, bad], folder, ThisProcess()))
    loaded = load_simulations(folder)
    assert len(loaded) == 1
    assert loaded.failed == {"bad": first[0][1]["reason"]}
    assert loaded.voltage_V.shape == (1, len(loaded.share))
    assert loaded.results["capacity_Ah"][0] == pytest.approx(first[0][0]["capacity_Ah"])


def test_a_solve_that_takes_too_long_is_a_row() -> None:
    design = check(Design("slow", "Prada2013_balanced", 0.1))
    row = Discharges(time_limit_s=0.005)([design])[0]
    assert row["status"] == "failed"
    assert "took longer than 0.005 s" in row["reason"]


def test_a_current_that_the_cell_cannot_give_is_a_row() -> None:
    given = {"Contact resistance [Ohm]": 100.0}
    row = discharge(check(Design("a", "Prada2013_balanced", 5.0, 298.15, given)))
    assert row["status"] == "failed"
    assert "below the lower cut-off from the first moment" in row["reason"]
