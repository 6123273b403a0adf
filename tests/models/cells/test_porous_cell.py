"""The cell along its thickness: a resistance where it can be one, lithium and salt kept, and an end
that the salt decides."""

from dataclasses import replace

import numpy as np
import pytest

from ionbridge.models.cells.cell_rom import FRACTIONS, CellRom
from ionbridge.models.cells.porous_cell import N_NODES, _modes, porous_discharge
from ionbridge.models.cells.single_particle import (
    diffusion_lag,
    discharge,
    end_of_discharge,
    make_cells,
    voltage,
)
from tests.models.cells.small_cells import cells, tables

MILLIVOLT = 1e-3


def slow_salt(c_rate, factor):
    """A cell in whose electrolyte the salt diffuses slowly."""
    return make_cells(
        tables(), c_rate, 298.15, {"Electrolyte diffusivity factor": np.array([factor])}
    )


def test_modes_give_the_response_of_a_sphere():
    amplitudes, rates = _modes()
    fourier = np.geomspace(1e-5, 2.0, 60)
    found = -np.expm1(-np.outer(fourier, rates)) @ amplitudes
    assert found == pytest.approx(diffusion_lag(fourier), rel=5e-3)


def test_a_slow_discharge_is_that_of_one_particle():
    own = make_cells(tables(), np.array([0.05]), 298.15)
    end, volts = porous_discharge(own).curves(own.lower_V, FRACTIONS)
    assert end == pytest.approx(end_of_discharge(own), rel=1e-3)
    inner = slice(3, -8)
    single = voltage(own, discharge(own, end * FRACTIONS))
    assert volts[:, inner] == pytest.approx(single[:, inner], abs=3 * MILLIVOLT)


def test_one_cell_is_the_batch():
    own = cells(5, seed=3)
    whole, _ = porous_discharge(own).curves(own.lower_V, FRACTIONS)
    one = own.take(np.array([2]))
    alone = porous_discharge(one).curves(one.lower_V, FRACTIONS)[0]
    assert alone == pytest.approx(whole[2:3], rel=2e-4)  # Newton's tolerance


def test_a_finer_mesh_changes_little():
    own = slow_salt(2.0, 0.02)
    ends = [porous_discharge(own, n).curves(own.lower_V, FRACTIONS)[0][0, 0] for n in MESHES]
    assert ends[0] == pytest.approx(ends[1], rel=5e-3)


MESHES = (N_NODES, (160, 8, 160))


def test_slower_salt_ends_a_discharge_sooner():
    fast, slow, slower = (
        porous_discharge(own).curves(own.lower_V, FRACTIONS)[0][0, 0]
        for own in (slow_salt(2.0, f) for f in (1.0, 0.05, 0.02))
    )
    assert slower < slow < fast


def test_salt_that_cannot_move_gives_what_its_pores_hold():
    own = slow_salt(4.0, 1e-5)
    end, _ = porous_discharge(own).curves(own.lower_V, FRACTIONS)
    salt = own.salt
    held = (salt.start[:, 0] * salt.porosity[:, 2] * salt.thickness[:, 2]) / salt.flux[:, 0]
    assert end[0, 0] == pytest.approx(held[0], rel=0.1)


def test_a_prediction_steps_cells_that_run_short_of_salt_and_no_others():
    own = make_cells(
        tables(),
        np.array([2.0, 2.0]),
        298.15,
        {"Electrolyte diffusivity factor": np.array([1.0, 0.02])},
    )
    assert own.salt_is_short.tolist() == [False, True]
    model = CellRom(n_members=2, hidden=(4,)).unlearnt(own)
    estimate = model.predict(own, stepped=False)
    found = model.predict(own)
    assert found.capacity_Ah[0] == estimate.capacity_Ah[0]
    end, volts = porous_discharge(own.take(np.array([1]))).curves(own.lower_V[1:], FRACTIONS)
    assert found.capacity_Ah[1] == pytest.approx((own.current[1] * end[0] / 3600.0)[0])
    assert found.voltage_V[1] == pytest.approx(volts[0])
    assert found.capacity_std_Ah[1] > 0.0


def test_a_cut_off_above_the_first_voltage_gives_nothing():
    own = make_cells(tables(), np.array([1.0]), 298.15)
    own = replace(own, lower_V=own.lower_V + 5.0)
    end, _ = porous_discharge(own).curves(own.lower_V, FRACTIONS)
    assert end[0, 0] < 1e-3 * own.duration[0, 0]
