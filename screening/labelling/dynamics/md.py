"""Molecular dynamics with any ASE calculator: crystal -> trajectories, one a temperature.

The canonical ensemble is kept by stochastic velocity rescaling (G. Bussi, D. Donadio and
M. Parrinello, J. Chem. Phys. 126, 014101 (2007)), which leaves the dynamics, and so the
diffusivity, all but undisturbed. Trajectories are written as they go, positions with velocities,
so that a run killed at any moment goes on from its last whole frame. Beside a trajectory lies a
checksum of every frame, each made of the one before as well: a frame that was altered does not
hold, and the run goes on from before it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import spglib
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.io.trajectory import Trajectory
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import Stationary
from ase.optimize import FIRE
from numpy.typing import NDArray

from ionbridge.screening.execution.shards import write_atomically
from ionbridge.screening.labelling.bands.supercell import cells_in, smallest_supercell
from ionbridge.structures.chemistry.ordering import Ordered, ordered
from ionbridge.structures.crystals.symmetry import from_spglib
from ionbridge.structures.records import Crystal

METHOD = "mlip_md"
MAX_CELLS = 64
RUNAWAY_TEMPERATURE = 5.0
"""A run whose kinetic temperature is so many times the wanted one has exploded."""
MAX_RELAXATION_STEPS = 100

CHECKSUMS = ".sha256"
"""Ending of the file of checksums beside a trajectory: a line a frame."""

Report = Callable[[int], None]


class DynamicsError(RuntimeError):
    """A run that cannot go on; the message says why and what was computed before."""


@dataclass(frozen=True)
class Dynamics:
    """How the atoms are moved.

    Attributes:
        n_steps: Steps at every temperature.
        timestep_fs: Time step in fs.
        write_every: Steps between two frames of the trajectory.
        thermostat_fs: Time constant of the velocity rescaling in fs.
        fmax_eV_A: The cell's atoms are relaxed to this force first, `MAX_RELAXATION_STEPS` at most.
        seed: Of velocities, thermostat and ordering.
    """

    n_steps: int = 5000
    timestep_fs: float = 2.0
    write_every: int = 10
    thermostat_fs: float = 100.0
    fmax_eV_A: float = 0.1
    seed: int = 0

    @property
    def frame_interval_fs(self) -> float:
        """Time between two frames of the trajectory in fs."""
        return self.timestep_fs * self.write_every


def simulation_cell(crystal: Crystal, min_width_A: float, seed: int) -> Ordered:
    """The ordered supercell that is simulated.

    Args:
        crystal: Ordered or disordered.
        min_width_A: Least distance of an atom from its periodic copies, angstrom.
        seed: Of the ordering.

    Raises:
        UnusableStructureError: No supercell is wide enough, or the sites cannot be ordered.
    """
    rotations = lattice_rotations(crystal.lattice)
    rows = smallest_supercell(crystal.lattice, rotations, min_width_A, MAX_CELLS)
    cells = cells_in(rows)
    frac = (crystal.frac[None] + cells[:, None]).reshape(-1, 3) @ np.linalg.inv(rows)
    large = replace(
        crystal,
        lattice=rows @ crystal.lattice,
        species=crystal.species * len(cells),
        frac=frac % 1.0,
    )
    found = ordered(large, seed)
    return replace(found, how=f"{len(cells)} cell(s) of the input, {found.how}")


def lattice_rotations(lattice: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n, 3, 3) point group of the empty lattice on fractional coordinates.

    A supercell that keeps it is as compact as the lattice allows.
    """
    point = lattice.tolist(), [[0.0, 0.0, 0.0]], [1]
    symmetry = from_spglib(spglib.get_symmetry, point)
    assert symmetry is not None, "a lattice always has its inversion"
    return np.array(symmetry["rotations"], dtype=np.int64)


def run_dynamics(
    crystal: Crystal,
    calculator: Calculator,
    temperature_K: float,
    settings: Dynamics,
    path: Path,
    report: Report = lambda steps: None,
    made_by: str = "",
) -> None:
    """Run, or go on with, one trajectory until it has all its steps.

    Args:
        crystal: Ordered cell, periodic in all directions; its lattice is kept.
        calculator: Any ASE calculator with forces.
        temperature_K: Of the thermostat, K.
        settings: How the atoms are moved.
        path: ASE trajectory (.traj); where it exists, the run goes on from the last frame that
            holds.
        report: Called with the number of steps made so far.
        made_by: What decides the run, as text; frames made by anything else do not hold.

    Raises:
        DynamicsError: The calculator fails, gives numbers that are not finite, or the atoms fly
            apart. The frames written before stay.
    """
    sums = keep_whole_frames(path, made_by)
    n_frames = len(sums)
    if n_frames:
        with Trajectory(str(path)) as trajectory:
            atoms = trajectory[n_frames - 1]
        atoms.calc = calculator
    else:
        atoms = _started(crystal, calculator, temperature_K, settings)
    n_done = max(0, n_frames - 1) * settings.write_every
    report(n_done)
    if n_done >= settings.n_steps:
        return
    dynamics = Bussi(
        atoms,
        settings.timestep_fs * units.fs,
        temperature_K=temperature_K,
        taut=settings.thermostat_fs * units.fs,
        rng=np.random.default_rng([settings.seed, n_done]),
    )
    writer = Trajectory(str(path), "a", atoms, properties=["energy"])
    last = sums[-1] if sums else _seed(made_by)

    def written() -> str:
        """The frame on disk, then its checksum."""
        writer.write()
        found = _frame_sum(last, atoms)
        with sums_file(path).open("a", encoding="ascii") as file:
            file.write(f"{found}\n")
        return found

    try:
        if not n_frames:
            last = written()
        while n_done < settings.n_steps:
            try:
                dynamics.run(settings.write_every)
            except Exception as error:
                raise DynamicsError(
                    f"the calculator failed after {n_done} steps: {type(error).__name__}: {error}"
                ) from error
            _check(atoms, temperature_K, n_done)
            last = written()
            n_done += settings.write_every
            report(n_done)
    finally:
        writer.close()


def _started(
    crystal: Crystal, calculator: Calculator, temperature_K: float, settings: Dynamics
) -> Atoms:
    """Relaxed atoms with velocities of the temperature and no net momentum."""
    symbols = [next(iter(site)) for site in crystal.species]
    atoms = Atoms(symbols, cell=crystal.lattice, scaled_positions=crystal.frac, pbc=True)
    atoms.calc = calculator
    try:
        FIRE(atoms, logfile=None).run(fmax=settings.fmax_eV_A, steps=MAX_RELAXATION_STEPS)
    except Exception as error:
        raise DynamicsError(
            f"the calculator failed in the relaxation: {type(error).__name__}: {error}"
        ) from error
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature_K)[:, None]
    rng = np.random.default_rng(settings.seed)
    atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))
    Stationary(atoms)
    return atoms


def _check(atoms: Atoms, temperature_K: float, n_done: int) -> None:
    """Stop a run that has left the ground of physics."""
    energy = atoms.get_potential_energy()
    if not (np.isfinite(energy) and np.isfinite(atoms.positions).all()):
        raise DynamicsError(f"energy or positions are not finite after {n_done} steps")
    kinetic = atoms.get_temperature()
    if not kinetic < RUNAWAY_TEMPERATURE * temperature_K:
        raise DynamicsError(
            f"the atoms fly apart after {n_done} steps: {kinetic:.0f} K instead of "
            f"{temperature_K:g} K; take a shorter time step or another calculator"
        )


def sums_file(path: Path) -> Path:
    """Where the checksums of a trajectory's frames lie."""
    return path.with_name(path.name + CHECKSUMS)


def keep_whole_frames(path: Path, made_by: str = "") -> list[str]:
    """Checksums of the frames of a trajectory that hold; it is cut off before the first that does
    not, be it torn by a kill or altered, and more than a last frame is said on stderr.
    """
    try:
        stated = sums_file(path).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        stated = []
    sums: list[str] = []
    n_frames = _n_frames(path)
    for atoms in _readable_frames(path):
        found = _frame_sum(sums[-1] if sums else _seed(made_by), atoms)
        if stated[len(sums) : len(sums) + 1] != [found]:
            break
        sums.append(found)
    if len(sums) < max(n_frames, len(stated)) - 1:
        print(
            f"ionbridge: {path}: its frames from {len(sums)} on do not hold; computed again",
            file=sys.stderr,
        )
    if sums and len(sums) == n_frames == len(stated):
        return sums
    if sums:
        partial = path.with_name(f".{path.name}.partial")
        with Trajectory(str(partial), "w") as writer:
            for atoms in islice(_readable_frames(path), len(sums)):
                writer.write(atoms)
        os.replace(partial, path)
    else:
        path.unlink(missing_ok=True)
    write_atomically(sums_file(path), (f"{found}\n" for found in sums))
    return sums


def _seed(made_by: str) -> str:
    return hashlib.sha256(made_by.encode()).hexdigest()


def _frame_sum(before: str, atoms: Atoms) -> str:
    """SHA-256 of a frame and of the checksum of the frame before it."""
    digest = hashlib.sha256(before.encode())
    for values in (atoms.numbers, atoms.cell.array, atoms.positions, atoms.get_momenta()):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _n_frames(path: Path) -> int:
    """Frames that a trajectory says it has; 0 where it cannot be read."""
    try:
        with Trajectory(str(path)) as trajectory:
            return len(trajectory)
    except Exception:  # whatever a torn file makes its reader raise
        return 0


def _readable_frames(path: Path) -> Iterator[Atoms]:
    """Frames up to the first that cannot be read."""
    try:
        with Trajectory(str(path)) as trajectory:
            for i in range(len(trajectory)):
                yield trajectory[i]
    except Exception:
        return
