"""Oxidation states of a composition, from a ladder of redox couples.

Every element is given its lowest usual oxidation state and the price of each further one-electron
oxidation, as an approximate potential against Li+/Li in oxides and phosphates. The states of a
composition are those of lowest total price that leave it neutral. With one convex price curve an
element that is a linear program with a single equality constraint, whose exact solution is to
oxidise along the couples in the order of their potentials until the charge is gone; at most one
element is then left at a non-integer average (mixed valence). Elements that are anions in one
compound and central atoms in another (S, P, Cl, N, ...) have a branch for each, and all
combinations of branches are tried.

Only the order of the couples matters. It follows measured insertion potentials: Goodenough and Kim,
Chem. Mater. 22, 587 (2010), doi:10.1021/cm901452z; Melot and Tarascon, Acc. Chem. Res. 46, 1226
(2013), doi:10.1021/ar300088q; where these are silent, the states that occur in the ICSD.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

BALANCE_TOLERANCE = 1e-3
"""Charge left over, relative to the sum of the anion charges, that still counts as neutral."""


@dataclass(frozen=True)
class Branch:
    """The states one element may take in one kind of compound.

    Attributes:
        lowest: Lowest oxidation state.
        steps_V: Price of each one-electron oxidation above it, rising, V against Li+/Li.
        price_V: Price of the lowest state itself, in the same unit.
    """

    lowest: int
    steps_V: tuple[float, ...] = ()
    price_V: float = 0.0

    @property
    def highest(self) -> int:
        """Highest oxidation state that the branch takes."""
        return self.lowest + len(self.steps_V)


_METAL_COUPLES_V: dict[str, tuple[int, tuple[float, ...]]] = {
    "Ti": (2, (0.8, 1.8)),
    "V": (2, (1.7, 3.5, 3.62)),
    "Cr": (2, (1.3, 4.4, 4.6, 4.8)),
    "Mn": (2, (3.65, 4.0, 5.0, 5.05, 5.1)),
    "Fe": (2, (3.3, 4.6, 5.2, 5.3)),
    "Co": (2, (3.8, 4.3)),
    "Ni": (2, (4.1, 4.25)),
    "Cu": (1, (3.4, 4.65)),
    "Zr": (2, (0.1, 0.3)),
    "Hf": (2, (0.1, 0.2)),
    "Nb": (2, (0.3, 1.2, 1.6)),
    "Ta": (2, (0.2, 0.6, 1.0)),
    "Mo": (2, (0.5, 2.0, 2.4, 2.6)),
    "W": (2, (0.4, 1.5, 1.9, 2.1)),
    "Tc": (4, (2.8, 3.0, 3.2)),
    "Re": (3, (2.2, 2.6, 2.8, 3.0)),
    "Ru": (2, (2.5, 3.0, 3.9, 4.5)),
    "Os": (3, (2.6, 3.6, 3.9, 4.2, 4.3)),
    "Rh": (1, (1.5, 2.5, 4.3)),
    "Ir": (1, (1.5, 2.5, 3.2, 4.1, 4.5)),
    "Pd": (2, (4.3, 4.3)),
    "Pt": (2, (3.2, 3.2, 4.9)),
    "Ag": (1, (4.5, 4.7)),
    "Au": (1, (4.2, 4.2)),
    "Hg": (1, (3.2,)),
    "Ga": (1, (1.0, 1.0)),
    "In": (1, (1.5, 1.5)),
    "Tl": (1, (3.9, 3.9)),
    "Pb": (2, (4.35, 4.35)),
    "B": (0, (0.8, 0.8, 0.8)),
    "Ce": (3, (3.7,)),
    "Pr": (3, (4.7,)),
    "Tb": (3, (4.7,)),
    "Sm": (2, (1.2,)),
    "Eu": (2, (2.5,)),
    "Tm": (2, (0.7,)),
    "Yb": (2, (1.7,)),
    "U": (3, (1.6, 3.1, 3.25)),
    "Np": (3, (2.5, 3.3, 3.8, 4.6)),
    "Pu": (3, (3.6, 4.2, 4.5)),
    "Am": (3, (4.8,)),
    "Pa": (4, (2.0,)),
    "Xe": (0, (5.3,) * 8),
}

_FIXED_STATES: dict[int, str] = {
    1: "Li Na K Rb Cs",
    2: "Be Mg Ca Sr Ba Zn Cd Ra",
    3: "Al Sc Y La Nd Pm Gd Dy Ho Er Lu Ac Cm",
    4: "Th",
}

_AMBIVALENT: dict[str, tuple[Branch, ...]] = {
    # cation first, then the anion, then an average of both in one compound
    "H": (Branch(1), Branch(-1, (), 6.0), Branch(-1, (8.0, 8.0), 6.0)),
    "C": (Branch(-4, (1.0,) * 6 + (1.2, 1.4)),),
    "Si": (Branch(2, (0.5, 0.5)), Branch(-4, (0.5,) * 6, 12.0)),
    "Ge": (Branch(2, (1.5, 1.5)), Branch(-4, (0.5,) * 6, 12.0)),
    "Sn": (Branch(2, (2.2, 2.2)), Branch(-4, (0.5,) * 6, 12.0)),
    "P": (Branch(3, (1.0, 1.2)), Branch(-3, (1.0, 1.0), 12.0), Branch(-3, (8.0,) * 8, 12.0)),
    "As": (Branch(3, (2.8, 2.8)), Branch(-3, (1.0, 1.0), 12.0), Branch(-3, (8.0,) * 8, 12.0)),
    "Sb": (Branch(3, (3.0, 3.0)), Branch(-3, (1.0, 1.0), 12.0), Branch(-3, (8.0,) * 8, 12.0)),
    "Bi": (Branch(3, (5.1, 5.1)), Branch(-3, (1.0, 1.0), 12.0), Branch(-3, (8.0,) * 8, 12.0)),
    # anion first, then the central atom of an oxyanion, then an average of both
    "N": (Branch(-3, (5.15, 5.15)), Branch(3, (3.0, 3.0), 24.0), Branch(-3, (5.4,) * 8)),
    "S": (Branch(-2, (3.64,)), Branch(2, (2.0, 2.0, 2.6, 2.6), 17.0), Branch(-2, (5.4,) * 8)),
    "Se": (Branch(-2, (3.45,)), Branch(4, (3.63, 3.63), 20.0), Branch(-2, (5.4,) * 8)),
    "Te": (Branch(-2, (3.0,)), Branch(4, (3.25, 3.25), 17.0), Branch(-2, (5.4,) * 8)),
    "Cl": (Branch(-1, (6.2,)), Branch(1, (3.0,) * 6, 11.0), Branch(-1, (5.4,) * 8)),
    "Br": (Branch(-1, (5.8,)), Branch(1, (3.0,) * 6, 10.0), Branch(-1, (5.4,) * 8)),
    "I": (Branch(-1, (3.4,)), Branch(1, (3.0,) * 4 + (4.2,) * 2, 8.0), Branch(-1, (5.4,) * 8)),
}

BRANCHES: dict[str, tuple[Branch, ...]] = {
    **{symbol: (Branch(low, steps),) for symbol, (low, steps) in _METAL_COUPLES_V.items()},
    **{symbol: (Branch(q),) for q, symbols in _FIXED_STATES.items() for symbol in symbols.split()},
    **_AMBIVALENT,
    "O": (Branch(-2, (5.5,)), Branch(-2, (5.5, 7.0), 1.0)),
    "F": (Branch(-1),),
}
"""The branches of every element that can be assigned; the usual one first."""

_CHALCOGENIDE_BRANCHES = {"Cu": (Branch(1, (4.2, 4.65)),)}
"""Copper stays Cu(I) beside chalcogenide anions: the Cu 3d states lie below the anion's p band."""

BOND_VALENCE_ANIONS = ("O", "S", "Se", "Te", "N", "F", "Cl", "Br", "I")
"""Anions for which bond-valence parameters exist."""


@dataclass(frozen=True)
class Assignment:
    """Average oxidation states of one composition.

    Attributes:
        states: ``{symbol: oxidation state}``, averages where the valence is mixed. Neutral, by
            scaling of the cations or of the anions where the usual states cannot be.
        residual: Charge left by the usual states, relative to the sum of the anion charges.
        price_V: Sum of the prices of the couples used, per atom of the composition.
    """

    states: Mapping[str, float]
    residual: float
    price_V: float

    @property
    def is_balanced(self) -> bool:
        """True if usual oxidation states add up to zero."""
        return abs(self.residual) <= BALANCE_TOLERANCE


def assign(amounts: Mapping[str, float]) -> Assignment:
    """Oxidation states of a composition given as ``{symbol: amount}``.

    Args:
        amounts: Positive amounts in any unit (atoms in the cell or in the formula).

    Returns:
        The cheapest neutral assignment, or the one of the least charge, scaled to neutrality.

    Raises:
        KeyError: For an element without known oxidation states (noble gases, heavy actinides).
    """
    total = sum(amounts.values())
    return _assign(tuple(sorted((s, round(n / total, 10)) for s, n in amounts.items() if n > 0)))


@lru_cache(maxsize=65536)
def _assign(fractions: tuple[tuple[str, float], ...]) -> Assignment:
    symbols = {s for s, _ in fractions}
    chalcogenide = not symbols & {"O", "F", "Cl", "Br", "N"}
    choices = [
        _CHALCOGENIDE_BRANCHES[s]
        if chalcogenide and s in _CHALCOGENIDE_BRANCHES
        else BRANCHES[s][:1]
        if len(symbols) == 1
        else BRANCHES[s]
        for s, _ in fractions
    ]
    amounts = [n for _, n in fractions]
    best: tuple[float, float, list[float]] | None = None
    for branches in product(*choices):
        least_price = sum(n * branch.price_V for n, branch in zip(amounts, branches, strict=True))
        if best is not None and best[0] == 0 and least_price >= best[1]:
            continue  # no couple has a price below zero
        averages, residual, price = _oxidise(amounts, branches)
        key = (round(max(abs(residual) - BALANCE_TOLERANCE, 0.0), 6), price)
        if best is None or key < best[:2]:
            best = (*key, averages)
            best_residual = residual
    assert best is not None
    states = {s: round(q, 8) for (s, _), q in zip(fractions, best[2], strict=True)}
    return Assignment(_scaled_to_neutral(states, dict(fractions)), best_residual, best[1])


def _oxidise(amounts: list[float], branches: Iterable[Branch]) -> tuple[list[float], float, float]:
    """Oxidise along the couples in the order of their potentials until the charge is gone.

    Returns:
        (states, residual charge relative to the anion charge, price).
    """
    states: list[float] = []
    couples: list[tuple[float, int]] = []
    charge = price = 0.0
    for k, (n, branch) in enumerate(zip(amounts, branches, strict=True)):
        states.append(float(branch.lowest))
        charge += n * branch.lowest
        price += n * branch.price_V
        couples.extend((volts, k) for volts in branch.steps_V)
    for volts, k in sorted(couples):
        if charge >= 0:
            break
        step = min(1.0, -charge / amounts[k])
        states[k] += step
        charge += step * amounts[k]
        price += step * amounts[k] * volts
    negative = -sum(n * q for n, q in zip(amounts, states, strict=True) if q < 0)
    residual = charge / negative if negative > 0 else math.inf
    return states, residual, price


def _scaled_to_neutral(
    states: Mapping[str, float], amounts: Mapping[str, float]
) -> Mapping[str, float]:
    positive = sum(amounts[s] * q for s, q in states.items() if q > 0)
    negative = -sum(amounts[s] * q for s, q in states.items() if q < 0)
    if positive == 0 or negative == 0:
        return {s: q if positive == negative else 0.0 for s, q in states.items()}
    cation_factor = min(1.0, negative / positive)
    anion_factor = min(1.0, positive / negative)
    return {s: q * (cation_factor if q > 0 else anion_factor) for s, q in states.items()}
