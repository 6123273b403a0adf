"""``ionbridge finetune``: adapt a model to labelled hops."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from screening.commands.command import USABLE, add_command, check_output, say


def add(commands: Any) -> None:
    """Add the parser."""
    command = add_command(
        commands,
        "finetune",
        _run,
        "adapt a model to labelled hops; the way to do so is measured unless it is given",
        "ionbridge finetune --labels my-hops.jsonl --out models/mine",
    )
    command.add_argument(
        "--labels", type=Path, required=True, metavar="FILE", help="hops with barrier_eV"
    )
    command.add_argument(
        "--base", metavar="NAME|DIR", help="model to start from (default: the best shipped one)"
    )
    command.add_argument(
        "--quantity", choices=("migration_barrier",), help="default: what fits the labels"
    )
    command.add_argument(
        "--strategy",
        default="auto",
        metavar="NAME",
        help="auto (default: measured), full, gradual, heads, lora, scratch, ...",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    command.add_argument(
        "--out", type=Path, required=True, metavar="MODEL_DIR", help="folder of the model"
    )


def _run(args: argparse.Namespace) -> int:
    import numpy as np

    from models.adaptation import Base, adapt
    from models.library import DEFAULTS
    from screening.errors import InputError
    from screening.predictions import read_input
    from structures.records import Hop

    check_output(args.out / "card.yaml")
    data = read_input([args.labels])
    say(data.found)
    hops = [r for r in data.records if isinstance(r, Hop) and r.barrier_eV is not None]
    if not hops:
        raise InputError(f"{args.labels}: no hop with a barrier_eV to learn from")
    try:
        base = Base.of(args.base or DEFAULTS["migration_barrier"])
        model = adapt(
            hops,
            np.array([hop.barrier_eV for hop in hops]),
            base,
            args.strategy,
            seed=args.seed,
            progress=sys.stderr.isatty(),
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    model.save(args.out, model.card_)
    say(f"wrote {args.out} ({len(hops)} of {len(data.records)} records had a barrier)")
    return USABLE
