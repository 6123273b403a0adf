"""The periodic resistor network: what the random walk on a jump network is equivalent to."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.structures.compiled import compiled

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def effective_conductance(
    n_sites: int, start: ArrayLike, end: ArrayLike, shift: ArrayLike, conductance: ArrayLike
) -> Floats:
    """Dissipation of a periodic resistor network for a unit gradient along each cell vector.

    Solved by eliminating one site after the other (star-mesh transformation). No step subtracts
    conductances, so that they may span a hundred decades.

    Between any two sites there is one mean resistor: parallel resistors g1, g2 with displacements
    d1, d2 act as one, g1 + g2 with the mean displacement, plus the constant
    g1 g2 / (g1 + g2) (d1 - d2)^2, which no potential can lower. A site is replaced by resistors
    g_i g_j / sum(g) between its neighbours.

    Args:
        n_sites: Number of sites in the cell.
        start: (n_edges,) site index, in cell 0.
        end: (n_edges,) site index; every resistor is listed once.
        shift: (n_edges, 3) integer cell of the end.
        conductance: (n_samples, n_edges) conductances, not negative.

    Returns:
        (n_samples, 3, 3) tensors: min over potentials of sum_e g_e d_e d_e^T, with
        d = shift + phi_end - phi_start, in units of cell vectors.
    """
    ends = np.asarray(start, np.int64), np.asarray(end, np.int64)
    displacement = np.asarray(shift, np.float64).reshape(-1, 3)
    order, around, n_around = _elimination(n_sites, *ends)
    g = np.ascontiguousarray(conductance, np.float64)
    return _eliminated(order, around, n_around, *ends, displacement, g)


@compiled
def _elimination(
    n_sites: int, start: Integers, end: Integers
) -> tuple[Integers, Integers, Integers]:
    """Sites in the order in which they go, those with the fewest neighbours first.

    Returns:
        order (n_sites,), around (n_sites, n_sites) and n_around (n_sites,): the k-th site leaves a
        mesh among ``around[k, : n_around[k]]``.
    """
    touch = np.zeros((n_sites, n_sites), np.bool_)
    count = np.zeros(n_sites, np.int64)
    for e in range(len(start)):
        i, j = start[e], end[e]
        if i != j and not touch[i, j]:
            touch[i, j] = touch[j, i] = True
            count[i] += 1
            count[j] += 1
    order, n_around = np.empty(n_sites, np.int64), np.zeros(n_sites, np.int64)
    around = np.empty((n_sites, n_sites), np.int64)
    left = np.ones(n_sites, np.bool_)
    for k in range(n_sites):
        site = -1
        for i in range(n_sites):
            if left[i] and (site < 0 or count[i] < count[site]):
                site = i
        order[k], left[site] = site, False
        n = 0
        for i in range(n_sites):
            if touch[site, i]:
                around[k, n] = i
                n += 1
        n_around[k] = n
        for a in range(n):
            i = around[k, a]
            touch[i, site] = touch[site, i] = False
            count[i] -= 1
            for b in range(a):
                j = around[k, b]
                if not touch[i, j]:
                    touch[i, j] = touch[j, i] = True
                    count[i] += 1
                    count[j] += 1
    return order, around, n_around


@compiled
def _eliminated(
    order: Integers,
    around: Integers,
    n_around: Integers,
    start: Integers,
    end: Integers,
    displacement: Floats,
    conductance: Floats,
) -> Floats:
    """(n_samples, 3, 3) dissipation; arguments of :func:`_elimination` and its caller."""
    n_samples, n_sites = len(conductance), len(order)
    total = np.zeros((n_samples, 3, 3))
    g, d = np.empty((n_sites, n_sites)), np.empty((n_sites, n_sites, 3))
    step = np.empty(3)
    for s in range(n_samples):
        for i in range(n_sites):
            for j in range(n_sites):
                g[i, j] = 0.0
                for c in range(3):
                    d[i, j, c] = 0.0
        for e in range(len(start)):
            if start[e] == end[e]:
                _dissipate(total[s], conductance[s, e], displacement[e])
            else:
                _add(total[s], g, d, start[e], end[e], conductance[s, e], displacement[e])
        for k in range(n_sites):
            site = order[k]
            here = 0.0
            for a in range(n_around[k]):
                here += g[site, around[k, a]]
            if here <= 0.0:
                continue
            for a in range(n_around[k]):
                i = around[k, a]
                for b in range(a + 1, n_around[k]):
                    j = around[k, b]
                    for c in range(3):
                        step[c] = d[site, j, c] - d[site, i, c]
                    _add(total[s], g, d, i, j, g[site, i] * (g[site, j] / here), step)
    return total


@compiled
def _dissipate(total: Floats, g: float, d: Floats) -> None:
    """Add g d d^T."""
    for a in range(3):
        for b in range(3):
            total[a, b] += g * d[a] * d[b]


@compiled
def _add(
    total: Floats, g: Floats, d: Floats, i: int, j: int, more: float, displacement: Floats
) -> None:
    """Put a resistor with a displacement in parallel to those between i and j."""
    before = g[i, j]
    if before + more <= 0.0:
        return
    share = more / (before + more)
    for a in range(3):
        for b in range(3):
            apart = (displacement[a] - d[i, j, a]) * (displacement[b] - d[i, j, b])
            total[a, b] += before * share * apart
    for a in range(3):
        d[i, j, a] += share * (displacement[a] - d[i, j, a])
        d[j, i, a] = -d[i, j, a]
    g[i, j] = g[j, i] = before + more
