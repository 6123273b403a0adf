"""What any reader of the field checks first, with the shipped model: directions of conduction.

LiFePO4 conducts along [010] of Pnma, its 6.0 angstrom axis (Morgan, Van der Ven and Ceder,
Electrochem. Solid-State Lett. 7, A30 (2004)), in whatever cell it is written; LiCoO2 within its
layers; spinel LiMn2O4 and garnet in three dimensions.
"""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.models.library import DEFAULTS
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.crystals import CrystalPredictor
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.records import Crystal

PREDICT = CrystalPredictor(DEFAULTS["migration_barrier"], Conditions(n_draws=8))
REFERENCES = {crystal.id: crystal for crystal in reference_crystals()}
CELLS = {
    "Pnma": np.eye(3, dtype=int),
    "Pmnb": np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]]),
    "Pbnm": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "skew": np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]),
    "doubled": np.array([[1, 0, 0], [0, 2, 0], [0, 0, 1]]),
}


def in_cell(crystal: Crystal, matrix: np.ndarray) -> Crystal:
    """The same crystal in the cell whose vectors are ``matrix @ lattice``, turned and shifted."""
    structure = crystal.to_pymatgen()
    structure.make_supercell(matrix)
    turn = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    moved = Crystal.from_pymatgen(structure, id=crystal.id)
    return replace(
        moved, lattice=moved.lattice @ turn, frac=moved.frac + np.array([0.13, 0.27, 0.41])
    )


def row(crystal: Crystal) -> dict:
    (result,) = PREDICT([crystal])
    assert result["status"] == "ok", result["reason"]
    return result


@pytest.mark.parametrize("name", CELLS)
def test_olivine_conducts_along_its_short_axis_in_any_cell(name):
    olivine = REFERENCES["LiFePO4-olivine"]
    lengths = np.linalg.norm(olivine.lattice, axis=1)
    assert np.argmin(np.abs(lengths - 6.0)) == 1  # Pnma: 10.3, 6.0, 4.7
    result = row(in_cell(olivine, CELLS[name]))
    assert result["percolation_dimensionality"] == 1
    direction = np.array(result["fast_direction"].strip("[]").split(), dtype=float)
    along_b = direction @ CELLS[name]  # indices in the axes of Pnma
    np.testing.assert_allclose(np.abs(along_b) / np.abs(along_b).max(), [0, 1, 0], atol=0.05)


@pytest.mark.parametrize(
    ("name", "dimensions"),
    [
        ("NaFePO4-olivine", 1),
        ("LiCoO2-layered", 2),
        ("LiMn2O4-spinel", 3),
        ("Li7La3Zr2O12-garnet", 3),
    ],
)
def test_dimensions_of_the_well_known(name, dimensions):
    assert row(REFERENCES[name])["percolation_dimensionality"] == dimensions


def test_a_supercell_changes_nothing():
    layered = REFERENCES["LiCoO2-layered"]
    one, two = row(layered), row(in_cell(layered, np.diag([2, 1, 1])))
    for column in ("percolation_barrier_eV", "log10_diffusivity_cm2_s", "log10_conductivity_S_cm"):
        assert two[column] == pytest.approx(one[column], abs=0.02)
