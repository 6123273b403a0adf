"""The records that travel through the project: crystals, hops, labels, and what failed.

Lattice vectors are rows, in angstrom; cartesian = fractional @ lattice (as in ASE and pymatgen).
A site carries a mapping ``{element symbol: occupancy}``; partial occupancy is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.chemistry.formula import conventional_formula

if TYPE_CHECKING:  # a second that those who only name records do not need
    from pymatgen.core import Composition, Structure

WorkingIon = Literal["Li", "Na", "K", "Mg", "Ca", "Zn", "Al"]
WORKING_IONS: tuple[WorkingIon, ...] = get_args(WorkingIon)
"""Ions looked for, in order of precedence, when a crystal does not name its own."""

CHARGE_NUMBER = {"Li": 1, "Na": 1, "K": 1, "Mg": 2, "Ca": 2, "Zn": 2, "Al": 3}
"""Charge of the working ions, in elementary charges."""

ROLES = ("electrode", "electrolyte")
"""What a crystal may be in a cell."""

Occupancy = Mapping[str, float]

Bound = Literal["=", "<", ">"]
SIDE: Mapping[Bound, int] = {"=": 0, "<": -1, ">": 1}
"""Where the truth lies of a label: below one that is an upper bound, above a lower bound."""


class UnusableStructureError(ValueError):
    """A crystal or hop that cannot go on; its message becomes the ``reason`` of a failed row."""


class TooManyHopsError(UnusableStructureError):
    """A crystal whose network of hops is too large; what needs no hops can go on."""


class ContradictionError(UnusableStructureError):
    """What was read contradicts what its file says; the reading is kept for a closer look.

    Attributes:
        crystal: The reading, nobody's crystal.
    """

    def __init__(self, message: str, crystal: Crystal):
        super().__init__(message)
        self.crystal = crystal


@dataclass(frozen=True)
class Label:
    """A measured or computed value of one quantity.

    Attributes:
        quantity: Column name with its unit, for example ``log10_conductivity_S_cm``.
        value: The value, in the unit of the quantity.
        bound: ``=`` for a value, ``<`` or ``>`` for an upper or lower bound.
        std: One standard deviation in the same unit, where known.
        temperature_K: Temperature in K, where it matters.
        method: ``experiment``, ``aimd``, ``mlip_md``, ``dft_neb``, ``mlip_neb`` or ``bvse``.
        source: Data set or paper.
    """

    quantity: str
    value: float
    bound: Bound = "="
    std: float | None = None
    temperature_K: float | None = None
    method: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class FailedRecord:
    """What stands in for an input that could not be read or used; it keeps its row.

    Attributes:
        id: Its name.
        reason: Why, in one line.
        formula: What it is, where that is known.
        read: What was read, where that contradicts the file: to look at, not to use.
        file: Path, as given, of the file that holds it; empty for what came from none.
    """

    id: str
    reason: str
    formula: str = ""
    read: Crystal | None = None
    file: str = field(default="", compare=False)


@dataclass(frozen=True, eq=False)
class Crystal:
    """A periodic crystal, ordered or disordered.

    Attributes:
        id: Unique name within its input.
        lattice: (3, 3) lattice vectors as rows, angstrom.
        species: One ``{symbol: occupancy}`` a site; occupancies of a site sum to at most one.
        frac: (n_sites, 3) fractional coordinates.
        working_ion: Symbol of the mobile ion, if known.
        role: ``electrode`` or ``electrolyte``, if known.
        family: Framework family, if known.
        source: Where the crystal comes from.
        extra: Further keys of the record (labels, with the unit in the name).
    """

    id: str
    lattice: NDArray[np.float64]
    species: tuple[Occupancy, ...]
    frac: NDArray[np.float64]
    working_ion: str | None = None
    role: str | None = None
    family: str | None = None
    source: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_sites(self) -> int:
        """Number of crystallographic sites in the cell (an empty or shared site counts once)."""
        return len(self.species)

    @property
    def is_ordered(self) -> bool:
        """True if every site holds exactly one element with occupancy one."""
        return all(len(s) == 1 and abs(next(iter(s.values())) - 1.0) < 1e-6 for s in self.species)

    @cached_property
    def composition(self) -> Composition:
        """Occupancy-weighted content of the cell."""
        return site_composition(self.species)

    @cached_property
    def formula(self) -> str:
        """Conventional formula, for example ``LiFePO4`` or ``Na0.7CoO2``."""
        return conventional_formula(self.species)

    @property
    def volume_A3(self) -> float:
        """Cell volume in cubic angstrom."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What its reader had to choose or repair, from the key ``notes`` of ``extra``."""
        found = self.extra.get("notes", ())
        return (found,) if isinstance(found, str) else tuple(str(note) for note in found or ())

    def with_notes(self, *notes: str) -> Crystal:
        """The crystal with further notes after its own."""
        every = list(dict.fromkeys([*self.notes, *notes]))
        return replace(self, extra={**self.extra, "notes": every}) if every else self

    def occupancy(self, symbol: str) -> NDArray[np.float64]:
        """(n_sites,) occupancy of one element on every site."""
        return np.array([s.get(symbol, 0.0) for s in self.species])

    def to_pymatgen(self) -> Structure:
        """The same crystal as a pymatgen structure (bare elements, no oxidation states)."""
        from pymatgen.core import Lattice, Structure

        return Structure(Lattice(self.lattice), [dict(s) for s in self.species], self.frac)

    @classmethod
    def from_pymatgen(cls, structure: Structure, id: str, **fields: Any) -> Crystal:
        """From a pymatgen structure; oxidation states and isotopes are dropped.

        Args:
            structure: Ordered or disordered structure.
            id: Record id.
            **fields: Further attributes (``working_ion``, ``family``, ...).
        """
        return cls(
            id=id,
            lattice=np.array(structure.lattice.matrix, dtype=float),
            species=tuple(
                {str(k): float(v) for k, v in site.species.element_composition.items()}
                for site in structure
            ),
            frac=np.array(structure.frac_coords, dtype=float).reshape(-1, 3),
            **fields,
        )


class SameContent:
    """A crystal that equals others with its lattice, species and coordinates, whatever their names.

    The key under which what is worked out of a crystal is kept.
    """

    def __init__(self, crystal: Crystal) -> None:
        self.crystal = crystal
        species = tuple(tuple(site.items()) for site in crystal.species)
        self._key = crystal.lattice.tobytes(), crystal.frac.tobytes(), species

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameContent) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


_SWAPPED = (
    ("start_site", "end_site"),
    ("short_relaxation_eV", "short_relaxation_backward_eV"),
)
"""Keys of a hop that change places when it is run backwards."""


@dataclass(frozen=True, eq=False)
class Hop:
    """One jump of one working ion: the host around it and the path it takes.

    Attributes:
        id: Unique name; a hop made from a crystal is ``<crystal id>#hop<k>``.
        working_ion: Symbol of the moving ion.
        lattice: (3, 3) rows, angstrom, of the (super)cell of the host.
        host_species: One ``{symbol: occupancy}`` for every atom but the moving one.
        host_frac: (n_host, 3) fractional coordinates of the host.
        path_frac: (n_images, 3) unwrapped fractional positions of the ion, initial to final.
        barrier_eV: Migration barrier, saddle minus initial image unless its source says otherwise.
        barrier_backward_eV: Saddle minus final image, where known.
        bound: Of the saddle, and so of both barriers: ``=`` for values, ``<`` or ``>`` where they
            are upper or lower bounds.
        method: How the barrier was found (``dft_neb``, ``mlip_neb``, ``bvse``, ...).
        family: Framework family, if known.
        extra: Further keys of the record, kept as they were.
    """

    id: str
    working_ion: str
    lattice: NDArray[np.float64]
    host_species: tuple[Occupancy, ...]
    host_frac: NDArray[np.float64]
    path_frac: NDArray[np.float64]
    barrier_eV: float | None = None
    barrier_backward_eV: float | None = None
    bound: Bound = "="
    method: str | None = None
    family: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path_A(self) -> NDArray[np.float64]:
        """(n_images, 3) cartesian positions of the moving ion, angstrom."""
        return self.path_frac @ self.lattice

    @property
    def distance_A(self) -> float:
        """Straight distance between the two ends, angstrom."""
        path = self.path_A
        return float(np.linalg.norm(path[-1] - path[0]))

    @property
    def elements(self) -> frozenset[str]:
        """Elements of host and moving ion."""
        return frozenset((self.working_ion, *(s for site in self.host_species for s in site)))

    @cached_property
    def framework(self) -> str:
        """Reduced formula of the host without the working ion: the group key of grouped splits."""
        species = [{k: v for k, v in s.items() if k != self.working_ion} for s in self.host_species]
        return site_composition(species).reduced_formula

    def reversed(self) -> Hop:
        """The same hop run backwards; all that goes from one end to the other changes places.

        That is the path, forward and backward barrier (those of a short relaxation, too),
        ``start_site`` and ``end_site``, and ``bvse_profile_eV``, which counts from the first image.
        """
        extra = dict(self.extra)
        for there, back in _SWAPPED:
            if there in extra and back in extra:
                extra |= {there: extra[back], back: extra[there]}
        if "bvse_profile_eV" in extra:
            profile = [float(e) for e in extra["bvse_profile_eV"]]
            extra["bvse_profile_eV"] = [e - profile[-1] for e in reversed(profile)]
        return Hop(
            id=self.id,
            working_ion=self.working_ion,
            lattice=self.lattice,
            host_species=self.host_species,
            host_frac=self.host_frac,
            path_frac=self.path_frac[::-1].copy(),
            barrier_eV=self.barrier_backward_eV,
            barrier_backward_eV=self.barrier_eV,
            bound=self.bound,
            method=self.method,
            family=self.family,
            extra=extra,
        )


Record = Crystal | Hop | FailedRecord


def sides(labelled: Sequence[Hop | Label]) -> NDArray[np.int_]:
    """(n,) 0 for a value, 1 where the truth lies above the label, -1 where below."""
    return np.array([SIDE[one.bound] for one in labelled], dtype=int)


def split_bound(text: str) -> tuple[Bound, str]:
    """A label as people write it, ``0.3``, ``<0.3`` or ``>= 0.3``: what it is, and its number."""
    text = text.strip()
    found: Bound = "<" if text[:1] == "<" else ">" if text[:1] == ">" else "="
    return found, text.lstrip("<>= ")


def site_composition(species: tuple[Occupancy, ...] | list[dict[str, float]]) -> Composition:
    """Occupancy-weighted composition of a list of sites."""
    from pymatgen.core import Composition

    total: dict[str, float] = {}
    for site in species:
        for symbol, amount in site.items():
            total[symbol] = total.get(symbol, 0.0) + amount
    return Composition({k: round(v, 6) for k, v in total.items() if v > 1e-8})
