"""A real campaign over the Li crystals of the Materials Project pool, run to the end.

    python -m benchmarks.pool_campaign --data DIR --work DIR [--model NAME|DIR] [--workers N]

The campaign lies in the work folder and is resumed there. Written to
benchmarks/results/pool_campaign.json: settings, counts by status and reason, rate, and where
well-known fast conductors stand in the ranking by conductivity.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ionbridge import Campaign
from ionbridge.models.checkpoint import sha256
from ionbridge.structures.io.reading import iter_records, write_json_lines
from ionbridge.structures.records import Crystal
from ionbridge.structures.sources import materials_project

RESULT = Path(__file__).parent / "results" / "pool_campaign.json"
FAST_CONDUCTORS: Mapping[str, str] = {
    "Li10Ge(PS6)2": "LGPS",
    "Li6PS5Cl": "argyrodite",
    "Li7P3S11": "Li7P3S11",
    "Li3PS4": "thio-LISICON and beta-Li3PS4",
    "Li7La3Zr2O12": "garnet",
    "Li5La3Ta2O12": "garnet",
    "Li3YCl6": "halide",
    "Li3InCl6": "halide",
    "LiTi2(PO4)3": "NASICON",
    "LiGe2(PO4)3": "NASICON",
    "Li3N": "layered nitride",
    "Li3ClO": "antiperovskite",
    "Li6PS5Br": "argyrodite",
    "Li6PS5I": "argyrodite",
    "Li10Sn(PS6)2": "LGPS type",
    "Li10Si(PS6)2": "LGPS type",
}
"""Reduced formulas of well-known fast conductors (Bachman et al., Chem. Rev. 116, 140 (2016))."""


def standing(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Where the best polymorph of every fast conductor stands, among all and electrolytes."""
    usable = rows[rows["status"] == "ok"].copy()
    value = "log10_conductivity_S_cm"
    usable["place"] = usable[value].rank(ascending=False, method="min")
    electrolytes = usable["role"] == "electrolyte"
    usable.loc[electrolytes, "place_electrolytes"] = usable.loc[electrolytes, value].rank(
        ascending=False, method="min"
    )
    result = []
    for formula, kind in FAST_CONDUCTORS.items():
        own = usable[usable["formula"] == formula].sort_values("place")
        if own.empty:
            continue
        best = own.iloc[0]
        among = best["place_electrolytes"]
        result.append(
            {
                "formula": formula,
                "kind": kind,
                "candidate_id": best["candidate_id"],
                "n_polymorphs": len(own),
                value: round(float(best[value]), 2),
                "log10_conductivity_std": round(float(best["log10_conductivity_std"]), 2),
                "percolation_barrier_eV": round(float(best["percolation_barrier_eV"]), 3),
                "percolation_dimensionality": int(best["percolation_dimensionality"]),
                "place_of_all": int(best["place"]),
                "top_percent_of_all": round(100 * float(best["place"]) / len(usable), 1),
                "place_of_electrolytes": None if np.isnan(among) else int(among),
                "top_percent_of_electrolytes": None
                if np.isnan(among)
                else round(100 * float(among) / int(electrolytes.sum()), 1),
            }
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the campaign")
    parser.add_argument("--model", default=None)
    parser.add_argument("--workers", type=int, default=None)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    pool = args.data / materials_project.POOL_FILE
    crystals = args.work / "li_crystals.jsonl.gz"
    if not crystals.exists():
        records = iter_records(pool)
        write_json_lines(
            crystals,
            (r for r in records if isinstance(r, Crystal) and r.occupancy("Li").any()),
        )
    settings: dict[str, Any] = {
        "name": "li-pool",
        "working_ions": ["Li"],
        "candidates": {"files": [crystals.name]},
        "objectives": [{"column": "log10_conductivity_S_cm", "goal": "max"}],
        "rank_by": "mean",
    }
    if args.model:
        settings["model"] = args.model
    path = args.work / "campaign.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    out = args.work / "campaign"
    campaign = Campaign.from_yaml(path).run(
        out, resume=(out / "campaign.json").exists(), workers=args.workers
    )
    record = json.loads((out / "campaign.json").read_text(encoding="utf-8"))
    rows = campaign.results
    usable = rows[rows["status"] == "ok"]
    result = {
        "data_sha256": sha256(pool),
        "n_candidates": len(rows),
        "settings": settings,
        **{k: record[k] for k in ("model", "versions", "seeds", "counts", "reasons")},
        **{k: record[k] for k in ("n_workers", "crystals_per_s", "timings_s")},
        "n_predicted_in_the_timed_run": record["n_predicted_in_this_run"],
        "roles": usable["role"].value_counts().to_dict(),
        "families": usable["family"].value_counts().to_dict(),
        "dimensionality": usable["percolation_dimensionality"].value_counts().to_dict(),
        "in_domain": usable["in_domain"].astype(str).value_counts().to_dict(),
        "fast_conductors": standing(rows),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
