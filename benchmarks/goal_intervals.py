"""Do the 90 % intervals that plans state for goals hold what they say?

    python -m benchmarks.goal_intervals --data DIR

Two questions. Of the validation rows of every shipped model (each predicted by a model that saw
nothing of its group): the half width of a scope is found on one half of them and tried on the
other, many times. Of measured conductors: the interval that the planner states for the goal
``conductivity`` of rows of OBELiX, by every chain that has predictions of rows left out, against
what was measured. Beside each the share that 1.645 of the stated standard deviations hold. Prints
a table, writes benchmarks/results/goal_intervals.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.library import LIBRARY
from ionbridge.models.prediction import HALF_WIDTH_90
from ionbridge.models.validation import ROBUST_SHARE, read_validation
from ionbridge.screening.planning.inputs import read_givens
from ionbridge.screening.planning.planner import Chain, plan
from ionbridge.structures.io.reading import write_cif
from ionbridge.structures.sources import obelix

RESULTS = Path(__file__).parent / "results"
RESULT = RESULTS / "goal_intervals.json"
HELD_OUT = RESULTS / "conductivity_held_out.csv"
AGENT_TASKS = RESULTS / "agent_tasks_scripted_policy.json"
N_HALVES = 200
N_GIVEN = 8
"""Crystals that a plan is asked about; it looks at no more."""
CHAINS = {"crystal-conduction": "estimate", "conductivity-trees": "composition model"}
"""Column of the predictions left out, by the last step of a chain."""
Floats = NDArray[np.float64]


def split_halves(error: Floats, seed: int = 0) -> dict[str, Any]:
    """Mean share of one half of the errors that the interval found on the other half holds."""
    random = np.random.default_rng(seed)
    held, held_std = [], []
    for _ in range(N_HALVES):
        order = random.permutation(len(error))
        half, other = error[order[: len(error) // 2]], error[order[len(error) // 2 :]]
        held.append((other <= np.quantile(half, 0.9)).mean())
        held_std.append((other <= HALF_WIDTH_90 * np.quantile(half, ROBUST_SHARE)).mean())
    return {
        "n": len(error),
        "stated_half_90": round(float(np.quantile(error, 0.9)), 4),
        "interval_coverage_90": round(float(np.mean(held)), 3),
        "coverage_of_1.645_std": round(float(np.mean(held_std)), 3),
    }


def conductors(data: Path, work: Path) -> dict[str, Any]:
    """Chains to ``conductivity`` for rows of OBELiX with a CIF, and for rows of a table."""
    rows = {row.id: row for row in obelix.load(data).records if row.label.bound == "="}
    with HELD_OUT.open(encoding="utf-8", newline="") as stream:
        predicted = {row["id"]: row for row in csv.DictReader(stream) if row["id"] in rows}
    with_crystal = [id for id in predicted if rows[id].crystal is not None]
    for id in with_crystal[:N_GIVEN]:
        write_cif(rows[id].crystal, work / "crystals" / f"{id}.cif")
    lines = [f"{id},{rows[id].formula}" for id in list(predicted)[:N_GIVEN]]
    (work / "table.csv").write_text("\n".join(["ID,Formula", *lines]) + "\n", encoding="utf-8")
    found: dict[str, Any] = {}
    for what, given, ids in (
        ("OBELiX, given as crystals", work / "crystals", with_crystal),
        ("OBELiX, given as a table", work / "table.csv", list(predicted)),
    ):
        made = plan("conductivity", read_givens([given]))
        chains = [made.chosen, *made.runners_up]
        for chain in (c for c in chains if c is not None):
            column = CHAINS.get(chain.steps[-1].entry if chain.steps else "")
            if column is not None and chain.error_90 is not None:
                found[f"{what}, {chain.words}"] = held(chain, ids, rows, predicted, column)
    return found


def held(
    chain: Chain, ids: list[str], rows: dict[str, Any], predicted: dict[str, Any], column: str
) -> dict[str, Any]:
    own = [id for id in ids if predicted[id][column]]
    error = np.array([abs(float(predicted[id][column]) - rows[id].label.value) for id in own])
    assert chain.error is not None
    assert chain.error_90 is not None
    return {
        "n": len(own),
        "stated_half_90": round(chain.error_90, 3),
        "interval_coverage_90": round(float((error <= chain.error_90).mean()), 3),
        "coverage_of_1.645_std": round(float((error <= HALF_WIDTH_90 * chain.error).mean()), 3),
    }


def agent_tasks() -> dict[str, Any]:
    """Numbers that the scripted policy stated with a spread, against the truth of the task.

    The truths are closed forms and solver's answers: a spread that covers what a real material or
    cell does beside them is wide for them, so this can only find intervals that are too narrow.
    """
    number = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
    inside = []
    for task in json.loads(AGENT_TASKS.read_text(encoding="utf-8"))["tasks"]:
        stated = re.search(rf"(log10_)?\S+ {number} ± {number}", task["answer"])
        truth = re.fullmatch(rf"{number} stated, {number} is true", task["why"])
        if stated and truth:
            value = float(truth[2]) * (1e-3 if task["answer"].endswith("mS/cm") else 1.0)
            true = math.log10(value) if stated[1] else value
            allowed = HALF_WIDTH_90 * float(stated[3]) + 1e-3 * abs(
                true
            )  # four figures are printed
            inside.append(abs(float(stated[2]) - true) <= allowed)
    return {"n": len(inside), "interval_coverage_90": round(float(np.mean(inside)), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--work", type=Path, default=Path("results/goal_intervals"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    models = {
        f"{folder.name}, {protocol}": split_halves(np.array([r.absolute_error for r in rows]))
        for folder in sorted(LIBRARY.iterdir())
        for protocol, rows in read_validation(folder).items()
        if protocol != "starter"
    }
    result = {
        "models_split_in_halves": models,
        "measured_conductors": conductors(args.data, args.work),
        "agent_tasks": agent_tasks(),
    }
    for part, entries in result.items():
        entries = entries if part != "agent_tasks" else {part: entries}
        for name, entry in entries.items():
            print(f"{name}: {json.dumps(entry)}", flush=True)
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
