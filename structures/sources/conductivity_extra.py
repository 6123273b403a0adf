"""Further measured conductivities and activation energies, compiled from public tables."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ionbridge.structures.io.tables import ConductivityRow, conductivity_row, read_table
from ionbridge.structures.records import FailedRecord, Label
from ionbridge.structures.sources.na_conductivity import ABOVE_HOT
from ionbridge.structures.sources.source import Loaded, Source

TABLE_FILE = "conductivity_extra/conductivity_extra.csv"
DOUBTFUL = (
    "conflicts_same_paper",
    "computed",
    "perhaps_sigma_times_T",
    "temperature_doubtful",
    "text_mined",
    "charge_imbalance",
    "prefactor_odd",
)
"""Flags of the compilation that keep a row out: its value or formula is probably wrong."""


def load(data_dir: str | Path) -> Loaded[ConductivityRow]:
    """Rows with a conductivity or an activation energy; no structures, doubtful rows left out.

    ``extra["activation_energy"]`` is a :class:`Label` in eV where the compilation states one.
    Values without a temperature that a paper is known to have measured hot get that temperature.
    """
    rows: list[ConductivityRow] = []
    dropped: Counter[str] = Counter()
    for given in read_table(Path(data_dir) / TABLE_FILE)[1]:
        row = _row(given)
        if isinstance(row, str):
            dropped[row] += 1
        else:
            rows.append(row)
    return Loaded(tuple(rows), dict(dropped))


def _row(given: dict[str, str]) -> ConductivityRow | str:
    """A usable row, or why it is left out."""
    from ionbridge.structures.chemistry.known_conductors import (
        at_measured_temperature,  # which those who list sources do not need
    )

    flags = set(filter(None, given["flags"].split(";")))
    doubtful = sorted(flags.intersection(DOUBTFUL))
    if doubtful:
        return doubtful[0]
    number = re.search(r"\((\d+)\)", given["Spacegroup"])
    text = {**given, "Spacegroup": number[1] if number else ""}
    row = conductivity_row(text, given["id"])
    if isinstance(row, FailedRecord):  # a mixture such as 0.5Li2O-0.5P2O5: its sum is stated, too
        text["Formula"] = given["reduced_formula"]
        row = conductivity_row(text, given["id"])
    if isinstance(row, FailedRecord):
        return "composition unreadable"
    extra = dict(row.extra)
    if given["activation_energy_eV"]:
        extra["activation_energy"] = Label(
            "activation_energy_eV",
            float(given["activation_energy_eV"]),
            method="experiment",
            source=given["Source"] or None,
        )
    if row.label is None and "activation_energy" not in extra:
        return "no label"
    label = row.label and replace(row.label, source=given["Source"] or SOURCE.name)
    found = at_measured_temperature(replace(row, label=label, extra=extra))
    return found or ABOVE_HOT


SOURCE = Source(
    name="conductivity_extra",
    title="Measured conductivities and activation energies of Li and Na conductors (composition)",
    home="https://github.com/NRC-Mila/OBELiX and five further public compilations",
    licence="CC BY 4.0 and MIT in part, in part none stated; see the column `licence`",
    citation="10.1039/D2EE03499A and the DOI of each row",
    files=(TABLE_FILE,),
    load=load,
)
