"""``ionbridge predict``: one row out for each record in."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import (
    USABLE,
    add_command,
    add_input,
    add_workers,
    check_output,
    counted,
    none_usable,
    say,
)

MOST_REASONS = 1000
"""Different reasons that are counted; the most frequent is said where nothing is usable."""


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    command = add_command(
        commands,
        "predict",
        _run,
        "predict hops, crystals or a conductivity table: one row out for each in",
        "ionbridge predict LiFePO4.cif --out predictions.csv",
    )
    add_input(command, many=True)
    command.add_argument(
        "--temperature-K",
        type=float,
        default=300.0,
        metavar="T",
        help="of diffusivity and conductivity (default: 300)",
    )
    command.add_argument(
        "--potential",
        choices=("none", "rigid", "short", "band"),
        help="a universal potential beside the model: energies in a rigid host (CHGNet), a short "
        "relaxation (SevenNet; needs ionbridge[sevennet]), a band (CHGNet); of a crystal for the "
        "hops that decide (default: what the model reads)",
    )
    command.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="the table")
    add_workers(command)


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.execution.executors import executor_from
    from ionbridge.screening.execution.shards import write_atomically
    from ionbridge.screening.prediction.conduction import Conditions
    from ionbridge.screening.prediction.files import known_by_number, predicted, stream_input
    from ionbridge.screening.table import csv_lines
    from ionbridge.structures.plain_text import number_of

    at = Conditions(temperature_K=args.temperature_K)
    check_output(args.out, *args.input, args.cifs, args.model)
    data = stream_input(args.input, args.cifs, args.max_file_MB)
    say(data.found)
    known = known_by_number(data)
    columns, rows, _ = predicted(
        known,
        args.quantity,
        args.model,
        at,
        executor_from("local", args.workers),
        progress=sys.stderr.isatty(),
        potential=args.potential,
    )
    counts: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    last: dict[str, Any] = {}

    def counting() -> Iterator[dict[str, Any]]:
        for row in rows:
            counts[row["status"]] += 1
            notes["any"] += bool(row.get("note"))
            if row["status"] != "ok" and len(reasons) < MOST_REASONS:
                reasons[row.get("reason") or ""] += 1
            last.update(row)
            yield row

    write_atomically(args.out, csv_lines(counting(), columns))
    if counts["ok"] == 1 == counts.total():
        _say_answer(last)
    say(f"wrote {args.out} ({counted(counts)})")
    n_noted = notes["any"]
    if n_noted or (data.kind == "crystals" and counts["failed"]):
        how_many = f"{number_of(n_noted, 'row')} with a note; " if n_noted else ""
        say(f"{how_many}ionbridge inspect FILE shows what was read of a file")
    return USABLE if counts["ok"] else none_usable(counts.total(), reasons, known.records)


def _say_answer(row: dict[str, Any]) -> None:
    """The one answer in a sentence, where it is of a crystal or a hop."""
    from ionbridge.screening.sentences import crystal_sentence, hop_sentence
    from ionbridge.structures.plain_text import for_terminal

    if row.get("migration_barrier_eV") is not None:
        say(for_terminal(hop_sentence(row)))
    elif row.get("temperature_K") is not None and row.get("formula"):
        say(for_terminal(crystal_sentence(row)))
