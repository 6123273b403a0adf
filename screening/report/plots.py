"""Plots of a ranked table as inline SVG."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ionbridge.screening.candidates import REFERENCE_SOURCE
from ionbridge.screening.table import STD_COLUMN, Row

BLUE, ORANGE, GREY, INK = "#2f6db3", "#d9722e", "#9aa3ad", "#22272e"
DIMENSION_COLORS = {0: GREY, 1: "#d9722e", 2: "#7a5fb0", 3: "#2f6db3"}
LABELS = {
    "log10_diffusivity_cm2_s": "log$_{10}$ diffusivity of one carrier (cm²/s)",
    "log10_conductivity_S_cm": "log$_{10}$ conductivity (S/cm)",
    "percolation_barrier_eV": "percolation barrier (eV)",
}
N_FAMILIES = 32
N_TOP = 25
LABEL_WIDTH, LABEL_HEIGHT = 0.17, 0.045
"""Size of a name on a plot, as a share of its axes."""
LOWEST_SHOWN = -30.0
"""Decades below this are drawn at the edge: nobody compares diffusivities of 1e-40 cm^2/s."""


def label(column: str) -> str:
    """Axis label of a column."""
    return LABELS.get(column, column.replace("_", " "))


def by_family(rows: Sequence[Row], column: str) -> str:
    """Distribution of a column in each family, the families ordered by their median."""
    groups: dict[str, list[float]] = defaultdict(list)
    for row in _with(rows, column):
        groups[row["family"] or "unknown"].append(max(float(row[column]), LOWEST_SHOWN))
    names = sorted(groups, key=lambda name: -len(groups[name]))[:N_FAMILIES]
    names.sort(key=lambda name: float(np.median(groups[name])))
    figure, axes = new_axes(7.2, 0.8 + 0.24 * max(len(names), 3))
    if names:
        drawn = axes.boxplot(
            [groups[name] for name in names],
            orientation="horizontal",
            widths=0.6,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            medianprops={"color": INK},
        )
        for box in drawn["boxes"]:
            box.set(facecolor="#cfe0f3", edgecolor=BLUE)
        axes.set_yticks(
            range(1, len(names) + 1), [f"{name} ({len(groups[name])})" for name in names]
        )
    axes.set_xlabel(label(column))
    return to_svg(figure, f"distribution of {column} by family")


def top_candidates(rows: Sequence[Row], column: str) -> str:
    """The first rows with one standard deviation, references in orange."""
    top = _with(rows, column)[:N_TOP]
    figure, axes = new_axes(7.2, 0.8 + 0.24 * max(len(top), 3))
    for place, row in enumerate(top):
        std = float(row.get(STD_COLUMN.get(column, "")) or 0.0)
        axes.errorbar(
            float(row[column]),
            place,
            xerr=std,
            fmt="o",
            ms=4,
            lw=1.2,
            capsize=2,
            color=ORANGE if row["source"] == REFERENCE_SOURCE else BLUE,
        )
    axes.set_yticks(range(len(top)), [f"{r['rank']}  {r['formula']}" for r in top])
    axes.invert_yaxis()
    axes.set_xlabel(f"{label(column)} ± 1σ")
    return to_svg(figure, "best candidates with their spread")


def barrier_against(rows: Sequence[Row], column: str) -> str:
    """Percolation barrier against a column, coloured by dimensionality; references named."""
    figure, axes = new_axes(7.2, 4.6)
    shown = [r for r in _with(rows, column) if r["percolation_barrier_eV"] is not None]
    for dimension, color in DIMENSION_COLORS.items():
        points = [
            (float(r["percolation_barrier_eV"]), max(float(r[column]), LOWEST_SHOWN))
            for r in shown
            if r["percolation_dimensionality"] == dimension
        ]
        if points:
            x, y = np.array(points).T
            axes.plot(x, y, ".", ms=4, alpha=0.5, color=color, label=f"{dimension}-D")
    references = [row for row in shown if row["source"] == REFERENCE_SOURCE]
    points = [
        (float(row["percolation_barrier_eV"]), max(float(row[column]), LOWEST_SHOWN))
        for row in references
    ]
    for point in points:
        axes.plot(*point, "D", ms=5, color=ORANGE, mec=INK, mew=0.6, zorder=3)
    for k in apart(points, axes.get_xlim(), axes.get_ylim()):
        axes.annotate(
            _subscripts(references[k]["formula"]),
            points[k],
            xytext=(7, 3),
            textcoords="offset points",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
            zorder=4,
        )
    if shown:
        axes.legend(frameon=False, title="percolates in")
    axes.set_xlabel(label("percolation_barrier_eV"))
    axes.set_ylabel(label(column))
    return to_svg(figure, f"percolation barrier against {column}")


def apart(
    points: Sequence[tuple[float, float]], x_range: Sequence[float], y_range: Sequence[float]
) -> list[int]:
    """Indices of points that can be named without writing over each other, first come first."""
    chosen: list[int] = []
    size = np.array([LABEL_WIDTH, LABEL_HEIGHT])
    span = np.array([x_range[1] - x_range[0], y_range[1] - y_range[0]])
    placed = np.array(points).reshape(-1, 2) / span
    for k in range(len(points)):
        if all((np.abs(placed[k] - placed[j]) > size).any() for j in chosen):
            chosen.append(k)
    return chosen


def dimension_counts(rows: Sequence[Row]) -> str:
    """How many rows percolate in how many directions."""
    counts = [
        sum(r["percolation_dimensionality"] == d for r in rows if r["status"] == "ok")
        for d in (1, 2, 3)
    ]
    figure, axes = new_axes(3.6, 2.6)
    bars = axes.bar(
        ["1-D", "2-D", "3-D"], counts, color=[DIMENSION_COLORS[d] for d in (1, 2, 3)], width=0.6
    )
    axes.bar_label(bars)
    axes.margins(y=0.15)
    axes.set_ylabel("candidates")
    return to_svg(figure, "candidates by percolation dimensionality")


def _with(rows: Sequence[Row], column: str) -> list[Row]:
    return [r for r in rows if r["status"] == "ok" and r.get(column) is not None]


def _subscripts(formula: str) -> str:
    """A formula in mathtext."""
    return re.sub(r"(\d+(?:\.\d+)?)", r"$_{\1}$", formula)


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches in the style of the report."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    axes.grid(axis="x", color="#e6e9ec", lw=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def to_svg(figure: Figure, title: str) -> str:
    """The figure as an SVG element without date, so that equal tables give equal pages."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
