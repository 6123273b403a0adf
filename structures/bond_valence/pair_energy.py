"""Pair energies of the bond-valence force field, with derivatives and as tables.

Energy, slope and curvature are with respect to the distance, in eV and angstrom, and go smoothly to
zero at a cutoff.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.compiled import compiled

Floats = NDArray[np.float64]

SWITCH_WIDTH_A = 1.0
"""Pair energies go to zero smoothly over this last stretch before the cutoff."""

MIN_DISTANCE_A = 0.1
"""Pair distances are not taken shorter than this, so that energies stay finite on an atom."""

_N_SCAN = 8000
"""Distances at which a pair energy is looked at to find out where it ends."""


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

    @property
    def parameters(self) -> tuple[float, ...]:
        """The attributes as numbers, as :func:`pair_energy` takes them."""
        return tuple(map(float, astuple(self)))


@compiled
def pair_energy(
    distance_A: float, parameters: Floats, kind: int, cutoff_A: float
) -> tuple[float, float, float]:
    """Energy, slope and curvature of a pair.

    Morse attraction D (x^2 - 2 x) with x = exp(alpha (r_min - r)), or screened repulsion
    A erfc(k r) / r; times a quintic step from 1 to 0 over the last SWITCH_WIDTH_A.

    Args:
        distance_A: r; taken to be MIN_DISTANCE_A where it is shorter.
        parameters: (n_species, 4) of :class:`PairEnergy`.
        kind: Which of the species.
        cutoff_A: Where the step ends.
    """
    r = max(distance_A, MIN_DISTANCE_A)
    strength, inverse_length = parameters[kind, 1], parameters[kind, 2]
    if parameters[kind, 0] > 0.5:
        x = math.exp(inverse_length * (parameters[kind, 3] - r))
        v = strength * x * (x - 2)
        v1 = -2 * strength * inverse_length * x * (x - 1)
        v2 = 2 * strength * inverse_length**2 * x * (2 * x - 1)
    else:
        scaled = inverse_length * r
        v = strength * math.erfc(scaled) / r
        bell = strength * inverse_length * (2 / math.sqrt(math.pi)) * math.exp(-(scaled**2))
        v1 = -(v + bell) / r
        v2 = -2 * v1 / r + 2 * bell * inverse_length**2
    t = (r - cutoff_A) / SWITCH_WIDTH_A + 1
    if t <= 0.0:
        return v, v1, v2
    if t >= 1.0:
        return 0.0, 0.0, 0.0
    step = 1 - t**3 * (10 - 15 * t + 6 * t**2)
    step1 = -30 * t**2 * (1 - t) ** 2 / SWITCH_WIDTH_A
    step2 = -60 * t * (1 - t) * (1 - 2 * t) / SWITCH_WIDTH_A**2
    return v * step, v1 * step + v * step1, v2 * step + 2 * v1 * step1 + v * step2


@compiled
def _on_grid(distance_A: Floats, parameters: Floats, cutoff_A: float) -> Floats:
    """(n, 3) energy, slope and curvature at (n,) distances."""
    out = np.empty((len(distance_A), 3))
    for i in range(len(distance_A)):
        out[i, 0], out[i, 1], out[i, 2] = pair_energy(distance_A[i], parameters, 0, cutoff_A)
    return out


@compiled
def _reach(parameters: Floats, cutoff_A: float, negligible_eV: float) -> float:
    """The distance beyond which a pair energy is negligible, angstrom, on a grid of _N_SCAN."""
    step = (cutoff_A - MIN_DISTANCE_A) / _N_SCAN
    for i in range(_N_SCAN - 1, -1, -1):
        r = MIN_DISTANCE_A + i * step
        if abs(pair_energy(r, parameters, 0, cutoff_A)[0]) > negligible_eV:
            return r + step
    return MIN_DISTANCE_A + step


@compiled
def _energies(parameters: Floats, cutoff_A: float, scale: float, size: int) -> NDArray[np.float32]:
    """(size + 1,) energies at squared distances ``(i + 0.5) / scale``, the last one zero."""
    table = np.zeros(size + 1, np.float32)
    for i in range(size):
        table[i] = pair_energy(math.sqrt((i + 0.5) / scale), parameters, 0, cutoff_A)[0]
    return table


@lru_cache(maxsize=4096)
def reach_A(species: PairEnergy, cutoff_A: float, negligible_eV: float) -> float:
    """Beyond this distance, angstrom, the energy of a pair stays below what is negligible."""
    return float(_reach(np.array([species.parameters]), cutoff_A, negligible_eV))


@dataclass(frozen=True, eq=False)
class RadialTables:
    """Pair energies of some species against the squared distance, for nearest-entry lookup.

    Attributes:
        energy_eV: (n_species, size + 1) float32 values at squared distances ``(i + 0.5) / scale``;
            the last is zero.
        scale: (n_species,) entries per angstrom^2.
        reach_A: (n_species,) beyond this distance the energy is negligible; the table ends there.
    """

    energy_eV: NDArray[np.float32]
    scale: Floats
    reach_A: Floats


def radial_tables(
    species: tuple[PairEnergy, ...], cutoff_A: float, negligible_eV: float, size: int
) -> RadialTables:
    """Tables of pair energies.

    Args:
        species: The pairs.
        cutoff_A: Interaction cutoff.
        negligible_eV: A table ends where its energy stays below this.
        size: Number of entries.
    """
    reach = np.array([reach_A(one, cutoff_A, negligible_eV) for one in species])
    energy = [_radial_table(one, cutoff_A, negligible_eV, size) for one in species]
    return RadialTables(np.stack(energy), size / reach**2, reach)


@lru_cache(maxsize=1024)
def _radial_table(
    species: PairEnergy, cutoff_A: float, negligible_eV: float, size: int
) -> NDArray[np.float32]:
    scale = size / reach_A(species, cutoff_A, negligible_eV) ** 2
    return np.asarray(_energies(np.array([species.parameters]), cutoff_A, scale, size))


SLOPES_PER_A = 100
"""Entries of a table of slopes per angstrom."""


def slope_tables(species: tuple[PairEnergy, ...], cutoff_A: float) -> Floats:
    """(n_species, n, 2) slope and curvature of pair energies at distances ``i / SLOPES_PER_A``.

    Between two of them a cubic that meets both (:func:`slope_and_curvature`) is right to 1e-5
    eV/angstrom at all distances that a path comes to.

    Args:
        species: The pairs.
        cutoff_A: Interaction cutoff; the last entries are zero.
    """
    return np.stack([_slope_table(one, cutoff_A) for one in species])


@lru_cache(maxsize=1024)
def _slope_table(species: PairEnergy, cutoff_A: float) -> Floats:
    r = np.arange(math.ceil(cutoff_A * SLOPES_PER_A) + 2) / SLOPES_PER_A
    return np.asarray(_on_grid(r, np.array([species.parameters]), cutoff_A)[:, 1:])


@compiled
def slope_and_curvature(distance_A: float, tables: Floats, kind: int) -> tuple[float, float]:
    """Of a pair energy with a table of :func:`slope_tables`, beyond its end zero.

    Args:
        distance_A: Of the pair.
        tables: (n_species, n, 2).
        kind: Which of the species.
    """
    x = distance_A * SLOPES_PER_A
    i = int(x)
    if i > tables.shape[1] - 2:
        return 0.0, 0.0
    t = x - i
    h = 1.0 / SLOPES_PER_A
    low, high = tables[kind, i, 0], tables[kind, i + 1, 0]
    rise = high - low
    a, b = h * tables[kind, i, 1] - rise, rise - h * tables[kind, i + 1, 1]
    s = 1.0 - t
    value = s * low + t * high + t * s * (a * s + b * t)
    change = rise + (s - t) * (a * s + b * t) + t * s * (b - a)
    return value, change * SLOPES_PER_A
