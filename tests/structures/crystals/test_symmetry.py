"""Primitive cells and space groups, against what is known of simple lattices."""

import numpy as np
import pytest

from ionbridge.structures.crystals.symmetry import primitive_cell, space_group
from ionbridge.structures.records import Crystal
from tests.small_crystals import LOW_SYMMETRY, supercell


def face_centred(lattice_A: float = 5.0) -> Crystal:
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    frac = np.concatenate([corners, corners + 0.5])
    species = tuple({"Li": 0.5} for _ in range(4)) + tuple({"Cl": 1.0} for _ in range(4))
    return Crystal("rock salt", lattice_A * np.eye(3), species, frac)


def test_the_primitive_cell_of_rock_salt_is_a_quarter():
    primitive = primitive_cell(face_centred())
    assert primitive.volume_A3 == pytest.approx(5.0**3 / 4)
    assert sorted(map(dict, primitive.species), key=str) == [{"Cl": 1.0}, {"Li": 0.5}]
    shift = primitive.lattice @ np.linalg.inv(face_centred().lattice)
    np.testing.assert_allclose(shift * 2, np.rint(shift * 2), atol=1e-9)  # not turned


def test_a_crystal_in_its_primitive_cell_stays_as_it_is():
    assert primitive_cell(LOW_SYMMETRY) is LOW_SYMMETRY


def test_occupancies_tell_sites_apart():
    crystal = face_centred()
    mixed = Crystal("ordered", crystal.lattice, ({"Li": 0.6}, *crystal.species[1:]), crystal.frac)
    assert primitive_cell(mixed) is mixed
    assert len(space_group(mixed)[0]) < len(space_group(crystal)[0])


def test_a_supercell_has_the_translations_of_what_it_repeats():
    rotations, translations = space_group(supercell(LOW_SYMMETRY, (1, 2, 1)))
    pure = [t for r, t in zip(rotations, translations, strict=True) if np.all(r == np.eye(3))]
    assert len(pure) == 2 * len(space_group(LOW_SYMMETRY)[0])
