"""Diffusivities of simulations on the command line: learnt, predicted, refused in one line."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ionbridge.screening.cli import main
from ionbridge.structures.transport.closed_forms import decades_per_eV

Capture = pytest.CaptureFixture[str]
ENERGY_EV = 0.4


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """One Arrhenius line for all, but for a hundredth of a decade."""
    rng = np.random.default_rng(0)
    path = tmp_path / "d.csv"
    lines = [
        f"Li{n}PS4,{t},{10 ** (-3 - ENERGY_EV * float(decades_per_eV(t)) + 0.01 * rng.normal())}"
        for n in (2, 3, 4)
        for t in (600, 800, 1000)
    ]
    head = "Formula,temperature_K,tracer_diffusivity_cm2_s"
    path.write_text("\n".join([head, *lines, "FeO,600,1e-6"]) + "\n", encoding="utf-8")
    return path


def test_labels_are_learnt_from_and_the_model_predicts(
    table: Path, tmp_path: Path, capsys: Capture
) -> None:
    model, out = tmp_path / "mine", tmp_path / "p.csv"
    assert main(["finetune", "--labels", str(table), "--out", str(model)]) == 0
    said = capsys.readouterr().err
    assert "1 of 10 left out: no working ion" in said
    assert "(1, as row 10)" in said
    assert "(9 of 10 labels" in said
    given = tmp_path / "new.csv"
    given.write_text("Formula\nLi3PS4\nFeO\n", encoding="utf-8")
    command = ["predict", str(given), "--model", str(model), "--temperature-K", "700"]
    assert main([*command, "--out", str(out)]) == 0
    with out.open(encoding="utf-8", newline="") as stream:
        known, unknown = csv.DictReader(stream)
    expected = -3 - ENERGY_EV * float(decades_per_eV(700.0))
    assert float(known["log10_diffusivity_cm2_s"]) == pytest.approx(expected, abs=0.05)
    assert float(known["activation_energy_eV"]) == pytest.approx(ENERGY_EV, abs=0.02)
    assert (unknown["status"], unknown["reason"][:10]) == ("failed", "no working")
    capsys.readouterr()
    assert main([*command, "--out", str(out), "--quantity", "conductivity"]) == 2
    assert "predicts diffusivity, not conductivity" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategy", "lora"], "learnt in one way"),
        (["--base", "hop-encoder"], "learnt in one way"),
        (["--method", "experiment"], "no label is of method 'experiment'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    table: Path, tmp_path: Path, capsys: Capture, arguments: list[str], said: str
) -> None:
    assert main(["finetune", "--labels", str(table), "--out", str(tmp_path / "m"), *arguments]) == 2
    found = capsys.readouterr().err.strip().splitlines()
    assert said in found[-1]
    assert not (tmp_path / "m" / "card.yaml").exists()
