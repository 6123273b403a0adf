"""Strategies do to the weights what their names say, and carry a cell model to another curve."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ionbridge.models.cells.cell_correction import Training
from ionbridge.models.cells.cell_rom import CellRom
from ionbridge.models.cells.cell_transfer import (
    CAREFUL,
    CELL_TRANSFERS,
    Automatic,
    FullTuning,
    LastLayers,
    LowRank,
    ResidualProcess,
)
from tests.models.cells.small_cells import cells, curves_with_resistance, tables

SHORT = replace(CAREFUL, steps=40)
TARGET = tables("flat", positive=lambda x: 3.5 - 0.05 * x)


@pytest.fixture(scope="module")
def source():
    own = cells(24)
    return CellRom(Training(steps=150), n_members=2, hidden=(8, 8)).fit(
        [own], [curves_with_resistance(own)], calibrate=False
    )


@pytest.fixture(scope="module")
def target():
    own = cells(10, seed=3, base=TARGET)
    return own, curves_with_resistance(own)


def error_V(model, own, curves):
    found = model.predict(own, uncertainty=False)
    return float(np.sqrt(((found.voltage_V - curves.voltage_V) ** 2).mean()))


def moved(before, after, name):
    return not torch.equal(before.parameters_[name], after.parameters_[name])


class TestWeights:
    def test_last_layers_leave_the_first(self, source, target):
        found = LastLayers(2, SHORT).adapt(source, *target, calibrate=False)
        assert [moved(source, found, f"w{i}") for i in range(3)] == [False, True, True]

    def test_head_alone(self, source, target):
        found = LastLayers(1, SHORT).adapt(source, *target, calibrate=False)
        assert [moved(source, found, f"w{i}") for i in range(3)] == [False, False, True]

    def test_low_rank_changes_by_that_rank(self, source, target):
        found = LowRank(2, SHORT).adapt(source, *target, calibrate=False)
        change = found.parameters_["w1"] - source.parameters_["w1"]
        assert torch.linalg.matrix_rank(change[0], atol=1e-5) == 2
        assert set(found.parameters_) == set(source.parameters_)

    def test_an_anchor_holds(self, source, target):
        def distance(strategy):
            found = strategy.adapt(source, *target, calibrate=False).parameters_
            return sum(float(((found[k] - v) ** 2).sum()) for k, v in source.parameters_.items())

        free = replace(SHORT, weight_decay=0.0)
        assert distance(FullTuning(replace(free, anchor=1e4))) < 0.2 * distance(FullTuning(free))

    def test_source_is_left_alone(self, source, target):
        before = {k: v.clone() for k, v in source.parameters_.items()}
        FullTuning(SHORT).adapt(source, *target, calibrate=False)
        assert all(torch.equal(v, source.parameters_[k]) for k, v in before.items())


@pytest.mark.parametrize("name", sorted(set(CELL_TRANSFERS) - {"scratch", "scratch_anchored"}))
def test_every_strategy_predicts_the_target(name, source, target):
    strategy = CELL_TRANSFERS[name]
    if hasattr(strategy, "training"):
        strategy = replace(strategy, training=SHORT)
    found = strategy.adapt(source, *target, calibrate=False)
    assert error_V(found, *target) < 0.1


def test_a_process_learns_what_the_closed_form_leaves(source, target):
    own, curves = cells(8, seed=11, base=TARGET), None
    curves = curves_with_resistance(own)
    bare = CELL_TRANSFERS["closed_form"].adapt(source, *target)
    assert error_V(ResidualProcess().adapt(source, *target), own, curves) < 0.5 * error_V(
        bare, own, curves
    )


def test_automatic_choice_says_what_it_measured(source, target):
    strategy = Automatic(("closed_form", "no_learning"))
    scores = strategy.scores(source, *target)
    assert set(scores) == {"closed_form", "no_learning"}
    found = strategy.adapt(source, *target, calibrate=False)
    best = min(scores, key=scores.get)
    expected = CELL_TRANSFERS[best].adapt(source, *target, calibrate=False)
    assert error_V(found, *target) == pytest.approx(error_V(expected, *target))


def test_transferred_model_knows_both_chemistries(source, target):
    found = CELL_TRANSFERS["no_learning"].adapt(source, *target)
    assert set(found.tables_) == {"small", "flat"}
    assert found.in_domain(target[0]).all()
