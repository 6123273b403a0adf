"""Names of space groups mean the operations of spglib's database, in all 530 settings."""

import gemmi
import numpy as np
import pytest
import spglib

from ionbridge.structures.crystals.symmetry import from_spglib
from ionbridge.structures.io.cif import crystals_in_cif
from ionbridge.structures.io.space_group_settings import (
    by_hall,
    by_name,
    by_number,
    from_database,
    parse_operations,
)
from ionbridge.structures.records import Crystal

ALL = range(1, 531)


def type_of(hall_number):
    return from_spglib(spglib.get_spacegroup_type, hall_number)


def full_name(hall_number):
    known = type_of(hall_number)
    choice = known.choice[:1]
    return known.international_full + (f" :{choice}" if choice in ("1", "2", "H", "R") else "")


def test_each_setting_is_a_group_and_knows_its_number():
    for k in ALL:
        operations = from_database(k)
        assert operations.is_group
        found = from_spglib(
            spglib.get_spacegroup_type_from_symmetry, operations.rotation, operations.translation
        )
        assert found.number == operations.number


def test_hall_symbols():
    for k in ALL:
        assert by_hall(type_of(k).hall_symbol).key == from_database(k).key


def test_names_and_full_names():
    for k in ALL:
        for name in (from_database(k).name, full_name(k)):
            assert from_database(k).key in {s.key for s in by_name(name)}, name


def test_names_are_open_only_where_the_tables_are():
    """Short monoclinic symbols leave the axis open, some centred e-glide ones the setting."""
    several = {k for k in ALL if len({s.key for s in by_name(from_database(k).name)}) > 1}
    assert all(3 <= type_of(k).number <= 15 or 50 <= type_of(k).number <= 68 for k in several)
    assert len(several) < 40


def test_gemmi_agrees_with_every_hall_symbol():
    for k in ALL:
        group = gemmi.symops_from_hall(type_of(k).hall_symbol)
        theirs = parse_operations([op.triplet() for op in group])
        assert theirs.key == from_database(k).key


@pytest.mark.parametrize(
    ("symbol", "hall"),
    [
        ("P 21/n", "-P 2yn"),
        ("P21/n", "-P 2yn"),
        ("I 2/a", "-I 2ya"),
        ("C 2/c", "-C 2yc"),
        ("F d -3 m Z", "-F 4vw 2vw 3"),
        ("F d -3 m S", "F 4d 2 3 -1d"),
        ("Fd3m:2", "-F 4vw 2vw 3"),
        ("R -3 m :R", "-P 3* 2"),
        ("R-3mR", "-P 3* 2"),
        ("R -3 m H", '-R 3 2"'),
        ("H -3 m", '-R 3 2"'),
        ("P b n m", "-P 2c 2ab"),
        ("C m c a", "-C 2ac 2"),
        ("P 63/m m c", "-P 6c 2c"),
    ],
)
def test_symbols_as_people_write_them(symbol, hall):
    assert by_name(symbol)[0].key == by_hall(hall).key


@pytest.mark.parametrize("symbol", ["", "P", "P n m b a", "Fd-3m:3", "hello", "P 21/q", "x,y,z"])
def test_what_is_no_symbol_is_none(symbol):
    assert by_name(symbol) == []


def test_a_number_means_the_standard_setting():
    assert [s.name for s in by_number(14)] == ["P 1 21/c 1"]
    assert [s.choice for s in by_number(227)] == ["1", "2"]
    assert [s.choice for s in by_number(166)] == ["H", "R"]
    assert all(by_number(n) for n in range(1, 231))


@pytest.mark.parametrize(
    "text", ["x,y", "x,y,z,w", "x,y,2*", "x,x,z", "x,y,z+1/0", "x,y,q", "", "x,y,3x", "1/2,y,z"]
)
def test_what_is_no_operation_is_refused(text):
    with pytest.raises(ValueError, match="symmetry operation"):
        parse_operations([text])


CELLS = {
    "triclinic": (15.1, 18.3, 22.7, 81, 95, 107),
    "a": (15.1, 18.3, 22.7, 98, 90, 90),
    "b": (15.1, 18.3, 22.7, 90, 98, 90),
    "c": (15.1, 18.3, 22.7, 90, 90, 98),
    "orthorhombic": (15.1, 18.3, 22.7, 90, 90, 90),
    "tetragonal": (15.1, 15.1, 22.7, 90, 90, 90),
    "hexagonal": (15.1, 15.1, 22.7, 90, 90, 120),
    "rhombohedral": (15.1, 15.1, 15.1, 71, 71, 71),
    "cubic": (15.1, 15.1, 15.1, 90, 90, 90),
}


def cell_of(hall_number):
    known = type_of(hall_number)
    number = known.number
    if number <= 2:
        return CELLS["triclinic"]
    if number <= 15:
        return CELLS[known.choice.lstrip("-")[0]]
    if number <= 74:
        return CELLS["orthorhombic"]
    if number <= 142:
        return CELLS["tetragonal"]
    if number <= 194:
        return CELLS["rhombohedral" if known.choice == "R" else "hexagonal"]
    return CELLS["cubic"]


def cif(hall_number, **names):
    a, b, c, alpha, beta, gamma = cell_of(hall_number)
    text = "data_x\n" + "".join(f"{tag} '{value}'\n" for tag, value in names.items())
    text += f"_cell_length_a {a}\n_cell_length_b {b}\n_cell_length_c {c}\n"
    text += f"_cell_angle_alpha {alpha}\n_cell_angle_beta {beta}\n_cell_angle_gamma {gamma}\n"
    text += "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    return text + "Li1 0.1234 0.3117 0.4011\nCl1 0.0710 0.2130 0.3570\n"


def sites(text):
    (crystal,) = crystals_in_cif(text)
    assert isinstance(crystal, Crystal), crystal
    lithium = crystal.frac[crystal.occupancy("Li") > 0]
    return crystal.n_sites, {tuple(np.rint(x * 1e4).astype(int) % 10_000) for x in lithium}


@pytest.mark.parametrize("first", range(1, 531, 53))
def test_a_cif_that_names_its_setting_gives_the_atoms_of_the_database(first):
    """By Hall symbol in every setting; by name where the name leaves nothing open."""
    for k in range(first, first + 53):
        operations = from_database(k)
        place = np.array([0.1234, 0.3117, 0.4011])
        images = operations.rotation @ place + operations.translation
        wanted = {tuple(np.rint(x * 1e4).astype(int) % 10_000) for x in images}
        n_sites, found = sites(cif(k, _symmetry_space_group_name_Hall=type_of(k).hall_symbol))
        assert n_sites == 2 * len(operations)
        assert found == wanted, type_of(k).hall_symbol
        named = by_name(full_name(k))
        if len(named) == 1:
            name = {"_symmetry_space_group_name_H-M": full_name(k)}
            assert sites(cif(k, **name)) == (n_sites, found), full_name(k)
