"""Predictions of few-shot tasks as JSON lines: a killed run goes on, in any number of processes.

A line is one strategy's answer to one task. ``test`` files hold predictions of the rows asked,
``held_out`` files those of the task's own labels in cross-validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.json_lines import read
from benchmarks.transfer.few_shot_strategies import LOG, STRATEGIES, held_out
from benchmarks.transfer.few_shot_tasks import Floats, Key, Table, Task
from ionbridge.models.prediction import Prediction

TEST, HELD_OUT = "test", "held_out"


@dataclass(frozen=True, eq=False)
class Answer:
    """What a strategy said of some hops.

    Attributes:
        barrier_eV: By hop id.
        noise: One sigma of ln(barrier + 0.1) that no model could know, by hop id; empty where the
            strategy states none.
        doubt: The same of what more labels would settle.
    """

    barrier_eV: Mapping[str, float]
    noise: Mapping[str, float]
    doubt: Mapping[str, float]

    @classmethod
    def of(cls, ids: Sequence[str], found: Prediction) -> Answer:
        """From a prediction of the hops of these ids."""

        def by_id(values: Floats) -> dict[str, float]:
            return dict(zip(ids, np.round(values, 4).tolist(), strict=True))

        noise, doubt = (
            LOG.forward_std(found.mean, std) for std in (found.aleatoric_std, found.epistemic_std)
        )
        stated = bool(np.any(noise) or np.any(doubt))
        return cls(
            by_id(found.mean), by_id(noise) if stated else {}, by_id(doubt) if stated else {}
        )

    def prediction(self, ids: Sequence[str]) -> Prediction:
        """As it was, for some of its hops.

        Raises:
            KeyError: No such hop, or no spread stated.
        """
        mean, noise, doubt = (
            np.array([values[i] for i in ids])
            for values in (self.barrier_eV, self.noise, self.doubt)
        )
        return Prediction(mean, LOG.inverse_std(mean, noise), LOG.inverse_std(mean, doubt))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"barrier_eV": self.barrier_eV, "noise": self.noise, "doubt": self.doubt}


Answers = dict[Key, Answer]


def file_of(work: Path, name: str, part: str) -> Path:
    return work / f"{name}.{part}.jsonl"


def load(work: Path, name: str, part: str) -> Answers:
    """Finished tasks of a strategy."""
    return {
        (row["k"], row["seed"], row["family"]): Answer(
            row["barrier_eV"], row["noise"], row["doubt"]
        )
        for row in read(file_of(work, name, part))
    }


def complete(
    name: str, part: str, table: Table, todo: Sequence[Task], work: Path, n_workers: int = 1
) -> None:
    """Run what is not there yet.

    Args:
        name: Of the strategy.
        part: TEST or HELD_OUT.
        table: Of all hops.
        todo: All tasks.
        work: Folder of the lines.
        n_workers: Processes; 1 runs in this one.
    """
    work.mkdir(parents=True, exist_ok=True)
    done = load(work, name, part)
    rest = [task for task in todo if task.key not in done]
    with file_of(work, name, part).open("a", encoding="utf-8") as stream:
        for task, answer in _answers(name, part, table, rest, n_workers):
            entry = {"k": task.k, "seed": task.seed, "family": task.family, **answer.to_dict()}
            stream.write(json.dumps(entry) + "\n")
            stream.flush()


def _answers(
    name: str, part: str, table: Table, todo: Sequence[Task], n_workers: int
) -> Iterator[tuple[Task, Answer]]:
    if n_workers == 1:
        for task in todo:
            yield task, answer(name, part, table, task)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, initializer=_keep, initargs=(table,)) as pool:
        jobs = {pool.submit(_answer_kept, name, part, task): task for task in todo}
        for job in as_completed(jobs):
            yield jobs[job], job.result()


def answer(name: str, part: str, table: Table, task: Task) -> Answer:
    if part == TEST:
        rows, found = task.test, STRATEGIES[name](table, task)
    else:
        rows, found = task.shots, held_out(name, table, task)
    return Answer.of([table.hops[i].id for i in rows], found)


_KEPT: list[Table] = []


def _keep(table: Table) -> None:
    torch.set_num_threads(1)
    _KEPT[:] = [table]


def _answer_kept(name: str, part: str, task: Task) -> Answer:
    return answer(name, part, _KEPT[0], task)


def n_draws(answers: Answers, todo: Sequence[Task]) -> int:
    """Draws of which every task is done, from the first on."""
    missing = [task.seed for task in todo if task.key not in answers]
    return min(missing, default=1 + max(task.seed for task in todo))
