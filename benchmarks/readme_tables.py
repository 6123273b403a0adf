"""Fill the README's tables from benchmarks/results: ``python -m benchmarks.readme_tables``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MODEL_NAMES = {
    "global_mean": "global mean",
    "family_mean": "family and ion mean",
    "trees": "extra trees, path + composition",
    "bond_valence": "bond-valence barrier, calibrated",
    "gaussian_process": "Gaussian process on path scalars",
    "network-scratch": "network, from scratch",
    "network-frozen": "network, pretrained, host frozen",
    "mixed-frozen": "**shipped recipe** (one member): pretrained network + Gaussian process",
}


def hop_barriers(result: dict[str, Any]) -> str:
    protocols = [p for p in ("grouped", "leave-family-out", "leave-ion-out") if p in result]
    lines = [
        f"Migration barriers of {result['n']} DFT-NEB hops, out of fold: MAE in eV [95 % bootstrap "
        "over host frameworks] / Spearman. `grouped` keeps host frameworks together, "
        "`leave-family-out` and `leave-ion-out` hold out whole families and ions "
        "(`python -m benchmarks.hop_barriers`).",
        "",
        "| model | " + " | ".join(protocols) + " |",
        "|---|" + "---|" * len(protocols),
    ]
    for name, title in MODEL_NAMES.items():
        cells = []
        for protocol in protocols:
            entry = result[protocol].get(name)
            if entry is None:
                cells.append("")
                continue
            value, low, high = entry["mae_eV"]
            cells.append(f"{value:.3f} [{low:.2f}, {high:.2f}] / {entry['spearman']:.2f}")
        if any(cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pool_campaign(result: dict[str, Any]) -> str:
    counts = result["counts"]
    share = 100.0 * counts.get("failed", 0) / result["n_candidates"]
    return (
        f"The {result['n_candidates']:,} Li crystals of the Materials Project pool, screened to "
        f"the end on {result['n_workers']} CPU cores: {result['crystals_per_s']:.1f} crystals/s, "
        f"{counts['ok']:,} with a result, {share:.1f} % without, each with a reason "
        "(`python -m benchmarks.pool_campaign`)."
    )


def bvse_agreement(result: dict[str, Any]) -> str:
    summary = result["summary"]
    return (
        "Bond-valence percolation barriers agree with `bvlain` within 0.1 eV on "
        f"{summary['n_crystals_within_0.1_eV']} of {summary['n_crystals']} crystals, at "
        f"{summary['speed_ratio_total']:.0f} times its speed in the same run "
        "(`python -m benchmarks.bvse_agreement`)."
    )


def conductivity(result: dict[str, Any]) -> str:
    names = {
        "global_mean": "global mean",
        "trees_composition": "extra trees, composition",
        "shipped": "**shipped**: extra trees, composition + space group + cell",
    }
    ions = [ion for ion in ("Li", "Na") if ion in result["grouped_by_paper"]]
    lines = [
        "Room-temperature conductivity from a table row, out of fold and grouped by paper: MAE in "
        "decades [95 % bootstrap over papers] / Spearman "
        "(`python -m benchmarks.conductivity`; nearly all Na rows are NASICON).",
        "",
        "| model | " + " | ".join(f"{ion}, {result['n'][ion]} rows" for ion in ions) + " |",
        "|---|" + "---|" * len(ions),
    ]
    for name, title in names.items():
        cells = []
        for ion in ions:
            entry = result["grouped_by_paper"][ion][name]
            value, low, high = entry["mae"]
            cells.append(f"{value:.2f} [{low:.2f}, {high:.2f}] / {entry['spearman'][0]:.2f}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "hop_barriers": hop_barriers,
    "conductivity": conductivity,
    "pool_campaign": pool_campaign,
    "bvse_agreement": bvse_agreement,
}


def filled(text: str) -> str:
    """The README with every table that has a result made anew."""
    for name, make in TABLES.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        table = make(json.loads(path.read_text(encoding="utf-8")))
        pattern = rf"(<!-- table:{name} -->\n).*?(<!-- /table:{name} -->)"
        text = re.sub(pattern, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.S)
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
