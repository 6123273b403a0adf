"""The table of measured conductors: every row is possible, and no paper counts twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pymatgen.core import Composition

from ionbridge.structures.chemistry.known_conductors import (
    at_measured_temperature,
    known_conductors,
    known_rows,
)
from ionbridge.structures.features.conductor_descriptors import conductor_ion
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Label
from ionbridge.structures.units import BOLTZMANN_EV_PER_K


def test_every_row_is_possible():
    for known in known_conductors():
        assert Composition(known.formula)[known.working_ion] > 0
        assert known.source
        assert known.space_groups <= set(range(1, 231))
        if known.log10_room_conductivity_S_cm is not None:
            assert known.log10_room_conductivity_S_cm < -0.7  # in the plane of beta''-alumina
            is_conductor = known.log10_room_conductivity_S_cm > -7.75
            own = "electrolyte" if is_conductor else "non-conductor"
            assert known.role in (own, "electrode")
        if known.activation_energy_eV is not None:
            assert 0.1 < known.activation_energy_eV < 1.5


def test_rows_for_models_are_the_table():
    rows = known_rows()
    measured = [k for k in known_conductors() if k.log10_conductivity_S_cm is not None]
    assert len(rows) == len(measured)
    for row, known in zip(rows, measured, strict=True):
        assert row.label is not None
        if row.label.bound == "=":
            assert row.label.value == known.log10_room_conductivity_S_cm
        else:  # measured hot, its slope not known: less when cold
            assert row.label.value == known.log10_conductivity_S_cm
            assert known.temperature_K is not None
            assert known.activation_energy_eV is None
        assert row.label.source == known.source
        assert conductor_ion(row) == known.working_ion
        assert ("activation_energy" in row.extra) == (known.activation_energy_eV is not None)


def test_values_that_one_paper_cites_count_as_of_one_paper():
    papers = Counter(row.doi for row in known_rows())
    assert not any(", ref" in str(paper) for paper in papers)
    assert papers["10.1002/adma.202308012"] > 1


def test_a_row_of_several_polymorphs_has_no_space_group_of_its_own():
    measured = [k for k in known_conductors() if k.log10_conductivity_S_cm is not None]
    for row, known in zip(known_rows(), measured, strict=True):
        assert (row.space_group is None) == (len(known.space_groups) != 1)


def test_a_value_measured_hot_is_carried_along_its_own_arrhenius_line():
    (known,) = (k for k in known_conductors() if k.formula == "NaCl")
    assert known.temperature_K == 523.0
    assert known.activation_energy_eV == 0.85
    kT = BOLTZMANN_EV_PER_K * np.array([298.15, 523.0])
    cold, hot = np.exp(-0.85 / kT) / kT
    expected = -8.409 + np.log10(cold / hot)
    assert known.log10_room_conductivity_S_cm == pytest.approx(expected, abs=1e-9)


def row_of(formula: str, value: float, temperature_K: float | None = None) -> ConductivityRow:
    label = Label("log10_conductivity_S_cm", value, temperature_K=temperature_K)
    return ConductivityRow("a", formula, Composition(formula), label=label)


@pytest.mark.parametrize(
    ("value", "stated_K", "expected_K"),
    [
        (np.log10(5.6e-5), None, 400.0),  # the value of the paper, quoted without its temperature
        (np.log10(5.6e-5), 298.15, 298.15),  # what is stated is believed
        (-6.5, None, None),  # less than hot: as good as any
    ],
)
def test_a_value_known_to_be_measured_hot_gets_its_temperature(value, stated_K, expected_K):
    found = at_measured_temperature(row_of("Na1.5Y0.5Zr1.5(PO4)3", value, stated_K))
    assert found is not None
    assert found.label is not None
    assert found.label.temperature_K == expected_K


def test_nothing_conducts_better_cold_than_hot():
    assert at_measured_temperature(row_of("Na1.5Y0.5Zr1.5(PO4)3", -3.0)) is None
    assert at_measured_temperature(row_of("Na3PS4", -1.0)) is not None  # never measured hot


def test_a_measured_value_is_of_the_temperature_that_is_asked_for():
    (beta,) = (k for k in known_conductors() if k.structure == "beta-Li3PS4")
    assert beta.activation_energy_eV == 0.36
    kT = BOLTZMANN_EV_PER_K * np.array([298.15, 600.0])
    cold, hot = np.exp(-0.36 / kT) / kT
    assert beta.log10_conductivity_at(300.0) == -3.796
    assert beta.log10_conductivity_at(600.0) == pytest.approx(-3.796 + np.log10(hot / cold))
    (unknown,) = (k for k in known_conductors() if k.formula == "Li10GeP2S12")
    assert unknown.log10_conductivity_at(300.0) == -1.921
    assert unknown.log10_conductivity_at(600.0) is None  # its slope is in no row
