"""Energies above the convex hull of reference entries that the user names, by a potential.

Candidate and references are relaxed with the same calculator, cell included, so that errors which
they share cancel. The hull is that of the references alone: of all mixtures of them with the
candidate's composition the lowest energy, a small linear programme (S. P. Ong et al., Chem. Mater.
20, 1798 (2008)).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core import Composition

from ionbridge.screening.errors import InputError
from ionbridge.structures.records import Crystal, UnusableStructureError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from ionbridge.screening.campaign.settings import StabilitySettings


@dataclass(frozen=True)
class Entry:
    """A relaxed reference.

    Attributes:
        id: Of its record.
        formula: All atoms of its cell.
        energy_eV_atom: By the calculator.
    """

    id: str
    formula: str
    energy_eV_atom: float


@dataclass(frozen=True)
class ReferenceHull:
    """The convex hull of some references, and the calculator that belongs to it.

    Attributes:
        settings: Calculator and largest cell.
        entries: The relaxed references.
    """

    settings: StabilitySettings
    entries: tuple[Entry, ...]

    def energy_above_eV_atom(self, crystal: Crystal, time_limit_s: float = np.inf) -> float:
        """Energy of the relaxed crystal above the hull of the references, eV/atom.

        Zero for a crystal that is more stable than every mixture of them.

        Raises:
            UnusableStructureError: The references do not span the composition, or the crystal has
                no energy: disordered, too large, or it does not relax.
        """
        hull = self.hull_eV_atom(crystal.composition)
        return max(0.0, relaxed_eV_atom(crystal, self.settings, time_limit_s) - hull)

    def hull_eV_atom(self, composition: Composition) -> float:
        """Lowest energy of a mixture of the references with this composition, eV/atom.

        Raises:
            UnusableStructureError: No mixture of them has it.
        """
        from scipy.optimize import linprog  # few campaigns bring references

        elements = sorted(str(element) for element in composition)
        parts = [Composition(entry.formula) for entry in self.entries]
        own = [k for k, part in enumerate(parts) if {str(e) for e in part} <= set(elements)]
        if own:
            shares = [[parts[k].get_atomic_fraction(e) for k in own] for e in elements]
            found = linprog(
                [self.entries[k].energy_eV_atom for k in own],
                A_eq=shares,
                b_eq=[composition.get_atomic_fraction(e) for e in elements],
            )
            if found.success:
                return float(found.fun)
        raise UnusableStructureError(
            f"no mixture of the {len(self.entries)} stability references has the composition "
            f"{composition.reduced_formula}"
        )


def reference_entries(references: Sequence[Crystal], settings: StabilitySettings) -> list[Entry]:
    """The references relaxed.

    Raises:
        InputError: One of them has no energy; which, and why.
    """
    entries = []
    for crystal in references:
        try:
            energy = relaxed_eV_atom(crystal, settings)
        except UnusableStructureError as error:
            raise InputError(f"stability: reference {crystal.id}: {error}") from error
        formula = crystal.composition.formula.replace(" ", "")
        entries.append(Entry(crystal.id, formula, energy))
    return entries


def relaxed_eV_atom(
    crystal: Crystal, settings: StabilitySettings, time_limit_s: float = np.inf
) -> float:
    """Energy of a crystal with atoms and cell relaxed, eV/atom.

    Raises:
        UnusableStructureError: It is disordered, too large, or does not relax.
    """
    from ionbridge.screening.labelling.bands.checked_calculator import BrokenCalculationError
    from ionbridge.screening.labelling.bands.neb import NebSettings, relaxed_atoms

    if not crystal.is_ordered:
        raise UnusableStructureError("disordered: a potential needs whole atoms")
    if crystal.n_sites > settings.max_atoms:
        raise UnusableStructureError(
            f"{crystal.n_sites} atoms, stability: max_atoms is {settings.max_atoms}"
        )
    calculator = made(settings.calculator, json.dumps(settings.calculator_arguments))
    try:
        atoms = relaxed_atoms(crystal, calculator, NebSettings(relax_cell=True), time_limit_s)
    except BrokenCalculationError as error:
        raise UnusableStructureError(str(error)) from error
    return float(atoms.get_potential_energy()) / len(atoms)


@lru_cache(maxsize=1)
def made(name: str, arguments: str) -> Calculator:
    """The calculator, made once a process.

    Args:
        name: See ``StabilitySettings``.
        arguments: Its keyword arguments, JSON.
    """
    from ionbridge.screening.labelling.bands.calculators import CalculatorChoice

    given: Mapping[str, object] = json.loads(arguments)
    return CalculatorChoice(name, given).make()
