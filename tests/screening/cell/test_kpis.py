"""Figures of merit of an ohmic cell, which can be written down."""

import numpy as np
import pytest

from ionbridge.screening.cell.kpis import (
    Curve,
    duty_cycle_energy_Wh,
    mean_heat_W,
    pulse_power_W,
    retention,
    round_trip_efficiency,
)

U, OHM, AH, LOWER = 4.0, 0.05, 2.0, 3.0


def ohmic(c_rate: float, capacity: float = AH) -> Curve:
    """A cell of constant open-circuit voltage behind a resistance."""
    current = c_rate * AH
    charge = np.linspace(0.0, capacity, 101)
    rest = np.full_like(charge, U)
    return Curve(c_rate, current, charge, rest - current * OHM, rest, LOWER)


def test_energy_and_heat() -> None:
    one = ohmic(1.0)
    assert one.energy_Wh == pytest.approx((U - AH * OHM) * AH)
    assert mean_heat_W(one) == pytest.approx(one.current_A**2 * OHM)
    assert round_trip_efficiency(one) == pytest.approx((U - AH * OHM) / (U + AH * OHM))


def test_retention() -> None:
    assert retention(ohmic(3.0, 1.5), ohmic(0.2)) == pytest.approx(0.75)


def test_pulse_power_is_that_of_the_resistance() -> None:
    # V = 3 V is reached at 20 A, before I V is largest at U / 2 R = 40 A
    assert pulse_power_W([ohmic(0.2), ohmic(1.0)]) == pytest.approx(60.0, rel=1e-3)


def test_pulse_power_ends_where_the_charge_is_not_reached() -> None:
    # capacity 1.5 Ah at 1C and 0.5 Ah at 3C: 1 Ah is just reached at 2C
    power = pulse_power_W([ohmic(0.2), ohmic(1.0, 1.5), ohmic(3.0, 0.5)])
    assert power == pytest.approx(LOWER * 2.0 * AH, rel=0.2)


def test_duty_cycle_of_an_ohmic_cell() -> None:
    cycle = ((1.0, 60.0), (0.0, 30.0), (2.0, 30.0))
    mean = U - OHM * AH * 0.5 * (1.0 + 2.0)
    energy = duty_cycle_energy_Wh([ohmic(0.5), ohmic(1.0), ohmic(2.0)], cycle)
    assert energy == pytest.approx(mean * AH, rel=1e-3)


def test_duty_cycle_ends_with_its_hardest_step() -> None:
    curves = [ohmic(0.2), ohmic(1.0, 1.8), ohmic(3.0, 0.6)]
    one_rate = duty_cycle_energy_Wh(curves, ((1.0, 10.0),))
    with_peaks = duty_cycle_energy_Wh(curves, ((1.0, 10.0), (3.0, 1.0)))
    assert one_rate == pytest.approx(ohmic(1.0, 1.8).energy_Wh, rel=2e-3)
    assert with_peaks < ohmic(1.0, 0.61).energy_Wh


def test_a_cell_that_gives_nothing_drives_nowhere() -> None:
    assert duty_cycle_energy_Wh([ohmic(0.2), ohmic(1.0, 0.01)], ((1.0, 10.0),)) < 0.05
