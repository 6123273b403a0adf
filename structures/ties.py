"""Numbers that are equal but for rounding, and choices that rounding does not make.

A choice among things that are equal by symmetry hangs on the last bit of a number unless numbers
that lie close together count as one. Tolerances are not round on purpose: data are given to whole
decimals, so that their differences never lie at the edge of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

TIE_A = 3.7e-5
"""Lengths and coordinates closer than this are equal, angstrom."""
TIE_EV = 3.7e-6
"""Energies closer than this are equal, eV."""


def ranks(values: ArrayLike, tolerance: float) -> NDArray[np.int64]:
    """(n,) place of each number among the distinct ones, counted from 0.

    Args:
        values: (n,) numbers.
        tolerance: A number that exceeds the next smaller one by no more than this equals it.
    """
    values = np.asarray(values, dtype=float)
    order = np.argsort(values, kind="stable")
    place = np.zeros(len(values), dtype=np.int64)
    place[order[1:]] = np.cumsum(np.diff(values[order]) > tolerance)
    return place


def sorted_points(
    points: NDArray[np.float64], tolerance: float, *before: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(n,) indices that sort points by their first coordinate, then the second, then the third.

    Args:
        points: (n, 3) coordinates.
        tolerance: Coordinates this close are equal.
        before: (n,) each; whole numbers to sort by before the coordinates, the first one foremost.
    """
    columns = [ranks(column, tolerance) for column in points.T]
    return np.lexsort([*columns[::-1], *before[::-1]])


def first_of(keys: NDArray[np.float64], tolerance: float) -> int:
    """Index of the row of (n, n_keys) that is largest in its first key, then in the second, ...

    Of rows equal in all keys the first one.
    """
    left = np.arange(len(keys))
    for column in keys.T:
        left = left[column[left] > column[left].max() - tolerance]
    return int(left[0])
