"""Whatever happens to a campaign folder ends in the right table, or in one line and status 2."""

import json
import random
import shutil
from pathlib import Path

import pytest

from ionbridge import Campaign
from ionbridge.screening.campaign.campaign import CAMPAIGN_FILE, TABLE_FILE
from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.folder_lock import locked_folder
from ionbridge.structures.io.reading import write_json_lines
from tests.screening.tiny import layered, rocksalt

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Campaign file, pool, model, and the finished campaigns ``cold`` (300 K) and ``hot``."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(tiny_model, home / "model")
    crystals = [layered("a"), rocksalt("b"), layered("c", "Ni"), layered("a"), layered("e", "Mn")]
    write_json_lines(home / "pool.jsonl", crystals)
    for name, kelvin in (("cold", 300), ("hot", 600)):
        (home / f"{name}.yaml").write_text(
            f"name: test\nmodel: model\nn_draws: 8\nshard_size: 2\nn_paths: 0\n"
            f"temperature_K: {kelvin}\ncandidates: {{files: [pool.jsonl]}}\n"
        )
        Campaign.from_yaml(home / f"{name}.yaml").run(home / name, workers=0)
    return home


@pytest.fixture
def out(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "cold", tmp_path / "out"))


def resume(home: Path, out: Path, *more: str) -> int:
    return main(["screen", str(home / "cold.yaml"), "--out", str(out), "--workers", "0", *more])


def shard(folder: Path, index: int = 0) -> Path:
    return folder / "shards" / f"{index:06d}.jsonl"


def table(folder: Path) -> str:
    return (folder / TABLE_FILE).read_text(encoding="utf-8")


def test_shards_that_do_not_hold_are_computed_again_and_named(
    home: Path, out: Path, capsys: Capture
) -> None:
    text = shard(out).read_text()
    digit = text.index(".", text.index("percolation_barrier_eV")) + 1
    shard(out).write_text(text[:digit] + str((int(text[digit]) + 5) % 10) + text[digit + 1 :])
    shutil.copy(shard(home / "hot", 1), shard(out, 1))
    shutil.copy(shard(home / "cold", 0), shard(out, 2))
    shard(out, 9).write_text("not of this campaign")
    assert resume(home, out, "--resume") == 0
    said = capsys.readouterr().err
    assert "000000.jsonl: its checksum differs; its 2 candidates are computed again" in said
    assert "000001.jsonl: made with other settings" in said
    assert "000002.jsonl: it is shard 0" in said
    assert table(out) == table(home / "cold")
    assert json.loads((out / CAMPAIGN_FILE).read_text())["n_predicted_in_this_run"] == 5


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "broken"),
        (b"{}", "broken"),
        (b"[1]", "broken"),
        (b"\xff\xfe", "broken"),
        (b"a\0", "broken"),
        (b"[" * 100_000, "broken"),
        (b'{"settings": "x"}', "broken"),
        (b'{"settings": {}, "model": {}, "data": {}, "versions": {}}', "changed since: name"),
    ],
)
def test_a_broken_record_is_one_line_and_renewed(
    home: Path, out: Path, capsys: Capture, content: bytes, why: str
) -> None:
    (out / CAMPAIGN_FILE).write_bytes(content)
    assert resume(home, out, "--resume") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line
    assert "--renew" in line


def test_renewing_starts_afresh_and_says_so(home: Path, out: Path, capsys: Capture) -> None:
    (out / CAMPAIGN_FILE).write_text("{")
    shutil.copy(shard(home / "hot"), shard(out))
    assert resume(home, out, "--renew") == 0
    assert "started afresh, its campaign.json is broken" in capsys.readouterr().err
    assert table(out) == table(home / "cold")


def test_an_altered_record_is_refused(home: Path, out: Path, capsys: Capture) -> None:
    record = json.loads((out / CAMPAIGN_FILE).read_text())
    (out / CAMPAIGN_FILE).write_text(json.dumps({**record, "fingerprint": "0" * 64}))
    assert resume(home, out, "--resume") == 2
    assert "altered (fingerprint)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["shards/000000.jsonl", TABLE_FILE, CAMPAIGN_FILE, "shards"])
def test_something_else_in_the_place_of_a_file_is_one_line(
    home: Path, out: Path, capsys: Capture, name: str
) -> None:
    place = out / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    if name == "shards":
        place.write_text("a file")
    else:
        place.mkdir()
    assert resume(home, out, "--resume") == 2
    (line,) = [li for li in capsys.readouterr().err.splitlines() if li.startswith("ionbridge")]
    assert name in line


def test_a_model_of_which_any_file_changed_is_another(
    home: Path, tmp_path: Path, tiny_model: Path
) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    text = (home / "cold.yaml").read_text().replace("model: model", f"model: {model}")
    (tmp_path / "c.yaml").write_text(text.replace("pool.jsonl", str(home / "pool.jsonl")))
    campaign = Campaign.from_yaml(tmp_path / "c.yaml", limit=1)
    campaign.run(tmp_path / "out", workers=0)
    card = model / "card.yaml"
    card.write_text(card.read_text() + "note: calibrated by hand\n")
    with pytest.raises(InputError, match="changed since: model"):
        campaign.run(tmp_path / "out", workers=0, resume=True)


def test_a_second_one_in_the_folder_is_refused(home: Path, out: Path, capsys: Capture) -> None:
    with locked_folder(out):
        assert main(["screen", str(home / "hot.yaml"), "--out", str(out), "--renew"]) == 2
    assert "another process works on it" in capsys.readouterr().err
    assert table(out) == table(home / "cold")


def test_inputs_do_not_lie_in_the_output(home: Path, out: Path, capsys: Capture) -> None:
    shutil.copy(home / "pool.jsonl", out / "pool.jsonl")
    shutil.copytree(home / "model", out / "model")
    shutil.copy(home / "cold.yaml", out / "cold.yaml")
    arguments = ["screen", str(out / "cold.yaml"), "--out", str(out), "--renew"]
    assert main([*arguments, "--workers", "0"]) == 2
    assert "lies in the output folder" in capsys.readouterr().err
    assert (out / "pool.jsonl").exists()


def test_an_output_that_is_no_path_is_one_line(home: Path, capsys: Capture) -> None:
    assert resume(home, Path("a\0b")) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def damage(folder: Path, chance: random.Random) -> str:
    """Do something to one file of a campaign, as a disk, a tool or a person would."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    file = chance.choice(files)
    content = bytearray(file.read_bytes())
    where = chance.randrange(max(len(content), 1))
    kind = chance.choice(("flip", "cut", "empty", "zeros", "swap", "remove", "append"))
    if kind == "flip" and content:
        content[where] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del content[where:]
    elif kind == "empty":
        content.clear()
    elif kind == "zeros":
        content[where : where + 64] = bytes(64)
    elif kind == "append":
        content += chance.randbytes(8)
    if kind == "swap":
        other = chance.choice(files)
        content[:] = other.read_bytes()
    if kind == "remove":
        file.unlink()
    else:
        file.write_bytes(content)
    return f"{kind} {file.relative_to(folder)}"


def test_chance_damage_ends_in_the_right_table_or_one_line(
    home: Path, tmp_path: Path, capsys: Capture
) -> None:
    chance = random.Random(20)
    for k in range(5):
        out = Path(shutil.copytree(home / "cold", tmp_path / str(k)))
        done = [damage(out, chance) for _ in range(chance.randint(1, 3))]
        status = resume(home, out, "--resume")
        said = capsys.readouterr().err
        assert "Traceback" not in said, done
        if status == 0:
            assert table(out) == table(home / "cold"), done
        else:
            assert status == 2, done
            assert len([li for li in said.splitlines() if "; its" not in li]) == 1, (done, said)
            assert resume(home, out, "--renew") in (0, 2)
        capsys.readouterr()
