"""A cheap barrier: the ion relaxed at three points of its path while the host stands still."""

from __future__ import annotations

import numpy as np
from ase.calculators.calculator import Calculator
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from ionbridge.screening.labelling.bands.checked_calculator import CheckedCalculator, Watch
from ionbridge.screening.labelling.bands.frozen_host import FrozenHostBarrier, saddle_point
from ionbridge.screening.labelling.bands.hop_cell import HopCell

Floats = NDArray[np.float64]

FARTHEST_A = 1.0
"""A relaxed ion stays this close to where it was put, along each axis."""
UNIT_STEP_A = 0.15
"""Unit of the search: a spring of 45 eV/angstrom^2 has a curvature of one in it."""


def frozen_host_relaxed_barrier(
    cell: HopCell, profile_eV: ArrayLike | None, calculator: Calculator, max_steps: int = 6
) -> FrozenHostBarrier:
    """The barrier with the ion relaxed: at both ends freely, at the saddle across its path.

    Args:
        cell: The hop.
        profile_eV: See :func:`ionbridge.screening.labelling.bands.frozen_host.frozen_host_barrier`.
        calculator: Any ASE calculator with forces.
        max_steps: Most steps of each of the three relaxations.

    Raises:
        BrokenCalculationError: The calculator failed.
        UnusableStructureError: The path touches the host.
    """
    cell.check_path()
    middle = saddle_point(profile_eV, len(cell.path_A))
    along = cell.path_A[middle + 1] - cell.path_A[middle - 1]
    along /= np.linalg.norm(along)
    across = np.eye(3) - np.outer(along, along)
    watch = Watch()
    start, end, saddle = (
        _relaxed(cell, cell.path_A[k], free, calculator, watch, max_steps)
        for k, free in ((0, np.eye(3)), (-1, np.eye(3)), (middle, across))
    )
    return FrozenHostBarrier(start, end, saddle, watch.n_calls)


def _relaxed(
    cell: HopCell,
    point: Floats,
    free: Floats,
    calculator: Calculator,
    watch: Watch,
    max_steps: int,
) -> float:
    """Lowest energy found with the ion moved in the free directions, eV."""
    atoms = cell.atoms(np.vstack([cell.host_A, point]))
    atoms.calc = CheckedCalculator(calculator, watch)

    def energy_and_gradient(shift: Floats) -> tuple[float, Floats]:
        atoms.positions[-1] = point + free @ shift * UNIT_STEP_A
        forces = atoms.get_forces()[-1]
        return float(atoms.get_potential_energy()), -free @ forces * UNIT_STEP_A

    found = minimize(
        energy_and_gradient,
        np.zeros(3),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-FARTHEST_A / UNIT_STEP_A, FARTHEST_A / UNIT_STEP_A)] * 3,
        options={"maxfun": max_steps, "gtol": 0.05 * UNIT_STEP_A},
    )
    return float(found.fun)
