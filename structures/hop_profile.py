"""A hop on its bond-valence path: what a network should see, whatever path came with the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from structures.bvse import hop_field, relax_path
from structures.composition import formula_oxidation_states
from structures.records import Hop, UnusableStructureError, site_composition
from structures.sites import N_IMAGES

PATHS = ("relaxed", "straight", "given")
"""Values of ``extra["path"]`` that say that a hop has its path."""
MIN_HOP_A = 0.1


def profiled(hop: Hop) -> Hop:
    """The hop with its path relaxed on the bond-valence landscape and the energies along it.

    Published paths are often straight lines that cut through anions; the ends are kept, the way
    between them is found anew. Working ions of the host do not shape the landscape, as in
    :func:`structures.sites.find_hops`, so that the same hop gets the same path by either route.

    Args:
        hop: Any hop.

    Returns:
        The hop with ``extra["path"] = "relaxed"`` and ``extra["bvse_profile_eV"]`` (N_IMAGES
        energies above the first image), or, where no bond valences exist for the chemistry, the
        hop as it came with ``extra["path"] = "given"``. A hop that has its path keeps it.

    Raises:
        UnusableStructureError: The two ends are one point.
    """
    if hop.extra.get("path") in PATHS:
        return hop
    if not hop.distance_A > MIN_HOP_A:
        raise UnusableStructureError(
            f"{hop.id}: the path ends {hop.distance_A:.3g} angstrom from its start; a hop of more "
            f"than {MIN_HOP_A} angstrom is expected (path_frac is unwrapped)"
        )
    sites = (*hop.host_species, {hop.working_ion: 1.0})
    try:
        states = formula_oxidation_states(site_composition(sites))
        field = hop_field(hop, [states] * len(hop.host_species), include_working_ion=False)
    except UnusableStructureError:
        return replace(hop, extra={**hop.extra, "path": "given", "oxidation_states": {}})
    ends = hop.path_A
    path, energy = relax_path(field, ends[0], ends[-1], n_images=N_IMAGES)
    profile = [float(e) for e in energy - energy[0]]
    extra = {**hop.extra, "path": "relaxed", "bvse_profile_eV": profile, "oxidation_states": states}
    return replace(hop, path_frac=path @ np.linalg.inv(hop.lattice), extra=extra)
