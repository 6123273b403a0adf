"""How many calls of one client run at a time, so that none is in the way of another's."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio

from ionbridge.screening.errors import InputError

CALLS_EACH = 4
"""Calls of one client that run at a time; the others wait."""
WAITING_EACH = 32
"""Calls of one client that may wait."""


@dataclass
class Turnstile:
    """How many calls of each client run and wait.

    Attributes:
        running: One limiter a client.
        present: Calls of a client that run or wait.
    """

    running: dict[str, anyio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: anyio.Semaphore(CALLS_EACH))
    )
    present: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @contextlib.asynccontextmanager
    async def through(self, client: str) -> AsyncIterator[None]:
        """Wait for one's turn.

        Raises:
            InputError: Too many calls of this client wait already.
        """
        if self.present[client] >= CALLS_EACH + WAITING_EACH:
            raise InputError(
                f"{self.present[client]} of your calls are waiting; send fewer at once"
            )
        self.present[client] += 1
        try:
            async with self.running[client]:
                yield
        finally:
            self.present[client] -= 1
