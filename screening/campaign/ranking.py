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
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ionbridge.screening.campaign.settings import Objective
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import NUMERIC_COLUMNS, STD_COLUMN, Row, with_spread
from ionbridge.structures.configuration import nearest
from ionbridge.structures.ties import ranks

TIE_SCORE = 3.7e-9
"""Rows whose scores are closer keep the order of the candidates."""
SHOWN_DIGITS = 6
"""Significant digits of a number in a table of text (`ionbridge.screening.table.written`)."""
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


@dataclass(frozen=True, eq=False)
class Ranking:
    """Where each of n rows stands: what is kept of them, so that they need not be in memory.

    Attributes:
        objectives: What was ranked by.
        rank_by: See the module.
        order: (n,) places in the given order of the rows, best first; unranked ones follow in their
            order.
        rank: (n,) 1 for the best; 0 where a row is not ranked.
        score: (n,) NaN where a row is not ranked.
        front: (n,) Pareto front from 1; 0 where a row is not ranked.
        rank_in_role: (n,) place among the rows of its role; 0 without.
        medians: Of the values of each objective.
    """

    objectives: tuple[Objective, ...]
    rank_by: str
    order: NDArray[np.intp]
    rank: NDArray[np.intp]
    score: NDArray[np.float64]
    front: NDArray[np.intp]
    rank_in_role: NDArray[np.intp]
    medians: tuple[float, ...]

    @property
    def n_ranked(self) -> int:
        """Rows that are ranked; they come first in `order`."""
        return int(np.count_nonzero(self.rank))

    def placed(self, k: int, row: Row) -> Row:
        """The k-th row as given, with rank, score, Pareto front, and reason for its place."""
        row = dict(row)
        if self.rank_in_role[k]:
            row["rank_in_role"] = int(self.rank_in_role[k])
        if self.rank[k]:
            row.update(
                rank=int(self.rank[k]),
                score=float(self.score[k]),
                pareto_front=int(self.front[k]),
            )
            if self.rank[k] <= N_EXPLAINED:
                row["why"] = explanation(row, self)
        return row


def ranking(rows: Iterable[Row], objectives: Sequence[Objective], rank_by: str) -> Ranking:
    """Rank rows that come one after the other.

    Numbers that the table shows alike (`SHOWN_DIGITS`) are equal: further digits of a network hang
    on what else was in its batch, and equal rows keep the order of the candidates.

    Rows that are not ``ok``, or lack the value of an objective (NaN and infinity are none), follow
    unranked in their order. Among the rows of its role (`ROLE_COLUMN`) a row is placed by the value
    less one standard deviation; equal ones in the order of the ranking.

    Args:
        rows: Rows of the table.
        objectives: What to make large or small.
        rank_by: ``mean``, ``lcb`` or ``probability``.
    """
    n = 0
    complete, numbers = array("q"), array("d")
    in_role = {r: (Objective(column), array("q"), array("d")) for r, column in ROLE_COLUMN.items()}
    for n, row in enumerate(rows, start=1):
        if _is_rankable(row, objectives):
            complete.append(n - 1)
            numbers.extend(number for o in objectives for number in _value_and_std(row, o.column))
        if row.get("role") in in_role:
            own, places, safe = in_role[row["role"]]
            if _is_rankable(row, [own]):
                value, std = _value_and_std(row, own.column)
                places.append(n - 1)
                safe.extend((value, std))
    at = np.array(complete, dtype=np.intp)
    known = np.array(numbers, dtype=float).reshape(len(at), len(objectives), 2)
    utilities = np.empty(known.shape[:2])
    for j, objective in enumerate(objectives):
        value, std = as_shown(known[:, j]).T
        utilities[:, j] = _utilities(value, std, objective, rank_by)
    scores = scalarise(utilities, rank_by)
    likely = rank_by == "probability"  # small ones differ by their ratio
    merits = np.log(np.maximum(scores, 1e-300)) if likely else scores
    best_first = at[np.argsort(ranks(-merits, TIE_SCORE), kind="stable")]
    rank, front, rank_in_role = (np.zeros(n, dtype=np.intp) for _ in range(3))
    score = np.full(n, np.nan)
    rank[best_first] = np.arange(1, len(at) + 1)
    score[at], front[at] = scores, pareto_fronts(utilities)
    order = np.concatenate([best_first, np.flatnonzero(rank == 0)])
    place = np.empty(n, dtype=np.intp)
    place[order] = np.arange(n)
    for _, places, safe in in_role.values():
        own_at = np.array(places, dtype=np.intp)
        own_value, own_std = as_shown(np.array(safe).reshape(-1, 2)).T
        sorted_at = own_at[np.lexsort((place[own_at], own_std - own_value))]
        rank_in_role[sorted_at] = np.arange(1, len(own_at) + 1)
    medians = tuple(np.median(known[:, :, 0], axis=0).tolist()) if len(at) else ()
    return Ranking(tuple(objectives), rank_by, order, rank, score, front, rank_in_role, medians)


def as_shown(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers rounded to the SHOWN_DIGITS that a table of text gives them."""
    size = np.abs(values)
    first = np.floor(np.log10(size, out=np.zeros_like(size), where=size > 0))
    scale = 10.0 ** np.clip(SHOWN_DIGITS - 1 - first, -300, 300)
    return np.asarray(np.round(values * scale) / scale)


def rank(rows: Sequence[Row], objectives: Sequence[Objective], rank_by: str) -> list[Row]:
    """Rows that are in memory with their places, best first; see :func:`ranking`."""
    found = ranking(rows, objectives, rank_by)
    return [found.placed(k, rows[k]) for k in found.order.tolist()]


ROLE_COLUMN = {
    "electrolyte": "log10_conductivity_S_cm",
    "electrode": "log10_diffusivity_cm2_s",
}
"""What a candidate of each role is ranked by among its like."""


def _is_rankable(row: Row, objectives: Sequence[Objective]) -> bool:
    values = [row.get(o.column) for o in objectives]
    return row["status"] == "ok" and all(v is not None and math.isfinite(v) for v in values)


def _value_and_std(row: Row, column: str) -> tuple[float, float]:
    return float(row[column]), float(row.get(STD_COLUMN.get(column, "")) or 0.0)


def utility(row: Row, objective: Objective, rank_by: str) -> float:
    """One objective of one row as a number of which more is better."""
    value, std = _value_and_std(row, objective.column)
    return float(_utilities(np.array([value]), np.array([std]), objective, rank_by)[0])


def _utilities(
    value: NDArray[np.float64], std: NDArray[np.float64], objective: Objective, rank_by: str
) -> NDArray[np.float64]:
    """(n,) numbers of which more is better, from (n,) values and their spreads."""
    sign = 1.0 if objective.goal == "max" else -1.0
    if rank_by == "lcb":
        return sign * value - std
    if rank_by == "probability":
        if objective.target is None:
            raise InputError(f"rank_by: probability needs a target for '{objective.column}'")
        margin = sign * (value - objective.target)
        spread = np.where(std > 0, std, 1.0)
        return np.where(std > 0, ndtr(margin / spread), margin > 0)
    return sign * value


def scalarise(utilities: NDArray[np.float64], rank_by: str) -> NDArray[np.float64]:
    """(n,) scores of (n, n_objectives) utilities; see the module's formulas."""
    n, n_objectives = utilities.shape
    if n_objectives == 1:
        return utilities[:, 0]
    if rank_by == "probability":
        return np.asarray(np.prod(utilities, axis=1), dtype=float)
    if n < 2:
        return np.ones(n)
    from scipy.stats import rankdata  # a second that one objective does not need

    found: NDArray[np.float64] = np.mean((rankdata(utilities, axis=0) - 1.0) / (n - 1.0), axis=1)
    return found


def pareto_fronts(utilities: NDArray[np.float64]) -> NDArray[np.int_]:
    """(n,) front numbers from 1; more is better in every column of (n, n_objectives)."""
    n = len(utilities)
    if n and utilities.shape[1] == 1:
        return np.asarray(np.unique(-utilities[:, 0], return_inverse=True)[1] + 1, dtype=int)
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


def explanation(row: Row, ranking: Ranking) -> str:
    """One line that says why a row ranks where it does."""
    parts = [
        _standing(row, objective, median)
        for objective, median in zip(ranking.objectives, ranking.medians, strict=True)
    ]
    barrier, std = row["percolation_barrier_eV"], row["percolation_barrier_std_eV"]
    if barrier is not None:  # else the composition alone speaks
        dimensions = row["percolation_dimensionality"]
        along = f" {row['fast_direction']}" if row["fast_direction"] else ""
        parts.append(f"percolates in {dimensions}-D{along} at {barrier:.2f} ± {std:.2f} eV")
    if len(ranking.objectives) > 1:
        parts.append(f"Pareto front {row['pareto_front']}")
    if row["in_domain"] is False:
        parts.append("outside the domain of the model: treat with care")
    return "; ".join(parts)


def _standing(row: Row, objective: Objective, median: float) -> str:
    """Value and spread of one objective, and its distance from the median of the pool."""
    value = float(row[objective.column])
    std = float(row.get(STD_COLUMN.get(objective.column, "")) or 0.0)
    shown, spread = with_spread(value, std)
    stated = f"{shown} ± {spread}" if std else shown
    text = f"{objective.column} {stated} ({value - median:+.2g} from the pool's median)"
    if objective.target is not None:
        reached = utility(row, objective, "probability")
        text += f", P({'>' if objective.goal == 'max' else '<'} {objective.target:g}) {reached:.2f}"
    return text
