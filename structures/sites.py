"""Sites of the mobile ion, the carriers on them, and the hops between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from structures import composition
from structures.bvse import BondValenceField, bond_valence_field, relax_path
from structures.carriers import MIN_OCCUPANCY, carriers
from structures.geometry import check_geometry
from structures.hop_network import JumpNetwork, percolation_barriers
from structures.hops import (
    Edges,
    candidate_edges,
    edge_orbits,
    exclusion_radii,
    hop_record,
)
from structures.interstitials import interstitial_sites
from structures.migration_graph import MigrationGraph
from structures.records import Crystal, Hop, UnusableStructureError
from structures.symmetry import SiteImages, site_images, space_group

MAX_HOP_A = 5.0
"""Longest hop looked for first."""
FAR_HOP_A = 6.5
"""Longest hop where the shorter ones do not connect the crystal in any direction."""
MAX_SITES = 400
"""More sites of the working ion than this are refused."""
USUAL_ORBITS = 60
"""Kept symmetry-unique hops, shortest first; more only where fewer would not connect as well."""
MAX_ORBITS = 250
"""More symmetry-unique hops than this are refused."""
N_IMAGES = 13
"""Points of a hop path, both ends included; every second one is an image of the network."""
OxidationStates = Sequence[Mapping[str, float]]


def find_hops(
    crystal: Crystal,
    working_ion: str | None = None,
    oxidation: OxidationStates | None = None,
    max_hop_A: float = MAX_HOP_A,
) -> MigrationGraph:
    """Sites, hops and carriers of the mobile ion.

    Every site that holds the working ion counts, at any occupancy. Sites of a crystal without the
    ion, and further ones where its ions do not connect in any direction by hops up to FAR_HOP_A,
    are minima of the bond-valence landscape. Paths are relaxed on that landscape where bond
    valences exist for the chemistry, and straight elsewhere (``extra["path"]``).

    Args:
        crystal: Ordered or disordered crystal.
        working_ion: The mobile ion; by default the record's own, else the first one present.
        oxidation: One ``{symbol: oxidation state}`` a site; by default from the composition.
        max_hop_A: Longest hop; up to FAR_HOP_A where these do not connect in any direction.

    Raises:
        UnusableStructureError: Impossible geometry, no site for the working ion, more than
            MAX_SITES of them, no hop between them, or more than MAX_ORBITS unique hops.
    """
    check_geometry(crystal)
    ion = working_ion or composition.working_ion(crystal)
    occupancy = crystal.occupancy(ion)
    mobile = occupancy > MIN_OCCUPANCY
    _check_count(crystal, ion, int(mobile.sum()))
    field, states = _field(crystal, ion, oxidation)
    group = space_group(crystal)
    frac = np.mod(np.mod(crystal.frac[mobile], 1.0), 1.0)
    occupancy = occupancy[mobile]
    edges = _connecting_edges(crystal, frac, max_hop_A)
    if field is not None and not _connects(crystal, len(frac), edges):
        vacant = interstitial_sites(crystal, ion, field, group)
        if len(vacant):
            frac = np.concatenate([frac, vacant])
            occupancy = np.concatenate([occupancy, np.zeros(len(vacant))])
            _check_count(crystal, ion, len(frac))
            edges = _connecting_edges(crystal, frac, max_hop_A)
    if len(frac) == 0:
        raise UnusableStructureError(
            f"{crystal.id}: no site of working ion {ion!r} (elements: "
            f"{', '.join(sorted(e.symbol for e in crystal.composition.elements))}) and no "
            "interstitial one found by bond valences; pass another working_ion or drop the record"
        )
    images = site_images(group, crystal.lattice, frac)
    edges, orbit, reversed_, first = _unique_edges(crystal, edges, images, len(frac))
    carrier, n_carriers = carriers(crystal, ion, frac, occupancy)
    return MigrationGraph(
        crystal=crystal,
        working_ion=ion,
        site_frac=frac,
        site_occupancy=occupancy,
        site_orbit=images.orbits(),
        start=edges.start,
        end=edges.end,
        shift=edges.shift,
        orbit=orbit,
        reversed=reversed_,
        hops=_hop_records(crystal, ion, mobile, frac, edges.select(first), field, states),
        carrier=carrier,
        n_ions=float(occupancy.sum()),
        n_carriers=n_carriers,
    )


def _check_count(crystal: Crystal, ion: str, count: int) -> None:
    if count > MAX_SITES:
        raise UnusableStructureError(
            f"{crystal.id}: {count} sites of {ion} in a cell of {crystal.n_sites}, at most "
            f"{MAX_SITES} are handled; give the primitive cell"
        )
    other = [s for s in ("Li", "Na", "K") if s != ion and crystal.occupancy(s).any()]
    if count == 0 and other:
        raise UnusableStructureError(
            f"{crystal.id}: no site of working ion {ion!r} (elements: "
            f"{', '.join(sorted(e.symbol for e in crystal.composition.elements))}); "
            f"pass working_ion={other[0]!r} or drop the record"
        )


def _field(
    crystal: Crystal, ion: str, oxidation: OxidationStates | None
) -> tuple[BondValenceField | None, dict[str, float]]:
    """The bond-valence field, None where the chemistry has none, and mean oxidation states."""
    try:
        per_site = composition.oxidation_states(crystal) if oxidation is None else oxidation
        field = bond_valence_field(crystal, ion, tuple(dict(s) for s in per_site))
    except UnusableStructureError:
        return None, {}
    amount: dict[str, float] = {}
    charge: dict[str, float] = {}
    for site, states in zip(crystal.species, per_site, strict=True):
        for symbol, share in site.items():
            amount[symbol] = amount.get(symbol, 0.0) + share
            charge[symbol] = charge.get(symbol, 0.0) + share * states[symbol]
    return field, {symbol: charge[symbol] / amount[symbol] for symbol in charge if amount[symbol]}


def _connecting_edges(crystal: Crystal, frac: NDArray[np.float64], max_hop_A: float) -> Edges:
    edges = candidate_edges(crystal.lattice, frac, max_hop_A)
    if max_hop_A < FAR_HOP_A and not _connects(crystal, len(frac), edges):
        return candidate_edges(crystal.lattice, frac, FAR_HOP_A)
    return edges


def _unique_edges(
    crystal: Crystal, edges: Edges, images: SiteImages, n_sites: int
) -> tuple[Edges, NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Edges with their orbit, direction, and the index of the representative of each orbit."""
    if len(edges) == 0:
        raise UnusableStructureError(
            f"{crystal.id}: no hop of at most {FAR_HOP_A} angstrom between the {n_sites} sites"
        )
    closed, representative, reversed_ = edge_orbits(edges, images, n_sites)
    keep = np.flatnonzero(closed)
    edges, reversed_ = edges.select(keep), reversed_[keep]
    orbit = np.unique(representative[keep], return_inverse=True)[1].astype(np.int64)
    n_kept = _orbits_to_keep(crystal, edges, orbit, n_sites)
    inside = orbit < n_kept
    edges, orbit, reversed_ = edges.select(inside), orbit[inside], reversed_[inside]
    return edges, orbit, reversed_, np.unique(orbit, return_index=True)[1].astype(np.int64)


def _orbits_to_keep(crystal: Crystal, edges: Edges, orbit: NDArray[np.int64], n_sites: int) -> int:
    """USUAL_ORBITS, or as many of the shortest as connect in as many directions as all do."""
    n_orbits = int(orbit.max(initial=-1)) + 1
    if n_orbits <= USUAL_ORBITS:
        return n_orbits
    last = _connecting_levels(crystal, n_sites, edges, orbit)
    needed = int(last[np.isfinite(last)].max(initial=-1)) + 1
    if needed > MAX_ORBITS:
        raise UnusableStructureError(
            f"{crystal.id}: {needed} symmetry-unique hops between {n_sites} sites are needed to "
            f"connect the crystal, at most {MAX_ORBITS} are handled"
        )
    return max(needed, USUAL_ORBITS)


def _connects(crystal: Crystal, n_sites: int, edges: Edges) -> bool:
    levels = np.zeros(len(edges), dtype=np.int64)
    return bool(np.isfinite(_connecting_levels(crystal, n_sites, edges, levels)[0]))


def _connecting_levels(
    crystal: Crystal, n_sites: int, edges: Edges, level: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(3,) lowest levels up to which the edges connect the crystal in 1, 2 and 3 directions."""
    if len(edges) == 0:
        return np.full(3, np.inf)
    network = JumpNetwork(
        lattice=crystal.lattice,
        start=edges.start,
        end=edges.end,
        shift=edges.shift,
        site_energy_eV=np.zeros(n_sites),
        saddle_eV=level.astype(float),
    )
    return percolation_barriers(network)


def _hop_records(
    crystal: Crystal,
    ion: str,
    mobile: NDArray[np.bool_],
    frac: NDArray[np.float64],
    edges: Edges,
    field: BondValenceField | None,
    states: dict[str, float],
) -> tuple[Hop, ...]:
    start = frac[edges.start] @ crystal.lattice
    end = (frac[edges.end] + edges.shift) @ crystal.lattice
    radius = exclusion_radii(crystal.lattice, frac)
    hops = []
    for k, (i, j) in enumerate(zip(edges.start, edges.end, strict=True)):
        extra: dict[str, object] = {"start_site": int(i), "end_site": int(j)}
        if field is None:
            extra["path"] = "straight"
            path = np.linspace(start[k], end[k], N_IMAGES)
        else:
            path, energy = relax_path(field, start[k], end[k], n_images=N_IMAGES)
            extra["path"] = "relaxed"
            extra["oxidation_states"] = states
            extra["bvse_profile_eV"] = (energy - energy[0]).tolist()
        exclusion_A = float(max(radius[i], radius[j]))
        hops.append(hop_record(crystal, ion, k, path, mobile, exclusion_A, extra))
    return tuple(hops)
