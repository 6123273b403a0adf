"""Model folders: whole and unaltered, or refused with one line; no code in them runs."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ionbridge.models.checkpoint import (
    CARD,
    CONFIG,
    FORMAT_VERSION,
    WEIGHTS,
    IncompatibleModelError,
    read_model,
    save_model,
    sha256,
)
from ionbridge.models.library import find, load, names

ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3),
    "b.c": np.array([True, False]),
    "one": np.array(0.5, dtype=np.float32),
}
SETTINGS = {"kind": "test", "sizes": [1, 2], "rate": 0.1}
DESCRIPTION = {"name": "tiny", "predicts": "nothing (Å, α)"}


@pytest.fixture
def folder(tmp_path) -> Path:
    save_model(tmp_path / "tiny", ARRAYS, SETTINGS, DESCRIPTION)
    return tmp_path / "tiny"


def refused(folder: Path) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(IncompatibleModelError) as caught:
        read_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_what_was_saved_is_loaded(folder):
    arrays, config, card = read_model(folder)
    assert arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(arrays[name], values, strict=True)
    assert {k: config[k] for k in SETTINGS} == SETTINGS
    assert config["format_version"] == FORMAT_VERSION
    assert {k: card[k] for k in DESCRIPTION} == DESCRIPTION
    assert card["checksums_sha256"] == {n: sha256(folder / n) for n in (WEIGHTS, CONFIG)}


def test_nothing_else_is_left_in_the_folder_and_saving_again_replaces(folder):
    save_model(folder, {"a": np.zeros(1)}, {"kind": "other"}, {"name": "second"})
    assert {p.name for p in folder.iterdir()} == {WEIGHTS, CONFIG, CARD}
    arrays, config, card = read_model(folder)
    assert (arrays["a"].shape, config["kind"], card["name"]) == ((1,), "other", "second")


def test_views_of_one_array_can_be_saved(tmp_path):
    base = np.arange(12.0).reshape(3, 4)
    save_model(tmp_path, {"whole": base, "part": base[:, 1:3], "turned": base.T}, SETTINGS, {})
    arrays = read_model(tmp_path).arrays
    np.testing.assert_array_equal(arrays["part"], base[:, 1:3])
    np.testing.assert_array_equal(arrays["turned"], base.T)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, CARD])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert f"{name} is missing" in refused(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "is missing" in refused(tmp_path / "nowhere")


def test_altered_weights_are_noticed(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    assert f"{WEIGHTS}: checksum differs" in refused(folder)


def test_an_altered_config_is_noticed(folder):
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(text.replace("0.1", "0.2"))
    assert f"{CONFIG}: checksum differs" in refused(folder)


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, None, "1"])
def test_another_format_version_is_refused(folder, version):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, "format_version": version}))
    assert f"format_version {version!r}" in refused(folder)


@pytest.mark.parametrize("kept", [0, 4, 20, 100])
def test_truncated_weights_are_refused(folder, kept):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:kept])
    assert WEIGHTS in refused(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (CONFIG, b""),
        (CONFIG, b'{"kind": "te'),
        (CONFIG, b"[1, 2]"),
        (CONFIG, b"\xff\xfe\x00"),
        (CARD, b""),
        (CARD, b"a: [1, 2"),
        (CARD, b"just a text"),
        (CARD, b"checksums_sha256: 7"),
        (CARD, b"name: without checksums"),
        (CARD, b"a: !!python/object/apply:os.system ['true']"),
    ],
)
def test_a_broken_config_or_card_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    refused(folder)


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "boom"))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_offered_as_weights_is_refused_and_never_run(folder, tmp_path, how):
    target = tmp_path / "created-by-the-pickle"
    if how == "pickle":
        (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb(target)))
    else:
        torch.save({"a": Bomb(target)}, folder / WEIGHTS)
    card = yaml.safe_load((folder / CARD).read_text())
    card["checksums_sha256"][WEIGHTS] = sha256(folder / WEIGHTS)  # the attacker fits the card
    (folder / CARD).write_text(yaml.safe_dump(card))
    assert "pickled weights are refused" in refused(folder)
    for loader in (load, lambda f: load(str(f))):
        with pytest.raises(IncompatibleModelError):
            loader(folder)
    assert not target.exists()
    pickle.loads((folder / WEIGHTS).read_bytes()) if how == "pickle" else None
    assert target.exists() or how == "torch"  # the bomb was live


def test_a_pickled_object_in_the_card_is_never_built(folder, tmp_path):
    target = tmp_path / "created-by-the-card"
    apply = "!!python/object/apply:pathlib.Path"
    (folder / CARD).write_text(f"name: {apply}.touch [{apply} ['{target}']]\n")
    refused(folder)
    assert not target.exists()


def test_an_unknown_kind_names_the_known_ones(folder):
    with pytest.raises(IncompatibleModelError, match="unknown kind 'test'; known: hop_ensemble"):
        load(folder)


def test_an_unknown_name_is_answered_with_the_nearest(folder, monkeypatch, tmp_path):
    shelf = tmp_path / "library"
    for name in ("hop-barrier", "hop-encoder"):
        shutil.copytree(folder, shelf / name)
    monkeypatch.setattr("ionbridge.models.library.LIBRARY", shelf)
    assert names() == ["hop-barrier", "hop-encoder"]
    assert find("hop-barrier") == shelf / "hop-barrier"
    assert find(folder) == folder
    with pytest.raises(IncompatibleModelError) as caught:
        load("hop-barier")
    message = str(caught.value)
    assert "did you mean 'hop-barrier'?" in message
    assert "hop-encoder" in message
    assert "\n" not in message
    with pytest.raises(IncompatibleModelError, match="unknown model 'xyz': known models are"):
        find("xyz")
