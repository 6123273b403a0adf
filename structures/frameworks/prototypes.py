"""Framework prototypes: crystal structures as data, and their builder.

The data (`prototypes.yaml`) give every prototype by space group, cell and one site an orbit, with
the paper they come from. Crystals are built in the primitive cell of the lattice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from importlib import resources
from typing import Any, Literal

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Lattice

from ionbridge.structures.chemistry.composition import role
from ionbridge.structures.configuration import plain_yaml
from ionbridge.structures.crystals.symmetry import from_spglib
from ionbridge.structures.records import Crystal

Slot = Literal["ion", "metal", "cation", "centre", "anion", "halide"]

_PRIMITIVE_ROWS = {
    "P": np.eye(3),
    "A": np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]]),
    "C": np.array([[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}
"""Rows: primitive lattice vectors in units of the conventional ones (obverse for R)."""


@dataclass(frozen=True)
class PrototypeSite:
    """One crystallographic orbit.

    Attributes:
        slot: What the site is in the framework; None for what substitution leaves alone.
        species: ``{symbol: occupancy}``.
        frac: Fractional coordinates of one site of the orbit, conventional cell.
    """

    slot: Slot | None
    species: Mapping[str, float]
    frac: tuple[float, float, float]


@dataclass(frozen=True)
class Prototype:
    """A framework with its crystallographic source.

    Attributes:
        name: Unique name, ``<formula>-<kind>``.
        tag: Name of the framework in the ids of candidates; prototypes of one framework share it.
        family: Family, as ``ionbridge.structures.frameworks.families`` names it.
        working_ion: Mobile ion of the prototype.
        space_group: Hermann-Mauguin symbol; ``:2`` is origin choice 2.
        hall_number: spglib's number of the space group in its setting.
        cell: a, b, c in angstrom, alpha, beta, gamma in degrees.
        source: Paper or database entry.
        sites: Orbits.
        ion_range: Least and largest content of the working ion, relative to that given here.
        metals: The only metals known on the metal slot; empty where radius and charge decide.
    """

    name: str
    tag: str
    family: str
    working_ion: str
    space_group: str
    hall_number: int
    cell: tuple[float, float, float, float, float, float]
    source: str
    sites: tuple[PrototypeSite, ...] = field(repr=False)
    ion_range: tuple[float, float] = (1.0, 1.0)
    metals: tuple[str, ...] = ()

    @cached_property
    def lattice(self) -> NDArray[np.float64]:
        """(3, 3) rows of the primitive cell, angstrom."""
        return self._primitive_rows @ np.array(Lattice.from_parameters(*self.cell).matrix)

    @cached_property
    def _primitive_rows(self) -> NDArray[np.float64]:
        return _PRIMITIVE_ROWS[self.space_group[0]]

    @cached_property
    def positions(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """((n, 3) fractional coordinates in the primitive cell, (n,) index into ``sites``)."""
        operations = from_spglib(spglib.get_symmetry_from_database, self.hall_number)
        if operations is None:
            raise ValueError(f"{self.name}: no space group has hall_number {self.hall_number}")
        rotations, translations = operations["rotations"], operations["translations"]
        to_primitive = np.linalg.inv(self._primitive_rows)
        frac, orbit = [], []
        for k, site in enumerate(self.sites):
            images = (rotations @ _on_symmetry(site.frac) + translations) @ to_primitive
            distinct = _distinct(images)
            frac.append(distinct)
            orbit += [k] * len(distinct)
        return np.concatenate(frac), np.array(orbit)

    @cached_property
    def ion_content(self) -> float:
        """Working ions in the primitive cell."""
        ions = (self.sites[k].species.get(self.working_ion, 0.0) for k in self.positions[1])
        return float(sum(ions))

    @cached_property
    def n_formula_units(self) -> float:
        """Formula units in the primitive cell: the common divisor of the contents of the slots.

        The working ion counts where its content is a whole number.
        """
        amounts: dict[tuple[Slot | None, str], Fraction] = {}
        for k in self.positions[1]:
            site = self.sites[k]
            for symbol, n in site.species.items():
                if site.slot != "ion" and symbol != self.working_ion:
                    key = (site.slot, symbol)
                    amounts[key] = amounts.get(key, Fraction(0)) + Fraction(n).limit_denominator(12)
        ions = self.ion_content
        if abs(ions - round(ions)) < 1e-6:
            amounts["ion", self.working_ion] = Fraction(round(ions))
        common = math.lcm(*(n.denominator for n in amounts.values()))
        return math.gcd(*(int(n * common) for n in amounts.values())) / common

    def build(self, id: str | None = None) -> Crystal:
        """The prototype itself as a crystal, in its primitive cell.

        Args:
            id: Record id; the name by default.
        """
        frac, orbit = self.positions
        crystal = Crystal(
            id=id or self.name,
            lattice=self.lattice,
            species=tuple(dict(self.sites[k].species) for k in orbit),
            frac=frac,
            working_ion=self.working_ion,
            family=self.family,
            source="reference",
            extra={"reference": self.source},
        )
        return Crystal(**{**crystal.__dict__, "role": role(crystal)})


def _on_symmetry(frac: tuple[float, float, float]) -> NDArray[np.float64]:
    """Coordinates with rounded twelfths (0.33333) made exact."""
    exact = np.round(np.array(frac) * 12) / 12
    return np.where(np.abs(exact - frac) < 1e-5, exact, frac)


def _distinct(frac: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional points, wrapped into the cell, each position once."""
    wrapped = np.round(frac % 1.0, 6) % 1.0
    kept: list[NDArray[np.float64]] = []
    for point in wrapped:
        if not kept or np.min(_periodic_gap(np.array(kept) - point)) > 1e-3:
            kept.append(point)
    return np.array(kept)


def _periodic_gap(delta: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.abs(delta - np.round(delta)).max(axis=-1))


def _load() -> dict[str, Prototype]:
    text = (resources.files("ionbridge.structures.frameworks") / "prototypes.yaml").read_text(
        encoding="utf-8"
    )
    return {name: _prototype(name, entry) for name, entry in plain_yaml(text).items()}


def _prototype(name: str, entry: Mapping[str, Any]) -> Prototype:
    sites = tuple(
        PrototypeSite(s["slot"], {k: float(n) for k, n in s["species"].items()}, tuple(s["frac"]))
        for s in entry["sites"]
    )
    fields = {**entry, "sites": sites, "cell": tuple(entry["cell"])}
    fields["ion_range"] = tuple(entry.get("ion_range", (1.0, 1.0)))
    fields["metals"] = tuple(entry.get("metals", ()))
    return Prototype(name=name, **fields)


PROTOTYPES: dict[str, Prototype] = _load()
"""All prototypes by name."""


def reference_crystals() -> list[Crystal]:
    """The prototypes themselves, all of them real, measured compounds; ids are their names."""
    return [prototype.build() for prototype in PROTOTYPES.values()]
