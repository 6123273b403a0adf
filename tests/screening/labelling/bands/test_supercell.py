"""The smallest supercell is found among all sublattices, not among the diagonal ones."""

import itertools

import numpy as np
import pytest

from ionbridge.screening.labelling.bands.supercell import (
    cells_in,
    shortest_vector,
    smallest_supercell,
)
from ionbridge.structures.records import UnusableStructureError
from tests.small_crystals import SKEW

NO_ROTATION = np.eye(3, dtype=int)[None]


@pytest.mark.parametrize(
    "lattice", [4.0 * np.eye(3), SKEW, np.diag([10.3, 6.0, 4.7]), 2.0 * (1 - np.eye(3))]
)
def test_wide_enough_and_never_larger_than_the_diagonal_one(lattice: np.ndarray) -> None:
    rows = smallest_supercell(lattice, NO_ROTATION, 8.0, 64)
    assert shortest_vector(rows @ lattice) >= 8.0 - 1e-6
    diagonal = min(
        np.prod(n)
        for n in itertools.product(range(1, 5), repeat=3)
        if shortest_vector(np.diag(n) @ lattice) >= 8.0 - 1e-6
    )
    assert round(np.linalg.det(rows)) <= diagonal


def test_no_smaller_one_exists() -> None:
    lattice = SKEW
    rows = smallest_supercell(lattice, NO_ROTATION, 8.0, 64)
    multiple = round(np.linalg.det(rows))
    rng = np.random.default_rng(0)
    tried = rng.integers(-3, 4, (20_000, 3, 3))
    size = np.rint(np.abs(np.linalg.det(tried))).astype(int)
    smaller = tried[(size > 0) & (size < multiple)]
    assert len(smaller) > 50
    assert all(shortest_vector(m @ lattice) < 8.0 for m in smaller)


def test_shortest_vector_of_a_sheared_cell() -> None:
    sheared = np.array([[3.0, 0, 0], [3.0 * 7, 5.0, 0], [1.0, 2.0, 9.0]])  # a, b + 7a, ...
    assert shortest_vector(sheared) == pytest.approx(3.0)
    assert shortest_vector(2.0 * (1 - np.eye(3))) == pytest.approx(2 * np.sqrt(2))


def test_cells_fill_the_supercell_once() -> None:
    rows = np.array([[2, 1, 0], [-1, 2, 1], [0, 0, 3]])
    cells = cells_in(rows)
    assert len(cells) == round(np.linalg.det(rows))
    frac = cells @ np.linalg.inv(rows)
    apart = frac[:, None] - frac
    same = np.all(np.abs(apart - np.rint(apart)) < 1e-9, axis=2)
    assert np.array_equal(same, np.eye(len(cells), dtype=bool))


def test_too_many_cells_are_refused() -> None:
    with pytest.raises(UnusableStructureError, match="more than 3 cells"):
        smallest_supercell(3.0 * np.eye(3), NO_ROTATION, 8.0, 3)
