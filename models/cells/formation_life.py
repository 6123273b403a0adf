"""Cycle life of cells from their formation alone, learnt from few cells.

How a cell was formed shows in what its first cycle gave back and in how its graphite charges slowly
afterwards; both go with how long it lives. A line on two such signals with a prior that keeps the
slopes small: with few labels, or labels of one way of formation alone, it is near to their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cells.cycle_life import LifeLine
from ionbridge.structures.sources.formation import FormedCell

Floats = NDArray[np.float64]

SPREADS = (0.34, 0.030)
"""By how much the signals of cells differ: efficiency of the first cycle, V/Ah."""


@dataclass
class FormationLife(LifeLine[FormedCell]):
    """The line on two signals of the formation.

    Attributes:
        slope_dex: One sigma of the prior of each slope, log10 of the life for a typical difference
            (SPREADS) of its signal.
        noise_dex: Expected scatter of log10 life about the line.
        noise_cells: How many cells that expectation is worth.
    """

    slope_dex: float = 0.03
    noise_dex: float = 0.035
    noise_cells: float = 3.0

    kind: ClassVar[str] = "formation_life"
    inputs: ClassVar[str] = "formed_cell"
    feature_names: ClassVar[tuple[str, ...]] = (
        "first_cycle_efficiency / 0.34",
        "c20_right_peak_V_per_Ah / 0.030",
    )

    @property
    def slopes(self) -> tuple[Floats, Floats]:
        """Prior of the slopes by feature, see `LifeLine`."""
        return np.zeros(2), np.full(2, 1.0 / self.slope_dex**2)

    def features(self, records: Sequence[FormedCell]) -> Floats:
        """(n, 2) signals in units of SPREADS."""
        rows = [(r.first_cycle_efficiency, r.c20_right_peak_V_per_Ah) for r in records]
        found: Floats = np.array(rows, dtype=float).reshape(-1, 2) / np.array(SPREADS)
        return found
