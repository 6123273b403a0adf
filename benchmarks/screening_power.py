"""Screening power: measured superionic conductors hidden in a pool of crystals, and how many of
them stand at the top of the ranking.

    python -m benchmarks.screening_power --data DIR [--pool 1500] [--workers 2] [--work DIR]

Measured Li conductors with a CIF are predicted by models that saw neither their paper nor their
composition; the pool is a random part of the Materials Project's lithium crystals less all measured
compositions, taken for not superionic, each standing for as many as were left out. Rankings by the
estimate, by its parts, and by single rules. Predictions of the pool are kept in the work folder.
Writes benchmarks/results/screening_power.json and docs/screening_power.svg.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.conductivity import as_crystal, held_out_estimates, label_of, training_rows
from ionbridge.models.library import DEFAULTS
from ionbridge.screening.conduction import Conditions
from ionbridge.screening.execution import LocalProcesses
from ionbridge.screening.predict import CrystalPredictor
from ionbridge.screening.report.plots import BLUE, GREY, INK, ORANGE
from ionbridge.screening.table import failed_row
from ionbridge.structures.records import Crystal
from ionbridge.structures.sources import materials_project
from ionbridge.structures.tables import composition_key

RESULT = Path(__file__).parent / "results" / "screening_power.json"
PICTURE = Path(__file__).parents[1] / "docs" / "screening_power.svg"
SUPERIONIC = -4.0
"""log10 S/cm at room temperature."""
TOP = 0.05
SHARD = 16
Floats = NDArray[np.float64]


def pool_rows(crystals: list[Crystal], workers: int) -> list[dict[str, Any]]:
    """Rows of the table for the pool; only those with a result."""
    predictor = CrystalPredictor(
        DEFAULTS["migration_barrier"], Conditions(298.15, n_draws=64), ("Li",), time_limit_s=60.0
    )
    shards = {i: crystals[i : i + SHARD] for i in range(0, len(crystals), SHARD)}
    done = dict(LocalProcesses(workers).map_shards(predictor, shards.items(), failed_row))
    return [row for i in shards for row in done[i] if row["status"] == "ok"]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--pool", type=int, default=1500, help="crystals of the pool")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/screening_power"))
    args = parser.parse_args()
    rows = [as_crystal(row) for row in training_rows(args.data)]
    measured = held_out_estimates()
    known = {composition_key(row.composition) for row in rows}
    li = [
        c
        for c in materials_project.load_pool(args.data).records
        if c.occupancy("Li").any() and composition_key(c.composition) not in known
    ]
    chosen = np.random.default_rng(0).permutation(len(li))[: args.pool]
    crystals = [replace(li[i], working_ion="Li") for i in chosen]
    by_id = {c.id: c for c in crystals}
    kept = args.work / f"pool_{args.pool}.json"
    if not kept.exists():
        args.work.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(pool_rows(crystals, args.workers)), encoding="utf-8")
    pool = json.loads(kept.read_text(encoding="utf-8"))
    each = len(li) / len(crystals)
    own = [
        (row, measured[row.id])
        for row in rows
        if row.crystal is not None and label_of(row).bound == "="
    ]
    value = np.array([label_of(row).value for row, _ in own])
    fast = value > SUPERIONIC

    def ranking(name: str) -> tuple[Floats, Floats]:
        hidden = np.array([found[name] for _, found in own])
        column = {
            "estimate": "log10_conductivity_S_cm",
            "composition model": "log10_conductivity_composition_S_cm",
            "hop network": "log10_conductivity_hop_network_S_cm",
        }[name]
        rest = np.array([r[column] if r[column] is not None else np.nan for r in pool])
        floor = np.nanmin(np.concatenate([hidden, rest])) - 1.0
        return np.nan_to_num(hidden, nan=floor), np.nan_to_num(rest, nan=floor)

    results: dict[str, Any] = {
        "n_superionic": int(fast.sum()),
        "n_other_measured": int((~fast).sum()),
        "n_pool": len(pool),
        "n_pool_asked": len(crystals),
        "n_pool_whole": len(li),
    }
    curves = {}
    weight = np.concatenate([np.ones((~fast).sum()), np.full(len(pool), each)])
    for name in ("estimate", "composition model", "hop network"):
        hidden, rest = ranking(name)
        others = np.concatenate([hidden[~fast], rest])
        results[name] = with_interval(hidden[fast], others, weight)
        curves[name] = curve(hidden[fast], others, weight)
    soft = np.array([anion_softness(row.crystal) for row, _ in own if row.crystal is not None])
    soft_pool = np.array([anion_softness(by_id[r["candidate_id"]]) for r in pool])
    jitter = np.random.default_rng(1)
    soft += 1e-6 * jitter.random(len(soft))
    soft_pool += 1e-6 * jitter.random(len(soft_pool))
    others = np.concatenate([soft[~fast], soft_pool])
    results["single rule: softest anions"] = with_interval(soft[fast], others, weight)
    disorder = np.array([disordered(row.crystal) for row, _ in own if row.crystal is not None])
    results["single rule: disordered crystals first"] = with_interval(
        disorder[fast] + 1e-6 * jitter.random(fast.sum()),
        np.concatenate([disorder[~fast], np.zeros(len(pool))]) + 1e-6 * jitter.random(len(weight)),
        weight,
    )
    ordered = disorder < 0.5
    results["n_superionic_ordered"] = int((fast & ordered).sum())
    for name in ("estimate", "composition model", "hop network"):
        hidden, rest = ranking(name)
        keep = np.concatenate([ordered[~fast], np.ones(len(pool), dtype=bool)])
        others = np.concatenate([hidden[~fast], rest])[keep]
        results[f"{name}, ordered crystals"] = with_interval(
            hidden[fast & ordered], others, weight[keep]
        )
    keep = np.concatenate([ordered[~fast], np.ones(len(pool), dtype=bool)])
    results["single rule: softest anions, ordered crystals"] = with_interval(
        soft[fast & ordered], np.concatenate([soft[~fast], soft_pool])[keep], weight[keep]
    )
    results["random"] = {"found_in_first_5_percent": TOP, "area_under_curve": 0.5}
    picture(
        {
            "the estimate": curves["estimate"],
            "hop network alone": curves["hop network"],
            "softest anions first": curve(soft[fast], others, weight),
        }
    )
    print(json.dumps(results, indent=1))
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
