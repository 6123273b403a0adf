"""Cross-validation: every row predicted by a model that saw nothing of its group, and choosing.

One loop over folds serves all models, and one rule turns cross-validated errors into a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.prediction import Prediction
from ionbridge.structures.features.splits import GroupedKFold, Split

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

WORTHWHILE = 0.02
"""A candidate must beat the best simple one by this share of its error to be chosen over it."""
CLEARLY = 0.4
"""Share by which another must be better than the one that stands. Rules that choose more freely
lose on families left out, and do not win on other tasks (benchmarks/transfer/choice_of_way.py)."""


def cross_val_predict(
    make: Callable[[], Any], records: Sequence[Any], labels: Floats, folds: Iterable[Split]
) -> Prediction:
    """Every record predicted by a model that saw nothing of its fold.

    Args:
        make: Gives a fresh, unfitted model with ``fit(records, labels)`` and ``predict(records)``.
        records: (n,) records.
        labels: (n,) labels.
        folds: Splits; a record that is in no test part keeps zeros.
    """

    def predict(train: Rows, test: Rows) -> Floats:
        model = make()
        model.fit([records[i] for i in train], labels[train])
        found = model.predict([records[i] for i in test])
        return np.stack([found.mean, found.aleatoric_std, found.epistemic_std])

    return Prediction(*out_of_fold(predict, folds, np.zeros((3, len(records)))))


def out_of_fold(
    predict: Callable[[Rows, Rows], Floats], folds: Iterable[Split], unlearnt: Floats
) -> Floats:
    """Predictions of the test part of every fold.

    Args:
        predict: Indices of training and test records -> (..., n_test) predictions.
        folds: Splits.
        unlearnt: (..., n) what stands where no fold tests a record.

    Returns:
        (..., n) predictions.
    """
    result = np.array(unlearnt, dtype=float)
    for fold in folds:
        result[..., fold.test] = predict(fold.train, fold.test)
    return result


def grouped_folds(
    records: Sequence[Any], group: Callable[[Any], str] | None, n_folds: int, seed: int = 0
) -> list[Split]:
    """Folds that keep groups together, fewer where there are fewer groups; none of one group.

    Args:
        records: (n,) records.
        group: Group name of a record; None takes its host framework.
        n_folds: Most folds.
        seed: Of the dealing of groups into folds.
    """
    splitter = GroupedKFold(n_folds, seed, group)
    n_folds = min(n_folds, splitter.n_groups(records))
    return list(GroupedKFold(n_folds, seed, group).split(records)) if n_folds > 1 else []


def choose(errors: Mapping[str, float], simple: Collection[str], stands: str | None = None) -> str:
    """The candidate of least cross-validated error, unless a simple one is as good.

    Args:
        errors: Cross-validated error of each candidate, in any unit.
        simple: Candidates that are preferred: the best of them is taken unless another is better
            by WORTHWHILE.
        stands: Taken unless another is better beyond doubt (CLEARLY): with a handful of groups the
            errors are too noisy to choose by.
    """
    best = min(errors, key=lambda name: errors[name])
    known = None if stands is None else errors.get(stands)
    if stands is not None and known is not None and errors[best] >= (1.0 - CLEARLY) * known:
        return stands
    preferred = [name for name in errors if name in simple]
    simplest = min(preferred, key=lambda name: errors[name], default=best)
    return simplest if (1.0 - WORTHWHILE) * errors[simplest] <= errors[best] else best
