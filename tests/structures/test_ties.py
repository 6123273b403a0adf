"""Rounding never decides between equals."""

import numpy as np

from ionbridge.structures.ties import first_of, ranks, sorted_points


def test_numbers_that_rounding_parts_are_one() -> None:
    values = [3.0, 1.0 + 1e-9, 2.0, 1.0, 3.0 - 1e-9]
    assert ranks(values, 1e-6).tolist() == [2, 0, 1, 0, 2]
    assert ranks([], 1e-6).tolist() == []


def test_points_are_sorted_by_their_first_coordinate_that_differs() -> None:
    points = np.array([[1.0, 2.0, 0.0], [1.0 + 1e-9, 1.0, 0.0], [0.0, 9.0, 9.0], [1.0, 1.0, -1.0]])
    assert sorted_points(points, 1e-6).tolist() == [2, 3, 1, 0]
    kinds = np.array([1, 1, 2, 2])
    assert sorted_points(points, 1e-6, kinds).tolist() == [1, 0, 2, 3]


def test_of_equal_rows_the_first_is_taken() -> None:
    assert first_of(np.array([[1.0, 0.0], [1.0 + 1e-9, 5.0], [1.0, 5.0 + 1e-9]]), 1e-6) == 1
