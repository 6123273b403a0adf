"""Barriers known in closed form are found; a band that fails says so and keeps what it had."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import BFGS

from ionbridge.screening.errors import InputError
from ionbridge.screening.labelling.bands.checked_calculator import BrokenCalculationError
from ionbridge.screening.labelling.bands.hop_cell import HopCell
from ionbridge.screening.labelling.bands.neb import NebSettings, neb_barrier, relaxed_crystal
from ionbridge.structures.records import Crystal, UnusableStructureError
from tests.screening.labelling.dynamics.washboard import PERIOD_A, Washboard, washboard_cell

SETTINGS = NebSettings(n_images=5, fmax_eV_A=0.01)
BARRIER_ERROR_EV = 1e-3


@pytest.mark.parametrize("n_images", [3, 4, 5])
@pytest.mark.parametrize("bend_A", [0.0, 0.6])
def test_barrier_of_a_cosine(n_images: int, bend_A: float) -> None:
    settings = replace(SETTINGS, n_images=n_images)
    found = neb_barrier(washboard_cell(bend_A), Washboard(0.4), settings)
    assert found.converged
    assert found.barrier_eV == pytest.approx(0.4, abs=BARRIER_ERROR_EV)
    assert found.force_eV_A < 0.01
    assert len(found.path_A) == n_images + 2
    assert found.path_A[-1, 0] - found.path_A[0, 0] == pytest.approx(PERIOD_A, abs=0.02)


def test_the_mirror_halves_the_work_and_changes_nothing() -> None:
    half = neb_barrier(washboard_cell(0.6), Washboard(), SETTINGS)
    lopsided = washboard_cell(0.6, host_A=np.array([[1.2, 3.0, 0.0], [1.5, -3.0, 0.7]]))
    whole = neb_barrier(lopsided, Washboard(), SETTINGS)
    assert half.symmetric
    assert not whole.symmetric
    assert half.barrier_eV == pytest.approx(whole.barrier_eV, abs=BARRIER_ERROR_EV)
    assert half.n_force_calls < 0.75 * whole.n_force_calls
    np.testing.assert_allclose(half.energies_eV, half.energies_eV[::-1], atol=1e-8)


def test_a_mirror_that_the_calculator_does_not_know_is_not_used() -> None:
    tilted = neb_barrier(washboard_cell(), Washboard(0.4, tilt_eV=0.1), SETTINGS)
    assert not tilted.symmetric
    assert tilted.converged
    assert tilted.barrier_eV - tilted.barrier_backward_eV == pytest.approx(0.1, abs=2e-3)
    k, slope = 2 * np.pi / PERIOD_A, 0.1 / PERIOD_A
    x = np.arcsin(-slope / (0.2 * k)) / k  # the wells and saddles of the tilted cosine
    saddle = PERIOD_A / 2 - x
    energy = 0.2 * (1 - np.cos(k * np.array([x, saddle]))) + slope * np.array([x, saddle])
    assert tilted.barrier_eV == pytest.approx(energy[1] - energy[0], abs=2e-3)


def vacancy_in_aluminium() -> HopCell:
    crystal = bulk("Al", cubic=True, a=4.0) * (2, 2, 2)
    start, end = crystal.positions[0], crystal.positions[0] + [2.0, 2.0, 0.0]
    gone = [int(np.argmin(np.linalg.norm(crystal.positions - p, axis=1))) for p in (start, end)]
    path = np.linspace(start, end, 13)
    return HopCell(
        id="Al",
        working_ion="Al",
        lattice=np.array(crystal.cell),
        symbols=("Al",) * (len(crystal) - 2),
        host_A=np.delete(crystal.positions, gone, axis=0),
        path_A=path,
        carrier="vacancy",
    )


def test_vacancy_in_a_metal_agrees_with_a_plain_band() -> None:
    cell = vacancy_in_aluminium()
    settings = NebSettings(n_images=3, fmax_eV_A=0.02)
    found = neb_barrier(cell, EMT(), settings)
    assert found.converged
    assert found.symmetric
    images = [cell.atoms(image) for image in cell.images(3)]  # the second route: ASE by itself
    for image in images:
        image.calc = EMT()
    for end in (images[0], images[-1]):
        BFGS(end, logfile=None).run(fmax=0.02, steps=100)
    band = NEB(images, climb=True, method="improvedtangent")
    band.interpolate()
    assert BFGS(band, logfile=None).run(fmax=0.02, steps=200)
    energies = [image.get_potential_energy() for image in images]
    assert found.barrier_eV == pytest.approx(max(energies) - energies[0], abs=2e-3)


def test_a_middle_that_gives_way_first_saves_steps_and_changes_no_barrier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = NebSettings(n_images=3, fmax_eV_A=0.02)
    first = neb_barrier(vacancy_in_aluminium(), EMT(), settings)
    monkeypatch.setattr("ionbridge.screening.labelling.bands.neb.TOP_STEPS", 0)
    stiff = neb_barrier(vacancy_in_aluminium(), EMT(), settings)
    assert first.converged
    assert first.symmetric
    assert first.barrier_eV == pytest.approx(stiff.barrier_eV, abs=BARRIER_ERROR_EV)
    np.testing.assert_allclose(first.energies_eV, first.energies_eV[::-1], atol=1e-6)
    assert first.n_steps < stiff.n_steps


def test_too_few_steps_is_said() -> None:
    found = neb_barrier(washboard_cell(0.9), Washboard(), replace(SETTINGS, max_steps=4))
    assert not found.converged
    assert "not converged in 4 steps: largest force" in found.reason
    assert found.barrier_eV > 0
    assert found.n_steps == 4


def test_no_time_is_said() -> None:
    with pytest.raises(BrokenCalculationError, match="an end point has a force"):
        neb_barrier(
            washboard_cell(host_A=np.array([[1.2, 3.0, 0.0], [1.5, -3.0, 0.7]])),
            Washboard(tilt_eV=0.2),
            replace(SETTINGS, time_limit_min=1e-9),
        )


@pytest.mark.parametrize(
    ("calculator", "reason"),
    [
        (Washboard(fail_at=1), "the calculator failed: RuntimeError: no licence found"),
        (Washboard(nan_at=1), "no number"),
        (Washboard(barrier_eV=1e6), "exploded: a force of"),
    ],
)
def test_a_broken_calculator_is_named(calculator: Washboard, reason: str) -> None:
    shifted = washboard_cell(path_A=np.linspace([0.3, 0, 0], [PERIOD_A - 0.3, 0, 0], 13))
    with pytest.raises(BrokenCalculationError, match=reason):
        neb_barrier(shifted, calculator, SETTINGS)


def test_a_calculator_that_breaks_later_leaves_what_there_was() -> None:
    calls = neb_barrier(washboard_cell(0.9), Washboard(), SETTINGS).n_force_calls
    found = neb_barrier(washboard_cell(0.9), Washboard(nan_at=calls - 2), SETTINGS)
    assert not found.converged
    assert "no number" in found.reason
    assert np.all(np.isfinite(found.energies_eV))
    assert found.barrier_eV == pytest.approx(0.4, abs=0.3)


def test_an_ion_without_a_site_is_refused() -> None:
    off = washboard_cell(path_A=np.linspace([1.3, 0, 0], [PERIOD_A + 1.3, 0, 0], 13))
    with pytest.raises(BrokenCalculationError, match="leaves its site"):
        neb_barrier(off, Washboard(), SETTINGS)


def test_ends_on_saddles_are_no_hop() -> None:
    half = PERIOD_A / 2
    on_tops = washboard_cell(
        path_A=np.linspace([half, 0, 0], [half + PERIOD_A, 0, 0], 13),
        host_A=np.array([[PERIOD_A, 3.0, 0.0], [PERIOD_A, -3.0, 0.7]]),
    )
    found = neb_barrier(on_tops, Washboard(0.4), SETTINGS)
    assert "no single hop" in found.reason
    assert not found.converged


def test_a_path_through_the_host_is_refused() -> None:
    through = washboard_cell(host_A=np.array([[1.5, 0.3, 0.0], [1.5, -3.0, 0.7]]))
    with pytest.raises(UnusableStructureError, match="from host atom 0"):
        neb_barrier(through, Washboard(), SETTINGS)


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(InputError, match="n_images: expected more than 0, got 0"):
        NebSettings(n_images=0)
    with pytest.raises(InputError, match="fmax_eV_A"):
        NebSettings(fmax_eV_A=float("nan"))


def test_a_strained_crystal_relaxes_to_its_own_cell() -> None:
    squeezed = Crystal(
        id="Cu",
        lattice=3.4 * np.eye(3),
        species=({"Cu": 1.0},) * 4,
        frac=np.array([[0, 0, 0], [0.5, 0.5, 0.02], [0.5, 0, 0.5], [0, 0.5, 0.5]]),
    )
    fixed = relaxed_crystal(squeezed, EMT(), NebSettings())
    np.testing.assert_allclose(fixed.lattice, squeezed.lattice)
    free = relaxed_crystal(squeezed, EMT(), NebSettings(fmax_eV_A=0.01, relax_cell=True))
    assert free.volume_A3 == pytest.approx(3.59**3, rel=0.01)  # EMT's own copper
