"""Target transforms that undo themselves; they live inside the model and its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LogShift:
    """Barriers on a logarithmic scale: t = ln(b + s).

    Errors of a barrier grow with the barrier; in t they are alike for a 0.2 eV and a 2 eV hop. The
    shift s keeps hops without a barrier finite.

    Attributes:
        shift_eV: s, in eV.
    """

    shift_eV: float = 0.1

    def forward(self, barrier_eV: NDArray[np.float64]) -> NDArray[np.float64]:
        """T = ln(b + s), b clipped at zero."""
        return np.log(np.clip(barrier_eV, 0.0, None) + self.shift_eV)

    def inverse(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """B = exp(t) - s, never below zero."""
        return np.clip(np.exp(t) - self.shift_eV, 0.0, None)

    def forward_std(
        self, barrier_eV: NDArray[np.float64], std_eV: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Spread in t of a small spread in eV: std / (b + s)."""
        return std_eV / (np.clip(barrier_eV, 0.0, None) + self.shift_eV)

    def inverse_std(
        self, barrier_eV: NDArray[np.float64], std_t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Spread in eV of a small spread in t: std (b + s)."""
        return std_t * (np.clip(barrier_eV, 0.0, None) + self.shift_eV)
