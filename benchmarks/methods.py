"""Cheap labels beside few DFT labels: left aside, pooled blindly, or learnt from with a flag.

    python -m benchmarks.methods --data DIR --work DIR

The published hops in five folds grouped by host framework, three draws of the folds. A share of the
training frameworks keeps its DFT barriers; all training frameworks have the barriers of one cheap
method: relaxed bands by MACE (of the data set), relaxed bands by CHGNet (197 hops), CHGNet energies
of the rigid host. DFT barriers of the test frameworks are predicted from path scalars by

- a process on the DFT labels alone, and extra trees on them (path and composition);
- pooled: the same process on all labels as if they were of one method;
- flagged: ionbridge.models.adaptation.method_process;
- translated: all labels moved onto the DFT footing by it, then pooled, as fine-tuning does;
- flagged, band at hand: the cheap label of the test hop itself is known as well.

The form of the discrepancy was chosen among four on the first two draws; the third had no part in
it. Every (draw, share, way) is a line in WORK/methods.jsonl; what is there is not computed again.
Writes benchmarks/results/methods.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.json_lines import read
from benchmarks.make.potential_hops import SHIPPED
from benchmarks.shipped_hop_barrier import seen
from ionbridge.models.adaptation.method_process import MethodProcess
from ionbridge.models.barriers.hop_barrier import TARGET, Inputs
from ionbridge.models.checkpoint import sha256
from ionbridge.models.metrics import mae, paired_bootstrap, spearman
from ionbridge.models.regressors.gaussian_process import PathProcess
from ionbridge.models.regressors.trees import Forest
from ionbridge.structures.features.splits import GroupedKFold
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import neb_barriers

RESULT = Path(__file__).parent / "results" / "methods.json"
SHARES = (0.1, 0.25, 0.5)
SEEDS = (0, 1, 2)
N_FOLDS = 5
DFT, CHEAP = "dft_neb", "cheap"
N_TREES, MIN_LEAF, MAX_FEATURES = 120, 2, 0.3
HIGHEST_EV = 6.0
BAND = "MACE band"
ALONE, TREES = "process, DFT alone", "extra trees, DFT alone"
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Table:
    """All hops.

    Attributes:
        frameworks: (n,) host frameworks.
        inputs: What is known of the hops.
        dft: (n,) DFT barriers in the space of TARGET.
        cheap: (n,) barriers of each cheap method in the same space, NaN where there is none.
    """

    frameworks: NDArray[np.str_]
    inputs: Inputs
    dft: Floats
    cheap: Mapping[str, Floats]


def cheap_labels(hops: Sequence[Hop], inputs: Inputs) -> dict[str, Floats]:
    """(n,) labels of each cheap method, in the space of TARGET."""
    with gzip.open(SHIPPED["neb"], "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    bands = {row["id"]: row["relaxed_eV"] for row in rows if "relaxed_eV" in row}
    relaxed = [
        max(bands[h.id]) - 0.5 * (bands[h.id][0] + bands[h.id][-1]) if h.id in bands else np.nan
        for h in hops
    ]
    mace = [float(hop.extra.get("mace_relax_eV") or np.nan) for hop in hops]
    return {
        BAND: TARGET.forward(np.minimum(mace, HIGHEST_EV)),
        "CHGNet band": TARGET.forward(np.array(relaxed)),
        "CHGNet, rigid host": inputs.view[:, 0],
    }


def predictions(table: Table, seed: int, share: float, way: str) -> Floats:
    """(n,) out-of-fold barriers, eV."""
    found = np.zeros(len(table.dft))
    for train, few, test in parts(table.frameworks, seed, share):
        found[test] = one_fold(table, way, train, few, test)
    return TARGET.inverse(found)


def parts(frameworks: NDArray[np.str_], seed: int, share: float) -> Iterator[tuple[Rows, ...]]:
    """Training hops, those of them with a DFT label, and test hops."""
    records = list(enumerate(frameworks))
    for fold in GroupedKFold(N_FOLDS, seed, lambda record: str(record[1])).split(records):
        names = np.unique(frameworks[fold.train])
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(names)[: max(2, round(share * len(names)))]
        few = fold.train[np.isin(frameworks[fold.train], chosen)]
        yield fold.train, few, fold.test


def one_fold(table: Table, way: str, train: Rows, few: Rows, test: Rows) -> Floats:
    x, known, y = table.inputs.scalars, table.inputs.known, table.dft
    if way == TREES:
        forest = Forest.grown(known[few], y[few], N_TREES, MIN_LEAF, MAX_FEATURES, 0)
        return forest.predict(known[test]).mean(axis=0)
    if way == ALONE:
        return PathProcess(x[few], y[few]).predict(x[test])[0]
    method, how = way.split(": ")
    z = table.cheap[method]
    own = train if how != "flagged, band at hand" else np.concatenate([train, test])
    own = own[np.isfinite(z[own])]
    rows, labels = np.concatenate([x[few], x[own]]), np.concatenate([y[few], z[own]])
    if how != "pooled":
        process = MethodProcess.fit(rows, labels, [DFT] * len(few) + [CHEAP] * len(own))
        if how != "translated":
            return process.predict(x[test], DFT)[0]
        labels = process.translated(DFT)
    return PathProcess(rows, labels).predict(x[test])[0]


def ways(methods: Sequence[str]) -> list[str]:
    each = [f"{m}: {how}" for m in methods for how in ("pooled", "flagged", "translated")]
    return [ALONE, TREES, *each, f"{BAND}: flagged, band at hand"]


def summary(table: Table, found: dict[tuple[int, float, str], Floats]) -> dict[str, Any]:
    true = TARGET.inverse(table.dft)
    result: dict[str, Any] = {}
    for share in SHARES:
        entry: dict[str, Any] = {}
        for way in ways(list(table.cheap)):
            each = [found[seed, share, way] for seed in SEEDS]
            errors = [mae(true, values) for values in each]
            entry[way] = {
                "mae_eV": round(float(np.mean(errors)), 3),
                "mae_by_seed_eV": [round(v, 3) for v in errors],
                "spearman": round(float(np.mean([spearman(true, v) for v in each])), 3),
            }
            for name, rival in (("dft_alone", ALONE), ("pooled", f"{way.split(':')[0]}: pooled")):
                if way != rival and rival in ways(list(table.cheap)):
                    rivals = [found[seed, share, rival] for seed in SEEDS]
                    gap = paired_bootstrap(
                        np.tile(true, len(SEEDS)),
                        np.concatenate(each),
                        np.concatenate(rivals),
                        groups=np.tile(table.frameworks, len(SEEDS)).tolist(),
                    )
                    entry[way][f"mae_minus_{name}_eV"] = [
                        round(v, 3) for v in (gap.value, gap.lower, gap.upper)
                    ]
        result[f"{100 * share:g} %"] = entry
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--work", type=Path, default=Path("results/methods"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    hops = seen(neb_barriers.load(args.data).records)
    inputs = Inputs.of(hops)
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    table = Table(
        np.array([hop.framework for hop in hops]),
        inputs,
        TARGET.forward(barrier),
        cheap_labels(hops, inputs),
    )
    file = args.work / "methods.jsonl"
    found = {
        (row["seed"], row["share"], row["way"]): np.array(row["barrier_eV"]) for row in read(file)
    }
    for seed in SEEDS:
        for share in SHARES:
            for way in ways(list(table.cheap)):
                if (seed, share, way) in found:
                    continue
                values = np.round(predictions(table, seed, share, way), 4)
                found[seed, share, way] = values
                row = {"seed": seed, "share": share, "way": way, "barrier_eV": values.tolist()}
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
    shares = summary(table, found)
    out = {
        "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
        "n": len(hops),
        "n_folds": N_FOLDS,
        "seeds": list(SEEDS),
        "cheap": {
            name: {
                "n": int(np.isfinite(z).sum()),
                "mean_log_ratio": round(float(np.nanmean(z - table.dft)), 3),
                "spearman": round(spearman(table.dft[np.isfinite(z)], z[np.isfinite(z)]), 3),
            }
            for name, z in table.cheap.items()
        },
        "shares": shares,
    }
    for name, entries in shares.items():
        for way, entry in entries.items():
            print(name, f"{way:40s}", entry, flush=True)
    RESULT.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
