"""Scores of predictions whose quality is known."""

from pathlib import Path

import numpy as np
import pytest

from ionbridge.models.regressors.baselines import GlobalMean
from ionbridge.screening.errors import InputError
from ionbridge.screening.prediction.evaluation import Scored, evaluate, means_of_others, report
from ionbridge.screening.prediction.files import Input, Predictions
from ionbridge.screening.prediction.hops import HOP_COLUMNS
from ionbridge.structures.features.splits import framework
from tests.screening.tiny import tiny_hops
from tests.tolerances import TIGHT


def scored(predicted: np.ndarray, true: np.ndarray, side: np.ndarray | None = None) -> Scored:
    n = len(true)
    return Scored(
        quantity="x",
        true=true,
        predicted=predicted,
        lower=predicted - 1,
        upper=predicted + 1,
        side=np.zeros(n, int) if side is None else side,
        groups=[str(k // 2) for k in range(n)],
        families=["a" if k < n // 2 else "b" for k in range(n)],
        baselines={"global_mean": np.full(n, true.mean())},
    )


def test_perfect_predictions() -> None:
    true = np.arange(10.0)
    result = report(scored(true.copy(), true))
    assert result["mae"] == {"value": 0, "lower": 0, "upper": 0}
    assert result["r2"]["value"] == 1
    assert result["spearman"]["value"] == pytest.approx(1, abs=TIGHT)
    assert result["interval_coverage_90"]["value"] == 1
    assert result["coverage"] == 1
    assert set(result["per_family"]) == {"a", "b"}
    assert result["baselines"]["global_mean"]["mae"]["value"] == pytest.approx(2.5)
    assert result["baselines"]["global_mean"]["spearman"]["value"] is None  # constant


def test_missing_rows_lower_the_coverage_and_bounds_are_apart() -> None:
    true = np.arange(10.0)
    predicted = true.copy()
    predicted[0] = np.nan
    predicted[9] = 100.0  # a bound: its error must not count
    predicted[8] = 7.0  # an upper bound that is kept
    predicted[7] = 8.0  # a lower bound that is kept
    side = np.zeros(10, int)
    side[[7, 8, 9]] = 1, -1, -1
    result = report(scored(predicted, true, side))
    assert result["n"] == 10
    assert result["n_predicted"] == 9
    assert result["n_bounds"] == 3
    assert result["coverage"] == pytest.approx(0.9)
    assert result["mae"]["value"] == 0
    assert result["bounds_kept"] == pytest.approx(2 / 3)
    assert result["mean_beyond_bounds"] == pytest.approx((100.0 - 9.0) / 3)


def test_means_of_other_groups_by_hand() -> None:
    means = means_of_others(
        np.array([1.0, 3.0, 5.0, 7.0]), ["a", "a", "a", "b"], ["g", "g", "h", "h"]
    )
    np.testing.assert_allclose(means, [5.0, 5.0, 2.0, 2.0])


def test_hops_against_their_own_labels(tmp_path: Path) -> None:
    hops = tiny_hops()
    seen = framework(hops[0])
    n_seen = sum(framework(hop) == seen for hop in hops)
    known, unknown = tmp_path / "known", tmp_path / "unknown"
    model = GlobalMean().fit(hops, np.ones(len(hops)))
    model.save(known, {"name": "mean", "trained_on": {"base_systems": [seen, "Fe2O3"]}})
    model.save(unknown)
    rows = [
        {
            "id": h.id,
            "migration_barrier_eV": h.barrier_eV,
            "migration_barrier_lower_eV": 0.0,
            "migration_barrier_upper_eV": 9.0,
            "status": "ok",
        }
        for h in hops
    ]
    data = Input("hops", list(hops), "")
    result = evaluate(data, Predictions(HOP_COLUMNS, rows, str(known)))
    assert result["quantity"] == "migration_barrier"
    assert result["n_in_training_set"] == n_seen
    assert result["base_systems_in_training_set"] == [seen]
    unsaid = evaluate(data, Predictions(HOP_COLUMNS, rows, str(unknown)))
    assert unsaid["n_in_training_set"] is None
    assert result["mae"]["value"] == 0
    assert result["n"] == len(hops)


def test_no_labels_is_one_line() -> None:
    with pytest.raises(InputError, match="no hop has a barrier_eV"):
        evaluate(Input("hops", [], ""), Predictions(HOP_COLUMNS, [], ""))
    with pytest.raises(InputError, match="crystals carry no labels"):
        evaluate(Input("crystals", [], ""), Predictions((), [], ""))
