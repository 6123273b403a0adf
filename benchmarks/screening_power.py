"""Screening power: measured superionic conductors hidden in a pool of crystals, and how many of
them stand at the top of the ranking.

    python -m benchmarks.screening_power --data DIR [--pool 300] [--work DIR] [--only-prescreen]

Measured Li conductors with a CIF are predicted by models that saw neither their paper nor their
composition; the pool is a random part of the Materials Project's lithium crystals less all measured
compositions, taken for not superionic, each standing for as many as were left out. Rankings by the
estimate, by its parts, and by single rules.

Computed crystals are ordered and measured fast conductors mostly are not, so that disorder alone
tells them apart. The fair trial hides every measured conductor as an ordered crystal: a disordered
one as an ordered approximant (whole atoms by annealed swaps on the point-charge energy), predicted
from that cell alone (`benchmarks.conductivity`, which runs first). What the hops say of a crystal
of the pool is kept in the work folder.

What a first stage (``prescreen`` of a campaign) loses: the share of measured superionics of Li and
Na that its thresholds discard, beside the share of the pool's electrolytes; were it to ask for the
upper end of the 90 % interval (``q95``) instead of the expected value, too. Each is predicted from
its formula alone by committees that saw neither its paper nor its composition, and by ones that saw
none of its family; kernels and calibration are the shipped ones.
Writes benchmarks/results/screening_power.json and docs/screening_power.svg.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks import json_lines
from benchmarks.conductivity import (
    N_FOLDS,
    ORDERED,
    PARTS,
    as_crystal,
    held_out_estimates,
    label_of,
    training_rows,
)
from ionbridge.models.conductors.conduction_estimate import CompositionResult
from ionbridge.models.conductors.conductivity import SIDE, ConductivityTrees, source_group
from ionbridge.models.library import DEFAULTS, find, load
from ionbridge.screening.campaign.prescreen import formula_row
from ionbridge.screening.execution.executor import TimeLimitExceededError, time_limit
from ionbridge.screening.prediction.conduction import Conditions, hop_network_row
from ionbridge.screening.prediction.estimate import estimator, hop_result, of_compositions
from ionbridge.screening.report.plots import BLUE, GREY, INK, ORANGE
from ionbridge.structures.chemistry.composition import charge_imbalance, role
from ionbridge.structures.features.conductor_descriptors import conductor_ion, table_row
from ionbridge.structures.features.splits import GroupedKFold
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.tables import ConductivityRow, composition_key
from ionbridge.structures.records import Crystal, UnusableStructureError
from ionbridge.structures.sources import materials_project

RESULT = Path(__file__).parent / "results" / "screening_power.json"
PICTURE = Path(__file__).parents[1] / "docs" / "screening_power.svg"
SUPERIONIC = -4.0
"""log10 S/cm at room temperature."""
TOP = 0.05
TIME_LIMIT_S = 90.0
THRESHOLDS = (-8.0, -7.0, -6.0, -5.5, -5.0, -4.5, -4.0, -3.5, -3.0, -2.75, -2.5, -2.25, -2.0)
"""Of a prescreen's conductivity, log10 S/cm."""
IMBALANCES = (0.001, 0.01, 0.05, 0.1, 0.2)
"""Of a prescreen's charge, as a share of the anions'."""
Floats = NDArray[np.float64]
Groups = Callable[[ConductivityRow], str]


def hop_rows(crystals: Sequence[Crystal], kept: Path) -> dict[str, dict[str, Any]]:
    """What the hops of each crystal say, by id; ``reason`` where nothing. It resumes."""
    model = load(DEFAULTS["migration_barrier"])
    found = {row["id"]: row for row in json_lines.read(kept)}
    kept.parent.mkdir(parents=True, exist_ok=True)
    for crystal in crystals:
        if crystal.id in found:
            continue
        try:
            with time_limit(TIME_LIMIT_S):
                graph = find_hops(crystal)
                (energies,) = model.crystal_energies([graph])
                row = hop_network_row(graph, energies, Conditions(298.15, n_draws=64))
        except (UnusableStructureError, TimeLimitExceededError) as error:
            row = {"reason": str(error)}
        found[crystal.id] = {"id": crystal.id, **row}
        json_lines.append(kept, found[crystal.id])
    return found


def anion_softness(crystal: Crystal) -> float:
    """The single rule of the field: the softer the anions, the faster the ions (by period)."""
    periods = {"N": 1, "O": 1, "F": 1, "S": 2, "Cl": 2, "Se": 3, "Br": 3, "I": 4, "Te": 4}
    amounts = crystal.composition.get_el_amt_dict()
    anions = {k: v for k, v in amounts.items() if k in periods}
    return sum(periods[k] * v for k, v in anions.items()) / max(sum(anions.values()), 1e-9)


def disordered(crystal: Crystal) -> float:
    """1 for a crystal with a shared or partly filled site, 0 for an ordered one.

    The pool is of computed crystals, which are all ordered; measured fast conductors mostly are
    not, so that disorder alone tells them from the pool.
    """
    return 0.0 if crystal.is_ordered else 1.0


def score(hidden: Floats, rest: Floats, weight: Floats) -> dict[str, float]:
    """Share of the hidden ones in the first 5 % of the ranking, and area under the curve.

    Args:
        hidden: Scores of the superionic ones.
        rest: Scores of all others.
        weight: Crystals of the whole pool that each of the others stands for.
    """
    x, found = curve(hidden, rest, weight)
    truth = np.concatenate([np.ones(len(hidden)), np.zeros(len(rest))])
    weights = np.concatenate([np.ones(len(hidden)), weight])
    area = roc_auc_score(truth, np.concatenate([hidden, rest]), sample_weight=weights)
    return {
        "found_in_first_5_percent": round(float(np.interp(TOP, x, found)), 3),
        "area_under_curve": round(float(area), 3),
    }


def with_interval(hidden: Floats, rest: Floats, weight: Floats) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(500):
        own = rng.integers(len(rest), size=len(rest))
        draws.append(score(rng.choice(hidden, len(hidden)), rest[own], weight[own]))
    result: dict[str, Any] = {}
    for key, value in score(hidden, rest, weight).items():
        low, high = np.quantile([d[key] for d in draws], [0.025, 0.975])
        result[key] = [value, round(float(low), 3), round(float(high), 3)]
    return result


def curve(hidden: Floats, rest: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Share of the ranking that was looked at, and share of the hidden ones found in it."""
    order = np.argsort(-np.concatenate([hidden, rest]), kind="stable")
    found = np.cumsum(order < len(hidden)) / len(hidden)
    looked = np.cumsum(np.concatenate([np.ones(len(hidden)), weight])[order])
    return looked / looked[-1], found


def picture(curves: dict[str, tuple[Floats, Floats]]) -> None:
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], ":", color=INK, lw=1, label="random")
    for (name, (x, y)), color in zip(curves.items(), (BLUE, ORANGE, GREY), strict=False):
        axes.plot(x, y, color=color, lw=1.8, label=name)
    axes.axvline(TOP, color=INK, lw=0.6)
    axes.set_xscale("log")
    axes.set_xlim(1e-3, 1)
    axes.set_xlabel("share of the ranking looked at (line: 5 %)")
    axes.set_ylabel("measured superionics found")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, format="svg", metadata={"Date": None})


def combined(
    crystals: Sequence[Crystal],
    hops: dict[str, dict[str, Any]],
    compositions: Sequence[CompositionResult | None],
) -> dict[str, Floats]:
    """(n,) the estimate of each crystal and its parts; NaN where a part says nothing."""
    found = {name: np.full(len(crystals), np.nan) for name in PARTS}
    for k, (crystal, composition) in enumerate(zip(crystals, compositions, strict=True)):
        row = hops[crystal.id]
        own = None if "reason" in row else hop_result(row, crystal)
        if own is None and composition is None:
            continue
        density = float(crystal.occupancy("Li").sum()) / crystal.volume_A3 * 1e24
        estimate = estimator().estimate(own, composition, 298.15, density)
        found["estimate"][k] = estimate.conductivity.mean
        if estimate.composition is not None:
            found["composition model"][k] = estimate.composition.mean
        if estimate.hop_network is not None:
            found["hop network"][k] = estimate.hop_network.mean
    return found


def held_out_q95(
    rows: Sequence[ConductivityRow], bare: Sequence[ConductivityRow], group: Groups, n_folds: int
) -> tuple[Floats, Floats]:
    """(n,) means and upper ends of the 90 % intervals, log10 S/cm, by models without the groups.

    Args:
        rows: All labelled rows.
        bare: The same as a prescreen sees them.
        group: What is held out together; no composition of a fold is learnt from either.
        n_folds: Into so many parts.
    """
    trees = ConductivityTrees.load(find(DEFAULTS["conductivity"]))
    value = np.array([label_of(row).value for row in rows])
    side = np.array([SIDE[label_of(row).bound] for row in rows])
    key = np.array([str(composition_key(row.composition)) for row in rows])
    ion = np.array([conductor_ion(row) for row in rows])
    mean, upper = np.full((2, len(rows)), np.nan)
    for fold in GroupedKFold(n_folds, 0, group).split(rows):
        for own in trees.domains_:
            test = fold.test[ion[fold.test] == own]
            train = fold.train[(ion[fold.train] == own) & ~np.isin(key[fold.train], key[fold.test])]
            if not len(test):
                continue
            model = trees.relearnt(own, [bare[i] for i in train], value[train], side[train])
            found = model.predict([bare[i] for i in test])
            mean[test], upper[test] = found.mean, model.interval(found)[1]
    return mean, upper


def prescreen_losses(rows: Sequence[ConductivityRow], pool: Sequence[Crystal]) -> dict[str, Any]:
    """Shares of the measured superionics and of the pool that thresholds discard.

    Args:
        rows: Labelled rows as the tables give them.
        pool: Crystals with their role.
    """
    crystals = [row.crystal and replace(row.crystal, id=row.id) for row in rows]
    bare = [
        replace(row, cell=None, space_group=None, crystal=None)
        if crystal is None
        else replace(formula_row(crystal), doi=row.doi)
        for row, crystal in zip(rows, crystals, strict=True)
    ]
    fast = np.array(
        [label_of(row).value > SUPERIONIC and label_of(row).bound == "=" for row in rows]
    )
    papers = np.array([source_group(row) for row in rows])[fast]
    electrolytes = [crystal for crystal in pool if crystal.role == "electrolyte"]
    model = load(DEFAULTS["conductivity"])
    of_pool = model.predict([formula_row(crystal) for crystal in electrolytes])
    in_pool = {"mean": of_pool.mean, "q95": model.interval(of_pool)[1]}
    result: dict[str, Any] = {
        "n_superionic": int(fast.sum()),
        "n_pool": len(pool),
        "n_pool_electrolytes": len(electrolytes),
    }
    held_out = {
        "papers": (source_group, N_FOLDS),
        "families": (lambda row: row.family or source_group(row), N_FOLDS),
    }
    found = {name: held_out_q95(rows, bare, *how) for name, how in held_out.items()}
    for k, statistic in enumerate(("mean", "q95")):
        result[statistic] = {
            f"{threshold:g}": {
                "pool_discarded": round(float((in_pool[statistic] < threshold).mean()), 4),
                **{
                    f"superionic_discarded_unseen_{name}": share_by_paper(
                        both[k][fast] < threshold, papers
                    )
                    for name, both in found.items()
                },
            }
            for threshold in THRESHOLDS
        }
    balance = [c for c, f in zip(crystals, fast, strict=True) if f and c is not None]
    left = np.array([imbalance_or_nan(c) for c in balance])
    known = np.array([imbalance_or_nan(c) for c in pool])
    result["charge_imbalance"] = {
        "n_superionic_with_crystal": len(balance),
        **{
            f"{most:g}": {
                "pool_discarded": round(float((known > most).mean()), 4),
                "superionic_discarded": round(float((left > most).mean()), 4),
            }
            for most in IMBALANCES
        },
    }
    return result


def imbalance_or_nan(crystal: Crystal) -> float:
    """Charge left by usual oxidation states, as a share of the anions'; NaN where not known."""
    try:
        return abs(charge_imbalance(crystal.composition))
    except UnusableStructureError:
        return float("nan")


def share_by_paper(discarded: NDArray[np.bool_], papers: NDArray[np.str_]) -> list[float]:
    """A share with its 95 % bootstrap interval over papers."""
    rng = np.random.default_rng(0)
    own = [np.flatnonzero(papers == paper) for paper in np.unique(papers)]
    draws = [
        discarded[np.concatenate([own[k] for k in rng.integers(len(own), size=len(own))])].mean()
        for _ in range(1000)
    ]
    interval = [discarded.mean(), *np.quantile(draws, [0.025, 0.975])]
    return [round(float(value), 4) for value in interval]


def trial(
    measured: dict[str, Floats], pool: dict[str, Floats], fast: NDArray[np.bool_], each: float
) -> tuple[dict[str, Any], dict[str, tuple[Floats, Floats]]]:
    """Scores and curves of every ranking; what says nothing of a crystal puts it last."""
    rng = np.random.default_rng(1)
    results, curves = {}, {}
    n_pool = len(next(iter(pool.values())))
    weight = np.concatenate([np.ones((~fast).sum()), np.full(n_pool, each)])
    for name, own in measured.items():
        both = np.concatenate([own, pool[name]])
        both = np.nan_to_num(both, nan=float(np.nanmin(both)) - 1.0)
        both += 1e-6 * rng.random(len(both))  # ties in any order
        hidden, rest = both[: len(own)], both[len(own) :]
        others = np.concatenate([hidden[~fast], rest])
        results[name] = with_interval(hidden[fast], others, weight)
        curves[name] = curve(hidden[fast], others, weight)
    return results, curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--pool", type=int, default=300, help="crystals of the pool")
    parser.add_argument("--work", type=Path, default=Path("runs/screening_power"))
    parser.add_argument(
        "--only-prescreen", action="store_true", help="measure that, and keep the rest as it is"
    )
    args = parser.parse_args()
    rows = [as_crystal(row) for row in training_rows(args.data)]
    known = {composition_key(row.composition) for row in rows}
    li = [
        c
        for c in materials_project.load_pool(args.data).records
        if c.occupancy("Li").any() and composition_key(c.composition) not in known
    ]
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    losses = prescreen_losses(rows, with_roles(li))
    if args.only_prescreen:
        written({**before, "prescreen": losses})
        return
    chosen = np.random.default_rng(0).permutation(len(li))[: args.pool]
    pool = [replace(li[i], working_ion="Li") for i in chosen]
    pool_hops = hop_rows(pool, args.work / "pool.jsonl")
    in_pool = combined(pool, pool_hops, of_compositions([table_row(c) for c in pool]))
    said = np.isfinite(in_pool["estimate"])
    in_pool = {name: values[said] for name, values in in_pool.items()}

    held_out = held_out_estimates()
    own = [i for i, row in enumerate(rows) if f"{row.id} {ORDERED}" in held_out]
    given = [replace(c, working_ion="Li") for c in (rows[i].crystal for i in own) if c is not None]
    fast = np.array([label_of(rows[i]).value > SUPERIONIC for i in own])
    as_given, as_ordered = (
        {name: np.array([held_out[f"{rows[i].id}{form}"][name] for i in own]) for name in PARTS}
        for form in ("", f" {ORDERED}")
    )
    soft = "single rule: softest anions"
    as_given[soft] = as_ordered[soft] = np.array([anion_softness(c) for c in given])
    in_pool[soft] = np.array([anion_softness(c) for c, k in zip(pool, said, strict=True) if k])
    disorder = "single rule: disordered crystals first"
    as_given[disorder] = np.array([disordered(c) for c in given])
    with_disorder = {**in_pool, disorder: np.zeros(said.sum())}

    each = len(li) / len(pool)
    results: dict[str, Any] = {
        "n_superionic": int(fast.sum()),
        "n_superionic_ordered": int((as_given[disorder][fast] < 0.5).sum()),
        "n_other_measured": int((~fast).sum()),
        "n_pool": int(said.sum()),
        "n_pool_asked": len(pool),
        "n_pool_whole": len(li),
        "n_approximants_with_hops": int(np.isfinite(as_ordered["hop network"]).sum()),
    }
    results["as measured"], _ = trial(as_given, with_disorder, fast, each)
    results["ordered approximants"], curves = trial(as_ordered, in_pool, fast, each)
    picture(
        {
            "the estimate": curves["estimate"],
            "hop network alone": curves["hop network"],
            "softest anions first": curves[soft],
        }
    )
    results["prescreen"] = losses
    print(json.dumps(results, indent=1))
    written(results)


def written(results: dict[str, Any]) -> None:
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def with_roles(crystals: Sequence[Crystal]) -> list[Crystal]:
    """The crystals with working ion and role; those without oxidation states are left out."""
    found = []
    for crystal in crystals:
        try:
            found.append(replace(crystal, working_ion="Li", role=role(crystal)))
        except UnusableStructureError:
            continue
    return found


if __name__ == "__main__":
    main()
