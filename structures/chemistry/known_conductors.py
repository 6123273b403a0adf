"""Measured conductors that every ranking can be held against: facts, each with its source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from pymatgen.core import Composition

from ionbridge.structures.io.tables import (
    ConductivityRow,
    composition_key,
    is_room_temperature,
    read_table,
)
from ionbridge.structures.records import Label
from ionbridge.structures.transport.closed_forms import decades_per_eV
from ionbridge.structures.units import ROOM_TEMPERATURE_K

SAME_VALUE_DECADES = 0.01
"""Values this close are one: two digits are quoted."""


@dataclass(frozen=True)
class KnownConductor:
    """One measured compound.

    Attributes:
        formula: As reported.
        structure: Name of the structure.
        space_groups: International numbers: of the compound, and of ordered models of it.
        working_ion: Mobile ion.
        role: ``electrolyte``, ``electrode`` or ``non-conductor``.
        log10_conductivity_S_cm: At ``temperature_K``; None for electrodes.
        temperature_K: Of the measurement; None at room temperature.
        activation_energy_eV: Where it is reported, or follows from two temperatures.
        log10_diffusivity_cm2_s: Lowest and highest of the values in use for electrodes.
        source: DOI, or what compiled the value.
    """

    formula: str
    structure: str
    space_groups: frozenset[int]
    working_ion: str
    role: str
    log10_conductivity_S_cm: float | None
    temperature_K: float | None
    activation_energy_eV: float | None
    log10_diffusivity_cm2_s: tuple[float, float] | None
    source: str

    @property
    def log10_room_conductivity_S_cm(self) -> float | None:
        """At room temperature; a value measured hot is carried along its own Arrhenius line.

        None for an electrode, and for a hot value without an activation energy.
        """
        return self.log10_conductivity_at(ROOM_TEMPERATURE_K)

    def log10_conductivity_at(self, temperature_K: float) -> float | None:
        """At another temperature than that of the measurement, log10 of S/cm.

        Carried along its own Arrhenius line, on which sigma T lies; None for an electrode, and for
        another temperature where no activation energy is known. Of a room all temperatures are one.
        """
        value, energy = self.log10_conductivity_S_cm, self.activation_energy_eV
        if value is None or (self.temperature_K is None and is_room_temperature(temperature_K)):
            return value
        if energy is None:
            return None
        measured_K = self.temperature_K or ROOM_TEMPERATURE_K
        step = decades_per_eV(temperature_K) - decades_per_eV(measured_K)
        return float(value + np.log10(measured_K / temperature_K) - energy * step)


@lru_cache(maxsize=1)
def known_conductors() -> tuple[KnownConductor, ...]:
    """All rows of the table of known ionic conductors."""
    _, rows = read_table(Path(__file__).with_suffix(".csv"))
    return tuple(_conductor(row) for row in rows)


def known_rows() -> tuple[ConductivityRow, ...]:
    """The measured conductivities at room temperature as labelled rows, for models to learn from.

    A hot value without an activation energy is an upper bound. Values that one paper or review
    cites of others count as of that one paper. An activation energy is the :class:`Label`
    ``extra["activation_energy"]``.
    """
    result = []
    for i, known in enumerate(known_conductors()):
        if known.log10_conductivity_S_cm is None:
            continue
        energy, value = known.activation_energy_eV, known.log10_room_conductivity_S_cm
        measured = Label(
            "log10_conductivity_S_cm",
            known.log10_conductivity_S_cm if value is None else value,
            "<" if value is None else "=",
            method="experiment",
            source=known.source,
        )
        extra = {}
        if energy is not None:
            extra["activation_energy"] = replace(
                measured, quantity="activation_energy_eV", value=energy
            )
        result.append(
            ConductivityRow(
                id=f"known_conductors#{i}",
                formula=known.formula,
                composition=Composition(known.formula),
                space_group=min(known.space_groups) if len(known.space_groups) == 1 else None,
                label=measured,
                doi=known.source.split(", ref")[0],
                extra=extra,
            )
        )
    return tuple(result)


def known_conductor(row: ConductivityRow) -> KnownConductor | None:
    """The measured compound of this composition and space group, if it is in the table."""
    key = composition_key(row.composition)
    for known in known_conductors():
        if row.space_group in known.space_groups and key == _key(known.formula):
            return known
    return None


def at_measured_temperature(row: ConductivityRow) -> ConductivityRow | None:
    """The row with the temperature of its value, where the table knows it to be measured hot.

    Compilations quote such values without a temperature, as if measured at room temperature.

    Returns:
        None for a value without a temperature above what the table has of this compound when hot:
        no solid conducts better cold.
    """
    if row.label is None or row.label.temperature_K is not None:
        return row
    key = composition_key(row.composition)
    for known in known_conductors():
        value = known.log10_conductivity_S_cm
        if value is None or known.temperature_K is None or key != _key(known.formula):
            continue
        if abs(row.label.value - value) < SAME_VALUE_DECADES:
            return replace(row, label=replace(row.label, temperature_K=known.temperature_K))
        if row.label.value > value:
            return None
    return row


@lru_cache(maxsize=256)
def _key(formula: str) -> tuple[tuple[str, float], ...]:
    return composition_key(Composition(formula))


def _conductor(row: dict[str, str]) -> KnownConductor:
    def number(name: str) -> float | None:
        return float(row[name]) if row[name] else None

    low = number("log10_diffusivity_low_cm2_s")
    high = number("log10_diffusivity_high_cm2_s")
    return KnownConductor(
        formula=row["formula"],
        structure=row["structure"],
        space_groups=frozenset(map(int, row["space_groups"].split())),
        working_ion=row["working_ion"],
        role=row["role"],
        log10_conductivity_S_cm=number("log10_conductivity_S_cm"),
        temperature_K=number("temperature_K"),
        activation_energy_eV=number("activation_energy_eV"),
        log10_diffusivity_cm2_s=None if low is None or high is None else (low, high),
        source=row["source"],
    )
