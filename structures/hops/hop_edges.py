"""Which pairs of sites a hop may join, and which of the hops are alike by symmetry.

A hop joins two sites with no third site near the segment between them (the Gabriel graph: the
sphere whose diameter is the segment is empty; Gabriel and Sokal, Syst. Zool. 18, 259 (1969)). It
holds the relative neighbourhood graph, hence every shortest connection, and drops the long jumps
that are two short ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.compiled import compiled
from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.crystals.symmetry import SiteImages, joined
from ionbridge.structures.ties import TIE_A, ranks
from ionbridge.structures.transport.hop_network import JumpNetwork, percolation_barriers

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


@dataclass(frozen=True, eq=False)
class HopOrbits:
    """Edges, grouped by symmetry; the first edge of an orbit represents it.

    Attributes:
        edges: Undirected edges, shortest first.
        orbit: (n_edges,) number of the orbit, counted in order of first appearance.
        reversed: (n_edges,) True if every operation that brings the representative here turns it
            round.
    """

    edges: Edges
    orbit: NDArray[np.int64]
    reversed: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.orbit.max(initial=-1)) + 1

    @property
    def representatives(self) -> Edges:
        """One edge for each orbit."""
        return self.edges.select(np.unique(self.orbit, return_index=True)[1].astype(np.int64))

    def only(self, keep: NDArray[np.bool_]) -> HopOrbits:
        """Some of the orbits, by mask, numbered anew."""
        inside = keep[self.orbit]
        number = np.cumsum(keep) - 1
        return HopOrbits(
            self.edges.select(inside), number[self.orbit[inside]], self.reversed[inside]
        )


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
        The edges by length, then by start, end and cell of the end.
    """
    src, dst, shift, length = periodic_edges(lattice, frac, max_hop_A + TIE_A)
    order = np.lexsort((length, src))
    src, dst, shift, length = src[order], dst[order], shift[order], length[order]
    if len(src) == 0:
        return Edges(src, dst, shift.reshape(-1, 3), length)
    vector = (frac[dst] + shift - frac[src]) @ lattice
    first = np.searchsorted(src, np.arange(len(frac) + 1))
    half = _canonical(src, dst, shift)
    edges = Edges(src[half], dst[half], shift[half], length[half])
    blocked = _blocked(vector[half], edges.length_A, edges.start, vector, length, first)
    edges = edges.select(~blocked)
    keys = *edges.shift.T[::-1], edges.end, edges.start, ranks(edges.length_A, TIE_A)
    return edges.select(np.lexsort(keys))


def _canonical(
    src: NDArray[np.int64], dst: NDArray[np.int64], shift: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """True for one of the two directions of every pair."""
    x, y, z = shift.T
    positive = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    return np.asarray((src < dst) | ((src == dst) & positive))


@compiled
def _blocked(
    vector: NDArray[np.float64],
    length: NDArray[np.float64],
    start: NDArray[np.int64],
    others: NDArray[np.float64],
    near: NDArray[np.float64],
    first: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """(n,) whether a third site blocks a pair, see :func:`candidate_edges`.

    Args:
        vector: (n, 3) from start to end, cartesian.
        length: (n,) its length.
        start: (n,) site at its start.
        others: (n_others, 3) vectors from sites to their neighbours, those of a site by length.
        near: (n_others,) their lengths.
        first: (n_sites + 1,) where the neighbours of each site begin.
    """
    blocked = np.zeros(len(start), np.bool_)
    for e in range(len(start)):
        closer = length[e] * (1.0 - _EQUAL)
        for m in range(first[start[e]], first[start[e] + 1]):
            if near[m] >= closer:
                break
            square = 0.0
            for c in range(3):
                square += (others[m, c] - vector[e, c]) ** 2
            inside = near[m] ** 2 + square <= (1.0 + TIE_TOLERANCE) * length[e] ** 2
            if inside and square < closer * closer:
                blocked[e] = True
                break
    return blocked


def edge_orbits(edges: Edges, images: SiteImages) -> HopOrbits:
    """Which edges the symmetry maps onto each other, reversal included.

    An edge with an image that is missing from the list (a length or a tie at the very limit) is
    dropped with its orbit.

    Args:
        edges: Undirected edges.
        images: What the space group does to the sites.
    """
    n_edges, n_sites = len(edges), images.index.shape[1]
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
    first, orbit = np.unique(kind, return_index=True, return_inverse=True)[1:]
    orbits = HopOrbits(edges, orbit.astype(np.int64), forward != forward[first[orbit]])
    return orbits.only(closed[first])


def _keys(
    i: NDArray[np.int64], j: NDArray[np.int64], shift: NDArray[np.int64], n_sites: int
) -> NDArray[np.int64]:
    key = i * n_sites + j
    for axis in range(3):
        key = key * _SHIFT_RANGE + shift[..., axis] + _SHIFT_RANGE // 2
    return key


def connecting_levels(
    n_sites: int, edges: Edges, level: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """(3,) lowest levels up to which the edges connect the crystal in 1, 2 and 3 directions.

    Args:
        n_sites: Number of sites.
        edges: Undirected edges.
        level: (n_edges,) non-negative; by default all 0.

    Returns:
        Levels, infinite where all edges together do not connect that many directions.
    """
    if len(edges) == 0:
        return np.full(3, np.inf)
    network = JumpNetwork(
        lattice=np.eye(3),
        start=edges.start,
        end=edges.end,
        shift=edges.shift,
        site_energy_eV=np.zeros(n_sites),
        saddle_eV=np.zeros(len(edges)) if level is None else level.astype(float),
    )
    return percolation_barriers(network)


def connectivity(n_sites: int, edges: Edges) -> tuple[int, int]:
    """Directions in which the edges connect the crystal, and sets of sites they connect."""
    return (
        int(np.isfinite(connecting_levels(n_sites, edges)).sum()),
        n_connected(n_sites, edges.start, edges.end),
    )


@compiled
def n_connected(n_sites: int, start: NDArray[np.int64], end: NDArray[np.int64]) -> int:
    """Number of sets of sites that pairs of sites connect.

    Args:
        n_sites: Number of sites.
        start: (n_pairs,).
        end: (n_pairs,).
    """
    above, count = np.arange(n_sites), n_sites
    for k in range(len(start)):
        p, q = start[k], end[k]
        while above[p] != p:
            above[p] = above[above[p]]
            p = above[p]
        while above[q] != q:
            above[q] = above[above[q]]
            q = above[q]
        count -= p != q
        above[max(p, q)] = min(p, q)
    return count
