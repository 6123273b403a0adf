"""The ``ionbridge`` command: parse, call one command, answer with its exit status."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from ionbridge import __version__
from ionbridge.screening.commands import (
    ask,
    cell,
    data,
    doctor,
    evaluate,
    finetune,
    init,
    inspect,
    label,
    mcp,
    models,
    plan,
    predict,
    pretrain,
    screen,
)
from ionbridge.screening.commands.command import INTERRUPTED, UNUSABLE, Parser, say

COMMANDS = (
    init,
    screen,
    inspect,
    predict,
    evaluate,
    pretrain,
    finetune,
    label,
    cell,
    models,
    data,
    plan,
    mcp,
    ask,
    doctor,
)


OF_THE_DISK = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
    errno.ESTALE,
)
"""What the disk refuses: nothing that the program could do otherwise."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = parser().parse_args(argv)
    with _interrupts() as interrupts:
        try:
            return _run(args)
        except BaseException:
            if not interrupts:  # compiled modules turn an interrupt into other errors
                raise
            again = "; the same command with --resume goes on from here"
            say(f"ionbridge: interrupted{again if hasattr(args, 'resume') else ''}")
            return INTERRUPTED


def _run(args: argparse.Namespace) -> int:
    """Run a command; what a user can mend is one line."""
    try:
        command: Callable[[argparse.Namespace], int] = args.command
        return command(args)
    except ValueError as error:
        if not isinstance(error, _of_the_user()):
            raise
        say(f"ionbridge: {' '.join(str(error).split())}")
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        name = "" if error.filename is None else f"{error.filename}: "
        say(f"ionbridge: {name}{error.strerror}; what was finished before is kept")
    return UNUSABLE


def _of_the_user() -> tuple[type[ValueError], ...]:
    """Errors about what the user gave; imported when there is one, since models bring torch."""
    from ionbridge.models.checkpoint import IncompatibleModelError
    from ionbridge.screening.errors import InputError
    from ionbridge.structures.configuration import ConfigurationError

    return InputError, ConfigurationError, IncompatibleModelError


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The interrupts (Ctrl-C) that came while the body ran; each raises KeyboardInterrupt in it."""
    found: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield found
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        found.append(number)
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, previous)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = Parser(
        prog="ionbridge",
        description="Screens battery materials by how fast their ions move: crystals in, hops, "
        "barriers with uncertainty, diffusivity and conductivity out, best candidates first.",
        epilog="Start with:  ionbridge screen --out results   (the campaign that comes with it)",
    )
    top.add_argument("--version", action="version", version=f"ionbridge {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
