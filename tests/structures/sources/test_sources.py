"""Every source loads the form it documents; small files of that form are written here."""

import csv
import gzip

import numpy as np
import pytest

from ionbridge.structures.io.reading import (
    crystal_to_json,
    hop_to_json,
    write_cif,
    write_json_lines,
)
from ionbridge.structures.records import Crystal
from ionbridge.structures.sources import (
    amorphous_diffusivity,
    materials_project,
    neb_barriers,
    obelix,
)
from ionbridge.structures.sources.catalogue import SOURCES, find_source
from ionbridge.structures.sources.source import checksum
from tests.structures.io.test_reading import TABLE, hop, rock_salt


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def labelled(id, **labels):
    return {**crystal_to_json(rock_salt(id)), **labels}


def test_every_source_says_where_it_is_from():
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.home.startswith("https://")
        assert source.licence
        assert source.citation
        assert source.files
        assert source.home in source.how_to_get


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'obelix'"):
        find_source("obelyx")


def test_missing_files_and_checksums(tmp_path):
    source = find_source("neb_barriers")
    assert source.missing(tmp_path) == source.files
    write_json_lines(tmp_path / source.files[0], [hop()])
    assert source.missing(tmp_path) == ()
    first = source.checksums(tmp_path)
    write_json_lines(tmp_path / source.files[0], [hop("other")])
    assert source.checksums(tmp_path) != first


def test_checksum_of_a_folder_sees_names_and_contents(tmp_path):
    sums = []
    for name, text in (("a", "1"), ("b", "1"), ("a", "2")):
        folder = tmp_path / f"{name}{text}"
        folder.mkdir()
        (folder / name).write_text(text)
        sums.append(checksum(folder))
    assert len(set(sums)) == 3


def test_hops_need_a_barrier_and_get_one_family_name(tmp_path):
    rows = [
        {**hop_to_json(hop("a", barrier_eV=0.3, family="SPINELS")), "sys_name": "Cr2S4_Ca"},
        hop_to_json(hop("b", family="SPINEL")),
        {"id": "c", "host_species": []},
    ]
    write_json_lines(tmp_path / neb_barriers.HOPS_FILE, rows)
    loaded = neb_barriers.load(tmp_path)
    assert [(h.id, h.family) for h in loaded.records] == [("a", "spinel")]
    assert loaded.dropped == {"no barrier": 1, "unreadable": 1}
    assert neb_barriers.is_implausible(loaded.records[0])
    assert not neb_barriers.is_implausible(hop())


def test_impossible_bulk_values_are_dropped_and_counted(tmp_path):
    def row(id, energy, gap):
        return labelled(id, formation_energy_per_atom_eV=energy, band_gap_eV=gap)

    rows = [row("a", -2.0, 3.0), row("b", 17.0, 0.0), row("c", -1.0, 17.9), row("d", -5.5, 0)]
    write_json_lines(tmp_path / materials_project.BULK_FILE, rows)
    loaded = materials_project.load_bulk(tmp_path)
    assert [c.id for c in loaded.records] == ["a"]
    assert loaded.records[0].source == "materials_project/bulk"
    assert sum(loaded.dropped.values()) == 3


def test_bad_moduli_go_and_the_row_stays(tmp_path):
    rows = [
        labelled("a", K_VRH_GPa=100.0, G_VRH_GPa=50.0, e_above_hull_eV=0.1),
        labelled("b", K_VRH_GPa=100.0, G_VRH_GPa=-666.0, e_above_hull_eV=0.2),
        labelled("c", K_VRH_GPa=None, G_VRH_GPa=None, e_above_hull_eV=0.3),
    ]
    write_json_lines(tmp_path / materials_project.ELECTRODE_FILE, rows)
    a, b, c = materials_project.load_electrode_materials(tmp_path).records
    assert a.extra["G_VRH_GPa"] == 50
    assert dict(b.extra) == {"e_above_hull_eV": 0.2}
    assert c.extra["e_above_hull_eV"] == 0.3


def test_pairs_find_their_structures_and_lose_impossible_voltages(tmp_path):
    write_json_lines(tmp_path / materials_project.PAIR_STRUCTURES_FILE, [rock_salt("full")])
    base = {
        "charged_formula": "Cl",
        "charged_id": "empty",
        "discharged_formula": "NaCl",
        "discharged_id": "full",
        "average_voltage_V": "3.4",
        "battery_id": "x_Na",
        "working_ion": "Na",
        "capacity_grav_mAh_g": "",
        "Stability Charge": "0.02",
        "Stability Discharge": "",
    }
    rows = [base, {**base, "average_voltage_V": "-1"}, {**base, "average_voltage_V": "54"}]
    table(tmp_path / materials_project.PAIRS_FILE, rows)
    loaded = materials_project.load_electrode_pairs(tmp_path)
    (pair,) = loaded.records
    assert (pair.voltage_V, pair.charged, pair.discharged.formula) == (3.4, None, "NaCl")
    assert pair.extra == {"charged_above_hull_eV_per_atom": 0.02}
    assert sum(loaded.dropped.values()) == 2


def test_obelix_states_the_temperature_and_leaves_out_cifs_without_lithium(tmp_path):
    (tmp_path / "obelix").mkdir()
    (tmp_path / obelix.TABLE_FILE).write_text(TABLE)
    write_cif(rock_salt(), tmp_path / obelix.CIF_FOLDER / "aaa.cif")
    lithium = Crystal("LiI", 3 * np.eye(3), ({"Li": 0.5}, {"I": 1.0}), np.eye(3)[:2] / 2)
    write_cif(lithium, tmp_path / obelix.CIF_FOLDER / "bbb.cif")
    a, b = obelix.load(tmp_path).records
    assert a.crystal is None
    assert b.crystal.occupancy("Li").max() == 0.5
    assert (b.label.bound, b.label.temperature_K, b.label.source) == ("<", 298.15, "OBELiX")
    assert (a.family, b.family) == ("halide", None)


def test_amorphous_series_give_back_their_slope(tmp_path):
    x = np.array([4.0, 5.0, 6.0, 7.0])
    rows = [{"formula": "Li3Si", "lnD": -0.35 * v - 2, "inverse_kbT": v} for v in x]
    rows.append({"formula": "Li", "lnD": -3.0, "inverse_kbT": 4.0})
    table(tmp_path / amorphous_diffusivity.TABLE_FILE, rows)
    loaded = amorphous_diffusivity.load(tmp_path)
    (series,) = loaded.records
    assert series.activation_energy_eV == pytest.approx(0.35)
    assert loaded.dropped == {"one temperature only": 1}
