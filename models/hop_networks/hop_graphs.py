"""What models see of a hop (path, graph, features), made once a hop."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.features.descriptors import HOP_FEATURES, hop_features
from ionbridge.structures.features.graph import HopData, hop_graph
from ionbridge.structures.hops.hop_profile import PATHS, profiled
from ionbridge.structures.records import Hop

_GRAPHS: WeakKeyDictionary[Hop, HopData] = WeakKeyDictionary()
_ON_PATH: WeakKeyDictionary[Hop, Hop] = WeakKeyDictionary()
_ONE_WAY: WeakKeyDictionary[Hop, Hop] = WeakKeyDictionary()
_FEATURES: WeakKeyDictionary[Hop, NDArray[np.float64]] = WeakKeyDictionary()


def graph_of(hop: Hop) -> HopData:
    """Graph of a hop on its bond-valence path; kept as long as the hop itself is."""
    graph = _GRAPHS.get(hop)
    if graph is None:
        graph = _GRAPHS[hop] = hop_graph(on_path(hop))
    return graph


def on_path(hop: Hop) -> Hop:
    """The hop on its bond-valence path, relaxed once; kept as long as the hop itself is.

    The path is relaxed in the direction of :func:`one_way`, so a hop and its reverse share it.
    """
    if hop.extra.get("path") in PATHS:
        return hop
    found = _ON_PATH.get(hop)
    if found is None:
        view, own = one_way(hop)
        found = _ON_PATH.get(view) or profiled(view)
        _ON_PATH[view] = found
        if not own:
            found = _ON_PATH[hop] = found.reversed()
    return found


def features_of(hops: Sequence[Hop]) -> NDArray[np.float64]:
    """(n_hops, n_features) descriptors of hops, ``descriptors.HOP_FEATURES`` in their order.

    Computed once for each hop, on the path that it has, and kept as long as the hop itself is.
    """
    missing = [hop for hop in dict.fromkeys(hops) if hop not in _FEATURES]
    if missing:
        _FEATURES.update(zip(missing, hop_features(missing)[0], strict=True))
    return np.array([_FEATURES[hop] for hop in hops]).reshape(len(hops), len(HOP_FEATURES))


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
