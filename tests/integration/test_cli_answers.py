"""Commands say what they found: in a sentence, with what it rests on."""

import json
import re
from pathlib import Path

import pytest

from ionbridge.screening.cli import main
from ionbridge.screening.commands import finetune
from ionbridge.screening.sentences import crystal_sentence, hop_sentence
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.io.reading import write_cif, write_json_lines
from tests.screening.tiny import save_table_model, save_tiny_model, tiny_hops

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def test_one_crystal_is_answered_in_a_sentence(tmp_path: Path, capsys: Capture) -> None:
    for name in ("LiFePO4-olivine", "LiCoO2-layered"):
        write_cif(PROTOTYPES[name].build(), tmp_path / f"{name}.cif")
    command = ["predict", str(tmp_path / "LiFePO4-olivine.cif"), "--workers", "0", "--out"]
    assert main([*command, str(tmp_path / "p.csv")]) == 0
    said = capsys.readouterr().err
    assert re.search(r"LiFePO4 \(olivine, electrode\) with mobile Li at 300 K: ionic cond", said)
    assert re.search(r"barrier of the way through it \d\.\d\d+ ± \d\.\d+ eV", said)
    assert "The models know" in said
    assert main(["predict", str(tmp_path), "--workers", "0", "--out", str(tmp_path / "q.csv")]) == 0
    assert "with mobile" not in capsys.readouterr().err


def test_numbers_of_a_sentence() -> None:
    row = {
        "formula": "Li3N", "family": None, "role": "electrolyte", "working_ion": "Li",
        "temperature_K": 350.0, "log10_conductivity_S_cm": -3.0, "log10_conductivity_q05": -4.0,
        "log10_conductivity_q95": -2.0, "log10_diffusivity_cm2_s": -8.0,
        "log10_diffusivity_q05": -9.0, "log10_diffusivity_q95": -7.0,
        "percolation_barrier_eV": None, "in_domain": False,
    }  # fmt: skip
    assert crystal_sentence(row) == (
        "Li3N (electrolyte) with mobile Li at 350 K: ionic conductivity 1.0e-03 (1e-04 to 1e-02) "
        "S/cm; diffusivity 1.0e-08 (1e-09 to 1e-07) cm²/s (in brackets 90 % intervals; ± is one "
        "sigma). The models know nothing like it."
    )
    hop = {
        "id": "h", "migration_barrier_eV": 0.321, "migration_barrier_std_eV": 0.09,
        "migration_barrier_lower_eV": 0.2, "migration_barrier_upper_eV": 0.5, "in_domain": True,
    }  # fmt: skip
    assert hop_sentence(hop) == (
        "h: migration barrier 0.321 ± 0.090 eV (90 % interval 0.20 to 0.50). The models know its "
        "like."
    )


@pytest.mark.parametrize(
    ("steps", "skip", "refused"),
    [("500", None, True), ("500", "0", False), ("505", None, True), ("510", None, False)],
)
def test_dynamics_that_leave_nothing_are_refused_at_once(
    tmp_path: Path, capsys: Capture, steps: str, skip: str | None, refused: bool
) -> None:
    missing = str(tmp_path / "none.cif")  # read only afterwards
    options = ["--steps", steps, *([] if skip is None else ["--skip-ps", skip])]
    assert main(["label", "md", missing, *options, "--out", str(tmp_path / "md.json")]) == 2
    said = capsys.readouterr().err
    assert ("1 ps, nothing is left after the 1 ps" in said.replace("1.01", "1")) == refused
    assert ("none.cif" in said) != refused
    assert said.count("\n") == 1


def test_an_empty_baseline_says_why(tmp_path: Path, tiny_model: Path, capsys: Capture) -> None:
    write_json_lines(tmp_path / "hops.jsonl", tiny_hops())
    command = ["evaluate", str(tmp_path / "hops.jsonl"), "--model", str(tiny_model)]
    assert main([*command, "--workers", "0", "--out", str(tmp_path / "e.json")]) == 0
    scores = json.loads((tmp_path / "e.json").read_text())
    assert set(scores["baselines"]) == set(scores["baselines_missing"])
    assert scores["baselines"]["trees"]["mae"] == dict.fromkeys(("value", "lower", "upper"))
    said = capsys.readouterr().err
    assert re.search(r"no baseline trees: labels of \d host frameworks; 5 are needed", said)


def test_the_list_of_models_says_what_its_spread_is(capsys: Capture) -> None:
    assert main(["models", "list", "--gives", "migration_barrier"]) == 0
    said = capsys.readouterr()
    assert "+-" in said.out
    assert "68 % of them are smaller" in said.err


def test_fine_tuning_ends_with_the_choice_and_its_gain(tmp_path: Path, capsys: Capture) -> None:
    base = save_table_model(tmp_path / "trees")
    lines = [f"{k},Li{2 + k}ZrO3,1e-{3 + k}" for k in range(6)]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["ID,Formula,Ionic conductivity (S/cm)", *lines]) + "\n")
    command = ["finetune", "--labels", str(table), "--base", str(base), "--out"]
    assert main([*command, str(tmp_path / "mine")]) == 0
    said = capsys.readouterr().err
    errors = re.search(r"(\S+) chosen; errors in decades, out of fold: (.*)", said)
    assert errors
    found = {n: float(e) for n, e in (part.rsplit(" ", 1) for part in errors[2].split(", "))}
    assert list(found.values()) == sorted(found.values())
    gain = re.search(r"(\d+) % less than that of the simplest rule \(mean, (\S+) decades\)", said)
    assert gain
    assert float(gain[2]) == found["mean"]
    assert int(gain[1]) == pytest.approx(100 * (1 - found[errors[1]] / found["mean"]), abs=2)


@pytest.mark.parametrize(
    ("compared", "said"),
    [
        ({}, "full: 0.21 eV off out of fold (2 folds)\n"),
        (
            {"family_mean": 0.5, "full": 0.2},
            "full chosen; errors in eV, out of fold: full 0.20, family_mean 0.50\n"
            "its error is 60 % less than that of the simplest rule (family_mean, 0.50 eV)\n",
        ),
        (
            {"family_mean": 0.2, "full": 0.2},
            "full chosen; errors in eV, out of fold: family_mean 0.20, full 0.20\n"
            "its error is no less than that of the simplest rule (family_mean, 0.20 eV)\n",
        ),
    ],
)
def test_the_choice_for_hops(compared: dict[str, float], said: str, capsys: Capture) -> None:
    card = {"strategy": "full", "validation": {"n": 4, "mae_eV": 0.21, "split": "2 folds"}}
    finetune._say_choice({**card, "compared_mae_eV": compared})
    assert capsys.readouterr().err == said
