"""``ionbridge predict``: one row out for each record in."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import (
    add_command,
    add_input,
    add_workers,
    check_output,
    counted,
    say,
    status,
)


def add(commands: Any) -> None:
    """Add the parser."""
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
    from ionbridge.screening.conduction import Conditions
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.execution import executor_from
    from ionbridge.screening.predictions import predict, read_input
    from ionbridge.screening.shards import write_atomically
    from ionbridge.screening.table import csv_lines

    if not 0 < args.temperature_K < float("inf"):
        raise InputError(f"--temperature-K: expected a positive number, got {args.temperature_K}")
    check_output(args.out, *args.input, args.cifs, args.model)
    data = read_input(args.input, args.cifs, args.max_file_MB)
    say(data.found)
    predictions = predict(
        data,
        args.quantity,
        args.model,
        Conditions(temperature_K=args.temperature_K),
        executor_from("local", args.workers),
        progress=sys.stderr.isatty(),
        potential=args.potential,
    )
    write_atomically(args.out, csv_lines(predictions.rows, predictions.columns))
    counts = Counter(row["status"] for row in predictions.rows)
    if len(predictions.rows) == 1 and predictions.n_ok:
        _say_answer(predictions.rows[0])
    say(f"wrote {args.out} ({counted(counts)})")
    n_noted = sum(bool(row.get("note")) for row in predictions.rows)
    if n_noted or (data.kind == "crystals" and counts["failed"]):
        notes = f"{n_noted} rows have a note; " if n_noted else ""
        say(f"{notes}ionbridge inspect FILE shows what was read of a file")
    return status(predictions.n_ok, predictions.rows)


def _say_answer(row: dict[str, Any]) -> None:
    """The one answer in a sentence, where it is of a crystal or a hop."""
    from ionbridge.screening.sentences import crystal_sentence, hop_sentence
    from ionbridge.structures.plain_text import for_terminal

    if row.get("migration_barrier_eV") is not None:
        say(for_terminal(hop_sentence(row)))
    elif row.get("temperature_K") is not None and row.get("formula"):
        say(for_terminal(crystal_sentence(row)))
