"""OBELiX: measured room-temperature conductivities of Li solid electrolytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ionbridge.structures.frameworks.family_names import UNKNOWN_FAMILY, canonical_family
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.sources.download import unpacked
from ionbridge.structures.sources.source import Loaded, Remote, Source
from ionbridge.structures.units import ROOM_TEMPERATURE_K

TABLE_FILE = "obelix/train.csv"
CIF_FOLDER = "obelix/cifs"
CIF_ARCHIVE = "obelix/train_cifs.tar.gz"
SERVED = (
    "https://raw.githubusercontent.com/NRC-Mila/OBELiX/"
    "4eaac889809dd489e3bae468c45d5c0e02b9147a/data/downloads"
)


def load(data_dir: str | Path) -> Loaded[ConductivityRow]:
    """Rows with a label; their crystal where a CIF is at hand and holds lithium."""
    from ionbridge.structures.io.reading import (
        iter_records,  # which those who list sources do not need
    )

    rows: list[ConductivityRow] = []
    dropped: Counter[str] = Counter()
    data = Path(data_dir)
    for record in iter_records(data / TABLE_FILE, cifs=data / CIF_FOLDER):
        if not isinstance(record, ConductivityRow):
            dropped["unreadable or duplicate id"] += 1
        elif record.label is None:
            dropped["no conductivity"] += 1
        else:
            rows.append(_cleaned(record))
    return Loaded(tuple(rows), dict(dropped))


def _cleaned(row: ConductivityRow) -> ConductivityRow:
    """Temperature and source stated; a CIF that lost its lithium is left out."""
    assert row.label is not None
    label = replace(row.label, temperature_K=ROOM_TEMPERATURE_K, source="OBELiX")
    crystal = row.crystal
    family = canonical_family(row.family)
    if crystal is not None:
        has_lithium = crystal.composition["Li"] > 0
        crystal = replace(crystal, working_ion="Li", source="OBELiX") if has_lithium else None
    return replace(
        row, label=label, crystal=crystal, family=None if family == UNKNOWN_FAMILY else family
    )


def arrange(data_dir: Path) -> None:
    """The CIFs of the archive into their folder."""
    unpacked(data_dir / CIF_ARCHIVE, data_dir / CIF_FOLDER, ".cif")


SOURCE = Source(
    name="obelix",
    title="Measured room-temperature ionic conductivities of Li conductors, with CIFs",
    home="https://github.com/NRC-Mila/OBELiX",
    licence="see the repository",
    citation="arXiv:2502.14234",
    files=(TABLE_FILE, CIF_FOLDER),
    load=load,
    remotes=(
        Remote(f"{SERVED}/train.csv", TABLE_FILE),
        Remote(f"{SERVED}/train_cifs.tar.gz", CIF_ARCHIVE),
    ),
    arrange=arrange,
)
