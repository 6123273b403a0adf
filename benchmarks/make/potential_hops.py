"""A universal potential's view of hops, in bulk: CHGNet energies along bond-valence paths.

    python -m benchmarks.make.potential_hops --data DIR --work DIR [--minutes M] [--device cuda]

Two sets of hops: `neb`, the hops with published barriers in their published cells, and `pool`, the
hops of the crystals that encoders are pretrained on (models/configs; none of the evaluation sets is
among them). Two views of each: `frozen`, the ion at seven points of its path while the host stands
still, and `relaxed`, a climbing-image band on a fixed budget of steps. Every finished hop is a line
of WORK/<set>_<view>.jsonl, so the script goes on where it was killed. With --ship the views of the
pool go to models/configs, where the pretraining finds them, those of the published hops (by id, for
benchmarks.shipped_hop_barrier) to the results.

Made for a GPU with CPU cores beside it that look for neighbours; on two CPU cores --set, --hops
and --minutes make it smaller.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from benchmarks.batched_bands import Budget, relaxed_bands
from benchmarks.json_lines import read
from ionbridge.models.hop_networks.hop_signals import Sampling, choose_crystals, signal_hops
from ionbridge.models.hop_networks.pretraining import POOL, PretrainingConfig, evaluation_formulas
from ionbridge.models.hop_networks.training import pick_device
from ionbridge.screening.labelling.bands.chgnet_batch import (
    Cell,
    Topology,
    frozen_profiles,
    joined,
    topology,
)
from ionbridge.screening.labelling.bands.hop_cell import (
    HopCell,
    hop_cell_of_crystal,
    hop_cell_of_hop,
)
from ionbridge.structures.features.graph import N_PROBES
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.io.reading import iter_records
from ionbridge.structures.records import Crystal, Hop, UnusableStructureError
from ionbridge.structures.sources import neb_barriers

CONFIG = Path("models/configs/hop_encoder.yaml")
SHIPPED = {
    "pool": CONFIG.parent / "potential_hops.jsonl.gz",
    "neb": Path(__file__).parents[1] / "results" / "potential_hops_neb.jsonl.gz",
}
ATOMS_FROZEN, ATOMS_RELAXED = 6000, 9000
"""Atoms in a batch."""
BUDGETS = {"neb": Budget(5, 35, 55), "pool": Budget(3, 25, 40)}
POOL_DISTANCE_A, POOL_ATOMS, POOL_ATOMS_RELAXED = 6.0, 110, 64
NEB_ATOMS = 260
MOST_FROZEN_EV = 4.0
"""Hops of the pool whose frozen profile rises higher are not relaxed."""
CELLS_A_TASK = 6
ORIGIN = {
    "pool": "Materials Project, CC BY 4.0",
    "neb": "sai-mat-group/predicting-migration-barriers, MIT",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--work", type=Path, required=True, help="folder of the results")
    parser.add_argument("--set", nargs="*", default=["neb", "pool"], help="neb, pool")
    parser.add_argument("--hops", type=int, help="only so many hops of a set")
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop after")
    parser.add_argument("--workers", type=int, default=2, help="processes that look for neighbours")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--ship", action="store_true", help="only write the shipped file")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.ship:
        ship(args.work)
        return
    until = time.monotonic() + 60 * args.minutes
    spawn = get_context("spawn")
    with (
        ProcessPoolExecutor(args.workers, spawn, torch.set_num_threads, (1,)) as finders,
        ProcessPoolExecutor(args.workers, spawn, torch.set_num_threads, (1,)) as pool,
    ):
        run = partial(computed, work=args.work, pool=pool, device=pick_device(args.device).type)
        published = list(islice(neb_cells(args.data, finders), args.hops))
        # the crystals of the pool are searched while the first set is computed
        search = finding_pool(args.data, finders, args.hops) if "pool" in args.set else []
        if "neb" in args.set:
            run("neb", "frozen", published, until=until)
            now = time.monotonic()  # the time is shared with the other set
            run("neb", "relaxed", published, until=now + (until - now) / (2 if search else 1))
        if search:
            hops = [hop for part in search for hop in part.result()][: args.hops]
            run("pool", "frozen", hops, until=until)
            low = {row["id"] for row in read(args.work / "pool_frozen.jsonl") if is_low(row)}
            run("pool", "relaxed", [h for h in hops if h.id in low], until=until)
        for executor in (finders, pool):
            executor.shutdown(wait=True, cancel_futures=True)


def neb_cells(data: Path, finders: Executor) -> Iterator[HopCell]:
    """The published hops in their published cells."""
    hops = neb_barriers.load(data).records
    for cell in finders.map(neb_cell, hops, chunksize=4):
        if cell is not None:
            yield cell


def neb_cell(hop: Hop) -> HopCell | None:
    try:
        cell = hop_cell_of_hop(profiled(hop), 0.0, NEB_ATOMS)
        cell.check_path()
    except UnusableStructureError as error:
        print(error, flush=True)
        return None
    return cell


def finding_pool(data: Path, finders: Executor, n_crystals: int | None) -> list[Any]:
    """Futures of the hops of the pretraining's crystals, in parts."""
    config = PretrainingConfig.from_yaml(CONFIG)
    records = (r for r in iter_records(data / POOL) if isinstance(r, Crystal))
    crystals, _ = choose_crystals(records, config.sampling, evaluation_formulas(data))
    crystals = sorted(crystals, key=lambda crystal: crystal.id[::-1])  # a fixed mixed order
    crystals = crystals[:n_crystals]
    parts = [crystals[k : k + 20] for k in range(0, len(crystals), 20)]
    return [finders.submit(pool_cells, part, config.sampling) for part in parts]


def pool_cells(crystals: Sequence[Crystal], sampling: Sampling) -> list[HopCell]:
    """The hops of some crystals in the smallest cells that keep the ion from its copies."""
    cells = []
    for crystal in crystals:
        try:
            graph = signal_hops(crystal, sampling)
        except UnusableStructureError:
            continue
        for hop in graph.hops:
            if hop.extra.get("n_passed_sites"):
                continue
            try:
                cell = hop_cell_of_crystal(graph.crystal, hop, POOL_DISTANCE_A, POOL_ATOMS)
                cell.check_path()
            except UnusableStructureError:
                continue
            cells.append(cell)
    return cells


def computed(
    name: str, view: str, cells: Sequence[HopCell], *, work: Path, pool: Executor, device: str,
    until: float,
) -> None:  # fmt: skip
    """Compute a view of what is not yet in its file, two batches at a time."""
    file = work / f"{name}_{view}.jsonl"
    done = {row["id"] for row in read(file)}
    todo = [cell for cell in cells if cell.id not in done]
    if view == "relaxed" and name == "pool":
        todo = [cell for cell in todo if cell.n_atoms <= POOL_ATOMS_RELAXED]
    budget = BUDGETS[name]
    n_images = N_PROBES if view == "frozen" else budget.n_images
    most = (ATOMS_FROZEN if view == "frozen" else ATOMS_RELAXED) // n_images
    lock, started, n_done = Lock(), time.monotonic(), [0]
    provenance = {
        "calculator": "chgnet",
        "calculator_version": version("chgnet"),
        **({"budget": asdict(budget)} if view == "relaxed" else {}),
    }

    def neighbours(batch: Sequence[Cell]) -> Topology:
        parts = [batch[k : k + CELLS_A_TASK] for k in range(0, len(batch), CELLS_A_TASK)]
        return joined(list(pool.map(topology, parts)))

    def work_on(batch: Sequence[HopCell]) -> None:
        if time.monotonic() > until:
            return
        if view == "frozen":
            profiles = frozen_profiles(batch, N_PROBES - 2, neighbours, device)
            values: list[dict[str, Any]] = [{"energies_eV": rounded(p)} for p in profiles]
        else:
            values = [
                {
                    "energies_eV": rounded(band.energies_eV),
                    "end_force_eV_A": round(band.end_force_eV_A, 3),
                    "band_force_eV_A": round(band.band_force_eV_A, 3),
                }
                for band in relaxed_bands(batch, budget, neighbours, device)
            ]
        rows = [
            {"id": cell.id, "n_atoms": cell.n_atoms, "carrier": cell.carrier, **value, **provenance}
            for cell, value in zip(batch, values, strict=True)
        ]
        with lock, file.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
            n_done[0] += len(rows)

    with ThreadPoolExecutor(2) as threads:
        for _ in threads.map(work_on, batches(todo, most)):
            pass
    rate = n_done[0] / max(time.monotonic() - started, 1e-3)
    print(f"{name} {view}: {n_done[0]} of {len(todo)} hops, {rate:.1f} a second", flush=True)


def batches(cells: Sequence[HopCell], most_atoms: int) -> Iterator[list[HopCell]]:
    """Cells in their order, so many atoms at a time."""
    batch: list[HopCell] = []
    n_atoms = 0
    for cell in cells:
        if batch and n_atoms + cell.n_atoms > most_atoms:
            yield batch
            batch, n_atoms = [], 0
        batch.append(cell)
        n_atoms += cell.n_atoms
    if batch:
        yield batch


def is_low(row: dict[str, Any]) -> bool:
    """A hop worth a band."""
    energies = np.array(row["energies_eV"])
    return bool(energies.max() - energies[[0, -1]].max() < MOST_FROZEN_EV)


def rounded(values: Any) -> list[float]:
    return [round(float(v), 4) for v in values]


def ship(work: Path) -> None:
    """Both views of each set in one file, a hop a line."""
    for name, target in SHIPPED.items():
        relaxed = {row["id"]: row for row in read(work / f"{name}_relaxed.jsonl")}
        rows = []
        for row in sorted(read(work / f"{name}_frozen.jsonl"), key=lambda row: row["id"]):
            kept = {"id": row["id"], "frozen_eV": row["energies_eV"]}
            if row["id"] in relaxed:
                band = relaxed[row["id"]]
                kept |= {"relaxed_eV": band["energies_eV"], "force_eV_A": band["band_force_eV_A"]}
            rows.append(kept)
        head = {
            "made_by": "benchmarks/make/potential_hops.py",
            "method": "single energies, host as it stands; relaxed: climbing-image band",
            "calculator": f"chgnet {version('chgnet')}",
            "structures": ORIGIN[name],
            "budget": asdict(BUDGETS[name]),
            "n_hops": len(rows),
            "n_relaxed": len(relaxed),
        }
        with gzip.open(target, "wt", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in (head, *rows))
        print(head)


if __name__ == "__main__":
    main()
