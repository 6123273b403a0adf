"""Base cells: their full charge is PyBaMM's, and what we changed does what it says."""

import numpy as np
import pytest

pytest.importorskip("pybamm")

import pybamm

from ionbridge.screening.cell.base_cells import (
    BASE_CELLS,
    FULL_POTENTIAL_V,
    base_cell,
    electrode_capacity_Ah,
    potentials,
    scalars,
)
from ionbridge.screening.cell.full_charge import (
    NoFullChargeError,
    curve_limits,
    full_charge,
    full_charge_stoichiometries,
    open_circuit,
)
from ionbridge.screening.errors import InputError

SAME_STOICHIOMETRY = 2e-6


@pytest.mark.parametrize("name", ["Mohtat2020", "Ramadass2004"])
def test_full_charge_is_that_of_pybamm(name: str) -> None:
    negative, positive = pybamm.lithium_ion.get_initial_stoichiometries(1.0, base_cell(name).values)
    start = full_charge(name)
    assert start.negative == pytest.approx(negative, abs=SAME_STOICHIOMETRY)
    assert start.positive == pytest.approx(positive, abs=SAME_STOICHIOMETRY)


def test_a_full_cell_rests_at_its_upper_voltage() -> None:
    start = full_charge("Chen2020", {"Positive electrode thickness [m]": 8e-5})
    negative, positive = np.array(start.negative), np.array(start.positive)
    rest = open_circuit("Chen2020", {}, negative, positive, 298.15)
    assert float(rest) == pytest.approx(4.2, abs=1e-6)


def test_no_full_charge_says_so() -> None:
    with pytest.raises(NoFullChargeError, match=r"below the upper cut-off of 6 V"):
        full_charge("Chen2020", {"Upper voltage cut-off [V]": 6.0})
    little = {"Initial concentration in negative electrode [mol.m-3]": 0.01}
    little["Initial concentration in positive electrode [mol.m-3]"] = 0.01
    with pytest.raises(NoFullChargeError, match=r"cannot share the lithium"):
        full_charge("Chen2020", little)


def test_open_circuit_curves_are_followed_as_far_as_they_are_known() -> None:
    """The table of Ai2020 begins at 0.4; a formula goes on to its guarded ends."""
    assert curve_limits("Ai2020")["Positive"][0] == pytest.approx(0.4)
    assert curve_limits("Ai2020_extended")["Positive"][0] == pytest.approx(0.4)
    table = potentials("Ai2020_extended")
    last = float(np.interp(0.4, table.stoichiometry, table.positive_V))
    anode = float(np.interp(0.95, table.stoichiometry, table.negative_V))
    full_charge("Ai2020_extended", {"Upper voltage cut-off [V]": last - anode - 0.05})
    with pytest.raises(NoFullChargeError, match=r"the positive to 0\.4, "):
        full_charge("Ai2020_extended", {"Upper voltage cut-off [V]": 4.5})
    with pytest.raises(NoFullChargeError, match=r"the positive to 1e-05, "):
        full_charge("Prada2013_balanced", {"Upper voltage cut-off [V]": 5.9})


def test_many_designs_are_charged_as_one_is() -> None:
    thick = np.array([7e-5, 8e-5, 9e-5])
    upper = np.array([4.0, 4.1, 5.9])
    tilt = "Positive electrode OCP tilt [V]"
    given = {
        "Positive electrode thickness [m]": thick,
        "Upper voltage cut-off [V]": upper,
        tilt: np.array([0.0, 0.05, 0.1]),
    }
    negative, positive = full_charge_stoichiometries("Chen2020", given, 3)
    for i in (0, 1):
        one = full_charge("Chen2020", {k: float(v[i]) for k, v in given.items()})
        assert (negative[i], positive[i]) == (one.negative, one.positive)
    assert np.isnan([negative[2], positive[2]]).all()


def test_extended_curve_keeps_the_measured_one_and_falls_to_full_lithiation() -> None:
    shipped, extended = potentials("Ai2020"), potentials("Ai2020_extended")
    x = np.linspace(0.43, 0.9985, 500)
    difference = np.interp(x, extended.stoichiometry, extended.positive_V) - np.interp(
        x, shipped.stoichiometry, shipped.positive_V
    )
    assert np.abs(difference).max() < 1.5e-3
    tail = np.interp([0.999, 0.9995, 0.9999], extended.stoichiometry, extended.positive_V)
    assert (np.diff(tail) < 0.0).all()
    assert tail[-1] < FULL_POTENTIAL_V + 0.5


def test_balanced_cell_ends_with_the_cathode_full() -> None:
    start = full_charge("Prada2013_balanced")
    cathode = (1.0 - start.positive) * start.positive_capacity_Ah
    anode = start.negative * start.negative_capacity_Ah
    assert anode / cathode == pytest.approx(1.27, abs=0.05)
    assert start.usable_Ah == pytest.approx(2.3 / 0.98, rel=0.01)
    shipped = full_charge("Prada2013")
    assert shipped.usable_Ah < (1.0 - shipped.positive) * shipped.positive_capacity_Ah


def test_capacity_of_an_electrode_is_its_lithium() -> None:
    values = scalars("Marquis2019")
    litres = (
        0.1370
        * 0.2070
        * 1e-4
        * 0.5
        * values["Maximum concentration in positive electrode [mol.m-3]"]
    )
    assert electrode_capacity_Ah(values, "Positive") == pytest.approx(litres * 26.8015, rel=1e-4)


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'Prada2013'"):
        base_cell("Prada2031")


def test_sets_as_shipped_say_no_changes() -> None:
    for name, cell in BASE_CELLS.items():
        assert bool(cell.changes) == (name != cell.pybamm_set)
