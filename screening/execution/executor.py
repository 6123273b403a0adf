"""Where shards of work are computed: this process, local worker processes, or other machines
(`dask_execution`).

All have one method, ``map_shards``: a function from a list of items to a list of rows is
applied to every shard, and the results come back as they are ready. Shards are taken one after the
other as there is somebody to compute them, so that they need not all be there at once. A worker
that dies (killed for memory, crashed in compiled code) costs one row, not the campaign: its shard
is tried once more, then item by item, and the item on which a third worker dies becomes a failed
row. Two deaths may have been another's doing.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

from ionbridge.screening.table import Row
from ionbridge.structures.worker_server import (
    Failure,
    Worker,
    cause_of_death,
    in_worker,
    worker_server,
)

Work = Callable[[Sequence[Any]], list[Row]]
Shard = tuple[int, Sequence[Any]]
"""Index and items."""
FailedRow = Callable[[Any, str], Row]

HARD_LIMIT_FACTOR = 1.5
"""Compiled code that outlives the time limit by this factor ends with its process."""
MOST_DEATHS = 3
"""Workers that die on an item, in its shard or alone, before it becomes a failed row."""


class Executor(Protocol):
    """Applies a function to shards of items."""

    @property
    def n_workers(self) -> int:
        """How many shards are computed at a time."""

    def map_shards(
        self, work: Work, shards: Iterable[Shard], failed_row: FailedRow
    ) -> Iterator[tuple[int, list[Row]]]:
        """Yield (index, rows) of every shard, in the order in which they are ready."""


class TimeLimitExceededError(Exception):
    """A piece of work took longer than its limit."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitExceededError` in the body after so many seconds.

    Python code is interrupted by a signal. Compiled code that does not come back ends the whole
    process somewhat later, which `map_shards` answers with a failed row. Where no signal can be
    had (outside the main thread), the body runs without a limit. Within another limit the outer one
    goes on when the inner body has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    passed = False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal passed
        passed = True
        raise TimeLimitExceededError(f"took longer than {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, interrupt)
    started = time.monotonic()
    outer_s, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    if in_worker():
        faulthandler.dump_traceback_later(seconds * HARD_LIMIT_FACTOR, exit=True)
    try:
        yield
    except Exception as error:
        if passed and not isinstance(error, TimeLimitExceededError):
            # compiled modules swallow the interrupt and fail at what they lack then
            raise TimeLimitExceededError(f"took longer than {seconds:g} s") from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
        if outer_s:
            left_s = outer_s - (time.monotonic() - started)
            signal.setitimer(signal.ITIMER_REAL, max(left_s, 1e-6))
        if in_worker():
            faulthandler.cancel_dump_traceback_later()


@dataclass(frozen=True)
class ThisProcess:
    """No workers: everything runs here, one shard after the other."""

    n_workers: int = 1

    def map_shards(
        self, work: Work, shards: Iterable[Shard], failed_row: FailedRow
    ) -> Iterator[tuple[int, list[Row]]]:
        """See `Executor`; a crash in compiled code is not survived."""
        for index, items in shards:
            yield index, work(items)


@dataclass
class _Task:
    """A run of items of one shard, and how many workers died on it."""

    shard: int
    first: int
    items: Sequence[Any]
    deaths: int = 0


@dataclass
class _Collected:
    """Rows of one shard that arrive in pieces."""

    n_items: int
    rows: dict[int, Row] = field(default_factory=dict)

    def add(self, first: int, rows: list[Row]) -> None:
        self.rows.update(enumerate(rows, start=first))


@dataclass(frozen=True)
class LocalProcesses:
    """Worker processes on this machine, one thread each; they import nothing from where it is run.

    Attributes:
        n_workers: Number of processes; by default one for each available core.
        preload: Modules that the server process imports once, so that a new worker starts at once.
    """

    n_workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    preload: tuple[str, ...] = ("ionbridge.screening.prediction.crystals",)

    def map_shards(
        self, work: Work, shards: Iterable[Shard], failed_row: FailedRow
    ) -> Iterator[tuple[int, list[Row]]]:
        """Work on shards in worker processes, see `Executor`."""
        untouched = iter(shards)
        ready: deque[_Task] = deque()  # tried before, then the shard that is made ahead
        collected: dict[int, _Collected] = {}
        workers: list[Worker] = []
        idle: deque[Worker] = deque()
        busy: dict[Any, tuple[Worker, _Task]] = {}

        def make_ready() -> bool:
            """Whether there is a task; a shard is made only where none is left."""
            if not ready:
                for index, items in untouched:
                    collected[index] = _Collected(len(items))
                    ready.append(_Task(index, 0, items))
                    break
            return bool(ready)

        def started() -> Worker:
            workers.append(worker_server(self.preload).start(work))
            return workers[-1]

        def hand_out() -> None:
            task, worker = ready.popleft(), idle.popleft() if idle else started()
            worker.send(task.items)
            busy[worker.pipe] = (worker, task)

        try:
            while True:
                while (idle or len(workers) < self.n_workers) and make_ready():
                    hand_out()
                if not busy:
                    return
                make_ready()  # while they work
                for pipe in multiprocessing.connection.wait(list(busy)):
                    worker, task = busy.pop(pipe)
                    try:
                        outcome = worker.outcome()
                    except EOFError:
                        cause = cause_of_death(*worker.ended())
                        parts, outcome = _after_death(task, cause, failed_row)
                        ready.extendleft(reversed(parts))
                        workers.remove(worker)
                        worker = started()
                    idle.append(worker)
                    if isinstance(outcome, Failure):
                        outcome.reraise()
                    if ready:  # before the rows are stored
                        hand_out()
                    shard = collected[task.shard]
                    shard.add(task.first, outcome)
                    if len(shard.rows) == shard.n_items:
                        del collected[task.shard]
                        yield task.shard, [shard.rows[i] for i in range(len(shard.rows))]
        finally:
            for worker in workers:
                worker.stop()


def _after_death(task: _Task, cause: str, failed_row: FailedRow) -> tuple[list[_Task], list[Row]]:
    """What to try again after a worker died on a task, and the rows that are lost."""
    deaths = task.deaths + 1
    if len(task.items) > 1 and deaths == MOST_DEATHS - 1:
        return [
            _Task(task.shard, task.first + i, [item], deaths) for i, item in enumerate(task.items)
        ], []
    if deaths < MOST_DEATHS:
        return [_Task(task.shard, task.first, task.items, deaths)], []
    return [], [failed_row(task.items[0], f"worker died ({cause})")]


@dataclass(eq=False)
class ProcessBeside:
    """A process that is kept for a function; one that dies costs one row and is started again.

    Attributes:
        work: The function.
        preload: Modules that its server imports once.
    """

    work: Work
    preload: tuple[str, ...] = ("ionbridge.screening.prediction.crystals",)
    _worker: Worker | None = field(default=None, repr=False)

    def rows(self, items: Sequence[Any], failed_row: FailedRow) -> list[Row]:
        """What the function returns, and failed rows for items that kill it."""
        tasks = deque([_Task(0, 0, items)])
        rows: dict[int, Row] = {}
        while tasks:
            task = tasks.popleft()
            if self._worker is None:
                self._worker = worker_server(self.preload).start(self.work)
            self._worker.send(task.items)
            try:
                outcome = self._worker.outcome()
            except EOFError:
                cause = cause_of_death(*self._worker.ended())
                self._worker = None
                again, outcome = _after_death(task, cause, failed_row)
                tasks.extendleft(reversed(again))
            if isinstance(outcome, Failure):
                outcome.reraise()
            rows.update(enumerate(outcome, start=task.first))
        return [rows[i] for i in range(len(rows))]

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
