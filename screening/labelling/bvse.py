"""Bond-valence barriers as labels: cheap, for every hop, and good for pretraining only.

The barrier is the highest bond-valence site energy of the relaxed path less that of its first image
(softBV: H. Chen, L. L. Wong and S. Adams, Acta Cryst. B 75, 18 (2019)).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from structures.hop_profile import profiled
from structures.io import hop_to_json
from structures.records import Crystal, FailedRecord, Hop, UnusableStructureError
from structures.sites import find_hops

METHOD = "bvse"


def bvse_labels(records: Iterable[Crystal | Hop | FailedRecord]) -> Iterator[dict[str, Any]]:
    """Hop records (JSON) with ``barrier_eV``, ``barrier_backward_eV`` and ``method``.

    A hop gives one record, a crystal one for each of its unique hops; what fails gives one with
    ``status`` and ``reason``.
    """
    for record in records:
        try:
            if isinstance(record, FailedRecord):
                raise UnusableStructureError(record.reason)
            for hop in find_hops(record).hops if isinstance(record, Crystal) else (record,):
                yield {**hop_to_json(bvse_label(hop)), "status": "ok"}
        except (UnusableStructureError, ValueError) as error:
            reason = str(error).removeprefix(f"{record.id}: ")
            yield {"id": record.id, "status": "failed", "reason": reason}


def bvse_label(hop: Hop) -> Hop:
    """The hop on its bond-valence path, with forward and backward barrier in eV.

    Raises:
        UnusableStructureError: No bond valences exist for its chemistry.
    """
    relaxed = profiled(hop)
    profile = relaxed.extra.get("bvse_profile_eV")
    if profile is None:
        raise UnusableStructureError(f"{hop.id}: no bond valences for this chemistry")
    return replace(
        relaxed,
        barrier_eV=float(max(profile) - profile[0]),
        barrier_backward_eV=float(max(profile) - profile[-1]),
        method=METHOD,
    )
