"""Make the starter set of diffusivities: CHGNet molecular dynamics of three fast conductors.

    python -m benchmarks.make_starter_md --work DIR [--out FILE] [--analyse-only]

Runs are ordered so that any prefix is useful: every conductor at one temperature first, then the
other temperatures, then longer. Trajectories stay in the work folder, where a killed run goes on
from its last frame; the labels go to screening/data/starter_md.json. Raise `ROUNDS_PS` and run it
again to extend the set.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from screening.labelling.calculators import CalculatorChoice
from screening.labelling.md import Dynamics, DynamicsError, run_dynamics, simulation_cell
from structures.ordering import Ordered
from structures.prototypes import PROTOTYPES
from structures.records import Crystal

OUT = Path(__file__).parents[1] / "screening" / "data" / "starter_md.json"
ROUNDS_PS = (
    (1000.0, 5.0),
    (1200.0, 5.0),
    (800.0, 5.0),
    (1000.0, 20.0),
    (1200.0, 20.0),
    (800.0, 20.0),
)
"""(temperature in K, length in ps) in the order in which all conductors are run."""
SETTINGS = Dynamics(n_steps=0, timestep_fs=2.0, write_every=10, seed=0)


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


def cells() -> list[Ordered]:
    return [simulation_cell(crystal, width, SETTINGS.seed) for crystal, width in conductors()]


def run(work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    calculator = CalculatorChoice("chgnet").make()
    for temperature_K, length_ps in ROUNDS_PS:
        for cell in cells():
            path = trajectory_path(work, cell.crystal, temperature_K)
            settings = replace(SETTINGS, n_steps=round(length_ps * 1e3 / SETTINGS.timestep_fs))
            started = time.perf_counter()
            print(f"{path.name} to {length_ps:g} ps ({cell.how})", flush=True)
            try:
                run_dynamics(cell.crystal, calculator, temperature_K, settings, path)
            except DynamicsError as error:
                print(f"{path.name}: {error}", flush=True)
            print(f"{path.name} took {time.perf_counter() - started:.0f} s", flush=True)


def trajectory_path(work: Path, crystal: Crystal, temperature_K: float) -> Path:
    return work / f"{crystal.id}_{temperature_K:g}K.traj"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the trajectories")
    args = parser.parse_args()
    run(args.work)


if __name__ == "__main__":
    main()
