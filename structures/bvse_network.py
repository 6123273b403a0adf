"""The jump network of a crystal with every energy taken from its bond-valence landscape."""

from __future__ import annotations

import numpy as np

from ionbridge.structures.bvse import bond_valence_field
from ionbridge.structures.composition import oxidation_states
from ionbridge.structures.hop_network import JumpNetwork, carrier_network
from ionbridge.structures.migration_graph import MigrationGraph
from ionbridge.structures.records import UnusableStructureError


def bond_valence_network(graph: MigrationGraph) -> JumpNetwork:
    """Site energies and saddles of the bond-valence landscape on the hops of a crystal.

    The KRA of a hop is the highest energy along its path less the mean of its ends. Fast, without
    any model, and too high by a factor that depends on the chemistry: good for the shape of a
    network (its dimensionality), not for diffusivities.

    Args:
        graph: Sites and hops, with oxidation states from the composition.

    Raises:
        UnusableStructureError: No bond valences exist for the chemistry.
    """
    crystal = graph.crystal
    if any("bvse_profile_eV" not in hop.extra for hop in graph.hops):
        raise UnusableStructureError(f"{crystal.id}: no bond valences for this chemistry")
    field = bond_valence_field(crystal, graph.working_ion, oxidation_states(crystal))
    profiles = [np.asarray(hop.extra["bvse_profile_eV"]) for hop in graph.hops]
    return carrier_network(
        graph,
        field.energy(graph.site_frac @ crystal.lattice),
        [profile.max() - (profile[0] + profile[-1]) / 2 for profile in profiles],
    )
