"""Draws have the distribution they claim, already in small numbers."""

import numpy as np
import pytest
from scipy.stats import norm

from ionbridge.screening.prediction.sampling import draws


def test_arguments_alone_decide() -> None:
    np.testing.assert_array_equal(draws(16, 2, 3, seed=0)[1], draws(16, 2, 3, seed=0)[1])
    assert not np.allclose(draws(16, 2, 3, seed=0)[1], draws(16, 2, 3, seed=1)[1])
    first, second = np.split(draws(16, 2, 3, seed=0)[1], 2)
    assert not np.allclose(first, second)  # members do not share their draws


@pytest.mark.parametrize(("n_draws", "n_members"), [(1, 1), (8, 5), (64, 5), (256, 4)])
def test_members_take_equal_turns(n_draws: int, n_members: int) -> None:
    member, normal = draws(n_draws, n_members, 2, seed=0)
    counts = np.bincount(member, minlength=n_members)
    assert (counts == counts[0]).all()
    assert n_draws <= len(member) == len(normal) < 2 * n_draws + n_members
    assert np.isfinite(normal).all()


def test_one_normal_draw_of_a_member_in_each_interval_of_equal_probability() -> None:
    member, normal = draws(160, 5, 3, seed=1)
    for k in range(5):
        own = normal[member == k]
        assert len(own) == 32
        for column in own.T:
            assert sorted(np.floor(norm.cdf(column) * 32).astype(int)) == list(range(32))
    np.testing.assert_allclose(normal.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(normal.std(0), 1, atol=0.08)
    assert np.abs(np.corrcoef(normal.T) - np.eye(3)).max() < 0.1


def test_functions_of_several_variables_settle_faster_than_by_chance() -> None:
    """The mean of the lowest of four, the saddle that decides among parallel hops."""
    lowest = np.stack([draws(512, 1, 4, seed)[1].min(axis=1) for seed in range(8)])
    expected = -1.0293753730  # of four standard normal variables, H. L. Harter, 1961
    error = np.sqrt(np.mean((lowest.mean(axis=1) - expected) ** 2))
    by_chance = lowest.std() / 512**0.5
    assert error < by_chance / 2
