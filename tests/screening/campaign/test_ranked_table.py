"""A table sorted out of core is that sorted in memory, and needs no more of it for more rows."""

import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from ionbridge.screening.campaign import ranked_table
from ionbridge.screening.campaign.ranked_table import RankedTable, in_order
from ionbridge.screening.campaign.ranking import rank, ranking
from ionbridge.screening.campaign.settings import Objective
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.shards import ShardFolder, StoredRows
from ionbridge.screening.table import COLUMNS, Row, csv_lines

D = Objective("log10_diffusivity_cm2_s")


def rows(n: int, seed: int = 0) -> Iterator[Row]:
    """Rows one after the other, some of them failed, some equal."""
    chance = random.Random(seed)
    for k in range(n):
        ok = chance.random() > 0.2
        yield {
            **dict.fromkeys(COLUMNS),
            "candidate_id": f"c{k}",
            "formula": "Li" * 50,
            "role": chance.choice(("electrode", "electrolyte")),
            "percolation_barrier_eV": 0.3,
            "percolation_barrier_std_eV": 0.1,
            "percolation_dimensionality": 1,
            "log10_diffusivity_cm2_s": round(chance.uniform(-12, -6), 2) if ok else None,
            "log10_conductivity_S_cm": round(chance.uniform(-9, -1), 1) if ok else None,
            "in_domain": bool(chance.randrange(2)),
            "status": "ok" if ok else "failed",
            "reason": None if ok else 'no "hops", none',
        }


@pytest.mark.parametrize("bucket", [1, 7, 1000])
def test_sorted_in_buckets_as_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: int
) -> None:
    monkeypatch.setattr(ranked_table, "BUCKET_ROWS", bucket)
    given = list(rows(120))
    table = RankedTable(tmp_path / "t.parquet")
    table.write(in_order(iter(given), ranking(given, [D], "lcb"), tmp_path))
    wanted = rank(given, [D], "lcb")
    assert len(table) == 120
    assert table.columns == COLUMNS
    assert list(table) == wanted
    assert list(csv_lines(table, COLUMNS)) == list(csv_lines(wanted, COLUMNS))
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    assert pd.read_parquet(table.path)["candidate_id"].tolist() == [
        r["candidate_id"] for r in wanted
    ]


def test_places_in_a_role_are_those_of_the_value_less_its_spread() -> None:
    ranked = rank(list(rows(200)), [D], "mean")
    for role, column in (
        ("electrode", "log10_diffusivity_cm2_s"),
        ("electrolyte", "log10_conductivity_S_cm"),
    ):
        own = [r for r in ranked if r["role"] == role and r["status"] == "ok"]
        wanted = sorted(own, key=lambda row: -row[column])  # stable: ties as in the table
        assert [r["rank_in_role"] for r in wanted] == list(range(1, len(own) + 1))
    assert all(r["rank_in_role"] is None for r in ranked if r["status"] != "ok")


def test_a_table_may_be_made_of_itself(tmp_path: Path) -> None:
    table = RankedTable(tmp_path / "t.parquet")
    table.write(rank(list(rows(30)), [D], "mean"))
    before = list(table)
    table.write(({**row, "cell_value": 2.0, "cell_status": "ok"} for row in table),
                ("cell_value", "cell_status"))  # fmt: skip
    assert [{k: row[k] for k in COLUMNS} for row in table] == before
    assert {row["cell_value"] for row in table} == {2.0}


def test_any_text_and_equal_bytes(tmp_path: Path) -> None:
    strange = [{**row, "candidate_id": "x\ud800\0\r\n=1", "source": 3} for row in rows(3)]
    for name in "ab":
        RankedTable(tmp_path / name).write(strange)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (first, *_) = RankedTable(tmp_path / "a")
    assert first["candidate_id"] == "x\\ud800\0\r\n=1"
    assert first["source"] == "3"
    assert list(csv_lines(RankedTable(tmp_path / "a"), COLUMNS)) == list(
        csv_lines(strange, COLUMNS)
    )


def test_what_is_no_regular_file_stays(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").mkdir()
    with pytest.raises(InputError, match=r"t\.parquet: cannot be written"):
        RankedTable(tmp_path / "t.parquet").write(rows(2))


def peak_bytes(folder: Path, n: int) -> int:
    """Most memory while n rows are stored, ranked, sorted and written as CSV."""
    folder.mkdir()
    size = 500
    tracemalloc.start()
    shards = ShardFolder(folder / "shards", "f")
    stream = rows(n)
    for index in range(n // size):
        some = [next(stream) for _ in range(size)]
        shards.write(index, [r["candidate_id"] for r in some], some)
    stored = StoredRows(shards, n // size)
    table = RankedTable(folder / "t.parquet")
    table.write(in_order(stored, ranking(stored, [D], "mean"), folder))
    n_lines = sum(1 for _ in csv_lines(table, COLUMNS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_lines == n + 1
    return peak


def test_memory_does_not_grow_with_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranked_table, "BUCKET_ROWS", 500)
    monkeypatch.setattr(ranked_table, "BATCH_ROWS", 500)
    small, large = (peak_bytes(tmp_path / str(n), n) for n in (1000, 3000))
    assert (large - small) / 2000 < 300  # bytes a row; one in memory has 4,000
