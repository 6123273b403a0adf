"""A crystal in whatever form it comes has one canonical cell, and one list of sites and hops."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice

from ionbridge.structures.crystals.canonical_cell import canonical_cell, compact_bases
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal
from tests.small_crystals import LAYERED, LOW_SYMMETRY, ROCK_SALT, rewritten
from tests.tolerances import TIGHT

NOISE_A = 1e-7
"""Displacements that change nothing but last digits."""
NOISE_EV = 1e-5
"""Energies along a path follow the noise."""
PATH_A2 = 1e-4
"""Products of two positions on a path, angstrom^2."""
TOPOLOGY = ("start", "end", "shift", "orbit", "reversed", "site_orbit")


def without_ion(crystal: Crystal, id: str) -> Crystal:
    kept = [k for k, s in enumerate(crystal.species) if crystal.working_ion not in s]
    return replace(
        crystal, id=id, species=tuple(crystal.species[k] for k in kept), frac=crystal.frac[kept]
    )


OLIVINE = PROTOTYPES["LiFePO4-olivine"].build()
CRYSTALS = {
    "low symmetry": LOW_SYMMETRY,
    "layered": LAYERED,
    "rock salt": ROCK_SALT,
    "spinel": PROTOTYPES["LiMn2O4-spinel"].build(),
    "olivine": OLIVINE,
    "empty olivine": without_ion(OLIVINE, "FePO4"),  # its sites are minima of the landscape
}
FORMS = {
    "rows": st.lists(st.integers(-1, 1), min_size=9, max_size=9)
    .map(lambda r: np.array(r).reshape(3, 3))
    .filter(lambda r: round(abs(np.linalg.det(r))) in (1, 2)),
    "shift": st.lists(st.floats(-9, 9), min_size=3, max_size=3).map(np.array),
    "seed": st.integers(0, 2**31),
    "noise_A": st.sampled_from([0.0, NOISE_A]),
}
QUICK = settings(deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
crystals = pytest.mark.parametrize("name", CRYSTALS)


@lru_cache
def graph_of(name: str) -> MigrationGraph:
    return find_hops(CRYSTALS[name])


@crystals
@settings(QUICK, max_examples=8)
@given(**FORMS)
def test_any_form_has_one_canonical_cell(name, rows, shift, seed, noise_A) -> None:
    one = canonical_cell(CRYSTALS[name])
    other = canonical_cell(rewritten(CRYSTALS[name], rows, shift, seed, noise_A))
    assert one.crystal.species == other.crystal.species
    np.testing.assert_allclose(other.crystal.lattice, one.crystal.lattice, atol=10 * NOISE_A)
    np.testing.assert_allclose(other.crystal.frac, one.crystal.frac, atol=10 * NOISE_A)


@crystals
@settings(QUICK, max_examples=3)
@given(**FORMS)
def test_any_form_has_the_same_hops_in_the_same_order(name, rows, shift, seed, noise_A) -> None:
    one = graph_of(name)
    other = find_hops(rewritten(CRYSTALS[name], rows, shift, seed, noise_A), "Li")
    for topology in TOPOLOGY:
        assert np.array_equal(getattr(one, topology), getattr(other, topology)), topology
    for a, b in zip(one.hops, other.hops, strict=True):
        assert a.distance_A == pytest.approx(b.distance_A, abs=100 * NOISE_A)
        assert a.host_species == b.host_species  # the same supercell, the same order of atoms
        np.testing.assert_allclose(  # and the same path in it, up to a rotation of the crystal
            gram(a.lattice, a.path_A - a.path_A[0]),
            gram(b.lattice, b.path_A - b.path_A[0]),
            atol=PATH_A2,
        )
        profile = [hop.extra["bvse_profile_eV"] for hop in (a, b)]
        np.testing.assert_allclose(*profile, atol=NOISE_EV)


def gram(*vectors: np.ndarray) -> np.ndarray:
    """Scalar products of all pairs, which no rotation changes."""
    rows = np.concatenate(vectors)
    return rows @ rows.T


@crystals
def test_noise_does_not_turn_the_crystal(name) -> None:
    """Of orientations equal by symmetry the same one is taken: paths lie where they lay."""
    crystal = CRYSTALS[name]
    rng = np.random.default_rng(5)
    noise = NOISE_A * rng.standard_normal(crystal.frac.shape)
    other = find_hops(replace(crystal, frac=crystal.frac + noise), "Li")
    for a, b in zip(graph_of(name).hops, other.hops, strict=True):
        np.testing.assert_allclose(a.path_A, b.path_A, atol=1e-4)


@crystals
def test_the_placed_crystal_lies_where_the_given_one_does(name) -> None:
    crystal = CRYSTALS[name]
    placed = canonical_cell(crystal).placed_crystal
    points = placed.frac @ placed.lattice @ np.linalg.inv(crystal.lattice)
    offset = points[:, None] - crystal.frac
    offset -= np.rint(offset)
    distance = np.linalg.norm(offset @ crystal.lattice, axis=2)
    nearest = np.argmin(distance, axis=1)
    assert distance.min(axis=1).max() < 1e-4  # coordinates are averaged over the group
    assert [crystal.species[k] for k in nearest] == list(placed.species)
    assert np.linalg.det(placed.lattice) > 0


def test_operations_of_the_canonical_cell_map_it_onto_itself() -> None:
    cell = canonical_cell(OLIVINE)
    rotation, translation = cell.group
    assert len(rotation) == 8
    for R, t in zip(rotation, translation, strict=True):
        gap = (cell.crystal.frac @ R.T + t)[:, None] - cell.crystal.frac
        gap = np.abs(gap - np.rint(gap)).max(axis=2)
        assert gap.min(axis=1).max() < TIGHT
        images = [cell.crystal.species[k] for k in gap.argmin(axis=1)]
        assert images == list(cell.crystal.species)


def test_rounded_coordinates_are_averaged_and_displaced_ones_are_not() -> None:
    """0.333 and 0.667 stand for thirds; a displacement of 0.05 angstrom is a displacement."""
    hexagonal = Crystal(
        "thirds",
        Lattice.hexagonal(4.0, 5.0).matrix.copy(),
        ({"Li": 1.0}, {"O": 1.0}, {"O": 1.0}),
        np.array([[0, 0, 0], [0.333, 0.667, 0.5], [0.667, 0.333, 0.5]]),
    )
    cell = canonical_cell(hexagonal)
    assert len(cell.group[0]) == 24
    thirds = np.mod(cell.crystal.frac[1:, :2] * 3, 1.0)
    assert np.minimum(thirds, 1 - thirds).max() < 1e-8
    frac = hexagonal.frac + np.array([[0, 0, 0], [0.05 / 4, 0, 0], [0, 0, 0]])
    assert len(canonical_cell(replace(hexagonal, frac=frac)).group[0]) < 24


@pytest.mark.parametrize(
    ("lattice", "n_bases"),
    [
        (np.diag([3.0, 4.0, 5.0]), 4),
        (np.diag([4.0, 4.0, 5.0]), 8),
        (4.0 * np.eye(3), 24),
        (2.0 * (np.ones((3, 3)) - np.eye(3)), 24),
        (2.0 * (np.ones((3, 3)) - 2 * np.eye(3)), 24),
        (Lattice.hexagonal(3.0, 5.0).matrix, 12),
        (Lattice.from_parameters(3.1, 4.2, 5.3, 80, 95, 103).matrix, 1),
    ],
    ids=["orthorhombic", "tetragonal", "cubic", "fcc", "bcc", "hexagonal", "triclinic"],
)
def test_compact_bases_are_as_many_as_the_lattice_has_rotations(lattice, n_bases) -> None:
    skew = np.array([[1, 2, 0], [0, 1, -1], [0, 0, 1]])
    expected = gram_of_each(compact_bases(lattice)[:1] @ lattice)
    for given_lattice in (lattice, skew @ lattice, -lattice, lattice[[1, 0, 2]]):
        bases = compact_bases(given_lattice)
        assert len(bases) == n_bases
        metric = gram_of_each(bases @ given_lattice)
        np.testing.assert_allclose(metric, np.repeat(expected, n_bases, axis=0), atol=1e-9)
        assert np.all(np.linalg.det(bases @ given_lattice) > 0)


def gram_of_each(vectors: np.ndarray) -> np.ndarray:
    return np.einsum("nij,nkj->nik", vectors, vectors)
