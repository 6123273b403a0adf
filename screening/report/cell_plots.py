"""Plots of the cell stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from ionbridge.screening.report.style import GREY, INK, SERIES, new_figure, plain
from ionbridge.screening.table import Row

if TYPE_CHECKING:
    from ionbridge.screening.cell.stage import Response

SHOWN_KPIS = {
    "specific_energy": "specific energy",
    "capacity_retained_1C": "capacity at 1C",
    "capacity_retained_3C": "capacity at 3C",
    "pulse_power": "pulse power",
}
AXIS = {
    "electrode": ("log<sub>10</sub> diffusivity in the cathode (cm²/s)", 4.0),
    "electrolyte": ("log<sub>10</sub> conductivity of the electrolyte (S/cm)", -2.0),
}
"""Role -> axis label, and decades from SI to the unit shown."""
N_CURVES = 6


def discharge_curves(
    curves: Mapping[str, Mapping[str, Sequence[float]]], base_cell: str | None = None
) -> go.Figure:
    """Voltage against charge: the best candidates, and the base cell dashed.

    Args:
        curves: Name -> ``charge_Ah`` and ``voltage_V``, best first; ``cell_curves.json`` of a
            campaign.
        base_cell: Name of the base cell among them.
    """
    figure = new_figure("discharged charge (Ah)", "voltage (V)", height=400)
    candidates = [name for name in curves if name != base_cell][:N_CURVES]
    lines = [(name, {"color": SERIES[k], "width": 2}) for k, name in enumerate(candidates)]
    if base_cell in curves:
        lines.append((str(base_cell), {"color": INK, "width": 2, "dash": "dash"}))
    for name, line in lines:
        figure.add_scatter(
            x=np.asarray(curves[name]["charge_Ah"], dtype=np.float32),
            y=np.asarray(curves[name]["voltage_V"], dtype=np.float32),
            mode="lines",
            name=plain(name),
            line=line,
        )
    return figure


def sensitivity(role: str, response: Response, rows: Sequence[Row]) -> go.Figure:
    """Figures of merit against the transport property: where a better material stops mattering.

    Args:
        role: ``electrode`` or ``electrolyte``.
        response: Figures of merit on a grid of the property.
        rows: Candidates; those of this role are marked on the axis.
    """
    name, shift = AXIS[role]
    figure = new_figure(name, "share of the best possible", height=400)
    x = response.log10 + shift
    for (kpi, title), color in zip(SHOWN_KPIS.items(), SERIES, strict=False):
        values = np.asarray(response.kpis[kpi])
        top = float(np.nanmax(values))
        if top > 0:
            figure.add_scatter(x=x, y=values / top, mode="lines", name=title, line={"color": color})
    own = [
        (plain(str(row["candidate_id"])), float(np.log10(row["cell_value"])) + shift)
        for row in rows
        if row.get("cell_status") == "ok" and row["cell_value_kind"].endswith(response.parameter)
    ]
    inside = [(id, value) for id, value in own if x[0] <= value <= x[-1]]
    figure.add_scatter(
        x=[value for _, value in inside],
        y=[0.0] * len(inside),
        mode="markers",
        name="candidates",
        marker={"symbol": "line-ns", "size": 12, "line": {"width": 2, "color": GREY}},
        customdata=[id for id, _ in inside],
        hovertemplate="%{customdata}<extra></extra>",
    )
    return figure
