"""From a crystal's hops and their predicted energies to barriers, diffusivity and conductivity.

The network gives each hop the energy of the ion on both of its sites and a kinetically resolved
barrier (KRA). Here these become one energy for each orbit of sites and one saddle for each orbit of
hops, and from them percolation barriers and the exact diffusion tensor. All values of a crystal
belong to one centre, that of `ionbridge.models.barriers.hop_model.HopEnergies`, which is also
what is reported of its hops. Uncertainty: a draw takes one member of the ensemble for all hops of
the crystal and adds the aleatoric part to each orbit of hops; the draws give the spread of the
percolation barrier around the centre. Diffusivity and conductivity are those of
`ionbridge.screening.prediction.estimate`, which reads the hops beside measured compositions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ionbridge.models.barriers.hop_model import HopEnergies
from ionbridge.screening.prediction.estimate import estimated_rows
from ionbridge.screening.prediction.sampling import N_DRAWS, draws
from ionbridge.screening.table import Row
from ionbridge.screening.temperatures import check_temperature
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import UnusableStructureError
from ionbridge.structures.ties import TIE_EV, ranks
from ionbridge.structures.transport.closed_forms import carrier_density, isotropic_diffusivity
from ionbridge.structures.transport.hop_network import (
    SAME_ENERGY_EV,
    JumpNetwork,
    carrier_network,
    diffusion_tensor,
    percolation_barriers,
    sampled_percolation_barriers,
)

SMALLEST_DIFFUSIVITY_CM2_S = 1e-300
"""Below this a diffusivity is nothing; keeps its logarithm finite."""


@dataclass(frozen=True)
class Conditions:
    """Under which conditions, and how finely sampled, conduction is predicted.

    Attributes:
        temperature_K: T in K.
        attempt_frequency_THz: Attempt frequency of every hop.
        dimensionality_margin_eV: Energy above the percolation barrier at which directions count.
        n_draws: Number of samples, at least; see
            :func:`ionbridge.screening.prediction.sampling.draws`.
        seed: Seed of the samples, the same ones for every crystal.

    Raises:
        InputError: No ions move in solids at this temperature.
    """

    temperature_K: float = 300.0
    attempt_frequency_THz: float = 10.0
    dimensionality_margin_eV: float = 0.10
    n_draws: int = N_DRAWS
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a temperature at which no ions move in a solid."""
        check_temperature(self.temperature_K)


def site_energies(graph: MigrationGraph, energies: HopEnergies) -> NDArray[np.float64]:
    """(n_members, n_sites) energy of the ion on each site, eV.

    Sites that symmetry makes equal get one energy: the mean over all ends of hops that lie on them.
    A site that no hop reaches gets the mean of the others; nothing depends on it but the partition
    of the carriers.
    """
    ends = [(hop.extra["start_site"], hop.extra["end_site"]) for hop in graph.hops]
    orbits = np.concatenate([graph.site_orbit[[e[k] for e in ends]] for k in (0, 1)])
    values = np.concatenate([energies.start_eV, energies.end_eV], axis=1)
    result = np.repeat(values.mean(axis=1, keepdims=True), graph.n_sites, axis=1)
    for orbit in np.unique(orbits):
        mean = values[:, orbits == orbit].mean(axis=1)
        result[:, graph.site_orbit == orbit] = mean[:, None]
    return result


def conduction_row(
    graph: MigrationGraph,
    energies: HopEnergies,
    at: Conditions,
    axes: NDArray[np.float64] | None = None,
) -> Row:
    """The columns of the table that describe conduction in one crystal: hops, and the estimate.

    Args:
        graph: Sites and hops of the crystal.
        energies: Their energies; columns in the order of ``graph.hops``.
        at: Conditions and sampling.
        axes: (3, 3) cell vectors in which directions are named; by default those of the graph.

    Raises:
        UnusableStructureError: The hops do not connect the crystal in any direction.
    """
    row = hop_network_row(graph, energies, at, axes)
    return estimated_rows([row], [graph.crystal])[0]


def hop_network_row(
    graph: MigrationGraph,
    energies: HopEnergies,
    at: Conditions,
    axes: NDArray[np.float64] | None = None,
) -> Row:
    """What the hops alone say; arguments and errors as of :func:`conduction_row`.

    ``log10_diffusivity_raw_cm2_s`` is that of one carrier with the barriers as predicted.
    """
    site = site_energies(graph, energies)
    central = carrier_network(graph, site.mean(axis=0), energies.central_kra_eV)
    centre = percolation_barriers(central)
    if not np.isfinite(centre[0]):
        raise UnusableStructureError(
            f"{graph.crystal.id}: no path through the crystal: {len(graph.hops)} unique hops "
            f"between {graph.n_sites} sites of {graph.working_ion} connect it in no direction"
        )
    barriers = sampled_barriers(graph, site, energies, at)
    tensor = diffusion_tensor(central, at.temperature_K, at.attempt_frequency_THz)
    dimensions = int((centre <= centre[0] + at.dimensionality_margin_eV).sum())
    deciding = _hops_up_to(graph, central, centre[0], at.dimensionality_margin_eV)
    percolating = _hops_up_to(graph, central, centre[0])
    return {
        "working_ion": graph.working_ion,
        "percolation_barrier_eV": float(centre[0]),
        "percolation_barrier_std_eV": one_sigma(barriers),
        "percolation_barrier_2d_eV": _finite(centre[1]),
        "percolation_barrier_3d_eV": _finite(centre[2]),
        "percolation_dimensionality": dimensions,
        "fast_direction": fast_direction(
            tensor, graph.crystal.lattice if axes is None else axes, dimensions
        ),
        "temperature_K": at.temperature_K,
        "log10_diffusivity_raw_cm2_s": float(_log10(isotropic_diffusivity(tensor))),
        "carrier": graph.carrier,
        "carrier_density_cm3": float(carrier_density(graph.n_carriers, graph.crystal.volume_A3)),
        "n_hops": len(graph.hops),
        "percolating_hops": " ".join(map(str, percolating)),
        "in_domain": bool(energies.in_domain[deciding].all()),
    }


def one_sigma(samples: NDArray[np.float64]) -> float:
    """Half the width of the middle 68.27 % of (n,) samples: one sigma of a normal distribution.

    A few draws far out, as barriers drawn on a logarithmic scale have them, do not rule it.
    """
    low, high = np.quantile(samples, ndtr([-1.0, 1.0]))
    return float(0.5 * (high - low))


def sampled_barriers(
    graph: MigrationGraph, site: NDArray[np.float64], energies: HopEnergies, at: Conditions
) -> NDArray[np.float64]:
    """(n_draws,) samples of the percolation barrier, eV.

    Hops take their variables in the order of their barriers (equal ones as they stand), so that
    the order in which atoms and hops came changes nothing.

    Args:
        graph: Sites and hops of the crystal.
        site: (n_members, n_sites) energy of the ion on each site, eV.
        energies: Of the hops.
        at: Sampling.
    """
    member, normal = draws(at.n_draws, len(site), len(graph.hops), at.seed)
    noise = np.empty((len(member), len(graph.hops)))
    barriers = ranks(energies.central_kra_eV, TIE_EV)
    noise[:, np.argsort(barriers, kind="stable")] = normal
    log = energies.target  # errors of barriers are alike there, and none is driven to zero
    spread = log.forward_std(energies.kra_eV, energies.aleatoric_std_eV)[member]
    kra = log.inverse(log.forward(energies.kra_eV)[member] + noise * spread)
    return sampled_percolation_barriers(graph, site, member, kra)


def _hops_up_to(
    graph: MigrationGraph, network: JumpNetwork, barrier_eV: float, margin_eV: float = 0.0
) -> NDArray[np.int_]:
    """Indices of the unique hops up to the level of the percolation barrier and a margin above it.

    The barrier counts from the lowest site of the percolating cluster, which need not be the lowest
    of all; the level is the saddle that lies this much above some site.
    """
    saddle = network.barred_saddle_eV
    above = saddle[:, None] - network.site_energy_eV[None, :]
    level = saddle[(np.abs(above - barrier_eV) < SAME_ENERGY_EV).any(axis=1)].min()
    return np.unique(graph.orbit[saddle <= level + margin_eV + SAME_ENERGY_EV])


def fast_direction(
    tensor: NDArray[np.float64], lattice: NDArray[np.float64], dimensions: int
) -> str:
    """Where diffusion is fastest, in the axes of the cell: ``[u v w]`` or ``plane (h k l)``.

    Args:
        tensor: (3, 3) diffusion tensor, cartesian.
        lattice: (3, 3) cell vectors as rows, angstrom.
        dimensions: Percolating directions: 1 names a direction, 2 a plane, others nothing.
    """
    values, vectors = np.linalg.eigh(tensor / max(float(np.trace(tensor)), 1e-300))
    if dimensions == 1 and values[2] > 0:
        return "[" + _indices(vectors[:, 2] @ np.linalg.inv(lattice)) + "]"
    if dimensions == 2 and values[1] > 0:
        return "plane (" + _indices(lattice @ vectors[:, 0]) + ")"
    return ""


def _indices(direction: NDArray[np.float64], largest: int = 6) -> str:
    """A direction as small whole numbers; to two decimals where there are none."""
    unit = direction / np.abs(direction).max()
    for scale in range(1, largest + 1):
        whole = np.rint(unit * scale)
        if np.abs(unit * scale - whole).max() < 0.02 * scale:
            break
    else:
        return " ".join(f"{x:.2f}" for x in unit)
    numbers = whole.astype(int)
    numbers //= gcd(*(int(n) for n in numbers))
    first = numbers[np.flatnonzero(numbers)[0]]
    return " ".join(str(n) for n in numbers * np.sign(first))


def _log10(values: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.log10(np.maximum(values, SMALLEST_DIFFUSIVITY_CM2_S))


def _finite(value: float | np.floating) -> float | None:
    """A float, or None (an empty cell) where nothing percolates."""
    return float(value) if np.isfinite(value) else None
