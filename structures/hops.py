"""The record of one hop: its path round the host, and the host without ions on its ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.geometry import perpendicular_widths
from ionbridge.structures.neighbors import neighbors_within, periodic_edges
from ionbridge.structures.records import Crystal, Hop, Occupancy
from ionbridge.structures.ties import TIE_A

ENVIRONMENT_CUTOFF_A = 6.0
"""Within this distance of a path the host is that of the infinite crystal."""
EXCLUSION_A = 1.5
"""Ions cannot be on two sites closer than this at once (split sites)."""
SAME_POINT_A = 0.5
"""Whatever is listed this close to an end of a hop shares its site, and is not seen from there."""
PASSING_A = 1.0
"""A path that comes this close to a third site is two hops that meet there."""


def passed_sites(
    lattice: NDArray[np.float64], frac: NDArray[np.float64], path_A: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, 3) cartesian sites within PASSING_A of a path that exclude neither of its ends.

    Args:
        lattice: (3, 3) rows, angstrom.
        frac: (n_sites, 3) sites of the ion.
        path_A: (n_images, 3) cartesian points from site to site.
    """
    part = np.linspace(0.0, 1.0, 4, endpoint=False)[:, None]
    points = (path_A[:-1, None] + part * np.diff(path_A, axis=0)[:, None]).reshape(-1, 3)
    _, site, cell, _ = neighbors_within(lattice, frac, points, PASSING_A)
    listed = np.unique(np.column_stack([site, cell]), axis=0)
    position = (frac[listed[:, 0]] + listed[:, 1:]) @ lattice
    to_ends = np.linalg.norm(position[:, None] - path_A[[0, -1]], axis=2).min(axis=1)
    return np.asarray(position[to_ends > EXCLUSION_A])


def exclusion_radii(lattice: NDArray[np.float64], frac: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_sites,) distance to the farthest site that excludes this one, 0 if none does."""
    src, _, _, distance = periodic_edges(lattice, frac, EXCLUSION_A)
    radius = np.zeros(len(frac))
    np.maximum.at(radius, src, distance)
    return radius


def hop_record(
    crystal: Crystal,
    working_ion: str,
    number: int,
    path_A: NDArray[np.float64],
    mobile: NDArray[np.bool_],
    emptied_A: NDArray[np.float64],
    exclusion_A: float,
    extra: dict[str, object],
) -> Hop:
    """The hop along a path: the smallest diagonal supercell of the host, its sites emptied.

    The supercell is so wide that within ENVIRONMENT_CUTOFF_A of the path it equals the infinite
    crystal with one set of emptied sites: every perpendicular width exceeds the cutoff by the
    extent of path and emptied sites in that direction. All other working ions stay, with their
    occupancies. An ion within EXCLUSION_A of an emptied site (the same split site) leaves with it.
    What else shares a mixed site stays in the record, as in the crystal: which images do not see
    it is settled in :mod:`ionbridge.structures.graph`.

    Args:
        crystal: The whole crystal.
        working_ion: Symbol of the moving ion.
        number: Counts the hops of the crystal.
        path_A: (n_images, 3) cartesian points, unwrapped, from site to site.
        mobile: (n_atoms,) True where the crystal holds the working ion.
        emptied_A: (n, 3) cartesian sites to empty: both ends, and third sites on the path.
        exclusion_A: How far from them the sites lie that they exclude.
        extra: Further keys of the record.
    """
    size = _supercell(crystal.lattice, path_A, emptied_A, exclusion_A)
    cells = np.indices(tuple(size)).reshape(3, -1).T
    lattice = crystal.lattice * size[:, None]
    frac = ((crystal.frac[None] + cells[:, None]) / size).reshape(-1, 3)
    mobile = np.tile(mobile, len(cells))
    inverse = np.linalg.inv(lattice)
    emptied = np.zeros(len(frac), dtype=bool)
    for site in emptied_A @ inverse:
        offset = frac - site
        distance = np.linalg.norm((offset - np.rint(offset)) @ lattice, axis=1)
        emptied |= mobile & (distance < EXCLUSION_A)
    rest = [{k: v for k, v in site.items() if k != working_ion} for site in crystal.species]
    left: list[Occupancy] = [
        rest[atom] if out else crystal.species[atom]
        for out, atom in zip(emptied, np.arange(len(frac)) % crystal.n_sites, strict=True)
    ]
    kept = np.flatnonzero([bool(site) for site in left])
    return Hop(
        id=f"{crystal.id}#hop{number}",
        working_ion=working_ion,
        lattice=lattice,
        host_species=tuple(left[k] for k in kept),
        host_frac=frac[kept],
        path_frac=path_A @ inverse,
        family=crystal.family,
        extra=extra,
    )


def _supercell(
    lattice: NDArray[np.float64],
    path_A: NDArray[np.float64],
    emptied_A: NDArray[np.float64],
    exclusion_A: float,
) -> NDArray[np.int64]:
    """(3,) repetitions such that no image of an emptied site is within the cutoff of the path."""
    normal = np.linalg.inv(lattice)
    normal /= np.linalg.norm(normal, axis=0)
    offset = (path_A[:, None] - emptied_A) @ normal
    needed = ENVIRONMENT_CUTOFF_A + np.abs(offset).max(axis=(0, 1)) + exclusion_A
    return np.maximum(np.ceil((needed - TIE_A) / perpendicular_widths(lattice)), 1).astype(np.int64)
