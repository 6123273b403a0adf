"""The table is for people: formulas are short, cells are plain."""

import csv
import io
import math
from dataclasses import replace

import pandas as pd
import pytest

from ionbridge.screening.execution.shards import write_atomically
from ionbridge.screening.table import (
    carried_fault,
    cell_text,
    checked_row,
    crystal_row,
    csv_lines,
    readable_formula,
    to_csv,
)
from tests.screening.tiny import layered


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("LiFePO4", "LiFePO4"),
        ("Li6.66666667La3Zr2O12", "Li6.667La3Zr2O12"),
        ("Li0.33333333Co1O2", "Li0.3333CoO2"),
        ("Li1.50Mn2O4", "Li1.5Mn2O4"),
        ("Li0.1Fe11O1", "Li0.1Fe11O"),
    ],
)
def test_fractions_have_four_digits(formula: str, expected: str) -> None:
    assert readable_formula(formula) == expected


def test_a_disordered_crystal_in_a_row() -> None:
    crystal = layered()
    species = ({"Li": 0.123456789}, *crystal.species[1:])
    row = crystal_row(type(crystal)("x", crystal.lattice, species, crystal.frac))
    assert row["formula"] == "Li0.1235CoO2"
    assert "Li0.1235CoO2" in to_csv([row], ("candidate_id", "formula"))


NASTY = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "'=1",
    "''=1",
    "'quoted'",
    "-8.5",
    "-1e400",
    "a\rb",
    "a\nb",
    "a\r\nb",
    'a"b',
    "a,b",
    " a ",
    "-",
    "=",
    "",
]


def test_ids_come_back_from_every_reader(tmp_path) -> None:
    rows = [{"id": text, "n": k} for k, text in enumerate(NASTY)]
    path = tmp_path / "table.csv"
    write_atomically(path, csv_lines(rows, ("id", "n")))
    with path.open(newline="", encoding="utf-8") as file:
        found = [row["id"] for row in csv.DictReader(file)]
    assert [cell_text(cell) for cell in found] == NASTY
    by_pandas = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(by_pandas["id"]) == found
    assert list(by_pandas["n"]) == [str(k) for k in range(len(NASTY))]


def test_no_cell_is_a_formula(tmp_path) -> None:
    lines = to_csv([{"id": text} for text in NASTY], ("id",))
    for cell in (row["id"] for row in csv.DictReader(io.StringIO(lines, newline=""))):
        is_number = cell.replace(".", "").lstrip("-").isdigit()
        assert is_number or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", ["a\ud800", "\x1b[31mred", "nul\0", "\x9b", "\x7f"])
def test_what_no_file_can_hold_is_spelled_out(text: str) -> None:
    line = to_csv([{"id": text, "n": 1}], ("id", "n")).splitlines()[1]
    assert line.endswith(",1")
    assert line.isprintable()
    line.encode()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_no_result(value: float) -> None:
    row = {"candidate_id": "x", "status": "ok", "reason": None, "barrier_eV": value, "n": 3}
    found = checked_row(row)
    assert found["status"] == "failed"
    assert found["barrier_eV"] is None
    assert found["reason"].startswith("barrier_eV came out as")
    assert checked_row({**row, "reason": "out of the domain"})["reason"] == found["reason"]
    assert checked_row({"hops": [row]})["hops"] == [found]
    assert checked_row({**row, "barrier_eV": 0.5})["status"] == "ok"


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.1", [1], True, 10**400])
def test_a_carried_value_that_is_no_number_is_named(value: object) -> None:
    crystal = replace(layered(), extra={"band_gap_eV": value})
    assert "band_gap_eV: expected a finite number" in carried_fault(crystal)
    assert crystal_row(crystal)["band_gap_eV"] is None
    assert carried_fault(replace(layered(), extra={"band_gap_eV": 1})) == ""
