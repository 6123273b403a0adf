"""Diffusivities, their intervals and the state of the host, on motion whose truth is known."""

import numpy as np
import pytest
import scipp
from ase import Atoms
from kinisi.analyze import DiffusionAnalyzer

from benchmarks.random_walks import (
    INTERVAL_PS,
    SITE_DISTANCE_A,
    as_trajectory,
    brownian,
    caged_walk,
    lattice_gas,
    lattice_walk,
    unit_walk,
)
from ionbridge.screening.errors import InputError
from ionbridge.screening.labelling.dynamics.diffusion_label import arrhenius_label, motion
from ionbridge.screening.labelling.dynamics.diffusivity import (
    diffusivity,
    jump_diffusivity,
    mean_squared_displacement,
    msd_covariance,
)
from ionbridge.screening.labelling.dynamics.host import inspect_host
from ionbridge.screening.labelling.dynamics.jumps import count_jumps
from ionbridge.screening.labelling.dynamics.trajectory import Trajectory
from ionbridge.structures.transport.closed_forms import arrhenius, nernst_einstein
from tests.tolerances import STANDARD_ERRORS, TIGHT

N_WALKS = 40
WORST_COVERAGE = 0.85  # three binomial deviations below 0.95 of 40
D_BROWNIAN = 1e-4  # cm^2/s, of the default walk
LAGS = np.array([1, 3, 8, 20, 40])


def still_host(positions, symbols, ion="Li", lattice=20.0):
    return Trajectory(
        symbols=symbols,
        lattice=lattice * np.eye(3),
        positions_A=positions,
        stride=1,
        last_A=positions[-1],
        n_frames=len(positions),
        interval_fs=100.0,
    )


class TestMeanSquaredDisplacement:
    def test_equals_the_double_loop(self):
        positions = brownian(np.random.default_rng(0), 30, 4)
        found = mean_squared_displacement(positions)
        for lag in range(1, 30):
            gap = positions[lag:] - positions[:-lag]
            assert found[lag] == pytest.approx((gap**2).sum(axis=2).mean(), rel=TIGHT)

    @pytest.mark.parametrize("rate", [None, 0.5])
    def test_covariance_is_that_of_many_walks(self, rate):
        """Brownian motion, and jumps with their fourth cumulant rate times length^4."""
        rng = np.random.default_rng(1)
        n_frames, n_ions, n_walks = 100, 4, 1500
        walks = [
            brownian(rng, n_frames, n_ions)
            if rate is None
            else lattice_walk(rng, rate, n_frames, n_ions)
            for _ in range(n_walks)
        ]
        msd = np.array([mean_squared_displacement(walk) for walk in walks])
        excess = 0.0 if rate is None else rate * INTERVAL_PS * SITE_DISTANCE_A**4
        stated = msd_covariance(msd.mean(axis=0), LAGS, n_frames, n_ions, excess)
        seen = np.cov(msd[:, LAGS].T)
        std = np.sqrt(np.diag(stated))
        np.testing.assert_allclose(
            seen / np.outer(std, std), stated / np.outer(std, std), atol=5 * 2**0.5 / n_walks**0.5
        )


class TestIntervals:
    @pytest.mark.parametrize(
        ("make", "true"),
        [
            (brownian, D_BROWNIAN),
            (lambda rng: lattice_walk(rng, 0.1), 0.1 * 9 / 6 * 1e-4),
            (lambda rng: caged_walk(rng, 0.2, 1.0, 0.7), 0.2 * 9 / 6 * 1e-4),
        ],
        ids=["brownian", "lattice", "caged"],
    )
    def test_hold_the_truth_at_the_stated_rate(self, make, true):
        rng = np.random.default_rng(2)
        found = [diffusivity(make(rng), INTERVAL_PS) for _ in range(N_WALKS)]
        assert not any(d.reason for d in found)
        held = [d.lower_cm2_s <= true <= d.upper_cm2_s for d in found]
        assert np.mean(held) >= WORST_COVERAGE
        assert np.median([d.value_cm2_s for d in found]) == pytest.approx(true, rel=0.1)

    def test_narrow_at_least_with_the_square_root_of_the_number_of_ions(self):
        rng = np.random.default_rng(3)
        few, many = (diffusivity(brownian(rng, 300, n), INTERVAL_PS) for n in (8, 128))
        assert few.log10_std / many.log10_std > 0.8 * np.sqrt(128 / 8)

    def test_copies_of_one_walk_say_no_more_than_it(self):
        one = brownian(np.random.default_rng(4), 300, 1)
        copies = diffusivity(np.repeat(one, 16, axis=1), INTERVAL_PS)
        alone = diffusivity(one, INTERVAL_PS)
        assert copies.log10_std > 0.7 * alone.log10_std

    def test_time_only_changes_the_unit(self):
        walk = brownian(np.random.default_rng(5))
        slow, fast = diffusivity(walk, 1.0), diffusivity(walk, 0.1)
        assert fast.value_cm2_s == pytest.approx(10 * slow.value_cm2_s, rel=TIGHT)

    def test_directions_and_order_of_ions_do_not_matter(self):
        walk = lattice_walk(np.random.default_rng(6), 0.2)
        rotation, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
        found = diffusivity(walk, INTERVAL_PS)
        other = diffusivity(walk[:, ::-1] @ rotation, INTERVAL_PS)
        assert other.value_cm2_s == pytest.approx(found.value_cm2_s, rel=TIGHT)
        assert other.lower_cm2_s == pytest.approx(found.lower_cm2_s, rel=TIGHT)


class TestSharpness:
    """128 particles: standard deviations of D, over repeats, of published regressions.

    Generalised least squares with the analytical covariance, in parts of D
    (bjmorgan/data_msd_regression); a value may spread 1.3 times as much.
    """

    @pytest.mark.parametrize(("n_steps", "published"), [(16, 0.02628), (64, 0.01276)])
    @pytest.mark.parametrize("kind", ["Brownian", "lattice"])
    def test_as_sharp_as_generalised_least_squares(self, kind, n_steps, published):
        rng = np.random.default_rng(30)
        found = [diffusivity(unit_walk(rng, kind, n_steps), 1.0) for _ in range(N_WALKS)]
        values = np.array([6e4 * d.value_cm2_s for d in found])
        spread = np.sqrt(((values - 1) ** 2).mean())
        assert spread < 1.3 * published
        held = [d.lower_cm2_s <= 1 / 6e4 <= d.upper_cm2_s for d in found]
        assert np.mean(held) >= WORST_COVERAGE

    def test_vibration_is_not_taken_for_steps(self):
        """A walk without memory is one of the curves; the offset of vibrating ions excludes it."""
        rng = np.random.default_rng(31)
        found = diffusivity(lattice_walk(rng, 0.2), INTERVAL_PS)
        assert found.curve_weights[0] < 1e-6

    def test_agrees_with_kinisi(self):
        """The same walk through another's Bayesian regression of the same kind."""
        walk = brownian(np.random.default_rng(32), 60, 48)
        frames = [
            Atoms("Li48", positions=place % 50.0, cell=np.eye(3) * 50.0, pbc=True) for place in walk
        ]
        theirs = DiffusionAnalyzer.from_ase(
            frames,
            specie="Li",
            time_step=INTERVAL_PS * scipp.Unit("ps"),
            step_skip=1 * scipp.Unit("dimensionless"),
            progress=False,
        )
        theirs.diffusion(
            start_dt=INTERVAL_PS * scipp.Unit("ps"),
            n_samples=400,
            n_burn=200,
            progress=False,
            random_state=np.random.RandomState(0),
        )
        other = theirs.D.values
        ours = diffusivity(walk, INTERVAL_PS)
        assert ours.lower_cm2_s < np.median(other) < ours.upper_cm2_s
        assert np.quantile(other, 0.025) < ours.value_cm2_s < np.quantile(other, 0.975)


class TestRefusal:
    def test_ions_in_cages_have_no_diffusivity_but_an_upper_end(self):
        rng = np.random.default_rng(8)
        walk = caged_walk(rng, 0.0, 1.0, 0.7)
        label = motion(as_trajectory(walk, 0.0, rng), "Li", 600.0).label
        assert label["status"] == "refused"
        assert label["reason"]
        for key in ("tracer_diffusivity_cm2_s", "conductivity_S_cm", "haven_ratio"):
            assert label[key] is None
        assert 0 < label["tracer_diffusivity_cm2_s_upper"] < 1e-4
        assert label["msd_A2"] > 0

    @pytest.mark.parametrize(
        ("n", "said"), [(0, "0 jumps are too few"), (1, "1 jump is"), (6, "6 jumps are too few")]
    )
    def test_few_jumps_are_counted_and_refused(self, n, said):
        rng = np.random.default_rng(9)
        sites = np.zeros((300, 24, 3))
        for ion in range(n):
            sites[50 * ion + 20 :, ion, 0] += SITE_DISTANCE_A
        walk = sites + rng.normal(0, 0.2, sites.shape)
        assert count_jumps(walk, INTERVAL_PS) == n
        label = motion(as_trajectory(walk, 0.0, rng), "Li", 600.0).label
        assert label["n_jumps"] == n
        assert label["status"] == "refused"
        assert said in label["reason"]

    @pytest.mark.parametrize("n_frames", [2, 3, 5, 10])
    def test_short_and_frozen_motion_gets_a_reason(self, n_frames):
        still = as_trajectory(np.zeros((n_frames, 4, 3)), 0.0, np.random.default_rng(0))
        assert motion(still, "Li", 300.0).label["status"] == "refused"
        short = brownian(np.random.default_rng(0), n_frames, 4)
        assert diffusivity(short, INTERVAL_PS).lags_ps.size or n_frames < 5

    def test_a_missing_ion_is_named_with_what_is_there(self):
        rng = np.random.default_rng(0)
        with pytest.raises(InputError, match=r"no working ion 'Na'.*Li, Mg"):
            motion(as_trajectory(brownian(rng), 0.0, rng), "Na", 300.0)


class TestTransport:
    def test_drift_of_the_host_changes_nothing_and_is_reported(self):
        labels = []
        for drift in (0.0, 30.0):
            rng = np.random.default_rng(10)
            labels.append(motion(as_trajectory(brownian(rng), drift, rng), "Li", 600.0).label)
        still, drifting = labels
        for key in ("msd_A2", "tracer_diffusivity_cm2_s", "jump_diffusivity_cm2_s_upper"):
            assert drifting[key] == pytest.approx(still[key], rel=TIGHT)
        assert drifting["host_drift_A"] == pytest.approx(30.0, abs=1.0)

    def test_ions_without_a_host_are_taken_as_they_are(self):
        walk = brownian(np.random.default_rng(14))
        label = motion(still_host(walk, ("Li",) * walk.shape[1]), "Li", 600.0).label
        assert label["msd_A2"] == pytest.approx(((walk[-1] - walk[0]) ** 2).sum(axis=1).mean())
        assert label["tracer_diffusivity_cm2_s_lower"] < D_BROWNIAN
        assert label["tracer_diffusivity_cm2_s_upper"] > D_BROWNIAN
        assert (label["host_drift_A"], label["host_melted"]) == (0.0, False)

    def test_msd_is_that_of_the_first_and_last_frame(self):
        rng = np.random.default_rng(11)
        walk = brownian(rng)
        trajectory = as_trajectory(walk, 0.0, rng)
        host = trajectory.positions_A[:, walk.shape[1] :].mean(axis=1)
        moved = walk[-1] - walk[0] - (host[-1] - host[0])
        label = motion(trajectory, "Li", 600.0).label
        assert label["msd_A2"] == pytest.approx((moved**2).sum(axis=1).mean(), rel=TIGHT)

    def test_conductivity_haven_ratio_and_diffusivities_fit_together(self):
        rng = np.random.default_rng(12)
        label = motion(as_trajectory(brownian(rng, 1000), 0.0, rng), "Li", 600.0).label
        density = 24 / 1000e-24
        jump, tracer = label["jump_diffusivity_cm2_s"], label["tracer_diffusivity_cm2_s"]
        assert label["haven_ratio"] == pytest.approx(tracer / jump, rel=TIGHT)
        assert label["haven_ratio_lower"] < 1.0 < label["haven_ratio_upper"]
        expected = nernst_einstein(tracer, density, 600.0, haven_ratio=label["haven_ratio"])
        assert label["conductivity_S_cm"] == pytest.approx(float(expected), rel=TIGHT)

    def test_ions_that_block_each_other_carry_charge_as_the_exact_result_says(self):
        """Hops of a lattice gas have no collective memory: D_jump = a^2 Gamma P(empty)."""
        rate, n_vacancies, n_sites = 0.4, 8, 64
        walk = lattice_gas(np.random.default_rng(13), rate, n_frames=600)
        found = jump_diffusivity(walk, INTERVAL_PS, diffusivity(walk, INTERVAL_PS))
        exact = SITE_DISTANCE_A**2 * rate * n_vacancies / (n_sites - 1) * 1e-4
        assert found.lower_cm2_s < exact < found.upper_cm2_s

    def test_walks_at_several_temperatures_give_their_activation_energy_back(self):
        energy, labels = 0.25, []
        for k, T in enumerate((600.0, 800.0, 1000.0, 1200.0)):
            rng = np.random.default_rng(20 + k)
            D = float(arrhenius(20.0, energy, T))
            walk = brownian(rng, D_A2_ps=D)
            labels.append(motion(as_trajectory(walk, 0.0, rng), "Li", T).label)
        fit = arrhenius_label(labels)
        assert fit["activation_energy_eV_lower"] < energy < fit["activation_energy_eV_upper"]
        std = (fit["activation_energy_eV_upper"] - fit["activation_energy_eV"]) / 1.96
        assert abs(fit["activation_energy_eV"] - energy) < STANDARD_ERRORS * std
        D300 = float(arrhenius(20.0, energy, 300.0)) * 1e-4
        assert fit["tracer_diffusivity_300K_cm2_s_lower"] < D300
        assert fit["tracer_diffusivity_300K_cm2_s_upper"] > D300
        assert fit["extrapolated"]

    def test_one_temperature_is_no_arrhenius_line(self):
        rng = np.random.default_rng(0)
        label = motion(as_trajectory(brownian(rng), 0.0, rng), "Li", 600.0).label
        fit = arrhenius_label([label, label])
        assert fit["status"] == "refused"
        assert "1 temperature" in fit["reason"]


def tetrahedra(rng, n_frames=200, turning=False):
    """Two PS4 groups and four Li, all vibrating; the groups may turn."""
    corners = 2.05 / np.sqrt(3) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    frames = []
    for k in range(n_frames):
        angle = 0.1 * k * turning
        turn = np.array(
            [
                [np.cos(angle), -np.sin(angle), 0],
                [np.sin(angle), np.cos(angle), 0],
                [0, 0, 1],
            ]
        )
        groups = [np.vstack([[0, 0, 0], corners @ turn]) + offset for offset in ([0] * 3, [9] * 3)]
        frames.append(np.vstack([*groups, np.full((4, 3), 5.0)]))
    positions = np.array(frames) + rng.normal(0, 0.15, (n_frames, 14, 3))
    return positions, ("P", "S", "S", "S", "S") * 2 + ("Li",) * 4


class TestHost:
    @pytest.mark.parametrize("turning", [False, True])
    def test_polyanions_may_vibrate_and_turn(self, turning):
        positions, symbols = tetrahedra(np.random.default_rng(0), turning=turning)
        host = inspect_host(still_host(positions, symbols), "Li")
        assert (host.n_polyanions, host.n_broken, host.melted) == (2, 0, False)
        assert host.flags == []

    def test_a_ligand_that_leaves_breaks_its_polyanion(self):
        positions, symbols = tetrahedra(np.random.default_rng(1))
        positions[100:, 2] += np.linspace(0, 3, 100)[:, None]
        host = inspect_host(still_host(positions, symbols), "Li")
        assert host.n_broken == 1
        assert host.flags == ["1 of 2 polyanions broke"]

    def test_bonds_across_the_boundary_are_seen(self):
        positions, symbols = tetrahedra(np.random.default_rng(2))
        positions[:, 1] += [18.0, 0.0, 0.0]
        host = inspect_host(still_host(positions, symbols, lattice=18.0), "Li")
        assert (host.n_polyanions, host.n_broken) == (2, 0)

    def test_a_host_that_flows_is_molten(self):
        rng = np.random.default_rng(3)
        crystal = rng.uniform(0, 20, (8, 3)) + rng.normal(0, 0.2, (200, 8, 3))
        ions = brownian(rng, 200, 6)
        symbols = ("Li",) * 6 + ("Mg",) * 4 + ("Cl",) * 4
        flow = brownian(rng, 200, 8, D_A2_ps=0.2)
        solid = inspect_host(still_host(np.hstack([ions, crystal]), symbols), "Li")
        molten = inspect_host(still_host(np.hstack([ions, crystal + flow]), symbols), "Li")
        assert not solid.melted
        assert solid.flags == []
        assert molten.melted
        assert "melted" in molten.flags[0]

    def test_one_flowing_element_is_named(self):
        rng = np.random.default_rng(4)
        crystal = rng.uniform(0, 20, (8, 3)) + rng.normal(0, 0.2, (200, 8, 3))
        crystal[:, 4:] += brownian(rng, 200, 4, D_A2_ps=0.3)
        symbols = ("Mg",) * 4 + ("Cl",) * 4
        ions = np.zeros((200, 1, 3))
        host = inspect_host(still_host(np.hstack([crystal, ions]), (*symbols, "Li")), "Li")
        assert "Cl" in host.flags[0]
