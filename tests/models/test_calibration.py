"""Calibrated intervals cover what they promise."""

import numpy as np
import pytest

from ionbridge.models.calibration import Calibration
from ionbridge.models.prediction import Prediction
from ionbridge.models.transforms import LogShift
from tests.tolerances import EXACT, STANDARD_ERRORS

TRANSFORM = LogShift()


def synthetic(rng: np.random.Generator, n: int, over: float) -> tuple[Prediction, np.ndarray]:
    """Predictions whose stated spread is ``over`` times the true one, and the truth."""
    mean = rng.uniform(0.1, 2.0, n)
    true_t = rng.uniform(0.1, 0.4, n)
    truth = TRANSFORM.inverse(TRANSFORM.forward(mean) + true_t * rng.standard_t(4, n))
    stated = TRANSFORM.inverse_std(mean, over * true_t)
    return Prediction(mean, 0.8 * stated, 0.6 * stated), truth


@pytest.mark.parametrize("over", [0.3, 1.0, 2.5])
def test_nine_in_ten_are_covered_whatever_the_spread_said(over):
    rng = np.random.default_rng(0)
    n_fit, n_test = 500, 2000
    calibration = Calibration.fit(*synthetic(rng, n_fit, over), TRANSFORM)
    prediction, truth = synthetic(rng, n_test, over)
    lower, upper = calibration.interval(calibration.calibrated(prediction), TRANSFORM)
    covered = np.mean((lower <= truth) & (truth <= upper))
    standard_error = np.sqrt(0.9 * 0.1 * (1 / n_fit + 1 / n_test))
    assert abs(covered - 0.9) < STANDARD_ERRORS * standard_error
    assert (calibration.level, calibration.n_rows) == (0.9, n_fit)


def test_small_samples_are_covered_on_average():
    """The promise of conformal prediction: at least the level, over draws of the sample."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(300):
        calibration = Calibration.fit(*synthetic(rng, 19, 1.0), TRANSFORM)
        prediction, truth = synthetic(rng, 20, 1.0)
        lower, upper = calibration.interval(calibration.calibrated(prediction), TRANSFORM)
        covered.append(np.mean((lower <= truth) & (truth <= upper)))
    standard_error = np.std(covered) / np.sqrt(len(covered))
    assert np.mean(covered) > 0.9 - STANDARD_ERRORS * standard_error
    assert np.mean(covered) < 0.95 + STANDARD_ERRORS * standard_error


def test_other_levels_give_nested_intervals():
    rng = np.random.default_rng(2)
    data = synthetic(rng, 400, 1.0)
    narrow, wide = (Calibration.fit(*data, TRANSFORM, level=level) for level in (0.5, 0.95))
    lower, upper = narrow.interval(narrow.calibrated(data[0]), TRANSFORM)
    outer_lower, outer_upper = wide.interval(wide.calibrated(data[0]), TRANSFORM)
    assert (outer_lower <= lower).all()
    assert (upper <= outer_upper).all()


def test_the_interval_holds_the_mean_and_no_negative_barrier():
    prediction = Prediction(np.array([0.0, 0.02, 1.0]), np.full(3, 0.5), np.full(3, 0.5))
    lower, upper = Calibration().interval(prediction, TRANSFORM)
    assert (lower >= 0).all()
    assert (lower <= prediction.mean + EXACT).all()
    assert (prediction.mean <= upper + EXACT).all()


def test_a_handful_of_rows_gives_the_largest_residual():
    prediction = Prediction(np.ones(3), np.full(3, 0.11), np.zeros(3))  # spread 0.1 in t
    truth = TRANSFORM.inverse(TRANSFORM.forward(np.ones(3)) + np.array([0.1, -0.3, 0.2]))
    assert Calibration.fit(prediction, truth, TRANSFORM).factor == pytest.approx(3.0)


def test_without_rows_there_is_nothing_to_calibrate():
    empty = Prediction(np.zeros(0), np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="no out-of-fold rows"):
        Calibration.fit(empty, np.zeros(0), TRANSFORM)


def test_calibrated_spreads_are_those_of_the_errors():
    """For normal errors one calibrated sigma is one standard deviation, whatever was stated."""
    rng = np.random.default_rng(3)
    mean = np.full(4000, 1.0)
    truth = TRANSFORM.inverse(TRANSFORM.forward(mean) + 0.2 * rng.normal(size=4000))
    stated = Prediction(mean, TRANSFORM.inverse_std(mean, np.full(4000, 0.05)), np.zeros(4000))
    spread = Calibration.fit(stated, truth, TRANSFORM).calibrated(stated)
    assert TRANSFORM.forward_std(mean, spread.std) == pytest.approx(0.2, rel=0.05)


def test_few_groups_lie_between_their_own_residuals_and_the_source():
    """The fewer the groups, the nearer the factor to the source's; with 20 it is their own."""
    rng = np.random.default_rng(3)
    data = synthetic(rng, 40, 4.0)  # spreads stated four times too wide: small own residuals
    own = Calibration.fit(*data, TRANSFORM)
    source = Calibration(factor=3.0, n_rows=500)
    factors = [
        Calibration.fit(*data, TRANSFORM, n_groups=n, source=source).factor for n in (2, 10, 20)
    ]
    assert factors[0] > factors[1] > factors[2] == own.factor
    assert factors[0] == pytest.approx(source.factor, rel=0.2)


def test_one_lucky_label_does_not_make_a_model_certain():
    exact = Prediction(np.array([0.5]), np.array([0.1]), np.array([0.0]))
    source = Calibration(factor=2.0, n_rows=500)
    few = Calibration.fit(exact, np.array([0.5]), TRANSFORM, n_groups=1, source=source)
    assert source.factor <= few.factor < 1.25 * source.factor
    assert few.n_rows == 1
