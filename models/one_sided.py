"""Bounds among the labels of a Gaussian process: expectation propagation on the one-sided ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]

MAX_SWEEPS = 100
DAMPING = 0.5
TOLERANCE = 1e-6
SMALLEST_PRECISION = 1e-8
"""A bound that says nothing keeps this: its pseudo-label is a value of no weight."""


def censored(
    prior: Floats, target: Floats, noise: Floats, side: NDArray[np.int_]
) -> tuple[Floats, Floats]:
    r"""Values that say what the bounds say, with their noise.

    The likelihood of a bound b on f is that of a censored observation (Tobin, Econometrica 26, 24
    (1958)), :math:`\Phi(s (f - b) / \sigma)` with s = 1 where the truth lies above. It is
    replaced by the normal distribution with the same moments (expectation propagation, Minka,
    UAI 2001; the moments as in Rasmussen and Williams, MIT Press 2006, section 3.9).

    Args:
        prior: (n, n) prior covariance of all labels, without noise.
        target: (n,) values and bounds, the prior's mean removed.
        noise: (n,) variances of the observations.
        side: (n,) 0 for a value, 1 where the truth lies above the target, -1 where below.

    Returns:
        (n,) values and (n,) variances; those of values as they were given.
    """
    rows = np.flatnonzero(side)
    if not len(rows):
        return target, noise
    precision = np.where(side == 0, 1.0 / np.maximum(noise, 1e-12), SMALLEST_PRECISION)
    weighted = precision * np.where(side == 0, target, 0.0)
    sigma, bound, sign = noise[rows], target[rows], side[rows]
    for _ in range(MAX_SWEEPS):
        root = np.sqrt(precision)
        inner = np.eye(len(target)) + root[:, None] * prior * root[None]
        half = np.linalg.solve(np.linalg.cholesky(inner), root[:, None] * prior[:, rows])
        variance = np.diag(prior)[rows] - (half**2).sum(axis=0)
        solved = np.linalg.solve(inner, root * (prior @ weighted))
        mean = (prior @ (weighted - root * solved))[rows]
        outer = np.maximum(1.0 / variance - precision[rows], SMALLEST_PRECISION)
        v = 1.0 / outer
        m = v * (mean / variance - weighted[rows])
        spread = np.sqrt(sigma + v)
        z = sign * (m - bound) / spread
        ratio = np.exp(norm.logpdf(z) - norm.logcdf(z))
        found = m + sign * v * ratio / spread
        left = np.maximum(v - v**2 * ratio * (z + ratio) / (sigma + v), 1e-12)
        new = np.maximum(1.0 / left - outer, SMALLEST_PRECISION)
        step = DAMPING * (new - precision[rows])
        shift = DAMPING * (found / left - m * outer - weighted[rows])
        precision[rows] += step
        weighted[rows] += shift
        if max(np.abs(step / precision[rows]).max(), np.abs(shift).max()) < TOLERANCE:
            break
    return weighted / precision, np.where(side == 0, noise, 1.0 / precision)
