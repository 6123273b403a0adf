"""``ionbridge inspect``: what was read of each file."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import (
    add_command,
    add_file_limit,
    check_output,
    counted,
    say,
    status,
)


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    command = add_command(
        commands,
        "inspect",
        _run,
        "say what was read of each file: formula, sites, occupancies, space group found and "
        "stated, working ion, bond-valence sums, every note; the first thing to run on your data",
        "ionbridge inspect LiFePO4.cif",
    )
    command.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="CIF, POSCAR, extxyz, .traj, JSON, or folder of them",
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE.csv", help="write the table there instead of printing it"
    )
    add_file_limit(command)


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.execution.shards import write_atomically
    from ionbridge.screening.prediction.inspection import COLUMNS, as_text, inspected
    from ionbridge.screening.table import csv_lines
    from ionbridge.structures.io.reading import iter_records

    if args.out is not None:
        check_output(args.out, *args.files)
    try:
        records = list(iter_records(args.files, max_file_MB=args.max_file_MB))
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    rows = [inspected(record) for record in records]
    counts = Counter(row["status"] for row in rows)
    if args.out is None:
        print(as_text(rows))
        say(f"read {counted(counts) or 'nothing'}")
    else:
        write_atomically(args.out, csv_lines(rows, COLUMNS))
        say(f"wrote {args.out} ({counted(counts)})")
    return status(counts["ok"], rows, records)
