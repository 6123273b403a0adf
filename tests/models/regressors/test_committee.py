"""Committee: bounds pull on one side only, what is kept is what was fitted."""

import numpy as np
import pytest

from ionbridge.models.cross_validation import grouped_folds, out_of_fold
from ionbridge.models.regressors.boosting import Boosting
from ionbridge.models.regressors.committee import Committee, CommitteeSettings


@pytest.mark.parametrize(
    ("bound", "side", "low", "high"),
    [
        (1.0, 1, 4.9, 5.1),  # "above 1" says nothing to what is 5
        (9.0, 1, 5.5, 9.0),  # "above 9" pulls up
        (9.0, -1, 4.9, 5.1),  # "below 9" says nothing
        (1.0, -1, 1.0, 4.5),  # "below 1" pulls down
    ],
)
def test_a_bound_pulls_only_from_its_wrong_side(
    bound: float, side: int, low: float, high: float
) -> None:
    features = np.zeros((40, 1))
    is_bound = np.arange(40) % 2 == 0
    target = np.where(is_bound, bound, 5.0)
    fitted = Boosting.fit(features, target, np.where(is_bound, side, 0), 100, 2, 0)
    assert low <= fitted.predict(features[:1])[0] <= high


def test_a_step_is_learnt_by_every_member() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (80, 3))
    y = np.where(x[:, 0] > 0, 3.0, 1.0)
    settings = CommitteeSettings(n_trees=20, n_rounds=60, max_features=1.0)
    committee = Committee.fit(x[:60], y[:60], np.zeros(60, dtype=int), settings, 0)
    for member in committee.members(x[60:]):
        assert np.abs(member - y[60:]).mean() < 0.35
    mean, spread = committee.predict(x[60:])
    np.testing.assert_allclose(mean, committee.members(x[60:]).mean(axis=0))
    near = np.abs(x[60:, 0]) < 0.3
    assert spread[near].mean() > spread[~near].mean()  # less sure where the step is
    again = Committee.from_arrays(committee.arrays())
    np.testing.assert_allclose(again.predict(x[60:]), [mean, spread], rtol=1e-6)


def test_no_row_is_predicted_from_its_own_group() -> None:
    records = list("aabbccdd")
    seen: list[set[str]] = []

    def predict(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        known = {records[i] for i in train}
        assert not known & {records[i] for i in test}
        seen.append({records[i] for i in test})
        return np.ones(len(test))

    assert out_of_fold(predict, grouped_folds(records, str, 9), np.zeros(8)).all()
    assert set().union(*seen) == set("abcd")
    assert not grouped_folds(["a", "a"], str, 5)  # one group
