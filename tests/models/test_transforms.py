"""Target transforms invert, values and spreads alike."""

import numpy as np
import pytest

from ionbridge.models.transforms import LogShift
from tests.tolerances import EXACT, STANDARD_ERRORS

BARRIERS = np.array([0.0, 0.03, 0.3, 1.0, 8.0])


@pytest.mark.parametrize("shift", [0.05, 0.1, 1.0])
def test_there_and_back(shift):
    transform = LogShift(shift)
    np.testing.assert_allclose(transform.inverse(transform.forward(BARRIERS)), BARRIERS, atol=EXACT)


def test_spreads_there_and_back():
    transform, std = LogShift(), np.full(5, 0.07)
    t = transform.forward_std(BARRIERS, std)
    np.testing.assert_allclose(transform.inverse_std(BARRIERS, t), std, atol=EXACT)


def test_the_spread_is_the_delta_method():
    """Small spreads drawn in one space have the predicted spread in the other."""
    transform, n, std = LogShift(), 200_000, 0.01
    rng = np.random.default_rng(0)
    for barrier in BARRIERS[2:]:
        drawn = transform.forward(barrier + std * rng.standard_normal(n)).std()
        expected = transform.forward_std(np.array([barrier]), np.array([std]))[0]
        standard_error = expected / np.sqrt(2 * n)
        curvature = (std / (barrier + transform.shift_eV)) ** 2 * expected
        assert abs(drawn - expected) < STANDARD_ERRORS * standard_error + curvature
        back = transform.inverse(transform.forward(barrier) + 0.01 * rng.standard_normal(n)).std()
        expected = transform.inverse_std(np.array([barrier]), np.array([0.01]))[0]
        assert abs(back - expected) < STANDARD_ERRORS * expected / np.sqrt(2 * n) + 1e-4 * expected


def test_it_rises_and_keeps_barriers_at_or_above_zero():
    transform = LogShift()
    assert (np.diff(transform.forward(BARRIERS)) > 0).all()
    assert (transform.inverse(np.array([-50.0, -3.0, 0.0])) >= 0).all()
    assert transform.forward(np.array([-0.4]))[0] == transform.forward(np.array([0.0]))[0]
