"""Cycle life of real LFP cells from their first 100 cycles: which prior knowledge helps few cells?

    python -m benchmarks.cycle_life --data DIR [--ship MODEL_DIR]

Prints the table, writes benchmarks/results/cycle_life.json and, with --ship, fits all cells and
writes the model folder with these scores in its card.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ageing_simulation import SHIPPED_RUNS, load_runs
from ionbridge.models.cells.cycle_life import ONE_FEATURE, SCALING, SIMULATED, CycleLife, SlopePrior
from ionbridge.screening.cell.ageing_base import LCO, LFP
from ionbridge.screening.table import Row
from ionbridge.structures.sources import cell_ageing
from ionbridge.structures.sources.cell_ageing import CapacitySeries

RESULT = Path(__file__).parent / "results" / "cycle_life.json"
N_CELLS = (2, 5, 10, 20, 40)
N_DRAWS = 500
SHIPPED = "two features, simulated LFP cells (shipped)"
EARLY = (10.0, 100.0)
"""Cycles between which the change of the discharge curve is taken."""
Floats = NDArray[np.float64]


def slope_prior(change: Floats, life: Floats, source: str) -> SlopePrior:
    """Slope of log10 life against log10 of a variance that goes with the square of the change.

    The prior's spread is the standard error of the slope, not less than 0.05.
    """
    x, y = 2 * np.log10(change), np.log10(life)
    x = x - x.mean()
    slope = float(x @ (y - y.mean()) / (x @ x))
    rest = y - y.mean() - slope * x
    error = float(np.sqrt(rest @ rest / max(len(x) - 2, 1) / (x @ x)))
    return SlopePrior(round(slope, 3), round(max(error, 0.05), 3), 0.0, 0.0, source)


def real_prior(cells: Sequence[CapacitySeries], source: str) -> SlopePrior:
    """From real cells: loss of capacity between the early cycles, and cycles to 80 %."""
    lives = [cell.cycle_life() for cell in cells]
    early, late = EARLY
    change = [cell.relative_loss(late) - cell.relative_loss(early) for cell in cells]
    return slope_prior(np.array(change), np.array(lives, dtype=float), source)


def simulated_prior(rows: Sequence[Row], source: str) -> SlopePrior:
    """From simulated cells; their lives follow the power law of the second half of the run."""
    changes, lives = [], []
    for row in rows:
        cycle = np.array(row["cycle"][1:])
        lost = 1 - np.array(row["capacity_Ah"][1:]) / row["capacity_Ah"][0]
        early, middle = np.interp(EARLY, cycle, lost)
        half = np.interp(cycle[-1] / 2, cycle, lost)
        power = np.log(lost[-1] / half) / np.log(2)
        changes.append(middle - early)
        lives.append(cycle[-1] * (0.2 / lost[-1]) ** (1 / power))
    return slope_prior(np.array(changes), np.array(lives), source)


def methods(data: Path) -> dict[str, SlopePrior]:
    calce = cell_ageing.load_calce(data).records
    nasa = cell_ageing.load_nasa(data).records
    found = {
        "one feature (published)": ONE_FEATURE,
        "two features, no prior": SlopePrior(0.0, 1e6, 0.0, 1e6, "none"),
        "one feature, scaling": SlopePrior(-0.5, 0.1, 0.0, 0.0, SCALING.source),
        "one feature, 4 CALCE LCO cells": real_prior(calce, "CALCE CS2 LCO cells"),
        "one feature, 4 NASA cells": real_prior(nasa, "NASA 18650 cells"),
    }
    if SHIPPED_RUNS.exists():
        rows = [row for row in load_runs() if row["status"] == "ok"]
        for name, base in (("LCO", LCO), ("LFP", LFP)):
            ours = [row for row in rows if row["base_cell"] == base]
            source = f"{len(ours)} simulated {name} cells"
            prior = simulated_prior(ours, source)
            found[f"one feature, simulated {name} cells"] = prior
            if base == LCO:
                found["two features, simulated LCO cells"] = replace(
                    prior, reserve_slope=1.0, reserve_slope_std=1.0
                )
    return found | {"two features, scaling": SCALING, SHIPPED: SIMULATED}


def errors(prior: SlopePrior, cells: Sequence[Any], train: Any, test: Any) -> tuple[float, float]:
    """Mean absolute error and coverage of the 90 % interval, percent."""
    life = np.array([cell.cycle_life for cell in cells])
    model = CycleLife(prior).fit([cells[i] for i in train], life[train])
    found, lower, upper = model.lives([cells[i] for i in test])
    inside = (lower <= life[test]) & (life[test] <= upper)
    return float(100 * np.mean(np.abs(found / life[test] - 1))), float(100 * inside.mean())


def table(cells: Sequence[Any], priors: dict[str, SlopePrior]) -> dict[str, Any]:
    """By number of training cells and method; the draws are the same for all methods."""
    result: dict[str, Any] = {}
    for n in N_CELLS:
        rng = np.random.default_rng(n)
        draws = [rng.permutation(len(cells)) for _ in range(N_DRAWS)]
        if n == len(cells) - 1:  # every cell is left out once
            draws = [np.r_[np.delete(np.arange(len(cells)), k), k] for k in range(len(cells))]
        found = {
            name: np.array([errors(prior, cells, d[:n], d[n:]) for d in draws])
            for name, prior in priors.items()
        }
        rival = found["one feature (published)"][:, 0]
        result[str(n)] = {}
        for name, values in found.items():
            mape = values[:, 0]
            row: dict[str, Any] = {
                "mape_median": round(float(np.median(mape)), 1),
                "mape_mean": round(float(np.mean(np.minimum(mape, 1000.0))), 1),
                "coverage_90": round(float(values[:, 1].mean()), 1),
            }
            if n < len(cells) - 1:
                row["mape_90_percent_of_draws"] = [
                    round(float(v), 1) for v in np.quantile(mape, [0.05, 0.95])
                ]
                row["better_than_published_in"] = round(float(np.mean(mape < rival)), 3)
            result[str(n)][name] = row
            print(f"{n:3d} {name:38s} {json.dumps(row)}", flush=True)
    return result


def card(results: dict[str, Any], cells: Sequence[Any]) -> dict[str, Any]:
    """The card of the shipped model."""
    return {
        "name": "cycle-life",
        "predicts": "cycles to 80 % of the nominal 1.1 Ah",
        "quantity": "cycle_life",
        "inputs": [
            "log10_var_dQ_100_10: log10 of the variance of Q100(V) - Q10(V), Ah^2",
            "qmax_cycle2_Ah: discharge capacity at cycle 2, where known",
        ],
        "chemistries": ["LFP/graphite"],
        "trained_on": {
            "data": cell_ageing.SEVERSON.title,
            "home": cell_ageing.SEVERSON.home,
            "citation": cell_ageing.SEVERSON.citation,
            "n_cells": len(cells),
            "prior": SIMULATED.source,
        },
        "validation": {
            "protocol": f"{N_DRAWS} random draws of the training cells, tested on the others; "
            "percent of the life; 40 cells: each left out once. The two features and the prior "
            "were chosen on the same cells, so expect new cells to come out somewhat worse",
            **{
                n: {
                    name: results["table"][n][name] for name in ("one feature (published)", SHIPPED)
                }
                for n in results["table"]
            },
        },
        "limits": [
            "one cell type (1.1 Ah 18650) at 30 degrees, charged fast by different policies, "
            "discharged at 4C: other cells are a guess",
            "the variance of dQ is taken over the discharge at 4C as published",
        ],
        "licence": "MIT",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--ship", type=Path, help="write the model folder here")
    args = parser.parse_args()
    cells = cell_ageing.load_severson(args.data).records
    priors = methods(args.data)
    results: dict[str, Any] = {
        "data_sha256": {
            **cell_ageing.SEVERSON.checksums(args.data),
            **cell_ageing.CALCE.checksums(args.data),
            **cell_ageing.NASA.checksums(args.data),
        },
        "n_cells": len(cells),
        "n_draws": N_DRAWS,
        "priors": {name: asdict(prior) for name, prior in priors.items()},
        "table": table(cells, priors),
    }
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if args.ship:
        lives = [cell.cycle_life for cell in cells]
        model = CycleLife().fit(cells, [life for life in lives if life is not None])
        model.save(args.ship, card(results, cells))


if __name__ == "__main__":
    main()
