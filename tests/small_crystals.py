"""Crystals and hops of a few atoms, with no symmetry that could hide a mistake."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import special_ortho_group

from ionbridge.structures.crystals.neighbors import periodic_edges
from ionbridge.structures.records import Crystal, Hop

STATES = {"Li": 1.0, "O": -2.0, "Mn": 3.5, "P": 5.0, "Mg": 2.0, "Ca": 2.0, "S": -2.0}
SKEW = np.array([[5.1, 0.2, -0.4], [0.9, 5.6, 0.3], [-0.5, 1.1, 6.2]])
"""A triclinic cell, angstrom."""


def scattered(rng: np.random.Generator, lattice: NDArray, n: int, apart_A: float) -> NDArray:
    """(n, 3) random fractional points of which no two are closer than ``apart_A``."""
    points = np.empty((0, 3))
    for _ in range(20_000):
        trial = np.concatenate([points, rng.random((1, 3))])
        if len(periodic_edges(lattice, trial, apart_A)[0]) == 0:
            points = trial
        if len(points) == n:
            return points
    raise AssertionError(f"{n} points {apart_A} angstrom apart do not fit")


def skew_hop(seed: int = 0, **changes: Any) -> Hop:
    """A bent Li hop in a triclinic cell with a half-filled Mg site and a Li that stays."""
    rng = np.random.default_rng(seed)
    points = scattered(rng, SKEW, 7, 1.9)
    middle = points[:2].mean(axis=0) + 0.06 * rng.standard_normal(3)
    profile = [0.0, 0.3 + rng.random(), 0.4 * rng.random()]
    return replace(
        Hop(
            id=f"skew-{seed}",
            working_ion="Li",
            lattice=SKEW,
            host_species=({"Mn": 1.0}, {"O": 1.0}, {"O": 1.0}, {"Mg": 0.5}, {"Li": 1.0}),
            host_frac=points[2:],
            path_frac=np.stack([points[0], middle, points[1]]),
            extra={"path": "given", "bvse_profile_eV": profile, "oxidation_states": STATES},
        ),
        **changes,
    )


def one_atom_hop() -> Hop:
    """The smallest host: one anion in its cell, the ion on its way between two faces."""
    return Hop(
        id="one-atom",
        working_ion="Li",
        lattice=4.0 * np.eye(3),
        host_species=({"S": 1.0},),
        host_frac=np.zeros((1, 3)),
        path_frac=np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]),
        extra={"path": "given", "oxidation_states": STATES},
    )


def rotated(hop: Hop, seed: int = 1) -> Hop:
    """The hop turned in space."""
    return replace(hop, lattice=hop.lattice @ special_ortho_group.rvs(3, random_state=seed))


def translated(hop: Hop) -> Hop:
    """Host and path moved by a vector that is no lattice vector."""
    step = np.array([0.31, -0.77, 1.43])
    return replace(hop, host_frac=hop.host_frac + step, path_frac=hop.path_frac + step)


def wrapped(hop: Hop) -> Hop:
    """Host atoms put into the cell one by one, the path moved by a lattice vector."""
    return replace(
        hop,
        host_frac=np.mod(hop.host_frac + 0.5, 1.0) - 0.5,
        path_frac=hop.path_frac + np.array([1, -2, 3]),
    )


def permuted(hop: Hop, seed: int = 2) -> Hop:
    """The host atoms in another order."""
    order = np.random.default_rng(seed).permutation(len(hop.host_species))
    return replace(
        hop,
        host_species=tuple(hop.host_species[k] for k in order),
        host_frac=hop.host_frac[order],
    )


def other_cell(hop: Hop) -> Hop:
    """The same lattice spanned by other vectors."""
    change = np.array([[1, 1, 0], [0, 1, -2], [0, 0, 1]])
    back = np.linalg.inv(change)
    return replace(
        hop,
        lattice=change @ hop.lattice,
        host_frac=hop.host_frac @ back,
        path_frac=hop.path_frac @ back,
    )


def enlarged(hop: Hop, size: tuple[int, int, int] = (2, 1, 3)) -> Hop:
    """The host repeated; the path stays."""
    cells = np.array(list(itertools.product(*map(range, size))))
    return replace(
        hop,
        lattice=hop.lattice * np.array(size)[:, None],
        host_species=hop.host_species * len(cells),
        host_frac=np.concatenate([(hop.host_frac + c) / size for c in cells]),
        path_frac=hop.path_frac / size,
    )


SAME_HOP = {
    "rotated": rotated,
    "translated": translated,
    "wrapped": wrapped,
    "permuted": permuted,
    "other_cell": other_cell,
    "enlarged": enlarged,
}
"""Other descriptions of one and the same hop."""


def moved(hop: Hop, atom: int, by_A: float) -> Hop:
    """One host atom displaced: another hop."""
    frac = hop.host_frac.copy()
    frac[atom] += by_A * np.linalg.inv(hop.lattice)[0]
    return replace(hop, host_frac=frac)


def with_profile(hop: Hop, profile_eV: list[float]) -> Hop:
    """The hop with other bond-valence energies along its path."""
    return replace(hop, extra={**hop.extra, "bvse_profile_eV": profile_eV})


LOW_SYMMETRY = Crystal(
    id="low-symmetry",
    lattice=np.array([[4.3, 0.1, 0.0], [0.3, 4.6, 0.2], [0.1, 0.4, 4.9]]),
    species=({"Li": 1.0}, {"Li": 0.7}, {"Mn": 1.0}, {"O": 1.0}, {"O": 1.0}),
    frac=np.array(
        [
            [0.02, 0.01, 0.51],
            [0.49, 0.52, 0.03],
            [0.0, 0.0, 0.0],
            [0.52, 0.02, 0.01],
            [0.03, 0.47, 0.98],
        ]
    ),
    working_ion="Li",
)
"""Two inequivalent Li sites, one of them part filled, in a cell without symmetry."""

LAYERED = Crystal(
    id="LiCoO2",
    lattice=np.array(
        [
            [2.816 / 2, 2.816 / 12**0.5, 14.05 / 3],
            [-2.816 / 2, 2.816 / 12**0.5, 14.05 / 3],
            [0.0, -2.816 / 3**0.5, 14.05 / 3],
        ]
    ),
    species=({"Li": 1.0}, {"Co": 1.0}, {"O": 1.0}, {"O": 1.0}),
    frac=np.array([[0.5, 0.5, 0.5], [0, 0, 0], [0.2395] * 3, [0.7605] * 3]),
    working_ion="Li",
)
"""Primitive cell of layered LiCoO2 (R-3m)."""

ROCK_SALT = Crystal(
    id="LiCl",
    lattice=5.13 * (np.ones((3, 3)) - np.eye(3)) / 2,
    species=({"Li": 1.0}, {"Cl": 1.0}),
    frac=np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]),
    working_ion="Li",
)
"""Primitive cell of LiCl (Fm-3m): one hop, by way of a tetrahedron, its own reverse."""


def supercell(crystal: Crystal, size: tuple[int, int, int]) -> Crystal:
    """The crystal with a repeated cell."""
    cells = np.array(list(itertools.product(*map(range, size))))
    return replace(
        crystal,
        lattice=crystal.lattice * np.array(size)[:, None],
        species=crystal.species * len(cells),
        frac=np.concatenate([(crystal.frac + c) / size for c in cells]),
    )


def rewritten(
    crystal: Crystal,
    rows: NDArray,
    shift: NDArray,
    seed: int,
    noise_A: float = 0.0,
) -> Crystal:
    """The same crystal in another cell, from another origin, turned, its atoms in another order.

    Args:
        crystal: Any crystal.
        rows: (3, 3) whole numbers; the new lattice vectors in terms of the old ones.
        shift: (3,) cartesian shift of all atoms, angstrom.
        seed: Of the order, the rotation, the lattice vectors added to atoms, and the noise.
        noise_A: Standard deviation of displacements.
    """
    rng = np.random.default_rng(seed)
    n_cells = round(abs(np.linalg.det(rows)))
    box = np.array(list(itertools.product(range(-6, 7), repeat=3)))
    inside = np.floor(box @ np.linalg.inv(rows) + 1e-6).any(axis=1)
    cells = box[~inside]
    assert len(cells) == n_cells, "the new vectors are too long for this search"
    order = rng.permutation(crystal.n_sites * n_cells)
    frac = ((crystal.frac[None] + cells[:, None]).reshape(-1, 3) @ np.linalg.inv(rows))[order]
    turn = special_ortho_group.rvs(3, random_state=rng)
    lattice = rows @ crystal.lattice @ turn
    points = (frac + rng.integers(-2, 3, frac.shape)) @ lattice + shift
    points += noise_A * rng.standard_normal(frac.shape)
    species = crystal.species * n_cells
    return replace(
        crystal,
        lattice=lattice,
        species=tuple(species[k] for k in order),
        frac=points @ np.linalg.inv(lattice),
    )
