"""How many labels a reference needs for the error that a strategy has with few.

A curve is an error over numbers of host frameworks. The reference's is made to fall and read
between its points at equal steps of log2(1 + k); where it never gets as low as the strategy, what
it needs is more than its last point, and the ratio is a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draws = Mapping[str, Floats]
"""Family -> (n_draws, n_shots) errors on the same rows at every number of frameworks."""
N_RESAMPLES = 1000
TARGET = 4.0


def curve(draws: Draws) -> Floats:
    """(n_shots,) mean over families of the mean over draws."""
    return np.asarray(np.mean([errors.mean(axis=0) for errors in draws.values()], axis=0))


def needed(reference: Floats, shots: Sequence[int], error: float) -> float:
    """Frameworks with which a reference reaches an error; infinite where it never does.

    Args:
        reference: (n_shots,) its errors.
        shots: Numbers of frameworks, rising.
        error: To be reached.
    """
    falling = np.minimum.accumulate(reference)
    if error < falling[-1]:
        return float("inf")
    at = np.log2(1.0 + np.asarray(shots, dtype=float))
    j = int(np.argmax(falling <= error))
    if j == 0:
        return float(shots[0])
    share = (falling[j - 1] - error) / (falling[j - 1] - falling[j])
    return float(2.0 ** (at[j - 1] + share * (at[j] - at[j - 1])) - 1.0)


def ratios(
    strategy: Draws,
    reference: Draws,
    shots: Sequence[int],
    ks: Sequence[int],
    first: int,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """What the reference needs over k, for some k, and how sure that is.

    Families are drawn with replacement and then, in each, its draws: the same ones for strategy
    and reference.

    Args:
        strategy: Its errors.
        reference: Those of the reference, on the same families and draws.
        shots: Numbers of frameworks, rising.
        ks: Frameworks that the strategy learns from.
        first: Fewest frameworks with which the reference is a model at all: 1 from scratch.
        seed: Of the resampling.

    Returns:
        ``k=...`` -> ``value`` (None where the reference never gets there), ``at_most_measurable``
        (the last number of frameworks over k), ``interval_95`` (ends that lie beyond are None),
        ``share_beyond`` and ``share_of_4_or_more`` of the resamples (None where 4 is beyond).
    """
    start = list(shots).index(first)
    columns = [list(shots).index(k) for k in ks]

    def of(a: Floats, b: Floats) -> list[float]:
        found = (needed(b[start:], shots[start:], float(a[c])) for c in columns)
        return [value / k for value, k in zip(found, ks, strict=True)]

    rng = np.random.default_rng(seed)
    families = sorted(strategy)
    both = [np.stack([strategy[name], reference[name]], axis=1) for name in families]
    values = np.empty((N_RESAMPLES, len(ks)))
    for i in range(N_RESAMPLES):
        drawn = (both[j] for j in rng.integers(len(both), size=len(both)))
        means = [pairs[rng.integers(len(pairs), size=len(pairs))].mean(axis=0) for pairs in drawn]
        values[i] = of(*np.mean(means, axis=0))
    measured = of(curve(strategy), curve(reference))
    low, high = np.percentile(values, [2.5, 97.5], axis=0, method="inverted_cdf")
    return {
        f"k={k}": {
            "value": _finite(measured[j]),
            "at_most_measurable": shots[-1] / k,
            "interval_95": [_finite(low[j]), _finite(high[j])],
            "share_beyond": round(float(np.mean(np.isinf(values[:, j]))), 3),
            "share_of_4_or_more": (
                _share_reached(values[:, j]) if shots[-1] >= TARGET * k else None
            ),
        }
        for j, k in enumerate(ks)
    }


def _share_reached(values: Floats) -> float:
    return round(float(np.mean(values >= TARGET)), 3)


def _finite(value: float) -> float | None:
    return round(float(value), 2) if np.isfinite(value) else None
