"""Constants against CODATA, and that they are written down once."""

import ast
from pathlib import Path

import pytest
from numpy.testing import assert_allclose
from scipy import constants

from ionbridge.structures import units
from tests.tolerances import EXACT, TIGHT

ROOT = Path(__file__).parents[2]
PACKAGES = ("structures", "models", "screening")
WRITTEN_DIGITS = 1e-3  # 8.617e-5 is k_B all the same


def test_constants_are_codata():
    assert_allclose(units.BOLTZMANN_EV_PER_K, constants.k / constants.e, rtol=TIGHT)
    assert_allclose(units.ELEMENTARY_CHARGE_C, constants.e, rtol=EXACT)
    assert_allclose(units.AVOGADRO_PER_MOL, constants.N_A, rtol=EXACT)
    assert_allclose(units.FARADAY_C_PER_MOL, 96485.33212, rtol=TIGHT)


def test_conversion_factors():
    assert_allclose(units.CM_PER_A, constants.angstrom / constants.centi, rtol=EXACT)
    assert_allclose(units.CM2_PER_A2, 1e-16, rtol=EXACT)
    assert_allclose(units.CM3_PER_A3, 1e-24, rtol=EXACT)
    # 1 angstrom^2/ps = 1e-20 m^2 / 1e-12 s = 1e-8 m^2/s.
    assert_allclose(units.CM2_S_PER_A2_PS * units.M2_PER_CM2, 1e-8, rtol=EXACT)
    assert_allclose(units.HZ_PER_THZ, constants.tera, rtol=EXACT)
    # 1 mAh = 3.6 C.
    assert_allclose(units.MAH_PER_C, 1 / (constants.milli * constants.hour), rtol=EXACT)


def test_no_other_module_writes_a_constant_down():
    values = {
        "k_B in eV/K": units.BOLTZMANN_EV_PER_K,
        "k_B in J/K": constants.k,
        "e": units.ELEMENTARY_CHARGE_C,
        "N_A": units.AVOGADRO_PER_MOL,
        "F": units.FARADAY_C_PER_MOL,
    }
    repeated = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path != ROOT / "structures" / "units.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, float)
        for name, value in values.items()
        if node.value == pytest.approx(value, rel=WRITTEN_DIGITS, abs=0)
    ]
    assert not repeated, "take these from structures/units.py: " + "; ".join(repeated)
