"""Measured discharges of cells: ``cells.yaml`` and one CSV a curve.

``cells.yaml`` maps names of cells to what is known of them: ``chemistry: {positive, negative}``,
``working_ion``, ``nominal_capacity_Ah``, ``lower_cutoff_V``, ``upper_cutoff_V``, ``temperature_C``,
``electrode_area_m2`` (of one pair) and ``electrode_pairs_in_parallel``, ``parameter_set`` (a BPX
file, or a set of PyBaMM), ``curves: {FILE: {c_rate, direction}}``. Nothing but the chemistry is
required. Curves have the columns ``discharge_capacity_Ah`` and ``voltage_V`` and, where known,
``time_s``, ``current_A`` (positive on discharge) and ``temperature_C``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ionbridge.models.cells.cell_discrepancy import UNENDED_V
from ionbridge.models.cells.measured_cell import MeasuredCurve, slow_curves
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import given_table
from ionbridge.structures.configuration import nearest
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

ZERO_C_K = 273.15
ROOM_C = 25.0
AT_REST = 0.5
"""Part of the usual current below which a sample is at rest."""
STEADY = 0.05
"""Largest relative change of a current that counts as constant."""
LEAST_POINTS = 8
CUT_SHORT_V = 0.3
"""A slow curve that ends so far above the cut-off is not the whole discharge."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """One cell and its measured curves.

    Attributes:
        name: Of the cell.
        entry: What ``cells.yaml`` says of it.
        folder: Of ``cells.yaml``.
        nominal_Ah: Capacity that C-rates refer to.
        curves: At least one.
        files: Where the curves are from.
        notes: What was guessed, or left out.
    """

    name: str
    entry: Mapping[str, Any]
    folder: Path
    nominal_Ah: float
    curves: tuple[MeasuredCurve, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def read_experiment(cells: Path, name: str, files: Sequence[Path]) -> Experiment:
    """One cell of a ``cells.yaml`` with some of its curves.

    Args:
        cells: The YAML file.
        name: Of the cell.
        files: CSV files.

    Raises:
        InputError: A file cannot be read or stands there twice, an unknown cell, no usable curve,
            or a slow curve that does not reach the cell's lower cut-off.
    """
    entry = _entry(cells, name)
    twice = [p for i, p in enumerate(files) if p.resolve() in {f.resolve() for f in files[:i]}]
    if twice:
        raise InputError(f"--curves: {twice[0]} stands there twice; give each curve once")
    notes: list[str] = []
    celsius = _number(entry.get("temperature_C"), "temperature_C")
    if celsius is None:
        celsius = ROOM_C
        notes.append(f"temperature_C is not stated: taken as {ROOM_C:g}")
    nominal = _number(entry.get("nominal_capacity_Ah"), "nominal_capacity_Ah")
    raw = [_read(path) for path in files]
    if nominal is None:
        nominal = max(float(r["discharge_capacity_Ah"].max()) for r in raw)
        notes.append(f"nominal_capacity_Ah is not stated: taken as {nominal:.4g}, the largest here")
    if not 1e-7 <= nominal <= 1e5:
        raise InputError(f"{cells}: {name}: nominal_capacity_Ah is {nominal:g}, is the unit right?")
    lower = _number(entry.get("lower_cutoff_V"), "lower_cutoff_V")
    known = entry.get("curves") or {}
    curves, kept = [], []
    for path, columns in zip(files, raw, strict=True):
        about = known.get(path.name) if isinstance(known, Mapping) else None
        about = about if isinstance(about, Mapping) else {}
        direction = str(about.get("direction", "discharge"))
        if direction != "discharge":
            notes.append(f"{path.name}: a {direction} curve is left out; discharges are fitted")
            continue
        curve, own = _curve(path, columns, about, nominal, celsius + ZERO_C_K, lower)
        notes += own
        curves.append(curve)
        kept.append(path)
    if not curves:
        raise InputError(f"{name}: no discharge curve among {', '.join(p.name for p in files)}")
    if lower is None:
        lower = min(float(c.voltage_V[-1]) for c in curves)
        entry = {**entry, "lower_cutoff_V": lower}
        notes.append(f"lower_cutoff_V is not stated: {lower:.4g}, the lowest end of the curves")
    for curve in slow_curves(curves):
        end = float(curve.voltage_V[-1])
        if end > lower + CUT_SHORT_V:
            raise InputError(
                f"{name}: {curve.name} ends at {end:.3f} V, above the cut-off of {lower:g} V, so "
                "that it does not tell the cell's capacity; give the whole slow discharge, or "
                f"state lower_cutoff_V: {end:.2f} if that is where discharges end"
            )
        if end > lower + UNENDED_V:
            notes.append(
                f"{curve.name} ends at {end:.3f} V: nothing was measured from there to the cut-off "
                f"of {lower:g} V"
            )
    return Experiment(name, entry, cells.parent, nominal, tuple(curves), tuple(kept), tuple(notes))


def measured_cells(cells: Path) -> dict[str, list[Path]]:
    """Cells that have curves, with the files of these.

    Args:
        cells: The YAML file; curves of a cell lie in the folder of its name, or beside the file.

    Raises:
        InputError: The file cannot be read, or no cell in it has a curve.
    """
    found: dict[str, list[Path]] = {}
    for name, entry in _entries(cells).items():
        curves = entry.get("curves") if isinstance(entry, Mapping) else None
        for file in curves if isinstance(curves, Mapping) else ():
            places = (cells.parent / str(name) / str(file), cells.parent / str(file))
            found.setdefault(str(name), []).extend([p for p in places if p.is_file()][:1])
    found = {name: files for name, files in found.items() if files}
    if not found:
        raise InputError(
            f"{cells}: no cell with measured curves; expected what 'ionbridge cell fit' takes: "
            "names of cells, each with curves: {FILE.csv: {c_rate: C}}, and these files beside it"
        )
    return found


def _entry(cells: Path, name: str) -> Mapping[str, Any]:
    found = _entries(cells)
    if name not in found:
        raise InputError(f"{cells}: no cell '{name}'; {nearest(name, [str(k) for k in found])}")
    entry = found[name]
    if not isinstance(entry, Mapping):
        raise InputError(f"{cells}: {name}: expected keys such as chemistry, got {entry!r}")
    return entry


def _entries(cells: Path) -> Mapping[Any, Any]:
    try:
        found = yaml.safe_load(cells.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{cells}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{cells}: not a YAML file ({str(error).splitlines()[0]})") from error
    if not isinstance(found, Mapping):
        raise InputError(f"{cells}: expected cells by name, got {type(found).__name__}")
    return found


def _number(value: Any, what: str) -> float | None:
    """A finite number, None where nothing is stated.

    Raises:
        InputError: Something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{what} is {value!r}, expected a number")
    return float(value)


def _read(path: Path) -> dict[str, Floats]:
    """Columns of a curve as numbers; an empty cell is not a number."""
    names, rows = given_table(path)
    if "voltage_V" not in names or not {"discharge_capacity_Ah", "time_s"} & set(names):
        raise InputError(
            f"{path}: a curve has the columns voltage_V and discharge_capacity_Ah (or time_s and "
            f"current_A); this one has {', '.join(names) or 'none'}"
        )

    def value(text: Any) -> float:
        try:
            return float(text)
        except (TypeError, ValueError):
            return math.nan

    known = ("time_s", "current_A", "discharge_capacity_Ah", "voltage_V", "temperature_C")
    found = {n: np.array([value(row.get(n)) for row in rows]) for n in known if n in names}
    if "discharge_capacity_Ah" not in found:
        if "current_A" not in found:
            raise InputError(f"{path}: neither discharge_capacity_Ah nor current_A beside time_s")
        step = np.diff(found["time_s"], prepend=found["time_s"][:1])
        found["discharge_capacity_Ah"] = np.cumsum(found["current_A"] * step) / SECONDS_PER_HOUR
    usable = np.isfinite(found["discharge_capacity_Ah"]) & np.isfinite(found["voltage_V"])
    if usable.sum() < LEAST_POINTS:
        raise InputError(f"{path}: {int(usable.sum())} usable points, expected {LEAST_POINTS}")
    return {name: column[usable] for name, column in found.items()}


def _curve(
    path: Path,
    columns: Mapping[str, Floats],
    about: Mapping[str, Any],
    nominal_Ah: float,
    ambient_K: float,
    lower_V: float | None,
) -> tuple[MeasuredCurve, list[str]]:
    """The discharge in a table, without its rests, and notes."""
    notes, rest_V = [], None
    charge, volts = columns["discharge_capacity_Ah"], columns["voltage_V"]
    stated = _number(about.get("c_rate"), f"{path.name}: c_rate")
    current = columns.get("current_A", np.full(len(charge), np.nan))
    loaded = np.ones(len(charge), dtype=bool)
    measured = np.isfinite(current) & (np.abs(current) > 0.0)
    if measured.any():
        usual = float(np.median(current[measured]))
        if usual < 0.0:
            current, usual = -current, -usual
            notes.append(f"{path.name}: negative currents are taken as discharge")
        loaded = ~np.isfinite(current) | (current > AT_REST * usual)
        if (~loaded).any():
            notes.append(f"{path.name}: {int((~loaded).sum())} samples at rest are left out")
        begins = int(np.argmax(loaded))
        rest_V = float(volts[begins - 1]) if begins > 0 else None
        amperes = float(np.nanmedian(current[loaded]))
        spread = np.nanquantile(current[loaded], [0.05, 0.95])
        if (spread[1] - spread[0]) > 2 * STEADY * amperes:
            notes.append(
                f"{path.name}: the current is not constant ({spread[0]:.3g} to {spread[1]:.3g} A); "
                f"its median, {amperes:.4g} A, is used"
            )
    elif stated is not None:
        amperes = stated * nominal_Ah
        notes.append(f"{path.name}: no current in the file; {stated:g}C of {nominal_Ah:g} Ah")
    else:
        raise InputError(f"{path}: no current_A in it and no c_rate in cells.yaml")
    if not 1e-4 <= amperes / nominal_Ah <= 100.0:
        raise InputError(f"{path}: {amperes:.3g} A is {amperes / nominal_Ah:.3g}C; is that right?")
    order = np.argsort(charge[loaded], kind="stable")
    charge, volts = charge[loaded][order], volts[loaded][order]
    first = np.concatenate([[True], np.diff(charge) > 0.0])
    charge, volts = charge[first], volts[first]
    kelvin = None
    if "temperature_C" in columns:
        own = columns["temperature_C"][loaded][order][first]
        known = np.isfinite(own)
        if known.sum() >= LEAST_POINTS:
            kelvin = np.interp(charge, charge[known], own[known]) + ZERO_C_K
    if len(charge) < LEAST_POINTS or charge[-1] <= 0.0:
        raise InputError(f"{path}: no discharge in it: the charge does not rise")
    below = np.flatnonzero(volts <= (-np.inf if lower_V is None else lower_V))
    if len(below) and below[0] + 1 < len(volts):
        end = int(below[0]) + 1
        if end < LEAST_POINTS:
            raise InputError(
                f"{path}: {end - 1} points before the voltage falls to the cut-off of "
                f"{lower_V:g} V, expected {LEAST_POINTS}; is lower_cutoff_V right?"
            )
        notes.append(f"{path.name}: {len(volts) - end} samples below the cut-off are left out")
        charge, volts = charge[:end], volts[:end]
        kelvin = kelvin[:end] if kelvin is not None else None
    if volts[-1] > volts[0]:
        raise InputError(f"{path}: the voltage rises with discharge_capacity_Ah; is it a charge?")
    if charge[0] > 0.0:  # digitised: the beginning is missing
        slope = (volts[1] - volts[0]) / (charge[1] - charge[0])
        start = volts[0] - min(0.0, slope) * charge[0]
        charge, volts = np.concatenate([[0.0], charge]), np.concatenate([[start], volts])
        if kelvin is not None:
            kelvin = np.concatenate([kelvin[:1], kelvin])
    return MeasuredCurve(path.stem, amperes, charge, volts, ambient_K, kelvin, rest_V), notes
