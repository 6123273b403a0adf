"""Hop paths of the best candidates as files: CIF to look at, extxyz and JSON to compute on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ionbridge.screening.candidates import Candidate
from ionbridge.screening.table import Row
from ionbridge.structures.io import write_cif, write_extxyz, write_json_lines
from ionbridge.structures.records import Crystal, Hop
from ionbridge.structures.sites import find_hops

MOST_HOPS = 6
"""Hops written of one crystal, the shortest first."""


def write_hop_paths(
    folder: Path, ranked: Sequence[Row], candidates: Sequence[Candidate], n_top: int
) -> None:
    """Write the hops that carry conduction in the first rows of a table.

    Args:
        folder: Where ``<rank>_<id>_hop<k>.cif`` and ``.extxyz``, and ``hops.jsonl``, go.
        ranked: The table, best first.
        candidates: The crystals of its rows.
        n_top: Number of rows.
    """
    crystals: dict[str, Crystal] = {}
    for candidate in candidates:
        if isinstance(candidate, Crystal):
            crystals.setdefault(candidate.id, candidate)
    written = []
    for row in ranked[:n_top]:
        if row["rank"] is None:
            break
        for hop in _percolating_hops(row, crystals[row["candidate_id"]]):
            crystal_id, _, number = hop.id.rpartition("#hop")
            name = f"{row['rank']:03d}_{file_name(crystal_id)}_hop{number}"
            write_cif(hop, folder / f"{name}.cif")
            write_extxyz(hop, folder / f"{name}.extxyz")
            written.append(hop)
    if written:
        write_json_lines(folder / "hops.jsonl", written)


def _percolating_hops(row: Row, crystal: Crystal) -> Iterator[Hop]:
    """The hops of a crystal that its row names."""
    graph = find_hops(replace(crystal, working_ion=row["working_ion"]))
    for k in row["percolating_hops"].split()[:MOST_HOPS]:
        yield graph.hops[int(k)]


def file_name(id: str, longest: int = 120) -> str:
    """An id as part of a file name of so many bytes: letters, digits and a few signs stay."""
    return re.sub(r"[^\w.+-]+", "_", id).encode()[:longest].decode(errors="ignore")
