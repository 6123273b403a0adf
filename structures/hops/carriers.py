"""Which carriers walk the network of the mobile ion, and how many there are."""

from __future__ import annotations

from functools import reduce
from math import gcd

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.hops.hop_edges import n_connected
from ionbridge.structures.hops.hops import EXCLUSION_A, MIN_OCCUPANCY
from ionbridge.structures.hops.migration_graph import Carrier
from ionbridge.structures.records import Crystal

FULL = 0.99
"""A site is full from this occupancy on."""


def carriers(
    crystal: Crystal,
    working_ion: str,
    frac: NDArray[np.float64],
    occupancy: NDArray[np.float64],
) -> tuple[Carrier, float]:
    """Which carriers walk the network, and how many the cell holds.

    Split sites closer than EXCLUSION_A count as one place, and what other species occupy is taken
    off. Where places are left over, the rarer of ions and vacancies carries. Where none are, one
    vacancy a formula unit does. Interstitial sites between full ones make the ion walk: in
    the single-particle network the vacancy mechanism is then an ion that crosses empty sites.

    Args:
        crystal: Ordered or disordered crystal.
        working_ion: Symbol of the mobile ion.
        frac: (n_sites, 3) sites of the network, vacant ones included.
        occupancy: (n_sites,) of the working ion.

    Returns:
        The kind of carrier, and the number in the cell: at most one a formula unit.
    """
    src, dst, _, _ = periodic_edges(crystal.lattice, frac, EXCLUSION_A)
    n_places = n_connected(len(frac), src, dst)
    mobile = crystal.occupancy(working_ion) > MIN_OCCUPANCY
    taken = sum(
        amount
        for site in np.flatnonzero(mobile)
        for symbol, amount in crystal.species[site].items()
        if symbol != working_ion
    )
    n_ions = float(occupancy.sum())
    n_vacant = max(n_places - taken - n_ions, 0.0)
    units = float(formula_units(crystal, working_ion))
    if n_ions < MIN_OCCUPANCY:
        return "interstitial", min(units, n_places)
    if np.any(occupancy < MIN_OCCUPANCY):
        return "interstitial", min(units, n_ions, n_vacant)
    if n_vacant < (1.0 - FULL) * n_places:
        return "vacancy", min(units, n_ions)
    return ("vacancy" if n_vacant <= n_ions else "interstitial"), min(units, n_ions, n_vacant)


def formula_units(crystal: Crystal, working_ion: str) -> int:
    """Formula units in the cell.

    Elements that share a site count together (Al and Ti of LATP), elements that share a site
    with a partly filled working ion, and groups without a whole number of atoms, do not count.
    The greatest common divisor of the rest: for an ordered crystal that of the reduced formula.

    Args:
        crystal: Ordered or disordered crystal.
        working_ion: Symbol of the mobile ion.
    """
    group: dict[str, set[str]] = {}
    partial: set[str] = set()
    amount: dict[str, float] = {}
    for site in crystal.species:
        merged = set().union(*(group.get(s, {s}) for s in site)) if site else set()
        for symbol in merged:
            group[symbol] = merged
        for symbol, share in site.items():
            amount[symbol] = amount.get(symbol, 0.0) + share
        if site.get(working_ion, 0.0) > 0 and site[working_ion] < FULL:
            partial.add(working_ion)
    totals = {frozenset(g): sum(amount[s] for s in g) for g in group.values() if not g & partial}
    whole = [round(n) for n in totals.values() if round(n) and abs(n - round(n)) < 0.02]
    return max(reduce(gcd, whole, 0), 1)
