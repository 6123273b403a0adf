"""Who learns from whom, and how small a difference can be seen."""

import numpy as np
import pytest

from benchmarks.transfer.few_shot_runs import Answer
from benchmarks.transfer.olivine_transfer import (
    COMPARED,
    SHOTS,
    chosen,
    detectable,
    floor,
    hop_errors,
    olivine_tasks,
    standard_error,
    summary,
)
from ionbridge.structures.sources.neb_barriers import IMPLAUSIBLE_ROWS
from tests.benchmarks.transfer.few_shot_tables import METALS, hop, table

BAD = next(iter(IMPLAUSIBLE_ROWS))


@pytest.fixture
def known():
    """Ten olivine frameworks, one hop of the wrong geometry, and two other families."""
    hops = [hop(f"olivine-{metal}", metal, "olivine") for metal in METALS[:10]]
    hops += [hop("olivine-bad", METALS[0], "olivine", sys_name=BAD)]
    hops += [hop(f"layered-{k}", METALS[10], "layered") for k in range(4)]
    hops += [hop("layered-shared", METALS[0], "layered"), hop("spinel-0", METALS[11], "spinel")]
    rng = np.random.default_rng(0)
    return table(hops, rng.uniform(0.2, 0.4, len(hops)))


@pytest.mark.parametrize(("source", "n_source"), [("layered", 4), ("all", 5)])
def test_no_framework_and_no_wrong_geometry_on_either_side(known, source, n_source):
    found = list(olivine_tasks(known, source, 3))
    assert len(found) == 1 + 3 * (len(SHOTS) - 1)
    for task in found:
        assert len(task.others) == n_source
        assert len(task.shots) == task.k
        assert len(task.test) == 10 - task.k
        taught = {known.hops[i].framework for i in task.train}
        assert not taught & {known.hops[i].framework for i in task.test}
        used = {known.hops[i].id for i in (*task.train, *task.test)}
        assert not used & {"olivine-bad", "layered-shared"}


def test_standard_error_of_independent_rows_is_the_usual_one():
    values = np.random.default_rng(1).normal(size=50)
    alone = [str(i) for i in range(50)]
    assert standard_error(values, alone) == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    # rows that repeat each other say nothing new
    twice = [str(i // 2) for i in range(100)]
    assert standard_error(np.repeat(values, 2), twice) == pytest.approx(
        standard_error(values, alone)
    )


def test_the_detectable_difference_is_found_four_times_in_five():
    rng = np.random.default_rng(2)
    error = 0.02
    drawn = detectable(error) + error * rng.normal(size=200_000)
    assert np.mean(np.abs(drawn) > 1.959964 * error) == pytest.approx(0.8, abs=0.005)


def test_the_floor_is_the_median_of_other_frameworks():
    hops = [hop(f"olivine-{metal}", metal, "olivine") for metal in METALS[:3]]
    found = floor(table(hops, [0.1, 0.3, 0.5]))
    assert found["n_frameworks"] == found["n_olivines"] == 3
    assert found["mae_of_median_of_other_frameworks_eV"] == pytest.approx(0.6 / 3, abs=1e-3)
    assert found["label_std_eV"] == 0.2


def test_differences_are_paired_by_hop(known):
    todo = list(olivine_tasks(known, "all", 2))
    true = dict(zip((h.id for h in known.hops), known.barrier_eV, strict=True))

    def off_by(error):
        ids = {task.key: [known.hops[i].id for i in task.test] for task in todo}
        return {
            key: Answer({i: float(true[i] + error * len(i)) for i in own}, {}, {})
            for key, own in ids.items()
        }

    found = {"trees": off_by(0.02), "learned": off_by(0.01), "trees_scratch": off_by(0.03)}
    for hop_id, error in hop_errors(known, todo, found["learned"], 4).items():
        assert error == pytest.approx(0.01 * len(hop_id))
    result = summary(known, todo, found)
    assert "trees_scratch" not in result["k=0"]  # nothing to learn from
    gap = result["k=4"]["learned"]["minus trees"]["difference_eV"]
    assert gap[0] == pytest.approx(-result["k=4"]["learned"]["mae_eV"][0], abs=2e-3)
    assert gap[2] < 0.0


def test_what_does_well_on_the_labels_is_taken(known):
    todo = [task for task in olivine_tasks(known, "all", 2) if task.k == 4]
    true = dict(zip((h.id for h in known.hops), known.barrier_eV, strict=True))

    def off_by(error, part):
        return {
            task.key: Answer(
                {(i := known.hops[k].id): float(true[i] + error) for k in getattr(task, part)},
                {},
                {},
            )
            for task in todo
        }

    for good in ("family_mean", "learned"):
        on_labels = {n: off_by(0.01 if n == good else 0.3, "shots") for n in COMPARED}
        test = {n: off_by(0.1 * k, "test") for k, n in enumerate(COMPARED)}
        found = chosen(known, todo, test, on_labels)
        assert found == {task.key: test[good][task.key] for task in todo}
