"""The hops of a crystal: their network in its cell, and the energy along one of them."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product
from typing import Any

import numpy as np
import plotly.graph_objects as go
from ase.data import atomic_numbers, covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import NDArray
from plotly.colors import sample_colorscale

from ionbridge.models.barriers.hop_model import HopEnergies
from ionbridge.models.library import DEFAULTS, load
from ionbridge.screening.report.style import BAR, BLUE, GREY, INK, ORANGE, new_figure, titled
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal, Hop

N_DECIMALS = 3
"""Of coordinates, angstrom."""
EYE = {"x": 0.85, "y": 0.8, "z": 0.5}
ZOOM = 1.3
MOBILE = "#D81B60"
"""Colour of the mobile ion's sites: neither a barrier's nor an element's."""


def hop_network(given: Any, model: str | None = None) -> go.Figure:
    """The cell of a crystal with the network of its hops, coloured by barrier, to be turned.

    Args:
        given: A pymatgen Structure, ASE Atoms, a Crystal, or the path of a file with one.
        model: Of hops, by name or folder; by default the shipped one.

    Raises:
        InputError: Nothing that can be read.
        UnusableStructureError: It has no hops.
    """
    from ionbridge.screening.api import crystal_of

    graph = find_hops(crystal_of(given))
    return network_figure(
        graph, load(model or DEFAULTS["migration_barrier"]).crystal_energies([graph])[0]
    )


def barrier_along_path(hop: Hop, model: str | None = None) -> go.Figure:
    """The energy along a hop: what a model predicts of it, beside the profiles that it brings.

    Args:
        hop: With bond-valence energies along its path (``extra["bvse_profile_eV"]``), those of its
            label's images (``extra["image_energies_eV"]``), or neither.
        model: Of hops, by name or folder; by default the shipped one.
    """
    energies = load(model or DEFAULTS["migration_barrier"]).energies([hop])
    forward = float(energies.central_barrier_eV[0])
    change = float((energies.end_eV - energies.start_eV).mean(axis=0)[0])
    std = float(np.hypot(energies.kra_eV.std(axis=0), energies.aleatoric_std_eV)[0])
    steps = np.linalg.norm(np.diff(hop.path_A, axis=0), axis=1)
    length = float(steps.sum())
    figure = new_figure("way along the path (Å)", "energy above the start (eV)")
    own = np.concatenate([[0.0], np.cumsum(steps)])
    profiles = (("bvse_profile_eV", "bond valences", GREY), ("image_energies_eV", "label", ORANGE))
    for key, name, color in profiles:
        profile = hop.extra.get(key)
        if profile is None:
            continue
        energy = np.asarray(profile, dtype=float)
        at = own if len(own) == len(energy) else np.linspace(0.0, length, len(energy))
        figure.add_scatter(
            x=at, y=energy - energy[0], name=name, line={"color": color}, mode="lines+markers"
        )
    figure.add_scatter(
        x=[0.0, length / 2, length],
        y=[0.0, forward, change],
        error_y={"array": [0.0, std, 0.0], "thickness": 1.4},
        name="predicted ± 1σ",
        mode="lines+markers",
        line={"color": BLUE, "shape": "spline"},
        marker={"size": 9},
    )
    return titled(figure, f"barrier {forward:.2f} ± {std:.2f} eV, {change:+.2f} eV at the end")


def network_figure(
    graph: MigrationGraph, energies: HopEnergies, conducting: Collection[int] = ()
) -> go.Figure:
    """The network of a crystal's hops in its cell.

    Args:
        graph: Sites and hops.
        energies: Of its unique hops.
        conducting: Unique hops that carry conduction, drawn thick; empty draws all alike.
    """
    crystal, lattice = graph.crystal, graph.crystal.lattice
    figure = go.Figure(
        layout={
            "template": "none",
            "height": 520,
            "margin": {"l": 0, "r": 0, "t": 8, "b": 0},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "font": {"size": 12, "family": "system-ui, sans-serif"},
            "modebar": BAR,
            "legend": {"orientation": "h", "y": 0, "x": 0},
            "scene": {
                **{f"{axis}axis": {"visible": False} for axis in "xyz"},
                "aspectmode": "manual",
                "aspectratio": _ratio(graph),
                "camera": {"projection": {"type": "orthographic"}, "eye": EYE},
                "dragmode": "orbit",
            },
        }
    )
    figure.add_scatter3d(**_cell_edges(_corner(graph), lattice))
    for symbol, frac in _hosts(crystal, graph.working_ion).items():
        number = atomic_numbers.get(symbol, 0)
        r, g, b = (int(255 * c) for c in jmol_colors[number])
        figure.add_scatter3d(
            **_xyz(frac @ lattice),
            mode="markers",
            name=symbol,
            marker={
                "size": round(3 + 5 * float(covalent_radii[number]), 1),
                "color": f"rgb({r},{g},{b})",
                "line": {"width": 1, "color": INK},
            },
            hovertemplate=f"{symbol}<extra></extra>",
        )
    figure.add_scatter3d(**_sites(graph))
    for trace in _hop_lines(graph, energies, set(conducting)):
        figure.add_scatter3d(**trace)
    return figure


def _hop_lines(
    graph: MigrationGraph, energies: HopEnergies, conducting: set[int]
) -> list[dict[str, Any]]:
    """Lines of the hops and the points in their middles that say what they are."""
    start = graph.site_frac[graph.start] @ graph.crystal.lattice
    end = (graph.site_frac[graph.end] + graph.shift) @ graph.crystal.lattice
    forward = energies.central_barrier_eV
    backward = forward - (energies.end_eV - energies.start_eV).mean(axis=0)
    height = np.maximum(forward, backward)
    scale = {
        "colorscale": sample_colorscale("Viridis", [1.0, 0.8, 0.6, 0.4, 0.2]),
        "cmin": float(height.min()),
        "cmax": float(max(height.max(), height.min() + 0.01)),
    }
    traces = []
    for carries, width in ((True, 9), (False, 3)):
        own = np.array([(k in conducting or not conducting) == carries for k in graph.orbit])
        if not own.any():
            continue
        name = "hops" if not conducting else "hops that carry conduction" if carries else "others"
        gaps = np.full((int(own.sum()), 3), np.nan)
        lines = np.stack([start[own], end[own], gaps], axis=1).reshape(-1, 3)
        kind = graph.orbit[own]
        bar = {"title": {"text": "barrier (eV)"}, "thickness": 14, "len": 0.7} if carries else None
        traces += [
            {
                **_xyz(lines),
                "mode": "lines",
                "name": name,
                "legendgroup": name,
                "showlegend": False,
                "line": {"width": width, "color": np.repeat(height[kind], 3).round(3), **scale},
                "hoverinfo": "skip",
            },
            {
                **_xyz(0.5 * (start[own] + end[own])),
                "mode": "markers",
                "name": name,
                "legendgroup": name,
                "marker": {
                    "size": 0.5 * width,
                    "color": height[kind].round(3),
                    **scale,
                    **({"colorbar": bar} if bar else {}),
                },
                "customdata": [
                    [int(k), round(float(graph.hops[k].distance_A), 2)]
                    + [f"{barrier[k]:.2f}" for barrier in (forward, backward)]
                    for k in kind
                ],
                "hovertemplate": "hop %{customdata[0]}, %{customdata[1]} Å<br>barrier "
                "%{customdata[2]} eV, back %{customdata[3]} eV<extra></extra>",
            },
        ]
    return traces


def _sites(graph: MigrationGraph) -> dict[str, Any]:
    """The sites of the mobile ion, vacant ones open."""
    vacant = graph.site_occupancy <= 0
    ion = graph.working_ion
    return {
        **_xyz(graph.site_frac @ graph.crystal.lattice),
        "mode": "markers",
        "name": f"sites of {ion}",
        "marker": {
            "size": 8,
            "color": MOBILE,
            "symbol": ["circle-open" if empty else "circle" for empty in vacant],
        },
        "customdata": [f"{occupancy:.2g}" for occupancy in graph.site_occupancy],
        "hovertemplate": f"{ion} site, occupancy %{{customdata}}<extra></extra>",
    }


def _hosts(crystal: Crystal, ion: str) -> dict[str, NDArray[np.float64]]:
    """Fractional coordinates of the other atoms by their (most abundant) element."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for site, frac in zip(crystal.species, crystal.frac, strict=True):
        others = {symbol: amount for symbol, amount in site.items() if symbol != ion}
        if others:
            found.setdefault(max(others, key=lambda s: others[s]), []).append(frac)
    return {symbol: np.array(rows) for symbol, rows in found.items()}


def _cell_edges(corner: NDArray[np.float64], lattice: NDArray[np.float64]) -> dict[str, Any]:
    """The twelve edges of the cell."""
    gap = np.full(3, np.nan)
    points = []
    for a, b in product(product((0, 1), repeat=3), repeat=2):
        if sum(b) == sum(a) + 1 and sum(x != y for x, y in zip(a, b, strict=True)) == 1:
            points += [corner + a, corner + b, gap]
    return {
        **_xyz(np.array(points) @ lattice),
        "mode": "lines",
        "name": "cell",
        "line": {"width": 2, "color": INK},
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _ratio(graph: MigrationGraph) -> dict[str, float]:
    """Sides of the box that is drawn, as long as what is in it."""
    ends = (graph.site_frac[graph.end] + graph.shift) @ graph.crystal.lattice
    corners = np.array(list(product((0.0, 1.0), repeat=3))) + _corner(graph)
    side = np.ptp(np.vstack([ends, corners @ graph.crystal.lattice]), axis=0)
    return {
        axis: float(s) for axis, s in zip("xyz", side / np.cbrt(side.prod()) * ZOOM, strict=True)
    }


def _corner(graph: MigrationGraph) -> NDArray[np.float64]:
    """Of the cell that atoms and sites lie in, fractional."""
    found: NDArray[np.float64] = np.minimum(
        graph.crystal.frac.min(axis=0), graph.site_frac.min(axis=0)
    )
    return found


def _xyz(points: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    rounded = points.round(N_DECIMALS).astype(np.float32)
    return {axis: rounded[:, k] for k, axis in enumerate("xyz")}
