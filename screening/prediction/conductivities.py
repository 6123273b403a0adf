"""Rows of a conductivity table to rows of results, from composition and what is known of the cell.

Thousands of rows take seconds: no worker is worth its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ionbridge.models.adaptation.few_shot_conductivities import FewLabelConductivity
from ionbridge.models.conductors.conductivity import ConductivityTrees
from ionbridge.screening.prediction.estimate import outside_measured
from ionbridge.screening.prediction.rows import each_or_failed, failed_prediction, predicted_rows
from ionbridge.screening.table import BY_COMPOSITION, BY_HOP_NETWORK, Row, noted
from ionbridge.structures.features.conductor_descriptors import cell_note, conductor_ion
from ionbridge.structures.io.reading import InputRecord
from ionbridge.structures.io.tables import ROOM_RANGE_K, ConductivityRow
from ionbridge.structures.quantities import QUANTITIES
from ionbridge.structures.records import WORKING_IONS, FailedRecord

ConductivityModel = ConductivityTrees | FewLabelConductivity
"""Models that start from a row of a table."""
CONDUCTIVITY = QUANTITIES["conductivity"]
CONDUCTIVITY_COLUMNS = (
    "id",
    "formula",
    *CONDUCTIVITY.columns(),
    "in_domain",
    "status",
    "reason",
    "note",
)
SOURCE_COLUMNS = (
    "conductivity_source",
    BY_COMPOSITION.column,
    BY_COMPOSITION.spread,
    BY_HOP_NETWORK.column,
    BY_HOP_NETWORK.spread,
)
"""What the estimate of a row with a CIF is made of; a row without has its composition alone."""
COLUMNS_WITH_SOURCES = (*CONDUCTIVITY_COLUMNS[:-3], *SOURCE_COLUMNS, *CONDUCTIVITY_COLUMNS[-3:])
FROM_CRYSTAL = {
    **dict(zip(CONDUCTIVITY.columns(), CONDUCTIVITY.columns("q05", "q95"), strict=True)),
    "in_domain": "in_domain",
    "reason": "reason",
    **{name: name for name in SOURCE_COLUMNS},
}
"""Columns of a table of conductivities, by their name in a table of crystals."""


def conductivity_rows(model: ConductivityModel, records: Sequence[InputRecord]) -> list[Row]:
    """One row a record, in their order."""
    rows = [r for r in records if isinstance(r, ConductivityRow)]
    found = iter(each_or_failed(rows, partial(_rows, model)))
    made = [next(found) if isinstance(r, ConductivityRow) else unusable(r) for r in records]
    return [
        {**row, "formula": getattr(r, "formula", None)}
        for row, r in zip(made, records, strict=True)
    ]


def with_crystal(row: Row, crystal: Row, own_model: bool) -> Row:
    """The row of a composition with what its crystal adds.

    Args:
        row: Of :func:`conductivity_rows`.
        crystal: Of the same record's crystal; failed where there is no CIF.
        own_model: The row is of a user's own model, which the shipped estimate does not replace.
    """
    composition = {
        "conductivity_source": "composition",
        BY_COMPOSITION.column: row.get(CONDUCTIVITY.column),
        BY_COMPOSITION.spread: row.get(CONDUCTIVITY.spread),
    }
    if row["status"] != "ok":
        return row
    if crystal["status"] != "ok":
        return {**row, **composition}
    if own_model:
        hops = {name: crystal[name] for name in SOURCE_COLUMNS if "hop_network" in name}
        return {**row, **composition, **hops}
    return {**row, **{name: crystal[c] for name, c in FROM_CRYSTAL.items()}}


def why_not_learnable(record: InputRecord) -> str:
    """Why a record teaches no conductivity at room temperature; empty for one that does."""
    low, high = ROOM_RANGE_K
    if not isinstance(record, ConductivityRow):
        return _why_unusable(record)
    if not any(record.composition[ion] > 0 for ion in WORKING_IONS):
        return "no working ion"
    label = record.label
    if label is None:
        return "no conductivity that is a positive number"
    if label.temperature_K is None or low <= label.temperature_K <= high:
        return ""
    return f"not measured at room temperature, {low:g} to {high:g} K"


def _rows(model: ConductivityModel, rows: Sequence[ConductivityRow]) -> list[Row]:
    found = predicted_rows(model, rows, CONDUCTIVITY.columns())
    return [
        {
            **row,
            "reason": None if row["in_domain"] else _outside(model, own),
            "note": noted((*own.notes, *_said_of(model, own))),
        }
        for row, own in zip(found, rows, strict=True)
    ]


def _outside(model: ConductivityModel, row: ConductivityRow) -> str | None:
    """Why a row lies outside the domain; None where the model is of a user's labels."""
    return outside_measured(model, row) if isinstance(model, ConductivityTrees) else None


def _said_of(model: ConductivityModel, row: ConductivityRow) -> tuple[str, ...]:
    """What is to be said of a row: its cell is not used, the model has not learnt from its ion."""
    cell, ion = cell_note(row), conductor_ion(row)
    known = not isinstance(model, ConductivityTrees) or ion in model.domains_
    return tuple(filter(None, (cell, "" if known else f"no conductor of {ion} was learnt from")))


def unusable(record: InputRecord) -> Row:
    """The row of what is no row of a table."""
    return failed_prediction(record, _why_unusable(record))


def _why_unusable(record: InputRecord) -> str:
    return record.reason if isinstance(record, FailedRecord) else "not a row of a table"
