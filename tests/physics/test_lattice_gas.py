"""Lattice gases against exact factors, exact diffusion tensors and statistical mechanics."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.lattice_gas import filled, simple_lattice
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal
from ionbridge.structures.transport.closed_forms import (
    VACANCY_CORRELATION_FACTORS,
    isotropic_diffusivity,
    random_walk_diffusivity,
)
from ionbridge.structures.transport.hop_network import (
    JumpNetwork,
    carrier_network,
    diffusion_tensor,
)
from ionbridge.structures.transport.kinetic_monte_carlo import transport, without_rattling
from ionbridge.structures.transport.lattice_gas import (
    LatticeGas,
    enlarged,
    equilibrium,
    fitted_to_occupancies,
    lattice_gas,
)
from ionbridge.structures.units import BOLTZMANN_EV_PER_K
from tests.tolerances import STANDARD_ERRORS, TIGHT

T = 600.0
KT = BOLTZMANN_EV_PER_K * T
FINITE_SIZE = 0.02  # lone vacancies in cells of some hundred sites return through the boundary


def two_kinds(energy_eV, kra_eV, n_ions, repulsion_eV=0.0):
    """A simple cubic lattice, every second site higher, hops of two heights along x."""
    corner = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    start, end, shift, kra = [], [], [], []
    for number, place in enumerate(corner):
        for axis in range(3):
            to = place.copy()
            to[axis] += 1
            start.append(number)
            end.append(int((to % 2) @ [4, 2, 1]))
            shift.append(to // 2)
            kra.append(kra_eV[int(axis == 0)])
    start, end, shift = np.array(start), np.array(end), np.array(shift)
    step = 3.0 * (corner[end] + 2 * shift - corner[start])
    return LatticeGas(
        lattice=6.0 * np.eye(3),
        start=start,
        end=end,
        shift=shift,
        step_A=step.astype(float),
        site_energy_eV=energy_eV * (corner.sum(axis=1) % 2),
        kra_eV=np.array(kra),
        n_ions=n_ions,
        pair_start=start,
        pair_end=end,
        pair_shift=shift,
        pair_energy_eV=np.full(len(start), repulsion_eV),
    )


class TestCorrelationFactors:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "name", ["honeycomb", "square", "diamond", "simple cubic", "body-centred cubic"]
    )
    def test_a_lone_vacancy_has_the_exact_factor(self, name):
        found = transport(simple_lattice(name, repeats=SMALL[name]), T, jumps_per_ion=2000, seed=1)
        exact = VACANCY_CORRELATION_FACTORS[name]
        error = STANDARD_ERRORS * found.correlation_factor_std + FINITE_SIZE * exact
        assert abs(found.correlation_factor - exact) < error
        assert found.collective_correlation_factor == pytest.approx(1.0, abs=1e-6)

    @pytest.mark.parametrize("n_vacancies", [1, 32, 60])
    def test_without_repulsion_the_collective_factor_is_one_at_any_filling(self, n_vacancies):
        gas = simple_lattice("simple cubic", n_vacancies, repeats=4)
        found = transport(gas, T, jumps_per_ion=500)
        assert found.collective_correlation_factor == pytest.approx(1.0, abs=1e-6)
        rate = 10.0 * n_vacancies / (gas.n_sites - 1)
        D = random_walk_diffusivity(rate, 1.0, 6)
        assert found.collective_diffusivity_cm2_s == pytest.approx(float(D), rel=0.02)

    def test_a_single_file_does_not_diffuse(self):
        gas = two_kinds(0.0, (0.0, 0.0), 1).repeated((16, 1, 1))
        along = np.abs(gas.step_A[:, 0]) > 0.1
        row = (gas.start % 8 == 0) | (gas.start % 8 == 4)
        keep = along & row
        chain = replace(
            gas,
            start=gas.start[keep],
            end=gas.end[keep],
            shift=gas.shift[keep],
            step_A=gas.step_A[keep],
            kra_eV=gas.kra_eV[keep],
            site_energy_eV=np.where(np.isin(np.arange(gas.n_sites) % 8, (0, 4)), 0.0, 9.0),
        )
        sites = np.flatnonzero(chain.site_energy_eV == 0.0)
        index = np.full(gas.n_sites, -1)
        index[sites] = np.arange(len(sites))
        chain = replace(
            chain,
            start=index[chain.start],
            end=index[chain.end],
            site_energy_eV=np.zeros(len(sites)),
            n_ions=16,
            pair_start=np.zeros(0, int),
            pair_end=np.zeros(0, int),
            pair_shift=np.zeros((0, 3), int),
            pair_energy_eV=np.zeros(0),
        )
        found = transport(chain, T, jumps_per_ion=2000)
        assert found.correlation_factor < 0.1
        assert found.collective_correlation_factor == pytest.approx(1.0, abs=1e-6)

    def test_neighbours_that_repel_order_and_slow_the_collective_motion(self):
        """Half filled, in order of every second site: a jump is a defect that goes back."""
        strong = filled(simple_lattice("simple cubic", 1, 6, repulsion_eV=2 * KT), 108)
        found = transport(strong, T, jumps_per_ion=1000)
        assert found.collective_correlation_factor < 0.6
        assert found.haven_ratio == pytest.approx(
            found.tracer_diffusivity_cm2_s / found.collective_diffusivity_cm2_s, rel=TIGHT
        )


SMALL = {
    "honeycomb": 12,
    "square": 16,
    "diamond": 4,
    "simple cubic": 5,
    "body-centred cubic": 4,
}


def test_short_runs_remember_their_start():
    """f falls from 1, that of a single jump, to its limit."""
    gas = simple_lattice("simple cubic", 16, repeats=4)
    short, longer = (
        transport(gas, T, jumps_per_ion=1000, window_jumps=n).correlation_factor for n in (48, 4800)
    )
    limit = transport(gas, T, jumps_per_ion=3000).correlation_factor
    assert 1 > short > 1.03 * limit
    assert longer == pytest.approx(limit, rel=0.05)


class TestOneIon:
    @pytest.mark.parametrize("energy_eV", [0.0, 0.08])
    def test_has_the_exact_diffusion_tensor_of_the_hop_network(self, energy_eV):
        gas = two_kinds(energy_eV, (0.1, 0.15), 1)
        ends = gas.site_energy_eV[gas.start], gas.site_energy_eV[gas.end]
        half = np.abs(ends[0] - ends[1]) / 2
        network = JumpNetwork(
            lattice=gas.lattice,
            start=gas.start,
            end=gas.end,
            shift=gas.shift,
            site_energy_eV=gas.site_energy_eV,
            saddle_eV=(ends[0] + ends[1]) / 2 + np.maximum(gas.kra_eV, half),
        )
        exact = float(isotropic_diffusivity(diffusion_tensor(network, T)))
        found = transport(gas, T, jumps_per_ion=100_000)
        error = STANDARD_ERRORS * found.collective_correlation_factor_std + 1e-3
        assert found.collective_diffusivity_cm2_s == pytest.approx(exact, rel=error)
        ratios = [transport(gas, T, jumps_per_ion=100_000, seed=k).haven_ratio for k in range(4)]
        assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)


class TestCrystals:
    def test_one_ion_on_the_hops_of_a_crystal_has_their_exact_tensor(self):
        host = Crystal("net", 3.0 * np.eye(3), ({"Li": 0.3},), np.zeros((1, 3)))
        graph = find_hops(host, "Li")
        kra = np.full(len(graph.hops), 0.2)
        network = carrier_network(replace(graph, carrier="interstitial"), [0.0], kra)
        exact = float(isotropic_diffusivity(diffusion_tensor(network, T)))
        gas = enlarged(lattice_gas(graph, [0.0], kra), 60)
        assert gas.n_ions == pytest.approx(0.3 * gas.n_sites)
        found = transport(replace(gas, n_ions=1), T, jumps_per_ion=20_000)
        assert found.collective_diffusivity_cm2_s == pytest.approx(exact, rel=1e-3)
        filled_gas = transport(gas, T, jumps_per_ion=500)
        empty = 1 - round(gas.n_ions - 1) / (gas.n_sites - 1)
        assert filled_gas.collective_diffusivity_cm2_s == pytest.approx(exact * empty, rel=0.03)

    def test_rattling_is_slowed_and_the_diffusivity_stays(self):
        """Pairs of sites 0.1 eV deep in their own cage, 0.35 eV from the next."""
        graph, kra = cages()
        raised = without_rattling(graph, np.zeros(2), kra, T)
        assert raised.min() > kra.min() + 0.05
        assert (raised >= kra).all()
        exact, slowed = (
            float(isotropic_diffusivity(diffusion_tensor(carrier_network(graph, [0, 0], k), T)))
            for k in (kra, raised)
        )
        assert 0.98 * exact <= slowed <= exact
        found, fewer = (
            transport(enlarged(lattice_gas(graph, np.zeros(2), k), 100), T, jumps_per_ion=n)
            for k, n in ((kra, 20_000), (raised, 1_000))
        )
        error = 0.03 + STANDARD_ERRORS * np.hypot(*(relative(x) for x in (found, fewer)))
        ratio = fewer.collective_diffusivity_cm2_s / found.collective_diffusivity_cm2_s
        assert ratio == pytest.approx(1.0, abs=error)

    def test_ions_that_cannot_leave_their_cage_do_not_diffuse(self):
        graph, kra = cages()
        closed = np.where(kra > kra.min(), 50.0, kra)
        gas = enlarged(lattice_gas(graph, np.zeros(2), closed), 100)
        found = transport(gas, T, jumps_per_ion=1000)
        for value, std in (
            (found.correlation_factor, found.correlation_factor_std),
            (found.collective_correlation_factor, found.collective_correlation_factor_std),
        ):
            assert abs(value) < STANDARD_ERRORS * std + 1e-3


def cages():
    """Pairs of sites 1.6 angstrom apart, a third filled, and a low barrier inside each pair."""
    crystal = Crystal(
        "cages", 4.0 * np.eye(3), ({"Li": 1 / 3},) * 2, np.array([[0, 0, 0], [0.4, 0, 0]])
    )
    graph = find_hops(crystal, "Li")
    lengths = np.array([hop_length(graph, k) for k in range(len(graph.hops))])
    return graph, np.where(lengths < 2.0, 0.1, 0.35)


def hop_length(graph, orbit):
    return graph.length_A[graph.orbit == orbit].mean()


def relative(found):
    return found.collective_correlation_factor_std / found.collective_correlation_factor


class TestExclusionAndRepulsion:
    def split(self, occupancy):
        crystal = Crystal(
            "split", 4.0 * np.eye(3), ({"Li": occupancy},) * 2, np.array([[0, 0, 0], [0.25, 0, 0]])
        )
        return find_hops(crystal, "Li")

    def test_sites_too_close_are_never_filled_at_once(self):
        graph = self.split(0.4)
        gas = enlarged(lattice_gas(graph, np.zeros(2), np.zeros(len(graph.hops))), 100)
        assert len(gas.pair_start) == gas.n_sites / 2
        site_of, _ = equilibrium(gas, T)
        filled = np.isin(np.arange(gas.n_sites), site_of)
        assert not (filled[gas.pair_start] & filled[gas.pair_end]).any()

    def test_sites_that_others_hold_are_never_entered(self):
        shared = Crystal("shared", 3.0 * np.eye(3), ({"Li": 0.3, "La": 0.5},), np.zeros((1, 3)))
        graph = find_hops(shared, "Li")
        gas = enlarged(lattice_gas(graph, [0.0], np.zeros(len(graph.hops))), 200)
        assert gas.taken.mean() == pytest.approx(0.5, abs=1 / gas.n_sites)
        found = transport(gas, T, jumps_per_ion=300)
        assert found.site_occupation[gas.taken > 0].max() == 0.0
        assert found.site_occupation.sum() == pytest.approx(gas.n_simulated, rel=TIGHT)

    def test_beyond_the_percolation_threshold_nothing_gets_far(self):
        """Site percolation on a simple cubic lattice ends at 0.3116 free sites."""
        factors = {}
        for held in (0.3, 0.85):
            shared = Crystal("x", 3.0 * np.eye(3), ({"Li": 0.05, "La": held},), np.zeros((1, 3)))
            graph = find_hops(shared, "Li")
            kra = np.where(graph.length_A[np.unique(graph.orbit, return_index=True)[1]] < 3.1, 0, 9)
            gas = enlarged(lattice_gas(graph, [0.0], kra), 1000)
            factors[held] = transport(gas, T, jumps_per_ion=1500).correlation_factor
        assert factors[0.3] > 0.2
        assert factors[0.85] < 0.02

    def test_more_ions_than_fit_are_refused(self):
        graph = self.split(0.6)
        gas = enlarged(lattice_gas(graph, np.zeros(2), np.zeros(len(graph.hops))), 100)
        with pytest.raises(ValueError, match="ions do not fit on"):
            transport(gas, T)

    def test_charges_repel_as_in_a_medium(self):
        graph = find_hops(Crystal("net", 3.0 * np.eye(3), ({"Li": 0.3},), np.zeros((1, 3))), "Li")
        gas = lattice_gas(graph, [0.0], np.zeros(len(graph.hops)), dielectric_constant=20.0)
        apart = np.linalg.norm(gas.pair_shift @ gas.lattice, axis=1)
        assert apart.max() <= 6.0
        nearest = gas.pair_energy_eV[np.isclose(apart, 3.0)]
        assert len(nearest) == 3  # of six neighbours, each pair once
        np.testing.assert_allclose(nearest, 14.399645 / 20.0 * (1 / 3 - 1 / 6), rtol=TIGHT)
        assert len(lattice_gas(graph, [0.0], np.zeros(len(graph.hops))).pair_start) == 0


class TestOccupation:
    def test_is_that_of_fermi_without_repulsion(self):
        gas = enlarged(two_kinds(0.1, (0.0, 0.0), 4))
        found = transport(gas, T, jumps_per_ion=1000)
        high = gas.site_energy_eV > 0
        up, down = found.site_occupation[high].mean(), found.site_occupation[~high].mean()
        assert up + down == pytest.approx(1.0, abs=1e-6)
        ratio = up / (1 - up) * (1 - down) / down
        assert np.log(ratio) == pytest.approx(-0.1 / KT, rel=0.03)

    @pytest.mark.parametrize("repulsion_eV", [0.0, 0.05])
    def test_jumps_and_free_moves_have_the_same_equilibrium(self, repulsion_eV):
        """Detailed balance by two routes: along hops in time, and by Metropolis moves anywhere."""
        gas = enlarged(two_kinds(0.05, (0.0, 0.1), 4, repulsion_eV))
        high = gas.site_energy_eV > 0
        by_jumps = transport(gas, T, jumps_per_ion=1000).site_occupation
        by_moves = np.mean([equilibrium(gas, T, seed=k)[1] for k in range(8)], axis=0)
        assert by_jumps[high].mean() == pytest.approx(by_moves[high].mean(), abs=0.006)

    def test_site_energies_are_fitted_to_occupancies(self):
        """Without interaction energies are those of Fermi; with it, occupations come out."""
        gas = two_kinds(0.0, (0.1, 0.1), 2.0)
        high = np.arange(8) % 2 == 1
        wanted = np.where(high, 0.1, 0.4)
        free = fitted_to_occupancies(gas, high, wanted, T).site_energy_eV
        exact = -KT * (np.log(0.1 / 0.9) - np.log(0.4 / 0.6))
        assert free[1] - free[0] == pytest.approx(exact, abs=0.03 * KT + 0.03 * exact)
        bound = fitted_to_occupancies(
            replace(gas, pair_energy_eV=np.full(len(gas.pair_start), 2 * KT)), high, wanted, T
        )
        found = equilibrium(enlarged(bound), T, seed=99)[1]
        kind = np.tile(high, len(found) // 8)
        assert found[kind].mean() == pytest.approx(0.1, abs=0.015)
        assert found[~kind].mean() == pytest.approx(0.4, abs=0.015)

    def test_full_and_empty_kinds_keep_energies_that_lie_farther_out(self):
        gas = replace(two_kinds(0.0, (0.1, 0.1), 5.0), site_energy_eV=np.linspace(-0.9, 0.9, 8))
        wanted = np.array([1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0])
        kind = np.array([0, 1, 1, 1, 1, 1, 1, 2])
        found = fitted_to_occupancies(gas, kind, wanted, T).site_energy_eV
        assert found[0] <= -0.9 + 0.1
        assert found[7] >= 0.9 - 0.1
        assert np.ptp(found[1:7]) == 0.0

    def test_supercells_are_the_same_gas(self):
        gas = two_kinds(0.05, (0.1, 0.2), 3)
        large = gas.repeated((2, 1, 3))
        assert (large.n_sites, large.n_ions) == (48, 18)
        np.testing.assert_allclose(np.sort(large.kra_eV), np.sort(np.tile(gas.kra_eV, 6)))
        by_site = np.bincount(np.concatenate([large.start, large.end]), minlength=48)
        assert set(by_site) == {6}
        place = large.shift @ large.lattice
        assert np.linalg.norm(large.step_A, axis=1) == pytest.approx(3.0)
        assert np.abs(place).max() > 0


@pytest.mark.parametrize("n_ions", [0, 8])
def test_an_empty_and_a_full_lattice_are_refused(n_ions):
    with pytest.raises(ValueError, match="at least one ion and one empty site"):
        transport(two_kinds(0.0, (0.0, 0.0), n_ions), T)
