"""From diffusivities of several formulas to a calibrated model that says how well it does."""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.models.adaptation.adapt import adapt
from ionbridge.structures.io.tables import conductivity_row
from ionbridge.structures.records import Label
from ionbridge.structures.transport.closed_forms import decades_per_eV

QUANTITY = "log10_diffusivity_cm2_s"
FORMULAS = [f"Li{n}{metal}" for metal in ("Si", "Sn", "Ge", "P") for n in (1, 2, 3, 4, 6, 8)]


@pytest.fixture(scope="module")
def data():
    """The activation energy follows the share of lithium."""
    rng = np.random.default_rng(0)
    rows = []
    for formula in FORMULAS:
        row = conductivity_row({"Formula": formula}, formula)
        energy = 0.7 - 0.5 * row.composition.get_atomic_fraction("Li")
        for temperature_K in (600.0, 1000.0):
            value = -2 - energy * float(decades_per_eV(temperature_K)) + 0.05 * rng.normal()
            label = Label(QUANTITY, value, temperature_K=temperature_K, method="aimd")
            rows.append(replace(row, label=label))
    return rows


def test_unseen_formulas_are_predicted_and_intervals_hold(data):
    model, card = adapt(data)
    assert card["validation"]["mae"] < 0.5 * card["validation"]["mae_of_the_common_line"]
    assert card["trained_on"]["methods"] == ["aimd"]
    assert 0.5 < model.inflation < 2.0


def test_one_method_is_learnt_the_others_left_aside(data):
    other = [replace(row, label=replace(row.label, method="mlip_md")) for row in data]
    mixed = [o if i % 3 == 0 else row for i, (o, row) in enumerate(zip(other, data, strict=True))]
    n_mlip = sum(row.label.method == "mlip_md" for row in mixed)
    _, card = adapt(mixed)
    assert card["trained_on"]["methods"] == ["aimd"]
    assert card["trained_on"]["n_labels_left_aside"] == n_mlip
    _, cheap = adapt(mixed, method="mlip_md")
    assert cheap["trained_on"]["n_labels"] == n_mlip
    with pytest.raises(ValueError, match="no label is of method 'experiment'"):
        adapt(mixed, method="experiment")


def test_too_few_are_refused_and_one_formula_is_not_scored(data):
    with pytest.raises(ValueError, match="2 diffusivities of method aimd; at least 4"):
        adapt(data[:2])
    with pytest.raises(ValueError, match="no label"):
        adapt([])
    labels = [replace(data[k].label, temperature_K=500.0 + 100 * k) for k in range(4)]
    assert adapt([replace(data[0], label=label) for label in labels])[1]["validation"]["n"] == 0
