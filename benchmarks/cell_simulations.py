"""The training data of the reduced-order cell models, and how fast they are solved.

Constant-current discharges (DFN, 298.15 K) of every base cell, Sobol designs, half of them
diffusion-limited. Resumable; one folder a base cell. What was solved, how fast and what failed goes
to ``benchmarks/results/cell_simulations.json``.

    python -m benchmarks.cell_simulations --out results/cell_simulations --workers 2
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.cell_designs import Space, sobol_designs
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.discharge import discharge
from ionbridge.screening.cell.simulation import DESIGNS_FILE, processes, simulate, stored_rows
from ionbridge.screening.execution.shards import write_json

RESULTS = Path(__file__).parent / "results" / "cell_simulations.json"

SEED = 0
OTHER_CURVES = Space(tilt_V=(0.0, 0.3), step_V=(0.0, 0.15))
"""Cathodes that no set has: the open-circuit curve tilted and stepped."""

PLAN: dict[str, tuple[int, Space]] = {
    "Ai2020_extended": (700, Space()),
    "Prada2013_balanced": (700, Space()),
    "Marquis2019": (400, Space()),
    "Chen2020": (400, Space()),
    "Ramadass2004": (400, Space()),
    "Mohtat2020": (400, Space()),
    "OKane2022": (400, Space()),
    "Ai2020_extended.curves": (300, OTHER_CURVES),
    "Chen2020.curves": (300, OTHER_CURVES),
    "Mohtat2020.curves": (300, OTHER_CURVES),
}
"""Folder -> number of designs and their space; what follows the base cell's name after a dot tells
one folder of it from another."""

UNSTRATIFIED = {"Prada2013_balanced.unstratified": (128, replace(Space(), fourier=(0.02, 10.0)))}
"""The same space without the stratification, for the comparison of the two."""


def designs_of(folder: str) -> list[Design]:
    """The designs of one folder of the plan."""
    n, space = {**PLAN, **UNSTRATIFIED}[folder]
    return sobol_designs(
        folder.split(".")[0], n, SEED, space, stratified=folder not in UNSTRATIFIED
    )


def main() -> None:
    """Solve what is not solved yet; write the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/cell_simulations"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--time", action="store_true", help="measure processor time of a few designs, solve no more"
    )
    parser.add_argument("--only", nargs="*", help="folders of the plan (default: all)")
    args = parser.parse_args()
    summary: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if args.time:
        for folder in args.only or ["Ai2020_extended", "Prada2013_balanced"]:
            summary.setdefault(folder, {})["processor_time"] = processor_time(folder)
            write_json(RESULTS, summary)
            print(folder, summary[folder]["processor_time"])
        return
    for folder in args.only or [*PLAN, *UNSTRATIFIED]:
        summary[folder] = solve(folder, args.out / folder, args.workers, summary.get(folder, {}))
        write_json(RESULTS, summary)
        print(folder, json.dumps(summary[folder]["solved"]), summary[folder].get("per_second"))


def processor_time(folder: str, n: int = 32) -> dict[str, float]:
    """Processor seconds of a design once the model is built; a busy machine does not change them.

    What two processes of a free two-core machine solve a second follows from them.
    """
    designs = designs_of(folder)[:n]
    discharge(designs[0])
    start = time.process_time()
    for design in designs:
        discharge(design)
    each = (time.process_time() - start) / n
    return {"n": n, "seconds_each": round(each, 4), "per_second_on_two_cores": round(2.0 / each, 1)}


def solve(folder: str, out: Path, workers: int, before: dict[str, Any]) -> dict[str, Any]:
    """Solve one folder and say how it went; the speed is that of the run that solved most."""
    designs = designs_of(folder)
    start, n_solved = time.perf_counter(), 0
    bar = tqdm(total=len(designs), desc=folder, disable=not sys.stderr.isatty())
    for _, rows in simulate(designs, out, processes(workers), resume=True):
        n_solved += len(rows)
        bar.update(len(rows))
    seconds = time.perf_counter() - start
    rows = stored_rows(out)
    timed = {"processor_time": before["processor_time"]} if "processor_time" in before else {}
    speed = (
        {
            "n_timed": n_solved,
            "per_second": round(n_solved / seconds, 2),
            "workers": workers,
            "load_average": round(os.getloadavg()[1], 1),
        }
        if n_solved >= before.get("n_timed", 1)
        else {k: before[k] for k in ("n_timed", "per_second", "workers", "load_average")}
    )
    reasons = Counter(row["reason"] for row in rows if row["status"] != "ok")
    return {
        "n_designs": len(designs),
        "solved": sum(row["status"] == "ok" for row in rows),
        "failed": dict(reasons.most_common(5)),
        "diffusion_limited": sum(
            row["status"] == "ok" and row["fourier"] < Space().diffusion_limited for row in rows
        ),
        **speed,
        **timed,
        "seed": SEED,
        "space": asdict({**PLAN, **UNSTRATIFIED}[folder][1]),
        "designs_sha256": hashlib.sha256((out / DESIGNS_FILE).read_bytes()).hexdigest(),
    }


if __name__ == "__main__":
    main()
