"""What cells lack against experiment: geometry, sharing between cells, round trip."""

import numpy as np
import pytest

from ionbridge.models.cells.cell_discrepancy import (
    CellDiscrepancy,
    Kind,
    displacement,
    rated_curve,
)

SHARE = np.linspace(0.0, 1.0, 400)
LOWER_V = 2.5


def _volts(share, sag=0.0, lost=0.0):
    """A plateau that ends in a knee."""
    q = share / (1.0 - lost)
    return 3.4 - 0.2 * q - sag * q - 1.2 * np.exp((q - 1.0) / 0.02)


def _record(cell="a", cathode="layered", rate=1.0, negative="graphite"):
    return rated_curve(Kind(cell, negative, cathode), rate, 0.05, SHARE, _volts(SHARE))


def _label(record, sag=0.03, lost=0.02):
    share = np.linspace(0.0, 1.0 - lost, 400)
    return displacement(record, share, _volts(share, sag, lost))


def _rmse(found, sag=0.03, lost=0.02):
    inner = (found.share > 0.02) & (found.share < 0.93)
    return np.sqrt(np.mean((found.voltage_V - _volts(found.share, sag, lost))[inner] ** 2))


def test_a_curve_is_not_displaced_from_itself():
    record = _record()
    off = displacement(record, SHARE, _volts(SHARE))
    assert np.nanmax(np.abs(off)) < 1e-5
    assert np.hypot(record.across, record.along) == pytest.approx(np.ones(len(off)))


def test_moved_by_its_displacement_a_curve_is_the_measured_one():
    record = _record()
    label = _label(record)
    known = np.isfinite(label)
    share, volts = record.moved(np.where(known, label, 0.0))
    inner = (share > 0.02) & (share < 0.9)
    assert np.abs(volts - _volts(share, 0.03, 0.02))[inner].max() < 2e-3


def test_without_measured_cells_nothing_is_moved_and_the_spread_is_the_prior():
    record = _record()
    model = CellDiscrepancy().fit([], [])
    found = model.correct(record, LOWER_V, SHARE)
    assert np.allclose(found.voltage_V, np.interp(SHARE, *record.moved(np.zeros(64))))
    assert not found.supported
    assert found.capacity_lower < found.capacity < found.capacity_upper


def test_a_like_cell_teaches_and_an_unlike_one_does_not():
    source = _record("a")
    model = CellDiscrepancy().fit([source], [_label(source)])
    none = _rmse(CellDiscrepancy().fit([], []).correct(_record("b"), LOWER_V, SHARE))
    alike = model.correct(_record("b"), LOWER_V, SHARE)
    other = model.correct(_record("b", "olivine", negative="hard carbon"), LOWER_V, SHARE)
    assert _rmse(alike) < 0.5 * none
    assert alike.supported
    assert not other.supported
    assert _rmse(other) == pytest.approx(none)


def test_the_cells_own_curve_is_its_best_label_and_narrows_the_interval():
    source, own = _record("a"), _record("b", rate=0.5)
    model = CellDiscrepancy().fit([source], [_label(source)])
    label = _label(own, 0.01, 0.01)
    without = model.correct(own, LOWER_V, SHARE)
    with_own = model.correct(own, LOWER_V, SHARE, [(own, label)])
    assert _rmse(with_own, 0.01, 0.01) < 2e-3
    width = [np.mean(f.upper_V - f.lower_V) for f in (without, with_own)]
    assert width[1] < 0.5 * width[0]


def test_save_and_load_give_the_same_and_a_cell_can_be_taken_out(tmp_path):
    records = [_record("a"), _record("b", "olivine")]
    model = CellDiscrepancy().fit(records, [_label(r) for r in records])
    model.save(tmp_path / "model")
    again = CellDiscrepancy.load(tmp_path / "model")
    target = _record("c")
    for one, other in zip(model.predict(target), again.predict(target), strict=True):
        assert np.allclose(one, other)
    left = model.without("a")
    assert [r.kind.cell for r in left.records_] == ["b"]
