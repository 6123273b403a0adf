"""Bond-valence percolation barriers: agreement with bvlain, and time, in one run.

    python -m benchmarks.bvse_agreement --data ../shared/data [--count 40] [--seed 0]

Same cells, oxidation states, grid (0.2 angstrom) and parameters; bvlain with its defaults (cutoff
10 angstrom, 100 nearest atoms), ours with its own (8 angstrom). Both on one thread, timed in CPU
seconds from the structure to the three barriers. Where the two differ by more than 0.1 eV, both
run again on a finer grid, which tells a coarse bottleneck from a disagreement.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from ionbridge.structures.bond_valence.bvse import bond_valence_field, landscape
from ionbridge.structures.bond_valence.softbv import ion_charge
from ionbridge.structures.chemistry.composition import oxidation_states, working_ion
from ionbridge.structures.io.reading import iter_records
from ionbridge.structures.records import Crystal, UnusableStructureError
from ionbridge.structures.sources.materials_project import POOL_FILE
from ionbridge.structures.sources.source import checksum

RESULT = Path(__file__).parent / "results" / "bvse_agreement.json"
RESOLUTION_A = 0.2
MAX_FINE_POINTS = 4e5
TOLERANCE_EV = 0.1
MAX_SITES = 80
MAX_POINTS = 1.5e5  # bvlain holds some ten arrays of 100 numbers a grid point

States = tuple[dict[str, float], ...]
Barriers = list[float]


def olivine() -> Crystal:
    structure = Structure.from_spacegroup(
        "Pnma",
        Lattice.orthorhombic(10.332, 6.010, 4.692),
        ["Li", "Fe", "P", "O", "O", "O"],
        [
            [0, 0, 0],
            [0.2822, 0.25, 0.9747],
            [0.0948, 0.25, 0.4182],
            [0.0967, 0.25, 0.7428],
            [0.4573, 0.25, 0.2060],
            [0.1656, 0.0465, 0.2848],
        ],
    )
    return Crystal.from_pymatgen(structure, "LiFePO4")


def edge_product(crystal: Crystal) -> float:
    """Product of the cell edges: grid points times the cube of the resolution."""
    return float(np.linalg.norm(crystal.lattice, axis=1).prod())


def candidates(data: Path, seed: int) -> Iterator[Crystal]:
    """LiFePO4, then Li and Na crystals of the pool in random order."""
    yield olivine()
    pool = [
        record
        for record in iter_records(data / POOL_FILE)
        if isinstance(record, Crystal)
        and record.n_sites <= MAX_SITES
        and edge_product(record) / RESOLUTION_A**3 <= MAX_POINTS
        and {"Li", "Na"} & record.composition.as_dict().keys()
    ]
    for i in np.random.default_rng(seed).permutation(len(pool)):
        yield pool[i]


def ours(crystal: Crystal, ion: str, states: States, resolution_A: float) -> Barriers:
    field = bond_valence_field(crystal, ion, states)
    return list(landscape(field, resolution_A).percolation_barriers())


def bvlains(
    crystal: Crystal, ion: str, states: States, resolution_A: float, n_nearest: int = 100
) -> Barriers:
    from bvlain import Lain

    structure = crystal.to_pymatgen()
    structure.add_oxidation_state_by_site([next(iter(s.values())) for s in states])
    lain = Lain(verbose=False)
    lain.read_structure(structure, oxi_check=False)
    lain.bvse_distribution(
        mobile_ion=f"{ion}{ion_charge(ion)}+", r_cut=10.0, resolution=resolution_A, k=n_nearest
    )
    return [float(e) for e in lain.percolation_barriers(encut=10.0).values()]


def on_one_thread() -> None:
    """Keep bvlain's neighbour search on one thread, as ours is."""
    import bvlain.core

    class OneThread(bvlain.core.cKDTree):
        def query(self, *args: Any, **kwargs: Any) -> Any:
            return super().query(*args, **{**kwargs, "workers": 1})

    bvlain.core.cKDTree = OneThread


def timed(run: Callable[[], Barriers]) -> tuple[Barriers, float]:
    start = time.process_time()
    barriers = run()
    return barriers, time.process_time() - start


def finite_difference(a: Barriers, b: Barriers) -> float:
    """Largest difference over the dimensions for which both are finite."""
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.abs(np.array(a)[both] - np.array(b)[both]).max(initial=0.0))


def compare(crystal: Crystal) -> dict[str, Any] | None:
    """One row, or None where either has no parameters for the crystal."""
    try:
        ion = working_ion(crystal)
        states = oxidation_states(crystal)
        mine, my_time = timed(lambda: ours(crystal, ion, states, RESOLUTION_A))
        theirs, their_time = timed(lambda: bvlains(crystal, ion, states, RESOLUTION_A))
    except (UnusableStructureError, KeyError):  # bvlain raises KeyError for missing parameters
        return None
    row = {
        "id": crystal.id,
        "formula": crystal.formula,
        "n_sites": crystal.n_sites,
        "volume_A3": round(crystal.volume_A3, 1),
        "barriers_eV": finite(mine),
        "bvlain_barriers_eV": finite(theirs),
        "largest_difference_eV": round(finite_difference(mine, theirs), 4),
        "both_agree_on_infinite": np.isinf(mine).tolist() == np.isinf(theirs).tolist(),
        "cpu_s": round(my_time, 4),
        "bvlain_cpu_s": round(their_time, 4),
    }
    if row["largest_difference_eV"] > TOLERANCE_EV or not row["both_agree_on_infinite"]:
        resolution_A = max(0.1, float(np.cbrt(edge_product(crystal) / MAX_FINE_POINTS)))
        fine = ours(crystal, ion, states, resolution_A)
        their_fine = bvlains(crystal, ion, states, resolution_A)
        row["fine_grid"] = {
            "resolution_A": round(resolution_A, 3),
            "barriers_eV": finite(fine),
            "bvlain_barriers_eV": finite(their_fine),
            "largest_difference_eV": round(finite_difference(fine, their_fine), 4),
        }
    return row


def finite(barriers: Barriers) -> list[float | None]:
    return [round(b, 4) if np.isfinite(b) else None for b in barriers]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    difference = np.array([r["largest_difference_eV"] for r in rows])
    ratio = np.array([r["bvlain_cpu_s"] / r["cpu_s"] for r in rows])
    both = [
        (a, b)
        for r in rows
        for a, b in zip(r["barriers_eV"], r["bvlain_barriers_eV"], strict=True)
        if a is not None and b is not None
    ]
    signed = np.array([a - b for a, b in both])
    return {
        "n_crystals": len(rows),
        "n_barriers_finite_in_both": len(both),
        "mean_difference_eV": round(float(signed.mean()), 4),
        "mean_absolute_difference_eV": round(float(np.abs(signed).mean()), 4),
        "largest_difference_eV": round(float(difference.max()), 4),
        "n_crystals_within_0.1_eV": int((difference <= TOLERANCE_EV).sum()),
        "n_crystals_infinite_in_one_only": sum(not r["both_agree_on_infinite"] for r in rows),
        "total_cpu_s": round(sum(r["cpu_s"] for r in rows), 2),
        "bvlain_total_cpu_s": round(sum(r["bvlain_cpu_s"] for r in rows), 2),
        "speed_ratio_total": round(
            sum(r["bvlain_cpu_s"] for r in rows) / sum(r["cpu_s"] for r in rows), 1
        ),
        "speed_ratio_median": round(float(np.median(ratio)), 1),
        "speed_ratio_lowest": round(float(ratio.min()), 1),
        "median_cpu_s": round(float(np.median([r["cpu_s"] for r in rows])), 4),
        "bvlain_median_cpu_s": round(float(np.median([r["bvlain_cpu_s"] for r in rows])), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--count", type=int, default=40, help="crystals to compare")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    on_one_thread()
    compare(olivine())  # warm up both
    rows: list[dict[str, Any]] = []
    n_without_parameters = 0
    for crystal in candidates(arguments.data, arguments.seed):
        row = compare(crystal)
        if row is None:
            n_without_parameters += 1
            continue
        rows.append(row)
        print(
            f"{row['formula']:20s} ours {row['barriers_eV']} bvlain {row['bvlain_barriers_eV']} "
            f"{row['cpu_s'] * 1e3:.0f} ms against {row['bvlain_cpu_s'] * 1e3:.0f} ms",
            flush=True,
        )
        if len(rows) == arguments.count:
            break
    result = {
        "settings": {
            "resolution_A": RESOLUTION_A,
            "max_sites": MAX_SITES,
            "max_grid_points": MAX_POINTS,
            "seed": arguments.seed,
            "bvlain": version("bvlain"),
            "pool_sha256": checksum(arguments.data / POOL_FILE),
            "n_skipped_without_parameters_in_either": n_without_parameters,
        },
        "summary": summary(rows),
        "crystals": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["summary"], indent=1))


if __name__ == "__main__":
    main()
