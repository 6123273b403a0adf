"""What a composition says: working ion, oxidation states, charge balance, role."""

from __future__ import annotations

from collections.abc import Mapping

from pymatgen.core import Composition, Element

from ionbridge.structures.chemistry.oxidation import (
    BOND_VALENCE_ANIONS,
    BRANCHES,
    Assignment,
    assign,
)
from ionbridge.structures.records import WORKING_IONS, Crystal, UnusableStructureError

ELECTRONIC_GAP_eV = 1.5
"""A computed (semi-local DFT) band gap below this makes an electronic conductor."""

REDUCTION_LIMIT_V = 2.3
"""An empty-shell transition metal reduced above this potential (V5+, Mo6+) makes an electrode; one
reduced below (Ti4+, Nb5+, W6+, Zr4+) may be part of an electrolyte."""

OXIDISED_ANION = 0.25
"""An anion oxidised by more than this on average (peroxide, polysulfide) makes an electrode; less
is what refined occupancies of electrolytes leave over."""

_ALKALI = ("Li", "Na", "K", "Rb", "Cs")

OXIDATION_LIMIT_V = 4.4
"""A closed-shell d10 metal oxidised below this potential (Cu+) makes an electrode."""


def working_ion(crystal: Crystal) -> str:
    """The mobile ion: the record's own, else the first of ``WORKING_IONS`` that is present.

    Raises:
        UnusableStructureError: If the crystal holds none, or not the one its record names.
    """
    present = {symbol for site in crystal.species for symbol, n in site.items() if n > 0}
    if crystal.working_ion is not None:
        if crystal.working_ion not in BRANCHES:
            raise UnusableStructureError(
                f"{crystal.id}: unknown working ion {crystal.working_ion!r}; "
                f"expected one of {', '.join(WORKING_IONS)}"
            )
        return crystal.working_ion
    for ion in WORKING_IONS:
        if ion in present:
            return ion
    raise UnusableStructureError(
        f"{crystal.id}: no working ion (elements: {', '.join(sorted(present))}; "
        f"looked for {', '.join(WORKING_IONS)})"
    )


def formula_oxidation_states(composition: Composition | Mapping[str, float]) -> dict[str, float]:
    """Average oxidation state of every element of a composition; see
    `ionbridge.structures.chemistry.oxidation`.

    Args:
        composition: A pymatgen composition or ``{symbol: amount}``.

    Returns:
        ``{symbol: state}``, neutral in sum; states are scaled where usual ones are not neutral.

    Raises:
        UnusableStructureError: Without an anion that bond valences know, or for an element
            without known states.
    """
    return dict(_assignment(composition).states)


def charge_imbalance(composition: Composition | Mapping[str, float]) -> float:
    """Charge that usual oxidation states leave over, relative to the sum of the anion charges.

    Raises:
        UnusableStructureError: As `formula_oxidation_states`.
    """
    return _assignment(composition).residual


def is_charge_balanced(composition: Composition | Mapping[str, float]) -> bool:
    """True if usual oxidation states (mixed valence and peroxides allowed) add up to zero."""
    try:
        return _assignment(composition).is_balanced
    except UnusableStructureError:
        return False


def oxidation_states(crystal: Crystal) -> tuple[dict[str, float], ...]:
    """One ``{symbol: oxidation state}`` a site: the composition's average state of its elements.

    Raises:
        UnusableStructureError: As `formula_oxidation_states`, with the id of the crystal.
    """
    states = _crystal_assignment(crystal).states
    return tuple({symbol: states[symbol] for symbol in site} for site in crystal.species)


def role(crystal: Crystal) -> str:
    """``electrode`` or ``electrolyte``, from redox-active elements and the band gap where known.

    Electrode: a transition metal with a partly filled d shell, a filled-shell one that is oxidised
    below `OXIDATION_LIMIT_V`, an empty-shell one that is reduced above `REDUCTION_LIMIT_V` and
    makes up half of the cations beside alkali ions, an oxidised anion (peroxide, polysulfide), an
    electron count that usual states cannot explain by more than 5 %, or a ``band_gap_eV`` in
    ``extra`` below `ELECTRONIC_GAP_eV`. Everything else is an electrolyte.
    """
    gap = crystal.extra.get("band_gap_eV")
    if isinstance(gap, int | float) and gap < ELECTRONIC_GAP_eV:
        return "electrode"
    assignment = _crystal_assignment(crystal)
    if abs(assignment.residual) > 0.05:
        return "electrode"
    amounts = _amounts(crystal)
    cations = {k: n for k, n in amounts.items() if assignment.states[k] > 0 and k not in _ALKALI}
    total = sum(cations.values()) or 1.0
    redox = any(
        _is_redox_active(symbol, state, cations.get(symbol, 0.0) / total)
        for symbol, state in assignment.states.items()
    )
    return "electrode" if redox else "electrolyte"


def _is_redox_active(symbol: str, state: float, share: float) -> bool:
    """Whether an element in a state is redox active; its share is of the non-alkali cations."""
    element = Element(symbol)
    usual = BRANCHES[symbol][0]
    if symbol in BOND_VALENCE_ANIONS and state < 0:
        return state > usual.lowest + OXIDISED_ANION
    if not element.is_transition_metal or symbol in ("La", "Ac", "Y", "Sc"):
        return False
    d_electrons = element.group - state
    if 0.05 < d_electrons < 9.95:
        return True
    done = round(state) - usual.lowest
    if d_electrons <= 0.05:
        steps = usual.steps_V[:done]
        return share >= 0.5 and bool(steps) and steps[-1] > REDUCTION_LIMIT_V
    return done < len(usual.steps_V) and usual.steps_V[done] < OXIDATION_LIMIT_V


def _crystal_assignment(crystal: Crystal) -> Assignment:
    try:
        return _assignment(_amounts(crystal))
    except UnusableStructureError as error:
        raise UnusableStructureError(f"{crystal.id}: {error}") from None


def _amounts(crystal: Crystal) -> dict[str, float]:
    amounts: dict[str, float] = {}
    for site in crystal.species:
        for symbol, n in site.items():
            amounts[symbol] = amounts.get(symbol, 0.0) + n
    return amounts


def _assignment(composition: Composition | Mapping[str, float]) -> Assignment:
    amounts = {str(symbol): float(n) for symbol, n in composition.items() if n > 0}
    if not set(amounts) & set(BOND_VALENCE_ANIONS):
        raise UnusableStructureError(
            "no O, S, Se, Te, N or halogen anion, which bond valences need "
            f"(elements: {', '.join(sorted(amounts))})"
        )
    unknown = sorted(set(amounts) - set(BRANCHES))
    if unknown:
        raise UnusableStructureError(f"no known oxidation states of {', '.join(unknown)}")
    return assign(amounts)
