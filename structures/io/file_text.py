"""The text of a file: unpacked, decoded, and not without end."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

MAX_FILE_MB = 512
"""Largest file that is read, after unpacking; ten kilobytes of gzip may hold ten gigabytes."""

PACKED = (".gz", ".bz2", ".xz")
"""Endings of packed files."""

_PACKINGS: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", lzma.open),
)
"""What opens a file, by its first bytes."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class FileTooLargeError(OSError):
    """A file that unpacks to more than the limit."""


class _Limited(io.RawIOBase):
    """Bytes of a stream, up to a limit."""

    def __init__(self, stream: Any, max_MB: float):
        self._stream = stream
        self._left = int(max_MB * 1e6)
        self._max_MB = max_MB

    def readable(self) -> bool:
        """True: it is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; FileTooLargeError beyond the limit."""
        data = self._stream.read1(len(buffer))  # what is there: a torn end costs no more
        n = len(data)
        buffer[:n] = data
        self._left -= n
        if self._left < 0:
            raise FileTooLargeError(
                f"it unpacks to more than {self._max_MB:g} MB; --max-file-MB, or candidates: "
                "max_file_MB of a campaign, raises the limit"
            )
        return n


@contextlib.contextmanager
def open_bytes(file: Path, max_MB: float = MAX_FILE_MB) -> Iterator[io.BufferedReader]:
    """Bytes of a file, unpacked if they are gzip, bzip2 or xz, whatever its name says.

    Raises:
        FileTooLargeError: While reading, beyond ``max_MB`` after unpacking.
    """
    with contextlib.ExitStack() as stack:
        raw: Any = stack.enter_context(file.open("rb"))
        head = raw.peek(8)
        unpack = next((opener for mark, opener in _PACKINGS if head.startswith(mark)), None)
        source = raw if unpack is None else stack.enter_context(unpack(raw, "rb"))
        yield stack.enter_context(io.BufferedReader(_Limited(source, max_MB), 1 << 16))


@contextlib.contextmanager
def open_text(file: Path, max_MB: float = MAX_FILE_MB) -> Iterator[TextIO]:
    """Text of a file, line by line; bytes that are none become replacement characters."""
    with open_bytes(file, max_MB) as stream:
        encoding = _encoding(stream.peek(256)[:256])
        yield io.TextIOWrapper(stream, encoding=encoding or "utf-8", errors="replace")


def read_text(file: Path, max_MB: float = MAX_FILE_MB) -> tuple[str, str]:
    """The whole text of a file, and a note where its encoding had to be guessed."""
    with open_bytes(file, max_MB) as stream:
        data = stream.read()
    encoding = _encoding(data[:256])
    if encoding is not None:
        return data.decode(encoding, errors="replace"), ""
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), "not UTF-8: read as Windows-1252"


def _encoding(head: bytes) -> str | None:
    """Encoding by the mark at the start, or by the zeros of UTF-16 without one."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2], head[1::2]
    if len(head) >= 8 and b"\0" in head:
        if odd.count(0) > 0.7 * len(odd) and even.count(0) == 0:
            return "utf-16-le"
        if even.count(0) > 0.7 * len(even) and odd.count(0) == 0:
            return "utf-16-be"
    return None
