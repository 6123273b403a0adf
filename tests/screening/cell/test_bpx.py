"""BPX files: what goes out comes back, and what no cell has is refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pybamm")
pytest.importorskip("bpx")

import pybamm

from ionbridge.screening.cell import bpx
from ionbridge.screening.cell.base_cells import BASE_CELLS, base_cell
from ionbridge.screening.cell.designs import Design, check
from ionbridge.screening.cell.full_charge import full_charge
from ionbridge.screening.errors import InputError

GIVEN = {"Positive particle diffusivity [m2.s-1]": 5e-15, "Positive electrode thickness [m]": 9e-5}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return bpx.to_bpx(check(Design("a", "Marquis2019", 1.0, 298.15, GIVEN)))[0]


def compared(one: Any, other: Any, symbol: Any) -> None:
    """Both parameter sets give a symbol the same values."""
    first, second = (
        np.asarray(v.process_symbol(symbol).evaluate(), dtype=float).ravel() for v in (one, other)
    )
    assert np.allclose(first, second, rtol=2e-3, atol=0.0)


def test_round_trip_gives_the_same_cell(tmp_path: Path) -> None:
    design = check(Design("a", "Marquis2019", 1.0, 298.15, GIVEN))
    bpx.export(design, tmp_path / "cell.json")
    read = bpx.read(tmp_path / "cell.json")
    own = base_cell("Marquis2019").values
    own.update(GIVEN)
    symbols = pybamm.LithiumIonParameters()
    x = pybamm.Vector(np.linspace(0.1, 0.95, 30))
    kelvin, salt = pybamm.Scalar(298.15), pybamm.Vector(np.full(30, 1000.0))
    start = full_charge("Marquis2019", GIVEN)
    for domain, electrode in (("Negative", symbols.n), ("Positive", symbols.p)):
        particle = electrode.prim
        most = own[f"Maximum concentration in {domain.lower()} electrode [mol.m-3]"]
        for symbol in (
            particle.U(x, kelvin),
            particle.j0(salt, x * most, kelvin),
            particle.D(x * most, kelvin),
        ):
            compared(read, own, symbol)
        for name in (f"{domain} electrode thickness [m]", f"{domain} particle radius [m]"):
            assert read[name] == pytest.approx(own[name])
        initial = read[f"Initial concentration in {domain.lower()} electrode [mol.m-3]"] / most
        assert initial == pytest.approx(getattr(start, domain.lower()), abs=1e-6)
    for function in (symbols.kappa_e, symbols.D_e):
        symbol = function(pybamm.Vector(np.linspace(500.0, 2000.0, 30)), kelvin)
        compared(read, own, symbol)


def test_notes_say_what_the_format_cannot() -> None:
    _, notes = bpx.to_bpx(check(Design("a", "Ai2020_extended", 1.0)))
    assert any("thermodynamic factor" in note for note in notes)
    given = {"Contact resistance [Ohm]": 0.01}
    _, notes = bpx.to_bpx(check(Design("a", "Marquis2019", 1.0, 298.15, given)))
    assert any("contact resistance" in note for note in notes)


@pytest.mark.parametrize("base", sorted(BASE_CELLS))
def test_a_single_ion_conductor_goes_out_and_comes_back(base: str, tmp_path: Path) -> None:
    design = check(Design("a", base, 1.0, 298.15, {"Cation transference number": 1.0}))
    bpx.export(design, tmp_path / "cell.json")
    assert bpx.read(tmp_path / "cell.json")["Cation transference number"] == 1.0


def test_factors_multiply_the_base_cells_functions() -> None:
    given = {"Negative particle diffusivity factor": 2.0, "Electrolyte conductivity factor": 3.0}
    document, _ = bpx.to_bpx(check(Design("a", "Marquis2019", 1.0, 298.15, given)))
    plain, _ = bpx.to_bpx(check(Design("a", "Marquis2019", 1.0)))
    one, other = (d["Parameterisation"] for d in (document, plain))
    key = "Diffusivity [m2.s-1]"
    assert one["Negative electrode"][key] == pytest.approx(2.0 * other["Negative electrode"][key])
    law = "Conductivity [S.m-1]"
    assert one["Electrolyte"][law]["y"] == pytest.approx(
        [3.0 * v for v in other["Electrolyte"][law]["y"]]
    )


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("Positive electrode", "Porosity", 1.4, "porosity' is 1.4"),
        ("Positive electrode", "Porosity", 0.8, "add up to"),
        ("Positive electrode", "Diffusivity [m2.s-1]", -1e-15, "unit"),
        ("Positive electrode", "Diffusivity [m2.s-1]", math.nan, "not a number"),
        ("Positive electrode", "Particle radius [m]", 5.0, "1 um is 1e-6 m"),
        ("Electrolyte", "Cation transference number", 38.0, "single-ion"),
    ],
)
def test_values_that_no_cell_has(
    document: dict[str, Any], tmp_path: Path, part: str, key: str, value: float, message: str
) -> None:
    broken = json.loads(json.dumps(document))
    broken["Parameterisation"][part][key] = value
    path = tmp_path / "cell.json"
    path.write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        bpx.read(path)


def test_other_files_are_one_line(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    older = json.loads(json.dumps(document))
    older["Header"]["BPX"] = "0.4.0"
    incomplete = json.loads(json.dumps(document))
    del incomplete["Parameterisation"]["Separator"]
    for content, message in (
        (json.dumps(older), "version 0.4.0, expected 1.x"),
        (json.dumps(incomplete), "Separator"),
        ("{}", "no 'Header'"),
        ("porosity", "not a JSON file"),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message) as refused:
            bpx.read(path)
        assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="cannot be read"):
        bpx.read(tmp_path / "none.json")
