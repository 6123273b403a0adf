"""The electrolyte of a cell under an even reaction: its steady profile and what it costs.

Salt diffuses with a diffusivity that depends on its concentration. In F(c), the integral of D up
to c (Kirchhoff's transform), the steady profile is exactly a parabola in each electrode and a line
in the separator; its level follows from the salt that is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.compiled import compiled

Floats = NDArray[np.float64]

REGIONS = ("Negative electrode", "Separator", "Positive electrode")
PLACES = 0.5 + 0.5 * np.sqrt(0.6) * np.array([-1.0, 0.0, 1.0])
WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18.0
"""Gauss points of a region, from the separator outwards in the electrodes."""
N_STEPS, BALANCED = 8, 1e-7
"""Newton steps for the level at most; how much salt may be missing in the end, relatively."""
SHORT = 0.05
"""Concentration, relative to the initial one, below which salt does not sustain the reaction."""
SHALLOWEST = 0.15
N_HALVINGS = 10
DEPLETED = 0.02
"""Least concentration, relative to the initial one."""


@dataclass(frozen=True, eq=False)
class PropertyRows:
    """A property of n electrolytes on a uniform grid of concentrations.

    Attributes:
        values: (n, n_c), or (n, 1) for a constant.
        step: Between concentrations, mol/m3; the first is 0.
    """

    values: Floats
    step: float

    def at(self, concentration: Floats) -> Floats:
        """(n, m) linear interpolation, constant beyond the grid."""
        n_c = self.values.shape[1]
        if n_c == 1:
            return np.asarray(self.values + np.zeros_like(concentration))
        position = np.minimum(np.maximum(concentration * (1.0 / self.step), 0.0), n_c - 1.001)
        index = position.astype(np.intp)
        flat = index + np.arange(len(index))[:, None] * n_c
        values = self.values.ravel()
        left = values[flat]
        return np.asarray(left + (values[flat + 1] - left) * (position - index))

    def integral(self) -> PropertyRows:
        """From 0 to each concentration."""
        middle = 0.5 * (self.values[:, 1:] + self.values[:, :-1]) * self.step
        whole = np.concatenate([np.zeros((len(middle), 1)), np.cumsum(middle, axis=1)], axis=1)
        return PropertyRows(whole, self.step)


@dataclass(frozen=True, eq=False)
class Profile:
    """Steady profile of n electrolytes.

    Attributes:
        relative: (3, n, 3) concentration over the initial one at the Gauss points of REGIONS.
        relaxation: (n,) time constant with which it forms, s.
        depth: (n,) part of the positive electrode, from the separator, that has salt. Beyond it
            nothing can react, so that the rest takes the whole current; 1 where salt reaches all.
    """

    relative: Floats
    relaxation: Floats
    depth: Floats


def steady_profile(
    diffusivity: PropertyRows,
    start: Floats,
    flux: Floats,
    thickness: Mapping[str, Floats],
    porosity: Mapping[str, Floats],
    efficiency: Mapping[str, Floats],
) -> Profile:
    """The profile that an even reaction settles at.

    Args:
        diffusivity: Of the salt, m2/s.
        start: (n,) initial concentration, mol/m3.
        flux: (n,) I (1 - t+) / F, mol/m2/s.
        thickness: Region -> (n,), m.
        porosity: Region -> (n,).
        efficiency: Region -> (n,) effective over bulk transport.
    """
    negative, separator, positive = REGIONS
    fall = {k: (flux * thickness[k] / efficiency[k])[:, None] for k in REGIONS}
    parabola = PLACES - 0.5 * PLACES**2
    volumes = np.stack([porosity[k] * thickness[k] for k in REGIONS], axis=1)
    volumes = volumes / volumes.sum(axis=1, keepdims=True)

    def solved(rows: NDArray[np.intp] | slice, depth: Floats) -> tuple[Floats, Floats]:
        """Concentrations at the Gauss points and at the end of the positive's active part."""
        shape = np.concatenate(
            [
                fall[separator][rows] + fall[negative][rows] * parabola,
                fall[separator][rows] * PLACES,
                -fall[positive][rows] * depth[:, None] * parabola,
            ],
            axis=1,
        )
        share = volumes[rows] * np.stack([np.ones_like(depth), np.ones_like(depth), depth], axis=1)
        property_rows = PropertyRows(diffusivity.values[rows], diffusivity.step)
        end = -0.5 * fall[positive][rows, 0] * depth
        return _levelled(
            property_rows,
            start[rows],
            shape,
            np.repeat(share, 3, axis=1) * np.tile(WEIGHTS, 3),
            end,
        )

    depth = np.ones(len(start))
    salt, end = solved(slice(None), depth)
    short = np.flatnonzero(end < SHORT * start)
    if len(short):
        low, high = np.full(len(short), SHALLOWEST), np.ones(len(short))
        for _ in range(N_HALVINGS):
            middle = 0.5 * (low + high)
            enough = solved(short, middle)[1] >= SHORT * start[short]
            low, high = np.where(enough, middle, low), np.where(enough, high, middle)
        depth[short] = low
        salt[short] = solved(short, low)[0]
    volume = np.repeat(volumes, 3, axis=1) * np.tile(WEIGHTS, 3)
    deviation = salt - start[:, None]
    # Rayleigh quotient of the steady profile
    local = diffusivity.at(np.maximum(salt, 0.0))
    spent = {negative: (1.0 - PLACES) ** 2, separator: 1.0 + 0.0 * PLACES}
    spent[positive] = spent[negative]
    moved = np.zeros(len(start))
    for i, k in enumerate(REGIONS):
        inverse = (WEIGHTS * spent[k] / local[:, 3 * i : 3 * i + 3]).sum(axis=1)
        moved = moved + flux**2 * thickness[k] / efficiency[k] * inverse
    total = np.asarray(sum(porosity[k] * thickness[k] for k in REGIONS))
    relaxation = total * (volume * deviation**2).sum(axis=1) / np.maximum(moved, 1e-300)
    relative = np.maximum(salt / start[:, None], DEPLETED).reshape(-1, 3, 3).swapaxes(0, 1)
    return Profile(
        relative=relative,
        relaxation=np.maximum(relaxation, 1e-6),
        depth=depth,
    )


def _levelled(
    diffusivity: PropertyRows, start: Floats, shape: Floats, volume: Floats, end: Floats
) -> tuple[Floats, Floats]:
    """Where F = level + shape with all the salt there is.

    Args:
        diffusivity: Of the salt.
        start: (n,) initial concentration.
        shape: (n, 9) F at the Gauss points, but for the level.
        volume: (n, 9) their shares of the electrolyte.
        end: (n,) F at one more place.

    Returns:
        Concentrations (n, 9) at the Gauss points, and (n,) at the other place.
    """
    shape = np.concatenate([shape, end[:, None]], axis=1)
    volume = np.concatenate([volume, np.zeros((len(volume), 1))], axis=1)
    if diffusivity.values.shape[1] == 1:
        constant = diffusivity.values
        level = (constant[:, 0] * start - (volume * shape).sum(axis=1)) / volume.sum(axis=1)
        salt = (level[:, None] + shape) / constant
        return salt[:, :-1], salt[:, -1]
    salt = _level(
        np.ascontiguousarray(diffusivity.values),
        diffusivity.integral().values,
        diffusivity.step,
        np.ascontiguousarray(start),
        shape,
        volume,
    )
    return salt[:, :-1], salt[:, -1]


@compiled
def _at(row: Floats, step: float, concentration: float) -> float:
    """`PropertyRows.at` of one row and place."""
    position = min(max(concentration * (1.0 / step), 0.0), len(row) - 1.001)
    k = int(position)
    return float(row[k] + (row[k + 1] - row[k]) * (position - k))


@compiled
def _level(
    values: Floats, whole: Floats, step: float, start: Floats, shape: Floats, volume: Floats
) -> Floats:
    """Concentrations at all places, row by row, by Newton's method."""
    n, m = shape.shape
    salt, slope = np.empty((n, m)), np.empty(m)
    largest = step * (values.shape[1] - 1.001)
    for i in range(n):
        shaped, total = 0.0, 0.0
        for k in range(m):
            salt[i, k] = start[i]
            shaped += volume[i, k] * shape[i, k]
            total += volume[i, k]
        level = _at(whole[i], step, start[i]) - shaped / total
        for _ in range(N_STEPS):
            held, softness = 0.0, 0.0
            for k in range(m):
                wanted = level + shape[i, k]
                for _ in range(2):  # F(c) = wanted, by Newton, extended straight beyond the grid
                    inside = min(max(salt[i, k], 0.0), largest)
                    slope[k] = _at(values[i], step, inside)
                    salt[i, k] = inside + (wanted - _at(whole[i], step, inside)) / slope[k]
                held += volume[i, k] * salt[i, k]
                softness += volume[i, k] / slope[k]
            level -= (held - start[i]) / softness
            if abs(held - start[i]) < BALANCED * start[i]:
                break
    return salt


def ohmic_factor(
    conductivity: PropertyRows, start: Floats, profile: Profile, drops: Floats
) -> Floats:
    """Ohmic drop of the electrolyte at a profile, over that at the initial concentration; (n,).

    Args:
        conductivity: S/m.
        start: (n,) mol/m3.
        profile: Of the salt.
        drops: (3, n) I L / kappa of the regions at the initial concentration.
    """
    initial = conductivity.at(start[:, None])
    found, even = np.zeros(len(start)), np.zeros(len(start))
    for i, drop in enumerate(drops):
        length = profile.depth if i == 2 else 1.0
        share = WEIGHTS * ((1.0 - PLACES) ** 2 if i != 1 else 1.0)
        kappa = conductivity.at(profile.relative[i] * start[:, None])
        found = found + drop * length * (share * initial / np.maximum(kappa, 1e-3 * initial)).sum(
            axis=1
        )
        even = even + drop * share.sum()
    return np.asarray(found / even)
