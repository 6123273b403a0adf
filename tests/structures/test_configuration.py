"""Settings from mappings: what is right comes through, what is wrong is named."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest

from ionbridge.structures.configuration import ConfigurationError, from_mapping, nearest


@dataclass(frozen=True)
class Inner:
    depth: int = 2
    width_A: float = 1.0


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    parts: tuple[Inner, ...] = ()
    kind: Literal["fast", "slow"] = "fast"
    limit: int | None = None
    strict: bool = True
    free: dict[str, Any] = field(default_factory=dict)


def test_a_full_mapping_becomes_the_dataclass():
    data = {
        "name": "x",
        "inner": {"depth": 3},
        "parts": [{"depth": 1}, {"width_A": 2}],
        "kind": "slow",
        "limit": None,
        "strict": False,
    }
    expected = Outer("x", Inner(depth=3), (Inner(depth=1), Inner(width_A=2.0)), "slow", None, False)
    assert from_mapping(Outer, data, "run.yaml") == expected


def test_defaults_stand_where_nothing_is_said_and_integers_pass_as_numbers():
    made = from_mapping(Outer, {"name": "x", "inner": {"width_A": 3}}, "run.yaml")
    assert made == Outer("x", Inner(width_A=3.0))
    assert isinstance(made.inner.width_A, float)


def test_a_free_mapping_is_kept_as_it_is():
    made = from_mapping(Outer, {"name": "x", "free": {"a": 1, "b": [2.0]}}, "run.yaml")
    assert made.free == {"a": 1, "b": [2.0]}
    with pytest.raises(ConfigurationError, match="free: expected a mapping, got 3"):
        from_mapping(Outer, {"name": "x", "free": 3}, "run.yaml")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "innner": {}}, "run.yaml: unknown key 'innner'; did you mean 'inner'?"),
        ({"name": "x", "inner": {"depht": 1}}, "inner: unknown key 'depht'; did you mean 'depth'?"),
        ({"name": "x", "zzz": 1}, "known: free, inner, kind, limit, name, parts, strict"),
        ({"name": "x", 5: 1}, "unknown key '5'"),
        ({}, "run.yaml: key 'name' is missing"),
        ({"name": 7}, "name: expected a text, got 7 (int)"),
        ({"name": "x", "inner": {"depth": "2"}}, "depth: expected an integer, got '2' (str)"),
        ({"name": "x", "inner": {"depth": True}}, "depth: expected an integer, got True (bool)"),
        ({"name": "x", "inner": {"width_A": True}}, "width_A: expected a number, got True (bool)"),
        ({"name": "x", "inner": {"width_A": None}}, "width_A: expected a number, got None"),
        ({"name": "x", "inner": 3}, "inner: expected a mapping of settings, got 3 (int)"),
        ({"name": "x", "kind": "quick"}, "kind: expected fast | slow, got 'quick' (str)"),
        ({"name": "x", "parts": "abc"}, "parts: expected a list, got 'abc' (str)"),
        ({"name": "x", "parts": [{"depth": 1.5}]}, "parts[0]: depth: expected an integer, got 1.5"),
        ({"name": "x", "limit": "all"}, "limit: expected an integer, got 'all' (str)"),
        ({"name": "x", "strict": 1}, "strict: expected true or false, got 1 (int)"),
        (["name"], "run.yaml: expected a mapping of settings, got ['name'] (list)"),
        (None, "run.yaml: expected a mapping of settings, got None (NoneType)"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(data, message):
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(Outer, data, "run.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dates_and_paths_are_texts_and_other_objects_are_refused():
    given = {"name": date(2026, 11, 29), "free": {"file": Path("a.cif")}}
    assert from_mapping(Outer, given, "run.yaml") == Outer("2026-11-29", free={"file": "a.cif"})
    with pytest.raises(ConfigurationError, match=r"expected texts and numbers \(got \{'a'\} \(set"):
        from_mapping(Outer, {"name": "x", "free": {"files": {"a"}}}, "run.yaml")


def test_the_nearest_name_or_all_of_them():
    assert nearest("temprature", ["temperature", "seed"]) == "did you mean 'temperature'?"
    assert nearest("q", ["b", "a"]) == "known: a, b"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_no_setting(value):
    with pytest.raises(ConfigurationError, match="width_A: expected a finite number"):
        from_mapping(Inner, {"width_A": value}, "campaign.yaml")
