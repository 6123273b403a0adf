"""Tables of cells in, tables of their lives out: early cycles of real cells, or ways of cycling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ionbridge.models.cells.ageing_rom import AgeingRom
from ionbridge.models.cells.cycle_life import CycleLife, LifeLine
from ionbridge.models.cells.formation_life import FormationLife
from ionbridge.models.cells.graphite import Cycling
from ionbridge.screening.cell.ageing_kpis import ageing_kpis, ageing_model, years_of_service
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import Row, given_table
from ionbridge.structures.sources.cell_ageing import EARLY_COLUMNS, early_cycles
from ionbridge.structures.sources.formation import LIFE, SIGNALS, formed_cell

LIFE_COLUMNS = (
    "cell",
    "cycle_life",
    "cycle_life_lower",
    "cycle_life_upper",
    "log10_cycle_life_std",
    "in_domain",
    "status",
    "reason",
)
"""Lower and upper are the ends of the 90 % interval."""
CYCLING_COLUMNS = tuple(Cycling.__dataclass_fields__)
AGEING_COLUMNS = (
    "id",
    "base_cell",
    *CYCLING_COLUMNS,
    "capacity_fade_percent",
    "capacity_fade_std_percent",
    "cycles_to_end",
    "cycles_to_end_lower",
    "cycles_to_end_upper",
    "years_of_service",
    "resistance_growth_percent",
    "sei_mAh",
    "sei_on_cracks_mAh",
    "plating_mAh",
    "active_material_mAh",
    "main_mechanism",
    "extrapolated",
    "in_domain",
    "status",
    "reason",
)
"""Fade, resistance and losses after 500 cycles; the end is at 80 % of the capacity."""
DUPLICATE = "duplicate id"
"""Of rows with one id the first is used."""


EARLY_NEEDED = tuple(name for name in EARLY_COLUMNS if not name.startswith("qmax"))
LIFE_TABLES: dict[str, tuple[tuple[str, ...], Callable[[dict[str, str]], Any]]] = {
    CycleLife.kind: (EARLY_NEEDED, lambda row: early_cycles({**row, "cycle_life": ""})),
    FormationLife.kind: (SIGNALS, lambda row: formed_cell({**row, LIFE: ""})),
}
"""Kind of model -> columns that its table needs, and what reads a row."""
SHIPPED = {CycleLife.kind: "cycle-life", FormationLife.kind: "formation-life"}


def life_model(path: Path) -> str:
    """Name of the shipped model that reads a table.

    Raises:
        InputError: The file cannot be read.
    """
    known = set(_read(path, ())[0])
    formed = known >= set(SIGNALS) and not known >= set(EARLY_NEEDED)
    return SHIPPED[FormationLife.kind if formed else CycleLife.kind]


def life_rows(path: Path, model: LifeLine[Any]) -> list[Row]:
    """Cycle lives of the cells of a table of early cycles, or of their formation.

    Args:
        path: CSV with the columns that LIFE_TABLES names for the model; capacities may be missing.
        model: A fitted model.

    Raises:
        InputError: The file cannot be read, or lacks a column.
    """
    needed, read = LIFE_TABLES[model.kind]
    rows: list[Row] = []
    usable: list[tuple[int, Any]] = []
    seen: set[str] = set()
    for k, given in enumerate(_read(path, needed)):
        name = (given.get("cell") or given.get("cellid") or "").strip() or f"#{k}"
        row: Row = dict.fromkeys(LIFE_COLUMNS, "") | {"cell": name}
        trouble = DUPLICATE if row["cell"] in seen else ""
        seen.add(row["cell"])
        try:
            record = read(given)
            trouble = trouble or model.trouble(record)
        except ValueError as error:
            trouble = trouble or str(error)
        if trouble:
            row |= {"status": "failed", "reason": trouble}
        else:
            row["status"] = "ok"
            usable.append((k, record))
        rows.append(row)
    if usable:
        records = [record for _, record in usable]
        ends = zip(*model.lives(records), strict=True)
        spread, far = model.predict(records).std, model.far_features(records)
        for (k, _), (life, low, high), std, why in zip(usable, ends, spread, far, strict=True):
            rows[k] |= {
                "cycle_life": float(life),
                "cycle_life_lower": float(low),
                "cycle_life_upper": float(high),
                "log10_cycle_life_std": float(std),
                "in_domain": not why,
                "reason": why,
            }
    return rows


def ageing_rows(path: Path) -> list[Row]:
    """Ageing KPIs of the cells of a table of ways of cycling.

    Args:
        path: CSV with ``id``, ``base_cell`` (a base that ages, or ``LCO``, ``LFP``), the settings
            of a `Cycling` and, optionally, ``cycles_per_day``.

    Raises:
        InputError: The file cannot be read, or lacks a column.
    """
    models: dict[str, AgeingRom] = {}
    rows: list[Row] = []
    seen: set[str] = set()
    for k, given in enumerate(_read(path, ["base_cell", *CYCLING_COLUMNS])):
        base = (given["base_cell"] or "").strip()
        row: Row = dict.fromkeys(AGEING_COLUMNS, "")
        row |= {"id": (given.get("id") or "").strip() or f"#{k}", "base_cell": base}
        try:
            if row["id"] in seen:
                raise InputError(DUPLICATE)
            seen.add(row["id"])
            numbers = {name: _number(given, name) for name in CYCLING_COLUMNS}
            row |= numbers
            per_day = _number(given, "cycles_per_day") if given.get("cycles_per_day") else None
            if base not in models:
                models[base] = ageing_model(base)
            cycling = Cycling(**numbers)
            found = ageing_kpis(models[base], cycling, cycles_per_day=per_day)
        except ValueError as error:
            rows.append(row | {"status": "failed", "reason": str(error)})
            continue
        kpis = asdict(found)
        lost = {
            f"{name.removesuffix('_Ah')}_mAh": value
            for name, value in kpis.pop("lithium_lost_mAh").items()
        }
        row |= {name: value for name, value in (kpis | lost).items() if name in row}
        if per_day is not None:
            row["years_of_service"] = years_of_service(found.cycles_to_end, per_day)
        reasons = (models[base].far_settings(cycling), found.note)
        rows.append(row | {"status": "ok", "reason": "; ".join(filter(None, reasons))})
    return rows


def _number(given: dict[str, str], name: str) -> float:
    text = (given.get(name) or "").strip()
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name} is not a number: {text!r}") from None


def _read(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV that has the needed columns."""
    _, rows = given_table(path, needed)
    if not rows:
        raise InputError(f"{path}: holds no rows")
    return rows
