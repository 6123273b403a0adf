"""The choice between ways to learn: it finds transfer that helps and leaves transfer that hurts."""

import numpy as np
import pytest

from benchmarks.transfer.adaptation_strategies import STRATEGIES, Source, is_new, usable_strategies
from benchmarks.transfer.strategy_prior import (
    N_REPEATS,
    SHARED,
    StrategyPrior,
    Trial,
    choose,
    cross_validated,
)

pytestmark = pytest.mark.slow

RNG_SEED = 3
CHEAP = ("mean", "trees", "offset", "line", "process-joint", "trees-joint")


def problem(n=12, sign=1.0, noise=0.05):
    """A source y = f(x), and a few labels of sign * f(x) elsewhere."""
    rng = np.random.default_rng(RNG_SEED)
    x = rng.normal(size=(120, 4))
    y = np.sin(x[:, 0]) + 0.5 * x[:, 1]
    source = Source(x, y + noise * rng.normal(size=120), core=(0, 1))
    new = rng.normal(size=(n, 4))
    target = sign * (np.sin(new[:, 0]) + 0.5 * new[:, 1])
    return source, new, target, [f"g{i // 2}" for i in range(n)]


def trial_of(source, x, y, groups, names=CHEAP):
    strategies = [STRATEGIES[name] for name in names]
    held_out = cross_validated(strategies, source, x, y, groups)
    return Trial("hops", len(y), {k: float(np.mean(np.abs(v - y))) for k, v in held_out.items()})


class TestCrossValidation:
    def test_transfer_of_the_same_thing_beats_the_mean(self):
        cv = trial_of(*problem()).cv
        assert cv["process-joint"] < 0.5 * cv["mean"]

    def test_groups_are_kept_together(self):
        seen = []

        def spy(source, x, y):
            seen.append({round(float(v), 6) for v in x[:, 0]})
            return lambda new: np.zeros(len(new))

        source, x, y, groups = problem()
        strategy = type(STRATEGIES["mean"])("spy", False, False, spy)
        cross_validated([strategy], source, x, y, groups)
        for train in seen:
            inside = [round(float(v), 6) in train for v in x[:, 0]]
            assert all(inside[i] == inside[i + 1] for i in range(0, len(y), 2))

    def test_one_group_is_divided_by_rows(self):
        source, x, y, _ = problem()
        cv = cross_validated([STRATEGIES["mean"]], source, x, y, ["only"] * len(y))
        assert cv["mean"].shape == (N_REPEATS, len(y))
        assert np.isfinite(cv["mean"]).all()


class TestChoice:
    def test_without_a_prior_the_labels_decide(self):
        trial = Trial("hops", 8, {"mean": 0.5, "trees": 0.3, "offset": 0.4})
        assert choose(trial, StrategyPrior({}, {})).strategy == "trees"

    def test_transfer_that_hurts_is_said_and_not_done(self):
        trial = trial_of(*problem(sign=-1.0), names=("mean", "trees", "offset", "zero-shot"))
        chosen = choose(trial, StrategyPrior({}, {}))
        assert chosen.transfer_hurts
        assert not chosen.transfers
        assert "transfer hurts" in chosen.why

    def test_transfer_that_helps_is_done(self):
        chosen = choose(trial_of(*problem()), StrategyPrior({}, {}))
        assert chosen.transfers
        assert not chosen.transfer_hurts

    def test_a_prior_breaks_near_ties_and_unmistakable_labels_break_the_prior(self):
        trials = []
        for k in range(24):
            cv = {"mean": 0.5, "trees": 0.4, "offset": 0.41}
            test = {"mean": 0.5, "trees": 0.6, "offset": 0.3}  # trees flatter themselves
            trials.append(Trial("hops", 8 * 2 ** (k % 3), cv, test, f"target{k % 6}"))
        prior = StrategyPrior.fit(trials)
        near = Trial("hops", 8, {"mean": 0.5, "trees": 0.40, "offset": 0.42})
        far = Trial("hops", 8, {"mean": 0.5, "trees": 0.1, "offset": 0.42})
        assert choose(near, prior).strategy == "offset"
        assert choose(far, prior).strategy == "trees"

    def test_a_strategy_without_trials_of_its_own_gets_what_all_share(self):
        trials = [
            Trial("hops", 8, {"mean": a, "trees": b}, {"mean": a, "trees": b}, f"t{i}")
            for i, (a, b) in enumerate([(0.5, 0.2), (0.2, 0.5), (0.4, 0.3), (0.3, 0.4)])
        ]
        prior = StrategyPrior.fit(trials)
        scores = prior.scores(Trial("hops", 8, {"mean": 0.5, "trees": 0.4, "new": 0.1}))
        assert set(scores) == {"mean", "trees", "new"}
        assert SHARED in prior.coefficients["hops"]


class TestSource:
    def test_labels_are_taken_out_of_the_source(self):
        source, *_ = problem()
        assert len(source.without(source.descriptors[:7]).target) == len(source.target) - 7

    def test_new_rows_are_new(self):
        source, x, *_ = problem()
        assert is_new(x, source.descriptors).all()
        stored = source.descriptors.astype(np.float32).astype(float)
        assert not is_new(stored, source.descriptors).any()

    @pytest.mark.parametrize("name", sorted(STRATEGIES))
    def test_every_strategy_gives_a_number_for_every_row(self, name):
        source, x, y, _ = problem()
        predict = STRATEGIES[name].fit(source, x, y)
        found = predict(source.descriptors[:5])
        assert found.shape == (5,)
        assert np.isfinite(found).all()

    def test_what_needs_the_same_property_is_left_out_for_another(self):
        source, *_ = problem()
        other = Source(source.descriptors, source.target, source.core, is_same=False)
        assert not any(s.needs_same for s in usable_strategies(other))
