"""Records to rows of results: at once where all are good, each on its own where one is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ionbridge.screening.table import Row
from ionbridge.structures.records import UnusableStructureError

T = TypeVar("T")


def failed_prediction(record: Any, reason: str) -> Row:
    """The row of a record that could not be predicted."""
    reason = " ".join(reason.removeprefix(f"{record.id}: ").split())
    return {"id": record.id, "status": "failed", "reason": reason}


def each_or_failed(
    records: Sequence[T],
    rows: Callable[[Sequence[T]], list[Row]],
    failed: Callable[[T, str], Row] = failed_prediction,
) -> list[Row]:
    """One row a record; one that raises spoils its own row alone.

    Args:
        records: (n,) of any kind.
        rows: Records -> as many rows.
        failed: Record and reason -> its row.
    """
    if not records:
        return []
    try:
        return rows(records)
    except Exception as error:  # one record spoils the batch: each on its own shows which
        if len(records) > 1:
            return [each_or_failed([record], rows, failed)[0] for record in records]
        known = isinstance(error, UnusableStructureError | ValueError)
        return [failed(records[0], str(error) if known else f"{type(error).__name__}: {error}")]


def predicted_rows(
    model: Any, records: Sequence[Any], columns: Sequence[str], *at: Any
) -> list[Row]:
    """Rows with mean, spread, calibrated interval and in-domain flag of a model.

    Args:
        model: With ``predict``, ``interval`` and ``in_domain``.
        records: (n,) records that it takes.
        columns: Names of mean, one standard deviation, lower and upper end of the 90 % interval.
        at: Further arguments of ``predict``, for example a temperature in K.
    """
    found = model.predict(records, *at)
    ends, inside = model.interval(found), model.in_domain(records)
    values = zip(found.mean, found.std, *ends, strict=True)
    return [
        {
            "id": record.id,
            **dict(zip(columns, map(float, own), strict=True)),
            "in_domain": bool(flag),
            "status": "ok",
        }
        for record, own, flag in zip(records, values, inside, strict=True)
    ]
