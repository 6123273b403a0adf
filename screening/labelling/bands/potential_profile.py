"""A universal potential's energies along a hop's path, for the models that read them."""

from __future__ import annotations

from dataclasses import replace

from ionbridge.models.barriers.hop_barrier import PROFILE
from ionbridge.screening.errors import MissingExtraError
from ionbridge.screening.labelling.bands.hop_cell import hop_cell_of_hop
from ionbridge.structures.features.graph import N_PROBES
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.records import Hop, UnusableStructureError

MAX_ATOMS = 260
"""Hops in larger cells go without."""


def with_potential_profile(hop: Hop) -> Hop:
    """The hop with CHGNet energies at equally spaced points of its path, host as it stands.

    Args:
        hop: One that has energies keeps them. A hop for which there are none (a disordered host,
            a path that touches another ion, too many atoms) comes back as it was.

    Raises:
        MissingExtraError: CHGNet is not installed.
    """
    if PROFILE in hop.extra:
        return hop
    try:
        cell = hop_cell_of_hop(profiled(hop), 0.0, MAX_ATOMS)
        cell.check_path()
    except UnusableStructureError:
        return hop
    try:
        from ionbridge.screening.labelling.bands.chgnet_batch import frozen_profiles, topology
    except ImportError as error:
        raise MissingExtraError("chgnet", "a model that reads CHGNet energies") from error
    (energies,) = frozen_profiles([cell], N_PROBES - 2, topology, "cpu")
    return replace(hop, extra={**hop.extra, PROFILE: [float(e) for e in energies]})
