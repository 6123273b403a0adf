"""Sites, hops and orbits on nets whose answer is known, and on crystals of the field."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from ionbridge.structures.crystals.geometry import check_geometry, perpendicular_widths
from ionbridge.structures.crystals.neighbors import neighbors_within
from ionbridge.structures.crystals.symmetry import site_images, space_group
from ionbridge.structures.hops.carriers import formula_units
from ionbridge.structures.hops.hops import (
    ENVIRONMENT_CUTOFF_A,
    EXCLUSION_A,
    CrystalHop,
    host_sizes,
    passed_sites,
)
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import N_PATH_POINTS, find_hops
from ionbridge.structures.records import Crystal, Hop, UnusableStructureError
from ionbridge.structures.transport.hop_network import JumpNetwork, percolation_barriers
from tests.tolerances import TIGHT

COORDINATES = 1e-3
"""Angstrom: symmetry of coordinates given to four digits."""
SITE_DISTANCE_A = 0.5
"""A bond-valence minimum marks the site of the diffraction experiment this closely."""


def net(lattice, frac, ion="Li", **fields):
    species = tuple({ion: 1.0} for _ in frac)
    return Crystal("net", np.array(lattice, float), species, np.array(frac, float), **fields)


def crystal(space_group_symbol, lattice, species, frac, name):
    structure = Structure.from_spacegroup(space_group_symbol, lattice, species, frac)
    return Crystal.from_pymatgen(structure, name)


OLIVINE = Lattice.orthorhombic(10.332, 6.010, 4.692)
OLIVINE_HOST = {
    "Fe": [0.2822, 0.25, 0.9747],
    "P": [0.0948, 0.25, 0.4182],
    "O": [0.0968, 0.25, 0.7428],
}
OLIVINE_OXYGEN = [[0.4571, 0.25, 0.2056], [0.1656, 0.0465, 0.2848]]


@pytest.fixture(scope="module")
def lifepo4():
    species = ["Li", *OLIVINE_HOST, "O", "O"]
    return crystal(
        "Pnma", OLIVINE, species, [[0, 0, 0], *OLIVINE_HOST.values(), *OLIVINE_OXYGEN], "LiFePO4"
    )


@pytest.fixture(scope="module")
def licoo2():
    frac = [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.2395]]
    return crystal("R-3m", Lattice.hexagonal(2.816, 14.05), ["Li", "Co", "O"], frac, "LiCoO2")


@pytest.fixture(scope="module")
def garnet():
    species = [{"Li": 0.564}, {"Li": 0.442}, "La", "Zr", "O"]
    frac = [
        [0.375, 0, 0.25],
        [0.0970, 0.1853, 0.4250],
        [0.125, 0, 0.25],
        [0, 0, 0],
        [-0.0318, 0.0545, 0.1497],
    ]
    return crystal("Ia-3d", Lattice.cubic(12.9682), species, frac, "Li7La3Zr2O12")


@pytest.fixture(scope="module")
def lifepo4_graph(lifepo4):
    return find_hops(lifepo4)


def environment(hop: Hop, point: np.ndarray, cutoff: float = ENVIRONMENT_CUTOFF_A - 1e-3):
    """Sorted (species, distance) of the host around one point."""
    _, atom, _, distance = neighbors_within(hop.lattice, hop.host_frac, point[None], cutoff)
    rows = [
        (str(sorted(hop.host_species[a].items())), d) for a, d in zip(atom, distance, strict=True)
    ]
    rows.sort()
    return [name for name, _ in rows], np.array([d for _, d in rows])


def same_surroundings(one: Hop, other: Hop, tolerance: float = COORDINATES) -> bool:
    """Equal hosts seen from both ends and the middle, in either direction."""
    for candidate in (other, other.reversed()):
        points = [
            (h.path_A[0], 0.5 * (h.path_A[0] + h.path_A[-1]), h.path_A[-1])
            for h in (one, candidate)
        ]
        pairs = [
            (environment(one, a), environment(candidate, b)) for a, b in zip(*points, strict=True)
        ]
        if all(a[0] == b[0] and np.allclose(a[1], b[1], atol=tolerance, rtol=0) for a, b in pairs):
            return True
    return False


def dimensions(graph: MigrationGraph, keep: np.ndarray | None = None) -> int:
    keep = np.ones(graph.n_edges, bool) if keep is None else keep
    network = JumpNetwork(
        graph.crystal.lattice,
        graph.start[keep],
        graph.end[keep],
        graph.shift[keep],
        np.zeros(graph.n_sites),
        np.zeros(int(keep.sum())),
    )
    return int(np.isfinite(percolation_barriers(network)).sum())


def supercell(c: Crystal, size) -> Crystal:
    structure = c.to_pymatgen()
    structure.make_supercell(size)
    return Crystal.from_pymatgen(structure, c.id)


def directed_pairs(graph: MigrationGraph) -> list[tuple[int, ...]]:
    forward = np.column_stack([graph.start, graph.end, graph.shift])
    backward = np.column_stack([graph.end, graph.start, -graph.shift])
    return [tuple(row) for row in np.concatenate([forward, backward]).tolist()]


# --- nets with a known answer


@pytest.mark.parametrize(
    ("lattice", "edges"),
    [
        (3.0 * np.eye(3), {3.0: 3}),
        (2.0 * (np.ones((3, 3)) - np.eye(3)), {2.0 * np.sqrt(2): 6}),
        (1.7 * (np.ones((3, 3)) - 2 * np.eye(3)), {1.7 * np.sqrt(3): 4, 3.4: 3}),
        (np.array([[3, 0, 0], [-1.5, 1.5 * np.sqrt(3), 0], [0, 0, 4.0]]), {3.0: 3, 4.0: 1}),
    ],
    ids=["simple cubic", "fcc", "bcc", "hexagonal"],
)
def test_nets_of_one_site(lattice, edges):
    """One orbit a length; the face diagonals of a cube pass between two sites and are dropped."""
    graph = find_hops(net(lattice, [[0.3, 0.1, 0.9]]))
    assert [h.distance_A for h in graph.hops] == pytest.approx(list(edges))
    assert np.bincount(graph.orbit).tolist() == list(edges.values())
    assert graph.carrier == "vacancy"
    assert dimensions(graph) == 3


def test_chain_with_two_spacings_has_two_hops():
    graph = find_hops(net(np.diag([6.0, 10.0, 10.0]), [[0, 0, 0], [0.4, 0, 0]]))
    assert sorted(graph.length_A) == pytest.approx([2.4, 3.6])
    assert sorted(h.distance_A for h in graph.hops) == pytest.approx([2.4, 3.6])
    assert dimensions(graph) == 1
    assert graph.site_orbit[0] == graph.site_orbit[1]


def test_third_site_on_the_way_blocks_the_long_hop():
    graph = find_hops(net(np.diag([2.0, 20.0, 20.0]), [[0, 0, 0]]))
    assert graph.length_A == pytest.approx([2.0])


def test_far_sites_are_reached_only_where_near_ones_do_not_connect():
    assert find_hops(net(6.2 * np.eye(3), [[0, 0, 0]])).length_A == pytest.approx([6.2] * 3)
    near = find_hops(net(np.diag([3.0, 6.2, 6.2]), [[0, 0, 0]]))
    assert near.length_A == pytest.approx([3.0])
    with pytest.raises(UnusableStructureError, match="no hop of at most"):
        find_hops(net(8.0 * np.eye(3), [[0, 0, 0]]))


# --- what holds for every graph


@pytest.mark.parametrize("name", ["lifepo4", "licoo2", "garnet"])
def test_every_undirected_pair_once_and_orbits_are_alike(name, request):
    graph = find_hops(request.getfixturevalue(name))
    pairs = directed_pairs(graph)
    assert len(pairs) == len(set(pairs))
    assert set(graph.orbit) == set(range(len(graph.hops)))
    for k, hop in enumerate(graph.hops):
        assert hop.id == f"{graph.crystal.id}#hop{k}"
        lengths = graph.length_A[graph.orbit == k]
        assert np.allclose(lengths, hop.distance_A, atol=COORDINATES)
    distances = [h.distance_A for h in graph.hops]
    assert distances == sorted(distances)
    assert not set(graph.site_orbit[graph.start]) - set(graph.site_orbit)


@pytest.mark.parametrize("name", ["lifepo4", "licoo2", "garnet"])
def test_path_is_unwrapped_and_ends_on_the_sites(name, request):
    graph = find_hops(request.getfixturevalue(name))
    lattice = graph.crystal.lattice
    for hop in graph.hops:
        i, j = hop.extra["start_site"], hop.extra["end_site"]
        steps = np.linalg.norm(np.diff(hop.path_A, axis=0), axis=1)
        assert np.all(steps < hop.distance_A)
        assert len(hop.path_frac) == N_PATH_POINTS
        for site, point in ((i, hop.path_A[0]), (j, hop.path_A[-1])):
            offset = point @ np.linalg.inv(lattice) - graph.site_frac[site]
            assert np.allclose(offset, np.rint(offset), atol=TIGHT)
        assert hop.extra["path"] == "relaxed"
        assert hop.extra["bvse_profile_eV"][0] == 0.0
        assert len(hop.extra["bvse_profile_eV"]) == N_PATH_POINTS


def test_orbit_members_share_length_and_surroundings(lifepo4):
    """Shift the crystal so that another edge of the orbit comes first: the hop looks the same."""
    graph = find_hops(lifepo4)
    order = np.random.default_rng(0).permutation(lifepo4.n_sites)
    other = find_hops(
        replace(
            lifepo4,
            frac=lifepo4.frac[order] + [0.37, 0.21, 0.83],
            species=tuple(lifepo4.species[k] for k in order),
        )
    )
    assert len(other.hops) == len(graph.hops)
    for a, b in zip(graph.hops, other.hops, strict=True):
        assert a.distance_A == pytest.approx(b.distance_A, abs=TIGHT)
        assert same_surroundings(a, b)


@pytest.mark.parametrize("size", [(2, 1, 1), (1, 2, 3), [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]])
def test_supercell_and_other_cell_have_the_same_unique_hops(lifepo4_graph, lifepo4, size):
    graph = find_hops(supercell(lifepo4, size))
    factor = graph.n_sites / lifepo4_graph.n_sites
    assert len(graph.hops) == len(lifepo4_graph.hops)
    assert graph.n_edges == factor * lifepo4_graph.n_edges
    assert graph.n_carriers == pytest.approx(factor * lifepo4_graph.n_carriers)
    assert len(set(graph.site_orbit)) == len(set(lifepo4_graph.site_orbit))
    for a, b in zip(graph.hops, lifepo4_graph.hops, strict=True):
        assert a.distance_A == pytest.approx(b.distance_A, abs=TIGHT)
        assert same_surroundings(a, b)


def test_reversed_edges_are_those_that_start_at_the_end_of_the_representative():
    """Two inequivalent sites in a chain: direction is fixed by the kind of the first site."""
    lattice = np.diag([6.0, 7.0, 8.0])
    frac = [[0, 0, 0], [0.45, 0, 0.0], [0.1, 0.5, 0.5]]
    species = ({"Li": 1.0}, {"Li": 1.0}, {"O": 1.0})
    one = Crystal("chain", lattice, species, np.array(frac, float))
    graph = find_hops(supercell(one, (1, 2, 1)))
    assert graph.reversed.any() or (graph.site_orbit[graph.start] == graph.site_orbit[0]).all()
    for k, hop in enumerate(graph.hops):
        for e in np.flatnonzero(graph.orbit == k):
            first = graph.end[e] if graph.reversed[e] else graph.start[e]
            assert graph.site_orbit[first] == graph.site_orbit[hop.extra["start_site"]]


def test_wrapped_and_unwrapped_coordinates_give_one_graph(lifepo4, lifepo4_graph):
    shift = np.random.default_rng(1).integers(-3, 4, size=lifepo4.frac.shape)
    graph = find_hops(replace(lifepo4, frac=lifepo4.frac + shift))
    assert directed_pairs(graph) == directed_pairs(lifepo4_graph)
    assert np.array_equal(graph.orbit, lifepo4_graph.orbit)


# --- the host of a hop


def test_host_is_the_crystal_without_its_two_ends(lifepo4, lifepo4_graph):
    for hop in lifepo4_graph.hops:
        n_cells = round(np.linalg.det(hop.lattice) / lifepo4.volume_A3)
        assert len(hop.host_species) == n_cells * lifepo4.n_sites - 2
        big = Structure(Lattice(hop.lattice), [dict(s) for s in hop.host_species], hop.host_frac)
        for end in (hop.path_frac[0], hop.path_frac[-1]):
            big.append("Li", end)
        assert min(n for _, n in _neighbor_counts(big)) == max(
            n for _, n in _neighbor_counts(big)
        ), "every Li of the refilled host sees the same neighbours"


def _neighbor_counts(structure):
    for k in [k for k, site in enumerate(structure) if site.species_string == "Li"]:
        yield k, len(structure.get_neighbors(structure[k], 3.4))


@pytest.mark.parametrize("name", ["lifepo4", "garnet"])
def test_what_a_hop_is_without_its_host_is_what_it_is_with_it(name, request):
    for hop in find_hops(request.getfixturevalue(name)).hops:
        before = hop.path_A, hop.elements, hop.distance_A
        whole = replace(hop, extra=dict(hop.extra))  # a record of its own, host and all
        np.testing.assert_allclose(whole.path_A, before[0], atol=TIGHT)
        assert whole.elements == before[1]
        assert whole.distance_A == pytest.approx(before[2])
        sent = pickle.loads(pickle.dumps(hop))
        np.testing.assert_array_equal(sent.host_frac, whole.host_frac)
        assert sent.host_species == whole.host_species
        assert not hasattr(hop, "hosts")


@pytest.mark.parametrize("name", ["lifepo4", "licoo2", "garnet"])
def test_no_image_of_an_emptied_end_within_the_cutoff(name, request):
    for hop in find_hops(request.getfixturevalue(name)).hops:
        ends = hop.path_frac[[0, -1]]
        _, _, shift, _ = neighbors_within(
            hop.lattice, ends, hop.path_A, ENVIRONMENT_CUTOFF_A - TIGHT
        )
        assert np.all(shift == 0), "the path sees no other copy of its ends"


def test_path_over_a_third_site_finds_it_and_its_host_is_empty_there():
    ions = net(3.0 * np.eye(3), [[0, 0, 0]])
    detour = np.array([[0, 0, 0], [1.5, 0.1, 0], [2.9, 0.2, 0], [3.0, 1.5, 0], [3.0, 3.0, 0]])
    straight = np.linspace(detour[0], detour[-1], len(detour))
    passed, none = passed_sites(ions.lattice, ions.frac, np.stack([detour, straight]))
    assert passed == pytest.approx(np.array([[3.0, 0, 0]]))
    assert len(none) == 0
    (size,) = host_sizes(ions.lattice, detour[None], [passed], np.zeros(1))
    hop = CrystalHop.of(ions, "Li", 0, detour, size, {"passed_sites_A": passed.tolist()})
    n_cells = round(np.linalg.det(hop.lattice) / ions.volume_A3)
    assert len(hop.host_species) == n_cells - 3
    _, atom, _, _ = neighbors_within(hop.lattice, hop.host_frac, hop.path_A, 1.2)
    assert len(atom) == 0


def test_host_of_a_split_site_loses_the_whole_site(garnet):
    graph = find_hops(garnet)
    for hop in graph.hops:
        ions = np.array([k for k, s in enumerate(hop.host_species) if "Li" in s])
        _, _, _, distance = neighbors_within(
            hop.lattice, hop.host_frac[ions], hop.path_A[[0, -1]], 4.0
        )
        assert distance.min() > EXCLUSION_A
        assert any(s.get("Li") == pytest.approx(0.564) for s in hop.host_species)


# --- crystals of the field


def test_lifepo4_hops_along_b(lifepo4, lifepo4_graph):
    hop = lifepo4_graph.hops[0]
    vector = hop.path_A[-1] - hop.path_A[0]
    assert np.linalg.norm(vector) == pytest.approx(6.010 / 2, abs=0.01)
    assert abs(vector[1]) == pytest.approx(np.linalg.norm(vector))
    assert dimensions(lifepo4_graph, lifepo4_graph.orbit == 0) == 1
    assert lifepo4_graph.n_carriers == lifepo4_graph.n_ions == 4
    bow = np.abs(hop.path_A[:, [0, 2]] - hop.path_A[0, [0, 2]]).max()
    assert bow > 0.2, "the ion swerves round the shared edge"


def test_licoo2_hops_in_its_layers(licoo2):
    graph = find_hops(licoo2)
    in_plane = np.isclose(graph.length_A, 2.816, atol=COORDINATES)
    assert in_plane.sum() == 3 * graph.n_sites
    assert set(graph.orbit[in_plane]) == {0}
    assert dimensions(graph, in_plane) == 2
    assert graph.n_sites == graph.n_carriers == 1  # rhombohedral cell


def test_garnet_split_sites_connect_in_three_dimensions(garnet):
    graph = find_hops(garnet)
    assert graph.n_sites == (24 + 96) / 2  # the primitive cell is half of the body-centred one
    assert dimensions(graph) == 3
    assert graph.n_ions == pytest.approx((24 * 0.564 + 96 * 0.442) / 2)
    # 24 + 48 places (the 96h sites are 48 split ones), 56 ions: vacancies are the rarer
    assert graph.carrier == "vacancy"
    assert graph.n_carriers == 8 / 2
    assert len(set(graph.site_orbit)) == 2


def test_empty_olivine_finds_the_lithium_sites(lifepo4):
    host = crystal(
        "Pnma",
        OLIVINE,
        [*OLIVINE_HOST, "O", "O"],
        [*OLIVINE_HOST.values(), *OLIVINE_OXYGEN],
        "FePO4",
    )
    graph = find_hops(host, working_ion="Li")
    ions = lifepo4.frac[lifepo4.occupancy("Li") > 0]
    _, _, _, distance = neighbors_within(
        graph.crystal.lattice, graph.site_frac, ions @ lifepo4.lattice, SITE_DISTANCE_A
    )
    assert len(distance) == len(ions)
    assert graph.carrier == "interstitial"
    assert graph.n_ions == 0
    assert 0 < graph.n_carriers <= 4
    assert dimensions(graph) >= 1


def test_sites_too_far_apart_are_joined_by_vacant_ones():
    """One Li in eight cages of cubic WO3: with the empty ones they make a simple cubic net."""
    oxide = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.8), ["W", "O"], [[0, 0, 0], [0.5, 0, 0]]
    )
    oxide.make_supercell(2)
    oxide.append("Li", [0.25, 0.25, 0.25])
    graph = find_hops(Crystal.from_pymatgen(oxide, "LiW8O24"))
    assert graph.site_occupancy.tolist() == [1.0] + [0.0] * 7
    assert graph.length_A == pytest.approx([3.8] * 24)
    assert dimensions(graph) == 3
    assert graph.carrier == "interstitial"
    assert graph.n_carriers == 1


def test_mixed_site_is_emptied_and_counted_once():
    """Li and Na listed apart on one point: the ion leaves it, and the place counts as one."""
    lattice = np.diag([3.0, 9.0, 9.0])
    mixed = Crystal(
        "mixed",
        lattice,
        ({"Li": 0.6}, {"Na": 0.4}, {"O": 1.0}),
        np.array([[0, 0, 0], [0, 0, 0], [0.5, 0.5, 0.5]]),
    )
    hop = find_hops(mixed, working_ion="Li").hops[0]
    end, atom, _, _ = neighbors_within(hop.lattice, hop.host_frac, hop.path_A[[0, -1]], 1.0)
    assert sorted(end) == [0, 1]
    assert [hop.host_species[k] for k in atom] == [{"Na": 0.4}] * 2


@pytest.mark.parametrize(
    ("species", "expected"),
    [
        ([{"Li": 1.0}, {"Co": 1.0}, {"O": 1.0}, {"O": 1.0}], 1),
        ([{"Li": 0.5}, {"Li": 0.5}, {"Al": 0.15, "Ti": 0.85}, {"Al": 0.15, "Ti": 0.85}], 2),
        ([{"Li": 1.0}, {"Li": 1.0}, {"O": 1.0}, {"O": 1.0}], 2),
    ],
    ids=["ordered", "shared site", "rock salt"],
)
def test_formula_units(species, expected):
    frac = np.linspace(0, 0.9, len(species))[:, None] * np.ones(3)
    assert formula_units(Crystal("c", 6 * np.eye(3), tuple(species), frac), "Li") == expected


# --- symmetry


def test_identity_stands_in_where_the_group_does_not_fit(lifepo4):
    group = space_group(lifepo4)
    assert len(group[0]) == 8
    broken = site_images(group, lifepo4.lattice, np.array([[0.1, 0.2, 0.3], [0.4, 0.1, 0.2]]))
    assert len(broken.rotation) == 1
    assert broken.orbits().tolist() == [0, 1]


def test_partial_occupancy_lowers_the_symmetry():
    full = net(3.0 * np.eye(3), [[0, 0, 0]])
    double = supercell(full, (2, 1, 1))
    assert len(set(find_hops(double).site_orbit)) == 1
    uneven = replace(double, species=({"Li": 1.0}, {"Li": 0.5}))
    assert len(set(find_hops(uneven).site_orbit)) == 2


# --- refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frac": np.array([[0, 0, 0], [np.nan, 0, 0]])}, "not finite"),
        ({"lattice": np.diag([5.0, np.inf, 5.0])}, "not finite"),
        ({"frac": np.array([[0, 0, 0], [0.02, 0, 0]])}, "0.10 angstrom apart"),
        ({"lattice": np.diag([5.0, 5.0, 0.0])}, "cubic angstrom"),
        ({"species": ({"Li": 1.3}, {"O": 1.0})}, "add up to 1.3"),
        ({"species": ({"Li": float("nan")}, {"O": 1.0})}, "add up to nan"),
        ({"species": (), "frac": np.zeros((0, 3))}, "no atoms"),
        ({"species": ({"C": 1.0}, {"O": 1.0})}, "no working ion"),
        ({"lattice": 1e6 * np.eye(3)}, "more than 10000 an atom"),
    ],
)
def test_impossible_crystals_are_refused_in_one_line(change, message):
    good = Crystal(
        "bad", 5.0 * np.eye(3), ({"Li": 1.0}, {"O": 1.0}), np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    )
    check_geometry(good)
    with pytest.raises(UnusableStructureError, match=message) as error:
        find_hops(replace(good, **change))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("bad:")


def test_two_half_atoms_may_share_a_point():
    check_geometry(
        Crystal(
            "split",
            4.0 * np.eye(3),
            ({"Li": 0.5}, {"Li": 0.5}),
            np.array([[0, 0, 0], [0.05, 0, 0]]),
        )
    )


def test_one_site_listed_twice_is_refused():
    twice = Crystal(
        "twice",
        4.0 * np.eye(3),
        ({"Li": 0.5}, {"Li": 0.5}),
        np.array([[0, 0, 0], [0.01, 0, 0]]),
    )
    with pytest.raises(UnusableStructureError, match="merge them"):
        find_hops(twice)


def test_wrong_working_ion_is_answered_with_the_right_one(licoo2):
    with pytest.raises(UnusableStructureError, match="pass working_ion='Li'"):
        find_hops(licoo2, working_ion="Na")


def test_too_many_sites_are_counted():
    big = supercell(net(3.0 * np.eye(3), [[0, 0, 0]]), (8, 8, 8))
    assert find_hops(big).n_sites == 1  # a supercell is reduced to its primitive cell
    noise = np.random.default_rng(0).normal(scale=0.01, size=big.frac.shape)
    big = replace(big, frac=big.frac + noise)
    with pytest.raises(UnusableStructureError, match="512 sites of Li"):
        find_hops(big)


def test_widths_are_distances_between_faces():
    lattice = np.array([[4.0, 0, 0], [3.0, 5.0, 0], [0, 0, 7.0]])
    assert perpendicular_widths(lattice) == pytest.approx([20 / np.hypot(3, 5), 5.0, 7.0])
