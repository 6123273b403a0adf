"""Percolation of grids whose answer is known, minima of a cosine."""

import numpy as np
import pytest

from ionbridge.structures.bond_valence.energy_grid import Landscape, percolation_dimension


def open_grid(shape, *selections):
    grid = np.zeros(shape, dtype=bool)
    for selection in selections:
        grid[selection] = True
    return grid


@pytest.mark.parametrize(
    ("selections", "dimension"),
    [
        ([], 0),
        ([(2, 2, 2)], 0),
        ([(slice(0, 5), 2, 2)], 0),  # a channel with one point missing
        ([(slice(None), 2, 2)], 1),
        ([(slice(None), 2, 2), (2, slice(None), 2)], 2),  # crossing
        ([(slice(None), 1, 1), (3, slice(None), 4)], 1),  # passing each other
        ([(slice(None), slice(None), 3)], 2),
        ([(slice(None), 0, 0), (0, slice(None), 0), (0, 0, slice(None))], 3),
        ([(slice(None), slice(None), slice(None))], 3),
    ],
)
def test_dimension_of_channels_and_planes(selections, dimension):
    grid = open_grid((6, 7, 8), *selections)
    assert percolation_dimension(grid) == dimension
    rolled = np.roll(grid, (3, 5, 7), axis=(0, 1, 2))
    assert percolation_dimension(rolled) == dimension


def test_diagonal_channels_touch_through_corners_of_the_cell():
    i = np.arange(6)
    assert percolation_dimension(open_grid((6, 6, 6), (i, i, 2))) == 1
    assert percolation_dimension(open_grid((6, 6, 6), (i, i, i))) == 1
    assert percolation_dimension(open_grid((6, 6, 6), (i, 5 - i, i))) == 1
    # [110] and [1-10] make a plane, though both cross the same cells of a doubled cell
    assert percolation_dimension(open_grid((6, 6, 6), (i, i, 2), (i, 5 - i, 2))) == 2


def test_a_channel_that_closes_only_in_the_second_cell_counts():
    # a line of slope 1/2: translation (2, 1, 0), which is (0, 1, 0) in a doubled cell
    i = np.arange(12)
    grid = open_grid((6, 6, 3), (i % 6, i // 2, 1))
    assert percolation_dimension(grid) == 1


def test_one_point_cells():
    assert percolation_dimension(np.ones((1, 1, 1), dtype=bool)) == 3
    assert percolation_dimension(np.ones((1, 1, 4), dtype=bool) & (np.arange(4) < 2)) == 2


@pytest.fixture
def cosine() -> Landscape:
    """E = sum A_i (1 - cos 2 pi x_i): one minimum at the origin, saddles at 2 A_i."""
    x, y, z = (np.arange(n) / n for n in (20, 24, 30))
    energy = (
        0.4 * (1 - np.cos(2 * np.pi * x))[:, None, None]
        + 0.1 * (1 - np.cos(2 * np.pi * y))[:, None]
        + 8.0 * (1 - np.cos(2 * np.pi * z))
    )
    return Landscape(np.roll(energy, (5, 7, 11), axis=(0, 1, 2)) - 3.0, np.diag([4.0, 5.0, 6.0]))


def test_percolation_barriers_are_the_saddles(cosine):
    barriers = cosine.percolation_barriers(tolerance_eV=0.001)
    np.testing.assert_allclose(barriers[:2], [0.2, 0.8], atol=0.0011)
    assert barriers[2] == np.inf  # 16 eV
    assert cosine.percolation_barriers(max_energy_eV=20.0)[2] == pytest.approx(16.0, abs=0.0021)


def test_minima_are_found_once_and_between_grid_points(cosine):
    frac, energy = cosine.minima(max_energy_eV=0.5)
    np.testing.assert_allclose(frac, [[5 / 20, 7 / 24, 11 / 30]], atol=1e-9)
    np.testing.assert_allclose(energy, 0)
    off = (np.arange(20) - 5.3) / 20
    energy = -np.cos(2 * np.pi * off)[:, None, None] * np.ones((1, 1, 1))
    frac, _ = Landscape(energy, np.diag([4.0, 1.0, 1.0])).minima()
    assert frac[0, 0] == pytest.approx(5.3 / 20, abs=0.01 / 20)


def test_the_lower_of_two_close_minima_is_kept():
    x = np.arange(40) / 40
    energy = -np.cos(4 * np.pi * x) + 0.05 * np.cos(2 * np.pi * x)  # lowest at 0.5, then at 0
    grid = Landscape(energy[:, None, None] * np.ones((1, 1, 1)), np.diag([4.0, 4.0, 4.0]))
    assert len(grid.minima(min_separation_A=1.0)[0]) == 2
    frac, energy = grid.minima(min_separation_A=3.0)
    np.testing.assert_allclose(frac[:, 0], [0.5], atol=0.01)
    np.testing.assert_allclose(energy, 0)
