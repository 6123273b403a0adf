"""How well a model does on labelled records, beside the simplest models on the same records.

Intervals are 95 % bootstraps over base systems: the host framework of a hop, the composition of a
conductor. The simple models are fitted on the other base systems of the same input (grouped
cross-validation), so they see more of this input than a shipped model does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models import library, metrics
from ionbridge.models.conductors.conductivity import FEWEST_ROWS
from ionbridge.models.cross_validation import (
    Rows,
    cross_val_predict,
    grouped_folds,
    out_of_fold,
)
from ionbridge.models.regressors.baselines import ExtraTreesBaseline, FamilyIonMean, GlobalMean
from ionbridge.models.regressors.trees import Forest
from ionbridge.screening.errors import InputError
from ionbridge.screening.prediction.files import Input, Predictions
from ionbridge.structures.features.conductor_descriptors import conductor_descriptors, conductor_ion
from ionbridge.structures.features.splits import framework
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Hop, UnusableStructureError, sides

Floats = NDArray[np.float64]

N_FOLDS = 5
FEWEST_FOR_TREES = max(N_FOLDS, FEWEST_ROWS)
SMALLEST_FAMILY = 3
"""Families with fewer rows are not listed on their own."""
HOP_BASELINES = {
    "global_mean": GlobalMean,
    "family_mean": FamilyIonMean,
    "trees": ExtraTreesBaseline,
}


@dataclass(frozen=True, eq=False)
class Scored:
    """Labels and predictions of the labelled rows of an input; NaN where there is no prediction.

    Attributes:
        quantity: What is compared, by its name on the command line.
        true: (n,) labels.
        predicted: (n,) predictions.
        lower: (n,) lower end of the 90 % interval.
        upper: (n,) upper end.
        side: (n,) 0 where the label is a value, 1 where the truth lies above it, -1 where below.
        groups: (n,) base systems.
        families: (n,) families.
        baselines: (n,) out-of-fold predictions of simple models, by name.
        trained_on: Base systems that the model learnt from; None where its card does not say.
        baselines_missing: Why a simple model predicts nothing, by name.
    """

    quantity: str
    true: Floats
    predicted: Floats
    lower: Floats
    upper: Floats
    side: NDArray[np.int_]
    groups: list[str]
    families: list[str]
    baselines: dict[str, Floats]
    trained_on: frozenset[str] | None = None
    baselines_missing: dict[str, str] = field(default_factory=dict)


def evaluate(data: Input, predictions: Predictions) -> dict[str, Any]:
    """The report of ``ionbridge evaluate`` as plain values.

    Raises:
        InputError: The input holds no labels.
    """
    if data.kind == "hops":
        return report(_scored_hops(data, predictions))
    if data.kind == "conductivity_table":
        return report(_scored_table(data, predictions))
    raise InputError(
        "crystals carry no labels that could be compared; evaluate needs hops with barrier_eV or a "
        "conductivity table"
    )


def report(scored: Scored) -> dict[str, Any]:
    """Scores, coverage, families and baselines; values scored apart from bounds."""
    known = np.isfinite(scored.predicted)
    compared = known & (scored.side == 0)
    bounds = known & (scored.side != 0)
    beyond = metrics.misses(scored.true[bounds], scored.predicted[bounds], scored.side[bounds])
    result: dict[str, Any] = {
        "quantity": scored.quantity,
        "n": len(scored.true),
        "n_predicted": int(known.sum()),
        "n_bounds": int((scored.side != 0).sum()),
        "coverage": float(known.mean()),
        **_overlap(scored),
        **_scores(scored, scored.predicted, compared),
        "interval_coverage_90": _interval_coverage(scored, compared),
        "bounds_kept": float(np.mean(beyond == 0)) if bounds.any() else None,
        "mean_beyond_bounds": float(beyond.mean()) if bounds.any() else None,
        "per_family": {},
        "baselines": {
            name: _scores(scored, values, compared) for name, values in scored.baselines.items()
        },
        "baselines_missing": scored.baselines_missing,
        "baselines_fitted_on": f"other base systems of this input, {N_FOLDS} folds",
    }
    families = np.array(scored.families)
    for family in sorted(set(scored.families)):
        rows = compared & (families == family)
        if rows.sum() >= SMALLEST_FAMILY:
            result["per_family"][family] = {
                "n": int(rows.sum()),
                **_scores(scored, scored.predicted, rows),
            }
    return result


def _overlap(scored: Scored) -> dict[str, Any]:
    """Rows whose base system the model has seen: their errors say little about new ones."""
    if scored.trained_on is None:
        return {"n_in_training_set": None, "base_systems_in_training_set": None}
    seen = [group for group in scored.groups if group in scored.trained_on]
    return {"n_in_training_set": len(seen), "base_systems_in_training_set": sorted(set(seen))}


def _trained_on(model: str) -> frozenset[str] | None:
    """``base_systems`` of the card's ``trained_on``: host frameworks, or compositions."""
    stated = library.card(model).get("trained_on")
    systems = stated.get("base_systems") if isinstance(stated, dict) else None
    return None if systems is None else frozenset(map(str, systems))


def _scores(scored: Scored, predicted: Floats, rows: NDArray[np.bool_]) -> dict[str, Any]:
    rows = rows & np.isfinite(predicted)
    groups = [scored.groups[i] for i in np.flatnonzero(rows)]
    return {
        name: _interval(metric, scored.true[rows], predicted[rows], groups=groups)
        for name, metric in (
            ("mae", metrics.mae),
            ("rmse", metrics.rmse),
            ("r2", metrics.r2),
            ("spearman", metrics.spearman),
        )
    }


def _interval_coverage(scored: Scored, rows: NDArray[np.bool_]) -> dict[str, float | None]:
    groups = [scored.groups[i] for i in np.flatnonzero(rows)]
    columns = scored.true[rows], scored.lower[rows], scored.upper[rows]
    return _interval(metrics.interval_coverage, *columns, groups=groups)


def _interval(statistic: Any, *columns: Floats, groups: Sequence[str]) -> dict[str, float | None]:
    """A statistic with its bootstrap interval; nulls where it cannot be had."""
    if len(columns[0]) < 2:
        return {"value": None, "lower": None, "upper": None}
    found = metrics.bootstrap(statistic, *columns, groups=groups)
    return {
        name: value if math.isfinite(value) else None
        for name, value in (
            ("value", found.value),
            ("lower", found.lower),
            ("upper", found.upper),
        )
    }


def _scored_hops(data: Input, predictions: Predictions) -> Scored:
    pairs = [
        (record, row)
        for record, row in zip(data.records, predictions.rows, strict=True)
        if isinstance(record, Hop) and record.barrier_eV is not None
    ]
    if not pairs:
        raise InputError("no hop has a barrier_eV to compare with")
    hops = [hop for hop, _ in pairs]
    true = np.array([hop.barrier_eV for hop in hops], dtype=float)
    return Scored(
        quantity="migration_barrier",
        true=true,
        predicted=_column(pairs, "migration_barrier_eV"),
        lower=_column(pairs, "migration_barrier_lower_eV"),
        upper=_column(pairs, "migration_barrier_upper_eV"),
        side=sides(hops),
        groups=[framework(hop) for hop in hops],
        families=[canonical_family(hop.family) for hop in hops],
        baselines=_hop_baselines(hops, true),
        trained_on=_trained_on(predictions.model),
        baselines_missing=_missing(
            tuple(HOP_BASELINES),
            len({framework(hop) for hop in hops if hop.bound == "="}),
            N_FOLDS,
            "host frameworks",
        ),
    )


def _missing(names: Sequence[str], n_groups: int, fewest: int, what: str) -> dict[str, str]:
    """Why simple models cannot be fitted to the other groups, where there are too few."""
    reason = f"labels of {n_groups} {what}; {fewest} are needed to fit it to the others"
    return dict.fromkeys(names, reason) if n_groups < fewest else {}


def _hop_baselines(hops: Sequence[Hop], true: Floats) -> dict[str, Floats]:
    """Out-of-fold barriers of the simple models; NaN where there are too few base systems.

    They see values alone, and are scored on them.
    """
    result = {name: np.full(len(hops), np.nan) for name in HOP_BASELINES}
    values = np.flatnonzero(sides(hops) == 0)
    chosen = [hops[i] for i in values.tolist()]
    if len({framework(hop) for hop in chosen}) < N_FOLDS:
        return result
    folds = grouped_folds(chosen, framework, N_FOLDS)
    for name, baseline in HOP_BASELINES.items():
        result[name][values] = cross_val_predict(baseline, chosen, true[values], folds).mean
    return result


def _scored_table(data: Input, predictions: Predictions) -> Scored:
    pairs = [
        (record, row)
        for record, row in zip(data.records, predictions.rows, strict=True)
        if isinstance(record, ConductivityRow) and record.label is not None
    ]
    if not pairs:
        raise InputError("no row of the table has a conductivity to compare with")
    rows = [record for record, _ in pairs]
    true = np.array([r.label.value for r in rows if r.label is not None])
    groups = [record.composition.reduced_formula for record in rows]
    families = [record.family or "unknown" for record in rows]
    return Scored(
        quantity="conductivity",
        true=true,
        predicted=_column(pairs, "log10_conductivity_S_cm"),
        lower=_column(pairs, "log10_conductivity_lower"),
        upper=_column(pairs, "log10_conductivity_upper"),
        side=sides([r.label for r in rows if r.label is not None]),
        groups=groups,
        families=families,
        baselines={
            "global_mean": means_of_others(true, ["all"] * len(rows), groups),
            "family_mean": means_of_others(true, families, groups),
            "trees": _table_trees(rows, groups),
        },
        trained_on=_trained_on(predictions.model),
        baselines_missing=_missing(
            ("global_mean", "family_mean"), len(set(groups)), 2, "compositions"
        )
        | _missing(
            ("trees",),
            len({group for row, group in zip(rows, groups, strict=True) if _has_ion(row)}),
            FEWEST_FOR_TREES,
            "compositions with a working ion",
        ),
    )


def _table_trees(rows: Sequence[ConductivityRow], groups: Sequence[str]) -> Floats:
    """(n,) out-of-fold predictions of trees on the composition; NaN without a working ion."""
    result = np.full(len(rows), np.nan)
    usable = [i for i, row in enumerate(rows) if _has_ion(row)]
    if len({groups[i] for i in usable}) < FEWEST_FOR_TREES:
        return result
    chosen = [rows[i] for i in usable]
    elements = sorted({str(e) for row in chosen for e in row.composition})
    features = np.array([conductor_descriptors(row, elements) for row in chosen])
    label = np.array([row.label.value for row in chosen if row.label])

    def predict(train: Rows, test: Rows) -> Floats:
        trees = Forest.grown(features[train], label[train], 50, 2, 0.3, 0)
        found: Floats = np.asarray(trees.predict(features[test]), dtype=float).mean(axis=0)
        return found

    folds = grouped_folds(chosen, lambda r: r.composition.reduced_formula, N_FOLDS)
    result[usable] = out_of_fold(predict, folds, label)
    return result


def _has_ion(row: ConductivityRow) -> bool:
    try:
        conductor_ion(row)
    except UnusableStructureError:
        return False
    return True


def means_of_others(true: Floats, classes: Sequence[str], groups: Sequence[str]) -> Floats:
    """(n,) mean label of the same class in other groups, or of all other groups."""
    kinds, group = np.array(classes), np.array(groups)
    result = np.full(len(true), np.nan)
    for i in range(len(true)):
        others = group != group[i]
        same = others & (kinds == kinds[i])
        chosen = same if same.any() else others
        if chosen.any():
            result[i] = true[chosen].mean()
    return result


def _column(pairs: Sequence[tuple[Any, Any]], name: str) -> Floats:
    return np.array(
        [np.nan if row.get(name) is None else float(row[name]) for _, row in pairs], dtype=float
    )
