"""Text from outside (file names, replies, cells of tables) as text that can be written anywhere.

A name of a file is bytes, a JSON string may hold half a character, and a reply may hold sequences
that steer a terminal. None of it may stop a table from being written or reach a screen as it is.
"""

from __future__ import annotations

import os
import re
from typing import Any, TypeVar

T = TypeVar("T")

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erasing
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC and the like: titles, clipboard, links
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)

_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line separators, halves of a pair."""


def clean_text(text: str) -> str:
    """Text that any table and terminal can carry: what cannot is written as its escape."""
    return _UNSHOWN.sub(lambda found: ascii(found[0])[1:-1], text)


def readable_name(name: str | os.PathLike[str]) -> str:
    r"""The name of a file as text; bytes that are no UTF-8 are written out, as in ``M\xfcller``."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def well_formed(value: T) -> T:
    r"""The same text, list or mapping without half characters; they are written out: ``\udcfc``."""
    found: Any = value
    if isinstance(value, str):
        found = value.encode("utf-8", errors="backslashreplace").decode("utf-8")
    elif isinstance(value, dict):
        found = {well_formed(k): well_formed(v) for k, v in value.items()}
    elif isinstance(value, list | tuple):
        found = type(value)(well_formed(v) for v in value)
    same_kind: T = found
    return same_kind


def for_terminal(text: str) -> str:
    """Text with its lines and tabs, but nothing that steers a terminal."""
    plain = _SEQUENCES.sub("", well_formed(text).replace("\r\n", "\n"))
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in plain)


def one_line(text: str, longest: int) -> str:
    """Text as one line without control characters, cut to a length."""
    line = "".join(
        c if c.isprintable() else " " for c in " ".join(_SEQUENCES.sub("", text).split())
    )
    return line if len(line) <= longest else line[: longest - 3] + "..."


def number_of(n: int, noun: str) -> str:
    """``1 run``, ``2 runs``, of nouns that take an s."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
