"""What every hop network owes to physics; a new network is added to NETWORKS and inherits it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig, HopOutput
from ionbridge.structures.features.graph import N_PROBES, HopData, hop_graph, migration_graph_data
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import find_hops
from tests.small_crystals import (
    LAYERED,
    LOW_SYMMETRY,
    ROCK_SALT,
    SAME_HOP,
    moved,
    one_atom_hop,
    skew_hop,
    supercell,
    with_profile,
)
from tests.tolerances import INVARIANCE

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "hop": lambda: HopNetwork(HopNetworkConfig(n_features=16, n_basis=12)),
    "hop_without_scalars": lambda: HopNetwork(
        HopNetworkConfig(n_features=12, n_layers=1, n_basis=8, use_scalars=False)
    ),
    "hop_deep_with_dropout": lambda: HopNetwork(
        HopNetworkConfig(n_features=8, n_layers=4, n_basis=8, dropout=0.3)
    ),
}
PER_HOP = ("start_eV", "end_eV", "kra_eV", "log_scale", "profile", "embedding")
VISIBLE = 1e-4
"""A different hop is different by more than rounding, even to a network that was never trained."""
RELAXED_EV = 2e-3
"""One path relaxed in two descriptions of a crystal, as an untrained network reads it."""


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request) -> nn.Module:
    torch.manual_seed(3)
    made = request.param().eval()
    with torch.no_grad():  # large weights, so that every input counts
        for parameter in made.parameters():
            parameter.mul_(1.5)
    return made


@pytest.fixture(scope="module")
def low_symmetry() -> MigrationGraph:
    return find_hops(LOW_SYMMETRY)


@pytest.fixture(scope="module")
def rock_salt() -> MigrationGraph:
    return find_hops(ROCK_SALT)


@pytest.fixture(scope="module")
def layered() -> MigrationGraph:
    return find_hops(LAYERED)


def read(network: nn.Module, *graphs: HopData) -> HopOutput:
    with torch.no_grad():
        return network(HopData.batch_of(graphs))


def assert_equal(got: HopOutput, expected: HopOutput, atol: float = INVARIANCE) -> None:
    for name in PER_HOP:
        value, truth = getattr(got, name), getattr(expected, name)
        torch.testing.assert_close(value, truth, rtol=1e-4, atol=atol, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize("change", SAME_HOP.values(), ids=SAME_HOP)
def test_one_hop_in_other_words_is_one_hop(network, change):
    for seed in (0, 1):
        hop = skew_hop(seed)
        assert_equal(
            read(network, hop_graph(change(hop))), read(network, hop_graph(hop)), INVARIANCE * 10
        )


def test_another_hop_is_another_hop(network):
    hop = skew_hop(0)
    before = read(network, hop_graph(hop)).forward_eV
    for atom in range(len(hop.host_species)):
        after = read(network, hop_graph(moved(hop, atom, by_A=0.2))).forward_eV
        assert abs(float(after - before)) > VISIBLE, f"blind to atom {atom}"


def test_backwards_forward_and_backward_barrier_change_places(network):
    for seed in range(4):
        hop = with_profile(skew_hop(seed), [0.0, 7.5, 2.0])
        out, back = read(network, hop_graph(hop)), read(network, hop_graph(hop.reversed()))
        torch.testing.assert_close(back.forward_eV, out.backward_eV, rtol=1e-4, atol=INVARIANCE)
        torch.testing.assert_close(back.backward_eV, out.forward_eV, rtol=1e-4, atol=INVARIANCE)
        torch.testing.assert_close(back.start_eV, out.end_eV, rtol=1e-4, atol=INVARIANCE)
        torch.testing.assert_close(back.log_scale, out.log_scale, rtol=1e-4, atol=INVARIANCE)
        torch.testing.assert_close(back.profile, out.profile.flip(1), rtol=1e-4, atol=INVARIANCE)


def test_both_ways_of_a_symmetric_hop_are_alike(network, rock_salt):
    out = read(network, migration_graph_data(rock_salt))
    torch.testing.assert_close(out.forward_eV, out.backward_eV, rtol=0, atol=RELAXED_EV)
    torch.testing.assert_close(out.profile, out.profile.flip(1), rtol=0, atol=10 * RELAXED_EV)


def test_barriers_are_positive_both_ways(network, low_symmetry):
    out = read(network, migration_graph_data(low_symmetry))
    assert (out.forward_eV > 0).all()
    assert (out.backward_eV > 0).all()


def test_batch_of_one_equals_single_and_neighbours_in_a_batch_do_not_matter(network):
    graphs = [hop_graph(skew_hop(k)) for k in range(5)] + [hop_graph(one_atom_hop())]
    with torch.no_grad():
        alone = [network(graph) for graph in graphs]
    assert_equal(read(network, graphs[2]), alone[2])
    together = read(network, *graphs)
    turned = read(network, *reversed(graphs))
    for k, expected in enumerate(alone):
        row = HopOutput(*(value[k : k + 1] for value in together))
        assert_equal(row, expected)
        row = HopOutput(*(value[-1 - k][None] for value in turned))
        assert_equal(row, expected)


def test_a_batch_of_crystals_equals_crystal_by_crystal(network, low_symmetry, layered):
    graphs = [migration_graph_data(low_symmetry), migration_graph_data(layered)]
    parts = [read(network, graph) for graph in graphs]
    expected = HopOutput(*(torch.cat(values) for values in zip(*parts, strict=True)))
    assert_equal(read(network, *graphs), expected)


def test_finite_for_one_atom_cells(network):
    out = read(network, hop_graph(one_atom_hop()))
    for name in PER_HOP:
        assert torch.isfinite(getattr(out, name)).all(), name
    torch.testing.assert_close(out.forward_eV, out.backward_eV)  # the two ends are equivalent
    assert out.profile.shape == (1, N_PROBES)


@pytest.mark.parametrize("name", ["low_symmetry", "layered"])
def test_the_graph_of_a_crystal_gives_what_its_hop_records_give(network, name, request):
    graph = request.getfixturevalue(name)
    singles = read(network, *(hop_graph(hop) for hop in graph.hops))
    assert_equal(read(network, migration_graph_data(graph)), singles, INVARIANCE * 10)


@pytest.fixture(scope="module")
def doubled() -> dict[str, MigrationGraph]:
    crystals = {"rock_salt": ROCK_SALT, "low_symmetry": LOW_SYMMETRY}
    return {name: find_hops(supercell(c, (1, 2, 1))) for name, c in crystals.items()}


@pytest.mark.parametrize("name", ["rock_salt", "low_symmetry"])
def test_hops_do_not_depend_on_the_cell_of_the_crystal(network, name, doubled, request):
    """Found, relaxed and read anew from a supercell, every edge has the barriers that it had."""
    single, double = request.getfixturevalue(name), doubled[name]
    assert double.n_edges == single.n_edges
    barriers = []
    for graph in (single, double):
        out = read(network, migration_graph_data(graph))
        both = torch.stack([out.forward_eV, out.backward_eV]).sort(dim=0).values
        barriers.append(both[:, graph.orbit].sort(dim=1).values)
    torch.testing.assert_close(barriers[1], barriers[0], rtol=0, atol=RELAXED_EV)


def site_energies(graph: MigrationGraph, out: HopOutput) -> dict[int, list[float]]:
    """All energies that the hops of a crystal give to each of its sites."""
    found: dict[int, list[float]] = {}
    for hop, start, end in zip(graph.hops, out.start_eV, out.end_eV, strict=True):
        for site, energy in ((hop.extra["start_site"], start), (hop.extra["end_site"], end)):
            found.setdefault(int(graph.site_orbit[site]), []).append(float(energy))
    return found


def test_a_site_has_one_energy_whatever_hop_asks(network, low_symmetry):
    energies = site_energies(low_symmetry, read(network, migration_graph_data(low_symmetry)))
    assert len(energies) == 2
    for values in energies.values():
        assert len(values) > 2
        np.testing.assert_allclose(values, values[0], atol=INVARIANCE * 10)
    assert abs(energies[0][0] - energies[1][0]) > VISIBLE  # the two sites differ


def test_forward_minus_backward_sums_to_zero_round_every_loop(network, low_symmetry):
    """Edge differences are a gradient: the best site potentials explain them without residual."""
    graph = low_symmetry
    out = read(network, migration_graph_data(graph))
    difference = (out.forward_eV - out.backward_eV).double().numpy()[graph.orbit]
    difference = np.where(graph.reversed, -difference, difference)
    rows = np.arange(graph.n_edges)
    incidence = np.zeros((graph.n_edges, graph.n_sites))
    np.add.at(incidence, (rows, graph.end), 1.0)
    np.add.at(incidence, (rows, graph.start), -1.0)
    assert graph.n_edges > graph.n_sites  # there are loops
    potential = np.linalg.lstsq(incidence, difference, rcond=None)[0]
    np.testing.assert_allclose(incidence @ potential, difference, atol=INVARIANCE * 10)
    assert np.abs(difference).max() > VISIBLE


def test_working_ions_of_the_host_change_the_saddle_but_no_site_energy(network):
    hop = skew_hop(0)
    ion = hop.host_species.index({"Li": 1.0})
    with_ion = read(network, hop_graph(hop))
    shifted = read(network, hop_graph(moved(hop, ion, by_A=0.4)))
    torch.testing.assert_close(shifted.start_eV, with_ion.start_eV, rtol=0, atol=INVARIANCE)
    torch.testing.assert_close(shifted.end_eV, with_ion.end_eV, rtol=0, atol=INVARIANCE)
    assert abs(float(shifted.kra_eV - with_ion.kra_eV)) > VISIBLE


def with_occupancy(occupancy: float) -> HopData:
    """A hop whose Mg site is filled to this extent, the framework volume kept out of it."""
    hop = skew_hop(0)
    site = hop.host_species.index({"Mg": 0.5})
    species = list(hop.host_species)
    species[site] = {"Mg": occupancy}
    graph = hop_graph(skew_hop(0, host_species=tuple(species)))
    graph.scalars = torch.zeros_like(graph.scalars)
    return graph


def test_the_last_trace_of_a_species_is_no_species(network):
    hop = skew_hop(0)
    site = hop.host_species.index({"Mg": 0.5})
    rest = [k for k in range(len(hop.host_species)) if k != site]
    without = hop_graph(
        skew_hop(
            0,
            host_species=tuple(hop.host_species[k] for k in rest),
            host_frac=hop.host_frac[rest],
        )
    )
    without.scalars = torch.zeros_like(without.scalars)
    empty = read(network, without)
    traces = [
        read(network, with_occupancy(share)).forward_eV - empty.forward_eV for share in (1e-6, 0.5)
    ]
    assert abs(float(traces[0])) < 10 * INVARIANCE
    assert abs(float(traces[1])) > VISIBLE


def test_gradients_reach_every_parameter(network, low_symmetry):
    graphs = [hop_graph(skew_hop(k)) for k in range(3)] + [migration_graph_data(low_symmetry)]
    out = network.train()(HopData.batch_of(graphs))
    total: Tensor = sum(getattr(out, name).square().sum() for name in PER_HOP)
    total.backward()
    silent = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not (parameter.grad != 0).any()
    ]
    assert silent == []


def test_outputs_follow_the_precision_of_the_weights(network):
    graph = hop_graph(skew_hop(1))
    single = read(network, graph)
    double = graph.clone()
    for name in ("x", "weight", "edge_length", "probe_length", "ion", "scalars"):
        double[name] = graph[name].double()
    exact = read(network.double(), double)
    assert exact.forward_eV.dtype == torch.float64
    torch.testing.assert_close(single.forward_eV.double(), exact.forward_eV, rtol=1e-4, atol=1e-4)
