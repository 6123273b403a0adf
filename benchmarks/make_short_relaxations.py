"""Short relaxations with SevenNet-0 of published hops, and of hops of the pretraining.

    python -m benchmarks.make_short_relaxations --data DIR --work DIR [--set neb|pool] [--minutes M]

Every finished hop is a line of WORK/<set>.jsonl, so the script goes on where it was killed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.json_lines import read
from ionbridge.screening.labelling.checked_calculator import BrokenCalculationError
from ionbridge.screening.labelling.hop_cell import hop_cell_of_hop
from ionbridge.screening.labelling.sevennet_calculator import SevennetCalculator
from ionbridge.screening.labelling.short_relaxation import Held, short_relaxation
from ionbridge.structures.hop_profile import profiled
from ionbridge.structures.records import Hop, UnusableStructureError
from ionbridge.structures.sources import neb_barriers

SMALL_ATOMS, MAX_ATOMS = 80, 150
STEPS, STEPS_LARGE = 10, 8
AFTER = (0, 3, 5, 8, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--work", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop after")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * args.minutes
    calculator = SevennetCalculator()
    file = args.work / "neb.jsonl"
    done = {row["id"] for row in read(file)}
    for hop in in_turn(list(neb_barriers.load(args.data).records)):
        if time.monotonic() > until:
            return
        if hop.id not in done and len(hop.host_species) < MAX_ATOMS:
            row = row_of(hop, calculator)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")


def in_turn(hops: Sequence[Hop]) -> list[Hop]:
    """The smallest of every family, then the next of every family, and so on."""
    families: dict[str | None, list[Hop]] = defaultdict(list)
    for hop in sorted(hops, key=lambda hop: len(hop.host_species)):
        families[hop.family].append(hop)
    return [hop for turn in zip_longest(*families.values()) for hop in turn if hop is not None]


def row_of(hop: Hop, calculator: Any) -> dict[str, Any]:
    started, wall = time.process_time(), time.perf_counter()
    row: dict[str, Any] = {"id": hop.id, "potential": f"7net-0, sevenn {version('sevenn')}"}
    try:
        on_path = profiled(hop)
        cell = hop_cell_of_hop(on_path, 0.0, MAX_ATOMS)
        steps = STEPS if cell.n_atoms <= SMALL_ATOMS else STEPS_LARGE
        profile = on_path.extra.get("bvse_profile_eV")
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


def facts(held: Held) -> dict[str, Any]:
    return {
        "energies_eV": [round(e, 4) for e in held.energies_eV],
        "moved_A": round(held.moved_A, 3),
        "force_eV_A": round(held.force_eV_A, 4),
        "along_eV_A": round(held.along_eV_A, 4),
        "n_calls": held.n_calls,
    }


if __name__ == "__main__":
    main()
