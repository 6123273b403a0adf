"""Hops to rows: migration barrier with spread, calibrated interval and in-domain flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ionbridge.models.library import load
from ionbridge.models.physics_fed import PhysicsFed
from ionbridge.screening.labelling.potential_profile import with_potential_profile
from ionbridge.screening.table import Row, noted
from ionbridge.structures.records import Crystal, FailedRecord, Hop, UnusableStructureError
from ionbridge.structures.sites import find_hops

HOP_COLUMNS = (
    "id",
    "migration_barrier_eV",
    "migration_barrier_std_eV",
    "migration_barrier_lower_eV",
    "migration_barrier_upper_eV",
    "in_domain",
    "status",
    "reason",
    "note",
)


@dataclass(frozen=True)
class HopPredictor:
    """A function from hops to rows; from a crystal it makes one row with the rows of its hops.

    Attributes:
        model: Name of a shipped model or a model folder.
    """

    model: str

    def __call__(self, records: Sequence[Hop | Crystal | FailedRecord]) -> list[Row]:
        """One row a record; that of a crystal is ``{"hops": [rows]}``."""
        hops = [r for r in records if isinstance(r, Hop)]
        rows = iter(self._rows(hops))
        return [next(rows) if isinstance(r, Hop) else self._other(r) for r in records]

    def _other(self, record: Crystal | FailedRecord) -> Row:
        if isinstance(record, FailedRecord):
            return failed_hop_row(record, record.reason)
        try:
            rows = self._rows(find_hops(record).hops)
            return {"hops": [{**row, "note": noted(record.notes)} for row in rows]}
        except UnusableStructureError as error:
            return failed_hop_row(record, str(error))

    def _rows(self, hops: Sequence[Hop]) -> list[Row]:
        if not hops:
            return []
        model = any_model(self.model)
        if isinstance(model, PhysicsFed) and model.reads_energies:
            hops = [with_potential_profile(hop) for hop in hops]
        try:
            prediction = model.predict(hops)
            lower, upper = model.interval(prediction)
            in_domain = model.in_domain(hops)
        except Exception as error:  # one hop spoils the batch: each on its own shows which
            if len(hops) > 1:
                return [self._rows([hop])[0] for hop in hops]
            known = isinstance(error, UnusableStructureError | ValueError)
            return [
                failed_hop_row(hops[0], str(error) if known else f"{type(error).__name__}: {error}")
            ]
        return [
            {
                "id": hop.id,
                "migration_barrier_eV": float(prediction.mean[i]),
                "migration_barrier_std_eV": float(prediction.std[i]),
                "migration_barrier_lower_eV": float(lower[i]),
                "migration_barrier_upper_eV": float(upper[i]),
                "in_domain": bool(in_domain[i]),
                "status": "ok",
            }
            for i, hop in enumerate(hops)
        ]


def failed_hop_row(record: Hop | Crystal | FailedRecord, reason: str) -> Row:
    """The row of a hop, or of a crystal, that could not be predicted."""
    reason = " ".join(reason.removeprefix(f"{record.id}: ").split())
    return {"id": record.id, "status": "failed", "reason": reason}


@lru_cache(maxsize=2)
def any_model(name: str) -> Any:
    """A model of any kind that predicts hops, loaded once a process."""
    return load(name)
