"""The ``ionbridge`` command: parse, call one command, answer with its exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from ionbridge.screening.commands import (
    ask,
    cell,
    data,
    evaluate,
    finetune,
    label,
    mcp,
    models,
    plan,
    predict,
    pretrain,
    screen,
)
from ionbridge.screening.commands.command import INTERRUPTED, UNUSABLE, Parser

COMMANDS = (
    screen,
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
        print(f"ionbridge: {' '.join(str(error).split())}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        again = "; the same command with --resume goes on from here"
        print(f"ionbridge: interrupted{again if hasattr(args, 'resume') else ''}", file=sys.stderr)
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
