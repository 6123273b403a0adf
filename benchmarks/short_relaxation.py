"""What a short relaxation with SevenNet-0 says of DFT barriers, and what it costs.

    python -m benchmarks.short_relaxation --data DIR [--ship]

Published hops that benchmarks.make.short_relaxations has computed (models/configs). Every method
on the same rows: raw, and on a line fitted to the other families (least absolute deviations);
`hop-barrier` with whole families left out (benchmarks.shipped_hop_barrier); the plain mean of
both, which fits nothing; and both on one line, weights fitted on the other families. In both a
relaxed barrier counts as NO_BARRIER_EV at least. With --ship the error of the plain mean goes where
campaigns and `predict` find it.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.funnel import NETWORK, SHIPPED, TARGET, design, errors, left_out
from benchmarks.make.potential_hops import SHIPPED as RIGID
from benchmarks.make.short_relaxations import AFTER
from benchmarks.make.short_relaxations import SHIPPED as SHORT
from ionbridge.models.checkpoint import sha256
from ionbridge.models.metrics import bootstrap, mae, paired_bootstrap, spearman
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.labelling.bands.short_relaxation import MAX_STEPS, NO_BARRIER_EV
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import neb_barriers

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

RESULT = Path(__file__).parent / "results" / "short_relaxation.json"
FEW = 10
"""A family or ion of fewer hops has no error of its own."""
N_REWEIGHTED, SMALL_EV = 60, 1e-3
"""Rounds of a fit to absolute deviations, and the deviation below which all weigh alike."""
HIGH_EV = 3.0
"""Barriers above are few and of doubtful use; figures are also given without them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--ship", action="store_true", help="write the weights that are used")
    args = parser.parse_args()
    hops = {hop.id: hop for hop in neb_barriers.load(args.data).records}
    computed = {row["id"]: row for row in lines_of(SHORT) if row["set"] == "neb"}
    rigid = {row["id"]: row["frozen_eV"] for row in lines_of(RIGID["neb"])}
    stored = json.loads(NETWORK.read_text(encoding="utf-8"))
    network = dict(zip(stored["ids"], stored["mean_eV"], strict=True))
    ids = [id for id, row in computed.items() if "n_calls" in row and id in rigid]
    ids = [id for id in ids if id in network and hops[id].extra.get("mace_relax_eV") is not None]
    over = [id for id, row in computed.items() if "emptied" in row]
    ids = [id for id in ids if id not in over]
    rows, chosen = [computed[id] for id in ids], [hops[id] for id in ids]
    true = np.array([hop.barrier_eV for hop in chosen], dtype=float)
    families = np.array([str(hop.family) for hop in chosen])
    ions = np.array([hop.working_ion for hop in chosen])
    noted = np.array([bool(row.get("note")) for row in rows])
    forward = {n: column(rows, "forward_after_eV", n) for n in AFTER}
    backward = {n: column(rows, "backward_after_eV", n) for n in AFTER}
    base = np.array([network[id] for id in ids])
    methods: dict[str, Floats] = {
        "mean of other families": means(true, families, np.zeros(len(ids), dtype=int)),
        "mean by ion, other families": means(true, families, ions),
        "CHGNet, rigid host": np.array([max(rigid[id]) for id in ids]),
        "published MACE band": np.array([float(hop.extra["mace_relax_eV"]) for hop in chosen]),
        **{f"short relaxation, {n} steps": forward[n] for n in AFTER},
        "short relaxation, mean of both ends": 0.5 * (forward[MAX_STEPS] + backward[MAX_STEPS]),
        "hop-barrier, family left out": base,
    }
    relaxed = np.maximum(forward[MAX_STEPS], NO_BARRIER_EV)
    x, t = design(base, relaxed), TARGET.forward(true)
    methods["hop-barrier and short relaxation, one line"] = TARGET.inverse(left_out(x, t, families))
    together = 0.5 * (base + relaxed)
    methods["hop-barrier and short relaxation, plain mean"] = together
    band = methods["published MACE band"]
    methods["hop-barrier, short relaxation and MACE band, plain mean"] = (
        base + relaxed + band
    ) / 3.0
    groups = [hop.framework for hop in chosen]
    gain = paired_bootstrap(true, together, base, groups=groups)
    result: dict[str, Any] = {
        "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
        "labels_sha256": sha256(SHORT),
        "n_computed": len(computed),
        "failed": {id: row["reason"] for id, row in computed.items() if "reason" in row},
        "n_scored": len(ids),
        "calls_a_hop": {
            "mean": round(float(np.mean([row["n_calls"] for row in rows])), 1),
            "most": max(row["n_calls"] for row in rows),
            "symmetric": round(float(np.mean([r["n_calls"] for r in rows if r["symmetric"]])), 1),
        },
        "noted_as_no_barrier_of_a_hop": {
            name: {
                "n": int(part.sum()),
                "mae_eV": round(mae(true[part], forward[MAX_STEPS][part]), 3),
                "hop_barrier_mae_eV": round(mae(true[part], base[part]), 3),
                "plain_mean_mae_eV": round(mae(true[part], together[part]), 3),
                "rigid_mae_eV": round(mae(true[part], forward[0][part]), 3),
            }
            for name, part in (("noted", noted), ("others", ~noted))
        },
        "over_ions_that_are_emptied": over_ions(over, computed, network, hops),
        "methods": {
            name: scores(true, value, families, ions, groups) for name, value in methods.items()
        },
        "plain_mean_minus_hop_barrier_mae_eV": [
            round(v, 3) for v in (gain.value, gain.lower, gain.upper)
        ],
        "up_to_3_eV": {
            name: {
                "mae_eV": round(mae(true[low], value[low]), 3),
                "spearman": round(spearman(true[low], value[low]), 3),
            }
            for low in [true <= HIGH_EV]
            for name, value in methods.items()
        },
    }
    write_json(RESULT, result)
    for name, found in result["methods"].items():
        worst, family = found["worst_family"]["mae_eV"], found["worst_family"]["name"]
        print(
            f"{name:56} {found['mae_eV'][0]:.3f} {found['spearman'][0]:.2f}  on a line "
            f"{found['on_a_line_mae_eV']:.3f}  bias {found['bias_eV']:+.2f}  {family} {worst:.2f}"
        )
    print(json.dumps({k: v for k, v in result.items() if k not in ("methods", "failed")}, indent=1))
    if args.ship:
        ship(fidelity(true, together, base))


def over_ions(
    over: list[str],
    computed: dict[str, dict[str, Any]],
    network: dict[str, float],
    hops: dict[str, Hop],
) -> dict[str, Any]:
    """Errors on hops whose path leads over ions, relaxed with these emptied.

    Args:
        over: Their ids.
        computed: Rows of short relaxations by id.
        network: Barriers of the model with families left out, eV, by id.
        hops: All published hops by id.
    """
    true = np.array([hops[id].barrier_eV for id in over], dtype=float)
    base = np.array([network[id] for id in over])
    relaxed = column([computed[id] for id in over], "forward_after_eV", MAX_STEPS)
    values = {
        "hop-barrier, family left out": base,
        "short relaxation": relaxed,
        "plain mean": 0.5 * (base + np.maximum(relaxed, NO_BARRIER_EV)),
        "published MACE band": np.array([float(hops[id].extra["mace_relax_eV"]) for id in over]),
    }
    low = true <= HIGH_EV
    return {
        "n": len(over),
        "n_up_to_3_eV": int(low.sum()),
        **{
            name: {
                "mae_eV": round(mae(true, value), 3),
                "mae_up_to_3_eV": round(mae(true[low], value[low]), 3),
                "spearman": round(spearman(true, value), 3),
            }
            for name, value in values.items()
        },
    }


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The rows of a shipped file, without its head."""
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in list(stream)[1:]]


def column(rows: list[dict[str, Any]], key: str, n_steps: int) -> Floats:
    """Barriers after so many steps; backward is forward where the ends are alike."""
    return np.array([row.get(key, row["forward_after_eV"])[str(n_steps)] for row in rows])


def means(true: Floats, families: NDArray[np.str_], kinds: NDArray[Any]) -> Floats:
    """Mean of the same kind in other families, of all others where the kind is not there."""
    found = np.empty(len(true))
    for k in range(len(true)):
        others = families != families[k]
        same = others & (kinds == kinds[k])
        found[k] = true[same if same.any() else others].mean()
    return found


def on_a_line(true: Floats, value: Floats, families: NDArray[np.str_]) -> Floats:
    """Each family by a line of least absolute deviations through the others."""
    found = np.empty(len(true))
    for family in np.unique(families):
        own = families == family
        slope, offset = least_absolute(value[~own], true[~own])
        found[own] = slope * value[own] + offset
    return found


def least_absolute(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope and offset of the line with the least sum of absolute deviations, by reweighting."""
    line = np.stack([x, np.ones(len(x))], axis=1)
    found = np.linalg.lstsq(line, y, rcond=None)[0]
    for _ in range(N_REWEIGHTED):
        weight = 1.0 / np.sqrt(np.maximum(np.abs(y - line @ found), SMALL_EV))
        found = np.linalg.lstsq(line * weight[:, None], y * weight, rcond=None)[0]
    return float(found[0]), float(found[1])


def scores(
    true: Floats,
    value: Floats,
    families: NDArray[np.str_],
    ions: NDArray[np.str_],
    groups: list[str],
) -> dict[str, Any]:
    error = bootstrap(mae, true, value, groups=groups)
    ranks = bootstrap(spearman, true, value, groups=groups)
    by_family = by(families, true, value, mae)
    bias = by(families, true, value, lambda t, v: float(np.mean(v - t)))
    worst = max(by_family, key=lambda name: by_family[name])
    return {
        "mae_eV": [round(v, 3) for v in (error.value, error.lower, error.upper)],
        "spearman": [round(v, 3) for v in (ranks.value, ranks.lower, ranks.upper)],
        "bias_eV": round(float(np.mean(value - true)), 3),
        "on_a_line_mae_eV": round(mae(true, on_a_line(true, value, families)), 3),
        "worst_family": {"name": worst, "mae_eV": by_family[worst], "bias_eV": bias[worst]},
        "mean_of_families_mae_eV": round(float(np.mean(list(by_family.values()))), 3),
        "by_ion_mae_eV": by(ions, true, value, mae),
    }


def by(
    kinds: NDArray[np.str_],
    true: Floats,
    value: Floats,
    measure: Callable[[Floats, Floats], float],
) -> dict[str, float]:
    """A measure of each kind of FEW or more hops."""
    return {
        str(kind): round(measure(true[kinds == kind], value[kinds == kind]), 3)
        for kind in np.unique(kinds)
        if (kinds == kind).sum() >= FEW
    }


def fidelity(true: Floats, together: Floats, base: Floats) -> dict[str, Any]:
    """The plain mean in eV, with its errors."""
    reference = json.loads(SHIPPED.read_text(encoding="utf-8"))["fidelities"]["network"]
    t, predicted, network = (TARGET.forward(value) for value in (true, together, base))
    return {
        "intercept": 0.0,
        "network_weight": 0.5,
        "weight": 0.5,
        **errors(t, predicted, network, reference),
        "n_hops": len(true),
        "in_eV": True,
    }


def ship(found: dict[str, Any]) -> None:
    """Put the fidelity beside the others."""
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    shipped["fidelities"]["short"] = found
    write_json(SHIPPED, shipped)
    print(found)


if __name__ == "__main__":
    main()
