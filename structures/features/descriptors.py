"""What the simple baselines see of a hop: path geometry, composition statistics, the moving ion.

Geometry alone, no energies: every number is invariant under rotation, translation, permutation and
the choice of the cell, and occupancy-weighted where sites are disordered.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition, Element, Species

from ionbridge.structures.bond_valence.minimum_energy_path import equally_spaced
from ionbridge.structures.chemistry import magpie
from ionbridge.structures.chemistry.composition import formula_oxidation_states
from ionbridge.structures.compiled import compiled
from ionbridge.structures.crystals.neighbors import images_within
from ionbridge.structures.hops.hops import EXCLUSION_A, emptied_sites, leaving_ions, n_cells
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import Hop, Occupancy, UnusableStructureError

CUTOFF_A = 6.0
"""Surroundings of the path that count; a kind of neighbour that is missing stands at this."""
N_POINTS = 9
"""Points along the path, equally spaced along its arc."""
SOFTNESS_A = 0.37
"""The universal bond-valence parameter b of Brown and Altermatt, angstrom."""
MIN_OCCUPANCY = 0.5
"""Sites that are more often empty than full do not count as nearest neighbours."""
ANIONS = frozenset(("O", "S", "Se", "Te", "N", "F", "Cl", "Br", "I"))
"""Used where oxidation states cannot be assigned."""

_STATIONS = ("start", "middle", "end")
_AT_STATION = (
    "anion_min_A",
    "anion_mean4_A",
    "anion_spread6_A",
    "cation_min_A",
    "ion_min_A",
    "valence",
    "coordination",
    "cation_field",
    "anion_field",
)
PATH_FEATURES: tuple[str, ...] = (
    "hop_distance_A",
    "path_length_A",
    "tortuosity",
    *(f"{station}_{name}" for station in _STATIONS for name in _AT_STATION),
    "path_anion_min_A",
    "path_cation_min_A",
    "path_ion_min_A",
    "window_radius_A",
    "window_over_ion_radius",
    "window_mean3_A",
    "valence_rise",
    "valence_peak",
    "cation_field_rise",
    "anion_field_rise",
    "coordination_change",
    "ends_valence_difference",
    "anion_electronegativity",
    "anion_radius_A",
    "cation_state",
    "cation_electronegativity",
    "volume_per_anion_A3",
    "volume_per_atom_A3",
    "ion_fraction",
)
_AT_POINT = (
    "free_radius_A",
    "anion_mean3_A",
    "anion_electronegativity",
    "anion_radius_A",
    "cation_state",
    "cation_electronegativity",
)
"""Free radius (nearest anion surface), mean distance of three anions, and means over near anions
and cations, weighted by occupancy and exp(-d / 0.5 A)."""
COMPOSITION_FEATURES: tuple[str, ...] = (
    "MagpieData mean Electronegativity",
    "MagpieData range Electronegativity",
    "MagpieData mean CovalentRadius",
    "MagpieData mean GSvolume_pa",
    "MagpieData mean NUnfilled",
    "MagpieData mean Column",
    "MagpieData mean MendeleevNumber",
    "MagpieData minimum MendeleevNumber",
)
"""The Magpie columns that go with a hop; all 132 make trees worse on unseen families."""
ION_FEATURES: tuple[str, ...] = ("ion_radius_A", "ion_charge", "ion_mass", "ion_electronegativity")
HOP_FEATURES = (*PATH_FEATURES, *ION_FEATURES, *COMPOSITION_FEATURES)
"""Columns of :func:`hop_features`."""


def path_descriptors(hop: Hop) -> NDArray[np.float64]:
    """Geometry of one hop's path in its host, in the order of ``PATH_FEATURES``.

    At the start, the middle and the end of the path: distances of the nearest anion, cation and
    other working ion, mean of the four nearest anions and spread of six, a bond-valence-like sum
    sum_a exp((r_ion + r_a - d) / 0.37 A), the number of anions closer than r_ion + r_a + 0.6 A, and
    screened fields sum_c |q_c| exp(-d/2 A)/d. Along the path: the narrowest point (window), and how
    much valence and fields rise above the ends.

    Returns:
        (n_features,) in angstrom, elementary charges and their powers.
    """
    content = _content([*hop.host_species, {hop.working_ion: 1.0}])
    parts = _Parts(hop.host_species, hop.host_frac, hop.working_ion, _states(content))
    nothing = np.zeros((0, 3))
    rows = _described(hop.lattice, parts, hop.working_ion, [hop.path_A], [nothing], [content])
    return np.asarray(rows[0])


def _described(
    lattice: NDArray[np.float64],
    parts: _Parts,
    working_ion: str,
    paths_A: Sequence[NDArray[np.float64]],
    emptied_A: Sequence[NDArray[np.float64]],
    contents: Sequence[Mapping[str, float]],
    n_cells: Sequence[int] = (1,),
) -> NDArray[np.float64]:
    """(n_hops, n_features) :func:`path_descriptors` of hops in one cell.

    Args:
        lattice: (3, 3) rows, angstrom.
        parts: What the cell holds.
        working_ion: Symbol.
        paths_A: (n_images, 3) of each hop.
        emptied_A: (n, 3) of each: around these sites the cell holds no working ion.
        contents: Amounts in the supercell of each hop, moving ion included.
        n_cells: Cells in that supercell.
    """
    ion_radius, _, _, _ = ion_descriptors(working_ion)
    points = np.stack([equally_spaced(path, N_POINTS) for path in paths_A])
    first = np.cumsum([0, *(len(sites) for sites in emptied_A)])
    table = _stations(
        points,
        np.concatenate(emptied_A),
        first,
        np.ascontiguousarray(lattice),
        np.asarray(np.linalg.inv(lattice)),
        *parts.arrays,
        ion_radius,
    )
    column = {name: table[:, :, k] for k, name in enumerate((*_AT_STATION, *_AT_POINT))}
    n_hops, middle = len(table), N_POINTS // 2
    length = np.array([np.linalg.norm(np.diff(p, axis=0), axis=1).sum() for p in paths_A])
    straight = np.array([float(np.linalg.norm(p[-1] - p[0])) for p in paths_A])
    narrow = np.arange(n_hops), np.argmin(column["anion_min_A"], axis=1)
    n_anions, n_atoms, n_ions = np.array([parts.counts(c) for c in contents]).T
    volume = abs(np.linalg.det(lattice)) * np.array(n_cells)
    stations = table[:, [0, middle, -1], : len(_AT_STATION)].reshape(n_hops, -1)
    valence, coordination = column["valence"], column["coordination"]
    rest = [
        column["anion_min_A"].min(axis=1),
        column["cation_min_A"].min(axis=1),
        column["ion_min_A"].min(axis=1),
        column["free_radius_A"][narrow],
        column["free_radius_A"][narrow] / ion_radius,
        column["anion_mean3_A"][narrow],
        _rise(valence),
        valence.max(axis=1),
        _rise(column["cation_field"]),
        _rise(column["anion_field"]),
        coordination[:, middle] - coordination[:, [0, -1]].mean(axis=1),
        np.abs(valence[:, 0] - valence[:, -1]),
        *(column[name][:, middle] for name in _AT_POINT[2:]),
        volume / np.maximum(n_anions, 1.0),
        volume / n_atoms,
        n_ions / n_atoms,
    ]
    whole = [straight, length, length / np.maximum(straight, 0.1)]
    return np.column_stack([*whole, stations, *rest])


@lru_cache(maxsize=64)
def ion_descriptors(symbol: str) -> tuple[float, float, float, float]:
    """Shannon radius (angstrom, six-fold), charge, mass (u) and Pauling electronegativity."""
    element = Element(symbol)
    states = element.common_oxidation_states or (1,)
    charge = max(states)
    return (
        _ionic_radius(symbol, float(charge)),
        float(charge),
        float(element.atomic_mass),
        float(element.X),
    )


def composition_descriptors(composition: Composition) -> NDArray[np.float64]:
    """(132,) Magpie statistics, see :mod:`ionbridge.structures.chemistry.magpie`.

    Args:
        composition: Any amounts; the features depend on the fractions only.
    """
    return magpie.magpie_statistics(composition.fractional_composition.get_el_amt_dict())


def composition_feature_names() -> tuple[str, ...]:
    """Names of ``composition_descriptors``, in their order."""
    return magpie.NAMES


_MAGPIE = [magpie.NAMES.index(name) for name in COMPOSITION_FEATURES]


def hop_features(hops: Sequence[Hop]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Path geometry, moving ion and ``COMPOSITION_FEATURES`` of the framework of several hops.

    Returns:
        (n_hops, n_features) and ``HOP_FEATURES``, the names of the columns.
    """
    rows = [
        np.concatenate(
            [
                path_descriptors(hop),
                ion_descriptors(hop.working_ion),
                _framework_features(hop.host_species, hop.working_ion),
            ]
        )
        for hop in hops
    ]
    return np.array(rows, dtype=float).reshape(len(rows), len(HOP_FEATURES)), HOP_FEATURES


def migration_graph_features(graph: MigrationGraph) -> NDArray[np.float64]:
    """(n_hops, n_features) the same of the unique hops of a crystal, whose cell they share.

    What depends on composition is that of each hop's own host, as in :func:`hop_features`: the
    supercell without the ions on its ends.
    """
    crystal, ion = graph.crystal, graph.working_ion
    paths = [hop.path_A for hop in graph.hops]
    emptied = [emptied_sites(hop) for hop in graph.hops]
    cells = [n_cells(hop, crystal) for hop in graph.hops]
    whole, own = _content(crystal.species), crystal.occupancy(ion)
    hop_of, atom, _ = leaving_ions(crystal, own, emptied)
    gone = np.bincount(hop_of, weights=own[atom], minlength=len(cells)).tolist()
    contents = []
    for n, left_out in zip(cells, gone, strict=True):
        content = {symbol: n * amount for symbol, amount in whole.items()}
        contents.append(content | {ion: content.get(ion, 0.0) - left_out + 1.0})
    states = [_states(content) for content in contents]
    table = np.empty((len(paths), len(PATH_FEATURES)))
    for these in {tuple(sorted(s.items())): s for s in states}.values():
        chosen = [k for k, s in enumerate(states) if s == these]
        parts = _Parts(crystal.species, crystal.frac, ion, these)
        table[chosen] = _described(
            crystal.lattice,
            parts,
            ion,
            [paths[k] for k in chosen],
            [emptied[k] for k in chosen],
            [contents[k] for k in chosen],
            [cells[k] for k in chosen],
        )
    shared = [*ion_descriptors(ion), *_framework_features(crystal.species, ion)]
    return np.hstack([table, np.tile(shared, (len(paths), 1))])


def _content(species: Iterable[Occupancy]) -> dict[str, float]:
    """Amounts of all elements."""
    total: dict[str, float] = {}
    for site in species:
        for symbol, amount in site.items():
            total[symbol] = total.get(symbol, 0.0) + amount
    return total


def _framework_features(species: Iterable[Occupancy], ion: str) -> NDArray[np.float64]:
    """``COMPOSITION_FEATURES`` of the framework; of a bare metal, of the moving ion itself."""
    amounts = {symbol: n for symbol, n in _content(species).items() if symbol != ion and n > 0}
    return magpie.magpie_statistics(amounts or {ion: 1.0})[_MAGPIE]


_ANION, _CATION, _ION = 0, 1, 2


def _kind(symbol: str, state: float, working_ion: str) -> int:
    if symbol == working_ion:
        return _ION
    # an anion of a charge-poor host may come out with state zero
    return _ANION if state < 0 or (state == 0 and symbol in ANIONS) else _CATION


_Floats = NDArray[np.float64]
_PartArrays = tuple[_Floats, _Floats, NDArray[np.int64], _Floats, _Floats, _Floats]


class _Parts:
    """Species of a cell, one entry a (site, symbol), as arrays."""

    def __init__(
        self,
        species: Sequence[Occupancy],
        frac: NDArray[np.float64],
        working_ion: str,
        states: Mapping[str, float],
    ) -> None:
        entries = [(k, symbol, n) for k, site in enumerate(species) for symbol, n in site.items()]
        symbols = [symbol for _, symbol, _ in entries]
        self.kinds = {s: _kind(s, states[s], working_ion) for s in set(symbols) | {working_ion}}
        self.frac = frac[[site for site, _, _ in entries]].reshape(-1, 3)
        self.weight = np.array([n for _, _, n in entries], dtype=float)
        self.kind = np.array([self.kinds[s] for s in symbols], dtype=np.int64)
        self.charge = np.array([abs(states[s]) for s in symbols], dtype=float)
        self.radius = np.array([_ionic_radius(s, states[s]) for s in symbols], dtype=float)
        self.electronegativity = np.array([_electronegativity(s) for s in symbols], dtype=float)

    @property
    def arrays(self) -> _PartArrays:
        """As :func:`_stations` takes them."""
        return (
            self.frac,
            self.weight,
            self.kind,
            self.charge,
            self.radius,
            self.electronegativity,
        )

    def counts(self, content: Mapping[str, float]) -> tuple[float, float, float]:
        """Anions, atoms and working ions among some amounts."""
        anions, ions = (
            sum(n for s, n in content.items() if self.kinds[s] == kind) for kind in (_ANION, _ION)
        )
        return anions, sum(content.values()), ions


@compiled
def _stations(
    points: NDArray[np.float64],
    emptied: NDArray[np.float64],
    first: NDArray[np.int64],
    lattice: NDArray[np.float64],
    inverse: NDArray[np.float64],
    frac: NDArray[np.float64],
    weight: NDArray[np.float64],
    kind: NDArray[np.int64],
    charge: NDArray[np.float64],
    radius: NDArray[np.float64],
    electronegativity: NDArray[np.float64],
    ion_radius: float,
) -> NDArray[np.float64]:
    """(n_hops, n_points, n) numbers of ``_AT_STATION`` and ``_AT_POINT`` at points of paths.

    Args:
        points: (n_hops, n_points, 3) cartesian, angstrom.
        emptied: (n_emptied, 3) cartesian sites without working ions around them.
        first: (n_hops + 1,) where those of each hop begin.
        lattice: (3, 3) rows, angstrom.
        inverse: Of the lattice.
        frac: (n_parts, 3); this and what follows of `_Parts`.
        weight: (n_parts,).
        kind: (n_parts,).
        charge: (n_parts,).
        radius: (n_parts,).
        electronegativity: (n_parts,).
        ion_radius: Of the working ion, angstrom.
    """
    n_hops, n_points = points.shape[:2]
    out = np.zeros((n_hops, n_points, 15))
    anions, means = np.empty(6), np.empty((2, 3))
    for h in range(n_hops):
        for p in range(n_points):
            position, entry = images_within(points[h, p], CUTOFF_A, lattice, inverse, frac)
            row = out[h, p]
            row[3], row[4], free = CUTOFF_A, CUTOFF_A, np.inf
            for k in range(6):
                anions[k], means[k // 3, k % 3] = CUTOFF_A, 0.0
            for a in range(len(position)):
                e = entry[a]
                x = position[a, 0] - points[h, p, 0]
                y = position[a, 1] - points[h, p, 1]
                z = position[a, 2] - points[h, p, 2]
                d = math.sqrt(x * x + y * y + z * z)
                w = weight[e]
                if kind[e] == _ION:
                    there = w >= MIN_OCCUPANCY and d < row[4]
                    for k in range(first[h], first[h + 1]):
                        x = position[a, 0] - emptied[k, 0]
                        y = position[a, 1] - emptied[k, 1]
                        z = position[a, 2] - emptied[k, 2]
                        there = there and x * x + y * y + z * z >= EXCLUSION_A * EXCLUSION_A
                    if there:
                        row[4] = d
                    continue
                far = max(d, 0.5)
                field = w * charge[e] * math.exp(-far / 2) / far
                near = w * math.exp(-d / 0.5)
                means[kind[e], 0] += near
                if kind[e] == _CATION:
                    if w >= MIN_OCCUPANCY:
                        row[3] = min(row[3], d)
                    row[7] += field
                    means[1, 1] += near * charge[e]
                    means[1, 2] += near * electronegativity[e]
                    continue
                means[0, 1] += near * electronegativity[e]
                means[0, 2] += near * radius[e]
                bond = ion_radius + radius[e]
                row[5] += w * math.exp((bond - d) / SOFTNESS_A)
                # a smooth count: half a neighbour at bond + 0.6 angstrom
                row[6] += w / (1 + math.exp((d - bond - 0.6) / 0.1))
                row[8] += field
                if w >= MIN_OCCUPANCY:
                    free = min(free, d - radius[e])
                    k = 5
                    if d < anions[k]:
                        while k > 0 and anions[k - 1] > d:
                            anions[k] = anions[k - 1]
                            k -= 1
                        anions[k] = d
            total, square = 0.0, 0.0
            for k in range(6):
                total += anions[k]
                if k == 2:
                    row[10] = total / 3.0
                if k == 3:
                    row[1] = total / 4.0
            for k in range(6):
                square += (anions[k] - total / 6.0) ** 2
            row[0], row[2] = anions[0], math.sqrt(square / 6.0)
            row[9] = free if free < np.inf else CUTOFF_A
            for k in range(2):
                for c in range(2):
                    if means[k, 0] > 0:
                        row[11 + 2 * k + c] = means[k, 1 + c] / means[k, 0]
    return out


def _states(content: Mapping[str, float]) -> dict[str, float]:
    """Oxidation states, usual ones where no neutral assignment exists."""
    whole = {symbol: round(n, 6) for symbol, n in content.items() if n > 1e-8}
    try:
        states = formula_oxidation_states(whole)
    except UnusableStructureError:
        states = {}
    default = {
        symbol: -2.0
        if symbol in ANIONS
        else float(max(Element(symbol).common_oxidation_states or (1,)))
        for symbol in content
    }
    return {**default, **states}


def _rise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) maximum along each path above the mean of its ends."""
    return np.asarray(values.max(axis=1) - (values[:, 0] + values[:, -1]) / 2)


@lru_cache(maxsize=4096)
def _ionic_radius(symbol: str, state: float) -> float:
    """Shannon radius of the nearest tabulated state in six-fold coordination, angstrom."""
    element = Element(symbol)
    known = element.ionic_radii
    if not known:
        return float(element.atomic_radius or 1.0)
    nearest = min(known, key=lambda s: abs(s - state))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "using the average spin": wanted
            return float(Species(symbol, nearest).get_shannon_radius("VI"))
    except (KeyError, ValueError):
        return float(known[nearest])


@lru_cache(maxsize=256)
def _electronegativity(symbol: str) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(Element(symbol).X)
    return value if np.isfinite(value) else 0.0
