"""Between which voltages a solid neither takes up nor gives off the ion of an electrode.

A solid against the metal of the ion is open to that ion. At the equilibrium of its elements the
energy of a composition is the lower convex hull E(x) of all known phases; it takes up the ion below
the voltage at which the hull falls with more of it, and gives it off above that at which the hull
rises with less of it: V_reduction = -dE/dn+ and V_oxidation = -dE/dn-, with the metal as zero
(Zhu, He and Mo, ACS Appl. Mater. Interfaces 7, 23685 (2015)). Kinetics are not in it: passivating
layers widen what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition
from scipy.optimize import linprog

STEP = 1e-3
"""Ions per atom by which a composition is moved to find the slope of the hull."""


@dataclass(frozen=True, eq=False)
class Phases:
    """Known phases with their energies of formation.

    Attributes:
        elements: Symbols, the columns of `shares`.
        shares: (n, m) share of each element among the atoms of a phase.
        energies_eV_atom: (n,) energy of formation from the elements, eV/atom.
    """

    elements: tuple[str, ...]
    shares: NDArray[np.float64]
    energies_eV_atom: NDArray[np.float64]

    @classmethod
    def of(cls, phases: Iterable[tuple[Composition, float]]) -> Phases:
        """Of compositions with energies in eV/atom: the lowest of each formula, and elements."""
        lowest: dict[str, tuple[Composition, float]] = {}
        for composition, energy in phases:
            name = composition.reduced_formula
            if name not in lowest or energy < lowest[name][1]:
                lowest[name] = composition, energy
        elements = tuple(sorted({str(e) for c, _ in lowest.values() for e in c}))
        for element in elements:
            lowest[Composition(element).reduced_formula] = Composition(element), 0.0
        column = {element: k for k, element in enumerate(elements)}
        shares = np.zeros((len(lowest), len(elements)))
        for i, (composition, _) in enumerate(lowest.values()):
            for symbol, share in composition.fractional_composition.items():
                shares[i, column[str(symbol)]] = share
        return cls(elements, shares, np.array([energy for _, energy in lowest.values()]))

    def limits_V(self, composition: Composition, ion: str) -> tuple[float, float]:
        """Reduction and oxidation limit of a composition, V against the metal of the ion.

        Raises:
            ValueError: It holds none of the ion, or an element that no phase holds.
        """
        amounts = {str(e): n for e, n in composition.fractional_composition.items()}
        if ion not in amounts:
            raise ValueError(f"{composition.reduced_formula} holds no {ion}")
        if unknown := set(amounts) - set(self.elements):
            raise ValueError(f"no phase holds {', '.join(sorted(unknown))}")
        columns = [self.elements.index(element) for element in amounts]
        inside = np.abs(self.shares[:, columns].sum(axis=1) - 1.0) < 1e-9
        shares, energies = self.shares[inside][:, columns], self.energies_eV_atom[inside]

        def hull_eV(change: float) -> float:
            wanted = np.array(list(amounts.values()))
            wanted[list(amounts).index(ion)] += change
            return float(linprog(energies, A_eq=shares.T, b_eq=wanted, method="highs").fun)

        step = min(STEP, amounts[ion] / 2)
        here = hull_eV(0.0)
        return -(hull_eV(step) - here) / step, -(here - hull_eV(-step)) / step
