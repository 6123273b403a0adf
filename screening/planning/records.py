"""Rows of a plan back to the records they came from; a row that fails keeps its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ionbridge.screening.table import Row
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Label

if TYPE_CHECKING:
    from ionbridge.structures.records import Crystal, Hop

T = TypeVar("T")

LABEL = "#label"
"""What the id of a label has between that of its row and its number."""
ORIGIN = "crystal_id"
"""Key of a hop's row that names the crystal it was found in."""
_OWN_KEYS = ("status", "reason", "in_domain", ORIGIN)


def hop_of(row: Row) -> Hop:
    """The hop of a row."""
    from ionbridge.structures.io.json_records import hop_from_json

    return hop_from_json(_stripped(row))


def crystal_of(row: Row) -> Crystal:
    """The crystal of a row."""
    from ionbridge.structures.io.json_records import crystal_from_json

    return crystal_from_json(_stripped(row))


def composition_of(row: Row) -> ConductivityRow:
    """The composition of a row, as the row of a conductivity table."""
    from pymatgen.core import Composition

    cell = row.get("cell")
    return ConductivityRow(
        id=row["id"],
        formula=row["formula"],
        composition=Composition(row["formula"]),
        cell=None if cell is None else tuple(cell),
        space_group=row.get("space_group"),
        family=row.get("family"),
    )


def label_of(row: Row, quantity: str) -> ConductivityRow:
    """The composition of a row with its label, a quantity in log10."""
    fields = ("bound", "std", "temperature_K", "method", "source")
    named = {name: row[name] for name in fields if name in row}
    label = Label(quantity, row[quantity], **named)
    own = row["id"].rpartition(LABEL)[0]  # rows without a paper are dealt into folds by their id
    return replace(composition_of(row), id=own, label=label, doi=row.get("doi"))


def composition_in(crystal: Crystal) -> Row:
    """Content, cell and space group of a crystal, as a row of ``composition``.

    The crystal itself stays with it (``crystal``): what is measured of crystals is read from it.
    """
    from ionbridge.structures.features.conductor_descriptors import table_row
    from ionbridge.structures.io.json_records import crystal_to_json

    seen = table_row(crystal)
    return {
        "id": crystal.id,
        "formula": seen.composition.formula.replace(" ", ""),
        "cell": None if seen.cell is None else list(seen.cell),
        "space_group": seen.space_group,
        "family": crystal.family,
        "working_ion": crystal.working_ion,
        "crystal": crystal_to_json(crystal),
        "status": "ok",
    }


def failed(row: Row, reason: str) -> Row:
    """What becomes of a row that a step could not use."""
    return {"id": row["id"], "status": "failed", "reason": " ".join(str(reason).split())}


def with_unusable(rows: Sequence[Row], order: Sequence[str | Row]) -> list[Row]:
    """Rows with those of records that cannot be used, each before the rows of what came after it.

    Args:
        rows: Of the others, one or several a record.
        order: All records as they came: the id of one that can be used, the row of one that cannot.
    """
    place: dict[str, int] = {}
    unusable: list[tuple[int, Row]] = []
    for k, one in enumerate(order):
        if isinstance(one, str):
            place.setdefault(one, k)
        else:
            unusable.append((k, one))
    found: list[Row] = []
    n_before = 0
    for row in rows:
        own = place.get(row.get(ORIGIN) or row["id"], -1)
        while n_before < len(unusable) and unusable[n_before][0] < own:
            found.append(unusable[n_before][1])
            n_before += 1
        found.append(row)
    return [*found, *(row for _, row in unusable[n_before:])]


def usable(rows: Sequence[Row]) -> list[Row]:
    """Rows that earlier steps did not give up."""
    return [row for row in rows if row.get("status", "ok") == "ok"]


def row_by_row(rows: Sequence[Row], step: Callable[[Row], Row]) -> list[Row]:
    """A step applied to each row; one bad record of many is a row with a reason."""
    result = []
    for row in rows:
        if row.get("status", "ok") != "ok":
            result.append(failed(row, row.get("reason", "")))
            continue
        try:
            result.append(step(row))
        except Exception as error:  # any record may be bad in its own way
            result.append(failed(row, _reason(error)))
    return result


def _reason(error: Exception) -> str:
    known = isinstance(error, ValueError)
    return str(error) if known and str(error) else f"{type(error).__name__}: {error}"


def _stripped(row: Row) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in _OWN_KEYS}
