"""Under which conditions a plan really computes: those asked for, and those that the givens state.

A design of a cell may state its own rate and temperature. What is asked for beside it must agree,
and what no step of the chain depends on is named, so that no header tells of a condition that the
value below it does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import Conditions, Entry
from ionbridge.screening.table import Row

DESIGN = "cell_design"
OPTIONS = {"temperature_K": "--temperature-K", "c_rate": "--c-rate"}
"""Conditions by their name, and how the command line calls them."""
DESIGN_K = 298.15
"""Temperature of a design that states none, where none is asked for: as ``cell predict`` has it."""

Tables = Mapping[str, Sequence[Row]]


def completed(tables: Tables, at: Conditions) -> dict[str, Sequence[Row]]:
    """The tables with the rate and temperature of every given design filled in."""
    found = dict(tables)
    if DESIGN in tables:
        found[DESIGN] = [_completed(row, at) for row in tables[DESIGN]]
    return found


def _completed(row: Row, at: Conditions) -> Row:
    if row.get("c_rate") is None:  # a named chemistry: under the conditions of the plan
        return {**row, "c_rate": at.c_rate, "temperature_K": at.temperature_K}
    if row.get("temperature_K") is None:  # a table without the column
        kelvin = at.temperature_K if "temperature_K" in at.asked else DESIGN_K
        return {**row, "temperature_K": kelvin}
    return row


def check_designs(entries: Sequence[Entry], tables: Tables, at: Conditions) -> None:
    """Refuse a condition that the given designs contradict.

    Raises:
        InputError: A design states another value than the one asked for.
    """
    if not any(DESIGN in entry.inputs for entry in entries):
        return
    for row in tables.get(DESIGN, ()):
        for name, option in OPTIONS.items():
            asked = getattr(at, name)
            if name in at.asked and row[name] != asked:
                raise InputError(
                    f"contradictory: {option} {asked:g} is asked for, design '{row['id']}' states "
                    f"{name} {row[name]:g}; leave out {option}, or change the designs"
                )


def values(name: str, entry: Entry, tables: Tables, at: Conditions) -> list[float]:
    """The values of a condition that an entry computes at, sorted."""
    if DESIGN in entry.inputs and tables.get(DESIGN):
        return sorted({float(row[name]) for row in tables[DESIGN]})
    return [float(getattr(at, name))]


def used(entries: Sequence[Entry], tables: Tables, at: Conditions) -> dict[str, list[float]]:
    """The values of every condition that a chain depends on."""
    found: dict[str, set[float]] = {}
    for entry in entries:
        for name in OPTIONS:
            if name in entry.conditions:
                found.setdefault(name, set()).update(values(name, entry, tables, at))
    return {name: sorted(found[name]) for name in OPTIONS if name in found}


def unused(found: Mapping[str, list[float]], at: Conditions) -> Iterator[str]:
    """A line for every condition that was asked for and changes nothing."""
    for name, option in OPTIONS.items():
        if name in at.asked and name not in found:
            yield f"{option} {getattr(at, name):g} is not used: no step of the chain depends on it"


def words(found: Mapping[str, list[float]]) -> str:
    """For a header: ``at 318.15 K, 3C``; several values as a range; empty where none is used."""
    parts = []
    for name, unit in (("temperature_K", " K"), ("c_rate", "C")):
        if name in found:
            low, high = found[name][0], found[name][-1]
            parts.append(f"{low:g}{unit}" if low == high else f"{low:g} to {high:g}{unit}")
    return f"at {', '.join(parts)}" if parts else ""
