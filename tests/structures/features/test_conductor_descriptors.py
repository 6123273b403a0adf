"""Descriptors of table rows: known numbers, and nothing that depends on how the row is written."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Composition

from ionbridge.structures.features.conductor_descriptors import (
    CELL_FEATURES,
    COMPOSITION_FEATURES,
    OPTIONAL_BLOCKS,
    SPACE_GROUP_FEATURES,
    cell_note,
    composition_block,
    conductor_descriptors,
    conductor_ion,
    known_blocks,
)
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import UnusableStructureError
from tests.screening.tiny import rocksalt

LICL = ConductivityRow(
    "LiCl", "LiCl", Composition("Li4Cl4"), (5.13, 5.13, 5.13, 90.0, 90.0, 90.0), 225
)


def row(formula: str) -> ConductivityRow:
    return ConductivityRow(formula, formula, Composition(formula))


def composition_of(formula: str) -> dict[str, float]:
    return dict(zip(COMPOSITION_FEATURES, composition_block(row(formula)), strict=True))


def test_known_numbers_of_a_phosphate() -> None:
    found = composition_of("LiTi2P3O12")
    assert found["ion_fraction"] == pytest.approx(1 / 18)
    assert found["ion_per_anion"] == pytest.approx(1 / 12)
    assert found["cation_fraction"] == pytest.approx(5 / 18)
    assert found["transition_metal_fraction"] == pytest.approx(2 / 18)
    assert found["cation_charge_mean"] == pytest.approx((2 * 4 + 3 * 5) / 5)
    assert found["anion_charge_mean"] == pytest.approx(2)
    assert found["anion_electronegativity_mean"] == pytest.approx(3.44)
    assert found["anion_share_O"] == 1
    assert found["cation_mixing"] == pytest.approx(-(0.4 * np.log(0.4) + 0.6 * np.log(0.6)))
    assert found["amount_off_integer"] == 0
    assert composition_of("Li1.3Al0.3Ti1.7P3O12")["ion_amount_off_integer"] == pytest.approx(0.3)


def test_known_numbers_of_rock_salt() -> None:
    found = conductor_descriptors(LICL, ("Cl",), OPTIONAL_BLOCKS)
    names = (*COMPOSITION_FEATURES, "Cl", *SPACE_GROUP_FEATURES, *CELL_FEATURES)
    by_name = dict(zip(names, found, strict=True))
    assert by_name["Cl"] == 0.5
    assert by_name["volume_per_atom_A3"] == pytest.approx(5.13**3 / 8)
    assert by_name["n_symmetry_operations"] == 192
    assert by_name["crystal_system"] == 6
    assert 0.3 < by_name["packing_fraction"] < 0.9


def test_formula_units_and_order_do_not_matter() -> None:
    np.testing.assert_allclose(
        composition_block(row("Li2Zr2P6O24")), composition_block(row("O24P6Zr2Li2"))
    )
    np.testing.assert_allclose(
        composition_block(row("Li2Zr4P6O24")), composition_block(row("LiZr2P3O12"))
    )


def test_what_is_known_of_a_row() -> None:
    assert known_blocks(LICL) == OPTIONAL_BLOCKS
    assert known_blocks(replace(LICL, cell=None)) == ("space_group",)
    assert known_blocks(replace(LICL, space_group=None)) == ("cell",)
    flat = (5.13, 5.13, 5.13, 20.0, 120.0, 30.0)
    for cell in (flat, (40.0, 40.0, 40.0, 90.0, 90.0, 90.0)):
        assert known_blocks(replace(LICL, cell=cell)) == ("space_group",)


def test_why_a_cell_is_not_used_is_said() -> None:
    assert cell_note(LICL) == cell_note(replace(LICL, cell=None)) == ""
    n_atoms = LICL.composition.num_atoms
    large = cell_note(replace(LICL, cell=(100.0, 10.0, 10.0, 90.0, 90.0, 90.0)))
    assert f"1e+04 A3 for the {n_atoms:g} atoms" in large
    assert f"are {1e4 / n_atoms:.3g} A3 an atom, not 6 to 60: not used" in large
    assert "no cell has these angles" in cell_note(replace(LICL, cell=(5, 5, 5, 30, 30, 120)))


def test_a_crystal_stands_in_for_a_missing_cell() -> None:
    with_crystal = replace(LICL, cell=None, crystal=rocksalt(a=5.13))
    assert known_blocks(with_crystal) == OPTIONAL_BLOCKS
    index = CELL_FEATURES.index("volume_per_atom_A3") - len(CELL_FEATURES)
    a, b = (conductor_descriptors(r, (), OPTIONAL_BLOCKS)[index] for r in (LICL, with_crystal))
    assert a == pytest.approx(b)


@pytest.mark.parametrize("formula", ["LiSi", "LiH", "Li", "LiBH4", "LiPuO3", "LiHeO2", "KMgF3"])
def test_odd_compositions_give_finite_numbers(formula: str) -> None:
    assert np.isfinite(composition_block(row(formula))).all()


def test_without_a_working_ion_it_says_so() -> None:
    with pytest.raises(UnusableStructureError, match=r"Fe2O3: no working ion \(elements: Fe, O"):
        conductor_ion(row("Fe2O3"))
    assert conductor_ion(row("NaLiO")) == "Li"
