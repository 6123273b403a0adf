"""Bond-valence site energies (BVSE): energy of a mobile ion anywhere in a host.

Force field of S. Adams and R. P. Rao, Phys. Status Solidi A 208, 1746 (2011), as in softBV and
bvlain: Morse attraction to the anions, screened Coulomb repulsion from the cations,

    E(p) = sum_anions D0/2 ((e^{a (r_min - r)} - 1)^2 - 1)
         + sum_cations 14.4 q_ion q / sqrt(n_ion n) erfc(r / (0.74 (R_ion + R))) / r .

A disordered site counts with the occupancy of each of its species.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.structures.bond_valence.energy_grid import Landscape
from ionbridge.structures.bond_valence.minimum_energy_path import (
    lowest_path_on_a_grid,
    relax_string,
    resample,
)
from ionbridge.structures.bond_valence.pair_energy import (
    MIN_DISTANCE_A,
    SWITCH_WIDTH_A,
    PairEnergy,
    pair_energy,
    radial_tables,
    reach_A,
    slope_tables,
)
from ionbridge.structures.bond_valence.softbv import coulomb_pair, ion_charge, morse_pair
from ionbridge.structures.compiled import compiled
from ionbridge.structures.crystals.neighbors import images_within
from ionbridge.structures.records import Crystal, Hop, Occupancy, UnusableStructureError
from ionbridge.structures.ties import TIE_A, TIE_EV

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NEGLIGIBLE_PAIR_EV = 2e-4
"""Pair energies below this are left out of landscapes and string relaxations."""

ROUGH_PAIR_EV = 5e-3
"""Pair energies below this are left out of the search for a first path."""

PATH_STRETCH = 1.5
PATH_SLACK_A = 1.0
"""A path stays where |p - start| + |p - end| < 1.5 |end - start| + 1 angstrom."""

SHORTEST_PATH_A = 0.1
"""Ends closer than this are one site."""

OFF_AXIS_A = 0.3
"""An atom so far from the line between the ends tells the directions across it apart."""

_FINE_TABLE, _ROUGH_TABLE = 1 << 16, 1 << 10


@dataclass(frozen=True, eq=False)
class BondValenceField:
    """Energy of one working ion in a periodic host.

    Attributes:
        lattice: (3, 3) rows, angstrom.
        frac: (n_entries, 3) fractional coordinates, one entry for each species of each site.
        weight: (n_entries,) occupancies.
        kind: (n_entries,) index into `species`; anions come first.
        species: The distinct pair interactions.
        working_ion: Symbol of the mobile ion.
        cutoff_A: Interaction cutoff.
    """

    lattice: Floats
    frac: Floats
    weight: Floats
    kind: NDArray[np.int64]
    species: tuple[PairEnergy, ...]
    working_ion: str
    cutoff_A: float

    def energy(self, points_cart: ArrayLike) -> Floats:
        """Energy at arbitrary cartesian points.

        Args:
            points_cart: (n, 3) points, angstrom, inside or outside the cell.

        Returns:
            (n,) energies in eV.
        """
        return _energies(self._checked(points_cart), *self._host, self._parameters, self.cutoff_A)

    def derivatives(self, points_cart: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Energy, gradient and Hessian at arbitrary cartesian points.

        Args:
            points_cart: (n, 3) points, angstrom.

        Returns:
            (n,) energies in eV, (n, 3) gradients in eV/angstrom, (n, 3, 3) in eV/angstrom^2.
        """
        points = self._checked(points_cart)
        total = _sums(points, *self._host, self._parameters, self.cutoff_A)
        return total[:, 0], total[:, 1:4], total[:, _FULL].reshape(-1, 3, 3)

    @staticmethod
    def _checked(points_cart: ArrayLike) -> Floats:
        """(n, 3) points as loops take them."""
        points = np.ascontiguousarray(np.asarray(points_cart, dtype=np.float64).reshape(-1, 3))
        if not np.isfinite(points).all():
            raise ValueError("energies need finite coordinates, got NaN or infinity")
        return points

    @cached_property
    def _host(self) -> tuple[Floats, Floats, Floats, Floats, Integers]:
        """Lattice, its inverse, fractional coordinates, weights and kinds, as loops take them."""
        lattice = np.ascontiguousarray(self.lattice)
        frac = np.ascontiguousarray(self.frac)
        return lattice, np.asarray(np.linalg.inv(lattice)), frac, self.weight, self.kind

    @cached_property
    def _parameters(self) -> Floats:
        """(n_species, 4) of :func:`ionbridge.structures.bond_valence.pair_energy.pair_energy`."""
        return np.array([species.parameters for species in self.species])


_FULL = [4, 7, 8, 7, 5, 9, 8, 9, 6]
"""Where the elements of a Hessian stand in a row of `_sums`."""


@compiled
def _energies(
    points: Floats,
    lattice: Floats,
    inverse: Floats,
    frac: Floats,
    weight: Floats,
    kind: Integers,
    parameters: Floats,
    cutoff_A: float,
) -> Floats:
    """(n,) energies at (n, 3) points."""
    total = np.zeros(len(points))
    for p in range(len(points)):
        position, entry = images_within(points[p], cutoff_A, lattice, inverse, frac)
        for a in range(len(position)):
            square = 0.0
            for c in range(3):
                square += (points[p, c] - position[a, c]) ** 2
            e = entry[a]
            v = pair_energy(math.sqrt(square), parameters, kind[e], cutoff_A)[0]
            total[p] += weight[e] * v
    return total


@compiled
def _sums(
    points: Floats,
    lattice: Floats,
    inverse: Floats,
    frac: Floats,
    weight: Floats,
    kind: Integers,
    parameters: Floats,
    cutoff_A: float,
) -> Floats:
    """(n, 10) energies, gradients, and Hessians (xx, yy, zz, xy, xz, yz) at (n, 3) points."""
    total = np.zeros((len(points), 10))
    for p in range(len(points)):
        position, entry = images_within(points[p], cutoff_A, lattice, inverse, frac)
        for a in range(len(position)):
            x = points[p, 0] - position[a, 0]
            y = points[p, 1] - position[a, 1]
            z = points[p, 2] - position[a, 2]
            r = math.sqrt(x * x + y * y + z * z)
            e = entry[a]
            v, v1, v2 = pair_energy(r, parameters, kind[e], cutoff_A)
            r = max(r, MIN_DISTANCE_A)
            across = weight[e] * v1 / r
            along = (weight[e] * v2 - across) / (r * r)
            total[p, 0] += weight[e] * v
            total[p, 1] += across * x
            total[p, 2] += across * y
            total[p, 3] += across * z
            total[p, 4] += across + along * x * x
            total[p, 5] += across + along * y * y
            total[p, 6] += across + along * z * z
            total[p, 7] += along * x * y
            total[p, 8] += along * x * z
            total[p, 9] += along * y * z
    return total


def bond_valence_field(
    crystal: Crystal,
    working_ion: str,
    oxidation_states: Sequence[Mapping[str, float]],
    include_working_ion: bool = False,
    cutoff_A: float = 8.0,
) -> BondValenceField:
    """Bond-valence field of a crystal for one of its (possible) mobile ions.

    Args:
        crystal: Ordered or disordered crystal.
        working_ion: Symbol of the mobile ion.
        oxidation_states: One ``{symbol: oxidation state}`` a site; averages are allowed.
        include_working_ion: False: the host is empty of working ions (the convention of BVSE
            landscapes). True: all of them repel the moving one.
        cutoff_A: Interaction cutoff; pair energies are of the order of 1e-5 eV beyond 8 angstrom.

    Raises:
        UnusableStructureError: No anion, or a pair without sound softBV parameters.
    """
    return _field(
        crystal.id,
        crystal.lattice,
        crystal.species,
        crystal.frac,
        working_ion,
        oxidation_states,
        include_working_ion,
        cutoff_A,
    )


def hop_field(
    hop: Hop,
    oxidation_states: Sequence[Mapping[str, float]],
    include_working_ion: bool = True,
    cutoff_A: float = 8.0,
) -> BondValenceField:
    """Bond-valence field around a hop: its host, by default with the remaining working ions.

    Args:
        hop: The hop; both of its end sites are empty in its host.
        oxidation_states: One ``{symbol: oxidation state}`` a host atom.
        include_working_ion: Whether the other working ions repel the moving one.
        cutoff_A: Interaction cutoff.

    Raises:
        UnusableStructureError: No anion, or a pair without sound softBV parameters.
    """
    return _field(
        hop.id,
        hop.lattice,
        hop.host_species,
        hop.host_frac,
        hop.working_ion,
        oxidation_states,
        include_working_ion,
        cutoff_A,
    )


def _field(
    name: str,
    lattice: Floats,
    species: Sequence[Occupancy],
    frac: Floats,
    working_ion: str,
    oxidation_states: Sequence[Mapping[str, float]],
    include_working_ion: bool,
    cutoff_A: float,
) -> BondValenceField:
    if len(oxidation_states) != len(species):
        raise ValueError(
            f"{name}: {len(oxidation_states)} oxidation states for {len(species)} sites; "
            "give one {symbol: oxidation state} a site"
        )
    if cutoff_A <= SWITCH_WIDTH_A:
        raise ValueError(f"cutoff_A must exceed {SWITCH_WIDTH_A} angstrom, got {cutoff_A}")
    entries = [
        (site, symbol, occupancy, oxidation_states[site].get(symbol, 0.0))
        for site, content in enumerate(species)
        for symbol, occupancy in content.items()
        if occupancy > 0
    ]
    own = [state for _, symbol, _, state in entries if symbol == working_ion and state > 0]
    try:
        charge = ion_charge(working_ion, float(np.mean(own)) if own else None)
        pairs = {
            (symbol, state): _pair_energy(working_ion, charge, symbol, state)
            for symbol, state in {(symbol, state) for _, symbol, _, state in entries}
            if state != 0 and (include_working_ion or symbol != working_ion)
        }
    except UnusableStructureError as error:
        raise UnusableStructureError(f"{name}: {error}") from None
    kinds = sorted(pairs, key=lambda key: (not pairs[key].is_anion, key))
    if not kinds or not pairs[kinds[0]].is_anion:
        elements = ", ".join(sorted({symbol for _, symbol, _, _ in entries}))
        raise UnusableStructureError(
            f"{name}: no anion (negative oxidation state) among {elements}; "
            "bond-valence energies need one"
        )
    number = {key: k for k, key in enumerate(kinds)}
    used = [
        (number[symbol, state], site, occupancy)
        for site, symbol, occupancy, state in entries
        if (symbol, state) in number
    ]
    used.sort()
    return BondValenceField(
        lattice=np.asarray(lattice, dtype=np.float64),
        frac=np.asarray(frac, dtype=np.float64)[[site for _, site, _ in used]],
        weight=np.array([occupancy for _, _, occupancy in used]),
        kind=np.array([k for k, _, _ in used]),
        species=tuple(pairs[key] for key in kinds),
        working_ion=working_ion,
        cutoff_A=cutoff_A,
    )


def _pair_energy(ion: str, charge: int, symbol: str, state: float) -> PairEnergy:
    if state < 0:
        pair = morse_pair(ion, charge, symbol, state)
        return PairEnergy(True, pair.depth_eV / 2, pair.alpha_per_A, pair.r_min_A)
    strength, length = coulomb_pair(ion, charge, symbol)
    return PairEnergy(False, strength * state, 1 / length)


def landscape(field: BondValenceField, resolution_A: float = 0.2) -> Landscape:
    """Energy of the ion on a regular grid over the cell.

    Every atom adds its tabulated pair energy to the grid points within its reach; the offsets of
    these points are shared by all atoms of a species. Energies are those of `field.energy` up to
    the table's rounding (a few meV on steep walls) and pair energies below 0.2 meV.

    Args:
        field: Usually without working ions (``include_working_ion=False``).
        resolution_A: Largest grid spacing along the lattice vectors.
    """
    lengths = np.linalg.norm(field.lattice, axis=1)
    shape = np.maximum(np.ceil(lengths / resolution_A - 1e-9).astype(int), 1)
    steps = field.lattice / shape[:, None]
    slack = 0.5 * float(np.linalg.norm(np.abs(steps).sum(0)))
    tables = radial_tables(field.species, field.cutoff_A, NEGLIGIBLE_PAIR_EV, _FINE_TABLE)
    reach = tables.reach_A + slack
    offset = _offsets_within(steps, float(reach.max()))
    point = steps.T @ offset.astype(np.float64)
    squared = np.einsum("kp,kp->p", point, point)
    point = point.astype(np.float32)
    place = _wrapped(offset, shape)
    energy = np.zeros(shape, dtype=np.float32)
    for k, (values, scale) in enumerate(zip(tables.energy_eV, tables.scale, strict=True)):
        near = squared <= reach[k] ** 2
        at = place[near]
        slope = np.compress(near, point, axis=1) * np.float32(-2 * scale)
        base = (squared[near] * scale).astype(np.float32)
        for entry in np.flatnonzero(field.kind == k):
            on_grid = field.frac[entry] * shape
            home = np.rint(on_grid).astype(int)
            within = (on_grid - home) @ steps
            index = within.astype(np.float32) @ slope
            index += base
            index += np.float32(within @ within * scale)
            np.maximum(index, 0, out=index)
            there = values.take(index.astype(np.intp), mode="clip")
            cell = np.bincount(at, weights=there, minlength=energy.size).reshape(shape)
            _add_rolled(energy, cell, field.weight[entry], home % shape)
    return Landscape(energy, field.lattice)


def _offsets_within(steps: Floats, radius_A: float) -> NDArray[np.int64]:
    """(3, n) integer offsets on a grid with the given steps within a radius of the origin."""
    rows = steps / np.linalg.norm(steps[2])  # in units of the last step
    radius = radius_A / float(np.linalg.norm(steps[2]))
    reach = np.ceil(radius * np.linalg.norm(np.linalg.inv(rows), axis=0)).astype(int)
    i, j = np.meshgrid(*(np.arange(-n, n + 1) for n in reach[:2]), indexing="ij")
    i, j = i.ravel(), j.ravel()
    line = i[:, None] * rows[0] + j[:, None] * rows[1]
    middle = -line @ rows[2]
    half = radius**2 - np.einsum("lk,lk->l", line, line) + middle**2
    met = half >= 0
    i, j, middle, half = i[met], j[met], middle[met], np.sqrt(half[met])
    first = np.ceil(middle - half).astype(int)
    count = np.maximum(np.floor(middle + half).astype(int) - first + 1, 0)
    start = np.cumsum(count) - count
    k = np.arange(count.sum()) + np.repeat(first - start, count)
    return np.stack([np.repeat(i, count), np.repeat(j, count), k])


def _wrapped(offset: NDArray[np.int64], shape: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) flat index of each offset (3, n) from the origin of a periodic grid."""
    flat = np.zeros(offset.shape[1], dtype=np.int64)
    stride = np.array([shape[1] * shape[2], shape[2], 1])
    for along, n, s in zip(offset, shape, stride, strict=True):
        low = along.min()
        flat += (np.arange(low, along.max() + 1) % n * s)[along - low]
    return flat


def _add_rolled(
    total: NDArray[np.float32], part: Floats, weight: float, shift: NDArray[np.int64]
) -> None:
    """Add ``weight * np.roll(part, shift)`` to `total` in place."""
    halves = [
        ((slice(s, None), slice(0, n - s)), (slice(0, s), slice(n - s, None)))
        for s, n in zip(map(int, shift), part.shape, strict=True)
    ]
    for x, y, z in product(*halves):
        total[x[0], y[0], z[0]] += weight * part[x[1], y[1], z[1]]


def relax_paths(
    field: BondValenceField, starts_cart: ArrayLike, ends_cart: ArrayLike, n_images: int = 7
) -> tuple[Floats, Floats]:
    """Minimum-energy paths of the ion between pairs of points.

    The path of least ``integral exp(E/kT) ds`` on a local grid (`lowest_path_on_a_grid`) finds the
    way round what stands between the points; a string relaxes it (`relax_string`). In an open
    tunnel the path is nearly straight by itself. The end points stay where they are, and the path
    from B to A is that from A to B reversed.

    Args:
        field: The field, usually without working ions.
        starts_cart: (n, 3) starts, angstrom.
        ends_cart: (n, 3) ends (unwrapped), angstrom.
        n_images: Number of images, ends included.

    Returns:
        (n, n_images, 3) images equally spaced along each path, and their energies (n, n_images) in
        eV.
    """
    starts, ends = (
        np.ascontiguousarray(np.asarray(p, dtype=np.float64).reshape(-1, 3))
        for p in (starts_cart, ends_cart)
    )
    if n_images < 2:
        raise ValueError(f"a path needs 2 or more images, got n_images={n_images}")
    for distance in np.linalg.norm(ends - starts, axis=1):
        if not SHORTEST_PATH_A < distance < np.inf:
            raise UnusableStructureError(
                f"the ends of the hop are {distance:.3f} angstrom apart; expected two distinct "
                "sites"
            )
    cutoff_A, species = field.cutoff_A, field.species
    rough = radial_tables(species, cutoff_A, ROUGH_PAIR_EV, _ROUGH_TABLE)
    paths = _relaxed(
        starts,
        ends,
        field.energy(starts) - field.energy(ends),
        n_images,
        *field._host,
        rough.energy_eV,
        rough.scale,
        float(rough.reach_A.max()),
        slope_tables(species, cutoff_A),
        max(reach_A(pair, cutoff_A, NEGLIGIBLE_PAIR_EV) for pair in species),
    )
    return paths, field.energy(paths.reshape(-1, 3)).reshape(paths.shape[:2])


@compiled
def _relaxed(
    starts: Floats,
    ends: Floats,
    fall_eV: Floats,
    n_images: int,
    lattice: Floats,
    inverse: Floats,
    frac: Floats,
    weight: Floats,
    kind: Integers,
    rough_table: NDArray[np.float32],
    rough_scale: Floats,
    rough_reach_A: float,
    slopes: Floats,
    longest_A: float,
) -> Floats:
    """(n, n_images, 3) paths of :func:`relax_paths`, one after the other.

    Args:
        starts: (n, 3).
        ends: (n, 3).
        fall_eV: (n,) energy of the starts above the ends.
        n_images: Of a path.
        lattice: (3, 3) rows; this and what follows of `BondValenceField`.
        inverse: Of the lattice.
        frac: (n_entries, 3).
        weight: (n_entries,).
        kind: (n_entries,).
        rough_table: (n_species, size + 1) energies for the first path.
        rough_scale: (n_species,) entries per angstrom^2.
        rough_reach_A: Farthest atom that counts in it.
        slopes: (n_species, n, 2) for the string.
        longest_A: Farthest atom that counts in it.
    """
    paths = np.empty((len(starts), n_images, 3))
    start, end, middle = np.empty(3), np.empty(3), np.empty(3)
    for h in range(len(starts)):
        swapped = _end_comes_first(starts[h], ends[h], fall_eV[h])
        square = 0.0
        for c in range(3):
            start[c] = ends[h, c] if swapped else starts[h, c]
            end[c] = starts[h, c] if swapped else ends[h, c]
            middle[c] = 0.5 * (start[c] + end[c])
            square += (end[c] - start[c]) ** 2
        half_width = 0.5 * PATH_STRETCH * math.sqrt(square) + 0.5 * PATH_SLACK_A
        position, entry = images_within(middle, half_width + rough_reach_A, lattice, inverse, frac)
        across = _nearest_off_axis(position, start, end)
        kinds, weights = _of_entries(entry, kind, weight)
        rough = lowest_path_on_a_grid(
            position,
            kinds,
            weights,
            rough_table,
            rough_scale,
            start,
            end,
            2 * half_width,
            across,
        )
        position, entry = images_within(middle, half_width + longest_A, lattice, inverse, frac)
        n_near = _nearest_first(position, entry, rough, longest_A + 0.5)
        position, entry = position[:n_near], entry[:n_near]
        kinds, weights = _of_entries(entry, kind, weight)
        path = resample(relax_string(position, kinds, weights, slopes, rough), n_images)
        for m in range(n_images):
            for c in range(3):
                paths[h, m, c] = path[n_images - 1 - m if swapped else m, c]
    return paths


@compiled
def _of_entries(entry: Integers, kind: Integers, weight: Floats) -> tuple[Integers, Floats]:
    kinds, weights = np.empty(len(entry), np.int64), np.empty(len(entry))
    for a in range(len(entry)):
        kinds[a], weights[a] = kind[entry[a]], weight[entry[a]]
    return kinds, weights


@compiled
def _nearest_first(position: Floats, entry: Integers, path: Floats, radius_A: float) -> int:
    """Bring the atoms within a radius of any point of a path to the front; how many there are."""
    n = 0
    for a in range(len(position)):
        for m in range(len(path)):
            x = position[a, 0] - path[m, 0]
            y = position[a, 1] - path[m, 1]
            z = position[a, 2] - path[m, 2]
            if x * x + y * y + z * z < radius_A * radius_A:
                for c in range(3):
                    position[n, c] = position[a, c]
                entry[n] = entry[a]
                n += 1
                break
    return n


@compiled
def _end_comes_first(start: Floats, end: Floats, fall_eV: float) -> bool:
    """Order of the two ends of a path that does not depend on which is called the start.

    The lower one comes first; of equal ones that with the smaller coordinates.
    """
    if abs(fall_eV) > TIE_EV:
        return fall_eV > 0
    for k in range(3):
        if abs(start[k] - end[k]) >= TIE_A:
            return bool(start[k] > end[k])
    return True


@compiled
def _nearest_off_axis(position: Floats, start: Floats, end: Floats) -> Floats:
    """Unit vector across the hop, towards the atom nearest to its middle that is off its axis.

    Of several the one nearest to the axis, then that with the smallest coordinates.
    """
    n = len(position)
    axis, vector, keys = np.empty(3), np.zeros(3), np.empty((n, 5))
    square = 0.0
    for c in range(3):
        axis[c] = end[c] - start[c]
        square += axis[c] ** 2
    for c in range(3):
        axis[c] /= math.sqrt(square)
    left = np.zeros(n, np.bool_)
    found = False
    for a in range(n):
        along, square = 0.0, 0.0
        for c in range(3):
            away = position[a, c] - 0.5 * (start[c] + end[c])
            along += away * axis[c]
            square += away * away
            keys[a, 2 + c] = position[a, c]
        keys[a, 0], keys[a, 1] = math.sqrt(square), math.sqrt(max(square - along * along, 0.0))
        left[a] = keys[a, 1] > OFF_AXIS_A
        found = found or left[a]
    for k in range(5):
        least = np.inf
        for a in range(n):
            if left[a]:
                least = min(least, keys[a, k])
        for a in range(n):
            left[a] = left[a] and keys[a, k] < least + TIE_A
    for a in range(n - 1, -1, -1):
        for c in range(3):
            if left[a]:
                vector[c] = keys[a, 2 + c] - 0.5 * (start[c] + end[c])
    if not found:
        least_axis = 0
        for c in range(1, 3):
            if abs(axis[c]) < abs(axis[least_axis]):
                least_axis = c
        vector[least_axis] = 1.0
    along, square = 0.0, 0.0
    for c in range(3):
        along += vector[c] * axis[c]
    for c in range(3):
        vector[c] -= along * axis[c]
        square += vector[c] ** 2
    for c in range(3):
        vector[c] /= math.sqrt(square)
    return vector
