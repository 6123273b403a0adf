"""Bond-valence barriers as labels: cheap, for every hop, and good for pretraining only.

The barrier is the highest bond-valence site energy of the relaxed path less that of its first image
(softBV: H. Chen, L. L. Wong and S. Adams, Acta Cryst. B 75, 18 (2019)).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import hop_to_json
from ionbridge.structures.records import Crystal, FailedRecord, Hop, UnusableStructureError

METHOD = "bvse"
SMALLEST_BARRIER_EV = 0.01
"""Where the energy never rises above an end by more than this, that end is no site of the ion."""


def bvse_labels(records: Iterable[Crystal | Hop | FailedRecord]) -> Iterator[dict[str, Any]]:
    """Hop records (JSON) with ``barrier_eV``, ``barrier_backward_eV`` and ``method``.

    A hop gives one record, a crystal one for each of its unique hops; what fails gives one with
    ``status`` and ``reason``. A hop that ends where the bond-valence landscape has no minimum keeps
    its path and profile, but gets no barrier.
    """
    for record in records:
        try:
            if isinstance(record, FailedRecord):
                raise UnusableStructureError(record.reason)
            for hop in find_hops(record).hops if isinstance(record, Crystal) else (record,):
                label = bvse_label(hop)
                reason = no_barrier(label)
                if reason:
                    without = replace(label, barrier_eV=None, barrier_backward_eV=None)
                    yield {**hop_to_json(without), "status": "failed", "reason": reason}
                else:
                    yield {**hop_to_json(label), "status": "ok"}
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


def no_barrier(label: Hop) -> str:
    """Why the barriers of a label are none; empty if they are."""
    for end, barrier in (
        ("initial", label.barrier_eV),
        ("final", label.barrier_backward_eV),
    ):
        if barrier is not None and barrier < SMALLEST_BARRIER_EV:
            return (
                f"no bond-valence barrier: the {end} image is the highest point of the path (to "
                f"{barrier:.3f} eV), so it is no site of the bond-valence landscape"
            )
    return ""
