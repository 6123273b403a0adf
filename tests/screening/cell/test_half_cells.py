"""Half cells: PyBaMM's own model of a metal electrode, and the way of all other cells."""

import numpy as np
import pytest

pytest.importorskip("pybamm")

import pybamm

from ionbridge.models.cells.cell_rom import CellRom
from ionbridge.models.library import find
from ionbridge.screening.cell.base_cells import base_cell, half_of, potentials, scalars
from ionbridge.screening.cell.bpx import export
from ionbridge.screening.cell.designs import Design, check
from ionbridge.screening.cell.discharge import N_POINTS, discharge
from ionbridge.screening.cell.full_charge import full_charge
from ionbridge.screening.cell.half_cells import METAL_MOL_M3, RATE_M_S
from ionbridge.screening.cell.inputs import known_names
from ionbridge.screening.cell.rom import predict_designs
from ionbridge.screening.cell.settings import CellSettings
from ionbridge.screening.errors import InputError
from ionbridge.structures.configuration import ConfigurationError
from ionbridge.structures.units import FARADAY_C_PER_MOL

TOLERANCE_V = 1e-3
POSITIVE, NEGATIVE = "Chen2020_positive_half_cell", "Mohtat2020_negative_half_cell"


def against_planar_metal(name, rate, share):
    """PyBaMM's DFN with the option ``working electrode``: capacity, voltage at shares of it."""
    values = base_cell(name).values
    most = float(values["Maximum concentration in positive electrode [mol.m-3]"])
    current = rate * scalars(name)["Nominal cell capacity [A.h]"]
    values.update(
        {
            "Exchange-current density for lithium metal electrode [A.m-2]": (
                lambda salt, metal, kelvin: (
                    FARADAY_C_PER_MOL * RATE_M_S * METAL_MOL_M3**0.7 * salt**0.3
                )
            ),
            "Negative electrode OCP [V]": 0.0,
            "Lithium metal partial molar volume [m3.mol-1]": 1.3e-5,
            "Initial concentration in positive electrode [mol.m-3]": (
                full_charge(name).positive * most
            ),
            "Current function [A]": current,
        },
        check_already_exists=False,
    )
    simulation = pybamm.Simulation(
        pybamm.lithium_ion.DFN({"working electrode": "positive"}),
        parameter_values=values,
        var_pts={"x_n": 10, "x_s": 10, "x_p": 20, "r_n": 10, "r_p": 100},
        solver=pybamm.IDAKLUSolver(rtol=1e-6, atol=1e-8),
    )
    solution = simulation.solve([0.0, 7200.0 / rate])
    volts = solution["Voltage [V]"](share * solution.t[-1])
    return current * solution.t[-1] / 3600.0, volts


@pytest.mark.parametrize("name", [POSITIVE, NEGATIVE])
def test_the_film_is_a_planar_metal_electrode(name):
    share = np.linspace(0.05, 0.97, 40)
    capacity, volts = against_planar_metal(name, 1.0, share)
    found = discharge(check(Design("x", name, 1.0)))
    assert found["status"] == "ok"
    assert found["capacity_Ah"] == pytest.approx(capacity, rel=1e-3)
    own = np.interp(share * capacity, *_curve(found))
    assert own == pytest.approx(volts, abs=TOLERANCE_V)


def _curve(row):
    return np.linspace(0.0, row["capacity_Ah"], N_POINTS), row["voltage_V"]


@pytest.mark.parametrize("name", [POSITIVE, NEGATIVE])
def test_predicted_as_simulated(name):
    design = check(Design("x", name, 2.0, 298.15, {"Positive particle radius [m]": 3e-6}))
    truth = discharge(design)
    (found,) = predict_designs([design], CellRom.load(find("cell-rom-source")))
    assert found["in_domain"]
    assert "against lithium" in found["experiment"]
    assert found["capacity_Ah"] == pytest.approx(truth["capacity_Ah"], rel=5e-3)
    assert found["mean_voltage_V"] == pytest.approx(truth["mean_voltage_V"], abs=5e-3)


def test_a_full_cell_is_its_two_half_cells_at_rest():
    """Positive less negative against metal, as full as in the full cell, is its upper voltage."""
    full = full_charge("Chen2020")
    table = potentials("Chen2020_negative_half_cell")
    negative = np.interp(full.negative, table.stoichiometry, table.positive_V)
    upper = scalars(POSITIVE)["Upper voltage cut-off [V]"]
    assert upper - negative == pytest.approx(4.2, abs=1e-4)
    assert full_charge(POSITIVE).positive == pytest.approx(full.positive, abs=1e-5)


def test_sodium_hard_carbon_keeps_its_own_tables():
    """They ask for the negative electrode's maximum concentration by its name."""
    found = discharge(check(Design("x", "Chayambuka2022_negative_half_cell", 0.1)))
    assert found["status"] == "ok"
    assert found["capacity_Ah"] == pytest.approx(0.0018, rel=0.15)
    assert "that of lithium stands in" in found["reason"]


def test_names_and_columns():
    assert half_of(POSITIVE) == ("Chen2020", "Positive")
    assert half_of("Chen2020") == ("", "")
    assert half_of("none_positive_half_cell") == ("", "")
    names = known_names(POSITIVE)
    assert "Positive particle radius [m]" in names
    assert not any("egative" in name and "exchange" not in name for name in names)


def test_what_takes_full_cells_alone_says_so(tmp_path):
    with pytest.raises(InputError, match="BPX describes full cells"):
        export(check(Design("x", POSITIVE, 1.0)), tmp_path / "x.json")
    with pytest.raises(ConfigurationError, match="name a full cell"):
        CellSettings(base_cell=POSITIVE)
