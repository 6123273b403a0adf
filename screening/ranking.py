"""Scores, ranks, the Pareto front, and a line for each top row that says why it is there.

One objective: the score is, oriented so that more is better,

- ``mean``: the value,
- ``lcb``: the value less one standard deviation (lower confidence bound),
- ``probability``: P(value beyond target) = Phi((value - target) / std) of a normal distribution.

Several objectives: the score is the mean over objectives of the fraction of rows that a row is
better than (ties count half) for ``mean`` and ``lcb``, and the product of the probabilities
(objectives taken as independent) for ``probability``. Either way a row that dominates another one
never scores below it. ``pareto_front`` is 1 for rows that no other dominates, 2 for those that only
rows of front 1 dominate, and so on (non-dominated sorting, Deb et al. 2002,
doi:10.1109/4235.996017).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from ionbridge.screening.errors import InputError
from ionbridge.screening.settings import Objective
from ionbridge.screening.table import NUMERIC_COLUMNS, STD_COLUMN, Row, with_spread
from ionbridge.structures.configuration import nearest
from ionbridge.structures.ties import ranks

TIE_SCORE = 3.7e-9
"""Rows whose scores are closer keep the order of the candidates."""
N_EXPLAINED = 50
"""Number of top rows that get a line saying why they rank there."""


def check_objectives(objectives: Sequence[Objective]) -> None:
    """Refuse an objective on a column that holds no numbers.

    Raises:
        InputError: Naming the nearest column that does.
    """
    for objective in objectives:
        if objective.column not in NUMERIC_COLUMNS:
            raise InputError(
                f"objectives: no numeric column '{objective.column}'; "
                f"{nearest(objective.column, NUMERIC_COLUMNS)}"
            )


def rank(rows: Sequence[Row], objectives: Sequence[Objective], rank_by: str) -> list[Row]:
    """The rows with rank, score, Pareto front and reason for their place; best first.

    Rows that are not ``ok``, or lack the value of an objective (NaN and infinity are none), follow
    unranked in their order.

    Args:
        rows: Rows of the table.
        objectives: What to make large or small.
        rank_by: ``mean``, ``lcb`` or ``probability``.
    """
    complete = [i for i, row in enumerate(rows) if _is_rankable(row, objectives)]
    utilities = np.array(
        [[utility(rows[i], o, rank_by) for o in objectives] for i in complete]
    ).reshape(len(complete), len(objectives))
    scores = scalarise(utilities, rank_by)
    fronts = pareto_fronts(utilities)
    likely = rank_by == "probability"  # small ones differ by their ratio
    merits = np.log(np.maximum(scores, 1e-300)) if likely else scores
    order = np.argsort(ranks(-merits, TIE_SCORE), kind="stable")
    ranked = []
    for place, k in enumerate(order, start=1):
        row = dict(rows[complete[k]])
        row.update(rank=place, score=float(scores[k]), pareto_front=int(fronts[k]))
        ranked.append(row)
    for row in ranked[:N_EXPLAINED]:
        row["why"] = explanation(row, objectives, ranked)
    chosen = set(complete)
    return ranked + [dict(row) for i, row in enumerate(rows) if i not in chosen]


ROLE_COLUMN = {
    "electrolyte": "log10_conductivity_S_cm",
    "electrode": "log10_diffusivity_cm2_s",
}
"""What a candidate of each role is ranked by among its like."""


def with_role_ranks(rows: Sequence[Row]) -> list[Row]:
    """The rows in their order, each with its place among the rows of its role.

    Electrolytes by conductivity, electrodes by diffusivity, both one standard deviation on the safe
    side; equal ones in the order of the rows.
    """
    result = [dict(row) for row in rows]
    for role, column in ROLE_COLUMN.items():
        objective = Objective(column)
        own = [row for row in result if row["role"] == role and _is_rankable(row, [objective])]
        own.sort(key=lambda row: -utility(row, objective, "lcb"))
        for place, row in enumerate(own, start=1):
            row["rank_in_role"] = place
    return result


def _is_rankable(row: Row, objectives: Sequence[Objective]) -> bool:
    values = [row.get(o.column) for o in objectives]
    return row["status"] == "ok" and all(v is not None and math.isfinite(v) for v in values)


def utility(row: Row, objective: Objective, rank_by: str) -> float:
    """One objective of one row as a number of which more is better."""
    sign = 1.0 if objective.goal == "max" else -1.0
    value = sign * float(row[objective.column])
    std = float(row.get(STD_COLUMN.get(objective.column, "")) or 0.0)
    if rank_by == "lcb":
        return value - std
    if rank_by == "probability":
        if objective.target is None:
            raise InputError(f"rank_by: probability needs a target for '{objective.column}'")
        margin = value - sign * objective.target
        return float(norm.cdf(margin / std)) if std > 0 else float(margin > 0)
    return value


def scalarise(utilities: NDArray[np.float64], rank_by: str) -> NDArray[np.float64]:
    """(n,) scores of (n, n_objectives) utilities; see the module's formulas."""
    n, n_objectives = utilities.shape
    if n_objectives == 1:
        return utilities[:, 0]
    if rank_by == "probability":
        return np.prod(utilities, axis=1)
    if n < 2:
        return np.ones(n)
    return np.mean((rankdata(utilities, axis=0) - 1.0) / (n - 1.0), axis=1)


def pareto_fronts(utilities: NDArray[np.float64]) -> NDArray[np.int_]:
    """(n,) front numbers from 1; more is better in every column of (n, n_objectives)."""
    n = len(utilities)
    if n and utilities.shape[1] == 1:
        return np.asarray(rankdata(-utilities[:, 0], method="dense"), dtype=int)
    if n and utilities.shape[1] == 2:
        return _fronts_of_two(utilities)
    # A row can only be dominated by one before it in this order, so one pass sorts it in.
    order = np.lexsort(utilities.T[::-1])[::-1]
    fronts = np.zeros(n, dtype=int)
    for position, i in enumerate(order):
        before = order[:position]
        dominates = (utilities[before] >= utilities[i]).all(1) & (
            utilities[before] > utilities[i]
        ).any(1)
        fronts[i] = 1 + max(fronts[before][dominates], default=0)
    return fronts


def _fronts_of_two(utilities: NDArray[np.float64]) -> NDArray[np.int_]:
    """The same for two columns, in n log n: of each front only its last member has to be asked.

    Rows come in falling order of both columns, so a row is dominated by the members of a front if
    the best second value among them is larger, or equal with a larger first value; equal rows share
    a front. These best values fall from front to front, so that the place is found by bisection.
    """
    order = np.lexsort(utilities.T[::-1])[::-1]
    fronts = np.zeros(len(utilities), dtype=int)
    best: list[tuple[float, float]] = []  # (minus second value, first value) of each front's best
    before: tuple[float, float] | None = None
    place = 0
    for i in order:
        first, second = float(utilities[i, 0]), float(utilities[i, 1])
        if (first, second) != before:  # an equal row stands where the one before stands
            place = bisect.bisect_right(best, -second, key=lambda held: held[0])
            # of fronts whose best second value is at least this one all dominate the row
            before = (first, second)
            if place == len(best):
                best.append((-second, first))
            else:
                best[place] = (-second, first)
        fronts[i] = place + 1
    return fronts


def explanation(row: Row, objectives: Sequence[Objective], ranked: Sequence[Row]) -> str:
    """One line that says why a row ranks where it does."""
    parts = [_standing(row, objective, ranked) for objective in objectives]
    barrier, std = row["percolation_barrier_eV"], row["percolation_barrier_std_eV"]
    dimensions = row["percolation_dimensionality"]
    along = f" {row['fast_direction']}" if row["fast_direction"] else ""
    parts.append(f"percolates in {dimensions}-D{along} at {barrier:.2f} ± {std:.2f} eV")
    if len(objectives) > 1:
        parts.append(f"Pareto front {row['pareto_front']}")
    if row["in_domain"] is False:
        parts.append("outside the domain of the model: treat with care")
    return "; ".join(parts)


def _standing(row: Row, objective: Objective, ranked: Sequence[Row]) -> str:
    """Value and spread of one objective, and its distance from the median of the pool."""
    value = float(row[objective.column])
    values = np.array([float(r[objective.column]) for r in ranked])
    difference = value - float(np.median(values))
    std = float(row.get(STD_COLUMN.get(objective.column, "")) or 0.0)
    shown, spread = with_spread(value, std)
    stated = f"{shown} ± {spread}" if std else shown
    text = f"{objective.column} {stated} ({difference:+.2g} from the pool's median)"
    if objective.target is not None:
        reached = utility(row, objective, "probability")
        text += f", P({'>' if objective.goal == 'max' else '<'} {objective.target:g}) {reached:.2f}"
    return text
