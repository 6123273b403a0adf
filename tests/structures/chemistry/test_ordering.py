"""Disordered cells become whole atoms with the right counts and a low point-charge energy."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.analysis.ewald import EwaldSummation

from ionbridge.structures.chemistry.ordering import ordered
from ionbridge.structures.records import Crystal

A = 5.13


def ewald_eV(crystal, charges):
    structure = crystal.to_pymatgen()
    structure.add_oxidation_state_by_site([charges[next(iter(s))] for s in crystal.species])
    return EwaldSummation(structure).total_energy


def rock_salt(cation, n=2):
    """Rock salt in n x n x 1 conventional cells, every cation site with this occupancy."""
    anions = np.array([[0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    cations = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    shifts = np.array([[i, j, 0] for i in range(n) for j in range(n)])
    sites = [(f + s, kind) for s in shifts for kind in (0, 1) for f in (cations, anions)[kind]]
    return Crystal(
        id="x",
        lattice=np.diag([n * A, n * A, A]),
        species=tuple((dict(cation), {"O": 1.0})[kind] for _, kind in sites),
        frac=np.array([f for f, _ in sites]) / [n, n, 1],
        working_ion="Li",
    )


def test_an_ordered_crystal_stays_as_it_is():
    crystal = rock_salt({"Mg": 1.0})
    found = ordered(crystal)
    assert found.crystal is crystal
    assert found.how == "ordered as given"


@pytest.mark.parametrize(
    ("cation", "counts"),
    [
        ({"Li": 0.5, "Fe": 0.5}, {"Li": 8, "Fe": 8}),
        ({"Li": 0.4, "Fe": 0.5}, {"Li": 6, "Fe": 8}),
        ({"Mg": 0.97}, {"Mg": 16}),
    ],
)
def test_counts_are_the_nearest_whole_numbers(cation, counts):
    found = ordered(rock_salt(cation)).crystal
    assert found.is_ordered
    symbols = [next(iter(site)) for site in found.species]
    assert {s: symbols.count(s) for s in counts} == counts
    assert symbols.count("O") == 16
    assert len(symbols) == sum(counts.values()) + 16


def test_the_energy_is_below_that_of_random_arrangements_and_the_seed_gives_it_again():
    crystal = rock_salt({"Li": 0.5, "Fe": 0.5})
    found = ordered(crystal, seed=1)
    charges = {"Li": 1.0, "Fe": 3.0, "O": -2.0}
    best = ewald_eV(found.crystal, charges)
    rng = np.random.default_rng(0)
    cations = [i for i, s in enumerate(crystal.species) if "O" not in s]
    for _ in range(10):
        species = list(crystal.species)
        for i, symbol in zip(rng.permutation(cations), ["Li", "Fe"] * 8, strict=True):
            species[i] = {symbol: 1.0}
        other = replace(crystal, species=tuple(species))
        assert best < ewald_eV(other, charges)
    again = ordered(crystal, seed=1)
    assert again.crystal.species == found.crystal.species
    assert "seed 1" in found.how


def test_split_sites_are_not_taken_together():
    """Two half sites 0.6 angstrom apart hold one ion between them."""
    base = rock_salt({"Mg": 1.0})
    at = [i for i, s in enumerate(base.species) if "Mg" in s]
    species = [s for s in base.species if "O" in s] + [{"Mg": 0.5}] * (2 * len(at))
    anions = base.frac[[i for i, s in enumerate(base.species) if "O" in s]]
    split = np.array([0, 0, 0.3 / A])
    frac = np.vstack([anions, base.frac[at] + split, base.frac[at] - split])
    crystal = replace(base, species=tuple(species), frac=frac)
    structure = ordered(crystal).crystal.to_pymatgen()
    distances = structure.distance_matrix + 9 * np.eye(len(structure))
    assert len(structure) == base.n_sites
    assert distances.min() > 1.5
