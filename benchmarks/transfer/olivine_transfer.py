"""From LiCoO2's family to LiFePO4's: what labels of layered hosts are worth for olivines.

    python -m benchmarks.transfer.olivine_transfer --data DIR [--work DIR] [--strategy S ...]
        [--draws N] [--workers N] [--summary]

Learnt from: the layered family alone, or all families but olivines (no framework shared), and k
host frameworks of olivines, k = 0, 1, 2, 4, 8, drawn by seed and nested. Asked: the other olivines.
Rows whose geometry cannot belong to their label are left out on both sides. The error of a hop is
its mean over the draws that ask for it; differences are paired by hop and resampled by host
framework. Finished tasks are lines of the work folder and are not run again. Writes
benchmarks/results/olivine_transfer.json and docs/olivine_transfer.svg.

The smallest difference that such a comparison detects (two-sided test at 5 %, power 80 %) is
(1.96 + 0.84) standard errors of the mean paired difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import norm

from benchmarks.protocols import FewShotSplit, LeaveFamilyOut
from benchmarks.transfer.few_shot_choice import CANDIDATES, least, values
from benchmarks.transfer.few_shot_runs import HELD_OUT, TEST, Answers, complete, load, n_draws
from benchmarks.transfer.few_shot_strategies import FEWEST_FRAMEWORKS
from benchmarks.transfer.few_shot_tasks import Floats, Table, Task
from ionbridge.models.checkpoint import sha256
from ionbridge.models.metrics import bootstrap, mae
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.sources import neb_barriers

RESULT = Path(__file__).parents[1] / "results" / "olivine_transfer.json"
FIGURE = Path(__file__).parents[2] / "docs" / "olivine_transfer.svg"
TARGET, RICH = "olivine", "layered"
SHOTS = (0, 1, 2, 4, 8)
SOURCES = {"layered": "the layered family", "all": "all other families"}
AUTO = "auto_labels"
COMPARED = tuple(CANDIDATES)
"""What ``auto`` chooses from, by cross-validation on the olivine labels."""
NEED_NO_SOURCE = ("family_mean", "trees_scratch", "process_scratch")
REFERENCES = ("trees", *NEED_NO_SOURCE)
SHOWN = {
    "trees": "trees, joint",
    "process": "process, joint",
    "process_family": "process with an offset of the family's own",
    "learned": "hop-barrier",
    "fed": "hop-barrier, given a rigid host's energies",
    "short": "hop-barrier, given a short relaxation",
    "network_frozen": "pretrained network, joint",
    "trees_scratch": "trees, olivines alone",
    "process_scratch": "process, olivines alone",
    "family_mean": "median of the olivine labels",
    AUTO: "chosen by the olivine labels",
}
WITH_BARS = ("trees", "learned")
"""Whose intervals are drawn."""
POWER, LEVEL = 0.8, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--work", type=Path, default=Path("results/olivine_transfer"))
    known = [name for name in SHOWN if name != AUTO]
    fast = [name for name in known if name != "network_frozen"]
    parser.add_argument("--strategy", nargs="*", default=fast, choices=known)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--summary", action="store_true", help="score what is there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table.load(args.data)
    result: dict[str, Any] = {
        "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
        "draws": args.draws,
        **floor(table),
    }
    for source, title in SOURCES.items():
        todo = list(olivine_tasks(table, source, args.draws))
        work = args.work / source
        labelled = [task for task in todo if task.k >= FEWEST_FRAMEWORKS]
        if not args.summary:
            for name in args.strategy:
                complete(name, TEST, table, todo, work, args.workers)
                if name in COMPARED:
                    complete(name, HELD_OUT, table, labelled, work, args.workers)
                print(title, name, "done", flush=True)
        found = {name: load(work, name, TEST) for name in known}
        found = {name: a for name, a in found.items() if n_draws(a, todo) >= args.draws}
        own = {name: load(work, name, HELD_OUT) for name in COMPARED}
        if all(n_draws(a, labelled) >= args.draws for a in own.values()):
            found[AUTO] = chosen(table, labelled, found, own)
        result[title] = {"n_source": len(todo[0].others), **summary(table, todo, found)}
    write_json(RESULT, result)
    with rc_context({"svg.hashsalt": FIGURE.stem, "svg.fonttype": "none", "font.size": 9}):
        draw(result).savefig(FIGURE, metadata={"Date": None})


def sound(table: Table) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Indices of the hops whose geometry can belong to their label."""
    return np.flatnonzero([not neb_barriers.is_implausible(hop) for hop in table.hops])


def olivine_tasks(table: Table, source: str, n_draws: int) -> Iterator[Task]:
    """Olivines without labels once, then with 1 to 8 frameworks in every draw.

    Args:
        table: Of all hops.
        source: A key of SOURCES.
        n_draws: Draws of the frameworks.
    """
    kept = sound(table)
    hops = [table.hops[i] for i in kept]
    base = next(s for s in LeaveFamilyOut().split(hops) if s.name == TARGET)
    others = kept[base.train]
    if source == RICH:
        families = [canonical_family(table.hops[i].family) for i in others]
        others = others[np.array(families) == RICH]
    whole = Task(TARGET, 0, 0, others, kept[base.test[:0]], kept[base.test])
    yield whole
    for k in SHOTS[1:]:
        for seed in range(n_draws):
            split = next(s for s in FewShotSplit(k, seed, 1).split(hops) if s.name == TARGET)
            test = kept[split.test]
            shots = np.setdiff1d(whole.test, test)
            yield replace(whole, k=k, seed=seed, shots=shots, test=test)


def floor(table: Table) -> dict[str, Any]:
    """The labels themselves: their spread, and the error of the median of the other frameworks."""
    rows = [i for i in sound(table) if canonical_family(table.hops[i].family) == TARGET]
    barrier = table.barrier_eV[rows]
    names = np.array([table.hops[i].framework for i in rows])
    median = np.array([np.median(barrier[names != name]) for name in names])
    return {
        "n_olivines": len(rows),
        "n_frameworks": len(set(names)),
        "label_std_eV": round(float(barrier.std(ddof=1)), 3),
        "mae_of_median_of_other_frameworks_eV": round(mae(barrier, median), 3),
    }


def chosen(
    table: Table,
    todo: Sequence[Task],
    test: Mapping[str, Answers],
    held_out: Mapping[str, Answers],
) -> Answers:
    """Answers of the strategy of least error on the labels, unless a simple one is as good."""
    result: Answers = {}
    for task in todo:
        labels = table.barrier_eV[task.shots]
        error = {
            CANDIDATES[name]: mae(labels, values(held_out[name][task.key])) for name in COMPARED
        }
        result[task.key] = test[least(error)][task.key]
    return result


def hop_errors(table: Table, todo: Sequence[Task], answers: Answers, k: int) -> dict[str, float]:
    """Mean absolute error of each olivine over the draws that ask for it, by hop id, eV."""
    true = {hop.id: float(b) for hop, b in zip(table.hops, table.barrier_eV, strict=True)}
    errors: dict[str, list[float]] = {}
    for task in todo:
        if task.k == k:
            for name, value in answers[task.key].barrier_eV.items():
                errors.setdefault(name, []).append(abs(value - true[name]))
    return {name: float(np.mean(values)) for name, values in sorted(errors.items())}


def summary(table: Table, todo: Sequence[Task], found: Mapping[str, Answers]) -> dict[str, Any]:
    """Errors of all strategies, and paired differences to each reference."""
    framework = {hop.id: hop.framework for hop in table.hops}
    name_of = {hop.id: str(hop.extra.get("sys_name", hop.id)) for hop in table.hops}
    result: dict[str, Any] = {}
    for k in SHOTS:
        asked = [task.key for task in todo if task.k == k]
        errors = {
            name: hop_errors(table, todo, a, k)
            for name, a in found.items()
            if all(key in a for key in asked)
        }
        ids = list(next(iter(errors.values())))
        groups = [framework[i] for i in ids]
        of = {name: np.array([e[i] for i in ids]) for name, e in errors.items()}
        entry: dict[str, Any] = {"n_hops": len(ids), "n_frameworks": len(set(groups))}
        for name, own in of.items():
            if k == 0 and name in NEED_NO_SOURCE:
                continue
            error = bootstrap(mean, own, groups=groups)
            worst = int(np.argmax(own))
            scores: dict[str, Any] = {
                "mae_eV": rounded(error.value, error.lower, error.upper),
                "median_eV": round(float(np.median(own)), 3),
                "worst": {name_of[ids[worst]]: round(float(own[worst]), 3)},
            }
            for reference in REFERENCES:
                if reference in of and reference != name and (k or reference not in NEED_NO_SOURCE):
                    scores[f"minus {reference}"] = compared(own - of[reference], groups)
            entry[name] = scores
        result[f"k={k}"] = entry
    return result


def compared(difference: Floats, groups: Sequence[str]) -> dict[str, Any]:
    """A paired difference with its interval, and the smallest that would have been detected."""
    found = bootstrap(mean, difference, groups=groups)
    error = standard_error(difference, groups)
    return {
        "difference_eV": rounded(found.value, found.lower, found.upper),
        "std_of_pairs_eV": round(float(difference.std(ddof=1)), 3),
        "detectable_eV": round(detectable(error), 3),
    }


def standard_error(difference: Floats, groups: Sequence[str]) -> float:
    """Of the mean, rows of a group being one observation: sqrt(sum of squared group sums) / n.

    The cluster-robust estimator (Liang and Zeger, Biometrika 73, 13 (1986)) with the factor
    m / (m - 1) of m groups.
    """
    names = np.array(groups)
    rest = difference - difference.mean()
    sums = np.array([rest[names == name].sum() for name in np.unique(names)])
    m = len(sums)
    return float(np.sqrt(m / (m - 1) * np.sum(sums**2)) / len(difference))


def detectable(error: float) -> float:
    """Smallest true mean that a two-sided test finds with the wanted power.

    Args:
        error: Standard error of the mean.
    """
    return float((norm.ppf(1.0 - LEVEL / 2.0) + norm.ppf(POWER)) * error)


def mean(values: Floats) -> float:
    return float(np.mean(values))


def rounded(*values: float) -> list[float]:
    return [round(v, 3) for v in values]


def draw(result: Mapping[str, Any]) -> Figure:
    """Error against olivine frameworks learnt from, one panel a source."""
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, title in zip(panels, SOURCES.values(), strict=True):
        for i, (name, label) in enumerate(SHOWN.items()):
            shots = [k for k in SHOTS if name in result[title][f"k={k}"]]
            if not shots:
                continue
            value, low, high = np.array([result[title][f"k={k}"][name]["mae_eV"] for k in shots]).T
            at = np.log2(1.0 + np.array(shots)) + 0.03 * (i - 3)
            style = ":" if name in NEED_NO_SOURCE else "-"
            line = panel.plot(
                at, value, style, marker="o", markersize=3, label=label, color=f"C{i}"
            )
            if name in WITH_BARS:
                panel.vlines(at, low, high, colors=line[0].get_color(), lw=0.8)
        least = result["mae_of_median_of_other_frameworks_eV"]
        panel.axhline(
            least, color="0.6", lw=0.8, ls="--", zorder=0, label="median of all other olivines"
        )
        panel.set_xticks(np.log2(1.0 + np.array(SHOTS)), [str(k) for k in SHOTS])
        panel.set_xlabel("olivine frameworks learnt from")
        panel.set_title(f"beside {title} ({result[title]['n_source']} hops)", fontsize=9)
    panels[0].set_ylabel("mean absolute error, eV")
    panels[0].set_ylim(bottom=0.0)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


if __name__ == "__main__":
    main()
