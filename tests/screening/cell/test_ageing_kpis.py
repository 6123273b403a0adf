"""Ageing KPIs follow the directions that physics gives, and say what they do not know."""

from dataclasses import replace

import pytest

from benchmarks.ageing_simulation import histories, load_runs
from ionbridge.models.cells.ageing_rom import KNOTS, AgeingRom
from ionbridge.models.cells.graphite import Cycling
from ionbridge.screening.cell.ageing_base import LCO, LFP
from ionbridge.screening.cell.ageing_kpis import (
    LONGEST_CYCLES,
    ageing_kpis,
    ageing_model,
    years_of_service,
)
from ionbridge.screening.errors import InputError

GENTLE = Cycling(0.5, 0.5, 298.15, 0.7)


@pytest.fixture(scope="module", params=[LCO, LFP])
def model(request: pytest.FixtureRequest) -> AgeingRom:
    return ageing_model(request.param)


def test_heat_and_depth_age(model: AgeingRom) -> None:
    usual = ageing_kpis(model, GENTLE)
    hot = ageing_kpis(model, replace(GENTLE, temperature_K=313.15))
    assert hot.capacity_fade_percent > usual.capacity_fade_percent
    assert hot.cycles_to_end < usual.cycles_to_end
    assert hot.lithium_lost_mAh["sei_Ah"] > usual.lithium_lost_mAh["sei_Ah"]
    cold = ageing_kpis(model, replace(GENTLE, temperature_K=278.15, charge_c_rate=1.5))
    assert cold.lithium_lost_mAh["plating_Ah"] > usual.lithium_lost_mAh["plating_Ah"]


def test_intervals_surround_the_life(model: AgeingRom) -> None:
    found = ageing_kpis(model, replace(GENTLE, temperature_K=315.0), end_of_life=0.95)
    assert found.cycles_to_end_lower < found.cycles_to_end < found.cycles_to_end_upper
    assert found.capacity_fade_std_percent > 0
    assert found.extrapolated == (found.cycles_to_end > KNOTS[-1])
    assert found.in_domain
    assert not ageing_kpis(model, replace(GENTLE, charge_c_rate=9.0)).in_domain


def test_days_of_rest_age_too(model: AgeingRom) -> None:
    busy = ageing_kpis(model, GENTLE)
    most = 24 / GENTLE.cycle_h
    full = ageing_kpis(model, GENTLE, cycles_per_day=most)
    assert full.capacity_fade_percent == pytest.approx(busy.capacity_fade_percent)
    resting = ageing_kpis(model, GENTLE, cycles_per_day=1.0)
    assert resting.capacity_fade_percent > busy.capacity_fade_percent
    with pytest.raises(InputError, match="do not fit a day"):
        ageing_kpis(model, GENTLE, cycles_per_day=2 * most)


def test_models_give_back_the_runs_they_learnt() -> None:
    rows = load_runs()
    for base in (LCO, LFP):
        model = ageing_model(base)
        for life in histories(rows, base)[:5]:
            found = ageing_kpis(model, life.cycling)
            expected = 100 * float(life.channels["capacity_lost"][-1])
            assert found.capacity_fade_percent == pytest.approx(expected, rel=0.1)


def test_years_and_bad_input(model: AgeingRom) -> None:
    assert years_of_service(3652.5, 1.0) == pytest.approx(10.0)
    with pytest.raises(InputError, match="positive"):
        years_of_service(100.0, 0.0)
    with pytest.raises(InputError, match="share"):
        ageing_kpis(model, GENTLE, end_of_life=80.0)
    with pytest.raises(InputError, match="cycles"):
        ageing_kpis(model, GENTLE, cycles=0.0)
    with pytest.raises(InputError, match="no ageing model"):
        ageing_model("Chen2020")
    assert ageing_kpis(model, GENTLE, end_of_life=0.01).cycles_to_end == LONGEST_CYCLES
