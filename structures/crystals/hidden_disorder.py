"""Disorder that an ordered cell does not state, but the symmetry of its framework shows.

Computed crystals are ordered: of sites that are alike some are filled and others empty, and
elements that share a site in the real crystal alternate. The framework still tells. Its symmetry,
anions taken for anions and cations for cations, takes ions to places where none is (empty sites as
good as the filled ones) and sites of the host to sites that hold another element. A crystal in
which every site is its own has neither.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import spglib
from numpy.typing import NDArray

from ionbridge.structures.chemistry.composition import oxidation_states
from ionbridge.structures.crystals.canonical_cell import canonical_cell
from ionbridge.structures.crystals.symmetry import from_spglib, site_kinds
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
    found = None
    if ion.any() and not ion.all() and (full or ordered):  # the framework makes nothing ordered
        cell = crystal.lattice.tolist(), crystal.frac[~ion].tolist(), _roles(crystal)[~ion].tolist()
        found = from_spglib(spglib.get_symmetry, cell, symprec=TOLERANCE_A)
    if found is None:
        return HiddenDisorder(full, ordered)
    equal = np.asarray(found["equivalent_atoms"])
    n_contents = len(np.unique(equal * (kinds.max() + 1) + kinds[~ion]))
    ordered = ordered and n_contents == len(np.unique(equal))
    if full:
        images = _images(crystal.frac[ion], found["rotations"], found["translations"])
        full = not _has_empty(images, crystal.frac[ion], crystal.frac[~ion], crystal.lattice)
    return HiddenDisorder(full, ordered)


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
