"""What a step of a plan may need or give: quantities with their unit and what they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ionbridge.screening.errors import InputError
from ionbridge.structures.configuration import nearest

Row = dict[str, Any]
Carrier = Literal["hop", "crystal", "electrode", "cell", "application"]


@dataclass(frozen=True)
class Quantity:
    """A type of value; two steps fit together where one gives the quantity the other needs.

    Attributes:
        name: As in ``--goal``.
        unit: Of its values and errors; ``record`` for what is no number (crystals, hops, curves).
        carrier: What it belongs to.
        about: What it is, in a few words.
        given_by: How a user gives it.
        column: Key of the value in a row of the quantity; empty for records.
    """

    name: str
    unit: str
    carrier: Carrier
    about: str
    given_by: str
    column: str = ""

    @property
    def is_number(self) -> bool:
        """True where a plan may aim at it and an error can be stated."""
        return bool(self.column)


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
        "lowest energy at which hops connect the crystal",
        "crystals",
        "percolation_barrier_eV",
    ),
    Quantity(
        "diffusivity",
        "decades of cm2/s",
        "crystal",
        "log10 of the diffusivity of one carrier",
        _VALUE.format("diffusivity=1e-10cm2/s"),
        "log10_diffusivity_cm2_s",
    ),
    Quantity(
        "chemical_diffusivity",
        "decades of cm2/s",
        "crystal",
        "log10 of the diffusivity down a gradient of concentration, as GITT and PITT measure it",
        _VALUE.format("chemical_diffusivity=1e-11cm2/s"),
        "log10_chemical_diffusivity_cm2_s",
    ),
    Quantity(
        "diffusivity_labels",
        "record",
        "crystal",
        "diffusivities of compositions, each at its temperature",
        "a table with Formula, temperature_K and tracer_diffusivity_cm2_s, or what label md wrote",
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
    ),
    Quantity(
        "conductivity",
        "decades of S/cm",
        "crystal",
        "log10 of the ionic conductivity",
        _VALUE.format("conductivity=1e-4S/cm"),
        "log10_conductivity_S_cm",
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
    ),
    Quantity(
        "voltage",
        "V",
        "crystal",
        "average insertion voltage against the metal of the ion",
        _VALUE.format("voltage=3.4V"),
        "voltage_V",
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
    ),
    Quantity(
        "band_gap",
        "eV",
        "crystal",
        "gap between occupied and empty bands, as semilocal functionals give it: too small",
        _VALUE.format("band_gap=2.5eV"),
        "band_gap_eV",
    ),
    Quantity(
        "reduction_limit",
        "V",
        "crystal",
        "voltage below which it takes up more of its ion, against the metal of the ion",
        _VALUE.format("reduction_limit=1.7V"),
        "reduction_limit_V",
    ),
    Quantity(
        "oxidation_limit",
        "V",
        "crystal",
        "voltage above which it gives off its ion, against the metal of the ion",
        _VALUE.format("oxidation_limit=2.3V"),
        "oxidation_limit_V",
    ),
    Quantity(
        "stability",
        "fraction",
        "crystal",
        "chance to lie as near the hull as nine of ten observed phases",
        _VALUE.format("stability=0.8"),
        "stability",
    ),
    Quantity(
        "volume_change",
        "fraction",
        "crystal",
        "largest relative change of volume between charged and discharged",
        _VALUE.format("volume_change=0.07"),
        "volume_change",
    ),
    Quantity(
        "gravimetric_capacity",
        "mAh/g",
        "crystal",
        "charge of all ions (or of the redox limit) per mass of host",
        _VALUE.format("gravimetric_capacity=160mAh/g"),
        "gravimetric_capacity_mAh_g",
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
    ),
    Quantity(
        "electrode_porosity",
        "fraction",
        "electrode",
        "volume of the pores over that of the coating",
        _VALUE.format("electrode_porosity=0.35"),
        "electrode_porosity",
    ),
    Quantity(
        "electrode_thickness",
        "um",
        "electrode",
        "thickness of the dry coating, one side",
        _VALUE.format("electrode_thickness=70um"),
        "electrode_thickness_um",
    ),
    Quantity(
        "tortuosity",
        "ratio",
        "electrode",
        "porosity over effective transport in the pores",
        _VALUE.format("tortuosity=1.7"),
        "tortuosity",
    ),
    Quantity(
        "effective_transport",
        "fraction",
        "electrode",
        "effective over bulk transport in the pores",
        _VALUE.format("effective_transport=0.16"),
        "effective_transport",
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
    ),
    Quantity(
        "cell_energy",
        "Wh",
        "cell",
        "energy delivered at constant current",
        _VALUE.format("cell_energy=7Wh"),
        "energy_Wh",
    ),
    Quantity(
        "cell_power",
        "decades of W",
        "cell",
        "log10 of the mean power of a discharge at constant current",
        _VALUE.format("cell_power=7W"),
        "log10_power_W",
    ),
    Quantity(
        "cell_heat",
        "Wh",
        "cell",
        "heat that one discharge at constant current sets free, entropy included",
        _VALUE.format("cell_heat=0.4Wh"),
        "heat_Wh",
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
    ),
    Quantity(
        "cycle_life",
        "decades of cycles",
        "cell",
        "log10 of cycles until 80 % of the capacity",
        _VALUE.format("cycle_life=1000cycles"),
        "log10_cycle_life",
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

CONVERSIONS: Mapping[str, Mapping[str, float]] = {
    "migration_barrier": {"eV": 1.0, "meV": 1e-3},
    "percolation_barrier": {"eV": 1.0, "meV": 1e-3},
    "diffusivity": {"cm2/s": 1.0, "m2/s": 1e4},
    "chemical_diffusivity": {"cm2/s": 1.0, "m2/s": 1e4},
    "frame_interval": {"fs": 1.0, "ps": 1e3},
    "carrier_density": {"cm-3": 1.0, "m-3": 1e-6},
    "conductivity": {"S/cm": 1.0, "mS/cm": 1e-3, "S/m": 1e-2},
    "voltage": {"V": 1.0, "mV": 1e-3},
    "formation_energy": {"eV/atom": 1.0},
    "energy_above_hull": {"eV/atom": 1.0, "meV/atom": 1e-3},
    "band_gap": {"eV": 1.0, "meV": 1e-3},
    "reduction_limit": {"V": 1.0, "mV": 1e-3},
    "oxidation_limit": {"V": 1.0, "mV": 1e-3},
    "volume_change": {"": 1.0, "%": 1e-2},
    "gravimetric_capacity": {"mAh/g": 1.0, "Ah/kg": 1.0},
    "specific_energy": {"Wh/kg": 1.0},
    "stability": {"": 1.0, "%": 1e-2},
    "coating_mass": {"mg/cm2": 1.0, "g/m2": 0.1},
    "electrode_porosity": {"": 1.0, "%": 1e-2},
    "electrode_thickness": {"um": 1.0, "mm": 1e3},
    "tortuosity": {"": 1.0},
    "effective_transport": {"": 1.0},
    "loading": {"mAh/cm2": 1.0},
    "cell_capacity": {"Ah": 1.0, "mAh": 1e-3},
    "cell_energy": {"Wh": 1.0, "mWh": 1e-3, "kWh": 1e3},
    "cell_power": {"W": 1.0, "mW": 1e-3},
    "cell_heat": {"Wh": 1.0, "mWh": 1e-3},
    "capacity_fade": {"": 1.0, "%": 1e-2},
    "cycle_life": {"cycles": 1.0, "": 1.0},
    "delivered_energy": {"Wh": 1.0, "kWh": 1e3},
    "years_of_service": {"years": 1.0},
    "capacity_cost": {"/kWh": 1.0},
    "throughput_cost": {"/kWh": 1.0},
}
"""Units in which a value may be given, and what one of them is in the unit of the quantity."""


def quantity(name: str) -> Quantity:
    """The quantity of a name.

    Raises:
        InputError: Unknown; the message names the nearest.
    """
    if name not in QUANTITIES:
        raise InputError(f"unknown quantity '{name}'; {nearest(name, list(QUANTITIES))}")
    return QUANTITIES[name]


def goals() -> tuple[str, ...]:
    """Names that ``plan --goal`` takes."""
    return tuple(name for name, known in QUANTITIES.items() if known.is_number)
