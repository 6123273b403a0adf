"""Measured conductivities of Li and Na conductors: the shipped committee and simpler models.

    python -m benchmarks.conductivity --data DIR [--ship MODEL_DIR] [--parts NAME ...]

Papers are kept together, or papers and compositions. `repeated` deals the papers anew three times
and scores the committee beside its members, and on the composition alone; each fold's intervals are
calibrated on the others. `nested` lets inner folds of the training part choose settings and
members, so that no choice saw the rows that it is scored on. Parts write into
benchmarks/results/conductivity.json as they end. With --ship, all rows are fitted and the model
folder is written with these scores in its card.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.checkpoint import sha256
from ionbridge.models.committee import MEMBERS, Committee, CommitteeSettings
from ionbridge.models.conductivity import (
    SCALE,
    SIDE,
    ConductivityTrees,
    calibrated,
    decades,
    source_group,
)
from ionbridge.models.metrics import (
    bootstrap,
    interval_coverage,
    mae,
    paired_bootstrap,
    r2,
    spearman,
)
from ionbridge.models.prediction import Prediction
from ionbridge.structures.conductor_descriptors import (
    OPTIONAL_BLOCKS,
    conductor_descriptors,
    known_blocks,
)
from ionbridge.structures.sources import na_conductivity, obelix
from ionbridge.structures.splits import GroupedKFold
from ionbridge.structures.tables import ConductivityRow

RESULT = Path(__file__).parent / "results" / "conductivity.json"
N_FOLDS = 10
FOLD_SEEDS = (0, 1, 2)
"""Ways to deal the papers into folds."""
NESTED_SEEDS = (0,)
N_INNER_FOLDS = 5
GRID = (CommitteeSettings(), CommitteeSettings(min_leaf=4, depth=3))
"""What inner folds choose from."""
PARTS = ("repeated", "nested")
Floats = NDArray[np.float64]
Rows = Sequence[ConductivityRow]


def label_of(row: ConductivityRow) -> Any:
    assert row.label is not None
    return row.label


def paper_and_composition(rows: Rows) -> Callable[[ConductivityRow], str]:
    """Group of a row where papers that share a composition are one group."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for row in rows:
        parent[root(source_group(row))] = root(row.composition.reduced_formula)
    return lambda row: root(source_group(row))


def scores(rows: Rows, found: Floats, rival: Floats) -> dict[str, Any]:
    """Scores of values, bounds apart; intervals resample papers."""
    true = np.array([label_of(row).value for row in rows])
    exact = np.array([label_of(row).bound == "=" for row in rows])
    papers = [source_group(row) for row, e in zip(rows, exact, strict=True) if e]
    y, (mean, lower, upper) = true[exact], found[:, exact]
    result: dict[str, Any] = {
        name: _rounded(bootstrap(metric, y, mean, groups=papers))
        for name, metric in (("mae", mae), ("r2", r2), ("spearman", spearman))
    }
    result["interval_coverage_90"] = _rounded(
        bootstrap(interval_coverage, y, lower, upper, groups=papers)
    )
    result["interval_width"] = round(float(np.median(upper - lower)), 2)
    if not np.array_equal(rival, found):
        gap = paired_bootstrap(y, mean, rival[0, exact], groups=papers)
        result["mae_minus_global_mean"] = _rounded(gap)
    if not exact.all():
        result["bounds_kept"] = round(float(np.mean(found[0, ~exact] <= true[~exact])), 3)
        above = np.maximum(found[0, ~exact] - true[~exact], 0.0)
        result["mae_above_bounds"] = round(float(above.mean()), 3)
        errors = np.concatenate([np.abs(y - mean), above])
        result["mae_with_bounds_as_bounds"] = round(float(errors.mean()), 3)
    return result


def _rounded(interval: Any) -> list[float]:
    return [round(v, 3) for v in (interval.value, interval.lower, interval.upper)]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Rows with everything known of them as arrays; targets on ``SCALE``."""

    rows: Rows
    features: Floats
    value: Floats
    target: Floats
    side: NDArray[np.int_]

    @classmethod
    def of(cls, rows: Rows) -> Arrays:
        """With the blocks that all of the rows have."""
        known = [set(known_blocks(row)) for row in rows]
        blocks = [b for b in OPTIONAL_BLOCKS if all(b in k for k in known)]
        elements = sorted({str(e) for row in rows for e in row.composition})
        value = np.array([label_of(row).value for row in rows])
        return cls(
            rows,
            np.array([conductor_descriptors(row, elements, blocks) for row in rows]),
            value,
            SCALE.forward(-value),
            np.array([SIDE[label_of(row).bound] for row in rows]),
        )

    def members(
        self, train: Any, test: Any, settings: CommitteeSettings, theta: Floats | None, seed: int
    ) -> tuple[Floats, Floats]:
        """(4, n_test) members on ``SCALE`` and the spread, and the process's parameters."""
        fitted = Committee.fit(
            self.features[train], self.target[train], self.side[train], settings, seed, theta
        )
        x = self.features[test]
        return np.vstack([fitted.members(x), fitted.predict(x)[1:]]), fitted.process.theta

    def errors(self, t: Floats, rows: Any) -> Floats:
        """Absolute errors in decades, of bounds only beyond them."""
        gap = -SCALE.inverse(t) - self.value[rows]
        return np.where(self.side[rows] == 0, np.abs(gap), np.maximum(gap * self.side[rows], 0.0))


def bare(data: Arrays) -> Arrays:
    """The same rows when nothing but the composition is known."""
    return Arrays.of([replace(row, cell=None, space_group=None, crystal=None) for row in data.rows])


def member_runs(data: Arrays, group: Callable[[ConductivityRow], str], seed: int) -> Floats:
    """(4, n) out-of-fold members on ``SCALE``, and the spread of the committee."""
    found = np.zeros((4, len(data.rows)))
    for fold in GroupedKFold(N_FOLDS, seed, group).split(data.rows):
        own, _ = data.members(fold.train, fold.test, CommitteeSettings(), None, seed)
        found[:, fold.test] = own
    return found


def with_intervals(
    data: Arrays, run: Floats, group: Callable[[ConductivityRow], str], seed: int
) -> Floats:
    """(3, n) mean, lower and upper end of the committee; calibrated on the other folds."""
    result = np.zeros((3, len(data.rows)))
    mean, spread, exact = run[:3].mean(axis=0), run[3], data.side == 0
    model = ConductivityTrees()
    for fold in GroupedKFold(N_FOLDS, seed, group).split(data.rows):
        known = fold.train[exact[fold.train]]
        residual, calibration = calibrated(mean[known], spread[known], data.value[known])
        own = calibration.calibrated(decades(mean[fold.test], spread[fold.test], residual))
        prediction = Prediction(-own.mean, own.aleatoric_std, own.epistemic_std)
        result[:, fold.test] = np.array([prediction.mean, *model.interval(prediction)])
    return result


def global_mean(data: Arrays, group: Callable[[ConductivityRow], str], seed: int) -> Floats:
    """(3, n) mean and the middle 90 % of the training labels."""
    result = np.zeros((3, len(data.rows)))
    for fold in GroupedKFold(N_FOLDS, seed, group).split(data.rows):
        value = data.value[fold.train]
        result[:, fold.test] = np.array([value.mean(), *np.quantile(value, [0.05, 0.95])])[:, None]
    return result


def repeated(data: Arrays, group: Callable[[ConductivityRow], str], seeds: Sequence[int]) -> Any:
    """Members, committee and the mean: scores of the first dealing, spread over all."""
    exact = data.side == 0
    runs = [member_runs(data, group, seed) for seed in seeds]
    mean = global_mean(data, group, seeds[0])
    table: dict[str, Any] = {"global_mean": scores(data.rows, mean, mean)}
    for name, pick in (*((m, [i]) for i, m in enumerate(MEMBERS)), ("shipped", [0, 1, 2])):
        found = [-SCALE.inverse(run[pick].mean(axis=0)) for run in runs]
        table[name] = spread_of(data.value[exact], [f[exact] for f in found])
    whole = [with_intervals(data, r, group, seed) for r, seed in zip(runs, seeds, strict=True)]
    table["shipped"] = {
        **scores(data.rows, whole[0], mean),
        "over_seeds": {
            **table["shipped"],
            "interval_coverage_90": [
                round(interval_coverage(data.value[exact], w[1, exact], w[2, exact]), 3)
                for w in whole
            ],
        },
    }
    trees = [-SCALE.inverse(run[0])[exact] for run in runs]
    papers = [source_group(row) for row, e in zip(data.rows, exact, strict=True) if e]
    gap = paired_bootstrap(
        data.value[exact],
        np.mean([w[0, exact] for w in whole], axis=0),
        np.mean(trees, axis=0),
        groups=papers,
    )
    table["shipped_minus_trees"] = _rounded(gap)
    for name, entry in table.items():
        print(f"  {name:20s} {json.dumps(entry)}", flush=True)
    return table


def spread_of(true: Floats, found: Sequence[Floats]) -> dict[str, Any]:
    maes = [mae(true, f) for f in found]
    return {
        "mae": round(float(np.mean(maes)), 3),
        "mae_std_over_seeds": round(float(np.std(maes)), 3),
        "mae_by_fold_seed": [round(m, 3) for m in maes],
        "spearman": round(float(np.mean([spearman(true, f) for f in found])), 3),
    }


def nested(data: Arrays, group: Callable[[ConductivityRow], str], seeds: Sequence[int]) -> Any:
    """Settings and members chosen by inner folds of each training part, scored outside of it."""
    subsets = [list(c) for k in (1, 2, 3) for c in combinations(range(3), k)]
    exact = data.side == 0
    found, chosen = [], Counter[str]()
    for seed in seeds:
        t = np.zeros(len(data.rows))
        for fold in GroupedKFold(N_FOLDS, seed, group).split(data.rows):
            inner = GroupedKFold(N_INNER_FOLDS, seed, group)
            parts = list(inner.split([data.rows[i] for i in fold.train]))
            theta = data.members(fold.train, fold.test[:1], CommitteeSettings(n_rounds=1), None, 0)[
                1
            ]
            best: tuple[float, CommitteeSettings, list[int]] | None = None
            for settings in GRID:
                within = np.zeros((3, len(fold.train)))
                for part in parts:
                    train, test = fold.train[part.train], fold.train[part.test]
                    within[:, part.test] = data.members(train, test, settings, theta, seed)[0][:3]
                for subset in subsets:
                    error = float(data.errors(within[subset].mean(axis=0), fold.train).mean())
                    if best is None or error < best[0]:
                        best = error, settings, subset
            assert best is not None
            outer = data.members(fold.train, fold.test, best[1], None, seed)[0]
            t[fold.test] = outer[best[2]].mean(axis=0)
            chosen["+".join(MEMBERS[i] for i in best[2])] += 1
        found.append(-SCALE.inverse(t)[exact])
    result = {**spread_of(data.value[exact], found), "chosen": dict(chosen)}
    print(f"  nested {json.dumps(result)}", flush=True)
    return result


def card(results: dict[str, Any], li: Rows, na: Rows) -> dict[str, Any]:
    """The card of the shipped model."""
    return {
        "name": "conductivity-trees",
        "predicts": "ionic conductivity at room temperature, log10 of S/cm",
        "quantity": "conductivity",
        "inputs": ["row of a conductivity table: composition; space group and cell where known"],
        "method": "mean of extremely randomised trees, gradient boosting with one-sided loss on "
        "bounds, and a Gaussian process",
        "working_ions": ["Li", "Na"],
        "families": sorted({row.family for row in (*li, *na) if row.family}),
        "trained_on": {
            "data": [
                {
                    "name": source.title,
                    "home": source.home,
                    "citation": source.citation,
                    "licence": source.licence,
                    "n_rows": len(rows),
                    "n_upper_bounds": sum(label_of(row).bound == "<" for row in rows),
                    "n_papers": len({source_group(row) for row in rows}),
                }
                for source, rows in ((obelix.SOURCE, li), (na_conductivity.SOURCE, na))
            ],
            "methods": ["experiment"],
            "base_systems": sorted({row.composition.reduced_formula for row in (*li, *na)}),
        },
        "validation": {
            "protocol": f"{N_FOLDS} folds grouped by paper, upper bounds left out of the scores; "
            "value and 95 % bootstrap over papers, in decades",
            **results["repeated"],
            "nested": {
                "protocol": "members and settings chosen by inner folds of each training part",
                **results["nested"],
            },
        },
        "choices": {
            "ions": "one committee an ion: pooling did not help",
            "missing_lattice": "a committee of its own for rows without space group or cell",
            "hop network": "bond-valence and hop-network columns of rows with a CIF made errors "
            "no smaller, so they stand beside the prediction (predict --cifs), not in it",
        },
        "limits": [
            "Na labels do not state their temperature, and 132 of 134 rows are NASICON",
            "bulk and total conductivities stand side by side in the tables",
            "ions other than Li and Na get the mean of all labels, in_domain false",
        ],
        "licence": "MIT",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--ship", type=Path, help="write the model folder here")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    args = parser.parse_args()
    li, na = list(obelix.load(args.data).records), list(na_conductivity.load(args.data).records)
    results: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    results |= {
        "data_sha256": {
            name: sha256(args.data / name)
            for name in (obelix.TABLE_FILE, na_conductivity.TABLE_FILE)
        },
        "n": {"Li": len(li), "Na": len(na)},
        "settings": {"n_folds": N_FOLDS, **asdict(ConductivityTrees())},
    }
    strict = paper_and_composition(li)
    for part in args.parts:
        started = time.perf_counter()
        if part == "repeated":
            print("repeated, Li and Na by paper, Li by paper and composition")
            data = Arrays.of(li)
            found = {
                "Li": repeated(data, source_group, FOLD_SEEDS),
                "Li_composition_alone": repeated(bare(data), source_group, FOLD_SEEDS[:1]),
                "Na": repeated(Arrays.of(na), source_group, FOLD_SEEDS),
                "Li_paper_and_composition": repeated(data, strict, FOLD_SEEDS[:1]),
            }
        else:
            print("nested, Li by paper")
            found = {"Li": nested(Arrays.of(li), source_group, NESTED_SEEDS)}
        results[part] = {**found, "seconds": round(time.perf_counter() - started)}
        RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if args.ship:
        rows = [*li, *na]
        model = ConductivityTrees().fit(rows, [label_of(row) for row in rows])
        model.save(args.ship, card(results, li, na))


if __name__ == "__main__":
    main()
