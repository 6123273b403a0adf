"""Do errors rise where the flag says out of domain? Out-of-fold errors against the distance.

    python -m benchmarks.domain_error --data DIR

Out-of-fold predictions of `hop-barrier` (benchmarks.shipped_hop_barrier makes them), under four
protocols (host frameworks kept together, whole families left out, whole ions left out, families
and ions). Every fold's training hops make a domain of their own, in which its test hops
have a distance (1 is the edge) and a flag (ion and elements seen, hop short enough, small predicted
spread). Intervals are calibrated on the grouped residuals of the training frameworks, as the
shipped model does it.
Two other measures are compared with the distance: the model's own doubt (posterior spread of the
process and its distance from the trees) on the logarithmic scale, and the predicted spread in eV.
Writes benchmarks/results/domain_error.json and docs/domain_error.svg.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.hop_barriers import PROTOCOLS, RESULTS
from benchmarks.shipped_hop_barrier import FAST, RECIPES, seen
from ionbridge.models.barriers.hop_barrier import LARGEST_STD_EV, TARGET, Inputs
from ionbridge.models.calibration import Calibration
from ionbridge.models.checkpoint import sha256
from ionbridge.models.domain import LONGEST_HOP_A, Domain
from ionbridge.models.metrics import bootstrap, mae, spearman
from ionbridge.models.prediction import Prediction
from ionbridge.structures.features.splits import Split
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import neb_barriers

RESULT = Path(__file__).parent / "results" / "domain_error.json"
FIGURE = Path(__file__).parent.parent / "docs" / "domain_error.svg"
CALIBRATED_ON = "grouped"
"""Protocol whose residuals widen the intervals of all."""
EDGES = (0.0, 0.5, 1.0, 2.0, np.inf)
FEWEST_DRAWN = 5
"""Bins with fewer hops are in the table and not in the figure."""
COLOURS = {
    "grouped": "#0072b2",
    "leave-family-out": "#d55e00",
    "leave-ion-out": "#009e73",
    "leave-family-and-ion-out": "#cc79a7",
}
RIVALS = {
    "distance, shipped": "distance",
    "doubt of the model, logarithmic": "doubt",
    "predicted spread, eV": "spread_eV",
}
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    args = parser.parse_args()
    torch.set_num_threads(1)
    hops = seen(neb_barriers.load(args.data).records)
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    inputs = Inputs.of(hops)
    folds = {name: list(PROTOCOLS[name].split(hops)) for name in COLOURS}
    predicted = {name: stored(name) for name in folds}
    out: dict[str, Any] = {
        "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
        "n": len(hops),
        "edges": list(EDGES[:-1]),
        "calibrated_on": CALIBRATED_ON,
    }
    for protocol, parts in folds.items():
        found = predicted[protocol]
        table = placed(hops, inputs, found, parts)
        table["covered"] = covered(barrier, found, predicted[CALIBRATED_ON], parts)
        table["error"] = np.abs(found.mean - barrier)
        table["log_error"] = np.abs(TARGET.forward(found.mean) - TARGET.forward(barrier))
        table["doubt"] = TARGET.forward_std(found.mean, found.epistemic_std)
        table["spread_eV"] = found.std
        out[protocol] = summary(hops, table)
        print(protocol, json.dumps(out[protocol], indent=1), flush=True)
    RESULT.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    with rc_context({"svg.hashsalt": FIGURE.stem, "svg.fonttype": "none"}):
        draw(out).savefig(FIGURE, format="svg", metadata={"Date": None})


def placed(
    hops: Sequence[Hop], inputs: Inputs, found: Prediction, folds: Sequence[Split]
) -> dict[str, Floats]:
    """Distances and flags (0 or 1) of every hop in the domain of its fold's training hops."""
    table = {name: np.zeros(len(hops)) for name in ("distance", "seen", "inside")}
    short = np.array([hop.distance_A <= LONGEST_HOP_A for hop in hops])
    for fold in folds:
        rows, new = inputs.rows(fold.train).known, inputs.rows(fold.test).known
        frameworks = [hops[i].framework for i in fold.train]
        elements = frozenset(e for i in fold.train for e in hops[i].elements)
        ions = {hops[i].working_ion for i in fold.train}
        table["distance"][fold.test] = Domain.fit(rows, frameworks, elements).distance(new)
        table["seen"][fold.test] = [
            hops[i].elements <= elements and hops[i].working_ion in ions for i in fold.test
        ]
    narrow = found.std <= LARGEST_STD_EV
    table["inside"] = (narrow & (table["seen"] > 0) & short).astype(float)
    return table


def stored(protocol: str) -> Prediction:
    """Out-of-fold predictions of the shipped model that is given no energies."""
    text = (RESULTS / f"{protocol}.{RECIPES[FAST]}.json").read_text(encoding="utf-8")
    row = json.loads(text)
    return Prediction(row["mean_eV"], row["aleatoric_std_eV"], row["epistemic_std_eV"])


def covered(
    barrier: Floats, found: Prediction, grouped: Prediction, folds: Sequence[Split]
) -> Floats:
    """(n,) 1 where the 90 % interval holds the label."""
    inside = np.zeros(len(barrier))
    for fold in folds:
        calibration = Calibration.fit(grouped[fold.train], barrier[fold.train], TARGET)
        lower, upper = calibration.interval(calibration.calibrated(found[fold.test]), TARGET)
        inside[fold.test] = (lower <= barrier[fold.test]) & (barrier[fold.test] <= upper)
    return inside


def summary(hops: Sequence[Hop], table: dict[str, Floats]) -> dict[str, Any]:
    distance, near = table["distance"], table["distance"] <= 1.0
    bins = {
        **{
            f"{low:g} to {high:g}": (distance >= low) & (distance < high)
            for low, high in pairwise(EDGES)
        },
        "nearer than 1": near,
        "farther than 1": ~near,
        "ion and elements seen": table["seen"] > 0,
        "ion or an element unseen": table["seen"] == 0,
        "flag: in domain": table["inside"] > 0,
        "flag: out of domain": table["inside"] == 0,
    }
    groups = [hop.framework for hop in hops]
    return {
        "bins": {name: one_bin(groups, table, rows) for name, rows in bins.items()},
        "spearman_with_error": {
            name: {
                kind: interval(spearman, table[column], table[kind], groups)
                for kind in ("error", "log_error")
            }
            for name, column in RIVALS.items()
        },
    }


def one_bin(
    groups: Sequence[str], table: dict[str, Floats], rows: NDArray[np.bool_]
) -> dict[str, Any]:
    n = int(rows.sum())
    if not n:
        return {"n": 0}
    own = [group for group, chosen in zip(groups, rows, strict=True) if chosen]
    zero = np.zeros(n)
    return {
        "n": n,
        "n_frameworks": len(set(own)),
        "mae_eV": interval(mae, table["error"][rows], zero, own),
        "mae_log": interval(mae, table["log_error"][rows], zero, own),
        "median_error_eV": round(float(np.median(table["error"][rows])), 3),
        "interval_coverage_90": round(float(table["covered"][rows].mean()), 3),
    }


def interval(metric: Any, one: Floats, other: Floats, groups: Sequence[str]) -> list[float]:
    found = bootstrap(metric, one, other, groups=groups)
    return [round(v, 3) for v in (found.value, found.lower, found.upper)]


def draw(result: dict[str, Any]) -> Figure:
    """Mean error by distance, a line a protocol, on either scale."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    names = [f"{low:g} to {high:g}" for low, high in pairwise(EDGES)]
    both = figure.subplots(1, 2)
    for axes, key, title in zip(
        both,
        ("mae_eV", "mae_log"),
        ("MAE (eV)", "MAE of ln(barrier + 0.1 eV)"),
        strict=True,
    ):
        for k, (protocol, colour) in enumerate(COLOURS.items()):
            entries = [result[protocol]["bins"][name] for name in names]
            drawn = [i for i, entry in enumerate(entries) if entry["n"] >= FEWEST_DRAWN]
            value, low, high = np.array([entries[i][key] for i in drawn]).T
            at = np.array(drawn) + 0.12 * (k - 1)
            axes.errorbar(
                at, value, [value - low, high - value], fmt="o-", color=colour, label=protocol
            )
        axes.axvline(1.5, color="#9aa3ad", lw=1.0, ls="--")
        axes.set_xticks(range(len(names)), [n.replace("2 to inf", "above 2") for n in names])
        axes.set_xlabel("distance to the training hops (1: edge)")
        axes.set_ylabel(title)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    both[0].legend(frameon=False, loc="upper left")
    return figure


if __name__ == "__main__":
    main()
