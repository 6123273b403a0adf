"""A campaign as a folder of shards: one JSON-lines file of rows a shard, written by atomic rename.

What is there is complete; what is not there has to be computed. So a campaign killed at any moment
goes on from the shards that it finds.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ionbridge.screening.table import Row


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_json(path: Path, data: Any) -> None:
    """Write one JSON document atomically."""
    write_atomically(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class ShardFolder:
    """The ``shards`` folder of a campaign.

    Attributes:
        path: The folder; it is made on the first write.
    """

    path: Path

    def file(self, index: int) -> Path:
        """Where a shard lies."""
        return self.path / f"{index:06d}.jsonl"

    def finished(self) -> set[int]:
        """Indices of the shards that are there."""
        return {int(f.stem) for f in self.path.glob("[0-9]*.jsonl")}

    def write(self, index: int, rows: list[Row]) -> None:
        """Store the rows of a shard."""
        self.path.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
        write_atomically(self.file(index), "".join(lines))

    def read(self, index: int) -> list[Row]:
        """The rows of a shard, in their order."""
        text = self.file(index).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n") if line]
