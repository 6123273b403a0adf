"""Plots of what was predicted, as plotly figures: the same ones in a notebook and in a report.

    import ionbridge as ib

    results = ib.Campaign("campaign.yaml").run("results/mine").results
    ib.plots.ranking(results).show()
    ib.plots.hop_network("LiFePO4.cif").show()

A table is a DataFrame with the columns of ``ranked.csv`` (`Campaign.results`, `predict`), or its
rows. Colours are told apart by the colour-blind (Okabe and Ito, https://jfly.uni-koeln.de/color/)
and seen on light and dark ground; what lies outside the domain of a model is drawn open.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ionbridge.models.library import card, find
from ionbridge.models.metrics import spearman
from ionbridge.models.validation import GROUPED, label_of, read_validation
from ionbridge.screening.campaign.ranking import ROLE_COLUMN, pareto_fronts
from ionbridge.screening.prediction.estimate import REFERENCE_SOURCE
from ionbridge.screening.report.cell_plots import discharge_curves, sensitivity
from ionbridge.screening.report.network_plot import barrier_along_path, hop_network
from ionbridge.screening.report.style import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    axis_label,
    new_figure,
    plain,
    subscripts,
    titled,
)
from ionbridge.screening.table import STD_COLUMN, Row, with_spread
from ionbridge.structures.quantities import QUANTITIES

__all__ = [
    "against_barrier",
    "against_measured",
    "against_stability",
    "barrier_along_path",
    "by_family",
    "discharge_curves",
    "hop_network",
    "ranking",
    "sensitivity",
    "validation",
]

Table = pd.DataFrame | Sequence[Row]

CONDUCTIVITY = QUANTITIES["conductivity"].column
MEASURED = "measured_log10_conductivity_S_cm"
HULL = QUANTITIES["energy_above_hull"].column
BARRIER = QUANTITIES["percolation_barrier"].column

DIMENSION_COLORS = {0: GREY, 1: ORANGE, 2: PURPLE, 3: BLUE}
N_FAMILIES = 32
N_TOP = 25
N_DRAWN = 5000
"""Points of one group that a browser draws with ease."""
LOWEST_SHOWN = -30.0
"""Decades below this are drawn at the edge: nobody compares diffusivities of 1e-40 cm^2/s."""
ION_COLORS = {"Li": BLUE, "Na": ORANGE, "K": PURPLE, "Mg": AMBER}
VALIDATED = {
    "conduction": (axis_label(CONDUCTIVITY), "decades"),
    "conductivity": (axis_label(CONDUCTIVITY), "decades"),
    "migration_barrier": (axis_label(QUANTITIES["migration_barrier"].column), "eV"),
}
"""Quantity of a model -> axis label, and unit of its errors."""


def ranking(table: Table, column: str = CONDUCTIVITY, n_top: int = N_TOP) -> go.Figure:
    """The first rows of a table with one standard deviation.

    Args:
        table: Best first; rows without the value are passed over.
        column: A numeric column of ``ranked.csv``.
        n_top: Number of rows.
    """
    top = _with(table, column)[:n_top]
    figure = new_figure(f"{axis_label(column)} ± 1σ", "", height=110 + 21 * max(len(top), 3))
    for name, color, rows in _by_kind(top):
        figure.add_scatter(
            x=[_clipped(row, column) for row in rows],
            y=[top.index(row) for row in rows],
            error_x={"array": [_std(row, column) for row in rows], "thickness": 1.4, "width": 3},
            name=name,
            mode="markers",
            marker={"color": color, "size": 8, "symbol": [_symbol(row) for row in rows]},
            **_hover(rows, column),
        )
    figure.update_yaxes(
        tickvals=list(range(len(top))),
        ticktext=[f"{k}  {subscripts(row['formula'])}" for k, row in enumerate(top, start=1)],
        range=[len(top) - 0.5, -0.5],
    )
    return figure


def by_family(table: Table, column: str = CONDUCTIVITY) -> go.Figure:
    """Median, quartiles, and the span from 5 to 95 % of a column in each family, by median.

    Args:
        table: Rows, in any order.
        column: A numeric column of ``ranked.csv``.
    """
    groups: dict[str, list[float]] = defaultdict(list)
    for row in _with(table, column):
        groups[row["family"] or "unknown"].append(_clipped(row, column))
    names = sorted(groups, key=lambda name: -len(groups[name]))[:N_FAMILIES]
    names.sort(key=lambda name: float(np.median(groups[name])))
    figure = new_figure(axis_label(column), "", height=110 + 19 * max(len(names), 3))
    quantiles = np.array(
        [np.quantile(groups[name], [0.05, 0.25, 0.5, 0.75, 0.95]) for name in names]
    ).reshape(-1, 5)
    median = quantiles[:, 2]
    spans = (("5 to 95 %", 0, 4, 1.5, GREY), ("quartiles", 1, 3, 8.0, BLUE))
    for span, low, high, width, color in spans:
        figure.add_scatter(
            x=median,
            y=list(range(len(names))),
            error_x={
                "array": quantiles[:, high] - median,
                "arrayminus": median - quantiles[:, low],
                "thickness": width,
                "width": 0,
                "color": color,
            },
            mode="markers",
            name=span,
            marker={"color": color, "size": 6},
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=median,
        y=list(range(len(names))),
        mode="markers",
        name="median",
        marker={"symbol": "line-ns", "size": 13, "line": {"width": 3, "color": AMBER}},
        customdata=[
            [plain(name), len(groups[name]), *map(float, q)]
            for name, q in zip(names, quantiles, strict=True)
        ],
        hovertemplate="<b>%{customdata[0]}</b>, %{customdata[1]} rows<br>median %{x:.2f}, quartiles"
        " %{customdata[3]:.2f} to %{customdata[5]:.2f}<extra></extra>",
    )
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[f"{plain(name)} ({len(groups[name])})" for name in names],
        range=[-0.7, len(names) - 0.3],
    )
    return figure


def against_barrier(table: Table, column: str = CONDUCTIVITY) -> go.Figure:
    """A column against the percolation barrier, coloured by the directions that percolate.

    Args:
        table: Rows, in any order.
        column: A numeric column of ``ranked.csv``.
    """
    rows = [row for row in _with(table, column) if row.get(BARRIER) is not None]
    figure = new_figure(axis_label(BARRIER), axis_label(column))
    figure.update_layout(legend_title_text="percolates in")
    for dimension, color in DIMENSION_COLORS.items():
        own = [row for row in rows if row["percolation_dimensionality"] == dimension]
        if own:
            figure.add_scatter(**_group(own, BARRIER, column, f"{dimension}-D", color))
    return _with_references(figure, rows, BARRIER, column)


def against_stability(table: Table, role: str = "electrolyte") -> go.Figure:
    """Conductivity (electrolytes) or diffusivity (electrodes) against energy above hull.

    Rows that no other beats in both (the Pareto front of the values) are joined, and drawn with one
    standard deviation either way.

    Args:
        table: Rows, in any order; those of other roles are passed over.
        role: ``electrolyte`` or ``electrode``.
    """
    column = ROLE_COLUMN[role]
    rows = [r for r in _with(table, column) if r["role"] == role and r.get(HULL) is not None]
    figure = new_figure(axis_label(HULL), axis_label(column))
    for inside, color in ((True, BLUE), (False, GREY)):
        own = [row for row in rows if (row["in_domain"] is not False) == inside]
        if own:
            name = f"{'in' if inside else 'outside'} the domain"
            figure.add_scatter(**_group(own, HULL, column, name, color))
    utilities = np.array([[float(r[column]), -float(r[HULL])] for r in rows]).reshape(-1, 2)
    best = [row for row, f in zip(rows, pareto_fronts(utilities), strict=True) if f == 1]
    best.sort(key=lambda row: float(row[HULL]))
    if best:
        front = _points(best, HULL, column, "Pareto front ± 1σ", GREEN)
        for axis, name in (("error_x", HULL), ("error_y", column)):
            front[axis] = {"array": [_std(row, name) for row in best], "thickness": 1, "width": 2}
        front |= {"mode": "lines+markers", "line": {"width": 1, "dash": "dot", "shape": "hv"}}
        front["marker"] |= {"size": 9, "opacity": 1.0}
        figure.add_scatter(**front)
    return _with_references(figure, rows, HULL, column)


def against_measured(table: Table) -> go.Figure:
    """Predicted against measured conductivity of the known conductors, with their rank correlation.

    Args:
        table: Rows; those with a measured value are drawn, its source is shown on hovering.
    """
    rows = [row for row in _with(table, CONDUCTIVITY) if row.get(MEASURED) is not None]
    figure = new_figure(
        f"measured {axis_label(CONDUCTIVITY)}", f"predicted {axis_label(CONDUCTIVITY)}"
    )
    if not rows:
        return figure
    both = np.array([[float(row[c]) for c in (MEASURED, CONDUCTIVITY)] for row in rows])
    _add_diagonal(figure, both, 1.0, "within one decade")
    figure.add_scatter(
        x=both[:, 0],
        y=both[:, 1],
        error_y={"array": [_std(row, CONDUCTIVITY) for row in rows], "thickness": 1, "width": 2},
        mode="markers",
        name="known conductors ± 1σ",
        marker={"color": ORANGE, "size": 9, "symbol": [_symbol(row) for row in rows]},
        customdata=[
            [plain(str(row["candidate_id"])), plain(str(row["measured_source"] or ""))]
            for row in rows
        ],
        hovertemplate="<b>%{customdata[0]}</b><br>measured %{x:.2f} (%{customdata[1]})<br>"
        "predicted %{y:.2f}<extra></extra>",
    )
    correlation = spearman(both[:, 0], both[:, 1]) if len(rows) > 2 else math.nan
    if math.isfinite(correlation):
        titled(figure, f"rank correlation {correlation:.2f} ({len(rows)} rows)")
    return figure


def validation(model: str) -> go.Figure:
    """What a model predicted for labelled rows that it had not seen, against their labels.

    Args:
        model: Name of a shipped model or a model folder, with validation rows beside its card.

    Raises:
        ValueError: The model has no validation rows, or they are of no quantity that is drawn.
    """
    quantity = str(card(model).get("quantity", "migration_barrier"))
    rows = read_validation(find(model)).get(GROUPED, [])
    labels = [label_of(row) for row in rows]
    known = [(row, label) for row, label in zip(rows, labels, strict=True) if label is not None]
    if quantity not in VALIDATED or not known:
        raise ValueError(f"{model}: no validation rows to draw")
    name, unit = VALIDATED[quantity]
    figure = new_figure(f"label: {name}", f"out of fold: {name}")
    both = np.array([[label, row.prediction] for row, label in known])
    errors = np.abs(both[:, 1] - both[:, 0])
    _add_diagonal(figure, both, float(np.median(errors)), "half of the errors")
    for ion, color in {**ION_COLORS, "others": GREY}.items():
        own = [k for k, (row, _) in enumerate(known) if _ion_group(row.working_ion) == ion]
        if not own:
            continue
        figure.add_scatter(
            x=both[own, 0],
            y=both[own, 1],
            mode="markers",
            name=f"{ion} ({len(own)})",
            marker={"color": color, "size": 5, "opacity": 0.6},
            customdata=[plain(f"{known[k][0].id} {known[k][0].family}") for k in own],
            hovertemplate="%{customdata}<br>label %{x:.2f}, predicted %{y:.2f}<extra></extra>",
        )
    correlation = spearman(both[:, 0], both[:, 1])
    return titled(
        figure,
        f"mean error {errors.mean():.2f} {unit}, rank correlation {correlation:.2f} "
        f"({len(known)} rows)",
    )


def _ion_group(ion: str) -> str:
    return ion if ion in ION_COLORS else "others"


def rows_of(table: Table) -> list[Row]:
    """The rows of a table; what a DataFrame lacks is None."""
    if not isinstance(table, pd.DataFrame):
        return list(table)
    whole = table.astype(object).where(table.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in whole.to_dict("records")]


def _with(table: Table, column: str) -> list[Row]:
    """Rows that have the value."""
    rows = rows_of(table)
    if rows and column not in rows[0]:
        raise ValueError(f"no column {column!r} in this table")
    return [r for r in rows if r.get("status") == "ok" and r.get(column) is not None]


def _by_kind(rows: Sequence[Row]) -> list[tuple[str, str, list[Row]]]:
    """Candidates and references apart, with name and colour; no empty ones."""
    kinds: list[tuple[str, str, list[Row]]] = [("candidates", BLUE, []), ("references", ORANGE, [])]
    for row in rows:
        kinds[row.get("source") == REFERENCE_SOURCE][2].append(row)
    return [kind for kind in kinds if kind[2]]


def _group(rows: Sequence[Row], x: str, y: str, name: str, color: str) -> dict[str, Any]:
    """A scatter of the first of many rows, their number in its name."""
    n = len(rows)
    counted = f"{name} ({n if n <= N_DRAWN else f'first {N_DRAWN} of {n}'})"
    return _points(rows[:N_DRAWN], x, y, counted, color)


def _points(rows: Sequence[Row], x: str, y: str, name: str, color: str) -> dict[str, Any]:
    """A scatter of rows."""
    return {
        "x": [float(row[x]) for row in rows],
        "y": [_clipped(row, y) for row in rows],
        "name": name,
        "mode": "markers",
        "marker": {
            "color": color,
            "size": 5,
            "opacity": 0.65,
            "symbol": [_symbol(row) for row in rows],
        },
        **_hover(rows, y, x),
    }


def _with_references(figure: go.Figure, rows: Sequence[Row], x: str, y: str) -> go.Figure:
    """The figure with the well-known crystals of a campaign marked."""
    own = [row for row in rows if row.get("source") == REFERENCE_SOURCE]
    if own:
        marked = _group(own, x, y, "references", ORANGE)
        marked["marker"] |= {"size": 9, "opacity": 1.0}
        symbols = marked["marker"]["symbol"]
        marked["marker"]["symbol"] = [symbol.replace("circle", "diamond") for symbol in symbols]
        figure.add_scatter(**marked)
    return figure


def _hover(rows: Sequence[Row], y: str, x: str | None = None) -> dict[str, Any]:
    """What a point says: formula, id, and its values with their spread."""
    shown = [y] if x is None else [y, x]
    data = [
        [
            subscripts(row["formula"]),
            plain(str(row["candidate_id"])),
            *(_with_std(row, c) for c in shown),
        ]
        for row in rows
    ]
    lines = [f"{axis_label(c)}: %{{customdata[{k}]}}" for k, c in enumerate(shown, start=2)]
    head = "<b>%{customdata[0]}</b> %{customdata[1]}"
    return {"customdata": data, "hovertemplate": "<br>".join([head, *lines]) + "<extra></extra>"}


def _with_std(row: Row, column: str) -> str:
    value, std = with_spread(float(row[column]), _std(row, column))
    return f"{value} ± {std}" if std != "0" else value


def _clipped(row: Row, column: str) -> float:
    return max(float(row[column]), LOWEST_SHOWN)


def _std(row: Row, column: str) -> float:
    return float(row.get(STD_COLUMN.get(column, "")) or 0.0)


def _symbol(row: Row) -> str:
    return "circle-open" if row.get("in_domain") is False else "circle"


def _add_diagonal(figure: go.Figure, both: np.ndarray, band: float, name: str) -> None:
    """The line of equal values, and a band around it."""
    ends = np.array([both.min() - 0.04 * np.ptp(both), both.max() + 0.04 * np.ptp(both)])
    figure.add_scatter(
        x=np.concatenate([ends, ends[::-1]]),
        y=np.concatenate([ends - band, ends[::-1] + band]),
        fill="toself",
        mode="none",
        fillcolor="rgba(128,128,128,0.18)",
        name=name,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": INK, "width": 1},
        name="equal",
        hoverinfo="skip",
    )
