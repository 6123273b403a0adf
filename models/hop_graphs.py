"""Graphs of hops, made once a hop."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from ionbridge.structures.graph import HopData, hop_graph
from ionbridge.structures.hop_profile import profiled
from ionbridge.structures.records import Hop

_GRAPHS: WeakKeyDictionary[Hop, HopData] = WeakKeyDictionary()


def graph_of(hop: Hop) -> HopData:
    """Graph of a hop on its bond-valence path; kept as long as the hop itself is."""
    graph = _GRAPHS.get(hop)
    if graph is None:
        graph = _GRAPHS[hop] = hop_graph(profiled(hop))
    return graph
