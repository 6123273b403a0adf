import numpy as np
import pytest

from ionbridge.models.prediction import Prediction


def test_spread_is_the_root_of_the_squares():
    prediction = Prediction([1.0, 2.0], [3.0, 0.0], [4.0, 1.0])
    assert prediction.std.tolist() == [5.0, 1.0]
    assert len(prediction) == 2


def test_rows_by_slice_mask_and_index():
    prediction = Prediction(np.arange(4.0), np.ones(4), np.zeros(4))
    assert prediction[1:3].mean.tolist() == [1.0, 2.0]
    assert prediction[prediction.mean > 1].mean.tolist() == [2.0, 3.0]
    assert prediction[np.array([3, 0])].mean.tolist() == [3.0, 0.0]
    assert prediction[2].mean.tolist() == [2.0]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        Prediction([1.0, 2.0], [1.0], [1.0, 1.0])
