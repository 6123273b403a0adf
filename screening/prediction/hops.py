"""Hops to rows: migration barrier with spread, calibrated interval and in-domain flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
from scipy.special import ndtri

from ionbridge.models.library import load
from ionbridge.models.transforms import LogShift
from ionbridge.screening.campaign.refine_settings import RefineSettings
from ionbridge.screening.labelling.bands.checked_calculator import BrokenCalculationError
from ionbridge.screening.labelling.bands.potential_profile import with_potential_profile
from ionbridge.screening.prediction.fidelity import (
    METHODS,
    WEIGHS_NOTHING,
    HopBarrier,
    Method,
    barrier_by,
    is_read_by,
    measured_fidelities,
    with_relaxation,
)
from ionbridge.screening.prediction.rows import each_or_failed, failed_prediction, predicted_rows
from ionbridge.screening.table import Row, noted
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.quantities import QUANTITIES
from ionbridge.structures.records import Crystal, FailedRecord, Hop, UnusableStructureError

BARRIER_COLUMNS = QUANTITIES["migration_barrier"].columns()
HOP_COLUMNS = (
    "id",
    *BARRIER_COLUMNS,
    "in_domain",
    "status",
    "reason",
    "note",
    "migration_barrier_backward_eV",
)
POTENTIAL_COLUMNS = (
    *HOP_COLUMNS,
    "barrier_fidelity",
    "potential_barrier_eV",
    "potential_barrier_backward_eV",
    "potential_calls",
)
"""With a potential: what the barrier is made of (`network` where the method weighs nothing beside
the model), what the method says alone, and what it took."""
BOTH_WAYS = ("migration_barrier_eV", "migration_barrier_backward_eV")
TARGET = LogShift()
SIGMAS_90 = float(ndtri(0.95))


@dataclass(frozen=True)
class HopPredictor:
    """A function from hops to rows; from a crystal it makes one row with the rows of its hops.

    Attributes:
        model: Name of a shipped model or a model folder.
        method: What the model is joined with, where it is not alone.
        with_profile: Compute energies along the path for a model that reads them.
        settings: Calculators and limits of the method; of a crystal, its `max_hops` lowest hops.
    """

    model: str
    method: Method = "network"
    with_profile: bool = True
    settings: RefineSettings = field(default_factory=RefineSettings)

    def __call__(self, records: Sequence[Hop | Crystal | FailedRecord]) -> list[Row]:
        """One row a record; that of a crystal is ``{"hops": [rows]}``."""
        hops = [r for r in records if isinstance(r, Hop)]
        rows = iter(
            [self._joined(row, hop) for row, hop in zip(self._rows(hops), hops, strict=True)]
        )
        return [next(rows) if isinstance(r, Hop) else self._other(r) for r in records]

    def _other(self, record: Crystal | FailedRecord) -> Row:
        if isinstance(record, FailedRecord):
            return failed_prediction(record, record.reason)
        try:
            graph = find_hops(record)
            rows = [{**row, "note": noted(record.notes)} for row in self._rows(graph.hops)]
            lowest = sorted(
                range(len(rows)), key=lambda k: rows[k].get("migration_barrier_eV", np.inf)
            )
            for k in lowest[: self.settings.max_hops]:
                rows[k] = self._joined(rows[k], graph.hops[k], graph.crystal)
            return {"hops": rows}
        except UnusableStructureError as error:
            return failed_prediction(record, str(error))

    def _joined(self, row: Row, hop: Hop, crystal: Crystal | None = None) -> Row:
        """The row of model and method together; where the method fails, the model's with a note."""
        if self.method == "network" or row["status"] != "ok":
            return row
        try:
            found = barrier_by(self.method, profiled(hop), crystal, self.settings, np.inf, [])
        except (UnusableStructureError, BrokenCalculationError) as error:
            why = " ".join(str(error).removeprefix(f"{hop.id}: ").split())
            note = f"{self.method}: {why}; the model alone"
            return {**row, "barrier_fidelity": "network", "note": _both(row.get("note"), note)}
        model = any_model(self.model)
        fidelity, unweighed = found.method, None
        if is_read_by(model, found.method):
            (together,) = self._rows([with_relaxation(hop, found)])
            same = all(np.isclose(together[c], row[c], rtol=1e-9) for c in BOTH_WAYS)
            if same and found.n_calls:
                fidelity, unweighed = METHODS[0], WEIGHS_NOTHING
        else:
            together = _on_a_line(row, found)
        note = found.note and f"{found.method}: {found.note}"
        return {
            **row,
            **together,
            "note": _both(row.get("note"), note, unweighed),
            "barrier_fidelity": fidelity,
            "potential_barrier_eV": round(found.forward_eV, 4),
            "potential_barrier_backward_eV": round(found.backward_eV, 4),
            "potential_calls": found.n_calls,
        }

    def _rows(self, hops: Sequence[Hop]) -> list[Row]:
        if not hops:
            return []
        model = any_model(self.model)
        if self.with_profile and model.asks_for_profile:
            hops = [with_potential_profile(hop) for hop in hops]
        return each_or_failed(hops, partial(_hop_rows, model))


def _hop_rows(model: Any, hops: Sequence[Hop]) -> list[Row]:
    backward = model.predict([hop.reversed() for hop in hops]).mean
    return [
        {**row, "migration_barrier_backward_eV": float(value)}
        for row, value in zip(predicted_rows(model, hops, BARRIER_COLUMNS), backward, strict=True)
    ]


def _on_a_line(row: Row, found: HopBarrier) -> Row:
    """Barriers, spread and interval of a model that does not read the method, and the method."""
    fidelity = measured_fidelities()[found.method]
    alone = np.array([row["migration_barrier_eV"], row["migration_barrier_backward_eV"]])
    own = np.array([found.forward_eV, found.backward_eV])
    t, back = fidelity.joined(alone, own, TARGET)
    width = np.array([-1.0, 0.0, 1.0]) * SIGMAS_90 * fidelity.std
    lower, mean, upper = TARGET.inverse(t + width)
    std = TARGET.inverse_std(mean, np.array(fidelity.std))
    return {
        **dict(zip(BARRIER_COLUMNS, map(float, (mean, std, lower, upper)), strict=True)),
        "migration_barrier_backward_eV": float(TARGET.inverse(back)),
    }


def _both(*notes: str | None) -> str | None:
    return noted([note for note in notes if note])


@lru_cache(maxsize=2)
def any_model(name: str) -> Any:
    """A model of any kind, loaded once a process."""
    return load(name)
