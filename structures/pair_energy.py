"""Pair energies of the bond-valence force field, with derivatives and as tables.

Both forms come as stacked arrays ``(energy, slope, curvature)`` with respect to the distance, in eV
and angstrom, and go smoothly to zero at a cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

Floats = NDArray[np.float64]

SWITCH_WIDTH_A = 1.0
"""Pair energies go to zero smoothly over this last stretch before the cutoff."""

MIN_DISTANCE_A = 0.1
"""Pair distances are not taken shorter than this, so that energies stay finite on an atom."""


@dataclass(frozen=True)
class PairEnergy:
    """Pair energy of the working ion with one species, per unit of occupancy.

    Attributes:
        is_anion: Morse (True) or screened Coulomb.
        strength: D0/2 in eV, or the Coulomb prefactor in eV angstrom.
        inverse_length: Morse alpha, or the inverse screening length, 1/angstrom.
        r_min_A: Distance of lowest energy (Morse only).
    """

    is_anion: bool
    strength: float
    inverse_length: float
    r_min_A: float = 0.0


def morse(r: Floats, depth: Floats, alpha: Floats, r_min: Floats) -> Floats:
    """Morse attraction D (x^2 - 2 x) with x = exp(alpha (r_min - r)).

    Args:
        r: Distances in angstrom, any shape; the parameters are broadcastable to it.
        depth: D in eV.
        alpha: In 1/angstrom.
        r_min: In angstrom.

    Returns:
        (3, ...) energy, slope, curvature.
    """
    x = np.exp(alpha * (r_min - r))
    return np.stack(
        [
            depth * x * (x - 2),
            -2 * depth * alpha * x * (x - 1),
            2 * depth * alpha**2 * x * (2 * x - 1),
        ]
    )


def coulomb(r: Floats, strength: Floats, inverse_length: Floats, _: Floats) -> Floats:
    """Screened repulsion A erfc(k r) / r; takes the same arguments as `morse`.

    Args:
        r: Distances in angstrom, any shape; the parameters are broadcastable to it.
        strength: A in eV angstrom.
        inverse_length: k in 1/angstrom.

    Returns:
        (3, ...) energy, slope, curvature.
    """
    scaled = inverse_length * r
    energy = strength * erfc(scaled) / r
    bell = strength * inverse_length * (2 / np.sqrt(np.pi)) * np.exp(-(scaled**2))
    slope = -(energy + bell) / r
    return np.stack([energy, slope, -2 * slope / r + 2 * bell * inverse_length**2])


def switched(r: Floats, value: Floats, cutoff_A: float) -> tuple[Floats, Floats, Floats]:
    """Energy and derivatives multiplied by a quintic step from 1 to 0 before the cutoff.

    Args:
        r: Distances in angstrom.
        value: (3, ...) energy, slope, curvature at `r`.
        cutoff_A: Where the step ends; it begins SWITCH_WIDTH_A before.
    """
    t = np.clip((r - cutoff_A) / SWITCH_WIDTH_A + 1, 0.0, 1.0)
    step = 1 - t**3 * (10 - 15 * t + 6 * t**2)
    step1 = -30 * t**2 * (1 - t) ** 2 / SWITCH_WIDTH_A
    step2 = -60 * t * (1 - t) * (1 - 2 * t) / SWITCH_WIDTH_A**2
    v, v1, v2 = value
    return v * step, v1 * step + v * step1, v2 * step + 2 * v1 * step1 + v * step2


@dataclass(frozen=True, eq=False)
class RadialTable:
    """Pair energy of one species against the squared distance, for nearest-entry lookup.

    Attributes:
        energy_eV: (n,) float32 values at squared distances ``(i + 0.5) / scale``; the last is zero.
        scale: Entries per angstrom^2.
        reach_A: Beyond this distance the energy is negligible; the table ends there.
    """

    energy_eV: NDArray[np.float32]
    scale: float
    reach_A: float

    def __call__(self, index: NDArray[np.float32] | Floats) -> NDArray[np.float32]:
        """Energies at (non-negative) ``squared distance * scale``; zero beyond the table."""
        return self.energy_eV.take(index.astype(np.intp), mode="clip")


@lru_cache(maxsize=256)
def radial_table(
    species: PairEnergy, cutoff_A: float, negligible_eV: float, size: int
) -> RadialTable:
    """Table of one pair energy.

    Args:
        species: The pair.
        cutoff_A: Interaction cutoff.
        negligible_eV: The table ends where the energy stays below this.
        size: Number of entries.
    """
    r = np.linspace(MIN_DISTANCE_A, cutoff_A, 8000)
    one = np.ones_like(r)
    form = morse if species.is_anion else coulomb
    parts = form(r, species.strength * one, species.inverse_length * one, species.r_min_A * one)
    energy = switched(r, parts, cutoff_A)[0]
    loud = np.flatnonzero(np.abs(energy) > negligible_eV)
    reach = float(r[min(int(loud.max(initial=0)) + 1, len(r) - 1)])
    scale = size / reach**2
    table = np.interp(np.sqrt((np.arange(size + 1) + 0.5) / scale), r, energy)
    table[-1] = 0.0
    return RadialTable(table.astype(np.float32), scale, reach)
