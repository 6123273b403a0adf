"""Draws that carry the uncertainty of hop barriers through to a crystal's results."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm


def generator_for(id: str, seed: int) -> np.random.Generator:
    """A random generator that depends on the crystal's id and the seed, and on nothing else.

    So a result does not depend on the batch, the worker or the order in which it was computed.
    """
    digest = hashlib.sha256(f"{seed}:{id}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint64))


def member_draws(n_draws: int, n_members: int, generator: np.random.Generator) -> NDArray[np.int_]:
    """(n_draws,) ensemble member of each draw, every member as often as the others (to one)."""
    return generator.permutation(np.arange(n_draws) % n_members)


def normal_draws(
    n_draws: int, n_variables: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """(n_draws, n_variables) standard normal draws by Latin hypercube sampling.

    Each variable has one draw in each of n_draws equally probable intervals (M. D. McKay et al.,
    Technometrics 21, 239 (1979)), so few draws already have the right median and spread.
    """
    ranks = generator.permuted(np.tile(np.arange(n_draws), (n_variables, 1)), axis=1).T
    return np.asarray(norm.ppf((ranks + generator.random((n_draws, n_variables))) / n_draws))
