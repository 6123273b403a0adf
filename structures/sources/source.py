"""What every public source states about itself, and what loading one gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Loaded(Generic[T]):
    """Records of one source, and what was left out of them.

    Attributes:
        records: The usable records, in the order of the file.
        dropped: Reason to number of rows left out.
    """

    records: tuple[T, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True)
class Remote:
    """A file as its publisher serves it.

    Attributes:
        url: Its address, of one version where the publisher has versions.
        path: Where it goes, below the data folder.
        sha256: Of the served file; None where it was never published with this program: then what
            the first fetch found is recorded beside the file.
    """

    url: str
    path: str
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """A public data set and how its files become records.

    Attributes:
        name: As in ``ionbridge data list``.
        title: What it holds.
        home: Public address.
        licence: Of the data, as far as stated.
        citation: DOI or arXiv number.
        files: Paths below the data folder.
        load: Data folder to records.
        remotes: What is fetched; empty where no file is served at a fixed address.
        arrange: Makes `files` in a data folder of what was fetched, where they are not the same.
    """

    name: str
    title: str
    home: str
    licence: str
    citation: str
    files: tuple[str, ...]
    load: Callable[[Path], Loaded[Any]]
    remotes: tuple[Remote, ...] = ()
    arrange: Callable[[Path], None] | None = None

    def missing(self, data_dir: str | Path) -> tuple[str, ...]:
        """Files that are not below the data folder."""
        return tuple(name for name in self.files if not (Path(data_dir) / name).exists())

    def checksums(self, data_dir: str | Path) -> dict[str, str]:
        """SHA-256 of every file; of a folder, over names and contents in sorted order."""
        return {name: checksum(Path(data_dir) / name) for name in self.files}

    @property
    def how_to_get(self) -> str:
        """One line for a user who lacks the files."""
        return f"{self.name}: get it from {self.home} and place it as {', '.join(self.files)}"


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder's relative names and contents in sorted order."""
    root = Path(path)
    digest = hashlib.sha256()
    files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
    for file in files:
        if root.is_dir():
            digest.update(file.relative_to(root).as_posix().encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
