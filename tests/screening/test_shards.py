"""Shards come back as they were written, and are there whole or not at all."""

from pathlib import Path

import pytest

from ionbridge.screening.shards import ShardFolder, write_atomically


def test_round_trip_in_any_order(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path / "shards")
    assert shards.finished() == set()
    rows = [{"id": "Ω\u2028 x", "value": 0.1 + 0.2, "none": None, "yes": True}, {"id": "b"}]
    shards.write(7, rows)
    shards.write(2, [])
    assert shards.finished() == {2, 7}
    assert shards.read(7) == rows
    assert shards.read(2) == []


def test_an_unfinished_file_is_not_a_shard(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path)
    (tmp_path / ".000003.jsonl.99.partial").write_text('{"id": 1}\n{"i', encoding="utf-8")
    assert shards.finished() == set()


def test_a_failing_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"


def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        ShardFolder(tmp_path).write(0, [{"value": float("nan")}])
