"""The shipped descriptor model of hops: the source that a few labels are joined with.

    python -m benchmarks.hop_descriptors --data DIR --ship MODEL_DIR

Out-of-fold errors grouped by framework, with families and with ions left out, go into the card and
into the validation rows beside it; prints them and writes benchmarks/results/hop_descriptors.json.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.protocols import LeaveFamilyOut, LeaveIonOut
from ionbridge.models.adaptation.few_shot_barriers import SCALE, FewLabelModel
from ionbridge.models.checkpoint import sha256
from ionbridge.models.metrics import bootstrap, mae, spearman
from ionbridge.models.validation import (
    GROUPED,
    LEAVE_FAMILY_OUT,
    LEAVE_ION_OUT,
    validation_row,
    write_validation,
)
from ionbridge.structures.features.splits import GroupedKFold
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.sources import neb_barriers

RESULT = Path(__file__).parent / "results" / "hop_descriptors.json"
PROTOCOLS: dict[str, Any] = {
    GROUPED: GroupedKFold(n_folds=5),
    LEAVE_FAMILY_OUT: LeaveFamilyOut(min_size=8),
    LEAVE_ION_OUT: LeaveIonOut(min_size=8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--ship", type=Path, required=True, help="model folder to write")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    published = list(neb_barriers.load(args.data).records)
    barrier = np.array([hop.barrier_eV for hop in published], dtype=float)
    hops = [profiled(hop) for hop in published]
    groups = [hop.framework for hop in hops]
    results: dict[str, Any] = {}
    predictions = {}
    for name, protocol in PROTOCOLS.items():
        found = np.full(len(hops), np.nan)
        for fold in protocol.split(hops):
            model = FewLabelModel().fit([hops[i] for i in fold.train], barrier[fold.train])
            found[fold.test] = model.predict([hops[i] for i in fold.test]).mean
        predictions[name] = found
        error = bootstrap(mae, barrier, found, groups=groups)
        results[name] = {
            "mae_eV": [round(v, 3) for v in (error.value, error.lower, error.upper)],
            "spearman": round(spearman(barrier, found), 3),
        }
        print(name, results[name], flush=True)
    gap = SCALE.forward(barrier) - SCALE.forward(predictions[GROUPED])
    model = FewLabelModel(spread=round(float(np.quantile(np.abs(gap), 0.683)), 4))
    model.fit(hops, barrier)
    source = neb_barriers.SOURCE
    card = {
        "name": "hop-descriptors",
        "predicts": "migration barrier of a hop, eV, from numbers of its bond-valence path",
        "quantity": "migration_barrier",
        "inputs": ["hop"],
        "working_ions": sorted({hop.working_ion for hop in hops}),
        "families": sorted({canonical_family(hop.family) for hop in hops if hop.family}),
        "elements": sorted(
            {e for h in hops for s in h.host_species for e in s} | {h.working_ion for h in hops}
        ),
        "trained_on": {
            "data": [
                {
                    "name": source.title,
                    "home": source.home,
                    "citation": source.citation,
                    "licence": source.licence,
                    "n_rows": len(hops),
                }
            ],
            "n_hops": len(hops),
            "n_frameworks": len(set(groups)),
            "methods": ["dft_neb"],
        },
        "method": "mean of a Gaussian process and extra trees; holds the descriptors of all hops, "
        "so that labels of a new chemistry can be joined with them",
        "validation": {
            "split": "grouped by host framework, 5 folds",
            "n": len(hops),
            "mae_eV": results[GROUPED]["mae_eV"][0],
            "spearman": results[GROUPED]["spearman"],
            "unseen_family_mae_eV": results[LEAVE_FAMILY_OUT]["mae_eV"][0],
            "unseen_ion_mae_eV": results[LEAVE_ION_OUT]["mae_eV"][0],
        },
        "cost_s": 0.15,
        "licence": "MIT",
    }
    model.save(args.ship, card)
    for name, found in predictions.items():
        rows = [
            validation_row(h.id, canonical_family(h.family), h.working_ion, p, b)
            for h, p, b in zip(hops, found, barrier, strict=True)
        ]
        write_validation(args.ship, name, rows)
    stored = {
        "n": len(hops),
        "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
        "protocols": results,
    }
    RESULT.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
