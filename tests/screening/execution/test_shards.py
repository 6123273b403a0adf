"""Shards come back as they were written, are there whole or not at all, and are never believed."""

import json
import os
from pathlib import Path

import pytest

from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.shards import (
    DamagedShardError,
    ShardFolder,
    fingerprint,
    write_atomically,
)

ROWS = [{"id": "Ω\u2028 x\ud800\r\n", "value": 0.1 + 0.2, "none": None, "yes": True}, {"id": "b"}]
IDS = ["Ω\u2028 x\ud800\r\n", "b"]


def test_round_trip_in_any_order(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path / "shards", "f")
    assert shards.finished() == set()
    shards.write(7, IDS, ROWS)
    shards.write(2, [], [])
    assert shards.finished() == {2, 7}
    assert shards.read(7, IDS) == ROWS
    assert shards.read(2, []) == []
    assert ShardFolder(shards.path).read(7) == ROWS
    assert shards.kept({7: IDS, 2: [], 3: ["c"]}) == ({2, 7}, {})


def test_an_unfinished_file_is_not_a_shard(tmp_path: Path) -> None:
    (tmp_path / ".000003.jsonl.99.partial").write_text('{"id": 1}\n{"i', encoding="utf-8")
    (tmp_path / "0a.jsonl").write_text("", encoding="utf-8")
    assert ShardFolder(tmp_path).finished() == set()


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, "old")

    def pieces():
        yield "new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, pieces())
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_values_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        ShardFolder(tmp_path).write(0, ["a"], [{"value": float("nan")}])


def _cut(text: bytes) -> bytes:
    return text[: len(text) // 2]


DAMAGE = {
    "one digit": lambda text: text.replace(b"0.30000000000000004", b"0.90000000000000004"),
    "a line less": lambda text: b"".join(text.splitlines(keepends=True)[:-1]),
    "a line more": lambda text: text + b'{"id": "c"}\n',
    "a line twice": lambda text: text + text.splitlines(keepends=True)[-1],
    "lines turned": lambda text: b"".join([text.splitlines(keepends=True)[i] for i in (0, 2, 1)]),
    "emptied": lambda text: b"",
    "cut": _cut,
    "NaN": lambda text: text.replace(b"null", b"NaN "),
    "NUL": lambda text: text.replace(b"b", b"\0"),
    "0xff": lambda text: b"\xff" + text[1:],
    "an object": lambda text: b"{}",
    "rows without a header": lambda text: b"".join(text.splitlines(keepends=True)[1:]),
    "deep": lambda text: b"[" * 100_000,
    "other ids": lambda text: text.replace(b'"b"', b'"c"'),
    "another number": lambda text: text.replace(b'"shard": 7', b'"shard": 8'),
    "header of texts": lambda text: b'{"sha256": 1, "n_bytes": "x", "ids": 3}\n',
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_noticed(tmp_path: Path, name: str) -> None:
    shards = ShardFolder(tmp_path, "f")
    shards.write(7, IDS, ROWS)
    before = shards.file(7).read_bytes()
    after = DAMAGE[name](before)
    assert before != after
    shards.file(7).write_bytes(after)
    with pytest.raises(DamagedShardError):
        shards.read(7, IDS)
    assert shards.kept({7: IDS})[0] == set()
    with pytest.raises(DamagedShardError):
        ShardFolder(tmp_path).read(7)


def test_a_whole_shard_of_something_else_is_noticed(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path, fingerprint({"temperature_K": 300.0}))
    other = ShardFolder(tmp_path, fingerprint({"temperature_K": 600.0}))
    other.write(7, IDS, ROWS)
    with pytest.raises(DamagedShardError, match="other settings"):
        shards.read(7, IDS)
    shards.write(7, IDS, ROWS)
    with pytest.raises(DamagedShardError, match="candidates are others"):
        shards.read(7, ["a", "b"])
    os.rename(shards.file(7), shards.file(8))
    with pytest.raises(DamagedShardError, match="it is shard 7"):
        shards.read(8, IDS)


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path: Path, kind: str) -> None:
    shards = ShardFolder(tmp_path, "f")
    target = tmp_path / "target"
    target.write_text("mine")
    place = shards.file(0)
    {
        "folder": place.mkdir,
        "link": lambda: place.symlink_to(target),
        "pipe": lambda: os.mkfifo(place),
    }[kind]()
    for use in (lambda: shards.kept({0: IDS}), lambda: shards.write(0, IDS, ROWS)):
        with pytest.raises(InputError, match=r"000000\.jsonl"):
            use()
    assert target.read_text() == "mine"


def test_the_fingerprint_is_of_the_values(tmp_path: Path) -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint(json.loads('{"b": [2], "a": 1}'))
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
