"""The reduced-order cell learns a resistance it was not told of, keeps it, and knows its limits."""

import numpy as np
import pytest
import torch

from ionbridge.models.cells.cell_correction import Curves, Training
from ionbridge.models.cells.cell_rom import CHUNK, FRACTIONS, CellRom
from ionbridge.models.cells.single_particle import discharge, end_of_discharge, make_cells, voltage
from ionbridge.models.checkpoint import IncompatibleModelError
from tests.models.cells.small_cells import cells, curves_with_resistance, tables

QUICK = Training(steps=300, batch=16, n_points=10)
SAME_V = 1e-9


@pytest.fixture(scope="module")
def taught():
    own = cells(40)
    labels = curves_with_resistance(own)
    return CellRom(QUICK, n_members=3, hidden=(8,)).fit([own], [labels])


def errors_V(model, own):
    found = model.predict(own, uncertainty=False)
    return np.sqrt(((found.voltage_V - curves_with_resistance(own).voltage_V) ** 2).mean())


def without_learning(model):
    return model.moved_to(
        cells(2), {k: torch.zeros_like(v) for k, v in model.parameters_.items()}, model.training
    )


class TestLearning:
    def test_learns_what_the_closed_form_does_not_know(self, taught):
        unseen = cells(30, seed=5)
        assert errors_V(taught, unseen) < 0.25 * errors_V(without_learning(taught), unseen)

    def test_without_weights_it_is_the_closed_form(self, taught):
        own = cells(6, seed=2)
        end = end_of_discharge(own)
        bare = without_learning(taught).predict(own)
        state = discharge(own, end * FRACTIONS)
        inner = slice(2, -2)
        # the gain of an uneven reaction is all that is added
        assert bare.voltage_V[:, inner] == pytest.approx(voltage(own, state)[:, inner], abs=2e-3)
        assert bare.capacity_Ah == pytest.approx((own.current * end / 3600.0)[:, 0], rel=2e-3)

    def test_energy_is_the_area_below_the_curve(self, taught):
        found = taught.predict(cells(5, seed=3))
        area = np.trapezoid(found.voltage_V, FRACTIONS, axis=1) * found.capacity_Ah
        assert found.energy_Wh == pytest.approx(area)
        assert found.mean_voltage_V == pytest.approx(area / found.capacity_Ah)

    def test_heat_is_what_the_cell_at_rest_would_have_given_more(self, taught):
        found = taught.predict(make_cells(tables(), np.array([0.05, 1.0]), 298.15))
        assert 0.0 < found.irreversible_heat_J[0] < found.irreversible_heat_J[1]

    def test_capacity_does_not_grow_with_current(self, taught):
        own = make_cells(tables(), np.geomspace(0.2, 3.0, 40), 298.15)
        capacity = taught.predict(own, uncertainty=False).capacity_Ah
        assert (np.diff(capacity) <= 1e-4 * capacity[0]).all()


class TestUncertainty:
    def test_intervals_hold(self, taught):
        own = cells(60, seed=9)
        truth = curves_with_resistance(own)
        found = taught.predict(own)
        inside = np.abs(found.capacity_Ah - truth.capacity_Ah) <= 1.645 * found.capacity_std_Ah
        assert inside.mean() >= 0.75
        assert (found.voltage_std_V > 0.0).all()
        assert (found.energy_std_Wh > 0.0).all()

    def test_mean_is_the_same_without(self, taught):
        own = cells(4, seed=1)
        with_spread, bare = taught.predict(own), taught.predict(own, uncertainty=False)
        assert np.array_equal(with_spread.voltage_V, bare.voltage_V)
        assert np.isnan(bare.capacity_std_Ah).all()

    def test_far_designs_are_flagged(self, taught):
        own = make_cells(tables(), np.array([1.0, 60.0]), 298.15)
        assert taught.in_domain(cells(40)).mean() > 0.9
        assert not taught.in_domain(own)[1]


class TestFolder:
    def test_round_trip(self, taught, tmp_path):
        taught.save(tmp_path, {"name": "small"})
        again = CellRom.load(tmp_path)
        own = cells(5, seed=4)
        assert again.predict(own).voltage_V == pytest.approx(
            taught.predict(own).voltage_V, abs=SAME_V
        )
        assert again.predict(own).capacity_std_Ah == pytest.approx(
            taught.predict(own).capacity_std_Ah
        )
        assert again.in_domain(own).tolist() == taught.in_domain(own).tolist()
        kept = again.tables_["small"]
        assert np.array_equal(kept.positive.potential, tables().positive.potential)
        assert kept.scalars == tables().scalars

    def test_two_base_cells_of_one_grid_can_be_saved(self, tmp_path):
        a, b = cells(6), cells(6, seed=2, base=tables("other", lambda x: 3.9 - 0.4 * x))
        model = CellRom(Training(steps=2), n_members=2, hidden=(4,))
        model.fit([a, b], [curves_with_resistance(a), curves_with_resistance(b)])
        model.save(tmp_path)
        assert set(CellRom.load(tmp_path).tables_) == {"small", "other"}

    def test_another_kind_is_refused(self, taught, tmp_path):
        taught.save(tmp_path)
        config = (tmp_path / "config.json").read_text()
        (tmp_path / "config.json").write_text(config.replace('"cell_rom"', '"other"'))
        with pytest.raises(IncompatibleModelError):
            CellRom.load(tmp_path)


def test_one_cell_is_the_batch(taught):
    own = cells(CHUNK + 3, seed=7)
    whole = taught.predict(own, uncertainty=False)
    one = taught.predict(own.take(np.array([CHUNK + 1])), uncertainty=False)
    assert one.voltage_V[0] == pytest.approx(whole.voltage_V[CHUNK + 1], abs=1e-5)


def test_not_fitted_says_so():
    with pytest.raises(ValueError, match="not fitted"):
        CellRom().predict(cells(1))


def test_numbers_must_agree():
    with pytest.raises(ValueError, match="differ in number"):
        CellRom().fit([cells(3)], [Curves(np.ones(2), np.ones((2, 101)))])
