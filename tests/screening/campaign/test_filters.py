"""Each filter refuses what it says, with the numbers, and lets the rest pass."""

from pathlib import Path

import pytest

from ionbridge.screening.campaign.filters import Filters, read_known_formulas
from ionbridge.screening.campaign.settings import FilterSettings
from ionbridge.screening.errors import InputError
from ionbridge.structures.records import Crystal
from tests.screening.tiny import layered


def crystal(**fields: object) -> Crystal:
    return layered(role="electrode", family="layered", **fields)


@pytest.mark.parametrize(
    ("settings", "extra", "reason"),
    [
        (FilterSettings(max_atoms=3), {}, "4 sites, max_atoms is 3"),
        (FilterSettings(min_atoms=5), {}, "4 sites, min_atoms is 5"),
        (FilterSettings(elements_allowed=("Li", "O")), {}, "holds Co, not in elements_allowed"),
        (FilterSettings(elements_excluded=("Co", "Hg")), {}, "holds Co, in elements_excluded"),
        (
            FilterSettings(max_energy_above_hull_eV_atom=0.05),
            {"energy_above_hull_eV_atom": 0.1},
            "0.100 eV/atom above hull, max_energy_above_hull_eV_atom is 0.05",
        ),
        (
            FilterSettings(min_band_gap_eV=2.0),
            {"band_gap_eV": 1.5},
            "band gap 1.50 eV, min_band_gap_eV is 2",
        ),
        (FilterSettings(role="electrolyte"), {}, "role is electrode, wanted electrolyte"),
        (FilterSettings(families=("spinel",)), {}, "family is layered, wanted spinel"),
    ],
)
def test_refused_with_a_reason(settings: FilterSettings, extra: dict, reason: str) -> None:
    filters = Filters(settings)
    given = crystal(extra=extra)
    found = (
        filters.refusal_by_content(given)
        or filters.refusal_by_role(given)
        or filters.refusal_by_class(given)
    )
    assert found == reason


@pytest.mark.parametrize(
    "settings",
    [
        FilterSettings(),
        FilterSettings(min_atoms=4, max_atoms=4),
        FilterSettings(elements_allowed=("Co", "Li", "O")),
        FilterSettings(role="electrode", families=("layered", "spinel")),
    ],
)
def test_passed(settings: FilterSettings) -> None:
    filters = Filters(settings)
    assert filters.refusal_by_content(crystal()) is None
    assert filters.refusal_by_role(crystal()) is None
    assert filters.refusal_by_class(crystal()) is None


@pytest.mark.parametrize(
    ("settings", "column"),
    [
        (FilterSettings(max_energy_above_hull_eV_atom=0.0), "energy_above_hull_eV_atom"),
        (FilterSettings(min_band_gap_eV=9.0), "band_gap_eV"),
    ],
)
def test_a_value_that_is_asked_for_and_not_known_does_not_pass(settings, column) -> None:
    filters = Filters(settings)
    refusal = filters.refusal_by_content(crystal()) or filters.refusal_by_class(crystal())
    assert refusal is not None
    assert refusal.startswith(f"{column} is not known")
    assert "give it in the record" in refusal


def test_known_compounds_by_reduced_formula(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("# sold in shops\nLi2Co2O4\n\nNaCl # table salt\n", encoding="utf-8")
    filters = Filters(known_formulas=read_known_formulas(path))
    assert filters.refusal_by_content(crystal()) == "LiCoO2 is in known_compounds"
    assert filters.refusal_by_content(layered(metal="Ni")) is None


def test_a_bad_list_of_known_compounds(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("LiCoO2\nnot a formula!\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2"):
        read_known_formulas(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_known_formulas(tmp_path / "none.txt")
