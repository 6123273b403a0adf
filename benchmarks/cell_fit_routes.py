"""Two routes to one optimum: the closed form with its defect, and plain scipy on PyBaMM's DFN.

``python -m benchmarks.cell_fit_routes --data DIR --cell NAME --curves SLOW FAST --out FILE.json``

Both fit the kinetics of one measured cell to the same residuals under the same prior, from the same
start, balance and own equilibrium held as the slow curve gave them. Processor time of this process.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from ionbridge.models.cells.measured_cell import (
    BALANCE,
    KINETICS,
    N_EFFECTIVE,
    SHARES,
    MeasuredCurve,
    Solver,
    curve_weights,
    fit_cell,
)
from ionbridge.screening.cell.experiments import read_experiment
from ionbridge.screening.cell.fit_bases import FitBase, fit_base
from ionbridge.screening.execution.shards import write_json

Floats = NDArray[np.float64]

FREE = ("resistance", "negative_exchange_current", "negative_diffusivity")
"""What both routes move; the others stay at the prior, so that DFN's route ends today."""
HELD = 1e-6
N_EVALUATIONS = 12


def main() -> None:
    """Fit twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cell", required=True)
    parser.add_argument("--curves", nargs=2, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    folder = args.data / args.cell
    files = [folder / name for name in args.curves]
    experiment = read_experiment(args.data / "cells.yaml", args.cell, files)
    base = fit_base(args.cell, experiment.entry, (folder,), experiment.nominal_Ah)
    std = {k: v if k not in KINETICS or k in FREE else HELD for k, v in base.prior.std.items()}
    base = replace(base, prior=replace(base.prior, std=std))
    slow, fast = experiment.curves
    anchor = fit_cell(base.basis, [slow], base.prior, solver(base))
    solver(base)(anchor.parameters, fast)  # built before it is timed

    started = time.process_time()
    closed = fit_cell(base.basis, [slow, fast], base.prior, solver(base))
    fast_s = time.process_time() - started

    started = time.process_time()
    free = [len(BALANCE) + KINETICS.index(name) for name in FREE]
    full = by_dfn(base, anchor.parameters, [slow, fast], free)
    full_s = time.process_time() - started
    answer = {
        "cell": args.cell,
        "curves": args.curves,
        "parameters": FREE,
        "closed_form": closed.parameters[free].tolist(),
        "dfn": full.tolist(),
        "apart_in_std": ((closed.parameters[free] - full) / closed.std[free]).tolist(),
        "closed_form_cpu_s": fast_s,
        "dfn_cpu_s": full_s,
        "times_faster": full_s / fast_s,
    }
    print(answer)
    write_json(args.out, answer)


def solver(base: FitBase) -> Solver:
    """DFN at SHARES of a curve."""

    def solve(parameters: Floats, curve: MeasuredCurve) -> Floats:
        longest = 1.1 * curve.capacity_Ah
        charge, volts, _ = base.dfn.discharge(parameters, curve.current_A, curve.ambient_K, longest)
        return np.interp(SHARES * curve.capacity_Ah, charge, volts)

    return solve


def by_dfn(base: FitBase, start: Floats, curves: list[MeasuredCurve], free: list[int]) -> Floats:
    """The same least squares with DFN in place of the closed form."""
    solve = solver(base)
    std = np.array([base.prior.std[name] for name in FREE])
    slow = curves[0]
    own = slow.at(SHARES) - solve(start, slow)  # the cell's own equilibrium, at equal charge
    weights = [curve_weights(c) * np.sqrt(N_EFFECTIVE / len(SHARES)) for c in curves]

    def residuals(point: Floats) -> Floats:
        whole = start.copy()
        whole[free] = point
        parts = [
            (solve(whole, c) + own - c.at(SHARES)) * w for c, w in zip(curves, weights, strict=True)
        ]
        return np.concatenate([*parts, (point - start[free]) / std])

    low = np.full(len(free), -np.inf)
    low[0] = 0.0
    begin = np.maximum(start[free], low + 1e-6)
    found = least_squares(
        residuals,
        begin,
        bounds=(low, np.full(len(free), np.inf)),
        x_scale=std,
        diff_step=1e-3,
        max_nfev=N_EVALUATIONS,
    )
    return np.asarray(found.x)


if __name__ == "__main__":
    main()
