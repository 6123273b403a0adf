import gzip
import json
import time

import ase.io
import numpy as np
import pytest
from pymatgen.core import Lattice
from pymatgen.io.cif import CifParser, CifWriter
from pymatgen.io.vasp import Poscar

from ionbridge.structures.io.json_records import lattice_from_parameters
from ionbridge.structures.io.reading import (
    ConductivityRow,
    crystal_from_json,
    crystal_to_json,
    detect_kind,
    hop_from_json,
    hop_to_json,
    read_records,
    survey,
    write_cif,
    write_extxyz,
    write_json_lines,
)
from ionbridge.structures.records import Crystal, FailedRecord, Hop, UnusableStructureError
from tests.tolerances import EXACT, TIGHT

CUBIC = (4.0 * np.eye(3)).tolist()


def rock_salt(id="NaCl", **fields):
    return Crystal(
        id,
        np.array(CUBIC),
        ({"Na": 1.0}, {"Cl": 1.0}),
        np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]),
        **fields,
    )


def disordered(id="disordered"):
    return Crystal(
        id,
        lattice_from_parameters(4.0, 5.0, 6.0, 80.0, 95.0, 107.0),
        ({"Li": 0.35, "Na": 0.25}, {"O": 1.0}, {"Li": 0.5}),
        np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8], [0.9, 0.1, 0.45]]),
    )


def hop(id="hop", **fields):
    return Hop(
        id,
        "Li",
        np.diag([5.0, 6.0, 7.0]),
        ({"O": 1.0}, {"Fe": 0.6, "Mn": 0.4}),
        np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]),
        np.array([[0.1, 0.5, 0.0], [0.5, 0.6, 0.05], [1.1, 0.5, 0.0]]),
        **fields,
    )


def same_crystal(a, b):
    assert np.allclose(a.lattice, b.lattice, atol=TIGHT)
    assert [dict(s) for s in a.species] == [dict(s) for s in b.species]
    assert np.allclose(a.frac, b.frac, atol=TIGHT)


def failures(records):
    return [r for r in records if isinstance(r, FailedRecord)]


class TestCells:
    @pytest.mark.parametrize(
        "cell",
        [(3, 4, 5, 90, 90, 90), (5.3, 5.3, 5.3, 109.47, 109.47, 109.47), (4, 9, 6, 81, 95, 107)],
    )
    def test_agree_with_pymatgen(self, cell):
        expected = Lattice.from_parameters(*cell).matrix
        assert np.allclose(lattice_from_parameters(*cell), expected, atol=1e-10)

    @pytest.mark.parametrize(
        "cell", [(3, 4, 5, 30, 30, 170), (0, 4, 5, 90, 90, 90), (3, 4, 5, 0, 9, 9)]
    )
    def test_impossible_cells_are_refused(self, cell):
        with pytest.raises(UnusableStructureError, match="cell"):
            lattice_from_parameters(*cell)


class TestJson:
    def test_crystal_round_trip_keeps_occupancies_and_unknown_keys(self):
        crystal = disordered()
        crystal = crystal_from_json({**crystal_to_json(crystal), "band_gap_eV": 2.5, "note": "é"})
        again = crystal_from_json(json.loads(json.dumps(crystal_to_json(crystal))))
        same_crystal(again, disordered())
        assert again.extra == {"band_gap_eV": 2.5, "note": "é"}

    def test_hop_round_trip(self):
        one = hop(barrier_eV=0.3, method="dft_neb", family="OLIVINE", extra={"xc": "GGA"})
        two = hop_from_json(json.loads(json.dumps(hop_to_json(one))))
        assert np.allclose(two.path_frac, one.path_frac, atol=TIGHT)
        assert np.allclose(two.lattice, one.lattice, atol=TIGHT)
        for name in (
            "id",
            "working_ion",
            "host_species",
            "barrier_eV",
            "method",
            "family",
            "extra",
        ):
            assert getattr(two, name) == getattr(one, name)

    @pytest.mark.parametrize(
        ("text", "value", "bound"),
        [("<0.3", 0.3, "<"), (">= 1", 1.0, ">"), (" < 0.25 ", 0.25, "<"), ("0.4", 0.4, "=")],
    )
    def test_a_bound_survives_the_file(self, tmp_path, text, value, bound):
        row = {**hop_to_json(hop()), "barrier_eV": text}
        write_json_lines(tmp_path / "a.jsonl", [row])
        (one,) = read_records(tmp_path / "a.jsonl")
        assert (one.barrier_eV, one.bound) == (value, bound)
        write_json_lines(tmp_path / "b.jsonl", [one])
        (two,) = read_records(tmp_path / "b.jsonl")
        assert (two.barrier_eV, two.bound) == (value, bound)
        back = one.reversed()
        assert (back.barrier_backward_eV, back.bound) == (value, bound)
        again = hop_from_json(json.loads(json.dumps(hop_to_json(back))))
        assert (again.barrier_backward_eV, again.bound) == (value, bound)

    def test_cell_and_lattice_say_the_same(self):
        base = {"id": "x", "species": ["Na"], "frac": [[0, 0, 0]]}
        cell = crystal_from_json({**base, "cell": [4, 4, 4, 90, 90, 90]})
        rows = crystal_from_json({**base, "lattice": CUBIC})
        assert np.allclose(cell.lattice, rows.lattice, atol=EXACT * 100)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"frac": [[0, 0, float("nan")], [0.5, 0.5, 0.5]]}, r"frac\[0\].*not finite"),
            ({"frac": [[0, 0, 0]]}, r"frac has shape \(1, 3\), expected \(2, 3\)"),
            ({"frac": "none"}, "frac is not a regular table"),
            ({"species": ["Na", "Xx"]}, r"species\[1\]: unknown element 'Xx'"),
            ({"species": ["Na", {"Cl": 1.2}]}, "above one"),
            ({"species": ["Na", {"Cl": -0.1}]}, "must be above 0"),
            ({"species": ["Na", {}]}, "must be above 0"),
            ({"species": ["Na", 7]}, "unknown element 7"),
            ({"species": []}, "no atoms"),
            ({"species": "NaCl"}, "must be a list"),
            ({"species": None}, "'species' is missing"),
            ({"lattice": None}, "'cell' is missing"),
            ({"lattice": [[1, 0], [0, 1]]}, r"expected \(3, 3\)"),
            ({"lattice": [[1, 0, 0], [1, 0, 0], [0, 0, 1]]}, "volume of 0"),
            ({"lattice": [[float("inf"), 0, 0], [0, 1, 0], [0, 0, 1]]}, "not finite"),
            ({"working_ion": "Xx"}, "unknown element 'Xx'"),
        ],
    )
    def test_bad_crystals_are_named(self, change, reason):
        with pytest.raises(UnusableStructureError, match=reason) as caught:
            crystal_from_json({**crystal_to_json(rock_salt()), **change})
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"path_frac": [[0, 0, 0]]}, "2 or more"),
            ({"path_frac": [[0, 0, 0], [0, 0, None]]}, "not finite"),
            ({"host_species": None}, "'host_species' is missing"),
            ({"working_ion": None}, "'working_ion' is missing"),
            ({"id": None}, "'id' is missing"),
            ({"barrier_eV": "low"}, "barrier_eV = 'low' is not a number"),
            ({"barrier_eV": "<"}, "barrier_eV = '<' is not a number"),
            ({"barrier_eV": "<0.3", "barrier_backward_eV": 0.2}, "share a saddle"),
        ],
    )
    def test_bad_hops_are_named(self, change, reason):
        with pytest.raises(UnusableStructureError, match=reason):
            hop_from_json({**hop_to_json(hop()), **change})


class TestJsonLines:
    @pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz"])
    def test_write_and_read(self, tmp_path, name):
        crystals = [rock_salt("Kochsalz-ü"), disordered()]
        write_json_lines(tmp_path / name, crystals)
        read = read_records(tmp_path / name)
        assert [r.id for r in read] == ["Kochsalz-ü", "disordered"]
        for a, b in zip(read, crystals, strict=True):
            same_crystal(a, b)
        assert [p.name for p in tmp_path.iterdir()] == [name]

    def test_equal_records_give_equal_gzip_bytes(self, tmp_path):
        for name in ("a.jsonl.gz", "b.jsonl.gz"):
            write_json_lines(tmp_path / name, [hop()])
        assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()

    def test_one_bad_line_is_one_failed_row(self, tmp_path):
        good = json.dumps(crystal_to_json(rock_salt()))
        bad = json.dumps({**crystal_to_json(rock_salt("bad")), "species": ["Na", "Qq"]})
        file = tmp_path / "mixed.jsonl"
        file.write_text(f"{good}\n{{broken\n\n[1]\n{bad}\n", encoding="utf-8")
        ids = [r.id for r in read_records(file)]
        assert ids == ["NaCl", "mixed#1", "mixed#2", "bad"]
        reasons = [r.reason for r in failures(read_records(file))]
        assert reasons[0].startswith("line 2: invalid JSON")
        assert reasons[1] == "line 4: expected a JSON object, got list"
        assert "unknown element 'Qq'" in reasons[2]

    def test_gzip_that_ends_early_keeps_what_came_before(self, tmp_path):
        rng = np.random.default_rng(0)
        crystals = [
            Crystal(str(k), np.eye(3) * 9, ({"Na": 1.0},) * 40, rng.random((40, 3)))
            for k in range(60)
        ]
        write_json_lines(tmp_path / "whole.jsonl.gz", crystals)
        data = (tmp_path / "whole.jsonl.gz").read_bytes()
        (tmp_path / "cut.jsonl.gz").write_bytes(data[: len(data) // 2])
        records = read_records(tmp_path / "cut.jsonl.gz")
        assert 20 < len(records) < 40
        for read, written in zip(records[:-1], crystals, strict=False):
            same_crystal(read, written)
        assert isinstance(records[-1], FailedRecord)
        assert "ends early" in records[-1].reason

    def test_not_gzip_at_all(self, tmp_path):
        (tmp_path / "a.jsonl.gz").write_text("plain text")
        (record,) = read_records(tmp_path / "a.jsonl.gz")
        assert isinstance(record, FailedRecord)
        assert "\n" not in record.reason

    def test_duplicate_ids_keep_their_rows(self, tmp_path):
        write_json_lines(tmp_path / "a.jsonl", [rock_salt(), disordered(), rock_salt()])
        records = read_records(tmp_path / "a.jsonl")
        assert [type(r) for r in records] == [Crystal, Crystal, FailedRecord]
        assert records[2] == FailedRecord("NaCl", "duplicate id", "NaCl")

    @pytest.mark.parametrize("good_first", [False, True])
    def test_what_cannot_be_read_takes_no_id(self, tmp_path, good_first):
        good, damaged = tmp_path / "good" / "x.cif", tmp_path / "damaged" / "x.cif"
        write_cif(rock_salt(), good)
        damaged.parent.mkdir()
        damaged.write_text(good.read_text()[:200])
        pair = [good, damaged] if good_first else [damaged, good]
        kinds = [Crystal, FailedRecord] if good_first else [FailedRecord, Crystal]
        records = read_records(pair)
        assert [(type(r), r.id) for r in records] == [(kind, "x") for kind in kinds]
        (failed,) = [r for r in records if isinstance(r, FailedRecord)]
        assert failed.reason == read_records(damaged)[0].reason

    def test_crystals_without_id_take_the_file_name(self, tmp_path):
        line = crystal_to_json(rock_salt())
        del line["id"]
        write_json_lines(tmp_path / "one.json", [line])
        write_json_lines(tmp_path / "two.jsonl", [line, line])
        assert [r.id for r in read_records(tmp_path)] == ["one", "two#0", "two#1"]

    def test_a_whole_file_array_and_a_pretty_printed_object(self, tmp_path):
        line = crystal_to_json(rock_salt())
        (tmp_path / "array.json").write_text(json.dumps([line, {**line, "id": "b"}], indent=1))
        (tmp_path / "pretty.json").write_text(json.dumps({**line, "id": "c"}, indent=1))
        assert [r.id for r in read_records(tmp_path)] == ["NaCl", "b", "c"]

    def test_a_wrong_bracket_costs_one_row_only(self, tmp_path):
        good = json.dumps(crystal_to_json(rock_salt()))
        (tmp_path / "a.jsonl").write_text(f"[1, 2]\n{good}\n")
        assert [type(r) for r in read_records(tmp_path)] == [FailedRecord, Crystal]

    def test_working_ion_is_set_where_none_is_named(self, tmp_path):
        write_json_lines(tmp_path / "a.jsonl", [rock_salt(), disordered()])
        named = rock_salt("named", working_ion="Na")
        write_json_lines(tmp_path / "b.jsonl", [named])
        assert [r.working_ion for r in read_records(tmp_path, "Li")] == ["Li", "Li", "Na"]

    def test_thousands_of_crystals_a_second(self, tmp_path):
        rng = np.random.default_rng(0)
        crystals = [
            Crystal(str(k), np.eye(3) * 9, ({"Na": 1.0}, {"O": 1.0}) * 15, rng.random((30, 3)))
            for k in range(1000)
        ]
        write_json_lines(tmp_path / "a.jsonl.gz", crystals)
        start = time.process_time()
        assert len(read_records(tmp_path / "a.jsonl.gz")) == 1000
        # of the processor: 13,000 in 5 s would be 0.38 s; a busy one may take twice that
        assert time.process_time() - start < 0.8

    def test_a_role_that_is_none_is_a_failed_row(self, tmp_path):
        rows = [crystal_to_json(rock_salt(f"c{k}")) for k in range(3)]
        rows[0]["role"], rows[1]["role"] = "electrolyte", "banana"
        write_json_lines(tmp_path / "c.jsonl", rows)
        records = read_records(tmp_path / "c.jsonl")
        assert [getattr(r, "role", None) for r in records] == ["electrolyte", None, None]
        assert records[1].reason == "role = 'banana', expected electrode or electrolyte"

    @pytest.mark.parametrize("label", ["about 0.3", float("nan"), [0.3]])
    def test_a_barrier_that_is_no_number_is_a_failed_row(self, tmp_path, label):
        rows = [hop_to_json(hop(f"h{k}")) for k in range(2)]
        rows[0]["barrier_eV"] = label
        write_json_lines(tmp_path / "h.jsonl", rows)
        bad, good = read_records(tmp_path / "h.jsonl")
        assert bad.reason.startswith("barrier_eV = ")
        assert good.id == "h1"


class TestStructureFiles:
    def test_cif_keeps_partial_occupancy(self, tmp_path):
        write_cif(disordered(), tmp_path / "d.cif")
        (crystal,) = read_records(tmp_path / "d.cif")
        assert crystal.composition.almost_equals(disordered().composition)
        assert sorted(round(sum(s.values()), 6) for s in crystal.species) == [0.5, 0.6, 1.0]
        assert crystal.volume_A3 == pytest.approx(disordered().volume_A3, rel=TIGHT)

    def test_cif_is_the_conventional_cell_as_given(self, tmp_path):
        spinel = Crystal(
            "fcc",
            np.eye(3) * 4.0,
            ({"Na": 1.0},) * 4,
            np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0.0]]),
        )
        text = str(CifWriter(spinel.to_pymatgen(), symprec=0.01))
        assert "Fm-3m" in text
        (tmp_path / "fcc.cif").write_text(text)
        (crystal,) = read_records(tmp_path)
        assert crystal.n_sites == 4

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "empty CIF"),
            ("data_x\n_cell_length_a 4.0\n_cell_le", "CIF"),
            ("hello", "CIF"),
        ],
    )
    def test_broken_cifs_are_rows_with_one_line(self, tmp_path, text, reason):
        (tmp_path / "broken.cif").write_text(text)
        (record,) = read_records(tmp_path)
        assert isinstance(record, FailedRecord)
        assert record.id == "broken"
        assert reason in record.reason
        assert "\n" not in record.reason

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            (" 1.0\n", " 1.3\n", "ccupanc"),
            ("0.50000000  0.50000000  0.50000000", "nan 0.5 0.5", "not finite"),
            ("Cl  Cl", "Qq  Qq", "unknown element 'Qq'"),
        ],
    )
    def test_cifs_with_impossible_content(self, tmp_path, old, new, reason):
        text = str(CifWriter(rock_salt().to_pymatgen()))
        changed = text.replace(old, new)
        assert changed != text
        (tmp_path / "bad.cif").write_text(changed)
        (record,) = read_records(tmp_path)
        assert isinstance(record, FailedRecord), record
        assert reason in record.reason

    def test_cif_cut_anywhere_never_raises(self, tmp_path):
        text = str(CifWriter(disordered().to_pymatgen()))
        for k in range(0, len(text), 97):
            (tmp_path / "cut.cif").write_text(text[:k])
            assert len(read_records(tmp_path)) == 1

    def test_poscar_by_suffix_and_by_name(self, tmp_path):
        text = Poscar(rock_salt().to_pymatgen()).get_str()
        (tmp_path / "run").mkdir()
        (tmp_path / "a.vasp").write_text(text)
        (tmp_path / "run" / "CONTCAR").write_text(text)
        (tmp_path / "run" / "POSCAR.gz").write_bytes(gzip.compress(text.encode()))
        records = read_records(tmp_path)
        assert [r.id for r in records] == ["a", "run/CONTCAR", "run/POSCAR"]
        for record in records:
            same_crystal(record, rock_salt())

    @pytest.mark.parametrize("comment", ["Li Cl", "some title"])
    def test_poscar_without_elements_is_refused_not_guessed(self, tmp_path, comment):
        lines = Poscar(rock_salt().to_pymatgen()).get_str().splitlines()
        lines[0] = comment
        names = lines.pop(5).split()
        bare = [" ".join(w for w in line.split() if w not in names) for line in lines[1:]]
        (tmp_path / "POSCAR").write_text("\n".join([comment, *bare]) + "\n")
        (record,) = read_records(tmp_path)
        assert isinstance(record, FailedRecord), record
        assert "no element symbols" in record.reason

    def test_extxyz_frames_are_numbered(self, tmp_path):
        write_extxyz(hop(), tmp_path / "path.extxyz")
        records = read_records(tmp_path)
        assert [r.id for r in records] == ["path#0", "path#1", "path#2"]
        frames = ase.io.read(tmp_path / "path.extxyz", index=":")
        moving = np.array([f.positions[-1] for f in frames])
        assert np.allclose(moving, hop().path_A, atol=TIGHT)
        assert frames[0].arrays["occupancy"].tolist() == [1.0, 0.6, 1.0]

    def test_extxyz_without_cell_is_a_failed_row(self, tmp_path):
        (tmp_path / "mol.xyz").write_text("1\ncomment\nLi 0 0 0\n")
        (record,) = read_records(tmp_path)
        assert "not a periodic crystal" in record.reason

    def test_extxyz_cut_in_a_frame_keeps_the_frames_before_it(self, tmp_path):
        write_extxyz(hop(), tmp_path / "whole.extxyz")
        text = (tmp_path / "whole.extxyz").read_text()
        third = text.index("Lattice", text.index("Lattice", text.index("Lattice") + 1) + 1)
        (tmp_path / "whole.extxyz").write_text(text[: text.index("\n", third) + 3])
        *whole, cut = read_records(tmp_path)
        assert [r.id for r in whole] == ["whole#0", "whole#1"]
        assert all(isinstance(r, Crystal) for r in whole)
        assert cut.id == "whole#2"
        assert cut.reason == "frame 2: the file ends after 1 of 3 atoms"

    def test_extxyz_with_one_odd_frame_keeps_the_others(self, tmp_path):
        write_extxyz(hop(), tmp_path / "odd.extxyz")
        text = (tmp_path / "odd.extxyz").read_text()
        second = text.index("Lattice", text.index("Lattice") + 1)
        (tmp_path / "odd.extxyz").write_text(
            text[:second] + text[second:].replace("Lattice", "L", 1)
        )
        assert [isinstance(r, Crystal) for r in read_records(tmp_path)] == [True, False, True]

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("_atom_site_label", "_atom_site_name", "_atom_site_label is missing"),
            ("_cell_length_a", "_cell_long", "_cell_length_a is missing"),
            ("_atom_site_", "_other_", "no atom sites"),
            ("data_", "dat", "no data_ block"),
        ],
    )
    def test_a_cif_says_what_it_lacks(self, tmp_path, old, new, reason):
        text = str(CifWriter(rock_salt().to_pymatgen()))
        (tmp_path / "lacks.cif").write_text(text.replace(old, new))
        (record,) = read_records(tmp_path)
        assert isinstance(record, FailedRecord), record
        assert reason in record.reason

    def test_hop_as_cif_holds_one_ion(self, tmp_path):
        write_cif(hop(), tmp_path / "hop.cif")
        (structure,) = CifParser(tmp_path / "hop.cif").parse_structures(primitive=False)
        assert structure.composition["Li"] == pytest.approx(1.0, abs=1e-3)


TABLE = (
    "ID,Reduced Composition,Z,True Composition,Ionic conductivity (S cm-1),Space group #,"
    "a,b,c,alpha,beta,gamma,Family,DOI,note\n"
    "aaa,NaCl,1,Na1.0Cl1.0,1E-3,225,4,4,4,90,90,90,halides,10.1/x,\n"
    "bbb,LiI,4,Li4.0I4.0,<1E-10,,,,,,,,,,see text\n"
    "ccc,Li_x?,1,,2e-4,,,,,,,,,,\n"
    "aaa,NaCl,1,Na1.0Cl1.0,1E-3,225,4,4,4,90,90,90,halides,10.1/x,\n"
)


class TestTables:
    def test_obelix_columns(self, tmp_path):
        (tmp_path / "t.csv").write_text(TABLE)
        write_cif(rock_salt(), tmp_path / "cifs" / "aaa.cif")
        (tmp_path / "cifs" / "bbb.cif").write_text("nothing")
        one, two, three, four = read_records(tmp_path / "t.csv", cifs=tmp_path / "cifs")
        assert isinstance(one, ConductivityRow)
        assert (one.label.value, one.label.bound) == (pytest.approx(-3), "=")
        assert (one.space_group, one.cell) == (225, (4, 4, 4, 90, 90, 90))
        assert one.crystal.formula == "NaCl"
        assert (two.label.value, two.label.bound) == (pytest.approx(-10), "<")
        assert two.composition["Li"] == 4
        assert (two.cell, two.space_group, two.crystal) == (None, None, None)
        assert two.extra["note"] == "see text"
        assert "CIF" in two.extra["cif_error"]
        assert isinstance(three, FailedRecord)
        assert four == FailedRecord("aaa", "duplicate id", "NaCl")

    def test_na_columns(self, tmp_path):
        (tmp_path / "na.csv").write_text(
            "Formula,Type,Ionic conductivity (S/cm),Spacegroup,composition\n"
            "NaZr2(PO4)3,NASICON,4.5e-06,167.0,Na1 Zr2 P3 O12\n"
            "Na3OBH4,Anti-perovskite,,,\n"
        )
        one, two = read_records(tmp_path / "na.csv")
        assert (one.id, two.id) == ("na#0", "na#1")
        assert one.composition.reduced_formula == "NaZr2(PO4)3"
        assert one.label.value == pytest.approx(np.log10(4.5e-6))
        assert (one.space_group, two.label) == (167, None)


class TestSurvey:
    def test_kinds(self, tmp_path):
        write_json_lines(tmp_path / "hops" / "h.jsonl", [hop()])
        write_json_lines(tmp_path / "crystals" / "c.jsonl", [rock_salt()])
        write_cif(rock_salt(), tmp_path / "crystals" / "c.cif")
        (tmp_path / "crystals" / "README.md").write_text("passed over")
        (tmp_path / "crystals" / "other.csv").write_text("x,y\n1,2\n")
        (tmp_path / "t.csv").write_text(TABLE)
        assert detect_kind(tmp_path / "hops") == "hops"
        assert detect_kind(tmp_path / "t.csv") == "conductivity_table"
        found = survey(tmp_path / "crystals")
        assert found.kind == "crystals"
        assert found.message == "found crystals: 1 CIF, 1 crystal file"
        assert len(read_records(tmp_path / "crystals")) == 2

    def test_mixed_missing_and_unknown_input_is_refused(self, tmp_path):
        write_json_lines(tmp_path / "h.jsonl", [hop()])
        write_json_lines(tmp_path / "c.jsonl", [rock_salt()])
        (tmp_path / "notes.txt").write_text("x")
        (tmp_path / "empty").mkdir()
        with pytest.raises(
            ValueError, match=r"mixed input: crystals \(c.jsonl\), hops \(h.jsonl\)"
        ):
            detect_kind(tmp_path)
        with pytest.raises(ValueError, match="no such file"):
            detect_kind(tmp_path / "absent")
        with pytest.raises(ValueError, match="not a known form"):
            detect_kind(tmp_path / "notes.txt")
        with pytest.raises(ValueError, match="no hops, crystals or conductivity rows"):
            detect_kind(tmp_path / "empty")
        (tmp_path / "other.csv").write_text("name,sigma\na,1e-3\n")
        with pytest.raises(ValueError, match=r"; other\.csv has the columns name, sigma$"):
            detect_kind(tmp_path / "other.csv")
