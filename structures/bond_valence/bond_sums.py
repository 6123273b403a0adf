"""Bond-valence sums of a crystal, and how far they are from its oxidation states."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.bond_valence.softbv import bond_valence_pair
from ionbridge.structures.chemistry.composition import oxidation_states
from ionbridge.structures.compiled import compiled
from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.records import Crystal

LONGEST_BOND_A = 6.0
"""softBV's sums go beyond the first shell, up to about here."""


@dataclass(frozen=True, eq=False)
class BondValences:
    """Bond-valence sums beside oxidation states.

    Attributes:
        sums_vu: Mean |bond-valence sum| of each element, valence units.
        states_vu: Mean |oxidation state| of each element.
        global_instability_index_vu: Root mean square of their difference over all atoms, valence
            units; above 0.2 a structure is strained, or wrong (Salinas-Sanchez et al., J. Solid
            State Chem. 100, 201 (1992)).
    """

    sums_vu: dict[str, float]
    states_vu: dict[str, float]
    global_instability_index_vu: float


def bond_valences(crystal: Crystal) -> BondValences:
    """Sums of s = exp((r0 - r) / b) over cation-anion bonds, softBV parameters of bvlain.

    On partly filled sites a neighbour counts with its occupancy, and an atom with its own.

    Raises:
        UnusableStructureError: No known oxidation states, or a pair that is not tabulated.
    """
    states = oxidation_states(crystal)
    src, dst, _, distance = periodic_edges(crystal.lattice, crystal.frac, LONGEST_BOND_A)
    kinds = sorted({(s, q) for site in states for s, q in site.items()})
    shares = np.array([crystal.occupancy(symbol) for symbol, _ in kinds])
    totals = _sums(src, dst, distance, shares, _pairs(kinds))
    sums: dict[str, float] = {}
    usual: dict[str, float] = {}
    square = weight = 0.0
    for (symbol, state), share, own in zip(kinds, shares, totals, strict=True):
        if not share.sum() > 0 or state == 0:
            continue
        sums[symbol] = float(own @ share / share.sum())
        usual[symbol] = abs(state)
        square += float(((own - abs(state)) ** 2) @ share)
        weight += float(share.sum())
    return BondValences(sums, usual, float(np.sqrt(square / weight)) if weight else float("nan"))


@compiled
def _sums(
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    distance_A: NDArray[np.float64],
    shares: NDArray[np.float64],
    pairs: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n_kinds, n_sites) bond-valence sum of each kind on the sites that hold it, valence units.

    Args:
        src: (n_bonds,) site.
        dst: (n_bonds,) its neighbour.
        distance_A: (n_bonds,).
        shares: (n_kinds, n_sites) occupancies.
        pairs: (n_kinds, n_kinds, 2) of :func:`_pairs`.
    """
    totals = np.zeros_like(shares)
    n_kinds = len(shares)
    for b in range(len(src)):
        i, j = src[b], dst[b]
        for k in range(n_kinds):
            if shares[k, i] == 0.0:
                continue
            for m in range(n_kinds):
                if shares[m, j] > 0.0 and pairs[k, m, 1] > 0.0:
                    valence = math.exp((pairs[k, m, 0] - distance_A[b]) / pairs[k, m, 1])
                    totals[k, i] += valence * shares[m, j]
    return totals


def _pairs(kinds: list[tuple[str, float]]) -> NDArray[np.float64]:
    """(n_kinds, n_kinds, 2) r0 and softness of every cation with every anion, angstrom; else 0."""
    found = np.zeros((len(kinds), len(kinds), 2))
    for i, cation in enumerate(kinds):
        for j, anion in enumerate(kinds):
            if cation[1] > 0 > anion[1]:
                pair = bond_valence_pair(*cation, *anion)
                found[i, j] = found[j, i] = pair.r0_A, pair.softness_A
    return found
