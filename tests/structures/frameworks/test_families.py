import time
from typing import Any

import numpy as np
import pytest

from ionbridge.structures.frameworks.families import family, framework
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.frameworks.substitution import recipes
from ionbridge.structures.records import Crystal


def generate(**asked: Any) -> list[Crystal]:
    return [recipe.build() for recipe in recipes(**asked)]


def with_sites(crystal: Crystal, **changes: object) -> Crystal:
    fields = {k: v for k, v in crystal.__dict__.items() if k != "composition"}
    return Crystal(**{**fields, "family": None, **changes})


def supercell(crystal: Crystal, rows: list[list[int]]) -> Crystal:
    structure = crystal.to_pymatgen()
    structure.make_supercell(rows)
    return Crystal.from_pymatgen(structure, crystal.id, working_ion=crystal.working_ion)


def rotated(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """The same crystal turned, shifted and with its axes permuted."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = [2, 0, 1]
    return with_sites(
        crystal,
        lattice=(crystal.lattice @ q)[order],
        frac=(crystal.frac + rng.random(3))[:, order],
    )


def without(crystal: Crystal, symbol: str) -> Crystal:
    keep = [k for k, site in enumerate(crystal.species) if symbol not in site]
    return with_sites(
        crystal,
        species=tuple(crystal.species[k] for k in keep),
        frac=crystal.frac[keep],
        working_ion=None,
    )


def rattled(crystal: Crystal, std_A: float, rng: np.random.Generator) -> Crystal:
    shift = rng.normal(scale=std_A, size=crystal.frac.shape) @ np.linalg.inv(crystal.lattice)
    return with_sites(crystal, frac=crystal.frac + shift)


@pytest.mark.parametrize("name", PROTOTYPES)
def test_every_prototype_is_recognised(name: str) -> None:
    prototype = PROTOTYPES[name]
    assert family(with_sites(prototype.build())) == prototype.family


KNOWN = ["LiFePO4-olivine", "LiCoO2-layered", "LiMn2O4-spinel", "NaFePO4-maricite",
         "Na3V2(PO4)3-NASICON", "LiVPO4F-tavorite", "Li6PS5Cl-argyrodite",
         "Li2FeSiO4-orthosilicate-Pmn21"]  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_invariant_under_cell_origin_rotation_and_small_displacements(name: str) -> None:
    rng = np.random.default_rng(0)
    crystal, expected = PROTOTYPES[name].build(), PROTOTYPES[name].family
    assert family(supercell(crystal, [[1, 1, 0], [0, 1, 0], [0, 0, 2]])) == expected
    assert family(rotated(crystal, rng)) == expected
    assert family(rattled(crystal, 0.05, rng)) == expected
    grown = with_sites(crystal, lattice=1.06 * crystal.lattice)
    assert family(grown) == expected


@pytest.mark.parametrize(
    "name",
    ["LiFePO4-olivine", "LiCoO2-layered", "LiMn2O4-spinel", "NaFeO2-layered", "LiVPO4F-tavorite"],
)
def test_charged_crystals_keep_their_family(name: str) -> None:
    prototype = PROTOTYPES[name]
    crystal = prototype.build()
    charged = without(crystal, prototype.working_ion)
    assert charged.n_sites < crystal.n_sites
    assert family(charged) == prototype.family


def test_substituted_and_mixed_crystals_keep_their_family() -> None:
    families = ["olivine", "layered", "spinel", "NASICON", "garnet", "argyrodite", "tavorite"]
    candidates = generate(families=families, max_count=210, seed=3)
    for crystal in candidates:
        assert family(with_sites(crystal)) == crystal.family, crystal.id


def test_polymorphs_of_one_composition_are_told_apart() -> None:
    olivine, maricite = (PROTOTYPES[f"NaFePO4-{k}"].build() for k in ("olivine", "maricite"))
    assert olivine.formula == maricite.formula
    assert (family(olivine), family(maricite)) == ("olivine", "maricite")


def test_what_fits_nothing_is_unknown() -> None:
    rng = np.random.default_rng(1)
    crystal = PROTOTYPES["LiFePO4-olivine"].build()
    assert family(rattled(crystal, 0.8, rng)) == "unknown"
    metal = Crystal("LiAl", 3.2 * np.eye(3), ({"Li": 1.0}, {"Al": 1.0}),
                    np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))  # fmt: skip
    assert family(metal) == "unknown"


def test_framework_classes_of_olivine() -> None:
    own = framework(PROTOTYPES["LiFePO4-olivine"].build())
    assert own.stoichiometry == (4, 1, 1)
    assert own.distance(own) == 0.0
    assert own.unit_A == pytest.approx(2.157, abs=0.01)


def test_a_thousand_crystals_take_seconds() -> None:
    crystals = [with_sites(c) for c in generate(max_count=200, seed=5)]
    family(crystals[0])
    start = time.perf_counter()
    for crystal in crystals:
        family(crystal)
    assert (time.perf_counter() - start) / len(crystals) < 0.1
