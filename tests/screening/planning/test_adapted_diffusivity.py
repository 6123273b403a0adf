"""Diffusivities as labels of a plan, and a model that was fine-tuned on them in the library."""

import csv
import json
from pathlib import Path

import pytest

from ionbridge.screening.cli import main
from ionbridge.screening.planning.entries import default_catalogue
from ionbridge.screening.planning.inputs import read_given, read_givens
from ionbridge.screening.planning.planner import plan
from ionbridge.structures.transport.closed_forms import decades_per_eV

FORMULAS = {"Li3PS4": 0.35, "Li6PS5Cl": 0.28, "Li10GeP2S12": 0.22, "Li3YCl6": 0.40}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Arrhenius lines with activation energies of FORMULAS and one prefactor."""
    path = tmp_path / "md.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Formula", "temperature_K", "tracer_diffusivity_cm2_s", "method"])
        for formula, energy in FORMULAS.items():
            for kelvin in (600.0, 800.0, 1000.0):
                value = 10 ** (-3.0 - energy * float(decades_per_eV(kelvin)))
                rows.writerow([formula, kelvin, f"{value:.6e}", "mlip-md"])
    return path


def test_a_diffusivity_table_is_read_as_one(table: Path) -> None:
    given = read_given(table)
    assert len(given.tables["diffusivity_labels"]) == 12
    assert {row["id"] for row in given.tables["composition"]} == set(FORMULAS)
    both = read_givens([table, "chemistry:Li7P3S11"])
    assert "composition" not in both[0].tables


def test_a_plan_learns_from_it_and_says_what_that_brings(table: Path, tmp_path: Path) -> None:
    made = plan("diffusivity", read_givens([table, "chemistry:Li7P3S11"]))
    assert made.chosen is not None
    assert made.chosen.words == "adapted-diffusivity-model"
    assert made.chosen.error is not None
    assert "one Arrhenius line for all" in made.chosen.steps[0].basis


def test_a_fine_tuned_model_answers_a_plan_as_it_answers_predict(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    monkeypatch.setenv("IONBRIDGE_LIBRARY", str(library))
    assert main(["finetune", "--labels", str(table), "--out", str(library / "my-md")]) == 0
    assert "diffusivity" in default_catalogue()["my-md"].outputs
    asked = tmp_path / "asked.csv"
    asked.write_text("ID,Formula\na,Li7P3S11\nb,Li3PS4\n", encoding="utf-8")
    told = ["--temperature-K", "500"]
    out = tmp_path / "p.csv"
    arguments = ["predict", str(asked), "--model", "my-md", "--quantity", "diffusivity", *told]
    assert main([*arguments, "--out", str(out)]) == 0
    folder = tmp_path / "plan"
    arguments = ["plan", "--goal", "diffusivity", "--given", str(asked), *told, "--execute"]
    assert main([*arguments, "--out", str(folder)]) == 0
    steps = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["chosen"]["steps"]
    assert [step["entry"] for step in steps] == ["my-md"]
    with out.open() as one, (folder / "result.csv").open() as other:
        column = "log10_diffusivity_cm2_s"
        predicted = [(row["id"], row[column]) for row in csv.DictReader(one)]
        assert [(row["id"], row[column]) for row in csv.DictReader(other)] == predicted
