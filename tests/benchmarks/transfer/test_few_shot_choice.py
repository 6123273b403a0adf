"""The choice follows the labels and other families, never the rows that it will be judged on."""

import numpy as np
import pytest

from benchmarks.transfer.few_shot_choice import (
    CANDIDATES,
    COMMITTEE,
    best_elsewhere,
    choices,
    committee,
    elsewhere,
    least,
)
from benchmarks.transfer.few_shot_runs import Answer
from benchmarks.transfer.few_shot_tasks import Task
from tests.benchmarks.transfer.few_shot_tables import METALS, hop, table

FAMILIES = ("garnet", "layered", "olivine", "spinel")
N_LABELS, N_TEST = 8, 10


@pytest.fixture
def known():
    hops = [
        hop(f"{family}-{k}", METALS[k % len(METALS)], family)
        for family in FAMILIES
        for k in range(N_LABELS + N_TEST)
    ]
    rng = np.random.default_rng(0)
    return table(hops, rng.uniform(0.3, 0.9, len(hops)))


def family_tasks(known):
    every = np.arange(len(known.hops))
    for i, family in enumerate(FAMILIES):
        own = np.arange(N_LABELS + N_TEST) + i * (N_LABELS + N_TEST)
        for draw in range(3):
            own = np.roll(own, 3)
            others = np.setdiff1d(every, own)
            yield Task(family, 4, draw, others, own[:N_LABELS], own[N_LABELS:])


def answers(known, todo, error_of):
    """Every candidate off by its own error, up and down in turn."""
    test, held_out = {}, {}
    for name in CANDIDATES:
        for kept, part in ((test, "test"), (held_out, "shots")):
            kept[name] = {
                task.key: Answer(
                    {
                        known.hops[i].id: float(
                            known.barrier_eV[i] + error_of(name, task) * (-1) ** i
                        )
                        for i in getattr(task, part)
                    },
                    {},
                    {},
                )
                for task in todo
            }
    return test, held_out


def errors_of(known, task, answer):
    said = np.array([answer.barrier_eV[known.hops[i].id] for i in task.test])
    return np.abs(said - known.barrier_eV[task.test])


def test_the_best_everywhere_is_taken(known):
    todo = list(family_tasks(known))
    test, held_out = answers(known, todo, lambda name, task: 0.01 if name == "learned" else 0.2)
    found = choices(known, todo, test, held_out)
    for task in todo:
        assert errors_of(known, task, found["auto_labels"][task.key]) == pytest.approx(0.01)
        assert errors_of(known, task, found["auto"][task.key]).mean() < 0.2 + 1e-9


def test_where_transfer_fails_on_the_labels_none_is_used(known):
    def error(name, task):
        own = {"family_mean": 0.02, "trees_scratch": 0.02, "process_scratch": 0.02}
        return own.get(name, 0.25) if task.family == "olivine" else 0.1

    todo = list(family_tasks(known))
    found = choices(known, todo, *answers(known, todo, error))
    for task in todo:
        if task.family == "olivine":
            for rule in ("auto", "auto_labels"):
                assert errors_of(known, task, found[rule][task.key]) == pytest.approx(0.02)


def test_a_family_s_own_test_rows_decide_nothing(known):
    rng = np.random.default_rng(1)
    level = {(n, f): rng.uniform(0.05, 0.3) for n in CANDIDATES for f in FAMILIES}
    todo = list(family_tasks(known))
    test, held_out = answers(known, todo, lambda name, task: level[name, task.family])

    task = next(t for t in todo if t.family == "spinel")
    todo = [t for t in todo if t.family != "spinel" or t is task]  # its test rows are no labels
    changed = known.barrier_eV.copy()
    changed[task.test] = rng.uniform(0.0, 3.0, N_TEST)

    def chosen(barrier_eV):
        found = choices(table(known.hops, barrier_eV), todo, test, held_out)
        return {rule: answers[task.key].barrier_eV for rule, answers in found.items()}

    assert chosen(known.barrier_eV) == chosen(changed)


def test_what_is_best_elsewhere_looks_at_other_families_and_as_many_frameworks():
    errors = {
        (4, 0, "garnet"): {**dict.fromkeys(CANDIDATES, 0.3), "process": 0.1},
        (4, 0, "spinel"): {**dict.fromkeys(CANDIDATES, 0.3), "learned": 0.01},
        (8, 0, "layered"): {**dict.fromkeys(CANDIDATES, 0.3), "family_mean": 0.01},
    }
    empty = np.array([], dtype=np.intp)
    assert best_elsewhere(errors, Task("spinel", 4, 0, empty, empty, empty)) == "process"


def test_by_labels_what_is_known_stands_until_it_is_clearly_beaten():
    flat = dict.fromkeys(CANDIDATES.values(), 0.2)
    assert least(flat) == "learned"
    assert least({**flat, "process-joint": 0.15}) == "learned"
    assert least({**flat, "process-joint": 0.05}) == "process"
    assert least({**flat, "trees": 0.02}) == "trees_scratch"


def test_without_a_look_at_the_labels_the_best_on_other_families_is_taken(known):
    def error(name, task):
        return 0.01 if name == ("process" if task.family == "olivine" else "learned") else 0.2

    todo = list(family_tasks(known))
    test, _ = answers(known, todo, error)
    for key, answer in elsewhere(known, todo, test).items():
        assert answer == test["learned"][key]


def test_the_committee_follows_its_majority(known):
    todo = list(family_tasks(known))
    test, _ = answers(known, todo, lambda name, task: 0.3 if name == COMMITTEE[0] else 0.05)
    for task in todo:
        said = committee(todo, test)[task.key]
        assert errors_of(known, task, said) == pytest.approx(0.05)
