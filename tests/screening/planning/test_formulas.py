"""Steps that are physics, against closed forms and the other route through the program."""

import math
from pathlib import Path

import pytest

from ionbridge.screening.planning.application import application_entries
from ionbridge.screening.planning.catalogue import Conditions, StepContext
from ionbridge.screening.planning.formulas import formula_entries
from ionbridge.screening.planning.records import composition_in
from ionbridge.structures.io.json_records import crystal_to_json
from ionbridge.structures.transport.closed_forms import nernst_einstein
from ionbridge.structures.units import FARADAY_C_PER_MOL
from tests.screening.tiny import layered

ENTRIES = {entry.name: entry for entry in (*formula_entries(), *application_entries())}


def run(name, temperature_K=300.0, **tables):
    context = StepContext(Conditions(temperature_K=temperature_K), Path())
    return ENTRIES[name].run(tables, context)


def value(id="x", **columns):
    return {"id": id, "std": 0.0, "in_domain": True, "status": "ok", **columns}


@pytest.mark.parametrize(
    ("formula", "mAh_g"), [("LiFePO4", 169.9), ("LiCoO2", 273.8), ("NaFePO4", 154.2)]
)
def test_theoretical_capacities(formula, mAh_g):
    row = run("faraday-capacity", composition=[value(formula=formula)])["gravimetric_capacity"][0]
    assert row["gravimetric_capacity_mAh_g"] == pytest.approx(mAh_g, rel=1e-3)


def test_the_metals_limit_the_capacity():
    two = run("faraday-capacity", composition=[value(formula="Li2FeSiO4")])["gravimetric_capacity"]
    molar = 161.8
    electrons = two[0]["gravimetric_capacity_mAh_g"] * 3.6 * molar / FARADAY_C_PER_MOL
    assert electrons <= 2.0 + 1e-3


def test_conductivity_is_nernst_einstein():
    found = run(
        "nernst-einstein",
        temperature_K=400.0,
        diffusivity=[value(log10_diffusivity_cm2_s=-9.0, working_ion="Mg")],
        carrier_density=[value(log10_carrier_density_cm3=21.0)],
    )["conductivity"][0]
    expected = math.log10(float(nernst_einstein(1e-9, 1e21, 400.0, charge=2)))
    assert found["log10_conductivity_S_cm"] == pytest.approx(expected)


def test_specific_energy_is_a_product_with_its_error():
    found = run(
        "specific-energy",
        voltage=[{**value(voltage_V=3.4), "std": 0.2}],
        gravimetric_capacity=[{**value(gravimetric_capacity_mAh_g=160.0), "std": 10.0}],
    )["specific_energy"][0]
    assert found["specific_energy_Wh_kg"] == pytest.approx(544.0)
    assert found["std"] == pytest.approx(math.hypot(0.2 * 160.0, 10.0 * 3.4))


def test_loading_of_a_coating():
    design = value(
        "d", thickness_um=100.0, porosity=0.3, active_fraction=0.9, particle_radius_um=5.0
    )
    found = run(
        "porous-electrode",
        electrode_design=[design],
        gravimetric_capacity=[value(gravimetric_capacity_mAh_g=150.0)],
    )
    assert found["effective_transport"][0]["effective_transport"] == pytest.approx(0.3**1.5)
    grams = 100e-4 * 0.7 * 0.9 * 4.0  # of a square centimetre
    assert found["loading"][0]["loading_mAh_cm2"] == pytest.approx(grams * 150.0)


def test_a_cell_delivers_no_more_than_is_asked():
    def delivered(asked):
        duty = value("duty", energy_Wh_per_day=asked, cycles_per_day=2.0)
        tables = {"cell_energy": [value(energy_Wh=7.0)], "duty_cycle": [duty]}
        return run("duty-cycle", **tables)["delivered_energy"][0]["delivered_energy_Wh"]

    assert delivered(5.0) == 5.0
    assert delivered(50.0) == 14.0


def test_years_of_service():
    duty = value("duty", energy_Wh_per_day=5.0, cycles_per_day=1.0)
    life = value(log10_cycle_life=math.log10(3652.5))
    row = run("years-of-service", cycle_life=[life], duty_cycle=[duty])["years_of_service"][0]
    assert row["log10_years_of_service"] == pytest.approx(1.0)


def test_a_failed_row_stays_failed_with_its_reason():
    broken = {"id": "x", "status": "failed", "reason": "no sites"}
    found = run(
        "specific-energy",
        voltage=[broken],
        gravimetric_capacity=[value(gravimetric_capacity_mAh_g=160.0)],
    )["specific_energy"][0]
    assert found == {"id": "x", "status": "failed", "reason": "no sites"}


def test_the_chain_of_steps_gives_what_predict_gives(tiny_model):
    """Hops, barriers and the jump network as steps, and the one call that does it all."""
    from ionbridge.screening.planning.trained import loaded, predicted_hops
    from ionbridge.screening.prediction.conduction import Conditions as ConductionConditions
    from ionbridge.screening.prediction.crystals import CrystalPredictor

    crystal = layered()
    rows = [{**crystal_to_json(crystal), "status": "ok"}]
    hops = run("hop-finder", crystal=rows)["hop"]
    assert {row["crystal_id"] for row in hops} == {crystal.id}
    barriers = predicted_hops(loaded(tiny_model), hops)
    found = run("jump-network", crystal=rows, migration_barrier=barriers)["diffusivity"][0]
    whole = CrystalPredictor(str(tiny_model), ConductionConditions())([crystal])[0]
    name = "log10_diffusivity_cm2_s"
    assert found[name] == pytest.approx(whole[name], abs=0.02)


def test_a_crystal_becomes_its_composition():
    row = composition_in(layered())
    assert row["formula"] == "Li3Co3O6"  # of the conventional cell
    assert row["space_group"] == 166
