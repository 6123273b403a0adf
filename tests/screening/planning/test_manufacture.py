"""From slurry to cell and from cell to cost: closed forms, limits, and one mass by two ways."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import Conditions, StepContext
from ionbridge.screening.planning.entries import default_catalogue
from ionbridge.screening.planning.inputs import read_given, read_givens
from ionbridge.screening.planning.manufacture import (
    calendered_porosity,
    coating_mass_mg_cm2,
    solids_density_g_cm3,
    wet_film_um,
)
from ionbridge.screening.planning.planner import plan

COATING = {
    "solids_mass_fraction": 0.6,
    "active_mass_fraction": 0.94,
    "active_density_g_cm3": 3.6,
    "solvent_density_g_cm3": 1.03,
    "gap_um": 300.0,
    "line_speed_m_min": 1.0,
}
ROLL = {
    "line_load_N_mm": 200.0,
    "compaction_resistance_N_mm": 300.0,
    "porosity_before": 0.55,
    "porosity_limit": 0.25,
}


def run(entry: str, **tables: Any) -> Any:
    context = StepContext(Conditions(), Path())
    found = default_catalogue()[entry].run
    assert found is not None
    return found(tables, context)


def row(**values: Any) -> dict[str, Any]:
    return {"id": "a", "std": 0.0, "status": "ok", **values}


def test_drag_alone_leaves_half_the_gap_at_any_speed() -> None:
    assert wet_film_um(COATING) == 150.0
    assert wet_film_um({**COATING, "line_speed_m_min": 20.0}) == 150.0


def test_a_head_of_slurry_is_poiseuille_flow_beside_the_drag() -> None:
    head = {"viscosity_Pa_s": 2.0, "blade_length_mm": 3.0, "head_Pa": 200.0}
    G, U = 300e-6, 1.0 / 60.0
    flow = U * G / 2 + G**3 * 200.0 / (12 * 2.0 * 3e-3)  # m2/s of a slit, drag and pressure
    assert wet_film_um({**COATING, **head}) == pytest.approx(1e6 * flow / U)
    fast = wet_film_um({**COATING, **head, "line_speed_m_min": 1e6})
    assert fast == pytest.approx(150.0, rel=1e-4)
    with pytest.raises(InputError, match="viscosity_Pa_s"):
        wet_film_um({**COATING, "head_Pa": 200.0})


def test_mass_is_that_of_the_solids_in_the_wet_film() -> None:
    volume = 0.6 / solids_density_g_cm3(COATING) + 0.4 / 1.03
    assert coating_mass_mg_cm2(COATING) == pytest.approx(1e3 * 150e-4 * 0.6 / volume)
    pure = {**COATING, "active_mass_fraction": 1.0 - 1e-12}
    assert solids_density_g_cm3(pure) == pytest.approx(3.6)


def test_the_roll_closes_pores_down_to_a_limit() -> None:
    assert calendered_porosity({**ROLL, "line_load_N_mm": 1e-9}) == pytest.approx(0.55)
    assert calendered_porosity({**ROLL, "line_load_N_mm": 1e9}) == pytest.approx(0.25)
    once = calendered_porosity(ROLL)
    twice = calendered_porosity({**ROLL, "porosity_before": once})
    assert twice == pytest.approx(calendered_porosity({**ROLL, "line_load_N_mm": 400.0}))


def test_thickness_and_mass_are_one_electrode() -> None:
    mass = coating_mass_mg_cm2(COATING)
    made = run(
        "coated-electrode",
        coating=[row(**COATING)],
        coating_mass=[row(coating_mass_mg_cm2=mass)],
        electrode_porosity=[row(electrode_porosity=0.3)],
    )
    design = made["electrode_design"][0]
    volume = design["thickness_um"] * 1e-4 * (1 - design["porosity"])
    assert volume * solids_density_g_cm3(COATING) == pytest.approx(1e-3 * mass)
    capacity = [row(gravimetric_capacity_mAh_g=170.0)]
    transport = run("porous-electrode", electrode_design=[design], gravimetric_capacity=capacity)
    loading = transport["loading"][0]["loading_mAh_cm2"]
    assert loading == pytest.approx(1e-3 * mass * 0.94 * 170.0)
    ratio = transport["tortuosity"][0]["tortuosity"]
    assert ratio * transport["effective_transport"][0]["effective_transport"] == pytest.approx(0.3)


def test_a_plan_goes_from_coating_to_cell_and_says_what_nobody_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, values in (("coating", COATING), ("roll", ROLL)):
        (tmp_path / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    files = [str(tmp_path / "coating.json"), str(tmp_path / "roll.json")]
    made = plan("cell_energy", read_givens([*files, "chemistry:LFP"]))
    assert made.chosen is not None
    # a named chemistry is a whole cell; with an electrode of one's own the plan must use that
    names = [step.entry for step in made.chosen.steps]
    assert names[:4] == ["blade-coating", "calendering", "coated-electrode", "electrode-in-cell"]
    assert any("blade-coating is not validated" in text for text in made.warnings)
    out = tmp_path / "plan"
    arguments = ["plan", "--goal", "cell_energy", "--given", *files, "chemistry:LFP", "--execute"]
    assert main([*arguments, "--out", str(out)]) == 0
    with (out / "result.csv").open(encoding="utf-8") as file:
        assert float(next(csv.DictReader(file))["energy_Wh"]) > 0


def test_costs_are_price_over_energy() -> None:
    tables = {
        "cell_energy": [row(energy_Wh=8.0, std=0.4)],
        "cycle_life": [row(log10_cycle_life=3.0, std=0.1)],
        "prices": [row(cell_price=4.0)],
    }
    found = run("price-of-capacity", **tables)["capacity_cost"][0]
    assert 10 ** found["log10_capacity_cost_per_kWh"] == pytest.approx(500.0)
    assert found["std"] == pytest.approx(0.05 / math.log(10))
    found = run("price-of-throughput", **tables)["throughput_cost"][0]
    assert 10 ** found["log10_throughput_cost_per_kWh"] == pytest.approx(4.0 / (0.9 * 8.0))
    assert found["std"] == pytest.approx(math.hypot(0.05 / math.log(10), 0.1, 0.02))


def test_stability_is_a_chance() -> None:
    def chance(value: float, std: float) -> float:
        rows = [row(energy_above_hull_eV_atom=value, std=std)]
        return run("metastability", energy_above_hull=rows)["stability"][0]["stability"]

    assert chance(0.067, 0.05) == pytest.approx(0.5)
    assert chance(0.0, 0.0) == 1.0
    assert chance(0.5, 0.05) < 1e-6


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"gap_um": 300}', "solids_mass_fraction"),
        (json.dumps({**COATING, "solids_mass_fraction": 60}), "less than 1"),
        (json.dumps({**COATING, "gap_mm": 0.3}), "gap_um"),
        (json.dumps({"cell_price": "4 EUR"}), "positive number"),
        (json.dumps({"cell_price": math.inf}), "positive number"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=told):
        read_given(path)
