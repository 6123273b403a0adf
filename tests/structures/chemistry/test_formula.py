"""One conventional text for a crystal, whatever its cell."""

import pytest

from ionbridge.structures.chemistry.formula import conventional_formula
from ionbridge.structures.frameworks.prototypes import PROTOTYPES

CONVENTIONAL = {
    "LiFePO4-olivine": "LiFePO4",
    "Na3V2(PO4)3-NASICON": "Na3V2(PO4)3",
    "Na3V2(PO4)2F3-fluorophosphate": "Na3V2(PO4)2F3",
    "Li10GeP2S12-LGPS": "Li10GeP2S12",
    "Na0.7CoO2-layered-P2": "Na0.7CoO2",
    "LiFeO2-rocksalt": "LiFeO2",
    "Li7La3Zr2O12-garnet": "Li7La3Zr2O12",
    "LiFeP2O7-pyrophosphate": "LiFeP2O7",
    "NaAlSi2O6-pyroxene": "NaAlSi2O6",
}


@pytest.mark.parametrize(("name", "formula"), CONVENTIONAL.items())
def test_known_crystals_have_the_names_that_people_use(name, formula) -> None:
    species = PROTOTYPES[name].build().species
    for times in (1, 2, 6):
        assert conventional_formula(species * times) == formula


@pytest.mark.parametrize(
    ("sites", "formula"),
    [
        ([({"Na": 0.7625}, 24), ({"V": 1}, 12), ({"P": 1}, 18), ({"O": 1}, 72)], "Na3.05V2(PO4)3"),
        ([({"Na": 1}, 2), ({"Fe": 0.5, "Mn": 0.5}, 2), ({"O": 1}, 4)], "NaMn0.5Fe0.5O2"),
        ([({"Li": 1}, 1), ({"Li": 0.2, "Mn": 0.8}, 1), ({"O": 1}, 2)], "Li1.2Mn0.8O2"),
        ([({"Na": 1}, 1), ({"Cl": 1}, 1)], "NaCl"),
        ([({"Li": 0.5}, 4)], "Li"),
    ],
)
def test_partly_filled_and_mixed_sites(sites, formula) -> None:
    for times in (1, 3):
        species = [site for site, n in sites for _ in range(n * times)]
        assert conventional_formula(species) == formula
