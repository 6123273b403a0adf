"""A hop on its bond-valence path: what a network should see, whatever path came with the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ionbridge.structures.bond_valence.bvse import hop_field, relax_paths
from ionbridge.structures.chemistry.composition import formula_oxidation_states
from ionbridge.structures.crystals.geometry import MIN_DISTANCE_A
from ionbridge.structures.crystals.neighbors import neighbors_within
from ionbridge.structures.hops.sites import MIN_HOP_A, N_PATH_POINTS
from ionbridge.structures.records import Hop, UnusableStructureError, site_composition

PATHS = ("relaxed", "straight", "given")
"""Values of ``extra["path"]`` that say that a hop has its path."""
SURELY_THERE = 0.98
"""Occupancy above which a host site is no vacancy to hop into."""


def profiled(hop: Hop) -> Hop:
    """The hop with its path relaxed on the bond-valence landscape and the energies along it.

    Published paths are often straight lines that cut through anions; the ends are kept, the way
    between them is found anew. Working ions of the host do not shape the landscape, as in
    :func:`ionbridge.structures.hops.sites.find_hops`, so that the same hop gets the same path by
    either route.

    Args:
        hop: Any hop.

    Returns:
        The hop with ``extra["path"] = "relaxed"`` and ``extra["bvse_profile_eV"]`` (N_PATH_POINTS
        energies above the first image), or, where no bond valences exist for the chemistry, the
        hop as it came with ``extra["path"] = "given"``. A hop that has its path keeps it.

    Raises:
        UnusableStructureError: The two ends are one point, or one of them is on a host atom.
    """
    if hop.extra.get("path") in PATHS:
        return hop
    if not hop.distance_A > MIN_HOP_A:
        raise UnusableStructureError(
            f"{hop.id}: the path ends {hop.distance_A:.3g} angstrom from its start; a hop of more "
            f"than {MIN_HOP_A} angstrom is expected (path_frac is unwrapped)"
        )
    _check_ends(hop)
    sites = (*hop.host_species, {hop.working_ion: 1.0})
    try:
        states = formula_oxidation_states(site_composition(sites))
        field = hop_field(hop, [states] * len(hop.host_species), include_working_ion=False)
    except UnusableStructureError:
        return replace(hop, extra={**hop.extra, "path": "given", "oxidation_states": {}})
    ends = hop.path_A
    (path,), (energy,) = relax_paths(field, ends[:1], ends[-1:], n_images=N_PATH_POINTS)
    profile = [float(e) for e in energy - energy[0]]
    extra = {**hop.extra, "path": "relaxed", "bvse_profile_eV": profile, "oxidation_states": states}
    return replace(hop, path_frac=path @ np.linalg.inv(hop.lattice), extra=extra)


def _check_ends(hop: Hop) -> None:
    """Refuse a hop that starts or ends on a host atom (one that is surely there).

    Raises:
        UnusableStructureError: The atom, the end and their distance.
    """
    ends = hop.path_A[[0, -1]]
    end, atom, _, distance = neighbors_within(hop.lattice, hop.host_frac, ends, MIN_DISTANCE_A)
    for k in np.argsort(distance):
        species = hop.host_species[atom[k]]
        if sum(species.values()) > SURELY_THERE:
            raise UnusableStructureError(
                f"{hop.id}: the {'final' if end[k] else 'initial'} image is {distance[k]:.2f} "
                f"angstrom from host atom {atom[k]} ({'+'.join(species)}), at least "
                f"{MIN_DISTANCE_A} expected; host_species must not hold the moving ion itself"
            )
