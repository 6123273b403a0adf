"""The cell stage on a cell that can be written down: ohmic, limited by diffusion at low D."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pybamm")

from ionbridge.models.library import load
from ionbridge.screening.cell.base_cells import base_cell
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.full_charge import full_charge, open_circuit
from ionbridge.screening.cell.inputs import CONDUCTIVITY
from ionbridge.screening.cell.own_voltage import own_voltage_V
from ionbridge.screening.cell.parameters import CATHODE_DIFFUSIVITY
from ionbridge.screening.cell.service import AGEING_COLUMNS, ageing_columns
from ionbridge.screening.cell.settings import CellSettings, Duty
from ionbridge.screening.cell.solvers import predicted
from ionbridge.screening.cell.stage import (
    CELL_COLUMNS,
    KPIS,
    VOLTAGE_COLUMNS,
    cell_columns,
    column,
    response,
)
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import Row

BASE = "Ai2020_extended"
OHM = 0.02


def ohmic(designs: Sequence[Design]) -> list[Row]:
    """Discharges of a resistance in which the share Fo / (Fo + 0.1) of the charge can be had."""
    start = full_charge(BASE)
    nominal = base_cell(BASE).nominal_capacity_Ah
    rows: list[Row] = []
    for design in designs:
        diffusivity = design.parameters.get(CATHODE_DIFFUSIVITY, 5e-15)
        fourier = 3600.0 * diffusivity / (design.c_rate * 9e-12)
        capacity = 0.95 * start.usable_Ah * fourier / (fourier + 0.1)
        charge = capacity * np.linspace(0.0, 1.0, 101)
        rest = open_circuit(BASE, {}, *start.stoichiometries(charge), 298.15)
        volts = np.maximum(rest - design.c_rate * nominal * OHM, 3.0)
        rows.append(
            {
                **design.to_dict(),
                "capacity_Ah": capacity,
                "energy_Wh": float(np.trapezoid(volts, charge)),
                "reversible_heat_J": 0.0,
                "voltage_V": volts.tolist(),
                "status": "ok",
                "reason": "",
            }
        )
    return rows


def candidate(name: str, log10: float, **more: Any) -> Row:
    return {
        "candidate_id": name,
        "formula": "LiCoO2",
        "working_ion": "Li",
        "role": "electrode",
        "temperature_K": 298.15,
        "log10_diffusivity_cm2_s": log10,
        "log10_diffusivity_std": 0.3,
        "percolation_barrier_eV": 0.3,
        "status": "ok",
        **more,
    }


ROWS = [
    candidate("fast", -9.0),
    candidate("slow", -12.5),
    candidate("unknown", float("nan")),
    candidate("refused", -9.0, status="failed", reason="no path"),
    candidate("light", -9.0, formula="LiF"),
]


@pytest.fixture(scope="module")
def found() -> Any:
    return cell_columns(ROWS, CellSettings(BASE, top_n=2), ohmic)


def test_as_many_rows_as_came_in_with_all_columns(found: Any) -> None:
    assert [row["candidate_id"] for row in found.rows] == [r["candidate_id"] for r in ROWS]
    assert all(set(CELL_COLUMNS) <= set(row) for row in found.rows)
    assert [row["cell_status"] for row in found.rows] == ["ok", "ok", "failed", "skipped", "ok"]
    assert "log10_diffusivity" in list(found.rows)[2]["cell_reason"]


def test_faster_is_better_until_it_stops_mattering(found: Any) -> None:
    fast, slow = list(found.rows)[:2]
    assert fast[column("capacity_retained_3C")] > slow[column("capacity_retained_3C")]
    on = found.responses["electrode"]
    retained = on.kpis["capacity_retained_3C"]
    assert (np.diff(retained) > 0.0).all()
    enough = on.enough("capacity_retained_3C")
    # 3C over C/5: (1 + 0.1 / Fo(C/5)) / (1 + 0.1 / Fo(3C)) is within 1 % of 1 where Fo(1C) = 28
    assert 10.0**enough * 3600.0 / 9e-12 == pytest.approx(28.0, rel=0.8)


def test_uncertainty_matters_where_the_cell_is_sensitive(found: Any) -> None:
    fast, slow = list(found.rows)[:2]
    std = column("capacity_retained_3C", std=True)
    assert slow[std] > 10.0 * fast[std] > 0.0


def test_a_lighter_cathode_gives_more_per_kilogram(found: Any) -> None:
    fast, light = (list(found.rows)[k] for k in (0, 4))
    energy, retained = column("specific_energy"), column("capacity_retained_1C")
    assert light[energy] > 1.3 * fast[energy]
    assert light[retained] == pytest.approx(fast[retained])


def test_curves_of_the_best_and_of_the_base_cell(found: Any) -> None:
    assert list(found.curves) == [BASE, "fast", "slow"]
    assert found.curves["fast"]["charge_Ah"][-1] > found.curves["slow"]["charge_Ah"][-1]
    assert set(found.base) == {column(kpi) for kpi in KPIS}


def test_a_domain_warning_of_the_table_stays_with_the_candidate_in_the_cell() -> None:
    given = [
        candidate("known", -9.0, in_domain=True),
        candidate("far", -9.0, in_domain=False, diffusivity_source="hop_network", note="heated"),
    ]
    known, far = cell_columns(given, CellSettings(BASE, top_n=0), ohmic).rows
    assert known["cell_reason"] == ""
    assert far["cell_status"] == "ok"
    for part in ("diffusivity lies outside the domain", "hop network", "heated"):
        assert part in far["cell_reason"]


def test_lfp_needs_its_own_prediction() -> None:
    stage = cell_columns(ROWS[:1], CellSettings("Prada2013_balanced"), ohmic)
    assert next(iter(stage.rows))["cell_status"] == "failed"
    assert "LiFePO4" in next(iter(stage.rows))["cell_reason"]


def test_all_candidates_age_like_the_base_cell(found: Any) -> None:
    fast, slow = list(found.rows)[:2]
    for name in AGEING_COLUMNS:
        assert fast[name] == slow[name]
    assert 0.0 < fast["cell_fade_500_cycles_percent"] < 100.0
    assert 0.0 < fast["cell_service_life_lower_years"] <= fast["cell_service_life_years"]


def test_more_days_a_cycle_age_more_and_a_base_cell_without_a_model_says_so() -> None:
    # the same 500 cycles, but twice the days at full charge, in which the SEI grows on
    daily, sparse = (ageing_columns(BASE, Duty(cycles_per_day=n), 298.15) for n in (1.0, 0.5))
    name = "cell_fade_500_cycles_percent"
    assert daily[name] < sparse[name]
    none = ageing_columns("Chen2020", Duty(), 298.15)
    assert none[name] is None
    assert "Chen2020" in none["cell_ageing_note"]
    with pytest.raises(InputError, match="depth_of_discharge"):
        ageing_columns(BASE, Duty(depth_of_discharge=1.5), 298.15)


def test_own_voltage_lifts_energy_by_its_share_and_leaves_capacity(found: Any) -> None:
    settings = CellSettings(BASE, top_n=0, own_voltage=True)
    low, high = (
        next(iter(cell_columns([candidate("v", -9, average_voltage_V=v)], settings, ohmic).rows))
        for v in (3.0, 4.0)
    )
    energy, kept = column("specific_energy"), column("capacity_retained_1C")
    assert high[kept] == low[kept] == next(iter(found.rows))[kept]
    # a volt more on a cell that has about 3.8 V at rest
    assert 1.2 < high[energy] / low[energy] < 1.45
    assert "4.00 V as given" in high["cell_from_candidate"]
    assert [high[name] for name in VOLTAGE_COLUMNS] == [4.0, 0.0]
    assert [next(iter(found.rows))[name] for name in VOLTAGE_COLUMNS] == [None, None]


def test_a_voltage_that_is_not_given_comes_from_the_shipped_model() -> None:
    volts, std, source = own_voltage_V({"formula": "LiFePO4", "working_ion": "Li"})
    assert abs(volts - 3.45) < 3.0 * std
    assert "voltage" in source
    assert own_voltage_V({"formula": "NaCoO2", "working_ion": "Na"}) is None


def test_a_better_electrolyte_gives_no_less_power_though_fast_discharges_are_not_known() -> None:
    # the reduced-order model calls its fast discharges unknown at some conductivities, not others
    on = response(CONDUCTIVITY, CellSettings("Prada2013_balanced"), predicted(load("cell-rom-lfp")))
    for kpi in ("pulse_power", "duty_cycle_energy"):
        values = on.kpis[kpi]
        assert (np.diff(values) >= -0.01 * values.max()).all()
