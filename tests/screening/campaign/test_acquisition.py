import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from ionbridge.screening.campaign.acquisition import (
    ACQUISITIONS,
    choose,
    expected_improvement,
    greedy,
    similarity,
    upper_confidence_bound,
)

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("mean", "std", "threshold"), [(0.0, 1.0, 0.5), (2.0, 0.3, 1.0)])
def test_expected_improvement_is_the_integral_that_defines_it(mean, std, threshold):
    by_hand, _ = quad(
        lambda y: (y - threshold) * norm.pdf(y, mean, std), threshold, mean + 12 * std
    )
    given = expected_improvement(np.array([mean]), np.array([std]), threshold)[0]
    assert given == pytest.approx(by_hand, rel=1e-6)


def test_a_certain_prediction_improves_by_what_it_exceeds():
    gain = expected_improvement(np.array([2.0, 0.0]), np.zeros(2), 1.0)
    assert gain.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("function", [expected_improvement, upper_confidence_bound, greedy])
def test_a_better_mean_is_never_wanted_less(function):
    mean = np.sort(RANDOM.normal(size=30))
    assert (np.diff(function(mean, np.full(30, 0.5), 0.2)) >= 0).all()


@pytest.mark.parametrize("function", [expected_improvement, upper_confidence_bound])
def test_an_uncertain_candidate_is_wanted_more(function):
    std = np.linspace(0.0, 2.0, 30)
    assert (np.diff(function(np.zeros(30), std, 0.5)) >= 0).all()


def test_without_spread_every_exploiting_choice_is_the_ranking():
    mean = RANDOM.normal(size=12)
    points = RANDOM.normal(size=(12, 2))
    best_first = np.argsort(-mean).tolist()
    for name in ("upper_confidence_bound", "greedy"):
        assert choose(mean, np.zeros(12), points, 12, name) == best_first


def test_a_batch_does_not_ask_twins():
    """Five copies of the best candidate and five others, hardly worse: one copy is enough."""
    mean = np.array([1.0] * 5 + [0.95] * 5)
    points = np.concatenate([np.zeros((5, 2)), 10.0 * RANDOM.normal(size=(5, 2))])
    chosen = choose(mean, np.full(10, 0.5), points, 6)
    assert sum(i < 5 for i in chosen) == 1


def test_a_label_of_twice_the_cost_must_promise_twice_the_gain():
    mean, std = np.array([1.0, 1.0]), np.array([0.5, 0.5])
    points = np.array([[0.0], [100.0]])
    gain = expected_improvement(mean, std, 0.0)
    assert gain[0] == gain[1]
    assert choose(mean, std, points, 1, threshold=0.0, cost=np.array([2.0, 1.0])) == [1]
    assert choose(mean, std, points, 1, threshold=0.0, cost=np.array([1.0, 2.0])) == [0]


def test_every_candidate_is_chosen_once_at_most():
    mean, std = RANDOM.normal(size=9), RANDOM.random(9)
    points = RANDOM.normal(size=(9, 3))
    for name in ACQUISITIONS:
        assert sorted(choose(mean, std, points, 50, name)) == list(range(9))


def test_order_of_the_candidates_does_not_matter():
    mean, std = RANDOM.normal(size=20), RANDOM.random(20)
    points = RANDOM.normal(size=(20, 3))
    order = RANDOM.permutation(20)
    there = choose(mean, std, points, 7)
    back = [int(order[i]) for i in choose(mean[order], std[order], points[order], 7)]
    assert there == back


def test_similarity_is_one_on_the_diagonal_and_falls_with_distance():
    points = np.array([[0.0], [1.0], [2.0], [9.0]])
    similar = similarity(points)
    assert np.allclose(np.diag(similar), 1.0)
    assert (np.diff(similar[0]) < 0).all()
    assert np.allclose(similar, similar.T)


def test_nothing_to_choose_from():
    assert choose(np.array([]), np.array([]), np.zeros((0, 2)), 3) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"acquisition": "expected_improvment"}, "expected_improvement"),
        ({"cost": np.zeros(3)}, "cost"),
        ({"std": np.array([1.0, np.nan, 1.0])}, "finite"),
        ({"embedding": np.zeros((2, 2))}, "differ in length"),
    ],
)
def test_what_cannot_be_used_is_refused(change, said):
    arguments = {
        "mean": np.zeros(3),
        "std": np.ones(3),
        "embedding": np.zeros((3, 2)),
        "n_chosen": 1,
    } | change
    with pytest.raises(ValueError, match=said):
        choose(**arguments)
