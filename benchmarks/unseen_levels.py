"""What was tried for the level of a family, an ion or both that nobody has labelled, and its gain.

    python -m benchmarks.unseen_levels --data DIR [--all-labels]

Variants of `hop-barrier` on the 524 published hops, whole families, whole ions or both left out:
losses that forgive outliers, all computed labels that there are, other ways to join a short
relaxation, offsets of the relaxation by kind of hop, a pull towards the mean by ion, and the model
alone where signs speak against the relaxation. All that a variant chooses is chosen on what is not
held out. Unless said otherwise, computed labels and
hyperparameters are those of the shipped model, as in benchmarks.shipped_hop_barrier. Differences to
what ships with 95 % bootstrap over families. All computed labels are learnt from with --all-labels
alone, which takes as long as the rest; without, their figures of an earlier result stand.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import HuberRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from benchmarks.hop_barriers import PROTOCOLS
from benchmarks.make.short_relaxations import SHIPPED as SHORT_ROWS
from benchmarks.shipped_hop_barrier import (
    BRIEF,
    FAST,
    HIDDEN,
    by_fidelity,
    computed,
    extremes,
    lines_of,
    mean_by_ion,
    seen,
    shipped_labels,
    with_emptied,
    without,
)
from ionbridge.models.barriers.hop_barrier import (
    LOWEST_SHORT_EV,
    SHORT_STD,
    TARGET,
    HopBarrierModel,
    Inputs,
)
from ionbridge.models.checkpoint import sha256
from ionbridge.models.library import load
from ionbridge.models.metrics import mae, paired_bootstrap, spearman
from ionbridge.models.regressors.gaussian_process import PathProcess
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.features.descriptors import HOP_FEATURES
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import neb_barriers

RESULT = Path(__file__).parent / "results" / "unseen_levels.json"
NEW = ("leave-family-out", "leave-ion-out", "leave-family-and-ion-out")
NOTHING = (False, False)
EVERY = "all computed labels"
HUBER, N_ROUNDS = 1.345, 10
"""Residuals beyond so many standard deviations of the noise count as this; rounds until they do."""
FEW_NUMBERS = (
    *("ion_charge", "ion_radius_A", "window_radius_A", "window_over_ion_radius"),
    *("anion_electronegativity", "anion_radius_A", "cation_state", "cation_electronegativity"),
    *("volume_per_atom_A3", "valence_rise", "cation_field_rise", "anion_field_rise"),
)
"""What support vectors see of a hop, beside path scalars and expected energies."""
ANIONS = ("F", "Cl", "Br", "I", "S", "Se", "Te", "O", "N")
CENTRES = frozenset(["P", "Si", "B", "C", "S"])
PULLS = (0.0, 0.1, 0.2, 0.4, 0.8)
"""Shares of the mean by ion that are chosen from."""
GAPS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, np.inf)
"""Differences of model and relaxation, in standard deviations of it, beyond which the latter may
be left out."""
PUSHES_EV_A = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, np.inf)
"""The same of forces on the held ion along its path: at a saddle there is none."""
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--all-labels", action="store_true", help="learn from all of them, too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    hops = seen(neb_barriers.load(args.data).records)
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    inputs = Inputs.of(hops)
    asked = with_emptied(inputs, hops)
    forces = {row["id"]: abs(row["along_eV_A"]) for row in lines_of(SHORT_ROWS) if "n_calls" in row}
    push = np.array([forces.get(hop.id, 0.0) for hop in hops])
    out: dict[str, Any] = {
        "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
        "n": len(hops),
        "n_relaxed": int(np.isfinite(asked.short).all(axis=1).sum()),
    }
    earlier = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    out["n_computed_labels"] = earlier.get("n_computed_labels")
    beside = None
    if args.all_labels:
        others, other_eV = computed(args.data, hops)
        beside = Inputs.of(others), other_eV
        out["n_computed_labels"] = len(others)
    theta = {NOTHING: load(FAST).experts()[NOTHING][0].theta}
    for protocol in NEW:
        folds = list(PROTOCOLS[protocol].split(hops))
        by_ion = mean_by_ion(hops, barrier, folds)
        alone, joined, doubt, spread = fits(inputs, asked, barrier, folds)
        if beside is not None:
            alone[EVERY] = more(inputs, barrier, folds, theta, beside)
        families = {FAST: alone, BRIEF: joined}
        families[FAST] |= {
            "drawn to the mean by ion": drawn(alone[FAST], by_ion, doubt, barrier, folds)
        }
        families[BRIEF] |= relaxed(hops, asked, barrier, folds, alone[FAST], joined[BRIEF])
        families[BRIEF] |= {
            "drawn to the mean by ion": drawn(joined[BRIEF], by_ion, doubt, barrier, folds)
        }
        gap = gaps(asked, alone[FAST], spread)
        signs = {
            "where both disagree": (np.abs(gap), GAPS),
            "where the relaxation is far below": (-gap, GAPS),
            "where the ion is pushed along its path": (push, PUSHES_EV_A),
        }
        families[BRIEF] |= {
            f"the model alone {where}": best_elsewhere(
                [np.where(sign > limit, alone[FAST], joined[BRIEF]) for limit in limits],
                barrier,
                folds,
            )
            for where, (sign, limits) in signs.items()
        }
        out[protocol] = {
            name: {
                variant: score(hops, barrier, mean, variants[name], by_ion)
                for variant, mean in variants.items()
            }
            for name, variants in families.items()
        }
        if beside is None and EVERY in earlier.get(protocol, {}).get(FAST, {}):
            out[protocol][FAST][EVERY] = earlier[protocol][FAST][EVERY]
        for name, variants in out[protocol].items():
            for variant, entry in variants.items():
                print(f"{protocol:25s} {name:32s} {variant:56s} {entry}", flush=True)
        write_json(RESULT, out)


def more(
    inputs: Inputs,
    barrier: Floats,
    folds: Sequence[Any],
    theta: Mapping[Any, Floats],
    beside: tuple[Inputs, Floats],
) -> Floats:
    """(n,) barriers in eV by a model that learns from all computed labels beside the published."""
    found = by_fidelity(inputs, barrier, folds, theta, beside, {"": HIDDEN[FAST]})
    return found[""].mean


def fits(
    inputs: Inputs, asked: Inputs, barrier: Floats, folds: Sequence[Any]
) -> tuple[dict[str, Floats], dict[str, Floats], Floats, Floats]:
    """Barriers without a potential and with a short relaxation, by variant; the model's doubt.

    Args:
        inputs: Of (n,) hops, as they are learnt from.
        asked: As they are asked for.
        barrier: (n,) labels, eV.
        folds: Splits of them.

    Returns:
        Two mappings from variants to (n,) barriers in eV, (n,) the epistemic spread in eV, and (n,)
        the whole spread on TARGET.
    """
    shipped = load(FAST)
    others = shipped_labels(len(barrier))
    theta = {NOTHING: shipped.experts()[NOTHING][0].theta}
    bare = without(inputs, *HIDDEN[FAST])
    brief = without(asked, *HIDDEN[BRIEF])
    names = ("process, Huber loss", "median of the trees", "and support vectors")
    t = {name: np.zeros(len(barrier)) for name in names}
    plain, joined, doubt, spread = (np.zeros(len(barrier)) for _ in range(4))
    for fold in folds:
        model = HopBarrierModel()
        model.fit_inputs(
            without(others[0].with_rows(inputs.rows(fold.train)), "view", "band"),
            np.concatenate([others[1], barrier[fold.train]]),
            theta,
        )
        process, forest = model.experts()[NOTHING]
        test = bare.rows(fold.test)
        found = model.predict_inputs(test)
        plain[fold.test], doubt[fold.test] = found.mean, found.epistemic_std
        spread[fold.test] = TARGET.forward_std(test.above_mean(found.mean), found.std)
        joined[fold.test] = model.predict_inputs(brief.rows(fold.test)).mean
        x = test.for_process(NOTHING)
        mean, each = process.mean_of(x), forest.predict(test.for_trees(NOTHING))
        t[names[0]][fold.test] = 0.5 * (forgiving(process).mean_of(x) + each.mean(axis=0))
        t[names[1]][fold.test] = 0.5 * (mean + np.median(each, axis=0))
        vectors = make_pipeline(StandardScaler(), SVR(C=1.0, epsilon=0.1))
        vectors.fit(few_numbers(model.inputs_), process.target)
        third = vectors.predict(few_numbers(test))
        t[names[2]][fold.test] = (mean + each.mean(axis=0) + third) / 3.0
    alone = {FAST: plain} | {k: inputs.above_start(TARGET.inverse(v)) for k, v in t.items()}
    return alone, {BRIEF: joined}, doubt, spread


def gaps(asked: Inputs, alone: Floats, spread: Floats) -> Floats:
    """(n,) the relaxation above the model, in standard deviations; zero without a relaxation.

    Args:
        asked: Of (n,) hops.
        alone: (n,) barriers of the model, eV.
        spread: (n,) its spread on TARGET.
    """
    there = np.isfinite(asked.short).all(axis=1)
    short = np.where(there, asked.short[:, 0], alone)
    return (TARGET.forward(short) - TARGET.forward(alone)) / np.hypot(spread, SHORT_STD)


def forgiving(process: PathProcess) -> PathProcess:
    """The process with Huber's loss in place of squares, by pseudo-labels.

    Labels far from the process are replaced by such at HUBER standard deviations, until they are
    those of its own prediction (the robust smoother of Cox, Ann. Stat. 11, 530 (1983)).
    """
    found, reach = process, HUBER * process.noise
    for _ in range(N_ROUNDS):
        mean = found.mean_of(process.inputs)
        target = mean + np.clip(process.target - mean, -reach, reach)
        found = PathProcess(process.inputs, target, process.theta, process.n_trends)
    return found


def few_numbers(inputs: Inputs) -> Floats:
    columns = [HOP_FEATURES.index(name) for name in FEW_NUMBERS]
    return np.hstack([inputs.learned, inputs.scalars, inputs.features[:, columns]])


def relaxed(
    hops: Sequence[Hop],
    inputs: Inputs,
    barrier: Floats,
    folds: Sequence[Any],
    alone: Floats,
    joined: Floats,
) -> dict[str, Floats]:
    """Other ways to join a relaxation and the model; hops without one keep what ships.

    Args:
        hops: (n,) hops.
        inputs: Of them.
        barrier: (n,) labels, eV.
        folds: Splits of them.
        alone: (n,) barriers of the model without a potential, eV.
        joined: (n,) barriers as they ship, eV.
    """
    there = np.isfinite(inputs.short).all(axis=1)
    short = np.where(there, inputs.short[:, 0], LOWEST_SHORT_EV)
    t = {name: TARGET.forward(value) for name, value in (("model", alone), ("short", short))}
    rest = TARGET.forward(barrier) - t["short"]
    families = np.array([canonical_family(hop.family) for hop in hops])
    ions = [hop.working_ion for hop in hops]
    anions = [next((a for a in ANIONS if a in hop.elements), "") for hop in hops]
    bound = ["O" in hop.elements and bool(hop.elements & CENTRES) for hop in hops]
    charges = inputs.features[:, HOP_FEATURES.index("ion_charge")].tolist()
    kinds = {
        "ion, anion": (ions, list(zip(ions, anions, strict=True))),
        "charge, anion, polyanion": (
            charges,
            list(zip(charges, anions, strict=True)),
            list(zip(charges, anions, bound, strict=True)),
        ),
    }
    line = joined.copy()
    moved = {name: np.zeros(len(hops)) for name in kinds}
    for fold in folds:
        train, test = (part[there[part]] for part in (fold.train, fold.test))
        if len(test):
            x = np.column_stack(list(t.values()))
            fitted = HuberRegressor(alpha=1.0).fit(x[train], TARGET.forward(barrier[train]))
            line[test] = TARGET.inverse(fitted.predict(x[test]))
            for name, levels in kinds.items():
                moved[name][test] = offsets(rest, families, levels, train, test)
    plain = {
        "plain mean": 0.5 * (alone + short),
        "geometric mean": TARGET.inverse(0.5 * (t["model"] + t["short"])),
        "the relaxation as it is": short,
        "a line of both, Huber loss": line,
    }
    plain |= {
        f"plain mean, the relaxation with offsets by {name}": 0.5
        * (alone + TARGET.inverse(t["short"] + move))
        for name, move in moved.items()
    }
    return {name: np.where(there, value, joined) for name, value in plain.items()}


def offsets(
    rest: Floats,
    families: NDArray[np.str_],
    levels: Sequence[Sequence[Any]],
    train: Rows,
    test: Rows,
) -> Floats:
    """(n_test,) what is lacking on TARGET, by ever finer kinds, each shrunk to the coarser one.

    Medians of families count as single observations, so that large ones do not rule; an offset is
    shrunk by the variance between kinds over that and the variance within them.
    """
    left = rest - np.median(rest[train])
    found = np.full(len(test), np.median(rest[train]))
    for kinds in levels:
        of_family: dict[Any, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for k in train:
            of_family[kinds[k]][families[k]].append(left[k])
        medians = {
            kind: np.array([np.median(values) for values in entries.values()])
            for kind, entries in of_family.items()
        }
        within = float(np.mean([v.var() for v in medians.values() if len(v) > 1] or [0.0]))
        means = np.array([v.mean() for v in medians.values()])
        between = means.var() - within * np.mean([1.0 / len(v) for v in medians.values()])
        between = max(float(between), 0.0)
        move = {
            kind: float(np.median(v)) * between / max(between + within / len(v), 1e-9)
            for kind, v in medians.items()
        }
        found += np.array([move.get(kinds[k], 0.0) for k in test])
        left = left - np.array([move.get(kind, 0.0) for kind in kinds])
    return found


def drawn(
    mean: Floats, by_ion: Floats, doubt: Floats, barrier: Floats, folds: Sequence[Any]
) -> Floats:
    """Towards the mean by ion, by a share that grows with the doubt or not: what is best elsewhere.

    Args:
        mean: (n,) barriers, eV.
        by_ion: (n,) means of the training labels by ion, eV.
        doubt: (n,) epistemic spread, eV.
        barrier: (n,) labels, eV.
        folds: Splits; the share of a fold's test part is chosen on its training part.
    """
    ratio = (doubt / np.median(doubt)) ** 2
    shares = [pull * size for pull in PULLS for size in (np.ones(len(mean)), ratio / (1 + ratio))]
    values = [(1.0 - share) * mean + share * by_ion for share in shares]
    return best_elsewhere(values, barrier, folds)


def best_elsewhere(values: Sequence[Floats], barrier: Floats, folds: Sequence[Any]) -> Floats:
    """(n,) in every fold that of several predictions which is best on the rest."""
    found = np.zeros(len(barrier))
    for fold in folds:
        best = min(values, key=lambda v: mae(barrier[fold.train], v[fold.train]))
        found[fold.test] = best[fold.test]
    return found


def score(
    hops: Sequence[Hop], barrier: Floats, mean: Floats, ships: Floats, by_ion: Floats
) -> Mapping[str, Any]:
    families = [canonical_family(hop.family) for hop in hops]
    worst = extremes(hops, barrier, mean, by_ion, np.ones(len(hops), dtype=bool))
    entry = {
        "mae_eV": round(mae(barrier, mean), 3),
        "spearman": round(spearman(barrier, mean), 3),
        "mean_over_families_mae_eV": worst["mean_over_families_mae_eV"],
        "worse_than_mean_by_ion": worst["worse_than_mean_by_ion"],
    }
    if mean is not ships:
        gap = paired_bootstrap(barrier, mean, ships, groups=families)
        entry["mae_minus_shipped_eV"] = [round(v, 3) for v in (gap.value, gap.lower, gap.upper)]
    return entry


if __name__ == "__main__":
    main()
