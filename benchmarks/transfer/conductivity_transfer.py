"""Na conductors from 8, 16, 32 labels: with Li conductors as a source, and without.

    python -m benchmarks.transfer.conductivity_transfer --data DIR [--seeds 10]

Papers are drawn until k labels are reached; all rows of other papers are tested. 132 of the 134 Na
rows are NASICON, so this says how Li carries over within one framework and little about others.
Sources: all Li rows, or those of the NASICON family. Writes
benchmarks/results/conductivity_transfer.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.transfer.adaptation_strategies import STRATEGIES, Predictor, Source
from ionbridge.models.adaptation.few_shot_conductivities import (
    CORE,
    HIGHEST_T,
    descriptors,
    label_targets,
)
from ionbridge.models.checkpoint import sha256
from ionbridge.models.conductors.conductivity import SCALE, source_group
from ionbridge.models.metrics import paired_bootstrap, spearman
from ionbridge.structures.sources import na_conductivity, obelix

RESULT = Path(__file__).parents[1] / "results" / "conductivity_transfer.json"
SIZES = (8, 16, 32)
SCRATCH = ("mean", "trees", "process")
TRANSFER = ("zero-shot", "offset", "trees-joint", "process-joint", "residual", "stacked")
MIXED = {
    "scratch: trees + process": ("trees", "process"),
    "transfer: residual + stacked": ("residual", "stacked"),
    "transfer: residual + trees + process": ("residual", "trees", "process"),
}
"""Means of several strategies."""
OURS = "transfer: residual + trees + process"
RIVALS = (*SCRATCH[1:], "scratch: trees + process")
Floats = NDArray[np.float64]


def errors(predictor: Predictor, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Predictions on SCALE and absolute errors in decades."""
    t = np.clip(predictor(x), -2.0, HIGHEST_T)
    return t, np.abs(-SCALE.inverse(t) - y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    started = time.perf_counter()
    li, na = obelix.load(args.data).records, na_conductivity.load(args.data).records
    elements = sorted({str(e) for row in (*li, *na) for e in row.composition})
    li_labels = [row.label for row in li if row.label is not None]
    value = np.array([row.label.value for row in na if row.label is not None])
    x, groups = descriptors(na, elements), np.array([source_group(row) for row in na])
    whole, t = descriptors(li, elements), label_targets(li_labels)
    same = np.array([row.family == "NASICON" for row in li])
    sources = {
        "Li": Source(whole, t, CORE),
        "Li NASICON": Source(whole[same], t[same], CORE),
    }
    result: dict[str, Any] = {
        "data_sha256": {
            name: sha256(args.data / name)
            for name in (obelix.TABLE_FILE, na_conductivity.TABLE_FILE)
        },
        "n": {"Li": len(li), "Li NASICON": int(same.sum()), "Na": len(na)},
        "seeds": args.seeds,
        "ours": f"Li NASICON, {OURS}",
        "note": "132 of 134 Na rows are NASICON; Na labels state no temperature",
        "zero_shot_spearman": {
            name: round(spearman(value, -source.predict(x)), 3) for name, source in sources.items()
        },
    }
    print(result["zero_shot_spearman"], flush=True)
    for size in SIZES:
        found: dict[str, Floats] = {}
        for seed in range(args.seeds):
            order = np.random.default_rng(seed).permutation(np.unique(groups))
            rows = np.concatenate([np.flatnonzero(groups == g) for g in order])[:size]
            test = ~np.isin(groups, groups[rows])
            y = SCALE.forward(-value[rows])
            for source_name, source in sources.items():
                predicted = {}
                for name in (*SCRATCH, *TRANSFER):
                    fitted = STRATEGIES[name].fit(source, x[rows], y)
                    predicted[name], _ = errors(fitted, x[test], value[test])
                for name, parts in MIXED.items():
                    predicted[name] = np.mean([predicted[p] for p in parts], axis=0)
                for name, p in predicted.items():
                    alone = name in SCRATCH or name.startswith("scratch")
                    label = name if alone else f"{source_name}, {name}"
                    error = found.setdefault(label, np.full((args.seeds, len(na)), np.nan))
                    error[seed, test] = np.abs(-SCALE.inverse(p) - value[test])
        result[str(size)] = table(found, groups)
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        for name, entry in result[str(size)].items():
            print(f"k = {size:2d}  {name:45s} {json.dumps(entry)}", flush=True)
    result["seconds"] = round(time.perf_counter() - started)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def table(found: dict[str, Floats], groups: NDArray[np.str_]) -> dict[str, Any]:
    """MAE with its spread over seeds, and of ours against the rivals, bootstrap over papers."""
    rows: dict[str, Any] = {}
    for name, error in found.items():
        by_seed = np.nanmean(error, axis=1)
        rows[name] = {
            "mae": round(float(by_seed.mean()), 3),
            "std_over_seeds": round(float(by_seed.std()), 3),
        }
    ours = np.nanmean(found[f"Li NASICON, {OURS}"], axis=0)
    for rival in RIVALS:
        theirs = np.nanmean(found[rival], axis=0)
        gap = paired_bootstrap(np.zeros(len(ours)), ours, theirs, groups=list(groups))
        rows[f"ours minus {rival}"] = [round(v, 3) for v in (gap.value, gap.lower, gap.upper)]
    return rows


if __name__ == "__main__":
    main()
