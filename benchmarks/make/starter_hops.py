"""Make the starter hops: bond-valence barriers of the shortest hops of the reference crystals.

    python -m benchmarks.make.starter_hops [--out FILE]

The same code gives the same bytes. What is left out is counted on the screen.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ionbridge.screening.campaign.starter import BVSE_HOPS_FILE, starter_crystals
from ionbridge.screening.labelling.bands.bvse import bvse_label
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import write_json_lines
from ionbridge.structures.records import Crystal, Hop, UnusableStructureError
from ionbridge.structures.sources.bvse_barriers import HIGHEST_BARRIER_EV

OUT = Path(__file__).parents[2] / "screening" / "data" / BVSE_HOPS_FILE
MOST_HOPS = 6
"""Hops of one crystal, the shortest first."""
MOST_ATOMS = 350
"""Larger hosts would fill the file."""
COORDINATE_DECIMALS, ENERGY_DECIMALS = 5, 4


def labelled(crystal: Crystal, left_out: Counter[str]) -> Iterator[Hop]:
    for hop in find_hops(crystal).hops[:MOST_HOPS]:
        if len(hop.host_species) > MOST_ATOMS:
            left_out[f"more than {MOST_ATOMS} host atoms"] += 1
            continue
        try:
            label = bvse_label(hop)
        except UnusableStructureError as error:
            left_out[str(error).removeprefix(f"{hop.id}: ")] += 1
            continue
        assert label.barrier_eV is not None
        if label.barrier_eV > HIGHEST_BARRIER_EV:
            left_out[f"barrier above {HIGHEST_BARRIER_EV:g} eV"] += 1
            continue
        yield rounded(with_provenance(label, crystal))


def with_provenance(hop: Hop, crystal: Crystal) -> Hop:
    provenance = {
        "source": f"prototype:{crystal.id}",
        "reference": crystal.extra["reference"],
        "parameters": f"softBV of bvlain {version('bvlain')}; path relaxed, host rigid and without "
        "other working ions",
    }
    return replace(hop, extra={**hop.extra, **provenance})


def rounded(hop: Hop) -> Hop:
    """Digits that nobody needs are most of a compressed file."""
    profile = np.round(hop.extra["bvse_profile_eV"], ENERGY_DECIMALS) + 0.0
    return replace(
        hop,
        lattice=np.round(hop.lattice, COORDINATE_DECIMALS),
        host_frac=np.round(hop.host_frac, COORDINATE_DECIMALS),
        path_frac=np.round(hop.path_frac, COORDINATE_DECIMALS),
        barrier_eV=round(float(profile.max() - profile[0]), ENERGY_DECIMALS),
        barrier_backward_eV=round(float(profile.max() - profile[-1]), ENERGY_DECIMALS),
        extra={**hop.extra, "bvse_profile_eV": profile.tolist()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    left_out: Counter[str] = Counter()
    hops = [hop for crystal in starter_crystals() for hop in labelled(crystal, left_out)]
    write_json_lines(args.out, hops)
    print(f"wrote {len(hops)} hops of {len({h.extra['source'] for h in hops})} crystals")
    for reason, count in left_out.items():
        print(f"left out {count}: {reason}")


if __name__ == "__main__":
    main()
