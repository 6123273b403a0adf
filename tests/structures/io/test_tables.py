import numpy as np
import pytest

from ionbridge.structures.io.tables import (
    conductivity_label,
    conductivity_row,
    is_conductivity_table,
)


@pytest.mark.parametrize(
    ("text", "value", "bound"),
    [("1.6e-06", -5.7958800, "="), ("<1E-10", -10.0, "<"), ("> 0.01", -2.0, ">"), ("1", 0.0, "=")],
)
def test_labels_are_decades_with_their_bound(text, value, bound):
    label = conductivity_label(text, 298.15)
    assert (label.value, label.bound) == (pytest.approx(value), bound)
    assert (label.quantity, label.temperature_K) == ("log10_conductivity_S_cm", 298.15)


@pytest.mark.parametrize("text", ["", "<", "0", "-1e-3", "nan", "inf", "high"])
def test_what_is_no_positive_number_is_no_label(text):
    assert conductivity_label(text) is None


@pytest.mark.parametrize("formula", ["Qq2O", "Li(PO4", "???", "", "nan"])
def test_formulas_that_cannot_be_read_are_failed_rows(formula):
    row = conductivity_row({"ID": "a", "Formula": formula}, "x#0")
    assert row.id == "a"
    assert "composition" in row.reason
    assert "\n" not in row.reason


def test_a_cell_is_all_six_numbers_or_none():
    full = {"ID": "a", "Formula": "LiI", "a": "4", "b": "4", "c": "4"}
    assert conductivity_row(full, "").cell is None
    angles = {"alpha": "90", "beta": "90", "gamma": "90"}
    assert np.allclose(conductivity_row({**full, **angles}, "").cell, [4, 4, 4, 90, 90, 90])


def test_tables_are_known_by_their_composition_column():
    assert is_conductivity_table(["Formula", "x"])
    assert is_conductivity_table(["ID", "True Composition"])
    assert not is_conductivity_table(["id", "voltage"])
