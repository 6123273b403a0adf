"""Single CHGNet energies and short relaxations of the ion for every hop of the DFT-NEB set.

    python -m benchmarks.hop_energies --data DIR --work DIR [--relax-ion N] [--minutes M]

The expensive part of `benchmarks.funnel`, one JSON line a hop in WORK/hop_energies.jsonl; hops that
are there are not computed again. `--relax-ion N` also relaxes the ion in the frozen host for the
first N hops of a fixed random order.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.frozen_host import frozen_host_relaxed_barrier
from benchmarks.json_lines import append, read
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.bands.checked_calculator import BrokenCalculationError
from ionbridge.screening.labelling.bands.frozen_host import frozen_host_barrier
from ionbridge.screening.labelling.bands.hop_cell import hop_cell_of_hop
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.records import Hop, UnusableStructureError
from ionbridge.structures.sources import neb_barriers

MAX_ATOMS = 400
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds neb_barriers/")
    parser.add_argument("--work", type=Path, required=True, help="folder of the results")
    parser.add_argument("--relax-ion", type=int, default=0, metavar="N", help="so many hops")
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop after")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    hops = list(neb_barriers.load(args.data).records)
    order = np.random.default_rng(SEED).permutation(len(hops))
    calculator = CalculatorChoice("chgnet").make()
    until = time.monotonic() + 60 * args.minutes
    for kind, chosen in (("energies", order), ("relaxed_ion", order[: args.relax_ion])):
        file = args.work / f"hop_{kind}.jsonl"
        done = {row["id"] for row in read(file)}
        for k in chosen:
            if time.monotonic() > until:
                return
            if hops[k].id not in done:
                append(file, row_of(hops[k], kind, calculator))


def row_of(hop: Hop, kind: str, calculator: Any) -> dict[str, Any]:
    started = time.process_time()
    try:
        path = profiled(hop)
        profile = path.extra.get("bvse_profile_eV")
        cell = hop_cell_of_hop(path, 0.0, MAX_ATOMS)  # the published cell as it is
        compute = frozen_host_barrier if kind == "energies" else frozen_host_relaxed_barrier
        found = compute(cell, profile, calculator)
    except (UnusableStructureError, BrokenCalculationError) as error:
        return {"id": hop.id, "reason": str(error), "cpu_s": time.process_time() - started}
    return {
        "id": hop.id,
        "barrier_eV": found.barrier_eV,
        "barrier_backward_eV": found.barrier_backward_eV,
        "n_calls": found.n_calls,
        "n_atoms": cell.n_atoms,
        "cpu_s": round(time.process_time() - started, 2),
    }


if __name__ == "__main__":
    main()
