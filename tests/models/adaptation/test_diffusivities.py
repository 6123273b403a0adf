"""From diffusivities of several formulas to a calibrated model that says how well it does."""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.models.adaptation.diffusivities import adapt_diffusivity
from ionbridge.structures.io.tables import conductivity_row
from ionbridge.structures.records import Label
from ionbridge.structures.transport.closed_forms import decades_per_eV

FORMULAS = [f"Li{n}{metal}" for metal in ("Si", "Sn", "Ge", "P") for n in (1, 2, 3, 4, 6, 8)]


@pytest.fixture(scope="module")
def data():
    """The activation energy follows the share of lithium."""
    rng = np.random.default_rng(0)
    rows, labels = [], []
    for formula in FORMULAS:
        row = conductivity_row({"Formula": formula}, formula)
        energy = 0.7 - 0.5 * row.composition.get_atomic_fraction("Li")
        for temperature_K in (600.0, 1000.0):
            value = -2 - energy * float(decades_per_eV(temperature_K)) + 0.05 * rng.normal()
            rows.append(row)
            labels.append(Label("D", value, temperature_K=temperature_K, method="aimd"))
    return rows, labels


def test_unseen_formulas_are_predicted_and_intervals_hold(data):
    rows, labels = data
    model, card = adapt_diffusivity(rows, labels)
    assert card["validation"]["mae"] < 0.5 * card["validation"]["mae_of_the_common_line"]
    assert card["trained_on"]["methods"] == ["aimd"]
    assert 0.5 < model.inflation < 2.0


def test_one_method_is_learnt_the_others_left_aside(data):
    rows, labels = data
    mixed = [replace(v, method="mlip_md") if i % 3 == 0 else v for i, v in enumerate(labels)]
    n_mlip = sum(label.method == "mlip_md" for label in mixed)
    _, card = adapt_diffusivity(rows, mixed)
    assert card["trained_on"]["methods"] == ["aimd"]
    assert card["trained_on"]["n_labels_left_aside"] == n_mlip
    _, other = adapt_diffusivity(rows, mixed, "mlip_md")
    assert other["trained_on"]["n_labels"] == n_mlip
    with pytest.raises(ValueError, match="no label is of method 'experiment'"):
        adapt_diffusivity(rows, mixed, "experiment")


def test_too_few_are_refused_and_one_formula_is_not_scored(data):
    rows, labels = data
    with pytest.raises(ValueError, match="2 diffusivities of method aimd; at least 4"):
        adapt_diffusivity(rows[:2], labels[:2])
    with pytest.raises(ValueError, match="no diffusivity"):
        adapt_diffusivity([], [])
    one = [rows[0]] * 4
    four = [replace(labels[k], temperature_K=500.0 + 100 * k) for k in range(4)]
    assert adapt_diffusivity(one, four)[1]["validation"]["n"] == 0
