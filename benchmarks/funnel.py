"""What each step of the funnel of fidelities adds on real DFT-NEB hops, and what it costs.

    python -m benchmarks.hop_energies --data DIR --work WORK --relax-ion 120
    python -m benchmarks.funnel --data DIR --work WORK [--ship]

Network: out-of-fold predictions with whole families left out (`benchmarks.hop_barriers`). Each
further method is combined with it on the logarithmic scale, weights fitted on the other families.
`neb` stands on the relaxed MACE bands that come with the data (a universal potential of the kind
that CHGNet is, on the same paths): our own bands cover only the starter set. What campaigns use
(`--ship`, screening/data) takes the weights from there, and offset and spread of our own bands from
the pairs of `benchmarks.neb_labels_vs_dft`, because CHGNet is the softer one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_lines import read
from benchmarks.neb_labels_vs_dft import starter_pairs
from ionbridge.models.checkpoint import sha256
from ionbridge.models.library import load
from ionbridge.models.metrics import bootstrap, mae, paired_bootstrap, spearman
from ionbridge.models.transforms import LogShift
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.labelling.bands.neb_labels import read_rows
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import neb_barriers

Floats = NDArray[np.float64]

HERE = Path(__file__).parent
NETWORK = HERE / "results" / "hop_barriers" / "leave-family-out.learned.json"
RESULT = HERE / "results" / "funnel.json"
STARTER = HERE.parents[0] / "screening" / "data" / "starter_hops_neb.jsonl.gz"
SHIPPED = HERE.parents[0] / "screening" / "data" / "fidelities.json"
TARGET = LogShift()
RIDGE = 1.0
"""Of the fit, in rows: the weights of a small group do not run away."""
KEPT = (0.3, 0.06)
"""Shares of the hops that go on to energies and to bands in the simulated funnel."""
FASTEST = 0.05


def design(*methods: Floats) -> Floats:
    return np.stack([np.ones(len(methods[0])), *(TARGET.forward(m) for m in methods)], axis=1)


def fitted(x: Floats, t: Floats) -> Floats:
    """Least squares with a little pull towards the first method as it is."""
    prior = np.zeros(x.shape[1])
    prior[1] = 1.0
    penalty = RIDGE * np.diag([0.0] + [1.0] * (x.shape[1] - 1))
    return np.asarray(prior + np.linalg.solve(x.T @ x + penalty, x.T @ (t - x @ prior)))


def left_out(x: Floats, t: Floats, families: NDArray[np.str_]) -> Floats:
    """Predictions of each family by weights fitted on the others, in t."""
    out = np.empty(len(t))
    for family in np.unique(families):
        own = families == family
        out[own] = x[own] @ fitted(x[~own], t[~own])
    return out


def score(true: Floats, predicted: Floats, groups: list[str]) -> dict[str, Any]:
    error = bootstrap(mae, true, predicted, groups=groups)
    ranks = bootstrap(spearman, true, predicted, groups=groups)
    return {
        "mae_eV": [round(v, 3) for v in (error.value, error.lower, error.upper)],
        "spearman": [round(v, 3) for v in (ranks.value, ranks.lower, ranks.upper)],
    }


def network_seconds(hops: list[Hop]) -> float:
    """CPU time of path and network for one hop."""
    model = load("hop-barrier")
    model.predict([profiled(hop) for hop in hops[:4]])
    started = time.process_time()
    model.predict([profiled(hop) for hop in hops])
    return (time.process_time() - started) / len(hops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--work", type=Path, required=True, help="folder of hop_energies")
    parser.add_argument("--ship", action="store_true", help="write the weights that campaigns use")
    args = parser.parse_args()
    hops = {hop.id: hop for hop in neb_barriers.load(args.data).records}
    stored = json.loads(NETWORK.read_text(encoding="utf-8"))
    network = dict(zip(stored["ids"], stored["mean_eV"], strict=True))
    tables = {kind: read(args.work / f"hop_{kind}.jsonl") for kind in ("energies", "relaxed_ion")}
    signal = {
        kind: {row["id"]: row["barrier_eV"] for row in rows if "barrier_eV" in row}
        for kind, rows in tables.items()
    }
    signal["neb"] = {
        id: float(hop.extra["mace_relax_eV"])
        for id, hop in hops.items()
        if hop.extra.get("mace_relax_eV") is not None
    }
    cost = {
        "network": network_seconds(list(hops.values())[:24]),
        **{
            kind: float(np.mean([r["cpu_s"] for r in rows]))
            for kind, rows in tables.items()
            if rows
        },
        "neb": float(np.mean([row["cpu_s"] for row in read_rows(STARTER)])),
    }
    steps: dict[str, Any] = {}
    fidelities: dict[str, Any] = {}
    for kind in ("network", "energies", "relaxed_ion", "neb"):
        ids = [id for id in stored["ids"] if kind == "network" or id in signal[kind]]
        if len(ids) < 30:
            continue
        true = np.array([hops[id].barrier_eV for id in ids], dtype=float)
        base = np.array([network[id] for id in ids])
        families = np.array([canonical_family(hops[id].family) for id in ids])
        groups = [hops[id].framework for id in ids]
        t = TARGET.forward(true)
        own = () if kind == "network" else (np.array([signal[kind][id] for id in ids]),)
        x = design(base, *own)
        predicted_t = TARGET.forward(base) if kind == "network" else left_out(x, t, families)
        predicted = TARGET.inverse(predicted_t)
        weights = np.array([0.0, 1.0, 0.0]) if kind == "network" else fitted(x, t)
        step = {
            "n": len(ids),
            "cpu_s_a_hop": round(cost[kind], 2),
            **score(true, predicted, groups),
        }
        if own:
            gap = paired_bootstrap(true, predicted, base, groups=groups)
            step["network_on_the_same_hops"] = score(true, base, groups)
            step["alone"] = score(
                true, TARGET.inverse(left_out(design(own[0]), t, families)), groups
            )
            step["raw_spearman"] = round(spearman(true, own[0]), 3)
            step["raw_median_ratio"] = round(float(np.median(own[0] / np.maximum(true, 0.05))), 2)
            step["mae_change_eV"] = [round(v, 3) for v in (gap.value, gap.lower, gap.upper)]
            step["mae_gain_eV_per_cpu_hour_and_1000_hops"] = round(
                -gap.value / (1000 * cost[kind] / 3600), 4
            )
        steps[kind] = step
        fidelities[kind] = {
            "intercept": round(float(weights[0]), 4),
            "network_weight": round(float(weights[1]), 4),
            "weight": round(float(weights[2]), 4),
            **errors(t, predicted_t, TARGET.forward(base), fidelities.get("network")),
            "n_hops": len(ids),
        }
        print(kind, json.dumps(step), flush=True)
    own_bands = on_our_bands(fidelities["neb"], fidelities["network"], args.data, network)
    checksum = sha256(args.data / neb_barriers.HOPS_FILE)
    result = {
        "data_sha256": checksum,
        "network": str(NETWORK.name),
        "steps": steps,
        "our_bands": own_bands,
        "funnel": simulated(hops, network, signal, fidelities, cost),
    }
    write_json(RESULT, result)
    print(json.dumps(result["funnel"], indent=1))
    if args.ship:
        made = (
            "benchmarks/funnel.py; neb: weights of relaxed MACE bands, the rest of our own; short: "
        )
        made += "benchmarks/short_relaxation.py"
        kept = {kind: fidelities[kind] for kind in ("network", "energies")} | {"neb": own_bands}
        shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))["fidelities"]
        kept |= {"short": shipped["short"]}
        write_json(SHIPPED, {"made_by": made, "data_sha256": checksum, "fidelities": kept})


def errors(
    t: Floats, predicted: Floats, network: Floats, reference: dict[str, Any] | None
) -> dict[str, float]:
    """Spread in t and mean error in eV, as to be expected on the hops of the network's own.

    A method that was measured on some hops gets the network's error on all of them times its gain
    on these: hard and easy subsets would not compare.
    """
    std, mean = spread(t, predicted)
    if reference is not None:
        std_there, mean_there = spread(t, network)
        std *= reference["std"] / std_there
        mean *= reference["mae_eV"] / mean_there
    return {"std": round(std, 4), "mae_eV": round(mean, 3)}


def spread(t: Floats, predicted: Floats) -> tuple[float, float]:
    return (
        float(np.sqrt(np.mean((predicted - t) ** 2))),
        mae(TARGET.inverse(t), TARGET.inverse(predicted)),
    )


def on_our_bands(
    weights: dict[str, Any],
    network_fidelity: dict[str, Any],
    data: Path,
    network: dict[str, float],
) -> dict[str, Any]:
    """The fidelity of our own bands: offset and spread anew, on the pairs with published hops."""
    found = [(own, hop) for own, hop, _ in starter_pairs(data) if hop.id in network]
    true = np.array([hop.barrier_eV for _, hop in found], dtype=float)
    ours = np.array([own.barrier_eV for own, _ in found], dtype=float)
    base = np.array([network[hop.id] for _, hop in found])
    groups = [hop.framework for _, hop in found]
    t, x = TARGET.forward(true), design(base, ours)
    slope = x[:, 1:] @ [weights["network_weight"], weights["weight"]]
    offset = np.array([np.mean((t - slope)[np.array(groups) != g]) for g in groups])
    predicted = TARGET.inverse(slope + offset)  # each framework by the offset of the others
    print(
        "our bands",
        len(found),
        score(true, predicted, groups),
        "network",
        score(true, base, groups),
    )
    return {
        **weights,
        "intercept": round(float(np.mean(t - slope)), 4),
        **errors(t, slope + offset, TARGET.forward(base), network_fidelity),
        "n_hops": len(found),
    }


def simulated(
    hops: dict[str, Hop],
    network: dict[str, float],
    signal: dict[str, dict[str, float]],
    fidelities: dict[str, Any],
    cost: dict[str, float],
) -> dict[str, Any]:
    """How many of the fastest hops are among as many chosen, after each step of the funnel."""
    ids = list(network)
    true = np.array([hops[id].barrier_eV for id in ids], dtype=float)
    n_fast = max(1, round(FASTEST * len(ids)))
    fast = set(np.argsort(true, kind="stable")[:n_fast].tolist())
    belief = np.array([network[id] for id in ids])
    seconds = len(ids) * cost["network"]

    def state() -> dict[str, Any]:
        chosen = np.argsort(belief, kind="stable")[:n_fast]
        return {
            "cpu_hours": round(seconds / 3600, 3),
            "share_of_fastest_found": round(len(fast & set(chosen.tolist())) / n_fast, 3),
            "mean_dft_barrier_of_chosen_eV": round(float(true[chosen].mean()), 3),
        }

    out = {"n": len(ids), "n_fastest": n_fast, "network": state()}
    for kind, share in zip(("energies", "neb"), KEPT, strict=True):
        if kind not in fidelities:
            continue
        best = np.argsort(belief, kind="stable")[: round(share * len(ids))]
        w = fidelities[kind]
        for k in best:
            seconds += cost[kind]
            own = signal[kind].get(ids[k])
            if own is not None:
                t = w["intercept"] + w["weight"] * TARGET.forward(np.array([own]))
                t += w["network_weight"] * TARGET.forward(np.array([network[ids[k]]]))
                belief[k] = TARGET.inverse(t)[0]
        out[f"{kind} on the best {len(best)}"] = state()
    return out


if __name__ == "__main__":
    main()
