"""A hop becomes whole atoms: right composition, right distance, and its symmetry is one."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ionbridge.screening.labelling.bands.hop_cell import (
    hop_cell_of_crystal,
    hop_cell_of_hop,
    made_symmetric,
    mirror_of,
)
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.hops.hops import CrystalHop
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal, Hop, UnusableStructureError
from tests.screening.labelling.dynamics.washboard import washboard_cell
from tests.screening.tiny import rocksalt
from tests.tolerances import TIGHT


@pytest.fixture(scope="module")
def olivine() -> tuple[Crystal, Hop]:
    graph = find_hops(PROTOTYPES["LiFePO4-olivine"].build())
    return graph.crystal, graph.hops[0]


def in_crystal(crystal: Crystal, hop: Hop, max_atoms: int = 200):
    return hop_cell_of_crystal(crystal, hop, 8.0, max_atoms)


def test_one_ion_is_missing_and_copies_are_far(olivine: tuple[Crystal, Hop]) -> None:
    cell = in_crystal(*olivine)
    assert cell.carrier == "vacancy"
    assert cell.n_atoms == 111  # four cells of 28 atoms less one vacancy
    assert cell.copies_A >= 8.0
    counts = Counter(cell.symbols)
    assert counts == {"Li": 14, "Fe": 16, "P": 16, "O": 64}  # the moving ion is the fifteenth


def test_mirror_maps_host_onto_host_and_path_onto_its_reverse(olivine: tuple[Crystal, Hop]) -> None:
    cell = in_crystal(*olivine)
    mirror = mirror_of(cell)
    assert mirror is not None
    assert all(cell.symbols[i] == cell.symbols[j] for i, j in enumerate(mirror.order))
    symmetric = made_symmetric(cell, mirror)
    np.testing.assert_allclose(mirror.path(symmetric.path_A), symmetric.path_A, atol=TIGHT)
    images = symmetric.images(5)
    for one, other in zip(images, images[::-1], strict=True):
        np.testing.assert_allclose(mirror.positions(one), other, atol=1e-3)
    shaken = images[1] + 0.1 * np.random.default_rng(0).standard_normal(images[1].shape)
    twice = mirror.positions(mirror.positions(shaken))  # a reflection undoes itself
    np.testing.assert_allclose(twice, shaken, atol=1e-3)


def test_distances_survive_the_mirror(olivine: tuple[Crystal, Hop]) -> None:
    cell = in_crystal(*olivine)
    mirror = mirror_of(cell)
    assert mirror is not None
    shaken = cell.images(1)[0] + 0.05 * np.random.default_rng(1).standard_normal((111, 3))
    image = mirror.positions(shaken)
    order = np.append(mirror.order, 110)
    before = cell.atoms(shaken).get_all_distances(mic=True)
    after = cell.atoms(image).get_all_distances(mic=True)
    np.testing.assert_allclose(after[np.ix_(order, order)], before, atol=0.02)


def test_a_lopsided_hop_has_no_mirror() -> None:
    assert mirror_of(washboard_cell()) is not None
    lopsided = washboard_cell(host_A=np.array([[1.2, 3.0, 0.0], [1.5, -3.0, 0.7]]))
    assert mirror_of(lopsided) is None
    other_element = washboard_cell(
        symbols=("O", "S"), host_A=np.array([[0.8, 3.0, 0.0], [2.2, 3.0, 0.0]])
    )
    assert mirror_of(other_element) is None


def test_disorder_and_size_are_refused(olivine: tuple[Crystal, Hop]) -> None:
    crystal, hop = olivine
    with pytest.raises(UnusableStructureError, match="more than 50 atoms"):
        in_crystal(crystal, hop, max_atoms=50)
    mixed = replace(
        crystal, species=tuple({"Fe": 0.5, "Mn": 0.5} if "Fe" in s else s for s in crystal.species)
    )
    with pytest.raises(UnusableStructureError, match="disordered"):
        in_crystal(mixed, hop)


def test_a_small_record_is_repeated_with_its_composition() -> None:
    hop = Hop(
        id="small",
        working_ion="Li",
        lattice=5.0 * np.eye(3),
        host_species=({"O": 1.0}, {"Mn": 1.0}),
        host_frac=np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 0.0]]),
        path_frac=np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [1.0, 0.0, 0.0]]),
    )
    cell = hop_cell_of_hop(hop, 8.0, 100)
    n_cells = cell.n_atoms // 3
    assert n_cells > 1
    assert cell.copies_A >= 8.0
    assert Counter((*cell.symbols, "Li")) == {"Li": n_cells, "O": n_cells, "Mn": n_cells}
    np.testing.assert_allclose(cell.path_A, hop.path_A)
    apart = cell.atoms(cell.images(1)[0]).get_all_distances(mic=True)
    assert apart[np.triu_indices(cell.n_atoms, 1)].min() > 2.4
    as_given = hop_cell_of_hop(hop, 4.0, 100)
    assert as_given.n_atoms == 3


def test_a_path_through_an_atom_is_refused() -> None:
    through = washboard_cell(host_A=np.array([[1.5, 0.3, 0.0], [1.5, -3.0, 0.7]]))
    with pytest.raises(UnusableStructureError, match=r"0\.30 angstrom from host atom 0 \(O\)"):
        through.check_path()


def over_a_third_site(crystal: Crystal, ion: str) -> Hop:
    """The hop from a site to the second next one along the first vector of the cell."""
    row = np.arange(3)[:, None] * crystal.lattice[0]
    path, passed = np.linspace(row[0], row[2], 9), [row[1].tolist()]
    size = np.array([3, 3, 3])
    extra = {"path": "straight", "n_passed_sites": 1, "passed_sites_A": passed}
    return CrystalHop.of(crystal, ion, 0, path, size, extra)


def test_a_site_on_the_way_is_emptied_with_the_ends_and_said() -> None:
    crystal = rocksalt()
    hop = over_a_third_site(crystal, "Li")
    cell = in_crystal(crystal, hop)
    cell.check_path()
    counts = Counter(cell.symbols)
    assert counts["Cl"] - counts["Li"] == 3  # both ends and the site between them
    assert cell.carrier == "vacancy"
    assert cell.passed_A == pytest.approx(np.array(hop.extra["passed_sites_A"]))
    assert cell.note == (
        "the path leads over 1 further site, emptied with the ends (1 Li more missing), no "
        "cation can make up for the charge: Cl is left oxidised"
    )
    record = hop_cell_of_hop(hop, 8.0, 400)  # its host was made without the three ions
    record.check_path()
    assert record.note == "the path leads over 1 further site, empty before"
    direct = find_hops(crystal).hops[0]
    assert in_crystal(crystal, direct).note == ""


def test_an_ion_in_the_way_of_a_record_leaves() -> None:
    """A record whose host holds an ion on the path is the record whose host lacks it."""
    crystal = rocksalt()
    hop = over_a_third_site(crystal, "Li")
    there = np.array(hop.extra["passed_sites_A"]) @ np.linalg.inv(hop.lattice)
    full = replace(
        hop,
        host_species=(*hop.host_species, {"Li": 1.0}),
        host_frac=np.vstack([hop.host_frac, there + np.array([1.0, 0.0, -2.0])]),
        extra={"path": "straight"},
    )
    cell, expected = (hop_cell_of_hop(one, 8.0, 400) for one in (full, hop))
    cell.check_path()
    assert cell.symbols == expected.symbols
    np.testing.assert_allclose(cell.host_A, expected.host_A)
    np.testing.assert_allclose(cell.passed_A, expected.passed_A, atol=1e-9)
    assert cell.note.startswith("the path leads over 1 further site, emptied with the ends (1 Li")
    other = replace(full, host_species=(*hop.host_species, {"Na": 1.0}))
    with pytest.raises(UnusableStructureError, match=r"0\.00 angstrom from host atom .* \(Na\)"):
        hop_cell_of_hop(other, 8.0, 400).check_path()


def test_a_site_on_the_way_moves_with_the_relaxed_crystal() -> None:
    crystal = rocksalt()
    wider = replace(crystal, lattice=1.02 * crystal.lattice)
    cell = hop_cell_of_crystal(crystal, over_a_third_site(crystal, "Li"), 8.0, 200, wider)
    cell.check_path()
    np.testing.assert_allclose(cell.passed_A, wider.lattice[:1], atol=TIGHT)
    np.testing.assert_allclose(cell.path_A[-1], 2.0 * wider.lattice[0], atol=TIGHT)
