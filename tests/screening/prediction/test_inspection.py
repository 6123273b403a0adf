"""``ionbridge inspect``, and notes that reach the rows of ``predict``."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from pymatgen.core import Composition

from ionbridge.models.library import load
from ionbridge.screening.cli import main
from ionbridge.screening.prediction.conductivities import conductivity_rows
from ionbridge.screening.prediction.inspection import COLUMNS, inspected
from ionbridge.structures.bond_valence.bond_sums import bond_valences
from ionbridge.structures.io.reading import read_records, write_cif
from ionbridge.structures.io.tables import ConductivityRow
from tests.screening.tiny import rocksalt

UGLY = Path(__file__).parents[2] / "data" / "ugly"
Capture = pytest.CaptureFixture[str]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_row_says_what_was_read_and_what_was_stated() -> None:
    (row,) = map(inspected, read_records([UGLY / "mixture_0.cif"]))
    assert Composition(row["formula"]) == Composition("LiFe0.6Mn0.4PO4")
    assert row["formula_stated"] == "Li1 Fe0.6 Mn0.4 P1 O4"
    assert row["space_group"] == "Pnma (62)"
    assert row["space_group_stated"] == "P n m a / 62"
    assert row["partial_occupancies"] == "4 x (Fe 0.6+Mn 0.4)"
    assert row["working_ion"] == "Li"
    assert "shared by" in row["note"]
    assert row["status"] == "ok"


def test_bond_valence_sums_of_an_olivine() -> None:
    """Sums of a known structure: its oxidation states, within what strains real bonds."""
    (crystal,) = read_records(UGLY / "olivine.cif")
    found = bond_valences(crystal)
    for element, state in {"Li": 1, "Fe": 2, "P": 5, "O": 2}.items():
        assert found.sums_vu[element] == pytest.approx(state, abs=0.2)
    assert found.global_instability_index_vu < 0.2


def test_cation_and_anion_sums_are_equal() -> None:
    """Every bond counts once at each end."""
    (crystal,) = read_records(UGLY / "spinel.cif")
    found = bond_valences(crystal)
    amounts = crystal.composition.as_dict()
    cations = sum(found.sums_vu[e] * amounts[e] for e in ("Li", "Mn"))
    assert cations == pytest.approx(found.sums_vu["O"] * amounts["O"])


def test_a_stretched_crystal_is_less_stable() -> None:
    (good,) = read_records(UGLY / "olivine.cif")
    indices = [
        bond_valences(replace(good, lattice=good.lattice * f)).global_instability_index_vu
        for f in (1.0, 1.03, 1.06)
    ]
    assert indices == sorted(indices)
    assert indices[2] > 3 * indices[0]


def test_a_reading_that_contradicts_its_file_is_shown() -> None:
    (row,) = map(inspected, read_records([UGLY / "formula_contradicts.cif"]))
    assert row["status"] == "failed"
    assert "_chemical_formula_sum says Li1 Fe1 P1 O5" in row["reason"]
    assert "ionbridge inspect" in row["reason"]
    assert Composition(row["formula"]) == Composition("LiFePO4")
    assert row["formula_stated"] == "Li1 Fe1 P1 O5"
    assert row["space_group"] == "Pnma (62)"
    assert row["global_instability_index_vu"] < 0.1


def test_the_command_prints_and_writes(tmp_path: Path, capsys: Capture) -> None:
    files = [str(UGLY / name) for name in ("olivine.cif", "block_one_bad.cif")]
    assert main(["inspect", *files]) == 0
    shown = capsys.readouterr()
    assert "Pnma (62)" in shown.out
    assert "block 'bad'" in shown.out
    assert "2 ok, 1 failed" in shown.err
    assert main(["inspect", *files, "--out", str(tmp_path / "t.csv")]) == 0
    rows = table(tmp_path / "t.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [r["status"] for r in rows] == ["ok", "ok", "failed"]


@pytest.mark.parametrize("name", ["cell_flat.cif", "symbol_X.cif", "empty.cif"])
def test_nothing_usable_is_status_two(name: str, capsys: Capture) -> None:
    assert main(["inspect", str(UGLY / name)]) == 2
    assert "not one usable row" in capsys.readouterr().err


def test_a_missing_file_is_one_line(capsys: Capture) -> None:
    assert main(["inspect", "no/such.cif"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_notes_stand_in_the_rows_of_predict(
    tmp_path: Path, tiny_model: Path, capsys: Capture
) -> None:
    files = [str(UGLY / name) for name in ("olivine.cif", "minus_unicode.cif", "symbol_X.cif")]
    command = ["predict", *files, "--model", str(tiny_model), "--workers", "0", "--out"]
    assert main([*command, str(tmp_path / "p.csv")]) == 0
    rows = table(tmp_path / "p.csv")
    assert list(rows[0])[-1] == "note"
    assert [r["note"] for r in rows] == ["", "1 typographic minus sign read as minus", ""]
    assert [r["status"] for r in rows] == ["ok", "ok", "failed"]
    assert rows[0]["percolation_barrier_eV"] == rows[1]["percolation_barrier_eV"]
    assert "ionbridge inspect" in capsys.readouterr().err


def test_hops_of_a_crystal_carry_its_notes(tmp_path: Path, tiny_model: Path) -> None:
    command = ["predict", str(UGLY / "minus_unicode.cif"), "--quantity", "migration_barrier"]
    command += ["--model", str(tiny_model), "--workers", "0", "--out", str(tmp_path / "p.csv")]
    assert main(command) == 0
    assert {r["note"] for r in table(tmp_path / "p.csv")} == {
        "1 typographic minus sign read as minus"
    }


def test_a_table_says_which_cifs_it_could_not_use(tmp_path: Path) -> None:
    folder = tmp_path / "cifs"
    write_cif(rocksalt(), folder / "good.cif")
    write_cif(rocksalt(), folder / "other.cif")
    (folder / "bad.CIF").write_text("data_x\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text(
        "ID,Reduced Composition\ngood,LiCl\nbad,LiCl\nnone,LiCl\nother,NaCl\n../good,LiCl\n",
        encoding="utf-8",
    )
    records = read_records(tmp_path / "t.csv", cifs=folder)
    notes = ["; ".join(row.notes) for row in records if isinstance(row, ConductivityRow)]
    assert notes[0] == ""
    assert notes[1].startswith("bad.cif is not used: not a readable CIF file")
    assert notes[2] == "no none.cif in the folder of --cifs"
    assert "holds LiCl: Li, Na in one of them only" in notes[3]
    assert notes[4].startswith("no ../good.cif")
    rows = conductivity_rows(load("conductivity-trees"), records[1:3])
    assert [row["note"] for row in rows] == notes[1:3]
