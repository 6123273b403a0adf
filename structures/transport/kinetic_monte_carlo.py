"""Jumps of ions that block and repel each other on a network of sites: kinetic Monte Carlo.

An ion jumps to empty sites at the end of a hop. A jump from i to j has the barrier
``max(KRA, |dE| / 2) + dE / 2``, with dE the change of the energy of the whole lattice: site
energies and pair repulsions. That is the rule of
:func:`ionbridge.structures.transport.hop_network.carrier_network` for one carrier, and Metropolis'
rule where KRA = 0, and obeys detailed balance. Jumps are drawn without rejections (A. B. Bortz, M.
H. Kalos and J. L. Lebowitz, J. Comput. Phys. 17, 10 (1975)).

Tracer and collective diffusivity, correlation factors and Haven ratio are defined as by G. E. Murch
(Solid State Ionics 7, 177 (1982)): f compares the tracer diffusivity with that of as many jumps
without memory, f_I the collective one, H = f / f_I.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.structures.compiled import compiled
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.transport.closed_forms import isotropic_diffusivity
from ionbridge.structures.transport.hop_network import carrier_network, diffusion_tensor
from ionbridge.structures.transport.lattice_gas import LatticeGas, Rows, equilibrium
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, CM2_S_PER_A2_PS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

JUMPS_PER_ION = 3000
"""Jumps of an ion in the mean, half a per cent for the tracer factor of a hundred ions."""
JUMPS_PER_RECORD = 10
"""Jumps of an ion from one record of the displacements to the next."""
EQUILIBRATION = 0.1
"""So much of the run comes first and is not counted."""
TRACER_LAGS, COLLECTIVE_LAGS = (4, 8), (1, 3)
"""Records between which the mean squared displacement is first taken to be a straight line."""
WINDOW_RECORDS = 4
"""Records in a run of a stated number of jumps."""
N_BLOCKS = 8
"""Parts of the run whose spread gives the standard errors."""
SETTLED_SIGMAS = 2.0
"""A slope that changes by less over twice the lag is that of endless time."""
SAME_DIFFUSIVITY = 0.02
"""Fast hops are slowed as long as the diffusivity of one carrier changes by no more than this."""
N_FLOORS = 100
"""Heights to which they are raised on trial."""


@dataclass(frozen=True, eq=False)
class GasTransport:
    """What the ions of a lattice gas do.

    Attributes:
        correlation_factor: f of the tracer.
        correlation_factor_std: Its standard error.
        collective_correlation_factor: f_I.
        collective_correlation_factor_std: Its standard error.
        free_diffusivity_cm2_s: Of as many jumps without memory.
        free_diffusivity_std_cm2_s: Its standard error.
        jump_rate_THz: Jumps of one ion in a picosecond.
        n_jumps: Of all ions, counted ones.
        site_occupation: (n_sites,) mean occupation of the sites of the simulated cell.
    """

    correlation_factor: float
    correlation_factor_std: float
    collective_correlation_factor: float
    collective_correlation_factor_std: float
    free_diffusivity_cm2_s: float
    free_diffusivity_std_cm2_s: float
    jump_rate_THz: float
    n_jumps: int
    site_occupation: Floats

    @property
    def tracer_diffusivity_cm2_s(self) -> float:
        """D*, mean square of one ion's displacement over 6 t."""
        return self.correlation_factor * self.free_diffusivity_cm2_s

    @property
    def collective_diffusivity_cm2_s(self) -> float:
        """D_J, mean square of the sum of all displacements over 6 t and the number of ions.

        The conductivity is n q^2 D_J / kT with n the density of all ions.
        """
        return self.collective_correlation_factor * self.free_diffusivity_cm2_s

    @property
    def haven_ratio(self) -> float:
        """H = D* / D_J."""
        return self.correlation_factor / self.collective_correlation_factor


def without_rattling(
    graph: MigrationGraph, site_energy_eV: ArrayLike, kra_eV: ArrayLike, temperature_K: float
) -> Floats:
    """KRA with the lowest ones raised, so that jumps to and fro do not take up the simulation.

    Hops far below the barrier of percolation only keep their sites in equilibrium, which slower
    ones do as well (cf. A. Chatterjee and A. F. Voter, J. Chem. Phys. 132, 194101 (2010)). They are
    raised to one height, the highest at which the exact diffusivity of a lone ion and of a lone
    vacancy, a third of the trace, are within SAME_DIFFUSIVITY of what they were. KRA are raised,
    so that both directions of a hop slow alike, and occupations stay.

    Args:
        graph: Sites and hops.
        site_energy_eV: (n_sites,) energy of the ion on each site, eV.
        kra_eV: (n_orbits,) KRA of each symmetry-unique hop, eV.
        temperature_K: T in K.

    Returns:
        (n_orbits,) eV.
    """
    kra = np.asarray(kra_eV, float)
    floor = np.linspace(kra.min(), kra.max(), N_FLOORS)
    raised = np.maximum(kra, floor[:, None])
    same = np.ones(N_FLOORS, bool)
    for sign in (1.0, -1.0):
        energy = sign * np.asarray(site_energy_eV, float)
        network = carrier_network(replace(graph, carrier="interstitial"), energy, raised)
        D = isotropic_diffusivity(diffusion_tensor(network, temperature_K))
        same &= (1.0 - SAME_DIFFUSIVITY) * D[0] <= D
    last = int(np.argmin(same)) if not same.all() else N_FLOORS
    return np.asarray(raised[last - 1])


def transport(
    gas: LatticeGas,
    temperature_K: float,
    attempt_frequency_THz: float = 10.0,
    jumps_per_ion: int = JUMPS_PER_ION,
    seed: int = 0,
    window_jumps: int | None = None,
) -> GasTransport:
    """Simulate a lattice gas, from a state in equilibrium.

    Slopes of mean squared displacements are taken between two lags that are doubled until that
    changes nothing beyond the standard errors. The collective factor comes from two estimators with
    the same mean and uncorrelated errors: the squared sum of all displacements, and, as the process
    is reversible, the sum of all squared jumps less the squared integral of the mean drift (A. De
    Masi et al., J. Stat. Phys. 55, 787 (1989)). They are weighted by their variances. On equal
    sites without repulsion the drift is zero in every state, and f_I = 1 comes out without noise.

    Args:
        gas: As large as it is to be simulated; see
            :func:`ionbridge.structures.transport.lattice_gas.enlarged`.
        temperature_K: T in K.
        attempt_frequency_THz: Of every jump.
        jumps_per_ion: In the mean over ions.
        seed: Of the random numbers.
        window_jumps: The factors are those of runs of so many jumps of all ions, which remember
            their start; by default those of endless ones.

    Raises:
        ValueError: No ion, no empty site, more ions than fit, or no hop that is open.
    """
    site_of, _ = equilibrium(gas, temperature_K, seed)
    n_ions = len(site_of)
    kT = BOLTZMANN_EV_PER_K * temperature_K
    hops = Rows.of(gas.n_sites, gas.start, gas.end)
    repel = gas.pair_energy_eV != 0.0
    pairs = Rows.of(gas.n_sites, gas.pair_start[repel], gas.pair_end[repel])
    steps = np.concatenate([gas.step_A, -gas.step_A])[hops.source]
    kra = np.concatenate([gas.kra_eV, gas.kra_eV])[hops.source] / kT
    pair_energy = np.concatenate([gas.pair_energy_eV[repel]] * 2)[pairs.source] / kT
    reach = _reach(hops, pairs)
    own = np.zeros(len(hops.end))
    for site, row in enumerate(pairs.slices()):
        jumps = slice(hops.first[site], hops.first[site + 1])
        for other, energy in zip(pairs.end[row], pair_energy[row], strict=True):
            own[jumps] += np.where(hops.end[jumps] == other, energy, 0.0)
    every = JUMPS_PER_RECORD * n_ions if window_jumps is None else window_jumps // WINDOW_RECORDS
    n_records = max(jumps_per_ion * n_ions // every, N_BLOCKS * (max(TRACER_LAGS) + 4))
    ion, total, drift, squares, time, occupied = _walk(
        gas.energy_eV / kT,
        hops.first,
        hops.end,
        kra,
        own,
        steps,
        pairs.first,
        pairs.end,
        pair_energy,
        reach.first,
        reach.end,
        site_of,
        int(EQUILIBRATION * n_records) * every,
        n_records,
        every,
        seed,
    )
    if not np.isfinite(time[-1]):
        raise ValueError("no jump is possible from the state that was reached")
    per_record = float(squares[-1] - squares[0]) / n_records

    def tracer(lags: tuple[int, int]) -> tuple[float, float]:
        return _mean(_slopes(ion, lags) / per_record)

    def collective(lags: tuple[int, int]) -> tuple[float, float]:
        return _weighted(
            _mean(_slopes(total[:, None], lags) / per_record),
            _mean(1.0 - _slopes(drift[:, None], lags) / per_record),
        )

    if window_jumps is None:
        f, f_std = _settled(tracer, TRACER_LAGS, n_records)
        f_I, f_I_std = _settled(collective, COLLECTIVE_LAGS, n_records)
    else:
        (f, f_std), (f_I, f_I_std) = (x((0, WINDOW_RECORDS)) for x in (tracer, collective))
    lasted, lasted_std = _mean(np.diff(time))
    rate = every / n_ions / lasted * attempt_frequency_THz
    free = rate * per_record / every / 6.0 * CM2_S_PER_A2_PS
    return GasTransport(
        correlation_factor=f,
        correlation_factor_std=f_std,
        collective_correlation_factor=f_I,
        collective_correlation_factor_std=f_I_std,
        free_diffusivity_cm2_s=free,
        free_diffusivity_std_cm2_s=free * lasted_std / lasted,
        jump_rate_THz=rate,
        n_jumps=every * n_records,
        site_occupation=occupied / (time[-1] - time[0]),
    )


def _slopes(moved: Floats, lags: tuple[int, int]) -> Floats:
    """(n_origins,) growth of the summed squared displacement in a record, between two lags.

    Args:
        moved: (n_records + 1, n, 3) displacements.
        lags: Two numbers of records.
    """
    squares = [((moved[k:] - moved[: len(moved) - k]) ** 2).sum(axis=(1, 2)) for k in lags]
    return np.asarray(
        (squares[1] - squares[0][: len(squares[1])]) / (lags[1] - lags[0]), np.float64
    )


def _mean(series: Floats) -> tuple[float, float]:
    """Mean and its standard error, from the spread of parts of the series."""
    blocks = np.array([part.mean() for part in np.array_split(series, N_BLOCKS)])
    return float(series.mean()), float(blocks.std(ddof=1) / np.sqrt(N_BLOCKS))


def _weighted(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Mean of least variance of two values with standard errors."""
    (a, std_a), (b, std_b) = first, second
    both = std_a**2 + std_b**2
    if both == 0.0:
        return 0.5 * (a + b), 0.0
    share = std_a**2 / both
    return (1.0 - share) * a + share * b, std_a * std_b / float(np.sqrt(both))


def _settled(
    factor: Callable[[tuple[int, int]], tuple[float, float]], lags: tuple[int, int], n_records: int
) -> tuple[float, float]:
    """A factor at lags at which it no longer changes, and its standard error.

    Args:
        factor: Value and standard error between two lags, in records.
        lags: To begin with.
        n_records: Lags stay below a part of the run.
    """
    value, std = factor(lags)
    while True:
        lags = 2 * lags[0], 2 * lags[1]
        if lags[1] > n_records // N_BLOCKS:
            return value, std
        following, wider = factor(lags)
        if abs(following - value) <= SETTLED_SIGMAS * np.hypot(std, wider):
            return value, std
        value, std = following, wider


def _reach(hops: Rows, pairs: Rows) -> Rows:
    """Sites whose rates change when a site is filled or emptied."""
    ends = []
    for i in range(len(hops.first) - 1):
        near = {i, *hops.end[hops.first[i] : hops.first[i + 1]].tolist()}
        for k in pairs.end[pairs.first[i] : pairs.first[i + 1]].tolist():
            near |= {k, *hops.end[hops.first[k] : hops.first[k + 1]].tolist()}
        ends.append(sorted(near))
    first = np.cumsum([0, *map(len, ends)])
    end = np.array([k for near in ends for k in near], np.int64)
    return Rows(first.astype(np.int64), end, end)


@compiled
def _set_rate(
    site: int,
    ion_on: Integers,
    energy: Floats,
    field: Floats,
    hop_first: Integers,
    hop_end: Integers,
    kra: Floats,
    own: Floats,
    steps: Floats,
    rate: Floats,
    flow: Floats,
    tree: Floats,
    n_leaves: int,
) -> None:
    """Rates of all jumps from a site, their sum, and the flow they make."""
    total = 0.0
    flow[site, :] = 0.0
    for k in range(hop_first[site], hop_first[site + 1]):
        rate[k] = 0.0
        other = hop_end[k]
        if ion_on[site] < 0 or ion_on[other] >= 0:
            continue
        change = energy[other] + field[other] - own[k] - energy[site] - field[site]
        rate[k] = np.exp(-(max(kra[k], 0.5 * abs(change)) + 0.5 * change))
        total += rate[k]
        for axis in range(3):
            flow[site, axis] += rate[k] * steps[k, axis]
    node = n_leaves + site
    if tree[node] == total:
        return
    tree[node] = total
    node //= 2
    while node:
        tree[node] = tree[2 * node] + tree[2 * node + 1]
        node //= 2


@compiled
def _walk(
    energy: Floats,
    hop_first: Integers,
    hop_end: Integers,
    kra: Floats,
    own: Floats,
    steps: Floats,
    pair_first: Integers,
    pair_end: Integers,
    pair_energy: Floats,
    reach_first: Integers,
    reach_end: Integers,
    site_of: Integers,
    n_before: int,
    n_records: int,
    every: int,
    seed: int,
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Jumps in units of the attempt frequency; energies in kT.

    Returns:
        Displacement of each ion and of all, integral of the drift, sum of squared jumps, time, all
        at every record; time for which each site was occupied.
    """
    np.random.seed(seed)  # noqa: NPY002  (compiled code has no other generator)
    n_sites, n_ions = len(energy), len(site_of)
    ion_on = np.full(n_sites, -1)
    for k in range(n_ions):
        ion_on[site_of[k]] = k
    field = np.zeros(n_sites)
    for i in range(n_sites):
        for p in range(pair_first[i], pair_first[i + 1]):
            if ion_on[pair_end[p]] >= 0:
                field[i] += pair_energy[p]
    n_leaves = 1
    while n_leaves < n_sites:
        n_leaves *= 2
    tree = np.zeros(2 * n_leaves)
    rate = np.zeros(len(hop_end))
    flow = np.zeros((n_sites, 3))
    moved = np.zeros((n_ions, 3))
    total_flow, integral = np.zeros(3), np.zeros(3)
    square, time = 0.0, 0.0
    since, occupied = np.zeros(n_sites), np.zeros(n_sites)
    ion_out = np.zeros((n_records + 1, n_ions, 3))
    total_out, drift_out = np.zeros((n_records + 1, 3)), np.zeros((n_records + 1, 3))
    square_out, time_out = np.zeros(n_records + 1), np.zeros(n_records + 1)
    record = 0
    jump = -1
    outdated = np.arange(n_sites)
    while True:
        for s in outdated:
            for axis in range(3):
                total_flow[axis] -= flow[s, axis]
            _set_rate(
                int(s),
                ion_on,
                energy,
                field,
                hop_first,
                hop_end,
                kra,
                own,
                steps,
                rate,
                flow,
                tree,
                n_leaves,
            )
            for axis in range(3):
                total_flow[axis] += flow[s, axis]
        jump += 1
        if jump >= n_before and (jump - n_before) % every == 0:
            if record == 0:
                for i in range(n_sites):
                    occupied[i] = 0.0
                    since[i] = time
            ion_out[record] = moved
            for axis in range(3):
                total_out[record, axis] = moved[:, axis].sum()
                total_flow[axis] = flow[:, axis].sum()
            drift_out[record] = integral
            square_out[record], time_out[record] = square, time
            record += 1
            if record > n_records:
                break
        if tree[1] <= 0.0:
            time_out[n_records] = np.inf
            break
        wait = 1.0 / tree[1]
        time += wait
        for axis in range(3):
            integral[axis] += wait * total_flow[axis]
        left = np.random.random() * tree[1]  # noqa: NPY002
        node = 1
        while node < n_leaves:
            node *= 2
            if left >= tree[node] and tree[node + 1] > 0.0:
                left -= tree[node]
                node += 1
        i = node - n_leaves
        k = hop_first[i]
        last = k
        while k < hop_first[i + 1]:
            if rate[k] > 0.0:
                last = k
                if left < rate[k]:
                    break
                left -= rate[k]
            k += 1
        k = last
        j = hop_end[k]
        ion = ion_on[i]
        ion_on[i], ion_on[j] = -1, ion
        occupied[i] += time - since[i]
        since[j] = time
        for axis in range(3):
            moved[ion, axis] += steps[k, axis]
            square += steps[k, axis] ** 2
        for p in range(pair_first[i], pair_first[i + 1]):
            field[pair_end[p]] -= pair_energy[p]
        for p in range(pair_first[j], pair_first[j + 1]):
            field[pair_end[p]] += pair_energy[p]
        near_i = reach_end[reach_first[i] : reach_first[i + 1]]
        near_j = reach_end[reach_first[j] : reach_first[j + 1]]
        outdated = np.concatenate((near_i, near_j))
    for i in range(n_sites):
        if ion_on[i] >= 0:
            occupied[i] += time - since[i]
    return ion_out, total_out, drift_out, square_out, time_out, occupied
