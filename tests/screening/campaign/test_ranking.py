"""Scores by hand, the Pareto front by brute force, and nothing lost."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from ionbridge.screening.campaign.ranking import (
    as_shown,
    check_objectives,
    pareto_fronts,
    rank,
    scalarise,
    utility,
)
from ionbridge.screening.campaign.settings import Objective
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import COLUMNS, Row, written
from tests.tolerances import EXACT

D = "log10_diffusivity_cm2_s"
FAST = Objective(D, "max", target=-8.0)
LOW = Objective("percolation_barrier_eV", "min", target=0.3)


def row(id: str, log10_D: float | None, std: float = 1.0, barrier: float = 0.4, **values) -> Row:
    filled = {
        "candidate_id": id,
        D: log10_D,
        "log10_diffusivity_std": std,
        "percolation_barrier_eV": barrier,
        "percolation_barrier_std_eV": 0.1,
        "percolation_dimensionality": 1,
        "fast_direction": "[0 1 0]",
        "in_domain": True,
        "status": "ok",
        **values,
    }
    return {**dict.fromkeys(COLUMNS), **filled}


def ids(rows: list[Row]) -> list[str]:
    return [r["candidate_id"] for r in rows]


def test_utilities_by_hand() -> None:
    one = row("a", -7.0, std=2.0)
    assert utility(one, FAST, "mean") == -7.0
    assert utility(one, FAST, "lcb") == -9.0
    assert utility(one, FAST, "probability") == pytest.approx(norm.cdf(0.5), abs=EXACT)
    assert utility(one, LOW, "mean") == -0.4
    assert utility(one, LOW, "lcb") == -0.5
    assert utility(one, LOW, "probability") == pytest.approx(norm.cdf(-1.0), abs=EXACT)


def test_a_value_without_spread_reaches_its_target_or_not() -> None:
    target = Objective("percolation_dimensionality", "max", target=0.5)
    assert utility(row("a", -7.0), target, "probability") == 1.0


def test_uncertainty_turns_the_order() -> None:
    rows = [row("sure", -7.0, std=0.5), row("bold", -6.5, std=3.0)]
    assert ids(rank(rows, [FAST], "mean")) == ["bold", "sure"]
    assert ids(rank(rows, [FAST], "lcb")) == ["sure", "bold"]
    assert ids(rank(rows, [FAST], "probability")) == ["sure", "bold"]


def test_rows_that_rounding_parts_keep_their_order() -> None:
    for noise in (1e-12, 2e-7):  # of another order of sums, and of another batch in a network
        rows = [row("first", -7.0), row("second", -7.0 + noise), row("best", -6.9)]
        for rank_by in ("mean", "lcb", "probability"):
            ranked = rank(rows, [FAST], rank_by)
            assert ids(ranked) == ["best", "first", "second"]
            assert [r["pareto_front"] for r in ranked] == [1, 2, 2]


def test_numbers_are_taken_as_a_table_shows_them() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=200) * 10.0 ** generator.integers(-12, 12, 200)
    values = np.array([0.0, 10.0, -9.9999999, *values])
    assert [written(v) for v in as_shown(values)] == [written(v) for v in values]
    np.testing.assert_allclose(as_shown(values), [float(written(v)) for v in values], rtol=EXACT)
    hopeless = [row("worse", -25.0), row("bad", -20.0)]
    assert ids(rank(hopeless, [FAST], "probability")) == ["bad", "worse"]


def test_every_row_comes_out_and_only_usable_ones_are_ranked() -> None:
    rows = [
        row("failed", None, status="failed", reason="x"),
        row("slow", -12.0),
        row("filtered", None, status="filtered", reason="y"),
        row("fast", -6.0),
    ]
    ranked = rank(rows, [FAST], "mean")
    assert ids(ranked) == ["fast", "slow", "failed", "filtered"]
    assert [r["rank"] for r in ranked] == [1, 2, None, None]
    assert [r["score"] for r in ranked] == [-6.0, -12.0, None, None]
    assert ranked[0]["why"]
    assert ranked[2]["why"] is None


def test_ties_keep_the_order_of_the_candidates() -> None:
    rows = [row(str(k), -7.0) for k in range(5)]
    assert ids(rank(rows, [FAST], "mean")) == [str(k) for k in range(5)]


def test_pareto_fronts_are_those_of_peeling() -> None:
    generator = np.random.default_rng(3)
    values = generator.integers(0, 5, (60, 2)).astype(float)

    def dominates(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a >= b).all() and (a > b).any())

    left, expected, front = set(range(60)), np.zeros(60, int), 0
    while left:
        front += 1
        best = {i for i in left if not any(dominates(values[j], values[i]) for j in left)}
        for i in best:
            expected[i] = front
        left -= best
    np.testing.assert_array_equal(pareto_fronts(values), expected)


@pytest.mark.parametrize("rank_by", ["mean", "lcb", "probability"])
def test_a_dominated_row_never_scores_higher(rank_by: str) -> None:
    generator = np.random.default_rng(0)
    rows = [
        row(str(k), generator.normal(-8, 2), barrier=generator.uniform(0.1, 0.6)) for k in range(40)
    ]
    utilities = np.array([[utility(r, o, rank_by) for o in (FAST, LOW)] for r in rows])
    scores = scalarise(utilities, rank_by)
    for a, score_a in zip(utilities, scores, strict=True):
        for b, score_b in zip(utilities, scores, strict=True):
            if (a >= b).all():
                assert score_a >= score_b - EXACT


def test_scalarised_scores_by_hand() -> None:
    utilities = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 2.0]])
    # fraction of the other rows that are worse: (1, 0), (0.5, 0.75), (0, 0.75)
    np.testing.assert_allclose(scalarise(utilities, "mean"), [0.5, 0.625, 0.375], atol=EXACT)
    np.testing.assert_allclose(scalarise(utilities, "probability"), [3, 4, 2], atol=EXACT)


def test_the_reason_names_value_spread_and_doubt() -> None:
    rows = [row("a", -6.0, std=0.8, in_domain=False), row("b", -9.0)]
    why = rank(rows, [FAST], "mean")[0]["why"]
    assert "-6.00 ± 0.80" in why
    assert "+1.5 from the pool's median" in why
    assert "[0 1 0]" in why
    assert "outside the domain" in why


def test_an_unknown_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'log10_diffusivity_cm2_s'"):
        check_objectives([Objective("log10_diffusivity")])


@pytest.mark.parametrize("n_columns", [1, 2, 3])
def test_fronts_are_those_of_their_definition(n_columns: int) -> None:
    rng = np.random.default_rng(n_columns)
    for _ in range(40):
        values = rng.integers(0, 5, (rng.integers(1, 25), n_columns)).astype(float)
        above = (values[:, None] >= values).all(2) & (values[:, None] > values).any(2)
        wanted, left, front = np.zeros(len(values), dtype=int), np.ones(len(values), dtype=bool), 1
        while left.any():
            best = left & ~above[left].any(axis=0)
            wanted[best], left, front = front, left & ~best, front + 1
        assert pareto_fronts(values).tolist() == wanted.tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_number_is_not_ranked(value: float | None) -> None:
    rows = [{"status": "ok", "candidate_id": "a", "log10_diffusivity_cm2_s": value}]
    (found,) = rank(rows, [Objective("log10_diffusivity_cm2_s")], "mean")
    assert found.get("rank") is None
