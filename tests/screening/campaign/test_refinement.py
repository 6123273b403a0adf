"""Better methods replace the network where they were asked, in the measured proportion."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ionbridge.models.barriers.hop_model import HopEnergies
from ionbridge.models.library import load
from ionbridge.screening.campaign.refine_settings import RefineSettings
from ionbridge.screening.campaign.refinement import (
    Refiner,
    better,
    joined_energies,
    refine,
    refined_energies,
)
from ionbridge.screening.campaign.settings import Objective
from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.screening.execution.shards import ShardFolder, StoredRows
from ionbridge.screening.labelling.bands.checked_calculator import BrokenCalculationError
from ionbridge.screening.labelling.bands.short_relaxation import NO_BARRIER_EV
from ionbridge.screening.prediction.conduction import Conditions, hop_network_row
from ionbridge.screening.prediction.crystals import CrystalPredictor, loaded_model
from ionbridge.screening.prediction.fidelity import (
    METHODS,
    WEIGHS_NOTHING,
    Fidelity,
    HopBarrier,
    barrier_by,
    measured_fidelities,
    with_relaxation,
)
from ionbridge.screening.prediction.hops import HopPredictor
from ionbridge.structures.configuration import ConfigurationError, from_mapping
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal, FailedRecord
from tests.screening.tiny import layered, rocksalt, save_tiny_model
from tests.tolerances import TIGHT

LENNARD_JONES = {
    "calculator": "ase.calculators.lj:LennardJones",
    "calculator_arguments": {"sigma": 2.0, "epsilon": 0.2, "rc": 5.0},
}
TRUST = Fidelity(0.0, 0.0, 1.0, 0.2, 0.1, 10)
IGNORE = Fidelity(0.0, 1.0, 0.0, 0.2, 0.1, 10)
OBJECTIVES = [Objective("percolation_barrier_eV", "min")]


def some_energies() -> HopEnergies:
    rng = np.random.default_rng(0)
    start, end = 0.1 * rng.standard_normal((2, 3, 4))
    return HopEnergies(
        start, end, 0.3 + 0.2 * rng.random((3, 4)), np.full(4, 0.1), np.ones(4, dtype=bool)
    )


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> CrystalPredictor:
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
    return CrystalPredictor(str(folder), Conditions(n_draws=8), ("Li", "Na"), device="cpu")


def candidates() -> dict[str, Crystal | FailedRecord]:
    mixed = replace(
        layered("mixed"), species=({"Li": 1.0}, {"Co": 0.5, "Ni": 0.5}, {"O": 1.0}, {"O": 1.0})
    )
    given = [rocksalt(), layered(), rocksalt("LiBr", anion="Br", a=5.5), mixed]
    return {record.id: record for record in [*given, FailedRecord("bad", "empty file")]}


class Given:
    """The candidates of the rows, by their place."""

    def at(self, places) -> dict[int, Crystal | FailedRecord]:
        return {k: list(candidates().values())[k] for k in places}


def stored(folder: Path, rows: list) -> StoredRows:
    shards = ShardFolder(folder / "screened", "f")
    shards.write(0, [row["candidate_id"] for row in rows], rows)
    return StoredRows(shards, 1)


def test_a_trusted_method_says_it_all() -> None:
    energies = some_energies()
    found = {1: HopBarrier("neb", 0.5, 0.3), 3: HopBarrier("neb", 0.2, 0.2)}
    refined = refined_energies(energies, found, {"neb": TRUST})
    assert refined.central_barrier_eV[1] == pytest.approx(0.5)
    difference = (refined.end_eV - refined.start_eV).mean(axis=0)
    assert difference[1] == pytest.approx(0.5 - 0.3)
    assert refined.central_barrier_eV[3] == pytest.approx(0.2)
    np.testing.assert_array_equal(refined.kra_eV[:, [0, 2]], energies.kra_eV[:, [0, 2]])
    assert np.ptp(refined.kra_eV[:, 1]) < TIGHT  # the members' disagreement is settled
    assert refined.aleatoric_std_eV[1] == pytest.approx(0.2 * (0.4 + 0.1))  # std x (kra + shift)


def test_a_worthless_method_changes_no_centre() -> None:
    energies = some_energies()
    refined = refined_energies(energies, {2: HopBarrier("neb", 5.0, 4.0)}, {"neb": IGNORE})
    assert refined.central_barrier_eV[2] == pytest.approx(energies.central_barrier_eV[2])


def test_a_mean_of_energies_is_one_there_and_back() -> None:
    energies = some_energies()
    mean = Fidelity(0.0, 0.5, 0.5, 0.2, 0.1, 10, in_eV=True)
    refined = refined_energies(energies, {1: HopBarrier("short", 0.9, 0.3)}, {"short": mean})
    alone = energies.central_barrier_eV[1]
    assert refined.central_barrier_eV[1] == pytest.approx(0.5 * (alone + 0.9))
    before, after = ((e.end_eV - e.start_eV).mean(axis=0)[1] for e in (energies, refined))
    assert after == pytest.approx(0.5 * (before + 0.6))


@pytest.mark.parametrize("name", ["LiFePO4-olivine", "Li6PS5Cl-argyrodite"])
def test_a_hop_and_its_crystal_get_one_barrier(name: str) -> None:
    model = load("hop-barrier")
    graph = find_hops(PROTOTYPES[name].build())
    found = {0: HopBarrier("short", 0.9, 0.6), 1: HopBarrier("short", 0.2, 0.3)}
    whole = joined_energies(model, graph, found)
    hops = [with_relaxation(graph.hops[k], result) for k, result in found.items()]
    forward = model.predict(hops).mean
    backward = model.predict([hop.reversed() for hop in hops]).mean
    np.testing.assert_allclose(whole.central_barrier_eV[:2], forward, rtol=1e-3)
    difference = (whole.end_eV - whole.start_eV).mean(axis=0)[:2]
    np.testing.assert_allclose(difference, forward - backward, atol=2e-3)
    alone, rest = (joined_energies(model, graph, {}), slice(2, None))
    np.testing.assert_array_equal(whole.kra_eV[:, rest], alone.kra_eV[:, rest])
    np.testing.assert_array_equal(whole.start_eV[:, rest], alone.start_eV[:, rest])


@pytest.mark.parametrize("name", ["LiFePO4-olivine", "Li6PS5Cl-argyrodite"])
def test_a_relaxation_without_weight_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def disagreeing(*_: object) -> HopBarrier:
        return HopBarrier("short", 0.9, 0.9, 12)

    for module in ("campaign.refinement", "prediction.hops"):
        monkeypatch.setattr(f"ionbridge.screening.{module}.barrier_by", disagreeing)
    crystal = PROTOTYPES[name].build()
    alone, joined = (
        HopPredictor("hop-barrier", method)([crystal])[0]["hops"] for method in ("network", "short")
    )
    computed = [k for k, row in enumerate(joined) if row.get("potential_calls")]
    assert computed
    key = "migration_barrier_eV"
    for k in computed:
        same = joined[k][key] == pytest.approx(alone[k][key], rel=1e-9)
        assert (WEIGHS_NOTHING in (joined[k]["note"] or "")) == same
        assert joined[k]["barrier_fidelity"] == ("network" if same else "short")
    predictor = CrystalPredictor("hop-barrier", Conditions(n_draws=8))
    (plain,) = predictor([crystal])
    (row,) = Refiner("short", predictor, RefineSettings())([crystal])
    key = "percolation_barrier_eV"
    same = row[key] == pytest.approx(plain[key], rel=1e-6)
    assert (WEIGHS_NOTHING in (row["refine_reason"] or "")) == same
    made_of = "network" if same else "short"
    assert row["barrier_fidelity"] == made_of
    assert row["barrier_error_eV"] == measured_fidelities()[made_of].mae_eV
    energies = {**plain, "barrier_fidelity": "energies"}
    assert better(energies, row) is row  # the surer model stands, its relaxation was weighed
    assert same == (name == "LiFePO4-olivine")


def test_a_relaxation_that_agrees_makes_no_crystal_less_certain() -> None:
    model = load("hop-barrier")
    graph = find_hops(PROTOTYPES["LiFePO4-olivine"].build())
    alone = joined_energies(model, graph, {})
    forward = alone.central_barrier_eV
    backward = forward - (alone.end_eV - alone.start_eV).mean(axis=0)
    agreed = {
        k: HopBarrier("short", float(there), float(back))
        for k, (there, back) in enumerate(zip(forward, backward, strict=True))
    }
    refined = joined_energies(model, graph, agreed)
    np.testing.assert_allclose(refined.central_barrier_eV, forward, rtol=1e-6)
    assert np.all(refined.aleatoric_std_eV <= alone.aleatoric_std_eV * (1 + 1e-6))
    before, after = (hop_network_row(graph, one, Conditions()) for one in (alone, refined))
    key = "percolation_barrier_std_eV"
    assert after[key] <= before[key] * (1 + 1e-6)


def test_the_shipped_fidelities_are_measured() -> None:
    fidelities = measured_fidelities()
    assert set(METHODS) <= set(fidelities)
    assert fidelities["network"].weight == 0.0
    for fidelity in fidelities.values():
        assert 0.05 < fidelity.mae_eV < 0.6
        assert 0.1 < fidelity.std < 1.5
        assert fidelity.n_hops >= 15


def test_energies_replace_the_network_on_the_percolating_path(predictor: CrystalPredictor) -> None:
    refiner = Refiner("energies", predictor, RefineSettings(**LENNARD_JONES))
    row, refused = refiner([rocksalt(), candidates()["mixed"]])
    assert row["status"] == "ok"
    assert row["barrier_fidelity"] == "energies"
    assert row["barrier_error_eV"] == measured_fidelities()["energies"].mae_eV
    graph = find_hops(predictor.classified(rocksalt()))
    plain = loaded_model(predictor.model, "cpu").crystal_energies([graph])[0]
    assert row["percolation_barrier_eV"] != pytest.approx(plain.central_barrier_eV.min(), abs=1e-4)
    assert refused["status"] == "failed"
    assert "disordered" in refused["reason"]


def test_a_short_relaxation_replaces_the_network(predictor: CrystalPredictor) -> None:
    short = {f"short_{key}": value for key, value in LENNARD_JONES.items()}
    settings = RefineSettings(**LENNARD_JONES, **short)
    crystal = predictor.classified(rocksalt())
    graph = find_hops(crystal)
    found = {
        method: barrier_by(method, graph.hops[0], graph.crystal, settings, np.inf, [])
        for method in ("energies", "short")
    }
    assert found["short"].method == "short"
    assert found["energies"].n_calls < found["short"].n_calls <= 60
    assert found["short"].forward_eV == pytest.approx(found["short"].backward_eV, abs=0.01)
    assert found["short"].forward_eV >= NO_BARRIER_EV
    (row,) = Refiner("short", predictor, settings)([rocksalt()])
    assert row["barrier_fidelity"] == "short"
    assert row["barrier_error_eV"] == measured_fidelities()["short"].mae_eV
    with pytest.raises(BrokenCalculationError, match="time is up"):
        barrier_by("short", graph.hops[0], graph.crystal, settings, 0.0, [])


def test_the_funnel_keeps_every_row_and_resumes(
    predictor: CrystalPredictor, tmp_path: Path
) -> None:
    given = candidates()
    rows = stored(tmp_path, predictor(list(given.values())))
    settings = RefineSettings(**LENNARD_JONES, n_energies=3, n_neb=1)
    finished = ShardFolder(tmp_path / "refined", "f")
    arguments = (predictor, settings, OBJECTIVES, "mean", ThisProcess(), finished)
    told: list[str] = []
    refined = list(refine(rows, Given(), *arguments, told.append))
    assert {row["candidate_id"] for row in refined} == set(given)
    by_id = {row["candidate_id"]: row for row in refined}
    assert by_id["bad"].get("barrier_fidelity") is None
    assert by_id["bad"]["reason"] == "empty file"
    tried = [row for row in refined if row.get("refine_reason") or row.get("n_refined_hops")]
    assert len(tried) == 3
    assert sum(row.get("barrier_fidelity") == "energies" for row in refined) >= 1
    again = list(refine(rows, Given(), *arguments, told.append))
    assert again == refined
    assert told[2:] == ["energies: 3 candidates, 0 to compute", "neb: 1 candidates, 0 to compute"]


def test_no_time_leaves_the_network(predictor: CrystalPredictor, tmp_path: Path) -> None:
    given = candidates()
    rows = stored(tmp_path, predictor(list(given.values())))
    settings = RefineSettings(**LENNARD_JONES, time_budget_min=1e-9)
    finished = ShardFolder(tmp_path / "refined", "f")
    refined = refine(
        rows, Given(), predictor, settings, OBJECTIVES, "mean", ThisProcess(), finished
    )
    kinds = {row.get("barrier_fidelity") for row in refined if row["status"] == "ok"}
    assert kinds == {"network"}
    assert not list(tmp_path.glob("refined/**/*.jsonl"))


def test_a_better_row_is_not_replaced_by_a_worse_one() -> None:
    neb = {"candidate_id": "x", "status": "ok", "barrier_fidelity": "neb"}
    energies = {**neb, "barrier_fidelity": "energies"}
    assert better(neb, energies) is neb
    assert better(energies, neb) is neb
    failed = {"candidate_id": "x", "status": "failed", "reason": "exploded"}
    assert better(energies, failed) == {**energies, "refine_reason": "exploded"}


def test_what_cannot_be_used_is_said_at_once(predictor: CrystalPredictor, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="refine: n_neb: expected 0 or more, got -1"):
        from_mapping(RefineSettings, {"n_neb": -1}, "campaign.yaml: refine")
    with pytest.raises(ConfigurationError, match="did you mean 'n_energies'"):
        from_mapping(RefineSettings, {"n_energie": 5}, "campaign.yaml: refine")
    settings = RefineSettings(calculator="no_such_package.x:Y")
    with pytest.raises((InputError, MissingExtraError), match="install its package"):
        refine(
            stored(tmp_path, []),
            Given(),
            predictor,
            settings,
            OBJECTIVES,
            "mean",
            ThisProcess(),
            ShardFolder(tmp_path, "f"),
        )
