"""Which labels would help most: hops that a model is least sure of, far from each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import library
from models.hop_graphs import graph_of
from screening.acquisition import choose
from screening.orchestrator.potentials import NEB_COST_S
from screening.orchestrator.quantities import Row
from screening.orchestrator.records import crystal_of, hop_of
from structures.records import Hop, UnusableStructureError
from structures.sites import find_hops

N_WANTED = 8
"""The fewest labels of which the benchmark knows what they bring."""
MAX_CRYSTALS = 12
"""Crystals whose hops are looked at."""


@dataclass(frozen=True)
class WantedLabel:
    """A hop whose barrier would teach the model most.

    Attributes:
        id: Of the hop; ``<crystal>#hop<k>`` where it was found in a crystal.
        predicted_eV: What the model thinks of it.
        std_eV: How unsure it is.
        cost_s: Of computing it with CHGNet, on one core.
    """

    id: str
    predicted_eV: float
    std_eV: float
    cost_s: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "predicted_eV": round(self.predicted_eV, 4),
            "std_eV": round(self.std_eV, 4),
            "cost_s": self.cost_s,
        }


def wanted_labels(
    tables: Mapping[str, Sequence[Row]], n: int = N_WANTED
) -> tuple[WantedLabel, ...]:
    """The hops to label first, most wanted first.

    Args:
        tables: What is given: hops, or crystals to find them in.
        n: Their number.
    """
    hops = _hops(tables)
    if not hops:
        return ()
    model = library.load(library.DEFAULTS["migration_barrier"])
    prediction = model.predict(hops)
    embedding = model.embedding([graph_of(hop) for hop in hops])
    chosen = choose(prediction.mean, prediction.epistemic_std, embedding, n, "spread")
    return tuple(
        WantedLabel(hops[i].id, float(prediction.mean[i]), float(prediction.std[i]), NEB_COST_S)
        for i in chosen
    )


def _hops(tables: Mapping[str, Sequence[Row]]) -> list[Hop]:
    if tables.get("hop"):
        return [hop_of(row) for row in tables["hop"]]
    rows = tables.get("crystal", ())
    hops: list[Hop] = []
    for i in np.unique(np.linspace(0, max(len(rows) - 1, 0), MAX_CRYSTALS).astype(int)):
        if i >= len(rows):
            continue
        try:
            hops += find_hops(crystal_of(rows[i])).hops
        except (UnusableStructureError, ValueError):
            continue
    return hops
