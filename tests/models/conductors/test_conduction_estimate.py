"""Two estimates of one number combined, against closed forms and limits."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import lognorm, norm

from ionbridge.models.conductors.conduction_estimate import (
    CompositionResult,
    ConductionEstimate,
    HopNetworkResult,
    Outside,
)
from ionbridge.structures.transport.closed_forms import decades_per_eV, nernst_einstein
from ionbridge.structures.units import ROOM_TEMPERATURE_K

HOPS = HopNetworkResult(
    log10_diffusivity_cm2_s=-9.0,
    temperature_K=300.0,
    barrier_eV=0.40,
    barrier_std_eV=0.1,
    carrier_density_cm3=5e21,
    ion_density_cm3=2e22,
    charge_number=1,
    is_ion_full=False,
    is_host_ordered=True,
    is_ion_full_by_symmetry=False,
    is_host_ordered_by_symmetry=True,
    is_electrode=False,
    in_domain=True,
)
NEAR = CompositionResult(-4.0, 1.0, True)
FAR = CompositionResult(-4.0, 1.0, False)


def test_independent_errors_are_weighted_by_inverse_variances():
    model = ConductionEstimate(hop_std=2.0, correlation=0.0)
    model.interval_factor = float(norm.ppf(0.95))
    by_hops = model.by_hops(HOPS)
    value, weight = model.combined(NEAR, by_hops)
    assert weight == pytest.approx(0.8)
    assert value.mean == pytest.approx(0.8 * -4.0 + 0.2 * by_hops)
    assert value.std == pytest.approx(np.sqrt(0.8))


def test_correlated_errors_leave_what_a_grid_of_weights_leaves():
    model = ConductionEstimate(hop_std=2.0, correlation=0.6)
    w = np.linspace(0, 1, 100_001)
    variance = w**2 + (1 - w) ** 2 * 4 + 2 * w * (1 - w) * 0.6 * 2
    model.interval_factor = float(norm.ppf(0.95))
    value, weight = model.combined(NEAR, -6.0)
    assert weight == pytest.approx(w[variance.argmin()], abs=1e-4)
    assert value.std == pytest.approx(np.sqrt(variance.min()))


def test_far_from_measured_chemistry_the_hops_carry():
    model = ConductionEstimate(hop_std=2.0, far=Outside(4.0, 2.0, 0.0))
    assert model.estimate(HOPS, NEAR, 300.0).conductivity_source == "composition"
    far = model.estimate(HOPS, FAR, 300.0)
    assert far.conductivity_source == "hop_network"
    assert far.in_domain
    assert not model.estimate(replace(HOPS, in_domain=False), FAR, 300.0).in_domain
    assert model.estimate(HOPS, None, 300.0).conductivity.mean == pytest.approx(
        model.estimate(HOPS, None, 300.0).hop_network.mean  # type: ignore[union-attr]
    )


def test_an_electrode_is_in_the_domain_only_where_its_hops_are():
    model = ConductionEstimate(hop_std=2.0, correlation=0.0)
    strange = replace(HOPS, in_domain=False)
    assert model.estimate(strange, NEAR, 300.0).in_domain  # measured compositions carry it
    electrode = model.estimate(replace(strange, is_electrode=True), NEAR, 300.0)
    assert electrode.diffusivity_source == "hop_network"
    assert not electrode.in_domain
    assert model.estimate(replace(HOPS, is_electrode=True), NEAR, 300.0).in_domain


def test_a_conductivity_of_an_ion_never_measured_is_out_of_the_domain():
    model = ConductionEstimate(hop_std=2.0)
    assert not model.estimate(HOPS, None, 300.0).in_domain
    assert model.estimate(replace(HOPS, is_electrode=True), None, 300.0).in_domain


def test_posterior_barrier_is_between_prior_and_prediction_and_never_soft():
    model = ConductionEstimate(barrier_error_eV=1e-6)
    sharp, _ = model.barrier(0.33, 0.002)
    assert sharp == pytest.approx(0.33, abs=0.02)
    prior = lognorm(model.barrier_log_std, scale=model.barrier_median_eV)
    vague, spread = model.barrier(0.33, 50.0)
    assert vague == pytest.approx(prior.mean(), rel=1e-3)
    assert spread == pytest.approx(prior.std(), rel=0.02)
    assert model.barrier(0.02, 0.1)[0] > 0.12


@pytest.mark.parametrize("barrier_eV", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("mean", [-0.2, -1.0, -2.0])
def test_no_solid_conducts_better_than_a_siemens(barrier_eV, mean):
    """At most 5 % of the mass above 1 S/cm, whatever the sources say."""
    hops = replace(HOPS, barrier_eV=barrier_eV, log10_diffusivity_cm2_s=-3.5)
    for composition in (CompositionResult(mean, 1.0, True), None):
        found = ConductionEstimate().estimate(hops, composition, 300.0)
        assert found.conductivity.upper < 0.11  # decades: a tenth above 1 S/cm at most
        assert found.conductivity.lower < found.conductivity.mean <= found.conductivity.upper


def test_the_slope_over_temperature_is_the_activation_energy():
    model = ConductionEstimate()
    t = np.array([350.0, 352.0])
    found = [model.estimate(HOPS, NEAR, float(x)) for x in t]
    ln = np.log(10) * np.array([f.conductivity.mean for f in found]) + np.log(t)
    slope = (ln[1] - ln[0]) / (1 / t[1] - 1 / t[0])
    assert -slope * 8.617333262e-5 == pytest.approx(found[0].activation_energy_eV[0], rel=1e-3)
    room = model.estimate(HOPS, NEAR, ROOM_TEMPERATURE_K)
    start, rise = model.neldel_eV
    assert room.activation_energy_eV[0] == pytest.approx(start + rise * room.conductivity.mean)


def test_diffusivity_and_conductivity_belong_together():
    found = ConductionEstimate().estimate(HOPS, NEAR, 400.0)
    factor = nernst_einstein(10.0**found.diffusivity.mean, HOPS.ion_density_cm3, 400.0)
    assert found.conductivity.mean == pytest.approx(np.log10(factor))
    assert found.diffusivity_source == "conductivity"
    assert found.diffusivity.std == found.conductivity.std > 0
    electrode = replace(HOPS, is_electrode=True)
    alone = ConductionEstimate().estimate(electrode, NEAR, 400.0)
    assert alone.diffusivity_source == "hop_network"
    assert alone.diffusivity == alone.hop_network_diffusivity


def test_the_hops_move_with_temperature_by_their_posterior_barrier():
    model = ConductionEstimate()
    cold, warm = (
        model.estimate(HOPS, None, t).hop_network_diffusivity.mean  # type: ignore[union-attr]
        for t in (300.0, 600.0)
    )
    energy, _ = model.barrier(HOPS.barrier_eV, HOPS.barrier_std_eV)
    assert warm - cold == pytest.approx(energy * (decades_per_eV(300.0) - decades_per_eV(600.0)))


def test_fit_finds_the_line_the_spreads_and_an_interval_that_holds():
    rng = np.random.default_rng(0)
    n = 400
    true = rng.normal(-5, 2, n)
    raw = np.exp(-1.0 - (true + 5) / 4.0 + rng.normal(0, 0.5, n))
    hops = [replace(HOPS, barrier_eV=float(x)) for x in raw]
    compositions = [CompositionResult(float(x), 0.8, True) for x in true + rng.normal(0, 0.8, n)]
    model = ConductionEstimate().fit(hops, compositions, true, [str(i % 50) for i in range(n)])
    # true against -ln E: 4 times the share of its variance that is not noise, 1/4 of 1/2
    assert model.hop_coefficients[-1] == pytest.approx(2.0, abs=0.3)
    held = [v.lower <= y <= v.upper for v, y in zip(model.out_of_fold_, true, strict=True)]
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)
    combined = np.array([v.mean for v in model.out_of_fold_])
    assert np.std(combined - true) < 0.8
    energy = 0.1 - 0.07 * true + rng.normal(0, 0.03, n)
    model.fit_activation_energies(true, energy)
    assert model.neldel_eV == pytest.approx((0.1, -0.07), abs=0.01)
    assert model.neldel_std_eV == pytest.approx(0.03, rel=0.15)


def test_what_is_said_outside_the_domain_is_believed_as_far_as_it_held():
    """Errors three times as large as stated, and independent of those of the hops."""
    rng = np.random.default_rng(1)
    n = 600
    true = rng.normal(-5, 2, n)
    hops = [
        replace(HOPS, barrier_eV=float(x))
        for x in np.exp(-1.0 - (true + 5) / 4.0 + rng.normal(0, 0.3, n))
    ]
    near = [CompositionResult(float(x), 0.8, True) for x in true + rng.normal(0, 0.8, n)]
    far = [CompositionResult(float(x), 1.0, False) for x in true + rng.normal(0, 3.0, n)]
    papers = [str(i % 50) for i in range(n)]
    model = ConductionEstimate().fit(hops, near, true, papers, list(enumerate(far)))
    assert model.far.composition_std == pytest.approx(3.0, rel=0.1)
    assert model.far.hop_std == pytest.approx(model.hop_std, rel=0.01)
    assert abs(model.far.correlation) < 0.15
    assert model.unseen == Outside()  # no row with an element that was left out
    found = [model.combined(c, model.by_hops(h)) for c, h in zip(far, hops, strict=True)]
    expected = model.hop_std**2 / (model.hop_std**2 + 9.0)
    assert np.mean([weight for _, weight in found]) == pytest.approx(expected, abs=0.1)
    held = [v.lower <= y <= v.upper for (v, _), y in zip(found, true, strict=True)]
    assert 0.88 < np.mean(held) < 0.92
    lacking = [replace(c, elements_known=False) for c in far]
    model.fit(hops, near, true, papers, list(enumerate(lacking)))
    assert model.unseen.composition_std == pytest.approx(3.0, rel=0.1)
    assert model.far == Outside()


def test_what_a_source_states_of_itself_outside_its_domain_weighs_nothing():
    model = ConductionEstimate(far=Outside(2.0, 2.0, 0.5))
    sure, unsure = (replace(FAR, std=std) for std in (0.1, 5.0))
    assert model.combined(sure, -6.0) == model.combined(unsure, -6.0)
    assert model.combined(sure, -6.0)[1] == pytest.approx(0.5)


def test_what_is_near_counts_no_less_than_what_is_far():
    model = ConductionEstimate(hop_std=2.0, correlation=0.7, far=Outside(1.9, 2.0, 0.7))
    _, far = model.combined(FAR, -6.0)
    weights = [model.combined(replace(NEAR, std=s), -6.0)[1] for s in (0.5, 1.0, 1.9, 3.0, 9.0)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == pytest.approx(far)
    spreads = [model.combined(replace(NEAR, std=s), -6.0)[0].std for s in (1.9, 3.0, 9.0)]
    assert spreads == sorted(spreads)  # how far it may be off is still what it states


def test_saved_and_loaded_it_says_the_same(tmp_path):
    model = ConductionEstimate(hop_std=1.7, hop_coefficients=(-1.0, -2.0, -1.5, -0.5, -0.2, 0.3))
    model.save(tmp_path / "m")
    again = ConductionEstimate.load(tmp_path / "m")
    assert again == model
    assert again.estimate(HOPS, NEAR, 333.0) == model.estimate(HOPS, NEAR, 333.0)


def test_nothing_known_is_refused():
    with pytest.raises(ValueError, match="density of the ions"):
        ConductionEstimate().estimate(None, NEAR, 300.0)
    with pytest.raises(ValueError, match="neither hops nor a composition"):
        ConductionEstimate().estimate(None, None, 300.0)
