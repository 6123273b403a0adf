"""Cells against experiment: base set, fits of one slow curve and of two, and what is carried.

``python -m benchmarks.cell_experiment --data DIR --out FILE.json [--model DIR] [--plots DIR]``
with ``DIR/cells.yaml`` in the form that ``ionbridge cell fit`` takes. Every cell is predicted by
what the other cells taught (leave one cell out); its hyperparameters, too, are those of the others.
``--model`` writes the model that is learnt on all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ionbridge.models.cell_discrepancy import CellDiscrepancy, DiscrepancyCurve
from ionbridge.models.measured_cell import RATES_APART, MeasuredCurve
from ionbridge.screening.cell.experiments import Experiment, read_experiment
from ionbridge.screening.cell.fit_bases import FitBase, fit_base
from ionbridge.screening.cell.fitted import Fit, FittedPredictor, fit_experiment
from ionbridge.screening.errors import InputError

Floats = NDArray[np.float64]

SHARE = np.linspace(0.0, 0.95, 191)
"""Of the measured capacity, over which the voltage is compared."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A cell of the data.

    Attributes:
        name: In ``cells.yaml``.
        experiment: As read.
        base: What its fits start from.
        files: One a curve, slowest first.
        curves: In the same order.
    """

    name: str
    experiment: Experiment
    base: FitBase
    files: tuple[Path, ...]
    curves: tuple[MeasuredCurve, ...]


def measured_cells(data: Path) -> list[Measured]:
    """Every full cell of a folder with its discharges."""
    found = []
    entries = yaml.safe_load((data / "cells.yaml").read_text(encoding="utf-8"))
    for name in entries:
        files = sorted((data / name).glob("*C*.csv"))
        try:
            experiment = read_experiment(data / "cells.yaml", name, files)
            base = fit_base(name, experiment.entry, (data / name, data), experiment.nominal_Ah)
        except InputError:
            continue  # a half cell, or no charge in Ah
        order = np.argsort([c.current_A for c in experiment.curves], kind="stable")
        found.append(
            Measured(
                name,
                experiment,
                base,
                tuple(experiment.files[i] for i in order),
                tuple(experiment.curves[i] for i in order),
            )
        )
    return found


def fitted(cell: Measured, chosen: Sequence[int]) -> Fit:
    """A cell fitted to some of its curves."""
    curves = tuple(cell.curves[i] for i in chosen)
    return fit_experiment(replace(cell.experiment, curves=curves), cell.base)


def error(
    curve: MeasuredCurve, charge: Floats, volts: Floats, capacity_Ah: float
) -> dict[str, Any]:
    """How far a prediction is from a measured curve."""
    off = np.interp(SHARE * curve.capacity_Ah, charge, volts) - curve.at(SHARE)
    return {
        "rmse_mV": float(1e3 * np.sqrt(np.mean(off**2))),
        "capacity_error_percent": 100.0 * (capacity_Ah / curve.capacity_Ah - 1.0),
    }


def corrected(curve: MeasuredCurve, found: DiscrepancyCurve, scale_Ah: float) -> dict[str, Any]:
    """The same of a corrected prediction, with its intervals."""
    charge = found.share * scale_Ah
    at = SHARE * curve.capacity_Ah
    volts = curve.at(SHARE)
    low, high = np.interp(at, charge, found.lower_V), np.interp(at, charge, found.upper_V)
    inside = found.capacity_lower <= curve.capacity_Ah / scale_Ah <= found.capacity_upper
    return {
        **error(curve, charge, found.voltage_V, found.capacity * scale_Ah),
        "voltage_cover_90": float(np.mean((low <= volts) & (volts <= high))),
        "voltage_width_mV": float(1e3 * np.mean(high - low)),
        "capacity_inside_90": bool(inside),
        "capacity_width_percent": 100.0 * (found.capacity_upper - found.capacity_lower)
        * scale_Ah / curve.capacity_Ah,
    }  # fmt: skip


def main() -> None:
    """Measure, and write the answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    args = parser.parse_args()
    cells = measured_cells(args.data)
    nothing = CellDiscrepancy(learn_widths=False).fit([], [])
    slow_fits = {c.name: fitted(c, [0]) for c in cells}
    plain = {name: FittedPredictor(fit, nothing) for name, fit in slow_fits.items()}
    records, labels = training(cells, slow_fits, plain)
    everything = CellDiscrepancy().fit(records, labels)
    print("trained", flush=True)
    if args.model:
        everything.save(args.model, card(cells, everything))
    rows = []
    for cell in cells:
        own = everything.without(cell.name)
        fit = slow_fits[cell.name]
        scale = fit.cell.capacity_Ah
        fast = [i for i, c in enumerate(cell.curves) if is_fast(cell, c)]
        for i in fast:
            curve = cell.curves[i]
            charge, volts, _ = plain[cell.name].bare(curve.current_A, curve.ambient_K)
            end = float(np.interp(-fit.base.basis.lower_V, -volts[1:], charge[1:]))
            row = {"cell": cell.name, "curve": curve.name}
            rows.append({**row, "way": "slow curve", **error(curve, charge, volts, end)})
            carried = FittedPredictor(fit, own)
            found = carried.corrected(curve.current_A, curve.ambient_K)
            print(json.dumps(rows[-1]), flush=True)
            rows.append({**row, "way": "slow curve, carried", **corrected(curve, found, scale)})
        for j in fast:
            two = fitted(cell, [0, j])
            predictor = FittedPredictor(two, own)
            for i in fast:
                if i == j:
                    continue
                curve = cell.curves[i]
                found = predictor.corrected(curve.current_A, curve.ambient_K)
                row = {"cell": cell.name, "curve": curve.name, "second": cell.curves[j].name}
                rows.append({**row, "way": "two curves, carried", **corrected(curve, found, scale)})
                print(json.dumps(rows[-1]), flush=True)
    args.out.write_text(
        json.dumps({"rows": rows, "widths": asdict(everything.widths_)}, indent=1) + "\n"
    )


def is_fast(cell: Measured, curve: MeasuredCurve) -> bool:
    """Whether a curve is faster than the slow ones."""
    return curve.current_A > RATES_APART * cell.curves[0].current_A


def training(
    cells: Sequence[Measured],
    fits: Mapping[str, Fit],
    predictors: Mapping[str, FittedPredictor],
) -> tuple[list[Any], list[Floats]]:
    """What fits of slow curves lack on the faster ones."""
    from ionbridge.models.cell_discrepancy import displacement

    records, labels = [], []
    for cell in cells:
        for curve in cell.curves:
            if is_fast(cell, curve):
                record = predictors[cell.name].rated(curve.current_A, curve.ambient_K)
                share = curve.charge_Ah / fits[cell.name].cell.capacity_Ah
                records.append(record)
                labels.append(displacement(record, share, curve.voltage_V))
    return records, labels


def card(cells: Sequence[Measured], model: CellDiscrepancy) -> dict[str, Any]:
    """Of the model that is learnt on all cells."""
    data = [
        {"name": f"{c.name}/{f.name}", "sha256": hashlib.sha256(f.read_bytes()).hexdigest()}
        for c in cells
        for f in c.files
        if len(c.files) > 1 and c.curves[-1].current_A > RATES_APART * c.curves[0].current_A
    ]
    return {
        "name": model.kind,
        "predicts": "what a cell fitted to its slow discharge lacks at other rates, with the 90 % "
        "interval of model against experiment",
        "quantity": "cell_voltage",
        "inputs": ["a cell fitted by 'ionbridge cell fit'", "C-rate"],
        "trained_on": {
            "data": data,
            "methods": ["measured constant-current discharges, 25 C"],
            "sources": [
                "PyBaMM's discharge data of an Enertech cell (BSD-3-Clause); 10.1149/2.0122001JES",
                "About:Energy BPX parameterisation (CC BY-SA 4.0)",
            ],
        },
        "validation": {
            "protocol": "leave one cell out: benchmarks/results/cell_experiment.json",
        },
        "limits": [
            "three cells against graphite, layered oxides and LiFePO4, up to 2C at 25 C",
            "cells of another kind get the spread, nothing is carried to them",
        ],
        "licence": "MIT for the code; displacements between predicted and measured curves, in part "
        "learnt on CC BY-SA 4.0 data",
    }


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{time.perf_counter() - started:.0f} s")
