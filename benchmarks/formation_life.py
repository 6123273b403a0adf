"""Cycle life of NMC pouch cells from their formation alone, with few labels.

Cells are drawn as labels, all others are predicted; the error is the mean of |found / lived - 1|.
Beside the mean of the labels: the mean of those formed and aged alike, one published signal (charge
below 3.2 V in the first discharge, least squares), each of our two signals alone, and both with a
prior. The two signals and the prior were chosen on these cells.

    python -m benchmarks.formation_life --data DIR [--ship MODEL_DIR]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cells.formation_life import FormationLife
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.sources.formation import FILE, SOURCE, FormedCell, load_formation

RESULT = Path(__file__).parent / "results" / "formation_life.json"
LIVES = ("cycles_to_80_pct", "cycles_to_70_pct")
N_LABELS, N_DRAWS = (5, 10, 20), 500
PUBLISHED = "form_first_discharge_capacity_below_3p2v_ah"
SHIPPED = "two signals with a prior (shipped)"
LEAST, MOST = 10.0, 1e5
"""Cycles: no prediction goes beyond."""
Floats = NDArray[np.float64]
Way = Callable[[NDArray[np.intp], NDArray[np.intp]], tuple[Floats, Floats | None]]


def ways(cells: tuple[FormedCell, ...], published: Floats) -> dict[str, Way]:
    """Name -> labelled and other cells -> lives found and, where stated, (2, n) 90 % intervals."""
    logs = np.log10([cell.cycle_life or np.nan for cell in cells])
    groups = np.array([cell.group for cell in cells])
    signals = FormationLife().features(cells)

    def mean(known: NDArray[np.intp], asked: NDArray[np.intp]) -> tuple[Floats, None]:
        return np.full(len(asked), 10 ** logs[known].mean()), None

    def alike(known: NDArray[np.intp], asked: NDArray[np.intp]) -> tuple[Floats, None]:
        own = [logs[known][groups[known] == groups[i]] for i in asked]
        return 10 ** np.array([o.mean() if len(o) else logs[known].mean() for o in own]), None

    def line(x: Floats) -> Way:
        def fitted(known: NDArray[np.intp], asked: NDArray[np.intp]) -> tuple[Floats, None]:
            slope, offset = np.polyfit(x[known], logs[known], 1)
            found = np.clip(offset + slope * x[asked], np.log10(LEAST), np.log10(MOST))
            return 10**found, None

        return fitted

    def shipped(known: NDArray[np.intp], asked: NDArray[np.intp]) -> tuple[Floats, Floats]:
        model = FormationLife().fit([cells[i] for i in known], (10 ** logs[known]).tolist())
        found, lower, upper = model.lives([cells[i] for i in asked])
        return found, np.array([lower, upper])

    return {
        "mean of the labels": mean,
        "mean of cells formed and aged alike": alike,
        "one signal (published), least squares": line(published),
        "efficiency of the first cycle, least squares": line(signals[:, 0]),
        "right peak at C/20, least squares": line(signals[:, 1]),
        SHIPPED: shipped,
    }


def scores(cells: tuple[FormedCell, ...], published: Floats) -> dict[str, Any]:
    """By number of labels and way; the draws are the same for all ways."""
    life = np.array([cell.cycle_life for cell in cells], dtype=float)
    answer: dict[str, Any] = {}
    for n in N_LABELS:
        rng = np.random.default_rng(n)
        draws = [rng.permutation(len(cells)) for _ in range(N_DRAWS)]
        answer[str(n)] = {}
        for name, way in ways(cells, published).items():
            errors, inside = [], []
            for draw in draws:
                found, ends = way(draw[:n], draw[n:])
                true = life[draw[n:]]
                errors.append(100.0 * float(np.mean(np.abs(found / true - 1.0))))
                if ends is not None:
                    inside.append(100.0 * float(np.mean((ends[0] <= true) & (true <= ends[1]))))
            low, high = np.quantile(errors, [0.05, 0.95])
            answer[str(n)][name] = {
                "mape_mean": round(float(np.mean(errors)), 1),
                "mape_median": round(float(np.median(errors)), 1),
                "mape_90_percent_of_draws": [round(float(low), 1), round(float(high), 1)],
                **({"coverage_90": round(float(np.mean(inside)), 1)} if inside else {}),
            }
    return answer


def card(table: Mapping[str, Any], n_cells: int) -> dict[str, Any]:
    """Of the shipped model."""
    return {
        "name": "formation-life",
        "predicts": "cycles to 80 % of the first capacity, from formation alone",
        "quantity": "cycle_life",
        "inputs": [
            "form_first_cycle_efficiency: charge given back in the first cycle over that put in",
            "form_c20_charge_right_peak_v_per_ah: right peak of dV/dQ on the C/20 charge",
        ],
        "chemistries": ["NMC111/graphite"],
        "trained_on": {
            "data": SOURCE.title,
            "home": SOURCE.home,
            "citation": SOURCE.citation,
            "n_cells": n_cells,
            "methods": ["experiment"],
        },
        "validation": {
            "protocol": f"{N_DRAWS} random draws of the cells, tested on the others; percent of "
            "the life. The two signals and the prior were chosen on these cells, so expect new "
            "cells to come out somewhat worse",
            **{
                n: {name: table[n][name] for name in ("mean of the labels", SHIPPED)} for n in table
            },
        },
        "limits": [
            "one cell type (2.4 Ah pouch), two ways of formation, aged at 25 or 45 C: other cells "
            "need labels of their own",
            "most of what it knows is which way a cell was formed",
        ],
        "licence": "MIT",
    }


def main() -> None:
    """Print the table, write the result, ship the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--ship", type=Path, help="write the model folder here")
    args = parser.parse_args()
    with (args.data / FILE).open(encoding="utf-8-sig", newline="") as stream:
        by_cell = {row["cellid"]: float(row[PUBLISHED]) for row in csv.DictReader(stream)}
    tables: dict[str, Any] = {}
    for life in LIVES:
        cells = load_formation(args.data, life).records
        tables[life] = scores(cells, np.array([by_cell[c.cell] for c in cells]))
        for n, found in tables[life].items():
            for name, row in found.items():
                print(f"{life} {n:>3s} labels  {name:46s} {row}", flush=True)
    cells = load_formation(args.data).records
    write_json(
        RESULT,
        {
            "data_sha256": SOURCE.checksums(args.data),
            "n_cells": len(cells),
            "n_draws": N_DRAWS,
            "error": "mean of |found / lived - 1| over the cells that gave no label, percent",
            "target": {"labels": 10, "percent": 15.0, "moonshot_percent": 8.0},
            "table": tables,
        },
    )
    if args.ship:
        model = FormationLife().fit(cells, [c.cycle_life for c in cells if c.cycle_life])
        model.save(args.ship, card(tables[LIVES[0]], len(cells)))


if __name__ == "__main__":
    main()
