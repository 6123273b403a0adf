"""One process at a time in a folder of results."""

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
    path = folder / LOCK_FILE
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
                f"{folder}: another process works in this folder ({holder or 'unknown'}); wait "
                "until it has ended, or name another folder"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                raise InputError(f"{path}: cannot be locked ({error.strerror})") from error
            print(
                f"ionbridge: {folder}: this disk has no locks ({error.strerror}); let no second "
                "process work in the folder",
                file=sys.stderr,
            )
        with contextlib.suppress(OSError):  # only to name the holder; a full disk is no reason
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
