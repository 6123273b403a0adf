"""In the domain or out of it, on clouds of points whose answer is plain."""

import numpy as np
import pytest

from ionbridge.models.domain import N_NEIGHBORS, TRAINING_QUANTILE, Domain
from tests.tolerances import STANDARD_ERRORS, TIGHT

ELEMENTS = frozenset({"Li", "O"})


def cloud(rng, n: int, center: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Points whose features have very different units."""
    return (center + scale * rng.standard_normal((n, 6))) * np.array([1, 100, 0.01, 1, 1, 5])


@pytest.fixture
def domain() -> Domain:
    rng = np.random.default_rng(0)
    groups = [f"framework-{k % 20}" for k in range(400)]
    return Domain.fit(cloud(rng, 400), groups, ELEMENTS)


def test_what_is_like_the_training_is_in_and_what_is_far_is_out(domain):
    rng = np.random.default_rng(1)
    inside = np.mean(domain.distance(cloud(rng, 1000)) <= 1.0)
    standard_error = np.sqrt(TRAINING_QUANTILE * (1 - TRAINING_QUANTILE) * (1 / 400 + 1 / 1000))
    assert abs(inside - TRAINING_QUANTILE) < STANDARD_ERRORS * standard_error
    assert (domain.distance(cloud(rng, 100, center=8.0)) > 1.0).all()
    for feature in range(6):  # one strange feature is enough, whatever its unit
        strange = cloud(rng, 20)
        strange[:, feature] += 12 * domain.scale[feature]
        assert (domain.distance(strange) > 1.0).all()


def test_neighbours_of_the_own_group_do_not_count():
    """Tight groups far from each other: a new group as far off as they are is still inside."""
    rng = np.random.default_rng(2)
    centers = 10 * rng.standard_normal((30, 4))
    groups = np.repeat(np.arange(30), 8)
    points = centers[groups] + 1e-3 * rng.standard_normal((240, 4))
    domain = Domain.fit(points, [str(g) for g in groups], ELEMENTS)
    assert domain.threshold > 0.1  # the own group would make it 1e-3
    fresh = 10 * rng.standard_normal((200, 4))
    assert np.mean(domain.distance(fresh) <= 1.0) > 0.8


def test_the_distance_is_the_mean_to_the_nearest(domain):
    point = np.full((1, 6), 0.3)
    scaled = (point - domain.center) / domain.scale
    nearest = np.sort(np.linalg.norm(domain.reference - scaled, axis=1))[:N_NEIGHBORS]
    assert domain.distance(point)[0] == pytest.approx(nearest.mean() / domain.threshold, abs=TIGHT)


def test_one_group_or_one_point_gives_no_ground_to_refuse():
    rng = np.random.default_rng(3)
    one_group = Domain.fit(cloud(rng, 10), ["a"] * 10, ELEMENTS)
    assert (one_group.distance(cloud(rng, 5, center=50.0)) <= 1.0).all()
    one_point = Domain.fit(cloud(rng, 1), ["a"], ELEMENTS)
    assert np.isfinite(one_point.distance(cloud(rng, 3))).all()


def test_equal_embeddings_are_in_and_others_out():
    domain = Domain.fit(np.ones((12, 3)), [str(k) for k in range(12)], ELEMENTS)
    distance = domain.distance(np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]]))
    assert list(distance <= 1.0) == [True, False]
