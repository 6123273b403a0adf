"""The table is for people: formulas are short, cells are plain."""

import pytest

from ionbridge.screening.table import crystal_row, readable_formula, to_csv
from tests.screening.tiny import layered


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("LiFePO4", "LiFePO4"),
        ("Li6.66666667La3Zr2O12", "Li6.667La3Zr2O12"),
        ("Li0.33333333Co1O2", "Li0.3333CoO2"),
        ("Li1.50Mn2O4", "Li1.5Mn2O4"),
        ("Li0.1Fe11O1", "Li0.1Fe11O"),
    ],
)
def test_fractions_have_four_digits(formula: str, expected: str) -> None:
    assert readable_formula(formula) == expected


def test_a_disordered_crystal_in_a_row() -> None:
    crystal = layered()
    species = ({"Li": 0.123456789}, *crystal.species[1:])
    row = crystal_row(type(crystal)("x", crystal.lattice, species, crystal.frac))
    assert row["formula"] == "Li0.1235CoO2"
    assert "Li0.1235CoO2" in to_csv([row], ("candidate_id", "formula"))
