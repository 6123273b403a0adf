"""A line with a prior: it finds laws again, agrees with least squares, and survives the disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ionbridge.models.cells.cycle_life import ONE_FEATURE, SCALING, CycleLife
from ionbridge.models.checkpoint import IncompatibleModelError
from ionbridge.structures.sources.cell_ageing import EarlyCycles


def cells(n: int, seed: int = 0) -> list[EarlyCycles]:
    rng = np.random.default_rng(seed)
    return [
        EarlyCycles(f"c{k}", rng.uniform(-5, -3), -0.05, -0.02, rng.uniform(1.03, 1.08), 1.05)
        for k in range(n)
    ]


def law(records: Sequence[EarlyCycles]) -> np.ndarray:
    """Life is the reserve over a rate whose square is the variance."""
    return np.array(
        [30 * (r.qmax_cycle2_Ah - 0.88) / 10 ** (r.log10_var_dQ_100_10 / 2) for r in records]
    )


def test_two_cells_are_enough_where_the_law_holds() -> None:
    training, test = cells(2), cells(20, seed=1)
    found, lower, upper = CycleLife(SCALING).fit(training, law(training)).lives(test)
    np.testing.assert_allclose(found, law(test), rtol=0.02)
    assert (lower < law(test)).all()
    assert (law(test) < upper).all()


def test_without_a_prior_it_is_least_squares() -> None:
    records = cells(12)
    life = law(records) * np.random.default_rng(2).lognormal(0, 0.2, 12)
    x = [r.log10_var_dQ_100_10 for r in records]
    expected = np.polyval(np.polyfit(x, np.log10(life), 1), x)
    found = CycleLife(ONE_FEATURE).fit(records, life).predict(records)
    np.testing.assert_allclose(found.mean, expected, atol=1e-5)


def test_many_cells_overrule_the_prior() -> None:
    records = cells(400)
    life = 10 ** (1.0 - 0.3 * np.array([r.log10_var_dQ_100_10 for r in records]))
    model = CycleLife(replace(SCALING, reserve_slope=0.0)).fit(records, life)
    assert model.weights_[1] == pytest.approx(-0.3, abs=0.01)


def test_intervals_hold() -> None:
    inside = []
    for seed in range(30):
        records = cells(30, seed)
        life = law(records) * 10 ** np.random.default_rng(100 + seed).normal(0, 0.07, 30)
        _, lower, upper = CycleLife().fit(records[:8], life[:8]).lives(records[8:])
        inside.append(np.mean((lower < life[8:]) & (life[8:] < upper)))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.06)


def test_an_unknown_capacity_counts_as_usual() -> None:
    training = cells(10)
    model = CycleLife().fit(training, law(training))
    test = cells(5, seed=3)
    unknown = [replace(cell, qmax_cycle2_Ah=None) for cell in test]
    assert np.isfinite(model.predict(unknown).mean).all()
    assert model.in_domain(test).all()
    assert not model.in_domain([replace(test[0], log10_var_dQ_100_10=-20.0)])[0]


def test_folder_gives_back_the_model(tmp_path: Path) -> None:
    training = cells(6)
    model = CycleLife().fit(training, law(training))
    model.save(tmp_path)
    again = CycleLife.load(tmp_path)
    assert again == model
    for a, b in zip(model.lives(cells(4, 5)), again.lives(cells(4, 5)), strict=True):
        np.testing.assert_array_equal(a, b)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(IncompatibleModelError):
        CycleLife.load(tmp_path)


def test_bad_input_is_named() -> None:
    records = cells(3)
    with pytest.raises(ValueError, match="2 or more"):
        CycleLife().fit(records[:1], [100.0])
    with pytest.raises(ValueError, match="positive"):
        CycleLife().fit(records, [100.0, -1.0, 3.0])
    with pytest.raises(ValueError, match="not fitted"):
        CycleLife().predict(records)
