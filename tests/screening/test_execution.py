"""Every executor gives the rows of a plain loop, and a dying worker costs one row."""

import sys
import time

import pytest

from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.screening.execution import (
    DaskCluster,
    Executor,
    LocalProcesses,
    ThisProcess,
    TimeLimitExceededError,
    executor_from,
    time_limit,
)
from tests.screening import work

SHARDS = {0: [1, 2, 3], 5: [6, 7, 8], 9: [9]}


@pytest.mark.parametrize("executor", [ThisProcess(), LocalProcesses(1), LocalProcesses(3)])
def test_rows_of_every_shard_in_order(executor: Executor) -> None:
    done = dict(executor.map_shards(work.double, SHARDS, work.failed))
    assert done == {k: [{"value": 2 * i} for i in items] for k, items in SHARDS.items()}


@pytest.mark.parametrize(
    ("misbehaving", "cause"), [(work.die_at_seven, "SIGKILL"), (work.hang_at_seven, "time limit")]
)
def test_a_dying_worker_costs_one_row(misbehaving, cause: str) -> None:
    done = dict(LocalProcesses(2).map_shards(misbehaving, SHARDS, work.failed))
    assert done[0] == work.double(SHARDS[0])
    assert done[9] == work.double(SHARDS[9])
    assert [row["value"] for row in done[5]] == [12, None, 16]
    assert "worker died" in done[5][1]["reason"]
    assert cause in done[5][1]["reason"]


def test_a_bug_in_the_work_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        list(LocalProcesses(1).map_shards(work.fail, SHARDS, work.failed))


def test_nothing_to_do() -> None:
    assert list(LocalProcesses(2).map_shards(work.double, {}, work.failed)) == []


def test_time_limit_interrupts_and_clears() -> None:
    started = time.perf_counter()
    with pytest.raises(TimeLimitExceededError, match=r"longer than 0\.1 s"), time_limit(0.1):
        time.sleep(5)
    assert time.perf_counter() - started < 2
    with time_limit(0.05):
        pass
    time.sleep(0.1)  # no alarm is left behind


def test_executor_by_name() -> None:
    assert executor_from("local", 3) == LocalProcesses(3)
    assert executor_from("local", 0) == ThisProcess()
    assert executor_from("dask://host:1234", None) == DaskCluster("host:1234")
    with pytest.raises(InputError, match="unknown executor 'slurm'; known: local, dask://"):
        executor_from("slurm", None)
    with pytest.raises(InputError, match="--workers"):
        executor_from("local", -1)


def test_missing_dask_is_answered_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ionbridge\[dask\]'"):
        _ = DaskCluster("localhost:1").n_workers


def test_dask_gives_the_same_rows() -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        executor = DaskCluster(cluster.scheduler_address.removeprefix("tcp://"))
        assert dict(executor.map_shards(work.double, SHARDS, work.failed)) == {
            k: work.double(items) for k, items in SHARDS.items()
        }
