"""Bond-valence sums of a crystal, and how far they are from its oxidation states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.bond_valence.softbv import BondValencePair, bond_valence_pair
from ionbridge.structures.chemistry.composition import oxidation_states
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
    totals: dict[tuple[str, float], NDArray[np.float64]] = {}
    kinds = sorted({(s, q) for site in states for s, q in site.items()})
    pairs = _pairs(kinds)
    for kind in kinds:
        totals[kind] = np.zeros(crystal.n_sites)
        for other in kinds:
            pair = pairs.get((kind, other))
            if pair is None:
                continue
            shares = crystal.occupancy(other[0])
            valence = np.exp((pair.r0_A - distance) / pair.softness_A)
            totals[kind] += np.bincount(
                src, weights=valence * shares[dst], minlength=crystal.n_sites
            )
    sums: dict[str, float] = {}
    usual: dict[str, float] = {}
    square = weight = 0.0
    for symbol, state in kinds:
        share = crystal.occupancy(symbol)
        if not share.sum() > 0 or state == 0:
            continue
        own = totals[symbol, state]
        sums[symbol] = float(own @ share / share.sum())
        usual[symbol] = abs(state)
        square += float(((own - abs(state)) ** 2) @ share)
        weight += float(share.sum())
    return BondValences(sums, usual, float(np.sqrt(square / weight)) if weight else float("nan"))


def _pairs(
    kinds: list[tuple[str, float]],
) -> dict[tuple[tuple[str, float], tuple[str, float]], BondValencePair]:
    """Parameters of every cation with every anion, both ways round."""
    found = {}
    for cation in kinds:
        for anion in kinds:
            if cation[1] > 0 > anion[1]:
                pair = bond_valence_pair(cation[0], cation[1], anion[0], anion[1])
                found[cation, anion] = found[anion, cation] = pair
    return found
