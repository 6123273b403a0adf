"""The space group of a crystal, with partial occupancy, and where it takes sites and hops."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import spglib
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from structures.records import Crystal

SYMPREC_A = 0.02
"""Displacements up to this are taken for rounding of the coordinates."""
MAPPING_TOLERANCE_A = 0.1
"""A site and the image of an equivalent site lie closer than this."""


@dataclass(frozen=True, eq=False)
class SiteImages:
    """A group of symmetry operations, as what it does to a list of sites.

    Operation g takes site i to site ``index[g, i]`` in cell ``cell[g, i]``, and lattice vectors n
    (columns) to ``rotation[g] @ n``.

    Attributes:
        rotation: (n_operations, 3, 3) integer rotations of fractional coordinates.
        index: (n_operations, n_sites).
        cell: (n_operations, n_sites, 3).
    """

    rotation: NDArray[np.int64]
    index: NDArray[np.int64]
    cell: NDArray[np.int64]

    def orbits(self) -> NDArray[np.int64]:
        """(n_sites,) orbit number of each site, counted in order of first appearance."""
        return np.unique(self.index.min(axis=0), return_inverse=True)[1].astype(np.int64)


def space_group(
    crystal: Crystal, symprec_A: float = SYMPREC_A
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rotations (n, 3, 3) and translations (n, 3), fractional; the identity where spglib fails.

    Sites count as alike when their species and occupancies (to 0.001) agree. In a cell that is not
    primitive the lattice translations of the primitive one are among the operations.

    Args:
        crystal: Ordered or disordered crystal.
        symprec_A: Distance tolerance, angstrom.
    """
    kinds: dict[tuple[tuple[str, float], ...], int] = {}
    numbers = [
        kinds.setdefault(tuple(sorted((k, round(v, 3)) for k, v in s.items())), len(kinds) + 1)
        for s in crystal.species
    ]
    found = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = spglib.get_symmetry(
                (crystal.lattice.tolist(), crystal.frac.tolist(), numbers), symprec=symprec_A
            )
        except Exception:  # spglib's error classes differ between its versions
            found = None
    if found is None:
        return np.eye(3, dtype=np.int64)[None], np.zeros((1, 3))
    return found["rotations"].astype(np.int64), np.asarray(found["translations"], dtype=float)


def site_images(
    group: tuple[NDArray[np.int64], NDArray[np.float64]],
    lattice: NDArray[np.float64],
    frac: NDArray[np.float64],
) -> SiteImages:
    """What a space group does to sites that it maps onto each other.

    Args:
        group: Rotations and translations of :func:`space_group`.
        lattice: (3, 3) rows, angstrom.
        frac: (n_sites, 3) fractional coordinates, closed under the group.

    Returns:
        The images; those of the identity alone where a site has no image within
        MAPPING_TOLERANCE_A or two sites share one (coordinates too rough for the group).
    """
    rotation, translation = group
    n_sites = len(frac)
    lengths = np.linalg.norm(lattice, axis=1)
    wrapped = np.mod(np.mod(frac, 1.0), 1.0) * lengths
    tree = cKDTree(np.minimum(wrapped, np.nextafter(lengths, 0.0)), boxsize=lengths)
    image = np.einsum("gab,nb->gna", rotation, frac) + translation[:, None]
    target = np.minimum(np.mod(np.mod(image, 1.0), 1.0) * lengths, np.nextafter(lengths, 0.0))
    index = tree.query(target.reshape(-1, 3))[1].reshape(len(rotation), n_sites).astype(np.int64)
    offset = image - frac[index]
    cell = np.rint(offset).astype(np.int64)
    error = np.linalg.norm((offset - cell) @ lattice, axis=2)
    one_to_one = np.all(np.sort(index, axis=1) == np.arange(n_sites))
    if np.any(error > MAPPING_TOLERANCE_A) or not one_to_one:
        return SiteImages(
            rotation=np.eye(3, dtype=np.int64)[None],
            index=np.arange(n_sites)[None],
            cell=np.zeros((1, n_sites, 3), dtype=np.int64),
        )
    return SiteImages(rotation=rotation, index=index, cell=cell)
