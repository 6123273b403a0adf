"""The space group of a crystal, with partial occupancy, and where it takes sites and hops."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import spglib
from numpy.typing import NDArray

from ionbridge.structures.compiled import compiled
from ionbridge.structures.records import Crystal, Occupancy

SYMPREC_A = 0.02
"""Displacements up to this are taken for rounding of the coordinates."""
MAPPING_TOLERANCE_A = 0.1
"""A site and the image of an equivalent site lie closer than this."""
SCALE_STEP = 0.04
"""Tolerances of the search in units of the cell are powers of exp(SCALE_STEP)."""
SEARCH_DECIMALS = 7
"""Of coordinates, and of a cell of volume one."""
_SPGLIB_SETTING = "SPGLIB_OLD_ERROR_HANDLING"
T = TypeVar("T")


Group = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Rotations (n, 3, 3) and translations (n, 3) of fractional coordinates (columns)."""

Setting = tuple[int, tuple[float, float, float, float, float, float]]
"""International number of a space group; a, b, c (angstrom), alpha, beta, gamma (degrees) of the
cell of its standard setting."""

FIRST_MONOCLINIC, FIRST_ORTHORHOMBIC, FIRST_TETRAGONAL = 3, 16, 75
FIRST_TRIGONAL, FIRST_CUBIC = 143, 195
"""Space groups from which a crystal system begins."""
_PAIRS = ((1, 2), (0, 2), (0, 1))


class Symmetry(NamedTuple):
    """What spglib finds of a crystal.

    Attributes:
        group: Its operations.
        number: International number of the space group; 0 where spglib fails.
        standard: (3, 3) rows of the standard setting in terms of the lattice vectors.
    """

    group: Group
    number: int
    standard: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SiteImages:
    """Operations that generate a space group, as what they do to a list of sites.

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

    @classmethod
    def of_identity(cls, n_sites: int) -> SiteImages:
        """Every site stays where it is."""
        return cls(
            rotation=np.eye(3, dtype=np.int64)[None],
            index=np.arange(n_sites)[None],
            cell=np.zeros((1, n_sites, 3), dtype=np.int64),
        )

    def orbits(self) -> NDArray[np.int64]:
        """(n_sites,) orbit number of each site, counted in order of first appearance."""
        return joined(self.index)


@compiled
def joined(image: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) orbit number of each of n things, counted in order of first appearance.

    Args:
        image: (n_operations, n) where every generating operation takes each of them.
    """
    n_operations, n = image.shape
    above = np.arange(n)
    for g in range(n_operations):
        for i in range(n):
            p, q = i, image[g, i]
            while above[p] != p:
                above[p] = above[above[p]]
                p = above[p]
            while above[q] != q:
                above[q] = above[above[q]]
                q = above[q]
            above[max(p, q)] = min(p, q)
    orbit, count = np.empty(n, np.int64), 0
    for i in range(n):  # the first of an orbit is above all others
        if above[i] == i:
            orbit[i] = count
            count += 1
        else:
            orbit[i] = orbit[above[i]]
    return orbit


def primitive_cell(crystal: Crystal, symprec_A: float = SYMPREC_A) -> Crystal:
    """The crystal in a primitive cell, neither turned nor idealised; itself where it has one.

    Args:
        crystal: Ordered or disordered crystal.
        symprec_A: Distance tolerance, angstrom.
    """
    _, kinds = site_kinds(crystal)
    found = from_spglib(
        spglib.standardize_cell,
        spglib_cell(crystal),
        to_primitive=True,
        no_idealize=True,
        symprec=symprec_A,
    )
    if found is None or len(found[2]) >= crystal.n_sites:
        return crystal
    return replace(
        crystal,
        lattice=np.asarray(found[0], dtype=float),
        frac=np.asarray(found[1], dtype=float),
        species=tuple(kinds[k] for k in found[2]),
    )


def setting_of(symmetry: Symmetry, lattice: NDArray[np.float64]) -> Setting:
    """The standard setting of a crystal, what its system makes equal made equal.

    Args:
        symmetry: Of the crystal.
        lattice: (3, 3) its lattice vectors as rows, angstrom.
    """
    number, rows = symmetry.number, symmetry.standard @ lattice
    a, b, c = length = np.linalg.norm(rows, axis=1)
    angle = np.degrees([math.acos(rows[i] @ rows[j] / (length[i] * length[j])) for i, j in _PAIRS])
    if number >= FIRST_CUBIC:
        a = b = c = length.mean()
    elif number >= FIRST_TETRAGONAL:
        a = b = 0.5 * (a + b)
    if number >= FIRST_MONOCLINIC:
        angle[[0, 2]] = 90.0
    if number >= FIRST_ORTHORHOMBIC:
        angle[1] = 90.0
    if FIRST_TRIGONAL <= number < FIRST_CUBIC:
        angle[2] = 120.0
    alpha, beta, gamma = map(float, angle)
    return number, (float(a), float(b), float(c), alpha, beta, gamma)


def symmetry_of(crystal: Crystal, symprec_A: float = SYMPREC_A) -> Symmetry:
    """Operations, number and standard setting; those of no symmetry where spglib fails.

    Sites count as alike when their species and occupancies (to 0.001) agree. In a cell that is not
    primitive the lattice translations of the primitive one are among the operations.

    Args:
        crystal: Ordered or disordered crystal.
        symprec_A: Distance tolerance, angstrom.
    """
    found = _dataset(crystal, symprec_A)
    if found is None:
        return Symmetry((np.eye(3, dtype=np.int64)[None], np.zeros((1, 3))), 0, np.eye(3))
    return Symmetry(
        (found.rotations.astype(np.int64), np.asarray(found.translations, dtype=float)),
        int(found.number),
        np.linalg.inv(found.transformation_matrix).T,
    )


def space_group(crystal: Crystal, symprec_A: float = SYMPREC_A) -> Group:
    """Rotations (n, 3, 3) and translations (n, 3) of :func:`symmetry_of`."""
    return symmetry_of(crystal, symprec_A).group


def _dataset(crystal: Crystal, symprec_A: float) -> Any | None:
    """What spglib finds of a crystal made as large as one of volume one; None where it fails.

    With other elements in the same places, larger or smaller, a crystal has the same symmetry, so
    that thousands of substituted ones ask once for each framework. The tolerance is taken to within
    half a SCALE_STEP.
    """
    scale_A = crystal.volume_A3 ** (1.0 / 3.0)
    if not 0.0 < scale_A < np.inf:
        return None
    kind = site_kinds(crystal)[0]
    first, number = np.unique(kind, return_index=True, return_inverse=True)[1:]
    return _found(
        (np.round(crystal.lattice / scale_A, SEARCH_DECIMALS) + 0.0).tobytes(),
        (np.round(crystal.frac, SEARCH_DECIMALS) + 0.0).tobytes(),
        tuple(np.argsort(np.argsort(first))[number].tolist()),
        round(math.log(symprec_A / scale_A) / SCALE_STEP),
    )


@lru_cache(maxsize=1024)
def _found(lattice: bytes, frac: bytes, kind: tuple[int, ...], step: int) -> Any | None:
    cell = np.frombuffer(lattice).reshape(3, 3), np.frombuffer(frac).reshape(-1, 3), list(kind)
    symprec = math.exp(step * SCALE_STEP)
    return from_spglib(spglib.get_symmetry_dataset, cell, symprec=symprec)


def spglib_cell(crystal: Crystal) -> tuple[list[list[float]], list[list[float]], list[int]]:
    """Lattice, positions and numbers of kinds, as spglib takes a cell."""
    return crystal.lattice.tolist(), crystal.frac.tolist(), site_kinds(crystal)[0].tolist()


def site_kinds(crystal: Crystal) -> tuple[NDArray[np.int64], dict[int, Occupancy]]:
    """(n_sites,) a number from 1 for each content, in alphabetical order, and what each stands for.

    Occupancies count as alike when they agree to 0.001.
    """
    contents = [tuple(sorted((k, round(v, 3)) for k, v in s.items())) for s in crystal.species]
    number = {content: k for k, content in enumerate(sorted(set(contents)), start=1)}
    numbers = np.array([number[content] for content in contents], dtype=np.int64)
    return numbers, dict(zip(numbers.tolist(), crystal.species, strict=True))


def from_spglib(ask: Callable[..., T], *arguments: Any, **named: Any) -> T | None:
    """What a function of spglib answers; None where it fails, in whatever way.

    spglib raises errors only where it is told to by an environment variable, and warns otherwise.

    Args:
        ask: The function.
        *arguments: Of the function.
        **named: Of the function.
    """
    before = os.environ.get(_SPGLIB_SETTING)
    os.environ[_SPGLIB_SETTING] = "0"
    try:
        return ask(*arguments, **named)
    except Exception:  # spglib's error classes differ between its versions
        return None
    finally:
        del os.environ[_SPGLIB_SETTING]
        if before is not None:
            os.environ[_SPGLIB_SETTING] = before


def site_images(
    group: Group,
    lattice: NDArray[np.float64],
    frac: NDArray[np.float64],
    kind: NDArray[np.int64] | None = None,
) -> SiteImages:
    """What the generators of a space group do to sites that it maps onto each other.

    Args:
        group: Rotations and translations of :func:`space_group`.
        lattice: (3, 3) rows, angstrom.
        frac: (n_sites, 3) fractional coordinates, closed under the group.
        kind: (n_sites,) only sites of one kind are images of each other; by default all may be.

    Returns:
        The images; those of the identity alone where a site has no image within
        MAPPING_TOLERANCE_A or two sites share one (coordinates too rough for the group).
    """
    rotation, translation = _generators(*group)
    kinds = np.zeros(len(frac), np.int64) if kind is None else kind
    points = np.ascontiguousarray(frac, dtype=np.float64)
    index, cell = _images(
        rotation, np.ascontiguousarray(translation), points, kinds, np.ascontiguousarray(lattice)
    )
    if not len(index):
        return SiteImages.of_identity(len(frac))
    return SiteImages(rotation=rotation, index=index, cell=cell)


@compiled
def _images(
    rotation: NDArray[np.int64],
    translation: NDArray[np.float64],
    frac: NDArray[np.float64],
    kind: NDArray[np.int64],
    lattice: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index and cell of :class:`SiteImages`; of length zero where a site has no image of its own.

    The image is the nearest site of its kind.
    """
    n_operations, n_sites = len(rotation), len(frac)
    index = np.empty((n_operations, n_sites), np.int64)
    cell = np.empty((n_operations, n_sites, 3), np.int64)
    point, offset, whole = np.empty(3), np.empty(3), np.empty(3)
    nothing = np.empty((0, 0), np.int64), np.empty((0, 0, 3), np.int64)
    for g in range(n_operations):
        taken = np.zeros(n_sites, np.bool_)
        for i in range(n_sites):
            for a in range(3):
                point[a] = translation[g, a]
                for b in range(3):
                    point[a] += rotation[g, a, b] * frac[i, b]
            nearest = MAPPING_TOLERANCE_A**2
            found = -1
            for j in range(n_sites):
                if kind[j] != kind[i]:
                    continue
                for a in range(3):
                    offset[a] = point[a] - frac[j, a]
                    whole[a] = np.rint(offset[a])
                    offset[a] -= whole[a]
                square = 0.0
                for c in range(3):
                    x = 0.0
                    for a in range(3):
                        x += offset[a] * lattice[a, c]
                    square += x * x
                if square <= nearest:
                    nearest, found = square, j
                    for a in range(3):
                        cell[g, i, a] = int(whole[a])
            if found < 0 or taken[found]:
                return nothing
            taken[found] = True
            index[g, i] = found
    return index, cell


def _generators(rotation: NDArray[np.int64], translation: NDArray[np.float64]) -> Group:
    """One operation for each rotation, and all pure translations: few even in large supercells."""
    number = (rotation.reshape(-1, 9) + 32) @ 64 ** np.arange(9)  # entries are small
    chosen = np.unique(number, return_index=True)[1]
    pure = np.flatnonzero(number == (np.eye(3, dtype=np.int64).ravel() + 32) @ 64 ** np.arange(9))
    chosen = np.union1d(chosen, pure)
    return rotation[chosen], translation[chosen]
