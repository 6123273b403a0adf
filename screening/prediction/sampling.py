"""Draws that carry the uncertainty of hop barriers through to a crystal's results."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

N_DRAWS = 512
"""Samples after which the spread of a crystal's results differs little between seeds."""

SMALLEST_PROBABILITY = 1e-12
"""Keeps a quasi-random point that lies on the edge of its interval a finite normal draw."""


@lru_cache(maxsize=64)
def draws(
    n_draws: int, n_members: int, n_variables: int, seed: int
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Quasi-random draws of an ensemble member and of standard normal variables.

    Each member has its own scrambled Sobol points (A. B. Owen, J. Complexity 14, 466 (1998)), a
    power of two of them, so that every variable of every member has one draw in each of equally
    probable intervals, and medians and spreads settle with few draws. The draws depend on the
    arguments alone: a crystal gets the same ones under any id, in any batch, on any worker. They
    are made once and not to be written to.

    Args:
        n_draws: At least so many; every member gets the next power of two above its share.
        n_members: Members of the ensemble.
        n_variables: Normal variables of a draw.
        seed: Of the scrambling.

    Returns:
        (n,) member and (n, n_variables) normal variables, n >= n_draws.
    """
    from scipy.stats import qmc  # half a second that those who only rank do not need

    share = -(-n_draws // n_members)
    exponent = (share - 1).bit_length()
    points = [
        qmc.Sobol(n_variables, scramble=True, rng=np.random.default_rng([seed, k])).random_base2(
            exponent
        )
        for k in range(n_members)
    ]
    probability = np.clip(np.concatenate(points), SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    member = np.repeat(np.arange(n_members), 2**exponent)
    normal = np.asarray(ndtri(probability))
    for array in (member, normal):
        array.flags.writeable = False
    return member, normal
