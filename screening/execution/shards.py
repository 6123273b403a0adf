"""A campaign as a folder of shards: one JSON-lines file of rows a shard, written by atomic rename.

What is there is complete; what is not there has to be computed. So a campaign killed at any moment
goes on from the shards that it finds. It does not believe them: the first line of a shard says for
which items and by what (settings, model, program) its rows were made, and carries a checksum of all
that. A shard that does not hold is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ionbridge.screening.errors import InputError
from ionbridge.screening.table import Row

LONGEST_HEADER = 2**24
"""Bytes of the first line of a shard; more is no shard of this program."""


def write_atomically(path: Path, text: str | Iterable[str]) -> None:
    r"""Write a file so that it is there whole or not at all; only a regular file is replaced.

    Args:
        path: The file.
        text: Its content, or the pieces of it one after the other. Lone surrogates, which UTF-8
            does not know, are written as ``\udc80``.

    Raises:
        InputError: It cannot be written: a full disk, a missing right, no regular file.
    """
    with (
        replacing(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        file.writelines([text] if isinstance(text, str) else text)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name of a file that takes the place of another when the body has ended well.

    Raises:
        InputError: See :func:`write_atomically`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        check_replaceable(path)
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); what was finished before is kept"
        ) from error


def check_replaceable(path: Path) -> None:
    """Refuse to put a file where something else than a regular file is.

    Raises:
        InputError: A folder, a link, a device, a pipe or a socket is there, or it is no path.
        OSError: What is there cannot be looked at.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except ValueError as error:
        raise InputError(f"{str(path)!r}: no path of a file ({error})") from error
    if stat.S_ISLNK(mode):
        raise InputError(f"{path}: is a link; links are not replaced, name the file itself")
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: cannot be written (it is a folder)")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is a device or a pipe; only regular files are written")


def write_json(path: Path, data: Any) -> None:
    """Write one JSON document atomically."""
    write_atomically(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def fingerprint(decides: Any) -> str:
    """SHA-256 of plain values, equal for equal ones: of everything that decides what rows hold."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


class DamagedShardError(ValueError):
    """A shard that is not what was written, or was made for something else."""


@dataclass(frozen=True)
class ShardFolder:
    """The ``shards`` folder of a campaign.

    Attributes:
        path: The folder; it is made on the first write.
        fingerprint: Of what the rows are made by, see :func:`fingerprint`; shards made by anything
            else do not hold. Empty where only their checksums are looked at.
    """

    path: Path
    fingerprint: str = ""

    def file(self, index: int) -> Path:
        """Path of the file of a shard."""
        return self.path / f"{index:06d}.jsonl"

    def finished(self) -> set[int]:
        """Indices of the shards that are there, whole or not."""
        if not self.path.is_dir():
            return set()
        return {int(f[:-6]) for f in os.listdir(self.path) if re.fullmatch(r"\d{6,}\.jsonl", f)}

    def write(self, index: int, ids: Sequence[str], rows: Sequence[Row]) -> None:
        """Store the rows of a shard.

        Args:
            index: Of the shard.
            ids: Of the items that it was made of, in their order.
            rows: What was made of them.

        Raises:
            InputError: It cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror})") from error
        body = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        made_of = {"shard": index, "fingerprint": self.fingerprint, "ids": list(ids)}
        header = {**made_of, "n_bytes": len(body), "sha256": _checksum(made_of, body.encode())}
        write_atomically(self.file(index), f"{json.dumps(header)}\n{body}")

    def read(self, index: int, ids: Sequence[str] | None = None) -> list[Row]:
        """The rows of a shard, in their order.

        Args:
            index: Of the shard.
            ids: Of the items that it must be made of; None for any.

        Raises:
            FileNotFoundError: There is no such shard.
            DamagedShardError: Its rows are not what was written, or not of these items, settings,
                model and program.
            InputError: A folder, a link or a device is in its place, or it cannot be read.
        """
        return [json.loads(line) for line in self._body(index, ids).splitlines()]

    def holds(self, index: int, ids: Sequence[str]) -> bool:
        """Whether a shard is there and whole; False where there is none.

        Raises:
            DamagedShardError: See `read`.
            InputError: See `read`.
        """
        try:
            self._body(index, ids)
        except FileNotFoundError:
            return False
        return True

    def _body(self, index: int, ids: Sequence[str] | None) -> bytes:
        """The lines of a shard that holds."""
        path = self.file(index)
        check_replaceable(path)
        try:
            with path.open("rb") as file:
                header = _header(file.readline(LONGEST_HEADER))
                n_bytes = os.fstat(file.fileno()).st_size - file.tell()
                if n_bytes != header.get("n_bytes"):
                    raise DamagedShardError(f"{n_bytes} bytes of rows, not those written")
                body = file.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        made_of = {key: header.get(key) for key in ("shard", "fingerprint", "ids")}
        if _checksum(made_of, body) != header.get("sha256"):
            raise DamagedShardError("its checksum differs")
        if made_of["shard"] != index:
            raise DamagedShardError(f"it is shard {made_of['shard']}")
        if self.fingerprint and made_of["fingerprint"] != self.fingerprint:
            raise DamagedShardError("made with other settings, another model or program")
        if ids is not None and made_of["ids"] != list(ids):
            raise DamagedShardError("its candidates are others")
        return body

    def kept(self, wanted: Mapping[int, Sequence[str]]) -> tuple[set[int], dict[int, str]]:
        """Which shards hold, and why others that are there do not.

        Args:
            wanted: The ids of the items of every shard.

        Raises:
            InputError: Something that cannot be replaced is in the place of a shard.
        """
        whole, damaged = set(), {}
        for index, ids in wanted.items():
            try:
                if self.holds(index, ids):
                    whole.add(index)
            except DamagedShardError as error:
                damaged[index] = str(error)
        return whole, damaged


@dataclass(frozen=True)
class StoredRows:
    """The rows of all shards in the order of their items, read anew each time they are asked for.

    Attributes:
        shards: Whole, and numbered from 0.
        n_shards: How many there are.
        added: Columns of every row that is ``ok``.
        changed: Rows that take the place of stored ones, by their place in the order from 0.
    """

    shards: ShardFolder
    n_shards: int
    added: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[int, Row] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        """One row after the other.

        Raises:
            InputError: A shard was altered meanwhile.
        """
        k = 0
        for index in range(self.n_shards):
            try:
                rows = self.shards.read(index)
            except (DamagedShardError, FileNotFoundError) as error:
                why = error if isinstance(error, DamagedShardError) else "it is gone"
                raise InputError(
                    f"{self.shards.file(index)}: {why} since it was looked at; the same command "
                    "with --resume computes it again"
                ) from error
            for row in rows:
                more = self.added if row["status"] == "ok" else {}
                yield self.changed.get(k) or {**row, **more}
                k += 1

    def at(self, places: Collection[int]) -> dict[int, Row]:
        """The rows at some places of the order."""
        wanted = set(places)
        shown = islice(self, max(wanted) + 1) if wanted else iter(())
        return {k: row for k, row in enumerate(shown) if k in wanted}


def _header(line: bytes) -> dict[str, Any]:
    """The first line of a shard."""
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or "sha256" not in header:
        raise DamagedShardError("it carries no checksum")
    return header


def _checksum(made_of: Mapping[str, Any], body: bytes) -> str:
    return hashlib.sha256(json.dumps(made_of).encode() + b"\n" + body).hexdigest()
