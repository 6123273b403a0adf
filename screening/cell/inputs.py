"""What a design may set: parameters by PyBaMM's names, with the ranges in which they make sense.

A column of a designs table is a PyBaMM parameter ("Positive particle radius [m]") that replaces the
base cell's value, or one of our FACTORS, which multiply a function of the base cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache

from ionbridge.screening.cell.base_cells import half_of, scalars
from ionbridge.screening.errors import InputError
from ionbridge.structures.configuration import nearest

ELECTRODES = ("Negative", "Positive")
REGIONS = ("Negative electrode", "Separator", "Positive electrode")

CONDUCTIVITY = "Electrolyte conductivity [S.m-1]"
ELECTROLYTE_DIFFUSIVITY = "Electrolyte diffusivity [m2.s-1]"
TRANSFERENCE = "Cation transference number"
CONTACT = "Contact resistance [Ohm]"

FUNCTIONS = (
    "Negative particle diffusivity [m2.s-1]",
    "Positive particle diffusivity [m2.s-1]",
    CONDUCTIVITY,
    ELECTROLYTE_DIFFUSIVITY,
)
"""May depend on state and temperature in a base cell; a design replaces them by a number."""

FACTORS = (
    "Negative particle diffusivity factor",
    "Positive particle diffusivity factor",
    "Electrolyte conductivity factor",
    "Electrolyte diffusivity factor",
    "Negative electrode exchange-current density factor",
    "Positive electrode exchange-current density factor",
)
"""Multiply the base cell's function; 1 by default."""

CURVE_CHANGES = {
    "Positive electrode OCP tilt [V]": 0.0,
    "Positive electrode OCP step [V]": 0.0,
    "Positive electrode OCP step stoichiometry": 0.5,
}
"""Turn the cathode's open-circuit curve into that of another material:
U(x) + tilt (1/2 - x) - step tanh((x - x_step) / STEP_WIDTH)."""

STEP_WIDTH = 0.04

TORTUOSITIES = tuple(f"{region} tortuosity factor (electrolyte)" for region in REGIONS)
"""In place of the Bruggeman coefficient: effective over bulk transport is porosity / tortuosity."""

RANGES: tuple[tuple[str, float, float, str], ...] = (
    (r"particle diffusivity \[m2\.s-1\]", 1e-22, 1e-9, "1 cm2/s is 1e-4 m2/s"),
    (r"Electrolyte diffusivity \[m2\.s-1\]", 1e-14, 1e-7, "1 cm2/s is 1e-4 m2/s"),
    (r"Electrolyte conductivity \[S\.m-1\]", 1e-6, 100.0, "1 S/cm is 100 S/m"),
    (r"electrode conductivity \[S\.m-1\]", 1e-6, 1e8, "1 S/cm is 100 S/m"),
    (r"particle radius \[m\]", 1e-9, 1e-3, "1 um is 1e-6 m"),
    (r"thickness \[m\]", 1e-7, 1.9e-3, "1 um is 1e-6 m"),
    (r"porosity$", 0.01, 1.0, "a fraction"),
    (r"active material volume fraction$", 0.01, 0.99, "a fraction"),
    (r"Bruggeman coefficient", 0.0, 10.0, "an exponent, 1.5 for spheres"),
    (r"tortuosity factor", 0.1, 1e3, "porosity over relative transport"),
    (r"Cation transference number", -0.5, 1.0, "1 for a single-ion conductor"),
    (r"Thermodynamic factor", 0.01, 100.0, "1 + dlnf/dlnc"),
    (r"Initial concentration in electrolyte", 10.0, 4000.0, "mol per m3"),
    (r"concentration in .*\[mol\.m-3\]", 1e-3, 1e6, "mol per m3"),
    (r"Contact resistance \[Ohm\]", 0.0, 1e3, "Ohm"),
    (r" factor$", 1e-12, 1e12, "a multiplier"),
    (r"OCP tilt \[V\]|OCP step \[V\]", 0.0, 1.0, "V"),
    (r"OCP step stoichiometry", 0.0, 1.0, "a stoichiometry"),
    (r"temperature \[K\]", 200.0, 400.0, "kelvin"),
    (r"Electrode (height|width) \[m\]", 1e-4, 1e3, "m"),
    (r"capacity \[A\.h\]", 1e-7, 1e5, "Ah"),
    (r"cut-off \[V\]", 0.0, 6.0, "V"),
    (r"Number of electrodes connected in parallel", 1.0, 1e5, "a count of layers"),
)
"""Pattern of the name, least, greatest, and what the unit is about."""

LAYERS = "Number of electrodes connected in parallel to make a cell"

SETTABLE = (
    "Nominal cell capacity [A.h]",
    "Lower voltage cut-off [V]",
    "Upper voltage cut-off [V]",
    "Electrode height [m]",
    "Electrode width [m]",
    LAYERS,
    CONTACT,
    TRANSFERENCE,
    "Thermodynamic factor",
    "Initial concentration in electrolyte [mol.m-3]",
    *(f"{region} {what}" for region in REGIONS for what in ("thickness [m]", "porosity")),
    *(f"{region} Bruggeman coefficient (electrolyte)" for region in REGIONS),
    *(
        f"{electrode} {what}"
        for electrode in ELECTRODES
        for what in (
            "particle radius [m]",
            "electrode active material volume fraction",
            "electrode conductivity [S.m-1]",
            "electrode Bruggeman coefficient (electrode)",
        )
    ),
    *(
        f"{which} concentration in {electrode.lower()} electrode [mol.m-3]"
        for which in ("Maximum", "Initial")
        for electrode in ELECTRODES
    ),
)
"""Numbers of a base cell that a design may replace: all that an isothermal discharge at constant
current depends on."""

ELSEWHERE = {
    "Reference temperature [K]": "use temperature_K",
    "Ambient temperature [K]": "use temperature_K",
    "Initial temperature [K]": "use temperature_K",
    "Current function [A]": "use c_rate",
    "Open-circuit voltage at 100% SOC [V]": "use 'Upper voltage cut-off [V]'",
    "Open-circuit voltage at 0% SOC [V]": "use 'Lower voltage cut-off [V]'",
    "Number of cells connected in series to make a battery": "results are those of one cell",
}
"""Parameters of PyBaMM that no design sets, and what to do instead."""

ONE_OF_TWO = (
    *((name, f"{name.split(' [')[0]} factor") for name in FUNCTIONS),
    *(
        (f"{region} Bruggeman coefficient (electrolyte)", tortuosity)
        for region, tortuosity in zip(REGIONS, TORTUOSITIES, strict=True)
    ),
)
"""Columns of which a design gives one at most: the second would change nothing beside the first."""


@cache
def known_names(base: str) -> tuple[str, ...]:
    """Every column that a design of a base cell may have."""
    numbers = (name for name in SETTABLE if name in scalars(base))
    names = dict.fromkeys([*numbers, *FUNCTIONS, *FACTORS, *CURVE_CHANGES, *TORTUOSITIES])
    if half_of(base)[0]:  # of the metal a design sets its exchange current, no pores or particles
        return tuple(n for n in names if "egative" not in n or "exchange-current" in n)
    return tuple(names)


def check_names(names: Iterable[str], bases: Iterable[str]) -> None:
    """Refuse a column that no base cell knows.

    Raises:
        InputError: The column, and the nearest known one.
    """
    bases = list(bases)
    known = list(dict.fromkeys(n for base in bases for n in known_names(base)))
    for name in names:
        if name in ELSEWHERE:
            raise InputError(f"'{name}' is not a column of designs; {ELSEWHERE[name]}")
        if name in known:
            continue
        if any(name in scalars(base) for base in bases):
            raise InputError(
                f"'{name}' is not a column of designs; it changes nothing in an isothermal "
                "discharge, or belongs to the base cell's materials"
            )
        raise InputError(f"unknown parameter '{name}'; {_nearest_name(name, known)}")


def problem(base: str, given: Mapping[str, float]) -> str | None:
    """Why values cannot be used with a base cell, in one line; None where they can."""
    known = known_names(base)
    for name, value in given.items():
        if name not in known:
            return f"base cell {base} has no parameter '{name}'"
        if not math.isfinite(value):
            return f"'{name}' is {value}, not a number"
        trouble = out_of_range(name, value)
        if trouble:
            return trouble
    for one, other in ONE_OF_TWO:
        if one in given and other in given:
            return f"give '{one}' or '{other}', not both"
    numbers = {**scalars(base), **given}
    if numbers[LAYERS] != round(numbers[LAYERS]):
        return f"'{LAYERS}' is {numbers[LAYERS]:g}, not a whole number"
    for region, electrode in zip(REGIONS[::2], ELECTRODES, strict=True):
        parts = (f"{region} porosity", f"{region} active material volume fraction")
        total = sum(numbers[p] for p in parts)
        if total > 1.0 + 1e-6:
            return (
                f"{electrode.lower()} electrode: porosity and active fraction add up to {total:g}"
            )
        name = f"concentration in {electrode.lower()} electrode [mol.m-3]"
        if given.get(f"Initial {name}", 0.0) > numbers[f"Maximum {name}"]:
            return f"'Initial {name}' is above the maximum, {numbers[f'Maximum {name}']:g}"
    if numbers["Lower voltage cut-off [V]"] >= numbers["Upper voltage cut-off [V]"]:
        return "the lower voltage cut-off is not below the upper one"
    return None


def out_of_range(name: str, value: float) -> str | None:
    """Why a value of a parameter makes no sense; None where it does, or its range is not known."""
    for pattern, least, greatest, unit in RANGES:
        if re.search(pattern, name):
            if least <= value <= greatest:
                return None
            return (
                f"'{name}' is {value:g}, outside {least:g} to {greatest:g} ({unit}); "
                "is the unit right?"
            )
    return None


def _nearest_name(name: str, known: list[str]) -> str:
    """The nearest name, whatever its capitals; a few dozen names are no help as a list."""
    by_lower = {k.lower(): k for k in known}
    found = nearest(name.lower(), list(by_lower))
    if found.startswith("did you mean '"):
        return f"did you mean '{by_lower[found.split(chr(39))[1]]}'?"
    return "it is none of what a design can set"
