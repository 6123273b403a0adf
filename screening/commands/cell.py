"""``ionbridge cell``: candidates in a cell, by simulation or by reduced-order model."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from screening.commands.command import add_command, add_workers, counted, say, status


def add(commands: Any) -> None:
    """Add the parser and its verbs."""
    command = add_command(
        commands,
        "cell",
        _say_verbs,
        "discharge cells: simulate, predict, train, transfer, export",
        "ionbridge cell simulate designs.csv --out results/designs",
    )
    verbs = command.add_subparsers(metavar="VERB", required=True)
    _add_simulate(verbs)


def _say_verbs(args: argparse.Namespace) -> int:
    """Never called: a verb is required."""
    raise AssertionError("a verb is required")


def _add_simulate(verbs: Any) -> None:
    simulate = add_command(
        verbs,
        "simulate",
        _simulate,
        "solve a table of designs with a physics-based model (PyBaMM)",
        "ionbridge cell simulate designs.csv --out results/designs --resume\n\n"
        "designs.csv, one discharge from full charge a row; further columns replace the base\n"
        "cell's values (an empty cell leaves it):\n"
        "  design_id,base_cell,c_rate,temperature_K,Positive particle diffusivity [m2.s-1]\n"
        "  slow,Ai2020_extended,1,298.15,1e-15\n"
        "  fast,Ai2020_extended,1,298.15,1e-13",
    )
    simulate.add_argument("designs", type=Path, metavar="DESIGNS.csv", help="one design a row")
    simulate.add_argument(
        "--model",
        choices=("DFN", "SPMe", "SPM"),
        default="DFN",
        help="how much physics (default: DFN, porous electrodes)",
    )
    simulate.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of results"
    )
    simulate.add_argument(
        "--resume", action="store_true", help="go on with what is solved in DIR already"
    )
    simulate.add_argument(
        "--time-limit-s",
        type=float,
        default=60.0,
        metavar="S",
        help="longest time for one design (default: 60)",
    )
    add_workers(simulate)


def _simulate(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from screening.cell.designs import read_designs
    from screening.cell.simulation import Discharges, processes, simulate, stored_rows
    from screening.cell.tables import write_tables
    from screening.errors import InputError

    if not 0 < args.time_limit_s < float("inf"):
        raise InputError(f"--time-limit-s: expected a positive number, got {args.time_limit_s}")
    designs = read_designs(args.designs)
    executor = processes(args.workers)
    work = Discharges(args.model, args.time_limit_s)
    with tqdm(total=len(designs), unit="cell", disable=not sys.stderr.isatty()) as bar:
        for _, solved in simulate(designs, args.out, executor, work, args.resume):
            bar.update(len(solved))
    rows = stored_rows(args.out)
    write_tables(rows, args.out)
    counts = Counter(row["status"] for row in rows)
    say(f"wrote {args.out / 'kpis.csv'} and curves.csv ({counted(counts)})")
    return status(counts["ok"], rows)
