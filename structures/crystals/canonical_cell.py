"""One cell, one origin and one order of the atoms for a crystal, in whatever form it came.

Everything that is chosen later among things equal by symmetry (the hop that represents an orbit,
the order of sites and hops, supercells) is chosen by whole numbers and coordinates of this cell, so
that it depends on neither setting, origin, order of the atoms, rotation, nor the last digits.

The cell is a primitive one with short vectors (:func:`compact_bases`). Bases and origins that this
leaves open are told apart by a number that is the same for those equal by symmetry and different
for others: a sum over all atoms of a smooth function without symmetry of the fractional
coordinates (:func:`_likeness`). Coordinates are the mean over the space group, rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.compiled import compiled
from ionbridge.structures.crystals.symmetry import (
    FIRST_TETRAGONAL,
    Group,
    Setting,
    SiteImages,
    primitive_cell,
    setting_of,
    site_images,
    site_kinds,
    symmetry_of,
)
from ionbridge.structures.records import Crystal, SameContent
from ionbridge.structures.ties import TIE_A, first_of, ranks, sorted_points

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TOLERANCES_A = (0.05, 0.036, 0.026, 0.019, 0.014, 0.01, 0.005, 0.001)
"""Tolerances of the search for a space group, tried in turn: the first group is taken that the
crystal has within ROUGHNESS_A and MAX_STRAIN, whatever the search makes of its tolerance."""
ROUGHNESS_A = 0.0097
"""Atoms this close to their mean over the space group are there but for rounding."""
MAX_STRAIN = 0.00207
"""The same for the lattice, relative."""
LENGTH_DECIMALS, COORDINATE_DECIMALS = 8, 9
"""Lattice vectors (angstrom) and fractional coordinates are rounded so; below it is noise."""
ORIGIN_TIE = 3.7e-6
"""Origins whose likeness differs by less, an atom and unit of weight, are equal by symmetry."""

_STEPS = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), axis=-1).reshape(-1, 3)
_STEPS = _STEPS[np.any(_STEPS != 0, axis=1)]


@dataclass(frozen=True, eq=False)
class CanonicalCell:
    """A crystal in its canonical cell, and where that lies in the crystal as it was given.

    Attributes:
        crystal: First lattice vector along x, second one in the plane of x and y, right-handed; an
            atom of the rarest kind at the origin; atoms ordered by kind, then by coordinates.
        group: Rotations (n, 3, 3) and translations (n, 3) of its space group, fractional.
        rotation: (3, 3) A point r of the canonical cell lies at ``r @ rotation + origin_A``.
        origin_A: (3,) cartesian, angstrom.
        setting: Number of the space group and its standard cell, where symmetry alone fixes it;
            None where the search for the group did not tell.
    """

    crystal: Crystal
    group: Group
    rotation: Floats
    origin_A: Floats
    setting: Setting | None

    def placed(self, points_A: Floats) -> Floats:
        """(..., 3) points of the canonical cell, angstrom, where the given crystal has them."""
        return points_A @ self.rotation + self.origin_A

    def placed_frac(self, frac: Floats) -> Floats:
        """(n, 3) fractional coordinates in the same cell, counted from the given origin."""
        return frac + self.origin_A @ np.linalg.inv(self.crystal.lattice @ self.rotation)

    @property
    def placed_crystal(self) -> Crystal:
        """The same cell and order of atoms, turned and moved to where the given crystal is."""
        return replace(
            self.crystal,
            lattice=self.crystal.lattice @ self.rotation,
            frac=self.placed_frac(self.crystal.frac),
        )


def canonical_cell(crystal: Crystal) -> CanonicalCell:
    """The canonical cell of a crystal, coordinates averaged over the space group.

    Args:
        crystal: Ordered or disordered, in any cell.
    """
    cell = _canonical_cell(SameContent(crystal))
    own = cell.crystal
    return replace(
        cell,
        crystal=replace(crystal, lattice=own.lattice, species=own.species, frac=own.frac),
    )


@lru_cache(maxsize=256)
def _canonical_cell(given: SameContent) -> CanonicalCell:
    crystal = given.crystal
    crystal, images, setting = symmetrised(crystal)
    kind, _ = site_kinds(crystal)
    rare = np.flatnonzero(kind == _rarest(kind))
    bases = compact_bases(crystal.lattice)
    likeness = np.array([_likeness(crystal.frac @ np.linalg.inv(b), kind, rare) for b in bases])
    equal = likeness > likeness.max() - ORIGIN_TIE * kind.sum()
    basis = int(np.argmax(equal.any(axis=1)))
    lattice = bases[basis] @ crystal.lattice
    upright = np.linalg.cholesky(lattice @ lattice.T)
    width = np.diag(upright)
    frac = crystal.frac @ np.linalg.inv(bases[basis])
    origins = wrapped(frac[rare[equal[basis]]], lattice)
    origin = origins[first_of(-origins * width, TIE_A)]
    frac = wrapped(frac - origin, lattice)
    change = bases[basis].T
    rotation = np.rint(np.linalg.inv(change) @ images.rotation @ change).astype(np.int64)
    group = rotation, _translations(frac, rotation, images.index)
    order = sorted_points(frac * width, TIE_A, kind)
    crystal = replace(
        crystal,
        lattice=np.asarray(np.round(upright, LENGTH_DECIMALS) + 0.0, dtype=np.float64),
        species=tuple(crystal.species[k] for k in order),
        frac=np.round(frac[order], COORDINATE_DECIMALS) + 0.0,
    )
    return CanonicalCell(
        crystal=crystal,
        group=group,
        rotation=np.linalg.inv(upright) @ lattice,
        origin_A=origin @ lattice,
        setting=setting,
    )


def _rarest(kind: Integers) -> int:
    """The kind of the fewest sites, the first of several."""
    return int(np.argmin(np.bincount(kind)[1:])) + 1


def _likeness(frac: Floats, kind: Integers, origins: Integers) -> Floats:
    """(n_origins,) a number that tells crystals in one lattice apart, whatever the order of atoms.

    The sum over atoms, weighted by kind, of exp(cos(2 pi x - 1) + 0.7 cos(2 pi y - 2) +
    0.4 cos(2 pi z - 3)), a function that no symmetry operation leaves as it is.

    Args:
        frac: (n, 3) fractional coordinates.
        kind: (n,) weights.
        origins: (n_origins,) atoms from which coordinates are counted in turn.
    """
    phase = 2 * np.pi * (frac - frac[origins, None]) - [1.0, 2.0, 3.0]
    return np.asarray(np.exp(np.cos(phase) @ [1.0, 0.7, 0.4]) @ kind)


def wrapped(frac: Floats, lattice: Floats) -> Floats:
    """Coordinates within the cell; one at its upper face, but for rounding, goes to the lower."""
    return np.asarray(frac - np.floor(frac + TIE_A / np.linalg.norm(lattice, axis=1)))


def symmetrised(crystal: Crystal) -> tuple[Crystal, SiteImages, Setting | None]:
    """A primitive cell with metric and coordinates averaged over the space group.

    Args:
        crystal: In any cell.

    Returns:
        The crystal, neither turned nor moved, where its group takes the sites (that of the identity
        alone where no group fits), and the standard setting where symmetry says which axes are its
        own (from tetragonal on) and the loosest tolerance found the group: a narrower one cannot
        find a larger.
    """
    short = compact_bases(crystal.lattice)[0]
    lattice = short @ crystal.lattice
    frac = wrapped(crystal.frac @ np.linalg.inv(short), lattice)
    crystal = replace(crystal, lattice=lattice, frac=frac)
    for tolerance_A in TOLERANCES_A:
        primitive, found = crystal, symmetry_of(crystal, tolerance_A)
        if _has_translations(found.group):
            primitive = primitive_cell(crystal, tolerance_A)
            found = symmetry_of(primitive, tolerance_A)
        kinds = site_kinds(primitive)[0]
        images = site_images(found.group, primitive.lattice, primitive.frac, kinds)
        if len(images.rotation) != len(found.group[0]):
            continue
        mean = _mean(primitive, images)
        if _is_near(crystal, primitive, mean):
            is_fixed = found.number >= FIRST_TETRAGONAL and tolerance_A == TOLERANCES_A[0]
            return mean, images, setting_of(found, mean.lattice) if is_fixed else None
    return crystal, SiteImages.of_identity(crystal.n_sites), None


def _has_translations(group: Group) -> bool:
    """Whether a group holds translations by a part of the cell, so that a smaller one will do."""
    return int((group[0] == np.eye(3, dtype=np.int64)).all(axis=(1, 2)).sum()) > 1


def _mean(crystal: Crystal, images: SiteImages) -> Crystal:
    """Metric and coordinates averaged over operations; the lattice keeps its orientation."""
    metric = crystal.lattice @ crystal.lattice.T
    metric = (images.rotation.transpose(0, 2, 1) @ metric @ images.rotation).sum(axis=0)
    inverse = np.linalg.inv(crystal.lattice)
    value, vector = np.linalg.eigh(inverse @ metric @ inverse.T / len(images.rotation))
    lattice = crystal.lattice @ ((vector * np.sqrt(value)) @ vector.T)
    moved = np.einsum("gab,nb->gna", images.rotation, crystal.frac) - images.cell
    place = np.take_along_axis(crystal.frac[None], images.index[..., None], axis=1)
    moved += (place - moved).mean(axis=1, keepdims=True)  # the translations that fit best
    mean = np.zeros_like(moved)
    np.put_along_axis(mean, images.index[..., None], moved, axis=1)
    return replace(crystal, lattice=lattice, frac=mean.mean(axis=0))


def _is_near(crystal: Crystal, primitive: Crystal, mean: Crystal) -> bool:
    """True if a crystal is its mean over a group but for rounding, in lattice and in every atom."""
    strain = np.linalg.inv(primitive.lattice) @ mean.lattice - np.eye(3)
    if np.abs(strain).max() > MAX_STRAIN:
        return False
    change = crystal.lattice @ np.linalg.inv(primitive.lattice)
    own, (kind, _) = site_kinds(crystal)[0], site_kinds(mean)
    sites = np.ascontiguousarray(mean.frac), kind, np.ascontiguousarray(mean.lattice)
    return bool(_all_found(np.ascontiguousarray(crystal.frac @ change), own, *sites, ROUGHNESS_A))


@compiled
def _all_found(
    frac: Floats,
    kind: Integers,
    sites: Floats,
    site_kind: Integers,
    lattice: Floats,
    radius_A: float,
) -> bool:
    """Whether every point has a site of its kind within a radius that is small beside the cell.

    Args:
        frac: (n, 3) points.
        kind: (n,) of the points.
        sites: (n_sites, 3) fractional, in the same cell.
        site_kind: (n_sites,).
        lattice: (3, 3) rows, angstrom.
        radius_A: Radius.
    """
    offset = np.empty(3)
    for i in range(len(frac)):
        found = False
        for j in range(len(sites)):
            if found or kind[i] != site_kind[j]:
                continue
            for a in range(3):
                offset[a] = frac[i, a] - sites[j, a]
                offset[a] -= np.rint(offset[a])
            square = 0.0
            for c in range(3):
                x = (
                    offset[0] * lattice[0, c]
                    + offset[1] * lattice[1, c]
                    + offset[2] * lattice[2, c]
                )
                square += x * x
            found = square < radius_A * radius_A
        if not found:
            return False
    return True


def _translations(frac: Floats, rotation: Integers, index: Integers) -> Floats:
    """(n, 3) the translations with which rotations take each site i to site ``index[g, i]``."""
    steps = frac[index] - np.einsum("gab,nb->gna", rotation, frac)
    first = steps[:, :1]
    return np.asarray(first[:, 0] + (np.mod(steps - first + 0.5, 1.0) - 0.5).mean(axis=1))


def compact_bases(lattice: Floats) -> Integers:
    """(n, 3, 3) all right-handed bases of a lattice that are as short and upright as any.

    Lengths are the three successive minima of the lattice, ascending. Of such bases those with the
    smallest sum of |cosines| are taken, of those the ones with the smallest scalar products a.b,
    then a.c, then b.c. What is left are turned copies of one another, those first whose vectors
    point most along x, then y, then z.

    Args:
        lattice: (3, 3) rows, angstrom, of either hand.

    Returns:
        Integer rows; the vectors are ``rows @ lattice``.
    """
    lattice = np.ascontiguousarray(lattice, dtype=np.float64)
    bases, vectors = _upright_bases(lattice, _STEPS @ _reduced(lattice))
    if len(bases) == 1:
        return bases
    along = [ranks(-column, TIE_A) for column in vectors.reshape(-1, 9).T]
    return np.asarray(bases[np.lexsort(along[::-1])])


@compiled
def _upright_bases(lattice: Floats, steps: Integers) -> tuple[Integers, Floats]:
    """(n, 3, 3) the bases of :func:`compact_bases` as integer rows and as vectors, in any order.

    Args:
        lattice: (3, 3) rows, angstrom.
        steps: (n, 3) lattice vectors, integer, among which are the shortest.
    """
    n = len(steps)
    points, length = np.zeros((n, 3)), np.empty(n)
    for i in range(n):
        for c in range(3):
            for a in range(3):
                points[i, c] += steps[i, a] * lattice[a, c]
        length[i] = math.sqrt(points[i, 0] ** 2 + points[i, 1] ** 2 + points[i, 2] ** 2)
    longest = _minima(steps, length)
    hand = 1 if _volume(lattice[0], lattice[1], lattice[2]) > 0.0 else -1
    n_bases = 0
    chosen, keys = np.empty((0, 3), np.int64), np.empty((0, 4))
    for is_counted in range(2):
        n_bases = 0
        for i in range(n):
            if length[i] >= longest[0] + TIE_A:
                continue
            for j in range(n):
                if length[j] >= longest[1] + TIE_A:
                    continue
                for k in range(n):
                    if length[k] >= longest[2] + TIE_A:
                        continue
                    if _volume(steps[i], steps[j], steps[k]) != hand:
                        continue
                    if is_counted:
                        u = _dot(points[i], points[j])
                        v = _dot(points[i], points[k])
                        w = _dot(points[j], points[k])
                        least = min(length[i], length[j], length[k])
                        most = max(length[i], length[j], length[k])
                        lean = abs(u) / (length[i] * length[j]) + abs(v) / (length[i] * length[k])
                        lean += abs(w) / (length[j] * length[k])
                        chosen[n_bases, 0], chosen[n_bases, 1], chosen[n_bases, 2] = i, j, k
                        keys[n_bases, 0] = (3.0 + 2.0 * lean) * least
                        keys[n_bases, 1], keys[n_bases, 2] = u / most, v / most
                        keys[n_bases, 3] = w / most
                    n_bases += 1
        if not is_counted:
            chosen, keys = np.empty((n_bases, 3), np.int64), np.empty((n_bases, 4))
    left = np.ones(n_bases, np.bool_)
    for k in range(4):
        least = np.inf
        for m in range(n_bases):
            if left[m]:
                least = min(least, keys[m, k])
        for m in range(n_bases):
            left[m] = left[m] and keys[m, k] < least + TIE_A
    n_left = 0
    for m in range(n_bases):
        n_left += left[m]
    bases, vectors = np.empty((n_left, 3, 3), np.int64), np.empty((n_left, 3, 3))
    n_left = 0
    for m in range(n_bases):
        if left[m]:
            for a in range(3):
                for c in range(3):
                    bases[n_left, a, c] = steps[chosen[m, a], c]
                    vectors[n_left, a, c] = points[chosen[m, a], c]
            n_left += 1
    return bases, vectors


@compiled
def _minima(steps: Integers, length: Floats) -> Floats:
    """(3,) the successive minima of a lattice, angstrom."""
    found, minima = np.zeros((2, 3), np.int64), np.full(3, np.inf)
    for k in range(3):
        shortest = 0
        for i in range(len(steps)):
            is_new = k == 0 or (k == 2 and _volume(found[0], found[1], steps[i]) != 0)
            for a in range(3):
                b = (a + 1) % 3
                differs = found[0, a] * steps[i, b] != found[0, b] * steps[i, a]
                is_new = is_new or (k == 1 and differs)
            if is_new and length[i] < minima[k]:
                minima[k], shortest = length[i], i
        if k < 2:
            for a in range(3):
                found[k, a] = steps[shortest, a]
    return minima


@compiled
def _volume(a: Floats, b: Floats, c: Floats) -> Any:
    """A . (b x c), whole for whole numbers."""
    total = a[0] * (b[1] * c[2] - b[2] * c[1])
    total += a[1] * (b[2] * c[0] - b[0] * c[2])
    return total + a[2] * (b[0] * c[1] - b[1] * c[0])


@compiled
def _dot(a: Floats, b: Floats) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled
def _reduced(lattice: Floats) -> Integers:
    """(3, 3) integer rows of a basis whose vectors no whole steps along the others make shorter."""
    rows, vectors = np.zeros((3, 3), np.int64), np.zeros((3, 3))
    for a in range(3):
        rows[a, a] = 1
        for c in range(3):
            vectors[a, c] = lattice[a, c]
    other = np.empty(3)
    changed = True
    while changed:
        changed = False
        for a in range(3):
            b, c = (a + 1) % 3, (a + 2) % 3
            for m in range(-1, 2):
                for n in range(-1, 2):
                    along, square, own = 0.0, 0.0, 0.0
                    for k in range(3):
                        other[k] = m * vectors[b, k] + n * vectors[c, k]
                        along += vectors[a, k] * other[k]
                        square += other[k] ** 2
                        own += vectors[a, k] ** 2
                    count = -np.rint(along / square) if square > 0.0 else 0.0
                    if (2.0 * along + count * square) * count < -1e-9 * own:
                        for k in range(3):
                            vectors[a, k] += count * other[k]
                            rows[a, k] += int(count) * (m * rows[b, k] + n * rows[c, k])
                        changed = True
    return rows
