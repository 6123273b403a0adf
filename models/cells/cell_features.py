"""What the correction of the closed form is told: dimensionless, local, alike for all electrodes.

Both electrodes are described along their own filling coordinate z (stoichiometry of the positive,
one minus that of the negative), in which the potential that counts falls during discharge. So one
network serves both, and what it has learnt on the plateaus of graphite is there for LiFePO4.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cells.single_particle import (
    SATURATED_SLOPE_V,
    Cells,
    Discharge,
    ElectrodeState,
    ElectrodeTables,
    Surface,
    Unevenness,
)

Floats = NDArray[np.float64]

N_LOCAL = 1001
OFFSETS = (-0.15, -0.05, -0.015, 0.015, 0.05, 0.15)
"""Distances in stoichiometry over which the potential's course is shown, behind and ahead."""
REFERENCE_THERMAL_V = 0.0257
FEWEST_ROOM = 1e-4
NAMES = (
    "ohmic", "solid", "kinetic", "ohmic_over_kinetic", "fourier", "diffusive", "room", "beyond",
    "lag", "progress", "slope", *(f"potential{o:+g}" for o in OFFSETS), "settled", "depletion",
    "depletion_other", "ohmic_other",
    "crowding", "amplitude", "spread", "spread_potential",
)  # fmt: skip
"""The features in their order."""


def fill_potential(tables: ElectrodeTables, is_negative: bool) -> Floats:
    """(n_sto,) potential along the filling coordinate, falling during discharge, V."""
    return -tables.potential[::-1] if is_negative else tables.potential


@lru_cache(maxsize=64)
def _local(tables: ElectrodeTables, is_negative: bool) -> NDArray[np.float32]:
    """(N_LOCAL, 1 + len(OFFSETS)) slope and course of the potential by filling coordinate."""
    potential = fill_potential(tables, is_negative)
    fine = np.linspace(0.0, 1.0, len(potential))
    z = np.linspace(0.0, 1.0, N_LOCAL)
    centre = np.interp(z, fine, potential)
    columns = []
    for offset in (*OFFSETS, -0.005, 0.005):
        moved = z + offset
        beyond = moved - np.clip(moved, 0.0, 1.0)
        columns.append(np.interp(moved, fine, potential) - SATURATED_SLOPE_V * beyond)
    slope = (columns[-2] - columns[-1]) / 0.01 / REFERENCE_THERMAL_V
    course = [np.arcsinh((c - centre) / REFERENCE_THERMAL_V) for c in columns[:-2]]
    rows = np.column_stack([np.log(np.maximum(slope, 0.03)), *course])
    return rows.astype(np.float32)


def electrode_features(
    cells: Cells, state: Discharge, uneven: Unevenness, time: Floats
) -> NDArray[np.float32]:
    """Features of both electrodes at (n, m) moments.

    Args:
        cells: n cells.
        state: The closed form there.
        uneven: The reaction's crowding there.
        time: (n, m) s.

    Returns:
        (2, n, m, len(NAMES)), negative electrode first.
    """
    result = np.empty((2, *time.shape, len(NAMES)), dtype=np.float32)
    pairs = (
        (cells.negative, state.negative, cells.positive, True),
        (cells.positive, state.positive, cells.negative, False),
    )
    for i, (electrode, surface, other, is_negative) in enumerate(pairs):
        _fill(result[i], cells, electrode, surface, other, state.settled, time, is_negative)
        _fill_uneven(result[i], cells, uneven.amplitude[i], uneven.spread[i])
    return result


def _fill(
    out: NDArray[np.float32],
    cells: Cells,
    electrode: ElectrodeState,
    surface: Surface,
    other: ElectrodeState,
    settled: Floats,
    time: Floats,
    is_negative: bool,
) -> None:
    thermal = cells.thermal
    z = 1.0 - surface.surface if is_negative else surface.surface
    mean = 1.0 - surface.mean if is_negative else surface.mean
    start = 1.0 - electrode.start if is_negative else electrode.start
    ohmic, kinetic = electrode.ohmic / thermal, surface.overpotential / thermal
    clipped = np.clip(z, 0.0, 1.0)
    index = (clipped * (N_LOCAL - 1) + 0.5).astype(np.intp)
    log_ohmic, log_kinetic = np.log(ohmic + 1e-3), np.log(kinetic + 1e-3)
    n_course = 1 + len(OFFSETS)
    out[..., 0] = log_ohmic
    out[..., 1] = np.log(electrode.solid / thermal + 1e-3)
    out[..., 2] = log_kinetic
    out[..., 3] = log_ohmic - log_kinetic
    out[..., 4] = np.log(np.clip(time / electrode.diffusion_time, 1e-4, 1e2))
    out[..., 5] = np.log(np.abs(electrode.rate) * electrode.diffusion_time + 1e-4)
    out[..., 6] = np.log(np.maximum(1.0 - clipped, FEWEST_ROOM))
    out[..., 7] = np.clip(z - clipped, 0.0, 0.3)
    out[..., 8] = np.minimum(z - mean, 1.0)
    out[..., 9] = mean - start
    out[..., 10 : 10 + n_course] = _local(electrode.tables, is_negative)[index]
    out[..., 10 + n_course] = settled
    out[..., 11 + n_course] = settled * electrode.depletion
    out[..., 12 + n_course] = settled * other.depletion
    out[..., 13 + n_course] = np.log(other.ohmic / thermal + 1e-3)
    out[..., 14 + n_course] = np.log1p(settled * electrode.crowding)


def _fill_uneven(out: NDArray[np.float32], cells: Cells, amplitude: Floats, spread: Floats) -> None:
    """The last three features: a, the spread of stoichiometry, and what it is worth in potential.

    The slope is there already, as the logarithm of that over R T / F at 298 K.
    """
    slope = np.exp(out[..., NAMES.index("slope")])
    out[..., -3] = amplitude
    out[..., -2] = spread
    out[..., -1] = np.arcsinh(slope * spread)
