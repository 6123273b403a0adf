"""Few labels of a family never seen: what k of its host frameworks are worth to each model.

    python -m benchmarks.few_shot --data DIR [--work DIR] [--strategy S ...] [--seeds N]

Protocol: a family is left out (and every framework that it shares with others), then k of its host
frameworks are added, k = 0, 1, 2, 4, 8, 16, drawn by seed and nested; every family where 8 or more
hops remain is tested on what remains. Every finished (strategy, k, seed, family) is a line of the
work folder and is not run again; scores go to benchmarks/results/few_shot.json.

Label efficiency: the number of frameworks that the trees need for the error that a strategy has
with k, over k; read off the trees' curve (error against log2(1 + k), made to fall), on the families
that allow 16 frameworks and on the hops that remain then.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process.kernels import Kernel

from benchmarks.physics_fed import seen
from models.adaptation import Base, ensemble_config
from models.checkpoint import sha256
from models.ensemble import HopEnsemble
from models.finetuning import FrozenHost
from models.gaussian_process import CLIP, PathProcess
from models.metrics import mae, paired_bootstrap, spearman
from models.physics_fed import TARGET as FED
from models.physics_fed import Inputs, PhysicsFed
from models.transforms import LogShift
from structures.descriptors import hop_features
from structures.records import Hop
from structures.sources import neb_barriers
from structures.splits import FewShotSplit, LeaveFamilyOut

RESULTS = Path(__file__).parent / "results" / "few_shot.json"
SHOTS = (0, 1, 2, 4, 8, 16)
REPORTED = (4, 8, 16)
MIN_TEST = 8
UP_TO_EV = 2.0
LOG = LogShift(0.1)
LABEL_WEIGHT = 6.0
"""How much more a label of the family counts than one of another."""
OFFSET_VARIANCE = 0.15
"""Prior variance of what a family has in common beyond its path scalars, in squares of LOG."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """All hops with their descriptors.

    Attributes:
        hops: (n,) hops on their bond-valence paths.
        barrier_eV: (n,) labels.
        features: (n, n_features) path geometry and composition.
        scalars: (n, n_scalars) path scalars.
        inputs: What the model that reads a universal potential's energies sees.
    """

    hops: tuple[Hop, ...]
    barrier_eV: Floats
    features: Floats
    scalars: Floats
    inputs: Inputs


@dataclass(frozen=True, eq=False)
class Task:
    """What is learnt from and what is asked, as indices into the table.

    Attributes:
        family: Held out.
        k: Host frameworks of it that are learnt from.
        seed: Of the draw.
        others: Hops of other families.
        shots: Hops of the family to learn from.
        test: Hops to predict.
    """

    family: str
    k: int
    seed: int
    others: NDArray[np.intp]
    shots: NDArray[np.intp]
    test: NDArray[np.intp]

    @property
    def train(self) -> NDArray[np.intp]:
        """All hops to learn from."""
        return np.concatenate([self.others, self.shots])


def tasks(hops: Sequence[Hop], n_seeds: int) -> Iterator[Task]:
    for left_out in LeaveFamilyOut(MIN_TEST).split(hops):
        if left_out.name != "others":
            yield Task(left_out.name, 0, 0, left_out.train, left_out.test[:0], left_out.test)
    bases = {split.name: split for split in LeaveFamilyOut().split(hops)}
    for k in SHOTS[1:]:
        for seed in range(n_seeds):
            for split in FewShotSplit(k, seed, MIN_TEST).split(hops):
                others = bases[split.name].train
                shots = np.setdiff1d(split.train, others)
                yield Task(split.name, k, seed, others, shots, split.test)


def family_mean(table: Table, task: Task) -> Floats:
    known = table.barrier_eV[task.shots] if len(task.shots) else table.barrier_eV[task.others]
    return np.full(len(task.test), np.median(known))


def trees(table: Table, rows: NDArray[np.intp], weight: Floats | None, task: Task) -> Floats:
    forest = ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.3, random_state=task.seed)
    forest.fit(table.features[rows], LOG.forward(table.barrier_eV[rows]), weight)
    return LOG.inverse(forest.predict(table.features[task.test]))


def trees_joint(table: Table, task: Task) -> Floats:
    return trees(table, task.train, None, task)


def trees_weighted(table: Table, task: Task) -> Floats:
    return trees(table, task.train, weights(task), task)


def trees_scratch(table: Table, task: Task) -> Floats:
    return trees(table, task.shots, None, task) if len(task.shots) else trees_joint(table, task)


def weights(task: Task) -> Floats:
    return np.concatenate([np.ones(len(task.others)), np.full(len(task.shots), LABEL_WEIGHT)])


def process_scratch(table: Table, task: Task) -> Floats:
    rows = task.shots if len(task.shots) else task.others
    process = PathProcess(table.scalars[rows], LOG.forward(table.barrier_eV[rows]))
    return LOG.inverse(process.predict(table.scalars[task.test])[0])


def process_joint(table: Table, task: Task) -> Floats:
    process = PathProcess(table.scalars[task.train], LOG.forward(table.barrier_eV[task.train]))
    return LOG.inverse(process.predict(table.scalars[task.test])[0])


@lru_cache(maxsize=64)
def source_process(table: Table, others: bytes) -> PathProcess:
    """Process of the other families, found once for all draws; ``others`` are their indices."""
    rows = np.frombuffer(others, dtype=np.intp)
    return PathProcess(table.scalars[rows], LOG.forward(table.barrier_eV[rows]))


def process_family(table: Table, task: Task) -> Floats:
    """Joint process whose family labels have less noise, and an offset and a bend of their own.

    Covariance of two hops: that of the joint process, and, for two hops of the family, a constant
    and a scaled copy of its smooth part besides (the coregionalisation of a task with its source).
    """
    y = LOG.forward(table.barrier_eV)
    joint = source_process(table, task.others.tobytes())
    kernel: Kernel = joint._process.kernel_
    spread = float(joint._process._y_train_std)
    signal, smooth = kernel.k1, kernel.k1.k1
    noise = float(kernel.k2.noise_level)
    x = np.clip((table.scalars - joint.center) / joint.scale, -CLIP, CLIP)
    offset = OFFSET_VARIANCE / spread**2

    def covariance(a: NDArray[np.intp], b: NDArray[np.intp]) -> Floats:
        own = np.isin(a, family)[:, None] & np.isin(b, family)[None]
        return signal(x[a], x[b]) + own * (offset + 0.5 * smooth(x[a], x[b]))

    family = np.concatenate([task.shots, task.test])
    diagonal = np.concatenate(
        [np.full(len(task.others), noise), np.full(len(task.shots), noise / LABEL_WEIGHT**0.5)]
    )
    mean = y[task.others].mean()
    solved = np.linalg.solve(
        covariance(task.train, task.train) + np.diag(diagonal), (y[task.train] - mean) / spread
    )
    return LOG.inverse(mean + spread * covariance(task.test, task.train) @ solved)


def mixed(table: Table, task: Task) -> Floats:
    """Geometric mean of the weighted trees and the family's process."""
    parts = [LOG.forward(f(table, task)) for f in (trees_weighted, process_family)]
    return LOG.inverse(np.mean(parts, axis=0))


def fed(table: Table, task: Task) -> Floats:
    """The shipped recipe that reads CHGNet energies, on all labels."""
    model = PhysicsFed(task.seed)
    model.fit_inputs(table.inputs.rows(task.train), FED.forward(table.barrier_eV[task.train]))
    return model.predict_inputs(table.inputs.rows(task.test)).mean


def network_frozen(table: Table, task: Task) -> Floats:
    """The shipped recipe with one member: encoder with frozen host, averaged with a process."""
    base = Base.of("hop-encoder")
    config = ensemble_config(base, FrozenHost(), len(task.train), task.seed, 1, "cpu")
    model = HopEnsemble(config, base.weights)
    model.fit([table.hops[i] for i in task.train], table.barrier_eV[task.train])
    return model.predict([table.hops[i] for i in task.test]).mean


STRATEGIES: dict[str, Callable[[Table, Task], Floats]] = {
    "family_mean": family_mean,
    "trees": trees_joint,
    "trees_weighted": trees_weighted,
    "trees_scratch": trees_scratch,
    "process": process_joint,
    "process_family": process_family,
    "process_scratch": process_scratch,
    "mixed": mixed,
    "fed": fed,
    "network_frozen": network_frozen,
}
"""Cheap ones first."""
BASELINE = "trees"
Key = tuple[int, int, str]


def read_done(path: Path) -> dict[Key, dict[str, float]]:
    """Finished tasks of a strategy: barriers by hop id; a line that was cut does not count."""
    done: dict[Key, dict[str, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        done[entry["k"], entry["seed"], entry["family"]] = entry["barrier_eV"]
    return done


def run(name: str, table: Table, todo: Sequence[Task], work: Path) -> None:
    path = work / f"{name}.jsonl"
    done = read_done(path)
    for task in todo:
        if (task.k, task.seed, task.family) in done:
            continue
        predicted = STRATEGIES[name](table, task)
        ids = [table.hops[i].id for i in task.test]
        values = dict(zip(ids, np.round(predicted, 4).tolist(), strict=True))
        entry = {"k": task.k, "seed": task.seed, "family": task.family, "barrier_eV": values}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def summary(
    table: Table, todo: Sequence[Task], found: dict[str, dict[Key, dict[str, float]]]
) -> dict[str, Any]:
    """Scores of strategies that have finished all tasks."""
    index = {hop.id: i for i, hop in enumerate(table.hops)}
    sound = np.array([not neb_barriers.is_implausible(hop) for hop in table.hops])
    keys = [(t.k, t.seed, t.family) for t in todo]
    whole = {name: done for name, done in found.items() if all(key in done for key in keys)}
    result: dict[str, Any] = {}
    for k in REPORTED:
        chosen = [key for key in keys if key[0] == k]
        rows = np.array([index[i] for key in chosen for i in whole[BASELINE][key]])
        seed = np.array([key[1] for key in chosen for _ in whole[BASELINE][key]])
        family = np.array([key[2] for key in chosen for _ in whole[BASELINE][key]])
        true = table.barrier_eV[rows]
        groups = [table.hops[i].framework for i in rows]
        flat = {
            n: np.array([v for key in chosen for v in d[key].values()]) for n, d in whole.items()
        }
        entry: dict[str, Any] = {"families": sorted(set(family)), "n_rows": len(rows)}
        for name, predicted in flat.items():
            by_seed = [mae(true[seed == s], predicted[seed == s]) for s in np.unique(seed)]
            by_family = {
                f: mae(true[family == f], predicted[family == f]) for f in np.unique(family)
            }
            gap = paired_bootstrap(true, predicted, flat[BASELINE], groups=groups)
            entry[name] = {
                "mae_eV": round(mae(true, predicted), 3),
                "mae_by_seed_eV": [round(v, 3) for v in by_seed],
                "mae_mean_of_families_eV": round(float(np.mean(list(by_family.values()))), 3),
                "mae_up_to_2_eV": round(
                    mae(true[true <= UP_TO_EV], predicted[true <= UP_TO_EV]), 3
                ),
                "mae_without_implausible_rows_eV": round(
                    mae(true[sound[rows]], predicted[sound[rows]]), 3
                ),
                "spearman": round(spearman(true, predicted), 3),
                f"mae_minus_{BASELINE}_eV": [
                    round(v, 3) for v in (gap.value, gap.lower, gap.upper)
                ],
                "mae_by_family_eV": {f: round(v, 3) for f, v in by_family.items()},
            }
        result[f"k={k}"] = entry
    return {**result, "label_efficiency": efficiency(table, todo, whole)}


def efficiency(
    table: Table, todo: Sequence[Task], whole: dict[str, dict[Key, dict[str, float]]]
) -> dict[str, Any]:
    """Curves over the families that allow the most shots, and frameworks saved against trees."""
    index = {hop.id: i for i, hop in enumerate(table.hops)}
    last = {(t.seed, t.family): t for t in todo if t.k == SHOTS[-1]}
    curves: dict[str, Floats] = {}
    for name, done in whole.items():
        points = []
        for k in SHOTS:
            errors: dict[str, list[float]] = {}
            for (seed, family), task in last.items():
                values = done[k, seed if k else 0, family]
                ids = [table.hops[i].id for i in task.test]
                gap = [abs(values[i] - table.barrier_eV[index[i]]) for i in ids]
                errors.setdefault(family, []).append(float(np.mean(gap)))
            points.append(float(np.mean([np.mean(v) for v in errors.values()])))
        curves[name] = np.array(points)
    falling = np.minimum.accumulate(curves[BASELINE])
    at = np.log2(1.0 + np.array(SHOTS))
    saved: dict[str, dict[str, Any]] = {}
    for name, curve in curves.items():
        saved[name] = {}
        for k in REPORTED:
            error = curve[SHOTS.index(k)]
            if error < falling[-1]:
                saved[name][f"k={k}"] = f"> {SHOTS[-1] / k:.3g}"
            else:
                needed = 2 ** np.interp(-error, -falling, at) - 1
                saved[name][f"k={k}"] = round(float(needed) / k, 2)
    return {
        "families": sorted({family for _, family in last}),
        "shots": list(SHOTS),
        "mae_mean_of_families_eV": {n: np.round(c, 3).tolist() for n, c in curves.items()},
        "frameworks_that_trees_need_over_k": saved,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--work", type=Path, default=Path("results/few_shot"))
    parser.add_argument("--strategy", nargs="*", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    hops = tuple(seen(neb_barriers.load(args.data).records))
    inputs = Inputs.of(hops)
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    features, _ = hop_features(hops)
    table = Table(hops, barrier, features, inputs.scalars, inputs)
    todo = list(tasks(hops, args.seeds))
    for name in dict.fromkeys([BASELINE, *args.strategy]):
        run(name, table, todo, args.work)
        found = {n: read_done(args.work / f"{n}.jsonl") for n in STRATEGIES}
        scores = {
            "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
            "n": len(hops),
            "seeds": args.seeds,
            "min_test": MIN_TEST,
            "label_weight": LABEL_WEIGHT,
            "offset_variance": OFFSET_VARIANCE,
            **summary(table, todo, found),
        }
        RESULTS.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
        print(name, "done", flush=True)
    for k in REPORTED:
        for name, entry in scores[f"k={k}"].items():
            if isinstance(entry, dict):
                gap = entry[f"mae_minus_{BASELINE}_eV"]
                print(f"k={k:<3d} {name:16s} {entry['mae_eV']:.3f} {gap}")
    print(json.dumps(scores["label_efficiency"], indent=1))


if __name__ == "__main__":
    main()
