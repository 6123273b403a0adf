"""``ionbridge cell age`` and ``ionbridge cell life``: how cells grow old."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import add_command, check_output, counted, say, status


def add_verbs(verbs: Any) -> None:
    """Add both to the verbs of ``ionbridge cell``."""
    age = add_command(
        verbs,
        "age",
        _age,
        "fade, cycles to the end of life and losses by mechanism for a table of ways of cycling",
        "ionbridge cell age cyclings.csv --out ageing.csv\n\n"
        "cyclings.csv (cycles_per_day may be left out; with it, days of rest age, too):\n"
        "  id,base_cell,charge_c_rate,discharge_c_rate,temperature_K,depth_of_discharge,"
        "cycles_per_day\n"
        "  car,LFP,0.5,0.5,298.15,0.7,1",
    )
    age.add_argument("cyclings", type=Path, metavar="CYCLINGS.csv", help="one cell a row")
    age.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="table of KPIs")
    life = add_command(
        verbs,
        "life",
        _life,
        "cycle life of real cells: LFP from the first hundred cycles, NMC from their formation",
        "ionbridge cell life features.csv --out lives.csv\n\n"
        "features.csv: cell,log10_var_dQ_100_10,min_dQ_100_10,mean_dQ_100_10 and, where known,\n"
        "qmax_cycle2_Ah; dQ is the change of the discharge curve Q(V) from cycle 10 to 100, Ah.\n"
        "Or: cell,form_first_cycle_efficiency,form_c20_charge_right_peak_v_per_ah, what formation\n"
        "shows of NMC/graphite pouch cells",
    )
    life.add_argument("features", type=Path, metavar="FEATURES.csv", help="one cell a row")
    life.add_argument(
        "--model",
        metavar="NAME|DIR",
        help="default: cycle-life or formation-life, by the columns of the table",
    )
    life.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="table of lives")


def _age(args: argparse.Namespace) -> int:
    from ionbridge.screening.cell.life_tables import AGEING_COLUMNS, ageing_rows

    check_output(args.out, args.cyclings)
    return _write(ageing_rows(args.cyclings), args.out, AGEING_COLUMNS)


def _life(args: argparse.Namespace) -> int:
    from ionbridge.models import library
    from ionbridge.screening.cell.life_tables import (
        LIFE_COLUMNS,
        LIFE_TABLES,
        life_model,
        life_rows,
    )
    from ionbridge.screening.errors import InputError

    check_output(args.out, args.features, args.model)
    model = library.load(args.model or life_model(args.features))
    if model.kind not in LIFE_TABLES:
        raise InputError(f"--model {args.model}: a model of cycle life is wanted (cycle-life)")
    return _write(life_rows(args.features, model), args.out, LIFE_COLUMNS)


def _write(rows: Sequence[dict[str, Any]], out: Path, columns: Sequence[str]) -> int:
    from ionbridge.screening.execution.shards import write_atomically
    from ionbridge.screening.table import csv_lines

    write_atomically(out, csv_lines(rows, columns))
    counts = Counter(row["status"] for row in rows)
    say(f"wrote {out}: {counted(counts)}")
    return status(counts["ok"], rows)
