"""Diffusivity labels of four published AIMD runs of argyrodites.

    python -m benchmarks.argyrodite_aimd --data DIR

Checks the mean squared displacements against values found by other hands, and shows the interval
beside what a plain straight line through the MSD says. Writes
benchmarks/results/argyrodite_aimd.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from ionbridge.screening.labelling.dynamics.diffusion_label import motion
from ionbridge.screening.labelling.dynamics.diffusivity import mean_squared_displacement
from ionbridge.screening.labelling.dynamics.host import is_ion, without_drift
from ionbridge.screening.labelling.dynamics.trajectory import Trajectory, read_trajectory
from ionbridge.structures.sources import argyrodite_aimd
from ionbridge.structures.transport.closed_forms import msd_to_diffusivity

RESULT = Path(__file__).parent / "results" / "argyrodite_aimd.json"
REFERENCE_MSD_A2 = {
    "Li6PS5Cl_0p_run1": 8.2,
    "Li6PS5Cl_50p_run1": 11.8,
    "Li6PS5I_0p_run1": 3.1,
    "Li6PS5I_100p_run1": 5.0,
}
TOLERANCE = 0.02
SHOWN = (
    "n_frames",
    "duration_ps",
    "n_jumps",
    "msd_A2",
    "host_drift_A",
    "tracer_diffusivity_cm2_s",
    "tracer_diffusivity_cm2_s_lower",
    "tracer_diffusivity_cm2_s_upper",
    "jump_diffusivity_cm2_s_upper",
    "conductivity_S_cm",
    "n_polyanions",
    "n_polyanions_broken",
    "host_melted",
    "flags",
    "status",
    "reason",
)


def straight_line(trajectory: Trajectory, ion: str) -> float:
    """Ordinary least squares through the MSD from 10 % to 50 % of the length, cm^2/s."""
    positions, _ = without_drift(trajectory, ion)
    msd = mean_squared_displacement(positions[:, is_ion(trajectory, ion)])
    lag = np.arange(len(msd) // 10, len(msd) // 2)
    slope = np.polyfit(lag * trajectory.stored_interval_ps, msd[lag], 1)[0]
    return float(msd_to_diffusivity(slope))


def measured(run: argyrodite_aimd.AimdRun) -> dict[str, Any]:
    started = time.perf_counter()
    trajectory = read_trajectory(run.path, run.interval_fs)
    label = motion(trajectory, run.working_ion, run.temperature_K).label
    reference = REFERENCE_MSD_A2[run.name]
    deviation = label["msd_A2"] / reference - 1
    return {
        **{key: label[key] for key in SHOWN},
        "reference_msd_A2": reference,
        "deviation": round(deviation, 4),
        "within_tolerance": abs(deviation) <= TOLERANCE,
        "baseline_straight_line_cm2_s": straight_line(trajectory, run.working_ion),
        "seconds": round(time.perf_counter() - started, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    args = parser.parse_args()
    runs = {run.name: measured(run) for run in argyrodite_aimd.load(args.data).records}
    for name, run in runs.items():
        print(f"{name:20s} {json.dumps(run, ensure_ascii=False)}")
    results = {
        "data_sha256": argyrodite_aimd.SOURCE.checksums(args.data),
        "tolerance": TOLERANCE,
        "runs": runs,
    }
    RESULT.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
