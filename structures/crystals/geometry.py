"""Is this cell a crystal at all: finite numbers, a volume, no two atoms on one point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.records import Crystal, UnusableStructureError

MIN_DISTANCE_A = 0.5
"""Two fully occupied sites closer than this are one point; no bond is shorter (H-H: 0.74)."""
MIN_VOLUME_PER_ATOM_A3 = 2.0
"""Diamond, the densest solid by number, has 5.7."""
MAX_VOLUME_PER_ATOM_A3 = 10_000.0
"""An ideal gas at ambient pressure has 41,000 a molecule; no solid comes near."""
MAX_SITE_OCCUPANCY = 1.02
"""Rounded occupancies of published refinements add up to this at most."""


def perpendicular_widths(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) distances between opposite faces of the cell, angstrom.

    Args:
        lattice: (3, 3) lattice vectors as rows, angstrom.
    """
    return np.asarray(1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0))


def check_geometry(crystal: Crystal) -> None:
    """Refuse a crystal whose numbers cannot describe one.

    Args:
        crystal: Any crystal. Sites that share one point are fine while their occupancies add up
            to at most one (split or mixed sites).

    Raises:
        UnusableStructureError: No site, shapes that disagree, a number that is not finite, an
            occupancy outside 0 to 1, a flat, overfull or all but empty cell, or two atoms on one
            point.
    """
    name = crystal.id
    if crystal.n_sites == 0:
        raise UnusableStructureError(f"{name}: no atoms")
    if crystal.lattice.shape != (3, 3) or crystal.frac.shape != (crystal.n_sites, 3):
        raise UnusableStructureError(
            f"{name}: lattice {crystal.lattice.shape} and coordinates {crystal.frac.shape} "
            f"do not fit {crystal.n_sites} sites"
        )
    if not np.all(np.isfinite(crystal.lattice)):
        raise UnusableStructureError(f"{name}: the lattice holds a number that is not finite")
    bad = np.flatnonzero(~np.all(np.isfinite(crystal.frac), axis=1))
    if bad.size:
        raise UnusableStructureError(
            f"{name}: {bad.size} of {crystal.n_sites} sites have coordinates that are not finite "
            f"(first: site {bad[0]}, {_label(crystal, bad[0])})"
        )
    total = np.array([sum(s.values()) for s in crystal.species])
    least = np.array([min(s.values(), default=0.0) for s in crystal.species])
    bad = np.flatnonzero(~((total <= MAX_SITE_OCCUPANCY) & (least >= 0.0)))
    if bad.size:
        raise UnusableStructureError(
            f"{name}: the occupancies of site {bad[0]} ({_label(crystal, bad[0])}) add up to "
            f"{total[bad[0]]:.3g}; expected 0 to 1"
        )
    volume = crystal.volume_A3
    if not volume >= MIN_VOLUME_PER_ATOM_A3 * max(total.sum(), 1e-6):
        raise UnusableStructureError(
            f"{name}: {volume:.3g} cubic angstrom for {total.sum():.3g} atoms, less than "
            f"{MIN_VOLUME_PER_ATOM_A3} an atom; check the cell and its units"
        )
    if volume > MAX_VOLUME_PER_ATOM_A3 * max(total.sum(), 1.0):
        raise UnusableStructureError(
            f"{name}: {volume:.3g} cubic angstrom for {total.sum():.3g} atoms, more than "
            f"{MAX_VOLUME_PER_ATOM_A3:g} an atom; check the cell and its units"
        )
    _check_distances(crystal, total)


def _check_distances(crystal: Crystal, total: NDArray[np.float64]) -> None:
    src, dst, _, distance = periodic_edges(crystal.lattice, crystal.frac, MIN_DISTANCE_A)
    clash = np.flatnonzero(total[src] + total[dst] > MAX_SITE_OCCUPANCY)
    if clash.size:
        worst = clash[np.argmin(distance[clash])]
        i, j = sorted((int(src[worst]), int(dst[worst])))
        raise UnusableStructureError(
            f"{crystal.id}: sites {i} ({_label(crystal, i)}) and {j} ({_label(crystal, j)}) are "
            f"{distance[worst]:.2f} angstrom apart (at least {MIN_DISTANCE_A} expected)"
        )


def _label(crystal: Crystal, site: int) -> str:
    return "+".join(crystal.species[site]) or "empty"
