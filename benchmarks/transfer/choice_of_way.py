"""Two rules that choose a way to learn from few labels, on both sets of tasks.

    python -m benchmarks.transfer.choice_of_way

``stands``: labels joined with what is known stand unless another way is better beyond doubt
(:func:`ionbridge.models.cross_validation.choose`, shipped). ``prior``: errors on the labels read
with trials on other chemistries, and the median of the most promising ways. Beside them the least
error on the labels alone. Works on what benchmarks.transfer.orchestrator and
benchmarks.transfer.few_shot have stored; writes benchmarks/results/choice_of_way.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_lines import read
from ionbridge.models.calibration import ENOUGH_GROUPS
from ionbridge.models.checkpoint import sha256
from ionbridge.models.cross_validation import choose
from ionbridge.models.metrics import bootstrap

RESULTS = Path(__file__).parents[1] / "results"
TASKS, FEW_SHOT = RESULTS / "orchestrator_tasks.jsonl", RESULTS / "few_shot.json"
JOINED = "committee"
"""Process and trees on labels joined with the source: what the hop model is on descriptors."""
SIMPLE = ("mean", "trees", "process-joint", JOINED)
Task = Mapping[str, Any]


def stands(task: Task) -> float:
    """Test error, eV, of the shipped rule."""
    labels = {name: cv for name, (cv, _) in task["cv_test"].items()}
    few = task["n_groups"] < ENOUGH_GROUPS
    return float(task["cv_test"][choose(labels, SIMPLE, JOINED if few else None)][1])


RULES: dict[str, Callable[[Task], float]] = {
    "stands": stands,
    "prior": lambda task: float(task["rules"]["orchestrator"]),
    "labels alone": lambda task: float(task["rules"]["cross-validation alone"]),
}


def of_tasks(tasks: list[Task]) -> dict[str, dict[str, Any]]:
    """Mean error and regret over the best single way in hindsight, by rule; 95 % over targets."""
    best = np.array([min(test for _, test in t["cv_test"].values()) for t in tasks])
    targets = [t["task"] for t in tasks]
    result = {}
    for name, rule in RULES.items():
        error = np.array([rule(task) for task in tasks])
        regret = bootstrap(np.mean, error / best - 1.0, groups=targets)
        result[name] = {
            "mae_eV": round(float(error.mean()), 4),
            "mean_regret": [round(x, 3) for x in (regret.value, regret.lower, regret.upper)],
        }
    return result


def of_few_shot() -> dict[str, dict[str, float]]:
    """Mean error of families by number of frameworks labelled, eV, by rule."""
    stored = json.loads(FEW_SHOT.read_text(encoding="utf-8"))
    names = {"stands": "auto_labels", "prior": "auto"}
    shots = [key for key in stored if key.startswith("k=")]
    return {
        k: {
            rule: stored[k]["strategies"][name]["mae_mean_of_families_eV"]
            for rule, name in names.items()
        }
        for k in shots
    }


def main() -> None:
    hops = [task for task in read(TASKS) if not task["task"].startswith("bulk")]
    result = {
        "data_sha256": {path.name: sha256(path) for path in (TASKS, FEW_SHOT)},
        "n_tasks": len(hops),
        "orchestrator_tasks": of_tasks(hops),
        "few_shot_tasks": of_few_shot(),
    }
    path = RESULTS / "choice_of_way.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
