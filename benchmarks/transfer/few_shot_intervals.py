"""Do 90 % intervals hold with few labels of a family never seen?

The project's calibration scales the predicted spread by a factor. It is found on hops of other
families (cross-validation that keeps frameworks together, as models are shipped, or whole families)
and, with few labels, on their cross-validated residuals filled up with the source's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_lines import read
from benchmarks.transfer.few_shot_runs import HELD_OUT, TEST, load, n_draws
from benchmarks.transfer.few_shot_strategies import BY_SOURCE, FEWEST_FRAMEWORKS, LOG
from benchmarks.transfer.few_shot_tasks import SHOTS, Floats, Rows, Table, Task
from ionbridge.models.calibration import Calibration
from ionbridge.models.metrics import bootstrap
from ionbridge.models.prediction import Prediction
from ionbridge.structures.features.splits import GroupedKFold, framework
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.records import Hop

STATE_SPREADS = tuple(BY_SOURCE)
N_FOLDS = 5


def family_of(hop: Hop) -> str:
    return canonical_family(hop.family)


KEPT_TOGETHER = {"frameworks": framework, "families": family_of}
"""What cross-validation on the source keeps together."""
Sources = Mapping[tuple[str, str, str], Calibration]
"""Strategy, family left out, what is kept together -> calibration on the hops of the others."""


def judged(todo: Sequence[Task]) -> list[Task]:
    """Tasks of the families that are ever asked for with labels enough to be held out."""
    families = {task.family for task in todo if task.k >= FEWEST_FRAMEWORKS}
    return [task for task in todo if task.family in families]


def sources(table: Table, todo: Sequence[Task], work: Path) -> Sources:
    """Calibrations on the hops of other families; those that are in the work folder are read."""
    path = work / "calibrations.jsonl"
    found = {
        (row["strategy"], row["family"], row["kept"]): Calibration(**row["calibration"])
        for row in read(path)
    }
    others = {task.family: task.others for task in todo}
    with path.open("a", encoding="utf-8") as stream:
        for strategy in STATE_SPREADS:
            for family, rows in others.items():
                for kept in KEPT_TOGETHER:
                    key = (strategy, family, kept)
                    if key in found:
                        continue
                    found[key] = calibration_of(table, strategy, family, rows, kept)
                    names = dict(zip(("strategy", "family", "kept"), key, strict=True))
                    line = {**names, "calibration": asdict(found[key])}
                    stream.write(json.dumps(line) + "\n")
                    stream.flush()
    return found


def calibration_of(table: Table, strategy: str, family: str, rows: Rows, kept: str) -> Calibration:
    """From out-of-fold residuals of the hops of other families, hyperparameters those of all."""
    parts = [np.zeros(len(rows)) for _ in range(3)]
    hops = [table.hops[i] for i in rows]
    for fold in GroupedKFold(N_FOLDS, group=KEPT_TOGETHER[kept]).split(hops):
        task = Task(family, 0, 0, rows[fold.train], rows[:0], rows[fold.test])
        answer = BY_SOURCE[strategy](table, task, rows)
        means = (answer.mean, answer.aleatoric_std, answer.epistemic_std)
        for store, value in zip(parts, means, strict=True):
            store[fold.test] = value
    return Calibration.fit(Prediction(*parts), table.barrier_eV[rows], LOG)


def coverage(table: Table, todo: Sequence[Task], work: Path) -> dict[str, Any]:
    """Share of test rows in their 90 % intervals, by strategy, frameworks learnt from, and source.

    The interval of a share resamples host frameworks of the test rows.
    """
    todo = judged(todo)
    labelled = [task for task in todo if task.k >= FEWEST_FRAMEWORKS]
    known = sources(table, todo, work)
    result: dict[str, Any] = {}
    for strategy in STATE_SPREADS:
        test, own = (load(work, strategy, part) for part in (TEST, HELD_OUT))
        draws = min(n_draws(test, todo), n_draws(own, labelled))
        entry: dict[str, Any] = {"draws": draws}
        for k in SHOTS:
            chosen = [t for t in todo if t.k == k and t.seed < draws]
            groups = [table.hops[i].framework for task in chosen for i in task.test]
            ways: dict[str, tuple[list[Floats], list[Floats]]] = {}
            for task in chosen:
                asked = test[task.key].prediction([table.hops[i].id for i in task.test])
                for way, calibration in calibrations(table, task, known, strategy, own).items():
                    lower, upper = calibration.interval(calibration.calibrated(asked), LOG)
                    truth = table.barrier_eV[task.test]
                    inside, width = ways.setdefault(way, ([], []))
                    inside.append(((lower <= truth) & (truth <= upper)).astype(float))
                    width.append(upper - lower)
            entry[f"k={k}"] = {
                way: _scores(inside, width, groups, chosen) for way, (inside, width) in ways.items()
            }
        result[strategy] = entry
    return result


def calibrations(
    table: Table, task: Task, known: Sources, strategy: str, own: Mapping[Any, Any]
) -> dict[str, Calibration]:
    """Each source's alone and, where labels can be held out, with their residuals."""
    ways: dict[str, Calibration] = {}
    for kept in KEPT_TOGETHER:
        source = known[strategy, task.family, kept]
        ways[f"source, {kept} left out"] = source
        if task.key in own:
            ids = [table.hops[i].id for i in task.shots]
            ways[f"labels and source, {kept} left out"] = Calibration.fit(
                own[task.key].prediction(ids),
                table.barrier_eV[task.shots],
                LOG,
                n_groups=task.k,
                source=source,
            )
    return ways


def _scores(
    inside: Sequence[Floats], width: Sequence[Floats], groups: Sequence[str], tasks: Sequence[Task]
) -> dict[str, Any]:
    share = bootstrap(lambda x: float(np.mean(x)), np.concatenate(inside), groups=groups)
    families: dict[str, list[float]] = {}
    for task, own in zip(tasks, inside, strict=True):
        families.setdefault(task.family, []).append(float(own.mean()))
    return {
        "coverage": [round(v, 3) for v in (share.value, share.lower, share.upper)],
        "median_width_eV": round(float(np.median(np.concatenate(width))), 3),
        "coverage_by_family": {f: round(float(np.mean(v)), 2) for f, v in families.items()},
    }
