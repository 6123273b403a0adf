"""The record of one hop: its path round the host, and the host without ions on its ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.compiled import compiled
from ionbridge.structures.crystals.geometry import perpendicular_widths
from ionbridge.structures.crystals.neighbors import (
    images_within,
    neighbors_within,
    periodic_edges,
)
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
PER_SEGMENT = 4
"""Points of each segment of a path at which its distance to sites is looked at."""
MIN_OCCUPANCY = 1e-3
"""A site with less of the working ion holds none."""


@dataclass(frozen=True, eq=False)
class CrystalHop(Hop):
    """The hop along a path through a crystal; its host is made when its atoms are asked for.

    The host is the smallest diagonal supercell of the crystal, its sites emptied. It is so wide
    that within ENVIRONMENT_CUTOFF_A of the path it equals the infinite crystal with one set of
    emptied sites: every perpendicular width exceeds the cutoff by the extent of path and emptied
    sites in that direction. All other working ions stay, with their occupancies. An ion within
    EXCLUSION_A of an emptied site (the same split site) leaves with it. What else shares a mixed
    site stays in the record, as in the crystal: which images do not see it is settled in
    :mod:`ionbridge.structures.features.graph`.
    """

    @classmethod
    def of(
        cls,
        crystal: Crystal,
        working_ion: str,
        number: int,
        path_A: NDArray[np.float64],
        size: NDArray[np.int64],
        extra: dict[str, object],
    ) -> CrystalHop:
        """A hop of a crystal.

        Args:
            crystal: The whole crystal.
            working_ion: Symbol of the moving ion.
            number: Counts the hops of the crystal.
            path_A: (n_images, 3) cartesian points, unwrapped, from site to site.
            size: (3,) cells of the host, see :func:`host_sizes`.
            extra: Further keys of the record.
        """
        lattice = crystal.lattice * size[:, None]
        hop = object.__new__(cls)
        hop.__dict__.update(
            id=f"{crystal.id}#hop{number}",
            working_ion=working_ion,
            lattice=lattice,
            path_frac=path_A @ np.linalg.inv(lattice),
            barrier_eV=None,
            barrier_backward_eV=None,
            method=None,
            family=crystal.family,
            extra=extra,
            _crystal=crystal,
            _size=size,
        )
        return hop

    def __getattr__(self, name: str) -> Any:
        """Make the host."""
        if name in _OF_THE_HOST and "_crystal" in self.__dict__:
            self._make_host()
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def elements(self) -> frozenset[str]:
        """Elements of host and moving ion."""
        crystal = self.__dict__.get("_crystal")
        if crystal is None:
            return super().elements
        return frozenset((self.working_ion, *(s for site in crystal.species for s in site)))

    def _make_host(self) -> None:
        crystal, size = self.__dict__["_crystal"], self.__dict__["_size"]
        cells = np.indices(tuple(size)).reshape(3, -1).T
        frac = ((crystal.frac[None] + cells[:, None]) / size).reshape(-1, 3)
        occupancy = crystal.occupancy(self.working_ion)
        out = np.zeros((len(cells), crystal.n_sites), dtype=bool)
        _, atom, cell = leaving_ions(crystal, occupancy, [emptied_sites(self)])
        out[np.ravel_multi_index(tuple(np.mod(cell, size).T), tuple(size)), atom] = True
        rest = [{k: v for k, v in s.items() if k != self.working_ion} for s in crystal.species]
        left: list[Occupancy] = [
            rest[k] if empty else crystal.species[k]
            for empties in out
            for k, empty in enumerate(empties)
        ]
        kept = np.flatnonzero([bool(site) for site in left])
        self.__dict__.update(host_species=tuple(left[k] for k in kept), host_frac=frac[kept])


_OF_THE_HOST = ("host_species", "host_frac")


def emptied_sites(hop: Hop) -> NDArray[np.float64]:
    """(n, 3) cartesian sites that are empty for a hop: both ends, and what its path leads over."""
    passed = np.array(hop.extra.get("passed_sites_A", ()), dtype=float).reshape(-1, 3)
    return np.concatenate([hop.path_A[[0, -1]], passed])


def leaving_ions(
    crystal: Crystal, occupancy: NDArray[np.float64], emptied_A: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The ions within EXCLUSION_A of emptied sites: (n,) hops, (n,) atoms and (n, 3) cells.

    Args:
        crystal: The whole crystal.
        occupancy: (n_atoms,) of the working ion.
        emptied_A: (n_emptied, 3) cartesian, of each hop.
    """
    mobile = np.flatnonzero(occupancy > MIN_OCCUPANCY)
    hop_of = np.repeat(np.arange(len(emptied_A)), [len(sites) for sites in emptied_A])
    site, atom, cell, distance = neighbors_within(
        crystal.lattice, crystal.frac[mobile], np.concatenate(emptied_A), EXCLUSION_A
    )
    near = distance < EXCLUSION_A
    rows = np.column_stack([hop_of[site[near]], mobile[atom[near]], cell[near]])
    found = rows[np.lexsort(rows.T[::-1])]
    again = np.zeros(len(found), dtype=bool)
    again[1:] = (found[1:] == found[:-1]).all(axis=1)
    found = found[~again]
    return found[:, 0], found[:, 1], found[:, 2:]


def n_cells(hop: Hop, crystal: Crystal) -> int:
    """Cells of a crystal in the host of one of its hops."""
    return round(abs(float(np.linalg.det(hop.lattice))) / crystal.volume_A3)


def host_sizes(
    lattice: NDArray[np.float64],
    paths_A: NDArray[np.float64],
    passed_A: Sequence[NDArray[np.float64]],
    exclusion_A: NDArray[np.float64],
) -> NDArray[np.int64]:
    """(n_hops, 3) repetitions of the cell in the hosts of hops, see :class:`CrystalHop`.

    No image of an emptied site is within ENVIRONMENT_CUTOFF_A of the path.

    Args:
        lattice: (3, 3) rows, angstrom.
        paths_A: (n_hops, n_images, 3) cartesian.
        passed_A: (n, 3) cartesian sites of each hop that are emptied beside its ends.
        exclusion_A: (n_hops,) how far from emptied sites lie the sites that they exclude.
    """
    normal = np.linalg.inv(lattice)
    normal /= np.linalg.norm(normal, axis=0)
    along = paths_A @ normal
    low, high = along.min(axis=1), along.max(axis=1)
    ends = along[:, [0, -1]]
    first, last = ends.min(axis=1), ends.max(axis=1)
    for k, sites in enumerate(passed_A):
        if len(sites):
            first[k] = np.minimum(first[k], (sites @ normal).min(axis=0))
            last[k] = np.maximum(last[k], (sites @ normal).max(axis=0))
    needed = ENVIRONMENT_CUTOFF_A + np.maximum(high - first, last - low) + exclusion_A[:, None]
    counts = np.ceil((needed - TIE_A) / perpendicular_widths(lattice))
    return np.asarray(np.maximum(counts, 1), dtype=np.int64)


def passed_sites(
    lattice: NDArray[np.float64], frac: NDArray[np.float64], paths_A: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """(n, 3) cartesian sites within PASSING_A of each path that exclude neither of its ends.

    Args:
        lattice: (3, 3) rows, angstrom.
        frac: (n_sites, 3) sites of the ion.
        paths_A: (n_hops, n_images, 3) cartesian points from site to site.
    """
    lattice, paths_A = np.ascontiguousarray(lattice), np.ascontiguousarray(paths_A)
    inverse = np.asarray(np.linalg.inv(lattice), dtype=np.float64)
    hop, position = _passed(lattice, inverse, np.ascontiguousarray(frac), paths_A)
    return [position[hop == k] for k in range(len(paths_A))]


@compiled
def _passed(
    lattice: NDArray[np.float64],
    inverse: NDArray[np.float64],
    frac: NDArray[np.float64],
    paths_A: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Hops (n,) and sites (n, 3) of :func:`passed_sites`; PER_SEGMENT points of each segment count.

    Args:
        lattice: (3, 3) rows, angstrom.
        inverse: Of the lattice.
        frac: (n_sites, 3).
        paths_A: (n_hops, n_images, 3).
    """
    hops, found = [0], [np.zeros(3)]  # an empty list would have no type
    n_images = paths_A.shape[1]
    middle = np.empty(3)
    for h in range(len(paths_A)):
        path, reach = paths_A[h], 0.0
        for c in range(3):
            middle[c] = 0.5 * (path[0, c] + path[n_images - 1, c])
        for m in range(n_images):
            square = 0.0
            for c in range(3):
                square += (path[m, c] - middle[c]) ** 2
            reach = max(reach, math.sqrt(square))
        position, _ = images_within(middle, reach + PASSING_A, lattice, inverse, frac)
        for site in position:
            away = True
            for m in (0, n_images - 1):
                square = 0.0
                for c in range(3):
                    square += (site[c] - path[m, c]) ** 2
                away = away and square > EXCLUSION_A * EXCLUSION_A
            near = False
            for m in range(n_images - 1):
                for p in range(PER_SEGMENT):
                    square = 0.0
                    for c in range(3):
                        at = path[m, c] + p / PER_SEGMENT * (path[m + 1, c] - path[m, c])
                        square += (site[c] - at) ** 2
                    near = near or square <= PASSING_A * PASSING_A
            if away and near:
                hops.append(h)
                found.append(site.copy())
    sites = np.empty((len(hops) - 1, 3))
    for k in range(len(sites)):
        sites[k] = found[k + 1]
    return np.array(hops)[1:], sites


def exclusion_radii(lattice: NDArray[np.float64], frac: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_sites,) distance to the farthest site that excludes this one, 0 if none does."""
    src, _, _, distance = periodic_edges(lattice, frac, EXCLUSION_A)
    radius = np.zeros(len(frac))
    np.maximum.at(radius, src, distance)
    return radius
