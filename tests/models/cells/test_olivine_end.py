"""An olivine's end: resistors in parallel, diffusion in a sphere, and what a prediction keeps."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ionbridge.models.cells.cell_discrepancy import PARTS, Kind, RatedCurve
from ionbridge.models.cells.olivine_end import (
    CONTACT_V_H,
    HALF,
    SHARES,
    ended,
    olivine_discharge,
    open_circuit_V,
)

LOWER_V, START = 2.0, 0.05
INSTANT_H = 1e-4


def _record(rate, volts=0.1, slow_rate=0.05):
    slow = 3.25 - 1.25 * np.exp((PARTS - 1.0) / 0.01)
    return RatedCurve(
        Kind("a", "graphite", "olivine"),
        rate,
        slow_rate,
        slow,
        np.full(len(PARTS), volts * (rate - slow_rate)),
        0.99,
    )


def _at(record, share):
    found, volts = record.corrected(np.zeros(len(PARTS) + 1), LOWER_V)
    return np.interp(share, found, volts)


def test_groups_are_the_whole_electrode():
    assert SHARES.sum() == pytest.approx(1.0)
    assert open_circuit_V(np.array([0.5]))[0] == pytest.approx(3.432, abs=1e-3)


def test_a_slow_discharge_follows_the_open_circuit():
    drawn, volts = olivine_discharge(0.005, INSTANT_H, START, 2.7, contact=0.1)
    kept = (volts > 3.0) & (drawn > 0.05)
    assert np.allclose(volts[kept], open_circuit_V(START + drawn[kept]), atol=2e-2)
    assert drawn[-1] == pytest.approx(1.0 - START, abs=0.02)


def test_groups_are_resistors_in_parallel_while_none_is_full():
    drop = open_circuit_V(np.array([0.3]))[0] - olivine_discharge(1.0, INSTANT_H, 0.3, 2.0)[1][0]
    assert drop == pytest.approx(1.0 / (SHARES / CONTACT_V_H).sum(), rel=0.05)


def test_surfaces_run_ahead_by_a_fifteenth_of_the_diffusion_time():
    rate, diffusion_h = 0.5, 0.6
    drawn, volts = olivine_discharge(rate, diffusion_h, START, 2.7, contact=1e-9)
    ahead = START + drawn + rate * diffusion_h / 15.0
    knee = (ahead > 0.93) & (ahead < 0.97)
    assert knee.any()
    assert np.allclose(volts[knee], open_circuit_V(ahead[knee]), atol=5e-3)


def test_groups_that_share_a_current_agree_with_another_solver():
    rate, conductance = 0.5, SHARES / CONTACT_V_H
    inside = 1e-9

    def level(filling):
        free = open_circuit_V(np.clip(filling, inside, 1.0))
        return ((conductance * free).sum() - rate) / conductance.sum(), free

    def uptake(_, filling):
        volts, free = level(filling)
        return (free - volts) / CONTACT_V_H

    until = 0.9 * (1.0 - START) / rate
    solved = solve_ivp(uptake, (0.0, until), np.full(4, START), "Radau", rtol=1e-6, atol=1e-8)
    expected = [level(y)[0] for y in solved.y.T]
    drawn, volts = olivine_discharge(rate, INSTANT_H, START, 2.0)
    at = np.linspace(0.1, 0.88 * (1.0 - START), 60)
    found = np.interp(at, drawn, volts)
    assert np.allclose(found, np.interp(at, rate * solved.t, expected), atol=8e-3)


def test_what_is_given_falls_with_the_rate():
    ends = [olivine_discharge(r, 1.0, START, LOWER_V)[0][-1] for r in (0.05, 0.2, 0.5, 1.0, 3.0)]
    assert (np.diff(ends) < 0.0).all()


def test_a_prediction_keeps_its_first_half_and_gives_less():
    whole, end = _record(1.0), ended(_record(1.0), (1.0, 1.0), START, LOWER_V)
    first = np.linspace(0.01, 0.99 * HALF, 20)
    assert np.allclose(_at(end, first), _at(whole, first), atol=2e-3)
    late = np.linspace(0.6, 0.9, 20)
    assert (_at(end, late) <= _at(whole, late) + 2e-3).all()
    assert 0.85 < end.capacity < 0.97


def test_what_else_limits_a_cell_stays():
    short = replace(_record(1.0), capacity=0.6)
    found = ended(short, (1.0, 1.0), START, LOWER_V)
    assert found.capacity <= short.capacity
    early = np.linspace(0.05, 0.5, 10)
    assert (_at(found, early) <= _at(short, early) + 1e-3).all()


def test_capacities_fall_with_rate_and_diffusion_time_and_rise_with_heat():
    found = [ended(_record(r), (1.0, 1.0), START, LOWER_V).capacity for r in (0.1, 0.5, 1.0, 2.0)]
    assert (np.diff(found) < 0.0).all()
    slower = ended(_record(1.0), (2.0, 2.0), START, LOWER_V).capacity
    warmer = ended(_record(1.0), (1.0, 0.5), START, LOWER_V).capacity
    assert slower < found[2] < warmer


def test_contacts_are_no_more_than_what_a_cell_polarises():
    fast = INSTANT_H, INSTANT_H
    plain = ended(_record(1.0), fast, START, LOWER_V).capacity
    power = ended(_record(1.0, volts=0.005), fast, START, LOWER_V).capacity
    assert plain < power - 0.01


@pytest.mark.parametrize("rate", [0.05, 0.02])
def test_discharges_no_faster_than_the_slow_one_stay(rate):
    record = _record(rate)
    assert ended(record, (1.0, 1.0), START, LOWER_V) is record


def test_an_olivine_that_is_far_too_slow_gives_out_at_half():
    end = ended(_record(20.0, volts=0.01), (5.0, 5.0), START, LOWER_V)
    assert end.capacity == pytest.approx(HALF, abs=2e-3)
    assert np.isfinite(end.polarisation_V).all()
