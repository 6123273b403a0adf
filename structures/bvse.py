"""Bond-valence site energies (BVSE): energy of a mobile ion anywhere in a host.

Force field of S. Adams and R. P. Rao, Phys. Status Solidi A 208, 1746 (2011), as in softBV and
bvlain: Morse attraction to the anions, screened Coulomb repulsion from the cations,

    E(p) = sum_anions D0/2 ((e^{a (r_min - r)} - 1)^2 - 1)
         + sum_cations 14.4 q_ion q / sqrt(n_ion n) erfc(r / (0.74 (R_ion + R))) / r .

A disordered site counts with the occupancy of each of its species.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.structures.energy_grid import Landscape
from ionbridge.structures.minimum_energy_path import (
    lowest_path_on_a_grid,
    relax_string,
    resample,
)
from ionbridge.structures.neighbors import neighbors_within
from ionbridge.structures.pair_energy import (
    MIN_DISTANCE_A,
    SWITCH_WIDTH_A,
    PairEnergy,
    RadialTable,
    coulomb,
    morse,
    radial_table,
    switched,
)
from ionbridge.structures.records import Crystal, Hop, Occupancy, UnusableStructureError
from ionbridge.structures.softbv import coulomb_pair, ion_charge, morse_pair
from ionbridge.structures.ties import TIE_A, TIE_EV, first_of, ranks, sorted_points

Floats = NDArray[np.float64]

NEGLIGIBLE_PAIR_EV = 2e-4
"""Pair energies below this are left out of landscapes and string relaxations."""

ROUGH_PAIR_EV = 5e-3
"""Pair energies below this are left out of the search for a first path."""

PATH_STRETCH = 1.5
PATH_SLACK_A = 1.0
"""A path stays where |p - start| + |p - end| < 1.5 |end - start| + 1 angstrom."""

SHORTEST_PATH_A = 0.1
"""Ends closer than this are one site."""

_FINE_TABLE, _ROUGH_TABLE = 1 << 16, 1 << 13


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
        points = np.asarray(points_cart, dtype=np.float64).reshape(-1, 3)
        center, entry, _, distance = neighbors_within(
            self.lattice, self.frac, points, self.cutoff_A
        )
        value, _, _ = self._pair(distance, entry)
        return _sum_by(center, value, len(points))

    def derivatives(self, points_cart: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Energy, gradient and Hessian at arbitrary cartesian points.

        Args:
            points_cart: (n, 3) points, angstrom.

        Returns:
            (n,) energies in eV, (n, 3) gradients in eV/angstrom, (n, 3, 3) in eV/angstrom^2.
        """
        points = np.asarray(points_cart, dtype=np.float64).reshape(-1, 3)
        center, entry, shift, distance = neighbors_within(
            self.lattice, self.frac, points, self.cutoff_A
        )
        value, slope, curvature = self._pair(distance, entry)
        r = np.maximum(distance, MIN_DISTANCE_A)
        away = points[center] - (self.frac[entry] + shift) @ self.lattice
        across = slope / r
        along = (curvature - across) / r**2
        hessian = along[:, None, None] * away[:, :, None] * away[:, None, :]
        hessian += across[:, None, None] * np.eye(3)
        columns = np.column_stack([value, across[:, None] * away, hessian.reshape(-1, 9)])
        total = np.stack([_sum_by(center, c, len(points)) for c in columns.T], axis=1)
        return total[:, 0], total[:, 1:4], total[:, 4:].reshape(-1, 3, 3)

    @cached_property
    def _parameters(self) -> tuple[Floats, Floats, Floats, int]:
        """Strength (occupancy-weighted), inverse length and r_min by entry; number of anions."""
        table = np.array([(s.strength, s.inverse_length, s.r_min_A) for s in self.species])
        strength, inverse_length, r_min = table[self.kind].T
        n_anions = int(sum(self.species[k].is_anion for k in self.kind))
        return strength * self.weight, inverse_length, r_min, n_anions

    def _pair(self, distance: Floats, entry: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """Pair energy and its first two radial derivatives, (n,) each."""
        strength, inverse_length, r_min, n_anions = self._parameters
        r = np.maximum(distance, MIN_DISTANCE_A)
        out = np.empty((3, len(r)))
        anion = entry < n_anions
        for select, form in ((anion, morse), (~anion, coulomb)):
            e = entry[select]
            out[:, select] = form(r[select], strength[e], inverse_length[e], r_min[e])
        return switched(r, out, self.cutoff_A)

    def _environment(self, center: Floats, radius_A: float) -> _Environment:
        """The atoms within a radius of a point, as a finite cluster."""
        _, entry, shift, _ = neighbors_within(self.lattice, self.frac, center[None], radius_A)
        order = np.argsort(entry, kind="stable")
        entry = entry[order]
        return _Environment(self, (self.frac[entry] + shift[order]) @ self.lattice, entry)

    @cached_property
    def _tables(self) -> tuple[RadialTable, ...]:
        """Tabulated pair energies of every species, cut where they are negligible."""
        return tuple(
            radial_table(s, self.cutoff_A, NEGLIGIBLE_PAIR_EV, _FINE_TABLE) for s in self.species
        )

    @cached_property
    def _rough_tables(self) -> tuple[RadialTable, ...]:
        return tuple(
            radial_table(s, self.cutoff_A, ROUGH_PAIR_EV, _ROUGH_TABLE) for s in self.species
        )


def _sum_by(group: NDArray[np.int64], values: Floats, n_groups: int) -> Floats:
    return np.bincount(group, weights=values, minlength=n_groups).astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class _Environment:
    """A finite cluster of host atoms: the field near one hop without neighbour lists.

    Attributes:
        field: Where the parameters are.
        position: (n_atoms, 3) cartesian, angstrom; anions first.
        entry: (n_atoms,) index into the field's entries.
    """

    field: BondValenceField
    position: Floats
    entry: NDArray[np.int64]

    def near(self, path: Floats, radius_A: float) -> _Environment:
        """The atoms within a radius of any point of a path."""
        keep = (_squared_distance(path, self.position) < radius_A**2).any(axis=0)
        return _Environment(self.field, self.position[keep], self.entry[keep])

    def rough_energy(self, points: Floats) -> Floats:
        """(n,) tabulated energies without tails, good enough to choose a route."""
        energy = np.zeros(len(points), dtype=np.float32)
        kind = self.field.kind[self.entry]
        origin = points.mean(axis=0)
        p, atoms = points - origin, self.position - origin
        p_squared = np.einsum("pk,pk->p", p, p)
        left = np.column_stack([p, p_squared, np.ones(len(p))]).astype(np.float32)
        a_squared = np.einsum("ak,ak->a", atoms, atoms)
        right = np.column_stack([-2 * atoms, np.ones(len(atoms)), a_squared])
        for k, table in enumerate(self.field._rough_tables):
            mine = np.flatnonzero(kind == k)
            index = left @ (right[mine] * table.scale).astype(np.float32).T
            weight = self.field.weight[self.entry[mine]].astype(np.float32)
            energy += table(np.maximum(index, 0, out=index)) @ weight
        return energy.astype(np.float64)

    def derivatives(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Energy (n,), gradient (n, 3) and Hessian (n, 3, 3) at points."""
        strength, inverse_length, r_min, n_anions = self.field._parameters
        away = points[:, None] - self.position
        r = np.maximum(np.sqrt(np.einsum("pak,pak->pa", away, away)), MIN_DISTANCE_A)
        n = int(np.searchsorted(self.entry, n_anions))
        e = self.entry
        parts = [
            form(r[:, s], strength[e[s]], inverse_length[e[s]], r_min[e[s]])
            for form, s in ((morse, slice(0, n)), (coulomb, slice(n, None)))
        ]
        v, v1, v2 = switched(r, np.concatenate(parts, axis=2), self.field.cutoff_A)
        across = v1 / r
        along = (v2 - across) / r**2
        hessian = np.einsum("pa,pak,pal->pkl", along, away, away, optimize=True)
        hessian += across.sum(1)[:, None, None] * np.eye(3)
        return v.sum(1), np.einsum("pa,pak->pk", across, away), hessian


def _squared_distance(points: Floats, atoms: Floats) -> Floats:
    return (
        np.einsum("pk,pk->p", points, points)[:, None]
        + np.einsum("ak,ak->a", atoms, atoms)
        - 2 * points @ atoms.T
    )


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
    reach = np.array([table.reach_A + slack for table in field._tables])
    offset = _offsets_within(steps, float(reach.max()))
    point = steps.T @ offset.astype(np.float64)
    squared = np.einsum("kp,kp->p", point, point)
    point = point.astype(np.float32)
    place = _wrapped(offset, shape)
    energy = np.zeros(shape, dtype=np.float32)
    for k, table in enumerate(field._tables):
        near = squared <= reach[k] ** 2
        at = place[near]
        slope = np.compress(near, point, axis=1) * np.float32(-2 * table.scale)
        base = (squared[near] * table.scale).astype(np.float32)
        for entry in np.flatnonzero(field.kind == k):
            on_grid = field.frac[entry] * shape
            home = np.rint(on_grid).astype(int)
            within = (on_grid - home) @ steps
            index = within.astype(np.float32) @ slope
            index += base
            index += np.float32(within @ within * table.scale)
            np.maximum(index, 0, out=index)
            cell = np.bincount(at, weights=table(index), minlength=energy.size).reshape(shape)
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


def relax_path(
    field: BondValenceField, start_cart: ArrayLike, end_cart: ArrayLike, n_images: int = 7
) -> tuple[Floats, Floats]:
    """Minimum-energy path of the ion between two points.

    The path of least ``integral exp(E/kT) ds`` on a local grid (`lowest_path_on_a_grid`) finds the
    way round what stands between the points; a string relaxes it (`relax_string`). In an open
    tunnel the path is nearly straight by itself. The end points stay where they are, and the path
    from B to A is that from A to B reversed.

    Args:
        field: The field, usually `hop_field`.
        start_cart: (3,) start, angstrom.
        end_cart: (3,) end (unwrapped), angstrom.
        n_images: Number of images, ends included.

    Returns:
        (n_images, 3) images equally spaced along the path, and their energies (n_images,) in eV.
    """
    start, end = (np.asarray(p, dtype=np.float64).reshape(3) for p in (start_cart, end_cart))
    distance = float(np.linalg.norm(end - start))
    if n_images < 2:
        raise ValueError(f"a path needs 2 or more images, got n_images={n_images}")
    if not SHORTEST_PATH_A < distance < np.inf:
        raise UnusableStructureError(
            f"the ends of the hop are {distance:.3f} angstrom apart; expected two distinct sites"
        )
    ends = field.energy(np.stack([start, end]))
    swapped = _comes_first(end, start, ends[1] - ends[0])
    if swapped:
        start, end = end, start
    half_width = 0.5 * PATH_STRETCH * distance + 0.5 * PATH_SLACK_A
    reach = max(table.reach_A for table in field._tables)
    rough_reach = max(table.reach_A for table in field._rough_tables)
    around = field._environment(0.5 * (start + end), half_width + rough_reach)
    rough = lowest_path_on_a_grid(
        around.rough_energy, start, end, 2 * half_width, _nearest_off_axis(around, start, end)
    )
    around = field._environment(0.5 * (start + end), half_width + reach)
    local = around.near(rough, reach + 0.5)
    path = resample(relax_string(local.derivatives, rough), n_images)
    if swapped:
        path = path[::-1].copy()
    return path, field.energy(path)


def _comes_first(a: Floats, b: Floats, energy_difference_eV: float) -> bool:
    """Order of the two ends of a path that does not depend on which is called the start."""
    if abs(energy_difference_eV) > TIE_EV:
        return energy_difference_eV < 0
    return first_of(np.stack([b, a]), TIE_A) == 0


def _nearest_off_axis(around: _Environment, start: Floats, end: Floats) -> Floats:
    """Unit vector across the hop, towards the atom nearest to its middle that is off its axis."""
    axis = (end - start) / np.linalg.norm(end - start)
    away = around.position - 0.5 * (start + end)
    across = away - np.outer(away @ axis, axis)
    width = np.linalg.norm(across, axis=1)
    near = ranks(np.linalg.norm(away, axis=1), TIE_A), ranks(width, TIE_A)
    order = sorted_points(around.position, TIE_A, *near)
    order = order[width[order] > 0.3]
    if len(order) == 0:
        across, width, order = np.eye(3) - np.outer(axis, axis), np.ones(3), np.abs(axis).argsort()
    vector = across[order[0]]
    return vector / np.linalg.norm(vector)
