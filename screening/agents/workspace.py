"""The one folder that an agent may read and write.

A path from a client is a text that nobody trusts. It is opened part by part from the folder's own
descriptor without following any link, so that what was checked is what is read, whatever happens
to the names in between. What a job reads is copied into the job's folder by the same way.
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ionbridge.screening.errors import InputError
from ionbridge.structures.plain_text import readable_name

JOBS = "jobs"
"""Folder of the workspace that belongs to the server; a job's results lie in it."""

MODELS = "models"
"""Folder of the workspace that is its library of models."""

LIBRARY_VARIABLE = "IONBRIDGE_LIBRARY"
USUAL_LIBRARY = "~/.ionbridge/models"
"""As in :mod:`ionbridge.models.library`, which would bring torch with it."""

LONGEST_PATH = 512
DEEPEST = 16
LARGEST_FILE = 256 * 2**20
"""Bytes of one file that is read or copied; of its content, where it is compressed."""
MOST_FILES = 20_000
_CHUNK = 2**20


class WorkspaceError(InputError):
    """A path that cannot be used; the message says which and why, and nothing about other files."""


@dataclass(frozen=True)
class Entry:
    r"""A file or folder of the workspace.

    Attributes:
        path: Relative to the workspace; bytes that are no UTF-8 are written out (``M\\xfcller``),
            and such a file is reached through its folder only.
        is_folder: Whether it is a folder.
        n_bytes: Size of a file; 0 for a folder.
    """

    path: str
    is_folder: bool
    n_bytes: int


@dataclass
class Allowance:
    """What may still be copied for one job.

    Attributes:
        n_files: Files.
        n_bytes: Bytes.
    """

    n_files: int = MOST_FILES
    n_bytes: int = 2 * LARGEST_FILE

    def take(self, path: str, n_bytes: int) -> None:
        """Count a file.

        Raises:
            WorkspaceError: More than what is allowed.
        """
        self.n_files -= 1
        self.n_bytes -= n_bytes
        if self.n_files < 0:
            raise WorkspaceError(f"{path}: more than {MOST_FILES} files in one input")
        if self.n_bytes < 0:
            raise WorkspaceError(
                f"{path}: the input is larger than {2 * LARGEST_FILE // 2**20} MiB in all"
            )


def parts_of(path: str) -> tuple[str, ...]:
    """The parts of a workspace path; none for the workspace itself.

    Raises:
        WorkspaceError: Absolute, leaves the workspace, hidden, too long, or no path at all.
    """
    shown = _shown(path)
    if len(path) > LONGEST_PATH:
        raise WorkspaceError(f"{shown}: a path has at most {LONGEST_PATH} characters")
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in path):
        raise WorkspaceError(f"{shown}: a path holds no control characters")
    if path.startswith(("/", "~", "\\")) or "\\" in path or (len(path) > 1 and path[1] == ":"):
        raise WorkspaceError(f"{shown}: paths are relative to the workspace, with '/' between")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise WorkspaceError(f"{shown}: a path must not leave the workspace")
    if any(part.startswith(".") for part in parts):
        raise WorkspaceError(f"{shown}: hidden files and folders are not for agents")
    if len(parts) > DEEPEST:
        raise WorkspaceError(f"{shown}: nested more than {DEEPEST} deep")
    return parts


class Workspace:
    """A folder, and the only ways into it.

    Args:
        root: The folder; it is made where it is missing.

    Raises:
        WorkspaceError: It cannot be made or opened.
    """

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise WorkspaceError(f"{root}: no usable workspace ({error.strerror})") from error
        self.root = root.resolve()

    def become_library(self) -> None:
        """Make the workspace's models the user's library, for this process and its children.

        New models go into the first library, so none is written elsewhere.
        """
        others = os.environ.get(LIBRARY_VARIABLE) or USUAL_LIBRARY
        os.environ[LIBRARY_VARIABLE] = os.pathsep.join([str(self.root / MODELS), others])

    def contains(self, path: Path) -> bool:
        """Whether a path of this machine lies in the workspace."""
        return path.resolve().is_relative_to(self.root)

    def is_folder(self, path: str) -> bool:
        """Whether a path names a folder (not a link to one)."""
        with self._parent(path) as (folder, name):
            return stat.S_ISDIR(_status(folder, name, path).st_mode)

    @contextmanager
    def open(self, path: str, largest: int = LARGEST_FILE) -> Iterator[BinaryIO]:
        """A regular file of the workspace, for reading.

        Args:
            path: Relative to the workspace.
            largest: More bytes are refused.

        Raises:
            WorkspaceError: It leaves the workspace, is a link, a device, a pipe, a folder, missing,
                or too large.
        """
        with self._parent(path) as (folder, name):
            descriptor = _open_file(folder, name, path)
        with os.fdopen(descriptor, "rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size
            if n_bytes > largest:
                raise WorkspaceError(
                    f"{_shown(path)}: {n_bytes / 2**20:.1f} MiB; at most {largest / 2**20:.3g} MiB "
                    "are read here"
                )
            yield file

    def read(self, path: str, largest: int) -> bytes:
        """Content of a small file; see :meth:`open`."""
        with self.open(path, largest) as file:
            content = file.read(largest + 1)
        if len(content) > largest:  # it grew while it was read
            raise WorkspaceError(f"{_shown(path)}: larger than {largest} bytes")
        return content

    def entries(self, path: str = "") -> list[Entry]:
        """What a folder holds, sorted; hidden files, links and devices are passed over.

        Raises:
            WorkspaceError: No folder of the workspace.
        """
        prefix = "/".join(parts_of(path))
        found = []
        with self._folder(path) as folder:
            for name in sorted(os.listdir(folder)):
                if name.startswith("."):
                    continue
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
                    is_folder = stat.S_ISDIR(status.st_mode)
                    inside = readable_name(f"{prefix}/{name}" if prefix else name)
                    found.append(Entry(inside, is_folder, 0 if is_folder else status.st_size))
        return found

    def stage(self, path: str, target: Path, allowance: Allowance) -> Path:
        """Copy a file or folder to where a job reads it, under its own name.

        Args:
            path: Relative to the workspace.
            target: Existing folder that takes the copy.
            allowance: What may still be copied; it is used up.

        Returns:
            The copy.

        Raises:
            WorkspaceError: A link, a device or a pipe is in it, or it is too large.
        """
        parts = parts_of(path)
        copy = target / (parts[-1] if parts else "workspace")
        if not parts or self.is_folder(path):
            with self._folder(path) as folder:
                self._stage_folder(folder, "/".join(parts), copy, allowance)
            return copy
        with self.open(path) as file:
            _copy(file, path, copy, allowance)
        return copy

    def _stage_folder(self, folder: int, path: str, copy: Path, allowance: Allowance) -> None:
        copy.mkdir()
        for name in sorted(os.listdir(folder)):
            inside = f"{path}/{name}" if path else name
            if name.startswith(".") or inside == JOBS:
                continue
            status = _status(folder, name, inside)
            if stat.S_ISDIR(status.st_mode):
                if inside.count("/") >= DEEPEST:
                    raise WorkspaceError(f"{_shown(inside)}: nested more than {DEEPEST} deep")
                descriptor = _open_folder(folder, name, inside)
                try:
                    self._stage_folder(descriptor, inside, copy / name, allowance)
                finally:
                    os.close(descriptor)
            else:
                with os.fdopen(_open_file(folder, name, inside), "rb") as file:
                    _copy(file, inside, copy / name, allowance)

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        """Descriptor of a folder, reached without following a link."""
        # opened anew: a duplicate would share the place in the listing with other threads
        current = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._descriptor)
        try:
            for part in parts_of(path):
                inner = _open_folder(current, part, path)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Descriptor of the folder that a path lies in, and its name there."""
        parts = parts_of(path)
        if not parts:
            raise WorkspaceError(f"{_shown(path)}: names the workspace itself, not a file in it")
        with self._folder("/".join(parts[:-1])) as folder:
            yield folder, parts[-1]


def _status(folder: int, name: str, path: str) -> os.stat_result:
    """Status of an entry that is no link, device, pipe or socket."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{_shown(path)}: no such file or folder in the workspace") from error
    if stat.S_ISLNK(status.st_mode):
        raise WorkspaceError(
            f"{_shown(path)}: is a link, and links are not followed; copy what it points to"
        )
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise WorkspaceError(f"{_shown(path)}: neither a file nor a folder")
    return status


def _open_folder(folder: int, name: str, path: str) -> int:
    if not stat.S_ISDIR(_status(folder, name, path).st_mode):
        raise WorkspaceError(f"{_shown(path)}: no such file or folder in the workspace")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        raise WorkspaceError(f"{_shown(path)}: cannot be opened ({error.strerror})") from error


def _open_file(folder: int, name: str, path: str) -> int:
    if stat.S_ISDIR(_status(folder, name, path).st_mode):
        raise WorkspaceError(f"{_shown(path)}: is a folder, not a file")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        raise WorkspaceError(f"{_shown(path)}: cannot be opened ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # swapped since it was looked at
        os.close(descriptor)
        raise WorkspaceError(f"{_shown(path)}: neither a file nor a folder")
    return descriptor


def _copy(file: BinaryIO, path: str, copy: Path, allowance: Allowance) -> None:
    """Copy an open file, no further than the limits."""
    n_bytes = 0
    with copy.open("xb") as target:
        while chunk := file.read(_CHUNK):
            n_bytes += len(chunk)
            _check_size(path, n_bytes)
            target.write(chunk)
    allowance.take(path, max(n_bytes, _n_content(copy, path) if path.endswith(".gz") else 0))


def _n_content(copy: Path, path: str) -> int:
    """Bytes that a compressed file holds; what can be read of a damaged one."""
    n_bytes = 0
    try:
        with gzip.open(copy, "rb") as file:
            while chunk := file.read(_CHUNK):
                n_bytes += len(chunk)
                _check_size(path, n_bytes)
    except (OSError, EOFError, zlib.error):  # its reader says so, in a row with the reason
        pass
    return n_bytes


def _check_size(path: str, n_bytes: int) -> None:
    if n_bytes > LARGEST_FILE:
        raise WorkspaceError(
            f"{_shown(path)}: its content is larger than {LARGEST_FILE // 2**20} MiB"
        )


def _shown(path: str) -> str:
    """A path of a client for a message: one short printable line."""
    text = "".join(c if c.isprintable() else "?" for c in path)
    return repr(text if len(text) <= 80 else text[:77] + "...")
