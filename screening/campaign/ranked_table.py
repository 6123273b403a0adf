"""The ranked table of a campaign on disk: ``ranked.parquet``, sorted without being in memory.

Rows come in the order of the candidates. They are dealt into buckets of neighbouring places, each a
nameless file, and every bucket is sorted on its own: the one bucket in memory is all that is needed
at a time. ``ranked.csv``, the report and whoever wants the table read it from there, row by row.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ionbridge.screening.campaign.ranking import Ranking
from ionbridge.screening.execution.shards import replacing
from ionbridge.screening.table import COLUMNS, Row
from ionbridge.structures.plain_text import well_formed

BUCKET_ROWS = 20_000
"""Rows that are sorted in memory at a time."""
MOST_BUCKETS = 256
"""Files that are open at a time; tables of more rows have larger buckets."""
BATCH_ROWS = 2_000
"""Rows that are written and read at a time."""

WHOLE = (
    "rank",
    "rank_in_role",
    "percolation_dimensionality",
    "n_sites",
    "n_hops",
    "pareto_front",
)
"""Columns of whole numbers."""
TRUTHS = ("in_domain", "cell_in_domain")
TEXTS = (
    "candidate_id",
    "formula",
    "working_ion",
    "role",
    "family",
    "source",
    "fast_direction",
    "percolating_hops",
    "conductivity_source",
    "diffusivity_source",
    "measured_source",
    "carrier",
    "energy_above_hull_source",
    "status",
    "reason",
    "why",
    "model",
    "barrier_fidelity",
    "refine_reason",
    "note",
    "cell_base_cell",
    "cell_value_kind",
    "cell_from_candidate",
    "cell_from_base",
    "cell_status",
    "cell_reason",
    "cell_ageing_note",
)
"""Columns of texts; all others hold numbers."""


def schema(columns: Sequence[str]) -> pa.Schema:
    """Types of the columns, in their order."""
    kinds = {
        **dict.fromkeys(WHOLE, pa.int64()),
        **dict.fromkeys(TRUTHS, pa.bool_()),
        **dict.fromkeys(TEXTS, pa.string()),
    }
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in columns])


def in_order(rows: Iterable[Row], ranking: Ranking, folder: Path) -> Iterator[Row]:
    """Rows with their places, best first.

    Args:
        rows: (n,) in the order of the candidates.
        ranking: Of these rows.
        folder: Takes nameless files for as long as it lasts.
    """
    n = len(ranking.order)
    place = np.empty(n, dtype=np.int64)
    place[ranking.order] = np.arange(n)
    size = max(BUCKET_ROWS, -(-n // MOST_BUCKETS))
    with ExitStack() as stack:
        buckets = [
            stack.enter_context(tempfile.TemporaryFile("w+", dir=folder, encoding="ascii"))
            for _ in range(0, n, size)
        ]
        for k, row in enumerate(rows):
            line = json.dumps(ranking.placed(k, row))
            buckets[place[k] // size].write(f"{place[k]:012d} {line}\n")
        for bucket in buckets:
            bucket.seek(0)
            for line in sorted(bucket):
                yield json.loads(line[13:])
            bucket.close()


@dataclass(frozen=True)
class RankedTable:
    """Rows on disk, best first; read anew each time they are asked for.

    Attributes:
        path: ``ranked.parquet``.
    """

    path: Path

    def __iter__(self) -> Iterator[Row]:
        """One row after the other, every column present."""
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield from batch.to_pylist()

    def __len__(self) -> int:
        with pq.ParquetFile(self.path) as file:
            return int(file.metadata.num_rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns in their order."""
        return tuple(pq.read_schema(self.path).names)

    def write(self, rows: Iterable[Row], more_columns: Sequence[str] = ()) -> None:
        """Write the table, whole or not at all; the rows may be those of the one that is replaced.

        Args:
            rows: Best first; values of other columns are left out.
            more_columns: Columns beside COLUMNS.

        Raises:
            InputError: It cannot be written.
        """
        kinds = schema((*COLUMNS, *more_columns))
        with replacing(self.path) as partial, pq.ParquetWriter(partial, kinds) as writer:
            left = iter(rows)
            while some := list(islice(left, BATCH_ROWS)):
                columns = [_column(some, name, kinds.field(name).type) for name in kinds.names]
                writer.write_batch(pa.record_batch(columns, schema=kinds))


def _column(rows: Sequence[Mapping[str, Any]], name: str, kind: pa.DataType) -> pa.Array:
    """The values of a column; texts as any reader takes them."""
    values = [row.get(name) for row in rows]
    if kind == pa.string():
        values = [None if v is None else well_formed(str(v)) for v in values]
    elif kind == pa.float64():
        values = [None if v is None else float(v) for v in values]
    return pa.array(values, type=kind)
