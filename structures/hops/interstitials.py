"""Sites that the mobile ion could take and does not hold: minima of the bond-valence landscape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.bond_valence.bvse import BondValenceField, landscape
from ionbridge.structures.crystals.canonical_cell import wrapped
from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.crystals.symmetry import Group
from ionbridge.structures.records import Crystal
from ionbridge.structures.ties import ranks, sorted_points

MAX_SITE_ENERGY_EV = 1.5
"""Minima up to this above the lowest one are sites."""
MIN_SEPARATION_A = 1.2
"""Minima closer than this are one site."""
MIN_ION_DISTANCE_A = 1.5
"""A minimum this close to a site of the ion is that site."""
RESOLUTION_A = 0.2
MAX_GRID_POINTS = 500_000
"""Cells that would need more (above 4,000 cubic angstrom) get a coarser grid."""
_SAME_A = 0.05
LARGEST_STEP_A = 0.1
SETTLED_A = 1e-9
"""Minima are followed until a step is shorter than this."""
MAX_STEPS = 60
SOFTEST_EV_A2 = 0.02
"""Stiffness below which a step is no longer made longer."""
_TIE_A, _TIE_EV = 1.37e-3, 1.37e-3  # soft minima are known less well than atoms


def interstitial_sites(
    crystal: Crystal,
    working_ion: str,
    field: BondValenceField,
    group: Group,
) -> NDArray[np.float64]:
    """Minima of the landscape away from the ion's own sites, closed under the space group.

    The grid only says where to begin: from there the minima of the field itself are followed. A
    minimum that the group takes to within MIN_SEPARATION_A of itself is moved onto the symmetry
    element between its images.

    Args:
        crystal: The host, with or without some of the ion.
        working_ion: Symbol of the mobile ion.
        field: Its bond-valence field, without the other working ions.
        group: Rotations and translations of
            :func:`ionbridge.structures.crystals.symmetry.space_group`.

    Returns:
        (n, 3) fractional coordinates within the cell, whole orbits, lowest first, those of equal
        energy by their coordinates.
    """
    resolution_A = max(RESOLUTION_A, float(np.cbrt(crystal.volume_A3 / MAX_GRID_POINTS)))
    minima, _ = landscape(field, resolution_A).minima(MAX_SITE_ENERGY_EV, MIN_SEPARATION_A)
    minima = _settled(minima @ crystal.lattice, field) @ np.linalg.inv(crystal.lattice)
    minima = minima[_order(minima, field)]
    ions = crystal.frac[crystal.occupancy(working_ion) > 0]
    found = np.zeros((0, 3))
    for minimum in minima:
        orbit = _orbit(minimum, group, crystal.lattice)
        if _nearest(orbit[:1], ions, crystal.lattice) < MIN_ION_DISTANCE_A:
            continue
        if _nearest(orbit[:1], found, crystal.lattice) < MIN_SEPARATION_A:
            continue
        if _nearest(orbit[:1], orbit[1:], crystal.lattice) < MIN_SEPARATION_A:
            continue  # images that crowd round no common centre
        found = np.concatenate([found, orbit])
    return found[_order(found, field)]


def _settled(points: NDArray[np.float64], field: BondValenceField) -> NDArray[np.float64]:
    """(n, 3) cartesian points moved downhill into the minima they lie in, by Newton steps."""
    points = points.copy()
    moving = np.arange(len(points))
    for _ in range(MAX_STEPS):
        if not len(moving):
            break
        _, gradient, hessian = field.derivatives(points[moving])
        stiffness, mode = np.linalg.eigh(hessian)
        along = np.einsum("nij,ni->nj", mode, -gradient)
        step = np.einsum("nij,nj->ni", mode, along / np.maximum(np.abs(stiffness), SOFTEST_EV_A2))
        size = np.linalg.norm(step, axis=1, keepdims=True)
        points[moving] += step * np.minimum(1.0, LARGEST_STEP_A / np.maximum(size, SETTLED_A))
        moving = moving[size[:, 0] > SETTLED_A]
    return points


def _order(frac: NDArray[np.float64], field: BondValenceField) -> NDArray[np.int64]:
    """(n,) indices that sort points by energy, then by their coordinates within the cell."""
    energy = ranks(field.energy(frac @ field.lattice), _TIE_EV)
    lengths = np.linalg.norm(field.lattice, axis=1)
    return sorted_points(wrapped(frac, field.lattice) * lengths, _TIE_A, energy)


def _orbit(
    point: NDArray[np.float64],
    group: Group,
    lattice: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n, 3) distinct images of a point after it was moved to the centre of the near ones."""
    rotation, translation = group
    for _ in range(3):
        offset = rotation @ point + translation - point
        offset -= np.rint(offset)
        near = np.linalg.norm(offset @ lattice, axis=1) < MIN_SEPARATION_A
        point = point + offset[near].mean(axis=0)
    images = wrapped(np.concatenate([point[None], rotation @ point + translation]), lattice)
    src, dst, _, _ = periodic_edges(lattice, images, _SAME_A)
    first = np.arange(len(images))
    np.minimum.at(first, src, dst)
    return images[np.unique(first)]


def _nearest(a: NDArray[np.float64], b: NDArray[np.float64], lattice: NDArray[np.float64]) -> float:
    """Shortest periodic distance between two sets of points that are close to each other."""
    offset = a[:, None] - b[None]
    offset -= np.rint(offset)
    return float(np.linalg.norm(offset @ lattice, axis=2).min(initial=np.inf))
