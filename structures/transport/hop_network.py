"""From site energies and saddles to percolation barriers and the exact diffusion tensor.

A carrier (vacancy or interstitial) jumps on a periodic network given by its quotient graph: the
sites of one cell and the hops between them, each hop with the cell its end lies in. Sites have one
energy each and hops one saddle each, so that detailed balance holds round every loop. Positions of
the sites inside the cell do not matter for either quantity and are not needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.structures.compiled import compiled
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.transport.resistor_network import effective_conductance
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, CM2_S_PER_A2_PS

SAME_ENERGY_EV = 1e-9
"""Saddles this close are one level: symmetry makes them equal, rounding does not keep them so."""


@dataclass(frozen=True, eq=False)
class JumpNetwork:
    """A periodic network on which one carrier jumps; any number of samples of its energies.

    Attributes:
        lattice: (3, 3) lattice vectors as rows, angstrom.
        start: (n_edges,) site index at which the hop starts, in cell 0.
        end: (n_edges,) site index at which it ends.
        shift: (n_edges, 3) integer cell in which it ends. Every undirected hop is listed once.
        site_energy_eV: (..., n_sites) energy of the carrier on each site, eV.
        saddle_eV: (..., n_edges) energy of the carrier at each saddle, eV, on the same scale and
            with the same leading dimensions; ``inf`` closes the hop.
    """

    lattice: NDArray[np.float64]
    start: NDArray[np.int_]
    end: NDArray[np.int_]
    shift: NDArray[np.int_]
    site_energy_eV: NDArray[np.float64]
    saddle_eV: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse shapes and values that cannot be a network."""
        n_edges = len(self.start)
        if np.shape(self.lattice) != (3, 3):
            raise ValueError(f"lattice has shape {np.shape(self.lattice)}, expected (3, 3)")
        if len(self.end) != n_edges or np.shape(self.shift) != (n_edges, 3):
            raise ValueError(
                f"start ({n_edges}), end ({len(self.end)}) and shift {np.shape(self.shift)} must "
                "list the same hops: (n_edges,), (n_edges,), (n_edges, 3)"
            )
        samples = np.shape(self.site_energy_eV)[:-1]
        if np.shape(self.saddle_eV) != (*samples, n_edges):
            raise ValueError(
                f"saddle_eV has shape {np.shape(self.saddle_eV)}, expected {(*samples, n_edges)}: "
                "the sample dimensions of site_energy_eV, then n_edges"
            )
        if n_edges and (
            max(np.max(self.start), np.max(self.end)) >= self.n_sites
            or min(np.min(self.start), np.min(self.end)) < 0
        ):
            raise ValueError(f"hops name sites outside 0..{self.n_sites - 1}")
        if not np.isfinite(self.site_energy_eV).all() or np.isnan(self.saddle_eV).any():
            raise ValueError(
                "site_energy_eV must be finite and saddle_eV not nan; "
                "close a hop with a saddle of inf, drop a site that cannot be occupied"
            )

    @property
    def n_sites(self) -> int:
        """Number of sites in the cell."""
        return int(np.shape(self.site_energy_eV)[-1])

    @property
    def barred_saddle_eV(self) -> NDArray[np.float64]:
        """(..., n_edges) saddles, raised to the higher end where a sample put them below it."""
        ends = np.maximum(self.site_energy_eV[..., self.start], self.site_energy_eV[..., self.end])
        return np.maximum(self.saddle_eV, ends)


def carrier_network(
    graph: MigrationGraph, site_energy_eV: ArrayLike, kra_eV: ArrayLike
) -> JumpNetwork:
    """Energies of the ion turned into a network for the carrier that moves in the crystal.

    The saddle of a hop lies at (e_i + e_j) / 2 + KRA, with KRA the kinetically resolved activation
    barrier (A. Van der Ven et al., Phys. Rev. B 64, 184307 (2001)), at least half of the
    difference of both. A vacancy on site i lacks the ion's energy e_i: its site energy is -e_i,
    its saddle -(e_i + e_j) / 2 + KRA.

    Args:
        graph: Sites and hops of a crystal.
        site_energy_eV: (..., n_sites) energy of the working ion on each site, eV.
        kra_eV: (..., n_orbits) KRA of each symmetry-unique hop, eV.

    Returns:
        The network, with the broadcast leading dimensions of both arguments.
    """
    energy, kra = np.asarray(site_energy_eV, float), np.asarray(kra_eV, float)
    if energy.shape[-1] != graph.n_sites or kra.shape[-1] != len(graph.hops):
        raise ValueError(
            f"{graph.crystal.id}: {energy.shape[-1]} site energies for {graph.n_sites} "
            f"sites, {kra.shape[-1]} KRA for {len(graph.hops)} unique hops"
        )
    samples = np.broadcast_shapes(energy.shape[:-1], kra.shape[:-1])
    if graph.carrier == "vacancy":
        energy = -energy
    first, last = energy[..., graph.start], energy[..., graph.end]
    resolved = np.maximum(kra[..., graph.orbit], np.abs(first - last) / 2)
    return JumpNetwork(
        lattice=graph.crystal.lattice,
        start=graph.start,
        end=graph.end,
        shift=graph.shift,
        site_energy_eV=np.broadcast_to(energy, (*samples, energy.shape[-1])),
        saddle_eV=np.broadcast_to((first + last) / 2 + resolved, (*samples, len(graph.start))),
    )


def percolation_barriers(network: JumpNetwork) -> NDArray[np.float64]:
    """Lowest energies at which connected hops percolate in 1, 2 and 3 independent directions.

    Hops are opened in the order of their saddles. A connected cluster percolates in r directions
    when the lattice vectors by which it meets its own periodic images span r dimensions. Its
    barrier is the level reached, above the lowest site of that cluster; of several clusters, the
    lowest barrier counts. Directions of separate clusters are not added up.

    Args:
        network: The jump network, with any leading sample dimensions.

    Returns:
        (..., 3) barriers in eV, ascending, ``inf`` where nothing percolates.
    """
    saddle = network.barred_saddle_eV
    samples = saddle.shape[:-1]
    saddle = saddle.reshape(math.prod(samples), len(network.start))
    energy = np.reshape(network.site_energy_eV, (math.prod(samples), network.n_sites))
    hops = _Hops.of(network.start, network.end, network.shift, np.arange(len(network.start)))
    return _barriers(hops, saddle, energy, 3).reshape(*samples, 3)


def sampled_percolation_barriers(
    graph: MigrationGraph,
    site_energy_eV: NDArray[np.float64],
    member: NDArray[np.int_],
    kra_eV: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Percolation barriers in one direction for many samples of the barriers.

    The same as the first of :func:`percolation_barriers` of the :func:`carrier_network` of every
    sample. A sample only changes the order in which orbits of hops open.

    Args:
        graph: Sites and hops of a crystal.
        site_energy_eV: (n_members, n_sites) energy of the working ion, equal on sites that symmetry
            makes equal, eV.
        member: (n_samples,) whose site energies a sample has.
        kra_eV: (n_samples, n_orbits) KRA of each symmetry-unique hop, eV.

    Returns:
        (n_samples,) eV, ``inf`` where nothing percolates.
    """
    energy = -site_energy_eV if graph.carrier == "vacancy" else site_energy_eV
    unique = np.unique(graph.orbit, return_index=True)[1]
    first, last = energy[:, graph.start[unique]], energy[:, graph.end[unique]]
    half = np.abs(first - last)[member] / 2
    saddle = ((first + last) / 2)[member] + np.maximum(kra_eV, half)
    hops = _Hops.of(graph.start, graph.end, graph.shift, graph.orbit)
    return _barriers(hops, saddle, energy[member], 1)[:, 0]


def percolation_dimensionality(network: JumpNetwork, threshold_eV: ArrayLike) -> NDArray[np.int_]:
    """Number of independent directions in which one connected cluster percolates at a threshold.

    Args:
        network: The jump network, with any leading sample dimensions.
        threshold_eV: Energy above the lowest site of the cluster, eV, broadcastable to the samples.

    Returns:
        (...) integers from 0 to 3.
    """
    threshold = np.asarray(threshold_eV, float)[..., None] + SAME_ENERGY_EV
    return np.asarray((percolation_barriers(network) <= threshold).sum(-1))


class _Hops(NamedTuple):
    """Hops in the order of their kinds, as loops take them."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    shift: NDArray[np.int64]
    first: NDArray[np.int64]
    """(n_kinds + 1,) where the hops of each kind begin."""

    @classmethod
    def of(cls, start: ArrayLike, end: ArrayLike, shift: ArrayLike, kind: ArrayLike) -> _Hops:
        kind = np.asarray(kind, np.int64)
        order = np.argsort(kind, kind="stable")
        start, end, shift = (np.asarray(a, np.int64)[order] for a in (start, end, shift))
        first = np.searchsorted(kind[order], np.arange(kind.max(initial=-1) + 2))
        return cls(start, end, shift.reshape(-1, 3), first)


def _barriers(
    hops: _Hops, saddle: NDArray[np.float64], energy: NDArray[np.float64], n_directions: int
) -> NDArray[np.float64]:
    """See :func:`_opened`."""
    saddle, energy = np.ascontiguousarray(saddle), np.ascontiguousarray(energy)
    return _opened(*hops, saddle, np.argsort(saddle, axis=1), energy, n_directions)


@compiled
def _opened(
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    shift: NDArray[np.int64],
    first: NDArray[np.int64],
    saddle: NDArray[np.float64],
    order: NDArray[np.int64],
    energy: NDArray[np.float64],
    n_directions: int,
) -> NDArray[np.float64]:
    """(n_samples, 3) percolation barriers, eV; beyond n_directions upper bounds of them.

    Union-find over the quotient graph that knows in which cell each site of a cluster lies: a hop
    inside a cluster closes a loop, and what the cells lack is its winding vector.

    Args:
        start: (n_hops,) and what follows of `_Hops`.
        end: (n_hops,).
        shift: (n_hops, 3).
        first: (n_kinds + 1,).
        saddle: (n_samples, n_kinds), eV.
        order: (n_samples, n_kinds) kinds by their saddles.
        energy: (n_samples, n_sites), eV.
        n_directions: How many of the barriers are looked for.
    """
    n_samples, n_sites = energy.shape
    barriers = np.full((n_samples, 3), np.inf)
    above = np.empty(n_sites, np.int64)
    cell, windings = np.empty((n_sites, 3), np.int64), np.empty((n_sites, 3, 3), np.int64)
    rank, size = np.empty(n_sites, np.int64), np.empty(n_sites, np.int64)
    lowest, grown = np.empty(n_sites), np.empty(4 * n_sites, np.int64)
    step = np.empty(3, np.int64)
    for s in range(n_samples):
        highest_site = -np.inf
        for i in range(n_sites):
            above[i], rank[i], size[i], lowest[i] = i, 0, 1, energy[s, i]
            cell[i, 0] = cell[i, 1] = cell[i, 2] = 0
            highest_site = max(highest_site, energy[s, i])
        level, n_grown = -np.inf, 0
        for place in range(order.shape[1]):
            kind = order[s, place]
            if saddle[s, kind] > level + SAME_ENERGY_EV:
                # the clusters that grew at a level are priced once all its hops are open
                for g in range(n_grown):
                    root = _root(grown[g], above, cell)
                    for r in range(rank[root]):
                        barriers[s, r] = min(barriers[s, r], level - lowest[root])
                n_grown = 0
                # no later cluster can have a lower barrier than this
                lower_bound = saddle[s, kind] - highest_site
                if lower_bound >= barriers[s, n_directions - 1] or saddle[s, kind] == np.inf:
                    break
                level = saddle[s, kind]
            for hop in range(first[kind], first[kind + 1]):
                i, j = start[hop], end[hop]
                p, q = _root(i, above, cell), _root(j, above, cell)
                if p == q and rank[p] == 3:
                    continue
                for c in range(3):
                    step[c] = cell[i, c] + shift[hop, c] - cell[j, c]
                grew = False
                if p == q:
                    grew = _extended(windings, rank, p, step)
                else:
                    if size[p] < size[q]:
                        p, q = q, p
                        for c in range(3):
                            step[c] = -step[c]
                    above[q] = p
                    for c in range(3):
                        cell[q, c] = step[c]
                    size[p] += size[q]
                    lowest[p] = min(lowest[p], lowest[q])
                    for r in range(rank[q]):
                        grew = _extended(windings, rank, p, windings[q, r]) or grew
                if grew:
                    grown[n_grown] = p
                    n_grown += 1
        for g in range(n_grown):
            root = _root(grown[g], above, cell)
            for r in range(rank[root]):
                barriers[s, r] = min(barriers[s, r], level - lowest[root])
    return barriers


@compiled
def _root(site: int, above: NDArray[np.int64], cell: NDArray[np.int64]) -> int:
    """First site of a cluster; the path to it is shortened, ``cell[site]`` counted from it."""
    root, x, y, z = site, 0, 0, 0
    while above[root] != root:
        x, y, z = x + cell[root, 0], y + cell[root, 1], z + cell[root, 2]
        root = above[root]
    while above[site] != root and site != root:
        following = above[site]
        u, v, w = cell[site, 0], cell[site, 1], cell[site, 2]
        above[site] = root
        cell[site, 0], cell[site, 1], cell[site, 2] = x, y, z
        x, y, z = x - u, y - v, z - w
        site = following
    return root


@compiled
def _extended(
    windings: NDArray[np.int64], rank: NDArray[np.int64], cluster: int, v: NDArray[np.int64]
) -> bool:
    """Append v to the windings of a cluster if it is independent (exact integers)."""
    n, basis = rank[cluster], windings[cluster]
    if n == 3 or (v[0] == 0 and v[1] == 0 and v[2] == 0):
        return False
    if n == 1:
        x, y, z = _cross(basis[0], v)
        if x == 0 and y == 0 and z == 0:
            return False
    if n == 2:
        x, y, z = _cross(basis[0], basis[1])
        if x * v[0] + y * v[1] + z * v[2] == 0:
            return False
    basis[n, 0], basis[n, 1], basis[n, 2] = v[0], v[1], v[2]
    rank[cluster] = n + 1
    return True


@compiled
def _cross(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[int, int, int]:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def diffusion_tensor(
    network: JumpNetwork, temperature_K: ArrayLike, attempt_frequency_THz: ArrayLike = 10.0
) -> NDArray[np.float64]:
    """Exact long-time diffusion tensor of one carrier on the network.

    With rates w_ij = nu exp(-(S_ij - E_i) / k_B T) and occupations pi_i = exp(-E_i / k_B T) / Z,
    the bias-corrected random walk (A. R. Allnatt and A. B. Lidiard, Atomic Transport in Solids,
    1993; D. R. Trinkle, Philos. Mag. 97, 2514 (2017)) is, for any unit vector u,

        u.D.u = (nu / Z) min_phi sum_hops g_ij (u.d_ij + phi_j - phi_i)^2,   g = exp(-S / k_B T),

    the dissipation of a periodic resistor network. It is solved by eliminating one site after the
    other (star-mesh transformation): no step subtracts conductances, so barriers that span hundreds
    of k_B T cost no accuracy. Every site counts in Z, also those that no open hop reaches:
    carriers are taken as equilibrated over all sites, which is the limit of ever higher saddles.

    Args:
        network: The jump network, with any leading sample dimensions.
        temperature_K: T in K, a number or broadcastable to the samples.
        attempt_frequency_THz: nu in THz, a number or broadcastable to the samples.

    Returns:
        (..., 3, 3) tensor in cm^2/s, cartesian. A hop more than 700 k_B T above the lowest saddle
        counts as closed. Elements far smaller than the largest one are exact along the cell
        vectors; turned to other axes they are as good as float64 can hold them beside it.
    """
    kT = BOLTZMANN_EV_PER_K * np.asarray(temperature_K, float)[..., None]
    if not (kT > 0).all():
        raise ValueError(f"temperature_K must be positive, got {np.min(temperature_K):g}")
    saddle, energy = network.barred_saddle_eV / kT, network.site_energy_eV / kT
    lowest_site = energy.min(-1)
    lowest_saddle = saddle.min(-1, initial=np.inf)
    any_open = np.isfinite(lowest_saddle)
    lowest_saddle = np.where(any_open, lowest_saddle, 0.0)
    conductance = np.exp(lowest_saddle[..., None] - saddle)
    samples = conductance.shape[:-1]
    flat = conductance.reshape(math.prod(samples), len(network.start))
    hops = network.start, network.end, network.shift
    cells2 = effective_conductance(network.n_sites, *hops, flat).reshape(*samples, 3, 3)
    partition = np.exp(lowest_site[..., None] - energy).sum(-1)
    frequency = np.asarray(attempt_frequency_THz, float) * CM2_S_PER_A2_PS
    scale = frequency * np.where(any_open, np.exp(lowest_site - lowest_saddle), 0.0) / partition
    lattice = np.asarray(network.lattice, float)
    return np.asarray(scale[..., None, None] * (lattice.T @ cells2 @ lattice))
