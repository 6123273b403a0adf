"""A barrier from a few steps of relaxation: the ion held at the top of its path, and at its ends.

Between a rigid host, which is too high, and a converged band. The ion is held in the plane across
its bond-valence path at the highest point while the atoms near it give way for a few steps; at the
ends likewise, with the ion free.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixedPlane
from ase.filters import Filter
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS
from numpy.typing import ArrayLike, NDArray

from ionbridge.screening.labelling.bands.checked_calculator import (
    BrokenCalculationError,
    CheckedCalculator,
    Watch,
)
from ionbridge.screening.labelling.bands.frozen_host import saddle_point
from ionbridge.screening.labelling.bands.hop_cell import HopCell, mirror_of
from ionbridge.structures.crystals.neighbors import neighbors_within

Floats = NDArray[np.float64]

MAX_STEPS = 10
"""Of each relaxation."""
REACH_A = 4.0
"""Host atoms this close to start, top or end give way."""
FIXED_SHARE = 0.1
"""So much of the host stands still in any case: the farthest."""
FMAX_EV_A = 0.05
"""Relaxed, where no force on a free atom is larger."""
MAX_STEP_A = 0.2
SPRING_EV_A2, DECAY, ALONG_BOND, REST_EV_A2 = 12.0, 3.0, 0.7, 1.0
"""Springs that a relaxation starts from: of a nearest neighbour, how fast they fall off with the
distance over that of nearest neighbours, the share along the bond; of each atom to its place."""
RIVAL_EV, APART, DIP_EV = 0.3, 3, 0.05
"""A second top: no more than this lower, so many points away, with such a dip between."""
SLID_A = 0.6
"""An ion that goes this far from where its path ends was on no site."""
NO_BARRIER_EV = 0.05
"""A lower barrier says that an end is no minimum."""


@dataclass(frozen=True, eq=False)
class Held:
    """One relaxation.

    Attributes:
        energies_eV: Total energy before the first and after every step.
        moved_A: How far the ion went.
        force_eV_A: Largest force on a free atom at the end.
        along_eV_A: Force on the ion along the path at the end.
        positions_A: (n_atoms, 3) at the end, moving ion last.
    """

    energies_eV: tuple[float, ...]
    moved_A: float
    force_eV_A: float
    along_eV_A: float
    positions_A: Floats

    @property
    def n_calls(self) -> int:
        """Number of energies with forces that were computed."""
        return len(self.energies_eV)

    def after(self, n_steps: int) -> float:
        """Total energy after so many steps, or after the last one, eV."""
        return self.energies_eV[min(n_steps, len(self.energies_eV) - 1)]


@dataclass(frozen=True, eq=False)
class ShortRelaxation:
    """Start, top and end of a hop after a few steps.

    Attributes:
        start: With the ion at its start, free.
        end: At its end; the start's where symmetry says that they are alike.
        tops: In the plane across the path at its highest point, and at a rival of that.
        top_points: Indices of these points.
        symmetric: True if the end was not computed.
    """

    start: Held
    end: Held
    tops: tuple[Held, ...]
    top_points: tuple[int, ...]
    symmetric: bool

    @property
    def n_calls(self) -> int:
        """Energies with forces, in all."""
        computed = (self.start, *self.tops, *(() if self.symmetric else (self.end,)))
        return sum(held.n_calls for held in computed)

    @property
    def reason(self) -> str:
        """Why this is no barrier of a hop between two sites; empty if it is."""
        for name, held in (("start", self.start), ("end", self.end)):
            if held.moved_A > SLID_A:
                return f"the {name} slides {held.moved_A:.2f} angstrom away: it is no site"
        lowest = min(self.barrier_eV(), self.barrier_backward_eV())
        if lowest <= NO_BARRIER_EV:
            return f"a relaxed barrier of {lowest:.3f} eV: an end is no minimum"
        return ""

    def barrier_eV(self, n_steps: int = MAX_STEPS) -> float:
        """The higher top above the start after so many steps; after none the host is rigid."""
        return self._top(n_steps) - self.start.after(n_steps)

    def barrier_backward_eV(self, n_steps: int = MAX_STEPS) -> float:
        """The higher top above the end."""
        return self._top(n_steps) - self.end.after(n_steps)

    def _top(self, n_steps: int) -> float:
        return max(held.after(n_steps) for held in self.tops)


def short_relaxation(
    cell: HopCell,
    profile_eV: ArrayLike | None,
    calculator: Calculator,
    max_steps: int = MAX_STEPS,
    watch: Watch | None = None,
) -> ShortRelaxation:
    """Relax start, tops and end of a hop for a few steps.

    Args:
        cell: The hop on its bond-valence path.
        profile_eV: (n,) bond-valence energies at the n points of the path; None takes the middle.
        calculator: Any ASE calculator with forces.
        max_steps: Most steps of each.
        watch: Counts the calls and knows when time is up.

    Raises:
        BrokenCalculationError: The calculator failed, or time is up.
        UnusableStructureError: The path touches the host.
    """
    cell.check_path()
    watch = watch or Watch()
    symmetric = mirror_of(cell) is not None
    top_points = tops(profile_eV, len(cell.path_A), symmetric)
    free = free_host(cell, cell.path_A[[0, *top_points, -1]])

    def relaxed(at: int, held: bool = False) -> Held:
        return _relaxed(cell, at, free, held, calculator, max_steps, watch)

    start = relaxed(0)
    found = tuple(relaxed(at, held=True) for at in top_points)
    end = start if symmetric else relaxed(len(cell.path_A) - 1)
    return ShortRelaxation(start, end, found, top_points, symmetric)


def tops(profile_eV: ArrayLike | None, n_points: int, symmetric: bool) -> tuple[int, ...]:
    """Where a path is highest, never an end, and its rival, where there is one.

    Args:
        profile_eV: See :func:`short_relaxation`.
        n_points: Of the path.
        symmetric: One half of the path is the mirror image of the other, so a rival brings nothing.
    """
    highest = saddle_point(profile_eV, n_points)
    if symmetric or profile_eV is None or len(np.asarray(profile_eV)) != n_points:
        return (highest,)
    e = np.asarray(profile_eV, dtype=float)
    rivals = [
        k
        for k in range(1, n_points - 1)
        if e[k] >= max(e[k - 1], e[k + 1], e[highest] - RIVAL_EV)
        and abs(k - highest) >= APART
        and e[min(k, highest) : max(k, highest)].min() < e[k] - DIP_EV
    ]
    return (highest, *sorted(rivals, key=lambda k: -e[k])[:1])


def free_host(cell: HopCell, points_A: Floats) -> NDArray[np.bool_]:
    """(n_host,) which host atoms give way to an ion at some points."""
    frac = cell.host_A @ np.linalg.inv(cell.lattice)
    _, atom, _, distance = neighbors_within(cell.lattice, frac, points_A, REACH_A)
    nearest = np.full(len(frac), np.inf)
    np.minimum.at(nearest, atom, distance)
    n_free = min(int(np.isfinite(nearest).sum()), int((1 - FIXED_SHARE) * len(frac)))
    free = np.zeros(len(frac), dtype=bool)
    free[np.argsort(nearest, kind="stable")[:n_free]] = True
    return free


def springs(atoms: Atoms, moving: NDArray[np.bool_]) -> Floats:
    """Curvature of springs between neighbours, eV/angstrom^2, for a search to start from.

    In the manner of D. Packwood et al., J. Chem. Phys. 144, 164109 (2016).

    Args:
        atoms: All n of them.
        moving: (n,) which m of them move.

    Returns:
        (3 m, 3 m), positive definite.
    """
    n = len(atoms)
    nearest = np.full(n, np.inf)
    i, j, distance, vector = neighbor_list("ijdD", atoms, 6.0)
    np.minimum.at(nearest, i, distance)
    ratio = distance / np.maximum(nearest[i], nearest[j])
    strength = np.where(ratio < 2.0, SPRING_EV_A2 * np.exp(-DECAY * (ratio - 1.0)), 0.0)
    bond = vector / distance[:, None]
    spring = strength[:, None, None] * (
        ALONG_BOND * bond[:, :, None] * bond[:, None, :] + (1 - ALONG_BOND) * np.eye(3)
    )
    blocks = np.zeros((n, n, 3, 3))
    np.add.at(blocks, (i, i), spring)
    np.subtract.at(blocks, (i, j), spring)
    curvature = blocks[np.ix_(moving, moving)].transpose(0, 2, 1, 3)
    size = 3 * int(moving.sum())
    return np.asarray(curvature.reshape(size, size) + REST_EV_A2 * np.eye(size))


def _relaxed(
    cell: HopCell,
    at: int,
    free: NDArray[np.bool_],
    held: bool,
    calculator: Calculator,
    max_steps: int,
    watch: Watch,
) -> Held:
    """The cell relaxed with the ion at a point of its path, there free or held across the path."""
    path = cell.path_A
    along = path[min(at + 1, len(path) - 1)] - path[max(at - 1, 0)]
    atoms = cell.atoms(np.vstack([cell.host_A, path[at]]))
    return relaxed_briefly(atoms, along, free, held, calculator, max_steps, watch)


def relaxed_briefly(
    atoms: Atoms,
    along_A: Floats,
    free: NDArray[np.bool_],
    held: bool,
    calculator: Calculator,
    max_steps: int,
    watch: Watch,
) -> Held:
    """A cell relaxed for a few steps.

    Args:
        atoms: All of them, moving ion last; they are left where they end.
        along_A: (3,) direction of the path at the ion.
        free: (n_host,) which host atoms give way.
        held: Whether the ion stays in the plane across the path.
        calculator: Any ASE calculator with forces.
        max_steps: Most steps.
        watch: Counts the calls and knows when time is up.

    Raises:
        BrokenCalculationError: The calculator failed, or time is up.
    """
    along = along_A / np.linalg.norm(along_A)
    began_A = atoms.positions[-1].copy()
    atoms.calc = CheckedCalculator(calculator, watch)
    ion = len(atoms) - 1
    atoms.set_constraint(FixedPlane(ion, along) if held else None)
    moving = np.append(free, True)
    part: Any = Filter(atoms, mask=moving)  # ASE declares fewer targets than it takes
    optimizer = BFGS(part, logfile=None, maxstep=MAX_STEP_A)
    optimizer.H0 = springs(atoms, moving)
    energies = []
    for _ in itertools.islice(optimizer.irun(FMAX_EV_A, max_steps), max_steps + 1):
        energies.append(float(atoms.get_potential_energy()))
        if watch.is_over:
            raise BrokenCalculationError(
                f"time is up after {watch.n_calls} energies of a short relaxation"
            )
    unconstrained = atoms.get_forces(apply_constraint=False)
    return Held(
        energies_eV=tuple(energies),
        moved_A=float(np.linalg.norm(atoms.positions[ion] - began_A)),
        force_eV_A=float(np.linalg.norm(atoms.get_forces()[moving], axis=1).max()),
        along_eV_A=float(unconstrained[ion] @ along),
        positions_A=atoms.positions.copy(),
    )
