"""Labels needed until 8 of the 10 lowest host frameworks are found, by how labels are chosen.

    python -m benchmarks.acquisition --data DIR

Replay on the real DFT-NEB hops, implausible rows left out: barriers are hidden until asked for. A
framework counts as found when its lowest hop (`strict`), or any of its hops (`any hop`), has its
label. The first batch is chosen at random, or by the bond-valence barrier, which needs no label;
after it a Gaussian process on the path scalars is fitted to the labels so far, and says what next.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.checkpoint import sha256
from ionbridge.models.regressors.gaussian_process import CLIP, PathProcess, path_scalars
from ionbridge.models.transforms import LogShift
from ionbridge.screening.campaign.acquisition import ACQUISITIONS, choose
from ionbridge.structures.sources import neb_barriers

RESULTS = Path(__file__).parent / "results" / "acquisition.json"
N_LOWEST, N_WANTED, N_SEEDS, BATCH, N_FIRST = 10, 8, 20, 8, 16
TRANSFORM = LogShift(0.05)
Floats = NDArray[np.float64]


def n_labels(asked: list[int], wanted: list[set[int]]) -> int:
    """How many labels were asked for when N_WANTED of the wanted sets had one in it."""
    place = {row: i + 1 for i, row in enumerate(asked)}
    found = sorted(
        min((place[row] for row in rows if row in place), default=10**9) for rows in wanted
    )
    return found[N_WANTED - 1]


def replay(
    inputs: Floats,
    barrier: Floats,
    framework: NDArray[Any],
    acquisition: str,
    first: str,
    seed: int,
    wanted: list[set[int]],
) -> list[int]:
    """Rows in the order in which their labels were asked for, until enough is found."""
    random = np.random.default_rng(seed)
    utility = -TRANSFORM.forward(barrier)
    points = np.clip((inputs - inputs.mean(0)) / (inputs.std(0) + 1e-6), -CLIP, CLIP)
    n = len(barrier)
    if acquisition == "random":
        return list(random.permutation(n))
    if first == "random":
        asked = list(random.permutation(n)[:N_FIRST])
    else:
        physics = -TRANSFORM.forward(inputs[:, 0] + np.abs(inputs[:, 1]) / 2)
        jitter = random.normal(0.0, 0.1, n)
        asked = choose(physics + jitter, np.full(n, 0.5), points, N_FIRST, "greedy")
    while n_labels(asked, wanted) > n:
        rest = np.setdiff1d(np.arange(n), asked)
        mean, std = PathProcess(inputs[asked], utility[asked]).predict(inputs[rest])
        best = [
            utility[[i for i in asked if framework[i] == f]].max()
            for f in np.unique(framework[asked])
        ]
        threshold = float(np.sort(best)[::-1][min(N_LOWEST, len(best)) - 1])
        asked += [
            int(rest[i]) for i in choose(mean, std, points[rest], BATCH, acquisition, threshold)
        ]
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    data = parser.parse_args().data
    hops = [h for h in neb_barriers.load(data).records if not neb_barriers.is_implausible(h)]
    inputs = path_scalars(hops)
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    framework = np.array([hop.framework for hop in hops])
    rows = {f: np.flatnonzero(framework == f) for f in np.unique(framework)}
    lowest = sorted(rows, key=lambda f: barrier[rows[f]].min())[:N_LOWEST]
    found_by = {
        "strict": [{int(rows[f][barrier[rows[f]].argmin()])} for f in lowest],
        "any hop": [set(rows[f].tolist()) for f in lowest],
    }
    result: dict[str, Any] = {
        "data_sha256": sha256(data / neb_barriers.HOPS_FILE),
        "n_hops": len(hops),
        "n_frameworks": len(rows),
        "lowest_frameworks": lowest,
        "n_seeds": N_SEEDS,
        "batch": BATCH,
        "first_batch": N_FIRST,
        "labels_needed": {},
    }
    for definition, wanted in found_by.items():
        means: dict[str, float] = {}
        for first in ("random", "bond valence"):
            for acquisition in ("random", *ACQUISITIONS):
                if acquisition == "random" and first != "random":
                    continue
                needed = [
                    n_labels(
                        replay(inputs, barrier, framework, acquisition, first, seed, wanted), wanted
                    )
                    for seed in range(N_SEEDS)
                ]
                name = acquisition if acquisition == "random" else f"{acquisition}, first {first}"
                means[name] = float(np.mean(needed))
                result["labels_needed"].setdefault(definition, {})[name] = {
                    "mean": round(means[name], 1),
                    "min": min(needed),
                    "max": max(needed),
                    "fewer_than_random": round(means["random"] / means[name], 2),
                }
                print(definition, name, result["labels_needed"][definition][name], flush=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
