"""``ionbridge`` and ``python -m ionbridge``: an interrupt during the first imports is one line."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run the command line and return its exit status."""
    signal.signal(signal.SIGINT, _leave)
    from ionbridge.screening.cli import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"ionbridge: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
