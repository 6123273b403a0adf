"""How much faster the reduced-order model is than the full one: both in one run, CPU time.

Designs to results: full charge, closed form, networks, rows. The full model is the DFN as
``ionbridge cell simulate`` solves it, built once before the clock starts; on its usual mesh, where
the salt runs short on the finer one, too. Also counted: designs for which the predicted capacity
grows with the C-rate.

    python -m benchmarks.cell_rom_speed
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cell_designs import sobol_designs
from ionbridge.models.cells.cell_rom import CellRom
from ionbridge.models.library import load
from ionbridge.screening.cell.cell_model import N_THROUGH
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.discharge import FINER, discharge
from ionbridge.screening.cell.rom import STEPS, predict_designs
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.table import Row

RESULT = Path(__file__).parent / "results" / "cell_rom_speed.json"
MODELS = {"cell-rom-lfp": "Prada2013_balanced", "cell-rom-lco": "Ai2020_extended"}
N_BATCH, N_SINGLE, N_MONOTONE = 1000, 40, 200
STEP = 1.1
"""Factor between the C-rates of the monotonicity check."""
SEED = 77


def cpu_s(work: Callable[[], Any], repeats: int) -> float:
    """CPU seconds of a piece of work: the least of its repeats."""
    found = []
    for _ in range(repeats):
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
    return min(found)


def full_s(designs: list[Design], n_through: int) -> float:
    """CPU seconds of a discharge by the full model on a mesh, the median; the first builds it."""
    discharge(designs[0], n_through=n_through)
    solves = [cpu_s(partial(discharge, d, n_through=n_through), 1) for d in designs[1:]]
    return float(np.median(solves))


def one_by_one(designs: list[Design], model: CellRom, uncertainty: bool) -> None:
    """Predict designs singly."""
    for design in designs:
        predict_designs([design], model, uncertainty)


def is_stepped(row: Row) -> bool:
    """Whether a prediction was stepped through time: short of salt, or unlike what was learnt."""
    return any(how in str(row["reason"]) for how in STEPS.values())


def measured(name: str, base: str, n_solves: int) -> dict[str, Any]:
    """Times and ratios of one model: what is learnt, and what is stepped through time."""
    model = load(name)
    designs = sobol_designs(base, N_BATCH, SEED)
    slow_way = [is_stepped(row) for row in predict_designs(designs, model)]
    learnt = [d for d, s in zip(designs, slow_way, strict=True) if not s]
    stepped = [d for d, s in zip(designs, slow_way, strict=True) if s]
    full = full_s(learnt[: n_solves + 1], N_THROUGH)
    batch = (learnt * 2)[:N_BATCH]
    result: dict[str, Any] = {"full_model_s": round(full, 4), "n_solves": n_solves, "learnt": {}}
    for kind, uncertainty in (("with_uncertainty", True), ("without_uncertainty", False)):
        each = cpu_s(partial(predict_designs, batch, model, uncertainty), 3) / len(batch)
        single = cpu_s(partial(one_by_one, batch[:N_SINGLE], model, uncertainty), 5) / N_SINGLE
        result["learnt"][kind] = {
            "batch_s": round(each, 7),
            "batch_ratio": round(full / each),
            "single_s": round(single, 6),
            "single_ratio": round(full / single, 1),
        }
    result["stepped"] = {"share": len(stepped) / len(designs)}
    if len(stepped) > n_solves:
        each = cpu_s(partial(predict_designs, stepped, model), 3) / len(stepped)
        single = cpu_s(partial(one_by_one, stepped[:N_SINGLE], model, True), 3) / N_SINGLE
        same = full_s(stepped[: n_solves + 1], N_THROUGH)
        finer = full_s(stepped[: n_solves // 2 + 1], FINER)
        result["stepped"] |= {
            "full_model_s": round(same, 4),
            "full_model_finer_mesh_s": round(finer, 4),
            "batch_s": round(each, 5),
            "batch_ratio": round(same / each, 1),
            "single_ratio": round(same / single, 1),
            "batch_ratio_finer_mesh": round(finer / each, 1),
        }
    slow = designs[:N_MONOTONE]
    fast = [replace(d, c_rate=STEP * d.c_rate) for d in slow]
    pairs = zip(*(predict_designs(d, model, False) for d in (slow, fast)), strict=True)
    growth = [b["capacity_Ah"] / a["capacity_Ah"] - 1.0 for a, b in pairs if a["in_domain"]]
    result["capacity_grows_with_c_rate"] = {
        "n": len(growth),
        "share": round(float(np.mean(np.array(growth) > 1e-6)), 4),
        "largest_percent": round(100.0 * max(0.0, *growth), 4),
    }
    return result


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--solves", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = {name: measured(name, base, args.solves) for name, base in MODELS.items()}
    print(result)
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
