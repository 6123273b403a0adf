"""Every strategy on every task of :mod:`benchmarks.transfer.adaptation_tasks`, predictions kept.

What a rule of choice would have done is worked out from the predictions, so that rules can be
compared without fitting anything twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.transfer.adaptation_strategies import usable_strategies
from benchmarks.transfer.adaptation_tasks import (
    LOG,
    Task,
    bulk_tables,
    bulk_tasks,
    hop_table,
    hop_tasks,
)
from benchmarks.transfer.strategy_prior import cross_validated

Floats = NDArray[np.float64]
BULK_SEEDS = 3
"""Draws of a bulk property, of which there are four times as many tasks."""
LARGEST = 3.0
"""Predictions of hops above this are runaways of a line, as in the shipped model."""


@dataclass(frozen=True, eq=False)
class Run:
    """A task with what every strategy said.

    Attributes:
        task: ``family:olivine``, ``ion:K``, ``bulk:formation_energy->band_gap``.
        kind: ``family``, ``ion`` or ``bulk``.
        n: Number of labels.
        seed: Of the draw.
        n_groups: Frameworks or formulas among the labels.
        strategies: (s,) names.
        held_out: (s, repeats, n) cross-validated predictions, eV or the unit of the property.
        labels: (n,) what they should be.
        predicted: (s, m) predictions of the test rows.
        truth: (m,) what they should be.
        seconds: Processor time.
    """

    task: str
    kind: str
    n: int
    seed: int
    n_groups: int
    strategies: tuple[str, ...]
    held_out: Floats
    labels: Floats
    predicted: Floats
    truth: Floats
    seconds: float

    @property
    def target(self) -> str:
        """What must not be on both sides: the target, whatever it was transferred from."""
        return f"{self.kind}:{self.task.split('->')[-1].split(':')[-1]}"


def run(task: Task) -> Run:
    """Fit every strategy on the labels and on all folds of them."""
    started = time.process_time()
    strategies = usable_strategies(task.source)
    held_out = cross_validated(
        strategies,
        task.source,
        task.descriptors,
        task.target,
        task.groups,
        task.seed,
    )
    predicted = [
        strategy.fit(task.source, task.descriptors, task.target)(task.test)
        for strategy in strategies
    ]
    names = tuple(strategy.name for strategy in strategies)
    return Run(
        task.name,
        task.kind,
        task.n_labels,
        task.seed,
        len(set(task.groups)),
        names,
        _values(task, np.stack([held_out[name] for name in names])),
        _values(task, task.target),
        _values(task, np.stack(predicted)),
        _values(task, task.test_target),
        round(time.process_time() - started, 2),
    )


def _values(task: Task, target: Floats) -> Floats:
    """From the space of the strategies to the unit of the property."""
    return LOG.inverse(np.minimum(target, LARGEST)) if task.is_log else target


ARRAYS = ("held_out", "labels", "predicted", "truth")


def save(found: Run, folder: Path) -> None:
    """One file a task, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(found.task, found.n, found.seed)
    part = path.with_suffix(".part.npz")
    arrays = {name: getattr(found, name).astype(np.float32) for name in ARRAYS}
    np.savez(
        part,
        task=found.task,
        kind=found.kind,
        n=found.n,
        seed=found.seed,
        n_groups=found.n_groups,
        strategies=list(found.strategies),
        seconds=found.seconds,
        **arrays,
    )
    part.rename(path)


def file_name(task: str, n: int, seed: int) -> str:
    """``bulk.formation_energy-to-band_gap.8.0.npz``."""
    plain = task.replace("->", "-to-").replace(":", ".").replace(" ", "_")
    return f"{plain}.{n}.{seed}.npz"


def load(path: Path) -> Run:
    """What :func:`save` wrote."""
    stored = np.load(path)
    return Run(
        str(stored["task"]),
        str(stored["kind"]),
        int(stored["n"]),
        int(stored["seed"]),
        int(stored["n_groups"]),
        tuple(map(str, stored["strategies"])),
        seconds=float(stored["seconds"]),
        **{name: stored[name].astype(float) for name in ARRAYS},
    )


def load_all(folder: Path) -> list[Run]:
    """All finished tasks of a folder, in the order of their names."""
    paths = [p for p in sorted(folder.glob("*.npz")) if not p.name.endswith(".part.npz")]
    return [load(path) for path in paths]


def complete(data: Path, work: Path, kinds: Sequence[str], n_seeds: int) -> None:
    """Run what is not there yet; a killed run goes on."""
    for task in all_tasks(data, work, kinds, n_seeds):
        if (work / "runs" / file_name(task.name, task.n_labels, task.seed)).exists():
            continue
        found = run(task)
        save(found, work / "runs")
        print(found.task, found.n, found.seed, f"{found.seconds} s", flush=True)


def all_tasks(data: Path, work: Path, kinds: Sequence[str], n_seeds: int) -> Iterator[Task]:
    """The tasks of both kinds; bulk ones, of which there are many, with fewer draws."""
    if "hops" in kinds:
        yield from hop_tasks(hop_table(data, work / "hops.npz"), n_seeds)
    if "bulk" in kinds:
        yield from bulk_tasks(bulk_tables(data, work / "bulk.npz"), min(n_seeds, BULK_SEEDS))
