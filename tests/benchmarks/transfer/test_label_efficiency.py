"""Ratios of labels needed, on curves whose ratios are known."""

import numpy as np
import pytest

from benchmarks.transfer.label_efficiency import curve, needed, ratios

SHOTS = (0, 1, 2, 4, 8, 16)


def straight(factor: float) -> np.ndarray:
    """Errors that fall straight in log2(1 + factor k), where reading between points is exact."""
    return 10.0 - np.log2(1.0 + factor * np.array(SHOTS, dtype=float))


def ratio(strategy, reference, k=4, first=0):
    return ratios(strategy, reference, SHOTS, (k,), first)[f"k={k}"]


def draws(errors: np.ndarray, n_families: int = 3) -> dict[str, np.ndarray]:
    return {f"family {i}": np.tile(errors, (2, 1)) for i in range(n_families)}


@pytest.mark.parametrize("factor", [1.0, 2.0, 3.5])
def test_a_strategy_to_which_each_label_is_worth_several_saves_as_many(factor):
    found = ratio(draws(straight(factor)), draws(straight(1.0)))
    assert found["value"] == pytest.approx(factor, abs=0.01)
    assert found["interval_95"] == [found["value"], found["value"]]
    assert found["share_beyond"] == 0.0


def test_what_the_reference_never_reaches_is_a_lower_bound():
    found = ratio(draws(straight(5.0)), draws(straight(1.0)))
    assert found["value"] is None
    assert found["at_most_measurable"] == 4.0
    assert found["share_beyond"] == found["share_of_4_or_more"] == 1.0
    unseen = ratio(draws(straight(5.0)), draws(straight(1.0)), k=8)
    assert unseen["share_of_4_or_more"] is None


def test_a_strategy_worse_than_the_reference_without_labels_saves_nothing():
    assert needed(straight(1.0), SHOTS, 11.0) == 0.0


def test_a_reference_that_gets_worse_with_labels_keeps_its_best():
    reference = np.array([5.0, 4.0, 6.0, 3.0, 7.0, 2.0])
    assert needed(reference, SHOTS, 4.0) == pytest.approx(1.0)
    assert needed(reference, SHOTS, 2.0) == pytest.approx(16.0)


def test_from_scratch_nothing_is_known_without_labels():
    """A reference that borrows its error at zero labels must not be read there."""
    reference = np.where(np.array(SHOTS) == 0, 0.0, straight(1.0))
    found = ratio(draws(straight(2.0)), draws(reference), first=1)
    assert found["value"] == pytest.approx(2.0, abs=0.01)


def test_families_count_alike_however_many_draws_they_have():
    uneven = {"a": np.full((9, 6), 1.0), "b": np.full((1, 6), 3.0)}
    assert curve(uneven) == pytest.approx(2.0)


def test_the_interval_is_wide_where_families_disagree():
    strategy = {f"family {i}": np.tile(straight(f), (2, 1)) for i, f in enumerate((0.5, 1.0, 4.0))}
    low, high = ratio(strategy, draws(straight(1.0)))["interval_95"]
    assert low < 1.0 < high
