"""What short relaxations of a few hops of a new family are worth to its other hops.

    python -m benchmarks.relaxed_relatives --data DIR [--draws N]

Published hops with whole families left out, families of FEWEST or more. Of the family left out k
hops are relaxed (models/configs/short_relaxations.jsonl.gz; no label is read), and the others, for
which nothing is computed, are predicted: by `hop-barrier` alone; moved by the mean of what the
relaxations differ from it, shrunk by the variances that other families show; and by `hop-barrier`
that learns from the relaxations as labels, on DFT's scale as its computed labels are. Likewise with
one hop of the same host framework, and with those of all other frameworks of the family, there also
for hops that are relaxed themselves. Draws are nested; the same rows, paired, 95 % bootstrap over
families. Writes benchmarks/results/relaxed_relatives.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.hop_barriers import PROTOCOLS
from benchmarks.shipped_hop_barrier import (
    BRIEF,
    FAST,
    HIDDEN,
    seen,
    shipped_labels,
    with_emptied,
    without,
)
from ionbridge.models.barriers.hop_barrier import SHORT_TOO_LOW, TARGET, HopBarrierModel, Inputs
from ionbridge.models.checkpoint import sha256
from ionbridge.models.library import load
from ionbridge.models.metrics import mae, paired_bootstrap, spearman
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.sources import neb_barriers

RESULT = Path(__file__).parent / "results" / "relaxed_relatives.json"
SHOTS = (1, 3, 8)
FEWEST, FEWEST_RELAXED = 8, 6
"""Hops of a family, and those of them that could be relaxed."""
FEWEST_LEFT = 3
"""Relaxed hops of a family that are not learnt from."""
N_PARTS = 5
NOTHING = (False, False)
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Table:
    """Published hops.

    Attributes:
        inputs: Of (n,) hops, as they are learnt from.
        asked: As they are asked for.
        barrier_eV: (n,) labels.
        relaxed_eV: (n,) barriers of short relaxations on DFT's scale; NaN without.
        families: (n,)
        frameworks: (n,)
        computed: Labels that the shipped model learns from beside the published ones.
    """

    inputs: Inputs
    asked: Inputs
    barrier_eV: Floats
    relaxed_eV: Floats
    families: NDArray[np.str_]
    frameworks: NDArray[np.str_]
    computed: tuple[Inputs, Floats]

    @classmethod
    def load(cls, data: Path) -> tuple[Table, list[Any]]:
        """The table, and the splits that leave whole families out."""
        hops = seen(neb_barriers.load(data).records)
        inputs = Inputs.of(hops)
        asked = with_emptied(inputs, hops)
        table = cls(
            inputs,
            asked,
            np.array([hop.barrier_eV for hop in hops], dtype=float),
            TARGET.inverse(TARGET.forward(asked.short[:, 0]) + SHORT_TOO_LOW),
            np.array([canonical_family(hop.family) for hop in hops]),
            np.array([hop.framework for hop in hops]),
            shipped_labels(len(hops)),
        )
        return table, list(PROTOCOLS["leave-family-out"].split(hops))

    def model(self, train: Rows, relaxed: Rows) -> HopBarrierModel:
        """What ships, learnt from published labels and from relaxations of other hops."""
        inputs, barrier_eV = self.computed
        found = HopBarrierModel()
        found.fit_inputs(
            without(
                inputs.with_rows(self.inputs.rows(train)).with_rows(
                    self.asked.rows(relaxed).unrelaxed()
                ),
                "view",
                "band",
            ),
            np.concatenate([barrier_eV, self.barrier_eV[train], self.relaxed_eV[relaxed]]),
            {NOTHING: load(FAST).experts()[NOTHING][0].theta},
        )
        return found

    def predicted(self, model: HopBarrierModel, rows: Rows, fidelity: str = FAST) -> Floats:
        """(n_rows,) forward barriers, eV."""
        return model.predict_inputs(without(self.asked.rows(rows), *HIDDEN[fidelity])).mean

    def gap(self, alone: Floats) -> Floats:
        """(n,) relaxations above predictions, on TARGET."""
        return np.asarray(TARGET.forward(self.relaxed_eV) - TARGET.forward(alone))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--draws", type=int, default=3, help="of the hops that are relaxed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    table, folds = Table.load(args.data)
    alone, brief = (np.full(len(table.barrier_eV), np.nan) for _ in range(2))
    for fold in folds:
        model = table.model(fold.train, fold.test[:0])
        alone[fold.test] = table.predicted(model, fold.test)
        brief[fold.test] = table.predicted(model, fold.test, BRIEF)
    relaxed = np.isfinite(table.relaxed_eV)
    large = [
        fold
        for fold in folds
        if len(fold.test) >= FEWEST and relaxed[fold.test].sum() >= FEWEST_RELAXED
    ]
    out: dict[str, Any] = {
        "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
        "draws": args.draws,
        "families": {
            str(table.families[fold.test[0]]): [len(fold.test), int(relaxed[fold.test].sum())]
            for fold in large
        },
    }
    moves = shrunk(table, alone, relaxed)
    for k in SHOTS:
        tasks = list(some(large, relaxed, k, args.draws))
        out[f"{k} of the family"] = scored(table, tasks, alone, moves)
        print(k, out[f"{k} of the family"], flush=True)
    tasks = list(same_framework(large, relaxed, table.frameworks))
    out["1 of the framework"] = scored(table, tasks, alone, moves)
    print("1 of the framework", out["1 of the framework"], flush=True)
    tasks = list(other_frameworks(large, relaxed, table.frameworks))
    out["all other frameworks"] = scored(table, tasks, alone, moves)
    print("all other frameworks", out["all other frameworks"], flush=True)
    out["all other frameworks, and the hop itself"] = scored(table, tasks, brief, None, BRIEF)
    print("and the hop itself", out["all other frameworks, and the hop itself"], flush=True)
    write_json(RESULT, out)


Task = tuple[Any, Rows, Rows]
"""A family left out, the hops of it that are relaxed, and those that are asked for."""


def some(folds: Sequence[Any], relaxed: NDArray[np.bool_], k: int, draws: int) -> Iterator[Task]:
    """Some hops of every family that has as many and FEWEST_LEFT more."""
    for fold in folds:
        there = fold.test[relaxed[fold.test]]
        for seed in range(draws if len(there) >= k + FEWEST_LEFT else 0):
            drawn = np.random.default_rng(seed).permutation(there)[:k]
            yield fold, drawn, np.setdiff1d(fold.test, drawn)


def same_framework(
    folds: Sequence[Any], relaxed: NDArray[np.bool_], frameworks: NDArray[np.str_]
) -> Iterator[Task]:
    """The first hop of every host framework that has others."""
    for fold in folds:
        for name in np.unique(frameworks[fold.test]):
            own = fold.test[frameworks[fold.test] == name]
            there = own[relaxed[own]]
            if len(own) > 1 and len(there):
                yield fold, there[:1], np.setdiff1d(own, there[:1])


def other_frameworks(
    folds: Sequence[Any], relaxed: NDArray[np.bool_], frameworks: NDArray[np.str_]
) -> Iterator[Task]:
    """Every framework with the relaxed hops of those in other parts of its family."""
    for fold in folds:
        names = np.unique(frameworks[fold.test])
        for part in range(min(N_PARTS, len(names))):
            asked = np.isin(frameworks[fold.test], names[part::N_PARTS])
            known = fold.test[~asked & relaxed[fold.test]]
            if len(known):
                yield fold, known, fold.test[asked]


Moves = Callable[[str, Floats], float]


def shrunk(table: Table, alone: Floats, relaxed: NDArray[np.bool_]) -> Moves:
    """How far a family is to be moved, from what k of its relaxations say, on TARGET.

    Their mean, shrunk to that of other families by the variances between and within these.
    """
    gap = table.gap(alone)
    groups = {
        str(name): gap[(table.families == name) & relaxed] for name in np.unique(table.families)
    }

    def moved(family: str, gaps: Floats) -> float:
        others = [g for name, g in groups.items() if name != family and len(g) > 2]
        means = np.array([g.mean() for g in others])
        within = float(np.mean([g.var(ddof=1) for g in others]))
        noise = within * float(np.mean([1.0 / len(g) for g in others]))
        between = max(float(means.var()) - noise, 0.0)
        share = between / (between + within / len(gaps))
        return float((1.0 - share) * means.mean() + share * gaps.mean())

    return moved


def scored(
    table: Table,
    tasks: Sequence[Task],
    alone: Floats,
    moves: Moves | None,
    fidelity: str = FAST,
) -> dict[str, Any]:
    """Errors of what is asked for, by the model alone and with relaxations of relatives."""
    rows = np.concatenate([asked for _, _, asked in tasks])
    true, families = table.barrier_eV[rows], table.families[rows].tolist()
    found = {"learnt from": [], "moved by": []} if moves else {"learnt from": []}
    gap = table.gap(alone)
    for fold, known, asked in tasks:
        model = table.model(fold.train, known)
        found["learnt from"].append(table.predicted(model, asked, fidelity))
        if moves:
            move = moves(str(table.families[asked[0]]), gap[known])
            found["moved by"].append(TARGET.inverse(TARGET.forward(alone[asked]) + move))
    entry: dict[str, Any] = {
        "n": len(rows),
        "n_hops": len(np.unique(rows)),
        "not": errors(true, alone[rows], families),
    }
    for way, parts in found.items():
        value = np.concatenate(parts)
        change = paired_bootstrap(true, value, alone[rows], groups=families)
        entry[way] = {
            **errors(true, value, families),
            "change_eV": [round(v, 3) for v in (change.value, change.lower, change.upper)],
        }
    return entry


def errors(true: Floats, value: Floats, families: Sequence[str]) -> dict[str, Any]:
    names = np.array(families)
    by_family = {str(n): mae(true[names == n], value[names == n]) for n in np.unique(names)}
    bias = {str(n): float((value - true)[names == n].mean()) for n in np.unique(names)}
    return {
        "mae_eV": round(mae(true, value), 3),
        "spearman": round(spearman(true, value), 3),
        "mean_over_families_mae_eV": round(float(np.mean(list(by_family.values()))), 3),
        "by_family_mae_eV": {name: round(v, 3) for name, v in by_family.items()},
        "by_family_bias_eV": {name: round(v, 2) for name, v in bias.items()},
    }


if __name__ == "__main__":
    main()
