"""A finished folder says how it was made: an RO-Crate that holds, and cells as linked data."""

import hashlib
import json
from pathlib import Path

import pytest

from ionbridge.screening.campaign.provenance import (
    CELL_CONTEXT,
    CELLS_FILE,
    CRATE_FILE,
    write_cells,
    write_crate,
)
from ionbridge.screening.cli import main


def graph_of(path: Path) -> dict[str, dict]:
    return {one["@id"]: one for one in json.loads(path.read_text(encoding="utf-8"))["@graph"]}


def assert_crate_holds(folder: Path) -> dict[str, dict]:
    """Every reference leads somewhere, every file is there and is the one that is described."""
    graph = graph_of(folder / CRATE_FILE)
    assert graph[CRATE_FILE]["conformsTo"]["@id"] == "https://w3id.org/ro/crate/1.1"
    assert graph[CRATE_FILE]["about"] == {"@id": "./"}
    assert {"name", "description", "datePublished", "license"} <= set(graph["./"])
    for entity in graph.values():
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict) and set(one) == {"@id"} and "://" not in one["@id"]:
                    assert one["@id"] in graph
    described = {part["@id"] for part in graph["./"]["hasPart"]}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert described == {name for name in there if name != CRATE_FILE and "/." not in f"/{name}"}
    for name in described:
        content = (folder / name).read_bytes()
        assert graph[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert graph[name]["contentSize"] == len(content)
    return graph


def test_a_folder_is_described_to_the_last_file(tmp_path: Path) -> None:
    given = tmp_path / "in" / "a.cif"
    given.parent.mkdir()
    given.write_text("data_a\n", encoding="utf-8")
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "ranked.csv").write_text("id\na\n", encoding="utf-8")
    (folder / "sub" / "b.json").write_text("{}", encoding="utf-8")
    record = {
        "settings": {"seed": 1, "candidates": {"files": ["in"]}},
        "versions": {"ionbridge": "1", "numpy": "2"},
        "model": {"name": "hop-barrier", "sha256": "ab"},
    }
    write_crate(folder, "mine", "a test", record, [given.parent])
    graph = assert_crate_holds(folder)
    run = graph["#run"]
    read = [graph[o["@id"]] for o in run["object"]]
    assert any(r.get("sha256") == hashlib.sha256(b"data_a\n").hexdigest() for r in read)
    assert json.loads(graph["#setting-seed"]["value"]) == 1
    assert {"@id": "#model"} in run["instrument"]
    assert graph["#numpy"]["version"] == "2"


def test_cells_are_read_without_a_network(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "capacity_Ah": 2.3, "energy_Wh": 7.4, "c_rate": 1.0, "formula": "LiFePO4"},
        {"id": "b", "status": "failed"},
    ]
    path = write_cells(tmp_path, rows)
    assert path is not None
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["@context"] == CELL_CONTEXT
    (cell,) = data["@graph"]
    used = {cell["@type"], *(k for k in cell if not k.startswith("@") and ":" not in k)}
    for one in cell["hasModelledProperty"]:
        used |= {one["@type"], *(k for k in one if not k.startswith("@"))}
    assert used <= set(data["@context"])
    values = {
        p["@type"]: p["hasNumericalPart"]["hasNumberValue"] for p in cell["hasModelledProperty"]
    }
    assert values == {"DischargeCapacity": 2.3, "DischargeEnergy": 7.4}
    assert write_cells(tmp_path, [{"id": "b"}]) is None


@pytest.mark.parametrize("goal", ["gravimetric_capacity", "cell_capacity"])
def test_a_plan_leaves_them_behind(tmp_path: Path, goal: str) -> None:
    out = tmp_path / "plan"
    given = ["--given", "chemistry:LFP", "--execute", "--out", str(out)]
    assert main(["plan", "--goal", goal, *given]) == 0
    graph = assert_crate_holds(out)
    assert json.loads(graph["#setting-goal"]["value"]) == goal
    assert (out / CELLS_FILE).exists() == (goal == "cell_capacity")


def test_cells_predicted_and_simulated_leave_them_behind(tmp_path: Path) -> None:
    pytest.importorskip("pybamm")
    designs = tmp_path / "designs.csv"
    header = "design_id,base_cell,c_rate,temperature_K"
    designs.write_text(f"{header}\na,Prada2013_balanced,1,298.15\nb,nothing,1,298.15\n")
    for verb, made_by in (("predict", "cell-rom-lfp"), ("simulate", None)):
        out = tmp_path / verb
        assert main(["cell", verb, str(designs), "--out", str(out)]) == 0
        graph = assert_crate_holds(out)
        read = [graph[o["@id"]] for o in graph["#run"]["object"]]
        assert "designs.csv" in [one["name"] for one in read]
        assert (made_by in graph["#model"]["name"]) if made_by else "#model" not in graph
        (cell,) = json.loads((out / CELLS_FILE).read_text())["@graph"]
        assert cell["schema:name"] == "a"
