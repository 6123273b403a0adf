"""The rows and columns of ``ranked.csv``; one place for their names."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ionbridge.structures.records import Crystal, FailedRecord

Row = dict[str, Any]

COLUMNS = (
    "rank",
    "candidate_id",
    "formula",
    "working_ion",
    "role",
    "family",
    "source",
    "percolation_barrier_eV",
    "percolation_barrier_std_eV",
    "percolation_barrier_2d_eV",
    "percolation_barrier_3d_eV",
    "percolation_dimensionality",
    "fast_direction",
    "percolating_hops",
    "temperature_K",
    "log10_diffusivity_cm2_s",
    "log10_diffusivity_std",
    "log10_diffusivity_q05",
    "log10_diffusivity_q95",
    "log10_conductivity_S_cm",
    "log10_conductivity_std",
    "log10_conductivity_q05",
    "log10_conductivity_q95",
    "carrier",
    "carrier_density_cm3",
    "n_sites",
    "n_hops",
    "energy_above_hull_eV_atom",
    "band_gap_eV",
    "score",
    "pareto_front",
    "in_domain",
    "status",
    "reason",
    "why",
    "model",
    "barrier_fidelity",
    "barrier_error_eV",
    "refine_reason",
)
"""Columns of ``ranked.csv`` in their order."""

STD_COLUMN = {
    "percolation_barrier_eV": "percolation_barrier_std_eV",
    "log10_diffusivity_cm2_s": "log10_diffusivity_std",
    "log10_conductivity_S_cm": "log10_conductivity_std",
}
"""Column of the spread that belongs to a column; other columns count as exact."""

NUMERIC_COLUMNS = (
    "percolation_barrier_eV",
    "percolation_barrier_2d_eV",
    "percolation_barrier_3d_eV",
    "percolation_dimensionality",
    "log10_diffusivity_cm2_s",
    "log10_conductivity_S_cm",
    "carrier_density_cm3",
    "n_sites",
    "energy_above_hull_eV_atom",
    "band_gap_eV",
)
"""Columns that an objective may name."""

CARRIED_VALUES = ("energy_above_hull_eV_atom", "band_gap_eV")
"""Keys of a record that go into the table where they are present."""


def crystal_row(crystal: Crystal, **values: Any) -> Row:
    """A row of a crystal, every column present, with the given values filled in."""
    row: Row = dict.fromkeys(COLUMNS)
    row.update(
        candidate_id=crystal.id,
        formula=readable_formula(crystal.formula),
        working_ion=crystal.working_ion,
        role=crystal.role,
        family=crystal.family,
        source=crystal.source,
        n_sites=crystal.n_sites,
        **{key: crystal.extra.get(key) for key in CARRIED_VALUES},
    )
    row.update(values)
    return row


def readable_formula(formula: str) -> str:
    """A formula with its fractional amounts to four digits and no ones, as in ``Li0.3333CoO2``."""
    short = re.sub(r"\d+\.\d+", lambda amount: f"{float(amount[0]):.4g}", formula)
    return re.sub(r"(?<![\d.])1(?![\d.])", "", short)


def failed_row(record: Crystal | FailedRecord, reason: str) -> Row:
    """The row of a record that could not be predicted."""
    reason = " ".join(reason.split())
    if isinstance(record, Crystal):
        return crystal_row(record, status="failed", reason=reason)
    row: Row = dict.fromkeys(COLUMNS)
    row.update(
        candidate_id=record.id, formula=record.formula or None, status="failed", reason=reason
    )
    return row


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The rows as CSV text; missing values are empty, truth values ``true`` and ``false``."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(c)) for c in columns] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> str:
    """One value as text; floats with six significant digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
