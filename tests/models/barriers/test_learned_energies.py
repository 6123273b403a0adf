"""Energies that pretrained networks expect: symmetric, stored whole, and right about olivine."""

import numpy as np

from ionbridge.models.barriers.learned_energies import LearnedEnergies, learned_view
from ionbridge.models.hop_networks.hop_graphs import graph_of
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.graph import migration_graph_data
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.hops.sites import find_hops
from tests.small_crystals import rotated, skew_hop

LEARNED = LearnedEnergies.shipped()
TARGET = LogShift(0.1)


def test_the_way_back_swaps_the_ends_and_keeps_the_saddle():
    hops = [skew_hop(k) for k in range(3)]
    start, end, saddle = LEARNED.energies([graph_of(hop) for hop in hops])
    back = LEARNED.energies([graph_of(hop.reversed()) for hop in hops])
    np.testing.assert_allclose(back[0], end, atol=1e-4)
    np.testing.assert_allclose(back[1], start, atol=1e-4)
    np.testing.assert_allclose(back[2], saddle, atol=1e-4)
    turned = LEARNED.energies([graph_of(rotated(hop)) for hop in hops])
    np.testing.assert_allclose(turned[2], saddle, atol=1e-3)
    view = learned_view((start, end, saddle), TARGET)
    np.testing.assert_allclose(learned_view(back, TARGET), view, atol=1e-4)


def test_it_comes_back_from_its_arrays():
    graphs = [graph_of(skew_hop(k)) for k in range(2)]
    again = LearnedEnergies.of_arrays(LEARNED.arrays(), LEARNED.config)
    np.testing.assert_array_equal(again.energies(graphs), LEARNED.energies(graphs))


def test_no_hops_have_no_energies():
    assert [len(values) for values in LEARNED.energies([])] == [0, 0, 0]


def test_the_channel_of_olivine_is_its_easiest_way():
    crystal = next(c for c in reference_crystals() if c.id == "LiFePO4-olivine")
    graph = find_hops(crystal)
    _, _, saddle = LEARNED.energies([migration_graph_data(graph)])
    easiest = graph.hops[int(np.argmin(saddle))]
    step = easiest.path_A[-1] - easiest.path_A[0]
    short_axis = crystal.lattice[1] / np.linalg.norm(crystal.lattice[1])
    assert abs(step @ short_axis) > 0.9 * np.linalg.norm(step)
