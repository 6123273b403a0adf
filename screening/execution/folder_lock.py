"""One process at a time in a folder of results, or on a file that grows."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from ionbridge.screening.errors import InputError

LOCK_FILE = ".lock"
"""File in the folder; the lock on it is the system's and ends with its process, however it ends."""

NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a folder alone; it must be there.

    On a disk without locks the body runs all the same, and a line on stderr says so.

    Raises:
        InputError: Another process holds it, or no lock file can be made in it.
    """
    with _locked(folder / LOCK_FILE, folder):
        yield


@contextlib.contextmanager
def locked_file(file: Path) -> Iterator[None]:
    """Hold a file alone, whether it is there yet or not; a hidden file beside it has the lock.

    Raises:
        InputError: As :func:`locked_folder`.
    """
    with _locked(file.with_name(f".{file.name}{LOCK_FILE}"), file):
        yield


@contextlib.contextmanager
def _locked(path: Path, place: Path) -> Iterator[None]:
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            raise InputError(
                f"{place}: another process works on it ({holder or 'unknown'}); wait until it has "
                "ended, or name another place"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                raise InputError(f"{path}: cannot be locked ({error.strerror})") from error
            print(
                f"ionbridge: {place}: this disk has no locks ({error.strerror}); let no second "
                "process work on it",
                file=sys.stderr,
            )
        with contextlib.suppress(OSError):  # only to name the holder; a full disk is no reason
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
