"""How well the orchestrator chooses between ways to adapt, against fixed rules, on real sets.

    python -m benchmarks.transfer.orchestrator --data DIR [--work DIR] [--seeds N]
        [--kind hops bulk]

Each task (a target, a number of labels, a draw) is one file in WORK/runs with what every strategy
predicted, in cross-validation on the labels and on the test rows; tasks that are there are not run
again. What a rule would have chosen is worked out from the files: its prior is learnt on the tasks
of the other targets only, and so is how many strategies it blends. Writes
benchmarks/results/orchestrator.json and one line a task beside it.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.transfer.adaptation_runs import Run, complete, load_all
from benchmarks.transfer.choice_rules import FIXED, NEVER, RULES, SHIPPED, trial
from benchmarks.transfer.strategy_prior import StrategyPrior
from ionbridge.models.checkpoint import sha256
from ionbridge.structures.sources import materials_project, neb_barriers

RESULT = Path(__file__).parents[1] / "results" / "orchestrator.json"
TASKS = RESULT.with_name("orchestrator_tasks.jsonl")
AS_GOOD_AS = 1.05
NO_WORSE = 1.02
"""Error relative to never transferring up to which negative transfer counts as avoided."""
N_RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class Judged:
    """A task with the test error of every rule.

    Attributes:
        run: The task.
        best: Least test error of a single strategy, in hindsight.
        rules: Test error of each rule.
        blend: Number of strategies that the shipped rule blends, as other targets say.
    """

    run: Run
    best: float
    rules: dict[str, float]
    blend: int

    @property
    def target(self) -> str:
        """Of the task."""
        return self.run.target


def judged(runs: Sequence[Run]) -> list[Judged]:
    """Every rule on every task.

    Families share no hops with each other and ions none with each other, but a family shares hops
    with ions: families learn from families, ions from ions, properties from other properties.
    """
    trials = [trial(run) for run in runs]
    priors: dict[str, StrategyPrior] = {}
    result = []
    for run, own in zip(runs, trials, strict=True):
        if run.target not in priors:
            priors[run.target] = StrategyPrior.fit(
                [
                    other
                    for other, r in zip(trials, runs, strict=True)
                    if r.kind == run.kind and r.target != run.target
                ]
            )
        prior = priors[run.target]
        errors = {
            name: float(np.mean(np.abs(rule(run, own, prior) - run.truth)))
            for name, rule in RULES.items()
        }
        assert own.test is not None
        blend = next(iter(prior.n_members.values()))
        result.append(Judged(run, min(own.test.values()), errors, blend))
    return result


def summary(rows: Sequence[Judged], seed: int = 0) -> dict[str, Any]:
    """Regret relative to the best in hindsight, hits, and negative transfer avoided."""
    best = np.array([row.best for row in rows])
    targets = np.array([row.target for row in rows])
    rng = np.random.default_rng(seed)
    unique = sorted(set(targets))
    draws = [
        np.concatenate([np.flatnonzero(targets == t) for t in rng.choice(unique, len(unique))])
        for _ in range(N_RESAMPLES)
    ]
    errors = {name: np.array([row.rules[name] for row in rows]) for name in RULES}
    regrets = {name: error / best - 1.0 for name, error in errors.items()}
    hurts = errors["always full fine-tuning"] > errors[NEVER]
    result: dict[str, Any] = {"n_tasks": len(rows), "n_targets": len(unique)}
    for name in RULES:
        low, high = np.percentile([regrets[name][d].mean() for d in draws], [2.5, 97.5])
        kept = errors[name][hurts] <= NO_WORSE * errors[NEVER][hurts]
        result[name] = {
            "mean_regret": round(float(regrets[name].mean()), 4),
            "mean_regret_95": [round(float(low), 4), round(float(high), 4)],
            "best_or_within_5_percent": round(float(np.mean(errors[name] <= AS_GOOD_AS * best)), 3),
            "negative_transfer_avoided": round(float(np.mean(kept)), 3) if hurts.any() else None,
        }
    rule = min(FIXED, key=lambda name: regrets[name].mean())
    ratios = [regrets[SHIPPED][d].mean() / regrets[rule][d].mean() for d in draws]
    low, high = np.percentile(ratios, [2.5, 97.5])
    result["share_where_full_tuning_hurts"] = round(float(hurts.mean()), 3)
    result["best_fixed_rule"] = rule
    result["regret_over_best_fixed_rule"] = round(
        float(regrets[SHIPPED].mean() / regrets[rule].mean()), 3
    )
    result["regret_over_best_fixed_rule_95"] = [round(float(low), 3), round(float(high), 3)]
    return result


def table(rows: Sequence[Judged], data: Path) -> dict[str, Any]:
    """All that is claimed."""
    groups = {
        "hops": [r for r in rows if r.run.kind != "bulk"],
        "bulk": [r for r in rows if r.run.kind == "bulk"],
    }
    files = (
        neb_barriers.HOPS_FILE,
        materials_project.BULK_FILE,
        materials_project.ELASTIC_FILE,
        materials_project.PAIRS_FILE,
    )
    result: dict[str, Any] = {
        "data_sha256": {name: sha256(data / name) for name in files},
        "target": "regret under half of the best fixed rule's",
    }
    for name, own in groups.items():
        if not own:
            continue
        kinds = sorted({row.run.kind for row in own})
        parts = {"all": own}
        parts |= {
            f"n={n}": [r for r in own if r.run.n == n] for n in sorted({r.run.n for r in own})
        }
        if len(kinds) > 1:
            parts |= {f"{k} left out": [r for r in own if r.run.kind == k] for k in kinds}
        result[name] = {
            **{part: summary(some) for part, some in parts.items()},
            "draws_at_most": 1 + max(row.run.seed for row in own),
            "blended_strategies": sorted({row.blend for row in own}),
            "targets": sorted({row.run.task for row in own}),
            "mean_regret_by_strategy": by_strategy(own),
            "processor_seconds": round(sum(row.run.seconds for row in own)),
        }
    return result


def by_strategy(rows: Sequence[Judged]) -> dict[str, float]:
    """Mean of test error over the best one, minus one: what each would cost as a fixed rule."""
    found: dict[str, list[float]] = {}
    for row in rows:
        test = np.abs(row.run.predicted - row.run.truth).mean(axis=1)
        for name, error in zip(row.run.strategies, test, strict=True):
            found.setdefault(name, []).append(float(error) / row.best - 1.0)
    return {name: round(float(np.mean(values)), 4) for name, values in sorted(found.items())}


def line(row: Judged) -> str:
    """A task as it is kept: errors of all strategies and rules."""
    run = row.run
    own = trial(run)
    assert own.test is not None
    return json.dumps(
        {
            "task": run.task,
            "n": run.n,
            "seed": run.seed,
            "n_test": len(run.truth),
            "n_groups": run.n_groups,
            "cv_test": {n: [round(own.cv[n], 4), round(own.test[n], 4)] for n in run.strategies},
            "rules": {name: round(error, 4) for name, error in row.rules.items()},
            "blend": row.blend,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--work", type=Path, default=Path("results/orchestrator-benchmark"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kind", nargs="*", default=["hops", "bulk"])
    parser.add_argument("--table-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if not args.table_only:
        complete(args.data, args.work, args.kind, args.seeds)
    rows = judged(load_all(args.work / "runs"))
    result = table(rows, args.data)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    TASKS.write_text("".join(line(row) + "\n" for row in rows), encoding="utf-8")
    for kind in ("hops", "bulk"):
        for name, scores in result.get(kind, {}).get("all", {}).items():
            print(kind, name, scores)


if __name__ == "__main__":
    main()
