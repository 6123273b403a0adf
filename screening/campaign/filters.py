"""Filters: what a candidate must be to be predicted. A refused one keeps its row, with the reason.

One pure function a filter, in the order in which they are asked; the first refusal is the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pymatgen.core import Composition

from ionbridge.screening.campaign.settings import FilterSettings
from ionbridge.screening.errors import InputError
from ionbridge.structures.records import Crystal

Refusal = str | None
_ASKED = "{} asks for it: give it in the record"


@dataclass(frozen=True)
class Filters:
    """The filters of a campaign, ready to be asked.

    Attributes:
        settings: Thresholds and lists.
        known_formulas: Reduced formulas that are not novel.
    """

    settings: FilterSettings = field(default_factory=FilterSettings)
    known_formulas: frozenset[str] = frozenset()

    def refusal_by_content(self, crystal: Crystal) -> Refusal:
        """Why the crystal is refused by what its record holds; None if it is not."""
        return next((r for f in CONTENT_FILTERS if (r := f(crystal, self))), None)

    def refusal_by_role(self, crystal: Crystal) -> Refusal:
        """Why the crystal is refused by its role, which must be filled in."""
        return _other_role(crystal, self)

    def refusal_by_class(self, crystal: Crystal) -> Refusal:
        """Why the crystal is refused by family or stability, which must be filled in."""
        return next((r for f in CLASS_FILTERS if (r := f(crystal, self))), None)


def read_known_formulas(path: Path) -> frozenset[str]:
    """Reduced formulas of a text file, one formula a line; empty lines and ``#`` comments are fine.

    Raises:
        InputError: The file cannot be read, or a line is not a formula.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: list of known compounds cannot be read ({error})") from error
    formulas = set()
    for number, line in enumerate(lines, start=1):
        formula = line.split("#")[0].strip()
        if not formula:
            continue
        try:
            formulas.add(Composition(formula).reduced_formula)
        except ValueError as error:
            raise InputError(f"{path}: line {number}: '{formula}' is not a formula") from error
    return frozenset(formulas)


def _too_small(crystal: Crystal, filters: Filters) -> Refusal:
    least = filters.settings.min_atoms
    if least is not None and crystal.n_sites < least:
        return f"{crystal.n_sites} sites, min_atoms is {least}"
    return None


def _too_large(crystal: Crystal, filters: Filters) -> Refusal:
    most = filters.settings.max_atoms
    if most is not None and crystal.n_sites > most:
        return f"{crystal.n_sites} sites, max_atoms is {most}"
    return None


def _elements(crystal: Crystal) -> set[str]:
    return {symbol for site in crystal.species for symbol, amount in site.items() if amount > 0}


def _element_not_allowed(crystal: Crystal, filters: Filters) -> Refusal:
    allowed = filters.settings.elements_allowed
    if allowed and (others := sorted(_elements(crystal) - set(allowed))):
        return f"holds {', '.join(others)}, not in elements_allowed"
    return None


def _element_excluded(crystal: Crystal, filters: Filters) -> Refusal:
    if present := sorted(_elements(crystal) & set(filters.settings.elements_excluded)):
        return f"holds {', '.join(present)}, in elements_excluded"
    return None


def _above_hull(crystal: Crystal, filters: Filters) -> Refusal:
    most = filters.settings.max_energy_above_hull_eV_atom
    value = crystal.extra.get("energy_above_hull_eV_atom")
    if most is None:
        return None
    if not isinstance(value, int | float):
        asked = _ASKED.format("max_energy_above_hull_eV_atom")
        return f"energy_above_hull_eV_atom is not known, {asked}"
    if value > most:
        return f"{value:.3f} eV/atom above hull, max_energy_above_hull_eV_atom is {most:g}"
    return None


def _gap_too_small(crystal: Crystal, filters: Filters) -> Refusal:
    least = filters.settings.min_band_gap_eV
    value = crystal.extra.get("band_gap_eV")
    if least is None:
        return None
    if not isinstance(value, int | float):
        return f"band_gap_eV is not known, {_ASKED.format('min_band_gap_eV')}"
    if value < least:
        return f"band gap {value:.2f} eV, min_band_gap_eV is {least:g}"
    return None


def _known_compound(crystal: Crystal, filters: Filters) -> Refusal:
    if filters.known_formulas and crystal.formula in filters.known_formulas:
        return f"{crystal.formula} is in known_compounds"
    return None


def _other_role(crystal: Crystal, filters: Filters) -> Refusal:
    wanted = filters.settings.role
    if wanted and crystal.role != wanted:
        return f"role is {crystal.role}, wanted {wanted}"
    return None


def _other_family(crystal: Crystal, filters: Filters) -> Refusal:
    wanted = filters.settings.families
    if wanted and crystal.family not in wanted:
        return f"family is {crystal.family}, wanted {', '.join(wanted)}"
    return None


Filter = Callable[[Crystal, Filters], Refusal]

CONTENT_FILTERS: tuple[Filter, ...] = (
    _too_small,
    _too_large,
    _element_not_allowed,
    _element_excluded,
    _gap_too_small,
    _known_compound,
)
"""Filters on the record as it is."""

CLASS_FILTERS: tuple[Filter, ...] = (_other_family, _above_hull)
"""Filters on what takes time to find out."""
