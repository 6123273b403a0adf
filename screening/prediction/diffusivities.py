"""Rows of a table of compositions to diffusivities at one temperature."""

from __future__ import annotations

from collections.abc import Sequence

from ionbridge.models.conductors.diffusivity import DiffusivityProcess
from ionbridge.screening.table import Row
from ionbridge.structures.io.reading import InputRecord
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import FailedRecord, UnusableStructureError

DIFFUSIVITY_COLUMNS = (
    "id",
    "temperature_K",
    "log10_diffusivity_cm2_s",
    "log10_diffusivity_std",
    "log10_diffusivity_lower",
    "log10_diffusivity_upper",
    "activation_energy_eV",
    "activation_energy_std_eV",
    "in_domain",
    "status",
    "reason",
)


def diffusivity_rows(
    model: DiffusivityProcess, records: Sequence[InputRecord], temperature_K: float
) -> list[Row]:
    """One row a record, in their order."""
    return [_row(model, record, temperature_K) for record in records]


def _row(model: DiffusivityProcess, record: InputRecord, temperature_K: float) -> Row:
    if not isinstance(record, ConductivityRow):
        reason = record.reason if isinstance(record, FailedRecord) else "not a row of a table"
        return {"id": record.id, "status": "failed", "reason": reason}
    try:
        found = model.predict([record], temperature_K)
    except UnusableStructureError as error:
        return {"id": record.id, "status": "failed", "reason": str(error)}
    lower, upper = model.interval(found)
    line = model.arrhenius([record])
    return {
        "id": record.id,
        "temperature_K": temperature_K,
        "log10_diffusivity_cm2_s": float(found.mean[0]),
        "log10_diffusivity_std": float(found.std[0]),
        "log10_diffusivity_lower": float(lower[0]),
        "log10_diffusivity_upper": float(upper[0]),
        "activation_energy_eV": float(line.activation_energy_eV[0]),
        "activation_energy_std_eV": float(line.activation_energy_std_eV[0]),
        "in_domain": bool(model.in_domain([record])[0]),
        "status": "ok",
    }
