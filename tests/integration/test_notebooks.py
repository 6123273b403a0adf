"""The notebooks run from top to bottom on small settings, and show what is known to be true.

They run in a kernel of this interpreter in an empty folder, on the starter data and with the
shipped models.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from ionbridge.models.library import DEFAULTS, names
from ionbridge.screening.campaign.starter import starter_crystals, starter_hops, starter_neb_hops
from ionbridge.screening.table import COLUMNS
from ionbridge.structures.io.reading import read_records, write_json_lines
from ionbridge.structures.records import Hop
from ionbridge.structures.sources.neb_barriers import HOPS_FILE

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
BENCHMARKS = NOTEBOOKS.parent / "benchmarks" / "results"
N_CANDIDATES = 12
TIMEOUT_S = 240
Run = tuple[NotebookNode, dict[str, Any]]
DIMENSIONS = {"LiFePO4-olivine": 1, "LiCoO2-layered": 2, "LiMn2O4-spinel": 3}

EXPLORED = """{
    "dimensions": percolation.percolation_dimensionality.to_dict(),
    "direction": percolation.fast_direction["LiFePO4-olivine"],
    "barriers": percolation.percolation_barrier_eV.to_dict(),
    "along_axes": along_axes.tolist(),
    "axis_lengths": axis_lengths.tolist(),
    "easiest": barrier_of,
    "n_crystals": len(crystal_table),
    "n_hops": len(hop_table),
    "bow": float(np.linalg.norm(path[len(path) // 2] - middle)),
    "data": DATA,
}"""
SCREENED = """{
    "columns": list(results.columns),
    "n_rows": len(results),
    "n_candidates": len(campaign.candidates()),
    "counts": record["counts"],
    "dimensions": known.percolation_dimensionality.to_dict(),
    "direction": known.fast_direction["LiFePO4-olivine"],
    "failed": results[results.status == "failed"].set_index("candidate_id").reason.to_dict(),
    "ranks": ok["rank"].tolist(),
    "spread": [float(x) for x in ok.log10_diffusivity_std],
    "out": str(out.resolve()),
}"""
TRANSFERRED = """{
    "labelled": sorted({hop.framework for hop in labelled}),
    "held_out": sorted({hop.framework for hop in held_out}),
    "compared": card["compared_mae_eV"],
    "errors": errors,
    "n_labels": card["trained_on"]["n_hops"],
    "n": len(labelled),
}"""
IN_A_CELL = """{
    "status": table.cell_status.to_dict(),
    "from_candidate": table.cell_from_candidate.to_dict(),
    "energy": response.kpis["specific_energy"].tolist(),
    "capacity_Ah": [row["capacity_Ah"] for row in fast],
    "rms_mV": rms_mV,
    "capacity_off": capacity_off,
    "fade": {name: kpi.capacity_fade_percent for name, kpi in found.items()},
    "lives": lives.cycle_life.tolist(),
}"""
PLANNED = """{
    "goal": made.goal,
    "steps": [step.entry for step in made.chosen.steps],
    "dimension": answer["percolation_dimensionality"],
    "reused": [step.reused for step in again.steps],
    "refused": refused.chosen is None,
    "missing": [missing.quantity for missing in refused.missing],
    "compared": len(choice["cross_validated_error"]),
    "off": [off_with, off_without],
    "ids": sorted(compared.index),
    "library": str((RESULTS / "library").resolve()),
}"""


def executed(name: str, folder: Path, probe: str, only: str = "", **settings: str) -> Run:
    """The executed notebook, and the values that an added last cell hands over as JSON.

    Settings of this shell do not count. `only` is a pattern of the cells that are run.
    """
    outside = {k: v for k, v in os.environ.items() if not k.startswith("IONBRIDGE_")}
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if re.search(only, cell.source)]
    notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({probe}))"))
    place = folder / "notebooks"
    place.mkdir(parents=True)
    client = NotebookClient(
        notebook, timeout=TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": place}}
    )
    client.execute(env={**outside, **settings, "OMP_NUM_THREADS": "1"})
    (output,) = notebook.cells.pop().outputs
    return notebook, json.loads(output.text)


def pictures(notebook: NotebookNode) -> int:
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_explore_data(tmp_path: Path) -> None:
    notebook, values = executed("01_explore_data.ipynb", tmp_path, EXPLORED)
    # the starter data, as no folder is named
    assert values["n_hops"] == len(starter_hops())
    assert values["n_crystals"] == len(starter_crystals())
    assert values["data"] is None
    assert pictures(notebook) == 5
    # tunnels along b of Pnma, planes, space
    assert values["dimensions"] == DIMENSIONS
    assert values["direction"] == "[0 1 0]"
    fastest = max(range(3), key=lambda k: values["along_axes"][k])
    assert values["axis_lengths"][fastest] == pytest.approx(6.0, abs=0.1)
    assert values["bow"] > 0.5  # the path in olivine is curved
    # where hops of one kind join into a way, its barrier is theirs
    easiest = values["easiest"]
    for name in DIMENSIONS:
        assert values["barriers"][name] == pytest.approx(easiest[name], abs=0.01)
    assert easiest["Li6PS5Cl-argyrodite"] < easiest["LiFePO4-olivine"]
    assert easiest["NaFePO4-olivine"] < easiest["NaFePO4-maricite"]


def test_explore_a_named_folder(tmp_path: Path) -> None:
    """Where the labels are bond-valence barriers themselves, the order agrees perfectly."""
    write_json_lines(tmp_path / "data" / HOPS_FILE, starter_hops()[:40])
    notebook, values = executed(
        "01_explore_data.ipynb",
        tmp_path,
        "{'rho': float(rho), 'n': len(both)}",
        only="import|DATA",
        IONBRIDGE_DATA=str(tmp_path / "data"),
    )
    assert values == {"rho": pytest.approx(1.0), "n": 40}
    assert pictures(notebook) == 2


def test_screen(tmp_path: Path) -> None:
    assert DEFAULTS["migration_barrier"] in names(), "the shipped model is missing"
    notebook, values = executed(
        "03_screen.ipynb", tmp_path, SCREENED, IONBRIDGE_N_CANDIDATES=str(N_CANDIDATES)
    )
    assert pictures(notebook) == 3
    # as many rows as candidates, all with their columns, ranked, with a spread
    assert values["columns"] == list(COLUMNS)
    assert values["n_rows"] == values["n_candidates"] == sum(values["counts"].values())
    assert values["n_candidates"] > len(starter_crystals())
    assert values["ranks"] == list(range(1, values["counts"]["ok"] + 1))
    assert min(values["spread"]) > 0
    # references as known
    found = values["dimensions"]
    assert {name: found[name] for name in DIMENSIONS} == DIMENSIONS
    assert found["Li7La3Zr2O12-garnet"] == 3
    assert values["direction"] == "[0 1 0]"
    # bad input is a row with its reason
    assert "not a readable CIF" in values["failed"]["broken"]
    assert "no working ion" in values["failed"]["iron"]
    # files lie where the notebook says
    out = Path(values["out"])
    assert out.is_relative_to(tmp_path)
    assert (out / "ranked.csv").is_file()
    assert (out / "report.html").is_file()
    hops = read_records(out / "paths" / "hops.jsonl")
    assert hops
    assert all(isinstance(hop, Hop) for hop in hops)


@pytest.mark.slow  # a minute: `auto` fits six models three times
def test_transfer(tmp_path: Path) -> None:
    notebook, values = executed(
        "02_transfer.ipynb", tmp_path, TRANSFERRED, IONBRIDGE_BENCHMARKS=str(BENCHMARKS)
    )
    assert pictures(notebook) == 2
    # compounds are held out whole, and the labels are what the model learnt from
    assert not set(values["labelled"]) & set(values["held_out"])
    assert values["n_labels"] == values["n"] >= 6
    # transfer, no transfer, and no network at all
    assert {"frozen", "scratch", "family_mean", "trees"} <= set(values["compared"])
    # another method's barriers: labels of the family help
    assert values["errors"]["with the labels"] < values["errors"]["zero-shot"]


def test_cell(tmp_path: Path) -> None:
    pytest.importorskip("pybamm")
    notebook, values = executed(
        "04_cell.ipynb", tmp_path, IN_A_CELL, IONBRIDGE_BENCHMARKS=str(BENCHMARKS)
    )
    assert pictures(notebook) == 3
    assert set(values["status"].values()) == {"ok"}
    # each row says what it took from its candidate
    slow = "Li2FeSiO4-orthosilicate-Pmn21"
    assert "apparent diffusivity" in values["from_candidate"][slow]
    # a faster cathode gives no less
    assert np.all(np.diff(values["energy"]) > -0.5)
    slower, own, faster = values["capacity_Ah"]
    assert slower < 0.95 * own
    assert faster == pytest.approx(own, rel=0.02)
    # the reduced-order model agrees with the full simulation
    assert values["rms_mV"] < 3.0
    assert abs(values["capacity_off"]) < 0.5
    # heat ages; a curve that changes much ends sooner
    assert values["fade"]["hot"] > values["fade"]["full, 1C"]
    assert values["lives"][0] > 2 * values["lives"][1]


@pytest.mark.slow
def test_orchestrator(tmp_path: Path) -> None:
    results = tmp_path / "results"
    notebook, values = executed(
        "05_orchestrator.ipynb", tmp_path, PLANNED, IONBRIDGE_RESULTS=str(results)
    )
    assert pictures(notebook) == 1
    # the estimate of `predict`: tunnels of olivine
    assert values["goal"] == "diffusivity"
    assert values["steps"] == ["crystal-conduction"]
    assert values["dimension"] == 1
    # done once, read the second time
    assert values["reused"] == [True] * len(values["steps"])
    # no chain: what is missing has a name
    assert values["refused"]
    assert values["missing"]
    # many ways to learn are compared, and the labels help; all stays in the notebook's folder
    assert values["compared"] >= 4  # and networks, where there is time
    assert values["off"][0] < values["off"][1]
    assert set(values["ids"]) <= {hop.id for hop in starter_neb_hops()}
    assert Path(values["library"]).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("name", "n_pictures"),
    [
        ("01_explore_data.ipynb", 5),
        ("02_transfer.ipynb", 2),
        ("03_screen.ipynb", 3),
        ("04_cell.ipynb", 3),
        ("05_orchestrator.ipynb", 1),
    ],
)
def test_committed_outputs_are_whole_and_of_no_particular_machine(
    name: str, n_pictures: int
) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert pictures(notebook) == n_pictures
    outputs = json.dumps([cell.outputs for cell in code])
    assert "Traceback" not in outputs
    assert '"stderr"' not in outputs
    for place in ("/home/", "/tmp/", "/usr/", "site-packages", "ipykernel"):
        assert place not in outputs


def test_a_notebook_shows_progress_and_a_pipe_does_not(tmp_path: Path) -> None:
    asked = "from ionbridge.screening.execution.progress import is_watched; print(is_watched())"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(asked)])
    NotebookClient(
        book, timeout=TIMEOUT_S, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert book.cells[0].outputs[0].text.strip() == "True"
    piped = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert piped.stdout.strip() == "False"
