"""The one estimate: every door gives the same number, and no row is judged by itself."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from ionbridge.models.library import DEFAULTS
from ionbridge.screening.planning.entries import default_catalogue
from ionbridge.screening.planning.execution_steps import execute
from ionbridge.screening.planning.inputs import read_givens
from ionbridge.screening.planning.planner import plan
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.crystals import CrystalPredictor
from ionbridge.screening.prediction.estimate import REFERENCE_SOURCE, measured, of_compositions
from ionbridge.screening.prediction.stability import with_stability
from ionbridge.structures.chemistry.known_conductors import known_conductor, known_conductors
from ionbridge.structures.crystals.symmetry import primitive_cell
from ionbridge.structures.features.conductor_descriptors import table_row
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.io.reading import write_json_lines
from ionbridge.structures.units import BOLTZMANN_EV_PER_K
from tests.screening.tiny import layered, rocksalt

NAMES = ("LiFePO4-olivine", "Li6PS5Cl-argyrodite", "Li3N-nitride", "LiCoO2-layered")


@pytest.fixture(scope="module")
def crystals():
    return {name: PROTOTYPES[name].build() for name in NAMES}


@pytest.fixture(scope="module")
def rows(crystals):
    predictor = CrystalPredictor(DEFAULTS["migration_barrier"])
    return dict(zip(NAMES, predictor(list(crystals.values())), strict=True))


def test_every_number_is_possible_and_says_where_it_comes_from(rows):
    for row in rows.values():
        assert row["status"] == "ok"
        assert -25 < row["log10_conductivity_q05"] < row["log10_conductivity_S_cm"]
        assert row["log10_conductivity_S_cm"] < row["log10_conductivity_q95"] < 0.11
        assert row["log10_diffusivity_q95"] < -4
        assert row["log10_diffusivity_std"] > 0.2
        assert 0.1 < row["activation_energy_eV"] < 1.5
        assert row["conductivity_source"] in ("composition", "hop_network", "both")
        assert row["energy_above_hull_source"] == "model energy-above-hull"


def test_what_is_out_of_the_domain_says_why(rows):
    """Tl and K were never measured in a conductor of theirs; Li in known hosts was."""
    made = (layered("tl", "Tl"), rocksalt("zns", "Zn", "S", 5.2), layered("k", "U", "K"))
    found = {row["candidate_id"]: row for row in CrystalPredictor("hop-barrier")(made)}
    for row in (*rows.values(), *found.values()):
        assert row["status"] == "ok"
        assert row["in_domain"] == (row["reason"] is None)
    hops = "hops unlike those that the model learnt from"
    assert found["tl"]["reason"] == f"no measured conductor of Li holds Tl; {hops}"
    assert found["zns"]["reason"] == "no conductor of Zn was measured"
    assert found["k"]["reason"] == f"no conductor of K was measured; {hops}"


def test_measured_values_stand_beside_known_conductors(rows):
    argyrodite = rows["Li6PS5Cl-argyrodite"]
    assert argyrodite["measured_log10_conductivity_S_cm"] == pytest.approx(-2.886)
    assert argyrodite["measured_source"] == "10.1016/j.ssi.2012.06.008"
    assert rows["LiCoO2-layered"]["measured_log10_diffusivity_cm2_s"] == pytest.approx(-9.635)
    assert len(known_conductors()) >= 40
    assert len({k.source for k in known_conductors()}) > 25


def test_what_stands_beside_a_hot_prediction_is_no_room_temperature_value(crystals):
    argyrodite = measured(table_row(crystals["Li6PS5Cl-argyrodite"]), 600.0)
    kT = BOLTZMANN_EV_PER_K * np.array([298.15, 600.0])
    cold, hot = np.exp(-0.33 / kT) / kT
    at_600 = argyrodite["measured_log10_conductivity_S_cm"]
    assert at_600 == pytest.approx(-2.886 + np.log10(hot / cold))
    assert measured(table_row(crystals["LiCoO2-layered"]), 600.0) == {}  # no slope is known


def test_a_polymorph_does_not_get_the_value_of_another(crystals):
    row = table_row(PROTOTYPES["Li7La3Zr2O12-garnet"].build())
    assert row.space_group == 230  # the measured parent compound is tetragonal
    assert known_conductor(row) is None


def test_a_reference_is_not_judged_by_its_own_paper(crystals):
    argyrodite = crystals["Li6PS5Cl-argyrodite"]
    (seen,) = of_compositions([table_row(argyrodite)])
    (unseen,) = of_compositions([table_row(argyrodite)], unseen=True)
    assert seen is not None
    assert unseen is not None
    assert seen.mean != unseen.mean
    predictor = CrystalPredictor(DEFAULTS["migration_barrier"])
    (row,) = predictor([replace(argyrodite, source=REFERENCE_SOURCE)])
    assert row["log10_conductivity_composition_S_cm"] == pytest.approx(unseen.mean, abs=0.05)


def test_any_cell_of_a_crystal_gives_the_same_composition_row(crystals):
    for crystal in crystals.values():
        whole, small = table_row(crystal), table_row(primitive_cell(crystal))
        assert whole.space_group == small.space_group
        assert whole.cell == pytest.approx(small.cell, rel=1e-6)
        assert whole.composition.almost_equals(small.composition)


@pytest.mark.parametrize("name", ["LiFePO4-olivine", "Li6PS5Cl-argyrodite"])
def test_plan_and_predict_agree_to_the_last_digit(tmp_path, crystals, rows, name):
    path = tmp_path / "crystal.jsonl"
    write_json_lines(path, [crystals[name]])
    made = plan("conductivity", read_givens([str(path)]), default_catalogue())
    execute(made, tmp_path / "plan")
    with (tmp_path / "plan" / "result.csv").open() as stream:
        (found,) = csv.DictReader(stream)
    assert float(found["log10_conductivity_S_cm"]) == pytest.approx(
        rows[name]["log10_conductivity_S_cm"], rel=1e-5
    )


def test_temperature_moves_conductivity_along_its_activation_energy(crystals):
    crystal = crystals["Li6PS5Cl-argyrodite"]
    cold, hot = (
        CrystalPredictor(DEFAULTS["migration_barrier"], Conditions(t))([crystal])[0]
        for t in (300.0, 500.0)
    )
    rise = hot["log10_conductivity_S_cm"] - cold["log10_conductivity_S_cm"]
    slope = (rise + math.log10(500 / 300)) * math.log(10) * 8.617333262e-5 / (1 / 300 - 1 / 500)
    assert slope == pytest.approx(cold["activation_energy_eV"], rel=1e-3)


def test_a_crystal_with_too_many_hops_has_its_composition(crystals, monkeypatch):
    """The limit costs the hops, not the row, and the row says so."""
    monkeypatch.setattr("ionbridge.structures.hops.sites.USUAL_ORBITS", 0)
    monkeypatch.setattr("ionbridge.structures.hops.sites.MAX_ORBITS", 0)
    predictor = CrystalPredictor(DEFAULTS["migration_barrier"])
    (row,) = predictor([crystals["Li6PS5Cl-argyrodite"]])
    assert row["status"] == "ok"
    assert row["conductivity_source"] == "composition"
    assert row["percolation_barrier_eV"] is None
    assert "symmetry-unique hops" in row["note"]
    assert "measured compositions alone" in row["note"]
    assert row["log10_diffusivity_cm2_s"] < row["log10_conductivity_S_cm"]


def test_a_misplaced_atom_is_marked(crystals):
    good = crystals["LiCoO2-layered"]
    frac = good.frac.copy()
    oxygen = next(i for i, site in enumerate(good.species) if "O" in site)
    frac[oxygen] += np.array([0.1, 0.0, 0.05])
    marked = with_stability(replace(good, frac=frac))
    assert "global instability index" in marked.notes[-1]
    assert not with_stability(good).notes
    assert marked.extra["global_instability_index_vu"] > 0.5
