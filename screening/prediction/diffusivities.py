"""Rows of a table of compositions to diffusivities at one temperature."""

from __future__ import annotations

from collections.abc import Sequence

from ionbridge.models.conductors.diffusivity import DiffusivityProcess
from ionbridge.screening.prediction.conductivities import unusable
from ionbridge.screening.prediction.rows import each_or_failed, predicted_rows
from ionbridge.screening.table import ACTIVATION_ENERGY, Row
from ionbridge.structures.io.reading import InputRecord
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.quantities import QUANTITIES

DIFFUSIVITY_COLUMNS = (
    "id",
    "temperature_K",
    *QUANTITIES["diffusivity"].columns(),
    ACTIVATION_ENERGY.column,
    ACTIVATION_ENERGY.spread,
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
        found = predicted_rows(model, rows, QUANTITIES["diffusivity"].columns(), temperature_K)
        return [
            {
                **row,
                "temperature_K": temperature_K,
                ACTIVATION_ENERGY.column: float(line.activation_energy_eV[i]),
                ACTIVATION_ENERGY.spread: float(line.activation_energy_std_eV[i]),
            }
            for i, row in enumerate(found)
        ]

    rows = [r for r in records if isinstance(r, ConductivityRow)]
    found = iter(each_or_failed(rows, made))
    return [next(found) if isinstance(r, ConductivityRow) else unusable(r) for r in records]
