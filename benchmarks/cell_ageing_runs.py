"""Training runs of the ageing model: how they are made, and how exact they are.

    python -m benchmarks.cell_ageing_runs --work DIR [--lco N] [--lfp N] [--ship]

Resumable: what is in DIR is not solved again. Writes benchmarks/results/cell_ageing_runs.json and,
with --ship, benchmarks/data/ageing_runs.jsonl.gz.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ageing_parameters import ADDITIONS
from benchmarks.ageing_simulation import (
    CHANNELS,
    OPTIONS,
    SHIPPED_RUNS,
    Numerics,
    load_runs,
    save_runs,
    simulate_runs,
    training_design,
)
from ionbridge.models.checkpoint import sha256
from ionbridge.screening.cell.ageing_base import BASES
from ionbridge.screening.execution.executor import LocalProcesses
from ionbridge.screening.table import Row

RESULT = Path(__file__).parent / "results" / "cell_ageing_runs.json"
CHECKED = (2, 0)
"""Places in the design, of both cells, that are solved again more exactly."""
NUMERICS = Numerics(compiled=True)
EXACT = {
    "every cycle solved": replace(NUMERICS, every_cycle=True),
    "40 points in a particle, 8 in each layer, tolerance 1e-6, 20 cycles": replace(
        NUMERICS,
        n_cycles=20,
        particle_points=40,
        electrolyte_points=8,
        relative_tolerance=1e-6,
        absolute_tolerance=1e-8,
        compiled=False,
    ),
}


def difference(row: Row, exact: Row) -> dict[str, float]:
    """Largest deviation in the second half of the exact run, percent, by channel."""
    cycle = np.array(exact["cycle"])
    late = cycle >= cycle[-1] / 2
    found = {}
    for name in (*CHANNELS, "capacity_Ah"):
        ours = np.interp(cycle[late], row["cycle"], row[name])
        found[name] = round(float(100 * np.max(np.abs(ours / np.array(exact[name])[late] - 1))), 3)
    return found


def summary(rows: list[Row]) -> dict[str, Any]:
    """Spread of the losses at the last cycle, by cell."""
    found: dict[str, Any] = {}
    for base in BASES:
        ours = [row for row in rows if row["base_cell"] == base]
        done = [row for row in ours if row["status"] == "ok"]
        found[base] = {
            "n": len(ours),
            "n_ok": len(done),
            "failed": [[row["id"], row["reason"]] for row in ours if row["status"] != "ok"],
            "median_seconds": round(float(np.median([row["seconds"] for row in done])), 1),
            "last_cycle_5_50_95_percent": {
                name: [float(f"{v:.3g}") for v in np.quantile(values, [0.05, 0.5, 0.95])]
                for name in CHANNELS
                for values in [[row[name][-1] for row in done]]
            },
            "capacity_lost_percent_5_50_95": [
                float(f"{v:.3g}")
                for v in np.quantile(
                    [100 * (1 - r["capacity_Ah"][-1] / r["capacity_Ah"][0]) for r in done],
                    [0.05, 0.5, 0.95],
                )
            ],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the solved runs")
    parser.add_argument("--lco", type=int, default=60, help="LCO runs (default 60)")
    parser.add_argument("--lfp", type=int, default=24, help="LFP runs (default 24)")
    parser.add_argument("--ship", action="store_true", help="write the runs into the package")
    parser.add_argument("--no-check", action="store_true", help="leave out the more exact runs")
    args = parser.parse_args()
    one = LocalProcesses(1, preload=("benchmarks.ageing_simulation",))
    runs = training_design(args.lco, args.lfp)
    rows = simulate_runs(runs, args.work / "runs", NUMERICS, one)
    results: dict[str, Any] = {"runs": summary(rows), "exactness_percent": {}}
    if not args.no_check:
        for k, (name, numerics) in enumerate(EXACT.items()):
            chosen = [runs[i] for i in CHECKED]
            exact = simulate_runs(chosen, args.work / f"exact-{k}", numerics, one)
            results["exactness_percent"][name] = {
                row["id"]: difference(rows[i], row)
                for i, row in zip(CHECKED, exact, strict=True)
                if row["status"] == "ok"
            }
    if args.ship:
        save_runs(rows, SHIPPED_RUNS)
        assert len(load_runs()) == len(rows)
    if SHIPPED_RUNS.exists():
        results["data_sha256"] = {SHIPPED_RUNS.name: sha256(SHIPPED_RUNS)}
    results["settings"] = {
        "numerics": asdict(NUMERICS),
        "options": OPTIONS,
        "added_parameters": {
            name: [
                {"source": a.source, "reason": a.reason, "n": len(a.names or a.values or ())}
                for a in additions
            ]
            for name, additions in ADDITIONS.items()
        },
    }
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results["runs"], indent=1))
    print(json.dumps(results["exactness_percent"], indent=1))


if __name__ == "__main__":
    main()
