"""The table of measured conductors: every row is possible, and no paper counts twice."""

from __future__ import annotations

from collections import Counter

from pymatgen.core import Composition

from ionbridge.structures.chemistry.known_conductors import known_conductors, known_rows
from ionbridge.structures.features.conductor_descriptors import conductor_ion


def test_every_row_is_possible():
    for known in known_conductors():
        assert Composition(known.formula)[known.working_ion] > 0
        assert known.source
        assert known.space_groups <= set(range(1, 231))
        if known.log10_conductivity_S_cm is not None:
            assert known.log10_conductivity_S_cm < -1.0  # the best solids have a few hundredths
            is_conductor = known.log10_conductivity_S_cm > -7.75
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
        assert row.label.value == known.log10_conductivity_S_cm
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
