"""A model that reads a universal potential's energies: what it gains, keeps and does without."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ionbridge.models.barriers.hop_barrier import (
    BAND,
    LARGEST_STD_EV,
    LOWEST_SHORT_EV,
    PROFILE,
    SHORT,
    SHORT_BACKWARD,
    SHORT_CORRELATION,
    SHORT_STD,
    SHORT_TOO_LOW,
    TARGET,
    HopBarrierModel,
    Inputs,
    view_of,
)
from ionbridge.models.library import load
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Hop, UnusableStructureError
from tests.small_crystals import skew_hop


def profile(saddle_eV: float, difference_eV: float = 0.0) -> list[float]:
    x = np.linspace(0.0, 1.0, 7)
    return list(4 * saddle_eV * x * (1 - x) + difference_eV * x)


def hops(n: int) -> tuple[list[Hop], np.ndarray]:
    """Hops that differ by their frameworks; half of the saddle's energy is the barrier."""
    saddle = np.random.default_rng(0).uniform(0.3, 3.0, n)
    found = []
    for k in range(n):
        hop = replace(skew_hop(k), id=f"hop-{k}")
        found.append(replace(hop, extra={**hop.extra, PROFILE: profile(saddle[k])}))
    return found, 0.5 * saddle


def blinded(labelled: list[Hop]) -> list[Hop]:
    """The hops without energies."""
    return [replace(h, extra={k: v for k, v in h.extra.items() if k != PROFILE}) for h in labelled]


def test_a_view_is_the_same_for_the_hop_and_its_reverse():
    energies = np.array(profile(1.2, 0.4))
    hop = replace(skew_hop(0), extra={PROFILE: list(energies)})
    back = replace(skew_hop(0), extra={PROFILE: list(energies[::-1] - energies[-1])})
    np.testing.assert_allclose(view_of(hop), view_of(back), atol=1e-9)
    shifted = replace(skew_hop(0), extra={PROFILE: list(energies - 700.0)})
    np.testing.assert_allclose(view_of(hop), view_of(shifted), atol=1e-9)
    assert np.isnan(view_of(skew_hop(0))).all()


def test_energies_teach_what_geometry_cannot():
    labelled, barrier = hops(30)
    half = np.arange(30) % 2 == 0
    train = [h for h, keep in zip(labelled, half, strict=True) if keep]
    test = [h for h, keep in zip(labelled, half, strict=True) if not keep]
    fed = HopBarrierModel().fit(train, barrier[half]).predict(test)
    blind_train = [replace(h, extra={}) for h in train]
    blind = (
        HopBarrierModel()
        .fit(blind_train, barrier[half])
        .predict([replace(h, extra={}) for h in test])
    )
    error, without = (np.abs(p.mean - barrier[~half]).mean() for p in (fed, blind))
    assert error < 0.5 * without
    assert error < 0.15


def test_a_hop_without_energies_is_predicted_as_if_no_hop_had_any():
    labelled, barrier = hops(12)
    stranger = replace(skew_hop(3), id="stranger")
    whole = HopBarrierModel().fit(labelled, barrier)
    blind = HopBarrierModel().fit(blinded(labelled), barrier)
    together = whole.predict([labelled[0], stranger])
    np.testing.assert_allclose(together.mean[1], blind.predict([stranger]).mean[0], rtol=1e-6)


def test_a_saved_model_predicts_the_same(tmp_path):
    labelled, barrier = hops(12)
    model = HopBarrierModel().fit(labelled, barrier)
    model.save(tmp_path / "fed", {"name": "fed"})
    again = load(tmp_path / "fed")
    one, two = model.predict(labelled), again.predict(labelled)
    np.testing.assert_array_equal(two.mean, one.mean)
    np.testing.assert_array_equal(two.std, one.std)
    lower, upper = again.interval(two)
    assert (lower < two.mean).all()
    assert (two.mean < upper).all()


@pytest.mark.parametrize("energies", [[], [0.0, 1.0, 0.0], [0.0, np.nan, 1.0, 0.0, 0.0]])
def test_a_profile_that_says_nothing_is_none(energies):
    assert np.isnan(view_of(replace(skew_hop(0), extra={PROFILE: energies}))).all()


def test_a_relaxed_band_teaches_more_than_a_rigid_host():
    labelled, barrier = hops(30)
    banded = [
        replace(h, extra={**h.extra, BAND: float(b)})
        for h, b in zip(labelled, barrier, strict=True)
    ]
    half = np.arange(30) % 2 == 0
    train, test = (
        [h for h, keep in zip(banded, part, strict=True) if keep] for part in (half, ~half)
    )
    model = HopBarrierModel(n_folds=0).fit(train, barrier[half])
    error = np.abs(model.predict(test).mean - barrier[~half]).mean()
    assert error < 0.15
    deaf = HopBarrierModel(reads_energies=False, n_folds=0).fit(train, barrier[half])
    bare = [
        replace(h, extra={k: v for k, v in h.extra.items() if k not in (BAND, PROFILE)})
        for h in test
    ]
    np.testing.assert_allclose(deaf.predict(test).mean, deaf.predict(bare).mean, rtol=1e-9)
    assert np.abs(deaf.predict(test).mean - barrier[~half]).mean() > 2 * error


def test_known_labels_are_kept_beside_the_new_ones():
    labelled, barrier = hops(20)
    known = HopBarrierModel(reads_energies=False).fit(labelled[:12], barrier[:12])
    new = HopBarrierModel(reads_energies=False, known=known, n_folds=0)
    new.fit(labelled[12:16], barrier[12:16])
    together = HopBarrierModel(reads_energies=False, n_folds=0)
    theta = {sources: process.theta for sources, (process, _) in known.experts().items()}
    together.fit_inputs(
        known.inputs_.with_rows(new.inputs_.rows(np.arange(12, 16))),
        barrier[:16],
        theta,
    )
    asked = labelled[16:]
    expected = together.predict_inputs(new.inputs_of(asked)).mean
    np.testing.assert_allclose(new.predict_inputs(new.inputs_of(asked)).mean, expected, rtol=1e-6)


def test_a_base_forgets_the_hops_that_are_asked_for():
    labelled, barrier = hops(16)
    known = HopBarrierModel(reads_energies=False).fit(labelled, barrier)
    assert known.were_trained_on(labelled[:3]).all()
    assert not known.were_trained_on([replace(skew_hop(99), id="new")]).any()
    rest = known.without(labelled[:6])
    assert len(rest.barrier_eV_) == 10
    assert not rest.were_trained_on(labelled[:6]).any()
    assert rest.were_trained_on(labelled[6:]).all()


def test_energies_of_a_crystal_close_loops_and_keep_the_barriers():
    crystal = next(c for c in reference_crystals() if c.id == "LiFePO4-olivine")
    graph = find_hops(crystal)
    model = load("hop-barrier")
    (energies,) = model.crystal_energies([graph])
    single = model.predict(graph.hops)
    np.testing.assert_allclose(energies.central_barrier_eV, single.mean, rtol=1e-3)
    forward = energies.kra_eV + 0.5 * (energies.end_eV - energies.start_eV)
    backward = energies.kra_eV - 0.5 * (energies.end_eV - energies.start_eV)
    assert (np.minimum(forward, backward) >= -1e-9).all()
    twice = model.crystal_energies([graph, graph])
    np.testing.assert_allclose(twice[1].kra_eV, energies.kra_eV, rtol=1e-6)
    np.testing.assert_array_equal(twice[1].in_domain, energies.in_domain)


@pytest.mark.parametrize("key", [PROFILE, BAND])
def test_what_is_no_number_is_named(key):
    hop = replace(skew_hop(0), id="mine", extra={**skew_hop(0).extra, key: "much"})
    model = HopBarrierModel(n_folds=0).fit(
        [skew_hop(k) for k in range(1, 4)], np.array([0.2, 0.4, 0.6])
    )
    with pytest.raises(UnusableStructureError, match=f"mine: {key}: expected numbers, got 'much'"):
        model.predict([hop])


def test_what_ships_is_loaded_and_not_fitted(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("fitted at load")

    monkeypatch.setattr("ionbridge.models.regressors.gaussian_process.cholesky", refuse)
    monkeypatch.setattr("sklearn.ensemble.ExtraTreesRegressor", refuse)
    model = load("hop-barrier")
    assert np.isfinite(model.predict([skew_hop(0)]).mean).all()


def test_a_fresh_process_says_the_same_to_the_last_bit(tmp_path):
    """Another interpreter, in which scikit-learn cannot grow or fit anything, reads the folder."""
    labelled, barrier = hops(12)
    model = HopBarrierModel(n_folds=2).fit(labelled, barrier)
    model.save(tmp_path / "fed", {"name": "fed"})
    code = (
        "import sys; from ionbridge.models.library import load; "
        "from tests.models.barriers.test_hop_barrier import hops; "
        "import sklearn.ensemble as trees; del trees.ExtraTreesRegressor; "
        "found = load(sys.argv[1]).predict(hops(12)[0]); "
        "print(*(float(x).hex() for x in (*found.mean, *found.std)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "fed")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    expected = model.predict(labelled)
    assert done.stdout.split() == [float(x).hex() for x in (*expected.mean, *expected.std)]


def test_a_hop_and_its_reverse_differ_by_their_sites_alone():
    """Forward minus backward is the difference of the sites; their mean is one number."""
    model = load("hop-barrier")
    asked = [skew_hop(k) for k in range(6)]
    inputs = model.inputs_of(asked)
    forward = model.predict(asked).mean
    backward = model.predict([hop.reversed() for hop in asked]).mean
    assert (np.abs(inputs.difference) > 0.01).any()
    np.testing.assert_allclose(forward - backward, inputs.difference, atol=1e-12)
    energies = model.energies(asked)
    np.testing.assert_allclose(energies.central_barrier_eV, forward, rtol=1e-12)


@pytest.mark.parametrize("name", ["LiFePO4-olivine", "LiCoO2-layered"])
def test_ends_that_symmetry_makes_one_have_one_barrier_to_the_last_bit(name):
    crystal = next(c for c in reference_crystals() if c.id == name)
    graph = find_hops(crystal)
    model = load("hop-barrier")
    orbit = graph.site_orbit
    alike = [h for h in graph.hops if orbit[h.extra["start_site"]] == orbit[h.extra["end_site"]]]
    assert alike
    forward = model.predict(alike).mean
    np.testing.assert_array_equal(forward, model.predict([h.reversed() for h in alike]).mean)


def test_a_label_is_the_saddle_above_the_initial_site():
    """Taught with hops that end uphill, a model says less for the way back, by the difference."""
    labelled, _ = hops(20)
    inputs = HopBarrierModel(n_folds=0).inputs_of(labelled)
    saddle = np.random.default_rng(1).uniform(0.5, 1.0, 20)
    model = HopBarrierModel(n_folds=0).fit(labelled, inputs.above_start(saddle))
    np.testing.assert_allclose(inputs.above_mean(inputs.above_start(saddle)), saddle, atol=1e-12)
    back = model.predict([hop.reversed() for hop in labelled]).mean
    there = model.predict(labelled).mean
    np.testing.assert_allclose(there - back, inputs.difference, atol=1e-12)


def relaxed(hop: Hop, forward_eV: float, backward_eV: float) -> Hop:
    """The hop with barriers of a short relaxation."""
    return replace(hop, extra={**hop.extra, SHORT: forward_eV, SHORT_BACKWARD: backward_eV})


def test_a_short_relaxation_counts_the_more_the_less_is_known():
    """Both are weighted by the inverse of their variances."""
    labelled, barrier = hops(30)
    bare = [replace(h, extra={k: v for k, v in h.extra.items() if k != PROFILE}) for h in labelled]
    model = HopBarrierModel(n_folds=0).fit(bare, barrier)
    stranger = replace(skew_hop(99), working_ion="Ca", id="stranger")
    asked = [bare[0], stranger]
    alone = model.predict_inputs(model.inputs_of(asked))
    joined = model.predict_inputs(model.inputs_of([relaxed(h, 3.0, 2.5) for h in asked]))
    share = (joined.mean - alone.mean) / (3.0 - alone.mean)
    saddle = model.inputs_of(asked).above_mean(alone.mean)
    own = TARGET.forward_std(saddle, alone.std)
    assert share[1] == pytest.approx(own[1] ** 2 / (own[1] ** 2 + SHORT_STD**2), rel=1e-6)
    assert share[1] > share[0]
    left = TARGET.forward_std(joined.mean, joined.std)
    assert left[1] < own[1]


def test_no_relaxation_makes_a_barrier_less_certain():
    """Where both agree the spread is at most the model's own, less where it knows less."""
    labelled, barrier = hops(30)
    model = HopBarrierModel(n_folds=0).fit(labelled, barrier)
    strangers = [replace(skew_hop(k), working_ion=ion) for k in (1, 9) for ion in ("Na", "Ca")]
    inputs = model.inputs_of([*labelled[:6], *strangers])
    for own in np.linspace(0.05, 1.5, 30):
        spread = np.full(len(inputs.scalars), own / np.sqrt(2.0))
        model._logarithms = lambda x, s=spread: (np.zeros(len(s)), s, s)
        alone = model.predict_inputs(inputs.bare())
        agreed = Inputs.of_arrays(
            inputs.arrays()
            | {"short": np.column_stack([alone.mean, alone.mean - inputs.difference])}
        )
        joined = model.predict_inputs(agreed)
        np.testing.assert_allclose(joined.mean, alone.mean, rtol=1e-12)
        assert np.all(joined.std <= alone.std * (1.0 + 1e-9))
        if own < SHORT_CORRELATION * SHORT_STD:
            np.testing.assert_allclose(joined.std, alone.std, rtol=1e-9)
        if own > SHORT_STD:
            assert np.all(joined.std < 0.9 * alone.std)


@pytest.mark.parametrize("barriers", [(1.5, 0.6), (3.0, 0.05), (0.05, 2.0)])
def test_a_short_relaxation_tells_the_sites_apart(barriers):
    """There minus back is one number, whichever way it is asked for; no barrier is negative."""
    model = load("hop-barrier")
    bare = skew_hop(1)
    hop = relaxed(bare, *barriers)
    forward = model.predict([hop]).mean
    backward = model.predict([hop.reversed()]).mean
    energies = model.energies([hop])
    difference = (energies.end_eV - energies.start_eV)[0]
    np.testing.assert_allclose(forward - backward, difference, atol=1e-12)
    np.testing.assert_allclose(energies.central_barrier_eV, forward, rtol=1e-9)
    assert min(forward[0], backward[0]) > 0.0
    between = sorted([model.inputs_of([bare]).difference[0], barriers[0] - barriers[1]])
    assert between[0] <= difference[0] <= between[1]
    twice = model.predict([hop.reversed().reversed()])
    np.testing.assert_array_equal(twice.mean, forward)


@pytest.mark.parametrize("barriers", [(0.01, 0.5), (-0.3, 0.5)])
def test_a_relaxed_barrier_below_the_lowest_counts_as_the_lowest(barriers):
    model = load("hop-barrier")
    hop = skew_hop(1)
    found = model.predict([relaxed(hop, *barriers)]).mean
    lowest = model.predict([relaxed(hop, LOWEST_SHORT_EV, barriers[1])]).mean
    np.testing.assert_array_equal(found, lowest)
    assert found[0] < model.predict([hop]).mean[0]


@pytest.mark.parametrize("barriers", [(np.nan, 0.5), (0.5, np.inf)])
def test_a_relaxation_that_is_no_number_is_left_out(barriers):
    model = load("hop-barrier")
    hop = skew_hop(1)
    found = model.predict([relaxed(hop, *barriers)]).mean
    np.testing.assert_array_equal(found, model.predict([hop]).mean)


def test_a_relaxation_that_agrees_with_a_label_changes_nothing_and_a_higher_one_raises_it():
    labelled, barrier = hops(12)
    bare = blinded(labelled)
    plain = HopBarrierModel(n_folds=0).fit(bare, barrier)
    saddle = plain.inputs_.above_mean(barrier)
    half = 0.5 * plain.inputs_.difference

    def taught(shift: float) -> np.ndarray:
        other = TARGET.inverse(TARGET.forward(saddle) - SHORT_TOO_LOW + shift)
        found = [relaxed(h, s + d, s - d) for h, s, d in zip(bare, other, half, strict=True)]
        return HopBarrierModel(n_folds=0).fit(found, barrier).predict(bare).mean

    expected = plain.predict(bare).mean
    agreeing = (saddle > 2 * np.abs(half) + LOWEST_SHORT_EV).all()
    assert agreeing  # no end is cut
    np.testing.assert_allclose(taught(0.0), expected, rtol=1e-4)
    assert (taught(0.5) > expected).all()
    assert (taught(-0.2) < expected).all()


def test_labels_that_join_a_known_model_stay_as_they_are():
    labelled, barrier = hops(20)
    bare = blinded(labelled)
    known = HopBarrierModel(n_folds=0).fit(bare[:12], barrier[:12])
    moved = [relaxed(hop, 3.0, 3.0) for hop in bare[12:]]
    joined = [
        HopBarrierModel(known=known, n_folds=0).fit(given, barrier[12:]).predict(bare).mean
        for given in (bare[12:], moved)
    ]
    np.testing.assert_array_equal(*joined)


def test_other_labels_of_the_same_hops_stay_as_they_are():
    labelled, barrier = hops(12)
    model = HopBarrierModel(n_folds=0).fit(
        [relaxed(h, 3.0, 3.0) for h in blinded(labelled)], barrier
    )
    saddle = model.inputs_.above_mean(barrier)
    plain = HopBarrierModel(n_folds=0).fit(blinded(labelled), barrier)
    asked = blinded(labelled)
    one, two = (m.relabelled(saddle).experts()[False, False][0].target for m in (model, plain))
    np.testing.assert_array_equal(one, two)
    assert (model.predict(asked).mean > plain.predict(asked).mean).all()


def test_labels_beside_are_learnt_from():
    labelled, barrier = hops(24)
    beside = labelled[12:], barrier[12:]
    joined = HopBarrierModel(n_folds=2, beside=beside).fit(labelled[:12], barrier[:12])
    whole = HopBarrierModel(n_folds=0).fit(
        [*labelled[12:], *labelled[:12]], barrier[np.r_[12:24, :12]]
    )
    new = [skew_hop(k) for k in (40, 41)]
    one, two = (model.predict_inputs(model.inputs_of(new)).mean for model in (joined, whole))
    np.testing.assert_allclose(one, two, rtol=1e-4)  # batches of another size round otherwise


def test_nothing_is_said_of_no_hops():
    model = load("hop-barrier")
    assert len(model.predict([])) == 0
    assert model.in_domain([]).shape == (0,)
    assert model.distance([]).shape == (0,)
    assert model.points([]).shape[0] == 0
    assert model.energies([]).central_barrier_eV.shape == (0,)
    assert model.crystal_energies([]) == []


def test_the_old_name_asks_for_energies_of_the_same_model():
    one, two = load("hop-barrier"), load("hop-barrier-chgnet")
    assert two.asks_for_profile
    assert not one.asks_for_profile
    hop = skew_hop(2)
    np.testing.assert_array_equal(one.predict([hop]).mean, two.predict([hop]).mean)


def test_a_hop_of_which_little_is_known_is_out_of_domain():
    """The flag follows the spread: a relaxation that narrows it takes the flag away."""
    model = load("hop-barrier")
    hops = [skew_hop(k) for k in range(12)]
    std, inside = model.predict(hops).std, model.in_domain(hops)
    np.testing.assert_array_equal(inside, std <= LARGEST_STD_EV)
    assert not model.in_domain([replace(hops[0], working_ion="Cs")]).any()
