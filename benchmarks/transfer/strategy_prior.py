"""A rule of choice that is not shipped: cross-validation on few labels, read with other trials.

A handful of labels makes cross-validation noisy: the apparent winner of sixteen candidates is often
the luckiest. So its errors are read in the light of trials on other chemistries, where the labels'
errors and those on many held-out rows are both known. The relative test error of a strategy is
regressed on its relative cross-validated error, on the number of labels, and on how far the source
is off on the labels (whether it transfers at all); with few labels the regression trusts the prior,
with many the labels. Of the strategies that are then expected to be best the median is taken. The
shipped rule (:func:`ionbridge.models.cross_validation.choose`) does as well without a prior
(``benchmarks/transfer/choice_of_way.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.transfer.adaptation_strategies import (
    STRATEGIES,
    Source,
    Strategy,
    blend_name,
    blended,
    members,
)
from ionbridge.structures.features.splits import GroupedKFold

Floats = NDArray[np.float64]

MAX_FOLDS = 4
N_REPEATS = 2
"""Ways in which the labels are dealt into folds."""
SEED_STEP = 1000
MIN_ERROR = 1e-4
"""Below this an error is rounding."""
REFERENCE_LABELS = 16
"""Numbers of labels count as log2(n / this)."""
RIDGES = (3.0, 30.0, 300.0, 3000.0)
"""Pseudo-observations that a slope is zero, or what all strategies have in common; the number is
chosen by leaving out one target at a time of the trials that the prior is learnt from."""
SIZES = (1, 2, 3, 4, 5, 6)
"""Numbers of strategies whose median may be taken."""
INTERCEPT_RIDGE = 1.0
"""The same of a strategy's intercept."""
SHARED = "*"
"""Name of the weights that all strategies have in common."""


BlendError = Callable[[Sequence[str]], float]


@dataclass(frozen=True)
class Trial:
    """Strategies compared once.

    Attributes:
        kind: ``hops`` or ``bulk``: what was learnt.
        n_labels: Number of labels.
        cv: Error of each strategy in grouped cross-validation on the labels.
        test: Error on rows held out, where they are known.
        target: The chemistry or property that the labels are of.
        blend_cv: Cross-validated error of the median of several strategies.
        blend_test: The same on rows held out.
    """

    kind: str
    n_labels: int
    cv: Mapping[str, float]
    test: Mapping[str, float] | None = None
    target: str = ""
    blend_cv: BlendError | None = None
    blend_test: BlendError | None = None

    def cv_of(self, names: Sequence[str]) -> float:
        """Cross-validated error of a strategy, or of the median of several."""
        if len(names) == 1 or self.blend_cv is None:
            return self.cv[names[0]]
        return self.blend_cv(names)

    def test_of(self, names: Sequence[str]) -> float:
        """The same on rows held out, where they are known."""
        assert self.test is not None
        if len(names) == 1 or self.blend_test is None:
            return self.test[names[0]]
        return self.blend_test(names)


def trial_of(
    kind: str,
    held_out: Mapping[str, Floats],
    labels: Floats,
    predicted: Mapping[str, Floats] | None = None,
    truth: Floats | None = None,
    target: str = "",
) -> Trial:
    """A comparison from what strategies predicted.

    Args:
        kind: ``hops`` or ``bulk``.
        held_out: (repeats, n) cross-validated predictions of each strategy.
        labels: (n,) what they should be.
        predicted: (m,) predictions of each strategy for rows held out, where known.
        truth: (m,) what they should be.
        target: The chemistry or property.
    """

    def error(values: Mapping[str, Floats], right: Floats, names: Sequence[str]) -> float:
        return float(np.mean(np.abs(blended([values[name] for name in names]) - right)))

    cv = {name: error(held_out, labels, [name]) for name in held_out}
    on_labels = partial(error, held_out, labels)
    if predicted is None or truth is None:
        return Trial(kind, len(labels), cv, target=target, blend_cv=on_labels)
    on_rows = partial(error, predicted, truth)
    test = {name: on_rows([name]) for name in predicted}
    return Trial(kind, len(labels), cv, test, target, on_labels, on_rows)


@dataclass(frozen=True)
class StrategyPrior:
    """What trials on other chemistries say of each strategy.

    Attributes:
        coefficients: kind -> strategy -> weights of ``FEATURES``, for the logarithm of the error
            relative to the geometric mean over all strategies.
        n_trials: kind -> trials that it rests on.
        n_members: kind -> number of the most promising strategies whose median is taken.
    """

    coefficients: Mapping[str, Mapping[str, Sequence[float]]]
    n_trials: Mapping[str, int]
    n_members: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def fit(cls, trials: Sequence[Trial]) -> StrategyPrior:
        """By ridge regression, one strategy at a time and the weight of its own error shared.

        How much is shared, and of how many strategies the median is taken, is what chooses best on
        trials of targets that were left out.
        """
        coefficients: dict[str, dict[str, list[float]]] = {}
        counts: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for kind in sorted({trial.kind for trial in trials}):
            own = [trial for trial in trials if trial.kind == kind and trial.test is not None]
            counts[kind] = len(own)
            coefficients[kind], sizes[kind] = _selected(own)
        return cls(coefficients, counts, sizes)

    def chosen(self, trial: Trial) -> tuple[str, ...]:
        """The strategies whose median is taken, best first."""
        n = self.n_members.get(trial.kind, 1) if trial.blend_cv is not None else 1
        return most_promising(self.scores(trial), n)

    def scores(self, trial: Trial, use_labels: bool = True) -> dict[str, float]:
        """Expected log error of each strategy relative to their geometric mean; least is best.

        Args:
            trial: Its cross-validated errors; a strategy without trials of its own gets what all
                have in common.
            use_labels: False ignores them and gives the prior alone.
        """
        known = self.coefficients.get(trial.kind, {})
        features = _features(trial, use_labels)
        if not known:
            return {name: float(row[OWN_ERROR]) for name, row in features.items()}
        shared = known[SHARED]
        return {name: float(np.dot(known.get(name, shared), row)) for name, row in features.items()}


FEATURES = ("one", "more_labels", "source_fails", "labels_spread", "own_error", "own_error_more")
"""Inputs of the regression: 1, log2(n / 16), log error of the source line relative to the mean of
the labels, the same of the trees, own relative log error, and that times log2(n / 16)."""
OWN_ERROR = FEATURES.index("own_error")


def _features(trial: Trial, use_labels: bool = True) -> dict[str, Floats]:
    """(len(FEATURES),) for each strategy."""
    errors = {name: float(np.log(max(value, MIN_ERROR))) for name, value in trial.cv.items()}
    centre = float(np.mean(list(errors.values())))
    more = float(np.log2(trial.n_labels / REFERENCE_LABELS))
    mean = errors.get("mean", centre)
    source = errors.get("offset", errors.get("line", centre)) - mean
    trees = errors.get("trees", centre) - mean
    on = 1.0 if use_labels else 0.0
    return {
        name: np.array(
            [1.0, more, on * source, on * trees, on * (e - centre), on * more * (e - centre)]
        )
        for name, e in errors.items()
    }


def _selected(trials: Sequence[Trial]) -> tuple[dict[str, list[float]], int]:
    """Weights with the ridge, and the number of members, that chose best on targets left out."""
    targets = sorted({trial.target for trial in trials})
    ridge, size = RIDGES[-1], 1
    if len(targets) > 2:
        regret = dict.fromkeys(((r, n) for r in RIDGES for n in SIZES), 0.0)
        for target in targets:
            rest = [trial for trial in trials if trial.target != target]
            own = [trial for trial in trials if trial.target == target]
            for r in RIDGES:
                prior = StrategyPrior({own[0].kind: _fitted(rest, r)}, {})
                for trial in own:
                    scores = prior.scores(trial)
                    for n in SIZES:
                        regret[r, n] += _regret(trial, most_promising(scores, n)) / len(own)
        ridge, size = min(regret, key=regret.__getitem__)
    return _fitted(trials, ridge), size


def _regret(trial: Trial, names: Sequence[str]) -> float:
    """Error of the strategies chosen over that of the best one, minus one."""
    assert trial.test is not None
    return trial.test_of(names) / max(min(trial.test.values()), MIN_ERROR) - 1.0


def _fitted(trials: Sequence[Trial], ridge: float) -> dict[str, list[float]]:
    """Weights for each strategy; those of its own error are shrunk towards the shared ones.

    Args:
        trials: With test errors.
        ridge: Pseudo-observations of the slopes.
    """
    rows: dict[str, list[Floats]] = {}
    targets: dict[str, list[float]] = {}
    for trial in trials:
        assert trial.test is not None
        logs = {name: float(np.log(max(v, MIN_ERROR))) for name, v in trial.test.items()}
        centre = float(np.mean(list(logs.values())))
        for name, row in _features(trial).items():
            rows.setdefault(name, []).append(row)
            targets.setdefault(name, []).append(logs[name] - centre)
    if not rows:
        return {}
    every = np.concatenate([np.array(rows[name]) for name in rows])
    residual = np.concatenate([np.array(v) - np.mean(v) for v in targets.values()])
    shared = _ridge(every, residual, np.zeros(len(FEATURES)), INTERCEPT_RIDGE)
    start = np.where(np.arange(len(FEATURES)) >= OWN_ERROR, shared, 0.0)
    weights = {
        name: _ridge(np.array(rows[name]), np.array(targets[name]), start, ridge) for name in rows
    }
    return {name: [float(x) for x in w] for name, w in {**weights, SHARED: start}.items()}


def _ridge(x: Floats, y: Floats, start: Floats, ridge: float) -> Floats:
    """Least squares with pseudo-observations that the weights are ``start``."""
    scale = np.maximum(x.std(axis=0), 0.1)
    scale[0] = 1.0
    z = x / scale
    rest = y - x @ start
    penalty = np.diag([INTERCEPT_RIDGE, *[ridge] * (x.shape[1] - 1)])
    found = np.linalg.solve(z.T @ z + penalty, z.T @ rest)
    return start + found / scale


def cross_validated(
    strategies: Sequence[Strategy],
    source: Source,
    descriptors: Floats,
    target: Floats,
    groups: Sequence[str],
    seed: int = 0,
    repeats: int = N_REPEATS,
) -> dict[str, Floats]:
    """(repeats, n) out-of-fold predictions of each strategy; groups are kept together.

    Args:
        strategies: What to compare.
        source: What may be transferred.
        descriptors: (n, n_features) of the labels.
        target: (n,) labels.
        groups: (n,) names; where all are one group, rows are their own.
        seed: Of the folds.
        repeats: Ways to deal the groups into folds.
    """
    names = list(groups) if len(set(groups)) > 1 else [str(i) for i in range(len(groups))]
    n_folds = min(MAX_FOLDS, len(set(names)))
    result = {strategy.name: np.zeros((repeats, len(target))) for strategy in strategies}
    for k in range(repeats):
        for fold in GroupedKFold(n_folds, seed + k * SEED_STEP, str).split(names):
            for strategy in strategies:
                predict = strategy.fit(source, descriptors[fold.train], target[fold.train])
                result[strategy.name][k, fold.test] = predict(descriptors[fold.test])
    return result


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        strategy: Its name, or that of a blend.
        transfers: Whether it uses the source.
        scores: Expected log error of each strategy relative to their mean.
        cv: Cross-validated error of each, in the unit of the labels.
        transfer_hurts: True where the best strategy without transfer is expected to beat plain
            transfer.
        why: In a sentence.
    """

    strategy: str
    transfers: bool
    scores: Mapping[str, float]
    cv: Mapping[str, float]
    transfer_hurts: bool
    why: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "strategy": self.strategy,
            "transfers": self.transfers,
            "cross_validated_error": {k: round(v, 5) for k, v in self.cv.items()},
            "expected_relative_log_error": {k: round(v, 4) for k, v in self.scores.items()},
            "transfer_hurts": self.transfer_hurts,
            "why": self.why,
        }


def transfers(name: str) -> bool:
    """Whether a strategy, or one of a blend, uses what others have learnt.

    What is no strategy on descriptors is a network that has learnt before.
    """
    return any(one not in STRATEGIES or STRATEGIES[one].transfers for one in members(name))


def most_promising(scores: Mapping[str, float], n: int) -> tuple[str, ...]:
    """Of the n strategies of least expected error those to be blended, best first.

    Where the best one does not transfer, transfer hurts, and none that transfers is mixed in.
    """
    order = sorted(scores, key=lambda name: scores[name])[:n]
    hurts = not transfers(order[0])
    return tuple(name for name in order if not (hurts and transfers(name)))


UNMISTAKABLE = 0.5
"""A strategy with under this share of the chosen one's cross-validated error is taken instead: such
labels are unlike all trials."""
FEWEST_IN_TRIALS = 8
"""Fewer labels than in any trial are never unmistakable."""


def choose(trial: Trial, prior: StrategyPrior) -> Choice:
    """The median of the strategies of least expected error, unless the labels speak against it."""
    scores, chosen = prior.scores(trial), prior.chosen(trial)
    by_labels = min(trial.cv, key=lambda name: trial.cv[name])
    enough = trial.n_labels >= FEWEST_IN_TRIALS
    if enough and trial.cv[by_labels] < UNMISTAKABLE * trial.cv_of(chosen):
        scores = {name: float(np.log(max(e, MIN_ERROR))) for name, e in trial.cv.items()}
        chosen = (by_labels,)
    own = [name for name in scores if not transfers(name)]
    other = [name for name in scores if transfers(name)]
    best_own = min(own, key=lambda name: scores[name])
    best_other = min(other, key=lambda name: scores[name])
    hurts = scores[best_own] < scores[best_other]
    gap = abs(float(np.expm1(scores[best_own] - scores[best_other])))
    verdict = (
        f"transfer hurts here: {best_own} needs no source and is expected to be {gap:.0%} better "
        f"than {best_other}"
        if hurts
        else f"transfer helps: {best_other} is expected to be {gap:.0%} better than {best_own}, "
        "the best without a source"
    )
    best = blend_name(chosen)
    error = trial.cv_of(chosen)
    n_trials = prior.n_trials.get(trial.kind, 0)
    why = (
        f"{best}: cross-validated error {error:.3g} on {trial.n_labels} labels, read with "
        f"{n_trials} trials on other chemistries; {verdict}"
    )
    cv = {**trial.cv, best: error}
    return Choice(best, transfers(best), scores, cv, hurts, why)
