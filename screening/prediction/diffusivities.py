"""Rows of a table of compositions to diffusivities at one temperature."""

from __future__ import annotations

from collections.abc import Sequence

from ionbridge.models.conductors.diffusivity import DiffusivityProcess
from ionbridge.screening.prediction.conductivities import unusable
from ionbridge.screening.prediction.rows import each_or_failed, predicted_rows
from ionbridge.screening.table import Row
from ionbridge.structures.io.reading import InputRecord
from ionbridge.structures.io.tables import ConductivityRow

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

    def made(rows: Sequence[ConductivityRow]) -> list[Row]:
        line = model.arrhenius(rows)
        found = predicted_rows(model, rows, DIFFUSIVITY_COLUMNS[2:6], temperature_K)
        return [
            {
                **row,
                "temperature_K": temperature_K,
                "activation_energy_eV": float(line.activation_energy_eV[i]),
                "activation_energy_std_eV": float(line.activation_energy_std_eV[i]),
            }
            for i, row in enumerate(found)
        ]

    rows = [r for r in records if isinstance(r, ConductivityRow)]
    found = iter(each_or_failed(rows, made))
    return [next(found) if isinstance(r, ConductivityRow) else unusable(r) for r in records]
