"""Site energies and saddles of a crystal's hops from any model of barriers.

A model that knows site energies gives them itself. Of a model that gives barriers alone the forward
and the backward barrier of a hop tell the difference of its ends and the saddle above their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.barriers.hop_barrier import HopBarrierModel
from ionbridge.models.hop_networks.ensemble import HopEnergies, HopEnsemble
from ionbridge.models.hop_networks.hop_graphs import graph_of
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import Hop


def crystal_energies(model: Any, graphs: Sequence[MigrationGraph]) -> list[HopEnergies]:
    """Energies of the unique hops of each crystal, spreads included.

    Args:
        model: A fitted model of hops with ``predict`` and ``in_domain``.
        graphs: Crystals with their hops.
    """
    if isinstance(model, HopEnsemble | HopBarrierModel):
        return model.crystal_energies(graphs)
    return [closed(graph, energies_of_barriers(model, graph.hops)) for graph in graphs]


def hop_energies(model: Any, hops: Sequence[Hop]) -> HopEnergies:
    """Energies of (n,) hops from any model of barriers, spreads included."""
    if isinstance(model, HopEnsemble):
        raw = model.energies([graph_of(hop) for hop in hops])
        return raw.inflated(model.calibration_.inflation)
    if isinstance(model, HopBarrierModel):
        return model.energies(hops)
    return energies_of_barriers(model, hops)


def hop_points(model: Any, hops: Sequence[Hop]) -> NDArray[np.float64]:
    """(n, n_columns) points of hops in the space where a model measures how alike they are.

    Raises:
        ValueError: The model has no such space.
    """
    if isinstance(model, HopEnsemble):
        return model.embedding([graph_of(hop) for hop in hops])
    if isinstance(model, HopBarrierModel):
        return model.points(hops)
    raise ValueError(f"a {type(model).__name__} does not measure how alike hops are")


def energies_of_barriers(model: Any, hops: Sequence[Hop]) -> HopEnergies:
    """One member's energies: each hop starts at zero, whatever site that is.

    Args:
        model: Gives barriers of hops alone.
        hops: (n,) hops.
    """
    forward = model.predict(hops)
    backward = model.predict([hop.reversed() for hop in hops]).mean
    difference = forward.mean - backward
    kra = np.maximum(0.5 * (forward.mean + backward), 0.5 * np.abs(difference))
    return HopEnergies(
        np.zeros((1, len(hops))),
        difference[None],
        kra[None],
        np.asarray(forward.std),
        np.asarray(model.in_domain(hops)),
    )


def closed(graph: MigrationGraph, energies: HopEnergies) -> HopEnergies:
    """The energies with one energy for each orbit of sites, so that every loop closes.

    Barriers that a model gives hop by hop need not agree on the sites that they share: the site
    energies are those that fit the differences of all hops best (least squares, mean zero).

    Args:
        graph: A crystal with n_hops unique hops.
        energies: Of these hops.
    """
    ends = [[hop.extra[f"{end}_site"] for hop in graph.hops] for end in ("start", "end")]
    start, end = (graph.site_orbit[sites] for sites in ends)
    rows = np.arange(len(graph.hops))
    incidence = np.zeros((len(graph.hops), int(graph.site_orbit.max()) + 1))
    np.add.at(incidence, (rows, end), 1.0)
    np.add.at(incidence, (rows, start), -1.0)
    difference = energies.end_eV - energies.start_eV
    orbit = np.linalg.pinv(incidence) @ difference.T
    return energies._replace(start_eV=orbit[start].T, end_eV=orbit[end].T)
