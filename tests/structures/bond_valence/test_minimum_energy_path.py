"""Paths on landscapes whose minimum-energy path is known."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from ionbridge.structures.bond_valence.minimum_energy_path import (
    GRID_SPACING_A,
    equally_spaced,
    lowest_path_on_a_grid,
    relax_string,
    resample,
)
from ionbridge.structures.bond_valence.pair_energy import SLOPES_PER_A, slope_and_curvature
from tests.tolerances import EXACT, TIGHT

RADIUS, STIFFNESS, TILT = 1.5, 40.0, 0.05
START, END = np.array([-RADIUS, 0, 0]), np.array([RADIUS, 0, 0])
FAR = 15.0
"""Where the second atom is: on the valley its energy falls linearly towards it."""
LONGEST = 40.0


def energies(r):
    """A spherical valley round the first atom, a parabola round the second."""
    return np.array([STIFFNESS * (r - RADIUS) ** 2, TILT * r**2])


def cluster():
    """Positions, kinds and weights; the way round the first atom leads towards the second."""
    position = np.array([[0.0, 0, 0], [0, FAR, 0]])
    return position, np.array([0, 1]), np.ones(2)


def tables(size=1 << 16):
    """Energies by squared distance, and slopes and curvatures by distance."""
    scale = size / LONGEST**2
    energy = energies(np.sqrt((np.arange(size + 1) + 0.5) / scale)).astype(np.float32)
    energy[:, -1] = 0.0
    r = np.arange(int(LONGEST * SLOPES_PER_A)) / SLOPES_PER_A
    slope = np.array([2 * STIFFNESS * (r - RADIUS), 2 * TILT * r])
    curvature = np.broadcast_to([[2 * STIFFNESS], [2 * TILT]], slope.shape)
    return energy, np.full(2, scale), np.stack([slope, curvature], axis=-1)


NOTHING = np.zeros((0, 3)), np.zeros(0, dtype=np.int64), np.zeros(0)


@pytest.mark.parametrize("across", [[0, 1, 0], [0, 0, 1], [0, 0.6, 0.8]])
def test_a_round_valley_is_followed_on_its_lower_side(across):
    energy, scale, slopes = tables()
    across = np.array(across, dtype=float)
    rough = lowest_path_on_a_grid(*cluster(), energy, scale, START, END, 7.0, across)
    np.testing.assert_allclose(rough[[0, -1]], [START, END], atol=1e-9)
    path = relax_string(*cluster(), slopes, rough)
    np.testing.assert_allclose(path[[0, -1]], [START, END], atol=1e-9)
    assert (path[1:-1, 1] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), RADIUS, atol=0.03)
    np.testing.assert_allclose(path[:, 2], 0, atol=0.02)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.01)


def test_a_free_path_is_straight():
    energy, scale, _ = tables()
    across = np.array([0.0, 1, 0])
    flat = lowest_path_on_a_grid(*NOTHING, energy, scale, START, END, 6.0, across)
    np.testing.assert_allclose(flat[:, 1:], 0, atol=1e-9)


def test_a_very_long_hop_has_a_coarser_grid():
    energy, scale, _ = tables()
    across = np.array([0.0, 1, 0])
    flat = lowest_path_on_a_grid(*NOTHING, energy, scale, 10 * START, 10 * END, 46.0, across)
    steps = np.linalg.norm(np.diff(flat, axis=0), axis=1)
    assert steps.min() > 3 * GRID_SPACING_A
    np.testing.assert_allclose(steps.sum(), 20 * RADIUS)


def test_slopes_between_the_entries_of_a_table():
    r = np.arange(1000) / SLOPES_PER_A
    tables = np.stack([np.sin(r), np.cos(r)], axis=1)[None]
    for x in np.random.default_rng(0).uniform(0.0, 9.9, 50):
        slope, curvature = slope_and_curvature(x, tables, 0)
        assert slope == pytest.approx(np.sin(x), abs=1e-10)
        assert curvature == pytest.approx(np.cos(x), abs=TIGHT)
    assert slope_and_curvature(10.0, tables, 0) == (0.0, 0.0)


def test_resampling_a_circle_keeps_its_length_and_its_ends():
    angle = np.linspace(np.pi, 0, 9)
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    path = resample(circle, 21)
    np.testing.assert_array_equal(path[[0, -1]], circle[[0, -1]])
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1, atol=2e-3)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    np.testing.assert_allclose(steps, np.pi / 20, rtol=0.01)
    np.testing.assert_allclose(
        resample(circle[[0, -1]], 3)[1], [0, circle[0, 1] / 2, 0], atol=EXACT
    )


@pytest.mark.parametrize("n", [3, 4, 5, 11])
def test_the_curve_is_the_cubic_spline(n):
    path = np.cumsum(np.random.default_rng(n).uniform(0.2, 1.0, (n, 3)), axis=0)
    knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    fine = CubicSpline(knots, path)(np.linspace(0.0, knots[-1], 5000))
    for point in resample(path, 7)[1:-1]:
        assert np.linalg.norm(fine - point, axis=1).min() < 2e-3


def test_resampling_keeps_ends_and_spaces_images_equally():
    path = np.array([[0.0, 0, 0], [1.0, 0, 0], [1.0, 3.0, 0]])
    images = equally_spaced(path, 9)
    np.testing.assert_allclose(images[[0, -1]], path[[0, -1]], atol=EXACT)
    np.testing.assert_allclose(np.linalg.norm(np.diff(images, axis=0), axis=1), 0.5, atol=EXACT)
    np.testing.assert_allclose(equally_spaced(path[::-1], 9), images[::-1], atol=TIGHT)
    np.testing.assert_allclose(equally_spaced(path[:1].repeat(2, axis=0), 3), 0.0, atol=EXACT)
