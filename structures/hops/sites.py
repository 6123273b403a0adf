"""Sites of the mobile ion, the carriers on them, and the hops between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.bond_valence.bvse import BondValenceField, bond_valence_field, relax_paths
from ionbridge.structures.chemistry import composition
from ionbridge.structures.crystals.canonical_cell import canonical_cell
from ionbridge.structures.crystals.geometry import check_geometry
from ionbridge.structures.crystals.symmetry import SiteImages, site_images
from ionbridge.structures.hops.carriers import carriers
from ionbridge.structures.hops.hop_edges import (
    Edges,
    HopOrbits,
    candidate_edges,
    connecting_levels,
    connectivity,
    edge_orbits,
)
from ionbridge.structures.hops.hops import (
    MIN_OCCUPANCY,
    CrystalHop,
    exclusion_radii,
    host_sizes,
    passed_sites,
)
from ionbridge.structures.hops.interstitials import interstitial_sites
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import Crystal, Hop, TooManyHopsError, UnusableStructureError

MAX_HOP_A = 5.0
"""Longest hop looked for first."""
FAR_HOP_A = 6.5
"""Longest hop where the shorter ones do not connect the crystal in any direction."""
MAX_SITES = 400
"""More sites of the working ion than this are refused."""
USUAL_ORBITS = 60
"""Kept symmetry-unique hops, shortest first; more only where fewer would not connect as well."""
MAX_ORBITS = 1000
"""More symmetry-unique hops than this are refused."""
MIN_HOP_A = 0.1
"""Sites closer than this are one site listed twice."""
N_PATH_POINTS = 13
"""Points of a hop path, both ends included; every second one is an image of the network."""

Paths = tuple[NDArray[np.float64], NDArray[np.float64] | None]
"""(n_hops, N_PATH_POINTS, 3) points, and (n_hops, N_PATH_POINTS) energies where there are any."""


def find_hops(
    crystal: Crystal,
    working_ion: str | None = None,
    max_hop_A: float = MAX_HOP_A,
) -> MigrationGraph:
    """Sites, hops and carriers of the mobile ion, in the canonical cell of the crystal.

    The cell is neither turned nor moved against the crystal as given, but what is found in it, the
    order of sites and hops, and the hop that represents those equal by symmetry, depend on the
    crystal alone (:mod:`ionbridge.structures.crystals.canonical_cell`): not on setting, origin,
    order of the atoms or the last digits. Hops are sorted by length, then by the numbers of their
    sites, then by the cell of their end.

    Every site that holds the working ion counts, at any occupancy. Sites of a crystal without the
    ion, and further ones where its ions do not connect in any direction by hops up to FAR_HOP_A,
    are minima of the bond-valence landscape. Paths are relaxed on that landscape where bond
    valences exist for the chemistry, and straight elsewhere (``extra["path"]``). A hop whose path
    leads over a third site is two other hops and is left out; where the crystal would fall apart
    without it, it stays, the third site emptied with the ends (``extra["n_passed_sites"]``).

    Args:
        crystal: Ordered or disordered crystal.
        working_ion: The mobile ion; by default the record's own, else the first one present.
        max_hop_A: Longest hop; up to FAR_HOP_A where these do not connect in any direction.

    Raises:
        UnusableStructureError: Impossible geometry, no site for the working ion, more than
            MAX_SITES of them, no hop between them, or more than MAX_ORBITS unique hops.
    """
    check_geometry(crystal)
    ion = working_ion or composition.working_ion(crystal)
    cell = canonical_cell(crystal)
    crystal, group = cell.crystal, cell.group
    occupancy = crystal.occupancy(ion)
    mobile = occupancy > MIN_OCCUPANCY
    _check_count(crystal, ion, int(mobile.sum()))
    field, states = _field(crystal, ion)
    frac, occupancy = crystal.frac[mobile], occupancy[mobile]
    edges = _connecting_edges(crystal, frac, max_hop_A)
    if field is not None and not _connects(len(frac), edges):
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
    orbits = _unique_hops(crystal, edges, images)
    paths = _paths(crystal, frac, orbits.representatives, field)
    passed = passed_sites(crystal.lattice, frac, paths[0])
    elementary = _elementary(len(frac), orbits, np.array([len(sites) > 0 for sites in passed]))
    orbits, passed = orbits.only(elementary), [passed[k] for k in np.flatnonzero(elementary)]
    carrier, n_carriers = carriers(crystal, ion, frac, occupancy)
    crystal = cell.placed_crystal
    frac = cell.placed_frac(frac)
    passed = [cell.placed(sites) for sites in passed]
    paths = cell.placed(paths[0][elementary]), None if paths[1] is None else paths[1][elementary]
    return MigrationGraph(
        crystal=crystal,
        working_ion=ion,
        site_frac=frac,
        site_occupancy=occupancy,
        site_orbit=images.orbits(),
        start=orbits.edges.start,
        end=orbits.edges.end,
        shift=orbits.edges.shift,
        orbit=orbits.orbit,
        reversed=orbits.reversed,
        hops=_hop_records(crystal, ion, frac, orbits.representatives, paths, passed, states),
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


def _field(crystal: Crystal, ion: str) -> tuple[BondValenceField | None, dict[str, float]]:
    """The bond-valence field, None where the chemistry has none, and mean oxidation states."""
    try:
        per_site = composition.oxidation_states(crystal)
        field = bond_valence_field(crystal, ion, per_site)
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
    if max_hop_A < FAR_HOP_A and not _connects(len(frac), edges):
        return candidate_edges(crystal.lattice, frac, FAR_HOP_A)
    return edges


def _connects(n_sites: int, edges: Edges) -> bool:
    return bool(np.isfinite(connecting_levels(n_sites, edges)[0]))


def _unique_hops(crystal: Crystal, edges: Edges, images: SiteImages) -> HopOrbits:
    """USUAL_ORBITS, or as many of the shortest as connect in as many directions as all do."""
    n_sites = images.index.shape[1]
    orbits = edge_orbits(edges, images)
    if len(orbits) == 0:
        raise UnusableStructureError(
            f"{crystal.id}: no hop of at most {FAR_HOP_A} angstrom between the {n_sites} sites"
        )
    if edges.length_A.min() < MIN_HOP_A:
        raise UnusableStructureError(
            f"{crystal.id}: two sites of the working ion are {edges.length_A.min():.3f} angstrom "
            "apart; merge them into one"
        )
    if len(orbits) <= USUAL_ORBITS:
        return orbits
    last = connecting_levels(n_sites, orbits.edges, orbits.orbit)
    needed = int(last[np.isfinite(last)].max(initial=-1)) + 1
    if needed > MAX_ORBITS:
        raise TooManyHopsError(
            f"{crystal.id}: {needed} symmetry-unique hops between {n_sites} sites are needed to "
            f"connect the crystal, at most {MAX_ORBITS} are handled"
        )
    return orbits.only(np.arange(len(orbits)) < max(needed, USUAL_ORBITS))


def _paths(
    crystal: Crystal, frac: NDArray[np.float64], edges: Edges, field: BondValenceField | None
) -> Paths:
    start = frac[edges.start] @ crystal.lattice
    end = (frac[edges.end] + edges.shift) @ crystal.lattice
    if field is None:
        return np.linspace(start, end, N_PATH_POINTS, axis=1), None
    return relax_paths(field, start, end, n_images=N_PATH_POINTS)


def _elementary(n_sites: int, orbits: HopOrbits, passing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n_orbits,) False for hops that are two others, unless the crystal needs them to connect.

    Args:
        n_sites: Sites of the ion.
        orbits: Its hops.
        passing: (n_orbits,) True where the path leads over a third site.
    """
    keep = ~passing
    if not passing.any():
        return keep
    connected = connectivity(n_sites, orbits.edges)
    reached = connectivity(n_sites, orbits.only(keep).edges)
    for k in np.flatnonzero(passing):
        if reached == connected:
            break
        keep[k] = True
        now = connectivity(n_sites, orbits.only(keep).edges)
        keep[k] = now != reached
        reached = now
    return keep


def _hop_records(
    crystal: Crystal,
    ion: str,
    frac: NDArray[np.float64],
    edges: Edges,
    paths: Paths,
    passed: list[NDArray[np.float64]],
    states: dict[str, float],
) -> tuple[Hop, ...]:
    radius = exclusion_radii(crystal.lattice, frac)
    points, energies = paths
    some = np.array([len(sites) > 0 for sites in passed])
    reach = np.maximum(radius[edges.start], radius[edges.end])
    reach = np.where(some, radius.max(initial=0.0), reach)
    sizes = host_sizes(crystal.lattice, points, passed, reach)
    hops = []
    for k, path in enumerate(points):
        extra: dict[str, object] = {
            "start_site": int(edges.start[k]),
            "end_site": int(edges.end[k]),
        }
        if energies is None:
            extra["path"] = "straight"
        else:
            extra["path"] = "relaxed"
            extra["oxidation_states"] = states
            extra["bvse_profile_eV"] = (energies[k] - energies[k, 0]).tolist()
        if some[k]:
            extra["n_passed_sites"] = len(passed[k])
            extra["passed_sites_A"] = passed[k].tolist()
        hops.append(CrystalHop.of(crystal, ion, k, path, sizes[k], extra))
    return tuple(hops)
