"""How good predictions are: pure functions of arrays, with bootstrap intervals over groups.

Errors are in the unit of the arguments. Intervals resample groups (base systems, frameworks), not
rows: rows of one group are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]

DEFAULT_RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval."""

    value: float
    lower: float
    upper: float


def mae(true: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error of (n,) predictions."""
    t, p = _pair(true, predicted)
    return float(np.mean(np.abs(t - p)))


def misses(true: ArrayLike, predicted: ArrayLike, side: NDArray[np.int_]) -> NDArray[np.float64]:
    """(n,) how far predictions are off labels, off a bound only beyond it; n may be 0.

    Args:
        true: (n,) values and bounds.
        predicted: (n,) predictions.
        side: (n,) 0 for a value, 1 where the truth lies above the label, -1 where below.
    """
    t, p = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    return np.asarray(np.where(side == 0, np.abs(p - t), np.maximum((t - p) * side, 0.0)))


def rmse(true: ArrayLike, predicted: ArrayLike) -> float:
    """Root mean squared error of (n,) predictions."""
    t, p = _pair(true, predicted)
    return float(np.sqrt(np.mean((t - p) ** 2)))


def r2(true: ArrayLike, predicted: ArrayLike) -> float:
    """Coefficient of determination 1 - SS_res / SS_tot; NaN where all true values are equal."""
    t, p = _pair(true, predicted)
    total = float(np.sum((t - t.mean()) ** 2))
    return 1.0 - float(np.sum((t - p) ** 2)) / total if total > 0 else float("nan")


def spearman(true: ArrayLike, predicted: ArrayLike) -> float:
    """Rank correlation (ties share their mean rank); NaN where either side is constant."""
    t, p = _pair(true, predicted)
    from scipy.stats import rankdata  # a second that predictions do not need

    ranks_t, ranks_p = rankdata(t), rankdata(p)
    if np.ptp(ranks_t) == 0 or np.ptp(ranks_p) == 0:
        return float("nan")
    return float(np.corrcoef(ranks_t, ranks_p)[0, 1])


def interval_coverage(true: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Share of true values inside their closed interval [lower, upper]."""
    t, low = _pair(true, lower)
    return float(np.mean((t >= low) & (t <= np.asarray(upper, dtype=float))))


def bootstrap(
    statistic: Callable[..., float],
    *arrays: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    n_resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A statistic with its 95 % percentile interval, groups drawn with replacement.

    Args:
        statistic: Function of the arrays, for example ``mae``.
        *arrays: (n,) arrays, resampled together.
        groups: (n,) group of every row; None: every row is its own.
        n_resamples: Number of bootstrap samples.
        seed: Of the resampling.

    Returns:
        The value on all rows and the 2.5 and 97.5 percentiles of the resamples (samples where the
        statistic is NaN are left out).
    """
    columns = [np.asarray(a, dtype=float) for a in arrays]
    rows = _group_rows(len(columns[0]), groups)
    rng = np.random.default_rng(seed)
    values = np.empty(n_resamples)
    for k in range(n_resamples):
        drawn = np.concatenate([rows[g] for g in rng.integers(len(rows), size=len(rows))])
        values[k] = statistic(*(column[drawn] for column in columns))
    lower, upper = _percentiles(values)
    return Interval(float(statistic(*columns)), lower, upper)


def paired_bootstrap(
    true: ArrayLike,
    predicted_a: ArrayLike,
    predicted_b: ArrayLike,
    metric: Metric = mae,
    groups: Sequence[Hashable] | None = None,
    n_resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Difference metric(a) - metric(b) on the same resamples, with its 95 % interval.

    An interval that excludes zero says that the two predictions differ; for an error, below zero
    means that a is better.
    """
    return bootstrap(
        lambda t, a, b: metric(t, a) - metric(t, b),
        true,
        predicted_a,
        predicted_b,
        groups=groups,
        n_resamples=n_resamples,
        seed=seed,
    )


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise ValueError(
            f"metrics need two arrays of one shape (n,), n > 0, got {first.shape}, {second.shape}"
        )
    return first, second


def _group_rows(n: int, groups: Sequence[Hashable] | None) -> list[NDArray[np.intp]]:
    if groups is None:
        return [np.array([k]) for k in range(n)]
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups for {n} rows")
    rows: dict[Hashable, list[int]] = {}
    for k, group in enumerate(groups):
        rows.setdefault(group, []).append(k)
    return [np.array(members) for members in rows.values()]


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return float("nan"), float("nan")
    tail = 50 * (1 - CONFIDENCE)
    lower, upper = np.percentile(finite, [tail, 100 - tail])
    return float(lower), float(upper)
