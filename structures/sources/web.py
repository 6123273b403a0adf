"""Public addresses over a network that fails: tried again, gone on with, never without end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

TIMEOUT_S = 60.0
"""Longest silence of a server."""
ATTEMPTS = 5
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 120.0
_ASK_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_BLOCK = 1 << 13
"""Bytes read at a time; of a connection that breaks off no more is lost."""


class FetchError(ValueError):
    """An address does not give what is expected of it; one line that says which, and how."""


class PassingError(Exception):
    """A fault that another try may not meet.

    Attributes:
        after_s: How long the server asks to wait, where it does.
    """

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


def persistently(
    attempt: Callable[[], T],
    what: str,
    progress: Callable[[], Any] = lambda: None,
    attempts: int = ATTEMPTS,
    first_wait_s: float = FIRST_WAIT_S,
) -> T:
    """What an attempt gives; one that fails in passing is made again after a while.

    Args:
        attempt: Raises `PassingError` for a fault that may pass.
        what: Named in the error.
        progress: Something that changes when an attempt that failed brought the work forward: such
            a one is not counted.
        attempts: How often it may fail in a row.
        first_wait_s: Time before the second attempt; it doubles with each.

    Raises:
        FetchError: The last of the attempts failed.
    """
    failed, before = 0, progress()
    while True:
        try:
            return attempt()
        except PassingError as error:
            now = progress()
            failed, before = (failed if now == before else 0) + 1, now
            if failed >= attempts:
                tries = f"{attempts} tries in a row" if attempts > 1 else "one try"
                raise FetchError(
                    f"{what}: {error} ({tries}); the same again goes on from here"
                ) from error
            wait = first_wait_s * 2 ** (failed - 1) if error.after_s is None else error.after_s
            time.sleep(min(wait, LONGEST_WAIT_S))


def opened(url: str, headers: Mapping[str, str], timeout_s: float) -> Any:
    """The answer to a request, its body unread.

    Raises:
        PassingError: Nobody answers, or it asks to come again.
        FetchError: It is no address.
    """
    import requests  # brings its own certificates

    try:
        answer = requests.get(
            url,
            headers={"Accept-Encoding": "identity", "User-Agent": "ionbridge", **headers},
            stream=True,
            timeout=timeout_s,
        )
    except (requests.ConnectionError, requests.Timeout) as error:
        raise PassingError(_cause(error)) from error
    except (requests.RequestException, ValueError) as error:
        raise FetchError(f"{url}: {' '.join(str(error).split())}") from error
    if answer.status_code in _ASK_LATER:
        after = answer.headers.get("Retry-After", "")
        answer.close()
        seconds = float(after) if after.isdigit() else None
        raise PassingError(f"answers {answer.status_code} {answer.reason}", seconds)
    return answer


def blocks(answer: Any) -> Iterator[bytes]:
    """The body of an answer, piece by piece.

    Raises:
        PassingError: It breaks off.
    """
    import requests

    try:
        yield from answer.iter_content(_BLOCK)
    except requests.RequestException as error:
        raise PassingError(f"breaks off ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    """What libraries say in a chain of nested messages, in a few words."""
    text = " ".join(str(error).split())
    if "timed out" in text.lower():
        return "no answer in time"
    if "IncompleteRead" in text or "Remote end closed" in text:
        return "the connection was closed early"
    known = re.search(r"\[Errno -?\d+\] ([\w ]+)|(certificate verify failed)", text)
    return next(filter(None, known.groups())) if known else text[:200]
