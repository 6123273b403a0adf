"""Plots of the cell stage as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ionbridge.screening.report.plots import BLUE, GREY, INK, ORANGE, new_axes, to_svg
from ionbridge.screening.table import Row

if TYPE_CHECKING:
    from ionbridge.screening.cell.stage import Response

SHOWN_KPIS = {
    "specific_energy": "specific energy",
    "capacity_retained_1C": "capacity at 1C",
    "capacity_retained_3C": "capacity at 3C",
    "pulse_power": "pulse power",
}
COLORS = (INK, BLUE, ORANGE, "#7a5fb0")
AXIS = {
    "electrode": ("log$_{10}$ diffusivity in the cathode (cm²/s)", 4.0),
    "electrolyte": ("log$_{10}$ conductivity of the electrolyte (S/cm)", -2.0),
}
"""Role -> axis label, and decades from SI to the unit shown."""
N_CURVES = 6


def discharge_curves(curves: Mapping[str, Mapping[str, Sequence[float]]], base_cell: str) -> str:
    """Voltage against charge: the base cell dashed, the best candidates in colour.

    Args:
        curves: Name -> ``charge_Ah`` and ``voltage_V``, best first.
        base_cell: Name of the base cell among them.
    """
    figure, axes = new_axes(6.4, 3.6)
    candidates = [name for name in curves if name != base_cell][:N_CURVES]
    for k, name in enumerate(candidates):
        color = f"C{k}"
        axes.plot(
            curves[name]["charge_Ah"], curves[name]["voltage_V"], lw=1.5, color=color, label=name
        )
    if base_cell in curves:
        own = curves[base_cell]
        axes.plot(own["charge_Ah"], own["voltage_V"], "--", lw=1.5, color=INK, label=base_cell)
    axes.set_xlabel("discharged charge (Ah)")
    axes.set_ylabel("voltage (V)")
    if curves:
        axes.legend(fontsize=7.5, frameon=False, loc="lower left")
    return to_svg(figure, "discharge curves of the best candidates at 1C")


def sensitivity(role: str, response: Response, rows: Sequence[Row]) -> str:
    """Figures of merit against the transport property: where a better material stops mattering.

    Args:
        role: ``electrode`` or ``electrolyte``.
        response: Figures of merit on a grid of the property.
        rows: Candidates; those of this role are marked on the axis.
    """
    name, shift = AXIS[role]
    figure, axes = new_axes(6.4, 3.6)
    x = response.log10 + shift
    for (kpi, title), color in zip(SHOWN_KPIS.items(), COLORS, strict=True):
        values = np.asarray(response.kpis[kpi])
        top = float(np.nanmax(values))
        if top > 0:
            axes.plot(x, values / top, lw=1.5, color=color, label=title)
    own = [
        float(np.log10(row["cell_value"])) + shift
        for row in rows
        if row.get("cell_status") == "ok" and row["cell_value_kind"].endswith(response.parameter)
    ]
    inside = [value for value in own if x[0] <= value <= x[-1]]
    axes.plot(inside, [0.0] * len(inside), "|", color=GREY, ms=9, label="candidates")
    axes.set_xlabel(name)
    axes.set_ylabel("share of the best possible")
    axes.legend(fontsize=7.5, frameon=False, loc="center right")
    return to_svg(figure, f"sensitivity of the cell to the {role}")
