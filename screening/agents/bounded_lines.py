"""Lines of a stream that nobody can make too long."""

from __future__ import annotations

import io
import json
import re
from typing import BinaryIO

TOO_LONG = "message-longer-than-1-MiB"


class BoundedLines(io.TextIOBase):
    """Lines of a stream, none of them longer than a bound.

    A longer one is passed over, and a request of no known method takes its place, so that its
    sender is told.

    Args:
        stream: Bytes, lines in UTF-8.
        longest: Bytes of a line.
    """

    ID = re.compile(rb'"id"\s*:\s*(\d{1,15}|"[\w.-]{1,64}")')
    N_SEARCHED = 256

    def __init__(self, stream: BinaryIO, longest: int) -> None:
        self._stream = stream
        self._longest = longest

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        """The next line; empty at the end of the stream."""
        line = self._stream.readline(self._longest + 1)
        if len(line) <= self._longest:
            return line.decode("utf-8", errors="replace")
        known = self.ID.search(line[: self.N_SEARCHED]) or self.ID.search(line[-self.N_SEARCHED :])
        tail = line
        while tail and not tail.endswith(b"\n"):
            tail = self._stream.readline(self._longest)
            known = known or self.ID.search(tail[-self.N_SEARCHED :])
        if known is None:
            return "null\n"
        refused = {"jsonrpc": "2.0", "id": json.loads(known[1]), "method": TOO_LONG}
        return json.dumps(refused) + "\n"
