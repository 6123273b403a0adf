"""Columns of a campaign by the reduced-order models, against the same columns by DFN.

``python -m benchmarks.cell_kpis --out FILE.json``: on the grids that a campaign solves, of the
cathode's diffusivity and of the conductivity of a single-ion electrolyte, in the LiFePO4 and the
LiCoO2 cell.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from ionbridge.models.cells.cell_rom import CellRom
from ionbridge.models.library import find
from ionbridge.screening.cell.discharge import discharge
from ionbridge.screening.cell.inputs import CONDUCTIVITY
from ionbridge.screening.cell.parameters import CATHODE_DIFFUSIVITY
from ionbridge.screening.cell.settings import CellSettings
from ionbridge.screening.cell.shipped import rom_for
from ionbridge.screening.cell.solvers import predicted
from ionbridge.screening.cell.stage import KPIS, response
from ionbridge.screening.execution.shards import write_json

CELLS = ("Prada2013_balanced", "Ai2020_extended")
ABSOLUTE = ("capacity_retained_1C", "capacity_retained_3C", "round_trip_efficiency")
"""Compared as they are, the others relatively."""


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for base in CELLS:
        for parameter in (CATHODE_DIFFUSIVITY, CONDUCTIVITY):
            found[f"{base}, {parameter}"] = compared(base, parameter)
            print(f"{base}, {parameter}", json.dumps(found[f"{base}, {parameter}"]), flush=True)
    write_json(args.out, found)


def compared(base: str, parameter: str) -> dict[str, Any]:
    """Largest difference of each column, where the model is in its domain."""
    settings = CellSettings(base_cell=base)
    truth = response(parameter, settings, lambda designs: [discharge(d) for d in designs])
    model = CellRom.load(find(rom_for(base)))
    own = response(parameter, settings, predicted(model))
    both = [x for x in truth.log10 if np.isclose(own.log10, x).any()]
    i, j = (np.searchsorted(r.log10, np.array(both) - 1e-6) for r in (truth, own))
    known = own.log10[j] >= own.least_known - 1e-6
    answer: dict[str, Any] = {"least_known_log10": own.least_known, "n": int(known.sum())}
    for kpi in KPIS:
        a, b = truth.kpis[kpi][i][known], own.kpis[kpi][j][known]
        off = b - a if kpi in ABSOLUTE else b / a - 1.0
        answer[kpi] = {
            "by_log10": dict(zip(map(str, np.round(own.log10[j][known], 2)), off, strict=True)),
            "largest": float(np.abs(off).max()),
        }
    return answer


if __name__ == "__main__":
    main()
