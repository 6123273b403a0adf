"""Answers survive their lines, and nothing that was finished is run again."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.transfer import few_shot_runs
from benchmarks.transfer.few_shot_runs import TEST, Answer, complete, file_of, load, n_draws
from benchmarks.transfer.few_shot_strategies import (
    STRATEGIES,
    certain,
    held_out,
    process_by_source,
    process_family,
)
from benchmarks.transfer.few_shot_tasks import Task, tasks
from ionbridge.models.prediction import Prediction
from tests.benchmarks.transfer.few_shot_tables import METALS, hop, table

BARRIER = {"garnet": 0.2, "spinel": 0.7}


@pytest.fixture
def known():
    """Two families of six frameworks with three hops each."""
    hops = [
        hop(f"{family}-{metal}-{k}", metal, family)
        for family, metals in (("garnet", METALS[:6]), ("spinel", METALS[6:]))
        for metal in metals
        for k in range(3)
    ]
    return table(hops, [BARRIER[h.family] for h in hops])


def test_tasks_are_nested_and_keep_frameworks_apart(known):
    found = {task.key: task for task in tasks(known.hops, 3)}
    assert {k for k, _, _ in found} == {0, 1, 2}  # with four, six hops would remain
    for task in found.values():
        seen = {known.hops[i].framework for i in task.train}
        assert not seen & {known.hops[i].framework for i in task.test}
        assert len({known.hops[i].framework for i in task.shots}) == task.k
        if task.k == 1:
            assert set(task.shots) < set(found[2, task.seed, task.family].shots)


def test_an_answer_is_read_as_it_was_given():
    found = Prediction(np.array([0.3, 1.2]), np.array([0.1, 0.2]), np.array([0.05, 0.4]))
    back = Answer.of(["a", "b"], found).prediction(["b", "a"])
    for name in ("mean", "aleatoric_std", "epistemic_std"):
        assert getattr(back, name) == pytest.approx(getattr(found, name)[::-1], abs=2e-4)


def test_a_strategy_without_a_spread_states_none():
    answer = Answer.of(["a"], certain(np.array([0.5])))
    assert not answer.noise
    with pytest.raises(KeyError):
        answer.prediction(["a"])


def test_a_killed_run_goes_on(known, tmp_path, monkeypatch):
    calls = []

    def counted(_, task: Task) -> Prediction:
        calls.append(task.key)
        return certain(np.full(len(task.test), 0.5))

    monkeypatch.setitem(STRATEGIES, "counted", counted)
    todo = list(tasks(known.hops, 2))
    complete("counted", TEST, known, todo[:2], tmp_path)
    path = file_of(tmp_path, "counted", TEST)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[: len(whole) - 20] + "\n", encoding="utf-8")  # the second line is torn
    assert set(load(tmp_path, "counted", TEST)) == {todo[0].key}
    complete("counted", TEST, known, todo, tmp_path)
    assert calls == [todo[0].key, todo[1].key, *(task.key for task in todo[1:])]
    assert set(load(tmp_path, "counted", TEST)) == {task.key for task in todo}
    complete("counted", TEST, known, todo, tmp_path)
    assert len(calls) == 1 + len(todo)


def test_labels_are_held_out_by_framework(known, monkeypatch):
    task = next(t for t in tasks(known.hops, 1) if t.k == 2)
    folds = []

    def spying(_, inner: Task) -> Prediction:
        assert set(inner.others) == set(task.others)
        assert set(inner.shots) | set(inner.test) == set(task.shots)
        shown = {known.hops[i].framework for i in inner.shots}
        assert not shown & {known.hops[i].framework for i in inner.test}
        folds.append(inner)
        return certain(inner.test.astype(float))

    monkeypatch.setitem(STRATEGIES, "spying", spying)
    found = held_out("spying", known, task)
    assert len(folds) == 2
    assert found.mean.tolist() == task.shots.tolist()  # in the order of the labels


def test_the_family_mean_learns_from_the_labels_alone(known):
    for task in tasks(known.hops, 1):
        answer = few_shot_runs.answer("family_mean", TEST, known, task)
        other = next(f for f in BARRIER if f != task.family)
        right = BARRIER[task.family if task.k else other]
        assert set(answer.barrier_eV.values()) == {right}


def test_a_family_without_labels_is_seen_as_by_the_joint_process(known):
    rng = np.random.default_rng(0)
    scalars = rng.normal(size=(len(known.hops), 3))
    apart = replace(known, scalars=scalars, barrier_eV=np.exp(0.3 * scalars[:, 0]))
    for task in tasks(apart.hops, 1):
        family, joint = (f(apart, task).mean for f in (process_family, process_by_source))
        if task.k == 0:
            assert family == pytest.approx(joint, rel=1e-5)
        else:  # its labels weigh more
            assert not np.allclose(family, joint, rtol=1e-3)


def test_draws_count_up_to_the_first_gap(known):
    todo = list(tasks(known.hops, 3))
    done = {task.key: Answer({}, {}, {}) for task in todo}
    assert n_draws(done, todo) == 3
    assert n_draws({key: a for key, a in done.items() if key[1] != 1}, todo) == 1
    assert n_draws({}, todo) == 0
