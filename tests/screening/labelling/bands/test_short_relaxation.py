"""Start, top and end after a few steps: closed forms, symmetry, flags, and real potentials."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from ionbridge.screening.labelling.bands.checked_calculator import BrokenCalculationError, Watch
from ionbridge.screening.labelling.bands.hop_cell import HopCell
from ionbridge.screening.labelling.bands.short_relaxation import (
    free_host,
    short_relaxation,
    springs,
    tops,
)
from ionbridge.structures.records import UnusableStructureError
from tests.screening.labelling.dynamics.washboard import (
    ACROSS_EV_A2,
    HOST_STIFFNESS_EV_A2,
    PERIOD_A,
    Washboard,
    washboard_cell,
)

PROFILE = np.sin(np.linspace(0, np.pi, 13)) ** 2
RELAXED_EV = 2e-3
"""FMAX_EV_A is reached: force^2 / 2 stiffness."""


def lopsided(**changes: object) -> HopCell:
    """No operation turns this one round."""
    host = np.array([[0.7, 3.0, 0.0], [2.0, -3.0, 0.7]])
    return washboard_cell(host_A=host, **changes)


def test_the_ion_goes_down_across_its_path_and_stays_in_its_plane() -> None:
    cell = washboard_cell(bend_A=0.5)
    found = short_relaxation(cell, PROFILE, Washboard(0.4))
    assert found.symmetric
    assert found.reason == ""
    assert found.barrier_eV(0) == pytest.approx(0.4 + 0.5 * ACROSS_EV_A2 * 0.5**2)
    assert found.barrier_eV() == pytest.approx(0.4, abs=RELAXED_EV)
    assert found.tops[0].positions_A[-1, 0] == pytest.approx(PERIOD_A / 2)
    assert found.tops[0].moved_A == pytest.approx(0.5, abs=0.05)


def test_a_displaced_host_relaxes_by_its_springs() -> None:
    cell = lopsided()
    moved = cell.host_A + np.array([[0.1, 0.0, 0.0], [0.0, 0.0, -0.2]])
    washboard = Washboard(0.4, anchors_A=moved)
    found = short_relaxation(cell, PROFILE, washboard)
    drop = found.start.energies_eV[0] - found.start.energies_eV[-1]
    free = free_host(cell, cell.path_A[[0, 6, -1]])
    strain = 0.5 * HOST_STIFFNESS_EV_A2 * ((moved - cell.host_A)[free] ** 2).sum()
    assert drop == pytest.approx(strain, abs=RELAXED_EV)


def test_forward_and_backward_of_unlike_ends() -> None:
    barrier, tilt = 0.4, 0.3

    def slope(x: float) -> float:
        k = 2 * np.pi / PERIOD_A
        return 0.5 * barrier * k * np.sin(k * x) + tilt / PERIOD_A

    well = brentq(slope, -PERIOD_A / 4, PERIOD_A / 4)
    depth = 0.5 * barrier * (1 - np.cos(2 * np.pi * well / PERIOD_A)) + tilt * well / PERIOD_A
    found = short_relaxation(lopsided(), PROFILE, Washboard(barrier, tilt))
    assert not found.symmetric
    held = barrier + tilt / 2  # in the plane through the middle
    assert found.barrier_eV() == pytest.approx(held - depth, abs=RELAXED_EV)
    assert found.barrier_backward_eV() == pytest.approx(held - depth - tilt, abs=RELAXED_EV)
    assert found.tops[0].along_eV_A == pytest.approx(-tilt / PERIOD_A, abs=1e-6)


def test_symmetry_halves_the_cost_and_not_the_answer() -> None:
    whole = short_relaxation(lopsided(), PROFILE, Washboard(0.4))
    half = short_relaxation(washboard_cell(), PROFILE, Washboard(0.4))
    assert half.barrier_eV() == pytest.approx(whole.barrier_eV(), abs=1e-9)
    assert half.n_calls < whole.n_calls
    watch = Watch()
    counted = short_relaxation(lopsided(bend_A=0.4), PROFILE, Washboard(0.4), 3, watch)
    assert watch.n_calls == counted.n_calls
    assert max(len(h.energies_eV) for h in (counted.start, *counted.tops, counted.end)) <= 4


def test_ends_that_are_no_sites_are_named() -> None:
    path = washboard_cell().path_A + np.array([PERIOD_A / 2 - 0.2, 0.0, 0.0])  # from hill to hill
    found = short_relaxation(lopsided(path_A=path), PROFILE, Washboard(2.0), 20)
    assert "slides" in found.reason or "no minimum" in found.reason
    assert found.barrier_eV(0) < 0
    flat = short_relaxation(lopsided(), PROFILE, Washboard(0.01))
    assert "no minimum" in flat.reason


def test_two_tops_the_higher_counts() -> None:
    two = np.array([0.0, 0.2, 0.5, 0.9, 0.5, 0.2, 0.1, 0.2, 0.5, 0.8, 0.5, 0.2, 0.0])
    assert tops(two, 13, symmetric=False) == (3, 9)
    assert tops(two, 13, symmetric=True) == (3,)
    assert tops(PROFILE, 13, symmetric=False) == (6,)
    assert tops(None, 13, symmetric=False) == (6,)
    low = np.where(np.arange(13) > 6, 0.5 * two, two)
    assert tops(low, 13, symmetric=False) == (3,)
    found = short_relaxation(lopsided(), two, Washboard(0.4, tilt_eV=0.6))
    assert (
        found.barrier_eV()
        == max(top.energies_eV[-1] for top in found.tops) - (found.start.energies_eV[-1])
    )


def test_the_farthest_stand_still() -> None:
    cell = washboard_cell()
    host = np.array([[1.5, y, 0.0] for y in (1.6, -1.6, 2.5, -2.5, 3.9, -3.9, 4.4)])
    cell = replace(cell, symbols=("O",) * 7, host_A=host)
    free = free_host(cell, cell.path_A[[0, 6, -1]])
    assert free.tolist() == [True] * 4 + [True, True, False]
    near = replace(cell, symbols=("O",) * 4, host_A=host[:4])
    assert free_host(near, near.path_A[[6]]).sum() == 3  # one has to


def test_springs_know_translations_and_what_stands_still() -> None:
    atoms = washboard_cell().atoms(np.vstack([washboard_cell().host_A, np.zeros(3)]))
    curvature = springs(atoms, np.ones(3, dtype=bool))
    np.testing.assert_allclose(curvature, curvature.T, atol=1e-12)
    together = np.tile(np.eye(3), (3, 1))
    np.testing.assert_allclose(curvature @ together, together, atol=1e-9)  # REST_EV_A2 alone
    part = springs(atoms, np.array([False, True, True]))
    np.testing.assert_array_equal(part, curvature[3:, 3:])
    assert np.linalg.eigvalsh(part).min() > np.linalg.eigvalsh(curvature).min()


def test_what_cannot_go_on_says_why() -> None:
    with pytest.raises(BrokenCalculationError, match="no licence"):
        short_relaxation(lopsided(), PROFILE, Washboard(0.4, fail_at=3))
    with pytest.raises(BrokenCalculationError, match="time is up"):
        short_relaxation(lopsided(bend_A=0.5), PROFILE, Washboard(0.4), watch=Watch(0.0))
    with pytest.raises(UnusableStructureError, match="host atom"):
        short_relaxation(
            washboard_cell(host_A=np.array([[1.5, 0.2, 0.0], [1.5, -3.0, 0.7]])),
            PROFILE,
            Washboard(0.4),
        )
