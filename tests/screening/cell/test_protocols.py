"""Protocols on a real cell: resistance, refusals, and (slow) cycles and drives against energy."""

import numpy as np
import pytest

pytest.importorskip("pybamm")

from ionbridge.screening.cell.designs import Design, check
from ionbridge.screening.cell.discharge import discharge
from ionbridge.screening.cell.full_charge import full_charge, open_circuit
from ionbridge.screening.cell.kpis import Curve, duty_cycle_energy_Wh
from ionbridge.screening.cell.protocols import PROTOCOLS, ProtocolRuns, protocol
from ionbridge.screening.errors import InputError

BASE = "Prada2013_balanced"


def test_contact_resistance_adds_to_the_pulse_resistance() -> None:
    found = []
    for ohm in (0.0, 0.02):
        design = check(Design("a", BASE, 1.0, 298.15, {"Contact resistance [Ohm]": ohm}))
        found.append(ProtocolRuns("pulse")([design])[0]["pulse_resistance_Ohm"])
    assert found[1] - found[0] == pytest.approx(0.02, rel=1e-3)


def test_cold_is_refused_where_the_cell_does_not_know_it() -> None:
    row = ProtocolRuns("pulse")([check(Design("a", BASE, 1.0, 263.0))])[0]
    assert row["status"] == "failed"
    assert "do not depend on temperature" in row["reason"]


def test_factors_belong_to_discharges() -> None:
    given = {"Electrolyte conductivity factor": 0.5}
    row = ProtocolRuns("pulse")([check(Design("a", BASE, 1.0, 298.15, given))])[0]
    assert "constant-current discharges only" in row["reason"]


def test_unknown_protocol_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'drive_cycle'"):
        protocol("drive-cycle")


CLOSED = 2e-4
"""By how much a solved cycle may miss its own beginning, relative to its charge."""


@pytest.mark.parametrize(
    ("base", "c_rate", "given"),
    [
        ("Chen2020", 1.0, {"Upper voltage cut-off [V]": 4.0}),
        ("Chen2020", 0.5, {"Upper voltage cut-off [V]": 4.1, "Lower voltage cut-off [V]": 3.0}),
        (BASE, 0.04, {}),
        (BASE, 1.0, {"Maximum concentration in negative electrode [mol.m-3]": 31000.0}),
    ],
)
def test_what_goes_in_comes_out_but_for_what_is_lost(
    base: str, c_rate: float, given: dict[str, float]
) -> None:
    (row,) = ProtocolRuns("cycle")([check(Design("a", base, c_rate, 298.15, given))])
    assert row["status"] == "ok"
    assert row["coulombic_efficiency"] == pytest.approx(1.0, abs=CLOSED)
    assert row["round_trip_efficiency"] < 1.0
    slow = row["round_trip_efficiency"] > 0.98
    assert slow == (c_rate < 0.1)


def test_a_charge_starts_and_ends_at_the_designs_own_cut_offs() -> None:
    """At rest between them lies what an endlessly slow charge takes up."""
    given = {"Upper voltage cut-off [V]": 4.0, "Lower voltage cut-off [V]": 3.2}
    design = check(Design("a", "Chen2020", 0.005, 298.15, given))
    (row,) = ProtocolRuns("charge")([design])
    start = full_charge("Chen2020", given)
    charge = np.linspace(0.0, start.usable_Ah, 20001)
    rest = open_circuit("Chen2020", given, *start.stoichiometries(charge), 298.15)
    between = float(charge[np.flatnonzero(rest < 3.2)[0]])
    assert row["charge_capacity_Ah"] == pytest.approx(between, rel=5e-3)
    assert row["constant_current_share"] == 1.0


def test_a_design_that_cannot_be_charged_says_why() -> None:
    design = check(Design("a", "Chen2020", 1.0, 298.15, {"Upper voltage cut-off [V]": 5.9}))
    for name in PROTOCOLS:
        (row,) = ProtocolRuns(name)([design])
        assert "below the upper cut-off of 5.9 V" in row["reason"]


@pytest.mark.slow
def test_cycle_and_charge_obey_energy() -> None:
    design = check(Design("a", BASE, 1.0))
    out = discharge(design)
    cycle = ProtocolRuns("cycle")([design])[0]
    charge = ProtocolRuns("charge")([design])[0]
    assert cycle["energy_Wh"] == pytest.approx(out["energy_Wh"], rel=0.02)
    assert 0.85 < cycle["round_trip_efficiency"] < 1.0
    assert charge["charge_energy_Wh"] > cycle["energy_Wh"]


@pytest.mark.slow
def test_quasi_static_duty_cycle_is_near_the_simulated_one() -> None:
    curves = []
    for rate in (0.2, 1.0, 3.0):
        row = discharge(check(Design("a", BASE, rate)))
        rest = row["open_circuit_V"]
        curves.append(Curve.from_row(row, 2.3, 2.0, lambda _, rest=rest: rest))
    driven = ProtocolRuns("drive_cycle")([check(Design("a", BASE, 1.0))])[0]
    assert duty_cycle_energy_Wh(curves) == pytest.approx(driven["duty_cycle_energy_Wh"], rel=0.25)


def test_every_protocol_names_its_columns() -> None:
    assert all(p.columns for p in PROTOCOLS.values())
