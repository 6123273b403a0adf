"""A plot of the mean squared displacement with its uncertainty and fit, and of D over 1/T."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ionbridge.structures.transport.closed_forms import arrhenius

SIGMAS = 1.96
Label = Mapping[str, Any]


def write_plot(path: Path, labels: Sequence[Label], fit: Label | None, title: str) -> None:
    """Write a PNG.

    Args:
        path: The file.
        labels: One for each temperature, as
            `ionbridge.screening.labelling.dynamics.diffusion_label.motion` gives.
        fit: Arrhenius label where there is one; its plot stands beside.
        title: Above the plot.
    """
    both = fit is not None and fit["status"] == "ok"
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False}):
        figure = Figure(figsize=(9.6 if both else 5.2, 3.8), layout="constrained")
        axes = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
        _draw_msd(axes[0], labels)
        axes[0].set_title(title, fontsize=9)
        if both and fit is not None:
            _draw_arrhenius(axes[1], labels, fit)
        figure.savefig(path, dpi=150)


def _draw_msd(axes: Axes, labels: Sequence[Label]) -> None:
    for label in labels:
        curve = {key: np.array(values, float) for key, values in label["msd_curve"].items()}
        if not len(curve["lag_ps"]):
            continue
        D = label["tracer_diffusivity_cm2_s"]
        text = f"{label['temperature_K']:g} K: " + (
            f"D = {D:.1e} [{label['tracer_diffusivity_cm2_s_lower']:.1e}, "
            f"{label['tracer_diffusivity_cm2_s_upper']:.1e}] cm²/s"
            if D is not None
            else "no diffusivity quoted"
        )
        band = axes.errorbar(
            curve["lag_ps"],
            curve["msd_A2"],
            SIGMAS * curve["msd_std_A2"],
            fmt="o",
            markersize=3,
            label=text,
        )
        axes.plot(curve["lag_ps"], curve["fit_A2"], color=band[0].get_color(), linewidth=1)
    axes.set_xlabel("lag (ps)")
    axes.set_ylabel("mean squared displacement (Å²), 95 %")
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, frameon=False, loc="upper left")


def _draw_arrhenius(axes: Axes, labels: Sequence[Label], fit: Label) -> None:
    for label in (label for label in labels if label["status"] == "ok"):
        D = label["tracer_diffusivity_cm2_s"]
        ends = [
            [D - label["tracer_diffusivity_cm2_s_lower"]],
            [label["tracer_diffusivity_cm2_s_upper"] - D],
        ]
        axes.errorbar([1000 / label["temperature_K"]], [D], ends, fmt="o", markersize=4)
    inverse = np.linspace(1000 / max(fit["temperatures_K"]), 1000 / 300.0, 50)
    prefactor = 10 ** fit["log10_prefactor_cm2_s"]
    line = arrhenius(prefactor, fit["activation_energy_eV"], 1000 / inverse)
    axes.semilogy(inverse, line, linewidth=1)
    D300 = fit["tracer_diffusivity_300K_cm2_s"]
    ends = [
        [D300 - fit["tracer_diffusivity_300K_cm2_s_lower"]],
        [fit["tracer_diffusivity_300K_cm2_s_upper"] - D300],
    ]
    axes.errorbar([1000 / 300.0], [D300], ends, fmt="s", fillstyle="none", label="extrapolated")
    half = (fit["activation_energy_eV_upper"] - fit["activation_energy_eV_lower"]) / 2
    digits = max(2, -math.floor(math.log10(half))) if half > 0 else 3
    axes.set_title(
        f"activation energy {fit['activation_energy_eV']:.{digits}f} ± {half:.{digits}f} eV",
        fontsize=9,
    )
    axes.set_xlabel("1000 / T (1/K)")
    axes.set_ylabel("tracer diffusivity (cm²/s)")
    axes.legend(fontsize=7, frameon=False, loc="upper right")
