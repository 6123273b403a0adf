"""Short relaxations with SevenNet-0 of published hops, then of hops of the pretraining.

    python -m benchmarks.make.short_relaxations --data DIR --work DIR [--minutes M] [--ship]

The published hops are taken in turn from every family, small cells first; so are those of the
crystals that encoders are pretrained on (models/configs/potential_hops.jsonl.gz), in turn from
every ion and kind of anion, none of them in an evaluation set. Every finished hop is a line of
WORK/neb.jsonl or WORK/pool.jsonl, so the script goes on where it was killed; what ships already is
not computed again, unless it could not be computed then. With --ship both are added, without what
only a search for faults needs, to what ships in models/configs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.json_lines import append, read
from benchmarks.make.potential_hops import CONFIG, ORIGIN, POOL_DISTANCE_A
from benchmarks.make.potential_hops import SHIPPED as RIGID
from ionbridge.models.hop_networks.hop_signals import signal_hops
from ionbridge.models.hop_networks.pretraining import POOL, PretrainingConfig
from ionbridge.screening.labelling.bands.checked_calculator import BrokenCalculationError
from ionbridge.screening.labelling.bands.hop_cell import (
    HopCell,
    hop_cell_of_crystal,
    hop_cell_of_hop,
)
from ionbridge.screening.labelling.bands.sevennet_calculator import SevennetCalculator
from ionbridge.screening.labelling.bands.short_relaxation import Held, short_relaxation
from ionbridge.structures.chemistry.composition import working_ion
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.io.reading import iter_records
from ionbridge.structures.records import Crystal, Hop, UnusableStructureError
from ionbridge.structures.sources import neb_barriers

SHIPPED = CONFIG.parent / "short_relaxations.jsonl.gz"
SMALL_ATOMS, LARGE_ATOMS, MAX_ATOMS = 80, 150, 300
STEPS, STEPS_LARGE = 10, 8
AFTER = (0, 3, 5, 8, 10)
POOL_SITES, POOL_ATOMS = 30, 56
HIGHEST_RIGID_EV = 8.0
"""Hops of the pool that CHGNet puts higher in a rigid host are not computed."""
KEPT = ("id", "n_atoms", "symmetric", "n_calls", "note", "emptied", "forward_after_eV", "reason")
"""What ships of a finished hop as it was found."""
ANIONS = ("F", "Cl", "Br", "I", "O", "S", "Se", "Te", "N")
CENTRES = {"P", "Si", "S", "B", "C", "N", "As", "Ge", "Se", "Mo", "W", "V", "Cr"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--work", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop after")
    parser.add_argument("--ship", action="store_true", help="only write the shipped file")
    args = parser.parse_args()
    if args.ship:
        ship(args.work)
        return
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * args.minutes
    calculator = SevennetCalculator(device="cpu")
    sources = {"neb": published, "pool": of_pool}
    for name, hops_of in sources.items():
        file = args.work / f"{name}.jsonl"
        known = [row for row in shipped(name) if "reason" not in row]
        done = {row["id"] for row in (*known, *read(file))}
        for hop_id, make in hops_of(args.data, done):
            if time.monotonic() > until:
                return
            row = row_of(hop_id, make, calculator)
            append(file, row)


Made = Callable[[], tuple[HopCell, Any]]
"""Gives a hop on its path, and the bond-valence energies along it."""


def published(data: Path, done: Set[str]) -> Iterator[tuple[str, Made]]:
    """The hops of the DFT set in their published cells, the largest last."""
    hops = [h for h in neb_barriers.load(data).records if len(h.host_species) < MAX_ATOMS]
    parts = [[h for h in hops if (len(h.host_species) < LARGE_ATOMS) == s] for s in (True, False)]
    for hop in (hop for part in parts for hop in in_turn(part, family_of, n_atoms_of)):
        if hop.id not in done:
            yield hop.id, partial(published_cell, hop)


def published_cell(hop: Hop) -> tuple[HopCell, Any]:
    on_path = profiled(hop)
    return hop_cell_of_hop(on_path, 0.0, MAX_ATOMS), on_path.extra.get("bvse_profile_eV")


def of_pool(data: Path, done: Set[str]) -> Iterator[tuple[str, Made]]:
    """Hops of the pretraining's crystals, in small cells."""
    with gzip.open(RIGID["pool"], "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in list(stream)[1:]]
    wanted: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if max(row["frozen_eV"]) < HIGHEST_RIGID_EV:
            wanted[row["id"].rpartition("#")[0]].append(row["id"])
    crystals = [
        replace(record, working_ion=working_ion(record))
        for record in iter_records(data / POOL)
        if isinstance(record, Crystal) and record.id in wanted and record.n_sites <= POOL_SITES
    ]
    sampling = PretrainingConfig.from_yaml(CONFIG).sampling
    for crystal in in_turn(crystals, kind_of, lambda crystal: crystal.n_sites):
        if set(wanted[crystal.id]) <= done:
            continue
        graph = signal_hops(crystal, sampling)
        for hop in (hop for hop in graph.hops if hop.id in set(wanted[crystal.id]) - done):
            yield hop.id, partial(pool_cell, graph.crystal, hop)


def pool_cell(crystal: Crystal, hop: Hop) -> tuple[HopCell, Any]:
    cell = hop_cell_of_crystal(crystal, hop, POOL_DISTANCE_A, POOL_ATOMS)
    return cell, hop.extra.get("bvse_profile_eV")


def kind_of(crystal: Crystal) -> tuple[str, ...]:
    """Mobile ion, and whether the anions are bound to a centre."""
    elements = {str(e) for e in crystal.composition.elements}
    anion = next((a for a in ANIONS if a in elements), "")
    return str(crystal.working_ion), anion, str(anion == "O" and bool(elements & CENTRES))


def family_of(hop: Hop) -> Any:
    return hop.family


def n_atoms_of(hop: Hop) -> int:
    return len(hop.host_species)


def in_turn(
    items: Iterable[Any], kind: Callable[[Any], Any], size: Callable[[Any], int]
) -> list[Any]:
    """The smallest of every kind, then the next of every kind, and so on."""
    kinds: dict[Any, list[Any]] = defaultdict(list)
    for item in sorted(items, key=size):
        kinds[kind(item)].append(item)
    return [item for turn in zip_longest(*kinds.values()) for item in turn if item is not None]


def row_of(hop_id: str, make: Made, calculator: Any) -> dict[str, Any]:
    started, wall = time.process_time(), time.perf_counter()
    row: dict[str, Any] = {"id": hop_id, "potential": potential()}
    try:
        cell, profile = make()
        steps = STEPS if cell.n_atoms <= SMALL_ATOMS else STEPS_LARGE
        found = short_relaxation(cell, profile, calculator, steps)
    except (UnusableStructureError, BrokenCalculationError) as error:
        return {**row, "reason": str(error), "cpu_s": time.process_time() - started}
    return {
        **row,
        "n_atoms": cell.n_atoms,
        "max_steps": steps,
        "symmetric": found.symmetric,
        "n_calls": found.n_calls,
        "short_relaxation_eV": round(found.barrier_eV(), 4),
        "short_relaxation_backward_eV": round(found.barrier_backward_eV(), 4),
        "note": found.reason,
        **({"emptied": cell.note} if cell.note else {}),
        "forward_after_eV": {n: round(found.barrier_eV(n), 4) for n in AFTER},
        "backward_after_eV": {n: round(found.barrier_backward_eV(n), 4) for n in AFTER},
        "top_at": [*found.top_points, len(cell.path_A)],
        "start": facts(found.start),
        "top": facts(found.tops[0]),
        **({"rival": facts(found.tops[1])} if len(found.tops) > 1 else {}),
        **({} if found.symmetric else {"end": facts(found.end)}),
        "cpu_s": round(time.process_time() - started, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
    }


def potential() -> str:
    return f"7net-0, sevenn {version('sevenn')}"


def facts(held: Held) -> dict[str, Any]:
    return {
        "energies_eV": [round(e, 4) for e in held.energies_eV],
        "moved_A": round(held.moved_A, 3),
        "force_eV_A": round(held.force_eV_A, 4),
        "along_eV_A": round(held.along_eV_A, 4),
        "n_calls": held.n_calls,
    }


def shipped(name: str) -> list[dict[str, Any]]:
    """The rows of a set that ship already."""
    if not SHIPPED.exists():
        return []
    with gzip.open(SHIPPED, "rt", encoding="utf-8") as stream:
        return [row for row in map(json.loads, stream) if row.get("set") == name]


def ship(work: Path) -> None:
    """What was computed of each hop, by its id, beside what ships; no geometry, no other label."""
    sets: dict[str, dict[str, dict[str, Any]]] = {}
    for name in ("neb", "pool"):
        computed = [kept_of(row) for row in read(work / f"{name}.jsonl")]
        sets[name] = {row["id"]: row for row in (*shipped(name), *computed)}
    head = {
        "made_by": "benchmarks/make/short_relaxations.py",
        "method": "ion held at the top of its bond-valence path and free at its ends, atoms within "
        "4 angstrom relaxed; top above start and above end after so many steps of each (0: rigid)",
        "calculator": potential(),
        "structures": ORIGIN,
        "n_hops": {name: len(rows) for name, rows in sets.items()},
    }
    lines = [{"set": name, **rows[id]} for name, rows in sets.items() for id in sorted(rows)]
    with gzip.open(SHIPPED, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in (head, *lines))
    print(head, f"{SHIPPED.stat().st_size / 1000:.0f} kB")


def kept_of(row: dict[str, Any]) -> dict[str, Any]:
    """What ships of a finished hop."""
    line = {key: row[key] for key in KEPT if key in row}
    if "backward_after_eV" in row and not row["symmetric"]:
        line["backward_after_eV"] = row["backward_after_eV"]
    if "start" in row:
        ends = [row[end] for end in ("start", "end") if end in row]
        line["ends_moved_A"] = max(held["moved_A"] for held in ends)
        line["along_eV_A"] = row["top"]["along_eV_A"]
    return line


if __name__ == "__main__":
    main()
