"""A crystal and its hops tell one story: the same saddles, the same sites, whichever is asked."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice

from ionbridge.models.library import load
from ionbridge.models.regressors.baselines import BASELINES
from ionbridge.screening.prediction.conduction import Conditions, conduction_row, site_energies
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal
from tests.small_crystals import skew_hop


def lithium_nitride() -> Crystal:
    """Li3N, P6/mmm: Li between the layers and in them, at 1b and 2c."""
    return Crystal(
        "Li3N",
        Lattice.hexagonal(3.648, 3.875).matrix,
        ({"Li": 1.0}, {"Li": 1.0}, {"Li": 1.0}, {"N": 1.0}),
        np.array([[0, 0, 0.5], [1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0], [0, 0, 0]]),
    )


def graphs() -> list[MigrationGraph]:
    named = ("LiFePO4-olivine", "LiMn2O4-spinel")
    crystals = [c for c in reference_crystals() if c.id in named]
    return [find_hops(crystal) for crystal in (lithium_nitride(), *crystals)]


@pytest.mark.parametrize("graph", graphs(), ids=lambda graph: graph.crystal.id)
def test_percolation_follows_from_the_barriers_of_the_hops(graph):
    """Barriers there and back of every hop give the levels: the crystal knows no others."""
    model = load("hop-barrier")
    (energies,) = model.crystal_energies([graph])
    row = conduction_row(graph, energies, Conditions(n_draws=8))
    forward = model.predict(graph.hops).mean
    backward = model.predict([hop.reversed() for hop in graph.hops]).mean
    np.testing.assert_allclose(energies.central_barrier_eV, forward, atol=2e-3)
    both = np.concatenate([forward, backward])
    worst = row["percolation_barrier_3d_eV"] or row["percolation_barrier_eV"]
    site = site_energies(graph, energies)[0]
    # a carrier may have to climb several hops from its lowest site, never more than these
    assert worst <= both.max() + np.ptp(site) + 2e-3


def test_lithium_nitride_percolates_below_its_highest_hop():
    model = load("hop-barrier")
    graph = find_hops(lithium_nitride())
    (energies,) = model.crystal_energies([graph])
    row = conduction_row(graph, energies, Conditions(n_draws=8))
    both = [model.predict(hops).mean for hops in (graph.hops, [h.reversed() for h in graph.hops])]
    assert row["percolation_barrier_3d_eV"] <= np.max(both) + 1e-3


def test_barriers_given_hop_by_hop_are_made_to_close_every_loop():
    hops = [skew_hop(k) for k in range(12)]
    barrier = np.linspace(0.2, 1.2, 12)
    graph = find_hops(lithium_nitride())
    model = BASELINES["trees"]().fit(hops, barrier)
    model.ions_ = ["Li"]
    (energies,) = model.crystal_energies([graph])
    orbit_of = {}
    for k, hop in enumerate(graph.hops):
        for end, values in (("start_site", energies.start_eV), ("end_site", energies.end_eV)):
            orbit = int(graph.site_orbit[hop.extra[end]])
            orbit_of.setdefault(orbit, []).append(values[0, k])
    assert all(np.ptp(values) < 1e-9 for values in orbit_of.values())
    forward = energies.central_barrier_eV
    assert (np.minimum(forward, forward - (energies.end_eV - energies.start_eV)[0]) > -1e-9).all()
    turned = replace(graph, hops=tuple(hop.reversed() for hop in graph.hops))
    (back,) = model.crystal_energies([turned])
    np.testing.assert_allclose(back.start_eV, energies.end_eV, atol=1e-9)
