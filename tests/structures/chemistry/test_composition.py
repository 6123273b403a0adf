import numpy as np
import pytest
from pymatgen.core import Composition

from ionbridge.structures.chemistry.composition import (
    formula_oxidation_states,
    is_charge_balanced,
    oxidation_states,
    role,
    working_ion,
)
from ionbridge.structures.records import Crystal, UnusableStructureError
from tests.tolerances import TIGHT


def crystal(formula: str, **fields: object) -> Crystal:
    """A crystal of one disordered site an element: enough for what a composition says."""
    amounts = {str(k): float(v) for k, v in Composition(formula).items()}
    most = max(amounts.values())
    return Crystal(
        id=formula,
        lattice=np.eye(3) * 5.0,
        species=tuple({k: v / most} for k, v in amounts.items()),
        frac=np.linspace(0.0, 0.9, 3 * len(amounts)).reshape(-1, 3),
        **fields,  # type: ignore[arg-type]
    )


# States as textbooks and measurements (Moessbauer, XANES, magnetism) have them.
KNOWN = {
    "LiFePO4": {"Li": 1, "Fe": 2, "P": 5, "O": -2},
    "FePO4": {"Fe": 3, "P": 5, "O": -2},
    "LiCoO2": {"Li": 1, "Co": 3, "O": -2},
    "CoO2": {"Co": 4, "O": -2},
    "LiMn2O4": {"Li": 1, "Mn": 3.5, "O": -2},
    "LiNi0.5Mn1.5O4": {"Ni": 2, "Mn": 4},
    "Li3Ni1Co1Mn1O6": {"Ni": 2, "Co": 3, "Mn": 4},
    "Na4MnV(PO4)3": {"Mn": 2, "V": 3},
    "Na4FeV(PO4)3": {"Fe": 2, "V": 3},
    "LiVPO4F": {"V": 3, "F": -1},
    "LiVOPO4": {"V": 4},
    "Na2Fe2(SO4)3": {"Fe": 2, "S": 6},
    "Li7La3Zr2O12": {"La": 3, "Zr": 4},
    "Li6PS5Cl": {"P": 5, "S": -2, "Cl": -1},
    "Li2FeP2S6": {"Fe": 2, "P": 4, "S": -2},
    "Na2S2O3": {"S": 2, "O": -2},
    "LiClO4": {"Cl": 7},
    "LiIO3": {"I": 5},
    "NH4NO3": {"N": 1, "H": 1, "O": -2},
    "Li2O2": {"O": -1},
    "KO2": {"O": -0.5},
    "NaN3": {"N": -1 / 3},
    "Li2CO3": {"C": 4},
    "CuFeS2": {"Cu": 1, "Fe": 3, "S": -2},
    "LaFeAsO": {"Fe": 2, "As": -3},
    "MnMoO4": {"Mn": 2, "Mo": 6},
    "FeVO4": {"Fe": 3, "V": 5},
    "KMnO4": {"Mn": 7},
}


@pytest.mark.parametrize("formula", KNOWN)
def test_known_states(formula: str) -> None:
    states = formula_oxidation_states(Composition(formula))
    assert {k: states[k] for k in KNOWN[formula]} == pytest.approx(KNOWN[formula], abs=TIGHT)
    assert is_charge_balanced(Composition(formula))


@pytest.mark.parametrize("formula", [*KNOWN, "Ba3LiN", "LiScI3", "Li2CuF6", "LiF2"])
def test_states_are_always_neutral_in_sum(formula: str) -> None:
    composition = Composition(formula)
    states = formula_oxidation_states(composition)
    assert sum(n * states[str(s)] for s, n in composition.items()) == pytest.approx(0, abs=TIGHT)


@pytest.mark.parametrize("formula", ["Ba3LiN", "LiF2", "LiPO9F9", "LiScF"])
def test_what_usual_states_cannot_balance_is_told(formula: str) -> None:
    assert not is_charge_balanced(Composition(formula))


def test_amounts_may_be_in_any_unit() -> None:
    amounts = {"Li": 0.55, "Co": 1.0, "O": 2.0}
    scaled = {k: 4.1 * v for k, v in amounts.items()}
    assert formula_oxidation_states(amounts) == pytest.approx(formula_oxidation_states(scaled))
    assert formula_oxidation_states(amounts)["Co"] == pytest.approx(3.45)


@pytest.mark.parametrize("formula", ["LiAl", "Li3P", "LiBH4", "Li15Si4"])
def test_without_a_bond_valence_anion(formula: str) -> None:
    with pytest.raises(UnusableStructureError, match="no O, S, Se, Te, N or halogen anion"):
        oxidation_states(crystal(formula))
    assert not is_charge_balanced(Composition(formula))


def test_site_states_follow_the_species_of_each_site() -> None:
    mixed = Crystal("nmc", np.eye(3), ({"Ni": 0.5, "Mn": 0.5}, {"Li": 1.0}, {"O": 1}, {"O": 1}),
                    np.zeros((4, 3)))  # fmt: skip
    assert oxidation_states(mixed) == ({"Ni": 2.0, "Mn": 4.0}, {"Li": 1.0}, {"O": -2.0},
                                       {"O": -2.0})  # fmt: skip


def test_working_ion_by_precedence_and_by_name() -> None:
    assert working_ion(crystal("NaLiO")) == "Li"
    assert working_ion(crystal("NaLiO", working_ion="Na")) == "Na"
    assert working_ion(crystal("MgAl2O4")) == "Mg"
    with pytest.raises(UnusableStructureError, match=r"FeO: no working ion \(elements: Fe, O"):
        working_ion(crystal("FeO"))
    with pytest.raises(UnusableStructureError, match="unknown working ion 'Xx'"):
        working_ion(crystal("LiFeO2", working_ion="Xx"))


ELECTROLYTES = ["Li7La3Zr2O12", "Li6PS5Cl", "LiTi2(PO4)3", "Li10GeP2S12", "Li3YCl6", "NaAlCl4",
                "Na3Zr2Si2PO12", "Li3OCl", "Li5La3Ta2O12", "Na3PS4", "LiZnPS4",
                "Li15VGe3O16", "Li45.9La24Zr11.8Ta3.95O96"]  # fmt: skip
ELECTRODES = ["LiFePO4", "FePO4", "LiCoO2", "Li4Mn5O12", "V2O5", "LiTi2O4", "Li2CuO2", "Li2O2",
              "Na3V2(PO4)3", "MoO3", "FeS2", "Na2FePO4F"]  # fmt: skip


@pytest.mark.parametrize("formula", ELECTROLYTES + ELECTRODES)
def test_role_of_well_known_materials(formula: str) -> None:
    assert role(crystal(formula)) == ("electrolyte" if formula in ELECTROLYTES else "electrode")


def test_a_small_band_gap_makes_an_electrode() -> None:
    assert role(crystal("Li3OCl", extra={"band_gap_eV": 0.1})) == "electrode"
    assert role(crystal("LiFePO4", extra={"band_gap_eV": 3.5})) == "electrode"
