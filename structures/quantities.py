"""Quantities and the columns that hold them: one description for plans, tables, answers and plots.

A column's name ends in its unit: ``percolation_barrier_eV``. Its spread (one standard deviation)
and the ends of its interval say so before the unit: ``percolation_barrier_std_eV``. What is known
as a logarithm to base ten says ``log10_``, and its spread and ends, in decades, carry no unit:
``log10_diffusivity_cm2_s``, ``log10_diffusivity_std``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

UNITS = {
    "eV_atom": "eV/atom",
    "eV_A": "eV/angstrom",
    "eV": "eV",
    "cm2_s": "cm^2/s",
    "S_cm": "S/cm",
    "cm3": "cm^-3",
    "mAh_cm2": "mAh/cm^2",
    "mg_cm2": "mg/cm^2",
    "mAh_g": "mAh/g",
    "Wh_kg": "Wh/kg",
    "W_kg": "W/kg",
    "Wh_L": "Wh/L",
    "mAh": "mAh",
    "Ah": "Ah",
    "Wh": "Wh",
    "W": "W",
    "mV": "mV",
    "V": "V",
    "K": "K",
    "ps": "ps",
    "fs": "fs",
    "A2": "angstrom^2",
    "um": "um",
    "vu": "valence units",
    "percent": "%",
    "years": "years",
}
"""Unit by the end of a column's name."""

Carrier = Literal["hop", "crystal", "electrode", "cell", "application"]
LOG10 = "log10_"


def split(column: str) -> tuple[str, str]:
    """A column's name without its unit, and the end that is its unit; empty where it has none."""
    end = max((end for end in UNITS if column.endswith(f"_{end}")), key=len, default="")
    return (column.removesuffix(f"_{end}") if end else column), end


def beside(column: str, statistic: str) -> str:
    """The column of a statistic of a column: ``std``, ``lower``, ``upper``, ``q05`` or ``q95``."""
    stem, end = split(column)
    return "_".join(filter(None, (stem, statistic, "" if LOG10 in stem else end)))


def spread_columns(columns: Iterable[str]) -> dict[str, str]:
    """Column of the spread (one sigma) that belongs to a column, of those there are.

    In the table of a plan a bare ``std`` belongs to the column before it.
    """
    names = list(columns)
    known = set(names)
    found = {name: spread for name in names if (spread := beside(name, "std")) in known}
    return found | ({names[names.index("std") - 1]: "std"} if "std" in names[1:] else {})


def unit_of(column: str) -> str:
    """Unit of a column in words: ``eV``, ``log10 of S/cm``, ``decades``; empty where unknown."""
    known = _OF_COLUMN.get(column)
    own = "" if known is None else known.unit.removeprefix("decades of ")
    unit = UNITS.get(split(column)[1], own)
    if LOG10 in column:
        return f"log10 of {unit}" if unit else "decades"
    return unit


@dataclass(frozen=True)
class Quantity:
    """A type of value; two steps of a plan fit together where one gives what the other needs.

    Attributes:
        name: As in ``--goal``.
        unit: Of its values and errors; ``record`` for what is no number (crystals, hops, curves).
        carrier: What it belongs to.
        about: What it is.
        given_by: How a user gives it.
        column: Of its value in a table; empty for records.
        also: Other units in which a value may be given, and what one of them is in its own.
        plausible: Values outside are mistakes, most often of the unit.
    """

    name: str
    unit: str
    carrier: Carrier
    about: str
    given_by: str = ""
    column: str = ""
    also: Mapping[str, float] = field(default_factory=dict)
    plausible: tuple[float, float] = (-math.inf, math.inf)

    @property
    def is_number(self) -> bool:
        """True where a plan may aim at it and an error can be stated."""
        return bool(self.column)

    @property
    def is_log10(self) -> bool:
        """True where its values are logarithms to base ten, and their errors decades."""
        return self.unit.startswith("decades of ")

    @property
    def given_unit(self) -> str:
        """Unit in which its value is given, which of a logarithm is that of the number itself."""
        unit = self.unit.removeprefix("decades of ").removeprefix("currency")
        return "" if unit in ("fraction", "ratio") else unit

    @property
    def units(self) -> Mapping[str, float]:
        """Units in which a value may be given, and what one of them is in its own."""
        return {self.given_unit: 1.0, **self.also}

    @property
    def spread(self) -> str:
        """Column of one standard deviation."""
        return beside(self.column, "std")

    def columns(self, lower: str = "lower", upper: str = "upper") -> tuple[str, str, str, str]:
        """Columns of value, one standard deviation, and the ends of the 90 % interval.

        Args:
            lower: What the lower end is called; ``q05`` in the table of a campaign.
            upper: The upper one; ``q95`` there.
        """
        return (self.column, self.spread, beside(self.column, lower), beside(self.column, upper))

    def by(self, way: str, about: str) -> Quantity:
        """The same quantity by one way alone, or of one kind: ``way`` stands before the unit."""
        stem, end = split(self.column)
        return replace(
            self,
            name=f"{self.name}_{way}",
            column="_".join(filter(None, (stem, way, end))),
            about=about,
        )


def _known(*quantities: Quantity) -> Mapping[str, Quantity]:
    return {quantity.name: quantity for quantity in quantities}


_CRYSTALS = "crystals: a CIF, POSCAR, extxyz or JSON-lines file, or chemistry:NAME"
_VALUE = "a value, written {}"

QUANTITIES = _known(
    Quantity("hop", "record", "hop", "jumps of the ion", "a hop file, or crystals to find them in"),
    Quantity("hop_labels", "record", "hop", "hops with barriers", "a hop file with barrier_eV"),
    Quantity(
        "migration_barrier",
        "eV",
        "hop",
        "saddle above the initial site of a hop",
        "labels of your own: hops with barrier_eV",
        "migration_barrier_eV",
        also={"meV": 0.001},
        plausible=(0.0, 15.0),
    ),
    Quantity("crystal", "record", "crystal", "atoms in a periodic cell", _CRYSTALS),
    Quantity(
        "composition",
        "record",
        "crystal",
        "formula, with space group and cell where known",
        "a table with a Formula column, crystals, or chemistry:FORMULA",
    ),
    Quantity(
        "percolation_barrier",
        "eV",
        "crystal",
        "lowest energy at which hops with a saddle at or below it lead through the crystal in "
        "at least one direction, above the lowest site of that network",
        "crystals",
        "percolation_barrier_eV",
        also={"meV": 0.001},
    ),
    Quantity(
        "diffusivity",
        "decades of cm2/s",
        "crystal",
        "log10 of the diffusivity of one carrier",
        _VALUE.format("diffusivity=1e-10cm2/s"),
        "log10_diffusivity_cm2_s",
        also={"m2/s": 10000.0},
        plausible=(-30.0, -2.0),
    ),
    Quantity(
        "chemical_diffusivity",
        "decades of cm2/s",
        "crystal",
        "log10 of the diffusivity down a gradient of concentration, as GITT and PITT measure it",
        _VALUE.format("chemical_diffusivity=1e-11cm2/s"),
        "log10_chemical_diffusivity_cm2_s",
        also={"m2/s": 10000.0},
        plausible=(-30.0, -2.0),
    ),
    Quantity(
        "diffusivity_labels",
        "record",
        "crystal",
        "diffusivities of compositions, each at its temperature",
        "a table with Formula, temperature_K and tracer_diffusivity_cm2_s, or what label md or kmc "
        "wrote",
    ),
    Quantity(
        "conductivity_labels",
        "record",
        "crystal",
        "conductivities of compositions at room temperature",
        "a table with Formula and 'Ionic conductivity (S/cm)'",
    ),
    Quantity(
        "carrier_density",
        "decades of cm-3",
        "crystal",
        "log10 of mobile carriers per volume",
        _VALUE.format("carrier_density=1e21cm-3"),
        "log10_carrier_density_cm3",
        also={"m-3": 1e-06},
        plausible=(10.0, 24.0),
    ),
    Quantity(
        "conductivity",
        "decades of S/cm",
        "crystal",
        "log10 of the ionic conductivity",
        _VALUE.format("conductivity=1e-4S/cm"),
        "log10_conductivity_S_cm",
        also={"mS/cm": 0.001, "S/m": 0.01},
        plausible=(-30.0, 2.0),
    ),
    Quantity(
        "trajectory",
        "record",
        "crystal",
        "positions of all atoms over time",
        "a trajectory: XDATCAR, vasprun.xml or traj file, or an extxyz file beside frame_interval",
    ),
    Quantity(
        "frame_interval",
        "fs",
        "crystal",
        "time between two frames of a trajectory",
        _VALUE.format("frame_interval=100fs"),
        "frame_interval_fs",
        also={"ps": 1000.0},
    ),
    Quantity(
        "voltage",
        "V",
        "crystal",
        "average insertion voltage against the metal of the ion",
        _VALUE.format("voltage=3.4V"),
        "voltage_V",
        also={"mV": 0.001},
        plausible=(-1.0, 7.0),
    ),
    Quantity(
        "formation_energy",
        "eV/atom",
        "crystal",
        "energy of formation from the elements",
        _VALUE.format("formation_energy=-2.1eV/atom"),
        "formation_energy_eV_atom",
    ),
    Quantity(
        "energy_above_hull",
        "eV/atom",
        "crystal",
        "energy above the convex hull of all known phases",
        _VALUE.format("energy_above_hull=0.02eV/atom"),
        "energy_above_hull_eV_atom",
        also={"meV/atom": 0.001},
    ),
    Quantity(
        "band_gap",
        "eV",
        "crystal",
        "gap between occupied and empty bands, as semilocal functionals give it: too small",
        _VALUE.format("band_gap=2.5eV"),
        "band_gap_eV",
        also={"meV": 0.001},
        plausible=(0.0, 20.0),
    ),
    Quantity(
        "reduction_limit",
        "V",
        "crystal",
        "voltage below which it takes up more of its ion, against the metal of the ion",
        _VALUE.format("reduction_limit=1.7V"),
        "reduction_limit_V",
        also={"mV": 0.001},
        plausible=(-1.0, 9.0),
    ),
    Quantity(
        "oxidation_limit",
        "V",
        "crystal",
        "voltage above which it gives off its ion, against the metal of the ion",
        _VALUE.format("oxidation_limit=2.3V"),
        "oxidation_limit_V",
        also={"mV": 0.001},
        plausible=(-1.0, 9.0),
    ),
    Quantity(
        "stability",
        "fraction",
        "crystal",
        "chance to lie as near the hull as nine of ten observed phases",
        _VALUE.format("stability=0.8"),
        "stability",
        also={"%": 0.01},
        plausible=(0.0, 1.0),
    ),
    Quantity(
        "volume_change",
        "fraction",
        "crystal",
        "largest relative change of volume between charged and discharged",
        _VALUE.format("volume_change=0.07"),
        "volume_change",
        also={"%": 0.01},
        plausible=(0.0, 3.0),
    ),
    Quantity(
        "gravimetric_capacity",
        "mAh/g",
        "crystal",
        "charge of all ions (or of the redox limit) per mass of host",
        _VALUE.format("gravimetric_capacity=160mAh/g"),
        "gravimetric_capacity_mAh_g",
        also={"Ah/kg": 1.0},
    ),
    Quantity(
        "specific_energy",
        "Wh/kg",
        "crystal",
        "voltage times capacity of the active material alone",
        _VALUE.format("specific_energy=500Wh/kg"),
        "specific_energy_Wh_kg",
    ),
    Quantity(
        "electrode_design",
        "record",
        "electrode",
        "coating thickness, porosity, active fraction, particle radius",
        "a design: thickness_um, porosity, active_fraction, particle_radius_um (JSON)",
    ),
    Quantity(
        "coating",
        "record",
        "electrode",
        "how a slurry is coated",
        "a coating (JSON): solids_mass_fraction, active_mass_fraction, active_density_g_cm3, "
        "solvent_density_g_cm3, gap_um, line_speed_m_min",
    ),
    Quantity(
        "calendering",
        "record",
        "electrode",
        "how a coating is compacted",
        "a calendering (JSON): line_load_N_mm, compaction_resistance_N_mm, porosity_before, "
        "porosity_limit",
    ),
    Quantity(
        "coating_mass",
        "mg/cm2",
        "electrode",
        "dry mass of the coating an area, one side",
        _VALUE.format("coating_mass=20mg/cm2"),
        "coating_mass_mg_cm2",
        also={"g/m2": 0.1},
        plausible=(0.0, 500.0),
    ),
    Quantity(
        "electrode_porosity",
        "fraction",
        "electrode",
        "volume of the pores over that of the coating",
        _VALUE.format("electrode_porosity=0.35"),
        "electrode_porosity",
        also={"%": 0.01},
        plausible=(0.01, 0.99),
    ),
    Quantity(
        "electrode_thickness",
        "um",
        "electrode",
        "thickness of the dry coating, one side",
        _VALUE.format("electrode_thickness=70um"),
        "electrode_thickness_um",
        also={"mm": 1000.0},
        plausible=(0.0, 2000.0),
    ),
    Quantity(
        "tortuosity",
        "ratio",
        "electrode",
        "porosity over effective transport in the pores",
        _VALUE.format("tortuosity=1.7"),
        "tortuosity",
        plausible=(1.0, 100.0),
    ),
    Quantity(
        "effective_transport",
        "fraction",
        "electrode",
        "effective over bulk transport in the pores",
        _VALUE.format("effective_transport=0.16"),
        "effective_transport",
        plausible=(0.0, 1.0),
    ),
    Quantity(
        "loading",
        "mAh/cm2",
        "electrode",
        "capacity of the coating per area",
        _VALUE.format("loading=3mAh/cm2"),
        "loading_mAh_cm2",
    ),
    Quantity(
        "base_cell",
        "record",
        "cell",
        "the cell that a material is put into",
        "chemistry:LFP, chemistry:LCO, chemistry:NMC, or crystals of such a cathode",
    ),
    Quantity(
        "cell_design",
        "record",
        "cell",
        "base cell, rate, temperature and replaced parameters",
        "a designs table with base_cell and c_rate columns, or chemistry:LFP | chemistry:LCO",
    ),
    Quantity(
        "cell_capacity",
        "Ah",
        "cell",
        "charge delivered at constant current",
        _VALUE.format("cell_capacity=2.3Ah"),
        "capacity_Ah",
        also={"mAh": 0.001},
    ),
    Quantity(
        "cell_energy",
        "Wh",
        "cell",
        "energy delivered at constant current",
        _VALUE.format("cell_energy=7Wh"),
        "energy_Wh",
        also={"mWh": 0.001, "kWh": 1000.0},
    ),
    Quantity(
        "cell_power",
        "decades of W",
        "cell",
        "log10 of the mean power of a discharge at constant current",
        _VALUE.format("cell_power=7W"),
        "log10_power_W",
        also={"mW": 0.001},
    ),
    Quantity(
        "cell_heat",
        "Wh",
        "cell",
        "heat that one discharge at constant current sets free, entropy included",
        _VALUE.format("cell_heat=0.4Wh"),
        "heat_Wh",
        also={"mWh": 0.001},
    ),
    Quantity(
        "measured_discharges",
        "record",
        "cell",
        "a cell's measured discharges at constant current",
        "cells.yaml with a folder of curves a cell, as ionbridge cell fit takes it",
    ),
    Quantity(
        "fitted_cell",
        "record",
        "cell",
        "a cell fitted to measured discharges",
        "a folder of ionbridge cell fit",
    ),
    Quantity(
        "early_cycles",
        "record",
        "cell",
        "capacity and curve features of the first cycles",
        "a table of cells with early-cycle features",
    ),
    Quantity(
        "capacity_fade",
        "fraction",
        "cell",
        "share of the capacity lost after 500 cycles",
        _VALUE.format("capacity_fade=0.1"),
        "capacity_fade",
        also={"%": 0.01},
        plausible=(0.0, 1.0),
    ),
    Quantity(
        "cycle_life",
        "decades of cycles",
        "cell",
        "log10 of cycles until 80 % of the capacity",
        _VALUE.format("cycle_life=1000cycles"),
        "log10_cycle_life",
        also={"": 1.0},
    ),
    Quantity(
        "duty_cycle",
        "record",
        "application",
        "power demanded over a day",
        "a duty cycle: energy_Wh_per_day and cycles_per_day (JSON)",
    ),
    Quantity(
        "delivered_energy",
        "Wh",
        "application",
        "energy of one day's duty that the cell can deliver",
        _VALUE.format("delivered_energy=20Wh"),
        "delivered_energy_Wh",
        also={"kWh": 1000.0},
    ),
    Quantity(
        "years_of_service",
        "decades of years",
        "application",
        "log10 of the years until the cell has 80 % of its capacity",
        _VALUE.format("years_of_service=8years"),
        "log10_years_of_service",
    ),
    Quantity(
        "prices",
        "record",
        "application",
        "what a cell costs, in any currency",
        "prices (JSON): cell_price",
    ),
    Quantity(
        "capacity_cost",
        "decades of currency/kWh",
        "application",
        "log10 of the price of the cell over the energy of a discharge",
        _VALUE.format("capacity_cost=120/kWh"),
        "log10_capacity_cost_per_kWh",
    ),
    Quantity(
        "throughput_cost",
        "decades of currency/kWh",
        "application",
        "log10 of the price of the cell over the energy that it delivers in its life",
        _VALUE.format("throughput_cost=0.1/kWh"),
        "log10_throughput_cost_per_kWh",
    ),
)
"""Everything that steps pass on, by name."""

_OF_COLUMN = {known.column: known for known in QUANTITIES.values() if known.is_number}
