"""``ionbridge label neb``: migration barriers by the nudged elastic band."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import (
    add_calculator,
    add_command,
    add_workers,
    check_output,
    counted,
    say,
    status,
)


def add(methods: Any) -> None:
    """Add the parser of this command to the others."""
    method = add_command(
        methods,
        "neb",
        _run,
        "migration barriers of hops, or of the hops of crystals, by the nudged elastic band: end "
        "points relaxed, path from bond valences, climbing image, symmetry used. The file grows "
        "hop by hop; run again, the command goes on where it was",
        "ionbridge label neb LiFePO4.cif --calculator chgnet --out hops.jsonl",
    )
    method.add_argument("input", nargs="+", type=Path, metavar="INPUT", help="hops or crystals")
    method.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="hop records (.jsonl, .jsonl.gz)"
    )
    add_calculator(method)
    method.add_argument(
        "--images", type=int, default=5, metavar="N", help="images between the ends (default: 5)"
    )
    method.add_argument(
        "--fmax-eV-A",
        type=float,
        default=0.05,
        metavar="F",
        help="largest force of a converged band, eV/angstrom (default: 0.05)",
    )
    method.add_argument(
        "--steps", type=int, default=200, metavar="N", help="most steps of a band (default: 200)"
    )
    method.add_argument(
        "--max-atoms", type=int, default=200, metavar="N", help="largest cell (default: 200)"
    )
    method.add_argument(
        "--max-hops", type=int, metavar="N", help="only the N shortest hops of each crystal"
    )
    method.add_argument(
        "--time-limit-min",
        type=float,
        default=60.0,
        metavar="T",
        help="longest time for one hop, minutes (default: 60)",
    )
    method.add_argument(
        "--relax-cell",
        action="store_true",
        help="relax the cells of crystals first (default: only the positions of their atoms)",
    )
    add_workers(method)


def _run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ionbridge.screening.errors import InputError
    from ionbridge.screening.execution.executor import LocalProcesses
    from ionbridge.screening.execution.executors import executor_from
    from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
    from ionbridge.screening.labelling.bands.neb import NebSettings
    from ionbridge.screening.labelling.bands.neb_labels import NebLabeller, label_neb, neb_tasks
    from ionbridge.screening.prediction.files import read_input
    from ionbridge.structures.plain_text import number_of
    from ionbridge.structures.records import Crystal, FailedRecord, Hop

    settings = NebSettings(
        n_images=args.images,
        fmax_eV_A=args.fmax_eV_A,
        max_steps=args.steps,
        max_atoms=args.max_atoms,
        time_limit_min=args.time_limit_min,
        relax_cell=args.relax_cell,
    )
    labeller = NebLabeller(
        CalculatorChoice.parsed(args.calculator, args.calculator_arguments), settings
    )
    check_output(args.out, *args.input)
    data = read_input(args.input)
    if data.kind == "conductivity_table":
        raise InputError("label neb needs hops or crystals, not a conductivity table")
    say(data.found)
    records = [r for r in data.records if isinstance(r, Crystal | Hop | FailedRecord)]
    tasks = neb_tasks(records, args.max_hops)
    executor = executor_from("local", args.workers)
    if isinstance(executor, LocalProcesses):
        executor = LocalProcesses(
            executor.n_workers, preload=("ionbridge.screening.labelling.bands.neb_labels",)
        )
    say(number_of(sum(not isinstance(task, FailedRecord) for task in tasks), "hop"))
    with tqdm(total=len(tasks), unit=" hops", disable=not sys.stderr.isatty()) as bar:
        rows = label_neb(tasks, labeller, args.out, executor, lambda row: bar.update())
    counts = Counter(row["status"] for row in rows)
    say(f"wrote {args.out} ({counted(counts)})")
    return status(counts["ok"], rows, records)
