"""What a CIF claims is compared with what is read; the row says how they differ."""

import gzip
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ionbridge.structures.io.cif import crystals_in_cif
from ionbridge.structures.io.reading import read_records
from ionbridge.structures.io.site_symbols import occupants, occupants_of_label
from ionbridge.structures.io.space_group_settings import from_database
from ionbridge.structures.records import Crystal, FailedRecord, UnusableStructureError
from tests.tolerances import TIGHT


def cif(rows, formula="", units=0, operations=("x,y,z",), cell=(6.1, 6.3, 6.7, 90, 90, 90)):
    text = "data_x\n"
    text += f"_chemical_formula_sum '{formula}'\n" if formula else ""
    text += f"_cell_formula_units_Z {units}\n" if units else ""
    for name, value in zip(("a", "b", "c"), cell[:3], strict=True):
        text += f"_cell_length_{name} {value}\n"
    for name, value in zip(("alpha", "beta", "gamma"), cell[3:], strict=True):
        text += f"_cell_angle_{name} {value}\n"
    text += "loop_\n_symmetry_equiv_pos_as_xyz\n" + "".join(f"'{o}'\n" for o in operations)
    text += "loop_\n" + "".join(
        f"_atom_site_{tag}\n"
        for tag in ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
    )
    return text + "\n".join(rows) + "\n"


def one(text):
    (found,) = crystals_in_cif(text)
    return found


SALT = ("Li1 Li 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1")


@pytest.mark.parametrize("formula", ["Li Cl", "Li1 Cl1", "Cl Li", "Li1.00 Cl1.00"])
def test_a_formula_that_agrees(formula):
    assert isinstance(one(cif(SALT, formula)), Crystal)


@pytest.mark.parametrize("formula", ["Li2 Cl", "Li Br", "Li Cl H", "Na Cl", "Li1.1 Cl1"])
def test_a_formula_that_contradicts_is_named_with_what_was_read(formula):
    found = one(cif(SALT, formula))
    assert isinstance(found, UnusableStructureError)
    assert formula in str(found)
    assert "read as Li1 Cl1" in str(found)


def test_formula_units_that_contradict_are_named():
    assert "_cell_formula_units_Z says 3" in str(one(cif(SALT, "Li Cl", 3)))
    assert isinstance(one(cif(SALT, "Li Cl", 1)), Crystal)


def test_the_formula_of_the_whole_cell_is_what_pymatgen_states():
    rows = ("Li1 Li 0 0 0 1", "Li2 Li 0.5 0.5 0 1", "Cl1 Cl 0.5 0 0 1", "Cl2 Cl 0 0.5 0 1")
    assert isinstance(one(cif(rows, "Li2 Cl2", 2)), Crystal)
    assert isinstance(one(cif(rows, "Li Cl", 2)), Crystal)
    assert isinstance(one(cif(rows, "Li2 Cl2", 4)), UnusableStructureError)


def test_rows_that_gemmi_reads_otherwise_are_refused_with_both(monkeypatch):
    """A second reader that disagrees: as if ours had taken one element for another."""
    import ionbridge.structures.io.cif as module

    real = module._occupants

    def wrong(type_symbol, label, *rest):
        return real("Na" if label == "Li1" else type_symbol, label, *rest)

    monkeypatch.setattr(module, "_occupants", wrong)
    reason = str(one(cif(SALT)))
    assert "'Na': 1.0" in reason
    assert "by gemmi as {'Li': 1.0}" in reason


def test_many_notes_of_one_kind_are_counted():
    rows = [f"O{k} OH {k / 40 + 0.01:.4f} 0.1 0.2 1" for k in range(30)]
    found = one(cif(rows, cell=(90, 9, 9, 90, 90, 90)))
    assert len(found.notes) == 5
    assert found.notes[-1] == "26 more rows alike"


def test_hundreds_of_rows():
    n = 8
    rows = [
        f"Li{k} Li {x / n:.6f} {y / n:.6f} {z / n:.6f} 1"
        for k, (x, y, z) in enumerate(itertools.product(range(n), repeat=3))
    ]
    assert one(cif(rows, cell=(24, 24, 24, 90, 90, 90))).n_sites == n**3


@given(
    hall_number=st.integers(1, 530),
    place=st.tuples(*[st.integers(0, 23)] * 3),
    digits=st.integers(3, 6),
)
@settings(max_examples=60, deadline=None)
def test_special_positions_have_their_multiplicity_however_few_digits(hall_number, place, digits):
    """Positions n/24 written with few digits: as many sites as exact fractions give."""
    operations = from_database(hall_number)
    exact = np.array(place) / 24
    images = operations.rotation @ exact + operations.translation
    count = len({tuple(np.rint(x * 24 * 10).astype(int) % 240) for x in images})
    texts = [_triplet(r, t) for r, t in zip(*_both(operations), strict=True)]
    written = " ".join(f"{x:.{digits}f}" for x in exact)
    cell = (20, 20, 20, 90, 90, 120) if _is_hexagonal(operations) else (20, 20, 20, 90, 90, 90)
    found = one(cif([f"Li1 Li {written} 0.3"], operations=texts, cell=cell))
    assert isinstance(found, Crystal), found
    assert found.n_sites == count


def _both(operations):
    return operations.rotation, operations.translation


def _is_hexagonal(operations):
    return any(np.abs(r).sum() > 3 for r in operations.rotation)


def _triplet(rotation, translation):
    parts = []
    for row, shift in zip(rotation, translation, strict=True):
        terms = "".join(f"{'+' if n > 0 else '-'}{x}" for n, x in zip(row, "xyz", strict=True) if n)
        parts.append(f"{terms}+{round(shift * 24)}/24")
    return ",".join(parts)


@pytest.mark.parametrize(
    ("symbol", "shares"),
    [
        ("Fe3+", {"Fe": 1}),
        ("Cu1.5+", {"Cu": 1}),
        ("S2-", {"S": 1}),
        ("CO", {"Co": 1}),
        ("57Fe", {"Fe": 1}),
        ("11B", {"B": 1}),
        ("Vac", {}),
        ("0.25Ni+0.75Co", {"Ni": 0.25, "Co": 0.75}),
        ("Al.25Si.75", {"Al": 0.25, "Si": 0.75}),
    ],
)
def test_symbols(symbol, shares):
    assert dict(occupants(symbol).shares) == shares


@pytest.mark.parametrize("symbol", ["", "X", "Du", "Zz", "60Li", "Fe/Mn", "PO4", "Fe2Mn", "?", "1"])
def test_symbols_that_are_none(symbol):
    with pytest.raises(UnusableStructureError, match="unknown element"):
        occupants(symbol)


def test_what_the_file_holds_settles_what_a_symbol_means():
    assert dict(occupants("CO", {"Co", "O"}).shares) == {"Co": 1}
    with pytest.raises(UnusableStructureError):
        occupants("CO", {"C", "O"})
    assert dict(occupants_of_label("CA1", {"C", "O"}).shares) == {"C": 1}
    assert dict(occupants_of_label("CA1", {"Ca", "O"}).shares) == {"Ca": 1}
    with pytest.raises(UnusableStructureError, match="may be Ca or C"):
        occupants_of_label("CA1", {"Ca", "C"})


class TestLimits:
    def test_a_packed_file_without_end_is_one_line(self, tmp_path):
        for name in ("bomb.cif.gz", "bomb.jsonl.gz", "bomb.csv.gz"):
            data = (b"Formula\n" if "csv" in name else b"") + b" " * 3_000_000
            (tmp_path / name).write_bytes(gzip.compress(data))
        records = read_records(tmp_path / "bomb.cif.gz", max_file_MB=1)
        records += read_records(tmp_path / "bomb.jsonl.gz", max_file_MB=1)
        records += read_records(tmp_path / "bomb.csv.gz", max_file_MB=1)
        assert all(isinstance(r, FailedRecord) for r in records)
        assert all("unpacks to more than 1 MB; --max-file-MB" in r.reason for r in records)

    def test_the_limit_can_be_raised(self, tmp_path):
        (tmp_path / "a.cif.gz").write_bytes(gzip.compress((cif(SALT) + " " * 2_000_000).encode()))
        (record,) = read_records(tmp_path / "a.cif.gz", max_file_MB=1)
        assert isinstance(record, FailedRecord)
        (record,) = read_records(tmp_path / "a.cif.gz", max_file_MB=3)
        assert isinstance(record, Crystal)


def test_a_skewed_cell_is_the_same_crystal(tmp_path):
    import json

    change = np.array([[1, 0, 0], [40, 1, 0], [3, 25, 1]])
    lattice = np.diag([6.1, 6.3, 6.7])
    frac = np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]])
    record = {
        "id": "a",
        "lattice": (change @ lattice).tolist(),
        "species": ["Li", "Cl"],
        "frac": (frac @ np.linalg.inv(change)).tolist(),
    }
    (tmp_path / "a.json").write_text(json.dumps(record))
    (crystal,) = read_records(tmp_path / "a.json")
    assert any("skewed" in note for note in crystal.notes)
    assert crystal.volume_A3 == pytest.approx(np.linalg.det(lattice), rel=TIGHT)
    away = (crystal.frac[1] - crystal.frac[0]) @ crystal.lattice @ np.linalg.inv(lattice)
    assert away % 1 == pytest.approx((frac[1] - frac[0]) % 1, abs=1e-6)
