"""The hop graph: what it holds, and what it must not depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.core import Element

from ionbridge.structures.bond_valence.minimum_energy_path import equally_spaced
from ionbridge.structures.crystals.neighbors import neighbors_within
from ionbridge.structures.features.graph import (
    BVSE_CAP_EV,
    HOST_CUTOFF_A,
    N_PROBES,
    OXIDATION_SCALE,
    PATH_SCALARS,
    PROBE_CUTOFF_A,
    SPECIES_FEATURES,
    HopData,
    hop_graph,
    migration_graph_data,
    species_features,
)
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.json_records import hop_from_json, hop_to_json
from ionbridge.structures.records import Crystal, UnusableStructureError
from tests.small_crystals import (
    LAYERED,
    LOW_SYMMETRY,
    SAME_HOP,
    STATES,
    moved,
    one_atom_hop,
    skew_hop,
    with_profile,
)
from tests.tolerances import EXACT, INVARIANCE, TIGHT

VISIBLE = 1e-2
"""Angstrom: a change of geometry that is one."""


def scalar(graph: HopData, name: str, hop: int = 0) -> float:
    return float(graph.scalars[hop, PATH_SCALARS.index(name)])


def surroundings(graph: HopData, hop: int = 0) -> np.ndarray:
    """(n, 3) sorted image, distance and species of all that a hop's images see."""
    atom, probe = graph.probe_index
    mine = probe // N_PROBES == hop
    columns = [
        (probe[mine] % N_PROBES).double(),
        graph.probe_length[mine].double(),
        graph.x[atom[mine]].double().sum(dim=1) * graph.weight[atom[mine]].double(),
    ]
    rows = torch.stack(columns, dim=1).numpy()
    return in_order(rows)


def in_order(rows: np.ndarray) -> np.ndarray:
    """Rows sorted by image, species, distance."""
    return rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]


def bonds(graph: HopData) -> np.ndarray:
    """Sorted lengths of the edges among the framework, a copy of the cell."""
    return np.sort(graph.edge_length.double().numpy())


@pytest.mark.parametrize("change", SAME_HOP.values(), ids=SAME_HOP)
def test_one_hop_in_other_words_gives_the_same_graph(change):
    hop = skew_hop(3)
    graph, other = hop_graph(hop), hop_graph(change(hop))
    np.testing.assert_allclose(surroundings(other), surroundings(graph), atol=INVARIANCE)
    np.testing.assert_allclose(other.scalars, graph.scalars, atol=INVARIANCE)
    copies = other.num_nodes // graph.num_nodes
    np.testing.assert_allclose(bonds(other), np.repeat(bonds(graph), copies), atol=INVARIANCE)


def test_the_graph_sees_an_atom_that_moved():
    hop = skew_hop(3)
    graph, other = hop_graph(hop), hop_graph(moved(hop, atom=1, by_A=0.1))
    assert (graph.scalars - other.scalars).abs().max() > VISIBLE
    assert abs(bonds(graph).min() - bonds(other).min()) > VISIBLE


def test_a_hop_run_backwards_has_the_images_in_reverse_and_the_same_scalars():
    hop = skew_hop(5)
    graph, back = hop_graph(hop), hop_graph(hop.reversed())
    rows = surroundings(back)
    rows[:, 0] = N_PROBES - 1 - rows[:, 0]
    np.testing.assert_allclose(in_order(rows), surroundings(graph), atol=INVARIANCE)
    np.testing.assert_allclose(back.scalars, graph.scalars, atol=INVARIANCE)


@pytest.mark.parametrize("profile", [[0.0, 0.9, 0.2], [0.0, 9.0, 4.0], [0.0, 7.0, -8.0]])
def test_bond_valence_scalars_are_the_same_either_way(profile):
    hop = with_profile(skew_hop(1), profile)
    graph, back = hop_graph(hop), hop_graph(hop.reversed())
    for name in ("bvse_kra", "bvse_site_difference"):
        assert scalar(graph, name) == pytest.approx(scalar(back, name), abs=INVARIANCE)
    expected = min(max(profile) - 0.5 * (profile[0] + profile[-1]), BVSE_CAP_EV)
    assert scalar(graph, "bvse_kra") == pytest.approx(expected, abs=INVARIANCE)


def test_shapes_are_those_of_the_docstring():
    graph = hop_graph(skew_hop(0))
    n_host = graph.num_nodes
    assert graph.x.shape == (n_host, len(SPECIES_FEATURES))
    assert graph.weight.shape == (n_host,)
    assert graph.edge_index.shape == (2, len(graph.edge_length))
    assert graph.probe_index.shape == (2, len(graph.probe_length))
    assert graph.probe_from_ion.shape == graph.probe_length.shape
    assert graph.ion.shape == (1, len(SPECIES_FEATURES))
    assert graph.scalars.shape == (1, len(PATH_SCALARS))
    floats = ("x", "weight", "edge_length", "probe_length", "ion", "scalars")
    assert {graph[name].dtype for name in floats} == {torch.float32}
    assert {graph[name].dtype for name in ("edge_index", "probe_index")} == {torch.int64}
    assert graph.edge_length.max() <= HOST_CUTOFF_A
    assert graph.probe_length.max() <= PROBE_CUTOFF_A
    assert graph.probe_index[1].max() < N_PROBES


def test_working_ions_stay_out_of_the_framework():
    hop = skew_hop(0)
    graph = hop_graph(hop)
    ion = hop.host_species.index({"Li": 1.0})
    assert not (graph.edge_index == ion).any()
    assert torch.equal(graph.probe_from_ion, graph.probe_index[0] == ion)


def test_probe_edges_are_all_pairs_within_the_cutoff():
    hop = skew_hop(7)
    images = equally_spaced(hop.path_A, N_PROBES)
    _, _, _, distance = neighbors_within(hop.lattice, hop.host_frac, images, PROBE_CUTOFF_A)
    graph = hop_graph(hop)
    np.testing.assert_allclose(np.sort(graph.probe_length), np.sort(distance), atol=INVARIANCE)


def test_a_mixed_site_lies_between_its_species():
    magnesium, calcium = (species_features({s: 1.0}, STATES) for s in ("Mg", "Ca"))
    mixed = species_features({"Mg": 0.5, "Ca": 0.5}, STATES)
    np.testing.assert_allclose(mixed, 0.5 * (magnesium + calcium), atol=EXACT)
    quarter = species_features({"Mg": 0.15, "Ca": 0.05}, STATES)
    np.testing.assert_allclose(
        quarter[:-1], 0.75 * magnesium[:-1] + 0.25 * calcium[:-1], atol=TIGHT
    )
    assert quarter[-1] == pytest.approx(0.2)


def test_species_features_are_those_of_the_element():
    features = dict(zip(SPECIES_FEATURES, species_features({"O": 1.0}, STATES), strict=True))
    assert features["oxidation_state"] * OXIDATION_SCALE == pytest.approx(-2.0)
    assert features["ionic_radius"] == pytest.approx(float(Element("O").ionic_radii[-2]))
    assert features["is_anion"] == 1.0
    assert features["p_block"] == 1.0
    iron = dict(zip(SPECIES_FEATURES, species_features({"Fe": 1.0}, {"Fe": 3.0}), strict=True))
    assert iron["d_electrons"] * 10 == pytest.approx(5.0)  # Fe3+ is d5


@pytest.mark.parametrize("symbol", ["H", "He", "Xe", "U", "Cf", "Lr"])
def test_every_element_has_finite_features(symbol):
    assert np.isfinite(species_features({symbol: 1.0}, {symbol: 0.0})).all()


def test_a_site_shared_with_the_working_ion_becomes_two_nodes():
    hop = skew_hop(0)
    shared = replace(hop, host_species=(*hop.host_species[:-1], {"Li": 0.4, "Mn": 0.6}))
    graph = hop_graph(shared)
    assert graph.num_nodes == len(hop.host_species) + 1
    assert float(graph.weight.sum()) == pytest.approx(4.5)
    assert float(graph.edge_length.min()) > 1.0  # the two halves do not bond to each other


def test_an_empty_species_is_no_atom():
    hop = skew_hop(0)
    padded = replace(hop, host_species=tuple({**s, "Ca": 0.0} for s in hop.host_species))
    np.testing.assert_allclose(surroundings(hop_graph(padded)), surroundings(hop_graph(hop)))


def test_path_scalars_of_a_known_geometry():
    graph = hop_graph(one_atom_hop())
    assert scalar(graph, "hop_length") == pytest.approx(np.sqrt(8.0) / 3.0, abs=INVARIANCE)
    assert scalar(graph, "tortuosity") == pytest.approx(0.0, abs=INVARIANCE)
    # ends are the face centres, sqrt(2)/2 a from the anion; the middle is (1/2, 1/4, 1/4) a
    assert scalar(graph, "end_anion") == pytest.approx(np.sqrt(8.0), abs=INVARIANCE)
    assert scalar(graph, "bottleneck_anion") == pytest.approx(np.sqrt(6.0), abs=INVARIANCE)
    assert scalar(graph, "end_cation") == PROBE_CUTOFF_A
    assert scalar(graph, "volume_per_atom") == pytest.approx(6.4, abs=INVARIANCE)
    assert scalar(graph, "bvse_missing") == 1.0


def test_a_host_of_working_ions_alone_is_refused():
    hop = replace(one_atom_hop(), host_species=({"Li": 1.0},))
    with pytest.raises(UnusableStructureError, match=r"one-atom.*no atom but Li"):
        hop_graph(hop)


def test_a_path_far_from_the_framework_is_refused():
    hop = replace(one_atom_hop(), lattice=30.0 * np.eye(3))
    with pytest.raises(UnusableStructureError, match=r"one-atom.*5.0 angstrom of the path"):
        hop_graph(hop)


def test_a_batch_keeps_hosts_and_probes_apart():
    graphs = [hop_graph(skew_hop(k)) for k in range(3)]
    batch = HopData.batch_of(graphs)
    atom, probe = batch.probe_index
    assert torch.equal(batch.batch[atom], probe // N_PROBES)
    src, dst = batch.edge_index
    assert torch.equal(batch.batch[src], batch.batch[dst])


def test_a_batch_is_that_of_pytorch_geometric():
    from torch_geometric.data import Batch

    graphs = [hop_graph(skew_hop(k)) for k in range(3)]
    ours, theirs = HopData.batch_of(graphs), Batch.from_data_list([g.to_pyg() for g in graphs])
    for name in ours.keys():  # noqa: SIM118
        assert torch.equal(ours[name], theirs[name]), name


@pytest.fixture(scope="module", params=[LOW_SYMMETRY, LAYERED], ids=lambda c: c.id)
def migration_graph(request):
    return find_hops(request.param)


def test_one_graph_for_all_hops_of_a_crystal_sees_what_each_hop_sees(migration_graph):
    """The hosts of the hops are supercells with emptied sites, the crystal's is one cell."""
    whole = migration_graph_data(migration_graph)
    assert len(whole.scalars) == len(migration_graph.hops)
    for k, hop in enumerate(migration_graph.hops):
        single = hop_graph(hop)
        np.testing.assert_allclose(whole.scalars[k], single.scalars[0], atol=INVARIANCE)
        np.testing.assert_allclose(whole.ion[k], single.ion[0], atol=INVARIANCE)
        rows, expected = surroundings(whole, k), surroundings(single)
        np.testing.assert_allclose(rows, expected, atol=INVARIANCE)


def mixed_rock_salt() -> Crystal:
    """Li and Mn share every cation site."""
    return Crystal(
        id="mixed",
        lattice=4.1 * (np.ones((3, 3)) - np.eye(3)) / 2,
        species=({"Li": 0.5, "Mn": 0.5}, {"O": 1.0}),
        frac=np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]),
        working_ion="Li",
    )


def test_a_hop_record_of_mixed_sites_sees_what_the_crystal_sees():
    """What shares an end with the ion is missing there alone, by either route."""
    graph = find_hops(mixed_rock_salt())
    whole = migration_graph_data(graph)
    for k, hop in enumerate(graph.hops):
        assert {"Mn": 0.5} in hop.host_species
        single = hop_graph(hop_from_json(hop_to_json(hop)))
        np.testing.assert_allclose(surroundings(whole, k), surroundings(single), atol=INVARIANCE)
        np.testing.assert_allclose(whole.scalars[k], single.scalars[0], atol=INVARIANCE)


def test_a_mixed_site_looks_the_same_to_every_hop_that_starts_there():
    """Else the energy of the site would depend on the hop, and loops would not close."""
    graph = find_hops(mixed_rock_salt())
    data = migration_graph_data(graph)
    framework = ~data.probe_from_ion
    views = []
    for hop in range(len(graph.hops)):
        for image in (0, N_PROBES - 1):
            seen = framework & (data.probe_index[1] == hop * N_PROBES + image)
            views.append(np.sort(data.probe_length[seen].numpy()))
    assert views[0].size > 0
    for view in views[1:]:
        np.testing.assert_allclose(view, views[0], atol=INVARIANCE)
    assert views[0].min() > 1.0  # what shares the site with the ion leaves with it
