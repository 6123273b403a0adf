"""``ionbridge cell`` as a person runs it."""

import csv
import json
from pathlib import Path

import pytest

pytest.importorskip("pybamm")

from ionbridge.screening.cli import main

HEADER = "design_id,base_cell,c_rate,temperature_K,Positive particle diffusivity [m2.s-1]"


@pytest.fixture
def designs(tmp_path: Path) -> Path:
    path = tmp_path / "designs.csv"
    path.write_text(
        f"{HEADER}\ngood,Prada2013,1,298.15,\nnine-decades,Prada2013,1,298.15,5.9e-9\n",
        encoding="utf-8",
    )
    return path


def test_simulate_writes_kpis_and_curves(designs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["cell", "simulate", str(designs), "--out", str(out), "--workers", "0"]
    assert main(arguments) == 0
    with (out / "kpis.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["design_id"] for row in rows] == ["good", "nine-decades"]
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert "unit" in rows[1]["reason"]
    with (out / "curves.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert {point["design_id"] for point in points} == {"good"}
    assert float(points[-1]["discharge_capacity_Ah"]) == pytest.approx(
        float(rows[0]["capacity_Ah"]), rel=1e-5
    )
    assert float(points[-1]["voltage_V"]) == 2.0
    assert main([*arguments, "--resume"]) == 0
    assert main(arguments) == 2


def test_bad_input_is_one_line(
    designs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = designs.read_text()
    cases = {
        text.replace("Positive particle", "Postive particle"): "did you mean",
        text.replace("Prada2013,", "Prada2014,"): "did you mean 'Prada2013'",
        f"{HEADER}\nbad,Prada2013,1,298.15,-1\n": "not one usable row",
    }
    for i, (content, message) in enumerate(cases.items()):
        designs.write_text(content, encoding="utf-8")
        out = tmp_path / f"out{i}"
        assert main(["cell", "simulate", str(designs), "--out", str(out), "--workers", "0"]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert message in said[-1]


def test_export_writes_bpx(designs: Path, tmp_path: Path) -> None:
    pytest.importorskip("bpx")
    out = tmp_path / "cell.json"
    assert main(["cell", "export", str(designs), "--design", "good", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["Header"]["BPX"].startswith("1.")
    assert main(["cell", "export", str(designs), "--design", "god", "--out", str(out)]) == 2
    assert main(["cell", "export", str(designs), "--out", str(out)]) == 2


def test_no_model_and_no_table_is_replaced(
    designs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "card.yaml").write_text("mine", encoding="utf-8")
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    runs = str(tmp_path / "runs")
    for verb in (
        ["train", runs],
        ["transfer", "--base", "cell-rom-lco", "--simulations", runs],
        ["predict", str(designs)],
    ):
        for place, message in ((out, "not empty"), (file, "cannot be written")):
            assert main(["cell", *verb, "--out", str(place)]) == 2
            (said,) = capsys.readouterr().err.strip().splitlines()
            assert str(place) in said
            assert message in said
    assert [path.name for path in out.iterdir()] == ["card.yaml"]
    assert (out / "card.yaml").read_text() == file.read_text() == "mine"
