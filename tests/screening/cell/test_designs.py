"""Designs: tables with bad rows, and sequences spread evenly."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pybamm")

from benchmarks.cell_designs import Space, sobol_designs
from ionbridge.screening.cell.base_cells import BASE_CELLS, scalars
from ionbridge.screening.cell.designs import (
    check,
    read_designs,
    to_table,
)
from ionbridge.screening.cell.inputs import ELSEWHERE, known_names, out_of_range
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import to_csv

HEADER = "design_id,base_cell,c_rate,temperature_K,Positive particle diffusivity [m2.s-1]"


def written(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_bad_rows_keep_their_place_with_a_reason(tmp_path: Path) -> None:
    designs = read_designs(
        written(
            tmp_path / "d.csv",
            "good,Marquis2019,1,298.15,1e-14",
            "nine-decades,Marquis2019,1,298.15,1e-5",
            "nan,Marquis2019,1,298.15,nan",
            "words,Marquis2019,fast,298.15,",
            "missing,Marquis2019,,298.15,",
            "hot,Marquis2019,1,1298,",
            "good,Marquis2019,2,298.15,",
        )
    )
    assert [d.design_id for d in designs][:2] == ["good", "nine-decades"]
    assert designs[0].trouble == ""
    reasons = [d.trouble for d in designs[1:]]
    assert "unit" in reasons[0]
    assert "not a finite number" in reasons[1]
    assert "'fast', not a number" in reasons[2]
    assert "missing" in reasons[3]
    assert "outside 233 to 343" in reasons[4]
    assert reasons[5] == "duplicate id"


LAYERS = "Number of electrodes connected in parallel to make a cell"
AT_FIRST = "Initial concentration in negative electrode [mol.m-3]"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (LAYERS, 0, "outside 1 to"),
        (LAYERS, -1, "outside 1 to"),
        (LAYERS, 1.4, "not a whole number"),
        (AT_FIRST, 1e5, "above the maximum"),
        ("Thermodynamic factor", 0.0, "outside 0.01 to 100"),
        ("Initial concentration in electrolyte [mol.m-3]", 1e5, "outside 10 to 4000"),
    ],
)
def test_a_bad_count_or_amount_is_a_row(tmp_path: Path, name: str, value: float, said: str) -> None:
    header = f"design_id,base_cell,c_rate,{name}"
    rows = (f"bad,Marquis2019,1,{value}", "good,Marquis2019,1,")
    bad, good = read_designs(written(tmp_path / "d.csv", *rows, header=header))
    assert said in bad.trouble
    assert good.trouble == ""


@pytest.mark.parametrize("base", sorted(BASE_CELLS))
def test_every_column_has_a_range(base: str) -> None:
    for name in known_names(base):
        assert out_of_range(name, -1e9), name
        assert out_of_range(name, 1e15), name


def test_every_column_changes_a_discharge() -> None:
    """What the equations of an isothermal discharge ask for, and no other parameter, can be set."""
    pybamm = pytest.importorskip("pybamm")
    model = pybamm.lithium_ion.DFN({"contact resistance": "true"})
    asked = {*model.get_parameter_info(), "Nominal cell capacity [A.h]"}
    for base in BASE_CELLS:
        settable = set(known_names(base)) & set(scalars(base))
        assert settable <= asked
        left = (asked & set(scalars(base))) - settable - set(ELSEWHERE)
        assert left <= {
            "Negative electrode OCP entropic change [V.K-1]",
            "Positive electrode OCP entropic change [V.K-1]",
        }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Current function [A]", "use c_rate"),
        ("Ambient temperature [K]", "use temperature_K"),
        ("Number of cells connected in series to make a battery", "results are those of one cell"),
        ("Cell volume [m3]", "changes nothing in an isothermal discharge"),
    ],
)
def test_a_column_without_effect_is_refused(tmp_path: Path, name: str, said: str) -> None:
    header = f"design_id,base_cell,c_rate,{name}"
    table = written(tmp_path / "d.csv", "a,Marquis2019,1,1", header=header)
    with pytest.raises(InputError, match=said):
        read_designs(table)


def test_of_two_columns_that_exclude_each_other_one_is_given(tmp_path: Path) -> None:
    header = f"{HEADER},Positive particle diffusivity factor"
    rows = ("both,Marquis2019,1,298.15,1e-14,2", "one,Marquis2019,1,298.15,,2")
    both, one = read_designs(written(tmp_path / "d.csv", *rows, header=header))
    assert "not both" in both.trouble
    assert one.trouble == ""


def test_unknown_parameter_names_the_nearest(tmp_path: Path) -> None:
    header = HEADER.replace("particle diffusivity", "partical diffusivity")
    table = written(tmp_path / "d.csv", "a,Marquis2019,1,298.15,1e-14", header=header)
    with pytest.raises(InputError, match=r"mean 'Positive particle diffusivity \[m2.s-1\]'"):
        read_designs(table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "column 'design_id' is missing"),
        ("design_id,base_cell\na,Marquis2019\n", "column 'c_rate' is missing"),
        ("design_id,base_cell,c_rate\n", "no designs"),
        ("design_id,base_cell,c_rate\na,Marqis2019,1\n", "did you mean 'Marquis2019'"),
    ],
)
def test_unusable_tables_are_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_designs(path)


def test_designs_survive_a_table(tmp_path: Path) -> None:
    designs = sobol_designs("Prada2013_balanced", 8, seed=1)
    rows, columns = to_table(designs)
    path = tmp_path / "d.csv"
    path.write_text(to_csv(rows, columns), encoding="utf-8")
    for read, made in zip(read_designs(path), designs, strict=True):
        assert read.parameters == pytest.approx(dict(made.parameters), rel=1e-5)
        assert read.trouble == ""


def test_half_of_the_sequence_is_limited_by_diffusion() -> None:
    designs = sobol_designs("Ai2020_extended", 128, seed=0)
    fourier = np.array(
        [
            3600.0
            * d.parameters["Positive particle diffusivity [m2.s-1]"]
            / d.c_rate
            / d.parameters["Positive particle radius [m]"] ** 2
            for d in designs
        ]
    )
    assert (fourier < Space().diffusion_limited).sum() == 64
    assert fourier.min() >= 0.02
    assert fourier.max() <= 10.0
    rates = np.array([d.c_rate for d in designs])
    assert abs(np.corrcoef(np.log(rates), np.log(fourier))[0, 1]) < 0.1
    assert not any(check(d).trouble for d in designs)


def test_active_fraction_gives_way_to_pores() -> None:
    values = scalars("Ai2020_extended")
    solid = values["Positive electrode active material volume fraction"] / (
        1.0 - values["Positive electrode porosity"]
    )
    for design in sobol_designs("Ai2020_extended", 8, seed=3):
        given = design.parameters
        assert given["Positive electrode active material volume fraction"] == pytest.approx(
            solid * (1.0 - given["Positive electrode porosity"])
        )


def test_one_unknown_base_cell_is_a_row_among_others(tmp_path):
    path = tmp_path / "designs.csv"
    path.write_text("design_id,base_cell,c_rate\na,Marqis2019,1\nb,Marquis2019,1\n")
    first, second = read_designs(path)
    assert "did you mean 'Marquis2019'" in first.trouble
    assert second.trouble == ""
