"""Ions that block and repel each other on a periodic network of sites, in thermal equilibrium.

One ion at most is on a site. A state has the energy of its filled sites and of its filled pairs.
Sites closer than `EXCLUSION_A` (split sites) exclude each other; beyond that ions repel each other
as charges in a medium, where a dielectric constant is given, and not at all where none is.
How they move is in :mod:`ionbridge.structures.transport.kinetic_monte_carlo`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.structures.compiled import compiled
from ionbridge.structures.crystals.geometry import perpendicular_widths
from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.hops.hops import EXCLUSION_A, MIN_OCCUPANCY
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import CHARGE_NUMBER
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, COULOMB_EV_A

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MIN_SITES = 200
"""A lattice of fewer sites feels its periodic copies."""
MIN_WIDTH_A = 12.0
"""Twice `COULOMB_REACH_A`: no ion meets the same one twice."""
COULOMB_REACH_A = 6.0
"""Ions farther apart are screened by those between them."""
EXCLUDED_EV = 5.0
"""Energy of two ions on sites that exclude each other, or of one on a taken site: none is ever
there at 2000 K."""
N_SWEEPS = 300
"""Moves tried for every site while it cools down, and as many after that."""
N_FITS = 30
"""Rounds in which site energies are fitted to occupancies, each with half the step of rounding."""
LEAST_SHARE = 0.01
"""Occupancies nearer to 0 or 1 say no more than that a site lies high or low."""


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
        taken: (n_sites,) share of each site that atoms hold which do not move; whole numbers in a
            cell that is simulated (:func:`enlarged`). None where there are none.
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
    taken: Floats | None = None

    @property
    def n_sites(self) -> int:
        """Number of sites in the cell."""
        return len(self.site_energy_eV)

    @property
    def energy_eV(self) -> Floats:
        """(n_sites,) energy of an ion on each site, out of reach where it is taken."""
        return self.site_energy_eV + (0.0 if self.taken is None else EXCLUDED_EV * self.taken)

    @property
    def n_simulated(self) -> int:
        """Ions of a simulation, a whole number.

        Raises:
            ValueError: No ion, or no empty site.
        """
        n_ions = round(self.n_ions)
        if not 0 < n_ions < self.n_sites:
            raise ValueError(
                f"{n_ions} ions on {self.n_sites} sites: expected at least one ion and one empty "
                "site"
            )
        return n_ions

    def repeated(self, cells: tuple[int, int, int]) -> LatticeGas:
        """The same gas in a supercell; site i of copy c is site c * n_sites + i."""
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
            taken=None if self.taken is None else np.tile(self.taken, len(grid)),
        )


def lattice_gas(
    graph: MigrationGraph,
    site_energy_eV: ArrayLike,
    kra_eV: ArrayLike,
    n_ions: float | None = None,
    exclusion_A: float = EXCLUSION_A,
    dielectric_constant: float | None = None,
) -> LatticeGas:
    """The ions of a crystal on its network of hops.

    Args:
        graph: Sites and hops.
        site_energy_eV: (n_sites,) energy of the ion on each site, eV.
        kra_eV: (n_orbits,) KRA of each symmetry-unique hop, eV.
        n_ions: Ions in the cell; by default as many as the crystal has.
        exclusion_A: Sites closer than this, angstrom, are never filled at once.
        dielectric_constant: Of the medium in which the charges of ions on other sites repel each
            other, up to COULOMB_REACH_A, where the energy is taken as zero; None for no repulsion.
    """
    lattice = np.asarray(graph.crystal.lattice, float)
    reach = exclusion_A if dielectric_constant is None else max(exclusion_A, COULOMB_REACH_A)
    src, dst, shift, distance = periodic_edges(lattice, graph.site_frac, reach)
    once = (src < dst) | ((src == dst) & (shift @ np.array([1_000_000, 1000, 1]) > 0))
    src, dst, shift, distance = (a[once] for a in (src, dst, shift, distance))
    mobile = graph.crystal.occupancy(graph.working_ion) > MIN_OCCUPANCY
    taken = np.zeros(graph.n_sites)
    taken[: mobile.sum()] = [
        sum(x for symbol, x in graph.crystal.species[k].items() if symbol != graph.working_ion)
        for k in np.flatnonzero(mobile)
    ]
    energy = np.full(len(src), EXCLUDED_EV)
    if dielectric_constant is not None:
        strength = COULOMB_EV_A * CHARGE_NUMBER[graph.working_ion] ** 2 / dielectric_constant
        repulsion = strength * (1.0 / distance - 1.0 / COULOMB_REACH_A)
        energy = np.where(distance < exclusion_A, EXCLUDED_EV, repulsion)
    return LatticeGas(
        lattice=lattice,
        start=np.asarray(graph.start, np.int64),
        end=np.asarray(graph.end, np.int64),
        shift=np.asarray(graph.shift, np.int64),
        step_A=(graph.site_frac[graph.end] + graph.shift - graph.site_frac[graph.start]) @ lattice,
        site_energy_eV=np.asarray(site_energy_eV, float),
        kra_eV=np.asarray(kra_eV, float)[graph.orbit],
        n_ions=graph.n_ions if n_ions is None else n_ions,
        pair_start=src.astype(np.int64),
        pair_end=dst.astype(np.int64),
        pair_shift=shift.astype(np.int64),
        pair_energy_eV=energy,
        taken=taken if taken.any() else None,
    )


def enlarged(gas: LatticeGas, min_sites: int = MIN_SITES, seed: int = 0) -> LatticeGas:
    """A supercell of at least so many sites, MIN_WIDTH_A wide, and about as wide everywhere.

    Atoms that share sites with the ions and do not move are dealt out at random.

    Args:
        gas: Of one cell.
        min_sites: Of the supercell.
        seed: Of the dealing.
    """
    widths = perpendicular_widths(gas.lattice)
    counts = np.maximum(np.ceil(MIN_WIDTH_A / widths).astype(int), 2)
    while gas.n_sites * counts.prod() < min_sites:
        counts[np.argmin(counts * widths)] += 1
    large = gas.repeated((int(counts[0]), int(counts[1]), int(counts[2])))
    if gas.taken is None:
        return large
    rng = np.random.default_rng(seed)
    n_copies = int(counts.prod())
    taken = np.zeros((n_copies, gas.n_sites))
    for site in np.flatnonzero(gas.taken > 0):
        # all copies of all sites together hold as many as they should, not each site alone
        n_taken = int(gas.taken[site] * n_copies + rng.random())
        taken[rng.permutation(n_copies)[:n_taken], site] = 1.0
    return replace(large, taken=taken.ravel())


def equilibrium(gas: LatticeGas, temperature_K: float, seed: int = 0) -> tuple[Integers, Floats]:
    """A state in equilibrium, and the mean occupation, by Metropolis moves to any empty site.

    Ions are cooled to the temperature from a random state, so that those that exclude each other
    come apart. As moves are not bound to hops, barriers slow nothing down.

    Args:
        gas: As large as it is to be simulated.
        temperature_K: T in K.
        seed: Of the random numbers.

    Returns:
        (n_ions,) site of each ion, and (n_sites,) mean occupation.

    Raises:
        ValueError: No ion, no empty site, or more ions than fit.
    """
    if not temperature_K > 0:
        raise ValueError(f"temperature_K must be positive, got {temperature_K:g}")
    kT = BOLTZMANN_EV_PER_K * temperature_K
    pairs = Rows.of(gas.n_sites, gas.pair_start, gas.pair_end)
    energy = np.concatenate([gas.pair_energy_eV] * 2)[pairs.source] / kT
    site_of, mean = _cooled(
        gas.energy_eV / kT, pairs.first, pairs.end, energy, gas.n_simulated, N_SWEEPS, seed
    )
    filled = np.zeros(gas.n_sites, bool)
    filled[site_of] = True
    both = filled[gas.pair_start] & filled[gas.pair_end]
    on_taken = False if gas.taken is None else bool((gas.taken[site_of] > 0).any())
    if on_taken or (gas.pair_energy_eV[both] >= EXCLUDED_EV).any():
        raise ValueError(
            f"{len(site_of)} ions do not fit on {gas.n_sites} sites: of those close to each other "
            "one is filled at a time, and others may be taken"
        )
    return site_of, mean


def fitted_to_occupancies(
    gas: LatticeGas, orbit: ArrayLike, occupancy: ArrayLike, temperature_K: float, seed: int = 0
) -> LatticeGas:
    """The gas with site energies at which every kind of site is as full as it was refined.

    Kinds of sites that were refined as empty or full (to LEAST_SHARE) are only known to lie high or
    low: they get the energy that makes them so at this temperature, or keep their own where that is
    farther out.

    Args:
        gas: Of one cell.
        orbit: (n_sites,) sites with one number are one kind.
        occupancy: (n_sites,) of the ion; what is taken counts beside it.
        temperature_K: At which the occupancies were refined.
        seed: Of the random numbers.

    Raises:
        ValueError: See :func:`equilibrium`.
    """
    kT = BOLTZMANN_EV_PER_K * temperature_K
    kind = np.unique(np.asarray(orbit), return_inverse=True)[1]
    count = np.bincount(kind)
    taken = np.zeros(gas.n_sites) if gas.taken is None else gas.taken
    free = np.maximum(count - np.bincount(kind, taken), LEAST_SHARE)
    wanted = np.minimum(np.bincount(kind, np.asarray(occupancy, float)) / free, 1.0)
    inside = (wanted > LEAST_SHARE) & (wanted < 1.0 - LEAST_SHARE)
    target = np.clip(wanted, LEAST_SHARE, 1.0 - LEAST_SHARE)
    own = np.bincount(kind, gas.site_energy_eV) / count
    energy = -kT * np.log(target / (1.0 - target))
    if inside.any():
        own += (energy - own)[inside].mean()
    fixed = ~inside
    energy[fixed] = np.where(
        wanted[fixed] < 0.5,
        np.maximum(own[fixed], energy[fixed]),
        np.minimum(own[fixed], energy[fixed]),
    )
    large = enlarged(gas, seed=seed)
    copies = large.n_sites // gas.n_sites
    is_free = np.ones(large.n_sites, bool) if large.taken is None else large.taken == 0
    all_kinds = np.tile(kind, copies)
    n_free = np.maximum(np.bincount(all_kinds[is_free], minlength=len(count)), 1)
    total = np.zeros(len(count))
    for k in range(N_FITS if inside.sum() > 1 else 0):
        current = replace(large, site_energy_eV=np.tile(energy[kind], copies))
        mean = equilibrium(current, temperature_K, seed + k)[1]
        found = np.bincount(all_kinds, mean * is_free) / n_free
        found = np.clip(found, 0.1 * LEAST_SHARE, 1.0 - 0.1 * LEAST_SHARE)
        step = np.log(found / (1.0 - found)) - np.log(target / (1.0 - target))
        energy[inside] += 0.5 * kT * step[inside]
        if k >= N_FITS // 2:
            total += energy
    if total.any():
        energy = total / (N_FITS - N_FITS // 2)
    return replace(gas, site_energy_eV=energy[kind])


@dataclass(frozen=True, eq=False)
class Rows:
    """Neighbours of each site: those of site i are first[i] to first[i + 1] of `end`.

    Attributes:
        first: (n_sites + 1,) where the neighbours of each site begin.
        end: (n,) neighbours.
        source: (n,) which of what they were made of each comes from.
    """

    first: Integers
    end: Integers
    source: Integers

    @classmethod
    def of(cls, n_sites: int, start: Integers, end: Integers) -> Rows:
        """Both directions of undirected pairs, by their first site."""
        both = np.concatenate([start, end]), np.concatenate([end, start])
        order = np.argsort(both[0], kind="stable")
        first = np.searchsorted(both[0][order], np.arange(n_sites + 1))
        return cls(first.astype(np.int64), both[1][order].astype(np.int64), order)

    def slices(self) -> list[slice]:
        """Where the neighbours of each site are."""
        return [slice(a, b) for a, b in zip(self.first[:-1], self.first[1:], strict=True)]


@compiled
def _cooled(
    energy: Floats,
    pair_first: Integers,
    pair_end: Integers,
    pair_energy: Floats,
    n_ions: int,
    n_sweeps: int,
    seed: int,
) -> tuple[Integers, Floats]:
    """Site of each ion, and mean occupation; energies in kT."""
    np.random.seed(seed)  # noqa: NPY002  (compiled code has no other generator)
    n_sites = len(energy)
    order = np.random.permutation(n_sites)  # noqa: NPY002  (the first n_ions are filled)
    field, filled = np.zeros(n_sites), np.zeros(n_sites)
    for k in range(n_ions):
        filled[order[k]] = 1.0
        for p in range(pair_first[order[k]], pair_first[order[k] + 1]):
            field[pair_end[p]] += pair_energy[p]
    total, n_counted = np.zeros(n_sites), 0
    for sweep in range(2 * n_sweeps):
        scale = min(1.0, (sweep + 1) / n_sweeps)
        for _ in range(n_sites):
            a = np.random.randint(n_ions)  # noqa: NPY002
            b = n_ions + np.random.randint(n_sites - n_ions)  # noqa: NPY002
            i, j = order[a], order[b]
            change = energy[j] + field[j] - energy[i] - field[i]
            for p in range(pair_first[i], pair_first[i + 1]):
                if pair_end[p] == j:
                    change -= pair_energy[p]
            if change > 0.0 and np.random.random() >= np.exp(-scale * change):  # noqa: NPY002
                continue
            order[a], order[b] = j, i
            filled[i], filled[j] = 0.0, 1.0
            for p in range(pair_first[i], pair_first[i + 1]):
                field[pair_end[p]] -= pair_energy[p]
            for p in range(pair_first[j], pair_first[j + 1]):
                field[pair_end[p]] += pair_energy[p]
        if 2 * sweep >= 3 * n_sweeps:
            total += filled
            n_counted += 1
    return order[:n_ions].copy(), total / n_counted
