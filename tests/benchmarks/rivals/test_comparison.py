"""Rivals: folds that leak nothing, tuning blind to test labels, networks with their symmetries."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.rivals import comparison as rivals
from benchmarks.rivals.graph_rivals import (
    NETWORKS,
    HopGraphs,
    NetworkFit,
    bonds_of,
    graphs_of,
    joined,
)
from benchmarks.rivals.rival_models import OURS_UNTUNED, RIVALS, SIMPLE, our_inputs, ours_with
from benchmarks.rivals.rival_table import N_FOLDS, PATHS, Row, Table
from ionbridge.models.barriers.hop_barrier import HopBarrierModel
from ionbridge.models.regressors.gaussian_process import PathProcess
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.descriptors import ION_FEATURES, PATH_FEATURES

pytestmark = pytest.mark.slow

EXACT = 1e-9
SINGLE = 1e-5
N_FEATURES = 5
ELEMENTS = np.random.default_rng(1).normal(size=(101, N_FEATURES))
SMALL: Mapping[str, Any] = {
    "width": 8,
    "dropout": 0.0,
    "learning_rate": 0.02,
    "weight_decay": 0.0,
    "batch_size": 8,
    "path": "given",
    "n_layers": 1,
    "n_line_layers": 1,
}
N_GEOMETRY = len(PATH_FEATURES) + len(ION_FEATURES)


def synthetic(n: int = 60, seed: int = 0) -> Table:
    """Hops of 12 families and 20 frameworks whose barriers follow two of their numbers."""
    rng = np.random.default_rng(seed)
    scalars = rng.normal(size=(n, 15))
    view = rng.normal(size=(n, 5))
    view[::7] = np.nan
    barrier = np.exp(0.5 * scalars[:, 0] - 0.7) + 0.05 * rng.random(n)
    clusters = [
        np.column_stack([rng.integers(1, 30, 6), rng.normal(scale=2.0, size=(6, 3))])
        for _ in range(len(PATHS) * n * 3)
    ]
    rows = tuple(
        Row(f"hop-{k}", f"family {k % 12}", f"framework {k % 20}", "Li", {"sys_name": str(k)})
        for k in range(n)
    )
    arrays = {
        **{f"geometry_{path}": rng.normal(size=(n, N_GEOMETRY)) for path in PATHS},
        "composition_few": rng.normal(size=(n, 3)),
        "composition_all": rng.normal(size=(n, 4)),
        "scalars": scalars,
        "view": view,
        "learned": rng.normal(size=(n, 2)),
        "bond_valence_eV": 2.0 * barrier,
        "chgnet_eV": np.where(np.arange(n) % 7 == 0, np.nan, 3.0 * barrier),
        "mace_eV": barrier,
        "clusters": np.concatenate(clusters),
        "cluster_start": np.cumsum([0, *map(len, clusters)]),
        "elements": ELEMENTS,
    }
    return Table(rows, barrier, arrays, "none")


def hop(seed: int, n_atoms: int = 7) -> list[tuple[np.ndarray, np.ndarray]]:
    """Three stations of a hop in an amorphous host."""
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(1, 30, n_atoms), rng.normal(scale=2.5, size=(n_atoms, 3))) for _ in range(3)
    ]


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name](N_FEATURES + 1, SMALL).eval()


def test_folds_share_neither_family_nor_framework_and_hold_every_row_once():
    table = synthetic()
    tested = []
    for split in table.folds():
        for key in ("family", "framework"):
            sides = [{getattr(table.rows[i], key) for i in p} for p in (split.train, split.test)]
            assert not sides[0] & sides[1]
        everything = np.concatenate([split.train, split.test, split.dropped])
        assert sorted(everything) == list(range(len(table.rows)))
        tested.extend(split.test)
        for inner in table.inner_folds(split.train, 3):
            assert set(inner.train) | set(inner.test) == set(split.train)
            assert not {table.rows[i].framework for i in inner.train} & {
                table.rows[i].framework for i in inner.test
            }
    assert sorted(tested) == list(range(len(table.rows)))


def test_a_table_comes_back_from_its_file(tmp_path):
    table = synthetic(12)
    table.save(tmp_path / "table.npz")
    again = Table.load(tmp_path / "table.npz")
    assert [(r.id, r.framework, r.extra["sys_name"]) for r in again.rows] == [
        (r.id, r.framework, r.extra["sys_name"]) for r in table.rows
    ]
    for name, values in table.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values)
    np.testing.assert_array_equal(
        again.cluster("relaxed", 3, 1)[1], table.cluster("relaxed", 3, 1)[1]
    )


def test_untuned_process_is_the_shipped_one():
    table, train, test = synthetic(), np.arange(40), np.arange(40, 60)
    log = LogShift(0.1)
    scalars = table.arrays["scalars"]
    shipped = PathProcess(scalars[train], log.forward(table.barrier_eV[train]))
    own = RIVALS["process"]
    found = own.predict(table, train, test, own.untuned)
    np.testing.assert_allclose(found, log.inverse(shipped.predict(scalars[test])[0]), atol=SINGLE)


def test_ours_untuned_is_the_shipped_recipe():
    table, train, test = synthetic(), np.arange(40), np.arange(40, 60)
    model = HopBarrierModel()
    inputs = our_inputs(table)
    model.fit_inputs(inputs.rows(train), table.barrier_eV[train])
    found = ours_with(table, train, test, OURS_UNTUNED)
    np.testing.assert_allclose(found, model.predict_inputs(inputs.rows(test)).mean, atol=SINGLE)


def test_a_line_undoes_a_scaled_energy_and_the_raw_one_stays():
    table, train, test = synthetic(), np.arange(40), np.arange(40, 60)
    there = np.isfinite(table.arrays["chgnet_eV"][test])
    line = SIMPLE["chgnet-line"](table, train, test)
    np.testing.assert_allclose(line[there], table.barrier_eV[test][there], atol=SINGLE)
    median = np.median(table.barrier_eV[train])
    np.testing.assert_allclose(line[~there], median)
    np.testing.assert_allclose(
        SIMPLE["bond-valence"](table, train, test), 2.0 * table.barrier_eV[test]
    )


def test_bonds_and_angles_of_a_right_angle():
    corner = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    edge, length, angle, cosine = bonds_of(corner)
    assert sorted(length.tolist()) == pytest.approx([2, 2, 2, 2, 8**0.5, 8**0.5])
    for (first, second), value in zip(angle.T, cosine, strict=True):
        assert edge[1, first] == edge[0, second]  # the bonds meet
        assert edge[0, first] != edge[1, second]  # and do not go back
        at_corner = edge[1, first] == 0
        assert value == pytest.approx(0.0 if at_corner else 0.5**0.5)
    assert angle.shape == (2, 6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_sees_no_rotation_order_or_direction(name):
    net, stations = network(name), hop(0)
    rng = np.random.default_rng(2)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = np.concatenate([[0], 1 + rng.permutation(6)])
    others = [
        [(numbers, position @ turn) for numbers, position in stations],
        [(numbers[order], position[order]) for numbers, position in stations],
        stations[::-1],
    ]
    with torch.no_grad():
        expected = net(joined([graphs_of(stations, ELEMENTS)]))
        for other in others:
            torch.testing.assert_close(
                net(joined([graphs_of(other, ELEMENTS)])), expected, atol=SINGLE, rtol=SINGLE
            )
        moved = [stations[0], stations[2], stations[1]]  # another saddle is another hop
        assert (net(joined([graphs_of(moved, ELEMENTS)])) - expected).abs().item() > 10 * SINGLE


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_is_its_members(name):
    net = network(name)
    graphs = [graphs_of(hop(k, 4 + k), ELEMENTS) for k in range(3)]
    with torch.no_grad():
        alone = torch.cat([net(joined([graph])) for graph in graphs])
        torch.testing.assert_close(net(joined(graphs)), alone, atol=SINGLE, rtol=SINGLE)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_eight_hops_by_heart(name):
    graphs: Mapping[str, list[HopGraphs]] = {
        "given": [graphs_of(hop(k), ELEMENTS) for k in range(8)]
    }
    barrier = np.linspace(0.2, 1.6, 8)
    rows = np.arange(8)
    fit = NetworkFit(name, SMALL, graphs, barrier, rows, 0, "cpu", epochs=150).run()
    before = np.abs(barrier - barrier.mean()).mean()
    assert np.abs(fit.predict(rows) - barrier).mean() < 0.25 * before


def run_of(work: Path, n_trials: int = 3) -> rivals.Run:
    return rivals.Run(work, None, "cpu", time.monotonic() + 600, n_trials, 2)


@pytest.mark.parametrize("name", ["trees-tuned", "cgcnn-tuned"])
def test_tuning_sees_no_label_of_the_test(name, tmp_path):
    found = []
    for k, factor in enumerate((1.0, 10.0)):
        table = synthetic()
        table.barrier_eV[table.folds()[0].test] *= factor
        work = tmp_path / str(k)
        work.mkdir()
        table.save(work / "table.npz")
        rivals.work_off([name], [0], run_of(work), 1)
        [row] = rivals.read(work / "rows.jsonl")
        found.append({key: row[key] for key in ("chosen", "inner_mae_eV", "mean_eV", "trials")})
    assert found[0] == found[1]


def test_a_model_that_breaks_takes_no_other_with_it(tmp_path, monkeypatch, capsys):
    def broken(*args: Any) -> np.ndarray:
        raise RuntimeError("no memory")

    synthetic().save(tmp_path / "table.npz")
    monkeypatch.setitem(SIMPLE, "global-mean", broken)
    names = ["global-mean", "bond-valence"]
    assert rivals.work_off(names, range(N_FOLDS), run_of(tmp_path), 1) == N_FOLDS
    assert "global-mean 0 RuntimeError: no memory" in capsys.readouterr().err
    assert {row["model"] for row in rivals.read(tmp_path / "rows.jsonl")} == {"bond-valence"}


def test_what_is_finished_is_not_run_again_and_a_torn_line_is(tmp_path):
    table = synthetic()
    table.save(tmp_path / "table.npz")
    names = ["global-mean", "bond-valence"]
    rivals.work_off(names, range(N_FOLDS), run_of(tmp_path), 1)
    file = tmp_path / "rows.jsonl"
    lines = file.read_text().splitlines()
    assert len(lines) == 2 * N_FOLDS
    marked = {**json.loads(lines[0]), "seconds": -1.0}
    file.write_text("\n".join([json.dumps(marked), *lines[1:-1], lines[-1][:20]]) + "\n")
    rivals.work_off(names, range(N_FOLDS), run_of(tmp_path), 1)
    rows = rivals.read(file)
    assert len(rows) == 2 * N_FOLDS
    assert rows[0]["seconds"] == -1.0


def test_a_tuning_cut_off_by_the_clock_goes_on(tmp_path):
    table = synthetic(40)
    table.save(tmp_path / "table.npz")
    rivals.work_off(["cgcnn-tuned"], [0], run_of(tmp_path, 2), 1)
    (tmp_path / "rows.jsonl").unlink()
    late = rivals.Run(tmp_path, None, "cpu", time.monotonic() - 1, 3, 2)
    rivals.work_off(["cgcnn-tuned"], [0], late, 1)
    assert rivals.read(tmp_path / "rows.jsonl") == []
    rivals.work_off(["cgcnn-tuned"], [0], run_of(tmp_path, 3), 1)
    [row] = rivals.read(tmp_path / "rows.jsonl")
    assert sum(row["trials"].values()) == 3
