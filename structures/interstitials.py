"""Sites that the mobile ion could take and does not hold: minima of the bond-valence landscape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.bvse import BondValenceField, landscape
from ionbridge.structures.neighbors import periodic_edges
from ionbridge.structures.records import Crystal

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


def interstitial_sites(
    crystal: Crystal,
    working_ion: str,
    field: BondValenceField,
    group: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Minima of the landscape away from the ion's own sites, closed under the space group.

    A minimum that the group takes to within MIN_SEPARATION_A of itself is moved onto the symmetry
    element between its images, so that the grid leaves no trace.

    Args:
        crystal: The host, with or without some of the ion.
        working_ion: Symbol of the mobile ion.
        field: Its bond-valence field, without the other working ions.
        group: Rotations and translations of :func:`ionbridge.structures.symmetry.space_group`.

    Returns:
        (n, 3) fractional coordinates within the cell, whole orbits, lowest first.
    """
    resolution_A = max(RESOLUTION_A, float(np.cbrt(crystal.volume_A3 / MAX_GRID_POINTS)))
    minima, _ = landscape(field, resolution_A).minima(MAX_SITE_ENERGY_EV, MIN_SEPARATION_A)
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
    return found


def _orbit(
    point: NDArray[np.float64],
    group: tuple[NDArray[np.int64], NDArray[np.float64]],
    lattice: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n, 3) distinct images of a point after it was moved to the centre of the near ones."""
    rotation, translation = group
    for _ in range(3):
        offset = rotation @ point + translation - point
        offset -= np.rint(offset)
        near = np.linalg.norm(offset @ lattice, axis=1) < MIN_SEPARATION_A
        point = point + offset[near].mean(axis=0)
    images = np.mod(np.concatenate([point[None], rotation @ point + translation]), 1.0)
    src, dst, _, _ = periodic_edges(lattice, images, _SAME_A)
    first = np.arange(len(images))
    np.minimum.at(first, src, dst)
    return images[np.unique(first)]


def _nearest(a: NDArray[np.float64], b: NDArray[np.float64], lattice: NDArray[np.float64]) -> float:
    """Shortest periodic distance between two sets of points that are close to each other."""
    offset = a[:, None] - b[None]
    offset -= np.rint(offset)
    return float(np.linalg.norm(offset @ lattice, axis=2).min(initial=np.inf))
