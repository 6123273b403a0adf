"""The command line as a script sees it: files, exit statuses, one line on stderr."""

import csv
import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ionbridge.models.library import card
from ionbridge.screening.api import Labelled, labelled
from ionbridge.screening.cli import main, parser
from ionbridge.structures.io.reading import read_records, write_cif, write_json_lines
from ionbridge.structures.records import Crystal, Hop
from tests.integration.test_campaign import write_campaign
from tests.screening.tiny import layered, rocksalt, save_table_model, tiny_hops

Capture = pytest.CaptureFixture[str]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_screen(tmp_path: Path, tiny_model: Path, capsys: Capture) -> None:
    campaign = write_campaign(tmp_path, tiny_model)
    out = tmp_path / "out"
    command = ["screen", str(campaign), "--out", str(out), "--workers", "0", "--limit", "6"]
    assert main(command) == 0
    assert len(rows(out / "ranked.csv")) == 6
    assert "5 ok, 1 failed" in capsys.readouterr().err
    assert main(command) == 2
    assert "pass --resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0


def test_screen_dry_run_writes_nothing(tmp_path: Path, tiny_model: Path, capsys: Capture) -> None:
    campaign = write_campaign(tmp_path, tiny_model)
    out = tmp_path / "out"
    command = ["screen", str(campaign), "--out", str(out), "--dry-run", "--limit", "4"]
    assert main([*command, "--workers", "2"]) == 0
    assert "4 candidates" in capsys.readouterr().out
    assert not out.exists()


def test_predict_crystals_of_a_folder(tmp_path: Path, tiny_model: Path, capsys: Capture) -> None:
    folder = tmp_path / "Kristalle µ"
    (folder / "sub").mkdir(parents=True)
    write_cif(layered(), folder / "b.cif")
    write_cif(rocksalt(), folder / "sub" / "a.cif")
    out = tmp_path / "new" / "out.csv"
    command = ["predict", str(folder), "--model", str(tiny_model), "--workers", "0"]
    assert main([*command, "--temperature-K", "500", "--out", str(out)]) == 0
    table = rows(out)
    assert [r["id"] for r in table] == ["b", "sub/a"]
    assert {r["temperature_K"] for r in table} == {"500"}
    assert {r["status"] for r in table} == {"ok"}
    assert "found crystals: 2 CIF" in capsys.readouterr().err


def test_predict_and_evaluate_hops(tmp_path: Path, tiny_model: Path, capsys: Capture) -> None:
    hops = tmp_path / "hops.jsonl.gz"
    write_json_lines(hops, tiny_hops())
    model = ["--model", str(tiny_model), "--workers", "0"]
    assert main(["predict", str(hops), *model, "--out", str(tmp_path / "p.csv")]) == 0
    assert [r["id"] for r in rows(tmp_path / "p.csv")] == [h.id for h in tiny_hops()]
    assert main(["evaluate", str(hops), *model, "--out", str(tmp_path / "e.json")]) == 0
    scores = json.loads((tmp_path / "e.json").read_text())
    assert scores["quantity"] == "migration_barrier"
    assert scores["n"] == scores["n_predicted"] == len(tiny_hops())
    said = capsys.readouterr().err
    assert f"mean absolute error {scores['mae']['value']:.2f} [" in said
    assert "; learnt from the other rows: global_mean unknown" in said  # two frameworks are too few
    assert {"value", "lower", "upper"} == set(scores["mae"])


def test_predict_and_evaluate_a_table(tmp_path: Path, capsys: Capture) -> None:
    model = save_table_model(tmp_path / "trees")
    table = tmp_path / "table.csv"
    table.write_text(
        "ID,Reduced Composition,Ionic conductivity (S cm-1)\n"
        "a,Li2ZrO3,1e-7\nb,Li2TiO3,<1E-10\nc,Qq2O,1e-5\nd,Li3GeO4,1e-6\n",
        encoding="utf-8",
    )
    command = [str(table), "--model", str(model), "--workers", "0", "--out"]
    assert main(["predict", *command, str(tmp_path / "p.csv")]) == 0
    found = rows(tmp_path / "p.csv")
    assert [(r["id"], r["status"]) for r in found] == [
        ("a", "ok"), ("b", "ok"), ("c", "failed"), ("d", "ok"),
    ]  # fmt: skip
    assert found[2]["reason"]
    assert "found conductivity table" in capsys.readouterr().err
    assert main(["evaluate", *command, str(tmp_path / "e.json")]) == 0
    scores = json.loads((tmp_path / "e.json").read_text())
    assert (scores["n"], scores["n_predicted"], scores["n_bounds"]) == (3, 3, 1)
    assert main(["models", "check", str(model), "--data", str(table)]) == 0
    assert "decades on 3 of 3 labelled records" in capsys.readouterr().out
    assert main(["predict", *command, str(tmp_path / "q.csv"), "--temperature-K", "600"]) == 2
    assert "room temperature only" in capsys.readouterr().err


def test_a_table_is_learnt_from_and_the_model_predicts(tmp_path: Path, capsys: Capture) -> None:
    base = save_table_model(tmp_path / "trees")
    table = tmp_path / "table.csv"
    lines = [f"{k},Li{2 + k}ZrO3,{'<' if k == 3 else ''}1e-{3 + k}" for k in range(6)]
    table.write_text("\n".join(["ID,Formula,Ionic conductivity (S/cm)", *lines]) + "\n")
    command = ["finetune", "--labels", str(table), "--base", str(base), "--out"]
    mine = tmp_path / "mine"
    assert main([*command, str(mine)]) == 0
    assert "chosen; errors in decades, out of fold" in capsys.readouterr().err
    assert (
        main(["predict", str(table), "--model", str(mine), "--out", str(tmp_path / "p.csv")]) == 0
    )
    assert {r["status"] for r in rows(tmp_path / "p.csv")} == {"ok"}
    other = str(tmp_path / "other")
    assert main([*command, other, "--strategy", "lora"]) == 2
    assert main([*command, other, "--quantity", "migration_barrier"]) == 2
    table.write_text("ID,Formula\na,Li2ZrO3\n")
    assert main([*command, other]) == 2
    assert "no row with a working ion and a conductivity" in capsys.readouterr().err


def test_labels_left_out_are_counted_by_reason(tmp_path: Path, capsys: Capture) -> None:
    base = save_table_model(tmp_path / "trees")
    table, mine = tmp_path / "table.csv", tmp_path / "mine"
    good = [f"{k},Li{2 + k}ZrO3,1e-{3 + k},298" for k in range(6)]
    bad = ["abc,Li3PS4,abc,", "minus,Li3PS4,-1e-5,", "nought,Li3PS4,0,", "xx,LiXx3,1e-5,"]
    bad += ["hot,Li3PS4,1e-3,600", "iron,Fe2O3,1e-9,"]
    head = "ID,Formula,Ionic conductivity (S/cm),temperature_K"
    table.write_text("\n".join([head, *good, *bad]) + "\n")
    command = ["finetune", "--labels", str(table), "--base", str(base), "--strategy", "mean"]
    assert main([*command, "--out", str(mine)]) == 0
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if "left out" in line]
    assert line.startswith("6 of 12 left out: no conductivity that is a positive number (3, as")
    for reason in ("unknown element 'Xx' (1, as xx)", "288 to 308 K (1, as hot)"):
        assert reason in line
    assert "no working ion (1, as iron)" in line
    assert "(6 of 12 labels" in said
    left_out = card(mine)["trained_on"]["left_out"]
    assert left_out["no conductivity that is a positive number"] == 3
    assert sum(left_out.values()) == 6


def test_hops_without_a_barrier_are_counted(tmp_path: Path) -> None:
    hops = tiny_hops()
    named = [replace(hop, barrier_eV=None) if k == 0 else hop for k, hop in enumerate(hops)]
    write_json_lines(tmp_path / "hops.jsonl", named)
    found = labelled(tmp_path / "hops.jsonl")
    assert [(f.id, f.reason) for f in found.failed] == [(hops[0].id, "no barrier_eV")]
    assert len(found.records) == len(hops) - 1


def test_label_bvse_gives_hops_that_can_be_learnt_from(tmp_path: Path, tiny_model: Path) -> None:
    write_json_lines(tmp_path / "c.jsonl", [layered(), rocksalt()])
    labels = tmp_path / "hops.jsonl"
    assert main(["label", "bvse", str(tmp_path / "c.jsonl"), "--out", str(labels)]) == 0
    assert main(["evaluate", str(labels), "--model", str(tiny_model), "--workers", "0",
                 "--out", str(tmp_path / "e.json")]) == 0  # fmt: skip
    assert json.loads((tmp_path / "e.json").read_text())["n"] == 3


def test_cifs_of_labels_are_read(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows without cell and space group get both from the CIF of their id."""
    table, cifs = tmp_path / "t.csv", tmp_path / "cifs"
    table.write_text("ID,Formula,Ionic conductivity (S/cm)\nx,LiCoO2,1e-6\n")
    write_cif(layered(), cifs / "x.cif")
    given = ["finetune", "--labels", str(table), "--out", str(tmp_path / "m")]
    assert main([*given, "--cifs", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    learnt: list[object] = []

    def adapt(data: Labelled, **options: object) -> None:
        learnt.extend(data.records)
        raise ValueError("one row")

    monkeypatch.setattr("ionbridge.screening.api.adapt", adapt)
    assert main([*given, "--cifs", str(cifs)]) == 2
    (row,) = learnt
    assert row.crystal.formula == "LiCoO2"


def test_models(tiny_model: Path, capsys: Capture) -> None:
    assert main(["models", "list"]) == 0
    assert main(["models", "show", str(tiny_model)]) == 0
    assert "for tests" in capsys.readouterr().out
    assert main(["models", "check", str(tiny_model)]) == 0
    assert "files whole" in capsys.readouterr().out


def test_data(tmp_path: Path, capsys: Capture) -> None:
    assert main(["data", "list"]) == 0
    assert "obelix" in capsys.readouterr().out
    assert main(["data", "fetch", "na_conductivity", "--data", str(tmp_path)]) == 2
    assert "get it from https://doi.org/10.1021" in capsys.readouterr().err
    assert main(["data", "fetch", "obelics"]) == 2
    assert "did you mean 'obelix'" in capsys.readouterr().err
    assert main(["data", "check", "--data", str(tmp_path)]) == 2
    assert main(["data", "convert", "obelix", "--data", str(tmp_path), "--out",
                 str(tmp_path / "x.jsonl")]) == 2  # fmt: skip


def test_data_that_are_broken_are_said_to_be(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "amorphous_diffusivity/ln_diffusivity_792.csv.gz"
    file.parent.mkdir()
    file.write_bytes(gzip.compress(b"formula,lnD,inverse_kbT\nLi,1,2\n" * 50)[:40])
    assert main(["data", "check", "--data", str(tmp_path)]) == 2
    assert "amorphous_diffusivity    broken: " in capsys.readouterr().out
    assert main(["data", "convert", "amorphous_diffusivity", "--data", str(tmp_path), "--out",
                 str(tmp_path / "x.jsonl")]) == 2  # fmt: skip
    assert "cannot be read as a table (Compressed file ended" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "kind"), [("starter-hops", Hop), ("starter-neb-hops", Hop),
                                            ("starter-crystals", Crystal)])  # fmt: skip
def test_starter_data_can_be_had_as_a_file(tmp_path: Path, name: str, kind: type) -> None:
    out = tmp_path / "out.jsonl.gz"
    assert main(["data", "export", name, "--out", str(out)]) == 0
    records = read_records(out)
    assert len(records) > 10
    assert all(isinstance(record, kind) for record in records)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--help", "Start with:"),
        ("--version", "ionbridge "),
        ("screen --help", "example:\n  ionbridge screen"),
        ("models list", "hop-barrier "),
        ("models list --json", '"chgnet-neb"'),
        ("models show hop-barrier", "migration barrier"),
        ("models show nernst-einstein", "independent"),
        ("data list", "neb_barriers"),
    ],
)
def test_what_only_prints_names_loads_nothing_that_computes(command: str, said: str) -> None:
    """Seconds and half a gigabyte of imports would go before a page of text."""
    script = (
        "import sys; from ionbridge.screening.cli import main\n"
        "try: status = main(sys.argv[1:])\n"
        "except SystemExit as stop: status = stop.code\n"
        "assert not status\n"
        "heavy = {'torch', 'pymatgen', 'sklearn', 'scipy', 'numba', 'pandas', 'ase', 'pydantic'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *command.split()], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert said in result.stdout
    assert result.stderr.splitlines()[-1] == ""


@pytest.mark.parametrize(
    "command", ["screen", "predict", "evaluate", "pretrain", "finetune", "label", "models", "data"]
)
def test_every_command_has_an_example(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        parser().parse_args([command, "--help"])
    assert stop.value.code == 0
    assert f"ionbridge {command}" in capsys.readouterr().out.split("example:")[1]


@pytest.mark.parametrize("arguments", [["screan"], ["predict"], ["screen", "--limit", "x"], []])
def test_bad_arguments_are_one_line(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
