r"""The rows and columns of ``ranked.csv``; one place for their names and for how a row is written.

A table is opened in spreadsheets, too, and they run what begins like a formula. So a text of
somebody else's that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return (after any
number of apostrophes), and is no number, gets an apostrophe in front; `cell_text` takes it away.
Line ends are kept, in quotes; other control characters and lone surrogates are written as ``\x1b``
and ``\ud800``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ionbridge.screening.errors import InputError
from ionbridge.structures.io.tables import read_table
from ionbridge.structures.quantities import QUANTITIES, Quantity, spread_columns
from ionbridge.structures.records import Crystal, FailedRecord

Row = dict[str, Any]

ACTIVATION_ENERGY = Quantity(
    "activation_energy",
    "eV",
    "crystal",
    "that of conductivity times temperature, as belongs to the estimate; for an electrode, too, "
    "whose diffusivity follows the barrier of its hops instead",
    column="activation_energy_eV",
)
BY_COMPOSITION = QUANTITIES["conductivity"].by(
    "composition", "what measured compositions alone say"
)
BY_HOP_NETWORK = QUANTITIES["conductivity"].by("hop_network", "what the hop network alone says")
DIFFUSIVITY_BY_HOP_NETWORK = QUANTITIES["diffusivity"].by(
    "hop_network", "diffusivity of one carrier on the hop network"
)


def _described(quantity: Quantity, meaning: str = "") -> dict[str, str]:
    """What the columns of a quantity and of its spread hold."""
    return {quantity.column: meaning or quantity.about, quantity.spread: "its spread"}


def _interval(quantity: Quantity) -> dict[str, str]:
    *_, lower, upper = quantity.columns("q05", "q95")
    return {lower: "lower end of its 90 % interval", upper: "upper end"}


COLUMN_MEANINGS = {
    "rank": "place among all ranked rows, from 1; empty where a row is not `ok`",
    "rank_in_role": (
        "place among electrolytes (by conductivity) or among electrodes (by diffusivity)"
    ),
    "candidate_id": "the record's id, or its file and place in it",
    "formula": "conventional formula of the cell as given",
    "working_ion": "the ion that moves",
    "role": (
        "`electrode` where the host has an element that changes its valence, else `electrolyte`"
    ),
    "family": "framework, of the record or found by matching known ones",
    "source": "where the candidate comes from: file, reference, or how it was made",
    **_described(QUANTITIES["percolation_barrier"]),
    "percolation_barrier_2d_eV": "the same for two independent directions",
    "percolation_barrier_3d_eV": "the same for three",
    "percolation_dimensionality": "independent directions that percolate at the barrier + 0.10 eV",
    "fast_direction": "crystal direction of the fastest diffusion",
    "percolating_hops": "the hops of the path that decides, by number, with their barriers",
    "temperature_K": "temperature of diffusivity and conductivity",
    **_described(
        QUANTITIES["diffusivity"],
        "the best estimate of the diffusivity, a third of the tensor's trace: of an "
        "electrolyte over all ions, of an electrode of one carrier",
    ),
    **_interval(QUANTITIES["diffusivity"]),
    **_described(QUANTITIES["conductivity"], "the most probable measured ionic conductivity"),
    **_interval(QUANTITIES["conductivity"]),
    **_described(ACTIVATION_ENERGY),
    "conductivity_source": (
        "what carries the estimate: `composition` (measured ones), `hop_network` or `both`"
    ),
    "diffusivity_source": "`conductivity` (Nernst-Einstein over all ions) or `hop_network`",
    **_described(BY_COMPOSITION),
    **_described(BY_HOP_NETWORK),
    **_described(DIFFUSIVITY_BY_HOP_NETWORK),
    "measured_log10_conductivity_S_cm": (
        "a published value of this crystal, where one is known for the temperature of the row or "
        "its activation energy carries it there; the prediction beside it has not seen it"
    ),
    "measured_log10_diffusivity_cm2_s": "the same for the diffusivity",
    "measured_source": "where the measured value was published",
    "carrier": "`vacancy` or `interstitial`",
    "carrier_density_cm3": "density of carriers that the conductivity of the hop network counts",
    "n_sites": "atoms in the cell as given",
    "n_hops": "symmetry-unique hops",
    QUANTITIES["energy_above_hull"].column: (
        "distance to the most stable mixture of phases: of the record, by a potential against "
        "named references, or by the shipped model"
    ),
    QUANTITIES["energy_above_hull"].spread: "its spread, where a model gave it",
    "energy_above_hull_source": "which of the three",
    "global_instability_index_vu": (
        "root mean square deviation of bond-valence sums from oxidation states; above 0.2 "
        "look at the crystal twice"
    ),
    "band_gap_eV": "of the record",
    "score": "what the campaign ranks by",
    "pareto_front": "1 for candidates that no other beats in all objectives, 2 for the next front",
    "in_domain": "`false` where composition or hops are unlike what the models have learnt",
    "status": "`ok`, `filtered` or `failed`",
    "reason": "why it is not `ok`, or out of the domain",
    "why": "why a top row ranks there",
    "model": "the model of barriers",
    "barrier_fidelity": "what the deciding barriers are made of: `network`, also where a "
    "relaxation weighs nothing beside it, or it and a potential",
    "barrier_error_eV": "validated error of that fidelity",
    "refine_reason": "why a row was not refined, or what is doubtful of it",
    "note": "what a reader chose or left out",
}
"""What every column of ``ranked.csv`` holds, in the order of the columns."""

COLUMNS = tuple(COLUMN_MEANINGS)
"""Columns of ``ranked.csv`` in their order."""

STD_COLUMN = spread_columns(COLUMNS)
"""Column of the spread that belongs to a column; other columns count as exact."""

NUMERIC_COLUMNS = (
    "percolation_barrier_eV",
    "percolation_barrier_2d_eV",
    "percolation_barrier_3d_eV",
    "percolation_dimensionality",
    "log10_diffusivity_cm2_s",
    "log10_conductivity_S_cm",
    "activation_energy_eV",
    "carrier_density_cm3",
    "n_sites",
    "energy_above_hull_eV_atom",
    "band_gap_eV",
)
"""Columns that an objective may name."""

CARRIED_VALUES = (
    "energy_above_hull_eV_atom",
    "energy_above_hull_std_eV_atom",
    "global_instability_index_vu",
    "band_gap_eV",
)
"""Keys of a record that go into the table where they are present."""

FORMULA_START = re.compile(r"'*[=+\-@\t\r]")
"""What a spreadsheet takes for a formula, or what stands for that in a table already."""

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but tabs and line ends, and what UTF-8 cannot hold."""

CELL_BREAK = re.compile(r"[\r\n\",]")
"""What ends a cell or a row for one reader of CSV files or another."""


def given_table(
    path: Path, needed: Sequence[str] = ()
) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Columns and rows of a user's CSV file.

    Raises:
        InputError: It cannot be read, is no table, or lacks a needed column.
    """
    try:
        return read_table(path, needed)
    except ValueError as error:
        raise InputError(str(error)) from error


def crystal_row(crystal: Crystal, **values: Any) -> Row:
    """A row of a crystal, every column present, with the given values filled in."""
    row: Row = dict.fromkeys(COLUMNS)
    row.update(
        candidate_id=crystal.id,
        formula=readable_formula(crystal.formula),
        working_ion=crystal.working_ion,
        role=crystal.role,
        family=crystal.family,
        source=crystal.source,
        n_sites=crystal.n_sites,
        note=noted(crystal.notes),
        energy_above_hull_source=crystal.extra.get("energy_above_hull_source"),
        **{key: crystal.extra.get(key) for key in CARRIED_VALUES if not _fault(crystal, key)},
    )
    row.update(values)
    return row


def carried_fault(crystal: Crystal) -> str:
    """Why a value that a record carries into the table is no number; empty where all are."""
    return next((fault for key in CARRIED_VALUES if (fault := _fault(crystal, key))), "")


def _fault(crystal: Crystal, key: str) -> str:
    value = crystal.extra.get(key)
    if value is None or (_is_number(value) and math.isfinite(value)):
        return ""
    return f"{key}: expected a finite number, got {str(value)[:40]!r}"


def _is_number(value: Any) -> bool:
    """Whether a value is a number that fits into a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def checked_row(row: Row) -> Row:
    """The row, or a failed one where a number in it is none: infinity and NaN are no results."""
    if "hops" in row:
        return {**row, "hops": [checked_row(hop) for hop in row["hops"]]}
    wrong = {k: v for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
    if not wrong:
        return row
    kept = {k: None if isinstance(v, float) else v for k, v in row.items()}
    name, value = next(iter(wrong.items()))
    known = row.get("reason") if row.get("status") != "ok" else None
    reason = known or f"{name} came out as {value}, which is no number"
    return {**kept, "status": "failed", "reason": reason}


def noted(notes: Sequence[str]) -> str | None:
    """Notes of a reader in one cell of a table; None without any."""
    return "; ".join(notes) or None


def readable_formula(formula: str) -> str:
    """A formula with its fractional amounts to four digits and no ones, as in ``Li0.3333CoO2``."""
    short = re.sub(r"\d+\.\d+", lambda amount: f"{float(amount[0]):.4g}", formula)
    return re.sub(r"(?<![\d.])1(?![\d.])", "", short)


def failed_row(record: Crystal | FailedRecord, reason: str) -> Row:
    """The row of a record that could not be predicted."""
    reason = " ".join(reason.split())
    if isinstance(record, Crystal):
        return crystal_row(record, status="failed", reason=reason)
    row: Row = dict.fromkeys(COLUMNS)
    row.update(
        candidate_id=record.id, formula=record.formula or None, status="failed", reason=reason
    )
    return row


def with_spread(value: float, std: float) -> tuple[str, str]:
    """A value and its spread as text: the spread to two digits, the value as far as that goes."""
    if not 0.0 < std < math.inf:
        return f"{value:.3g}", f"{std:.3g}"
    n_decimals = max(0, 1 - math.floor(math.log10(std)))
    return f"{value:.{n_decimals}f}", f"{std:.{n_decimals}f}"


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The rows as CSV text, see :func:`csv_lines`."""
    return "".join(csv_lines(rows, columns))


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """The rows as lines of a CSV file, one after the other.

    Missing values are empty, truth values ``true`` and ``false``, floats have six significant
    digits. A text that holds a line's end is quoted.
    """
    yield ",".join(map(_quoted, columns)) + "\n"
    for row in rows:
        yield ",".join(_quoted(written(row.get(c))) for c in columns) + "\n"


def cell_text(cell: str) -> str:
    """A text cell as it was before it was written: without the apostrophe against formulas."""
    return cell[1:] if cell.startswith("'") and FORMULA_START.match(cell) else cell


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if CELL_BREAK.search(cell) else cell


def written(value: Any) -> str:
    """One value as it stands in a table, before quotes; floats with six significant digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    text = UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], str(value))
    if not isinstance(value, str) or not FORMULA_START.match(text) or _reads_as_number(text):
        return text
    return f"'{text}"


def _reads_as_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and text.isascii() and text == text.strip()
    except ValueError:
        return False
