"""``ionbridge label bvse``: bond-valence barriers."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import add_command, check_output, counted, say, status


def add(methods: Any) -> None:
    """Add the parser of this command to the others."""
    method = add_command(
        methods,
        "bvse",
        _run,
        "bond-valence barriers of hops, or of the hops of crystals",
        "ionbridge label bvse crystals.jsonl --out hops.jsonl",
    )
    method.add_argument("input", nargs="+", type=Path, metavar="INPUT", help="hops or crystals")
    method.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="hop records (.jsonl, .jsonl.gz)"
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.labelling.bands.bvse import bvse_labels
    from ionbridge.screening.prediction.files import read_input
    from ionbridge.structures.io.reading import write_json_lines
    from ionbridge.structures.records import Crystal, FailedRecord, Hop

    check_output(args.out, *args.input)
    data = read_input(args.input)
    if data.kind == "conductivity_table":
        raise InputError("label bvse needs hops or crystals, not a conductivity table")
    say(data.found)
    records = [r for r in data.records if isinstance(r, Crystal | Hop | FailedRecord)]
    labels = list(bvse_labels(records))
    write_json_lines(args.out, labels)
    counts = Counter(label["status"] for label in labels)
    say(f"wrote {args.out} ({counted(counts)})")
    return status(counts["ok"], labels, records)
