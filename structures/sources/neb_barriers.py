"""Migration barriers from DFT nudged-elastic-band calculations, collected from the literature."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ionbridge.structures.family_names import canonical_family
from ionbridge.structures.io import iter_records
from ionbridge.structures.records import Hop
from ionbridge.structures.sources.source import Loaded, Source

HOPS_FILE = "neb_barriers/hops_train.jsonl.gz"

IMPLAUSIBLE_ROWS = frozenset(
    (
        "Cr2S4_Ca",
        "Mn2O4_K",
        "MnPO4_K",
        "O-FePO4_K",
        "O-FePO4_Li",
        "O-MnPO4_Li",
        "O-NiPO4_Li",
        "a1-NaVOPO4_1",
        "a1-NaVOPO4_2",
        "a1-VOPO4_Na_1",
        "a1-VOPO4_Na_2",
        "a1-VOPO4_Na_3",
        "e-VOPO4_Na_1",
        "e-VOPO4_Na_2",
    )
)
"""``sys_name`` of rows whose geometry cannot belong to their label: the ion in the wrong site, or
its site taken. They are kept; report errors with and without them."""


def load(data_dir: str | Path) -> Loaded[Hop]:
    """All hops with a barrier, families under their one name."""
    hops: list[Hop] = []
    dropped: Counter[str] = Counter()
    for record in iter_records(Path(data_dir) / HOPS_FILE):
        if not isinstance(record, Hop):
            dropped["unreadable"] += 1
        elif record.barrier_eV is None:
            dropped["no barrier"] += 1
        else:
            hops.append(replace(record, family=canonical_family(record.family)))
    return Loaded(tuple(hops), dict(dropped))


def is_implausible(hop: Hop) -> bool:
    """True if the geometry of the row cannot belong to its label."""
    return hop.extra.get("sys_name") in IMPLAUSIBLE_ROWS


SOURCE = Source(
    name="neb_barriers",
    title="DFT-NEB migration barriers of Li, Na, K, Mg, Ca, Zn, Al, Rb and Sr hops",
    home="https://github.com/sai-mat-group/predicting-migration-barriers",
    licence="MIT",
    citation="arXiv:2508.06459",
    files=(HOPS_FILE,),
    load=load,
)
