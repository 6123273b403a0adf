"""Candidates in cells: the lattice gas gives theta, ratios give apparent values, units are SI."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pybamm")

from ionbridge.screening.cell import parameters
from ionbridge.screening.cell.base_cells import Potentials, base_cell, scalars
from ionbridge.screening.cell.parameters import (
    APPARENT,
    CATHODE_DIFFUSIVITY,
    CHEMICAL,
    NoCellError,
    candidate_parameters,
    chemical_factor,
    thermodynamic_factor,
)
from ionbridge.structures.units import BOLTZMANN_EV_PER_K

KELVIN = 298.15


def lattice_gas(kelvin: float) -> Potentials:
    """Ions that do not interact: U = U0 - kT ln(x / (1 - x))."""
    x = np.linspace(0.001, 0.999, 4001)
    curve = 3.9 - BOLTZMANN_EV_PER_K * kelvin * np.log(x / (1.0 - x))
    flat = np.zeros_like(x)
    return Potentials(x, flat, curve, flat, flat, kelvin)


def row(**values: Any) -> dict[str, Any]:
    return {
        "candidate_id": "c",
        "role": "electrode",
        "working_ion": "Li",
        "temperature_K": 300.0,
        "log10_diffusivity_cm2_s": -10.0,
        "log10_diffusivity_std": 0.4,
        "percolation_barrier_eV": 0.3,
        **values,
    }


def test_theta_of_a_lattice_gas() -> None:
    table = lattice_gas(KELVIN)
    x = np.linspace(0.2, 0.8, 101)
    curve = np.interp(x, table.stoichiometry, table.positive_V)
    theta = thermodynamic_factor(x, curve, KELVIN)
    assert theta[1:-1] == pytest.approx(1.0 / (1.0 - x[1:-1]), rel=2e-3)


def test_chemical_diffusivity_of_a_lattice_gas_is_that_of_its_carriers() -> None:
    mean, spread = chemical_factor(lattice_gas(KELVIN), (0.3, 0.7), KELVIN)
    assert mean == pytest.approx(0.0, abs=1e-3)
    assert spread < 1e-2


def test_a_plateau_gives_no_thermodynamic_factor() -> None:
    x = np.linspace(0.0, 1.0, 101)
    flat = Potentials(x, 0 * x, 0 * x + 3.4, 0 * x, 0 * x, KELVIN)
    with pytest.raises(NoCellError, match="does not fall"):
        chemical_factor(flat, (0.1, 0.9), KELVIN)


def test_solid_solution_takes_the_absolute_value() -> None:
    found = candidate_parameters(row(), "Ai2020_extended", 300.0)
    again = candidate_parameters(row(log10_diffusivity_cm2_s=-11.0), "Ai2020_extended", 300.0)
    assert found.kind == CHEMICAL
    assert found.values[CATHODE_DIFFUSIVITY] == pytest.approx(
        10.0 * again.values[CATHODE_DIFFUSIVITY]
    )
    # cm2/s to m2/s, and the factor that stands in the answer
    factor = float(found.from_candidate[0].split("10^")[1].split(",")[0])
    assert math.log10(found.values[CATHODE_DIFFUSIVITY]) == pytest.approx(-14.0 + factor, abs=0.01)
    assert found.log10_std > 0.4


def test_phase_separating_host_takes_the_ratio() -> None:
    found = candidate_parameters(row(), "Prada2013_balanced", 300.0, -9.0)
    shipped = scalars("Prada2013_balanced")[CATHODE_DIFFUSIVITY]
    assert found.kind == APPARENT
    assert found.values[CATHODE_DIFFUSIVITY] == pytest.approx(shipped / 10.0)
    assert found.log10_std == 0.4
    with pytest.raises(NoCellError, match="no predicted diffusivity of LiFePO4"):
        candidate_parameters(row(), "Prada2013_balanced", 300.0)
    absolute = candidate_parameters(row(), "Prada2013_balanced", 300.0, absolute=True)
    assert absolute.kind == CHEMICAL


def test_a_diffusivity_that_is_a_function_is_scaled_at_the_cells_temperature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of filling y and temperature 1e-17 (1 + y / 10) T / 300: its mean logarithm."""
    shipped = base_cell("Prada2013_balanced").values.copy()
    function = {CATHODE_DIFFUSIVITY: lambda y, kelvin: 1e-17 * (1.0 + y / 10.0) * kelvin / 300.0}
    shipped.update(function)
    cell = SimpleNamespace(**vars(base_cell("Prada2013_balanced")), values=shipped)
    monkeypatch.setattr(parameters, "base_cell", lambda name: cell)
    numbers = {**scalars("Prada2013_balanced")}
    del numbers[CATHODE_DIFFUSIVITY]
    monkeypatch.setattr(parameters, "scalars", lambda name: numbers)
    for kelvin in (300.0, 330.0):
        found = candidate_parameters(row(temperature_K=kelvin), "Prada2013_balanced", kelvin, -9.0)
        shape = np.exp(np.log(1.0 + np.linspace(0.0, 1.0, 1001) / 10.0).mean())
        truth = 1e-18 * shape * kelvin / 300.0
        assert found.values[CATHODE_DIFFUSIVITY] == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize(("slope", "used"), [(0.35, 0.35), (None, 0.3)])
def test_a_conductivity_moves_by_its_own_slope(slope: float | None, used: float) -> None:
    """sigma T follows the activation energy of the conductivity; a barrier stands in for it."""
    electrolyte = row(
        role="electrolyte",
        log10_conductivity_S_cm=-3.0,
        log10_conductivity_std=0.5,
        activation_energy_eV=slope,
    )
    warm = candidate_parameters(electrolyte, "Ai2020_extended", 350.0)
    faster = math.exp(used / BOLTZMANN_EV_PER_K * (1 / 300.0 - 1 / 350.0)) * 300.0 / 350.0
    assert warm.values["Electrolyte conductivity [S.m-1]"] == pytest.approx(0.1 * faster)
    assert warm.activation_energy_eV == used


def test_arrhenius_brings_a_candidate_to_the_cell() -> None:
    cold = candidate_parameters(row(), "Ai2020_extended", 300.0)
    warm = candidate_parameters(row(), "Ai2020_extended", 323.0)
    moved = math.log10(warm.values[CATHODE_DIFFUSIVITY] / cold.values[CATHODE_DIFFUSIVITY])
    expected = 0.3 / BOLTZMANN_EV_PER_K * (1 / 300.0 - 1 / 323.0) / math.log(10.0)
    theta = math.log10(300.0 / 323.0)  # theta goes with 1/T on the same curve
    assert moved == pytest.approx(expected + theta, abs=1e-6)


def test_electrolyte_is_a_single_ion_conductor() -> None:
    found = candidate_parameters(
        row(role="electrolyte", log10_conductivity_S_cm=-3.0, log10_conductivity_std=0.5),
        "Ai2020_extended",
        300.0,
    )
    assert found.values == pytest.approx(
        {"Electrolyte conductivity [S.m-1]": 0.1, "Cation transference number": 1.0}
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"log10_diffusivity_cm2_s": float("nan")}, "no log10_diffusivity"),
        ({"log10_diffusivity_cm2_s": None}, "no log10_diffusivity"),
        ({"log10_diffusivity_cm2_s": 4.0}, "unit"),
        ({"role": "separator"}, "no place in a cell"),
        ({"temperature_K": 600.0, "percolation_barrier_eV": None}, "no barrier"),
    ],
)
def test_rows_that_no_cell_takes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(NoCellError, match=message):
        candidate_parameters(row(**values), "Ai2020_extended", 300.0)


def test_a_candidate_goes_into_a_cell_of_its_own_ion_only() -> None:
    with pytest.raises(NoCellError, match="base cells of Na: Chayambuka2022"):
        candidate_parameters(row(working_ion="Na"), "Ai2020_extended", 300.0)
    with pytest.raises(NoCellError, match="none of Mg is known"):
        candidate_parameters(row(working_ion="Mg"), "Ai2020_extended", 300.0)
    with pytest.raises(NoCellError, match="the candidate's ion is Li"):
        candidate_parameters(row(working_ion="Li"), "Chayambuka2022", 298.15)
    electrolyte = {
        "role": "electrolyte",
        "working_ion": "Na",
        "temperature_K": 298.15,
        "log10_conductivity_S_cm": -3.0,
    }
    with pytest.raises(NoCellError, match="cell of Li"):
        candidate_parameters(electrolyte, "Ai2020", 298.15)
    found = candidate_parameters(electrolyte, "Chayambuka2022", 298.15)
    assert found.values["Electrolyte conductivity [S.m-1]"] == pytest.approx(0.1)


def test_a_sodium_cathode_has_the_chemical_diffusivity_of_its_cell() -> None:
    found = candidate_parameters(row(working_ion="Na"), "Chayambuka2022", 300.0)
    assert found.kind == "chemical"
    assert found.values["Positive particle diffusivity [m2.s-1]"] > 0.0


def test_a_predicted_conductivity_above_what_any_cell_uses_is_taken_as_enough():
    row = {
        "role": "electrolyte",
        "working_ion": "Li",
        "temperature_K": 298.15,
        "log10_conductivity_std": 0.5,
    }
    high = candidate_parameters({**row, "log10_conductivity_S_cm": 1.0}, "Ai2020", 298.15)
    assert high.values["Electrolyte conductivity [S.m-1]"] == 100.0
    assert "taken as 100 S/m" in high.from_candidate[0]
    with pytest.raises(NoCellError, match="unit"):
        candidate_parameters({**row, "log10_conductivity_S_cm": 9.0}, "Ai2020", 298.15)


@pytest.mark.parametrize(
    ("role", "column", "name", "least"),
    [
        ("electrolyte", "log10_conductivity_S_cm", "Electrolyte conductivity [S.m-1]", 1e-6),
        ("electrode", "log10_diffusivity_cm2_s", "Positive particle diffusivity [m2.s-1]", 1e-22),
    ],
)
def test_a_prediction_slower_than_any_cell_is_the_slowest_cell(role, column, name, least):
    row = {"role": role, "working_ion": "Li", "temperature_K": 298.15, column: -40.0}
    found = candidate_parameters(row, "Ai2020", 298.15)
    assert found.values[name] == least
    assert any("taken as" in taken for taken in found.from_candidate)
