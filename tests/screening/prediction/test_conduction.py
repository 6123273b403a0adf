"""A crystal's conduction from made-up hop energies, against closed forms."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from ionbridge.models.barriers.hop_model import HopEnergies
from ionbridge.screening.prediction.conduction import (
    Conditions,
    fast_direction,
    hop_network_row,
    one_sigma,
    site_energies,
)
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import UnusableStructureError
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, CM2_S_PER_A2_PS, CM3_PER_A3
from tests.screening.tiny import layered, rocksalt
from tests.tolerances import EXACT, TIGHT

T, NU, BARRIER = 500.0, 7.0, 0.31
KT = BOLTZMANN_EV_PER_K * T
SAMPLING = 0.03
"""Relative error of a standard deviation from 64 stratified draws."""


@lru_cache
def fcc() -> MigrationGraph:
    """The cation sublattice of rock salt: an fcc net with one kind of hop."""
    graph = find_hops(rocksalt())
    assert len(graph.hops) == 1
    return graph


def energies(graph: MigrationGraph, kra: list[float], aleatoric: float = 0.0) -> HopEnergies:
    """Equal sites; one barrier for all hops a member."""
    shape = (len(kra), len(graph.hops))
    return HopEnergies(
        np.zeros(shape),
        np.zeros(shape),
        np.tile(np.array(kra)[:, None], (1, shape[1])),
        np.full(shape[1], aleatoric),
        np.ones(shape[1], dtype=bool),
    )


def at(n_draws: int = 64, seed: int = 0) -> Conditions:
    return Conditions(T, NU, 0.10, n_draws, seed)


def test_fcc_random_walk_and_nernst_einstein() -> None:
    graph = fcc()
    row = hop_network_row(graph, energies(graph, [BARRIER]), at())
    length2 = graph.crystal.volume_A3 ** (2 / 3) * 4 ** (2 / 3) / 2  # (a / sqrt 2)^2, V = a^3 / 4
    rate = NU * np.exp(-BARRIER / KT)
    D = 12 * length2 * rate / 6 * CM2_S_PER_A2_PS
    density = graph.n_carriers / (graph.crystal.volume_A3 * CM3_PER_A3)
    assert row["log10_diffusivity_raw_cm2_s"] == pytest.approx(np.log10(D), abs=TIGHT)
    assert row["carrier_density_cm3"] == pytest.approx(density, rel=TIGHT)
    assert row["percolation_barrier_eV"] == pytest.approx(BARRIER, abs=TIGHT)
    assert row["percolation_barrier_3d_eV"] == pytest.approx(BARRIER, abs=TIGHT)
    assert row["percolation_dimensionality"] == 3
    assert row["percolation_barrier_std_eV"] == pytest.approx(0, abs=TIGHT)
    assert row["temperature_K"] == T


def test_aleatoric_spread_of_the_only_hop_is_that_of_the_crystal() -> None:
    row = hop_network_row(fcc(), energies(fcc(), [BARRIER], aleatoric=0.05), at())
    assert row["percolation_barrier_std_eV"] == pytest.approx(0.05, rel=SAMPLING)


def test_members_that_disagree_are_the_epistemic_spread() -> None:
    row = hop_network_row(fcc(), energies(fcc(), [0.2, 0.4]), at())
    assert row["percolation_barrier_std_eV"] == pytest.approx(0.1, abs=TIGHT)


def test_equal_sites_get_one_energy_by_averaging() -> None:
    graph = find_hops(layered())
    n = len(graph.hops)
    values = HopEnergies(
        np.arange(n, dtype=float)[None],
        np.ones((1, n)),
        np.ones((1, n)),
        np.zeros(n),
        np.ones(n, bool),
    )
    expected = np.mean([*range(n), *[1.0] * n])
    np.testing.assert_allclose(site_energies(graph, values), expected)


def test_the_order_of_hops_and_the_id_change_nothing() -> None:
    graph = find_hops(layered())
    kra = np.array([[0.3, 0.5], [0.4, 0.35], [0.25, 0.6]])
    given = energies(graph, [0.0] * 3, aleatoric=0.1)._replace(kra_eV=kra)
    row = hop_network_row(graph, given, at())
    other = replace(
        graph,
        crystal=replace(graph.crystal, id="under another name"),
        hops=graph.hops[::-1],
        orbit=1 - graph.orbit,
    )
    turned = hop_network_row(other, given._replace(kra_eV=kra[:, ::-1]), at())
    assert turned.pop("percolating_hops") != row.pop("percolating_hops")  # named by their index
    assert turned == pytest.approx(row)


def test_two_seeds_agree() -> None:
    """The centre is the same whatever is drawn; spreads from 512 draws of three members settle."""
    graph = find_hops(layered())
    kra = np.array([[0.3, 0.5], [0.4, 0.35], [0.25, 0.6]])
    given = energies(graph, [0.0] * 3, aleatoric=0.1)._replace(kra_eV=kra)
    rows = [hop_network_row(graph, given, Conditions(seed=seed)) for seed in range(4)]
    for column, tolerance in (
        ("percolation_barrier_eV", EXACT),
        ("percolation_barrier_2d_eV", EXACT),
        ("percolation_barrier_3d_eV", EXACT),
        ("log10_diffusivity_raw_cm2_s", EXACT),
        ("percolation_barrier_std_eV", 0.01),
    ):
        assert np.ptp([row[column] for row in rows]) <= tolerance, column
    assert rows[0]["percolation_barrier_std_eV"] != rows[1]["percolation_barrier_std_eV"]


def test_every_column_is_of_one_centre() -> None:
    """Members that disagree which hop is easy: barriers, network and hops follow their median."""
    graph = find_hops(layered())
    kra = np.array([[0.30, 0.90], [0.40, 0.35], [0.32, 1.10]])
    given = energies(graph, [0.0] * 3, aleatoric=0.1)._replace(kra_eV=kra)
    row = hop_network_row(graph, given, at())
    assert row["percolation_barrier_eV"] == pytest.approx(given.central_barrier_eV[0], abs=TIGHT)
    assert row["percolation_barrier_3d_eV"] == pytest.approx(given.central_barrier_eV[1], abs=TIGHT)
    assert row["percolation_dimensionality"] == 2
    assert row["percolating_hops"] == "0"
    alone = hop_network_row(
        graph, energies(graph, [0.0])._replace(kra_eV=np.array([[0.32, 0.90]])), at()
    )
    for column in ("log10_diffusivity_raw_cm2_s", "fast_direction"):
        assert row[column] == pytest.approx(alone[column]), column


def test_the_layered_oxide_conducts_in_its_plane() -> None:
    graph = find_hops(layered())
    assert len(graph.hops) == 2  # in the plane, and from plane to plane
    given = energies(graph, [0.3])
    given.kra_eV[:, 1] = 1.5
    row = hop_network_row(graph, given, at(), axes=layered().lattice)
    assert row["percolation_dimensionality"] == 2
    assert row["fast_direction"] == "plane (1 1 1)"  # of the rhombohedral cell: the basal plane
    assert row["percolating_hops"] == "0"
    assert row["percolation_barrier_3d_eV"] == pytest.approx(1.5, abs=TIGHT)


def test_only_hops_that_decide_need_to_be_in_the_domain() -> None:
    graph = find_hops(layered())
    given = energies(graph, [0.3])
    given.kra_eV[:, 1] = 1.5
    for k, expected in ((1, True), (0, False)):
        flags = np.ones(2, dtype=bool)
        flags[k] = False
        row = hop_network_row(graph, given._replace(in_domain=flags), at())
        assert row["in_domain"] is expected


def test_ions_that_cannot_cross_the_crystal_are_a_reason() -> None:
    graph = fcc()
    closed = MigrationGraph(**{**graph.__dict__, "shift": np.zeros_like(graph.shift)})
    with pytest.raises(UnusableStructureError, match="no path through the crystal"):
        hop_network_row(closed, energies(graph, [0.3]), at())


@pytest.mark.parametrize("seed", range(3))
def test_fast_direction_in_any_setting_of_the_cell(seed: int) -> None:
    turn = special_ortho_group.rvs(3, random_state=seed)
    lattice = np.diag([10.3, 6.0, 4.7]) @ turn
    along_b = turn[1]
    tensor = 1e-9 * np.outer(along_b, along_b) + 1e-20 * np.eye(3)
    assert fast_direction(tensor, lattice, 1) == "[0 1 0]"
    assert fast_direction(tensor, lattice[[1, 2, 0]], 1) == "[1 0 0]"
    skew = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]) @ lattice
    assert fast_direction(tensor, skew, 1) == "[0 1 0]"
    plane = 1e-9 * (np.eye(3) - np.outer(along_b, along_b))
    assert fast_direction(plane, lattice, 2) == "plane (0 1 0)"
    assert fast_direction(np.eye(3), lattice, 3) == ""


def test_one_sigma_is_that_of_a_normal_distribution_and_forgives_outliers():
    samples = np.random.default_rng(0).normal(3.0, 0.4, 20_000)
    assert one_sigma(samples) == pytest.approx(0.4, rel=SAMPLING)
    samples[:20] = 1e6
    assert one_sigma(samples) == pytest.approx(0.4, rel=SAMPLING)
