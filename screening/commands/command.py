"""What every command of ``ionbridge`` shares: its parser, its exit status, its messages.

Exit status: 0 written, with at least one usable row; 2 something given cannot be used (one line on
stderr says what); 1 an internal error, which is a bug.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

USABLE, UNUSABLE, INTERRUPTED = 0, 2, 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say it in one line and leave with status 2."""
        self.exit(UNUSABLE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str, example: str
) -> argparse.ArgumentParser:
    """A subcommand with its example."""
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help.replace("%", "%%"),
        description=textwrap.fill(help[0].upper() + help[1:] + ".", 78),
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(command=run)
    return added


def add_workers(command: argparse.ArgumentParser) -> None:
    """Add ``--workers``."""
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="local processes (default: one a core; 0: none beside this one)",
    )


def add_input(command: argparse.ArgumentParser, many: bool) -> None:
    """Add INPUT, and what a prediction from it needs to know."""
    command.add_argument(
        "input",
        nargs="+" if many else 1,
        type=Path,
        metavar="INPUT",
        help="hop file, crystal file, conductivity table, CIF, POSCAR, extxyz, or folder of them",
    )
    command.add_argument(
        "--quantity",
        choices=("migration_barrier", "diffusivity", "conductivity"),
        help="default: what fits the input",
    )
    command.add_argument(
        "--model", metavar="NAME|DIR", help="shipped model or model folder (default: the best)"
    )
    command.add_argument(
        "--cifs", type=Path, metavar="DIR", help="folder with <ID>.cif for the rows of a table"
    )


def add_calculator(group: Any) -> None:
    """Add ``--calculator`` and its arguments to a command or a group of its options."""
    group.add_argument(
        "--calculator",
        default="chgnet",
        metavar="NAME",
        help="chgnet (default), or any ASE calculator by import path: package.module:Class",
    )
    group.add_argument(
        "--calculator-arguments", metavar="JSON", help="its keyword arguments, as a JSON object"
    )


def check_output(path: Path) -> None:
    """Refuse an output file that cannot be written, before any work is done."""
    from ionbridge.screening.errors import InputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        probe = path.with_name(f".{path.name}.partial")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path}: output cannot be written ({error.strerror})") from error


def status(n_usable: int, rows: Sequence[Any]) -> int:
    """Exit status of a table; where not one row is usable, one line says why."""
    if n_usable:
        return USABLE
    reasons = Counter(row.get("reason") or "" for row in rows).most_common(1)
    why = f": {reasons[0][0]}" if reasons else ""
    say(f"ionbridge: not one usable row of {len(rows)}{why}")
    return UNUSABLE


def counted(counts: Counter[str]) -> str:
    """For example ``12 ok, 1 failed``."""
    return ", ".join(f"{counts[s]} {s}" for s in ("ok", "filtered", "failed") if counts[s])


def say(message: str) -> None:
    """Tell the user on stderr."""
    print(message, file=sys.stderr)
