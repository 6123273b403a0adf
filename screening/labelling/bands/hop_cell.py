"""One hop as whole atoms in a periodic cell, and the symmetry that turns it round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ionbridge.screening.labelling.bands.supercell import (
    cells_in,
    shortest_vector,
    smallest_supercell,
)
from ionbridge.structures.bond_valence.minimum_energy_path import resample
from ionbridge.structures.chemistry.composition import formula_oxidation_states
from ionbridge.structures.crystals.neighbors import neighbors_within
from ionbridge.structures.crystals.symmetry import space_group
from ionbridge.structures.hops.hops import EXCLUSION_A, PASSING_A, SAME_POINT_A, emptied_sites
from ionbridge.structures.records import Crystal, Hop, UnusableStructureError

Floats = NDArray[np.float64]

SYMMETRY_TOLERANCE_A = 0.05
"""Positions that agree this well are images of each other."""
PATH_TOLERANCE_A = 0.4
"""A path that its mirror image follows this closely is made symmetric."""
TOUCHING_A = 1.0
"""An ion closer than this to a host atom touches it; the shortest bonds of Li are 1.6 angstrom."""


@dataclass(frozen=True, eq=False)
class HopCell:
    """A hop in a periodic cell, ready to be computed.

    Attributes:
        id: Of the hop.
        working_ion: Symbol of the moving ion.
        lattice: (3, 3) rows, angstrom.
        symbols: Elements of the host, the moving ion not among them.
        host_A: (n_host, 3) cartesian positions of the host around no particular ion.
        path_A: (n, 3) cartesian, unwrapped: the way of the ion from site to site.
        carrier: ``vacancy`` if the ion moves into a site that is full in the crystal,
            ``interstitial`` otherwise.
        family: Framework family, if known.
        passed_A: (n_passed, 3) cartesian sites that the path leads over; the host is empty there.
        note: What is unusual about the cell, empty if nothing is.
    """

    id: str
    working_ion: str
    lattice: Floats
    symbols: tuple[str, ...]
    host_A: Floats
    path_A: Floats
    carrier: str
    family: str | None = None
    passed_A: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    note: str = ""

    @property
    def n_atoms(self) -> int:
        """Atoms in the cell, the moving ion among them."""
        return len(self.symbols) + 1

    @property
    def copies_A(self) -> float:
        """Distance of the ion to its nearest periodic copy, angstrom."""
        return shortest_vector(self.lattice)

    def atoms(self, positions_A: Floats) -> Atoms:
        """The cell with (n_atoms, 3) positions, moving ion last."""
        return Atoms(
            [*self.symbols, self.working_ion], positions=positions_A, cell=self.lattice, pbc=True
        )

    def images(self, n_images: int) -> Floats:
        """(n_images + 2, n_atoms, 3) the ion along its path in the host as it stands."""
        path = resample(self.path_A, n_images + 2)
        return np.stack([np.vstack([self.host_A, point]) for point in path])

    def check_path(self) -> None:
        """Refuse a path that touches the host.

        Raises:
            UnusableStructureError: Point, host atom and distance.
        """
        frac = self.host_A @ np.linalg.inv(self.lattice)
        point, atom, _, distance = neighbors_within(self.lattice, frac, self.path_A, TOUCHING_A)
        if len(distance):
            k = int(np.argmin(distance))
            raise UnusableStructureError(
                f"{self.id}: point {point[k]} of the path is {distance[k]:.2f} angstrom from host "
                f"atom {atom[k]} ({self.symbols[atom[k]]}), at least {TOUCHING_A:g} expected"
            )


@dataclass(frozen=True, eq=False)
class Mirror:
    """A symmetry operation of the host that takes the path of an ion to its own reverse.

    Attributes:
        rotation: (3, 3) cartesian, acting on columns.
        order: (n_host,) host atom i is taken to host atom ``order[i]``.
        host_A: (n_host, 3) positions of the host that is symmetric.
        shift_A: (3,) the ion at r is taken to ``rotation @ r + shift_A``.
    """

    rotation: Floats
    order: NDArray[np.int64]
    host_A: Floats
    shift_A: Floats

    def positions(self, positions_A: Floats) -> Floats:
        """(n_atoms, 3) mirror image of positions near `host_A`, moving ion last."""
        image = np.empty_like(positions_A)
        moved = (positions_A[:-1] - self.host_A) @ self.rotation.T
        image[self.order] = self.host_A[self.order] + moved
        image[-1] = self.rotation @ positions_A[-1] + self.shift_A
        return image

    def forces(self, forces: Floats) -> Floats:
        """(n_atoms, 3) forces on the mirror image."""
        image = np.empty_like(forces)
        image[self.order] = forces[:-1] @ self.rotation.T
        image[-1] = self.rotation @ forces[-1]
        return image

    def path(self, path_A: Floats) -> Floats:
        """(n, 3) the mirror image of a path, run backwards: the same path if it is symmetric."""
        return (path_A @ self.rotation.T + self.shift_A)[::-1]


def hop_cell_of_crystal(
    crystal: Crystal,
    hop: Hop,
    min_distance_A: float,
    max_atoms: int,
    relaxed: Crystal | None = None,
) -> HopCell:
    """A hop of an ordered crystal in its smallest sufficient supercell, its sites emptied.

    Both ends are empty, and so is what the path leads over: with an ion on a site between them
    there would be no such hop. The cell stays neutral, since a missing ion takes its electrons
    along; the note says how many ions more are missing than at the ends, and whether that leaves
    anions oxidised, as no real crystal would be.

    Args:
        crystal: The crystal in a primitive cell.
        hop: The hop that was found in it.
        min_distance_A: Least distance of the ion from its copies.
        max_atoms: Most atoms in the supercell.
        relaxed: The same crystal with atoms, and perhaps cell, relaxed: it is repeated instead, and
            the path follows its sites.

    Raises:
        UnusableStructureError: A disordered crystal, or too many atoms.
    """
    if not crystal.is_ordered:
        raise UnusableStructureError(
            f"{hop.id}: the crystal is disordered, whole atoms are needed; give an ordered cell"
        )
    sites_frac, path_frac = _placed(crystal, relaxed or crystal, hop)
    crystal = relaxed or crystal
    rotations, _ = space_group(crystal)
    along = path_frac[-1] - path_frac[0]
    turns = rotations[np.all(np.abs(rotations @ along + along) < 1e-3, axis=1)]
    rows = _supercell(crystal, hop, turns, min_distance_A, max_atoms)
    cells = cells_in(rows)
    lattice = rows @ crystal.lattice
    host = ((crystal.frac[None] + cells[:, None]) @ crystal.lattice).reshape(-1, 3)
    symbols = [next(iter(s)) for s in crystal.species] * len(cells)
    sites = sites_frac @ crystal.lattice
    mobile = np.array([s == hop.working_ion for s in symbols])
    offset = (host - sites[:, None]) @ np.linalg.inv(lattice)
    distance = np.linalg.norm((offset - np.rint(offset)) @ lattice, axis=2)
    near = (distance < SAME_POINT_A) | (mobile & (distance < EXCLUSION_A))
    at_ends, emptied = near[:2].any(axis=0), near.any(axis=0)
    left = tuple(s for s, out in zip(symbols, emptied, strict=True) if not out)
    return HopCell(
        id=hop.id,
        working_ion=hop.working_ion,
        lattice=lattice,
        symbols=left,
        host_A=host[~emptied],
        path_A=path_frac @ crystal.lattice,
        carrier="vacancy" if at_ends.sum() > 1 else "interstitial",
        family=hop.family,
        passed_A=sites[2:],
        note=_passing(len(sites) - 2, int((emptied & ~at_ends).sum()), left, hop, symbols),
    )


def _placed(crystal: Crystal, relaxed: Crystal, hop: Hop) -> tuple[Floats, Floats]:
    """Emptied sites and path in fractions of a crystal, moved as its atoms were relaxed."""
    inverse = np.linalg.inv(crystal.lattice)
    sites, path = emptied_sites(hop) @ inverse, hop.path_A @ inverse
    shift = np.array([_site_shift(crystal, relaxed, site) for site in sites])
    share = np.linspace(0.0, 1.0, len(path))[:, None]
    return sites + shift, path + (1 - share) * shift[0] + share * shift[1]


def _site_shift(crystal: Crystal, relaxed: Crystal, point: Floats) -> Floats:
    """(3,) fractional shift of the site at a point; zero where no atom sits."""
    offset = crystal.frac - point
    distance = np.linalg.norm((offset - np.rint(offset)) @ crystal.lattice, axis=1)
    site = int(np.argmin(distance))
    if distance[site] > SAME_POINT_A:
        return np.zeros(3)
    return np.asarray(relaxed.frac[site] - crystal.frac[site])


def _passing(n_sites: int, n_ions: int, left: Sequence[str], hop: Hop, whole: Sequence[str]) -> str:
    """What is to be said of a hop over further sites, empty where there are none.

    Args:
        n_sites: Sites on the way.
        n_ions: Ions that left them.
        left: Elements of the host that is left.
        hop: The hop.
        whole: Elements of the cell before any ion left.
    """
    if not n_sites:
        return ""
    said = f"the path leads over {n_sites} further site{'s' * (n_sites > 1)}, "
    if not n_ions:
        return said + "empty before"
    said += f"emptied with the ends ({n_ions} {hop.working_ion} more missing)"
    try:
        before = formula_oxidation_states(Counter(whole))
        after = formula_oxidation_states(Counter([*left, hop.working_ion]))
    except UnusableStructureError:  # no anion
        return said
    oxidised = [s for s, state in after.items() if before[s] < 0 and state > before[s] + 0.01]
    if oxidised:
        said += f", no cation can make up for the charge: {', '.join(oxidised)} is left oxidised"
    return said


def hop_cell_of_hop(hop: Hop, min_distance_A: float, max_atoms: int) -> HopCell:
    """A hop record as whole atoms: its own cell, repeated where that is too small.

    The repetitions hold the moving ion at its initial site, so that the composition is that of the
    record. What the path leads over is emptied, as in :func:`hop_cell_of_crystal`.

    Args:
        hop: A hop with an ordered host, on the path to start from.
        min_distance_A: Least distance of the ion from its copies.
        max_atoms: Most atoms in the cell.

    Raises:
        UnusableStructureError: A disordered host, or too many atoms.
    """
    sites = Crystal(
        hop.id,
        hop.lattice,
        (*hop.host_species, {hop.working_ion: 1.0}),
        np.vstack([hop.host_frac, hop.path_frac[0]]),
    )
    if not sites.is_ordered:
        raise UnusableStructureError(
            f"{hop.id}: the host is disordered, whole atoms are needed; give an ordered cell"
        )
    rows = _supercell(sites, hop, np.eye(3, dtype=int)[None], min_distance_A, max_atoms)
    cells = cells_in(rows)
    lattice = rows @ hop.lattice
    everywhere = ((sites.frac[None] + cells[:, None]) @ hop.lattice).reshape(-1, 3)
    here = int(np.flatnonzero(np.all(cells == 0, axis=1))[0])
    moving = here * sites.n_sites + sites.n_sites - 1
    symbols = [next(iter(s)) for s in sites.species] * len(cells)
    del symbols[moving]
    host = np.delete(everywhere, moving, axis=0)
    ions, met_A = _met(lattice, host, symbols, hop)
    left = tuple(s for k, s in enumerate(symbols) if k not in ions)
    passed = np.concatenate([emptied_sites(hop)[2:], met_A])
    return HopCell(
        id=hop.id,
        working_ion=hop.working_ion,
        lattice=lattice,
        symbols=left,
        host_A=np.delete(host, ions, axis=0),
        path_A=hop.path_A,
        carrier="as given",
        family=hop.family,
        passed_A=passed,
        note=_passing(len(passed), len(ions), left, hop, symbols),
    )


def _met(
    lattice: Floats, host_A: Floats, symbols: Sequence[str], hop: Hop
) -> tuple[list[int], Floats]:
    """Ions of the working kind that a path leads over: indices, and (n, 3) where it meets them.

    One at an end is none of them: there is no hop onto an ion.
    """
    mobile = np.flatnonzero([s == hop.working_ion for s in symbols])
    frac = host_A[mobile] @ np.linalg.inv(lattice)
    _, at_ends, _, _ = neighbors_within(lattice, frac, hop.path_A[[0, -1]], PASSING_A)
    _, ion, cell, distance = neighbors_within(lattice, frac, hop.path_A, PASSING_A)
    nearest = {int(ion[k]): int(k) for k in np.argsort(-distance, kind="stable")}
    ions = sorted(set(nearest) - set(at_ends.tolist()))
    met = [(frac[i] + cell[nearest[i]]) @ lattice for i in ions]
    return mobile[ions].tolist(), np.array(met).reshape(-1, 3)


def _supercell(
    crystal: Crystal,
    hop: Hop,
    rotations: NDArray[np.int64],
    min_distance_A: float,
    max_atoms: int,
) -> NDArray[np.int64]:
    """The smallest sufficient supercell, or an error that names the hop and both limits."""
    most = max(max_atoms // crystal.n_sites, 1)
    try:
        return smallest_supercell(crystal.lattice, rotations, min_distance_A, most)
    except UnusableStructureError as error:
        raise UnusableStructureError(
            f"{hop.id}: {error}; that is more than {max_atoms} atoms"
        ) from error


def mirror_of(cell: HopCell) -> Mirror | None:
    """The operation that turns the hop round, None where the host has none.

    Of several the one is taken that changes the path least.
    """
    inverse = np.linalg.inv(cell.lattice)
    ends = cell.path_A[[0, -1]] @ inverse
    host = cell.host_A @ inverse
    ions = "vacant site"
    both = Crystal(
        cell.id,
        cell.lattice,
        tuple({s: 1.0} for s in (*cell.symbols, ions, ions)),
        np.vstack([host, ends]),
    )
    best: tuple[float, Mirror] | None = None
    for rotation, translation in zip(*space_group(both, SYMMETRY_TOLERANCE_A), strict=True):
        there = rotation @ ends[0] + translation - ends[1]
        back = rotation @ ends[1] + translation - ends[0]
        cellwise = np.rint(there)
        if np.abs(there - cellwise).max() > 0.02 or np.abs(back - cellwise).max() > 0.02:
            continue
        gap = (host @ rotation.T + translation)[:, None] - host
        distance = np.linalg.norm((gap - np.rint(gap)) @ cell.lattice, axis=2)
        order = np.argmin(distance, axis=1)
        if len(set(order.tolist())) < len(order):
            continue
        mirror = Mirror(
            rotation=cell.lattice.T @ rotation @ inverse.T,
            order=order.astype(np.int64),
            host_A=cell.host_A,
            shift_A=(translation - cellwise) @ cell.lattice,
        )
        path = resample(cell.path_A, 21)
        change = float(np.linalg.norm(mirror.path(path) - path, axis=1).max())
        if change < PATH_TOLERANCE_A and (best is None or change < best[0] - 1e-3):
            best = change, mirror
    return None if best is None else best[1]


def made_symmetric(cell: HopCell, mirror: Mirror) -> HopCell:
    """The cell with the mean of its path and the mirror image of it."""
    path = resample(cell.path_A, 21)
    return replace(cell, path_A=0.5 * (path + mirror.path(path)))
