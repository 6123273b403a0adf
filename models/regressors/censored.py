"""Bounds among the labels of a Gaussian process: expectation propagation on the one-sided ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Floats = NDArray[np.float64]

MAX_SWEEPS = 100
DAMPING = 0.5
TOLERANCE = 1e-5
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
    rows, exact = np.flatnonzero(side), np.flatnonzero(side == 0)
    if not len(rows):
        return target, noise
    inner = prior[np.ix_(exact, exact)] + np.diag(noise[exact])
    cross = prior[np.ix_(exact, rows)]
    gain = np.linalg.solve(inner, cross).T
    known = gain @ target[exact]
    value, variance = _bounded(
        prior[np.ix_(rows, rows)] - gain @ cross, target[rows] - known, noise[rows], side[rows]
    )
    target, noise = target.copy(), noise.copy()
    target[rows], noise[rows] = known + value, variance
    return target, noise


def _bounded(
    prior: Floats, bound: Floats, noise: Floats, sign: NDArray[np.int_]
) -> tuple[Floats, Floats]:
    """Pseudo-values and their variances where all labels are bounds; see :func:`censored`."""
    precision = np.full(len(bound), SMALLEST_PRECISION)
    weighted = np.zeros(len(bound))
    for _ in range(MAX_SWEEPS):
        root = np.sqrt(precision)
        inner = np.eye(len(bound)) + root[:, None] * prior * root[None]
        posterior = prior - prior @ (root[:, None] * np.linalg.solve(inner, root[:, None] * prior))
        mean, variance = posterior @ weighted, np.diag(posterior)
        outer = np.maximum(1.0 / variance - precision, SMALLEST_PRECISION)
        v = 1.0 / outer
        m = v * (mean / variance - weighted)
        spread = np.sqrt(noise + v)
        z = sign * (m - bound) / spread
        ratio = np.exp(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(z))
        found = m + sign * v * ratio / spread
        left = np.maximum(v - v**2 * ratio * (z + ratio) / (noise + v), 1e-12)
        step = np.maximum(1.0 / left - outer, SMALLEST_PRECISION) - precision
        shift = found / left - m * outer - weighted
        precision = precision + DAMPING * step
        weighted = weighted + DAMPING * shift
        if max(np.abs(step / precision).max(), np.abs(shift).max()) < TOLERANCE:
            break
    return weighted / precision, 1.0 / precision
