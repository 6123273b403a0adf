"""The best candidates and their hops as files: CIF to look at, extxyz and JSON to compute on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ionbridge.screening.campaign.candidates import Candidate
from ionbridge.screening.table import Row
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import write_cif, write_extxyz, write_json_lines
from ionbridge.structures.records import Crystal

MOST_HOPS = 6
"""Hops written of one crystal, the shortest first."""


class TopHops(NamedTuple):
    """One of the best rows with its hops.

    Attributes:
        row: Of the ranked table.
        crystal: As it was given.
        graph: Its sites and hops.
        conducting: The unique hops that carry conduction.
        files: Written for it, names in the folder of the paths, the crystal's CIF first.
    """

    row: Row
    crystal: Crystal
    graph: MigrationGraph
    conducting: tuple[int, ...]
    files: tuple[str, ...]


def write_hop_paths(folder: Path, best: Iterable[tuple[Row, Candidate]]) -> list[TopHops]:
    """Write the first rows of a table, and the hops that carry conduction in them.

    A row whose hops are not known (its crystal has too many of them) is passed over.

    Args:
        folder: Where ``<rank>_<id>.cif``, ``<rank>_<id>_hop<k>.cif`` and ``.extxyz``, and
            ``hops.jsonl`` go.
        best: Ranked rows with their crystals, best first.
    """
    tops = [
        _written(folder, row, crystal)
        for row, crystal in best
        if isinstance(crystal, Crystal) and row["percolating_hops"]
    ]
    hops = [top.graph.hops[k] for top in tops for k in top.conducting[:MOST_HOPS]]
    if hops:
        write_json_lines(folder / "hops.jsonl", hops)
    return tops


def _written(folder: Path, row: Row, crystal: Crystal) -> TopHops:
    """The files of one row."""
    graph = find_hops(replace(crystal, working_ion=row["working_ion"]))
    conducting = tuple(int(k) for k in row["percolating_hops"].split())
    stem = f"{row['rank']:03d}_{file_name(crystal.id)}"
    write_cif(crystal, folder / f"{stem}.cif")
    files = [f"{stem}.cif"]
    for k in conducting[:MOST_HOPS]:
        write_cif(graph.hops[k], folder / f"{stem}_hop{k}.cif")
        write_extxyz(graph.hops[k], folder / f"{stem}_hop{k}.extxyz")
        files += [f"{stem}_hop{k}.cif", f"{stem}_hop{k}.extxyz"]
    return TopHops(row, crystal, graph, conducting, tuple(files))


def file_name(id: str, longest: int = 120) -> str:
    """An id as part of a file name of so many bytes: letters, digits and a few signs stay."""
    return re.sub(r"[^\w.+-]+", "_", id).encode()[:longest].decode(errors="ignore")
