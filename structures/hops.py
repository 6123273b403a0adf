"""Hops between mobile-ion sites: which pairs, which of them are alike, and the record of one.

A hop joins two sites with no third site near the segment between them (the Gabriel graph: the
sphere whose diameter is the segment is empty; Gabriel and Sokal, Syst. Zool. 18, 259 (1969)). It
holds the relative neighbourhood graph, hence every shortest connection, and drops the long jumps
that are two short ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from structures.geometry import perpendicular_widths
from structures.neighbors import periodic_edges
from structures.records import Crystal, Hop, Occupancy
from structures.symmetry import SiteImages, joined

ENVIRONMENT_CUTOFF_A = 6.0
"""Within this distance of a path the host is that of the infinite crystal."""
EXCLUSION_A = 1.5
"""Ions cannot be on two sites closer than this at once (split sites)."""
SAME_POINT_A = 0.5
"""Whatever is listed this close to an end of a hop shares its site and leaves with it."""
TIE_TOLERANCE = 0.05
"""A third site up to this fraction (of the squared length) outside the sphere still blocks, so
that the diagonals of a slightly distorted square net are dropped together."""
_EQUAL = 1e-3  # relative difference below which two lengths are equal
_SHIFT_RANGE = 1024  # cell shifts of wrapped sites fit in +- half of this


@dataclass(frozen=True, eq=False)
class Edges:
    """Undirected hops, each once, from ``start`` in cell 0 to ``end`` in cell ``shift``.

    Attributes:
        start: (n_edges,) site index.
        end: (n_edges,) site index.
        shift: (n_edges, 3) integer cell of the end.
        length_A: (n_edges,) straight distance, ascending.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    shift: NDArray[np.int64]
    length_A: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.start)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Edges:
        """Some of the edges, by mask or index."""
        return Edges(self.start[keep], self.end[keep], self.shift[keep], self.length_A[keep])


def candidate_edges(
    lattice: NDArray[np.float64], frac: NDArray[np.float64], max_hop_A: float
) -> Edges:
    """Pairs of sites, own images included, with no third site near the segment between them.

    A third site k blocks the pair ij if d_ik^2 + d_jk^2 <= (1 + TIE_TOLERANCE) d_ij^2 and it is
    nearer than d_ij to both. So the face diagonal of a simple cubic net is dropped and its edge
    kept. The second condition keeps the graph as connected as the sites are.

    Args:
        lattice: (3, 3) rows, angstrom.
        frac: (n_sites, 3) fractional coordinates within the cell.
        max_hop_A: Longest pair.

    Returns:
        The edges, shortest first.
    """
    src, dst, shift, length = periodic_edges(lattice, frac, max_hop_A)
    order = np.lexsort((length, src))
    src, dst, shift, length = src[order], dst[order], shift[order], length[order]
    if len(src) == 0:
        return Edges(src, dst, shift.reshape(-1, 3), length)
    vector = (frac[dst] + shift - frac[src]) @ lattice
    first = np.searchsorted(src, np.arange(len(frac)))
    rank = np.arange(len(src)) - first[src]
    table = np.full((len(frac), rank.max() + 1, 3), np.inf)  # neighbours of each site
    table[src, rank] = vector
    near = np.full(table.shape[:2], np.inf)
    near[src, rank] = length
    half = _canonical(src, dst, shift)
    edges = Edges(src[half], dst[half], shift[half], length[half])
    blocked = _blocked(vector[half], edges.length_A, edges.start, table, near)
    edges = edges.select(~blocked)
    return edges.select(np.argsort(np.round(edges.length_A, 6), kind="stable"))


def _canonical(
    src: NDArray[np.int64], dst: NDArray[np.int64], shift: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """True for one of the two directions of every pair."""
    x, y, z = shift.T
    positive = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    return np.asarray((src < dst) | ((src == dst) & positive))


def _blocked(
    vector: NDArray[np.float64],
    length: NDArray[np.float64],
    start: NDArray[np.int64],
    table: NDArray[np.float64],
    near: NDArray[np.float64],
    chunk: int = 20_000,
) -> NDArray[np.bool_]:
    blocked = np.zeros(len(start), dtype=bool)
    for low in range(0, len(start), chunk):
        part = slice(low, low + chunk)
        d_ij = length[part, None]
        d_ik = near[start[part]]
        closer = d_ik < d_ij * (1.0 - _EQUAL)
        width = int(closer.sum(axis=1).max(initial=0))  # neighbours are sorted by distance
        closer, d_ik = closer[:, :width], d_ik[:, :width]
        third = np.where(closer[..., None], table[start[part], :width], 1e6)
        d_jk = np.linalg.norm(third - vector[part, None], axis=2)
        inside = d_ik**2 + d_jk**2 <= (1.0 + TIE_TOLERANCE) * d_ij**2
        blocked[part] = np.any(closer & inside & (d_jk < d_ij * (1.0 - _EQUAL)), axis=1)
    return blocked


def edge_orbits(
    edges: Edges, images: SiteImages, n_sites: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]:
    """Which edges the symmetry maps onto each other, reversal included.

    Args:
        edges: Undirected edges.
        images: What the space group does to the sites.
        n_sites: Number of sites.

    Returns:
        ``closed`` (n_edges,), False where an image of the edge is missing from the list (a length
        or a tie at the very limit), ``representative`` (n_edges,), the first edge of the orbit,
        and ``reversed`` (n_edges,), True if every operation that brings the representative here
        turns it round.
    """
    n_edges = len(edges)
    start, end = np.concatenate([edges.start, edges.end]), np.concatenate([edges.end, edges.start])
    shift = np.concatenate([edges.shift, -edges.shift])  # both directions of every edge
    known = _keys(start, end, shift, n_sites)
    order = np.argsort(known)
    moved = images.cell[:, end] - images.cell[:, start]
    moved += np.einsum("gab,nb->gna", images.rotation, shift)
    wanted = _keys(images.index[:, start], images.index[:, end], moved, n_sites)
    place = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
    image = order[place]
    missing = known[image] != wanted
    directed = joined(np.where(missing, np.arange(2 * n_edges), image))
    forward, backward = directed[:n_edges], directed[n_edges:]
    kind = np.minimum(forward, backward)  # a hop and its reverse may be two orbits or one
    incomplete = np.unique(directed[missing.any(axis=0)])
    closed = ~(np.isin(forward, incomplete) | np.isin(backward, incomplete))
    representative = np.unique(kind, return_index=True)[1][np.unique(kind, return_inverse=True)[1]]
    return closed, representative, forward != forward[representative]


def _keys(
    i: NDArray[np.int64], j: NDArray[np.int64], shift: NDArray[np.int64], n_sites: int
) -> NDArray[np.int64]:
    key = i * n_sites + j
    for axis in range(3):
        key = key * _SHIFT_RANGE + shift[..., axis] + _SHIFT_RANGE // 2
    return key


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
    exclusion_A: float,
    extra: dict[str, object],
) -> Hop:
    """The hop along a path: the smallest diagonal supercell of the host, both ends emptied.

    The supercell is so wide that within ENVIRONMENT_CUTOFF_A of the path it equals the infinite
    crystal with one emptied pair of ends: every perpendicular width exceeds the cutoff by the
    extent of the path in that direction. All other working ions stay, with their occupancies.
    What lies within EXCLUSION_A of an end and is mobile (the same split site), or within
    SAME_POINT_A (the same mixed site), leaves with it.

    Args:
        crystal: The whole crystal.
        working_ion: Symbol of the moving ion.
        number: Counts the hops of the crystal.
        path_A: (n_images, 3) cartesian points, unwrapped, from site to site.
        mobile: (n_atoms,) True where the crystal holds the working ion.
        exclusion_A: How far from an end sites may be emptied.
        extra: Further keys of the record.
    """
    ends = path_A[[0, -1]]
    size = _supercell(crystal.lattice, path_A, exclusion_A)
    cells = np.indices(tuple(size)).reshape(3, -1).T
    lattice = crystal.lattice * size[:, None]
    frac = ((crystal.frac[None] + cells[:, None]) / size).reshape(-1, 3)
    mobile = np.tile(mobile, len(cells))
    inverse = np.linalg.inv(lattice)
    emptied = np.zeros(len(frac), dtype=bool)
    for end in ends @ inverse:
        offset = frac - end
        distance = np.linalg.norm((offset - np.rint(offset)) @ lattice, axis=1)
        emptied |= (distance < SAME_POINT_A) | (mobile & (distance < EXCLUSION_A))
    kept = np.flatnonzero(~emptied)
    species: tuple[Occupancy, ...] = tuple(
        crystal.species[k] for k in (kept % crystal.n_sites).tolist()
    )
    return Hop(
        id=f"{crystal.id}#hop{number}",
        working_ion=working_ion,
        lattice=lattice,
        host_species=species,
        host_frac=frac[kept],
        path_frac=path_A @ inverse,
        family=crystal.family,
        extra=extra,
    )


def _supercell(
    lattice: NDArray[np.float64], path_A: NDArray[np.float64], exclusion_A: float
) -> NDArray[np.int64]:
    """(3,) repetitions such that no image of an emptied site is within the cutoff of the path.

    Along the normal of each face, the width has to exceed the cutoff by the extent of the path.
    """
    normal = np.linalg.inv(lattice)
    normal /= np.linalg.norm(normal, axis=0)
    height = path_A @ normal
    extent = np.abs(height[:, None] - height[[0, -1]]).max(axis=(0, 1)) + exclusion_A
    needed = (ENVIRONMENT_CUTOFF_A + extent) / perpendicular_widths(lattice)
    return np.maximum(np.ceil(needed - 1e-9), 1).astype(np.int64)
