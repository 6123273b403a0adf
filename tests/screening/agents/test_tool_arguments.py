"""What clients write, in whatever language they are written."""

from typing import Any

import pytest
from pydantic import ValidationError

from ionbridge.screening.agents.tool_arguments import (
    Campaign,
    ExecutePlan,
    Plan,
    Predict,
    ReadTable,
    Screen,
)
from ionbridge.screening.planning.inputs import read_given


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
    settings = {"name": "x", "candidates": {"prototypes": {"max_count": 7.0}, "files": None}}
    campaign = Campaign.model_validate({**settings, "n_draws": 16.0, "rank_by": None})
    assert campaign.candidates.prototypes is not None
    assert campaign.candidates.prototypes.max_count == 7
    assert Screen.model_validate({"campaign": settings, "limit": 3.0}).limit == 3


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
