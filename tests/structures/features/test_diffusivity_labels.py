"""Diffusivities read from both forms: values, bounds, intervals, and what is no label."""

import json
import math

import pytest

from ionbridge.structures.features.diffusivity_labels import is_diffusivity_file, read_diffusivities

RUN = {"temperature_K": 800.0, "status": "ok", "reason": "", "host_melted": False}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text(
        "Formula,temperature_K,tracer_diffusivity_cm2_s,tracer_diffusivity_cm2_s_lower,"
        "tracer_diffusivity_cm2_s_upper,method\n"
        "Li3PS4,600,1e-6,1e-7,1e-5,aimd\n"
        "Li3PS4,500,<1e-8,,,aimd\n"
        "Li3PS4,,1e-6,,,aimd\n"
        "not a formula,600,1e-6,,,aimd\n"
        "FeO,600,1e-6,,,aimd\n"
        "Li3PS4,700,0,,2e-7,aimd\n",
        encoding="utf-8",
    )
    return path


def test_a_table(table):
    assert is_diffusivity_file(table)
    found = read_diffusivities(table)
    value, bound, zero = (row.label for row in found.rows)
    assert (value.value, value.bound, value.temperature_K) == (-6.0, "=", 600.0)
    assert value.std == pytest.approx(2 / (2 * 1.96))  # two decades from end to end of 95 %
    assert (bound.value, bound.bound, bound.std) == (-8.0, "<", None)
    assert (zero.value, zero.bound) == (pytest.approx(math.log10(2e-7)), "<")
    assert {row.label.method for row in found.rows} == {"aimd"}
    assert [row.composition.reduced_formula for row in found.rows] == ["Li3PS4"] * 3
    reasons = [failed.reason[:14] for failed in found.failed]
    assert reasons == ["no temperature", "composition 'n", "no working ion"]


def test_labels_of_simulations(tmp_path):
    path = tmp_path / "md.json"
    value = {"tracer_diffusivity_cm2_s": 1e-5, "log10_tracer_diffusivity_std": 0.1}
    upper = {"tracer_diffusivity_cm2_s": None, "tracer_diffusivity_cm2_s_upper": 1e-6}
    runs = [
        {**RUN, **value},
        {**RUN, **upper, "status": "refused"},
        {**RUN, **value, "host_melted": True},
        {**RUN, **upper, "status": "failed", "reason": "killed"},
    ]
    entry = {"id": "a", "formula": "Li6PS5Cl", "method": "mlip_md", "runs": runs}
    path.write_text(json.dumps({"labels": [entry]}), encoding="utf-8")
    assert is_diffusivity_file(path)
    found = read_diffusivities(path)
    assert [(v.label.value, v.label.bound, v.label.std) for v in found.rows] == [
        (-5.0, "=", 0.1),
        (-6.0, "<", None),
    ]
    assert [failed.reason for failed in found.failed] == ["the host melted", "killed"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "Formula,Ionic conductivity (S/cm)\nLi3PS4,1e-4\n"),
        ("a.csv", "tracer_diffusivity_cm2_s\n1e-4\n"),
        ("a.json", '{"labels": [{"id": "a"}]}'),
        ("a.json", "{"),
        ("a.cif", "data_a"),
    ],
)
def test_other_files_are_left_to_others(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert not is_diffusivity_file(path)
    assert not is_diffusivity_file(tmp_path / "missing.csv")
