"""All public sources by name."""

from __future__ import annotations

import difflib

from ionbridge.structures.sources import (
    amorphous_diffusivity,
    argyrodite_aimd,
    bvse_barriers,
    cell_ageing,
    conductivity_extra,
    formation,
    materials_project,
    na_conductivity,
    neb_barriers,
    obelix,
)
from ionbridge.structures.sources.source import Source

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        neb_barriers.SOURCE,
        *materials_project.SOURCES,
        bvse_barriers.SOURCE,
        obelix.SOURCE,
        na_conductivity.SOURCE,
        conductivity_extra.SOURCE,
        amorphous_diffusivity.SOURCE,
        argyrodite_aimd.SOURCE,
        *cell_ageing.SOURCES,
        formation.SOURCE,
    )
}


def find_source(name: str) -> Source:
    """A source by its name.

    Raises:
        ValueError: With the known names and the nearest.
    """
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name, SOURCES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown data source {name!r}: {hint}known are {', '.join(SOURCES)}")
