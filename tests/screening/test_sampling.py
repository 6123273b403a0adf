"""Draws have the distribution they claim, already in small numbers."""

import numpy as np
from scipy.stats import norm

from screening.sampling import generator_for, member_draws, normal_draws


def test_a_seed_for_each_crystal() -> None:
    one = generator_for("LiCoO2", 0).random(3)
    np.testing.assert_array_equal(one, generator_for("LiCoO2", 0).random(3))
    assert not np.allclose(one, generator_for("LiCoO2", 1).random(3))
    assert not np.allclose(one, generator_for("LiNiO2", 0).random(3))


def test_members_take_equal_turns() -> None:
    counts = np.bincount(member_draws(64, 5, np.random.default_rng(0)))
    assert counts.min() >= 12
    assert counts.sum() == 64


def test_one_normal_draw_in_each_interval_of_equal_probability() -> None:
    draws = normal_draws(64, 3, np.random.default_rng(1))
    assert draws.shape == (64, 3)
    for column in draws.T:
        assert sorted(np.floor(norm.cdf(column) * 64).astype(int)) == list(range(64))
    np.testing.assert_allclose(draws.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(draws.std(0), 1, atol=0.08)
    assert np.abs(np.corrcoef(draws.T)[0, 1]) < 0.5
