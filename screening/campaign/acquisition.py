"""Which candidates to label next: improvement expected from a label, its cost, and variety.

A candidate is described by what the model predicts of it (mean and standard deviation of the
quantity to be made large), by a point in the model's embedding space, and by what its label costs.
A batch is chosen one by one; after each choice the standard deviation of similar candidates shrinks
as if the label were known (hallucinated observations: Desautels, Krause and Burdick, "Parallelizing
exploration-exploitation tradeoffs in Gaussian process bandit optimization", JMLR 15 (2014) 4053),
so that one batch does not ask the same question twice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import ndtr

from ionbridge.structures.configuration import nearest
from ionbridge.structures.ties import first_of

Floats = NDArray[np.float64]

TIE_GAIN = 3.7e-9
"""Of candidates whose gains are closer the first one is chosen."""
CONFIDENCE = 1.0
"""Standard deviations that the upper confidence bound adds to the mean."""


def expected_improvement(mean: Floats, std: Floats, threshold: float) -> Floats:
    """E[max(y - threshold, 0)] of normal predictions (Mockus 1975; Jones et al. 1998).

    Args:
        mean: (n,) of the quantity to be made large.
        std: (n,) epistemic spread; where it is zero the improvement is certain.
        threshold: What has to be exceeded.

    Returns:
        (n,) in the unit of ``mean``.
    """
    gap = mean - threshold
    z = gap / np.maximum(std, 1e-12)
    return np.where(
        std > 0,
        gap * ndtr(z) + std * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi),
        np.maximum(gap, 0.0),
    )


def upper_confidence_bound(mean: Floats, std: Floats, threshold: float) -> Floats:
    """Mean + `CONFIDENCE` std - threshold: optimism in the face of uncertainty.

    Args:
        mean: (n,) of the quantity to be made large.
        std: (n,) epistemic spread.
        threshold: Shifts all values alike.

    Returns:
        (n,) in the unit of ``mean``.
    """
    return mean + CONFIDENCE * std - threshold


def greedy(mean: Floats, std: Floats, threshold: float) -> Floats:
    """The mean alone: what a ranking without uncertainty would label next."""
    return mean - threshold


def spread(mean: Floats, std: Floats, threshold: float) -> Floats:
    """The standard deviation alone: labels that teach the model most, wherever they lie."""
    return std


ACQUISITIONS: dict[str, Callable[[Floats, Floats, float], Floats]] = {
    "expected_improvement": expected_improvement,
    "upper_confidence_bound": upper_confidence_bound,
    "greedy": greedy,
    "spread": spread,
}
"""Acquisition functions by name."""


def choose(
    mean: Floats,
    std: Floats,
    embedding: Floats,
    n_chosen: int,
    acquisition: str = "expected_improvement",
    threshold: float | None = None,
    cost: Floats | None = None,
) -> list[int]:
    """The candidates to label next, most wanted first.

    Args:
        mean: (n,) predictions of the quantity to be made large.
        std: (n,) epistemic spread (a label does not shrink the noise).
        embedding: (n, d) points; candidates closer than the typical nearest neighbour distance
            count as similar.
        n_chosen: Size of the batch; less where there are fewer candidates.
        acquisition: Name in `ACQUISITIONS`.
        threshold: What a label should exceed; the best mean by default.
        cost: (n,) cost of each label in any unit, positive; the gain is divided by it.

    Returns:
        Indices into the candidates.

    Raises:
        ValueError: Unknown acquisition, shapes that do not fit, a value that is not finite.
    """
    if acquisition not in ACQUISITIONS:
        raise ValueError(
            f"unknown acquisition '{acquisition}'; {nearest(acquisition, tuple(ACQUISITIONS))}"
        )
    mean, std = np.asarray(mean, dtype=float), np.array(std, dtype=float)
    cost = np.ones(len(mean)) if cost is None else np.asarray(cost, dtype=float)
    if not len(mean) == len(std) == len(embedding) == len(cost):
        raise ValueError(
            f"mean, std, embedding and cost differ in length: {len(mean)}, {len(std)}, "
            f"{len(embedding)}, {len(cost)}"
        )
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
        raise ValueError("predictions must be finite, and spreads not negative")
    if not (np.isfinite(cost) & (cost > 0)).all():
        raise ValueError("the cost of a label must be positive")
    if not len(mean):
        return []
    best = float(mean.max()) if threshold is None else threshold
    similar = similarity(embedding)
    left = np.ones(len(mean), dtype=bool)
    chosen: list[int] = []
    while left.any() and len(chosen) < n_chosen:
        gain = ACQUISITIONS[acquisition](mean, std, best)
        # A gain per cost only makes sense for gains above zero; below it, cheap is no virtue.
        value = np.where(gain > 0, gain / cost, gain)
        i = first_of(np.where(left, value, -np.inf)[:, None], TIE_GAIN)
        chosen.append(i)
        left[i] = False
        std *= np.sqrt(np.maximum(1.0 - similar[i] ** 2, 0.0))
    return chosen


def similarity(embedding: Floats) -> Floats:
    """exp(-(d / l)^2 / 2) of (n, d) points, l the median distance to the nearest other point.

    Returns:
        (n, n), 1 on the diagonal and for points that coincide.
    """
    distance = cdist(embedding, embedding)
    if len(distance) < 2:
        return np.ones_like(distance)
    apart = np.where(distance > 1e-9, distance, np.inf).min(axis=1)
    finite = apart[np.isfinite(apart)]
    length = float(np.median(finite)) if len(finite) else 1.0
    found: Floats = np.exp(-0.5 * (distance / length) ** 2)
    return found
