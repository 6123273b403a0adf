"""Candidates come in a fixed order, one row an id."""

from pathlib import Path

import numpy as np
import pytest

from ionbridge.screening.campaign import candidates
from ionbridge.screening.campaign.candidates import (
    Candidate,
    Candidates,
    built,
    counted_sample,
    files_checksum,
    read_crystals,
    without_duplicates,
)
from ionbridge.screening.campaign.settings import CandidateSettings, PrototypeSettings
from ionbridge.screening.errors import InputError
from ionbridge.structures.frameworks.substitution import Recipe
from ionbridge.structures.io.reading import write_json_lines
from ionbridge.structures.records import Crystal, FailedRecord
from tests.screening.tiny import layered, rocksalt


def collect(
    settings: CandidateSettings, ions: tuple[str, ...], seed: int, limit: int | None = None
) -> list[Candidate]:
    return [built(one) for one in Candidates(settings, ions, seed, limit)]


def test_duplicate_ids_keep_their_rows() -> None:
    records = [layered("a"), rocksalt("b"), layered("a", metal="Ni"), FailedRecord("b", "empty")]
    result = [built(one) for one in without_duplicates(records)]
    assert [r.id for r in result] == ["a", "b", "a", "b"]
    assert [type(r) for r in result] == [Crystal, Crystal, FailedRecord, FailedRecord]
    assert result[2].reason == "duplicate id"
    assert result[2].formula == "LiNiO2"
    assert result[3].reason == "empty"


def test_what_cannot_be_read_takes_no_id() -> None:
    records = [FailedRecord("a", "empty"), layered("a"), FailedRecord("a", "cut"), rocksalt("a")]
    result = [built(one) for one in without_duplicates(records)]
    assert [type(r) for r in result] == [FailedRecord, Crystal, FailedRecord, FailedRecord]
    reasons = [r.reason for r in result if isinstance(r, FailedRecord)]
    assert reasons == ["empty", "cut", "duplicate id"]


def test_references_prototypes_and_files_in_this_order(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "mine.jsonl", [rocksalt("mine")])
    settings = CandidateSettings(
        references=True,
        prototypes=PrototypeSettings(max_count=5),
        files=(str(tmp_path / "mine.jsonl"),),
    )
    found = collect(settings, ("Li", "Na"), seed=0)
    formulas = [c.formula for c in found]
    assert {"LiFePO4", "LiCoO2", "LiMn2O4"} <= set(formulas)
    assert found[0].source == "reference"
    assert [c.id for c in found[-1:]] == ["mine"]
    assert len(found[-6:-1]) == 5
    again = Candidates(settings, ("Li", "Na"), 0)
    assert [one.id for one in again] == [c.id for c in found]
    assert collect(settings, ("Li", "Na"), seed=0, limit=3)[-1].id == found[2].id
    pieces = dict(again.pieces(7))
    assert [one.id for k in sorted(pieces) for one in pieces[k]] == [c.id for c in found]
    assert set(map(len, list(pieces.values())[:-1])) == {7}
    last = len(found) - 1
    assert {k: c.id for k, c in again.at([last, 0]).items()} == {
        0: found[0].id,
        last: "mine",
    }


def test_the_checksum_is_of_what_the_files_hold_and_of_their_order(tmp_path: Path) -> None:
    for name, crystal in (("a", rocksalt("a")), ("b", layered("b"))):
        write_json_lines(tmp_path / f"{name}.jsonl", [crystal])
    a, b = (str(tmp_path / f"{name}.jsonl") for name in "ab")

    first = files_checksum([a, b])
    assert first == files_checksum([a, b])
    assert len({first, files_checksum([b, a]), files_checksum([a]), files_checksum([])}) == 4
    write_json_lines(Path(b), [layered("b", "Ni")])
    assert files_checksum([a, b]) != first
    with pytest.raises(InputError, match="no such file"):
        files_checksum([a, "/no/such/file.cif"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (CandidateSettings(), "no candidates"),
        (CandidateSettings(files=("/no/such/file.cif",)), "no/such/file.cif"),
        (
            CandidateSettings(prototypes=PrototypeSettings(families=("spinnel",))),
            "unknown families spinnel",
        ),
    ],
)
def test_nothing_to_screen_is_one_line(settings: CandidateSettings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        collect(settings, ("Li",), seed=0)


def test_hops_are_no_candidates(tmp_path: Path) -> None:
    (tmp_path / "hops.jsonl").write_text(
        '{"id": "h", "working_ion": "Li", "lattice": [[9,0,0],[0,9,0],[0,0,9]], '
        '"host_species": ["O"], "host_frac": [[0,0,0]], "path_frac": [[0.3,0,0],[0.6,0,0]]}\n',
        encoding="utf-8",
    )
    with pytest.raises(InputError, match="expected crystals, found hops"):
        read_crystals([tmp_path / "hops.jsonl"])


@pytest.mark.parametrize("count", [0, 1, 3, 16, 17, 100, 1000])
def test_a_count_keeps_a_few_spread_over_the_list(count: int) -> None:
    records = [FailedRecord(str(k), "") for k in range(count)]
    found, sample = counted_sample(iter(records), 16)
    assert found == count
    assert len(sample) == min(count, 16)
    places = [int(record.id) for record in sample]
    assert places == sorted(set(places))
    if count > 32:
        assert max(np.diff([0, *places, count])) <= 4 * count / 16


def test_what_is_counted_is_what_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CandidateSettings(references=True, prototypes=PrototypeSettings(max_count=60))
    whole = collect(settings, ("Li", "Na"), 0)
    built: list[str] = []
    build = Recipe.build
    monkeypatch.setattr(Recipe, "build", lambda self: built.append(self.id) or build(self))
    count, sample = counted_sample(Candidates(settings, ("Li", "Na"), 0), 4)
    assert count == len(whole)
    assert {one.id for one in sample} <= {one.id for one in whole}
    assert len(built) < 30  # those of the sample, and those that may repeat a reference


@pytest.mark.parametrize("limit", [None, 500, 20])
@pytest.mark.parametrize("max_count", [5, 800])
def test_the_count_without_going_through_is_that_of_going_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_count: int, limit: int | None
) -> None:
    monkeypatch.setattr(candidates, "COUNTED_ONE_BY_ONE", 0)
    write_json_lines(tmp_path / "mine.jsonl", [rocksalt("mine"), layered("too")])
    settings = CandidateSettings(
        references=True,
        prototypes=PrototypeSettings(
            families=("LISICON", "spinel", "argyrodite"), max_count=max_count
        ),
        files=(str(tmp_path / "mine.jsonl"),),
    )
    given = Candidates(settings, ("Li", "Na"), 0, limit)
    n = sum(1 for _ in given)
    built: list[str] = []
    build = Recipe.build
    monkeypatch.setattr(Recipe, "build", lambda self: built.append(self.id) or build(self))
    found, sample = given.counted(16)
    assert found == n
    assert 0 < len(sample) <= 16
    assert len(built) <= 20


def test_a_campaign_of_200000_candidates_is_counted_without_building_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[str] = []
    build = Recipe.build
    monkeypatch.setattr(Recipe, "build", lambda self: built.append(self.id) or build(self))
    settings = CandidateSettings(prototypes=PrototypeSettings(max_count=200_000))
    found, sample = Candidates(settings, ("Li", "Na", "K"), 0).counted(16)
    assert found == 200_000
    assert len(sample) == len(built) == 16
