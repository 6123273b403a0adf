"""Disordered crystal -> an ordered cell that a simulation can start from.

Simulations need whole atoms. The partial occupancies are rounded to whole numbers of atoms in the
cell, and the arrangement with the lowest point-charge (Ewald) energy that annealed swaps find is
taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Lattice, Structure

from ionbridge.structures.chemistry.composition import oxidation_states
from ionbridge.structures.records import Crystal, Occupancy

N_SWEEPS = 200
"""Annealing: tried swaps for each site that may change."""
HOTTEST_EV, COLDEST_EV = 5.0, 0.05
"""Annealing: k_B T at the start and at the end; point-charge energies are large."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ordered:
    """An ordered cell and what was done to get it.

    Attributes:
        crystal: The cell; every site holds one whole atom.
        how: One sentence for the record.
    """

    crystal: Crystal
    how: str


def ordered(crystal: Crystal, seed: int = 0) -> Ordered:
    """Whole atoms on the sites of a crystal.

    Sites with the same occupancies form one pool; of each, the nearest whole numbers of atoms are
    dealt to its sites, and swaps within the pool are annealed on the point-charge energy with the
    composition's usual oxidation states. Only the arrangement is chosen by energy; sites stay
    where they are.

    Args:
        crystal: Ordered or disordered; make the supercell first.
        seed: Of the annealing.

    Raises:
        UnusableStructureError: Without usual oxidation states.
    """
    if crystal.is_ordered:
        return Ordered(crystal, "ordered as given")
    states = oxidation_states(crystal)
    symbols: list[str | None] = [_whole(site) for site in crystal.species]
    pools = _pools(crystal.species)
    rng = np.random.default_rng(seed)
    for pool in pools:
        dealt = _counts(crystal.species[pool[0]], len(pool))
        for site, symbol in zip(pool, rng.permutation(np.array(dealt, object)), strict=True):
            symbols[site] = symbol
    charge = np.array([0.0 if e is None else states[i][e] for i, e in enumerate(symbols)])
    order = _annealed(_unit_charge_energies(crystal), charge, pools, rng)
    kept = [(i, symbols[j]) for i, j in enumerate(order) if symbols[j] is not None]
    result = replace(
        crystal,
        species=tuple({str(symbol): 1.0} for _, symbol in kept),
        frac=crystal.frac[[i for i, _ in kept]],
    )
    how = (
        f"{sum(map(len, pools))} disordered sites of {crystal.n_sites} ordered by annealed swaps "
        f"on the point-charge (Ewald) energy, seed {seed}: "
        f"{crystal.composition.formula.replace(' ', '')} became "
        f"{result.composition.formula.replace(' ', '')}"
    )
    return Ordered(result, how)


def _whole(site: Occupancy) -> str | None:
    """The element of a fully occupied site."""
    (symbol, amount), *others = site.items()
    return symbol if not others and abs(amount - 1.0) < 1e-6 else None


def _pools(species: tuple[Occupancy, ...]) -> list[list[int]]:
    """Partly occupied sites that are alike."""
    pools: dict[tuple[tuple[str, float], ...], list[int]] = {}
    for i, site in enumerate(species):
        if _whole(site) is None:
            pools.setdefault(tuple(sorted((k, round(v, 4)) for k, v in site.items())), []).append(i)
    return list(pools.values())


def _counts(site: Occupancy, n_sites: int) -> list[str | None]:
    """Whole atoms (and vacancies) for a pool: largest remainders."""
    share: dict[str | None, float] = dict(site.items())
    share[None] = max(0.0, 1.0 - sum(site.values()))
    total = sum(share.values())
    exact = {symbol: amount / total * n_sites for symbol, amount in share.items()}
    number = {symbol: int(np.floor(amount + 1e-9)) for symbol, amount in exact.items()}
    by_remainder = sorted(exact, key=lambda symbol: number[symbol] - exact[symbol])
    for symbol in by_remainder[: n_sites - sum(number.values())]:
        number[symbol] += 1
    return [symbol for symbol, n in number.items() for _ in range(n)]


def _unit_charge_energies(crystal: Crystal) -> Floats:
    """(n, n) Ewald energies of unit charges on all sites, eV: E = q M q.

    P. P. Ewald, Ann. Phys. 369, 253 (1921). The uniform background of a net charge is the same for
    every arrangement and is left out.
    """
    structure = Structure(Lattice(crystal.lattice), ["H"] * crystal.n_sites, crystal.frac)
    structure.add_oxidation_state_by_site([1.0] * crystal.n_sites)
    return np.array(EwaldSummation(structure, w=1.0).total_energy_matrix)


def _annealed(
    energies: Floats, charge: Floats, pools: list[list[int]], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Which site's atom each site gets: Metropolis swaps within pools under falling temperature."""
    order = np.arange(len(charge))
    q = charge.copy()
    field = energies @ q
    best, best_order = 0.0, order.copy()
    total = 0.0
    weights = np.array([len(pool) for pool in pools], float)
    n_steps = int(N_SWEEPS * weights.sum())
    chosen = rng.choice(len(pools), n_steps, p=weights / weights.sum())
    for kT, k in zip(np.geomspace(HOTTEST_EV, COLDEST_EV, n_steps), chosen, strict=True):
        i, j = rng.choice(pools[k], 2, replace=len(pools[k]) < 2)
        step = q[j] - q[i]
        if step == 0.0:
            continue
        change = 2 * step * (field[i] - field[j]) + step**2 * (
            energies[i, i] + energies[j, j] - 2 * energies[i, j]
        )
        if change > 0 and rng.random() >= np.exp(-change / kT):
            continue
        q[i], q[j] = q[j], q[i]
        order[i], order[j] = order[j], order[i]
        field += step * (energies[:, i] - energies[:, j])
        total += change
        if total < best - 1e-9:
            best, best_order = total, order.copy()
    return best_order
