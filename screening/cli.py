"""The ``ionbridge`` command: parse, call one command, answer with its exit status."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence

from ionbridge.screening.commands import (
    ask,
    cell,
    data,
    evaluate,
    finetune,
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
    from ionbridge.models.checkpoint import IncompatibleModelError
    from ionbridge.screening.errors import InputError
    from ionbridge.structures.configuration import ConfigurationError

    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except (InputError, ConfigurationError, IncompatibleModelError) as error:
        say(f"ionbridge: {' '.join(str(error).split())}")
        return UNUSABLE
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        name = "" if error.filename is None else f"{error.filename}: "
        say(f"ionbridge: {name}{error.strerror}; what was finished before is kept")
        return UNUSABLE
    except KeyboardInterrupt:
        again = "; the same command with --resume goes on from here"
        say(f"ionbridge: interrupted{again if hasattr(args, 'resume') else ''}")
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = Parser(
        prog="ionbridge",
        description="Screens battery materials by how fast their ions move: crystals in, hops, "
        "barriers with uncertainty, diffusivity and conductivity out, best candidates first.",
        epilog="Start with:  ionbridge screen --out results   (the campaign that comes with it)",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
