"""CSV tables as people have them, and the rows of those of conductivities.

A row of a conductivity table is a composition, the cell as far as known, and the measured value.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ionbridge.structures.io.file_text import MAX_FILE_MB, open_text
from ionbridge.structures.io.site_symbols import ELEMENT_SYMBOLS
from ionbridge.structures.plain_text import clean_text
from ionbridge.structures.records import Crystal, FailedRecord, Label, split_bound

if TYPE_CHECKING:  # a second that those who only name rows do not need
    from pymatgen.core import Composition

CONDUCTIVITY_COLUMNS = ("Ionic conductivity (S cm-1)", "Ionic conductivity (S/cm)")
COMPOSITION_COLUMNS = ("True Composition", "Reduced Composition", "Formula", "composition")
ID_COLUMNS = ("ID", "id")
LATTICE_COLUMNS = ("a", "b", "c", "alpha", "beta", "gamma")
SPACE_GROUP_COLUMNS = ("Space group #", "Space group number", "Spacegroup")
FAMILY_COLUMNS = ("Family", "Type")
DOI_COLUMNS = ("DOI", "Source")
_USED_COLUMNS = frozenset(
    {*ID_COLUMNS, *COMPOSITION_COLUMNS, *CONDUCTIVITY_COLUMNS, *LATTICE_COLUMNS}
    | {*SPACE_GROUP_COLUMNS, *FAMILY_COLUMNS, *DOI_COLUMNS, "temperature_K"}
)
QUANTITY = "log10_conductivity_S_cm"
ROOM_RANGE_K = (288.0, 308.0)
"""Temperatures that count as room temperature, which labels are measured at."""

Cells = dict[str, str]
"""Text of a row by column; None where the row is short, under None what goes beyond the columns."""


def is_room_temperature(temperature_K: float) -> bool:
    """Whether a conductivity of this temperature counts as measured at room temperature."""
    low, high = ROOM_RANGE_K
    return low <= temperature_K <= high


@contextmanager
def open_table(
    path: Path, max_MB: float = MAX_FILE_MB
) -> Iterator[tuple[tuple[str, ...], Iterator[Cells]]]:
    """Columns of a CSV file and its rows, one after the other; unpacked and decoded.

    Args:
        path: The file, packed or not.
        max_MB: Largest that is read, after unpacking.

    Raises:
        OSError: The file cannot be read, or is too large.
        ValueError: It is no table; what is wrong, and in which row.
    """
    with open_text(path, max_MB) as stream:
        reader = csv.DictReader(stream)
        try:
            columns = tuple(str(name).strip() for name in reader.fieldnames or ())
            reader.fieldnames = list(columns)
            yield columns, _counted(reader)
        except csv.Error as error:
            raise ValueError(f"no table ({error})") from error


def _counted(reader: csv.DictReader[str]) -> Iterator[Cells]:
    done = 0
    try:
        for row in reader:
            yield row
            done += 1
    except csv.Error as error:
        raise ValueError(f"row {done + 1}: {error}") from error


def read_table(path: Path, needed: Sequence[str] = ()) -> tuple[tuple[str, ...], list[Cells]]:
    """Columns and all rows of a CSV file.

    Args:
        path: The file.
        needed: Columns that must be there.

    Raises:
        ValueError: The file cannot be read, is no table, or lacks a column.
    """
    try:
        with open_table(path) as (columns, rows):
            found = list(rows)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a table ({error})") from error
    for name in needed:
        if name not in columns:
            raise ValueError(
                f"{path}: column '{name}' is missing; expected {', '.join(needed)}, this table has "
                f"{', '.join(columns) or 'none'}"
            )
    return columns, found


@dataclass(frozen=True, eq=False)
class ConductivityRow:
    """One row of a conductivity table.

    Attributes:
        id: Unique name within its input.
        formula: Composition as the table writes it.
        composition: The same, parsed; amounts per cell or per formula unit as the table has them.
        cell: (a, b, c, alpha, beta, gamma) in angstrom and degrees, None where any is missing.
        space_group: International number, None where missing.
        label: log10 of the conductivity in S/cm, a value or a bound; None where missing.
        crystal: The structure, where a CIF of the row is at hand.
        family: Structural family as the table has it.
        doi: Source of the row.
        extra: The other columns that hold something.
        notes: What is to be known of how the row was read.
        measured_composition: What was measured, where the row is another form of it: an ordered
            cell of a disordered crystal, a computed cell.
    """

    id: str
    formula: str
    composition: Composition
    cell: tuple[float, float, float, float, float, float] | None = None
    space_group: int | None = None
    label: Label | None = None
    crystal: Crystal | None = None
    family: str | None = None
    doi: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    measured_composition: Composition | None = None


def is_conductivity_table(columns: Sequence[str]) -> bool:
    """True if the column names hold a composition that this module understands.

    The label column may be missing (a table of compositions to predict), a plain ``Formula``
    column alone suffices then.
    """
    return bool(set(COMPOSITION_COLUMNS[:3]) & set(columns))


def conductivity_row(row: Mapping[str, str], id: str) -> ConductivityRow | FailedRecord:
    """One row of the table, or why it cannot be used.

    Args:
        row: Column name to text.
        id: Used if the row has none.
    """
    given = {
        k.strip(): v.strip() for k, v in row.items() if isinstance(k, str) and isinstance(v, str)
    }
    given = {k: v for k, v in given.items() if v and v.lower() != "nan"}
    id = _first(given, ID_COLUMNS) or id
    shown = clean_text(id)
    if shown != id:
        return FailedRecord(shown, f"id '{shown[:80]}' holds characters that no table can carry")
    formula = _first(given, ("Reduced Composition", *COMPOSITION_COLUMNS))
    if formula is None:
        return FailedRecord(id, f"no composition (columns: {', '.join(COMPOSITION_COLUMNS)})")
    text = _first(given, COMPOSITION_COLUMNS) or formula
    try:
        composition = _composition(text)
    except ValueError as error:
        return FailedRecord(id, f"composition {text!r}: {error}", formula)
    stated = _first(given, SPACE_GROUP_COLUMNS)
    space_group = _space_group(stated)
    notes: tuple[str, ...] = ()
    if stated is not None and space_group is None:
        notes = (f"space group '{clean_text(stated)[:40]}' is no number from 1 to 230: not used",)
    cell, wrong = _cell(given)
    if wrong:
        notes = (*notes, f"cell: {wrong}: not used")
    return ConductivityRow(
        id=id,
        formula=formula,
        composition=composition,
        cell=cell,
        space_group=space_group,
        label=_label(given),
        family=_first(given, FAMILY_COLUMNS),
        doi=_first(given, DOI_COLUMNS),
        extra={k: v for k, v in given.items() if k not in _USED_COLUMNS},
        notes=notes,
    )


def composition_key(composition: Composition) -> tuple[tuple[str, float], ...]:
    """Atomic fractions to two digits: what counts as one composition across tables and crystals.

    Plain floats, so that keys of crystals (whose amounts are NumPy's) and of tables read alike.
    """
    total = composition.num_atoms
    shares = ((str(e), round(float(n / total), 2)) for e, n in composition.items())
    return tuple(sorted((symbol, share) for symbol, share in shares if share > 0))


def conductivity_label(
    text: str, temperature_K: float | None = None, source: str | None = None
) -> Label | None:
    """log10 of a conductivity such as ``1.6e-06`` or ``<1E-10`` (an upper bound), in S/cm.

    Returns:
        None if the text is no positive number.
    """
    bound, number = split_bound(text)
    try:
        value = float(number)
    except ValueError:
        return None
    if not (math.isfinite(value) and value > 0):
        return None
    return Label(
        quantity=QUANTITY,
        value=math.log10(value),
        bound=bound,
        temperature_K=temperature_K,
        method="experiment",
        source=source,
    )


def composition_difference(one: Composition, other: Composition) -> str:
    """How two compositions differ, up to their scale; empty if they agree within a twentieth."""
    ours, theirs = one.fractional_composition, other.fractional_composition
    alone = {str(e) for e in ours} ^ {str(e) for e in theirs}
    if alone:
        return f"{', '.join(sorted(alone))} in one of them only"
    worst = max(ours, key=lambda e: abs(ours[e] - theirs[e]))
    if abs(ours[worst] - theirs[worst]) <= 0.05 * max(ours[worst], theirs[worst]) + 0.005:
        return ""
    return f"{100 * theirs[worst]:.3g} % of its atoms are {worst}, not {100 * ours[worst]:.3g} %"


def _first(row: Mapping[str, str], columns: tuple[str, ...]) -> str | None:
    return next((row[c] for c in columns if c in row), None)


def _composition(text: str) -> Composition:
    from pymatgen.core import Composition

    try:
        composition = Composition(text)
    except Exception as error:  # pymatgen raises ValueError, KeyError, TypeError by turns
        raise ValueError("cannot be read as a formula") from error
    unknown = [e.symbol for e in composition if str(e) not in ELEMENT_SYMBOLS]
    if unknown:
        raise ValueError(f"unknown element {unknown[0]!r}")
    if not composition:
        raise ValueError("holds no atoms")
    return composition


def _cell(
    row: Mapping[str, str],
) -> tuple[tuple[float, float, float, float, float, float] | None, str]:
    """Lengths and angles, or None and what is wrong with those that are given."""
    missing = [c for c in LATTICE_COLUMNS if c not in row]
    if len(missing) == len(LATTICE_COLUMNS):
        return None, ""
    if missing:
        return None, f"{', '.join(missing)} missing"
    values = [_float(row[c]) for c in LATTICE_COLUMNS]
    for name, value in zip(LATTICE_COLUMNS, values, strict=True):
        highest, kind = (math.inf, "length") if name in LATTICE_COLUMNS[:3] else (180.0, "angle")
        if value is None or not 0.0 < value < highest:
            return None, f"{name} = '{clean_text(row[name])[:40]}' is no {kind}"
    a, b, c, alpha, beta, gamma = values
    return (a, b, c, alpha, beta, gamma), ""  # type: ignore[return-value]


def _space_group(text: str | None) -> int | None:
    number = _float(text or "")
    if number is None or number != int(number):
        return None
    return int(number) if 1 <= number <= 230 else None


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _label(row: Mapping[str, str]) -> Label | None:
    text = _first(row, CONDUCTIVITY_COLUMNS)
    temperature = _float(row.get("temperature_K", ""))
    return None if text is None else conductivity_label(text, temperature)
