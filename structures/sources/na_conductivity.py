"""Measured conductivities of Na conductors, nearly all NASICON; temperature not stated."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.sources.source import Loaded, Source

TABLE_FILE = "na_conductivity/na_conductors.csv"


def load(data_dir: str | Path) -> Loaded[ConductivityRow]:
    """Rows with a label; no structures."""
    from ionbridge.structures.io.reading import (
        iter_records,  # which those who list sources do not need
    )

    rows: list[ConductivityRow] = []
    dropped: Counter[str] = Counter()
    for record in iter_records(Path(data_dir) / TABLE_FILE):
        if not isinstance(record, ConductivityRow):
            dropped["unreadable"] += 1
        elif record.label is None:
            dropped["no conductivity"] += 1
        else:
            label = replace(record.label, source=SOURCE.citation)
            rows.append(replace(record, label=label, family=canonical_family(record.family)))
    return Loaded(tuple(rows), dict(dropped))


SOURCE = Source(
    name="na_conductivity",
    title="Measured ionic conductivities of Na conductors (composition only)",
    home="https://doi.org/10.1021/acs.jpcc.3c02908",
    licence="see the paper",
    citation="10.1021/acs.jpcc.3c02908",
    files=(TABLE_FILE,),
    load=load,
)
