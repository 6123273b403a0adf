"""Migration barriers of real DFT-NEB hops: our networks and the baselines, same rows, same splits.

    python -m benchmarks.hop_barriers --data DIR --base ENCODER [--protocol P ...] [--model M ...]

Every (protocol, model) pair is one JSON file in benchmarks/results/hop_barriers with its
out-of-fold predictions; pairs that are there are not run again. The table is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.protocols import LeaveFamilyAndIonOut, LeaveFamilyOut, LeaveIonOut
from ionbridge.models.adaptation.barriers import Base, ensemble_config
from ionbridge.models.checkpoint import sha256
from ionbridge.models.cross_validation import cross_val_predict
from ionbridge.models.hop_networks.ensemble import HopEnsemble
from ionbridge.models.hop_networks.finetuning import FINE_TUNINGS, FromScratch
from ionbridge.models.metrics import bootstrap, mae, paired_bootstrap, r2, spearman
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.baselines import BASELINES
from ionbridge.structures.features.splits import GroupedKFold, RandomKFold, Split
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import neb_barriers

RESULTS = Path(__file__).parent / "results" / "hop_barriers"
PROTOCOLS: dict[str, Any] = {
    "grouped": GroupedKFold(n_folds=10),
    "leave-family-out": LeaveFamilyOut(),
    "leave-ion-out": LeaveIonOut(),
    "leave-family-and-ion-out": LeaveFamilyAndIonOut(),
    "random": RandomKFold(n_folds=10),
}
"""``random`` is how published test sets are drawn: it says what to expect there, of nothing new."""
MODELS = (*BASELINES, *(f"{kind}-{name}" for kind in ("network", "mixed") for name in FINE_TUNINGS))
"""``network``: the ensemble of networks alone; ``mixed``: averaged with the Gaussian process."""
UP_TO_EV = 2.0
N_PROCESSES = 2


def maker(name: str, base: Base, n_labels: int, seed: int, n_members: int) -> Callable[[], Any]:
    if name in BASELINES:
        return BASELINES[name]
    kind, chosen = name.split("-")
    strategy = FINE_TUNINGS[chosen]()
    config = ensemble_config(base, strategy, n_labels, seed, n_members, "cpu")
    if kind == "network":
        config = replace(config, process_weight=0.0)
    weights = () if isinstance(strategy, FromScratch) else base.weights
    return lambda: HopEnsemble(config, weights)


def run_folds(
    name: str,
    base: Base,
    seed: int,
    n_members: int,
    hops: list[Hop],
    barrier: NDArray[np.float64],
    folds: list[Split],
) -> Prediction:
    return cross_val_predict(maker(name, base, len(hops), seed, n_members), hops, barrier, folds)


def run(
    protocol: str, name: str, hops: list[Hop], base: Base, seed: int, n_members: int
) -> dict[str, Any]:
    folds = list(PROTOCOLS[protocol].split(hops))
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    started = time.perf_counter()
    setting = name, base, seed, n_members, hops, barrier
    with ProcessPoolExecutor(N_PROCESSES, mp_context=get_context("fork")) as pool:
        tasks = [
            pool.submit(run_folds, *setting, folds[k::N_PROCESSES]) for k in range(N_PROCESSES)
        ]
        parts = [task.result() for task in tasks]  # each is zero where it has no fold
    prediction = Prediction(
        *(sum(getattr(p, f) for p in parts) for f in ("mean", "aleatoric_std", "epistemic_std"))
    )
    return {
        "protocol": protocol,
        "model": name,
        "seed": seed,
        "n_members": n_members,
        "seconds": round(time.perf_counter() - started),
        "n": len(hops),
        "ids": [hop.id for hop in hops],
        "mean_eV": np.round(prediction.mean, 4).tolist(),
        "aleatoric_std_eV": np.round(prediction.aleatoric_std, 4).tolist(),
        "epistemic_std_eV": np.round(prediction.epistemic_std, 4).tolist(),
    }


def scores(barrier: NDArray[np.float64], prediction: Prediction, hops: list[Hop]) -> dict[str, Any]:
    groups = [hop.framework for hop in hops]
    low = barrier <= UP_TO_EV
    sound = np.array([not neb_barriers.is_implausible(hop) for hop in hops])
    error = bootstrap(mae, barrier, prediction.mean, groups=groups)
    families = np.array([canonical_family(hop.family) for hop in hops])
    within = [
        spearman(barrier[families == f], prediction.mean[families == f])
        for f in np.unique(families)
        if (families == f).sum() >= 8 and np.ptp(prediction.mean[families == f]) > 0
    ]
    return {
        "mae_eV": [round(v, 3) for v in (error.value, error.lower, error.upper)],
        "r2": round(r2(barrier, prediction.mean), 3),
        "spearman": round(spearman(barrier, prediction.mean), 3),
        "mae_up_to_2_eV": round(mae(barrier[low], prediction.mean[low]), 3),
        "mae_without_implausible_rows_eV": round(mae(barrier[sound], prediction.mean[sound]), 3),
        "spearman_within_families": round(float(np.mean(within)), 3) if within else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--base", default="hop-encoder", help="encoder name or folder")
    parser.add_argument("--protocol", nargs="*", default=["grouped", "leave-family-out"])
    parser.add_argument("--model", nargs="*", default=list(MODELS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--members", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    hops = list(neb_barriers.load(args.data).records)
    base = Base.of(args.base)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for protocol in args.protocol:
        for name in args.model:
            path = RESULTS / f"{protocol}.{name}.json"
            if not path.exists():
                result = run(protocol, name, hops, base, args.seed, args.members)
                path.write_text(json.dumps(result) + "\n", encoding="utf-8")
            print(f"{protocol} {name} done", flush=True)
    table(hops, sha256(args.data / neb_barriers.HOPS_FILE))


def table(hops: list[Hop], checksum: str) -> None:
    """Print and store every score, and the paired difference to the trees and family mean."""
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    groups = [hop.framework for hop in hops]
    summary: dict[str, Any] = {}
    for path in sorted(RESULTS.glob("*.*.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        prediction = Prediction(
            stored["mean_eV"], stored["aleatoric_std_eV"], stored["epistemic_std_eV"]
        )
        entry = scores(barrier, prediction, hops)
        for rival in ("trees", "family_mean"):
            other = RESULTS / f"{stored['protocol']}.{rival}.json"
            if other.exists() and rival != stored["model"]:
                theirs = np.array(json.loads(other.read_text(encoding="utf-8"))["mean_eV"])
                gap = paired_bootstrap(barrier, prediction.mean, theirs, groups=groups)
                entry[f"mae_minus_{rival}_eV"] = [
                    round(v, 3) for v in (gap.value, gap.lower, gap.upper)
                ]
        entry |= {k: stored[k] for k in ("seed", "n_members", "seconds")}
        summary.setdefault(stored["protocol"], {})[stored["model"]] = entry
        print(f"{stored['protocol']:18s} {stored['model']:18s} {entry}")
    text = json.dumps({"n": len(hops), "data_sha256": checksum, **summary}, indent=1)
    (RESULTS.parent / "hop_barriers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
