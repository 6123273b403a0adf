"""Whatever is wrong with the input ends in a row with a reason, or in one line and status 2."""

import csv
import errno
import gzip
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ionbridge.screening.cli import main
from ionbridge.screening.commands import data
from ionbridge.structures.io.reading import write_cif, write_json_lines
from ionbridge.structures.records import Crystal
from tests.screening.tiny import layered, rocksalt

Capture = pytest.CaptureFixture[str]

GOOD = """data_good
_cell_length_a 5.13
_cell_length_b 5.13
_cell_length_c 5.13
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li 0 0 0 1.0
Cl1 Cl 0.5 0.5 0.5 1.0
"""

BAD_CIFS = {
    "empty": "",
    "truncated": GOOD[:330],
    "overfull": GOOD.replace("0 0 0 1.0", "0 0 0 1.7"),
    "no_ion": GOOD.replace("Li", "Cs"),
    "unknown_element": GOOD.replace("Li1 Li", "Xx1 Xx"),
    "not_a_number": GOOD.replace("Li 0 0 0", "Li nan 0 0"),
    "two_on_a_point": GOOD.replace("Cl 0.5 0.5 0.5", "Cl 0.0 0.0 0.0"),
    "one_atom": GOOD.replace("Cl1 Cl 0.5 0.5 0.5 1.0\n", ""),
}


def predict(paths: list[Path], model: Path, out: Path) -> tuple[int, list[dict[str, str]]]:
    command = ["predict", *map(str, paths), "--model", str(model), "--workers", "0"]
    status = main([*command, "--out", str(out)])
    if not out.exists():
        return status, []
    with out.open(newline="", encoding="utf-8") as file:
        return status, list(csv.DictReader(file))


@pytest.mark.parametrize("name", BAD_CIFS)
def test_a_bad_cif_is_a_row_with_a_reason(
    name: str, tmp_path: Path, tiny_model: Path, capsys: Capture
) -> None:
    path = tmp_path / f"{name}.cif"
    path.write_text(BAD_CIFS[name], encoding="utf-8")
    status, table = predict([path], tiny_model, tmp_path / "out.csv")
    assert status == 2  # not one usable row
    assert [(r["id"], r["status"]) for r in table] == [(name, "failed")]
    assert table[0]["reason"]
    assert "Traceback" not in capsys.readouterr().err


def test_bad_ones_do_not_harm_a_good_one(tmp_path: Path, tiny_model: Path) -> None:
    for name, text in {**BAD_CIFS, "gut_µ_良": GOOD}.items():
        (tmp_path / f"{name}.cif").write_text(text, encoding="utf-8")
    status, table = predict([tmp_path], tiny_model, tmp_path / "out.csv")
    assert status == 0
    assert len(table) == len(BAD_CIFS) + 1
    assert [r["id"] for r in table if r["status"] == "ok"] == ["gut_µ_良"]
    assert all(r["reason"] for r in table if r["status"] == "failed")


def test_two_thousand_atoms(tmp_path: Path, tiny_model: Path) -> None:
    """A supercell of 10 x 10 x 10: an answer or a reason, in time."""
    small = rocksalt()
    shifts = np.stack(np.meshgrid(*[np.arange(10)] * 3), axis=-1).reshape(-1, 3)
    large = Crystal(
        id="large",
        lattice=10 * small.lattice,
        species=small.species * len(shifts),
        frac=(shifts[:, None, :] + small.frac[None]).reshape(-1, 3) / 10,
    )
    write_json_lines(tmp_path / "large.jsonl", [large, small])
    status, table = predict([tmp_path / "large.jsonl"], tiny_model, tmp_path / "out.csv")
    assert status == 0
    assert table[1]["status"] == "ok"
    assert table[0]["status"] == "ok" or table[0]["reason"]


def test_duplicate_ids(tmp_path: Path, tiny_model: Path) -> None:
    write_json_lines(tmp_path / "c.jsonl", [rocksalt("a"), layered("b"), layered("a")])
    status, table = predict([tmp_path / "c.jsonl"], tiny_model, tmp_path / "out.csv")
    assert status == 0
    assert [(r["id"], r["reason"]) for r in table] == [("a", ""), ("b", ""), ("a", "duplicate id")]


def test_a_gz_that_ends_early(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    rng = np.random.default_rng(0)
    crystals = [
        replace(rocksalt(f"c{k}"), lattice=rocksalt().lattice * rng.uniform(0.98, 1.02))
        for k in range(40)
    ]
    write_json_lines(path, crystals)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(EOFError):
        gzip.decompress(path.read_bytes())
    status, table = predict([path], tiny_model, tmp_path / "out.csv")
    assert status == 0
    assert table[0]["status"] == "ok"
    assert table[-1]["status"] == "failed"
    assert table[-1]["reason"]


def test_numbers_that_are_none(tmp_path: Path, tiny_model: Path) -> None:
    record = {"id": "n", "lattice": [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "species": ["Li", "Cl"]}
    lines = [
        json.dumps({**record, "frac": [[0, 0, 0], [0.5, 0.5, float("nan")]]}),
        json.dumps({**record, "id": "m", "frac": [[0, 0, 0]]}),
        "{not json",
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    status, table = predict([tmp_path / "c.jsonl"], tiny_model, tmp_path / "out.csv")
    assert status == 2
    assert [r["status"] for r in table] == ["failed"] * 3


def one_line(capsys: Capture) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_an_output_that_cannot_be_written(
    tmp_path: Path, tiny_model: Path, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    write_cif(rocksalt(), tmp_path / "a.cif")
    status, _ = predict([tmp_path / "a.cif"], tiny_model, tmp_path / "file" / "out.csv")
    assert status == 2
    assert "output cannot be written" in one_line(capsys)
    assert main(["screen", "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in one_line(capsys)
    assert main(["screen", "--out", "/proc/nowhere/out"]) == 2
    assert "cannot be written" in one_line(capsys)


@pytest.mark.parametrize("name", ["hop-barier", "/no/such/folder"])
def test_an_unknown_model(name: str, tmp_path: Path, capsys: Capture) -> None:
    write_cif(rocksalt(), tmp_path / "a.cif")
    status, table = predict([tmp_path / "a.cif"], Path(name), tmp_path / "out.csv")
    assert status == 2
    assert table == []
    assert "unknown model" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("damage", ["missing", "altered", "pickled"])
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_model_folder(
    damage: str, file: str, tmp_path: Path, tiny_model: Path, capsys: Capture
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    path = model / file
    if damage == "missing":
        path.unlink()
    elif damage == "altered":
        path.write_bytes(path.read_bytes().replace(b"8", b"9"))
    else:
        path.write_bytes(b"\x80\x04cposix\nsystem\n(S'touch stolen'\ntR.")
    write_cif(rocksalt(), tmp_path / "a.cif")
    status, table = predict([tmp_path / "a.cif"], model, tmp_path / "out.csv")
    assert status == 2
    assert table == []
    assert file in capsys.readouterr().err.splitlines()[-1]
    assert not Path("stolen").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ncandidates: {files: [none.jsonl]}\n", "none.jsonl"),
        ("name: a\ncanditates: {}\n", "did you mean 'candidates'"),
        ("name: a\ncandidates: {references: true}\nmodel: nonsense\n", "unknown model 'nonsense'"),
        (
            "name: a\ncandidates: {references: true}\nobjectives: [{column: log10_D}]\n",
            "no numeric column 'log10_D'",
        ),
        (
            "name: a\ncandidates: {references: true}\ntemperature_K: 1.0e+6\n",
            "temperature_K: expected 4500 or less",
        ),
    ],
)
def test_a_campaign_that_cannot_run(
    text: str, message: str, tmp_path: Path, tiny_model: Path, capsys: Capture
) -> None:
    (tmp_path / "c.yaml").write_text(
        text if "model" in text else f"{text}model: {tiny_model}\n", encoding="utf-8"
    )
    assert main(["screen", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "o")]) == 2
    assert message in one_line(capsys)


@pytest.mark.parametrize("command", ["predict", "inspect", "label kmc", "label neb", "label bvse"])
def test_a_cif_that_was_cut_off_is_named(command: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "in").mkdir()
    cut = tmp_path / "in" / "cut.cif"
    cut.write_text(GOOD[:-12], encoding="utf-8")
    (tmp_path / "other.cif").write_text(GOOD[:200], encoding="utf-8")
    name = command.rpartition(" ")[2]
    for k, given in enumerate(([cut], [cut.parent], [cut, tmp_path / "other.cif"])):
        to = ["--out", str(tmp_path / f"{name}{k}.jsonl")]
        assert main([*command.split(), *map(str, given), *to]) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert f"not one usable row of {len(given)}: {cut}: line 10: " in last


def test_molecular_dynamics_names_a_cif_that_was_cut_off(tmp_path: Path, capsys: Capture) -> None:
    cut = tmp_path / "cut.cif"
    cut.write_text(GOOD[:-12], encoding="utf-8")
    calculator = ["--calculator", "ase.calculators.lj:LennardJones"]
    out = ["--out", str(tmp_path / "md.json")]
    assert main(["label", "md", str(cut), *calculator, *out, "--workers", "0"]) == 2
    assert f"{cut}: line 10: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("kelvin", ["1e6", "4501", "49", "1e-3", "-300", "nan"])
@pytest.mark.parametrize(
    "command",
    [
        "predict in.cif --temperature-K={} --out out",
        "plan --goal conductivity --given in.cif --temperature-K={}",
        "label kmc in.cif --temperatures-K=300,{} --out out",
        "label md in.cif --temperatures-K=300,{} --out out",
        "label md --trajectory in.traj --working-ion Li --temperature-K={} --out out",
        "models validate mine --rows in.csv --temperature-K={}",
    ],
)
def test_a_temperature_at_which_no_ion_moves_in_a_solid(
    command: str, kelvin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.cif").write_text(GOOD, encoding="utf-8")
    assert main(command.format(kelvin).split()) == 2
    said = one_line(capsys)
    assert "a temperature is 50 to 4500 K" in said
    assert f"{float(kelvin):g} K" in said
    assert not (tmp_path / "out").exists()


def test_molecular_dynamics_twice_at_one_temperature(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "in.cif").write_text(GOOD, encoding="utf-8")
    given = ["label", "md", str(tmp_path / "in.cif"), "--out", str(tmp_path / "md.json")]
    assert main([*given, "--temperatures-K", "800,900,800"]) == 2
    assert "800 K stands there twice" in one_line(capsys)


def test_a_plan_says_why_nothing_given_can_be_used(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "cut.cif").write_text(GOOD[:-12], encoding="utf-8")
    assert main(["plan", "--goal", "conductivity", "--given", str(tmp_path / "cut.cif")]) == 2
    assert "line 10" in one_line(capsys)


def test_no_row_is_usable(tmp_path: Path, tiny_model: Path, capsys: Capture) -> None:
    write_json_lines(tmp_path / "p.jsonl", [rocksalt("x", ion="Cs")])
    (tmp_path / "c.yaml").write_text(
        f"name: a\nmodel: {tiny_model}\ncandidates: {{files: [p.jsonl]}}\n", encoding="utf-8"
    )
    command = ["screen", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "o"), "--workers", "0"]
    assert main(command) == 2
    assert (tmp_path / "o" / "ranked.csv").exists()
    assert "not one usable row of 1" in capsys.readouterr().err


def test_a_screen_names_a_cif_that_was_cut_off(
    tmp_path: Path, tiny_model: Path, capsys: Capture
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cut.cif").write_text(GOOD[:-12], encoding="utf-8")
    campaign = f"name: a\nmodel: {tiny_model}\ncandidates: {{files: [in]}}\n"
    (tmp_path / "c.yaml").write_text(campaign, encoding="utf-8")
    command = ["screen", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "o"), "--workers", "0"]
    assert main(command) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"not one usable row of 1: {tmp_path / 'in' / 'cut.cif'}: line 10: " in last
    write_cif(rocksalt(), tmp_path / "good.cif")
    (tmp_path / "c.yaml").write_text(
        campaign.replace("[in]", "[good.cif]") + "stability: {references: [in]}\n"
    )
    assert main([*command[:-3], str(tmp_path / "p"), "--workers", "0"]) == 2
    assert f"{tmp_path / 'in' / 'cut.cif'}: reference cut: line 10: " in one_line(capsys)


def test_a_folder_without_crystals(tmp_path: Path, tiny_model: Path, capsys: Capture) -> None:
    (tmp_path / "in").mkdir()
    status, _ = predict([tmp_path / "in"], tiny_model, tmp_path / "out.csv")
    assert status == 2
    assert "no hops, crystals or conductivity rows found" in one_line(capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_device_that_is_not_there(tmp_path: Path, tiny_model: Path, capsys: Capture) -> None:
    write_json_lines(tmp_path / "p.jsonl", [rocksalt()])
    (tmp_path / "c.yaml").write_text(
        f"name: a\nmodel: {tiny_model}\ncandidates: {{files: [p.jsonl]}}\n", encoding="utf-8"
    )
    command = ["screen", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "o")]
    assert main([*command, "--device", "cuda"]) == 2
    assert "no CUDA device" in one_line(capsys)


@pytest.mark.parametrize("becomes", [KeyboardInterrupt, ImportError, SystemError])
def test_an_interrupt_is_one_line_whatever_compiled_code_makes_of_it(
    becomes: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupted(args: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise becomes("while numpy was imported") from None
        return 0

    monkeypatch.setattr(data, "_data_list", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert main(["data", "list"]) == 130
    assert capsys.readouterr().err == "ionbridge: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EPERM])
def test_what_the_disk_refuses_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def refused(args: object) -> int:
        raise OSError(number, os.strerror(number), "place")

    monkeypatch.setattr(data, "_data_list", refused)
    assert main(["data", "list"]) == 2
    assert capsys.readouterr().err.startswith(f"ionbridge: place: {os.strerror(number)}; what")


@pytest.mark.parametrize("name", ["absent.jsonl", "no_formula.csv", "no_number.csv"])
def test_labels_that_cannot_be_read_are_named_once(
    name: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "no_formula.csv").write_text("ID,Ionic conductivity (S/cm)\n1,1e-5\n")
    (tmp_path / "no_number.csv").write_text("Formula,Ionic conductivity (S/cm)\nLi3PS4,much\n")
    given = str(tmp_path / name)
    assert main(["finetune", "--labels", given, "--out", str(tmp_path / "model")]) == 2
    assert one_line(capsys).count(given) == 1
