"""Our CHGNet NEB labels against published DFT-NEB barriers of the same material and path.

    python -m benchmarks.neb_labels_vs_dft --data DIR [--pairs FILE]
    ionbridge label neb FILE --calculator sevennet --out OTHER --max-atoms 200
    python -m benchmarks.neb_labels_vs_dft --data DIR --other OTHER

A label and a published hop are a pair when host framework, working ion and family agree, the host
is as full of the ion, and the path is the same: straight distances agree, and so do the
bond-valence barriers, computed in the same way on both (several paths of a tavorite have one
length). Each is used once, the nearest first. The differences are the error of the method together
with those of functional, magnetism and cell; the method's error is part of the uncertainty of every
label. --pairs writes the paired labels, so that another potential can relax the same bands in the
same cells; --other sets its labels beside them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.checkpoint import sha256
from ionbridge.models.metrics import bootstrap, mae, paired_bootstrap, spearman
from ionbridge.models.transforms import LogShift
from ionbridge.screening.labelling.bands.neb_labels import read_rows
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.io.reading import hop_from_json, write_json_lines
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import neb_barriers

LABELS = Path(__file__).parents[1] / "screening" / "data" / "starter_hops_neb.jsonl.gz"
RESULT = Path(__file__).parent / "results" / "neb_labels_vs_dft.json"
MAX_LENGTH_DIFFERENCE = 0.06
"""Of the straight distance: relaxed cells differ by some per cent."""
MAX_BVSE_DIFFERENCE = 0.5
"""Of ln(barrier + 0.1 eV): 40 per cent either way."""
MAX_CONTENT_DIFFERENCE = 0.15


def ion_content(hop: Hop) -> float:
    """Working ions for each other atom of the host, the moving one included."""
    ions = sum(site.get(hop.working_ion, 0.0) for site in hop.host_species) + 1
    return ions / (len(hop.host_species) + 1 - ions)


def starter_pairs(data: Path) -> list[tuple[Hop, Hop, float]]:
    """The pairs of the starter set."""
    labels = [hop_from_json(row) for row in read_rows(LABELS) if row["status"] == "ok"]
    published = neb_barriers.load(data).records
    return pairs(labels, [hop for hop in published if not neb_barriers.is_implausible(hop)])


def pairs(labels: list[Hop], published: list[Hop]) -> list[tuple[Hop, Hop, float]]:
    """(label, published hop, difference of their paths from 0 to 2), each used at most once."""
    possible = []
    for label in labels:
        for hop in published:
            same = (
                label.working_ion == hop.working_ion
                and label.framework == hop.framework
                and canonical_family(label.family) == canonical_family(hop.family)
                and abs(ion_content(label) / ion_content(hop) - 1) < MAX_CONTENT_DIFFERENCE
            )
            length = abs(label.distance_A / hop.distance_A - 1) / MAX_LENGTH_DIFFERENCE
            if same and length < 1:
                bvse = bond_valence_difference(label, hop) / MAX_BVSE_DIFFERENCE
                if bvse < 1:
                    possible.append((length + bvse, label.id, hop.id, label, hop))
    found: list[tuple[Hop, Hop, float]] = []
    for gap, _, _, label, hop in sorted(possible, key=lambda p: p[:3]):
        if all(hop.id != h.id and label.id != own.id for own, h, _ in found):
            found.append((label, hop, gap))
    return found


def bond_valence_difference(label: Hop, hop: Hop) -> float:
    """How far the bond-valence barriers are apart on the logarithmic scale of barriers."""
    ours = float(label.extra["bvse_barrier_eV"])
    theirs = max(profiled(hop).extra.get("bvse_profile_eV", [np.inf]))
    both = LogShift().forward(np.array([ours, theirs]))
    return float(abs(both[0] - both[1]))


def scaled_out(
    ours: NDArray[np.float64], dft: NDArray[np.float64], groups: list[str]
) -> NDArray[np.float64]:
    """Labels divided by the median softening of all other frameworks."""
    own = np.array(groups)
    return np.array([v / np.median((ours / dft)[own != g]) for v, g in zip(ours, own, strict=True)])


def beside(
    file: Path,
    found: Sequence[tuple[Hop, Hop, float]],
    score: Callable[[NDArray[np.float64]], dict[str, Any]],
) -> dict[str, Any]:
    """What another potential's bands are off, and what they change, on all pairs."""
    rows = {row["id"]: row for row in read_rows(file) if row["status"] == "ok"}
    (calculator,) = {row["calculator"] for row in rows.values()}
    theirs = np.array([rows[label.id]["barrier_eV"] for label, _, _ in found], dtype=float)
    ours = np.array([label.barrier_eV for label, _, _ in found], dtype=float)
    dft = np.array([hop.barrier_eV for _, hop, _ in found], dtype=float)
    groups = [hop.framework for _, hop, _ in found]
    gap = paired_bootstrap(dft, theirs, ours, groups=groups)
    seconds, calls = (
        np.median([rows[label.id][key] for label, _, _ in found])
        for key in ("cpu_s", "n_force_calls")
    )
    return {
        f"{calculator}_neb": score(theirs)
        | {
            "minus_chgnet_mae_eV": [round(v, 3) for v in (gap.value, gap.lower, gap.upper)],
            "barriers_eV": {label.id: rows[label.id]["barrier_eV"] for label, _, _ in found},
            "cpu_s_a_hop_median": round(float(seconds), 1),
            "force_calls_a_hop_median": round(float(calls)),
        }
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--pairs", type=Path, help="write the paired labels to this file")
    parser.add_argument("--other", type=Path, help="the same hops as another potential labels them")
    args = parser.parse_args()
    rows = read_rows(LABELS)
    labels = [hop_from_json(row) for row in rows if row["status"] == "ok"]
    found = starter_pairs(args.data)
    if args.pairs:
        write_json_lines(args.pairs, [label for label, _, _ in found])
    ours = np.array([label.barrier_eV for label, _, _ in found], dtype=float)
    dft = np.array([hop.barrier_eV for _, hop, _ in found], dtype=float)
    bvse = np.array([label.extra["bvse_barrier_eV"] for label, _, _ in found], dtype=float)
    groups = [hop.framework for _, hop, _ in found]

    def score(values: Any) -> dict[str, Any]:
        error = bootstrap(mae, dft, values, groups=groups)
        found = {
            "mae_eV": [round(v, 3) for v in (error.value, error.lower, error.upper)],
            "mean_difference_eV": round(float(np.mean(values - dft)), 3),
        }
        if np.ptp(values) > 0:
            ranks = bootstrap(spearman, dft, values, groups=groups)
            found["spearman"] = [round(v, 3) for v in (ranks.value, ranks.lower, ranks.upper)]
        return found

    softening = float(np.sum(ours * dft) / np.sum(dft * dft))
    calls = np.array([row["n_force_calls"] for row in rows], dtype=float)
    seconds = np.array([row["cpu_s"] for row in rows], dtype=float)
    result = {
        "n_labels": len(labels),
        "families": dict(Counter(str(label.family) for label in labels)),
        "ions": dict(Counter(label.working_ion for label in labels)),
        "n_pairs": len(found),
        "n_frameworks": len(set(groups)),
        "labels_sha256": sha256(LABELS),
        "data_sha256": sha256(args.data / neb_barriers.HOPS_FILE),
        "chgnet_neb": score(ours),
        "chgnet_neb_divided_by_softening": score(scaled_out(ours, dft, groups)),
        "median_of_dft": score(np.full(len(dft), np.median(dft))),
        "bond_valence": score(bvse),
        "softening": round(softening, 3),
        "median_ratio": round(float(np.median(ours / dft)), 3),
        "cpu_s_a_hop_median": round(float(np.median(seconds)), 1),
        "force_calls_a_hop_median": round(float(np.median(calls))),
        **(beside(args.other, found, score) if args.other else {}),
        "pairs": [
            {
                "label": label.id,
                "published": hop.extra.get("sys_name"),
                "length_A": [round(label.distance_A, 2), round(hop.distance_A, 2)],
                "chgnet_eV": label.barrier_eV,
                "dft_eV": hop.barrier_eV,
            }
            for label, hop, _ in found
        ],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
