"""The notebooks run from top to bottom on small settings, and show what is known to be true.

They run in a kernel of this interpreter in an empty folder, on the starter data and with the
shipped model.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from models.library import DEFAULTS, names
from screening.starter import starter_hops
from screening.table import COLUMNS
from structures.io import read_records, write_json_lines
from structures.records import Hop
from structures.sources.neb_barriers import HOPS_FILE

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
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
    "rho": float(rho) if DATA else None,
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


def executed(name: str, folder: Path, probe: str, **settings: str) -> Run:
    """The executed notebook, and the values that an added last cell hands over as JSON.

    Settings of this shell do not count.
    """
    outside = {k: v for k, v in os.environ.items() if not k.startswith("IONBRIDGE_")}
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
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


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return executed("01_explore_data.ipynb", tmp_path_factory.mktemp("explore"), EXPLORED)


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> Run:
    assert DEFAULTS["migration_barrier"] in names(), "the shipped model is missing"
    return executed(
        "03_screen.ipynb",
        tmp_path_factory.mktemp("screen"),
        SCREENED,
        IONBRIDGE_N_CANDIDATES=str(N_CANDIDATES),
    )


class TestExploreData:
    def test_dimensionalities(self, explored: Run) -> None:
        _, values = explored
        assert values["dimensions"] == DIMENSIONS
        assert values["direction"] == "[0 1 0]"
        fastest = max(range(3), key=lambda k: values["along_axes"][k])
        assert values["axis_lengths"][fastest] == pytest.approx(6.0, abs=0.1)

    def test_percolation_of_one_kind_of_hop_is_its_barrier(self, explored: Run) -> None:
        _, values = explored
        for name in DIMENSIONS:
            assert values["barriers"][name] == pytest.approx(values["easiest"][name], abs=0.01)

    def test_known_orders(self, explored: Run) -> None:
        _, values = explored
        easiest = values["easiest"]
        assert easiest["Li6PS5Cl-argyrodite"] < easiest["LiFePO4-olivine"]
        assert easiest["NaFePO4-olivine"] < easiest["NaFePO4-maricite"]
        assert values["bow"] > 0.5  # the path in olivine is curved

    def test_starter_data_are_shown_where_no_folder_is_named(self, explored: Run) -> None:
        notebook, values = explored
        assert values["n_hops"] == len(starter_hops())
        assert values["n_crystals"] > 50
        assert values["rho"] is None
        assert pictures(notebook) == 5

    def test_a_named_folder_is_used(self, tmp_path: Path) -> None:
        """Where the labels are bond-valence barriers themselves, the order agrees perfectly."""
        write_json_lines(tmp_path / "data" / HOPS_FILE, starter_hops()[:40])
        notebook, values = executed(
            "01_explore_data.ipynb", tmp_path, EXPLORED, IONBRIDGE_DATA=str(tmp_path / "data")
        )
        assert values["rho"] == pytest.approx(1.0)
        assert pictures(notebook) == 7


class TestScreen:
    def test_every_candidate_has_its_row(self, screened: Run) -> None:
        notebook, values = screened
        assert values["columns"] == list(COLUMNS)
        assert values["n_rows"] == values["n_candidates"] == sum(values["counts"].values())
        assert values["ranks"] == sorted(values["ranks"])
        assert values["ranks"][0] == 1
        assert min(values["spread"]) > 0
        assert pictures(notebook) == 3

    def test_references_come_out_as_known(self, screened: Run) -> None:
        _, values = screened
        found = values["dimensions"]
        assert {name: found[name] for name in DIMENSIONS} == DIMENSIONS
        assert found["Li7La3Zr2O12-garnet"] == 3
        assert values["direction"] == "[0 1 0]"

    def test_bad_input_is_a_row_with_its_reason(self, screened: Run) -> None:
        _, values = screened
        assert "not a readable CIF" in values["failed"]["broken"]
        assert "no working ion" in values["failed"]["iron"]

    def test_files_lie_where_the_notebook_says(self, screened: Run) -> None:
        _, values = screened
        out = Path(values["out"])
        assert (out / "ranked.csv").is_file()
        assert (out / "report.html").is_file()
        hops = read_records(out / "paths" / "hops.jsonl")
        assert hops
        assert all(isinstance(hop, Hop) for hop in hops)


@pytest.mark.parametrize("name", ["01_explore_data.ipynb", "03_screen.ipynb"])
def test_committed_outputs_are_whole_and_of_no_particular_machine(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert pictures(notebook) >= 3
    outputs = json.dumps([cell.outputs for cell in code])
    assert "Traceback" not in outputs
    assert '"stderr"' not in outputs
    for place in ("/home/", "/tmp/", "/usr/", "site-packages", "ipykernel"):
        assert place not in outputs
