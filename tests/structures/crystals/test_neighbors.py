"""Edge sets equal ASE's; images lie where they are said to lie."""

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from ionbridge.structures.crystals.neighbors import neighbors_within, periodic_edges
from tests.tolerances import TIGHT


def random_cell(seed: int, n_atoms: int, low: float = 2.0, high: float = 7.0):
    rng = np.random.default_rng(seed)
    while True:
        lattice = np.diag(rng.uniform(low, high, 3)) + rng.uniform(-2, 2, (3, 3))
        if abs(np.linalg.det(lattice)) > 0.2 * np.prod(np.linalg.norm(lattice, axis=1)):
            return lattice, rng.uniform(-0.5, 1.5, (n_atoms, 3))


def edge_set(src, dst, shift, distance):
    return {
        (int(i), int(j), *map(int, s)): d
        for i, j, s, d in zip(src, dst, shift, distance, strict=True)
    }


@pytest.mark.parametrize("n_atoms", [1, 2, 7])
@pytest.mark.parametrize("seed", range(8))
def test_edges_equal_those_of_ase_in_triclinic_cells(seed, n_atoms):
    lattice, frac = random_cell(seed, n_atoms)
    cutoff = 2.0 + seed  # up to 9 angstrom: longer than the cell
    ours = edge_set(*periodic_edges(lattice, frac, cutoff))
    atoms = Atoms(numbers=[3] * n_atoms, cell=lattice, scaled_positions=frac, pbc=True)
    atoms.positions = frac @ lattice  # keep atoms outside the cell where they are
    theirs = edge_set(*neighbor_list("ijSd", atoms, cutoff))
    assert ours.keys() == theirs.keys()
    assert all(abs(ours[k] - theirs[k]) < TIGHT for k in ours)


def test_left_handed_cell():
    lattice, frac = random_cell(3, 4)
    lattice = lattice[[1, 0, 2]]
    atoms = Atoms(numbers=[3] * 4, cell=lattice, positions=frac @ lattice, pbc=True)
    assert (
        edge_set(*periodic_edges(lattice, frac, 5.0)).keys()
        == edge_set(*neighbor_list("ijSd", atoms, 5.0)).keys()
    )


def test_images_of_points_outside_the_cell_lie_at_their_distance():
    lattice, frac = random_cell(5, 3)
    centers = np.random.default_rng(0).uniform(-30, 30, (20, 3))
    center, atom, shift, distance = neighbors_within(lattice, frac, centers, 6.0)
    image = (frac[atom] + shift) @ lattice
    np.testing.assert_allclose(
        np.linalg.norm(image - centers[center], axis=1), distance, atol=TIGHT
    )
    # the same environment at a lattice translation of the centre
    moved = neighbors_within(lattice, frac, centers + [3, -2, 5] @ lattice, 6.0)
    assert len(moved[0]) == len(center)


def test_a_duplicate_atom_is_a_neighbor_and_the_atom_itself_is_not():
    src, dst, _, distance = periodic_edges(np.eye(3) * 10, [[0, 0, 0], [0, 0, 0]], 3.0)
    assert sorted(zip(src, dst, strict=True)) == [(0, 1), (1, 0)]
    np.testing.assert_allclose(distance, 0)


def test_nothing_in_nothing_out_and_nan_is_refused():
    assert all(len(x) == 0 for x in neighbors_within(np.eye(3), np.zeros((0, 3)), [[0, 0, 0]], 1))
    with pytest.raises(ValueError, match="finite"):
        neighbors_within(np.eye(3), [[np.nan, 0, 0]], [[0, 0, 0]], 1.0)
