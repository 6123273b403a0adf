"""Make the starter set of diffusivities: CHGNet molecular dynamics of three fast conductors.

    python -m benchmarks.make.starter_md --work DIR [--analyse-only]

Runs are ordered so that any prefix is useful: every conductor at one temperature first, then the
other temperatures, then longer. Trajectories stay in the work folder, where a killed run goes on
from its last frame; the labels go to screening/data/starter_md.json after every run. Raise
`LENGTHS_PS` and run it again to extend the set.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.dynamics.md import (
    Dynamics,
    DynamicsError,
    run_dynamics,
    simulation_cell,
)
from ionbridge.screening.labelling.dynamics.md_labels import MdSettings, crystal_label, run_label
from ionbridge.structures.chemistry.ordering import Ordered
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.records import Crystal

OUT = Path(__file__).parents[2] / "screening" / "data" / "starter_md.json"
TEMPERATURES_K = (1000.0, 1200.0, 800.0)
LENGTHS_PS = (3.0, 10.0, 20.0)
SETTINGS = MdSettings(
    temperatures_K=tuple(sorted(TEMPERATURES_K)),
    calculator=CalculatorChoice("chgnet"),
    dynamics=Dynamics(
        n_steps=round(LENGTHS_PS[-1] * 1e3 / 2.0), timestep_fs=2.0, write_every=10, seed=0
    ),
    skip_ps=1.0,
)
SIGNIFICANT_DIGITS = 5


def conductors() -> list[tuple[Crystal, float]]:
    """Crystals with the least width of their cell in angstrom.

    Cubic Na3PS4 without defects hardly conducts: one sodium in 24 is taken out, and one sulphur in
    32 is chlorine, which keeps the charge.
    """
    argyrodite = PROTOTYPES["Li6PS5Cl-argyrodite"].build("Li6PS5Cl")
    lgps = PROTOTYPES["Li10GeP2S12-LGPS"].build("Li10GeP2S12")
    sodium = PROTOTYPES["Na3PS4-cubic"].build("Na2.875PS3.875Cl0.125")
    defects = {"Na": {"Na": 23 / 24}, "S": {"S": 31 / 32, "Cl": 1 / 32}}
    species = tuple(defects.get(next(iter(site)), site) for site in sodium.species)
    return [(argyrodite, 9.5), (replace(sodium, species=species), 12.1), (lgps, 8.0)]


def cells() -> list[tuple[Crystal, Ordered]]:
    return [
        (crystal, simulation_cell(crystal, width, SETTINGS.dynamics.seed))
        for crystal, width in conductors()
    ]


def trajectory_path(work: Path, crystal: Crystal, temperature_K: float) -> Path:
    return work / f"{crystal.id}_{temperature_K:g}K.traj"


def run(work: Path) -> None:
    """All runs, round by round; what the file of labels holds grows with them."""
    work.mkdir(parents=True, exist_ok=True)
    calculator = SETTINGS.calculator.make()
    for length_ps in LENGTHS_PS:
        for temperature_K in TEMPERATURES_K:
            for crystal, cell in cells():
                path = trajectory_path(work, crystal, temperature_K)
                n_steps = round(length_ps * 1e3 / SETTINGS.dynamics.timestep_fs)
                settings = replace(SETTINGS.dynamics, n_steps=n_steps)
                started = time.perf_counter()
                print(f"{path.name} to {length_ps:g} ps", flush=True)
                try:
                    run_dynamics(cell.crystal, calculator, temperature_K, settings, path)
                except DynamicsError as error:
                    print(f"{path.name}: {error}", flush=True)
                print(f"{path.name} took {time.perf_counter() - started:.0f} s", flush=True)
                write_json(OUT, document(work))


def document(work: Path) -> dict[str, Any]:
    """The labels of all runs that have begun."""
    labels = []
    for crystal, cell in cells():
        runs = []
        for temperature_K in SETTINGS.temperatures_K:
            path = trajectory_path(work, crystal, temperature_K)
            if path.exists():
                ion = str(crystal.working_ion)
                runs.append(run_label(path, ion, temperature_K, SETTINGS))
        if runs:
            label = crystal_label(crystal, ion, cell, runs, SETTINGS)
            labels.append({**label, "reference": crystal.extra["reference"]})
    return {
        "provenance": {
            "made_by": "python -m benchmarks.make.starter_md",
            "note": "molecular dynamics with a universal potential, hundreds of kelvin above use: "
            "values at 300 K are extrapolated, and universal potentials are softer than the "
            "functional they were fitted to, so barriers come out too low",
            "lattices": "as measured at room temperature; no thermal expansion",
        },
        "labels": _rounded(labels),
    }


def _rounded(data: Any) -> Any:
    """Numbers with as many digits as mean something."""
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_rounded(value) for value in data]
    return float(f"{data:.{SIGNIFICANT_DIGITS}g}") if isinstance(data, float) else data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the trajectories")
    parser.add_argument("--analyse-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    if args.analyse_only:
        write_json(OUT, document(args.work))
    else:
        run(args.work)


if __name__ == "__main__":
    main()
