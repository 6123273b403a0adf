"""Diffusivities as labels: a table of them, or a file of ``ionbridge label md`` or ``kmc``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ionbridge.structures.features.conductor_descriptors import conductor_ion
from ionbridge.structures.io.tables import (
    COMPOSITION_COLUMNS,
    ConductivityRow,
    conductivity_row,
    open_table,
    read_table,
)
from ionbridge.structures.records import (
    FailedRecord,
    Label,
    UnusableStructureError,
    split_bound,
)

VALUE = "tracer_diffusivity_cm2_s"
LOWER, UPPER, STD = f"{VALUE}_lower", f"{VALUE}_upper", "log10_tracer_diffusivity_std"
TEMPERATURE = "temperature_K"
QUANTITY = "log10_diffusivity_cm2_s"
HALF_WIDTH_95 = 1.96
"""Half width of a 95 % interval in standard deviations."""


@dataclass(frozen=True, eq=False)
class DiffusivityLabels:
    """What a file holds.

    Attributes:
        rows: (n,) compositions, each with its label: log10 of a tracer diffusivity in cm^2/s.
        failed: What could not be used, with the reason.
    """

    rows: tuple[ConductivityRow, ...]
    failed: tuple[FailedRecord, ...]


def is_diffusivity_file(path: Path) -> bool:
    """True for a table with a diffusivity column, or labels of simulations in JSON."""
    try:
        if path.suffix == ".csv":
            with open_table(path) as (columns, _):
                return VALUE in columns and bool({*columns} & {*COMPOSITION_COLUMNS})
        if path.suffix == ".json":
            return bool(_simulations(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError):
        return False
    return False


def read_diffusivities(path: Path) -> DiffusivityLabels:
    """Compositions and labels of a file.

    A table has a composition (``Formula``), ``temperature_K`` and ``tracer_diffusivity_cm2_s`` (a
    bound as ``<1e-8``); where they are there, the ends of its 95 % interval (the same name with
    ``_lower`` and ``_upper``) or ``log10_tracer_diffusivity_std``, and ``method``. Of a simulation
    that shows no diffusion, the upper end of the interval is a bound; failed ones and those whose
    host melted say nothing.

    Raises:
        ValueError: The file cannot be read.
    """
    found: list[ConductivityRow] = []
    failed: list[FailedRecord] = []
    for id, formula, entry in _entries(path):
        row = conductivity_row({"Formula": formula}, id)
        label = _label(entry)
        if isinstance(row, FailedRecord):
            failed.append(row)
        elif isinstance(label, str):
            failed.append(FailedRecord(id, label, formula))
        else:
            try:
                conductor_ion(row)
                found.append(replace(row, label=label))
            except UnusableStructureError as error:
                failed.append(FailedRecord(id, str(error).removeprefix(f"{id}: "), formula))
    return DiffusivityLabels(tuple(found), tuple(failed))


def _entries(path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(id, formula, fields) of every label."""
    if path.suffix == ".csv":
        for k, given in enumerate(read_table(path)[1]):
            entry = {key: value for key, value in given.items() if key and value}
            formula = next((entry[c] for c in COMPOSITION_COLUMNS if c in entry), "")
            yield entry.get("id", f"row {k + 1}"), formula, entry
        return
    for simulation in _simulations(json.loads(path.read_text(encoding="utf-8"))):
        formula = str(simulation.get("formula") or "")
        for run in simulation["runs"]:
            id = f"{simulation.get('id', formula)} at {run.get(TEMPERATURE)} K"
            yield id, formula, {"method": simulation.get("method"), **run}


def _simulations(data: Any) -> list[Mapping[str, Any]]:
    labels = data.get("labels") if isinstance(data, dict) else None
    known: list[Mapping[str, Any]] = [
        x for x in labels or [] if isinstance(x, dict) and isinstance(x.get("runs"), list)
    ]
    return known if labels and len(known) == len(labels) else []


def _label(entry: Mapping[str, Any]) -> Label | str:
    """The label of an entry, or why there is none."""
    if entry.get("status") == "failed" or entry.get("host_melted"):
        return str(entry.get("reason") or "the host melted")
    temperature_K = _positive(entry.get(TEMPERATURE))
    if temperature_K is None:
        return f"no {TEMPERATURE}"
    bound, number = split_bound(str(entry.get(VALUE) or ""))
    value, upper = _positive(number), _positive(entry.get(UPPER))
    std: float | None = None
    if value is None and upper is not None:
        value, bound = upper, "<"
    elif bound == "=":
        std = _std(entry, upper)
    if value is None:
        return f"no {VALUE}"
    return Label(
        quantity=QUANTITY,
        value=math.log10(value),
        bound=bound,
        std=std,
        temperature_K=temperature_K,
        method=entry.get("method") or None,
    )


def _std(entry: Mapping[str, Any], upper: float | None) -> float | None:
    """Standard deviation in decades, stated or from the interval."""
    stated, lower = _positive(entry.get(STD)), _positive(entry.get(LOWER))
    if stated is not None or lower is None or upper is None or lower >= upper:
        return stated
    return math.log10(upper / lower) / (2 * HALF_WIDTH_95)


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
