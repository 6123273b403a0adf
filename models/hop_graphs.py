"""Graphs of hops, made once a hop."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from ionbridge.structures.graph import HopData, hop_graph
from ionbridge.structures.hop_profile import profiled
from ionbridge.structures.records import Hop

_GRAPHS: WeakKeyDictionary[Hop, HopData] = WeakKeyDictionary()
_ON_PATH: WeakKeyDictionary[Hop, Hop] = WeakKeyDictionary()
_ONE_WAY: WeakKeyDictionary[Hop, Hop] = WeakKeyDictionary()


def graph_of(hop: Hop) -> HopData:
    """Graph of a hop on its bond-valence path; kept as long as the hop itself is."""
    graph = _GRAPHS.get(hop)
    if graph is None:
        graph = _GRAPHS[hop] = hop_graph(on_path(hop))
    return graph


def on_path(hop: Hop) -> Hop:
    """The hop on its bond-valence path, relaxed once; kept as long as the hop itself is."""
    found = _ON_PATH.get(hop)
    if found is None:
        found = profiled(hop)
        if found is not hop:  # a value that is its own key would stay for good
            _ON_PATH[hop] = found
    return found


def one_way(hop: Hop) -> tuple[Hop, bool]:
    """The hop in the direction in which its coordinates come first, and whether that is its own.

    A hop and its reverse give the same record to the last bit.
    """
    ends = [tuple(float(x) for x in hop.path_frac[k]) for k in (0, -1)]
    if ends[0] <= ends[1]:
        return hop, True
    found = _ONE_WAY.get(hop)
    if found is None:
        found = _ONE_WAY[hop] = hop.reversed()
    return found, False
