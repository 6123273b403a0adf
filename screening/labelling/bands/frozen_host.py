"""A cheap barrier: energies of the ion on its bond-valence path while the host stands still.

The path decides more than the potential: one energy where bond valences have their saddle ranks
hops well, and is too high, because the host does not give way. Calibrate before use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.calculators.calculator import Calculator
from numpy.typing import ArrayLike, NDArray

from ionbridge.screening.labelling.bands.checked_calculator import CheckedCalculator, Watch
from ionbridge.screening.labelling.bands.hop_cell import HopCell

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FrozenHostBarrier:
    """What single energies say of a hop.

    Attributes:
        start_eV: Total energy with the ion at its start.
        end_eV: With the ion at its end.
        saddle_eV: The highest of the energies in between.
        n_calls: Calls of the calculator.
    """

    start_eV: float
    end_eV: float
    saddle_eV: float
    n_calls: int

    @property
    def barrier_eV(self) -> float:
        """Saddle above the start, at least zero."""
        return max(self.saddle_eV - self.start_eV, 0.0)

    @property
    def barrier_backward_eV(self) -> float:
        """Saddle above the end, at least zero."""
        return max(self.saddle_eV - self.end_eV, 0.0)


def frozen_host_barrier(
    cell: HopCell, profile_eV: ArrayLike | None, calculator: Calculator, n_points: int = 1
) -> FrozenHostBarrier:
    """The barrier from the energies at both ends and at the bond-valence saddle.

    Args:
        cell: The hop.
        profile_eV: (n,) bond-valence energies at the n points of its path; None takes the middle
            of the path for the saddle.
        calculator: Any ASE calculator.
        n_points: Neighbouring points of the path that are looked at, the saddle in their middle.

    Raises:
        BrokenCalculationError: The calculator failed.
        UnusableStructureError: The path touches the host.
    """
    cell.check_path()
    middle = saddle_point(profile_eV, len(cell.path_A))
    low = max(middle - (n_points - 1) // 2, 1)
    points = cell.path_A[low : max(min(low + n_points, len(cell.path_A) - 1), low + 1)]
    watch = Watch()
    energies = [
        _energy(cell, point, calculator, watch) for point in (*cell.path_A[[0, -1]], *points)
    ]
    return FrozenHostBarrier(energies[0], energies[1], max(energies[2:]), watch.n_calls)


def saddle_point(profile_eV: ArrayLike | None, n_points: int) -> int:
    """Index of the highest point of a profile, never an end; the middle where there is none."""
    if profile_eV is None or len(np.asarray(profile_eV)) != n_points:
        return n_points // 2
    return 1 + int(np.argmax(np.asarray(profile_eV)[1:-1]))


def _energy(cell: HopCell, point: Floats, calculator: Calculator, watch: Watch) -> float:
    atoms = cell.atoms(np.vstack([cell.host_A, point]))
    atoms.calc = CheckedCalculator(calculator, watch, with_forces=False)
    return float(atoms.get_potential_energy())
