"""Campaigns from file to table: rows in = rows out, killed and resumed, changed and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from ionbridge import Campaign
from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import COLUMNS
from ionbridge.structures.io.reading import write_json_lines
from tests.screening.tiny import layered, rocksalt

METALS = ("Co", "Ni", "Mn", "Fe", "V", "Cr", "Ti", "Al", "Ga", "In", "Sc", "Rh")


def write_campaign(folder: Path, model: Path, n: int = 12, **lines: str) -> Path:
    """A campaign over n small crystals, with a bad one and a duplicate among them."""
    crystals = [layered(f"c{k} {METALS[k % 12]}", METALS[k % 12]) for k in range(max(n, 12))]
    crystals[3] = rocksalt("halide")
    crystals[5] = rocksalt("no ion", ion="Cs")
    crystals[7] = layered("c0 Co", "Ni")
    write_json_lines(folder / "pool.jsonl", crystals[:n])
    text = {
        "name": "test",
        "model": str(model),
        "n_draws": "8",
        "shard_size": "4",
        "n_paths": "2",
        "candidates": "{files: [pool.jsonl]}",
        **lines,
    }
    path = folder / "campaign.yaml"
    path.write_text("".join(f"{k}: {v}\n" for k, v in text.items()), encoding="utf-8")
    return path


def table(folder: Path) -> str:
    return (folder / "ranked.csv").read_text(encoding="utf-8")


def test_rows_in_rows_out_and_all_files(tmp_path: Path, tiny_model: Path) -> None:
    campaign = Campaign.from_yaml(write_campaign(tmp_path, tiny_model))
    results = campaign.run(tmp_path / "out", workers=0).results
    assert len(results) == 12
    assert list(results.columns) == list(COLUMNS)
    assert dict(results["status"].value_counts()) == {"ok": 10, "failed": 2}
    assert results["rank"].dropna().tolist() == list(range(1, 11))
    assert results["score"].dropna().is_monotonic_decreasing
    failed = results[results["status"] == "failed"].set_index("candidate_id")["reason"]
    assert failed["c0 Co"] == "duplicate id"
    assert "no working ion" in failed["no ion"]
    written = pd.read_csv(tmp_path / "out" / "ranked.csv")
    assert written["candidate_id"].tolist() == results["candidate_id"].tolist()
    record = json.loads((tmp_path / "out" / "campaign.json").read_text())
    assert record["status"] == "complete"
    assert record["counts"] == {"ok": 10, "filtered": 0, "failed": 2}
    assert record["reasons"]["failed"]["duplicate id"] == 1
    assert len(record["model"]["sha256"]) == 64
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    paths = sorted(p.name for p in (tmp_path / "out" / "paths").iterdir())
    assert any(p.startswith("001_") and p.endswith(".cif") for p in paths)
    assert any(p.startswith("002_") and p.endswith(".extxyz") for p in paths)


def test_workers_and_reruns_do_not_change_the_table(tmp_path: Path, tiny_model: Path) -> None:
    path = write_campaign(tmp_path, tiny_model)
    Campaign.from_yaml(path).run(tmp_path / "a", workers=0)
    Campaign.from_yaml(path).run(tmp_path / "b", workers=2)
    Campaign.from_yaml(path).run(tmp_path / "b", resume=True, workers=0)
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_killed_and_resumed_gives_the_same_table(tmp_path: Path, tiny_model: Path) -> None:
    path = write_campaign(tmp_path, tiny_model, n=48, shard_size="2")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "ionbridge.screening.cli",
        "screen",
        str(path),
        "--out",
        str(out),
    ]
    process = subprocess.Popen([*command, "--workers", "1"], start_new_session=True)
    shards = out / "shards"
    deadline = time.monotonic() + 600  # only a hang takes so long
    while len(list(shards.glob("[0-9]*.jsonl")) if shards.is_dir() else []) < 2:
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    n_left = 24 - len(list(shards.glob("[0-9]*.jsonl")))
    assert n_left > 0
    assert not (out / "ranked.csv").exists()
    campaign = Campaign.from_yaml(path).run(out, resume=True, workers=0)
    record = json.loads((out / "campaign.json").read_text())
    assert record["n_predicted_in_this_run"] == 2 * n_left
    assert len(campaign.results) == 48
    Campaign.from_yaml(path).run(tmp_path / "whole", workers=0)
    assert table(out) == table(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("to", ["the program", "its process group"])
def test_interrupted_twice_leaves_nobody_and_goes_on(
    tmp_path: Path, tiny_model: Path, to: str
) -> None:
    """Ctrl-C, and again while the workers are being ended: one line, and no process stays."""
    path = write_campaign(tmp_path, tiny_model, n=200, shard_size="2")
    out = tmp_path / "out"
    mark = f"of {tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-m", "ionbridge", "screen", str(path), "--out", str(out)],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "IONBRIDGE_TEST_MARK": mark},
    )
    shards = out / "shards"
    while len(list(shards.glob("[0-9]*.jsonl")) if shards.is_dir() else []) < 2:
        assert process.poll() is None, "finished before it could be interrupted"
        time.sleep(0.01)
    for _ in range(2):
        if to == "the program":
            process.send_signal(signal.SIGINT)
        else:
            os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert [line for line in said.splitlines() if line.strip()] == [
        "ionbridge: interrupted; the same command with --resume goes on from here"
    ]
    deadline = time.monotonic() + 600  # only an orphan takes so long
    while any(_started_with(mark)):
        assert time.monotonic() < deadline, list(_started_with(mark))
        time.sleep(0.1)
    Campaign.from_yaml(path).run(out, resume=True, workers=0)
    Campaign.from_yaml(path).run(tmp_path / "whole", workers=0)
    assert table(out) == table(tmp_path / "whole")


def _started_with(mark: str) -> Iterator[str]:
    """Processes that have a text in their environment, which their children inherit."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                yield (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has just gone, or is somebody else's
            continue


def test_what_was_changed_is_named(tmp_path: Path, tiny_model: Path) -> None:
    path = write_campaign(tmp_path, tiny_model, n=4)
    out = tmp_path / "out"
    Campaign.from_yaml(path, limit=2).run(out, workers=0)
    with pytest.raises(InputError, match="not empty; pass --resume"):
        Campaign.from_yaml(path, limit=2).run(out, workers=0)
    write_campaign(tmp_path, tiny_model, n=4, temperature_K="400")
    with pytest.raises(InputError, match="changed since: temperature_K"):
        Campaign.from_yaml(path, limit=2).run(out, resume=True, workers=0)
    write_campaign(tmp_path, tiny_model, n=4)
    write_json_lines(tmp_path / "pool.jsonl", [rocksalt(), layered()])
    with pytest.raises(InputError, match="changed since: data"):
        Campaign.from_yaml(path, limit=2).run(out, resume=True, workers=0)


def test_filters_and_probability_of_two_targets(tmp_path: Path, tiny_model: Path) -> None:
    path = write_campaign(
        tmp_path,
        tiny_model,
        rank_by="probability",
        filters="{role: electrolyte}",
        objectives="[{column: log10_conductivity_S_cm, target: -6}, "
        "{column: percolation_barrier_eV, goal: min, target: 0.5}]",
    )
    results = Campaign.from_yaml(path).run(tmp_path / "out", workers=0).results
    ok = results[results["status"] == "ok"]
    assert set(ok["role"]) == {"electrolyte"}
    assert "halide" in set(ok["candidate_id"])
    assert ok["score"].between(0, 1).all()
    assert ok["pareto_front"].min() == 1
    assert results["reason"].str.contains("role is electrode").sum() > 0


def test_a_prescreen_in_a_campaign(tmp_path: Path, tiny_model: Path) -> None:
    """Counted, in the report, in the dry run, and the same bytes after a resume."""
    prescreen = "{max_charge_imbalance: 0.05, min_log10_conductivity_S_cm: 5}"
    path = write_campaign(tmp_path, tiny_model, prescreen=prescreen)
    results = Campaign.from_yaml(path).run(tmp_path / "out", workers=0).results
    discarded = results[results["status"] == "filtered"]
    assert "halide" in set(discarded["candidate_id"])
    assert discarded["reason"].str.startswith("prescreen: ").all()
    assert set(results[results["status"] == "ok"]["role"]) == {"electrode"}
    record = json.loads((tmp_path / "out" / "campaign.json").read_text(encoding="utf-8"))
    assert record["counts"]["filtered"] == len(discarded)
    assert sum(record["reasons"]["filtered"].values()) == len(discarded)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(reason.replace("'", "&#39;") in page for reason in record["reasons"]["filtered"])
    before = table(tmp_path / "out")
    next((tmp_path / "out" / "shards").glob("*.jsonl")).unlink()
    Campaign.from_yaml(path).run(tmp_path / "out", resume=True, workers=2)
    assert table(tmp_path / "out") == before
    cost = Campaign.from_yaml(path).estimate(workers=1)
    assert cost.prescreened is not None
    n_tried, n_passed = cost.prescreened
    assert n_tried == 12
    assert n_passed == 10 - len(discarded)
    assert f"prescreen: {n_passed} of 12 tried go on" in str(cost)


def test_an_estimate_without_running(tmp_path: Path, tiny_model: Path) -> None:
    cost = Campaign.from_yaml(write_campaign(tmp_path, tiny_model)).estimate(workers=2)
    assert cost.n_candidates == 12
    assert cost.n_timed == 12
    assert cost.seconds == pytest.approx(12 * cost.seconds_each / 2)


def test_cells_without_the_package_for_them_are_left_out_and_named(
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "pybamm", None)  # as where the wheel alone is installed
    campaign = write_campaign(tmp_path, tiny_model, 4, cell="{top_n: 2}")
    assert main(["screen", str(campaign), "--out", str(tmp_path / "out"), "--workers", "0"]) == 0
    assert "no cell columns" in capsys.readouterr().err
    assert "ok" in table(tmp_path / "out")
    record = json.loads((tmp_path / "out" / "campaign.json").read_text(encoding="utf-8"))
    assert record["status"] == "complete"
    assert "ionbridge[cell]" in record["left_out"]
