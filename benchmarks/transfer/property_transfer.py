"""Bulk properties from 50 to 800 labels, with and without what other properties have taught.

    python -m benchmarks.transfer.property_transfer --data DIR [--work DIR] [--seeds N]
        [--table-only]

Formation energy, band gap, voltage and log10 bulk modulus of the Materials Project, each from a few
labels: from scratch, from one pretrained network, and from all other properties at once (shear
moduli among them). Test formulas are neither among the labels nor in any source; labels of a draw
are nested, so that curves are over the same rows. ``auto`` takes what grouped cross-validation on
the labels finds best, and a transfer only where it beats the best without one by 2 %. Each finished
task is one line of WORK/tasks.jsonl and is not run again. Prints the table and writes
benchmarks/results/property_transfer.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.transfer.adaptation_strategies import STRATEGIES, Source
from benchmarks.transfer.adaptation_tasks import BULK, N_CORE, Task, bulk_tables
from benchmarks.transfer.strategy_prior import cross_validated, transfers
from ionbridge.models.checkpoint import sha256
from ionbridge.models.cross_validation import WORTHWHILE
from ionbridge.models.metrics import mae
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.sources import materials_project

RESULT = Path(__file__).parents[1] / "results" / "property_transfer.json"
TARGETS = {
    "formation_energy": "eV/atom",
    "band_gap": "eV",
    "voltage": "V",
    "bulk_modulus": "log10 GPa",
}
PRETRAINED = {
    "formation_energy": "band_gap",
    "band_gap": "formation_energy",
    "voltage": "formation_energy",
    "bulk_modulus": "formation_energy",
}
"""The property of the one network that is tuned: the one with most rows, as in the literature."""
LABELS = (50, 100, 200, 400, 800)
N_TEST, N_SOURCE = 300, 2000
OWN = ("mean", "trees", "network-scratch")
TRANSFER = ("network-full", "network-last", "mixture", "stacked")
AUTO, NEVER = "auto", "never transfer (chosen)"
NO_WORSE = 1.02
"""Error relative to never transferring up to which a transfer that hurts counts as avoided."""
Table = tuple[NDArray[np.float64], NDArray[np.float64], list[str]]


@dataclass(frozen=True)
class Score:
    """Mean absolute errors of all strategies on one task.

    Attributes:
        target: Property.
        n: Number of labels.
        seed: Of the draw.
        cv: Of each strategy in grouped cross-validation on the labels.
        test: Of each strategy on the test rows.
        seconds: Processor time.
    """

    target: str
    n: int
    seed: int
    cv: Mapping[str, float]
    test: Mapping[str, float]
    seconds: float

    @property
    def never(self) -> str:
        """The strategy without transfer that the labels prefer."""
        return min(OWN, key=lambda name: self.cv[name])

    @property
    def auto(self) -> str:
        """What the labels prefer; a transfer must beat the rest by WORTHWHILE."""
        best = min(self.cv, key=lambda name: self.cv[name])
        beaten = self.cv[best] < (1.0 - WORTHWHILE) * self.cv[self.never]
        return best if beaten else self.never

    def error(self, name: str) -> float:
        """On the test rows, of a strategy or of a rule."""
        return self.test[{AUTO: self.auto, NEVER: self.never}.get(name, name)]


def tasks(tables: Mapping[str, Table], seed: int) -> Iterator[Task]:
    """All targets and numbers of labels of one draw."""
    drawn = {name: _drawn(tables[name], seed) for name in TARGETS}
    held = {tables[name][2][i] for name, (test, _) in drawn.items() for i in test}
    sources = {name: _source(tables[name], held, seed) for name in BULK}
    for target, (test, pool) in drawn.items():
        x, y, formulas = tables[target]
        first = PRETRAINED[target]
        others = tuple(sources[name] for name in BULK if name not in (first, target))
        source = replace(sources[first], others=others)
        for n in LABELS:
            rows = pool[:n]
            yield Task(
                target,
                "bulk",
                source,
                x[rows],
                y[rows],
                tuple(formulas[i] for i in rows),
                x[test],
                y[test],
                False,
                n,
                seed,
            )


def _drawn(table: Table, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Test rows, and the rows of other formulas in the order in which they become labels."""
    names = np.array(table[2])
    order = np.random.default_rng(seed).permutation(len(names))
    test, rest = order[:N_TEST], order[N_TEST:]
    return test, rest[~np.isin(names[rest], names[test])]


def _source(table: Table, held: set[str], seed: int) -> Source:
    x, y, formulas = table
    order = np.random.default_rng(seed).permutation(len(y))
    kept = np.array([i for i in order if formulas[i] not in held])[:N_SOURCE]
    return Source(x[kept], y[kept], tuple(range(N_CORE)), is_same=False, seed=seed)


def scored(task: Task) -> Score:
    """Every strategy in cross-validation and on the test rows."""
    started = time.process_time()
    strategies = [STRATEGIES[name] for name in (*OWN, *TRANSFER)]
    held_out = cross_validated(
        strategies, task.source, task.descriptors, task.target, task.groups, task.seed, repeats=1
    )
    test = {
        s.name: mae(task.test_target, s.fit(task.source, task.descriptors, task.target)(task.test))
        for s in strategies
    }
    cv = {name: mae(task.target, values[0]) for name, values in held_out.items()}
    seconds = round(time.process_time() - started, 2)
    return Score(task.name, task.n_labels, task.seed, cv, test, seconds)


def load(path: Path) -> list[Score]:
    """Finished tasks; a line that a kill has cut is none."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [Score(**json.loads(line)) for line in lines if line.endswith("}")]


def complete(data: Path, work: Path, n_seeds: int) -> None:
    """Run what is not there yet; a killed run goes on."""
    path = work / "tasks.jsonl"
    done = {(s.target, s.n, s.seed) for s in load(path)}
    tables = bulk_tables(data, work / "bulk.npz")
    with path.open("a", encoding="utf-8") as stream:
        for seed in range(n_seeds):
            if all((target, n, seed) in done for target in TARGETS for n in LABELS):
                continue
            for task in tasks(tables, seed):
                if (task.name, task.n_labels, seed) in done:
                    continue
                score = scored(task)
                stream.write(json.dumps(asdict(score)) + "\n")
                stream.flush()
                print(score.target, score.n, seed, f"{score.seconds} s", score.auto, flush=True)


def curve(scores: Sequence[Score]) -> dict[str, Any]:
    """Mean and standard deviation over draws of one target with one number of labels."""
    result: dict[str, Any] = {}
    for name in (*OWN, *TRANSFER, NEVER, AUTO):
        errors = [score.error(name) for score in scores]
        spread = float(np.std(errors, ddof=1)) if len(errors) > 1 else None
        result[name] = {
            "mae": round(float(np.mean(errors)), 4),
            "std": None if spread is None else round(spread, 4),
        }
    result["chosen"] = [score.auto for score in scores]
    return result


def harm(scores: Sequence[Score]) -> dict[str, Any]:
    """How often each transfer is worse than none, and what ``auto`` did there."""
    result: dict[str, Any] = {"n_tasks": len(scores)}
    for name in TRANSFER:
        hurt = [s for s in scores if s.error(name) > NO_WORSE * s.error(NEVER)]
        kept = [s for s in hurt if s.error(AUTO) <= NO_WORSE * s.error(NEVER)]
        result[name] = {"hurts": len(hurt), "avoided_by_auto": len(kept)}
    gain = [1.0 - s.error(AUTO) / s.error(NEVER) for s in scores]
    result["auto_transfers"] = sum(transfers(s.auto) for s in scores)
    result["auto_hurts"] = sum(s.error(AUTO) > NO_WORSE * s.error(NEVER) for s in scores)
    result["mean_gain_of_auto_over_never"] = round(float(np.mean(gain)), 4)
    return result


def summary(scores: Sequence[Score], data: Path) -> dict[str, Any]:
    """All that is claimed."""
    files = (
        materials_project.BULK_FILE,
        materials_project.ELASTIC_FILE,
        materials_project.PAIRS_FILE,
        materials_project.PAIR_STRUCTURES_FILE,
    )
    by_target = {target: [s for s in scores if s.target == target] for target in TARGETS}
    return {
        "data_sha256": {name: sha256(data / name) for name in files},
        "settings": {
            "sources": list(BULK),
            "pretrained_on": PRETRAINED,
            "rows_of_a_source_at_most": N_SOURCE,
            "test_rows": N_TEST,
            "seeds": sorted({s.seed for s in scores}),
            "worthwhile": WORTHWHILE,
            "counts_as_hurt_above": NO_WORSE,
        },
        "units": TARGETS,
        "curves": {
            target: {
                str(n): curve([s for s in own if s.n == n]) for n in sorted({s.n for s in own})
            }
            for target, own in by_target.items()
        },
        "harm": {"all": harm(scores), **{target: harm(own) for target, own in by_target.items()}},
        "processor_seconds": round(sum(s.seconds for s in scores)),
    }


def print_table(result: Mapping[str, Any]) -> None:
    """Errors as mean +- standard deviation over draws."""
    columns = (*OWN, *TRANSFER, AUTO)
    for target, rows in result["curves"].items():
        print(f"\n{target}, MAE in {TARGETS[target]}")
        print("labels".rjust(6), *(name.rjust(16) for name in columns))
        for n, row in rows.items():
            cells = (f"{row[c]['mae']:.3f} +- {row[c]['std'] or 0.0:.3f}" for c in columns)
            print(n.rjust(6), *(cell.rjust(16) for cell in cells))
    for part, counts in result["harm"].items():
        print(f"\n{part}: {json.dumps(counts)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--work", type=Path, default=Path("results/property_transfer"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    if not args.table_only:
        complete(args.data, args.work, args.seeds)
    result = summary(load(args.work / "tasks.jsonl"), args.data)
    write_json(RESULT, result)
    print_table(result)


if __name__ == "__main__":
    main()
