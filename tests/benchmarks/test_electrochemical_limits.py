"""Voltages at which a solid takes up or gives off its ion, against what can be written down."""

import pytest
from pymatgen.core import Composition

from benchmarks.electrochemical_limits import Phases

LI2S_EV, LIS_EV, NA2S_EV, LI3PS4_EV, LI3P_EV, P2S5_EV = -4.2, -2.3, -3.8, -8.8, -3.5, -2.4
"""Per formula unit."""


def phases(**energies_eV: float) -> Phases:
    compositions = {name: Composition(name) for name in energies_eV}
    return Phases.of((c, energies_eV[name] / c.num_atoms) for name, c in compositions.items())


def limits(known: Phases, formula: str, ion: str = "Li") -> tuple[float, float]:
    return known.limits_V(Composition(formula), ion)


def test_a_binary_is_taken_apart_at_the_voltage_of_its_formation() -> None:
    """Li2S + Li: nothing happens above 0 V; Li2S -> S + 2 Li at -E_f / 2."""
    assert limits(phases(Li2S=LI2S_EV), "Li2S") == pytest.approx((0.0, -LI2S_EV / 2), abs=1e-3)


def test_a_phase_in_between_splits_the_voltage() -> None:
    """LiS -> S + Li at -E(LiS); LiS + Li -> Li2S at E(LiS) - E(Li2S)."""
    known = phases(Li2S=LI2S_EV, LiS=LIS_EV)
    assert limits(known, "LiS") == pytest.approx((LIS_EV - LI2S_EV, -LIS_EV), abs=1e-3)
    assert limits(known, "Li2S")[1] == pytest.approx(LIS_EV - LI2S_EV, abs=1e-3)


def test_a_ternary_goes_the_first_of_several_ways() -> None:
    """Li3PS4 + 5 Li -> P + 4 Li2S comes before Li3P; Li3PS4 -> 3 Li + P2S5 / 2 + 3 S / 2."""
    known = phases(Li2S=LI2S_EV, Li3PS4=LI3PS4_EV, Li3P=LI3P_EV, P2S5=P2S5_EV)
    reduction = (LI3PS4_EV - 4 * LI2S_EV) / 5
    assert reduction > (LI3PS4_EV - LI3P_EV - 4 * LI2S_EV) / 8
    oxidation = (P2S5_EV / 2 - LI3PS4_EV) / 3
    assert limits(known, "Li3PS4") == pytest.approx((reduction, oxidation), abs=1e-3)


def test_what_is_no_phase_is_as_stable_as_what_it_falls_into() -> None:
    """LiNaS is a mixture: Na2S + 2 Li -> Li2S + 2 Na, and Li2S -> S + 2 Li beside Na2S."""
    known = phases(Li2S=LI2S_EV, Na2S=NA2S_EV)
    expected = (NA2S_EV - LI2S_EV) / 2, -LI2S_EV / 2
    assert limits(known, "LiNaS") == pytest.approx(expected, abs=1e-3)


def test_neither_the_size_of_the_formula_nor_worse_polymorphs_matter() -> None:
    known = phases(Li2S=LI2S_EV)
    twice = Phases.of([(Composition("Li4S2"), -1.0), (Composition("Li2S"), LI2S_EV / 3)])
    assert limits(known, "Li4S2") == pytest.approx(limits(twice, "Li2S"))


def test_what_cannot_be_said_is_refused() -> None:
    with pytest.raises(ValueError, match="Na2S holds no Li"):
        limits(phases(Li2S=LI2S_EV, Na2S=NA2S_EV), "Na2S")
    with pytest.raises(ValueError, match="no phase holds O"):
        limits(phases(Li2S=LI2S_EV), "Li2O")
