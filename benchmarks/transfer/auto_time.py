"""How long fine-tuning takes: one strategy and ``auto`` with ten labels, one strategy with all.

    OMP_NUM_THREADS=1 python -m benchmarks.transfer.auto_time [--case NAME ...]

The labels are the starter bands that ship with the package, the base is ``hop-barrier``. Each case
is run once and written to benchmarks/results/auto_time.json when it is done; cases that are not
asked for are kept. Processor seconds are those of all threads; wall seconds depend on what else the
machine does, so that its load average stands beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ionbridge.models.adaptation.adapt import adapt
from ionbridge.models.adaptation.barriers import Base
from ionbridge.screening.campaign.starter import starter_neb_hops
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.records import Hop

RESULT = Path(__file__).parents[1] / "results" / "auto_time.json"
BASE = "hop-barrier"
TARGET_S = {"frozen, 10 labels": 60.0, "auto, 10 labels": 300.0, "frozen, all labels": 600.0}
"""Wall seconds allowed on two cores."""
FEW, FRAMEWORKS = 10, 5


def few(hops: Sequence[Hop]) -> list[Hop]:
    """Two hops of each of the first five frameworks that have two."""
    by_framework: dict[str, list[Hop]] = {}
    for hop in hops:
        by_framework.setdefault(hop.framework, []).append(hop)
    share = FEW // FRAMEWORKS
    enough = [own[:share] for own in by_framework.values() if len(own) >= share]
    return [hop for own in enough[:FRAMEWORKS] for hop in own]


def timed(case: str) -> dict[str, Any]:
    """One fine-tuning from start to calibrated model."""
    hops = starter_neb_hops()
    if "10" in case:
        hops = few(hops)
    way = case.split(",")[0]
    candidates = None if way == "auto" else (way,)
    base = Base.of(BASE)
    load = os.getloadavg()
    wall, processor = time.perf_counter(), time.process_time()
    _, card = adapt(hops, base, candidates, device="cpu")
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {
        "n_labels": len(hops),
        "n_frameworks": len({hop.framework for hop in hops}),
        "wall_s": round(wall, 1),
        "processor_s": round(processor, 1),
        "target_wall_s": TARGET_S[case],
        "load_average_before": [round(x, 1) for x in load],
        "load_average_after": [round(x, 1) for x in os.getloadavg()],
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "strategy": card["strategy"],
        "compared_mae_eV": card.get("compared_mae_eV", {}),
        "validation": card["validation"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=tuple(TARGET_S), default=list(TARGET_S))
    args = parser.parse_args()
    cases = json.loads(RESULT.read_text(encoding="utf-8"))["cases"] if RESULT.is_file() else {}
    for case in args.case:
        cases[case] = timed(case)
        write_json(RESULT, {"base": BASE, "labels": "starter_neb_hops", "cases": cases})
        print(case, json.dumps(cases[case]), flush=True)


if __name__ == "__main__":
    main()
