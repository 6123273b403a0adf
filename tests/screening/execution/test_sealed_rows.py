"""A line that carries its own checksum comes back as it was, or is known not to."""

import json
import random

import pytest

from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.sealed_rows import SEAL, check_same, sealed, sealed_rows

ROW = {"id": "Ω\u2028", "value": 0.1 + 0.2, "none": None, "deep": {"b": [1, 2.0], "a": True}}


def test_round_trip() -> None:
    lines = [json.dumps(sealed(ROW)), "", json.dumps(sealed({}), ensure_ascii=False)]
    assert list(sealed_rows(lines)) == [(1, sealed(ROW)), (3, sealed({}))]
    assert sealed(sealed(ROW)) == sealed(ROW)
    steps = json.dumps(sealed({"id": "a", "barrier_eV_after": {0: 1.0, 3: 0.5, 10: 0.4}}))
    assert [number for number, row in sealed_rows([steps]) if isinstance(row, dict)] == [1]


def test_any_other_character_is_noticed() -> None:
    line = json.dumps(sealed(ROW))
    chance = random.Random(0)
    for _ in range(300):
        k = chance.randrange(len(line))
        other = line[:k] + chr(ord(line[k]) ^ 1 << chance.randrange(5)) + line[k + 1 :]
        for _, found in sealed_rows([other]):
            assert isinstance(found, str) or found == sealed(ROW), other


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[" * 100_000, "no JSON object"),
        ("\0", "no JSON object"),
        ("[1]", "no JSON object"),
        ("NaN", "no JSON object"),
        (json.dumps(ROW), "no checksum"),
        (json.dumps({**sealed(ROW), "id": "x"}), "checksum differs"),
        (json.dumps({**sealed(ROW), SEAL: 1}), "checksum differs"),
        (json.dumps({**sealed(ROW), "value": float("nan")}), "checksum differs"),
    ],
)
def test_what_does_not_hold_says_why(line: str, why: str) -> None:
    ((number, found),) = sealed_rows([line])
    assert number == 1
    assert why in found


@pytest.mark.parametrize("made", [{"seed": 0, "steps": 5}, {"steps": 5}])
def test_what_was_made_otherwise_is_not_gone_on_with(made: dict[str, int]) -> None:
    check_same("a.json: its rows were", {"seed": 3, "more": 1}, {"seed": 3})
    with pytest.raises(InputError, match=r"a\.json: its rows were made with seed (0|None), not 3"):
        check_same("a.json: its rows were", made, {"steps": 5, "seed": 3})
