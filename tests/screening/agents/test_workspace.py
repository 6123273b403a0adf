"""Whatever a client names, nothing outside the workspace is opened."""

import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ionbridge.screening.agents import workspace as module
from ionbridge.screening.agents.workspace import (
    Allowance,
    Workspace,
    WorkspaceError,
    parts_of,
)

SECRET = "5ecret"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret.txt").write_text(SECRET, encoding="utf-8")
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "workspace"
    (root / "crystals" / "deep").mkdir(parents=True)
    (root / "crystals" / "a.cif").write_text("a", encoding="utf-8")
    (root / "crystals" / "deep" / "ü.cif").write_text("b", encoding="utf-8")
    (root / ".hidden").write_text(SECRET, encoding="utf-8")
    return Workspace(root)


def test_what_lies_inside_is_read_as_it_is(workspace: Workspace, tmp_path: Path) -> None:
    assert workspace.read("crystals/a.cif", 10) == b"a"
    assert workspace.read("./crystals//deep/ü.cif", 10) == b"b"
    assert [e.path for e in workspace.entries()] == ["crystals"]
    assert [e.path for e in workspace.entries("crystals")] == ["crystals/a.cif", "crystals/deep"]
    copy = workspace.stage("crystals", tmp_path, Allowance())
    assert sorted(p.relative_to(tmp_path).as_posix() for p in copy.rglob("*.cif")) == [
        "crystals/a.cif",
        "crystals/deep/ü.cif",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret.txt",
        "crystals/../../outside/secret.txt",
        "crystals/..",
        "/etc/passwd",
        "~/secret",
        "..",
        "crystals\\..\\..\\outside",
        "C:/secret",
        "crystals/a.cif\0.txt",
        "crystals/a\n.cif",
        "\udcff.cif",
        ".hidden",
        "crystals/.git/config",
        "a/" * 40 + "a",
        "x" * 600,
        "",
        "nowhere.cif",
        "crystals/a.cif/b",
    ],
)
def test_no_path_leads_elsewhere(workspace: Workspace, outside: Path, path: str) -> None:
    with pytest.raises(WorkspaceError) as caught, workspace.open(path):
        pass
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_links_are_not_followed_wherever_they_lead(
    workspace: Workspace, outside: Path, tmp_path: Path
) -> None:
    root = workspace.root
    (root / "file.txt").symlink_to(outside / "secret.txt")
    (root / "folder").symlink_to(outside)
    (root / "round").symlink_to(root / "crystals")
    (root / "crystals" / "deep" / "b.cif").symlink_to(outside / "secret.txt")
    for path in ("file.txt", "folder/secret.txt", "folder", "round/a.cif"):
        with pytest.raises(WorkspaceError), workspace.open(path):
            pass
    for path in ("folder", "round"):
        with pytest.raises(WorkspaceError):
            workspace.entries(path)
    assert [e.path for e in workspace.entries()] == ["crystals"]
    with pytest.raises(WorkspaceError, match="link"):
        workspace.stage("crystals", tmp_path, Allowance())
    assert SECRET not in "".join(
        p.read_text("utf-8") for p in (tmp_path / "crystals").rglob("*") if p.is_file()
    )


def test_a_folder_swapped_for_a_link_is_not_followed(
    workspace: Workspace, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is looked at, then swapped, then opened: what was checked is what is read."""
    look = module._status

    def swapped(folder: int, name: str, path: str) -> os.stat_result:
        status = look(folder, name, path)
        if name == "deep":
            (workspace.root / "crystals" / "deep").rename(workspace.root / "crystals" / "gone")
            (workspace.root / "crystals" / "deep").symlink_to(outside)
        return status

    monkeypatch.setattr(module, "_status", swapped)
    with pytest.raises(WorkspaceError), workspace.open("crystals/deep/secret.txt"):
        pass


def test_the_workspace_itself_may_be_renamed_under_it(workspace: Workspace, outside: Path) -> None:
    workspace.root.rename(workspace.root.with_name("moved"))
    workspace.root.symlink_to(outside)
    assert workspace.read("crystals/a.cif", 10) == b"a"
    with pytest.raises(WorkspaceError), workspace.open("secret.txt"):
        pass


def test_pipes_and_devices_are_refused_without_waiting(workspace: Workspace) -> None:
    os.mkfifo(workspace.root / "pipe.csv")
    with pytest.raises(WorkspaceError, match="neither"), workspace.open("pipe.csv"):
        pass
    with pytest.raises(WorkspaceError):
        workspace.stage("pipe.csv", workspace.root, Allowance())


def test_giants_are_refused_by_their_size_and_by_their_content(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (workspace.root / "giant.csv").open("wb") as file:
        file.truncate(2**40)  # a hole: it takes no room
    for path in ("giant.csv",):
        with pytest.raises(WorkspaceError, match="MiB"), workspace.open(path):
            pass
    monkeypatch.setattr(module, "LARGEST_FILE", 2**20)
    bomb = gzip.compress(bytes(3 * 2**20))
    (workspace.root / "bomb.jsonl.gz").write_bytes(bomb)
    assert len(bomb) < 2**14
    with pytest.raises(WorkspaceError, match="content"):
        workspace.stage("bomb.jsonl.gz", tmp_path, Allowance())
    (workspace.root / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}")[:-4])
    workspace.stage("cut.jsonl.gz", tmp_path, Allowance())  # its reader says what is wrong
    with pytest.raises(WorkspaceError, match="files"):
        workspace.stage("crystals", tmp_path, Allowance(n_files=1))


def test_jobs_are_no_input_of_jobs(workspace: Workspace, tmp_path: Path) -> None:
    (workspace.root / "jobs" / "old").mkdir(parents=True)
    (tmp_path / "job").mkdir()
    copy = workspace.stage("", tmp_path / "job", Allowance())
    assert sorted(p.name for p in copy.iterdir()) == ["crystals"]


def test_parts() -> None:
    assert parts_of("a/./b//c.cif") == ("a", "b", "c.cif")
    assert parts_of(".") == parts_of("") == ()


def test_listings_at_the_same_time_are_all_whole(workspace: Workspace) -> None:
    for k in range(200):
        (workspace.root / f"{k:03d}.cif").touch()
    whole = workspace.entries()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: workspace.entries(), range(200)))
    assert [len(entries) for entries in found] == [len(whole)] * 200
