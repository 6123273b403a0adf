"""A plan tells of no condition that it does not compute at."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from ionbridge.screening.cell.designs import read_designs
from ionbridge.screening.cell.simulation import Discharges
from ionbridge.screening.cli import main

Capture = pytest.CaptureFixture[str]


def designs(path: Path, *columns_and_rows: str) -> Path:
    path.write_text("\n".join(columns_and_rows) + "\n", encoding="utf-8")
    return path


def planned(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, str]]:
    out = tmp_path / "plan"
    status = main(["plan", "--goal", "cell_energy", *arguments, "--execute", "--out", str(out)])
    with (out / "result.csv").open(encoding="utf-8") as file:
        return status, next(csv.DictReader(file))


def simulated_Wh(table: Path) -> Any:
    """What ``cell simulate`` gives, as near as the reduced-order model comes to it."""
    return pytest.approx(Discharges()(read_designs(table))[0]["energy_Wh"], rel=4e-4)


def test_a_temperature_that_the_designs_leave_open_is_used(tmp_path: Path, capsys: Capture) -> None:
    open_ = designs(tmp_path / "open.csv", "design_id,base_cell,c_rate", "a,Prada2013_balanced,1")
    warm = designs(
        tmp_path / "warm.csv",
        "design_id,base_cell,c_rate,temperature_K",
        "a,Prada2013_balanced,1,318.15",
    )
    status, row = planned(tmp_path, "--given", str(open_), "--temperature-K", "318.15")
    assert status == 0
    assert "at 318.15 K, 1C" in capsys.readouterr().out
    assert float(row["energy_Wh"]) == simulated_Wh(warm)
    _, usual = planned(tmp_path, "--given", str(open_))
    assert "at 298.15 K, 1C" in capsys.readouterr().out
    assert float(usual["energy_Wh"]) == simulated_Wh(open_)


@pytest.mark.parametrize("asked", [("--c-rate", "3"), ("--temperature-K", "318.15")])
def test_what_the_designs_state_otherwise_is_refused(
    tmp_path: Path, capsys: Capture, asked: tuple[str, str]
) -> None:
    table = designs(
        tmp_path / "d.csv",
        "design_id,base_cell,c_rate,temperature_K",
        "a,Prada2013_balanced,1,298.15",
    )
    out = tmp_path / "plan"
    arguments = ["plan", "--goal", "cell_energy", "--given", str(table), *asked, "--out", str(out)]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "contradictory" in err
    assert asked[0] in err


def test_conditions_of_several_designs_are_told_as_they_are(
    tmp_path: Path, capsys: Capture
) -> None:
    table = designs(
        tmp_path / "d.csv",
        "design_id,base_cell,c_rate,temperature_K",
        "a,Prada2013_balanced,1,298.15",
        "b,Prada2013_balanced,2,310",
    )
    out = tmp_path / "plan"
    arguments = ["plan", "--goal", "cell_energy", "--given", str(table), "--out", str(out)]
    assert main(arguments) == 0
    assert "at 298.15 to 310 K, 1 to 2C" in capsys.readouterr().out
    stated = json.loads((out / "plan.json").read_text(encoding="utf-8"))["conditions"]
    assert stated == {"temperature_K": [298.15, 310.0], "c_rate": [1.0, 2.0], "seed": 0}


@pytest.mark.parametrize(
    ("goal", "given"),
    [("specific_energy", "chemistry:LiFePO4"), ("gravimetric_capacity", "chemistry:LiCoO2")],
)
def test_a_condition_without_effect_is_named_and_not_in_the_header(
    capsys: Capture, goal: str, given: str
) -> None:
    asked = ["--temperature-K", "350", "--c-rate", "2"]
    assert main(["plan", "--goal", goal, "--given", given, *asked]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " at " not in lines[0]
    assert sum("is not used" in line for line in lines) == 2


def test_a_given_value_stands_whatever_is_asked(capsys: Capture) -> None:
    given = ["--given", "diffusivity=1e-10cm2/s", "--temperature-K", "400"]
    assert main(["plan", "--goal", "diffusivity", *given]) == 0
    out = capsys.readouterr().out
    assert "400 K" not in out.splitlines()[0]
    assert "--temperature-K 400 is not used" in out


def test_a_cap_on_cycles_is_no_life(tmp_path: Path) -> None:
    goal = ["plan", "--goal", "cycle_life", "--given", "chemistry:LFP", "--execute"]
    for kelvin, status in (("298.15", 2), ("278", 0)):
        out = tmp_path / kelvin
        assert main([*goal, "--temperature-K", kelvin, "--out", str(out)]) == status
        with (out / "result.csv").open(encoding="utf-8") as file:
            row = next(csv.DictReader(file))
        if status:
            assert row["log10_cycle_life"] == ""
            assert "no end of life within 20000 cycles" in row["reason"]
        else:
            assert float(row["log10_cycle_life"]) < math.log10(20_000)
            assert "no knee is foreseen" in row["reason"]


def test_a_measured_diffusivity_goes_into_the_cell_as_it_stands(tmp_path: Path) -> None:
    table = designs(
        tmp_path / "d.csv",
        "design_id,base_cell,c_rate,Positive particle diffusivity [m2.s-1]",
        "a,Prada2013_balanced,1,3e-19",
    )
    given = ["--given", "chemistry:LFP", "chemical_diffusivity=3e-15 cm2/s"]
    _, row = planned(tmp_path, *given, "--temperature-K", "298.15")
    assert float(row["energy_Wh"]) == simulated_Wh(table)
