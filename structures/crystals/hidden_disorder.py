"""Disorder that an ordered cell does not state, but the symmetry of its framework shows.

Computed crystals are ordered: of sites that are alike some are filled and others empty, and
elements that share a site in the real crystal alternate. The framework still tells. Its symmetry,
anions taken for anions and cations for cations, takes ions to places where none is (empty sites as
good as the filled ones) and sites of the host to sites that hold another element. A crystal in
which every site is its own has neither.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import spglib
from numpy.typing import NDArray

from ionbridge.structures.chemistry.composition import oxidation_states
from ionbridge.structures.crystals.canonical_cell import canonical_cell
from ionbridge.structures.crystals.symmetry import (
    SCALE_STEP,
    SEARCH_DECIMALS,
    SYMPREC_A,
    from_spglib,
    site_kinds,
)
from ionbridge.structures.records import Crystal, UnusableStructureError

TOLERANCE_A = 0.3
"""How far relaxation may have moved atoms of the framework from where its symmetry has them."""
SAME_SITE_A = 0.7
"""Images this close are one site of the ion."""
BLOCKED_A = 1.0
"""This close to an atom of the host there is no site."""
FILLED = 0.01
"""Occupancy from which a site holds the ion."""
FULL = 0.999
"""Occupancy from which a site counts as full."""

Floats = NDArray[np.float64]


class HiddenDisorder(NamedTuple):
    """What the symmetry of a framework says of a crystal.

    Attributes:
        is_ion_full: True where all sites that it makes equal for the ion are full.
        is_host_ordered: True where all sites of the host that it makes equal hold the same.
    """

    is_ion_full: bool
    is_host_ordered: bool


def hidden_disorder(crystal: Crystal, working_ion: str) -> HiddenDisorder:
    """Whether ion and host would be ordered if all that the framework makes equal were equal.

    Args:
        crystal: Ordered or disordered crystal.
        working_ion: Symbol of the mobile ion.
    """
    crystal = canonical_cell(crystal).crystal
    occupancy = crystal.occupancy(working_ion)
    ion = occupancy > FILLED
    kinds = site_kinds(crystal)[0]
    whole = np.array([len(s) == 1 and sum(s.values()) >= FULL for s in crystal.species])
    full = bool((occupancy[ion] >= FULL).all())
    ordered = bool(whole[~ion].all())
    found: _Symmetry | None = None
    if ion.any() and not ion.all() and (full or ordered):  # the framework makes nothing ordered
        found = _symmetry(crystal.lattice, crystal.frac[~ion], _roles(crystal)[~ion])
    if found is None:
        return HiddenDisorder(full, ordered)
    equal = found.equivalent
    n_contents = len(np.unique(equal * (kinds.max() + 1) + kinds[~ion]))
    ordered = ordered and n_contents == len(np.unique(equal))
    if full:
        images = _images(crystal.frac[ion], found.rotations, found.translations)
        full = not _has_empty(images, crystal.frac[ion], crystal.frac[~ion], crystal.lattice)
    return HiddenDisorder(full, ordered)


class _Symmetry(NamedTuple):
    """Operations (n, 3, 3) and (n, 3), and (n_sites,) a number for each set of equal sites."""

    rotations: Floats
    translations: Floats
    equivalent: NDArray[np.int64]


def _symmetry(lattice: Floats, frac: Floats, roles: NDArray[np.int64]) -> _Symmetry | None:
    """The highest symmetry of a framework by roles within the tolerance; None where there is none.

    As in :mod:`ionbridge.structures.crystals.symmetry` the cell is made one of volume one, so that
    substituted crystals ask once for each framework.
    """
    scale_A = abs(np.linalg.det(lattice)) ** (1.0 / 3.0)
    if not 0.0 < scale_A < np.inf:
        return None
    rounded = np.round(frac, SEARCH_DECIMALS) + 0.0
    order = np.lexsort((*rounded.T, roles))  # by place: elements are sorted by their names
    found = _highest(
        (np.round(lattice / scale_A, SEARCH_DECIMALS) + 0.0).tobytes(),
        rounded[order].tobytes(),
        tuple(roles[order].tolist()),
        round(math.log(TOLERANCE_A / scale_A) / SCALE_STEP),
    )
    if found is None:
        return None
    equivalent = np.empty(len(frac), dtype=np.int64)
    equivalent[order] = found.equivalent
    return found._replace(equivalent=equivalent)


@lru_cache(maxsize=1024)
def _highest(lattice: bytes, frac: bytes, roles: tuple[int, ...], step: int) -> _Symmetry | None:
    """The symmetry with most operations that spglib finds, starting from one atom or another.

    It takes the first atom of the rarest kind for the place where the symmetry lies, so that within
    a wide tolerance the answer hangs on the order of the atoms. One of each set of atoms that are
    equal within a narrow one comes first in turn.
    """
    points, kinds = np.frombuffer(frac).reshape(-1, 3), np.array(roles)
    cell = np.frombuffer(lattice).reshape(3, 3), points, kinds
    tolerance = math.exp(step * SCALE_STEP)
    alike = from_spglib(spglib.get_symmetry, cell, symprec=tolerance * SYMPREC_A / TOLERANCE_A)
    sets = np.arange(len(kinds)) if alike is None else np.asarray(alike["equivalent_atoms"])
    names, counts = np.unique(kinds, return_counts=True)
    best: _Symmetry | None = None
    for first in np.unique(sets[kinds == names[counts.argmin()]]):
        order = np.concatenate([[first], np.delete(np.arange(len(kinds)), first)])
        turned = cell[0], points[order], kinds[order]
        found = from_spglib(spglib.get_symmetry, turned, symprec=tolerance)
        if found is None or (best is not None and len(found["rotations"]) <= len(best.rotations)):
            continue
        equivalent = np.empty(len(kinds), dtype=np.int64)
        equivalent[order] = found["equivalent_atoms"]
        best = _Symmetry(found["rotations"].astype(float), found["translations"], equivalent)
    return best


def _roles(crystal: Crystal) -> NDArray[np.int64]:
    """(n_sites,) 1 for anions, 2 for cations; what each site holds where charges are unknown."""
    try:
        states = oxidation_states(crystal)
    except UnusableStructureError:
        return site_kinds(crystal)[0]
    charge = [
        sum(amount * state[symbol] for symbol, amount in site.items())
        for site, state in zip(crystal.species, states, strict=True)
    ]
    return np.where(np.array(charge) < 0, 1, 2)


def _images(frac: Floats, rotations: Floats, translations: Floats) -> Floats:
    """(n, 3) all images of (n_sites, 3) sites in one cell."""
    images = np.einsum("gij,nj->gni", rotations, frac) + translations[:, None]
    return np.asarray(images.reshape(-1, 3))


def _has_empty(images: Floats, ions: Floats, host: Floats, lattice: Floats) -> bool:
    """Whether an image of an ion is neither a site of the ion nor in an atom of the host."""
    for part in np.array_split(images, max(1, len(images) // 2000)):
        free = _nearest_A(part, ions, lattice) > SAME_SITE_A
        if (_nearest_A(part[free], host, lattice) > BLOCKED_A).any():
            return True
    return False


def _nearest_A(points: Floats, others: Floats, lattice: Floats) -> Floats:
    """(n,) distance of each point to the nearest of the others, for distances of an atom's size."""
    offset = points[:, None] - others[None]
    offset -= np.rint(offset)
    distance = np.linalg.norm(offset @ lattice, axis=2)
    return np.asarray(distance.min(axis=1, initial=np.inf), dtype=np.float64)
