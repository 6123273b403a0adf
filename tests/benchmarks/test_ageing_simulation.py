"""Simulated ageing keeps its lithium, follows the closed forms, and survives interruptions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ageing_parameters import ADDITIONS, added, ageing_parameters
from benchmarks.ageing_simulation import (
    LOSSES,
    RANGES,
    RECORDED,
    AgeingCell,
    AgeingRun,
    Numerics,
    design,
    load_runs,
    recorded_cycles,
    save_runs,
    simulate_ageing,
    simulate_runs,
    training_design,
)
from ionbridge.models.cells.graphite import SEI_START_M, sei_growth_m
from ionbridge.screening.cell.ageing_base import BASES, LCO, LFP
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.structures.units import FARADAY_C_PER_MOL, SECONDS_PER_HOUR

pytest.importorskip("pybamm")

FEW = Numerics(n_cycles=2)
HARSH = {LCO: (1.0, 2.0, 318.15, 1.0), LFP: (2.0, 1.0, 278.15, 0.8)}


@pytest.fixture(scope="module")
def cells() -> dict[str, AgeingCell]:
    return {name: AgeingCell(name, FEW) for name in BASES}


@pytest.mark.parametrize("base_cell", list(BASES))
def test_lithium_that_leaves_the_particles_is_accounted_for(
    cells: dict[str, AgeingCell], base_cell: str
) -> None:
    cell, run = cells[base_cell], AgeingRun("a", base_cell, *HARSH[base_cell])
    before, _ = cell.cycle(cell.start(run.temperature_K), run)
    after, _ = cell.cycle(before, run)
    health = [cell.health(state, run.temperature_K) for state in (before, after)]
    lost = sum(health[1][name] - health[0][name] for name in LOSSES)
    held, salt = (
        [cell.value(state, f"Total lithium in {where} [mol]") for state in (before, after)]
        for where in ("particles", "electrolyte")
    )
    left = (held[0] - held[1]) * FARADAY_C_PER_MOL / SECONDS_PER_HOUR
    assert left == pytest.approx(lost, rel=0.01)
    assert salt[1] == pytest.approx(salt[0])


def test_sei_grows_as_its_law_says() -> None:
    row = simulate_ageing(AgeingRun("a", LFP, 0.5, 0.5, 298.15, 0.5), FEW)
    assert row["status"] == "ok"
    hours = np.array(row["elapsed_h"])[1:]
    ratio = np.array(row["sei_Ah"])[1:] / sei_growth_m(hours, np.array(298.15), SEI_START_M)
    assert ratio[0] == pytest.approx(ratio[-1], rel=0.1)  # losses count from cycle 0, not from new
    assert np.all(np.diff(row["capacity_Ah"]) < 0)
    assert {len(row[name]) for name in RECORDED} == {3}


@pytest.mark.slow
def test_skipping_cycles_changes_nothing() -> None:
    run = AgeingRun("a", LFP, 1.0, 1.0, 298.15, 0.8)
    numerics = Numerics(n_cycles=60)
    skipped = simulate_ageing(run, numerics)
    solved = simulate_ageing(run, replace(numerics, every_cycle=True))
    for name in LOSSES:
        assert skipped[name][-1] == pytest.approx(solved[name][-1], rel=0.01)


def test_runs_resume_where_they_stopped(tmp_path: Path) -> None:
    runs = [AgeingRun(f"r{k}", LFP, 1.0, 1.0, 298.15, 0.3) for k in range(2)]
    one = replace(FEW, n_cycles=1)
    rows = simulate_runs(runs, tmp_path, one, ThisProcess())
    first = tmp_path / "shards" / "000000.jsonl"
    (tmp_path / "shards" / "000001.jsonl").unlink()
    before = first.stat().st_mtime_ns
    again = simulate_runs(runs, tmp_path, one, ThisProcess())
    assert first.stat().st_mtime_ns == before
    assert [row["id"] for row in again] == ["r0", "r1"]
    assert again[1]["sei_Ah"] == rows[1]["sei_Ah"]
    with pytest.raises(InputError, match="other settings"):
        simulate_runs(runs, tmp_path, FEW, ThisProcess())


def test_every_prefix_of_the_design_is_balanced() -> None:
    runs = training_design()
    assert len(runs) == 84
    for n in (12, 36, 72):
        share = np.mean([run.base_cell == LFP for run in runs[:n]])
        assert share == pytest.approx(1 / 3)
        for name, (low, high) in RANGES.items():
            values = [getattr(run, name) for run in runs[:n]]
            assert min(values) < low + 0.2 * (high - low)
            assert max(values) > high - 0.3 * (high - low)
    assert design(LFP, 4, seed=1) == design(LFP, 8, seed=1)[:4]


def test_recorded_cycles_end_with_the_last() -> None:
    for n in (1, 2, 60, 500):
        cycles = recorded_cycles(n)
        assert cycles[-1] == n
        assert list(cycles) == sorted(set(cycles))


def test_shipped_runs_are_all_there(tmp_path: Path) -> None:
    rows = load_runs()
    assert sorted({row["base_cell"] for row in rows}) == sorted(BASES)
    assert all(row["status"] == "ok" and row["cycle"][-1] == 500 for row in rows)
    for row in rows:
        for name in LOSSES:
            assert np.all(np.diff(row[name]) > 0), (row["id"], name)
    save_runs(rows, tmp_path / "again.jsonl.gz")
    assert load_runs(tmp_path / "again.jsonl.gz") == rows


def test_additions_are_all_that_differs_from_the_published_set() -> None:
    import pybamm

    for name, base in BASES.items():
        ours, theirs = ageing_parameters(name), pybamm.ParameterValues(base.base)
        assert len(added(name)) == len(set(added(name)))
        for key in theirs.keys():  # noqa: SIM118
            if key not in added(name):
                assert ours[key] is theirs[key] or ours[key] == theirs[key], key
        assert all(addition.reason for addition in ADDITIONS[name])


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="did you mean"):
        ageing_parameters("Prada2013_OKane_ageing")
    with pytest.raises(InputError, match="temperature_K"):
        AgeingRun("x", LFP, 1.0, 1.0, 25.0, 0.5)
    with pytest.raises(InputError, match="depth_of_discharge"):
        AgeingRun("x", LFP, 1.0, 1.0, 298.0, 80.0)
