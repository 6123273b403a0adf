"""What cells lack against experiment: equal parts of a charge, what like cells share, files."""

import numpy as np
import pytest

from ionbridge.models.cells.cell_discrepancy import (
    PARTS,
    CellDiscrepancy,
    Kind,
    RatedCurve,
    beginning,
    discrepancy,
)

SHARE = np.linspace(0.0, 1.0, 2000)
LOWER_V = 2.5
NOTHING = np.zeros(len(PARTS) + 1)


def _slow(part):
    """A plateau that ends in a knee at the cut-off."""
    return 3.4 - 0.2 * part - 0.7 * np.exp((part - 1.0) / 0.02)


def _polarisation(part, rate, volts=0.1):
    return volts * rate * (1.0 + 0.5 * part) * np.minimum(1.0, (1.0 - part) / 0.03)


def _record(cell="a", cathode="layered", rate=1.0, negative="graphite"):
    capacity = 1.0 - 0.01 * rate
    return RatedCurve(
        Kind(cell, negative, cathode),
        rate,
        0.05,
        _slow(PARTS),
        _polarisation(PARTS, rate),
        capacity,
    )


def _measured(record, more=1.25, lost=0.01):
    """What polarises more and gives less than its prediction, as shares and volts."""
    share = SHARE * record.capacity * (1.0 - lost)
    return share, _slow(SHARE) - more * _polarisation(SHARE, record.rate)


def _label(record, **how):
    return discrepancy(record, *_measured(record, **how), LOWER_V)


def _rmse(found, record, **how):
    share, volts = _measured(record, **how)
    inner = slice(20, -100)
    return np.sqrt(np.mean((np.interp(share, found.share, found.voltage_V) - volts)[inner] ** 2))


def test_a_curve_lacks_nothing_of_itself():
    record = _record()
    lacking = _label(record, more=1.0, lost=0.0)
    assert np.abs(lacking[:-1]).max() < 2e-3
    assert abs(lacking[-1]) < 1e-12


def test_corrected_by_what_it_lacks_a_curve_is_the_measured_one():
    record = _record()
    label = _label(record)
    assert label[-1] == pytest.approx(np.log(0.99))
    share, volts = record.corrected(label, LOWER_V)
    at, truth = _measured(record)
    assert (np.diff(share) > 0.0).all()
    assert np.abs(np.interp(at, share, volts) - truth)[20:-40].max() < 1e-2
    assert np.interp(at[-1], share, volts) == pytest.approx(LOWER_V, abs=1e-6)


def test_a_curve_that_ends_early_says_nothing_of_what_comes_after():
    record = _record()
    share, volts = _measured(record, lost=0.0)
    label = discrepancy(record, share[:1000], volts[:1000], LOWER_V)
    assert np.isfinite(label[:-1][PARTS < 0.49]).all()
    assert np.isnan(label[:-1][PARTS > 0.51]).all()
    assert np.isnan(label[-1])


def test_without_measured_cells_nothing_is_changed_and_the_spread_is_the_prior():
    record = _record()
    found = CellDiscrepancy().fit([], []).correct(record, LOWER_V, SHARE)
    assert np.allclose(found.voltage_V, np.interp(SHARE, *record.corrected(NOTHING, LOWER_V)))
    assert not found.supported
    assert found.capacity_lower < found.capacity < found.capacity_upper


def test_a_like_cell_teaches_and_an_unlike_one_does_not():
    source, target = _record("a"), _record("b")
    model = CellDiscrepancy().fit([source], [_label(source)])
    none = _rmse(CellDiscrepancy().fit([], []).correct(target, LOWER_V, SHARE), target)
    alike = model.correct(target, LOWER_V, SHARE)
    other = model.correct(_record("b", "olivine"), LOWER_V, SHARE)
    assert _rmse(alike, target) < 0.5 * none
    assert alike.supported
    assert not other.supported
    assert _rmse(other, target) == pytest.approx(none)


def test_a_discharge_at_constant_current_falls_to_its_end():
    """What is lacking goes in the last part; the curve and its bounds do not come back up."""
    lacking = NOTHING.copy()
    lacking[:-1] = 0.6 * np.minimum((1.0 - PARTS) / 0.03, 1.0)
    record = _record()
    volts = record.slow_V - record.polarisation_V - lacking[:-1]
    assert np.diff(volts).max() > 0.05
    assert np.diff(record.corrected(lacking, LOWER_V)[1]).max() <= 0.0
    early = PARTS < 0.95
    assert (record.corrected(lacking, LOWER_V)[1][: len(PARTS)][early] == volts[early]).all()
    model = CellDiscrepancy().fit([record], [lacking])
    found = model.correct(_record(cell="b"), LOWER_V, SHARE)
    for end in (found.voltage_V, found.lower_V, found.upper_V):
        assert np.diff(end)[found.share[1:] > 0.96].max() <= 1e-12


def test_what_is_lacking_grows_with_the_rate():
    """Learnt at one rate it is carried to another in proportion."""
    source = _record("a", rate=0.5)
    model = CellDiscrepancy().fit([source], [_label(source)])
    for rate in (0.25, 1.0, 2.0):
        mean, _ = model.predict(_record("a", rate=rate))
        truth = 0.25 * _polarisation(PARTS, rate)
        assert mean[:-1] == pytest.approx(truth, abs=0.25 * truth.max())
        assert mean[-1] == pytest.approx(np.log(0.99) * (rate - 0.05) / 0.45, rel=0.1)


def test_at_the_slow_rate_nothing_is_lacking():
    source = _record("a")
    model = CellDiscrepancy().fit([source], [_label(source)])
    flat = RatedCurve(source.kind, 0.05, 0.05, _slow(PARTS), 0.0 * PARTS, 1.0)
    mean, covariance = model.predict(flat)
    assert np.abs(mean).max() < 1e-12
    assert np.abs(covariance).max() < 1e-12


def test_the_cells_own_curve_is_its_best_label_and_narrows_the_interval():
    source, own = _record("a"), _record("b", rate=0.5)
    model = CellDiscrepancy().fit([source], [_label(source)])
    how = {"more": 1.1, "lost": 0.005}
    without = model.correct(own, LOWER_V, SHARE)
    with_own = model.correct(own, LOWER_V, SHARE, [(own, _label(own, **how))])
    assert _rmse(with_own, own, **how) < 2e-3
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


REST_V, RESISTANCE_V_H = 3.5, 0.04
"""At rest, and the polarisation a rate of 1/h of an ohmic cell whose equilibrium is a line."""


def _ohmic(share, rate):
    return REST_V - 0.5 * share - RESISTANCE_V_H * rate


def _predicted(cathode="layered"):
    """A prediction that polarises half as much again."""
    rate, slow = 1.0, 0.05
    polarisation = 1.5 * RESISTANCE_V_H * (rate - slow) + np.zeros(len(PARTS))
    return RatedCurve(
        Kind("a", "graphite", cathode), rate, slow, _ohmic(PARTS, slow), polarisation, 1.0
    )


def test_the_first_minute_of_the_slow_curve_tells_that_of_a_fast_one():
    record = _predicted()
    share = np.linspace(0.0, 0.1, 4001)
    found = beginning(record, share, _ohmic(share, record.slow_rate), REST_V)
    told = np.isfinite(found)
    assert PARTS[told[:-1]].max() == pytest.approx(60.0 / 3600.0, rel=0.2)
    truth = -0.5 * RESISTANCE_V_H * (record.rate - record.slow_rate)
    assert found[told] == pytest.approx(truth, abs=1e-6)
    # an exact beginning takes away what it says, and leaves the interval of others
    model = CellDiscrepancy().fit([], [])
    bare, begun = (model.correct(record, 2.5, PARTS, begun=b) for b in (None, found))
    at = np.flatnonzero(told[:-1])[-1]
    fast = _ohmic(PARTS, record.rate)
    assert abs(begun.voltage_V - fast)[at] < 0.2 * abs(bare.voltage_V - fast)[at]
    width = [(c.upper_V - c.lower_V)[at] for c in (begun, bare)]
    assert width[0] < width[1]
    assert not begun.supported


def test_a_beginning_that_tells_nothing_is_left_out():
    record = _predicted()
    share = np.linspace(0.0, 0.1, 4001)
    volts = _ohmic(share, record.slow_rate)
    under_load = beginning(record, share, volts)
    one_phase = beginning(_predicted("olivine"), share, volts, REST_V)
    stand_in = beginning(_predicted("olivine, stand-in"), share, volts, REST_V)
    sparse = beginning(record, share[::1000], volts[::1000], REST_V)
    for found in (under_load, one_phase, stand_in, sparse):
        assert np.isnan(found).all()
