"""The closed forms of ageing have the limits that physics gives them."""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.models.cells.graphite import (
    SEI_START_M,
    Cycling,
    Graphite,
    arrhenius,
    drivers,
    sei_growth_m,
)
from ionbridge.structures.units import FARADAY_C_PER_MOL, GAS_CONSTANT_J_MOL_K

GRAPHITE = Graphite(
    nominal_Ah=2.0,
    particle_radius_m=5e-6,
    diffusivity_m2_s=3e-14,
    diffusivity_activation_J_mol=3e4,
    exchange_current_A_m2=0.4,
    exchange_current_activation_J_mol=3.5e4,
    current_A_m2=1.0,
    capacity_share=0.8,
    full_filling=0.8,
    potential_V=tuple(np.linspace(0.5, 0.05, 101)),
)
CYCLING = Cycling(1.0, 1.0, 298.15, 0.8)


def test_sei_grows_with_time_then_with_its_root() -> None:
    short, long = np.array([1e-3, 2e-3]), np.array([1e6, 4e6])
    kelvin = np.array(298.15)
    assert np.divide(*sei_growth_m(short, kelvin, SEI_START_M)[::-1]) == pytest.approx(2, rel=1e-3)
    assert np.divide(*sei_growth_m(long, kelvin, SEI_START_M)[::-1]) == pytest.approx(2, rel=1e-2)


def test_gradient_is_that_of_a_parabola() -> None:
    # uniform uptake q in a sphere: D laplace c = q, c(R) - mean(c) = q R^2 / 15 D
    per_second = 0.8 / 3600
    expected = per_second * 25e-12 / (15 * 3e-14)
    assert GRAPHITE.gradient(np.array(1.0), np.array(298.15)) == pytest.approx(expected)
    colder = GRAPHITE.gradient(np.array(1.0), np.array(273.15))
    assert colder * arrhenius(3e4, np.array(273.15)) == pytest.approx(expected)


def test_overpotential_is_linear_then_logarithmic() -> None:
    kelvin = np.array(298.15)
    thermal = GAS_CONSTANT_J_MOL_K * 298.15 / FARADAY_C_PER_MOL
    assert GRAPHITE.overpotential_V(np.array(1e-4), kelvin) == pytest.approx(
        thermal * 1e-4 / 0.4, rel=1e-6
    )
    decade = GRAPHITE.overpotential_V(np.array(1e4), kelvin) - GRAPHITE.overpotential_V(
        np.array(1e3), kelvin
    )
    assert decade == pytest.approx(2 * thermal * np.log(10), rel=1e-5)


def test_powers_of_stress_and_cycles() -> None:
    cyclings = [CYCLING, replace(CYCLING, discharge_c_rate=2.0)]
    found = drivers(GRAPHITE, cyclings, [100.0, 200.0])
    assert found.active_material.shape == (2, 2)
    # twice the stress, half the time
    assert found.active_material[1, 0] / found.active_material[0, 0] == pytest.approx(2.0)
    assert found.cracks[1, 0] / found.cracks[0, 0] == pytest.approx(2**1.2)
    assert found.active_material[0, 1] / found.active_material[0, 0] == pytest.approx(2.0)


def test_plating_likes_cold_and_fast_charging() -> None:
    # as the losses per cycle: the colder SEI lets less lithium die, so plated lithium is compared
    slow, fast, cold = (
        drivers(GRAPHITE, [cycling], [100.0]).plating[0, 0]
        for cycling in (
            CYCLING,
            replace(CYCLING, charge_c_rate=2.0),
            replace(CYCLING, temperature_K=273.15),
        )
    )
    assert fast > slow
    assert cold > slow


def test_sei_is_the_same_in_every_cell() -> None:
    other = replace(GRAPHITE, diffusivity_m2_s=1e-15, current_A_m2=3.0)
    a, b = (drivers(g, [CYCLING], [10.0, 500.0]) for g in (GRAPHITE, other))
    np.testing.assert_array_equal(a.sei, b.sei)
    np.testing.assert_array_equal(a.sei_on_cracks, b.sei_on_cracks)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("charge_c_rate", 0.0, "positive"),
        ("discharge_c_rate", float("nan"), "positive"),
        ("temperature_K", 25.0, "kelvin"),
        ("depth_of_discharge", 80.0, "share"),
    ],
)
def test_nonsense_is_named(name: str, value: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(CYCLING, **{name: value})
