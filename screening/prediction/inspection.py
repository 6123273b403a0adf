"""What ``ionbridge inspect`` says of a file: each crystal as it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import spglib

from ionbridge.screening.execution.executor import TimeLimitExceededError, time_limit
from ionbridge.screening.table import Row, noted, readable_formula
from ionbridge.structures.bond_valence.bond_sums import bond_valences
from ionbridge.structures.chemistry import composition
from ionbridge.structures.crystals.geometry import check_geometry
from ionbridge.structures.crystals.symmetry import SYMPREC_A, from_spglib, spglib_cell
from ionbridge.structures.io.reading import InputRecord
from ionbridge.structures.records import Crystal, FailedRecord, UnusableStructureError

COLUMNS = (
    "id",
    "formula",
    "formula_stated",
    "n_sites",
    "n_atoms",
    "volume_A3",
    "partial_occupancies",
    "space_group",
    "space_group_stated",
    "working_ion",
    "bond_valence_sums_vu",
    "global_instability_index_vu",
    "status",
    "reason",
    "note",
)
TIME_LIMIT_S = 20.0
"""For one crystal: thousands of atoms keep their row without what takes longer."""


def inspected(record: InputRecord) -> Row:
    """The row of a record: what was read, or why nothing."""
    if isinstance(record, FailedRecord):
        seen = {} if record.read is None else inspected(replace(record.read, id=record.id))
        return {
            "formula": record.formula or None,
            **seen,
            "id": record.id,
            "status": "failed",
            "reason": record.reason,
        }
    if not isinstance(record, Crystal):
        return {
            "id": record.id,
            "formula": getattr(record, "formula", None),
            "working_ion": getattr(record, "working_ion", None),
            "status": "ok",
            "note": "a hop or a row of a table: read, nothing to compare it with",
        }
    total = record.composition.as_dict()
    row: Row = {
        "id": record.id,
        "formula": readable_formula(record.formula),
        "formula_stated": record.extra.get("formula_stated"),
        "n_sites": record.n_sites,
        "n_atoms": float(sum(total.values())),
        "volume_A3": record.volume_A3,
        "partial_occupancies": _partial(record),
        "space_group_stated": record.extra.get("space_group_stated"),
        "status": "ok",
    }
    notes = list(record.notes)
    try:
        with time_limit(TIME_LIMIT_S):
            check_geometry(record)
            row["space_group"] = _space_group(record)
            row["working_ion"] = composition.working_ion(record)
            found = bond_valences(record)
            row["bond_valence_sums_vu"] = ", ".join(
                f"{symbol} {value:.2f} of {found.states_vu[symbol]:.4g}"
                for symbol, value in found.sums_vu.items()
            )
            row["global_instability_index_vu"] = found.global_instability_index_vu
    except (UnusableStructureError, TimeLimitExceededError) as error:
        reason = str(error).removeprefix(f"{record.id}: ")
        if "space_group" in row and row.get("working_ion"):
            notes.append(f"no bond-valence sums: {reason}")
        else:
            row |= {"status": "failed", "reason": reason}
    row["note"] = noted(notes)
    return row


def _partial(crystal: Crystal) -> str | None:
    """Contents of sites that are shared or partly filled, with their number."""
    counts: dict[str, int] = {}
    for site in crystal.species:
        if len(site) > 1 or abs(sum(site.values()) - 1) > 1e-6:
            text = "+".join(f"{s} {n:.4g}" for s, n in site.items())
            counts[text] = counts.get(text, 0) + 1
    return ", ".join(f"{n} x ({text})" for text, n in counts.items()) or None


def _space_group(crystal: Crystal) -> str:
    """Symbol and number that spglib finds."""
    found: Any = from_spglib(spglib.get_spacegroup, spglib_cell(crystal), symprec=SYMPREC_A)
    return str(found) if found else "none found"


def as_text(rows: Sequence[Row]) -> str:
    """The rows as a readable list, a block a record, empty fields left out."""
    width = max(map(len, COLUMNS))
    blocks = []
    for row in rows:
        lines = []
        for column in COLUMNS:
            value = row.get(column)
            if value is None or value == "":
                continue
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            lines.append(f"{column:<{width}}  {shown}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
