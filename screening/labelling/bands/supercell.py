"""Supercells that keep a defect away from its periodic copies, with as few atoms as possible."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice

from ionbridge.structures.crystals.canonical_cell import compact_bases
from ionbridge.structures.records import UnusableStructureError
from ionbridge.structures.ties import TIE_A, first_of

Integers = NDArray[np.int64]

_STEPS = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), axis=-1).reshape(-1, 3)
_STEPS = _STEPS[np.any(_STEPS != 0, axis=1)]


def smallest_supercell(
    lattice: NDArray[np.float64],
    rotations: Integers,
    min_distance_A: float,
    max_multiple: int,
) -> Integers:
    """The supercell of least volume whose lattice vectors all have a given length.

    All sublattices are looked at, not the diagonal ones alone (Hermite normal forms; G. L. W. Hart
    and R. W. Forcade, Phys. Rev. B 77, 224115 (2008)). Of those with equal volume the one that
    keeps most of the rotations is taken, then the one with the longest shortest vector, the
    shortest vectors in sum, and the vectors that point most along x, then y, then z.

    Args:
        lattice: (3, 3) rows, angstrom.
        rotations: (n, 3, 3) rotations worth keeping, on fractional coordinates (columns).
        min_distance_A: Least distance of a point from its copies.
        max_multiple: Most cells in the supercell.

    Returns:
        (3, 3) integer rows; the supercell's lattice is ``rows @ lattice``, right-handed, compact.

    Raises:
        UnusableStructureError: More than `max_multiple` cells are needed.
    """
    lattice = np.asarray(lattice, dtype=float)
    for multiple in range(1, max_multiple + 1):
        if abs(np.linalg.det(lattice)) * multiple * np.sqrt(2) < min_distance_A**3 * (1 - 1e-9):
            continue  # less than the closest packing of spheres of this diameter
        found, merits = [], []
        for rows in _sublattices(multiple):
            shortest = shortest_vector(rows @ lattice)
            if shortest > min_distance_A - TIE_A:
                found.append(compact_bases(rows @ lattice)[0] @ rows)
                vectors = found[-1] @ lattice
                kept = _kept_rotations(found[-1], rotations)
                size = float(np.linalg.norm(vectors, axis=1).sum())
                merits.append([kept, shortest, -size, *vectors.ravel()])
        if found:
            answer: Integers = found[first_of(np.array(merits), TIE_A)]
            return answer
    raise UnusableStructureError(
        f"more than {max_multiple} cells are needed to keep the ion {min_distance_A:g} angstrom "
        "from its copies"
    )


def _sublattices(multiple: int) -> Iterator[Integers]:
    """Hermite normal forms of a determinant: every sublattice once."""
    for a in range(1, multiple + 1):
        if multiple % a:
            continue
        for b in range(1, multiple // a + 1):
            if (multiple // a) % b:
                continue
            c = multiple // a // b
            for d in range(b):
                for e in range(c):
                    for f in range(c):
                        yield np.array([[a, d, e], [0, b, f], [0, 0, c]])


def shortest_vector(lattice: NDArray[np.float64]) -> float:
    """Length of the shortest vector of a lattice, angstrom.

    Args:
        lattice: (3, 3) rows, angstrom.
    """
    compact = Lattice(lattice).get_lll_reduced_lattice().matrix
    length = np.linalg.norm(_STEPS @ compact, axis=1)
    return float(length.min())


def _kept_rotations(rows: Integers, rotations: Integers) -> int:
    """How many rotations map the sublattice onto itself."""
    moved = rows @ np.swapaxes(rotations, 1, 2) @ np.linalg.inv(rows)
    return int(np.all(np.abs(moved - np.rint(moved)) < 1e-6, axis=(1, 2)).sum())


def cells_in(rows: Integers) -> Integers:
    """(n, 3) integer cells of the original lattice, one for each cell in the supercell."""
    corners = np.stack(np.meshgrid(*[[0, 1]] * 3), axis=-1).reshape(-1, 3) @ rows
    low, high = corners.min(axis=0), corners.max(axis=0)
    grid = np.stack(
        np.meshgrid(*[np.arange(a, b + 1) for a, b in zip(low, high, strict=True)], indexing="ij"),
        axis=-1,
    ).reshape(-1, 3)
    frac = grid @ np.linalg.inv(rows)
    inside = np.all((frac > -1e-9) & (frac < 1 - 1e-9), axis=1)
    return np.asarray(grid[inside], dtype=np.int64)
