"""Spreads of cells that are not fitted: surrogate against model, and model against experiment."""

import math

import pytest

pytest.importorskip("pybamm")

from ionbridge.models.library import load
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.experiment_spread import (
    CAPACITY,
    ENERGY,
    unsupported,
    with_experiment,
)
from ionbridge.screening.cell.rom import predict_designs


def test_both_spreads_are_added_in_quadrature():
    assert with_experiment(0.3, 10.0, 0.04) == pytest.approx(0.5)
    assert with_experiment(0.0, 2.0, CAPACITY) == pytest.approx(2.0 * CAPACITY)


def test_what_no_measured_cell_supports_is_said():
    assert unsupported("Prada2013_balanced", 1.0, 298.15) == ""
    assert "LiNi0.8Mn0.1Co0.1O2" in unsupported("Chen2020", 1.0, 298.15)
    assert "2C" in unsupported("Ai2020", 4.0, 298.15)
    assert "25 C" in unsupported("Ai2020", 1.0, 273.15)
    assert "ran short of salt" in unsupported("Ai2020", 1.0, 298.15, {}, True)
    thin = {"Positive electrode thickness [m]": 1e-5}
    assert "coatings so thin" in unsupported("Ai2020", 1.0, 298.15, thin)


def test_predicted_kpis_carry_the_sum_and_keep_the_surrogates_own():
    design = Design("a", "Prada2013_balanced", 1.0, 298.15, {})
    row = predict_designs([design], load("cell-rom-lfp"))[0]
    for name, unit, relative in (("capacity", "Ah", CAPACITY), ("energy", "Wh", ENERGY)):
        own, value = row[f"{name}_std_surrogate_{unit}"], row[f"{name}_{unit}"]
        assert row[f"{name}_std_{unit}"] == pytest.approx(math.hypot(own, relative * value))
        assert row[f"{name}_std_{unit}"] > 0.9 * relative * value
    assert "model against experiment" in row["experiment"]


def test_a_sodium_cell_has_no_reduced_order_model_and_says_so():
    design = Design("a", "Chayambuka2022", 1.0, 298.15, {})
    row = predict_designs([design], load("cell-rom-lfp"))[0]
    assert row["status"] == "failed"
    assert "cell simulate" in row["reason"]
