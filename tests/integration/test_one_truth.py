"""One question, one number: by command line, Python, plan and the tools of agents."""

import csv
import io
import math
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from ionbridge.screening.cli import main
from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.screening.planning.catalogue import Conditions as PlanConditions
from ionbridge.screening.planning.execution_steps import execute
from ionbridge.screening.planning.inputs import read_givens
from ionbridge.screening.planning.planner import plan
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.files import predict, read_input
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.io.reading import write_cif, write_json_lines
from ionbridge.structures.quantities import QUANTITIES
from tests.screening.agents.test_mcp_server import answer, finished, over_stdio
from tests.screening.tiny import tiny_hops

HOPS, CRYSTALS = 3, ("LiCoO2", "LiFePO4")
FORMULAS = ("Li6PS5Cl", "Li3YCl6", "Na3PS4", "Li7La3Zr2O12", "Li3PS4", "Li3OCl", "Li3N")
FORMULAS += ("Na3Zr2Si2PO12", "LiTi2P3O12", "Li10GeP2S12")
FIGURES = 1e-5
"""Tables have six significant figures."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    hops, table = folder / "hops.jsonl", folder / "table.csv"
    rows = tiny_hops()[:HOPS]
    write_json_lines(hops, [{**_json(hop), "barrier_eV": None} for hop in rows])
    for formula in CRYSTALS:
        crystal = next(c for c in reference_crystals() if c.formula == formula)
        write_cif(crystal, folder / "crystals" / f"{formula}.cif")
    lines = ["ID,Formula", *(f"{formula},{formula}" for formula in FORMULAS)]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"migration_barrier": hops, "diffusivity": folder / "crystals", "conductivity": table}


def _json(hop: Any) -> dict[str, Any]:
    from ionbridge.structures.io.json_records import hop_to_json

    return hop_to_json(hop)


def by_command(path: Path, out: Path) -> dict[str, dict[str, str]]:
    assert main(["predict", str(path), "--workers", "0", "--out", str(out)]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def by_plan(goal: str, path: Path, out: Path) -> dict[str, float]:
    made = plan(goal, read_givens([path]), at=PlanConditions())
    found = execute(made, out)
    assert found.status == "ok", found.reason
    return {row["id"]: row[QUANTITIES[goal].column] for row in found.rows}


@pytest.mark.parametrize("goal", ["migration_barrier", "diffusivity", "conductivity"])
def test_command_python_and_plan_agree(goal: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    path, column = inputs[goal], QUANTITIES[goal].column
    command = by_command(path, tmp_path / "p.csv")
    rows = predict(read_input([path]), None, None, Conditions(), ThisProcess()).rows
    python = {row["id"]: row[column] for row in rows}
    planned = by_plan(goal, path, tmp_path / "plan")
    assert set(python) == set(planned) == set(command)
    for name, value in python.items():
        assert float(command[name][column]) == pytest.approx(value, rel=FIGURES)
        assert planned[name] == pytest.approx(value, rel=1e-6)


MEMBERS = {
    "specific_energy": ["chemistry:LiFePO4", "voltage=3.4V"],
    "gravimetric_capacity": ["chemistry:LiCoO2"],
    "cell_energy": ["chemistry:LFP"],
    "cell_capacity": ["chemistry:LFP"],
    "conductivity": ["diffusivity=1e-8cm2/s", "carrier_density=1e21cm-3"],
}


@pytest.mark.parametrize("goal", MEMBERS)
def test_the_command_of_a_tool_gives_what_python_gives(goal: str, tmp_path: Path) -> None:
    """A tool's job is this very command line (tests of the tools): its table against Python's."""
    given = MEMBERS[goal]
    made = plan(goal, read_givens(given))
    python = execute(made, tmp_path / "python").rows[0][QUANTITIES[goal].column]
    out = tmp_path / "command"
    arguments = ["plan", f"--goal={goal}", f"--out={out}", "--execute", "--given", *given]
    assert main(arguments) == 0
    with (out / "result.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row[QUANTITIES[goal].column]) == pytest.approx(python, rel=FIGURES)
    assert math.isfinite(python)


QUESTIONS = HOPS + len(CRYSTALS) + len(FORMULAS) + len(MEMBERS)


@pytest.mark.slow
def test_the_tools_of_agents_give_the_same_twenty_numbers(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """Asked over a real session, the tables that the answers point to against Python's."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for path in inputs.values():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, workspace / path.name)
    python: dict[str, float] = {}
    for goal, path in inputs.items():
        rows = predict(read_input([path]), None, None, Conditions(), ThisProcess()).rows
        python |= {f"{goal} {row['id']}": row[QUANTITIES[goal].column] for row in rows}
    for goal, given in MEMBERS.items():
        done = execute(plan(goal, read_givens(given)), tmp_path / goal)
        python[f"{goal} {given}"] = done.rows[0][QUANTITIES[goal].column]
    assert len(python) == QUESTIONS == 20

    async def table(client: Client, found: dict[str, Any], name: str) -> list[dict[str, str]]:
        files = (await finished(client, found))["data"]["files"]
        path = next(file for file in files if file.endswith(name))
        content = (await client.read_resource(f"workspace:///{path}")).contents[0]
        return list(csv.DictReader(io.StringIO(content.text)))  # type: ignore[union-attr]

    async def session() -> dict[str, float]:
        asked: dict[str, float] = {}
        async with over_stdio(workspace) as client:
            predicted = {
                goal: await answer(client, "predict", inputs=[path.name], wait_s=0.0)
                for goal, path in inputs.items()
            }
            planned = {
                goal: await answer(client, "execute_plan", goal=goal, values=given, wait_s=0.0)
                for goal, given in MEMBERS.items()
            }
            for goal, found in predicted.items():
                for row in await table(client, found, "predictions.csv"):
                    asked[f"{goal} {row['id']}"] = float(row[QUANTITIES[goal].column])
            for goal, found in planned.items():
                (row,) = await table(client, found, "result.csv")
                asked[f"{goal} {MEMBERS[goal]}"] = float(row[QUANTITIES[goal].column])
        return asked

    asked = anyio.run(session)
    assert set(asked) == set(python)
    for question, value in python.items():
        assert asked[question] == pytest.approx(value, rel=FIGURES), question
