"""Models by name: shipped ones, the user's own, those of packages; clashes are loud."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from ionbridge.models import library
from ionbridge.models.checkpoint import CARD, CONFIG, WEIGHTS, IncompatibleModelError, sha256
from ionbridge.models.regressors.baselines import BASELINES, GlobalMean
from ionbridge.models.regressors.trees import Forest
from ionbridge.screening.cli import main
from tests.screening.tiny import save_table_model, tiny_hops
from tests.small_crystals import skew_hop


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's library with one model in it."""
    folder = tmp_path / "library"
    GlobalMean().fit([skew_hop(0), skew_hop(1)], [0.3, 0.5]).save(folder / "mine")
    monkeypatch.setenv(library.LIBRARY_VARIABLE, str(folder))
    return folder


def test_every_kind_is_the_class_that_calls_itself_so():
    assert {kind: found.kind for kind, found in library.KINDS.items()} == {
        kind: kind for kind in library.KINDS
    }
    assert set(BASELINES) <= set(library.KINDS)


def test_two_libraries_merge(own):
    assert {"mine", "hop-barrier"} <= set(library.names())
    assert isinstance(library.load("mine"), GlobalMean)


def test_several_folders_are_divided_like_a_path(own, tmp_path, monkeypatch):
    shutil.copytree(own / "mine", tmp_path / "second" / "yours")
    monkeypatch.setenv(library.LIBRARY_VARIABLE, f"{own}:{tmp_path / 'second'}")
    assert {"mine", "yours"} <= set(library.names())


def test_a_library_that_is_not_there_is_empty(tmp_path, monkeypatch):
    monkeypatch.setenv(library.LIBRARY_VARIABLE, str(tmp_path / "nowhere"))
    assert "hop-barrier" in library.names()


def test_a_shipped_name_stays_with_the_shipped_model(own, capsys):
    shutil.copytree(own / "mine", own / "voltage")
    assert library.find("voltage") == (library.LIBRARY / "voltage").resolve()
    assert "voltage has the same name and is reached by its path" in capsys.readouterr().err
    assert library.find(own / "voltage") == own / "voltage"
    assert "voltage" in library.names()


def test_a_clash_of_own_models_is_loud_only_where_it_matters(own, tmp_path, monkeypatch):
    shutil.copytree(own / "mine", tmp_path / "second" / "mine")
    monkeypatch.setenv(library.LIBRARY_VARIABLE, f"{own}:{tmp_path / 'second'}")
    assert {"mine", "voltage"} <= set(library.names())
    assert library.find("voltage").name == "voltage"
    with pytest.raises(IncompatibleModelError, match="several models are called 'mine'"):
        library.find("mine")


def test_an_entry_point_adds_a_model(own, monkeypatch):
    point = SimpleNamespace(name="theirs", value="pkg:model", load=lambda: lambda: own / "mine")
    monkeypatch.setattr(library, "entry_points", lambda group: [point])
    assert library.find("theirs") == (own / "mine").resolve()


def test_a_broken_entry_point_is_one_line(monkeypatch):
    def load():
        raise ImportError("no module\nnamed pkg")

    point = SimpleNamespace(name="theirs", value="pkg:model", load=load)
    monkeypatch.setattr(library, "entry_points", lambda group: [point])
    assert "hop-barrier" in library.names()
    with pytest.raises(IncompatibleModelError, match=r"theirs.*no module named pkg"):
        library.find("theirs")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(IncompatibleModelError, match="did you mean 'hop-barrier'"):
        library.find("hop-barier")


def test_a_card_that_is_none_is_refused(tmp_path):
    (tmp_path / "card.yaml").write_text("- a list")
    with pytest.raises(IncompatibleModelError, match="no mapping"):
        library.read_card(tmp_path)


def test_a_library_of_nobody_is_one_line(monkeypatch):
    monkeypatch.setenv(library.LIBRARY_VARIABLE, "~no-such-user-here/models")
    with pytest.raises(IncompatibleModelError, match="IONBRIDGE_LIBRARY"):
        library.names()


def broken(folder, name, content):
    (folder / name).mkdir(parents=True)
    for file, text in content.items():
        (folder / name / file).write_bytes(text)


def test_broken_folders_do_not_disable_the_list(own, capsys):
    good = {f: (own / "mine" / f).read_bytes() for f in ("config.json", "card.yaml")}
    kinds = {
        "empty": {"config.json": b"", "card.yaml": b""},
        "deep": {"config.json": b"[" * 100_000, "card.yaml": good["card.yaml"]},
        "bytes": {"config.json": b"\xff\xfe", "card.yaml": b"\xff"},
        "without-card": {"config.json": good["config.json"]},
        "a-list": {"config.json": b"[1]", "card.yaml": b"- 1"},
        "kind-of-a-list": {"config.json": b'{"kind": [1]}', "card.yaml": good["card.yaml"]},
        "cost": {**good, "card.yaml": good["card.yaml"] + b"\ncost_s: soon\n"},
        "ions": {**good, "card.yaml": good["card.yaml"] + b"\nworking_ions: 7\n"},
        "laughs": {**good, "card.yaml": b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"},
        "encoder": {"config.json": b'{"kind": "hop_encoder"}', "card.yaml": b"\0"},
    }
    for name, content in kinds.items():
        broken(own, name, content)
    assert main(["models", "list"]) == 0
    said = capsys.readouterr()
    assert "hop-barrier " in said.out
    assert "mine " in said.out
    for name in kinds:
        assert f"model '{name}' is left out" in said.err or f"{name} " in said.out, name
    for name in kinds:
        assert main(["models", "check", name]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("ionbridge: ")


CONFIGS = {
    "n_features": lambda c: {**c, "network": {**c["network"], "n_features": 10**9}},
    "n_features of a fraction": lambda c: {**c, "network": {**c["network"], "n_features": 8.5}},
    "other n_features": lambda c: {**c, "network": {**c["network"], "n_features": 16}},
    "n_layers": lambda c: {**c, "network": {**c["network"], "n_layers": 10**9}},
    "n_members": lambda c: {**c, "n_members": 10**9},
    "no members": lambda c: {**c, "n_members": 0},
    "members of text": lambda c: {**c, "n_members": "2"},
    "unknown key": lambda c: {**c, "network": {**c["network"], "n_fetures": 3}},
    "no network": lambda c: {k: v for k, v in c.items() if k != "network"},
    "network of a number": lambda c: {**c, "network": 7},
    "factor 0": lambda c: {**c, "calibration": {**c["calibration"], "factor": 0.0}},
    "factor below 0": lambda c: {**c, "calibration": {**c["calibration"], "factor": -1.0}},
    "factor of text": lambda c: {**c, "calibration": {**c["calibration"], "factor": "1"}},
    "infinite threshold": lambda c: {**c, "domain": {**c["domain"], "threshold": math.inf}},
    "NaN threshold": lambda c: {**c, "domain": {**c["domain"], "threshold": math.nan}},
    "huge threshold": lambda c: {**c, "domain": {**c["domain"], "threshold": "1e999"}},
    "another kind": lambda c: {**c, "kind": "few_label_conductivity"},
    "kind of a list": lambda c: {**c, "kind": ["hop_ensemble"]},
}


def resealed(folder, change_config=None, change_tensors=None):
    """A stranger's folder: altered, with checksums that fit."""
    if change_config is not None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(change_config(config)))
    if change_tensors is not None:
        tensors = load_file(folder / WEIGHTS)
        save_file(change_tensors(tensors), folder / WEIGHTS)
    card = yaml.safe_load((folder / CARD).read_text())
    card["checksums_sha256"] = {n: sha256(folder / n) for n in (WEIGHTS, CONFIG)}
    (folder / CARD).write_text(yaml.safe_dump(card))


def refusal(folder):
    with pytest.raises(IncompatibleModelError) as caught:
        library.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_settings_of_strangers_are_checked_like_input(tiny_model, tmp_path, name):
    folder = Path(shutil.copytree(tiny_model, tmp_path / "theirs"))
    resealed(folder, change_config=CONFIGS[name])
    refusal(folder)


TENSORS = {
    "a weight less": lambda t: dict(list(t.items())[1:]),
    "a weight more": lambda t: {**t, "member0.extra": torch.zeros(3)},
    "another shape": lambda t: {k: v[:-1].clone() if v.ndim else v for k, v in t.items()},
    "numbers of another kind": lambda t: {
        k: v.to(torch.int64) if k.startswith("domain") else v for k, v in t.items()
    },
    "NaN": lambda t: {k: torch.full_like(v, math.nan) for k, v in t.items()},
    "infinity": lambda t: {k: v / 0 if k == "domain.scale" else v for k, v in t.items()},
    "none": lambda t: {},
    "an empty domain": lambda t: {**t, "domain.reference": torch.zeros(0, 16)},
}


@pytest.mark.parametrize("name", TENSORS)
def test_weights_of_strangers_are_checked(tiny_model, tmp_path, name):
    folder = Path(shutil.copytree(tiny_model, tmp_path / "theirs"))
    resealed(folder, change_tensors=TENSORS[name])
    said = refusal(folder)
    if name == "NaN":
        assert "NaN or infinite" in said


def no_such_feature(tensors):
    return {
        k: torch.full_like(v, 30_000) if k.endswith("feature") else v for k, v in tensors.items()
    }


@pytest.mark.parametrize("kind", ["trees", "table"])
def test_a_model_of_other_features_is_one_line(tmp_path, kind):
    folder = tmp_path / "theirs"
    if kind == "table":
        save_table_model(folder)
    else:
        hops = 8 * tiny_hops()  # enough for a tree to divide
        BASELINES["trees"]().fit(hops, [hop.barrier_eV for hop in hops]).save(folder)
    resealed(folder, change_tensors=no_such_feature)
    assert "column 30000" in refusal(folder)


@pytest.mark.parametrize("child", ["left", "right"])
def test_a_tree_without_end_is_refused(child):
    target = np.arange(16.0)
    forest = Forest.grown(target[:, None], target, 2, 1, 1.0, 0)
    arrays = forest.arrays()
    node = int(np.argmax(arrays["left"] != np.arange(len(arrays["left"])))) + 1
    arrays[child] = arrays[child].copy()
    arrays[child][node] = 0
    with pytest.raises(ValueError, match="forest: a node"):
        Forest.from_arrays(arrays)


def test_every_shipped_model_is_loaded():
    for folder in sorted(library.LIBRARY.glob("*/config.json")):
        library.load(folder.parent)
