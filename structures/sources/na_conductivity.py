"""Measured conductivities of Na conductors, nearly all NASICON; temperature rarely known.

The table states none; values that a paper is known to have measured hot get that temperature.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.sources.source import Loaded, Source

ABOVE_HOT = "more than is measured hot"
TABLE_FILE = "na_conductivity/na_conductors.csv"


def load(data_dir: str | Path) -> Loaded[ConductivityRow]:
    """Rows with a label; no structures."""
    from ionbridge.structures.chemistry.known_conductors import at_measured_temperature
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
            family = canonical_family(record.family)
            row = at_measured_temperature(replace(record, label=label, family=family))
            if row is None:
                dropped[ABOVE_HOT] += 1
            else:
                rows.append(row)
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
