"""What the host does in a trajectory: drift, melting, broken polyanions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray
from pymatgen.core import Element

from ionbridge.screening.labelling.dynamics.diffusivity import mean_squared_displacement
from ionbridge.screening.labelling.dynamics.trajectory import Trajectory

CENTRES = frozenset(
    ("B", "C", "N", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Sn", "Sb", "Te", "I")
)
"""Elements that polyanions are built around."""
LIGANDS = frozenset(("H", "C", "N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I"))
"""Elements that may surround them; the more electronegative of a pair is the ligand."""
BOND_LENGTH = 1.2
"""A bond is no longer than this, of the sum of covalent radii."""
MIN_LIGANDS = 2
BROKEN_LENGTH = 1.5
"""A bond is broken at this, of its length in the first frames."""
N_AVERAGED = 10
"""Frames at either end that bonds are averaged over: a bond that swings back is not broken."""
MELTING_MSD_A2 = 1.0
"""Vibration alone, Lindemann's limit, stays below: 2 (0.15 x 3 angstrom)^2 with some room."""
MELTING_EXPONENT = 0.5
"""A liquid's MSD grows with the time to the power 1, a crystal's with 0."""

MIN_FRAMES = 16
"""Fewer frames show no growth."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Bond:
    """Indices of both atoms, and what to add to their separation to get the nearest image."""

    centre: int
    ligand: int
    shift_A: Floats


@dataclass(frozen=True, eq=False)
class Host:
    """State of the host at the end of a trajectory.

    Attributes:
        drift_A: Length of its net displacement, first to last frame, angstrom.
        msd_A2: Its MSD at half of the trajectory's length, polyanions' ligands apart, angstrom^2.
        diffusing: Elements of the host, ligands apart, that move like a liquid.
        melted: True if all of them do.
        n_polyanions: Polyanions in the first frames.
        n_broken: Those that have lost a ligand at the end.
    """

    drift_A: float
    msd_A2: float
    diffusing: tuple[str, ...]
    melted: bool
    n_polyanions: int
    n_broken: int

    @property
    def flags(self) -> list[str]:
        """What is wrong with it, one sentence each."""
        flags = []
        if self.melted:
            flags.append("the host melted: all its elements move like a liquid")
        elif self.diffusing:
            flags.append(f"host atoms diffuse: {', '.join(self.diffusing)}")
        if self.n_broken:
            flags.append(f"{self.n_broken} of {self.n_polyanions} polyanions broke")
        return flags


def without_drift(trajectory: Trajectory, working_ion: str) -> tuple[Floats, Floats]:
    """(stored positions, last positions) relative to the mean position of the host.

    Without a host there is nothing to be relative to: positions as they are.
    """
    host = ~is_ion(trajectory, working_ion)
    positions = trajectory.positions_A
    if not host.any():
        return positions, trajectory.last_A
    return (
        positions - positions[:, host].mean(axis=1, keepdims=True),
        trajectory.last_A - trajectory.last_A[host].mean(axis=0),
    )


def is_ion(trajectory: Trajectory, working_ion: str) -> NDArray[np.bool_]:
    """(n_atoms,) where the working ion is."""
    found: NDArray[np.bool_] = np.array(trajectory.symbols) == working_ion
    return found


def inspect_host(trajectory: Trajectory, working_ion: str) -> Host:
    """Drift, melting and polyanions of everything but the working ion."""
    symbols = np.array(trajectory.symbols)
    host = np.flatnonzero(symbols != working_ion)
    positions, _ = without_drift(trajectory, working_ion)
    moved = trajectory.last_A - trajectory.positions_A[0]
    bonds = _bonds(trajectory, host)
    framework = np.setdiff1d(host, [bond.ligand for bond in bonds])
    diffusing = tuple(
        symbol
        for symbol in sorted(set(symbols[framework]))
        if _is_liquid(positions[:, framework[symbols[framework] == symbol]])
    )
    msd = mean_squared_displacement(positions[:, framework]) if len(framework) else np.zeros(1)
    return Host(
        drift_A=float(np.linalg.norm(moved[host].mean(axis=0))) if len(host) else 0.0,
        msd_A2=float(msd[len(msd) // 2]),
        diffusing=diffusing,
        melted=bool(diffusing) and set(diffusing) == set(symbols[framework]),
        n_polyanions=len({bond.centre for bond in bonds}),
        n_broken=len(_broken(positions, bonds)),
    )


def _bonds(trajectory: Trajectory, host: NDArray[np.int64]) -> list[_Bond]:
    """Bonds of polyanions in the first frame."""
    symbols = np.array(trajectory.symbols)
    start = trajectory.positions_A[0]
    to_frac = np.linalg.inv(trajectory.lattice)
    bonds: list[_Bond] = []
    attraction = {symbol: Element(symbol).X for symbol in set(symbols)}
    for centre in host[np.isin(symbols[host], list(CENTRES))]:
        ligands = [s for s in LIGANDS & set(symbols) if attraction[s] > attraction[symbols[centre]]]
        near = host[np.isin(symbols[host], ligands)]
        gap = start[near] - start[centre]
        nearest = gap - np.rint(gap @ to_frac) @ trajectory.lattice
        longest = BOND_LENGTH * (_radius(symbols[near]) + _radius(symbols[[centre]]))
        bonded = np.flatnonzero(np.linalg.norm(nearest, axis=1) <= longest)
        if len(bonded) >= MIN_LIGANDS:
            shift = nearest - gap
            bonds += [_Bond(int(centre), int(near[k]), shift[k]) for k in bonded]
    return bonds


def _radius(symbols: NDArray[np.str_]) -> Floats:
    """Covalent radii in angstrom."""
    return np.array([covalent_radii[atomic_numbers[s]] for s in symbols])


def _broken(positions: Floats, bonds: list[_Bond]) -> set[int]:
    """Centres of polyanions with a bond that has grown for good."""
    n = min(N_AVERAGED, max(1, len(positions) // 2))

    def length(frames: Floats, bond: _Bond) -> float:
        vectors = frames[:, bond.ligand] - frames[:, bond.centre] + bond.shift_A
        return float(np.linalg.norm(vectors, axis=1).mean())

    return {
        bond.centre
        for bond in bonds
        if length(positions[-n:], bond) > BROKEN_LENGTH * length(positions[:n], bond)
    }


def _is_liquid(positions: Floats) -> bool:
    """True if the MSD is beyond vibration and still grows."""
    msd = mean_squared_displacement(positions)
    early, late = msd[len(msd) // 8], msd[len(msd) // 2]
    if len(msd) < MIN_FRAMES or late < MELTING_MSD_A2 or early <= 0:
        return False
    return bool(np.log(late / early) > MELTING_EXPONENT * np.log(4.0))
