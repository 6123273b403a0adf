"""Trees on hosts: redox couples mean what they say, and a model comes back from disk."""

import numpy as np
import pytest
from pymatgen.core import Composition

from ionbridge.models import library
from ionbridge.models.conductors.host_properties import PropertyTrees, host_group
from ionbridge.models.validation import (
    errors_by_domain,
    label_checksum,
    validation_row,
    write_validation,
)
from ionbridge.structures.features.host_descriptors import REDOX_FEATURES, redox_block
from ionbridge.structures.io.tables import ConductivityRow

METALS = ("Fe", "Mn", "Co", "Ni", "V", "Ti", "Cr", "Cu")
ANIONS = ("PO4", "O2", "SiO4", "S2", "F3")


def row(formula, id=None, cell=None):
    return ConductivityRow(id or formula, formula, Composition(formula), cell)


def hosts():
    return [row(f"Li{metal}{anion}") for metal in METALS for anion in ANIONS]


def test_redox_couples_are_in_the_order_of_nature():
    """LiTiS2 lies low, LiCoO2 high; both are known voltages."""
    column = REDOX_FEATURES.index("redox_V_1")
    low, high = (redox_block(row(f))[column] for f in ("LiTiS2", "LiCoO2"))
    assert low + 0.8 < high


def test_taking_two_ions_costs_what_both_cost():
    one = redox_block(row("LiFePO4"))
    assert one[REDOX_FEATURES.index("redox_V_0.1")] == pytest.approx(
        one[REDOX_FEATURES.index("redox_V_1")], abs=1e-6
    )  # one couple, Fe2+/Fe3+, pays for all of it


def test_the_number_of_formula_units_does_not_matter():
    assert redox_block(row("LiFePO4")) == pytest.approx(redox_block(row("Li4Fe4P4O16")))


def test_a_model_is_the_same_after_it_was_saved(tmp_path):
    rows = hosts()
    value = np.array([redox_block(r)[2] for r in rows])
    model = PropertyTrees(n_trees=10, min_leaf=1).fit(rows, value)
    model.save(tmp_path)
    again = library.load(tmp_path)
    assert again.predict(rows[:5]).mean == pytest.approx(model.predict(rows[:5]).mean)
    assert again.predict(rows[:5]).std == pytest.approx(model.predict(rows[:5]).std, rel=1e-5)
    assert again.in_domain(rows).all() == model.in_domain(rows).all()


def test_unknown_elements_and_ions_are_outside(tmp_path):
    rows = hosts()
    model = PropertyTrees(n_trees=5).fit(rows, np.arange(len(rows), dtype=float))
    assert not model.in_domain([row("LiUO3")])[0]
    assert not model.in_domain([row("NaFePO4")])[0]


def test_hosts_are_grouped_without_their_ion():
    assert host_group(row("LiFePO4")) == host_group(row("NaFePO4"))


def test_the_shipped_voltages_are_near_measured_ones():
    """Average voltages of four classics, V against Li or Na metal; DFT is off by a few tenths."""
    measured = {"LiFePO4": 3.45, "LiCoO2": 4.0, "LiMn2O4": 4.1, "NaFePO4": 2.8}
    found = library.load("voltage").predict([row(f) for f in measured]).mean
    assert np.abs(found - list(measured.values())).max() < 0.8


class TestValidationRows:
    def test_errors_by_domain_come_from_the_rows(self, tmp_path):
        near = [validation_row(f"a{i}", "olivine", "Li", 1.0, 1.1) for i in range(20)]
        far = [validation_row(f"b{i}", "garnet", "Na", 1.0, 1.5) for i in range(20)]
        write_validation(tmp_path, "grouped", [*near, *far])
        write_validation(tmp_path, "leave-family-out", [*far])
        scopes = errors_by_domain(tmp_path)
        assert scopes["family:olivine"].std == pytest.approx(0.1)
        assert scopes["ion:Na"].std == pytest.approx(0.5)
        assert scopes["unseen_family"].std == pytest.approx(0.5)
        assert scopes["all"].n_rows == 40

    def test_a_label_checksum_knows_id_and_label(self):
        known = {label_checksum("a", 0.3), label_checksum("b", 0.3), label_checksum("a", 0.31)}
        assert len(known) == 3
        assert label_checksum("a", 0.3) == label_checksum("a", 0.3000000001)
