"""Potentials whose barriers are known in closed form, and hops in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ionbridge.screening.labelling.bands.hop_cell import HopCell

PERIOD_A = 3.0
HOST_STIFFNESS_EV_A2 = 4.0
ACROSS_EV_A2 = 2.0


class Washboard(Calculator):
    """Ion in a cosine, host atoms on springs: E = A/2 (1 - cos 2 pi x / d) + tilt x / d + springs.

    The last atom is the ion. A force on it is pushed onto host atom 0 with a coupling, so that the
    host has to relax; the minimum over the host lowers every energy by a known amount.

    Args:
        barrier_eV: A, for no tilt.
        tilt_eV: Energy difference of neighbouring wells, about.
        anchors_A: (n, 3) rest positions of the host atoms; the first ones seen by default.
        fail_at: Raise at this call.
        nan_at: Give NaN from this call on.
    """

    implemented_properties = ("energy", "forces")

    def __init__(
        self,
        barrier_eV: float = 0.4,
        tilt_eV: float = 0.0,
        anchors_A: Any = None,
        fail_at: int | None = None,
        nan_at: int | None = None,
    ) -> None:
        super().__init__()
        self.barrier_eV, self.tilt_eV = barrier_eV, tilt_eV
        self.anchors_A = anchors_A
        self.fail_at, self.nan_at = fail_at, nan_at
        self.n_calls = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        self.n_calls += 1
        if self.n_calls == self.fail_at:
            raise RuntimeError("no licence\nfound")
        host, ion = atoms.positions[:-1], atoms.positions[-1]
        if self.anchors_A is None:
            self.anchors_A = host.copy()
        moved = host - self.anchors_A
        k = 2 * np.pi / PERIOD_A
        energy = 0.5 * self.barrier_eV * (1 - np.cos(k * ion[0]))
        energy += self.tilt_eV * ion[0] / PERIOD_A
        energy += 0.5 * ACROSS_EV_A2 * (ion[1:] ** 2).sum()
        energy += 0.5 * HOST_STIFFNESS_EV_A2 * (moved**2).sum()
        forces = np.zeros_like(atoms.positions)
        forces[:-1] = -HOST_STIFFNESS_EV_A2 * moved
        forces[-1, 0] = -0.5 * self.barrier_eV * k * np.sin(k * ion[0]) - self.tilt_eV / PERIOD_A
        forces[-1, 1:] = -ACROSS_EV_A2 * ion[1:]
        if self.nan_at is not None and self.n_calls >= self.nan_at:
            energy = np.nan
        self.results = {"energy": float(energy), "forces": forces}


def washboard_cell(bend_A: float = 0.0, **changes: Any) -> HopCell:
    """An ion that goes one period along x, past two atoms, on a path bent along y.

    Without the second atom nothing but the ends would make the cell symmetric.
    """
    x = np.linspace(0.0, PERIOD_A, 13)
    path = np.stack([x, bend_A * np.sin(np.pi * x / PERIOD_A), np.zeros(13)], axis=1)
    values: dict[str, Any] = {
        "id": "washboard",
        "working_ion": "Li",
        "lattice": np.diag([9.0, 9.0, 9.0]),
        "symbols": ("O", "O"),
        "host_A": np.array([[PERIOD_A / 2, 3.0, 0.0], [PERIOD_A / 2, -3.0, 0.7]]),
        "path_A": path,
        "carrier": "vacancy",
    }
    return HopCell(**(values | changes))
