"""Few labels of a family never seen: what k of its host frameworks are worth to each model.

    python -m benchmarks.transfer.few_shot --data DIR [--work DIR] [--strategy S ...] [--draws N]
                                  [--workers N] [--summary]

Protocol: a family is left out (and every framework that it shares with others), then k of its host
frameworks are added, k = 0, 1, 2, 4, 8, 16, drawn by seed and nested; every family where 8 or more
hops remain is tested on what remains. Every finished (strategy, k, draw, family) is a line of the
work folder and is not run again; --workers runs tasks in so many processes; --summary only scores
what is there. A strategy is scored on the draws that it has finished, and set against the trees on
the same. Scores go to benchmarks/results/few_shot.json.

Label efficiency is worked out for two sets of families: all that are tested with 4 frameworks, on
the hops that remain then, and those that are tested with 16.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.transfer import few_shot_choice, few_shot_intervals, label_efficiency
from benchmarks.transfer.few_shot_runs import HELD_OUT, TEST, Answers, complete, load, n_draws
from benchmarks.transfer.few_shot_strategies import (
    BASELINE,
    FEWEST_FRAMEWORKS,
    FROM_SCRATCH,
    LABEL_WEIGHT,
    OFFSET_VARIANCE,
    STRATEGIES,
)
from benchmarks.transfer.few_shot_tasks import MIN_TEST, SHOTS, Floats, Table, Task, tasks
from ionbridge.models.checkpoint import sha256
from ionbridge.models.metrics import mae, paired_bootstrap, spearman
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.sources import neb_barriers

RESULTS = Path(__file__).parents[1] / "results" / "few_shot.json"
REPORTED = (4, 8, 16)
EFFICIENT = {4: (1, 2, 4), 16: (1, 2, 4, 8, 16)}
"""Frameworks that a set of families allows -> frameworks whose label efficiency is reported."""
UP_TO_EV = 2.0
SLOW = "network_frozen"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--work", type=Path, default=Path("results/few_shot"))
    fast = [name for name in STRATEGIES if name != SLOW]
    parser.add_argument("--strategy", nargs="*", default=fast, choices=STRATEGIES)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--summary", action="store_true", help="score what is there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table.load(args.data)
    todo = list(tasks(table.hops, args.draws))
    if not args.summary:
        for name in dict.fromkeys([BASELINE, *args.strategy]):
            complete(name, TEST, table, todo, args.work, args.workers)
            print(name, "done", flush=True)
        own = [task for task in todo if task.k >= FEWEST_FRAMEWORKS]
        for name in few_shot_choice.CANDIDATES:
            if name in args.strategy:
                complete(name, HELD_OUT, table, own, args.work, args.workers)
                print(name, "on the labels done", flush=True)
    scores = {
        "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
        "n": len(table.hops),
        "min_test": MIN_TEST,
        "label_weight": LABEL_WEIGHT,
        "offset_variance": OFFSET_VARIANCE,
        **summary(table, todo, args.work),
    }
    write_json(RESULTS, scores)
    for k in REPORTED:
        for name, entry in scores[f"k={k}"]["strategies"].items():
            every = entry["all"]
            gap = every[f"minus_{BASELINE}_eV"]
            print(f"k={k:<3d} {name:16s} {entry['draws']:2d} draws {every['mae_eV']:.3f} {gap}")


def summary(table: Table, todo: Sequence[Task], work: Path) -> dict[str, Any]:
    """All that is claimed, from the lines of a work folder."""
    found = {name: load(work, name, TEST) for name in STRATEGIES}
    draws = {name: n_draws(answers, todo) for name, answers in found.items()}
    least = min(draws[name] for name in few_shot_choice.COMMITTEE)
    if least:
        ready = [task for task in todo if task.seed < least]
        found["committee"] = few_shot_choice.committee(ready, found)
        draws["committee"] = draws["elsewhere"] = least
        known = {name: found[name] for name, n in draws.items() if n >= least and name in found}
        found["elsewhere"] = few_shot_choice.elsewhere(table, ready, known)
    own = {name: load(work, name, HELD_OUT) for name in few_shot_choice.CANDIDATES}
    held = [task for task in todo if task.k >= FEWEST_FRAMEWORKS]
    chosen = min(
        *(draws[name] for name in own), *(n_draws(answers, held) for answers in own.values())
    )
    if chosen:
        ready = [task for task in todo if task.seed < chosen]
        for rule, answers in few_shot_choice.choices(table, ready, found, own).items():
            found[rule], draws[rule] = answers, chosen
    draws = {name: n for name, n in draws.items() if n}
    result: dict[str, Any] = {"draws": draws}
    for k in REPORTED:
        at_k = [task for task in todo if task.k == k]
        families = Counter(task.family for task in at_k)
        result[f"k={k}"] = {
            "draws_by_family": dict(sorted(families.items())),
            "hops_asked": sum(len(task.test) for task in at_k),
            "strategies": {
                name: scored(
                    table, [task for task in at_k if task.seed < n], found[name], found[BASELINE]
                )
                for name, n in draws.items()
            },
        }
    result["label_efficiency"] = {
        f"families with {last} frameworks": efficiency(table, todo, found, draws, last)
        for last in EFFICIENT
    }
    result["intervals_90"] = few_shot_intervals.coverage(table, todo, work)
    return result


def scored(
    table: Table, todo: Sequence[Task], answers: Answers, baseline: Answers
) -> dict[str, Any]:
    """Errors of a strategy over all rows, those up to 2 eV, and those whose geometry is sound."""
    rows = np.concatenate([task.test for task in todo])
    draw, family = (
        np.concatenate([np.full(len(task.test), of(task)) for task in todo])
        for of in (lambda t: t.seed, lambda t: t.family)
    )
    true = table.barrier_eV[rows]
    predicted, base = (
        np.concatenate([few_shot_choice.values(a[task.key]) for task in todo])
        for a in (answers, baseline)
    )
    sound = np.array([not neb_barriers.is_implausible(hop) for hop in table.hops])
    by_family = {f: mae(true[family == f], predicted[family == f]) for f in np.unique(family)}
    by_draw = [mae(true[draw == s], predicted[draw == s]) for s in np.unique(draw)]
    entry: dict[str, Any] = {
        "draws": len(by_draw),
        "mae_by_draw_eV": [round(v, 3) for v in by_draw],
        "mae_mean_of_families_eV": round(float(np.mean(list(by_family.values()))), 3),
        "mae_by_family_eV": {str(f): round(v, 3) for f, v in by_family.items()},
        "spearman": round(spearman(true, predicted), 3),
    }
    kinds: dict[str, NDArray[np.bool_]] = {
        "all": np.ones(len(rows), dtype=bool),
        "up_to_2_eV": true <= UP_TO_EV,
        "without_implausible_rows": sound[rows],
    }
    for kind, kept in kinds.items():
        groups = [table.hops[i].framework for i in rows[kept]]
        gap = paired_bootstrap(true[kept], predicted[kept], base[kept], groups=groups)
        entry[kind] = {
            "n": int(kept.sum()),
            "mae_eV": round(mae(true[kept], predicted[kept]), 3),
            f"minus_{BASELINE}_eV": [round(v, 3) for v in (gap.value, gap.lower, gap.upper)],
        }
    return entry


def efficiency(
    table: Table,
    todo: Sequence[Task],
    found: Mapping[str, Answers],
    draws: Mapping[str, int],
    last: int,
) -> dict[str, Any]:
    """Error over frameworks, and how many more the references need, on families that allow `last`.

    Every curve is on the hops that remain after the last draw.
    """
    shots = tuple(k for k in SHOTS if k <= last)
    ends = [task for task in todo if task.k == last]

    def curves(name: str, n: int) -> dict[str, Floats]:
        rows: dict[str, list[list[float]]] = {}
        for task in (t for t in ends if t.seed < n):
            ids = [table.hops[i].id for i in task.test]
            true = table.barrier_eV[task.test]
            errors = []
            for k in shots:
                said = found[name][k, task.seed if k else 0, task.family].barrier_eV
                errors.append(mae(true, np.array([said[i] for i in ids])))
            rows.setdefault(task.family, []).append(errors)
        return {family: np.array(values) for family, values in rows.items()}

    own = {name: curves(name, n) for name, n in draws.items()}
    result: dict[str, Any] = {
        "families": dict(sorted(Counter(task.family for task in ends).items())),
        "shots": list(shots),
        "mae_mean_of_families_eV": {
            name: np.round(label_efficiency.curve(errors), 3).tolist()
            for name, errors in own.items()
        },
    }
    references = {BASELINE: 0, **dict.fromkeys(FROM_SCRATCH, 1)}
    for reference, first in references.items():
        against = {n: curves(reference, n) for n in set(draws.values())}
        result[f"frameworks that {reference} needs over k"] = {
            name: label_efficiency.ratios(own[name], against[n], shots, EFFICIENT[last], first)
            for name, n in draws.items()
            if name not in references
        }
    return result


if __name__ == "__main__":
    main()
