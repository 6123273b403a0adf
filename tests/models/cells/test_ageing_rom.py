"""Ageing models find laws again, carry them to another cell, and keep them on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import qmc

from ionbridge.models.cells.ageing_rom import (
    CHANNELS,
    LOSSES,
    AgeingHistory,
    AgeingRom,
    closed_forms,
)
from ionbridge.models.cells.graphite import Cycling, Graphite
from ionbridge.models.checkpoint import IncompatibleModelError
from tests.models.cells.test_graphite import GRAPHITE

COLD_GRAPHITE = replace(GRAPHITE, diffusivity_activation_J_mol=5e3, diffusivity_m2_s=1e-14)
CYCLES = np.array([1.0, 3.0, 10.0, 40.0, 100.0, 150.0, 300.0, 500.0])


def cyclings(n: int, seed: int = 0) -> list[Cycling]:
    points = qmc.Sobol(4, rng=seed).random_base2(5)[:n]
    low, high = [-1.0, -1.0, 278.0, 0.3], [0.5, 0.5, 318.0, 1.0]
    return [Cycling(np.exp(a), np.exp(b), t, d) for a, b, t, d in qmc.scale(points, low, high)]


def lives(graphite: Graphite, chosen: Sequence[Cycling], bend: float) -> list[AgeingHistory]:
    """Closed forms with a factor, and a dependence on depth that they do not know."""
    forms = closed_forms(graphite, chosen, list(CYCLES))
    found = []
    for k, cycling in enumerate(chosen):
        extra = np.exp(bend * cycling.depth_of_discharge**2 - 6.0)
        channels = {name: np.exp(form[k]) * extra for name, form in forms.items()}
        total = sum(channels[name] for name in LOSSES)
        channels["capacity_lost"] = 0.9 * np.asarray(total) / graphite.nominal_Ah
        found.append(AgeingHistory(cycling, CYCLES, channels))
    return found


def worst(model: AgeingRom, truth: Sequence[AgeingHistory]) -> float:
    found = model.predict([life.cycling for life in truth], [40.0, 500.0])
    return max(
        float(
            np.abs(
                np.log(found.median[name] / [life.channels[name][[3, 7]] for life in truth])
            ).max()
        )
        for name in CHANNELS
        if name != "resistance_growth"
    )


@pytest.fixture(scope="module")
def source() -> AgeingRom:
    return AgeingRom(GRAPHITE).fit(lives(GRAPHITE, cyclings(16), 1.5), calibrate=False)


def test_finds_what_the_closed_forms_do_not_know(source: AgeingRom) -> None:
    assert worst(source, lives(GRAPHITE, cyclings(8, seed=1), 1.5)) < 0.1


def test_two_runs_carry_it_to_another_cell(source: AgeingRom) -> None:
    test = lives(COLD_GRAPHITE, cyclings(8, seed=2), 1.5)
    training = lives(COLD_GRAPHITE, cyclings(2, seed=3), 1.5)
    moved = AgeingRom(COLD_GRAPHITE).fit(training, source, calibrate=False)
    alone = AgeingRom(COLD_GRAPHITE).fit(training, calibrate=False)
    assert worst(moved, test) < 0.2
    assert worst(moved, test) < worst(alone, test) / 2


def test_spread_grows_away_from_the_runs_and_covers(source: AgeingRom) -> None:
    training = lives(COLD_GRAPHITE, cyclings(4, seed=4), 2.0)
    model = AgeingRom(COLD_GRAPHITE).fit(training, source)
    near = model.predict([training[0].cycling], [500.0])
    far = model.predict([Cycling(8.0, 8.0, 250.0, 0.05)], [500.0])
    for name in CHANNELS:
        assert far.log_std[name][0, 0] > near.log_std[name][0, 0]
    assert near.in_domain[0]
    assert not far.in_domain[0]


def test_goes_on_beyond_the_last_cycle(source: AgeingRom) -> None:
    found = source.predict(cyclings(2), [500.0, 501.0, 2000.0])
    for name in LOSSES:
        a, b, c = found.median[name].T
        assert (a < b).all()
        assert (b < c).all()
        assert np.allclose(a, b, rtol=1e-2)


def test_folder_gives_back_the_model(source: AgeingRom, tmp_path: Path) -> None:
    model = AgeingRom(COLD_GRAPHITE).fit(lives(COLD_GRAPHITE, cyclings(3, seed=5), 1.0), source)
    model.save(tmp_path / "model")
    again = AgeingRom.load(tmp_path / "model")
    assert again.graphite == model.graphite
    a, b = (m.predict(cyclings(3), [7.0, 900.0]) for m in (model, again))
    for name in CHANNELS:
        np.testing.assert_array_equal(a.median[name], b.median[name])
        np.testing.assert_array_equal(a.log_std[name], b.log_std[name])
    (tmp_path / "model" / "config.json").write_text('{"kind": "other"}')
    with pytest.raises(IncompatibleModelError):
        AgeingRom.load(tmp_path / "model")


def test_bad_input_is_named(source: AgeingRom) -> None:
    one = lives(GRAPHITE, cyclings(1), 0.0)
    with pytest.raises(ValueError, match="two runs"):
        AgeingRom(GRAPHITE).fit(one)
    broken = AgeingHistory(one[0].cycling, CYCLES, {"sei_Ah": CYCLES})
    with pytest.raises(ValueError, match="active_material_Ah"):
        AgeingRom(GRAPHITE).fit([broken, broken])
    with pytest.raises(ValueError, match="from 1"):
        source.predict(cyclings(1), [0.0])
    with pytest.raises(ValueError, match="not fitted"):
        AgeingRom(GRAPHITE).predict(cyclings(1), [1.0])
