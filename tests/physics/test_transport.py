"""Closed-form transport against hand-computed values, round trips and a lattice walk."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from ionbridge.structures.transport.closed_forms import (
    VACANCY_CORRELATION_FACTORS,
    arrhenius,
    carrier_density,
    conductivity,
    fit_arrhenius,
    haven_ratio,
    isotropic_diffusivity,
    msd_to_diffusivity,
    nernst_einstein,
    random_walk_diffusivity,
    tracer_diffusivity,
)
from tests.tolerances import EXACT, STANDARD_ERRORS, TIGHT

HAND_COMPUTED = 1e-3  # three to four digits are quoted
FINITE_LATTICE = 2e-3  # correlation factors on a torus of some 2,000 sites
TEMPERATURES = np.array([500.0, 600.0, 750.0, 900.0, 1200.0])


class TestArrhenius:
    def test_round_trip(self):
        D = arrhenius(1e-3, 0.42, TEMPERATURES)
        fit = fit_arrhenius(TEMPERATURES, np.log10(D))
        assert fit.activation_energy_eV == pytest.approx(0.42, rel=TIGHT)
        assert fit.log10_prefactor == pytest.approx(-3.0, rel=TIGHT)
        assert fit.activation_energy_std_eV < TIGHT
        value, std = fit.predict([300.0, 1000.0])
        np.testing.assert_allclose(value, np.log10(arrhenius(1e-3, 0.42, [300.0, 1000.0])))
        assert (std < TIGHT).all()

    def test_one_decade_costs_59_5_meV_at_300_K(self):
        assert arrhenius(1.0, 0.0595, 300.0) == pytest.approx(0.1, rel=2e-3)

    def test_agrees_with_linear_regression_of_scipy(self):
        rng = np.random.default_rng(0)
        y = np.log10(arrhenius(1e-3, 0.3, TEMPERATURES)) + rng.normal(0, 0.1, 5)
        fit = fit_arrhenius(TEMPERATURES, y)
        x = -1 / (8.617333262e-5 * TEMPERATURES * np.log(10))
        line = stats.linregress(x, y)
        assert fit.activation_energy_eV == pytest.approx(line.slope, rel=TIGHT)
        assert fit.log10_prefactor == pytest.approx(line.intercept, rel=TIGHT)
        assert fit.activation_energy_std_eV == pytest.approx(line.stderr, rel=TIGHT)
        assert np.sqrt(fit.covariance[1, 1]) == pytest.approx(line.intercept_stderr, rel=TIGHT)

    @pytest.mark.parametrize("errors_known", [False, True])
    def test_intervals_cover_the_truth(self, errors_known):
        rng = np.random.default_rng(1)
        sigma = np.array([0.05, 0.1, 0.1, 0.2, 0.1]) if errors_known else np.full(5, 0.1)
        truth = np.log10(arrhenius(1e-3, 0.3, TEMPERATURES))
        at_300 = np.log10(arrhenius(1e-3, 0.3, 300.0))
        quantile = stats.norm.ppf(0.95) if errors_known else stats.t.ppf(0.95, df=3)
        n_trials, hits = 600, np.zeros(2)
        for _ in range(n_trials):
            noisy = truth + rng.normal(0, sigma)
            fit = fit_arrhenius(TEMPERATURES, noisy, sigma if errors_known else None)
            value, std = fit.predict(300.0)
            hits += (
                abs(fit.activation_energy_eV - 0.3) < quantile * fit.activation_energy_std_eV,
                abs(value - at_300) < quantile * std,
            )
        standard_error = np.sqrt(0.9 * 0.1 / n_trials)
        assert (hits / n_trials > 0.9 - STANDARD_ERRORS * standard_error).all()
        if not errors_known:
            assert (hits / n_trials < 0.9 + STANDARD_ERRORS * standard_error).all()

    def test_scatter_beyond_the_stated_errors_widens(self):
        y = np.log10(arrhenius(1e-3, 0.3, TEMPERATURES)) + np.array([0.3, -0.3, 0.3, -0.3, 0.3])
        trusting = fit_arrhenius(TEMPERATURES, y, 0.01).activation_energy_std_eV
        assert trusting == pytest.approx(fit_arrhenius(TEMPERATURES, y).activation_energy_std_eV)

    def test_weights_follow_the_errors(self):
        """A point with a huge error does not move the line."""
        y = np.log10(arrhenius(1e-3, 0.3, TEMPERATURES))
        y[0] += 5.0
        fit = fit_arrhenius(TEMPERATURES, y, [1e4, 0.01, 0.01, 0.01, 0.01])
        assert fit.activation_energy_eV == pytest.approx(0.3, rel=TIGHT)

    def test_two_temperatures(self):
        y = np.log10(arrhenius(1e-3, 0.3, [300.0, 600.0]))
        assert np.isnan(fit_arrhenius([300, 600], y).activation_energy_std_eV)
        per_decade = 8.617333262e-5 * np.log(10) / (1 / 300 - 1 / 600)
        std = fit_arrhenius([300, 600], y, 0.1).activation_energy_std_eV
        assert std == pytest.approx(0.1 * np.sqrt(2) * per_decade, rel=TIGHT)

    @pytest.mark.parametrize(
        ("temperature", "log10_D", "std", "message"),
        [
            ([300], [-8], None, "at least 2 are needed"),
            ([300, 300], [-8, -9], None, "1 different temperature"),
            ([300, 400], [-8, -9, -7], None, "same length"),
            ([300, -400], [-8, -9], None, "temperature_K must be positive and finite, got -400"),
            ([300, 400], [-8, -np.inf], None, "not finite"),
            ([300, 400], [-8, -9], [0.1, 0.0], "std must be positive"),
        ],
    )
    def test_errors(self, temperature, log10_D, std, message):
        with pytest.raises(ValueError, match=message):
            fit_arrhenius(temperature, log10_D, std)


class TestDiffusivity:
    def test_hop_of_3_angstrom(self):
        rate = arrhenius(10.0, 0.30, 300.0)
        assert random_walk_diffusivity(rate, 3.0) == pytest.approx(1.37e-8, rel=HAND_COMPUTED)

    def test_random_walk_simulated(self):
        rng = np.random.default_rng(0)
        steps, rate, a = 200, 0.5, 2.0
        walk = np.zeros((5000, 3))
        for _ in range(steps):
            axis = rng.integers(0, 3, 5000)
            walk[np.arange(5000), axis] += a * rng.choice([-1, 1], 5000)
        squared = (walk**2).sum(1)
        # Six neighbours at the rate each: `steps` jumps take steps / (6 rate).
        per_time = 6 * rate / steps
        D = msd_to_diffusivity(squared.mean() * per_time)
        error = msd_to_diffusivity(squared.std() / np.sqrt(5000) * per_time)
        assert abs(D - random_walk_diffusivity(rate, a, n_neighbors=6)) < STANDARD_ERRORS * error

    def test_units_of_msd(self):
        """1 angstrom^2/ps is 1e-4 cm^2/s."""
        assert msd_to_diffusivity(6.0, 3) == pytest.approx(1e-4, rel=EXACT)
        assert msd_to_diffusivity(2.0, 1) == pytest.approx(1e-4, rel=EXACT)
        with pytest.raises(ValueError, match="dimensions is 4, expected 1, 2 or 3"):
            msd_to_diffusivity(1.0, 4)

    def test_isotropic(self):
        tensors = np.stack([np.diag([1.0, 2.0, 6.0]), np.full((3, 3), 2.0)])
        np.testing.assert_allclose(isotropic_diffusivity(tensors), [3.0, 2.0])


class TestNernstEinstein:
    def test_hand_computed(self):
        sigma = nernst_einstein(1e-8, 2e22, 300.0)
        assert sigma == pytest.approx(1.239e-3, rel=HAND_COMPUTED)

    def test_agrees_with_si(self):
        from scipy.constants import e, k

        si = 2e28 * (2 * e) ** 2 * 1e-12 / (0.6 * k * 450)  # S/m
        sigma = nernst_einstein(1e-8, 2e22, 450.0, charge=2, haven_ratio=0.6)
        assert sigma == pytest.approx(si / 100, rel=TIGHT)

    def test_tracer_and_haven_ratio_give_the_jump_result(self):
        H = haven_ratio(2e-9, 5e-9)
        np.testing.assert_allclose(
            nernst_einstein(2e-9, 1e22, 300, haven_ratio=H), nernst_einstein(5e-9, 1e22, 300)
        )

    def test_carriers_in_a_cell(self):
        """Two carriers in 100 cubic angstrom, isotropic tensor: the scalar formula."""
        n = carrier_density(2, 100.0)
        assert n == pytest.approx(2e22, rel=EXACT)
        sigma = conductivity(1e-8 * np.eye(3), n, 300.0)
        assert sigma == pytest.approx(1.239e-3, rel=HAND_COMPUTED)

    def test_ion_and_carrier_views_agree(self):
        """sigma from ions (D*, H = f) equals sigma from carriers (D_c)."""
        D_c, n_c, n_ion, f = 3e-7, 1e20, 2e22, 0.78146
        D_star = tracer_diffusivity(D_c, n_c, n_ion, f)
        np.testing.assert_allclose(
            nernst_einstein(D_star, n_ion, 400, haven_ratio=f), nernst_einstein(D_c, n_c, 400)
        )

    def test_shapes_broadcast(self):
        assert nernst_einstein(np.ones((4, 1)), np.ones(3), 300.0).shape == (4, 3)

    def test_errors(self):
        with pytest.raises(ValueError, match="temperature must be positive and finite, got 0"):
            nernst_einstein(1e-8, 2e22, 0.0)
        with pytest.raises(ValueError, match="volume_A3"):
            carrier_density(1, -1.0)


def half(jumps):
    return [*jumps, *(tuple(-x for x in j) for j in jumps)]


LATTICES = {  # cell vectors (rows), neighbour cells, torus size
    "square": (np.eye(2), half([(1, 0), (0, 1)]), 41),
    "triangular": ([[1, 0], [0.5, 0.75**0.5]], half([(1, 0), (0, 1), (1, -1)]), 41),
    "simple cubic": (np.eye(3), half([(1, 0, 0), (0, 1, 0), (0, 0, 1)]), 11),
    "body-centred cubic": (
        np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
        half([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]),
        11,
    ),
    "face-centred cubic": (
        np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
        half([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0), (1, 0, -1), (0, 1, -1)]),
        11,
    ),
}


@pytest.mark.parametrize("name", LATTICES)
def test_correlation_factors_by_the_return_of_the_vacancy(name):
    """f = (1 + <cos>) / (1 - <cos>), <cos> from the vacancy's walk back to the tracer."""
    cell, jumps, size = LATTICES[name]
    sites = list(itertools.product(range(size), repeat=len(jumps[0])))
    index = {site: k for k, site in enumerate(sites)}
    before = np.array(jumps[0]) @ cell  # the tracer, at the origin, has just left this site
    system, source = lil_matrix((len(sites), len(sites))), np.zeros(len(sites))
    system.setdiag(1.0)
    for site, k in index.items():
        if not any(site):
            continue
        for jump in jumps:
            there = tuple((np.add(site, jump) % size).tolist())
            if any(there):
                system[k, index[there]] -= 1 / len(jumps)
            else:  # exchange: the tracer moves against the vacancy's jump
                move = -np.array(jump) @ cell
                source[k] += -(move @ before) / (before @ before) / len(jumps)
    cosine = spsolve(system.tocsc(), source)[index[tuple(np.mod(jumps[0], size).tolist())]]
    f = (1 + cosine) / (1 - cosine)
    assert VACANCY_CORRELATION_FACTORS[name] == pytest.approx(f, abs=FINITE_LATTICE)
