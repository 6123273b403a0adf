"""Models by name: shipped ones, the user's own, those of packages; clashes are loud."""

import shutil
from types import SimpleNamespace

import pytest

from ionbridge.models import library
from ionbridge.models.baselines import GlobalMean
from ionbridge.models.checkpoint import IncompatibleModelError
from tests.small_crystals import skew_hop


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's library with one model in it."""
    folder = tmp_path / "library"
    GlobalMean().fit([skew_hop(0), skew_hop(1)], [0.3, 0.5]).save(folder / "mine")
    monkeypatch.setenv(library.LIBRARY_VARIABLE, str(folder))
    return folder


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


def test_a_clash_is_loud_only_where_it_matters(own):
    shutil.copytree(own / "mine", own / "voltage")
    with pytest.raises(IncompatibleModelError, match="several models are called 'voltage'"):
        library.names()
    with pytest.raises(IncompatibleModelError, match="several models"):
        library.find("voltage")
    assert library.find("mine").name == "mine"


def test_an_entry_point_adds_a_model(own, monkeypatch):
    point = SimpleNamespace(name="theirs", value="pkg:model", load=lambda: lambda: own / "mine")
    monkeypatch.setattr(library, "entry_points", lambda group: [point])
    assert library.find("theirs") == (own / "mine").resolve()


def test_a_broken_entry_point_is_one_line(monkeypatch):
    def load():
        raise ImportError("no module\nnamed pkg")

    point = SimpleNamespace(name="theirs", value="pkg:model", load=load)
    monkeypatch.setattr(library, "entry_points", lambda group: [point])
    with pytest.raises(IncompatibleModelError, match="theirs"):
        library.names()


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(IncompatibleModelError, match="did you mean 'hop-barrier'"):
        library.find("hop-barier")


def test_a_card_that_is_none_is_refused(tmp_path):
    (tmp_path / "card.yaml").write_text("- a list")
    with pytest.raises(IncompatibleModelError, match="holds no card"):
        library.read_card(tmp_path)
