"""How the plots look: colours, labels of axes, formulas."""

from __future__ import annotations

import html
import re

import plotly.graph_objects as go

from ionbridge.structures.quantities import LOG10, UNITS, split

BLUE, ORANGE, PURPLE, AMBER, GREY = "#0072B2", "#D55E00", "#B0609A", "#E69F00", "#8A939C"
"""After Okabe and Ito, whose colours the colour-blind tell apart."""
INK = "#7A828A"
"""Lines that belong to no series, seen on light and dark ground."""
GREEN = "#009E73"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, AMBER, "#56B4E9")
BAR = {"bgcolor": "rgba(0,0,0,0)", "color": INK, "activecolor": BLUE}
"""The buttons over a plot."""

AMOUNT = re.compile(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)")
"""How many of an element or a group there are."""


RAISED = str.maketrans("23-", "²³⁻")
"""Digits and sign of an exponent in a unit."""


def axis_label(column: str) -> str:
    """What a column is called on an axis, with its unit."""
    stem, end = split(column)
    name = stem.replace(LOG10, "").replace("_", " ")
    log10 = "log<sub>10</sub> " if LOG10 in stem else ""
    unit = UNITS.get(end, "").translate(RAISED).replace("^", "")
    return f"{log10}{name} ({unit})" if unit else f"{log10}{name}"


def plain(text: str) -> str:
    """A text as HTML that shows it; quotes stay, which plotly would not read back."""
    return html.escape(text, quote=False)


def subscripts(formula: str | None) -> str:
    """A formula as HTML with its amounts below the line; anything else in it is escaped."""
    return AMOUNT.sub(r"<sub>\1</sub>", plain(formula or ""))


def new_figure(x: str, y: str, height: int = 440) -> go.Figure:
    """A figure with labelled axes in the style of the report.

    Args:
        x: Label of the horizontal axis, unit included.
        y: Of the vertical one.
        height: In pixels.
    """
    lines = {
        "gridcolor": "rgba(128,128,128,0.22)",
        "zeroline": False,
        "linecolor": "rgba(128,128,128,0.6)",
        "automargin": True,
    }
    return go.Figure(
        layout={
            "template": "none",
            "height": height,
            "font": {"size": 12, "family": "system-ui, sans-serif"},
            "title": {"font": {"size": 13}, "x": 0.02, "y": 0.985, "yanchor": "top"},
            "margin": {"l": 60, "r": 12, "t": 44, "b": 48},
            "modebar": BAR,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": SERIES,
            "hoverlabel": {"align": "left"},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": {"title": {"text": x}, **lines},
            "yaxis": {"title": {"text": y}, **lines},
        }
    )


def titled(figure: go.Figure, text: str) -> go.Figure:
    """The figure with a line above it, and room for that."""
    return figure.update_layout(title_text=text, margin_t=66)
