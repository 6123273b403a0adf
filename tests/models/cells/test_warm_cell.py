"""The closed form that warms itself: what it is without heat, and what heat does."""

import numpy as np

from ionbridge.models.cells.electrolyte_profile import PropertyRows
from ionbridge.models.cells.single_particle import discharge, unevenness, voltage
from ionbridge.models.cells.warm_cell import EquilibriumCurve, HeatBalance, warm_discharge
from tests.models.cells.small_cells import cells

MICROVOLT = 1e-6


def _time(of, n=200):
    return 0.6 * of.duration * np.linspace(0.0, 1.0, n) ** 2


def _held(of):
    return HeatBalance(np.full((len(of), 1), np.inf), np.ones((len(of), 1)))


def test_a_cell_held_at_its_temperature_is_the_closed_form():
    of = cells(4)
    time = _time(of)
    state = discharge(of, time)
    expected = voltage(of, state) + unevenness(of, state, time).gain
    found = warm_discharge(of, time, _held(of))
    assert np.abs(found.voltage_V - expected)[:, 1:].max() < 1e-4
    assert np.allclose(found.temperature_K, 298.15)


def test_a_constant_diffusivity_is_no_shape():
    of = cells(3)
    time = _time(of)
    flat = PropertyRows(np.ones((3, 101)), 0.01)
    plain = warm_discharge(of, time, _held(of))
    shaped = warm_discharge(of, time, _held(of), {"Negative": flat, "Positive": flat})
    assert np.abs(shaped.voltage_V - plain.voltage_V).max() < MICROVOLT


def test_heat_that_cannot_leave_is_the_voltage_lost():
    of = cells(3)
    time = _time(of, 400)
    capacity = np.full((3, 1), 5.0)
    found = warm_discharge(of, time, HeatBalance(capacity, np.full((3, 1), 1e-12)))
    power = of.current * found.overpotential_V
    heat = np.trapezoid(power, time, axis=1)
    rise = (found.temperature_K - 298.15)[:, -1]
    assert np.allclose(rise, heat / 5.0, rtol=0.02)


def test_at_rest_a_cell_is_as_warm_as_what_surrounds_it():
    of = cells(2)
    time = _time(of, 400)
    strong = warm_discharge(of, time, HeatBalance(np.ones((2, 1)), np.full((2, 1), 1e6)))
    assert np.abs(strong.temperature_K - 298.15).max() < 1e-3


def test_an_equilibrium_of_its_own_is_added_at_the_charge_that_surfaces_show():
    of = cells(2)
    time = _time(of)
    level = EquilibriumCurve(np.array([0.0, 1.0]), np.array([0.02, 0.02]))
    plain, raised = (warm_discharge(of, time, _held(of), None, r) for r in (None, level))
    assert np.allclose(raised.voltage_V - plain.voltage_V, 0.02, atol=1e-4)
    slow = warm_discharge(of, time * 1.0, _held(of))
    gone = of.current * time / 3600.0
    assert (slow.reach_Ah >= gone - 1e-9).all()
