"""``ionbridge plan`` as a user runs it, with the shipped models."""

import csv
import json

import pytest

from ionbridge.screening.cli import main
from ionbridge.screening.commands.command import UNUSABLE, USABLE
from ionbridge.screening.planning.execution_steps import execute
from ionbridge.screening.planning.inputs import read_givens
from ionbridge.screening.planning.planner import duration, plan
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import hop_to_json, write_json_lines
from tests.screening.tiny import layered


def test_a_plan_is_made_run_and_resumed(tmp_path, capsys):
    write_json_lines(tmp_path / "crystals.jsonl", [layered()])
    out = tmp_path / "plan"
    arguments = ["plan", "--goal", "conductivity", "--given", str(tmp_path / "crystals.jsonl")]
    assert main([*arguments, "--execute", "--out", str(out)]) == USABLE
    text = capsys.readouterr().out
    assert "chosen:" in text
    assert "why:" in text
    stored = json.loads((out / "plan.json").read_text())
    assert stored["chosen"]["steps"][-1]["outputs"][0]["quantity"] == "conductivity"
    assert stored["runners_up"]
    first = (out / "result.csv").read_text()
    assert first.splitlines()[1].startswith("LiCoO2,")
    assert main([*arguments, "--execute", "--out", str(out)]) == USABLE
    assert (out / "result.csv").read_text() == first
    result = json.loads((out / "result.json").read_text())
    assert all(step["reused"] for step in result["steps"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--goal", "speed", "--given", "chemistry:LiFePO4"], "unknown goal"),
        (["--goal", "voltage", "--given", "chemistry:unobtainium"], "neither a formula"),
        (["--goal", "voltage", "--given", "nowhere.cif"], "no such file"),
        (["--goal", "diffusivity", "--given", "voltage=3V"], "missing crystal"),
        (["--goal", "voltage", "--given", "chemistry:LiFePO4", "--execute"], "--out"),
        (["--goal", "voltage", "--given", "chemistry:LiFePO4", "--c-rate", "0"], "--c-rate"),
        (["--goal", "cell_energy", "--given", "voltage=3m"], "does not fit"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(arguments, complaint, capsys):
    assert main(["plan", *arguments]) == UNUSABLE
    message = capsys.readouterr().err
    assert complaint in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("goal", "given"),
    [
        ("voltage", "chemistry:LiFePO4"),
        ("specific_energy", "chemistry:NaFePO4"),
        ("diffusivity", "chemistry:olivine"),
        ("cell_energy", "chemistry:LCO"),
        ("cell_capacity", "chemistry:LFP"),
        ("cycle_life", "chemistry:LCO"),
    ],
)
def test_stable_goals_have_a_chain(goal, given, capsys):
    assert main(["plan", "--goal", goal, "--given", given]) == USABLE
    assert "chosen:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.3, "0.3 s"), (12.0, "12 s"), (240.0, "4.0 min"), (7560.0, "2.1 h")]
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_an_empty_library_leaves_physics(tmp_path, monkeypatch, capsys):
    from ionbridge.models import library

    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "empty")
    monkeypatch.setenv(library.LIBRARY_VARIABLE, str(tmp_path / "none"))
    write_json_lines(tmp_path / "crystals.jsonl", [layered()])
    given = ["--given", str(tmp_path / "crystals.jsonl")]
    assert main(["plan", "--goal", "percolation_barrier", *given]) == USABLE
    text = capsys.readouterr().out
    assert "chosen: hop-finder" in text
    assert "hop-barrier" not in text
    assert main(["plan", "--goal", "voltage", *given]) == UNUSABLE
    assert capsys.readouterr().err.count("\n") == 1


def test_what_cannot_be_read_of_a_folder_is_said(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    write_json_lines(folder / "good.jsonl", [layered()])
    arguments = ["plan", "--goal", "percolation_barrier", "--given", str(folder)]
    assert main(arguments) == USABLE
    assert "left out" not in capsys.readouterr().out
    for name in ("cut", "empty"):
        (folder / f"{name}.cif").write_text("data_cut\n" if name == "cut" else "")
    out = tmp_path / "plan"
    assert main([*arguments, "--out", str(out)]) == USABLE
    said = f"{folder}: 2 records left out: cut: not a readable CIF file"
    assert said in capsys.readouterr().out
    assert any(
        line.startswith(said) for line in json.loads((out / "plan.json").read_text())["warnings"]
    )


@pytest.mark.parametrize(("goal", "n_each"), [("percolation_barrier", 1), ("migration_barrier", 2)])
def test_what_cannot_be_read_has_its_row_in_its_place(goal, n_each, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("b", "d"):
        write_json_lines(folder / f"{name}.jsonl", [layered(name)])
    for name in ("a", "c", "d", "e"):
        (folder / f"{name}.cif").write_text("data_cut\n")
    out = tmp_path / "plan"
    arguments = ["plan", "--goal", goal, "--given", str(folder), "--execute", "--out", str(out)]
    assert main(arguments) == USABLE
    with (out / "result.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    states = dict.fromkeys((row["id"].partition("#")[0], row["status"]) for row in rows)
    failed = ["a", "c", "d", "e"]
    assert [id for id, status in states if status == "failed"] == failed
    assert list(states) == [
        ("a", "failed"),
        ("b", "ok"),
        ("c", "failed"),
        ("d", "failed"),
        ("d", "ok"),
        ("e", "failed"),
    ]
    reasons = {row["reason"] for row in rows if row["status"] == "failed"}
    assert len(reasons) == 1
    assert "not a readable CIF file" in reasons.pop()
    n_ok = sum(row["status"] == "ok" for row in rows)
    assert n_ok == 2 * n_each
    assert f"({n_ok} of {n_ok + len(failed)} rows)" in capsys.readouterr().err


def test_what_cannot_be_read_of_labels_has_no_row_among_crystals(tmp_path):
    write_json_lines(tmp_path / "crystals.jsonl", [layered()])
    (hop,) = find_hops(layered()).hops[:1]
    label = {**hop_to_json(hop), "barrier_eV": 0.4}
    write_json_lines(tmp_path / "labels.jsonl", [label, {"id": "bad", "path_frac": []}])
    given = [str(tmp_path / name) for name in ("crystals.jsonl", "labels.jsonl")]
    made = plan("percolation_barrier", read_givens(given))
    assert any("bad" in text for text in made.warnings)
    assert [row["id"] for row in execute(made, tmp_path / "plan").rows] == [layered().id]
