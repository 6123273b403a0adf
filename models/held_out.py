"""Every row predicted by a model that saw nothing of its group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.splits import GroupedKFold

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def held_out(
    records: Sequence[Any],
    group: Callable[[Any], str],
    n_folds: int,
    seed: int,
    unlearnt: Floats,
    predict: Callable[[Rows, Rows], Floats],
) -> Floats:
    """Out-of-fold predictions of all records.

    Args:
        records: (n,) records.
        group: Group name of a record; a group is never on both sides.
        n_folds: Folds; fewer where there are fewer groups.
        seed: Of the dealing of groups into folds.
        unlearnt: (..., n) what to say where there is but one group.
        predict: Indices of training and test records -> (..., n_test) predictions.

    Returns:
        (..., n) predictions.
    """
    result = np.array(unlearnt, dtype=float)
    n_folds = min(n_folds, len({group(record) for record in records}))
    if n_folds > 1:
        for fold in GroupedKFold(n_folds, seed, group).split(records):
            result[..., fold.test] = predict(fold.train, fold.test)
    return result
