"""Results that are kept line by line, so that a run goes on where it was killed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ionbridge.screening.execution.sealed_rows import SEAL, sealed


def read(file: Path) -> list[dict[str, Any]]:
    """The whole rows of a file; a torn last line is none, and no file has none.

    A row with a checksum that does not hold is left out, to be computed again, and named.
    """
    rows = []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and SEAL in row and sealed(row) != row:
            print(f"{file}: line {number}: its checksum differs; left out", file=sys.stderr)
            continue
        rows.append({k: v for k, v in row.items() if k != SEAL})
    return rows


def append(file: Path, row: Mapping[str, Any]) -> None:
    """Write a row with its checksum at the end of a file."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(sealed(row)) + "\n")
