"""Work that misbehaves on purpose, for worker processes."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import time_limit
from ionbridge.screening.table import Row


def double(items: Sequence[int]) -> list[Row]:
    return [{"value": 2 * item} for item in items]


def slowly_double(items: Sequence[int]) -> list[Row]:
    time.sleep(0.3)
    return double(items)


def die_at_seven(items: Sequence[int]) -> list[Row]:
    if 7 in items:
        os.kill(os.getpid(), signal.SIGKILL)
    return double(items)


def hang_at_seven(items: Sequence[int]) -> list[Row]:
    """Item 7 does not come back, and no Python signal handler gets a turn: as compiled code."""
    for item in items:
        with time_limit(0.4):
            if item == 7:
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                time.sleep(60)
    return double(items)


def abort_at_seven(items: Sequence[int]) -> list[Row]:
    """As C++ code that runs out of memory."""
    if 7 in items:
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()
    return double(items)


def crash_at_seven(items: Sequence[int]) -> list[Row]:
    if 7 in items:
        ctypes.string_at(0)
    return double(items)


def leave_at_seven(items: Sequence[int]) -> list[Row]:
    if 7 in items:
        print("licence server not reached", file=sys.stderr, flush=True)
        os._exit(3)
    return double(items)


def refuse(items: Sequence[int]) -> list[Row]:
    raise InputError("the calculator's folder is gone")


def unsendable(items: Sequence[int]) -> list[Row]:
    class LocalError(Exception):
        pass

    raise LocalError("of a kind that cannot be sent")


def surroundings(items: Sequence[int]) -> list[Row]:
    return [
        {
            "threads": os.environ["OMP_NUM_THREADS"],
            "mark": os.environ.get("MARK"),
            "at": os.getcwd(),
        }
        for _ in items
    ]


def fail(items: Sequence[int]) -> list[Row]:
    raise KeyError("a bug")


def failed(item: int, reason: str) -> Row:
    return {"value": None, "reason": reason}


@dataclass(frozen=True)
class DieInTurn:
    """The first workers that meet item 9 die.

    Attributes:
        deaths: Folder with a file for each of them.
        n: How many.
    """

    deaths: Path
    n: int

    def __call__(self, items: Sequence[int]) -> list[Row]:
        if 9 in items and len(list(self.deaths.iterdir())) < self.n:
            (self.deaths / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return double(items)
