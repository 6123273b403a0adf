"""A bound's moments against the integral that defines them."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from ionbridge.models.regressors.censored import censored

NONE, ABOVE, BELOW = 0, 1, -1


def posterior(prior, target, noise) -> tuple[np.ndarray, np.ndarray]:
    gain = prior @ np.linalg.inv(prior + np.diag(noise))
    return gain @ target, np.diag(prior - gain @ prior)


@pytest.mark.parametrize("side", [ABOVE, BELOW])
@pytest.mark.parametrize("bound", [-2.5, 0.3, 2.0])
def test_one_bound_has_the_moments_of_its_integral(bound, side):
    variance, noise = 1.7, 0.09
    found = censored(np.array([[variance]]), np.array([bound]), np.array([noise]), np.array([side]))
    mean, left = posterior(np.array([[variance]]), *found)

    def weight(f: float) -> float:
        return norm.pdf(f, 0, variance**0.5) * norm.cdf(side * (f - bound) / noise**0.5)

    moments = [quad(lambda f, k=k: f**k * weight(f), -12, 12, limit=400)[0] for k in range(3)]
    assert mean[0] == pytest.approx(moments[1] / moments[0], abs=1e-4)
    assert left[0] == pytest.approx(moments[2] / moments[0] - mean[0] ** 2, abs=1e-4)


def test_values_stay_what_they_are_and_idle_bounds_say_nothing():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 5))
    prior = root @ root.T
    target, noise = rng.standard_normal(5), np.full(5, 0.1)
    same = censored(prior, target, noise, np.zeros(5, dtype=int))
    assert same[0] is target
    assert same[1] is noise
    idle = target.copy()
    idle[4] = 40.0  # an upper bound far above all that is likely
    found = censored(prior, idle, noise, np.array([NONE, NONE, NONE, NONE, BELOW]))
    np.testing.assert_array_equal(found[0][:4], target[:4])
    without = posterior(prior[:4, :4], target[:4], noise[:4])[0]
    np.testing.assert_allclose(posterior(prior, *found)[0][:4], without, atol=1e-3)


def test_a_sharp_bound_on_either_side_mirrors():
    prior = np.array([[1.0, 0.8], [0.8, 1.0]])
    up = censored(prior, np.array([0.5, 1.0]), np.array([0.01, 0.01]), np.array([NONE, ABOVE]))
    down = censored(prior, np.array([-0.5, -1.0]), np.array([0.01, 0.01]), np.array([NONE, BELOW]))
    np.testing.assert_allclose(up[0], -down[0], atol=1e-9)
    np.testing.assert_allclose(up[1], down[1], atol=1e-9)
    assert posterior(prior, *up)[0][1] > 1.0
