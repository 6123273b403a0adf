"""A real scheduler and real workers here: the rows of local processes, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("distributed")

from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.screening.execution import dask_executor as dask_execution
from ionbridge.screening.execution.dask_executor import DaskCluster, QueuedWorkers
from ionbridge.screening.execution.executor import LocalProcesses
from tests.integration.test_campaign import write_campaign
from tests.screening.execution import work

ROOT = Path(__file__).parents[3]
SHARDS = {0: [1, 2, 3], 5: [6, 7, 8], 9: [9]}
MANY = {k: [10 * k, 10 * k + 1] for k in range(24)}


@dataclass
class Cluster:
    """A scheduler and its workers, each a process."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
        }
        file = ["--scheduler-file", str(self.folder / "scheduler.json"), "--no-dashboard"]
        with (self.folder / f"{kind}{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *file, *options],
                env=environment, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def begin(self, n_workers: int) -> DaskCluster:
        self.start("scheduler", "--host", "127.0.0.1", "--port", "0")
        file, ends = self.folder / "scheduler.json", time.monotonic() + 120
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < ends
            time.sleep(0.1)
        for _ in range(n_workers):
            self.start(
                "worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder)
            )
        address = json.loads(file.read_text())["address"].removeprefix("tcp://")
        cluster = DaskCluster(address, preload=())
        while cluster.n_workers < n_workers:
            assert time.monotonic() < ends
            time.sleep(0.2)
        return cluster

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    own = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        yield own.begin(2)
    finally:
        own.end()


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of which a test kills parts."""
    own = Cluster(tmp_path)
    yield own
    own.end()


@pytest.mark.parametrize(
    "function",
    [work.double, work.die_at_seven, work.hang_at_seven, work.crash_at_seven, work.leave_at_seven],
)
def test_the_rows_are_those_of_local_processes(cluster: DaskCluster, function) -> None:
    """Of items that kill or hang, too: with the same reason, and the cluster none the wiser."""
    there = dict(cluster.map_shards(function, SHARDS.items(), work.failed))
    assert there == dict(LocalProcesses(2, ()).map_shards(function, SHARDS.items(), work.failed))
    assert cluster.n_workers == 2


@pytest.mark.parametrize(
    ("faulty", "kind", "text"),
    [(work.fail, KeyError, "a bug"), (work.refuse, InputError, "folder is gone")],
)
def test_an_error_of_the_work_reaches_the_caller(cluster: DaskCluster, faulty, kind, text) -> None:
    with pytest.raises(kind, match=text):
        list(cluster.map_shards(faulty, SHARDS.items(), work.failed))


def test_nothing_to_do(cluster: DaskCluster) -> None:
    assert list(cluster.map_shards(work.double, [], work.failed)) == []


def test_workers_of_another_version_are_refused(
    cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_execution, "code_checksum", lambda: "other")
    with pytest.raises(InputError, match="another version of ionbridge"):
        list(cluster.map_shards(work.double, SHARDS.items(), work.failed))


def test_a_worker_that_is_killed_costs_what_it_was_doing(doomed: Cluster) -> None:
    cluster = doomed.begin(2)
    done = {}
    for index, rows in cluster.map_shards(work.slowly_double, MANY.items(), work.failed):
        if not done:
            doomed.processes[1].send_signal(signal.SIGKILL)
        done[index] = rows
    assert done == {k: work.double(items) for k, items in MANY.items()}


def test_a_scheduler_that_is_killed_is_one_line(doomed: Cluster) -> None:
    cluster = doomed.begin(1)
    rows = cluster.map_shards(work.slowly_double, MANY.items(), work.failed)
    next(rows)
    doomed.processes[0].send_signal(signal.SIGKILL)
    with pytest.raises(InputError, match=r"scheduler of .* was lost; .* --resume goes on"):
        list(rows)


def test_no_scheduler_is_one_line() -> None:
    with pytest.raises(InputError, match=r"no Dask scheduler answers at 127\.0\.0\.1:9"):
        _ = DaskCluster("127.0.0.1:9").n_workers


@pytest.mark.slow
def test_a_campaign_is_the_same_byte_for_byte(
    cluster: DaskCluster, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = str(write_campaign(tmp_path, tiny_model))
    where = f"dask://{cluster.address}"
    for out, executor in (("here", ["--workers", "1"]), ("there", ["--executor", where])):
        command = ["screen", campaign, "--out", str(tmp_path / out), "--limit", "6", *executor]
        assert main(command) == 0
    here, there = ((tmp_path / out / "ranked.csv").read_bytes() for out in ("here", "there"))
    assert here == there


SBATCH = """#!/bin/sh
for script; do :; done
sh "$script" > "$0.log.$$" 2>&1 &
echo $! >> "$0.pids"
echo "Submitted batch job $!"
"""


@pytest.mark.slow
def test_workers_asked_of_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of SLURM are played by two scripts that run the job here and end it."""
    pytest.importorskip("dask_jobqueue")
    import dask

    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", '#!/bin/sh\nkill "$@"\n')):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(dask_execution, "FIRST_WORKER_S", 60)
    settings = {"cores": 1, "processes": 1, "memory": "1GB", "log-directory": str(tmp_path)}
    with dask.config.set({f"jobqueue.slurm.{k}": v for k, v in settings.items()}):
        queued = QueuedWorkers("slurm", 1, preload=())
        try:
            done = dict(queued.map_shards(work.die_at_seven, SHARDS.items(), work.failed))
        finally:
            dask_execution._asked_for("slurm", 1).close()
            dask_execution._asked_for.cache_clear()
    local = LocalProcesses(1, ()).map_shards(work.die_at_seven, SHARDS.items(), work.failed)
    assert done == dict(local)


def test_what_a_queue_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_kubernetes.operator", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ionbridge\[kubernetes\]'"):
        list(QueuedWorkers("kubernetes", 2).map_shards(work.double, SHARDS.items(), work.failed))
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(InputError, match=r"--executor slurm: no workers .* see docs/machines\.md"):
        list(QueuedWorkers("slurm", 2).map_shards(work.double, SHARDS.items(), work.failed))
