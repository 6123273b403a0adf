"""JSON lines that are gone on with: every row carries a checksum of itself, and is not believed.

A row that was cut, altered or put together by hand does not hold and is computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ionbridge.screening.errors import InputError
from ionbridge.screening.table import Row

SEAL = "row_sha256"


def sealed(row: Mapping[str, Any]) -> Row:
    """The row with the checksum of all the rest of it."""
    rest = {key: value for key, value in row.items() if key != SEAL}
    return {**rest, SEAL: checksum(rest)}


def checksum(value: Any) -> str:
    """SHA-256 of plain values, the same after they were written as JSON and read."""
    read = json.loads(json.dumps(value))  # numbers as keys of a mapping are read as text
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def sealed_rows(lines: Iterable[str]) -> Iterator[tuple[int, Row | str]]:
    """(line number, row) of every line; of one that does not hold, why."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            yield number, "it is no JSON object"
        elif SEAL not in row:
            yield number, "it carries no checksum"
        elif sealed(row) != row:
            yield number, "its checksum differs"
        else:
            yield number, row


def check_same(what: str, made: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with what was made otherwise.

    Args:
        what: The file, and what of it: ``labels.json: its labels were``.
        made: Settings that it was made with.
        wanted: Those of this run.

    Raises:
        InputError: One of those wanted is another.
    """
    for key, value in wanted.items():
        if made.get(key) != value:
            raise InputError(
                f"{what} made with {key} {made.get(key)!r}, not {value!r}; give another --out, or "
                "the same settings to go on"
            )
