import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from ionbridge.models.metrics import (
    bootstrap,
    interval_coverage,
    mae,
    paired_bootstrap,
    r2,
    rmse,
    spearman,
)
from tests.tolerances import EXACT


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    true = np.round(rng.standard_normal(200), 1)  # with ties
    return true, true + 0.5 * rng.standard_normal(200).round(1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (mae, mean_absolute_error),
        (rmse, root_mean_squared_error),
        (r2, r2_score),
        (spearman, lambda t, p: spearmanr(t, p).statistic),
    ],
)
def test_agree_with_scikit_learn_and_scipy(pair, ours, theirs):
    assert ours(*pair) == pytest.approx(theirs(*pair), abs=100 * EXACT)


def test_constants_have_no_rank_and_no_r2():
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert np.isnan(r2([1, 1, 1], [1, 2, 3]))


def test_coverage_counts_closed_intervals():
    assert interval_coverage([0, 1, 2, 3], [0, 0, 3, 2], [0, 2, 4, 2.5]) == 0.5


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(3,\), \(2,\)"):
        mae([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="n > 0"):
        mae([], [])
    with pytest.raises(ValueError, match="2 groups for 3 rows"):
        bootstrap(mae, [1, 2, 3], [1, 2, 3], groups=["a", "b"])


def test_bootstrap_of_a_mean_has_the_width_of_its_standard_error():
    values = np.random.default_rng(1).standard_normal(400)
    interval = bootstrap(lambda v: float(v.mean()), values, n_resamples=2000)
    assert interval.value == pytest.approx(values.mean())
    width = 2 * 1.96 * values.std() / np.sqrt(400)
    assert interval.upper - interval.lower == pytest.approx(width, rel=0.1)


def test_copies_of_a_row_in_one_group_add_no_certainty():
    rng = np.random.default_rng(2)
    values = rng.standard_normal(60)
    alone = bootstrap(lambda v: float(v.mean()), values, n_resamples=1500)
    tenfold, groups = np.repeat(values, 10), np.repeat(np.arange(60), 10).tolist()
    grouped = bootstrap(lambda v: float(v.mean()), tenfold, groups=groups, n_resamples=1500)
    assert grouped.upper - grouped.lower == pytest.approx(alone.upper - alone.lower, rel=0.1)


def test_paired_bootstrap_sees_a_small_steady_difference():
    rng = np.random.default_rng(3)
    true = rng.standard_normal(100)
    a = true + rng.standard_normal(100)
    b = true + 1.05 * (a - true)
    paired = paired_bootstrap(true, a, b)
    assert paired.value == pytest.approx(mae(true, a) - mae(true, b))
    assert paired.upper < 0
    # the two intervals alone overlap
    assert bootstrap(mae, true, a).upper > bootstrap(mae, true, b).lower


def test_bootstrap_is_reproducible(pair):
    assert bootstrap(mae, *pair, seed=4) == bootstrap(mae, *pair, seed=4)
