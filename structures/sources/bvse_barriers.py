"""Percolation barriers of Li crystals from bond-valence site energies."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ionbridge.structures.records import Crystal
from ionbridge.structures.sources.source import Loaded, Source

CRYSTALS_FILE = "bvse_barriers/li_percolation_2k.jsonl.gz"
HIGHEST_BARRIER_EV = 5.0
"""Bond-valence energies above this are artefacts: the landscape is closed, or leads through an
atom."""


def load(data_dir: str | Path) -> Loaded[Crystal]:
    """Crystals with ``extra["bvse_median_eV"]``, which behaves like a 3-D percolation barrier."""
    from ionbridge.structures.io.reading import (
        iter_records,  # which those who list sources do not need
    )

    crystals: list[Crystal] = []
    dropped: Counter[str] = Counter()
    for record in iter_records(Path(data_dir) / CRYSTALS_FILE, working_ion="Li"):
        if not isinstance(record, Crystal):
            dropped["unreadable or duplicate id"] += 1
        elif not record.extra["bvse_median_eV"] <= HIGHEST_BARRIER_EV:
            dropped[f"median above {HIGHEST_BARRIER_EV:g} eV"] += 1
        else:
            crystals.append(replace(record, source="bvse_barriers"))
    return Loaded(tuple(crystals), dict(dropped))


SOURCE = Source(
    name="bvse_barriers",
    title="Bond-valence percolation barriers of Li crystals",
    home="https://github.com/FALL-ML/materials-discovery",
    licence="none stated",
    citation="10.1039/D2EE03499A",
    files=(CRYSTALS_FILE,),
    load=load,
)
