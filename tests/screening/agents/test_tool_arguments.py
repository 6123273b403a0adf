"""What clients write, in whatever language they are written."""

import dataclasses
import re
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel, ValidationError

from ionbridge.screening.agents.screen_arguments import BOUNDS, TEXTS, CampaignArguments, Screen
from ionbridge.screening.agents.tool_arguments import ExecutePlan, Plan, Predict, ReadTable
from ionbridge.screening.agents.work_tools import checked
from ionbridge.screening.campaign.settings import (
    CampaignSettings,
    CandidateSettings,
    PrototypeSettings,
)
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.inputs import read_given
from ionbridge.screening.temperatures import COLDEST_K, HOTTEST_K
from ionbridge.structures.configuration import settings_in


@pytest.mark.parametrize(
    ("kelvin", "taken"),
    [(HOTTEST_K, True), (HOTTEST_K + 1.0, False), (COLDEST_K, True), (COLDEST_K - 1.0, False)],
)
def test_agents_ask_for_the_temperatures_that_commands_take(kelvin: float, taken: bool) -> None:
    campaign = {"name": "x", "candidates": {}, "temperature_K": kelvin}
    for tool, given in (
        (Predict, {"inputs": ["a"], "temperature_K": kelvin}),
        (Screen, {"campaign": campaign}),
    ):
        if taken:
            tool.model_validate(given)
            continue
        with pytest.raises(ValidationError, match="temperature_K"):
            tool.model_validate(given)


@pytest.mark.parametrize(
    "value",
    [
        "chemistry:Na3V2(PO4)3",
        "chemistry:LiNi0.8Mn0.1Co0.1O2",
        "chemistry:LFP",
        "diffusivity=1e-10 cm2/s",
        "diffusivity=1e-10cm2/s",
        "conductivity=0.1 mS/cm",
        "volume_change=7 %",
        "voltage=3.4 V",
    ],
)
def test_values_that_the_command_line_takes_are_taken(value: str) -> None:
    assert Plan(goal="cell_energy", values=[value]).values == [value]
    assert read_given(value).tables


@pytest.mark.parametrize("value", ["voltage=3.4\nV", "-rf", "voltage=" + "3" * 200, "=3", "a", ""])
def test_other_values_are_not(value: str) -> None:
    with pytest.raises(ValidationError):
        Plan(goal="cell_energy", values=[value])


def test_whole_numbers_and_null_are_understood() -> None:
    table = ReadTable.model_validate(
        {"path": "a.csv", "limit": 5.0, "offset": None, "sort_by": None}
    )
    assert (table.limit, table.offset) == (5, 0)
    plan = {"goal": "diffusivity", "values": ["chemistry:LFP"], "c_rate": None, "max_labels": 8.0}
    made = ExecutePlan.model_validate(plan)
    assert made.c_rate is None
    assert made.max_labels == 8
    assert isinstance(made.max_labels, int)
    assert Predict.model_validate({"inputs": ["a"], "cores": 2.0, "model": None}).cores == 2
    candidates = {"prototypes": {"max_count": 7.0}, "files": None}
    settings = {"name": "x", "candidates": candidates, "n_draws": 16.0, "rank_by": None}
    screen = Screen.model_validate({"campaign": settings, "limit": 3.0})
    assert screen.limit == 3
    assert screen.campaign == CampaignSettings(
        "x", candidates=CandidateSettings(prototypes=PrototypeSettings(max_count=7)), n_draws=16
    )


@pytest.mark.parametrize(
    "values",
    [
        {"path": "a.csv", "limit": 5.5},
        {"path": "a.csv", "limit": "5"},
        {"path": "a.csv", "limit": True},
        {"path": "a.csv", "limit": float("inf")},
        {"path": None},
        {"path": "a.csv", "limits": None, "more": 1},
    ],
)
def test_what_is_no_such_number_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReadTable.model_validate(values)


def test_a_campaign_of_agents_has_every_key_but_what_names_code() -> None:
    """Keys, defaults and nested parts are those of the settings; every bound is of one of them."""
    keys: set[str] = set()

    def check(narrow: Any, settings: Any, place: str) -> None:
        hints = get_type_hints(settings)
        free = {name for name, hint in hints.items() if get_origin(hint) is dict}
        assert set(narrow.model_fields) == {f.name for f in dataclasses.fields(settings)} - free
        assert all("arguments" in name for name in free)
        keys.update(f"{place}{name}" for name in narrow.model_fields)
        for name, field in narrow.model_fields.items():
            inner = settings_in(hints[name])
            if inner is not None:
                check(_model_in(field.annotation), inner, f"{place}{name}.")

    check(CampaignArguments, CampaignSettings, "")
    assert {key for key in BOUNDS if isinstance(key, str)} | set(TEXTS) <= keys
    assert Screen.model_validate({"campaign": {"name": "x"}}).campaign == CampaignSettings("x")


def _model_in(kind: Any) -> Any:
    """The model that an annotation holds."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next(filter(None, map(_model_in, get_args(kind))), None)


def test_an_unknown_argument_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"path: unknown argument.*\(known: inputs, ") as caught:
        checked(Predict, {"path": "crystals"}, "predict")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"refine": {"calculator": "os:system"}}, "campaign.refine.calculator: Input should be"),
        ({"active": {"calculator_arguments": {}}}, "calculator_arguments: unknown argument"),
        ({"n_draws": 10**9}, "campaign.n_draws: Input should be less than or equal to 4096"),
        ({"shard_size": 0}, "campaign.shard_size: Input should be greater than 0"),
        ({"cell": {"model": "../model"}}, "campaign.cell.model: String should match pattern"),
        ({"rank_by": "probability"}, "rank_by: probability needs objectives with a target each"),
    ],
)
def test_a_campaign_out_of_bounds_is_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        checked(Screen, {"campaign": {"name": "x", **settings}}, "screen")
    assert "\n" not in str(caught.value)
