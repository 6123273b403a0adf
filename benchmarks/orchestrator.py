"""How well the orchestrator chooses between ways to adapt, against fixed rules, on real sets.

    python -m benchmarks.orchestrator --data DIR [--work DIR] [--seeds N] [--kind hops bulk]

Each task (a target, a number of labels, a draw) is one line in WORK/tasks.jsonl with what every
strategy predicted, in cross-validation on the labels and on the test rows; tasks that are there are
not run again. What the orchestrator would have chosen is worked out from the lines: its prior is
learnt on the tasks of the other targets only. Writes benchmarks/results/orchestrator.json, the
lines beside it and, with --prior FILE, the prior of all tasks that the program ships.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.few_label_tasks import Task, bulk_tables, bulk_tasks, hop_table, hop_tasks
from models.checkpoint import sha256
from models.few_label import STRATEGIES, usable_strategies
from screening.orchestrator.adaptation import StrategyPrior, Trial, choose, cross_validated
from structures.sources import materials_project, neb_barriers

RESULT = Path(__file__).parent / "results" / "orchestrator.json"
FIXED_RULES = {
    "always full fine-tuning": "network-full",
    "always last layers only": "network-last",
    "never transfer (trees)": "trees",
    "never transfer (network)": "network-scratch",
}
AS_GOOD_AS = 1.05
WIDER = "orchestrator, prior of families and ions"
"""As shipped; some hops of a family are also hops of an ion, so this one is not strictly apart."""
Floats = NDArray[np.float64]


def run(task: Task) -> dict[str, Any]:
    """Every strategy on a task: errors in cross-validation and on the test rows."""
    started = time.perf_counter()
    strategies = usable_strategies(task.source)
    held_out = cross_validated(
        strategies, task.source, task.descriptors, task.target, task.groups, task.seed
    )
    result: dict[str, Any] = {}
    for strategy in strategies:
        predict = strategy.fit(task.source, task.descriptors, task.target)
        test = task.error(task.test_target, predict(task.test))
        cv = task.error(task.target, held_out[strategy.name])
        result[strategy.name] = {
            "cv": round(float(cv.mean()), 5),
            "test": round(float(test.mean()), 5),
        }
    return {
        "task": task.name,
        "kind": task.kind,
        "n": task.n_labels,
        "seed": task.seed,
        "n_test": len(task.test_target),
        "n_groups": len(set(task.groups)),
        "strategies": result,
        "seconds": round(time.perf_counter() - started, 2),
    }


def key_of(task: str, n: int, seed: int) -> str:
    return f"{task}|{n}|{seed}"


def collected(path: Path) -> list[dict[str, Any]]:
    """Finished tasks; the last line may have been cut by a kill."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def all_tasks(data: Path, work: Path, kinds: Sequence[str], n_seeds: int) -> Iterator[Task]:
    if "hops" in kinds:
        yield from hop_tasks(hop_table(data, work / "hops.npz"), n_seeds)
    if "bulk" in kinds:
        yield from bulk_tasks(bulk_tables(data, work / "bulk.npz"), max(1, n_seeds // 3))


def trial_of(row: dict[str, Any]) -> Trial:
    return Trial(
        kind="bulk" if row["kind"] == "bulk" else "hops",
        n_labels=row["n"],
        cv={name: v["cv"] for name, v in row["strategies"].items()},
        test={name: v["test"] for name, v in row["strategies"].items()},
        target=target_of(row),
    )


def target_of(row: dict[str, Any]) -> str:
    """What must not be on both sides: the target, whatever it was transferred from."""
    return f"{row['kind']}:{row['task'].split('->')[-1].split(':')[-1]}"


def apart(row: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a task may teach the prior that another one is judged with.

    Families share no hops with each other and ions none with each other, but a family shares hops
    with ions: families learn from families, ions from ions, properties from other properties.
    """
    return row["kind"] == other["kind"] and target_of(row) != target_of(other)


def judged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each task the test error of every rule, and of the best strategy in hindsight."""
    priors: dict[str, StrategyPrior] = {}
    wider: dict[str, StrategyPrior] = {}
    result = []
    for row in rows:
        target = target_of(row)
        if target not in priors:
            others = [trial_of(other) for other in rows if apart(other, row)]
            priors[target] = StrategyPrior.fit(others)
            every = [trial_of(other) for other in rows if target_of(other) != target]
            wider[target] = StrategyPrior.fit(every)
        trial = trial_of(row)
        scores = priors[target].scores(trial)
        test = trial.test
        assert test is not None
        by_cv = min(trial.cv, key=lambda name: trial.cv[name])
        plain = min(
            (s for s in scores if not STRATEGIES[s].transfers), key=lambda name: trial.cv[name]
        )
        rules = {
            "orchestrator": test[choose(trial, priors[target]).strategy],
            WIDER: test[choose(trial, wider[target]).strategy],
            "cross-validation alone": test[by_cv],
            "prior alone": test[
                min(s := priors[target].scores(trial, use_labels=False), key=lambda name: s[name])
            ],
            "never transfer (chosen)": test[plain],
            **{rule: test[name] for rule, name in FIXED_RULES.items()},
        }
        result.append({**row, "best": min(test.values()), "rules": rules})
    return result


def summary(rows: Sequence[dict[str, Any]], seed: int = 0) -> dict[str, Any]:
    """Regret relative to the best in hindsight, hits, and negative transfer avoided."""
    names = list(rows[0]["rules"])
    best = np.array([row["best"] for row in rows])
    targets = np.array([target_of(row) for row in rows])
    rng = np.random.default_rng(seed)
    unique = sorted(set(targets))
    draws = [
        np.concatenate([np.flatnonzero(targets == t) for t in rng.choice(unique, len(unique))])
        for _ in range(500)
    ]
    result: dict[str, Any] = {"n_tasks": len(rows), "n_targets": len(unique)}
    never = np.array([row["rules"]["never transfer (chosen)"] for row in rows])
    full = np.array([row["rules"]["always full fine-tuning"] for row in rows])
    hurts = full > never
    for name in names:
        error = np.array([row["rules"][name] for row in rows])
        regret = error / best - 1.0
        low, high = np.percentile([regret[d].mean() for d in draws], [2.5, 97.5])
        kept = np.mean(error[hurts] <= 1.02 * never[hurts]) if hurts.any() else np.nan
        result[name] = {
            "mean_regret": round(float(regret.mean()), 4),
            "mean_regret_95": [round(float(low), 4), round(float(high), 4)],
            "mean_absolute_regret": round(float((error - best).mean()), 4),
            "best_or_within_5_percent": round(float(np.mean(error <= AS_GOOD_AS * best)), 3),
            "negative_transfer_avoided": round(float(kept), 3),
        }
    result["share_where_full_tuning_hurts"] = round(float(hurts.mean()), 3)
    fixed = {n: result[n]["mean_regret"] for n in names if n.startswith(("always", "never"))}
    best_rule = min(fixed, key=lambda n: fixed[n])
    result["best_fixed_rule"] = best_rule
    result["regret_over_best_fixed_rule"] = round(
        result["orchestrator"]["mean_regret"] / fixed[best_rule], 3
    )
    return result


def table(rows: Sequence[dict[str, Any]], data: Path) -> dict[str, Any]:
    judged_rows = judged(rows)
    groups = {
        "hops": [r for r in judged_rows if r["kind"] != "bulk"],
        "bulk": [r for r in judged_rows if r["kind"] == "bulk"],
    }
    result: dict[str, Any] = {
        "data_sha256": {
            name: sha256(data / name)
            for name in (
                neb_barriers.HOPS_FILE,
                materials_project.BULK_FILE,
                materials_project.ELASTIC_FILE,
                materials_project.PAIRS_FILE,
            )
        },
        "target": "regret under half of the best fixed rule's",
    }
    for name, own in groups.items():
        if not own:
            continue
        result[name] = {"all": summary(own)}
        for n in sorted({row["n"] for row in own}):
            result[name][f"n={n}"] = summary([row for row in own if row["n"] == n])
        kinds = sorted({row["kind"] for row in own})
        for kind in kinds if len(kinds) > 1 else ():
            result[name][f"{kind} left out"] = summary([row for row in own if row["kind"] == kind])
        result[name]["targets"] = sorted({row["task"] for row in own})
        result[name]["mean_test_error_by_strategy"] = by_strategy(own)
    return result


def by_strategy(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Mean of test error over the best one, by strategy: what each would cost as a fixed rule."""
    names = sorted({name for row in rows for name in row["strategies"]})
    return {
        name: round(
            float(
                np.mean(
                    [
                        row["strategies"][name]["test"] / row["best"] - 1.0
                        for row in rows
                        if name in row["strategies"]
                    ]
                )
            ),
            4,
        )
        for name in names
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--work", type=Path, default=Path("results/orchestrator-benchmark"))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--kind", nargs="*", default=["hops", "bulk"])
    parser.add_argument("--prior", type=Path, help="file to write the prior of all tasks to")
    parser.add_argument("--table-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    args.work.mkdir(parents=True, exist_ok=True)
    path = args.work / "tasks.jsonl"
    if not args.table_only:
        done = {key_of(r["task"], r["n"], r["seed"]) for r in collected(path)}
        for task in all_tasks(args.data, args.work, args.kind, args.seeds):
            if key_of(task.name, task.n_labels, task.seed) in done:
                continue
            line = json.dumps(run(task))
            with path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
            print(task.name, task.n_labels, task.seed, flush=True)
    rows = collected(path)
    result = table(rows, args.data)
    kinds = sorted({row["kind"] for row in rows})
    result["draws_at_most"] = {k: 1 + max(r["seed"] for r in rows if r["kind"] == k) for k in kinds}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    kept = "".join(json.dumps(row) + "\n" for row in rows)
    RESULT.with_name("orchestrator_tasks.jsonl").write_text(kept, encoding="utf-8")
    for kind in ("hops", "bulk"):
        for rule, scores in result.get(kind, {}).get("all", {}).items():
            print(kind, rule, scores)
    if args.prior is not None:
        StrategyPrior.fit([trial_of(row) for row in rows]).save(args.prior)


if __name__ == "__main__":
    main()
