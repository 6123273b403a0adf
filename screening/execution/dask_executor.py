"""Shards on other machines: a Dask scheduler that runs, or workers that are asked of SLURM or
Kubernetes.

What a worker computes it computes in a process of its own, as `LocalProcesses` does: the same time
limit, the same row for a crystal that kills it, so that a table is the same byte for byte wherever
it was made. A machine that goes costs what it was computing: the scheduler gives those shards to
others. A scheduler that goes ends the run in one line; what was finished is kept.
"""

from __future__ import annotations

import atexit
import contextlib
import pickle
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.screening.execution.executor import FailedRow, ProcessBeside, Shard, Work
from ionbridge.screening.execution.program import code_checksum
from ionbridge.screening.table import Row

SHARDS_A_THREAD = 4
"""So many shards a thread of a cluster are on their way at a time."""
CONNECT_S = "10s"
FIRST_WORKER_S = 3600.0
"""A queue may let the first worker wait so long."""
QUEUES = ("slurm", "kubernetes")
PRELOAD = ("ionbridge.screening.prediction.crystals",)


@dataclass(frozen=True)
class DaskCluster:
    """A running Dask cluster; its workers need the same ionbridge, and model folders at one path.

    Attributes:
        address: ``HOST:PORT`` of the scheduler.
        preload: Modules that a worker imports once for its processes.
    """

    address: str
    preload: tuple[str, ...] = PRELOAD

    @property
    def n_workers(self) -> int:
        """Number of threads of all workers of the cluster."""
        with self._client() as client:
            return sum(client.nthreads().values())

    def map_shards(
        self, work: Work, shards: Iterable[Shard], failed_row: FailedRow
    ) -> Iterator[tuple[int, list[Row]]]:
        """See `Executor`; a machine that goes costs what it was computing."""
        with self._client() as client, _scheduler_there(client, self.address):
            yield from _computed(client, work, iter(shards), failed_row, self.preload)

    def _client(self) -> Any:
        """A client, or the line that says why there is none."""
        try:
            from distributed import Client
        except ImportError as error:
            raise MissingExtraError("dask", f"--executor dask://{self.address}") from error
        try:
            return Client(self.address, timeout=CONNECT_S)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(f"no Dask scheduler answers at {self.address} ({error})") from error


@dataclass(frozen=True)
class QueuedWorkers:
    """Workers that a queue starts, for as long as this process runs.

    What one of them is (cores, memory, image, partition, what runs before it) is said where Dask
    looks for it: ``~/.config/dask/jobqueue.yaml`` and ``kubernetes.yaml``.

    Attributes:
        queue: ``slurm`` or ``kubernetes``.
        n_workers: How many are asked for; the run begins with the first that comes.
        preload: Modules that a worker imports once for its processes.
    """

    queue: str
    n_workers: int
    preload: tuple[str, ...] = PRELOAD

    def map_shards(
        self, work: Work, shards: Iterable[Shard], failed_row: FailedRow
    ) -> Iterator[tuple[int, list[Row]]]:
        """See `Executor`; a machine that goes costs what it was computing."""
        from distributed import Client

        cluster = _asked_for(self.queue, self.n_workers)
        with Client(cluster) as client, _scheduler_there(client, f"the workers of {self.queue}"):
            try:
                client.wait_for_workers(1, timeout=FIRST_WORKER_S)
            except TimeoutError as error:
                raise InputError(
                    f"--executor {self.queue}: not one worker came in {FIRST_WORKER_S / 60:g} min; "
                    "look at the queue"
                ) from error
            yield from _computed(client, work, iter(shards), failed_row, self.preload)


@lru_cache(maxsize=2)
def _asked_for(queue: str, n_workers: int) -> Any:
    """The cluster of a queue, started once in this process and ended with it."""
    try:
        if queue == "slurm":
            from dask_jobqueue import SLURMCluster

            kind: Any = SLURMCluster
        else:
            from dask_kubernetes.operator import KubeCluster

            kind = KubeCluster
    except ImportError as error:
        raise MissingExtraError(queue, f"--executor {queue}") from error
    try:
        cluster = kind()
        cluster.scale(n_workers)
    except Exception as error:  # of the settings, the queue's programs, the connection to it
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"--executor {queue}: no workers can be asked for ({why[:300]}); see docs/machines.md"
        ) from error
    atexit.register(cluster.close)
    return cluster


@contextlib.contextmanager
def _scheduler_there(client: Any, where: str) -> Iterator[None]:
    """One line where the scheduler goes while the body runs; errors of the work stay."""
    from asyncio import CancelledError as Abandoned
    from concurrent.futures import CancelledError

    from distributed.comm import CommClosedError

    try:
        yield
    except (CancelledError, Abandoned, CommClosedError, TimeoutError, OSError) as error:
        if client.status == "running" and not isinstance(error, CancelledError | Abandoned):
            raise
        raise InputError(
            f"the Dask scheduler of {where} was lost; what was finished is kept, the same command "
            "with --resume goes on from here"
        ) from error


def _computed(
    client: Any,
    work: Work,
    shards: Iterator[Shard],
    failed_row: FailedRow,
    preload: tuple[str, ...],
) -> Iterator[tuple[int, list[Row]]]:
    """(index, rows) of shards as they are ready; a few of them are on their way at a time.

    Raises:
        InputError: The workers run another version of the program.
    """
    from distributed import KilledWorker, as_completed

    # goes with every shard: what is kept on workers is lost with the last of them
    asked = (PackedWork(pickle.dumps(work)), failed_row, preload, code_checksum())
    running: dict[Any, Shard] = {}

    def submitted(n: int) -> list[Any]:
        new = []
        for index, items in islice(shards, n):
            future = client.submit(_call, asked, items, pure=False)
            running[future] = (index, items)
            new.append(future)
        return new

    n_threads = max(sum(client.nthreads().values()), 1)
    done = as_completed(submitted(SHARDS_A_THREAD * n_threads))
    for future in done:
        index, items = running.pop(future)
        try:
            rows = future.result()
        except KilledWorker:  # several machines went with it: perhaps for their memory
            rows = []
            for item in items:
                try:
                    rows += client.submit(_call, asked, [item], pure=False).result()
                except KilledWorker:
                    rows.append(failed_row(item, "worker died"))
        yield index, rows
        done.update(submitted(1))


@dataclass
class PackedWork:
    """A function that is unpacked where it is used: the worker itself needs nothing that it needs.

    Attributes:
        packed: The pickled function.
    """

    packed: bytes

    def __call__(self, items: Sequence[Any]) -> list[Row]:
        """What the function gives."""
        if not hasattr(self, "_work"):
            self._work: Work = pickle.loads(self.packed)
        return self._work(items)


_kept = threading.local()


def _call(
    asked: tuple[PackedWork, FailedRow, tuple[str, ...], str], items: Sequence[Any]
) -> list[Row]:
    """Rows of items; runs in a worker of the cluster, computes in a process beside it.

    Raises:
        InputError: The worker runs another version of the program than who asks.
    """
    work, failed_row, preload, checksum = asked
    if code_checksum() != checksum:
        raise InputError(
            "the workers of the cluster run another version of ionbridge than this machine; "
            "install the same on both"
        )
    process: ProcessBeside | None = getattr(_kept, "process", None)
    if process is None or process.work != work:
        if process is not None:
            process.stop()
        _kept.process = process = ProcessBeside(work, preload)
        atexit.register(process.stop)
    return process.rows(items, failed_row)
