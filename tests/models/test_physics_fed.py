"""A model that reads a universal potential's energies: what it gains, keeps and does without."""

from dataclasses import replace

import numpy as np
import pytest

from models.library import load
from models.physics_fed import PROFILE, PhysicsFed, view_of
from structures.records import Hop
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
    fed = PhysicsFed().fit(train, barrier[half]).predict(test)
    blind_train = [replace(h, extra={}) for h in train]
    blind = (
        PhysicsFed().fit(blind_train, barrier[half]).predict([replace(h, extra={}) for h in test])
    )
    error, without = (np.abs(p.mean - barrier[~half]).mean() for p in (fed, blind))
    assert error < 0.5 * without
    assert error < 0.15


def test_a_hop_without_energies_is_predicted_as_if_no_hop_had_any():
    labelled, barrier = hops(12)
    stranger = replace(skew_hop(3), id="stranger")
    whole = PhysicsFed().fit(labelled, barrier)
    blind = PhysicsFed().fit(blinded(labelled), barrier)
    together = whole.predict([labelled[0], stranger])
    np.testing.assert_allclose(together.mean[1], blind.predict([stranger]).mean[0], rtol=1e-6)


def test_a_saved_model_predicts_the_same(tmp_path):
    labelled, barrier = hops(12)
    model = PhysicsFed().fit(labelled, barrier)
    model.save(tmp_path / "fed", {"name": "fed"})
    again = load(tmp_path / "fed")
    one, two = model.predict(labelled), again.predict(labelled)
    np.testing.assert_allclose(two.mean, one.mean, rtol=1e-4)
    np.testing.assert_allclose(two.std, one.std, rtol=1e-3)
    lower, upper = again.interval(two)
    assert (lower < two.mean).all()
    assert (two.mean < upper).all()


@pytest.mark.parametrize("energies", [[], [0.0, 1.0, 0.0], [0.0, np.nan, 1.0, 0.0, 0.0]])
def test_a_profile_that_says_nothing_is_none(energies):
    assert np.isnan(view_of(replace(skew_hop(0), extra={PROFILE: energies}))).all()
