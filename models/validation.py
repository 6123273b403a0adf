"""Validation rows beside a card: which rows, what was predicted, and a checksum of each label.

A folder ``validation`` in the model folder holds one table a protocol (``grouped.csv``,
``leave-family-out.csv``): out-of-fold predictions of rows that the model was trained on, by models
of the same recipe that did not see their group. Labels themselves are not stored, only their
checksums and the absolute errors, so that whoever has the data can recompute everything and who has
not can still compare the card with the rows.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ionbridge.models.checkpoint import IncompatibleModelError

VALIDATION = "validation"
GROUPED, LEAVE_FAMILY_OUT, LEAVE_ION_OUT = "grouped", "leave-family-out", "leave-ion-out"
STARTER = "starter"
"""Predictions of the shipped weights for the starter rows; no validation, but a fingerprint."""
COLUMNS = ("id", "family", "working_ion", "prediction", "absolute_error", "label_sha256")
FEWEST_ROWS = 8
"""A scope with fewer rows gets no error of its own."""
SMALLEST_FOUND_LABEL = 0.01
ROUNDED_TWICE = 1.1e-5
"""Prediction and error have five decimals each: so far off is their sum from the label."""
ROBUST_SHARE = 0.683
"""One standard deviation is the size that this share of the errors stays below."""


class ValidationRow(NamedTuple):
    """One row of a validation.

    Attributes:
        id: Of the record.
        family: Its framework family, where known.
        working_ion: Its ion, where known.
        prediction: Out of fold, in the unit of the quantity.
        absolute_error: |prediction - label|.
        label_sha256: Checksum of id and label, see :func:`label_checksum`.
    """

    id: str
    family: str
    working_ion: str
    prediction: float
    absolute_error: float
    label_sha256: str


@dataclass(frozen=True)
class DomainError:
    """How large the errors in a scope are, and the rows that say so.

    Attributes:
        std: One standard deviation, robust: the middle 68.3 % of the errors are smaller.
        n_rows: Rows.
        protocol: Of their validation.
        half_90: Nine of ten errors are smaller: half of the 90 % interval. Errors have longer tails
            than a normal distribution, so this is more than 1.645 standard deviations.
    """

    std: float
    n_rows: int
    protocol: str
    half_90: float


def label_checksum(id: str, label: float) -> str:
    """First 16 hex digits of the SHA-256 of ``id:label``, the label to six significant digits."""
    return hashlib.sha256(f"{id}:{label:.6g}".encode()).hexdigest()[:16]


def validation_row(
    id: str, family: str | None, working_ion: str | None, prediction: float, label: float
) -> ValidationRow:
    """A row from a prediction and its label."""
    return ValidationRow(
        id,
        family or "",
        working_ion or "",
        round(float(prediction), 5),
        round(abs(float(prediction) - float(label)), 5),
        label_checksum(id, label),
    )


def label_of(row: ValidationRow) -> float | None:
    """The label of a row, found again: prediction and error lead to it, its checksum knows it.

    Returns:
        None where the label is too small (below SMALLEST_FOUND_LABEL) for the five decimals of
        prediction and error.

    Raises:
        ValueError: Neither prediction plus error nor prediction minus error has this checksum.
    """
    ends = [row.prediction + sign * row.absolute_error for sign in (1.0, -1.0)]
    for end in ends:
        for label in (*(round(end, n) for n in range(6)), *_near(end)):
            is_near = abs(label - end) <= ROUNDED_TWICE + _half_of_sixth_digit(end)
            if is_near and label_checksum(row.id, label) == row.label_sha256:
                return label
    if min(map(abs, ends)) < SMALLEST_FOUND_LABEL:
        return None
    raise ValueError(f"{row.id}: prediction and error do not lead to the label of the checksum")


def _half_of_sixth_digit(value: float) -> float:
    """How far a number lies from the same with six significant digits, at most."""
    return 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - 5) if value else 0.0


def _near(value: float) -> Iterator[float]:
    """Numbers of six significant digits as near as two roundings to five decimals leave open."""
    if abs(value) < SMALLEST_FOUND_LABEL:
        return
    n_decimals = max(5 - math.floor(math.log10(abs(value))), 0)
    n_steps = math.ceil(ROUNDED_TWICE * 10**n_decimals)
    for k in range(-n_steps, n_steps + 1):
        yield round(value, n_decimals) + k * 10**-n_decimals


def write_validation(folder: Path, protocol: str, rows: Iterable[ValidationRow]) -> Path:
    """Write the table of a protocol into a model folder."""
    path = Path(folder) / VALIDATION / f"{protocol}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, column) for column in COLUMNS] for row in rows)
    return path


def read_validation(folder: Path) -> dict[str, list[ValidationRow]]:
    """Rows of all protocols of a model folder; empty where it has none.

    Raises:
        IncompatibleModelError: A table cannot be read.
    """
    tables = {}
    for path in sorted((Path(folder) / VALIDATION).glob("*.csv")):
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                lines = csv.reader(stream)
                if tuple(next(lines, ())) != COLUMNS:
                    raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
                tables[path.stem] = [_row(line) for line in lines if line]
        except (OSError, ValueError, csv.Error) as error:
            raise IncompatibleModelError(f"{path}: cannot be read ({error})") from None
    return tables


def _row(line: Sequence[str]) -> ValidationRow:
    id, family, ion, mean, gap, checksum = line
    prediction, error = float(mean), float(gap)
    if not (math.isfinite(prediction) and 0.0 <= error < math.inf):
        raise ValueError(f"{id}: prediction {prediction}, error {error}")
    return ValidationRow(id, family, ion, prediction, error, checksum)


def errors_by_domain(folder: Path) -> dict[str, DomainError]:
    """Errors by scope: ``all``, ``family:NAME``, ``ion:SYMBOL``, ``unseen_family``, ``unseen_ion``.

    The scopes of the grouped protocol are for families and ions that the model has seen; leaving
    families and ions out gives those of unseen ones.
    """
    tables = read_validation(folder)
    scopes: dict[str, DomainError] = {}
    for protocol, scope in ((LEAVE_FAMILY_OUT, "unseen_family"), (LEAVE_ION_OUT, "unseen_ion")):
        if tables.get(protocol):
            scopes[scope] = _error(tables[protocol], protocol)
    grouped = tables.get(GROUPED)
    if not grouped:
        return scopes
    scopes["all"] = _error(grouped, GROUPED)
    by: Sequence[tuple[str, Callable[[ValidationRow], str]]] = (
        ("family", lambda row: row.family),
        ("ion", lambda row: row.working_ion),
    )
    for name, key in by:
        parts: dict[str, list[ValidationRow]] = {}
        for row in grouped:
            parts.setdefault(key(row), []).append(row)
        for value, own in parts.items():
            if value and len(own) >= FEWEST_ROWS:
                scopes[f"{name}:{value}"] = _error(own, GROUPED)
    return scopes


def _error(rows: Sequence[ValidationRow], protocol: str) -> DomainError:
    """A robust standard deviation, since long tails of a few rows say little about the others."""
    std, half_90 = np.quantile([row.absolute_error for row in rows], [ROBUST_SHARE, 0.9])
    return DomainError(float(std), len(rows), protocol, float(half_90))
