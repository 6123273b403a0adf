"""A plain program that follows the skills: it reads a question by its words and calls the tools.

It knows quantities by their usual names, values by their units, files by their names in the
workspace, and no task: whatever it cannot read ends in a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymatgen.core import Composition

from ionbridge.screening.agents.answers import EXTRAPOLATION
from ionbridge.screening.agents.caller import Caller
from ionbridge.screening.agents.tools import call_tool
from ionbridge.screening.errors import InputError
from ionbridge.structures.quantities import QUANTITIES
from ionbridge.structures.records import WORKING_IONS

GOALS: tuple[tuple[str, str], ...] = (
    (r"specific energy", "specific_energy"),
    (r"gravimetric capacity|mAh/g", "gravimetric_capacity"),
    (r"how many years", "years_of_service"),
    (r"how many cycles", "cycle_life"),
    (r"lose|fade", "capacity_fade"),
    (r"kWh cost that it delivers|cost.*in its life", "throughput_cost"),
    (r"cost.*kWh", "capacity_cost"),
    (r"in a day", "delivered_energy"),
    (r"mass an area", "coating_mass"),
    (r"porosity", "electrode_porosity"),
    (r"loading", "loading"),
    (r"conductivity", "conductivity"),
    (r"diffusivity", "diffusivity"),
    (r"percolation barrier", "percolation_barrier"),
    (r"barrier", "migration_barrier"),
    (r"energy", "cell_energy"),
    (r"capacity", "cell_capacity"),
)
"""Words of a question, and the goal that they mean; the first that fits is taken."""
GIVEN: tuple[tuple[str, str], ...] = (
    (r"carrier density", "carrier_density"),
    (r"chemical diffusivity", "chemical_diffusivity"),
    (r"diffusivity", "diffusivity"),
    (r"conductivity", "conductivity"),
    (r"voltage", "voltage"),
    (r"cycle life", "cycle_life"),
    (r"cell energy", "cell_energy"),
)
NUMBER = r"(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
UNITS = r"((?:cm2/s|m2/s|mS/cm|S/cm|S/m|cm-3|m-3|kWh|Wh|mV|V|cycles)(?![\w/]))"
BEST = re.compile(r"\b(?:which|in which) (?:of the|design)", re.IGNORECASE)
LARGEST = re.compile(r"\bmost\b|highest|largest", re.IGNORECASE)
REFUSING = re.compile(r"is outside its domain: .*(?:outside \S+ to|unseen ion)")
PATIENCE_CALLS = 40
RELATIVE_TIE = 1.0
"""Rows closer than so many spreads are named together."""


@dataclass(frozen=True)
class Reading:
    """What a question says.

    Attributes:
        goal: Quantity that it asks for; empty where none is understood.
        values: Given values and chemistries.
        files: Files and folders of the workspace that it names.
        temperature_K: None where it says none.
        c_rates: All that it names, in their order.
        unit: Unit that it asks the answer in; empty where it says none.
    """

    goal: str
    values: tuple[str, ...]
    files: tuple[str, ...]
    temperature_K: float | None
    c_rates: tuple[float, ...]
    unit: str


def read(question: str, listed: Sequence[str]) -> Reading:
    """A question by its words."""
    sentences = re.split(r"(?<=[.?:])\s+", question)
    asked = next((s for s in reversed(sentences) if s.rstrip().endswith("?")), question)
    goal = next((goal for words, goal in GOALS if re.search(words, asked, re.IGNORECASE)), "")
    celsius = re.search(rf"{NUMBER} degrees Celsius", question)
    kelvin = re.search(rf"{NUMBER} K\b", question)
    temperature_K = float(kelvin[1]) if kelvin else None
    if celsius:
        temperature_K = float(celsius[1]) + 273.15
    rates = tuple(float(rate) for rate in re.findall(r"(\d+(?:\.\d+)?)C\b", question))
    wanted = re.search(rf"\bin {UNITS}", asked)
    return Reading(
        goal,
        (*_values(question), *_chemistries(question)),
        tuple(f for f in listed if re.search(rf"\b{re.escape(f.rstrip('/'))}\b", question)),
        temperature_K,
        rates,
        wanted[1] if wanted else "",
    )


def _values(question: str) -> list[str]:
    """Given values, each under the name that stands before it."""
    found = []
    for match in re.finditer(rf"{NUMBER} {UNITS}", question):
        before = question[: match.start()]
        near = [
            (before.rfind(words) + len(words), len(words), name)
            for words, name in GIVEN
            if words in before
        ]
        if near:
            found.append(f"{max(near)[2]}={match[1]} {match[2]}")
    return found


def _chemistries(question: str) -> list[str]:
    found = [f"chemistry:{name}" for name in re.findall(r"\b(LFP|LCO|NMC)\b", question)]
    for word in re.findall(r"\b[A-Z][A-Za-z0-9.()]*\d[A-Za-z0-9.()]*", question):
        text = word.rstrip(".")
        try:
            composition = Composition(text)
        except ValueError:
            continue
        if any(composition[ion] for ion in WORKING_IONS):
            found.append(f"chemistry:{text}")
    return found


def answer(question: str, caller: Caller) -> str:
    """Work on a question with the tools, and answer as the skills say."""
    listed = call_tool(caller, "list_files", {})
    paths = [e["path"] for e in listed.data["entries"] if not e["path"].startswith("jobs")]
    reading = read(question, [path.rstrip("/") for path in paths])
    try:
        if "cannot be read" in question:
            return _unreadable(reading, caller)
        if BEST.search(question) and reading.goal != "migration_barrier":
            return _best(question, reading, caller)
        if not reading.goal:
            return _refused("the question names no quantity that can be reached")
        if len(reading.c_rates) > 1:
            return _ratio(reading, caller)
        return _reached(question, reading, caller)
    except InputError as error:
        return _refused(str(error))


def _refused(reason: str, warnings: Sequence[str] = ()) -> str:
    return "\n".join([*warnings, f"ANSWER: refused: {reason}"])


def _done(caller: Caller, tool: str, arguments: Mapping[str, Any]) -> Any:
    """The result of a job, waited for."""
    made = call_tool(caller, tool, {**arguments, "wait_s": 50})
    for _ in range(PATIENCE_CALLS):
        job = made.data.get("job")
        if job is None or made.data.get("state") not in ("queued", "running"):
            break
        call_tool(caller, "job_status", {"job": job, "wait_s": 50})
        made = call_tool(caller, "job_result", {"job": job})
    return made


def _conditions(reading: Reading, c_rate: float | None = None) -> dict[str, Any]:
    rate = c_rate if c_rate is not None else next(iter(reading.c_rates), None)
    return {"temperature_K": reading.temperature_K, "c_rate": rate}


def _planned(reading: Reading, c_rate: float | None = None) -> dict[str, Any]:
    return {
        "goal": reading.goal,
        "files": list(reading.files),
        "values": list(reading.values),
        **_conditions(reading, c_rate),
    }


def _unreadable(reading: Reading, caller: Caller) -> str:
    found = _done(caller, "describe_data", {"inputs": list(reading.files)})
    failed = found.data.get("failed", [])
    lines = [f"{row['id']}: {row['reason']}" for row in failed]
    names = ", ".join(row["id"] for row in failed) or "none"
    return "\n".join([*lines, f"ANSWER: {names}"])


def _best(question: str, reading: Reading, caller: Caller) -> str:
    """The first row by a column, and those that its spread does not tell apart."""
    is_cell = reading.goal.startswith("cell_")
    if is_cell:
        found = _done(caller, "execute_plan", _planned(reading))
    else:
        arguments = {"inputs": list(reading.files), "temperature_K": reading.temperature_K}
        found = _done(caller, "predict", arguments)
    table = next(f for f in found.data["files"] if f.endswith(("s.csv", "result.csv")))
    column = QUANTITIES[reading.goal].column
    lowest = "barrier" in reading.goal and not LARGEST.search(question)
    arguments = {"path": table, "sort_by": column, "descending": not lowest, "only_ok": True}
    rows = call_tool(caller, "read_table", arguments)
    first = rows.data["rows"][0]
    top, spread = _number(first[column]), _spread(first[column])
    near = [
        row["id"]
        for row in rows.data["rows"][1:]
        if abs(_number(row[column]) - top) < RELATIVE_TIE * (spread or 0.0)
    ]
    lines = [*rows.warnings, f"{first['id']}: {column} {first[column]}"]
    if near:
        lines.append(f"within its spread, and so uncertain to be worse: {', '.join(near)}")
    return "\n".join([*lines, f"ANSWER: {first['id']}"])


def _ratio(reading: Reading, caller: Caller) -> str:
    """A capacity at the last rate named over that at the first, or the other way round."""
    low, high = sorted(reading.c_rates[:2])
    values, warnings = [], []
    for rate in (low, high):
        found = _done(caller, "execute_plan", _planned(reading, rate))
        values.append(_number(found.data["rows"][0][QUANTITIES[reading.goal].column]))
        warnings += found.warnings
    lines = [*dict.fromkeys(warnings), f"{values[1]:g} at {high:g}C, {values[0]:g} at {low:g}C"]
    return "\n".join([*lines, f"ANSWER: {values[1] / values[0]:.4g}"])


def _reached(question: str, reading: Reading, caller: Caller) -> str:
    """A goal through a plan, unless the plan says that it is beyond what is known."""
    found = _done(caller, "execute_plan", _planned(reading))
    beyond = [w for w in found.warnings if REFUSING.search(w)]
    if beyond:
        return _refused(beyond[0], found.warnings)
    if not found.data["plan"]["steps"]:
        return _refused(f"{reading.goal} is only given, nothing is to be computed")
    column = QUANTITIES[reading.goal].column
    rows = [row for row in found.data["rows"] if not str(row.get("note", "")).startswith("FAILED")]
    formula = next((v.partition(":")[2] for v in reading.values if "chemistry" in v), "")
    asked = re.search(r"of ([A-Z][A-Za-z0-9()]*\d[A-Za-z0-9()]*)", question)
    named = [row for row in rows if asked and row["id"] == asked[1]] or rows
    if not rows:
        return _refused(found.summary, found.warnings)
    warnings = list(found.warnings)
    if BEST.search(question):
        row = min(rows, key=lambda row: _number(row[column]))
        return "\n".join([*warnings, f"{column} {row[column]}", f"ANSWER: {row['id']}"])
    row = named[0]
    if any(EXTRAPOLATION in w for w in warnings) and formula and not named:
        return _refused(warnings[0], warnings)
    text, unit = _in_unit(row[column], reading)
    return "\n".join([*warnings, f"{row['id']}: {column} {row[column]}", f"ANSWER: {text} {unit}"])


def _in_unit(cell: str, reading: Reading) -> tuple[str, str]:
    """A value as the question wants it: no logarithm, in the unit that it names."""
    known = QUANTITIES[reading.goal]
    value, unit = _number(cell), known.unit
    if unit.startswith("decades of "):
        value, unit = 10.0**value, unit.removeprefix("decades of ")
    factors = {("S/cm", "mS/cm"): 1e3, ("cm2/s", "m2/s"): 1e-4}
    factor = factors.get((unit, reading.unit))
    if factor is not None:
        value, unit = value * factor, reading.unit
    return f"{value:.4g}", unit


def _number(cell: str) -> float:
    return float(str(cell).split("±")[0])


def _spread(cell: str) -> float | None:
    parts = str(cell).split("±")
    return float(parts[1]) if len(parts) > 1 else None
