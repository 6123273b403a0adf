"""The ions of a crystal as a lattice gas: how many, on which sites, at which energies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.hops.carriers import FULL
from ionbridge.structures.hops.hops import EXCLUSION_A, MIN_OCCUPANCY
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import UnusableStructureError
from ionbridge.structures.transport.lattice_gas import (
    COULOMB_REACH_A,
    LatticeGas,
    fitted_to_occupancies,
    lattice_gas,
)

REFINED_K = 298.15
"""Temperature at which occupancies are taken to have been refined."""
UNUSED_SHARE = "the stated vacancy fraction is not used: the crystal has empty sites of its own"
Floats = NDArray[np.float64]


def gas_of_crystal(
    graph: MigrationGraph,
    site_energy_eV: Floats,
    kra_eV: Floats,
    vacancy_fraction: float | None,
    dielectric_constant: float | None,
    seed: int,
) -> tuple[LatticeGas, str, str]:
    """The ions of a cell, where their number comes from, and where their energies do.

    Args:
        graph: Sites and hops of the crystal.
        site_energy_eV: (n_sites,) by the model of hops.
        kra_eV: (n_hops,) barriers of the unique hops above the mean of their ends.
        vacancy_fraction: Share of the ions that is missing where all their sites are full.
        dielectric_constant: Of the medium in which ions repel each other; None for no repulsion.
        seed: Of the fit of site energies.

    Raises:
        UnusableStructureError: The crystal holds no ions, or all sites are full and no share of
            vacancies is stated.
    """
    gas = lattice_gas(graph, site_energy_eV, kra_eV, dielectric_constant=dielectric_constant)
    own = graph.site_occupancy > MIN_OCCUPANCY
    ion, n_own = graph.working_ion, int(own.sum())
    if not n_own:
        raise UnusableStructureError(
            f"{graph.crystal.id}: holds no {ion}; give the crystal with its ions"
        )
    taken = np.zeros(graph.n_sites) if gas.taken is None else gas.taken
    if (graph.site_occupancy + taken)[own].min() >= FULL:
        if vacancy_fraction is None:
            raise UnusableStructureError(
                f"{graph.crystal.id}: all sites of {ion} are full, and no crystal states how many "
                "vacancies or other carriers it really has; say how many of its ions are missing "
                "(--vacancy-fraction 0.01)"
            )
        gas = replace(gas, n_ions=gas.n_ions * (1.0 - vacancy_fraction))
        return (
            gas,
            f"{vacancy_fraction:g} of the {ion} ions taken out of full sites, as stated",
            "of the model of hops",
        )
    carriers = f"as refined: {graph.n_ions:.4g} {ion} on {graph.n_sites} sites of the cell"
    if taken.any():
        carriers += f", {taken.sum():.4g} of them held at random by atoms that do not move"
    if vacancy_fraction is not None:
        carriers += f"; {UNUSED_SHARE}"
    if len(np.unique(graph.site_orbit)) == 1:
        return gas, carriers, "all sites are equal by symmetry"
    gas = fitted_to_occupancies(gas, graph.site_orbit, graph.site_occupancy, REFINED_K, seed)
    return gas, carriers, f"fitted to the refined occupancies at {REFINED_K:g} K"


def repulsion(dielectric_constant: float | None) -> str:
    """What keeps ions apart, in words."""
    near = f"sites closer than {EXCLUSION_A:g} angstrom are never filled at once"
    if dielectric_constant is None:
        return f"{near}; no repulsion beyond that"
    return (
        f"{near}; beyond that as charges in a medium of dielectric constant "
        f"{dielectric_constant:g}, up to {COULOMB_REACH_A:g} angstrom"
    )
