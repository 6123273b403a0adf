import numpy as np
import pytest
import spglib
from pymatgen.core import Lattice

from ionbridge.structures.chemistry.composition import is_charge_balanced
from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.crystals.symmetry import from_spglib
from ionbridge.structures.frameworks.prototypes import PROTOTYPES, Prototype, reference_crystals

EACH = pytest.mark.parametrize("prototype", PROTOTYPES.values(), ids=PROTOTYPES)


def dominant(prototype: Prototype) -> list[str]:
    return [max(s, key=lambda k: s[k]) for s in prototype.build().species]


def bonds(prototype: Prototype, centre: str, ligands: str, cutoff: float) -> list[list[float]]:
    """Sorted distances from every atom of one element to the ligands within the cutoff, A."""
    crystal, elements = prototype.build(), dominant(prototype)
    src, dst, _, distance = periodic_edges(crystal.lattice, crystal.frac, cutoff)
    return [
        sorted(d for i, j, d in zip(src, dst, distance, strict=True)
               if i == atom and elements[j] in ligands.split())
        for atom, element in enumerate(elements)
        if element == centre
    ]  # fmt: skip


@EACH
def test_neutral_dense_and_named(prototype: Prototype) -> None:
    crystal = prototype.build()
    assert is_charge_balanced(crystal.composition)
    assert 1.2 < crystal.to_pymatgen().density < 7.2
    assert prototype.working_ion in crystal.composition
    assert len(prototype.source) > 20


@EACH
def test_the_space_group_is_the_one_it_names(prototype: Prototype) -> None:
    """spglib, given orbits as atom types, finds the group we built with (or a supergroup of it)."""
    frac, orbit = prototype.positions
    found = from_spglib(
        spglib.get_symmetry_dataset, (prototype.lattice, frac, orbit + 1), symprec=1e-3
    )
    assert found is not None
    ours = from_spglib(spglib.get_spacegroup_type, prototype.hall_number)
    assert found.number >= ours.number
    assert ours.international_short.replace("_", "") == prototype.space_group.split(":")[0].replace(
        "_", ""
    )
    assert len(set(found.equivalent_atoms)) == len(prototype.sites)


@EACH
def test_no_two_full_sites_are_too_close(prototype: Prototype) -> None:
    crystal = prototype.build()
    src, dst, _, distance = periodic_edges(crystal.lattice, crystal.frac, 1.7)
    total = np.array([sum(s.values()) for s in crystal.species])
    for i, j, d in zip(src, dst, distance, strict=True):
        split = total[i] + total[j] <= 1.0 + 1e-6
        assert split or d > (1.1 if "C" in dominant(prototype) else 1.35), (i, j, d)


@pytest.mark.parametrize(
    ("centre", "ligands", "length", "number"),
    [("P", "O", (1.48, 1.66), 4), ("Si", "O", (1.58, 1.70), 4), ("B", "O", (1.34, 1.42), 3),
     ("P", "S", (1.99, 2.12), 4), ("S", "O", (1.44, 1.52), 4)],
)  # fmt: skip
def test_polyanions_have_their_known_bonds(
    centre: str, ligands: str, length: tuple[float, float], number: int
) -> None:
    seen = 0
    for prototype in PROTOTYPES.values():
        slots = {(site.slot, next(iter(site.species))) for site in prototype.sites}
        if ("centre", centre) in slots and ("anion", ligands) in slots:
            for lengths in bonds(prototype, centre, ligands, 2.4):
                assert len(lengths) == number
                assert length[0] < lengths[0] <= lengths[-1] < length[1]
                seen += 1
    assert seen


def test_octahedra_and_dodecahedra_of_the_reference_cathodes_and_garnet() -> None:
    for name, metal, length in [("LiCoO2-layered", "Co", 1.92), ("LiMn2O4-spinel", "Mn", 1.96),
                                ("LiFePO4-olivine", "Fe", 2.16), ("Na3V2(PO4)3-NASICON", "V", 2.0),
                                ("Li7La3Zr2O12-garnet", "Zr", 2.10)]:  # fmt: skip
        for lengths in bonds(PROTOTYPES[name], metal, "O", 2.6):
            assert len(lengths) == 6
            assert np.mean(lengths) == pytest.approx(length, abs=0.03)
    assert {len(x) for x in bonds(PROTOTYPES["Li7La3Zr2O12-garnet"], "La", "O", 2.9)} == {8}


def test_a_primitive_cell_holds_the_conventional_one_divided_by_its_centring() -> None:
    for name, points in [("LiMn2O4-spinel", 4), ("LiCoO2-layered", 3), ("LiFePO4-olivine", 1),
                         ("Na3PS4-cubic", 2), ("NaAlSi2O6-pyroxene", 2)]:  # fmt: skip
        prototype = PROTOTYPES[name]
        volume = Lattice.from_parameters(*prototype.cell).volume
        assert abs(np.linalg.det(prototype.lattice)) * points == pytest.approx(volume)


def test_the_references_are_there_with_their_stoichiometry() -> None:
    formulas = {c.id: c.formula for c in reference_crystals()}
    assert {k: formulas[k] for k in ("LiFePO4-olivine", "NaFePO4-olivine", "NaFePO4-maricite",
                                     "LiCoO2-layered", "LiMn2O4-spinel", "Na3V2(PO4)3-NASICON",
                                     "Li7La3Zr2O12-garnet", "Li6PS5Cl-argyrodite")} == {
        "LiFePO4-olivine": "LiFePO4", "NaFePO4-olivine": "NaFePO4", "NaFePO4-maricite": "NaFePO4",
        "LiCoO2-layered": "LiCoO2", "LiMn2O4-spinel": "LiMn2O4",
        "Na3V2(PO4)3-NASICON": "Na3V2(PO4)3", "Li7La3Zr2O12-garnet": "Li7La3Zr2O12",
        "Li6PS5Cl-argyrodite": "Li6PS5Cl"}  # fmt: skip
    assert len({p.family for p in PROTOTYPES.values()}) >= 20
    assert not PROTOTYPES["Li7La3Zr2O12-garnet"].build().is_ordered


def test_roles_of_the_references() -> None:
    roles = {c.id: c.role for c in reference_crystals()}
    assert roles["LiFePO4-olivine"] == roles["Na3V2(PO4)3-NASICON"] == "electrode"
    assert roles["Li7La3Zr2O12-garnet"] == roles["Li10GeP2S12-LGPS"] == "electrolyte"
