"""Ways to learn a family from a few of its host frameworks and from hops of other families."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.shipped_hop_barrier import BRIEF, FAST, FED, HIDDEN, without
from benchmarks.transfer.few_shot_tasks import Floats, Rows, Table, Task
from ionbridge.models.adaptation.barriers import Base, ensemble_config, folds_of
from ionbridge.models.barriers.hop_barrier import HopBarrierModel, Inputs
from ionbridge.models.hop_networks.ensemble import HopEnsemble
from ionbridge.models.hop_networks.finetuning import FrozenHost
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.gaussian_process import CLIP, PathProcess
from ionbridge.models.transforms import LogShift

LOG = LogShift(0.1)
"""Space of all targets here, as in ``HopBarrierModel``."""
LABEL_WEIGHT = 6.0
"""How much more a label of the family counts than one of another."""
OFFSET_VARIANCE = 0.15
"""Prior variance of what a family has in common beyond its path scalars, in squares of LOG."""
N_FOLDS = 4
"""Of the cross-validation on the family's own labels; fewer where there are fewer frameworks."""
FEWEST_FRAMEWORKS = 4
"""With fewer, cross-validation on the family's own labels says too little."""
Strategy = Callable[[Table, Task], Prediction]


def certain(mean: Floats) -> Prediction:
    """A prediction that states no spread."""
    return Prediction(mean, np.zeros(len(mean)), np.zeros(len(mean)))


def family_mean(table: Table, task: Task) -> Prediction:
    known = table.barrier_eV[task.shots] if len(task.shots) else table.barrier_eV[task.others]
    return certain(np.full(len(task.test), np.median(known)))


def trees(table: Table, task: Task, rows: Rows, weight: Floats | None = None) -> Prediction:
    forest = ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.3, random_state=task.seed)
    forest.fit(table.features[rows], LOG.forward(table.barrier_eV[rows]), weight)
    return certain(LOG.inverse(forest.predict(table.features[task.test])))


def trees_joint(table: Table, task: Task) -> Prediction:
    return trees(table, task, task.train)


def trees_weighted(table: Table, task: Task) -> Prediction:
    own = np.full(len(task.shots), LABEL_WEIGHT)
    return trees(table, task, task.train, np.concatenate([np.ones(len(task.others)), own]))


def trees_scratch(table: Table, task: Task) -> Prediction:
    """On the labels alone; without labels, on what there is."""
    return trees(table, task, task.shots if len(task.shots) else task.others)


def process(table: Table, task: Task, rows: Rows, theta: Floats | None = None) -> Prediction:
    found = PathProcess(table.scalars[rows], LOG.forward(table.barrier_eV[rows]), theta)
    t, spread = found.predict(table.scalars[task.test])
    mean = LOG.inverse(t)
    noise = LOG.inverse_std(mean, np.full(len(mean), found.noise))
    return Prediction(mean, noise, LOG.inverse_std(mean, spread))


def process_joint(table: Table, task: Task) -> Prediction:
    return process(table, task, task.train)


def process_scratch(table: Table, task: Task) -> Prediction:
    """On the labels alone; without labels, on what there is."""
    return process(table, task, task.shots if len(task.shots) else task.others)


@lru_cache(maxsize=64)
def source_process(table: Table, others: bytes) -> PathProcess:
    """Process of the other families, found once for all draws; ``others`` are their indices."""
    rows = np.frombuffer(others, dtype=np.intp)
    return PathProcess(table.scalars[rows], LOG.forward(table.barrier_eV[rows]))


def process_family(table: Table, task: Task) -> Prediction:
    """Joint process whose family labels have less noise, and an offset and a bend of their own.

    Covariance of two hops: that of the joint process, and, for two hops of the family, a constant
    and a scaled copy of its smooth part besides (the coregionalisation of a task with its source).
    """
    y = LOG.forward(table.barrier_eV)
    joint = source_process(table, task.others.tobytes())
    variance, length, linear, noise = np.exp(joint.theta)
    x = np.clip((table.scalars - joint.center) / joint.scale, -CLIP, CLIP)
    offset = OFFSET_VARIANCE / joint.std**2

    def covariance(a: Rows, b: Rows) -> Floats:
        distance = np.sqrt(3.0) * cdist(x[a], x[b]) / length
        smooth = variance * (1.0 + distance) * np.exp(-distance)
        own = np.isin(a, family)[:, None] & np.isin(b, family)[None]
        return smooth + linear * (x[a] @ x[b].T + 1.0) + own * (offset + 0.5 * smooth)

    family = np.concatenate([task.shots, task.test])
    diagonal = np.concatenate(
        [np.full(len(task.others), noise), np.full(len(task.shots), noise / LABEL_WEIGHT**0.5)]
    )
    solved = np.linalg.solve(
        covariance(task.train, task.train) + np.diag(diagonal),
        (y[task.train] - joint.mean) / joint.std,
    )
    return certain(LOG.inverse(joint.mean + joint.std * covariance(task.test, task.train) @ solved))


def mixed(table: Table, task: Task) -> Prediction:
    """Geometric mean of the weighted trees and the family's process."""
    parts = [LOG.forward(f(table, task).mean) for f in (trees_weighted, process_family)]
    return certain(LOG.inverse(np.mean(parts, axis=0)))


def learned(table: Table, task: Task, source: Rows | None = None) -> Prediction:
    """The shipped model on all labels, as fine-tuning joins them; hops bring nothing.

    Hyperparameters are those found on the source, by default the other families.
    """
    return joined(table, task, HIDDEN[FAST], source)


def fed(table: Table, task: Task) -> Prediction:
    """The same where hops bring CHGNet's energies in a rigid host."""
    return joined(table, task, HIDDEN[FED])


def short(table: Table, task: Task) -> Prediction:
    """The same where hops bring a short relaxation with SevenNet-0."""
    return joined(table, task, HIDDEN[BRIEF])


def joined(
    table: Table, task: Task, hidden: Sequence[str], source: Rows | None = None
) -> Prediction:
    """The shipped model on the labels of other families, computed ones and those of the family.

    The labels of the family are not moved towards relaxations, as none of a user's are.

    Args:
        table: Of all hops.
        task: What is learnt from and asked.
        hidden: What hops do not bring.
        source: Hops that hyperparameters are found on; None takes the other families.
    """
    theta = source_theta(table, (task.others if source is None else source).tobytes())
    own = table.inputs.rows(task.shots).unrelaxed()
    inputs, barrier_eV = with_computed(table, task.others)
    model = HopBarrierModel(task.seed)
    model.fit_inputs(
        inputs.with_rows(own), np.concatenate([barrier_eV, table.barrier_eV[task.shots]]), theta
    )
    return model.predict_inputs(without(table.inputs.rows(task.test), *hidden))


def with_computed(table: Table, rows: Rows) -> tuple[Inputs, Floats]:
    """Computed labels, then those of some hops."""
    inputs, barrier_eV = table.computed
    return (
        inputs.with_rows(table.inputs.rows(rows)),
        np.concatenate([barrier_eV, table.barrier_eV[rows]]),
    )


@lru_cache(maxsize=64)
def source_theta(table: Table, others: bytes) -> Mapping[Any, Floats]:
    """Hyperparameters of the processes of :func:`joined` on a source, by what they read."""
    model = HopBarrierModel()
    model.fit_inputs(*with_computed(table, np.frombuffer(others, dtype=np.intp)))
    return {reads: found.theta for reads, (found, _) in model.experts().items()}


def network_frozen(table: Table, task: Task) -> Prediction:
    """The shipped recipe with one member: encoder with frozen host, averaged with a process."""
    base = Base.of("hop-encoder")
    config = ensemble_config(base, FrozenHost(), len(task.train), task.seed, 1, "cpu")
    model = HopEnsemble(config, base.weights)
    model.fit([table.hops[i] for i in task.train], table.barrier_eV[task.train])
    return model.predict([table.hops[i] for i in task.test])


STRATEGIES: dict[str, Strategy] = {
    "family_mean": family_mean,
    "trees": trees_joint,
    "trees_weighted": trees_weighted,
    "trees_scratch": trees_scratch,
    "process": process_joint,
    "process_family": process_family,
    "process_scratch": process_scratch,
    "mixed": mixed,
    "learned": learned,
    "fed": fed,
    "short": short,
    "network_frozen": network_frozen,
}
"""Cheap ones first."""
BASELINE = "trees"
FROM_SCRATCH = ("trees_scratch", "process_scratch")


def process_by_source(table: Table, task: Task, source: Rows | None = None) -> Prediction:
    """With the hyperparameters of a process on the source, by default the other families."""
    known = source_process(table, (task.others if source is None else source).tobytes())
    return process(table, task, task.train, known.theta)


BY_SOURCE: dict[str, Callable[[Table, Task, Rows | None], Prediction]] = {
    "process": process_by_source,
    "learned": learned,
}
"""Those whose hyperparameters a few labels hardly move: the source's serve in cross-validation."""


def on_labels(name: str, table: Table, task: Task) -> Prediction:
    """A strategy as it is cross-validated."""
    return (
        BY_SOURCE[name](table, task, None) if name in BY_SOURCE else STRATEGIES[name](table, task)
    )


def held_out(name: str, table: Table, task: Task) -> Prediction:
    """The task's own labels, each predicted from the others, frameworks kept together.

    Args:
        name: Of a strategy, fitted once a fold, with all hops of other families every time.
        table: Of all hops.
        task: With two labels or more.

    Returns:
        Predictions of ``task.shots``, in their order.
    """
    parts = [np.zeros(len(task.shots)) for _ in range(3)]
    folds, _ = folds_of([table.hops[i] for i in task.shots], N_FOLDS)
    for fold in folds:
        inner = replace(task, shots=task.shots[fold.train], test=task.shots[fold.test])
        found = on_labels(name, table, inner)
        values = (found.mean, found.aleatoric_std, found.epistemic_std)
        for store, value in zip(parts, values, strict=True):
            store[fold.test] = value
    return Prediction(*parts)
