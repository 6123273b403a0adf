"""Designs: which cell is discharged how, read from a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ionbridge.screening.cell.base_cells import BASE_CELLS, base_cell, is_base_cell
from ionbridge.screening.cell.inputs import check_names, problem
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import given_table
from ionbridge.structures.configuration import nearest

KEYS = ("design_id", "base_cell", "c_rate", "temperature_K")
"""Columns of a designs table that are no parameters."""

REFERENCE_K = 298.15
"""Where a table has no column ``temperature_K``."""

FASTEST, SLOWEST = 100.0, 1e-3
"""C-rates between which a discharge makes sense."""


@dataclass(frozen=True)
class Design:
    """One discharge at constant current and temperature from full charge to the lower cut-off.

    Attributes:
        design_id: Name of the row.
        base_cell: Name of the base cell.
        c_rate: Current over the base cell's nominal capacity.
        temperature_K: Ambient and initial.
        parameters: Values that replace the base cell's, by the names of ``inputs``, SI.
        trouble: Why the row cannot be used; empty where it can.
    """

    design_id: str
    base_cell: str
    c_rate: float
    temperature_K: float = REFERENCE_K
    parameters: Mapping[str, float] = field(default_factory=dict)
    trouble: str = ""

    def to_dict(self) -> dict[str, Any]:
        """One flat row, parameters beside the keys; None for what is no finite number."""
        numbers = {"c_rate": self.c_rate, "temperature_K": self.temperature_K, **self.parameters}
        return {
            "design_id": self.design_id,
            "base_cell": self.base_cell,
            **{name: float(v) if math.isfinite(v) else None for name, v in numbers.items()},
        }


def check(design: Design) -> Design:
    """The same design, with ``trouble`` where it cannot be simulated."""
    if design.trouble:
        return design
    trouble = ""
    if not SLOWEST <= design.c_rate <= FASTEST:
        trouble = f"c_rate is {design.c_rate:g}, outside {SLOWEST:g} to {FASTEST:g}"
    elif not 233.0 <= design.temperature_K <= 343.0:
        trouble = f"temperature_K is {design.temperature_K:g}, outside 233 to 343"
    else:
        trouble = problem(design.base_cell, design.parameters) or ""
    return Design(
        design.design_id,
        design.base_cell,
        design.c_rate,
        design.temperature_K,
        design.parameters,
        trouble,
    )


def read_designs(path: Path) -> list[Design]:
    """Designs of a CSV table, one each row; a row that cannot be used says why.

    An empty cell leaves the base cell's value.

    Raises:
        InputError: The table cannot be read, has no rows, lacks a column, or has one that is no
            parameter.
    """
    columns, rows = given_table(path, ("design_id", "base_cell", "c_rate"))
    if not rows:
        raise InputError(f"{path}: no designs in it")
    named = {str(row["base_cell"]).strip() for row in rows}
    bases = sorted(name for name in named if is_base_cell(name))
    if not bases:
        base_cell(min(named))
    check_names([c for c in columns if c and c not in KEYS], bases)
    seen: set[str] = set()
    designs = []
    for number, row in enumerate(rows, start=1):
        design = _design(row, number)
        if design.design_id in seen:
            design = Design(
                design.design_id,
                design.base_cell,
                design.c_rate,
                design.temperature_K,
                {},
                "duplicate id",
            )
        seen.add(design.design_id)
        designs.append(check(design))
    return designs


def _design(row: Mapping[Any, Any], number: int) -> Design:
    """One row of the table."""
    values: dict[str, float] = {}
    trouble = "more cells than columns" if None in row else ""
    for key, text in row.items():
        if key in ("design_id", "base_cell") or not key or text is None or not text.strip():
            continue
        try:
            values[key] = float(text)
        except ValueError:
            trouble = trouble or f"'{key}' is '{text}', not a number"
            continue
        if not math.isfinite(values[key]):
            trouble = trouble or f"'{key}' is {text.strip()}, not a finite number"
    rate = values.pop("c_rate", math.nan)
    kelvin = values.pop("temperature_K", REFERENCE_K)
    if not trouble and math.isnan(rate):
        trouble = "c_rate is missing"
    base = str(row["base_cell"]).strip()
    if not is_base_cell(base):
        trouble = f"unknown base cell '{base}'; {nearest(base, list(BASE_CELLS))}"
    return Design(
        str(row["design_id"]).strip() or f"row{number}",
        base,
        rate,
        kelvin,
        values,
        trouble,
    )


def to_table(designs: Sequence[Design]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Rows and columns of designs, for a CSV file."""
    rows = [design.to_dict() for design in designs]
    return rows, tuple(dict.fromkeys([*KEYS, *(key for row in rows for key in row)]))
