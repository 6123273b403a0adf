"""Fits of measured cells: what was put in comes out, and what curves do not say stays open."""

import numpy as np
import pytest

from ionbridge.models.cells.measured_cell import (
    PARAMETERS,
    CellBasis,
    MeasuredCurve,
    Prior,
    fit_cell,
)
from tests.models.cells.small_cells import tables

KELVIN = 298.15


@pytest.fixture(scope="module")
def basis():
    flat = np.zeros(101)
    return CellBasis(tables(), {"Negative": flat, "Positive": flat}, 0.03, 3.0, np.inf, 1.0)


def _curve(basis, c_rate, share=0.75, **changes):
    """A curve of a cell that differs from the base set."""
    truth = basis.start
    for name, change in changes.items():
        truth[PARAMETERS.index(name)] += change
    charge = np.linspace(0.0, share * 0.033, 400)
    current = c_rate * 0.03
    course = basis.discharge(truth[None], np.array([current]), charge[None], np.array([KELVIN]))
    return MeasuredCurve(f"{c_rate}C", current, charge, course.voltage_V[0], KELVIN)


def test_the_base_set_itself_is_found(basis):
    fit = fit_cell(basis, [_curve(basis, 0.05)])
    assert np.allclose(fit.parameters, basis.start, atol=2e-3)
    assert np.abs(fit.residual.voltage_V).max() < 1e-3


def test_a_slow_curve_gives_the_capacity(basis):
    fit = fit_cell(basis, [_curve(basis, 0.05, capacity=0.05)])
    assert abs(fit.parameters[0] - 0.05) < 2.0 * fit.std[0]
    volts = fit.course(0.0015, np.linspace(0.0, 0.02, 50), KELVIN).voltage_V[0]
    assert np.isfinite(volts).all()


def test_faster_curves_give_the_resistance_and_its_interval_holds_it(basis):
    true = 0.03
    curves = [_curve(basis, c, resistance=true) for c in (0.05, 1.0)]
    fit = fit_cell(basis, curves)
    i = PARAMETERS.index("resistance")
    assert abs(fit.parameters[i] - true) < 2.0 * fit.std[i]
    volts = fit.course(curves[1].current_A, curves[1].charge_Ah, KELVIN).voltage_V[0]
    assert np.sqrt(np.mean((volts - curves[1].voltage_V) ** 2)) < 2e-3


def test_kinetics_stay_at_the_prior_where_only_a_slow_curve_is_known(basis):
    prior = Prior({"negative_diffusivity": -0.4})
    fit = fit_cell(basis, [_curve(basis, 0.05)], prior)
    i = PARAMETERS.index("negative_diffusivity")
    assert fit.parameters[i] == pytest.approx(-0.4)
    assert fit.std[i] == pytest.approx(prior.std["negative_diffusivity"])
    assert fit.informed["negative_diffusivity"] == 0.0


def test_what_the_slow_curve_still_differs_by_is_the_cells_own_equilibrium(basis):
    curve = _curve(basis, 0.05)
    bump = 0.01 * np.sin(2.0 * np.pi * curve.charge_Ah / 0.01)
    odd = MeasuredCurve("odd", curve.current_A, curve.charge_Ah, curve.voltage_V + bump, KELVIN)
    fit = fit_cell(basis, [odd])
    volts = fit.course(odd.current_A, odd.charge_Ah, KELVIN).voltage_V[0]
    inner = slice(20, -20)
    assert np.sqrt(np.mean((volts - odd.voltage_V)[inner] ** 2)) < 1.5e-3


def test_no_curve_is_refused(basis):
    with pytest.raises(ValueError, match="at least one"):
        fit_cell(basis, [])
