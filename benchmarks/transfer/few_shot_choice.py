"""Which strategy to take for a family, from cross-validation on its few labels: ``auto``.

Two rules on the same predictions. ``auto`` is that of the orchestrator: errors on the labels are
read with trials on the other families (their labels' and their test errors), and the median of the
most promising strategies is taken. ``auto_labels`` is that of fine-tuning: the least error on the
labels, unless a simple one is as good. With fewer than FEWEST_FRAMEWORKS, what was best elsewhere
is taken. A family's own test rows decide nothing; they are among the
training rows of the other families' trials, as any family is of another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.transfer.adaptation_strategies import blended, members
from benchmarks.transfer.few_shot_runs import Answer, Answers
from benchmarks.transfer.few_shot_strategies import FEWEST_FRAMEWORKS
from benchmarks.transfer.few_shot_tasks import Floats, Key, Table, Task
from benchmarks.transfer.strategy_prior import StrategyPrior, Trial, choose, trial_of
from ionbridge.models.adaptation.barriers import BarrierTask
from ionbridge.models.barriers.hop_barrier import HopBarrierModel
from ionbridge.models.cross_validation import choose as choose_by_labels
from ionbridge.models.metrics import mae

CANDIDATES = {
    "family_mean": "mean",
    "trees_scratch": "trees",
    "process_scratch": "process",
    "process": "process-joint",
    "process_family": "process-family",
    "learned": "fed",
}
"""Strategies, by their names in ``benchmarks.transfer.adaptation_strategies``."""
SIMPLE = {
    "family_mean": "family_mean",
    "trees_scratch": "trees",
    "process": "gaussian_process",
    "learned": HopBarrierModel.kind,
}
"""Strategies that need little, and their names in :mod:`ionbridge.models.regressors.baselines`."""
COMMITTEE = ("learned", "process", "process_family")
BY_KEY = {key: name for name, key in CANDIDATES.items()}


def choices(
    table: Table,
    todo: Sequence[Task],
    test: Mapping[str, Answers],
    held_out: Mapping[str, Answers],
) -> dict[str, Answers]:
    """What ``auto`` and ``auto_labels`` would have predicted.

    Args:
        table: Of all hops.
        todo: Tasks that all candidates have done.
        test: Strategy -> predictions of test rows.
        held_out: Strategy -> cross-validated predictions of the labels of tasks with
            FEWEST_FRAMEWORKS or more.
    """
    trials = {
        task.key: _trial(table, task, test, held_out)
        for task in todo
        if task.k >= FEWEST_FRAMEWORKS
    }
    errors = _errors(table, todo, {name: test[name] for name in CANDIDATES})
    result: dict[str, Answers] = {"auto": {}, "auto_labels": {}}
    for family in sorted({task.family for task in todo}):
        others = [trial for key, trial in trials.items() if key[2] != family]
        prior = StrategyPrior.fit(others)
        for task in (t for t in todo if t.family == family):
            prior_alone = best_elsewhere(errors, task)
            chosen: dict[str, tuple[str, ...]] = dict.fromkeys(result, (prior_alone,))
            if task.key in trials:
                trial = trials[task.key]
                blend = members(choose(trial, prior).strategy)
                chosen["auto"] = tuple(BY_KEY[name] for name in blend)
                chosen["auto_labels"] = (least(trial.cv),)
            for rule, names in chosen.items():
                result[rule][task.key] = blend_of([test[name][task.key] for name in names])
    return result


def committee(todo: Sequence[Task], test: Mapping[str, Answers]) -> Answers:
    """The median of COMMITTEE, whatever the labels say."""
    return {task.key: blend_of([test[name][task.key] for name in COMMITTEE]) for task in todo}


def elsewhere(table: Table, todo: Sequence[Task], test: Mapping[str, Answers]) -> Answers:
    """For every family the strategy that is best on the other ones; its labels decide nothing.

    Args:
        table: Of all hops.
        todo: Tasks that all strategies have done.
        test: Strategy -> predictions of test rows.
    """
    errors = _errors(table, todo, test)
    return {task.key: test[best_elsewhere(errors, task)][task.key] for task in todo}


def best_elsewhere(errors: Mapping[Key, Mapping[str, float]], task: Task) -> str:
    """The strategy of least mean log error on other families with as many frameworks."""
    own = [e for (k, _, family), e in errors.items() if k == task.k and family != task.family]
    return min(own[0], key=lambda name: float(np.mean([np.log(e[name]) for e in own])))


def least(cross_validated: Mapping[str, float]) -> str:
    """By the labels alone, a simple strategy where it is as good."""
    named = {SIMPLE.get(BY_KEY[key], key): error for key, error in cross_validated.items()}
    chosen = choose_by_labels(named, BarrierTask.simple, HopBarrierModel.kind)
    back = {name: strategy for strategy, name in SIMPLE.items()}
    return back.get(chosen) or BY_KEY[chosen]


def blend_of(answers: Sequence[Answer]) -> Answer:
    """The median of what several strategies say."""
    ids = list(answers[0].barrier_eV)
    values = blended([np.array([a.barrier_eV[i] for i in ids]) for a in answers])
    return Answer(dict(zip(ids, values.tolist(), strict=True)), {}, {})


def _trial(
    table: Table,
    task: Task,
    test: Mapping[str, Answers],
    held_out: Mapping[str, Answers],
) -> Trial:
    return trial_of(
        "hops",
        {key: values(held_out[n][task.key])[None] for n, key in CANDIDATES.items()},
        table.barrier_eV[task.shots],
        {key: values(test[n][task.key]) for n, key in CANDIDATES.items()},
        table.barrier_eV[task.test],
        task.family,
    )


def _errors(
    table: Table, todo: Sequence[Task], test: Mapping[str, Answers]
) -> dict[Key, dict[str, float]]:
    """Mean absolute error of every strategy on every task, eV."""
    return {
        task.key: {
            name: mae(table.barrier_eV[task.test], values(answers[task.key]))
            for name, answers in test.items()
        }
        for task in todo
    }


def values(answer: Answer) -> Floats:
    """(n,) barriers, in the order in which they were asked, eV."""
    return np.array(list(answer.barrier_eV.values()))
