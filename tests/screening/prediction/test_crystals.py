"""Batches of crystals: as many rows out as in, whatever is among them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ionbridge.screening.campaign.filters import Filters
from ionbridge.screening.campaign.settings import FilterSettings
from ionbridge.screening.errors import InputError
from ionbridge.screening.prediction import crystals as module
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.crystals import CrystalPredictor
from ionbridge.structures.records import Crystal, FailedRecord
from tests.screening.tiny import layered, rocksalt
from tests.small_crystals import rewritten
from tests.tolerances import INVARIANCE


def predictor(model: Path, **changes: object) -> CrystalPredictor:
    return replace(CrystalPredictor(str(model), Conditions(n_draws=8)), **changes)


def test_good_and_bad_together(tiny_model: Path) -> None:
    crystals = [
        layered(),
        FailedRecord("unread", "file is empty", "X"),
        replace(rocksalt("none"), species=({"Cs": 1.0}, {"Cl": 1.0})),
        replace(layered("touching"), frac=np.zeros((4, 3))),
        replace(layered("metal"), species=({"Li": 1.0}, {"Co": 1.0}, {"Ni": 1.0}, {"Ni": 1.0})),
        rocksalt(),
    ]
    rows = predictor(tiny_model)(crystals)
    assert [r["candidate_id"] for r in rows] == [c.id for c in crystals]
    assert [r["status"] for r in rows] == ["ok", "failed", "failed", "failed", "failed", "ok"]
    assert rows[1]["reason"] == "file is empty"
    assert "no working ion" in rows[2]["reason"]
    assert all(r["reason"] and "\n" not in r["reason"] for r in rows[1:5])
    assert rows[0]["role"] == "electrode"
    assert rows[5]["role"] == "electrolyte"


def test_a_row_does_not_depend_on_its_batch(tiny_model: Path) -> None:
    crystals = [layered(), rocksalt(), layered("NaMnO2", "Mn", "Na")]
    together = predictor(tiny_model)(crystals)
    for crystal, row in zip(crystals, together, strict=True):
        (alone,) = predictor(tiny_model)([crystal])
        assert alone.keys() == row.keys()
        for key, value in row.items():
            if isinstance(value, float):
                assert alone[key] == pytest.approx(value, abs=100 * INVARIANCE), key
            else:
                assert alone[key] == value, key


def test_one_crystal_however_it_is_written_down(tiny_model: Path) -> None:
    """Another id, order of atoms, origin, setting or orientation is the same crystal: one row."""
    crystal = replace(layered(), family="layered")
    order = [2, 0, 3, 1]
    permuted = replace(
        crystal,
        id="permuted",
        species=tuple(crystal.species[i] for i in order),
        frac=(crystal.frac[order] + [0.1, 0.2, 0.3]) % 1.0,
    )
    doubled = replace(
        crystal,
        id="doubled",
        lattice=crystal.lattice * [[2.0], [1.0], [1.0]],
        species=crystal.species * 2,
        frac=np.vstack([(crystal.frac + np.array([k, 0, 0])) / [2, 1, 1] for k in range(2)]),
    )
    named = replace(crystal, id="another id")
    turned = [
        rewritten(crystal, np.array(rows), np.array([0.7, -1.9, 3.1]), seed, noise_A=1e-7)
        for seed, rows in enumerate(
            ([[1, 1, 0], [0, 1, 1], [0, 0, 1]], [[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
        )
    ]
    first, *others = predictor(tiny_model)([crystal, named, permuted, doubled, *turned])
    for other in others:
        for key, value in first.items():
            if isinstance(value, float):
                assert other[key] == pytest.approx(value, rel=INVARIANCE, abs=INVARIANCE), key
            elif key not in ("candidate_id", "n_sites", "fast_direction"):
                assert other[key] == value, key


def test_filtered_rows_have_a_reason_and_no_prediction(tiny_model: Path) -> None:
    filters = Filters(FilterSettings(role="electrolyte", elements_excluded=("Cl",)))
    rows = predictor(tiny_model, filters=filters)(
        [layered(), rocksalt(), rocksalt("b", anion="Br")]
    )
    assert [r["status"] for r in rows] == ["filtered", "filtered", "ok"]
    assert rows[0]["reason"] == "role is electrode, wanted electrolyte"
    assert rows[1]["reason"] == "holds Cl, in elements_excluded"
    assert rows[0]["log10_diffusivity_cm2_s"] is None


def test_working_ions_of_interest(tiny_model: Path) -> None:
    mixed = replace(layered("mixed"), species=({"Li": 0.5, "Na": 0.5}, *layered().species[1:]))
    only_sodium = predictor(tiny_model, working_ions=("Na",))
    rows = only_sodium([mixed, layered(), layered("own", working_ion="Li")])
    assert rows[0]["working_ion"] == "Na"
    assert rows[1]["reason"] == "working ion Li, not in Na"
    assert rows[2]["reason"] == "working ion Li, not in Na"


def test_a_slow_crystal_is_a_row(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.find_hops

    def slow(crystal: Crystal) -> object:
        while crystal.id == "slow":
            pass
        return real(crystal)

    monkeypatch.setattr(module, "find_hops", slow)
    rows = predictor(tiny_model, time_limit_s=2.0)([layered("slow"), layered()])
    assert [r["status"] for r in rows] == ["ok", "ok"]
    assert rows[0]["note"].startswith("took longer than 2 s; conductivity from measured")
    assert rows[0]["percolation_barrier_eV"] is None


def test_what_is_no_list_of_crystals_is_one_line(tiny_model: Path) -> None:
    structure = layered().to_pymatgen()
    for given, what in ((structure, "PeriodicSite in a Structure"), ([structure], "Structure")):
        with pytest.raises(InputError, match=f"got a {what}.*ionbridge.predict takes"):
            CrystalPredictor(str(tiny_model))(given)


def test_a_worker_imports_nothing_that_only_learning_needs() -> None:
    """Each of these costs every worker a second or two before its first crystal."""
    code = (
        "import sys; from ionbridge.screening.prediction.crystals import loaded_model; "
        "import ionbridge.screening.prediction.files; loaded_model('hop-barrier'); "
        "print(*{'torch_geometric', 'torch._dynamo', 'sympy', 'sklearn', 'matminer', 'scipy.stats'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
