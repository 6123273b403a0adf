"""Crystals and hops become labelled rows; one file grows hop by hop and survives a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from ionbridge.screening.campaign.refine_settings import RefineSettings
from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.screening.execution.folder_lock import locked_file
from ionbridge.screening.execution.sealed_rows import SEAL
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.bands.neb import NebSettings
from ionbridge.screening.labelling.bands.neb_labels import (
    NebLabeller,
    NebTask,
    label_neb,
    neb_tasks,
    read_rows,
)
from ionbridge.screening.prediction.fidelity import barrier_by
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.hops.hops import CrystalHop, emptied_sites
from ionbridge.structures.io.reading import hop_from_json, write_json_lines
from ionbridge.structures.records import Crystal, FailedRecord, Hop
from tests.screening.tiny import rocksalt

EMT = CalculatorChoice("ase.calculators.emt:EMT")
SETTINGS = NebSettings(n_images=3, fmax_eV_A=0.05)
TIMES = ("wall_s", "cpu_s", SEAL)


def metal_hop(symbol: str = "Al", a: float = 4.0, shift: float = 0.0) -> Hop:
    """A vacancy hop in an fcc metal; `shift` moves one neighbour and spoils the symmetry."""
    crystal = bulk(symbol, cubic=True, a=a) * (2, 2, 2)
    ends = crystal.positions[0] + [[0, 0, 0], [a / 2, a / 2, 0]]
    gone = [int(np.argmin(np.linalg.norm(crystal.positions - p, axis=1))) for p in ends]
    frac = np.delete(crystal.get_scaled_positions(), gone, axis=0)
    frac[0, 0] += shift
    return Hop(
        id=f"{symbol}-{shift}",
        working_ion=symbol,
        lattice=np.array(crystal.cell),
        host_species=({symbol: 1.0},) * len(frac),
        host_frac=frac,
        path_frac=np.linspace(*ends, 7) @ np.linalg.inv(crystal.cell),
        family="metal",
        extra={"path": "given", "note": "kept"},
    )


def bare(row: dict) -> dict:
    return {k: v for k, v in row.items() if k not in TIMES}


def test_a_row_says_all_that_was_found(tmp_path: Path) -> None:
    out = tmp_path / "hops.jsonl"
    (row,) = label_neb(neb_tasks([metal_hop()]), NebLabeller(EMT, SETTINGS), out, ThisProcess())
    assert row["status"] == "ok"
    assert row["method"] == "mlip_neb"
    assert row["calculator"] == "ase.calculators.emt:EMT"
    assert row["calculator_version"].startswith("3.")
    assert row["charge"] == "neutral cell"
    assert row["final_force_eV_A"] < 0.05
    assert len(row["image_energies_eV"]) == len(row["path_frac"]) == 5
    assert row["barrier_eV"] == pytest.approx(max(row["image_energies_eV"]), abs=1e-4)
    assert row["barrier_backward_eV"] == pytest.approx(row["barrier_eV"], abs=1e-3)
    assert row["n_atoms"] == 31
    assert row["wall_s"] > 0
    hop = hop_from_json(read_rows(out)[0])  # the file is a hop file that others read
    assert hop.barrier_eV == row["barrier_eV"]
    assert hop.family == "metal"
    assert len(hop.host_species) == 30


def test_rows_in_rows_out_and_reasons(tmp_path: Path) -> None:
    disordered = replace(
        metal_hop(), id="mixed", host_species=({"Al": 0.5, "Cu": 0.5},) + ({"Al": 1.0},) * 29
    )
    strange = replace(metal_hop(), id="iron", host_species=({"Fe": 1.0},) * 30)
    copper = ({"Al": 1.0},) * 5 + ({"Cu": 1.0},) + ({"Al": 1.0},) * 24
    touching = replace(metal_hop(), id="touching", host_species=copper)
    touching.path_frac[3] = touching.host_frac[5]
    given = [disordered, FailedRecord("bad", "empty file"), metal_hop(), strange, touching]
    tasks = neb_tasks(given)
    rows = label_neb(tasks, NebLabeller(EMT, SETTINGS), tmp_path / "x.jsonl", ThisProcess())
    assert [row["id"] for row in rows] == ["mixed", "bad", "Al-0.0", "iron", "touching"]
    assert [row["status"] for row in rows] == ["failed", "failed", "ok", "failed", "failed"]
    assert "disordered" in rows[0]["reason"]
    assert rows[1]["reason"] == "empty file"
    assert "the calculator failed: NotImplementedError" in rows[3]["reason"]
    assert "angstrom from host atom" in rows[4]["reason"]
    assert "barrier_eV" not in rows[3]


def test_what_cannot_be_read_leaves_the_label_of_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, labeller = tmp_path / "x.jsonl", NebLabeller(EMT, SETTINGS)
    others = [FailedRecord("Al-0.0", "cut"), FailedRecord("Al-0.0", "duplicate id")]
    tasks = neb_tasks([others[0], metal_hop(), others[1]])
    rows = label_neb(tasks, labeller, out, ThisProcess())
    assert [row["reason"] for row in rows] == ["cut", "", "duplicate id"]
    assert [row["status"] for row in read_rows(out)] == ["failed", "ok", "failed"]
    assert label_neb(tasks, labeller, out, ThisProcess()) == rows == read_rows(out)
    assert capsys.readouterr().err == ""


def test_a_hop_over_a_third_site_is_labelled_with_that_site_empty(tmp_path: Path) -> None:
    """No refusal: band and short relaxation lead over the empty site, and both say so."""
    rows = 2.0 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    crystal = Crystal("fcc", rows, ({"Al": 1.0},), np.zeros((1, 3)), working_ion="Al")
    row_of_sites = np.arange(3)[:, None] * rows[0]
    passed = {"n_passed_sites": 1, "passed_sites_A": row_of_sites[1:2].tolist(), "path": "straight"}
    size = np.array([3, 3, 3])
    path = np.linspace(row_of_sites[0], row_of_sites[2], 9)
    hop = CrystalHop.of(crystal, "Al", 0, path, size, passed)
    out = tmp_path / "x.jsonl"
    labeller = NebLabeller(EMT, SETTINGS)
    (row,) = label_neb([NebTask(hop, crystal)], labeller, out, ThisProcess())
    assert row["status"] == "ok", row["reason"]
    assert row["barrier_eV"] > 0.1
    assert "1 further site, emptied with the ends (1 Al more missing)" in row["note"]
    (read,) = read_rows(out)
    assert emptied_sites(hop_from_json(read)) == pytest.approx(row_of_sites[[0, 2, 1]], abs=0.3)
    settings = RefineSettings(short_calculator=EMT.name)
    short = barrier_by("short", hop, crystal, settings, np.inf, [])
    assert short.method == "short"
    assert "emptied with the ends" in short.note


def test_an_unconverged_band_is_no_label(tmp_path: Path) -> None:
    labeller = NebLabeller(EMT, replace(SETTINGS, fmax_eV_A=1e-6, max_steps=12))
    lopsided = metal_hop(shift=0.004)
    (row,) = label_neb(neb_tasks([lopsided]), labeller, tmp_path / "x.jsonl", ThisProcess())
    assert row["status"] == "failed"
    assert row["converged"] is False
    assert "not" in row["reason"] or "end point" in row["reason"]
    assert "barrier_eV" not in row


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "hops.jsonl.gz"
    tasks = neb_tasks([metal_hop(), metal_hop("Cu", 4.1), metal_hop("Ag", 4.2)])
    labeller = NebLabeller(EMT, SETTINGS)
    whole = label_neb(tasks, labeller, out, ThisProcess())
    write_json_lines(out, [whole[1]])  # as after a kill; the row in the middle is there
    told: list[str] = []
    again = label_neb(tasks, labeller, out, ThisProcess(), lambda row: told.append(row["id"]))
    assert told == ["Al-0.0", "Ag-0.0"]
    assert [bare(row) for row in again] == [bare(row) for row in whole]
    assert read_rows(out) == again
    with pytest.raises(InputError, match="n_images 3, not 5"):
        label_neb(tasks, NebLabeller(EMT, NebSettings()), out, ThisProcess())
    out.write_text("no gzip")
    with pytest.raises(InputError, match="no file of labels"):
        label_neb(tasks, labeller, out, ThisProcess())


@pytest.fixture(scope="module")
def two_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labels") / "hops.jsonl"
    label_neb(
        neb_tasks([metal_hop(), metal_hop(a=4.1, shift=0.001)]),
        NebLabeller(EMT, SETTINGS),
        out,
        ThisProcess(),
    )
    return out


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda line: line.replace('"converged": true', '"converged": false'), "checksum differs"),
        (lambda line: line[: len(line) // 2] + "\n", "no JSON object"),
        (lambda line: '{"id": "Al-0.001", "status": "ok", "barrier_eV": 0}\n', "no checksum"),
    ],
)
def test_a_damaged_line_is_computed_again_and_named(
    tmp_path: Path, two_labels: Path, capsys: pytest.CaptureFixture[str], damage, why: str
) -> None:
    out = tmp_path / "hops.jsonl"
    first, second = two_labels.read_text().splitlines(keepends=True)
    out.write_text(first + damage(second))
    tasks = neb_tasks([metal_hop(), metal_hop(a=4.1, shift=0.001)])
    told: list[str] = []
    labeller = NebLabeller(EMT, SETTINGS)
    label_neb(tasks, labeller, out, ThisProcess(), lambda row: told.append(row["id"]))
    assert told == ["Al-0.001"]
    assert [bare(row) for row in read_rows(out)] == [bare(row) for row in read_rows(two_labels)]
    said = capsys.readouterr().err
    assert f"{out}: line 2: it" in said
    assert why in said


def test_labels_of_another_hop_of_the_same_name_are_not_taken(
    tmp_path: Path, two_labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "hops.jsonl"
    out.write_text(two_labels.read_text())
    wider = replace(metal_hop(a=4.2), id="Al-0.0")
    labeller = NebLabeller(EMT, SETTINGS)
    (after,) = label_neb(neb_tasks([wider]), labeller, out, ThisProcess())
    assert "Al-0.0 was another hop" in capsys.readouterr().err
    assert after["barrier_eV"] != read_rows(two_labels)[0]["barrier_eV"]
    assert [row["id"] for row in read_rows(out)] == ["Al-0.0", "Al-0.001"]


def test_one_process_works_on_a_file_and_a_file_without_checksums_stays(tmp_path: Path) -> None:
    out = tmp_path / "hops.jsonl"
    tasks, labeller = neb_tasks([metal_hop()]), NebLabeller(EMT, SETTINGS)
    with locked_file(out), pytest.raises(InputError, match="another process works on it"):
        label_neb(tasks, labeller, out, ThisProcess())
    out.write_text('{"id": "mine"}\n')
    with pytest.raises(InputError, match="none of its lines carries a checksum"):
        label_neb(tasks, labeller, out, ThisProcess())
    assert out.read_text() == '{"id": "mine"}\n'


def test_the_command_counts_the_hops_that_can_be_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    write_json_lines(tmp_path / "in" / "hop.jsonl", [metal_hop()])
    (tmp_path / "in" / "bad.jsonl").write_text('{"id": "bad", "path_frac": []}\n')
    command = ["label", "neb", str(tmp_path / "in"), "--calculator", EMT.name, "--steps", "2"]
    main([*command, "--workers", "0", "--out", str(tmp_path / "out.jsonl")])
    assert "\n1 hop\n" in capsys.readouterr().err


def test_hops_of_a_crystal_keep_their_names() -> None:
    tasks = neb_tasks([rocksalt(), PROTOTYPES["LiFePO4-olivine"].build()], max_hops=1)
    assert [task.id for task in tasks] == ["LiCl#hop0", "LiFePO4-olivine#hop0"]
    disordered = neb_tasks([PROTOTYPES["Li6PS5Cl-argyrodite"].build()], max_hops=1)
    rows = NebLabeller(EMT, SETTINGS)(disordered)
    assert "the crystal is disordered" in rows[0]["reason"]


def test_killed_at_any_moment_the_command_ends_in_the_same_file(tmp_path: Path) -> None:
    hops = [metal_hop("Al", 4.0 + 0.02 * k, 0.001 * k) for k in range(3)]
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_json_lines(source, hops)
    command = [sys.executable, "-m", "ionbridge.screening.cli", "label", "neb", str(source)]
    command += ["--calculator", EMT.name, "--images", "3", "--workers", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen([*command, "--out", str(out)], env=environment, stderr=-3)
    while not out.exists():
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = read_rows(out)
    assert 1 <= len(before) <= 3
    done = subprocess.run([*command, "--out", str(out)], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    after = [json.loads(line) for line in out.read_text().splitlines()]
    assert after[: len(before)] == before
    assert [row["id"] for row in after] == [hop.id for hop in hops]


@pytest.mark.slow
def test_lithium_iron_phosphate(tmp_path: Path) -> None:
    pytest.importorskip("chgnet")
    tasks = neb_tasks([PROTOTYPES["LiFePO4-olivine"].build()], max_hops=1)
    labeller = NebLabeller(CalculatorChoice("chgnet"), NebSettings(relax_cell=True))
    (row,) = label_neb(tasks, labeller, tmp_path / "lfp.jsonl", ThisProcess())
    assert row["n_atoms"] == 111
    assert row["symmetric"]
    assert row["barrier_eV"] == pytest.approx(0.154, abs=0.02)  # measured by an independent band
