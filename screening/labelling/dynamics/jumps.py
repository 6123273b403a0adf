"""How often ions jumped: the number of events behind a diffusivity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

JUMP_DISTANCE_A = 2.0
"""An ion has jumped when it dwells so far from where it dwelt before."""
DWELL_PS = 0.4
"""Positions are averaged over so long, several periods of an ion in its site."""


def count_jumps(positions_A: NDArray[np.float64], interval_ps: float) -> int:
    """Jumps of all ions, to and fro counted as two.

    Positions are averaged over `DWELL_PS`; a jump moves the average by `JUMP_DISTANCE_A` from
    where it was after the last jump. Visits shorter than that, and sites closer together, are not
    counted. A continuous walk is counted in steps of this length.

    Args:
        positions_A: (n_frames, n_ions, 3) unwrapped positions without drift.
        interval_ps: Time between two frames in ps.
    """
    length = max(1, round(DWELL_PS / interval_ps))
    length = min(length, max(1, len(positions_A) // 2))
    n_dwells = len(positions_A) // length
    dwells = positions_A[: n_dwells * length].reshape(n_dwells, length, -1, 3).mean(axis=1)
    n_jumps = 0
    home = dwells[0].copy()
    for now in dwells[1:]:
        jumped = np.linalg.norm(now - home, axis=1) > JUMP_DISTANCE_A
        n_jumps += int(jumped.sum())
        home[jumped] = now[jumped]
    return n_jumps
