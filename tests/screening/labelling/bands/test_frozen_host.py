"""Energies at the right points of the path, and an ion that relaxes across it."""

import numpy as np
import pytest

from benchmarks.frozen_host import frozen_host_relaxed_barrier
from ionbridge.screening.labelling.bands.frozen_host import frozen_host_barrier, saddle_point
from tests.screening.labelling.dynamics.washboard import (
    ACROSS_EV_A2,
    PERIOD_A,
    Washboard,
    washboard_cell,
)

PROFILE = np.sin(np.linspace(0, np.pi, 13)) ** 2


def test_one_energy_at_the_saddle() -> None:
    found = frozen_host_barrier(washboard_cell(), PROFILE, Washboard(0.4))
    assert found.barrier_eV == pytest.approx(0.4)
    assert found.barrier_backward_eV == pytest.approx(0.4)
    assert found.n_calls == 3


def test_a_wrong_saddle_is_lower_and_more_points_mend_it() -> None:
    early = np.roll(PROFILE, -2)
    once = frozen_host_barrier(washboard_cell(), early, Washboard(0.4))
    x = PERIOD_A * 4 / 12
    assert once.barrier_eV == pytest.approx(0.2 * (1 - np.cos(2 * np.pi * x / PERIOD_A)))
    five = frozen_host_barrier(washboard_cell(), early, Washboard(0.4), n_points=5)
    assert five.barrier_eV == pytest.approx(0.4)
    assert five.n_calls == 7


def test_forward_and_backward_differ_by_the_site_energies() -> None:
    found = frozen_host_barrier(washboard_cell(), PROFILE, Washboard(0.4, tilt_eV=0.1))
    assert found.barrier_eV - found.barrier_backward_eV == pytest.approx(0.1)


def test_the_ion_relaxes_across_a_bent_path_and_not_along_it() -> None:
    cell = washboard_cell(bend_A=0.5)
    frozen = frozen_host_barrier(cell, PROFILE, Washboard(0.4))
    relaxed = frozen_host_relaxed_barrier(cell, PROFILE, Washboard(0.4))
    assert frozen.barrier_eV == pytest.approx(0.4 + 0.5 * ACROSS_EV_A2 * 0.5**2)
    assert relaxed.barrier_eV == pytest.approx(0.4, abs=1e-3)
    assert relaxed.n_calls <= 3 * 8


def test_without_a_profile_the_middle_is_the_saddle() -> None:
    assert saddle_point(None, 13) == 6
    assert saddle_point([3.0, 0.0, 1.0, 0.0, 5.0], 5) == 2  # never an end
    assert saddle_point([1.0, 2.0], 13) == 6
