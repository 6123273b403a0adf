"""Power and heat of discharges: balances of energy, and the sign of what is lost."""

import math
from pathlib import Path

import pytest

from ionbridge.screening.planning.catalogue import Conditions, StepContext
from ionbridge.screening.planning.entries import default_catalogue

NOMINAL_AH = 2.28
"""Of the LiCoO2 base cell."""


def discharged(c_rate: float, entry: str = "cell-rom") -> dict[str, dict]:
    """Rows of one discharge of the LiCoO2 base cell, by quantity."""
    run = default_catalogue()[entry].run
    design = {"id": "a", "base_cell": "Ai2020_extended", "status": "ok"}
    context = StepContext(Conditions(temperature_K=298.15, c_rate=c_rate), Path())
    found = {name: rows[0] for name, rows in run({"cell_design": [design]}, context).items()}
    assert all(row["status"] == "ok" for row in found.values()), found
    return found


@pytest.mark.parametrize("c_rate", [0.5, 2.0])
def test_mean_power_is_energy_over_time(c_rate):
    found = discharged(c_rate)
    hours = found["cell_capacity"]["capacity_Ah"] / (c_rate * NOMINAL_AH)
    watts = found["cell_energy"]["energy_Wh"] / hours
    assert 10 ** found["cell_power"]["log10_power_W"] == pytest.approx(watts, rel=2e-3)


def test_heat_grows_with_the_rate_and_is_what_a_slow_discharge_would_have_given_more():
    slow, fast, faster = (discharged(c) for c in (0.02, 1.0, 2.0))
    heats = [found["cell_heat"]["heat_Wh"] for found in (slow, fast, faster)]
    assert heats[0] < heats[1] < heats[2]
    lost = slow["cell_energy"]["energy_Wh"] - fast["cell_energy"]["energy_Wh"]
    unused = slow["cell_capacity"]["capacity_Ah"] - fast["cell_capacity"]["capacity_Ah"]
    # both give nearly the same charge, the last of it near the lower cut-off of 3 V
    assert heats[1] - heats[0] == pytest.approx(lost - 3.3 * unused, rel=0.25)


def test_two_ways_agree_on_power_and_heat_within_what_they_state():
    pytest.importorskip("pybamm")
    rom, dfn = (discharged(1.0, entry) for entry in ("cell-rom", "pybamm-dfn"))
    assert rom["cell_power"]["log10_power_W"] == pytest.approx(
        dfn["cell_power"]["log10_power_W"], abs=1e-3
    )
    assert rom["cell_heat"]["heat_Wh"] == pytest.approx(dfn["cell_heat"]["heat_Wh"], rel=0.05)
    assert math.isfinite(rom["cell_heat"]["std"])
