"""Only regular files are replaced, never an input, and nothing in a model folder."""

import os
import stat
from pathlib import Path

import pytest

from ionbridge.screening.cli import main
from ionbridge.screening.commands.command import check_new_folder, check_output
from ionbridge.screening.errors import InputError
from ionbridge.structures.io.reading import write_json_lines
from tests.screening.tiny import layered, tiny_hops

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def crystals(tmp_path: Path) -> Path:
    path = tmp_path / "crystals.jsonl"
    write_json_lines(path, [layered()])
    return path


def refusal(path: Path, *inputs: Path | str | None) -> str:
    with pytest.raises(InputError) as caught:
        check_output(path, *inputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_input_under_any_name_is_kept(tmp_path: Path, crystals: Path) -> None:
    hard, link = tmp_path / "hard.jsonl", tmp_path / "link.jsonl"
    os.link(crystals, hard)
    link.symlink_to(crystals)
    folder = tmp_path / "folder"
    folder.symlink_to(tmp_path)
    assert "is an input" in refusal(crystals, None, crystals)
    assert "is an input" in refusal(hard, crystals)
    assert "is an input" in refusal(folder / "crystals.jsonl", crystals)
    assert "is an input" in refusal(crystals, link)
    assert "is a link" in refusal(link, crystals)
    assert "in the input folder" in refusal(crystals, tmp_path)
    assert "in the input folder" in refusal(crystals, folder)
    check_output(tmp_path / "new.csv", crystals, tmp_path, "hop-barrier", None)
    assert not (tmp_path / "new.csv").exists()


def test_devices_pipes_folders_and_models_are_kept(tmp_path: Path, tiny_model: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "device or a pipe" in refusal(Path("/dev/null"))
    assert "device or a pipe" in refusal(pipe)
    assert "folder" in refusal(tmp_path)
    assert "model folder" in refusal(tiny_model / "config.json")
    assert "model folder" in refusal(tiny_model / "validation" / "new.csv")
    assert "no path" in refusal(Path("a\0b"))
    assert "cannot be written" in refusal(tmp_path / ("x" * 300))


def test_a_folder_that_holds_something_is_no_new_one(tmp_path: Path, tiny_model: Path) -> None:
    check_new_folder(tmp_path)
    check_new_folder(tmp_path / "new")
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tiny_model):
        with pytest.raises(InputError, match="not empty"):
            check_new_folder(folder)
    with pytest.raises(InputError, match="no path"):
        check_new_folder(Path("a\0b"))


@pytest.mark.parametrize("command", ["predict", "evaluate", "label bvse"])
def test_commands_keep_their_input(crystals: Path, command: str, capsys: Capture) -> None:
    before = crystals.read_bytes()
    assert main([*command.split(), str(crystals), "--out", str(crystals)]) == 2
    assert crystals.read_bytes() == before
    assert "is an input" in capsys.readouterr().err


def test_finetune_keeps_a_model_that_is_there(
    tmp_path: Path, tiny_model: Path, capsys: Capture
) -> None:
    write_json_lines(tmp_path / "hops.jsonl", tiny_hops())
    before = {p: p.stat().st_mtime_ns for p in tiny_model.rglob("*")}
    arguments = ["finetune", "--labels", str(tmp_path / "hops.jsonl"), "--out", str(tiny_model)]
    assert main(arguments) == 2
    assert "not empty" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in tiny_model.rglob("*")} == before


def test_a_null_device_stays_one(crystals: Path, capsys: Capture) -> None:
    assert main(["predict", str(crystals), "--out", "/dev/null"]) == 2
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_full_disk_is_one_line(crystals: Path, monkeypatch, capsys: Capture) -> None:
    """A file on /dev/full is not to be had, so the limit on a file's size stands for it."""
    import resource
    import signal

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, old[1]))
    try:
        out = crystals.with_name("labels.jsonl")
        assert main(["label", "bvse", str(crystals), "--out", str(out)]) == 2
        assert "File too large" in capsys.readouterr().err.splitlines()[-1]
        assert not out.exists()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
