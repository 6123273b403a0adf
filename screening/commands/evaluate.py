"""``ionbridge evaluate``: predictions against labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import (
    add_command,
    add_input,
    add_workers,
    check_output,
    say,
    status,
)


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    command = add_command(
        commands,
        "evaluate",
        _run,
        "compare predictions with the labels of an input, and with simple models",
        "ionbridge evaluate hops.jsonl.gz --out scores.json",
    )
    add_input(command, many=False)
    command.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the scores")
    add_workers(command)


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.execution.executors import executor_from
    from ionbridge.screening.execution.shards import write_json
    from ionbridge.screening.prediction.conduction import Conditions
    from ionbridge.screening.prediction.evaluation import evaluate
    from ionbridge.screening.prediction.files import predict, read_input
    from ionbridge.structures.plain_text import number_of

    check_output(args.out, *args.input, args.cifs, args.model)
    data = read_input(args.input, args.cifs, args.max_file_MB)
    say(data.found)
    predictions = predict(
        data,
        args.quantity,
        args.model,
        Conditions(),
        executor_from("local", args.workers),
        progress=sys.stderr.isatty(),
    )
    result = evaluate(data, predictions)
    write_json(args.out, result)
    say(f"wrote {args.out} ({result['n_predicted']} of {result['n']} labelled rows predicted)")
    if result["mae"]["value"] is not None:
        say(_errors(result))
    if result["n_bounds"]:
        kept = result["bounds_kept"]
        share = "none of them predicted" if kept is None else f"{100 * kept:.0f} % of them kept"
        say(f"{number_of(result['n_bounds'], 'bound')} among the labels, scored apart: {share}")
    for name, why in result["baselines_missing"].items():
        say(f"no baseline {name}: {why}")
    if seen := result["n_in_training_set"]:
        say(
            f"ionbridge: {seen} of {result['n']} labelled rows are of base systems that "
            f"{predictions.model} was trained on: their errors say little about new ones"
        )
    return status(result["n_predicted"], predictions.rows, data.records)


def _errors(result: Mapping[str, Any]) -> str:
    """The error with its interval, beside those of the simple models."""

    def words(scores: Mapping[str, Any]) -> str:
        value, lower, upper = (scores["mae"][end] for end in ("value", "lower", "upper"))
        if value is None:
            return "unknown"
        return f"{value:.2f}" + ("" if lower is None else f" [{lower:.2f}, {upper:.2f}]")

    unit = "eV" if result["quantity"] == "migration_barrier" else "decades"
    simple = ", ".join(f"{name} {words(scores)}" for name, scores in result["baselines"].items())
    beside = f"; learnt from the other rows: {simple}" if simple else ""
    return f"mean absolute error {words(result)} {unit} [95 %]{beside}"
