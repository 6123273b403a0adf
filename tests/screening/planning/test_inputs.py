"""Files, chemistry names and values become rows; contradictions and wrong units are refused."""

import json
import math

import pytest

from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.inputs import read_given, read_givens
from ionbridge.structures.io.reading import write_json_lines
from tests.screening.tiny import layered, tiny_hops


class TestValues:
    @pytest.mark.parametrize(
        ("text", "name", "column", "value"),
        [
            ("diffusivity=1e-10cm2/s", "diffusivity", "log10_diffusivity_cm2_s", -10.0),
            ("diffusivity=1e-14 m2/s", "diffusivity", "log10_diffusivity_cm2_s", -10.0),
            ("conductivity=1mS/cm", "conductivity", "log10_conductivity_S_cm", -3.0),
            ("voltage=3.4V", "voltage", "voltage_V", 3.4),
            ("cycle_life=1000cycles", "cycle_life", "log10_cycle_life", 3.0),
            ("volume_change=7%", "volume_change", "volume_change", 0.07),
        ],
    )
    def test_units_are_turned_into_that_of_the_quantity(self, text, name, column, value):
        assert read_given(text).tables[name][0][column] == pytest.approx(value)

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("diffusivity=1e-10V", "does not fit"),
            ("diffusivity=1e-10", "does not fit"),
            ("diffusivity=1e-1m2/s", "unit right"),
            ("diffusivity=-3cm2/s", "positive"),
            ("voltage=40V", "unit right"),
            ("speed=3V", "unknown quantity"),
            ("crystal=3V", "no number"),
            ("voltage=", "expected QUANTITY=VALUE"),
        ],
    )
    def test_what_does_not_fit_is_one_line(self, text, complaint):
        with pytest.raises(InputError, match=complaint) as caught:
            read_given(text)
        assert "\n" not in str(caught.value)


class TestChemistries:
    def test_a_formula_gives_its_composition_and_the_reference_crystal(self):
        tables = read_given("chemistry:LiFePO4").tables
        assert set(tables) == {"composition", "crystal"}

    def test_a_family_gives_its_crystals(self):
        crystals = read_given("chemistry:olivine").tables["crystal"]
        assert {row["family"] for row in crystals} == {"olivine"}

    def test_a_cell_chemistry_gives_a_cell(self):
        assert read_given("chemistry:LFP").tables["cell_design"][0]["base_cell"].startswith("Prada")

    def test_beside_a_material_it_only_names_the_cell(self):
        givens = read_givens(["chemistry:LFP", "diffusivity=1e-12cm2/s"])
        assert set(givens[0].tables) == {"base_cell"}

    def test_an_unknown_one_names_the_nearest(self):
        with pytest.raises(InputError, match="olivine"):
            read_given("chemistry:olivin")


class TestFiles:
    def test_labelled_and_unlabelled_hops_are_told_apart(self, tmp_path):
        hops = tiny_hops()
        rows = [hops[0], hops[1]]
        bare = {**_json(hops[2]), "barrier_eV": None}
        write_json_lines(tmp_path / "hops.jsonl", [*rows, bare])
        tables = read_given(tmp_path / "hops.jsonl").tables
        assert [row["id"] for row in tables["hop"]] == [hops[2].id]
        assert len(tables["hop_labels"]) == 2

    def test_labels_of_several_methods_are_not_pooled(self, tmp_path):
        rows = [{**_json(hop), "method": "mlip_neb"} for hop in tiny_hops()[:3]]
        rows[1]["method"] = "dft_neb"
        write_json_lines(tmp_path / "hops.jsonl", rows)
        given = read_given(tmp_path / "hops.jsonl")
        assert [row["id"] for row in given.tables["hop_labels"]] == [rows[1]["id"]]
        assert "learnt from are the 1 of method dft_neb alone" in given.found

    def test_crystals(self, tmp_path):
        write_json_lines(tmp_path / "crystals.jsonl", [layered()])
        assert len(read_given(tmp_path / "crystals.jsonl").tables["crystal"]) == 1

    def test_an_electrode_design(self, tmp_path):
        design = {
            "thickness_um": 80,
            "porosity": 0.3,
            "active_fraction": 0.95,
            "particle_radius_um": 5,
        }
        path = tmp_path / "design.json"
        path.write_text(json.dumps(design))
        assert read_given(path).tables["electrode_design"][0]["porosity"] == 0.3
        path.write_text(json.dumps({**design, "porosity": 1.4}))
        with pytest.raises(InputError, match="porosity"):
            read_given(path)

    def test_a_file_that_is_not_there(self):
        with pytest.raises(InputError, match="no such file"):
            read_given("nowhere.cif")


class TestContradictions:
    def test_one_hop_with_two_barriers(self, tmp_path):
        row = _json(tiny_hops()[0])
        write_json_lines(tmp_path / "a.jsonl", [row])
        write_json_lines(tmp_path / "b.jsonl", [{**row, "barrier_eV": 2.0}])
        with pytest.raises(InputError, match="contradictory givens"):
            read_givens([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])

    def test_bounds_are_labels_and_another_bound_is_another_label(self, tmp_path):
        first, *others = (_json(hop) for hop in tiny_hops())
        bound = {**first, "barrier_eV": f"<{first['barrier_eV']}"}
        bound.pop("barrier_backward_eV", None)
        write_json_lines(tmp_path / "a.jsonl", [bound, *others])
        given = read_given(tmp_path / "a.jsonl")
        assert "(1 of them bounds)" in given.found
        assert given.tables["hop_labels"][0]["barrier_eV"] == bound["barrier_eV"]
        write_json_lines(tmp_path / "b.jsonl", [first])
        with pytest.raises(InputError, match=r"contradictory givens.*<"):
            read_givens([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
        write_json_lines(tmp_path / "c.jsonl", [{**bound, "barrier_eV": "<250"}])
        with pytest.raises(InputError, match="is the unit right"):
            read_given(tmp_path / "c.jsonl")

    def test_one_quantity_given_twice(self):
        with pytest.raises(InputError, match="given twice"):
            read_givens(["voltage=3V", "voltage=4V"])

    def test_crystals_of_another_ion_than_the_chemistry(self, tmp_path):
        write_json_lines(tmp_path / "crystals.jsonl", [layered("NaCoO2", ion="Na")])
        with pytest.raises(InputError, match="moves Na"):
            read_givens([tmp_path / "crystals.jsonl", "chemistry:LiFePO4"])


def _json(hop):
    from ionbridge.structures.io.json_records import hop_to_json

    return {k: v for k, v in hop_to_json(hop).items() if not _is_nan(v)}


def _is_nan(value):
    return isinstance(value, float) and math.isnan(value)


def test_frames_beside_their_interval_are_a_trajectory(tmp_path):
    from ase import Atoms
    from ase.io import write

    frames = [
        Atoms("LiO", [[0, 0, 0.1 * k], [2, 2, 2]], cell=[4, 4, 4], pbc=True) for k in range(3)
    ]
    path = tmp_path / "run.extxyz"
    write(path, frames)
    alone, *_ = read_givens([path])
    run, _ = read_givens([path, "frame_interval=100fs"])
    assert len(alone.tables["crystal"]) == 3
    assert [row["path"] for row in run.tables["trajectory"]] == [str(path)]
    assert "crystal" not in run.tables
