"""What every command of ``ionbridge`` shares: its parser, its exit status, its messages.

Exit status: 0 written, with at least one usable row; 2 something given cannot be used (one line on
stderr says what); 1 an internal error, which is a bug.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
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
    """Add the option ``--workers`` to a parser."""
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
        help="hop file, crystal file, conductivity table, CIF, POSCAR, extxyz, .traj, JSON of "
        "pymatgen, OPTIMADE or ASE, or folder of them",
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
    add_file_limit(command)


def add_file_limit(command: argparse.ArgumentParser) -> None:
    """Add the option ``--max-file-MB`` to a parser."""
    command.add_argument(
        "--max-file-MB",
        type=float,
        default=512.0,
        metavar="N",
        help="largest file that is read, after unpacking (default: 512)",
    )


def add_calculator(group: Any) -> None:
    """Add ``--calculator`` and its arguments to a command or a group of its options."""
    group.add_argument(
        "--calculator",
        default="chgnet",
        metavar="NAME",
        help="chgnet (default), sevennet, or any ASE calculator: package.module:Class",
    )
    group.add_argument(
        "--calculator-arguments", metavar="JSON", help="its keyword arguments, as a JSON object"
    )


def check_output(path: Path, *inputs: Path | str | None) -> None:
    """Refuse an output file that cannot be written, before any work is done.

    Only a regular file is replaced, never one that is read, and nothing in a model folder.

    Args:
        path: The output.
        inputs: Files and folders that the command reads; names of models are passed over.
    """
    from ionbridge.models.checkpoint import CARD, CONFIG
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.execution.shards import check_replaceable

    try:
        check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.partial")
        probe.touch()
        probe.unlink()
        for given in inputs:
            _check_is_no_input(path, given)
        for folder in path.resolve().parents:
            if (folder / CARD).exists() and (folder / CONFIG).exists():
                raise InputError(f"{path}: lies in the model folder {folder}; name another place")
    except OSError as error:
        raise InputError(f"{path}: output cannot be written ({error.strerror})") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(path)!r}: no path of a file ({error})") from error


def _check_is_no_input(path: Path, given: Path | str | None) -> None:
    from ionbridge.screening.errors import InputError

    if given is None or not os.path.lexists(path) or not Path(given).exists():
        return
    if Path(given).is_dir():
        if path.resolve().is_relative_to(Path(given).resolve()):
            raise InputError(
                f"{path}: is there already, in the input folder {given}; name another --out"
            )
    elif path.samefile(given):
        raise InputError(f"{path}: is an input; it would be overwritten, name another --out")


def check_new_folder(folder: Path) -> None:
    """Refuse an output folder that holds something, or cannot be written, before any work."""
    from ionbridge.screening.errors import InputError

    try:
        held = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"{folder}: output cannot be written ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{str(folder)!r}: no path of a folder ({error})") from error
    if held:
        raise InputError(f"{folder}: not empty ({held[0]} is in it); name a new folder")
    check_output(folder / "card.yaml")


def status(n_usable: int, rows: Iterable[Any], records: Iterable[Any] = ()) -> int:
    """Exit status of a table; where not one row is usable, one line says why.

    Args:
        n_usable: Number of rows that are.
        rows: All of them.
        records: What was read of files, so that the line can name one that could not be.
    """
    if n_usable:
        return USABLE
    reasons = Counter(row.get("reason") or "" for row in rows)
    return none_usable(reasons.total(), reasons, records)


def none_usable(n_rows: int, reasons: Counter[str], records: Iterable[Any]) -> int:
    """Exit status of a table without one usable row; one line says why (see `status`)."""
    why = ""
    if reasons:
        reason = reasons.most_common(1)[0][0]
        why = "".join(f": {text}" for text in (_unread_file(records, reason), reason) if text)
    say(f"ionbridge: not one usable row of {n_rows}{why}")
    return UNUSABLE


def _unread_file(records: Iterable[Any], reason: str) -> str:
    """The first file of which something could not be read for this reason; empty if none."""
    from ionbridge.structures.plain_text import clean_text
    from ionbridge.structures.records import FailedRecord

    files = (r.file for r in records if isinstance(r, FailedRecord) and r.reason == reason)
    return clean_text(next(files, ""))


def counted(counts: Counter[str]) -> str:
    """For example ``12 ok, 1 failed``."""
    return ", ".join(f"{counts[s]} {s}" for s in ("ok", "filtered", "failed") if counts[s])


def refused(n: int) -> str:
    """How many labels quote no diffusivity."""
    return f"{n} refused" if n else ""


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers, separated by commas.

    Raises:
        InputError: Something else.
    """
    from ionbridge.screening.errors import InputError

    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise InputError(f"{option}: expected numbers such as 600,800, got {text!r}") from error


def say(message: str) -> None:
    """Tell the user on stderr; nothing that an id holds steers the terminal."""
    from ionbridge.structures.plain_text import for_terminal

    print(for_terminal(message), file=sys.stderr)
