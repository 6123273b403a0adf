"""Every executor gives the rows of a plain loop, and a dying worker costs one row."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.screening.execution.dask_executor import DaskCluster, QueuedWorkers
from ionbridge.screening.execution.executor import (
    Executor,
    LocalProcesses,
    ThisProcess,
    TimeLimitExceededError,
    time_limit,
)
from ionbridge.screening.execution.executors import executor_from
from tests.screening.execution import work

SHARDS = {0: [1, 2, 3], 5: [6, 7, 8], 9: [9]}


@pytest.mark.parametrize("executor", [ThisProcess(), LocalProcesses(1), LocalProcesses(3)])
def test_rows_of_every_shard_in_order(executor: Executor) -> None:
    done = dict(executor.map_shards(work.double, SHARDS.items(), work.failed))
    assert done == {k: [{"value": 2 * i} for i in items] for k, items in SHARDS.items()}


@pytest.mark.parametrize(
    ("misbehaving", "cause"),
    [
        (work.die_at_seven, "SIGKILL, as when the machine runs out of memory"),
        (work.hang_at_seven, "the time limit passed in compiled code in work.py, line"),
        (work.abort_at_seven, "SIGABRT"),
        (work.crash_at_seven, "crashed, SIGSEGV in"),
        (work.leave_at_seven, "exit status 3: licence server not reached"),
    ],
)
def test_a_dying_worker_costs_one_row(misbehaving, cause: str) -> None:
    done = dict(LocalProcesses(2).map_shards(misbehaving, SHARDS.items(), work.failed))
    assert done[0] == work.double(SHARDS[0])
    assert done[9] == work.double(SHARDS[9])
    assert [row["value"] for row in done[5]] == [12, None, 16]
    assert "worker died" in done[5][1]["reason"]
    assert cause in done[5][1]["reason"]


@pytest.mark.parametrize("items", [[9], [8, 9]], ids=["alone", "in a shard"])
def test_two_workers_killed_by_others_cost_nothing_and_a_third_the_row(
    tmp_path: Path, items: list[int]
) -> None:
    for n in (2, 3):
        (deaths := tmp_path / str(n)).mkdir()
        dying = work.DieInTurn(deaths, n)
        ((_, rows),) = LocalProcesses(1).map_shards(dying, [(0, items)], work.failed)
        assert rows[:-1] == work.double(items[:-1])
        assert rows[-1]["value"] == (18 if n == 2 else None)
        assert len(list(deaths.iterdir())) == n


@pytest.mark.parametrize(
    ("faulty", "kind", "text"),
    [
        (work.fail, KeyError, "a bug"),
        (work.refuse, InputError, "folder is gone"),
        (work.unsendable, RuntimeError, "LocalError: of a kind that cannot be sent"),
    ],
)
def test_an_error_of_the_work_reaches_the_caller(faulty, kind, text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        list(LocalProcesses(1).map_shards(faulty, SHARDS.items(), work.failed))
    assert "work.py" in str(caught.value.__cause__)


def test_work_that_cannot_be_loaded_reaches_the_caller() -> None:
    def of_this_module_alone(items):
        return items

    with pytest.raises((AttributeError, pickle.PicklingError), match="of_this_module_alone"):
        list(LocalProcesses(1).map_shards(of_this_module_alone, SHARDS.items(), work.failed))


def test_a_worker_sees_the_folder_and_the_environment_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dict(LocalProcesses(1).map_shards(work.double, SHARDS.items(), work.failed))
    monkeypatch.setenv("MARK", "x")
    monkeypatch.chdir(tmp_path)
    ((_, (row,)),) = LocalProcesses(1).map_shards(work.surroundings, [(0, [1])], work.failed)
    assert row == {"threads": "1", "mark": "x", "at": str(tmp_path)}


SCRIPT = """
from ionbridge.screening.execution.executor import LocalProcesses
from tests.screening.execution import work
print("main runs", flush=True)
for index, rows in LocalProcesses(2, ()).map_shards(work.double, [(0, [1]), (1, [2])], work.failed):
    print(index, rows[0]["value"], flush=True)
"""


@pytest.mark.parametrize("how", ["script", "module", "from a pipe"])
def test_scripts_need_no_main_guard_and_their_folder_is_never_imported(
    tmp_path: Path, how: str
) -> None:
    """Only the workers are of interest here: the caller's own imports are kept out of the trap."""
    (tmp_path / "lines.py").write_text("import sys; sys.path.append(sys.path.pop(0))\n" + SCRIPT)
    for name in ("models", "structures", "screening", "numpy", "pickle", "socket", "torch"):
        (tmp_path / f"{name}.py").write_text(f"print('{name} of the folder'); raise SystemExit(7)")
    root = str(Path(__file__).parents[3])
    command = {
        "script": [sys.executable, "lines.py"],
        "module": [sys.executable, "-m", "lines"],
        "from a pipe": [sys.executable, "-"],
    }[how]
    found = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        input=(tmp_path / "lines.py").read_text() if how == "from a pipe" else None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == "main runs"
    assert sorted(lines[1:]) == ["0 2", "1 4"]


def test_nothing_to_do() -> None:
    assert list(LocalProcesses(2).map_shards(work.double, [], work.failed)) == []


def test_time_limit_interrupts_and_clears() -> None:
    started = time.perf_counter()
    with pytest.raises(TimeLimitExceededError, match=r"longer than 0\.1 s"), time_limit(0.1):
        time.sleep(5)
    assert time.perf_counter() - started < 2
    with time_limit(0.05):
        pass
    time.sleep(0.1)  # no alarm is left behind


def test_an_interrupt_that_compiled_code_turns_into_another_error_is_the_limit() -> None:
    def compiled() -> None:
        try:
            time.sleep(5)
        except TimeLimitExceededError:
            raise AttributeError("'NoneType' object has no attribute 'flatten'") from None

    with pytest.raises(TimeLimitExceededError, match=r"longer than 0\.05 s"), time_limit(0.05):
        compiled()
    with pytest.raises(AttributeError), time_limit(5):
        raise AttributeError("a bug")


def test_an_outer_limit_goes_on_after_an_inner_one() -> None:
    def with_an_inner_one() -> None:
        with time_limit(5):
            pass
        time.sleep(10)

    started = time.perf_counter()
    with pytest.raises(TimeLimitExceededError, match=r"longer than 0\.2 s"), time_limit(0.2):
        with_an_inner_one()
    assert time.perf_counter() - started < 5
    time.sleep(0.3)  # no alarm is left behind


def test_executor_by_name() -> None:
    assert executor_from("local", 3) == LocalProcesses(3)
    assert executor_from("local", 0) == ThisProcess()
    assert executor_from("dask://host:1234", None) == DaskCluster("host:1234")
    assert executor_from("slurm", 9) == QueuedWorkers("slurm", 9)
    with pytest.raises(InputError, match="--executor kubernetes: say how many workers"):
        executor_from("kubernetes", None)
    with pytest.raises(InputError, match="unknown executor 'pbs'; known: local, dask://"):
        executor_from("pbs", None)
    with pytest.raises(InputError, match="--workers"):
        executor_from("local", -1)


def test_missing_dask_is_answered_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ionbridge\[dask\]'"):
        _ = DaskCluster("localhost:1").n_workers
