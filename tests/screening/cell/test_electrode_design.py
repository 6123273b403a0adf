"""Electrode designs: what is set, what it weighs, what is refused."""

import pytest

pytest.importorskip("pybamm")

from ionbridge.screening.cell.base_cells import electrode_capacity_Ah, scalars
from ionbridge.screening.cell.electrode_design import (
    ElectrodeDesign,
    loading_Ah_m2,
    masses,
)
from ionbridge.screening.errors import InputError

BASE = "Prada2013_balanced"


def test_loading_sets_the_thickness() -> None:
    given = ElectrodeDesign(loading_Ah_m2=20.0, porosity=0.3, active_fraction=0.5).parameters(
        BASE, "Positive"
    )
    assert loading_Ah_m2({**scalars(BASE), **given}, "Positive") == pytest.approx(20.0)


def test_a_coating_twice_as_thick_holds_and_weighs_twice_as_much() -> None:
    values = scalars(BASE)
    twice = {"Positive electrode thickness [m]": 2 * values["Positive electrode thickness [m]"]}
    assert electrode_capacity_Ah({**values, **twice}, "Positive") == pytest.approx(
        2 * electrode_capacity_Ah(values, "Positive")
    )
    one, two = masses(BASE, {}), masses(BASE, twice)
    assert two.positive == pytest.approx(2 * one.positive)
    assert two.negative == one.negative
    assert two.collectors == one.collectors
    assert two.total > one.total


def test_masses_add_up_to_what_cells_weigh() -> None:
    # LiFePO4 stacks without case hold 100 to 180 Wh/kg at 2.3 Ah and 3.2 V
    assert 100.0 < 2.3 * 3.2 / masses(BASE, {}).total < 180.0


def test_a_lighter_cathode_of_as_many_sites() -> None:
    own = masses(BASE, {}).positive
    # LiFePO4 weighs 157.76 g a mole of sites; the base cell's density is that of the crystal
    assert masses(BASE, {}, cathode_g_per_mol=157.76).positive == pytest.approx(own, rel=0.01)
    assert masses(BASE, {}, cathode_g_per_mol=78.88).positive == pytest.approx(own / 2, rel=0.01)


@pytest.mark.parametrize(
    ("design", "message"),
    [
        (ElectrodeDesign(porosity=-0.3), "porosity"),
        (ElectrodeDesign(porosity=0.7, active_fraction=0.6), "add up to 1.3"),
        (ElectrodeDesign(particle_radius_m=5.0), "1 um is 1e-6 m"),
        (ElectrodeDesign(thickness_m=1e-5, loading_Ah_m2=10.0), "not both"),
        (ElectrodeDesign(bruggeman=1.5, tortuosity=3.0), "not both"),
    ],
)
def test_designs_that_nobody_can_make(design: ElectrodeDesign, message: str) -> None:
    with pytest.raises(InputError, match=message):
        design.parameters(BASE, "Positive")
