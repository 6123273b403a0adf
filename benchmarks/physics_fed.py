"""The two shipped hop models, and what each quality of energies along the path is worth to them.

    python -m benchmarks.physics_fed --data DIR [--ship]

The published hops under four protocols (host frameworks kept together, whole families left out,
whole ions left out, and at random, as the published test set is drawn), all rows on the same
footing: hops without energies (their path touches another ion) are predicted without. `path` knows
path and composition alone; `hop-barrier` also the energies that pretrained networks expect of a
universal potential; `hop-barrier-chgnet` the potential's own along the path, the host as it
stands, and `with relaxed bands` those of the data set (MACE), which cost minutes a hop. CHGNet
energies are those of benchmarks.make_potential_hops, the rivals' predictions those of
benchmarks.hop_barriers. With --ship both models are fitted on all rows and written to
models/library.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.hop_barriers import PROTOCOLS, RESULTS, UP_TO_EV
from benchmarks.make_potential_hops import SHIPPED
from ionbridge.models.calibration import Calibration
from ionbridge.models.checkpoint import sha256
from ionbridge.models.library import LIBRARY
from ionbridge.models.metrics import bootstrap, mae, paired_bootstrap, r2, spearman
from ionbridge.models.physics_fed import BAND, PROFILE, TARGET, Inputs, PhysicsFed
from ionbridge.models.prediction import Prediction
from ionbridge.structures.family_names import canonical_family
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import neb_barriers

RESULT = Path(__file__).parent / "results" / "physics_fed.json"
PATH, FAST, FED, BANDS = "path", "hop-barrier", "hop-barrier-chgnet", "with relaxed bands"
RECIPES = {FAST: "learned", FED: "fed"}
"""Shipped models and the names of their out-of-fold predictions."""
RIVALS = ("trees", "gaussian_process")
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--ship", action="store_true", help="write both models to models/library")
    args = parser.parse_args()
    torch.set_num_threads(1)
    hops = seen(neb_barriers.load(args.data).records)
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    checksum = sha256(args.data / neb_barriers.HOPS_FILE)
    inputs = Inputs.of(hops)
    profiled, band = inputs.sources.T
    out: dict[str, Any] = {
        "data_sha256": checksum,
        "n": len(hops),
        "n_with_energies": int(profiled.sum()),
        "raw_spearman": {
            "pretrained networks, where CHGNet energies are known": round(
                spearman(barrier[profiled], inputs.learned[profiled, 0]), 3
            ),
            "frozen host, saddle above the mean of the ends": round(
                spearman(barrier[profiled], inputs.view[profiled, 0]), 3
            ),
            "relaxed MACE band": round(spearman(barrier[band], inputs.band[band]), 3),
        },
        "pretrained_networks_against_frozen_host_spearman": round(
            spearman(inputs.view[profiled, 0], inputs.learned[profiled, 0]), 3
        ),
    }
    kinds = {
        PATH: without(inputs, "learned", "view", "band"),
        FAST: without(inputs, "view", "band"),
        FED: without(inputs, "band"),
        BANDS: inputs,
    }
    for protocol, splitter in PROTOCOLS.items():
        folds = list(splitter.split(hops))
        started = time.perf_counter()
        found = {name: out_of_fold(i, barrier, folds) for name, i in kinds.items()}
        means = {name: prediction.mean for name, prediction in found.items()}
        for name in RIVALS:
            file = RESULTS / f"{protocol}.{name}.json"
            if file.exists():
                means[name] = np.array(json.loads(file.read_text(encoding="utf-8"))["mean_eV"])
        for name in (FAST, FED):
            keep(protocol, RECIPES[name], hops, found[name], time.perf_counter() - started)
        out[protocol] = {
            name: scores(hops, barrier, mean, means.get("trees"), means[PATH])
            for name, mean in means.items()
        }
        for name, prediction in found.items():
            out[protocol][name]["interval_coverage_90"] = coverage(hops, barrier, prediction)
        out[protocol]["seconds"] = round(time.perf_counter() - started)
        for name, entry in out[protocol].items():
            print(f"{protocol:17s} {name:56s} {entry}", flush=True)
    RESULT.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    if args.ship:
        ship(hops, barrier, out)


def keep(
    protocol: str, recipe: str, hops: Sequence[Hop], found: Prediction, seconds: float
) -> None:
    """Out-of-fold predictions, beside those of the other models."""
    row = {
        "protocol": protocol,
        "model": recipe,
        "seed": 0,
        "n_members": 1,
        "seconds": round(seconds),
        "n": len(hops),
        "ids": [hop.id for hop in hops],
        "mean_eV": np.round(found.mean, 4).tolist(),
        "aleatoric_std_eV": np.round(found.aleatoric_std, 4).tolist(),
        "epistemic_std_eV": np.round(found.epistemic_std, 4).tolist(),
    }
    text = json.dumps(row) + "\n"
    (RESULTS / f"{protocol}.{recipe}.json").write_text(text, encoding="utf-8")


def seen(hops: Sequence[Hop]) -> list[Hop]:
    """The hops with the energies that a universal potential has for them."""
    with gzip.open(SHIPPED["neb"], "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    energies = {row["id"]: row["frozen_eV"] for row in rows if "frozen_eV" in row}
    return [
        replace(hop, extra={**hop.extra, PROFILE: energies[hop.id]}) if hop.id in energies else hop
        for hop in hops
    ]


def without(inputs: Inputs, *names: str) -> Inputs:
    """The inputs, some unknown; what is learnt is zero everywhere, so that it says nothing."""
    hidden = {
        name: np.zeros_like(inputs.learned)
        if name == "learned"
        else np.full_like(getattr(inputs, name), np.nan)
        for name in names
    }
    return Inputs.of_arrays(inputs.arrays() | hidden)


def out_of_fold(inputs: Inputs, barrier: Floats, folds: Sequence[Any]) -> Prediction:
    parts = [np.zeros(len(barrier)) for _ in range(3)]
    for fold in folds:
        model = PhysicsFed()
        model.fit_inputs(inputs.rows(fold.train), barrier[fold.train])
        found = model.predict_inputs(inputs.rows(fold.test))
        values = (found.mean, found.aleatoric_std, found.epistemic_std)
        for store, value in zip(parts, values, strict=True):
            store[fold.test] = value
    return Prediction(*parts)


def coverage(hops: Sequence[Hop], barrier: Floats, prediction: Prediction) -> float:
    """Of intervals widened by the residuals of the other half of the frameworks."""
    groups = np.array([hop.framework for hop in hops])
    half = np.isin(groups, np.unique(groups)[::2])
    inside = np.zeros(len(hops), dtype=bool)
    for rows, others in ((half, ~half), (~half, half)):
        fields = (prediction.mean, prediction.aleatoric_std, prediction.epistemic_std)
        rest = Prediction(*(f[others] for f in fields))
        calibration = Calibration.fit(rest, barrier[others], TARGET)
        widened = calibration.calibrated(Prediction(*(f[rows] for f in fields)))
        lower, upper = calibration.interval(widened, TARGET)
        inside[rows] = (lower <= barrier[rows]) & (barrier[rows] <= upper)
    return round(float(inside.mean()), 3)


def scores(
    hops: Sequence[Hop],
    barrier: Floats,
    mean: Floats,
    trees: Floats | None = None,
    path: Floats | None = None,
) -> dict[str, Any]:
    groups = [hop.framework for hop in hops]
    low = barrier <= UP_TO_EV
    sound = np.array([not neb_barriers.is_implausible(hop) for hop in hops])
    families = np.array([canonical_family(hop.family) for hop in hops])
    within = [
        spearman(barrier[families == f], mean[families == f])
        for f in np.unique(families)
        if (families == f).sum() >= 8 and np.ptp(mean[families == f]) > 0
    ]
    error = bootstrap(mae, barrier, mean, groups=groups)
    entry = {
        "mae_eV": [round(v, 3) for v in (error.value, error.lower, error.upper)],
        "r2": round(r2(barrier, mean), 3),
        "spearman": round(spearman(barrier, mean), 3),
        "mae_up_to_2_eV": round(mae(barrier[low], mean[low]), 3),
        "mae_without_implausible_rows_eV": round(mae(barrier[sound], mean[sound]), 3),
        "spearman_within_families": round(float(np.mean(within)), 3),
    }
    for name, other in (("trees", trees), ("path", path)):
        if other is not None and other is not mean:
            gap = paired_bootstrap(barrier, mean, other, groups=groups)
            entry[f"mae_minus_{name}_eV"] = [round(v, 3) for v in (gap.value, gap.lower, gap.upper)]
    return entry


def ship(hops: list[Hop], barrier: Floats, out: dict[str, Any]) -> None:
    for name in RECIPES:
        reads = name == FED
        model = PhysicsFed(reads_energies=reads).fit(hops, barrier)
        cost = (
            {"cost_s": 2.5, "needs": NEEDS, "cost_of_a_call": "seven CHGNet energies a hop"}
            if reads
            else {"cost_s": 0.1}
        )
        model.save(LIBRARY / name, card_of(name, model, hops, out) | cost)


NEEDS = (
    "CHGNet energies along the path (the extra chgnet); a hop without is predicted from its path, "
    "its composition and what pretrained networks expect of CHGNet. A hop that brings "
    f"{BAND}, the barrier of a band relaxed with MACE-MP, is predicted with it."
)


def card_of(name: str, model: PhysicsFed, hops: list[Hop], out: dict[str, Any]) -> dict[str, Any]:
    keys = ("mae_eV", "spearman", "interval_coverage_90")
    by_protocol = {protocol: {k: out[protocol][name][k] for k in keys} for protocol in PROTOCOLS}
    grouped = by_protocol["grouped"]
    return {
        "name": name,
        "predicts": "migration barrier of a hop, eV",
        "quantity": "migration_barrier",
        "inputs": ["hop"],
        "working_ions": sorted({hop.working_ion for hop in hops}),
        "elements": sorted(model.domain_.elements),
        "families": sorted({canonical_family(hop.family) for hop in hops if hop.family}),
        "trained_on": {
            "name": neb_barriers.SOURCE.title,
            "licence": neb_barriers.SOURCE.licence,
            "citation": neb_barriers.SOURCE.citation,
            "n_hops": len(hops),
            "n_frameworks": len({hop.framework for hop in hops}),
            "base_systems": sorted({hop.framework for hop in hops}),
            "methods": ["dft_neb"],
            "pretrained_networks": "hop-encoder: signals of crystals of other formulas (its card)",
        },
        "validation": {
            "split": "grouped by host framework, 10 folds",
            "n": len(hops),
            **grouped,
            "mae_eV": grouped["mae_eV"][0],
            **{protocol: by_protocol[protocol] for protocol in PROTOCOLS if protocol != "grouped"},
        },
        "command": "python -m benchmarks.physics_fed --data DIR --ship",
        "licence": "MIT",
    }


if __name__ == "__main__":
    main()
