"""Paths on landscapes whose minimum-energy path is known."""

import numpy as np
import pytest

from ionbridge.structures.minimum_energy_path import lowest_path_on_a_grid, relax_string, resample

RADIUS, STIFFNESS = 1.5, 40.0
START, END = np.array([-RADIUS, 0, 0]), np.array([RADIUS, 0, 0])


def ring(points):
    """A circular valley in the plane z = 0, lower on the side of positive y."""
    x, y, z = points.T
    radius = np.sqrt(x**2 + y**2)
    return STIFFNESS * ((radius - RADIUS) ** 2 + z**2) - 0.3 * y


def derivatives(points, h=1e-4):
    """Central differences of `ring`: energy, gradient, Hessian."""
    unit = h * np.eye(3)
    gradient = np.stack([(ring(points + u) - ring(points - u)) / (2 * h) for u in unit], axis=1)
    hessian = np.stack(
        [
            [
                ring(points + u + v)
                - ring(points + u - v)
                - ring(points - u + v)
                + ring(points - u - v)
                for v in unit
            ]
            for u in unit
        ]
    ) / (4 * h**2)
    return ring(points), gradient, np.moveaxis(hessian, 2, 0)


@pytest.mark.parametrize("across", [[0, 1, 0], [0, 0, 1], [0, 0.6, 0.8]])
def test_a_ring_is_followed_on_its_lower_side(across):
    rough = lowest_path_on_a_grid(ring, START, END, 7.0, np.array(across))
    np.testing.assert_allclose(rough[[0, -1]], [START, END], atol=1e-9)
    path = relax_string(derivatives, rough)
    np.testing.assert_allclose(path[[0, -1]], [START, END], atol=1e-9)
    assert (path[1:-1, 1] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), RADIUS, atol=0.03)
    np.testing.assert_allclose(path[:, 2], 0, atol=0.01)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.01)


def test_a_free_path_is_straight():
    flat = lowest_path_on_a_grid(lambda p: np.zeros(len(p)), START, END, 6.0, np.array([0, 1, 0]))
    np.testing.assert_allclose(flat[:, 1:], 0, atol=1e-9)


def test_a_very_long_hop_has_a_grid_of_bounded_size():
    seen = []

    def flat(points):
        seen.append(len(points))
        return np.zeros(len(points))

    lowest_path_on_a_grid(flat, 10 * START, 10 * END, 46.0, np.array([0, 1, 0]))
    assert seen[0] < 12_000


def test_resampling_a_circle_keeps_its_length_and_its_ends():
    angle = np.linspace(np.pi, 0, 9)
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    path = resample(circle, 21)
    np.testing.assert_array_equal(path[[0, -1]], circle[[0, -1]])
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1, atol=2e-3)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    np.testing.assert_allclose(steps, np.pi / 20, rtol=0.01)
    np.testing.assert_array_equal(resample(circle[[0, -1]], 3)[1], [0, circle[0, 1] / 2, 0])
