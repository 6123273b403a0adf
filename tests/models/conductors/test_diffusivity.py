"""Arrhenius lines over composition: recovered, kept, bounded, and honest about their noise."""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.models.conductors.diffusivity import DiffusivityProcess
from ionbridge.models.library import load
from ionbridge.structures.io.tables import ConductivityRow, conductivity_row
from ionbridge.structures.records import Label, UnusableStructureError
from ionbridge.structures.transport.closed_forms import decades_per_eV

TEMPERATURES = (600.0, 800.0, 1200.0)
FORMULAS = [f"Li{n}{metal}" for metal in ("Si", "Sn", "Ge", "P") for n in (1, 2, 3, 5, 8)]
NOISE = 0.02


def row(formula: str) -> ConductivityRow:
    found = conductivity_row({"Formula": formula}, formula)
    assert isinstance(found, ConductivityRow)
    return found


def truth(formula: str) -> tuple[float, float]:
    """(log10 D0, activation energy in eV) of a made-up world: more lithium, lower barrier."""
    share = row(formula).composition.get_atomic_fraction("Li")
    return -2.0 - 0.5 * share, 0.6 - 0.4 * share


def value(formula: str, temperature_K: float) -> float:
    prefactor, energy = truth(formula)
    return prefactor - energy * float(decades_per_eV(temperature_K))


def label(formula: str, temperature_K: float, noise: float = 0.0, **fields) -> Label:
    y = value(formula, temperature_K) + noise
    return Label("log10_diffusivity_cm2_s", y, temperature_K=temperature_K, method="aimd", **fields)


def data(formulas=FORMULAS) -> tuple[list[ConductivityRow], list[Label]]:
    rng = np.random.default_rng(0)
    pairs = [(f, t) for f in formulas for t in TEMPERATURES]
    labels = [label(f, t, NOISE * rng.standard_normal()) for f, t in pairs]
    return [row(f) for f, _ in pairs], labels


@pytest.fixture(scope="module")
def model() -> DiffusivityProcess:
    return DiffusivityProcess().fit(*data())


def test_lines_of_labelled_and_new_compositions_are_found(model):
    for formulas, tolerance in ((FORMULAS, 0.01), (["Li4Si", "Li6Sn", "Li3Ge2"], 0.03)):
        rows = [row(f) for f in formulas]
        energy = np.array([truth(f)[1] for f in formulas])
        found = model.arrhenius(rows)
        assert np.abs(found.activation_energy_eV - energy).mean() < tolerance
        hot = np.array([value(f, 1000.0) for f in formulas])
        assert np.abs(model.predict(rows, 1000.0).mean - hot).mean() < 2 * NOISE


def test_prediction_and_line_are_one_thing(model):
    """log10 D = value at the reference - E (1/T - 1/T0) / (k ln 10)."""
    rows = [row("Li4Si"), row("Li2Sn")]
    line = model.arrhenius(rows)
    for temperature_K in (500.0, 900.0):
        gained = decades_per_eV(line.reference_K) - decades_per_eV(temperature_K)
        expected = line.log10_D_reference + line.activation_energy_eV * gained
        np.testing.assert_allclose(model.predict(rows, temperature_K).mean, expected, atol=1e-9)
    at_reference = model.predict(rows, line.reference_K)
    np.testing.assert_allclose(at_reference.epistemic_std, line.log10_D_reference_std, atol=1e-9)


def test_far_temperatures_and_far_compositions_are_less_certain(model):
    near, cold = (model.predict([row("Li4Si")], t).epistemic_std[0] for t in (800.0, 300.0))
    strange = model.predict([row("Li2WO4")], 800.0).epistemic_std[0]
    assert cold > 1.5 * near
    assert strange > 1.5 * near
    assert list(model.in_domain([row("Li4Si"), row("Li2WO4")])) == [True, False]


def test_the_order_of_labels_does_not_matter(model):
    rows, labels = data()
    order = np.random.default_rng(1).permutation(len(rows))
    again = DiffusivityProcess().fit(
        [rows[i] for i in order], [labels[i] for i in order], model.theta_
    )
    new = [row("Li4Si"), row("Li7P")]
    for one, two in zip(_parts(model, new), _parts(again, new), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def _parts(model: DiffusivityProcess, rows: list[ConductivityRow]) -> tuple[np.ndarray, ...]:
    found = model.predict(rows, 700.0)
    return found.mean, found.aleatoric_std, found.epistemic_std


def test_a_stated_interval_is_believed(model):
    """One label a decade off: with a wide interval it moves the line little, with none a lot."""
    rows, labels = data()
    odd = replace(label("Li4Si", 800.0), value=value("Li4Si", 800.0) + 1.0)
    moved = []
    for std in (None, 2.0):
        fitted = DiffusivityProcess().fit(
            [*rows, row("Li4Si")], [*labels, replace(odd, std=std)], model.theta_
        )
        moved.append(fitted.predict([row("Li4Si")], 800.0).mean[0] - value("Li4Si", 800.0))
    assert abs(moved[1]) < 0.1 * abs(moved[0])


def test_bounds_bind_where_they_bite(model):
    rows, labels = data()
    new, expected = [row("Li4Si")], value("Li4Si", 800.0)
    idle = replace(label("Li4Si", 800.0), value=expected + 3.0, bound="<")
    tight = replace(label("Li4Si", 800.0), value=expected - 1.0, bound="<")
    above = replace(label("Li4Si", 800.0), value=expected + 1.0, bound=">")
    found = [
        DiffusivityProcess().fit([*rows, *new], [*labels, bound], model.theta_).predict(new, 800.0)
        for bound in (idle, tight, above)
    ]
    plain = model.predict(new, 800.0).mean[0]
    assert found[0].mean[0] == pytest.approx(plain, abs=1e-3)
    assert found[1].mean[0] < plain - 0.05
    assert found[2].mean[0] > plain + 0.05


def test_a_saved_model_predicts_the_same(model, tmp_path):
    model.save(tmp_path / "d")
    again = load(tmp_path / "d")
    for one, two in zip(_parts(model, [row("Li4Si")]), _parts(again, [row("Li4Si")]), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9)
    assert list(again.in_domain([row("Li4Si")])) == list(model.in_domain([row("Li4Si")]))


def test_bad_labels_are_one_line():
    rows, labels = data(FORMULAS[:2])
    with pytest.raises(ValueError, match="temperature_K"):
        DiffusivityProcess().fit(rows, [replace(labels[0], temperature_K=None), *labels[1:]])
    with pytest.raises(ValueError, match="several methods"):
        DiffusivityProcess().fit(rows, [replace(labels[0], method="mlip_md"), *labels[1:]])
    with pytest.raises(ValueError, match="not bounds"):
        DiffusivityProcess().fit(rows[:2], [replace(v, bound="<") for v in labels[:2]])
    with pytest.raises(ValueError, match="finite"):
        DiffusivityProcess().fit(rows, [replace(labels[0], value=-np.inf), *labels[1:]])
    with pytest.raises(UnusableStructureError, match="no working ion"):
        DiffusivityProcess().fit([row("FeO")] * 6, labels)
