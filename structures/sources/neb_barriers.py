"""Migration barriers from DFT nudged-elastic-band calculations, collected from the literature."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.records import Hop
from ionbridge.structures.sources.source import Loaded, Remote, Source

HOPS_FILE = "neb_barriers/hops_train.jsonl.gz"
SERVED_FILE = "neb_barriers/RAW-Em-5-images-TRAIN.json"
SERVED = (
    "https://raw.githubusercontent.com/sai-mat-group/predicting-migration-barriers/"
    "8499b819d665160a4d2e95e4895c33e43554ea03/DATA_FILES/MODEL-3-4/RAW/RAW-Em-5-images-TRAIN.json"
)
N_IMAGES = 5
"""Of the moving ion, the first atoms of a served cell: both ends and three points between them."""

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
    from ionbridge.structures.io.reading import (
        iter_records,  # which those who list sources do not need
    )

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


def arrange(data_dir: Path) -> None:
    """The served cells as hop records."""
    from ionbridge.structures.io.reading import (
        write_json_lines,  # which those who list sources do not need
    )

    rows = json.loads((data_dir / SERVED_FILE).read_text(encoding="utf-8"))
    write_json_lines(data_dir / HOPS_FILE, [_hop_record(row) for row in rows])


def _hop_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """A hop of a served cell, in which the moving ion stands at all its images.

    Raises:
        ValueError: The first atoms are not of one element.
    """
    atoms = row["atoms"]
    if len(set(atoms["elements"][:N_IMAGES])) != 1:
        raise ValueError(f"row {row['jid']}: its first {N_IMAGES} atoms are not images of one ion")
    return {
        "id": f"train-{row['jid']}",
        "sys_name": row["sys_name"],
        "working_ion": atoms["elements"][0],
        "barrier_eV": row["target"],
        "lattice": atoms["lattice_mat"],
        "host_species": atoms["elements"][N_IMAGES:],
        "host_frac": atoms["coords"][N_IMAGES:],
        "path_frac": atoms["coords"][:N_IMAGES],
        "family": row["class"],
        "method": "dft_neb",
    }


SOURCE = Source(
    name="neb_barriers",
    title="DFT-NEB migration barriers of Li, Na, K, Mg, Ca, Zn, Al, Rb and Sr hops",
    home="https://github.com/sai-mat-group/predicting-migration-barriers",
    licence="MIT",
    citation="arXiv:2508.06459",
    files=(HOPS_FILE,),
    load=load,
    remotes=(Remote(SERVED, SERVED_FILE),),
    arrange=arrange,
)
