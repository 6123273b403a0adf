"""Families: which framework prototype a crystal is built like.

The framework is what is left when the working ion is taken away, with its sites in three classes:
anions (A), centres of polyanions (X: four or fewer anions around a cation of charge four or more,
three around one of charge three), other cations (M). Charged, discharged and other-ion versions of
a compound thus have one framework. Crystals that hold no cation but the working ion keep it, as M.

A crystal has the family of the prototype whose framework it matches: equal class stoichiometry,
similar class-resolved pair distributions (a quick test, independent of the choice of cell), and a
fit by pymatgen's StructureMatcher (Ong et al., Comput. Mater. Sci. 68, 314 (2013)); a supercell
whose ordering hides the primitive cell is accepted on nearly identical pair distributions alone.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from ionbridge.structures.chemistry.composition import formula_oxidation_states, working_ion
from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.frameworks.family_names import UNKNOWN_FAMILY
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.records import Crystal, Occupancy, UnusableStructureError

LOOSE_DISTANCE = 0.45
"""Pair-distribution distance above which two frameworks are not compared further."""

TIGHT_DISTANCE = 0.10
"""Pair-distribution distance below which two frameworks are the same without further proof, if
prototypes of other families are farther by at least as much again."""

MAX_MATCHED_SITES = 80
"""Largest primitive framework that StructureMatcher is given."""

_REACH = 3.0
"""Pair distributions reach so far, in units of the framework's length."""

_ISOLATED_UNIT = 0.65
"""Length unit of isolated polyanions, whose packing and not whose bonds set the framework's size,
relative to the cube root of the volume per site: about the bond of thiophosphates."""

_WIDTH = 0.15
"""Gaussian width of the pair distributions, in the same unit."""

_CLASS_ELEMENTS = ("O", "Fe", "P")
"""Stand-ins of the classes A, M, X in StructureMatcher."""

_A, _M, _X = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Framework:
    """A crystal without its working ion, sites in classes.

    Attributes:
        lattice: (3, 3) rows, angstrom.
        frac: (n, 3) fractional coordinates.
        classes: (n,) 0 anion, 1 metal, 2 centre of a polyanion.
        unit_A: Unit of length, angstrom: the mean bond of the metals; where there are none,
            `_ISOLATED_UNIT` times the cube root of the volume per site.
    """

    lattice: NDArray[np.float64]
    frac: NDArray[np.float64]
    classes: NDArray[np.int64]
    unit_A: float

    @property
    def stoichiometry(self) -> tuple[int, int, int]:
        """Reduced numbers of A, M and X."""
        counts = [int(np.sum(self.classes == c)) for c in (_A, _M, _X)]
        divisor = math.gcd(*counts)
        return (counts[0] // divisor, counts[1] // divisor, counts[2] // divisor)

    @cached_property
    def pair_distribution(self) -> NDArray[np.float64]:
        """(6, n_r) smeared neighbour density by pair of classes, per square of the distance.

        Distances are in units of ``unit_A``, rows AA, AM, AX, MM, MX, XX; per framework site.
        """
        src, dst, _, distance = periodic_edges(self.lattice, self.frac, _REACH * self.unit_A)
        r = distance / self.unit_A
        first, second = self.classes[src], self.classes[dst]
        low, high = np.minimum(first, second), np.maximum(first, second)
        row = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])[low, high]
        grid = np.arange(0.5, _REACH - 2 * _WIDTH, _WIDTH / 2)
        fine = _WIDTH / 8
        n_fine = int(_REACH / fine) + 1
        bins = np.minimum((r / fine).astype(int), n_fine - 1)
        histogram = np.zeros((6, n_fine))
        np.add.at(histogram, (row, bins), 1.0 / np.maximum(r, 0.3) ** 2)
        centres = (np.arange(n_fine) + 0.5) * fine
        kernel = np.exp(-0.5 * ((centres[:, None] - grid[None, :]) / _WIDTH) ** 2)
        return np.asarray(histogram @ kernel / len(self.classes))

    def distance(self, other: Framework) -> float:
        """Relative difference of pair distributions, mean over pairs of classes; 2 is disjoint."""
        own, theirs = self.pair_distribution, other.pair_distribution
        total = own.sum(axis=1) + theirs.sum(axis=1)
        present = total > 0
        return float(np.mean(2 * np.abs(own - theirs).sum(axis=1)[present] / total[present]))

    @cached_property
    def primitive(self) -> Structure:
        """Primitive cell with a stand-in element for each class."""
        species = [_CLASS_ELEMENTS[c] for c in self.classes]
        structure = Structure(Lattice(self.lattice), species, self.frac)
        return structure.get_primitive_structure(tolerance=0.3)


def framework(crystal: Crystal) -> Framework:
    """The framework of a crystal; sites that are mostly empty without the working ion are left out.

    A crystal without a working ion (charged) is its own framework.

    Raises:
        UnusableStructureError: Without anions, or without cations near them.
    """
    ion = _present_ion(crystal)
    states = formula_oxidation_states(crystal.composition)
    anions = {s for s, q in states.items() if q < 0}
    others = [_without(site, ion) for site in crystal.species]
    if not any(set(site) - anions for site in others):
        others = [dict(site) for site in crystal.species]
    kept = [k for k, site in enumerate(others) if sum(site.values()) >= 0.499]
    elements = [max(others[k], key=lambda s: others[k][s]) for k in kept]
    frac = crystal.frac[kept]
    is_anion = np.array([e in anions for e in elements])
    if not is_anion.any() or is_anion.all():
        raise UnusableStructureError(f"{crystal.id}: no framework of cations and anions")
    src, dst, _, distance = periodic_edges(crystal.lattice, frac, 3.6)
    bonds = is_anion[dst] & ~is_anion[src]
    nearest = np.full(len(kept), np.inf)
    np.minimum.at(nearest, src[bonds], distance[bonds])
    bonds &= distance < 1.25 * nearest[src]
    number = np.bincount(src[bonds], minlength=len(kept))
    length = np.bincount(src[bonds], weights=distance[bonds], minlength=len(kept))
    charge = np.array([states[e] for e in elements])
    centre = ~is_anion & (((charge >= 3.5) & (number <= 4)) | ((charge >= 2.5) & (number <= 3)))
    if not np.any(~is_anion & (number > 0)):
        raise UnusableStructureError(f"{crystal.id}: no cation within 3.6 angstrom of an anion")
    classes = np.where(is_anion, _A, np.where(centre, _X, _M))
    metal = (classes == _M) & (number > 0)
    if metal.any():
        unit = float(length[metal].sum() / number[metal].sum())
    else:
        unit = _ISOLATED_UNIT * (crystal.volume_A3 / len(kept)) ** (1 / 3)
    return Framework(crystal.lattice, frac, classes, unit)


def family(crystal: Crystal) -> str:
    """Family of the best-matching prototype, ``unknown`` where none fits."""
    try:
        own = framework(crystal)
    except UnusableStructureError:
        return UNKNOWN_FAMILY
    ranked = sorted(
        (
            (own.distance(theirs), name)
            for name, theirs in _prototype_frameworks().get(own.stoichiometry, ())
        ),
    )
    for distance, name in ranked:
        if distance > LOOSE_DISTANCE:
            break
        found = PROTOTYPES[name].family
        others = (d for d, other in ranked if PROTOTYPES[other].family != found)
        certain = distance < TIGHT_DISTANCE < min(others, default=np.inf) - distance
        if certain or _fits(own, name):
            return found
    return UNKNOWN_FAMILY


def _fits(own: Framework, name: str) -> bool:
    theirs = _prototype_primitive(name)
    if len(own.primitive) != len(theirs) or len(theirs) > MAX_MATCHED_SITES:
        return False
    from pymatgen.analysis.structure_matcher import StructureMatcher  # few crystals come to this

    matcher = StructureMatcher(primitive_cell=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(matcher.fit(own.primitive, theirs, skip_structure_reduction=True))


@cache
def _prototype_frameworks() -> dict[tuple[int, int, int], list[tuple[str, Framework]]]:
    frameworks: dict[tuple[int, int, int], list[tuple[str, Framework]]] = {}
    for name, prototype in PROTOTYPES.items():
        own = framework(prototype.build())
        frameworks.setdefault(own.stoichiometry, []).append((name, own))
    return frameworks


@cache
def _prototype_primitive(name: str) -> Structure:
    return framework(PROTOTYPES[name].build()).primitive


def _present_ion(crystal: Crystal) -> str | None:
    try:
        return working_ion(crystal)
    except UnusableStructureError:
        return None


def _without(site: Occupancy, ion: str | None) -> dict[str, float]:
    return {s: n for s, n in site.items() if s != ion}
