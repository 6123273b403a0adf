"""Work that misbehaves on purpose, for worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from ionbridge.screening.execution import time_limit
from ionbridge.screening.table import Row


def double(items: Sequence[int]) -> list[Row]:
    return [{"value": 2 * item} for item in items]


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


def fail(items: Sequence[int]) -> list[Row]:
    raise KeyError("a bug")


def failed(item: int, reason: str) -> Row:
    return {"value": None, "reason": reason}
