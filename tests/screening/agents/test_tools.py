"""Every tool makes a command line that ``ionbridge`` understands, on copies of what was named."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ionbridge.screening.agents.caller import Caller
from ionbridge.screening.agents.jobs import Jobs
from ionbridge.screening.agents.tools import TOOLS, call_tool
from ionbridge.screening.agents.workspace import LIBRARY_VARIABLE, USUAL_LIBRARY, Workspace
from ionbridge.screening.campaign.settings import CampaignSettings
from ionbridge.screening.cli import parser
from ionbridge.screening.errors import InputError
from ionbridge.structures.io.reading import write_json_lines
from tests.screening.tiny import layered, tiny_hops


@pytest.fixture
def caller(tmp_path: Path, tiny_model: Path) -> Caller:
    """A caller whose jobs never start."""
    workspace = Workspace(tmp_path / "workspace")
    write_json_lines(workspace.root / "mine" / "crystals.jsonl", [layered()])
    write_json_lines(workspace.root / "labels.jsonl", tiny_hops())
    (workspace.root / "sigma.csv").write_text(
        "Formula,Ionic conductivity (S/cm)\nLi3N,1e-3\n", encoding="utf-8"
    )
    (workspace.root / "mine" / "known.txt").write_text("LiCoO2\n", encoding="utf-8")
    (workspace.root / "mine" / "campaign.yaml").write_text(
        "name: mine\ncandidates: {files: [crystals.jsonl]}\n"
        "filters: {known_compounds: known.txt, elements_excluded: [Co]}\n"
        "objectives: [{column: log10_diffusivity_cm2_s, goal: max, target: -10}]\n"
        "rank_by: probability\n",
        encoding="utf-8",
    )
    for path in tiny_model.iterdir():
        (workspace.root / "tiny").mkdir(exist_ok=True)
        (workspace.root / "tiny" / path.name).write_bytes(path.read_bytes())
    jobs = Jobs(workspace)
    jobs.close()
    return Caller(workspace, jobs, client="a")


CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("plan", {"goal": "diffusivity", "files": ["mine"], "values": ["voltage=3.4V"]}),
    ("execute_plan", {"goal": "cell_capacity", "values": ["chemistry:LFP"], "c_rate": 3.0}),
    ("predict", {"inputs": ["mine", "labels.jsonl"], "model": "./tiny", "cores": 3}),
    ("predict", {"inputs": ["mine"], "quantity": "diffusivity", "temperature_K": 350}),
    ("screen", {"campaign_file": "mine/campaign.yaml", "limit": 3}),
    ("screen", {"campaign": {"name": "x", "candidates": {"prototypes": {"max_count": 7}}}}),
    ("finetune", {"labels": "labels.jsonl", "base": "hop-encoder", "strategy": "heads"}),
    ("finetune", {"labels": "labels.jsonl", "name": "mine-own", "seed": 3}),
    (
        "finetune",
        {
            "labels": "sigma.csv",
            "cifs": "mine",
            "quantity": "conductivity",
            "strategy": "trees-joint",
        },
    ),
    ("finetune", {"labels": "sigma.csv", "quantity": "diffusivity", "method": "aimd"}),
    ("label", {"method": "bvse", "inputs": ["mine"]}),
    ("label", {"method": "neb", "inputs": ["mine"], "max_hops": 2}),
    ("label", {"method": "md", "inputs": ["mine"], "temperatures_K": [600, 800.0]}),
    ("label", {"method": "kmc", "inputs": ["mine"], "vacancy_fraction": 0.01}),
)


@pytest.mark.parametrize(("tool", "arguments"), CALLS)
def test_its_command_line_is_understood(
    caller: Caller, tool: str, arguments: dict[str, Any]
) -> None:
    answer = call_tool(caller, tool, {**arguments, "wait_s": 0.0})
    assert answer.data["state"] == "queued"
    folder = caller.jobs.folder / answer.data["job"]
    job = json.loads((folder / "job.json").read_text("utf-8"))
    assert job["command"] == "ionbridge"
    args = vars(parser().parse_args(job["arguments"]))
    named = [
        path for value in args.values() for path in (value if isinstance(value, list) else [value])
    ]
    inputs = [folder / path for path in map(str, named) if path.startswith("input/")]
    assert len(inputs) == (0 if tool == "screen" else len(job["inputs"]))
    assert all(path.resolve().is_relative_to(folder) and path.exists() for path in inputs)
    assert job["cores"] <= caller.jobs.n_cores


def test_a_campaign_names_only_copies(caller: Caller) -> None:
    answer = call_tool(caller, "screen", {"campaign_file": "mine/campaign.yaml", "wait_s": 0.0})
    folder = caller.jobs.folder / answer.data["job"]
    written = CampaignSettings.from_yaml(folder / "campaign.yaml")
    known = written.filters.known_compounds
    assert known is not None
    for path in (*written.candidates.files, known):
        assert Path(path).resolve().is_relative_to(folder)
        assert Path(path).is_file()
    given = yaml.safe_load((caller.workspace.root / "mine" / "campaign.yaml").read_text("utf-8"))
    assert written.rank_by == given["rank_by"]
    assert written.filters.elements_excluded == ("Co",)
    assert written.objectives[0].target == given["objectives"][0]["target"]


def test_a_name_is_given_once(caller: Caller) -> None:
    named = {"labels": "labels.jsonl", "name": "mine-own", "wait_s": 0.0}
    call_tool(caller, "finetune", named)
    with pytest.raises(InputError, match="under way"):
        call_tool(caller, "finetune", named)
    with pytest.raises(InputError, match="already"):
        call_tool(caller, "finetune", {**named, "name": "hop-barrier"})


def test_an_unknown_model_is_answered_with_the_nearest(caller: Caller) -> None:
    with pytest.raises(InputError, match="did you mean 'hop-barrier'"):
        call_tool(caller, "predict", {"inputs": ["mine"], "model": "hop-barier"})
    assert not list(caller.jobs.folder.glob("predict-*"))  # what could not be prepared is gone


def test_the_workspace_becomes_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ionbridge.models.library import LIBRARY_VARIABLE as THEIRS
    from ionbridge.models.library import user_libraries

    monkeypatch.delenv(THEIRS, raising=False)
    usual = user_libraries()
    assert THEIRS == LIBRARY_VARIABLE
    assert usual == (Path(USUAL_LIBRARY).expanduser(),)
    monkeypatch.setenv(THEIRS, "")
    Workspace(tmp_path).become_library()
    assert user_libraries() == (tmp_path / "models", *usual)


def test_every_tool_says_what_it_does_and_is_bounded() -> None:
    for tool in TOOLS.values():
        assert len(tool.about) > 10
        text = json.dumps(tool.schema)
        assert "$ref" not in text
        assert tool.schema["additionalProperties"] is False
        for place, part in _parts(tool.schema, tool.name):
            kind = part.get("type")
            if kind in ("number", "integer") and "enum" not in part:
                assert {"minimum", "exclusiveMinimum"} & set(part), place
                assert "maximum" in part, place
            if kind == "array":
                assert "maxItems" in part, place
            if kind == "string" and not {"enum", "const"} & set(part):
                assert {"pattern", "maxLength"} & set(part), place


def _parts(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema."""
    if isinstance(schema, dict):
        yield place, schema
        for key, value in schema.items():
            yield from _parts(value, f"{place}.{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from _parts(value, f"{place}[{number}]")
