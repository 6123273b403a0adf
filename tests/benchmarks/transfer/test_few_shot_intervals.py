"""Intervals of residuals whose law is known hold as often as they say."""

import numpy as np
import pytest

from benchmarks.transfer.few_shot_intervals import KEPT_TOGETHER, calibration_of, coverage
from benchmarks.transfer.few_shot_runs import HELD_OUT, TEST, complete
from benchmarks.transfer.few_shot_strategies import BY_SOURCE, LOG, STRATEGIES
from benchmarks.transfer.few_shot_tasks import Task, tasks
from ionbridge.models.prediction import Prediction
from tests.benchmarks.transfer.few_shot_tables import METALS, hop, table

TRUE_T = 0.3
FAMILIES = ("garnet", "layered", "olivine", "spinel", "borate", "tavorite")


def one_of(stated: float):
    """A strategy that is right up to noise of 0.2, and says that its noise is another one."""

    def strategy(known, task: Task, source=None) -> Prediction:
        mean = LOG.inverse(np.full(len(task.test), TRUE_T))
        half = LOG.inverse_std(mean, np.full(len(mean), stated / np.sqrt(2.0)))
        return Prediction(mean, half, half)

    return strategy


@pytest.fixture
def known():
    hops = [
        hop(f"{family}-{metal}{anion}-{k}", metal, family, anion)
        for i, family in enumerate(FAMILIES)
        for metal in METALS[i :: len(FAMILIES)]
        for anion in ("O", "S", "Se")
        for k in range(20)
    ]
    rng = np.random.default_rng(0)
    return table(hops, LOG.inverse(TRUE_T + 0.2 * rng.normal(size=len(hops))))


@pytest.mark.parametrize("kept", KEPT_TOGETHER)
def test_calibration_finds_the_factor_by_which_a_spread_is_too_small(known, monkeypatch, kept):
    monkeypatch.setitem(BY_SOURCE, "bold", one_of(0.05))
    rows = np.arange(len(known.hops))
    found = calibration_of(known, "bold", "olivine", rows, kept)
    assert found.inflation == pytest.approx(4.0, rel=0.1)


def test_coverage_is_that_of_the_calibrated_intervals(known, monkeypatch, tmp_path):
    for name in ("process", "learned"):
        for strategies in (STRATEGIES, BY_SOURCE):
            monkeypatch.setitem(strategies, name, one_of(0.05 if name == "learned" else 0.4))
    todo = [task for task in tasks(known.hops, 1) if task.k in (0, 4)]
    assert {task.k for task in todo} == {0, 4}
    for name in ("process", "learned"):
        complete(name, TEST, known, todo, tmp_path)
        complete(name, HELD_OUT, known, [t for t in todo if t.k == 4], tmp_path)
    result = coverage(known, todo, tmp_path)
    for entry in result.values():
        for k, n_ways in (("k=0", 2), ("k=4", 4)):
            assert len(entry[k]) == n_ways
            for way in entry[k].values():
                assert way["coverage"][0] == pytest.approx(0.9, abs=0.06)
    # a spread that is right after calibration has one width, whatever was stated
    widths = [result[n]["k=0"]["source, families left out"]["median_width_eV"] for n in result]
    assert widths[0] == pytest.approx(widths[1], rel=0.05)
