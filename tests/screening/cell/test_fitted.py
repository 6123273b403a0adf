"""``cell fit`` and ``cell predict --fitted`` on curves that the closed form made."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from ionbridge.models.cells.cell_discrepancy import CellDiscrepancy
from ionbridge.models.cells.measured_cell import PARAMETERS, MeasuredCurve, fit_cell
from ionbridge.models.library import load
from ionbridge.screening.cell import bpx
from ionbridge.screening.cell.base_cells import base_cell
from ionbridge.screening.cell.designs import read_designs
from ionbridge.screening.cell.discharge import discharge
from ionbridge.screening.cell.experiments import read_experiment
from ionbridge.screening.cell.fit_bases import fit_base
from ionbridge.screening.cell.fitted import (
    Fit,
    FittedPredictor,
    parse_rates,
    predict_rates,
    read_fit,
)
from ionbridge.screening.cell.rom import predict_designs
from ionbridge.screening.cell.settings import CellSettings
from ionbridge.screening.cell.solvers import predicted as predicted_by
from ionbridge.screening.cell.stage import cell_columns
from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import Conditions
from ionbridge.screening.planning.execution_steps import execute
from ionbridge.screening.planning.inputs import read_givens
from ionbridge.screening.planning.planner import plan

ENTRY = {
    "chemistry": {"positive": "LiCoO2", "negative": "graphite"},
    "nominal_capacity_Ah": 2.28,
    "lower_cutoff_V": 3.0,
    "parameter_set": "PyBaMM 'Ai2020'",
    "temperature_C": 25.0,
}


def _write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _cells(folder, **changes):
    path = folder / "cells.yaml"
    path.write_text(yaml.safe_dump({"mine": {**ENTRY, **changes}}), encoding="utf-8")
    return path


def _linear(folder, name="slow.csv", points=60, **columns):
    """A curve that only has to be read."""
    charge = np.linspace(0.0, 2.2, points)
    rows = [
        {
            "time_s": q * 3600 / 0.228,
            "current_A": 0.228,
            "discharge_capacity_Ah": q,
            "voltage_V": 4.1 - 0.4 * q,
        }
        | columns
        for q in charge
    ]
    _write(folder / name, rows)
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cell whose electrodes hold 4 % more than Ai2020's, discharged at 0.1C and 1C."""
    folder = tmp_path_factory.mktemp("cell")
    basis = fit_base("mine", ENTRY, (folder,), 2.28).basis
    truth = basis.start
    truth[PARAMETERS.index("capacity")] = 0.04
    for rate in (0.1, 1.0):
        charge = np.linspace(0.0, 2.6, 800)
        current = np.array([rate * 2.28])
        course = basis.discharge(truth[None], current, charge[None], np.array([298.15]))
        volts = course.voltage_V[0]
        end = int(np.argmax(volts < 3.0)) + 1
        rows = [
            {
                "time_s": q * 3600 / current[0],
                "current_A": current[0],
                "discharge_capacity_Ah": q,
                "voltage_V": v,
                "temperature_C": "",
            }
            for q, v in zip(charge[:end], volts[:end], strict=True)
        ]
        _write(folder / f"{rate:g}C.csv", rows)
    return folder


@pytest.fixture(scope="module")
def fit(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "fit"
    arguments = ["cell", "fit", str(_cells(folder)), "--cell", "mine", "--curves"]
    assert main([*arguments, str(folder / "0.1C.csv"), "--out", str(out)]) == 0
    return out


def test_a_fit_says_what_it_found_and_what_stays_open(fit):
    found = json.loads((fit / "fit.json").read_text(encoding="utf-8"))
    capacity = found["parameters"]["capacity"]
    assert capacity["lower"] < np.exp(0.04) < capacity["upper"]
    assert capacity["identified"]
    assert not found["parameters"]["resistance"]["identified"]
    assert found["residual_by_curve"]["0.1C"]["rmse_mV_first_95_percent"] < 2.0
    assert found["base"] == "Ai2020_extended"


def test_the_bpx_file_is_read_back_and_holds_the_measured_curve(fit):
    values = bpx.read(fit / "cell.bpx.json")
    assert float(values["Nominal cell capacity [A.h]"]) == 2.28
    document = json.loads((fit / "cell.bpx.json").read_text(encoding="utf-8"))
    curve = document["Validation"]["0.1C"]
    assert len(curve["Time [s]"]) == len(curve["Voltage [V]"])


def test_other_rates_are_predicted_with_intervals(fit, folder, tmp_path):
    out = tmp_path / "rates"
    arguments = ["cell", "predict", "--fitted", str(fit), "--c-rates", "0.50,1", "--out", str(out)]
    assert main(arguments) == 0
    rows = list(csv.DictReader((out / "kpis.csv").open(encoding="utf-8")))
    assert [r["design_id"] for r in rows] == ["0.50", "1"]
    for row in rows:
        low, mid, high = (
            float(row[k]) for k in ("capacity_Ah_lower", "capacity_Ah", "capacity_Ah_upper")
        )
        assert low <= mid <= high
        assert row["status"] == "ok"
    curves = [
        r
        for r in csv.DictReader((out / "curves.csv").open(encoding="utf-8"))
        if r["design_id"] == "1"
    ]
    charge, volts, low, high = (
        np.array([float(r[k]) for r in curves])
        for k in ("discharge_capacity_Ah", "voltage_V", "voltage_V_lower", "voltage_V_upper")
    )
    assert (np.diff(charge) > 0).all()
    slow = list(csv.DictReader((folder / "0.1C.csv").open(encoding="utf-8")))
    assert volts[0] == pytest.approx(float(slow[0]["voltage_V"]), abs=1e-3)  # at rest
    assert volts[1] < volts[0] - 0.02  # under load
    assert (low <= volts + 1e-9).all()
    assert (volts <= high + 1e-9).all()
    measured = list(csv.DictReader((folder / "1C.csv").open(encoding="utf-8")))
    end = float(measured[-1]["discharge_capacity_Ah"])
    assert charge[-1] == pytest.approx(end, rel=0.05)


def test_rests_and_odd_signs_are_understood_and_said(tmp_path):
    path = _linear(tmp_path, current_A=-0.228)
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    rows[0]["current_A"] = "0.0001"
    _write(path, rows)
    found = read_experiment(_cells(tmp_path), "mine", [path])
    assert found.curves[0].current_A == pytest.approx(0.228)
    assert any("discharge" in note for note in found.notes)


def test_without_a_current_the_stated_rate_counts(tmp_path):
    path = _linear(tmp_path, current_A="", time_s="")
    cells = _cells(tmp_path, curves={"slow.csv": {"c_rate": 0.1}}, temperature_C=None)
    found = read_experiment(cells, "mine", [path])
    assert found.curves[0].current_A == pytest.approx(0.228)
    assert any("temperature_C" in note for note in found.notes)


def test_without_a_cutoff_the_end_of_the_curves_counts(tmp_path):
    found = read_experiment(_cells(tmp_path, lower_cutoff_V=None), "mine", [_linear(tmp_path)])
    assert found.entry["lower_cutoff_V"] == pytest.approx(4.1 - 0.4 * 2.2)
    assert any("lower_cutoff_V" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chemistry": {"positive": "LiCoO2"}}, "positive and a negative"),
        ({"chemistry": {"positive": "LiCoO2", "negative": "Li metal"}}, "half cell"),
        ({"chemistry": {"positive": "TiS2", "negative": "graphite"}}, "no parameter set"),
        ({"nominal_capacity_Ah": "two"}, "expected a number"),
        ({"nominal_capacity_Ah": -2.0}, "unit right"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(tmp_path, changes, message):
    path = _linear(tmp_path)
    cells = _cells(tmp_path, **changes)

    def both():
        experiment = read_experiment(cells, "mine", [path])
        fit_base("mine", experiment.entry, (tmp_path,), experiment.nominal_Ah)

    with pytest.raises(InputError, match=message):
        both()


@pytest.mark.parametrize(
    ("cutoff", "message"),
    [
        (2.5, r"slow ends at 3.220 V, above the cut-off of 2.5 V.* lower_cutoff_V: 3.22"),
        (4.05, r"4 points before the voltage falls to the cut-off of 4.05 V"),
        (5.0, r"0 points before the voltage falls to the cut-off of 5 V"),
    ],
)
def test_a_curve_that_is_not_the_whole_discharge_is_refused(tmp_path, cutoff, message):
    path = _linear(tmp_path)
    with pytest.raises(InputError, match=message):
        read_experiment(_cells(tmp_path, lower_cutoff_V=cutoff), "mine", [path])
    with pytest.raises(InputError, match="stands there twice"):
        read_experiment(_cells(tmp_path), "mine", [path, tmp_path / "." / "slow.csv"])


def test_curves_end_at_the_cutoff_and_what_was_not_measured_is_said(tmp_path):
    path = _linear(tmp_path)
    cut = read_experiment(_cells(tmp_path, lower_cutoff_V=3.5), "mine", [path])
    volts = cut.curves[0].voltage_V
    assert volts[-1] <= 3.5 < volts[-2]
    assert cut.curves[0].capacity_Ah == pytest.approx(1.5, abs=2.2 / 59)
    assert any("samples below the cut-off are left out" in note for note in cut.notes)
    above = read_experiment(_cells(tmp_path), "mine", [path])  # 3.22 V of 3.0 V
    assert any("nothing was measured" in note for note in above.notes)


@pytest.mark.parametrize(
    ("entry", "base"),
    [
        ({"positive": "LFP", "negative": "graphite"}, "Prada2013_balanced"),
        ({"positive": "LiNi1/3Mn1/3Co1/3O2", "negative": "graphite"}, "Mohtat2020"),
        ({"positive": "LiNi0.8Mn0.1Co0.1O2", "negative": "graphite-SiOx"}, "Chen2020"),
        ({"positive": "Na3V2(PO4)2F3", "negative": "hard carbon"}, "Chayambuka2022"),
    ],
)
def test_a_chemistry_without_a_set_gets_a_stand_in_and_it_is_said(entry, base):
    found = fit_base("x", {"chemistry": entry}, (), 1.5)
    assert found.origin["set"] == base
    assert found.standing == "generic"
    assert "stand-in" in found.kind.cathode_class  # nothing is carried to it
    assert any("stands in" in note for note in found.notes)


def test_rates_are_numbers():
    assert parse_rates("0.5, 1,2.0") == {"0.5": 0.5, "1": 1.0, "2.0": 2.0}
    for text in ("0", "C/2", "1,1", "1,,2", "nan"):
        with pytest.raises(InputError):
            parse_rates(text)


def test_a_fitted_cell_is_a_base_cell(fit, tmp_path):
    """What was measured comes back from its folder, and candidates change it as any other."""
    cell = base_cell(str(fit))
    assert (cell.cathode, cell.anode, cell.working_ion) == ("LiCoO2", "graphite", "Li")
    assert cell.nominal_capacity_Ah == 2.28
    thinner = "Positive electrode thickness [m]"
    table = tmp_path / "designs.csv"
    table.write_text(
        f"design_id,base_cell,c_rate,{thinner}\nown,{fit},0.1,\nthin,{fit},0.1,5e-5\n",
        encoding="utf-8",
    )
    own, thin = (discharge(d) for d in read_designs(table))
    measured = read_fit(fit)
    assert own["start_positive"] == pytest.approx(
        measured.cell.parameters[PARAMETERS.index("positive_full")], abs=1e-3
    )
    assert own["capacity_Ah"] == pytest.approx(measured.curves[0].capacity_Ah, rel=5e-3)
    assert thin["capacity_Ah"] < 0.9 * own["capacity_Ah"]
    (predicted,) = predict_designs([read_designs(table)[0]], load("cell-rom-lco"))
    assert predicted["capacity_Ah"] == pytest.approx(own["capacity_Ah"], rel=5e-3)
    row = {"candidate_id": "x", "formula": "LiCoO2", "role": "electrode", "working_ion": "Li"}
    row |= {"temperature_K": 298.15, "log10_diffusivity_cm2_s": -10.0, "log10_diffusivity_std": 0.5}
    settings = CellSettings(base_cell=str(fit))
    (found,) = cell_columns([row], settings, predicted_by(load("cell-rom-lco"))).rows
    assert found["cell_status"] == "ok"
    assert found["cell_specific_energy_Wh_kg"] > 50.0
    assert "fitted" in cell.changes


def test_a_plan_gives_what_the_commands_give(fit, folder, tmp_path):
    command = ["cell", "predict", "--fitted", str(fit), "--c-rates", "0.7"]
    assert main([*command, "--out", str(tmp_path / "command")]) == 0
    with (tmp_path / "command" / "kpis.csv").open(encoding="utf-8") as file:
        said = next(csv.DictReader(file))
    given = read_givens([fit])
    for goal, column in (("cell_capacity", "capacity_Ah"), ("cell_energy", "energy_Wh")):
        made = plan(goal, given, at=Conditions(c_rate=0.7))
        assert [step.entry for step in made.chosen.steps] == ["fitted-cell-discharge"]
        row = execute(made, tmp_path / "plan").rows[0]
        assert row[column] == pytest.approx(float(said[column]), rel=1e-5)
    stated = {"mine": {**ENTRY, "curves": {"0.1C.csv": {"c_rate": 0.1}, "lost.csv": {}}}}
    cells = folder / "stated.yaml"
    cells.write_text(yaml.safe_dump(stated), encoding="utf-8")
    (given,) = read_givens([cells])
    (row,) = given.tables["measured_discharges"]
    assert row["curves"] == [str((folder / "0.1C.csv").resolve())]
    chain = plan("cell_power", [given]).chosen
    assert [step.entry for step in chain.steps] == ["cell-fit", "fitted-cell-discharge"]


def test_cells_without_curves_are_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="no cell with measured curves"):
        read_givens([_cells(tmp_path)])


def test_an_olivine_ends_as_one_unless_a_faster_curve_shows_how(tmp_path):
    entry = {"chemistry": {"positive": "LiFePO4", "negative": "graphite"}, "lower_cutoff_V": 2.0}
    base = fit_base("lfp", entry, (tmp_path,), 2.3)
    curves = []
    for rate in (0.05, 1.0):
        charge = np.linspace(0.0, 2.6, 600)
        current = np.array([rate * 2.3])
        course = base.basis.discharge(
            base.basis.start[None], current, charge[None], np.array([298.15])
        )
        end = int(np.argmax(course.voltage_V[0] < 2.0)) + 1
        volts = course.voltage_V[0, :end]
        curves.append(MeasuredCurve(f"{rate:g}C", current[0], charge[:end], volts, 298.15))
    slow = fit_cell(base.basis, curves[:1], base.prior)
    nothing = CellDiscrepancy().fit([], [])

    def predictor(chosen):
        return FittedPredictor(Fit(base, slow, slow, tuple(chosen), ()), nothing, resolved=False)

    alone, shown = predictor(curves[:1]), predictor(curves)
    by_set = alone.by_set(2.3, 298.15)[0]
    assert alone.rated(2.3, 298.15).capacity < by_set.capacity
    assert shown.rated(2.3, 298.15).capacity == pytest.approx(by_set.capacity)
    assert alone.rated(0.115, 298.15).capacity == pytest.approx(1.0, abs=1e-3)


def test_a_discharge_below_the_cutoff_from_the_start_is_no_result(fit):
    found = read_fit(fit)
    basis = replace(found.base.basis, lower_V=4.15)
    high = replace(found, base=replace(found.base, basis=basis))
    predictor = FittedPredictor(high, CellDiscrepancy().fit([], []), resolved=False)
    (row,) = predict_rates(predictor, {"2": 2.0})
    assert row["status"] == "failed"
    assert "below the lower cut-off" in row["reason"]


def test_a_curve_below_the_cutoff_before_its_end_is_out_of_the_domain(fit):
    found = read_fit(fit)
    predictor = FittedPredictor(found, CellDiscrepancy().fit([], []), resolved=False)
    made = predictor.corrected(2.28, 298.15)
    for off, early in ((0.0, False), (0.5, True)):
        predictor.corrected = lambda *_, off=off: replace(made, voltage_V=made.voltage_V - off)
        (row,) = predict_rates(predictor, {"1": 1.0})
        assert ("falls below the cut-off before" in row["reason"]) is early
        assert not (early and row["in_domain"])
