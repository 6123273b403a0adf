"""Lattice gases by kinetic Monte Carlo against exact factors and published simulations.

    python -m benchmarks.lattice_gas --data DIR [--every N] [--jumps N]

Tracer correlation factors of a lone vacancy on simple lattices (exact) and of lithium on the garnet
lattice (B. J. Morgan, R. Soc. Open Sci. 4, 170824 (2017); every N-th of its 798 settings). The
baseline is to leave correlation out, f = f_I = 1. Writes benchmarks/results/lattice_gas.json.

The published factors depend on the number of ions as those of runs of 10,000 jumps of all ions do,
which still remember their start: they lie up to 6 % above the limit of endless runs. So both are
given. That length is read off the published values, not stated beside them. Settings whose
published occupation of the tetrahedra is not that of equilibrium at the stated energies are listed
and left out of the summary.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.transport.closed_forms import VACANCY_CORRELATION_FACTORS
from ionbridge.structures.transport.kinetic_monte_carlo import transport
from ionbridge.structures.transport.lattice_gas import LatticeGas
from ionbridge.structures.units import BOLTZMANN_EV_PER_K

RESULT = Path(__file__).parent / "results" / "lattice_gas.json"
FOLDER = "transport_reference"
TABLE, SITES = "garnet_lattice_gas_kmc.csv", "garnet_lattice_site_list.dat.gz"
TEMPERATURE_K = 300.0
KT = BOLTZMANN_EV_PER_K * TEMPERATURE_K
WITHIN = 0.02
RUN_JUMPS = 10_000
"""Length of the published runs, jumps of all ions, as their values imply."""
SAME_OCCUPATION = 0.03
TALL = 10.0
"""Length of a cell across a layer: no neighbours there."""
EDGE = 49.0672
"""Edge of the published cell, two conventional cells long, in its own unit."""
LATTICES: dict[str, tuple[np.ndarray, np.ndarray, float, int]] = {
    "simple cubic": (np.eye(3), np.zeros((1, 3)), 1.0, 8),
    "body-centred cubic": (np.eye(3), np.array([[0, 0, 0], [0.5] * 3]), 0.75**0.5, 6),
    "face-centred cubic": (
        np.eye(3),
        np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
        0.5**0.5,
        5,
    ),
    "diamond": (
        0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]),
        np.array([[0, 0, 0], [0.25] * 3]),
        0.1875**0.5,
        6,
    ),
    "honeycomb": (
        np.array([[1, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, TALL]]),
        np.array([[0, 0, 0], [1 / 3, 1 / 3, 0]]),
        3**-0.5,
        18,
    ),
    "square": (np.diag([1, 1, TALL]), np.zeros((1, 3)), 1.0, 24),
    "triangular": (
        np.array([[1, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, TALL]]),
        np.zeros((1, 3)),
        1.0,
        24,
    ),
}
"""Cell, sites, distance of neighbours, and repeats of the cell."""


def simple_lattice(
    name: str, n_vacancies: int = 1, repeats: int | None = None, repulsion_eV: float = 0.0
) -> LatticeGas:
    """Ions on a lattice of equal sites with hops between neighbours."""
    lattice, sites, distance, usual = LATTICES[name]
    n = usual if repeats is None else repeats
    src, dst, shift, _ = periodic_edges(lattice.astype(float), sites, 1.001 * distance)
    once = (src < dst) | ((src == dst) & (shift @ np.array([10_000, 100, 1]) > 0))
    src, dst, shift = (a[once].astype(np.int64) for a in (src, dst, shift))
    cell = LatticeGas(
        lattice=lattice.astype(float),
        start=src,
        end=dst,
        shift=shift,
        step_A=(sites[dst] + shift - sites[src]) @ lattice,
        site_energy_eV=np.zeros(len(sites)),
        kra_eV=np.zeros(len(src)),
        n_ions=0,
        pair_start=src,
        pair_end=dst,
        pair_shift=shift,
        pair_energy_eV=np.full(len(src), repulsion_eV),
    )
    layer = lattice[2, 2] == TALL
    return filled(cell.repeated((n, n, 1 if layer else n)), n_vacancies)


def filled(gas: LatticeGas, n_vacancies: int) -> LatticeGas:
    """The gas with all but some sites filled."""
    return replace(gas, n_ions=gas.n_sites - n_vacancies)


def garnet(path: Path, n_ions: float, repulsion_kT: float, site_kT: float) -> LatticeGas:
    """The published lattice: tetrahedra lie lower, neighbours repel."""
    number, centre, near, labels = [], [], [], []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        key, _, rest = line.partition(":")
        if key == "site":
            number.append(int(rest))
        elif key == "centre":
            centre.append([float(x) for x in rest.split()])
        elif key == "neighbours":
            near.append([int(x) for x in rest.split()])
        elif key == "label":
            labels.append(rest.strip())
    index = {n: k for k, n in enumerate(number)}
    pairs = [(k, index[n]) for k, others in enumerate(near) for n in others if k < index[n]]
    start, end = np.array(pairs).T
    position = np.array(centre)
    edge = EDGE
    gap = position[end] - position[start]
    shift = -np.rint(gap / edge).astype(np.int64)
    energy = np.where(np.array(labels) == "T", -site_kT, 0.0) * KT
    return LatticeGas(
        lattice=edge * np.eye(3),
        start=start,
        end=end,
        shift=shift,
        step_A=gap + shift * edge,
        site_energy_eV=energy,
        kra_eV=np.zeros(len(start)),
        n_ions=n_ions,
        pair_start=start,
        pair_end=end,
        pair_shift=shift,
        pair_energy_eV=np.full(len(start), repulsion_kT * KT),
    )


def vacancy(name: str, jumps: int, seed: int) -> dict[str, Any]:
    """One lattice with a lone vacancy against its exact factor."""
    found = transport(simple_lattice(name), TEMPERATURE_K, jumps_per_ion=jumps, seed=seed)
    exact = VACANCY_CORRELATION_FACTORS[name]
    return {
        "exact": exact,
        "f": round(found.correlation_factor, 4),
        "std": round(found.correlation_factor_std, 4),
        "deviation": round(found.correlation_factor / exact - 1, 4),
        "f_I": round(found.collective_correlation_factor, 4),
    }


def published(folder: Path, row: dict[str, str], jumps: int, seed: int) -> dict[str, Any]:
    """One setting of the garnet lattice."""
    n_ions, repulsion, site = (float(row[key]) for key in ("n_Li", "E_nn_kT", "E_site_kT"))
    gas = garnet(folder / SITES, n_ions, repulsion, site)
    tetrahedral = garnet(folder / SITES, n_ions, repulsion, 1.0).site_energy_eV < 0
    result: dict[str, Any] = {"n_Li": n_ions, "E_nn_kT": repulsion, "E_site_kT": site}
    for window, name in ((RUN_JUMPS, ""), (None, "_limit")):
        found = transport(gas, TEMPERATURE_K, jumps_per_ion=jumps, seed=seed, window_jumps=window)
        factors = (
            ("f", found.correlation_factor, found.correlation_factor_std),
            (
                "f_I",
                found.collective_correlation_factor,
                found.collective_correlation_factor_std,
            ),
        )
        for key, value, std in factors:
            result[key + name] = {
                "published": float(row[key]),
                "found": round(value, 4),
                "std": round(std, 4),
                "deviation": round(value / float(row[key]) - 1, 4),
            }
    occupied, reference = found.site_occupation[tetrahedral].sum(), float(row["n_tetrahedral"])
    result["n_tetrahedral"] = {"published": reference, "found": round(float(occupied), 2)}
    result["same_occupation"] = bool(abs(occupied / reference - 1) < SAME_OCCUPATION)
    return result


def summary(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    """How far a factor is off over all settings, beside that of leaving it out."""
    deviation = np.array([row[key]["deviation"] for row in rows])
    std = np.array([row[key]["std"] / row[key]["found"] for row in rows])
    reference = np.array([row[key]["published"] for row in rows])
    return {
        "n": len(rows),
        "mean_deviation": round(float(deviation.mean()), 4),
        "rms_deviation": round(float(np.sqrt((deviation**2).mean())), 4),
        "rms_own_std": round(float(np.sqrt((std**2).mean())), 4),
        "within_2_percent": round(float((np.abs(deviation) <= WITHIN).mean()), 3),
        "within_2_percent_and_2_std": round(
            float((np.abs(deviation) <= WITHIN + 2 * std).mean()), 3
        ),
        "baseline_rms_deviation_of_1": round(float(np.sqrt(((1 / reference - 1) ** 2).mean())), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--every", type=int, default=40, help="settings of the garnet (default 40)")
    parser.add_argument("--jumps", type=int, default=4000, help="of an ion (default 4000)")
    args = parser.parse_args()
    started = time.process_time()
    folder = args.data / FOLDER
    exact = {}
    for name in VACANCY_CORRELATION_FACTORS:
        exact[name] = vacancy(name, args.jumps, seed=0)
        print(f"{name:20s} {json.dumps(exact[name])}", flush=True)
    with (folder / TABLE).open(encoding="utf-8") as file:
        table = [row for row in csv.DictReader(file) if float(row["n_Li"]) > 1]
    rows = []
    for seed, row in enumerate(table[:: args.every]):
        rows.append(published(folder, row, args.jumps, seed))
        print(json.dumps(rows[-1]), flush=True)
    results = {
        "data_sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in (TABLE, SITES)
        },
        "jumps_per_ion": args.jumps,
        "seeds": "0 for the exact factors, the number of the row for the garnet",
        "lone_vacancy": exact,
        "garnet": {
            key: summary([row for row in rows if row["same_occupation"]], key)
            for key in ("f", "f_I", "f_limit", "f_I_limit")
        },
        "other_occupation": [row for row in rows if not row["same_occupation"]],
        "garnet_settings": rows,
        "cpu_seconds": round(time.process_time() - started),
    }
    print(json.dumps(results["garnet"]))
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
