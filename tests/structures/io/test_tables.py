import gzip

import numpy as np
import pytest
from pymatgen.core import Composition

from ionbridge.structures.io.tables import (
    composition_key,
    conductivity_label,
    conductivity_row,
    is_conductivity_table,
    read_table,
)


@pytest.mark.parametrize(
    ("text", "value", "bound"),
    [("1.6e-06", -5.7958800, "="), ("<1E-10", -10.0, "<"), ("> 0.01", -2.0, ">"), ("1", 0.0, "=")],
)
def test_labels_are_decades_with_their_bound(text, value, bound):
    label = conductivity_label(text, 298.15)
    assert (label.value, label.bound) == (pytest.approx(value), bound)
    assert (label.quantity, label.temperature_K) == ("log10_conductivity_S_cm", 298.15)


@pytest.mark.parametrize("text", ["", "<", "0", "-1e-3", "nan", "inf", "high"])
def test_what_is_no_positive_number_is_no_label(text):
    assert conductivity_label(text) is None


@pytest.mark.parametrize("formula", ["Qq2O", "Li(PO4", "???", "", "nan"])
def test_formulas_that_cannot_be_read_are_failed_rows(formula):
    row = conductivity_row({"ID": "a", "Formula": formula}, "x#0")
    assert row.id == "a"
    assert "composition" in row.reason
    assert "\n" not in row.reason


def test_a_cell_is_all_six_numbers_or_none():
    full = {"ID": "a", "Formula": "LiI", "a": "4", "b": "4", "c": "4"}
    assert conductivity_row(full, "").cell is None
    angles = {"alpha": "90", "beta": "90", "gamma": "90"}
    assert np.allclose(conductivity_row({**full, **angles}, "").cell, [4, 4, 4, 90, 90, 90])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"a": "-6"}, "a = '-6' is no length"),
        ({"a": "-6", "b": "-6"}, "a = '-6' is no length"),
        ({"c": "5,1"}, "c = '5,1' is no length"),
        ({"gamma": "200"}, "gamma = '200' is no angle"),
        ({"b": "", "alpha": ""}, "b, alpha missing"),
    ],
)
def test_a_cell_that_cannot_be_is_named(changed, said):
    whole = {"a": "4", "b": "4", "c": "4", "alpha": "90", "beta": "90", "gamma": "90"}
    row = conductivity_row({"Formula": "LiI", **whole, **changed}, "")
    assert (row.cell, row.notes) == (None, (f"cell: {said}: not used",))
    assert conductivity_row({"Formula": "LiI", **whole}, "").notes == ()
    assert conductivity_row({"Formula": "LiI"}, "").notes == ()


@pytest.mark.parametrize("column", ["Space group #", "Space group number", "Spacegroup"])
def test_a_space_group_is_a_number_or_named(column):
    row = conductivity_row({"Formula": "NaI", column: "225"}, "")
    assert (row.space_group, row.notes, dict(row.extra)) == (225, (), {})
    for wrong in ("231", "0", "Fm-3m", "1.5"):
        row = conductivity_row({"Formula": "NaI", column: wrong}, "")
        assert row.space_group is None
        assert row.notes == (f"space group '{wrong}' is no number from 1 to 230: not used",)
    assert conductivity_row({"Formula": "NaI", column: ""}, "").notes == ()


def test_tables_are_known_by_their_composition_column():
    assert is_conductivity_table(["Formula", "x"])
    assert is_conductivity_table(["ID", "True Composition"])
    assert not is_conductivity_table(["id", "voltage"])


def test_a_table_may_be_packed_and_in_any_encoding(tmp_path):
    text = "id , Formula\r\na,Li2O\r\nb,Na2S,more\r\n"
    plain, packed = tmp_path / "t.csv", tmp_path / "p.csv"
    plain.write_text(text, encoding="utf-8-sig", newline="")
    packed.write_bytes(gzip.compress(text.encode("utf-16")))
    columns, rows = read_table(plain, ("id",))
    assert columns == ("id", "Formula")
    assert rows == [{"id": "a", "Formula": "Li2O"}, {"id": "b", "Formula": "Na2S", None: ["more"]}]
    assert read_table(packed) == (columns, rows)


def test_what_is_wrong_with_a_table_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,Formula\na,Li2O\nb," + "x" * 200_000 + "\n")
    with pytest.raises(ValueError, match=r"t\.csv: .*row 2: field larger"):
        read_table(path)
    path.write_text("id,Formula\n")
    with pytest.raises(
        ValueError,
        match="column 'formula' is missing; expected formula, this table has id, Formula",
    ):
        read_table(path, ("formula",))
    with pytest.raises(ValueError, match="cannot be read as a table"):
        read_table(tmp_path / "none.csv")


def test_a_composition_has_one_key_whether_a_table_or_a_crystal_gives_it():
    """Amounts of crystals are NumPy's; keys are also compared as text."""
    of_table = conductivity_row({"Formula": "Li3PS4"}, "").composition
    of_crystal = Composition({"Li": np.float64(6.0), "P": np.float64(2.0), "S": np.float64(8.0)})
    assert composition_key(of_crystal) == composition_key(of_table)
    assert str(composition_key(of_crystal)) == str(composition_key(of_table))
