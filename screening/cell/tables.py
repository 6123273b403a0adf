"""``kpis.csv`` and ``curves.csv``: what a batch of simulated or predicted discharges writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ionbridge.screening.cell.protocols import CellProtocol
from ionbridge.screening.cell.simulation import RESULTS
from ionbridge.screening.execution.shards import write_atomically
from ionbridge.screening.table import Row, csv_lines

KPIS_FILE, CURVES_FILE = "kpis.csv", "curves.csv"

KPI_COLUMNS = (
    "design_id",
    "base_cell",
    "c_rate",
    "temperature_K",
    "capacity_Ah",
    "capacity_std_Ah",
    "energy_Wh",
    "energy_std_Wh",
    "mean_voltage_V",
    "mean_voltage_std_V",
    *RESULTS[3:],
    "capacity_std_surrogate_Ah",
    "energy_std_surrogate_Wh",
    "experiment",
    "in_domain",
    "status",
    "reason",
)
"""Spreads are the sums of the surrogate's own (a simulation's: its mesh's) and of the model against
experiment; ``experiment`` says by what. A simulation has no domain: that column stays empty."""

CURVE_COLUMNS = ("design_id", "discharge_capacity_Ah", "voltage_V")

FITTED_KPI_COLUMNS = (
    *KPI_COLUMNS[:6],
    "capacity_Ah_lower",
    "capacity_Ah_upper",
    *KPI_COLUMNS[6:10],
    *KPI_COLUMNS[-3:],
)
FITTED_CURVE_COLUMNS = (*CURVE_COLUMNS, "voltage_V_lower", "voltage_V_upper")
"""Of a fitted cell: intervals are 90 %, model against experiment."""


def write_fitted_tables(rows: Sequence[Row], folder: Path) -> None:
    """Both tables of a fitted cell.

    Args:
        rows: One a C-rate, ``curve`` with the columns of its points where it is predicted.
        folder: Where they go.
    """
    write_atomically(folder / KPIS_FILE, csv_lines(rows, FITTED_KPI_COLUMNS))
    points: list[Row] = []
    for row in rows:
        columns = row.get("curve", {})
        names = FITTED_CURVE_COLUMNS[1:]
        points += [
            {"design_id": row["design_id"], **dict(zip(names, values, strict=True))}
            for values in (zip(*(columns[n] for n in names), strict=True) if columns else ())
        ]
    write_atomically(folder / CURVES_FILE, csv_lines(points, FITTED_CURVE_COLUMNS))


def protocol_columns(protocol: CellProtocol) -> tuple[str, ...]:
    """Columns of ``kpis.csv`` for another protocol than the discharge."""
    return (*KPI_COLUMNS[:4], *protocol.columns, "experiment", "status", "reason")


def write_tables(rows: Sequence[Row], folder: Path, columns: Sequence[str] | None = None) -> None:
    """Write both tables of a batch.

    Args:
        rows: One a design, ``voltage_V`` at even shares of ``capacity_Ah`` where it is solved.
        folder: Where they go.
        columns: Of ``kpis.csv``; with columns of its own a batch has no curves.
    """
    write_atomically(folder / KPIS_FILE, csv_lines(rows, columns or KPI_COLUMNS))
    if columns is not None:
        return
    points = [point for row in rows if row["status"] == "ok" for point in _curve(row)]
    write_atomically(folder / CURVES_FILE, csv_lines(points, CURVE_COLUMNS))


def _curve(row: Row) -> list[Row]:
    """The points of one discharge curve."""
    volts = row["voltage_V"]
    charges = row["capacity_Ah"] * np.linspace(0.0, 1.0, len(volts))
    return [
        {"design_id": row["design_id"], "discharge_capacity_Ah": float(q), "voltage_V": float(v)}
        for q, v in zip(charges, volts, strict=True)
    ]
