"""What the framework's symmetry knows of disorder, on perovskites of two cells."""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.structures.chemistry.ordering import ordered
from ionbridge.structures.crystals.hidden_disorder import hidden_disorder
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.records import Crystal

EDGE_A = 4.0
OXYGEN = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])


def perovskite(ions: list[dict[str, float]], metals: list[dict[str, float]]) -> Crystal:
    """Two cubic cells along x: the ion at the centre of each, the metal at the corner."""
    sites = []
    for k, (ion, metal) in enumerate(zip(ions, metals, strict=True)):
        points = [(ion, [0.5, 0.5, 0.5]), (metal, [0.0, 0.0, 0.0])]
        points += [({"O": 1.0}, point.tolist()) for point in OXYGEN]
        sites += [(site, np.add(p, [k, 0, 0])) for site, p in points if site]
    return Crystal(
        id="perovskite",
        lattice=EDGE_A * np.diag([2.0, 1.0, 1.0]),
        species=tuple(site for site, _ in sites),
        frac=np.array([p for _, p in sites]) / [2, 1, 1],
        working_ion="Li",
    )


LI, NB, W, TI = {"Li": 1.0}, {"Nb": 1.0}, {"W": 1.0}, {"Ti": 1.0}
CASES = {
    "nothing left": ([LI, LI], [NB, NB], (True, True)),
    "an empty site like the filled one": ([LI, {}], [W, NB], (False, False)),
    "two metals on sites that are alike": ([LI, LI], [TI, W], (True, False)),
    "stated disorder of the ion": ([{"Li": 0.5}, {"Li": 0.5}], [W, W], (False, True)),
    "stated disorder of the host": ([LI, LI], [{"Ti": 0.5, "W": 0.5}] * 2, (True, False)),
}


@pytest.mark.parametrize("name", CASES)
def test_sites_that_the_framework_makes_equal_are_compared(name):
    ions, metals, expected = CASES[name]
    assert hidden_disorder(perovskite(ions, metals), "Li") == expected


@pytest.mark.parametrize("name", CASES)
def test_neither_small_relaxations_nor_another_setting_change_the_answer(name):
    ions, metals, expected = CASES[name]
    crystal = perovskite(ions, metals)
    rng = np.random.default_rng(0)
    order = rng.permutation(crystal.n_sites)
    turned = replace(
        crystal,
        lattice=np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]) @ crystal.lattice,
        frac=(crystal.frac @ np.linalg.inv([[1, 1, 0], [0, 1, 0], [0, 0, 1]]) + 0.13)[order],
        species=tuple(crystal.species[i] for i in order),
    )
    assert hidden_disorder(turned, "Li") == expected
    moved = rng.uniform(-0.03, 0.03, crystal.frac.shape) @ np.linalg.inv(crystal.lattice)
    assert hidden_disorder(replace(crystal, frac=crystal.frac + moved), "Li") == expected


def test_an_ordered_cell_says_what_the_disordered_crystal_says():
    mixed = {"Ti": 0.5, "W": 0.5}
    average = perovskite([{"Li": 0.5}] * 2, [mixed] * 2)
    cell = ordered(average).crystal
    assert cell.is_ordered
    assert hidden_disorder(cell, "Li") == hidden_disorder(average, "Li") == (False, False)


@pytest.mark.parametrize("name", ["Li10GeP2S12-LGPS", "LiFeBO3-borate-Cc"])
def test_names_of_elements_do_not_change_the_answer(name):
    """Atoms are sorted by symbol: other elements in the same places come in another order."""
    crystal = PROTOTYPES[name].build()
    metal = "Ge" if "Ge" in name else "Fe"
    expected = hidden_disorder(crystal, "Li")
    assert not expected.is_ion_full
    for other in ("Al", "Mg", "Sn", "Zn", "Zr"):
        renamed = tuple(
            {other if k == metal else k: v for k, v in s.items()} for s in crystal.species
        )
        assert hidden_disorder(replace(crystal, species=renamed), "Li") == expected


def test_a_place_taken_by_the_host_is_no_empty_site():
    """Rock salt: sites of the ion and of the metal are alike for the anions alone."""
    half = 0.5
    sites = [
        (LI, [0, 0, 0]), (LI, [0, half, half]), (NB, [half, 0, half]), (NB, [half, half, 0]),
        ({"O": 1.0}, [half, 0, 0]), ({"O": 1.0}, [0, half, 0]), ({"O": 1.0}, [0, 0, half]),
        ({"O": 1.0}, [half, half, half]),
    ]  # fmt: skip
    crystal = Crystal(
        id="layered",
        lattice=4.2 * np.eye(3),
        species=tuple(site for site, _ in sites),
        frac=np.array([p for _, p in sites], float),
        working_ion="Li",
    )
    assert hidden_disorder(crystal, "Li") == (True, True)
