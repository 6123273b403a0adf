"""How a cell is made: particles, coatings, pores; and what it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from ionbridge.screening.cell.base_cells import (
    base_cell,
    electrode_area_m2,
    electrode_capacity_Ah,
    scalars,
)
from ionbridge.screening.cell.inputs import ELECTRODES, REGIONS, problem
from ionbridge.screening.errors import InputError
from ionbridge.structures.units import FARADAY_C_PER_MOL, SECONDS_PER_HOUR

DENSITIES_KG_M3: dict[str, float] = {
    "LiCoO2": 5050.0,
    "LiFePO4": 3600.0,
    "LiNi0.8Mn0.1Co0.1O2": 4750.0,
    "LiNi0.33Mn0.33Co0.33O2": 4700.0,
    "Na3V2(PO4)2F3": 3200.0,
    "hard carbon": 1950.0,
    "graphite": 2260.0,
    "graphite-SiOx": 2260.0,
}
"""Crystal densities of the active materials."""

INACTIVE_KG_M3 = 1850.0
"""Binder (PVDF 1780) and carbon black (1900 to 2000)."""
ELECTROLYTE_KG_M3 = 1200.0
"""LiPF6 1 M in carbonates."""
SEPARATOR_KG_M3 = 950.0
"""Polyolefin."""
COLLECTORS_KG_M2 = {"Negative": 8960.0 * 5e-6, "Positive": 2700.0 * 7.5e-6}
"""Half of a 10 um copper and a 15 um aluminium foil: each carries a coating on both sides."""


@dataclass(frozen=True)
class ElectrodeDesign:
    """One electrode as it can be manufactured; None leaves the base cell's value.

    Attributes:
        particle_radius_m: 1e-9 to 1e-3.
        thickness_m: Of the coating, 1e-7 to 1.9e-3.
        porosity: 0.01 to 0.99.
        active_fraction: Volume of active material over that of the coating, 0.01 to 0.99; with the
            porosity at most 1.
        bruggeman: Transport in the pores is porosity ** bruggeman of the bulk's.
        tortuosity: In place of it: porosity / tortuosity.
        loading_Ah_m2: Capacity an area between empty and full; sets the thickness.
    """

    particle_radius_m: float | None = None
    thickness_m: float | None = None
    porosity: float | None = None
    active_fraction: float | None = None
    bruggeman: float | None = None
    tortuosity: float | None = None
    loading_Ah_m2: float | None = None

    def parameters(self, base: str, domain: str) -> dict[str, float]:
        """By PyBaMM's names.

        Args:
            base: Base cell.
            domain: ``Negative`` or ``Positive``.

        Raises:
            InputError: A value outside its range, or two that exclude each other.
        """
        if domain not in ELECTRODES:
            raise InputError(f"unknown electrode '{domain}'; known: {', '.join(ELECTRODES)}")
        for one, other in (("thickness_m", "loading_Ah_m2"), ("bruggeman", "tortuosity")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise InputError(f"{domain.lower()} electrode: give {one} or {other}, not both")
        given = {
            name: value
            for name, value in (
                (f"{domain} particle radius [m]", self.particle_radius_m),
                (f"{domain} electrode thickness [m]", self.thickness_m),
                (f"{domain} electrode porosity", self.porosity),
                (f"{domain} electrode active material volume fraction", self.active_fraction),
                (f"{domain} electrode Bruggeman coefficient (electrolyte)", self.bruggeman),
                (f"{domain} electrode tortuosity factor (electrolyte)", self.tortuosity),
            )
            if value is not None
        }
        if self.loading_Ah_m2 is not None:
            values = {**scalars(base), **given}
            name = f"{domain} electrode thickness [m]"
            given[name] = values[name] * self.loading_Ah_m2 / loading_Ah_m2(values, domain)
        trouble = problem(base, given)
        if trouble:
            raise InputError(trouble)
        return given


def loading_Ah_m2(values: Mapping[str, float], domain: str) -> float:
    """Capacity between empty and full of one electrode, an area."""
    return electrode_capacity_Ah(values, domain) / electrode_area_m2(values)


@dataclass(frozen=True)
class Masses:
    """What one cell's stack weighs, kg; case and tabs are not in it.

    Attributes:
        negative: Active material.
        positive: Active material.
        inactive: Binder and carbon of both electrodes.
        electrolyte: In all pores.
        separator: Without its pores.
        collectors: Of both electrodes.
    """

    negative: float
    positive: float
    inactive: float
    electrolyte: float
    separator: float
    collectors: float

    @property
    def total(self) -> float:
        """Mass of the whole stack, kg."""
        found: float = sum(getattr(self, f.name) for f in fields(self))
        return found


def masses(base: str, given: Mapping[str, float], cathode_g_per_mol: float | None = None) -> Masses:
    """Weigh a design.

    Args:
        base: Base cell.
        given: What the design sets, by PyBaMM's names.
        cathode_g_per_mol: Molar mass a site of the working ion, of a candidate that takes the place
            of the base cell's cathode with as many sites; None for the base cell's own.
    """
    values = {**scalars(base), **given}
    cell = base_cell(base)
    area = electrode_area_m2(values)
    material = {"Negative": cell.anode, "Positive": cell.cathode}
    active, inactive, pores = {}, 0.0, 0.0
    for domain, region in zip(ELECTRODES, REGIONS[::2], strict=True):
        volume = area * values[f"{region} thickness [m]"]
        fraction, porosity = (
            values[f"{region} active material volume fraction"],
            values[f"{region} porosity"],
        )
        active[domain] = volume * fraction * DENSITIES_KG_M3[material[domain]]
        inactive += volume * max(0.0, 1.0 - fraction - porosity) * INACTIVE_KG_M3
        pores += volume * porosity
    if cathode_g_per_mol is not None:
        sites = electrode_capacity_Ah(values, "Positive") * SECONDS_PER_HOUR / FARADAY_C_PER_MOL
        active["Positive"] = sites * cathode_g_per_mol * 1e-3
    separator = area * values["Separator thickness [m]"]
    pores += separator * values["Separator porosity"]
    return Masses(
        negative=active["Negative"],
        positive=active["Positive"],
        inactive=inactive,
        electrolyte=pores * ELECTROLYTE_KG_M3,
        separator=separator * (1.0 - values["Separator porosity"]) * SEPARATOR_KG_M3,
        collectors=area * sum(COLLECTORS_KG_M2.values()),
    )
