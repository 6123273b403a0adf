"""From site energies and saddles to percolation barriers and the exact diffusion tensor.

A carrier (vacancy or interstitial) jumps on a periodic network given by its quotient graph: the
sites of one cell and the hops between them, each hop with the cell its end lies in. Sites have one
energy each and hops one saddle each, so that detailed balance holds round every loop. Positions of
the sites inside the cell do not matter for either quantity and are not needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.structures.migration_graph import MigrationGraph
from ionbridge.structures.resistor_network import effective_conductance
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, CM2_S_PER_A2_PS

Vector = tuple[int, int, int]

SAME_ENERGY_EV = 1e-9
"""Saddles this close are one level: symmetry makes them equal, rounding does not keep them so."""
SAMPLES_AT_ONCE = 16
"""Samples eliminated together: enough to share the overhead, few enough to stay in the cache."""


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
    shifts = [(a, b, c) for a, b, c in np.asarray(network.shift, int).tolist()]
    ends = np.asarray(network.start).tolist(), np.asarray(network.end).tolist()
    hops = list(zip(*ends, shifts, strict=True))
    order = np.argsort(saddle, axis=-1, kind="stable")
    barriers = [
        _open_in_order(hops, *rows)
        for rows in zip(order.tolist(), saddle.tolist(), energy.tolist(), strict=True)
    ]
    return np.array(barriers, float).reshape(*samples, 3)


def percolation_dimensionality(network: JumpNetwork, threshold_eV: ArrayLike) -> NDArray[np.int_]:
    """Number of independent directions in which one connected cluster percolates at a threshold.

    Args:
        network: The jump network, with any leading sample dimensions.
        threshold_eV: Energy above the lowest site of the cluster, eV, broadcastable to the samples.

    Returns:
        (...) integers from 0 to 3.
    """
    threshold = np.asarray(threshold_eV, float)[..., None] + SAME_ENERGY_EV
    return (percolation_barriers(network) <= threshold).sum(-1)


class _Clusters:
    """Union-find over the quotient graph that knows in which cell each site of a cluster lies.

    ``cell[i]`` is the cell of the image of site i that hangs together with the cluster's first
    site; a hop inside a cluster closes a loop, and what the cells lack is its winding vector.
    """

    def __init__(self, energy: list[float]) -> None:
        n = len(energy)
        self.label = list(range(n))
        self.cell: list[Vector] = [(0, 0, 0)] * n
        self.members = [[i] for i in range(n)]
        self.lowest = list(energy)
        self.windings: list[list[Vector]] = [[] for _ in range(n)]

    def open(self, i: int, j: int, shift: Vector) -> bool:
        """Join the ends of a hop; True if its cluster now percolates in a further direction."""
        p, q = self.label[i], self.label[j]
        if p == q and len(self.windings[p]) == 3:
            return False
        (ax, ay, az), (bx, by, bz) = self.cell[i], self.cell[j]
        step = (ax + shift[0] - bx, ay + shift[1] - by, az + shift[2] - bz)
        if p == q:
            return _extend(self.windings[p], step)
        if len(self.members[p]) < len(self.members[q]):
            p, q = q, p
            step = (-step[0], -step[1], -step[2])
        for k in self.members[q]:
            x, y, z = self.cell[k]
            self.cell[k] = (x + step[0], y + step[1], z + step[2])
            self.label[k] = p
        self.members[p] += self.members[q]
        self.lowest[p] = min(self.lowest[p], self.lowest[q])
        grew = [_extend(self.windings[p], winding) for winding in self.windings[q]]
        return any(grew)


def _open_in_order(
    hops: list[tuple[int, int, Vector]],
    order: list[int],
    saddle: list[float],
    energy: list[float],
) -> list[float]:
    """Percolation barriers of one sample, in eV."""
    clusters = _Clusters(energy)
    barrier = [np.inf] * 3
    highest_site = max(energy, default=0.0)
    level = -np.inf
    grown: list[int] = []

    def settle() -> None:
        """Price the clusters that grew at this level, once all its hops are open."""
        for site in grown:
            cluster = clusters.label[site]
            for rank in range(len(clusters.windings[cluster])):
                barrier[rank] = min(barrier[rank], level - clusters.lowest[cluster])
        grown.clear()

    for edge in order:
        if saddle[edge] > level + SAME_ENERGY_EV:
            settle()
            # No later cluster can have a lower barrier than this.
            if saddle[edge] - highest_site >= barrier[2] or saddle[edge] == np.inf:
                break
            level = saddle[edge]
        i, j, shift = hops[edge]
        if clusters.open(i, j, shift):
            grown.append(i)
    settle()
    return barrier


def _extend(basis: list[Vector], v: Vector) -> bool:
    """Append v to a basis of at most three vectors if it is independent (exact integers)."""
    if v == (0, 0, 0):
        return False
    if len(basis) == 1 and _cross(basis[0], v) == (0, 0, 0):
        return False
    if len(basis) == 2:
        n = _cross(basis[0], basis[1])
        if n[0] * v[0] + n[1] * v[1] + n[2] * v[2] == 0:
            return False
    if len(basis) == 3:
        return False
    basis.append(v)
    return True


def _cross(a: Vector, b: Vector) -> Vector:
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
    blocks = np.split(flat, range(SAMPLES_AT_ONCE, len(flat), SAMPLES_AT_ONCE))
    start, end = np.asarray(network.start, int), np.asarray(network.end, int)
    tensors = [
        effective_conductance(network.n_sites, start, end, network.shift, block.T)
        for block in blocks
    ]
    cells2 = np.moveaxis(np.concatenate(tensors, axis=-1), -1, 0).reshape(*samples, 3, 3)
    partition = np.exp(lowest_site[..., None] - energy).sum(-1)
    frequency = np.asarray(attempt_frequency_THz, float) * CM2_S_PER_A2_PS
    scale = frequency * np.where(any_open, np.exp(lowest_site - lowest_saddle), 0.0) / partition
    lattice = np.asarray(network.lattice, float)
    return scale[..., None, None] * (lattice.T @ cells2 @ lattice)
