"""Ions that block and repel each other on a network of sites: kinetic Monte Carlo.

One ion at most is on a site; it jumps to empty sites at the end of a hop. A jump from i to j has
the barrier max(KRA, |dE| / 2) + dE / 2, with dE the change of the energy of the whole lattice: site
energies and pair repulsions. That is the rule of
`ionbridge.structures.transport.hop_network.carrier_network` for one carrier, and Metropolis' rule
where KRA = 0, and obeys detailed balance. Jumps are drawn without rejections (A. B. Bortz, M. H.
Kalos and J. L. Lebowitz, J. Comput. Phys. 17, 10 (1975)).

Tracer and collective diffusivity, correlation factors and Haven ratio are defined as by G. E. Murch
(Solid State Ionics 7, 177 (1982)): f compares the tracer diffusivity with that of as many jumps
without memory, f_I the collective one, H = f / f_I.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.hops.hops import EXCLUSION_A
from ionbridge.structures.hops.migration_graph import MigrationGraph
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
"""Records between which the mean squared displacement is taken to have become a straight line."""
MIN_SITES = 200
"""A lattice of fewer sites feels its periodic copies."""
CLOSE_PAIR_EV = 1.0
"""Repulsion of ions on two sites too close to be occupied at once."""
WINDOW_RECORDS = 4
"""Records in a run of a stated number of jumps."""
N_BLOCKS = 8
"""Parts of the run whose spread gives the standard errors."""


@dataclass(frozen=True, eq=False)
class LatticeGas:
    """Ions on a periodic network of sites.

    Attributes:
        lattice: (3, 3) rows, angstrom.
        start: (n_edges,) site at which a hop starts, in cell 0; every hop is listed once.
        end: (n_edges,) site at which it ends.
        shift: (n_edges, 3) integer cell in which it ends.
        step_A: (n_edges, 3) cartesian vector from start to end, angstrom.
        site_energy_eV: (n_sites,) energy of an ion on each site, eV.
        kra_eV: (n_edges,) kinetically resolved activation barrier of each hop, eV.
        n_ions: Ions in the cell; a fraction is rounded in the supercell that is simulated.
        pair_start: (n_pairs,) site of a repulsion, in cell 0; every pair is listed once.
        pair_end: (n_pairs,) the other site.
        pair_shift: (n_pairs, 3) integer cell of the other.
        pair_energy_eV: (n_pairs,) energy where both are occupied, eV.
    """

    lattice: Floats
    start: Integers
    end: Integers
    shift: Integers
    step_A: Floats
    site_energy_eV: Floats
    kra_eV: Floats
    n_ions: float
    pair_start: Integers
    pair_end: Integers
    pair_shift: Integers
    pair_energy_eV: Floats

    @property
    def n_sites(self) -> int:
        """Number of sites in the cell."""
        return len(self.site_energy_eV)

    def repeated(self, cells: tuple[int, int, int]) -> LatticeGas:
        """The same gas in a supercell."""
        counts = np.array(cells)
        grid = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), -1).reshape(-1, 3)

        def spread(
            start: Integers, end: Integers, shift: Integers
        ) -> tuple[Integers, Integers, Integers]:
            place = grid[:, None] + shift
            home = place % counts
            number = (home[..., 0] * cells[1] + home[..., 1]) * cells[2] + home[..., 2]
            first = np.arange(len(grid))[:, None] * self.n_sites + start
            return (
                first.ravel(),
                (number * self.n_sites + end).ravel(),
                (place // counts).reshape(-1, 3),
            )

        start, end, shift = spread(self.start, self.end, self.shift)
        pair_start, pair_end, pair_shift = spread(self.pair_start, self.pair_end, self.pair_shift)
        return LatticeGas(
            lattice=counts[:, None] * self.lattice,
            start=start,
            end=end,
            shift=shift,
            step_A=np.tile(self.step_A, (len(grid), 1)),
            site_energy_eV=np.tile(self.site_energy_eV, len(grid)),
            kra_eV=np.tile(self.kra_eV, len(grid)),
            n_ions=self.n_ions * len(grid),
            pair_start=pair_start,
            pair_end=pair_end,
            pair_shift=pair_shift,
            pair_energy_eV=np.tile(self.pair_energy_eV, len(grid)),
        )


@dataclass(frozen=True, eq=False)
class GasTransport:
    """What the ions of a lattice gas do.

    Attributes:
        tracer_diffusivity_cm2_s: D*, mean square of one ion's displacement over 6 t.
        collective_diffusivity_cm2_s: D_J, the same of all ions' sum over the number of ions; the
            conductivity is n q^2 D_J / kT with n the density of all ions.
        correlation_factor: f of the tracer.
        collective_correlation_factor: f_I.
        correlation_factor_std: Standard error of f.
        collective_correlation_factor_std: Standard error of f_I.
        jump_rate_THz: Jumps of one ion in a picosecond.
        site_occupation: (n_sites,) mean occupation of the sites of the simulated cell.
    """

    tracer_diffusivity_cm2_s: float
    collective_diffusivity_cm2_s: float
    correlation_factor: float
    collective_correlation_factor: float
    correlation_factor_std: float
    collective_correlation_factor_std: float
    jump_rate_THz: float
    site_occupation: Floats

    @property
    def haven_ratio(self) -> float:
        """H = D* / D_J."""
        return self.correlation_factor / self.collective_correlation_factor


def lattice_gas(
    graph: MigrationGraph,
    site_energy_eV: ArrayLike,
    kra_eV: ArrayLike,
    n_ions: float | None = None,
    close_A: float = EXCLUSION_A,
    close_pair_eV: float = CLOSE_PAIR_EV,
) -> LatticeGas:
    """The ions of a crystal on its network of hops.

    Args:
        graph: Sites and hops.
        site_energy_eV: (n_sites,) energy of the ion on each site, eV.
        kra_eV: (n_orbits,) KRA of each symmetry-unique hop, eV.
        n_ions: Ions in the cell; by default as many as the crystal has.
        close_A: Sites closer than this repel, angstrom: both are hardly occupied at once.
        close_pair_eV: By how much, eV.
    """
    lattice = np.asarray(graph.crystal.lattice, float)
    src, dst, shift, _ = periodic_edges(lattice, graph.site_frac, close_A)
    once = (src < dst) | ((src == dst) & (shift @ np.array([1_000_000, 1000, 1]) > 0))
    step = (graph.site_frac[graph.end] + graph.shift - graph.site_frac[graph.start]) @ lattice
    return LatticeGas(
        lattice=lattice,
        start=np.asarray(graph.start, np.int64),
        end=np.asarray(graph.end, np.int64),
        shift=np.asarray(graph.shift, np.int64),
        step_A=step,
        site_energy_eV=np.asarray(site_energy_eV, float),
        kra_eV=np.asarray(kra_eV, float)[graph.orbit],
        n_ions=graph.n_ions if n_ions is None else n_ions,
        pair_start=src[once].astype(np.int64),
        pair_end=dst[once].astype(np.int64),
        pair_shift=shift[once].astype(np.int64),
        pair_energy_eV=np.full(int(once.sum()), close_pair_eV),
    )


def enlarged(gas: LatticeGas, min_sites: int = MIN_SITES) -> LatticeGas:
    """A supercell of at least so many sites, about as long in all directions."""
    lengths = np.linalg.norm(gas.lattice, axis=1)
    counts = np.ones(3, int)
    while gas.n_sites * counts.prod() < min_sites or counts.min() < 2:
        counts[np.argmin(counts * lengths)] += 1
    return gas.repeated((int(counts[0]), int(counts[1]), int(counts[2])))


def transport(
    gas: LatticeGas,
    temperature_K: float,
    attempt_frequency_THz: float = 10.0,
    jumps_per_ion: int = JUMPS_PER_ION,
    seed: int = 0,
    window_jumps: int | None = None,
) -> GasTransport:
    """Simulate a lattice gas.

    The collective factor comes from two estimators with the same mean and uncorrelated errors: the
    squared sum of all displacements, and, as the process is reversible, the sum of all squared
    jumps less the squared integral of the mean drift (A. De Masi et al., J. Stat. Phys. 55, 787
    (1989)). They are weighted by their variances. On equal sites without repulsion the drift is
    zero in every state, and f_I = 1 comes out without noise.

    Args:
        gas: As large as it is to be simulated; see `enlarged`.
        temperature_K: T in K.
        attempt_frequency_THz: Of every jump.
        jumps_per_ion: In the mean over ions.
        seed: Of the random numbers.
        window_jumps: The factors are those of runs of so many jumps of all ions, which remember
            their start; by default those of endless ones.

    Raises:
        ValueError: No ion, no empty site, or no hop that is open.
    """
    n_ions = round(gas.n_ions)
    if not 0 < n_ions < gas.n_sites:
        raise ValueError(
            f"{n_ions} ions on {gas.n_sites} sites: expected at least one ion and one empty site"
        )
    if not temperature_K > 0:
        raise ValueError(f"temperature_K must be positive, got {temperature_K:g}")
    kT = BOLTZMANN_EV_PER_K * temperature_K
    hops = _rows(gas.n_sites, gas.start, gas.end)
    repel = gas.pair_energy_eV != 0.0
    pairs = _rows(gas.n_sites, gas.pair_start[repel], gas.pair_end[repel])
    steps = np.concatenate([gas.step_A, -gas.step_A])[hops.source]
    kra = np.concatenate([gas.kra_eV, gas.kra_eV])[hops.source] / kT
    pair_energy = np.concatenate([gas.pair_energy_eV[repel]] * 2)[pairs.source] / kT
    reach = _reach(hops, pairs)
    own = np.zeros(len(hops.end))
    for site, row in enumerate(_slices(pairs)):
        jumps = slice(hops.first[site], hops.first[site + 1])
        for other, energy in zip(pairs.end[row], pair_energy[row], strict=True):
            own[jumps] += np.where(hops.end[jumps] == other, energy, 0.0)
    every = JUMPS_PER_RECORD * n_ions if window_jumps is None else window_jumps // WINDOW_RECORDS
    n_records = max(jumps_per_ion * n_ions // every, N_BLOCKS * (max(TRACER_LAGS) + 4))
    lags = (TRACER_LAGS, COLLECTIVE_LAGS) if window_jumps is None else ((0, WINDOW_RECORDS),) * 2
    ion, total, drift, squares, time, occupied = _walk(
        gas.site_energy_eV / kT,
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
        n_ions,
        int(EQUILIBRATION * n_records) * every,
        n_records,
        every,
        seed,
    )
    if not np.isfinite(time[-1]):
        raise ValueError("no jump is possible from the state that was reached")
    parts = np.array_split(np.arange(n_records + 1), N_BLOCKS)
    tracer = np.array([_tracer_factor(ion[p], squares[p], lags[0]) for p in parts])
    f = _tracer_factor(ion, squares, lags[0])
    f_I, f_I_std = _collective_factor(total, drift, squares, lags[1])
    mean_square_A2 = (squares[-1] - squares[0]) / (every * n_records)
    rate = every * n_records / n_ions / (time[-1] - time[0]) * attempt_frequency_THz
    free = rate * mean_square_A2 / 6.0 * CM2_S_PER_A2_PS
    return GasTransport(
        tracer_diffusivity_cm2_s=f * free,
        collective_diffusivity_cm2_s=f_I * free,
        correlation_factor=f,
        collective_correlation_factor=f_I,
        correlation_factor_std=float(tracer.std(ddof=1) / np.sqrt(N_BLOCKS)),
        collective_correlation_factor_std=f_I_std,
        jump_rate_THz=float(rate),
        site_occupation=occupied / (time[-1] - time[0]),
    )


def _tracer_factor(ion: Floats, squares: Floats, lags: tuple[int, int]) -> float:
    """Slope of the ions' mean squared displacement over that of their squared jumps."""
    n = len(ion)
    msd = [((ion[k:] - ion[: n - k]) ** 2).sum(axis=(1, 2)).mean() for k in lags]
    made = [(squares[k:] - squares[: n - k]).mean() for k in lags]
    return float((msd[1] - msd[0]) / (made[1] - made[0]))


def _collective_factor(
    total: Floats, drift: Floats, squares: Floats, lags: tuple[int, int]
) -> tuple[float, float]:
    """f_I and its standard error, from the two estimators."""
    n = len(total)

    def slope(vectors: Floats) -> Floats:
        square = [((vectors[k:] - vectors[: n - k]) ** 2).sum(axis=1) for k in lags]
        each = (squares[-1] - squares[0]) / (n - 1) * (lags[1] - lags[0])
        return np.asarray((square[1] - square[0][: len(square[1])]) / each)

    direct, indirect = slope(total), 1.0 - slope(drift)
    values = []
    for estimate in (direct, indirect):
        blocks = np.array([part.mean() for part in np.array_split(estimate, N_BLOCKS)])
        values.append((estimate.mean(), blocks.var(ddof=1) / N_BLOCKS))
    (a, var_a), (b, var_b) = values
    share = var_a / (var_a + var_b) if var_a + var_b > 0 else 0.5
    variance = var_a * var_b / (var_a + var_b) if var_a + var_b > 0 else 0.0
    return float((1 - share) * a + share * b), float(np.sqrt(variance))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Neighbours of each site: those of site i are first[i] to first[i + 1] of `end`."""

    first: Integers
    end: Integers
    source: Integers


def _rows(n_sites: int, start: Integers, end: Integers) -> _Rows:
    """Both directions of undirected pairs, by their first site."""
    both = np.concatenate([start, end]), np.concatenate([end, start])
    order = np.argsort(both[0], kind="stable")
    first = np.searchsorted(both[0][order], np.arange(n_sites + 1))
    return _Rows(first.astype(np.int64), both[1][order].astype(np.int64), order)


def _slices(rows: _Rows) -> list[slice]:
    """Where the neighbours of each site are."""
    return [slice(a, b) for a, b in zip(rows.first[:-1], rows.first[1:], strict=True)]


def _reach(hops: _Rows, pairs: _Rows) -> _Rows:
    """Sites whose rates change when a site is filled or emptied."""
    ends = []
    for i in range(len(hops.first) - 1):
        near = {i, *hops.end[hops.first[i] : hops.first[i + 1]].tolist()}
        for k in pairs.end[pairs.first[i] : pairs.first[i + 1]].tolist():
            near |= {k, *hops.end[hops.first[k] : hops.first[k + 1]].tolist()}
        ends.append(sorted(near))
    first = np.cumsum([0, *map(len, ends)])
    end = np.array([k for near in ends for k in near], np.int64)
    return _Rows(first.astype(np.int64), end, end)


@numba.njit(cache=True)
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


@numba.njit(cache=True)
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
    n_ions: int,
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
    n_sites = len(energy)
    ion_on = np.full(n_sites, -1)
    ion_on[np.random.permutation(n_sites)[:n_ions]] = np.arange(n_ions)  # noqa: NPY002
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
