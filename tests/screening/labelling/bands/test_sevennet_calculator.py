"""SevenNet done otherwise gives what SevenNet gives."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

pytest.importorskip("sevenn")

from sevenn.calculator import SevenNetCalculator

from ionbridge.screening.labelling.bands.sevennet_calculator import SevennetCalculator

ENERGY_EV_ATOM, FORCE_EV_A, STRESS_EV_A3 = 2e-6, 1e-4, 5e-6


def shaken(n: int = 1) -> Atoms:
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True) * (n, 1, 1)
    atoms.rattle(0.15, seed=1)
    return atoms


@pytest.fixture(scope="module")
def ours() -> SevennetCalculator:
    return SevennetCalculator(device="cpu")


def test_energy_forces_and_stress_are_the_package_s_own(ours: SevennetCalculator) -> None:
    atoms = shaken()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = SevenNetCalculator("7net-0", device="cpu")
    results = []
    for calculator in (stock, ours):
        atoms.calc = calculator
        energy = atoms.get_potential_energy() / len(atoms)
        results.append((energy, atoms.get_forces(), atoms.get_stress()))
    (e, f, s), (own_e, own_f, own_s) = results
    assert np.abs(f).max() > 1.0  # the comparison means something
    assert own_e == pytest.approx(e, abs=ENERGY_EV_ATOM)
    np.testing.assert_allclose(own_f, f, atol=FORCE_EV_A)
    np.testing.assert_allclose(own_s, s, atol=STRESS_EV_A3)


def test_a_doubled_cell_has_twice_the_energy(ours: SevennetCalculator) -> None:
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True)
    twice = atoms * (2, 1, 1)
    atoms.calc = twice.calc = ours
    single = atoms.get_potential_energy()
    assert twice.get_potential_energy() == pytest.approx(2 * single, abs=1e-4)


def test_an_atom_alone_has_no_force(ours: SevennetCalculator) -> None:
    atoms = Atoms("Li", cell=[12.0] * 3, pbc=True)
    atoms.calc = ours
    assert np.isfinite(atoms.get_potential_energy())
    np.testing.assert_allclose(atoms.get_forces(), 0.0, atol=1e-6)
