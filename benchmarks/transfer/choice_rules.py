"""Rules that turn cross-validation on a few labels, and trials on other targets, into a choice.

Each rule takes a run and a prior that has not seen its target, and gives predictions for the test
rows. The first is what the program ships.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.transfer.adaptation_runs import Run
from benchmarks.transfer.adaptation_strategies import STRATEGIES, members
from benchmarks.transfer.strategy_prior import StrategyPrior, Trial, choose, trial_of

Floats = NDArray[np.float64]
Rule = Callable[[Run, Trial, StrategyPrior], Floats]
SHIPPED, BY_LABELS = "orchestrator", "cross-validation alone"
NEVER = "never transfer (chosen)"
SHARPNESS, PULL, STEP, ROUNDS = 20.0, 0.5, 0.1, 300
"""Of the stacking: how fast the prior weight falls with the expected log error, how strongly the
weights are drawn to the prior ones, and the steps of the exponentiated gradient."""
ROUNDING = 0.2
"""Errors below this share of the best strategy's count by their square."""


def trial(run: Run) -> Trial:
    """A run as the prior sees it."""
    return trial_of(
        "bulk" if run.kind == "bulk" else "hops",
        dict(zip(run.strategies, run.held_out, strict=True)),
        run.labels,
        dict(zip(run.strategies, run.predicted, strict=True)),
        run.truth,
        run.target,
    )


def _of(run: Run, *names: str) -> Floats:
    """(m,) median of what some strategies predict."""
    rows = [run.predicted[run.strategies.index(name)] for name in names]
    return np.asarray(np.median(rows, axis=0))


def _least(values: Mapping[str, float]) -> str:
    return min(values, key=lambda name: values[name])


def _shipped(run: Run, trial: Trial, prior: StrategyPrior) -> Floats:
    return _of(run, *members(choose(trial, prior).strategy))


def _one(run: Run, trial: Trial, prior: StrategyPrior) -> Floats:
    """The one strategy of least expected error."""
    return _of(run, _least(prior.scores(trial)))


def _prior_alone(run: Run, trial: Trial, prior: StrategyPrior) -> Floats:
    return _of(run, _least(prior.scores(trial, use_labels=False)))


def _by_labels(run: Run, trial: Trial, prior: StrategyPrior) -> Floats:
    return _of(run, _least(trial.cv))


def _one_standard_error(run: Run, trial: Trial, prior: StrategyPrior) -> Floats:
    """Of the strategies within one standard error of the best on the labels, the prior's best."""
    errors = np.abs(run.held_out - run.labels).mean(axis=1)
    best = int(np.argmin(errors.mean(axis=1)))
    gap = errors - errors[best]
    near = gap.mean(axis=1) <= gap.std(axis=1) / np.sqrt(len(run.labels)) + 1e-12
    scores = prior.scores(trial, use_labels=False)
    return _of(
        run, _least({n: scores[n] for n, is_in in zip(run.strategies, near, strict=True) if is_in})
    )


def _stacked(run: Run, trial: Trial, prior: StrategyPrior) -> Floats:
    """A weighted mean: weights that fit the cross-validated rows, drawn to those of the prior.

    Minimises the rounded absolute error plus the relative entropy of the weights to the prior ones
    by exponentiated gradient.
    """
    scores = prior.scores(trial)
    expected = np.array([scores[name] for name in run.strategies])
    log_prior = -SHARPNESS * (expected - expected.min())
    log_prior -= np.log(np.exp(log_prior).sum())
    held_out = run.held_out.reshape(len(run.strategies), -1)
    truth = np.tile(run.labels, run.held_out.shape[1])
    scale = float(np.abs(held_out - truth).mean(axis=1).min()) + 1e-6
    log_weight = log_prior.copy()
    for _ in range(ROUNDS):
        rest = np.exp(log_weight) @ held_out - truth
        slope = (held_out * np.tanh(rest / (ROUNDING * scale))).mean(axis=1) / scale
        log_weight = log_weight - STEP * (slope + PULL * (log_weight - log_prior))
        log_weight -= log_weight.max()
        log_weight -= np.log(np.exp(log_weight).sum())
    return np.asarray(np.exp(log_weight) @ run.predicted)


def _never(run: Run, trial: Trial, prior: StrategyPrior) -> Floats:
    """The best without transfer by cross-validation."""
    own = {name: e for name, e in trial.cv.items() if not STRATEGIES[name].transfers}
    return _of(run, _least(own))


def _always(name: str) -> Rule:
    return lambda run, trial, prior: _of(run, name)


FIXED: Mapping[str, Rule] = {
    "always full fine-tuning": _always("network-full"),
    "always last layers only": _always("network-last"),
    "never transfer (trees)": _always("trees"),
    "never transfer (network)": _always("network-scratch"),
    "never transfer (Gaussian process)": _always("process"),
}
"""What is done without a look at the labels."""
RULES: Mapping[str, Rule] = {
    SHIPPED: _shipped,
    "one strategy, prior and labels": _one,
    "one standard error, then the prior": _one_standard_error,
    "stacked, drawn to the prior": _stacked,
    BY_LABELS: _by_labels,
    "prior alone": _prior_alone,
    NEVER: _never,
    **FIXED,
}
"""All rules by name."""
