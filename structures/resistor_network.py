"""The periodic resistor network: what the random walk on a jump network is equivalent to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def effective_conductance(
    n_sites: int,
    start: NDArray[np.int_],
    end: NDArray[np.int_],
    shift: NDArray[np.int_],
    conductance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Dissipation of a periodic resistor network for a unit gradient along each cell vector.

    Solved by eliminating one site after the other (star-mesh transformation). No step subtracts
    conductances, so that they may span a hundred decades.

    Args:
        n_sites: Number of sites in the cell.
        start: (n_edges,) site index, in cell 0.
        end: (n_edges,) site index; every resistor is listed once.
        shift: (n_edges, 3) integer cell of the end.
        conductance: (n_edges, n_samples) conductances, not negative.

    Returns:
        (3, 3, n_samples) tensor: min over potentials of sum_e g_e d_e d_e^T, with
        d = shift + phi_end - phi_start, in units of cell vectors.
    """
    displacement = np.repeat(np.asarray(shift, float)[:, :, None], conductance.shape[1], axis=2)
    mesh = _Mesh(n_sites, conductance.shape[1])
    loop = start == end
    mesh.dissipate(conductance[loop], displacement[loop])
    # Hops between the same two sites come one round after the other.
    for hops in _rounds_of_distinct_pairs(start, end, np.flatnonzero(~loop)):
        mesh.add(start[hops], end[hops], conductance[hops], displacement[hops])
    neighbors: dict[int, set[int]] = {i: set() for i in range(n_sites)}
    for i, j in zip(start[~loop].tolist(), end[~loop].tolist(), strict=True):
        neighbors[i].add(j)
        neighbors[j].add(i)
    while neighbors:
        # The site with the fewest neighbours leaves the smallest mesh behind.
        site = min(neighbors, key=lambda i: len(neighbors[i]))
        around = neighbors.pop(site)
        for i in around:
            neighbors[i] |= around
            neighbors[i] -= {i, site}
        mesh.eliminate(site, np.array(sorted(around), int))
    return mesh.dissipation


def _rounds_of_distinct_pairs(
    start: NDArray[np.int_], end: NDArray[np.int_], hops: NDArray[np.int_]
) -> list[NDArray[np.int_]]:
    """Split hops into rounds in which no unordered pair of sites occurs twice."""
    rounds: list[list[int]] = []
    seen: dict[tuple[int, int], int] = {}
    for hop in hops.tolist():
        pair = (min(start[hop], end[hop]), max(start[hop], end[hop]))
        turn = seen.get(pair, 0)
        seen[pair] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(hop)
    return [np.array(r, int) for r in rounds]


class _Mesh:
    """Periodic resistor network with one mean resistor between any two sites.

    Parallel resistors g1, g2 with displacements d1, d2 act as one, g1 + g2 with the mean
    displacement, plus the constant g1 g2 / (g1 + g2) (d1 - d2)^2, which no potential can lower.

    Attributes:
        conductance: (n_sites, n_sites, n_samples), symmetric.
        displacement: (n_sites, n_sites, 3, n_samples) in cell vectors, antisymmetric.
        dissipation: (3, 3, n_samples) constants gathered so far.
    """

    def __init__(self, n_sites: int, n_samples: int) -> None:
        self.conductance = np.zeros((n_sites, n_sites, n_samples))
        self.displacement = np.zeros((n_sites, n_sites, 3, n_samples))
        self.dissipation = np.zeros((3, 3, n_samples))

    def dissipate(self, g: NDArray[np.float64], d: NDArray[np.float64]) -> None:
        """Add sum_e g_e d_e d_e^T; g is (n_edges, n_samples), d is (n_edges, 3, n_samples)."""
        for a in range(3):
            weighted = g * d[:, a]
            for b in range(a, 3):
                term = np.einsum("es,es->s", weighted, d[:, b])
                self.dissipation[a, b] += term
                if a != b:
                    self.dissipation[b, a] += term

    def add(
        self,
        i: NDArray[np.int_],
        j: NDArray[np.int_],
        g: NDArray[np.float64],
        d: NDArray[np.float64],
    ) -> None:
        """Put resistors g with displacements d in parallel to those between i and j."""
        before, mean = self.conductance[i, j], self.displacement[i, j]
        share = _ratio(g, before + g)
        apart = d - mean
        self.dissipate(before * share, apart)
        mean = mean + share[:, None] * apart
        self.conductance[i, j] = self.conductance[j, i] = before + g
        self.displacement[i, j] = mean
        self.displacement[j, i] = -mean

    def eliminate(self, site: int, around: NDArray[np.int_]) -> None:
        """Replace a site by resistors g_i g_j / sum(g) between its neighbours."""
        g, d = self.conductance[around, site], self.displacement[site, around]
        share = _ratio(g, g.sum(0))
        i, j = np.triu_indices(len(around), 1)
        self.add(around[i], around[j], g[i] * share[j], d[j] - d[i])


def _ratio(part: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part / total, zero where both are."""
    return np.divide(part, total, out=np.zeros_like(part), where=total > 0)
