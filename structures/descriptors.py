"""What the simple baselines see of a hop: path geometry, composition statistics, the moving ion.

Geometry alone, no energies: every number is invariant under rotation, translation, permutation and
the choice of the cell, and occupancy-weighted where sites are disordered.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition, Element, Species

from ionbridge.structures.composition import formula_oxidation_states
from ionbridge.structures.neighbors import neighbors_within
from ionbridge.structures.records import Hop, UnusableStructureError, site_composition

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
    ion_radius, _, _, _ = ion_descriptors(hop.working_ion)
    points = equally_spaced(hop.path_A, N_POINTS)
    parts = _host_parts(hop)
    center, atom, _, distance = neighbors_within(hop.lattice, hop.host_frac, points, CUTOFF_A)
    # one row a (neighbour, species on it)
    pick = np.concatenate([parts.of_site[a] for a in atom]) if len(atom) else np.zeros(0, int)
    repeat = np.array([len(parts.of_site[a]) for a in atom], dtype=int)
    center, distance = np.repeat(center, repeat), np.repeat(distance, repeat)
    around = _Surroundings(
        center=center,
        distance=distance,
        weight=parts.weight[pick],
        kind=parts.kind[pick],
        charge=np.abs(parts.state[pick]),
        radius=parts.radius[pick],
        electronegativity=parts.electronegativity[pick],
    )
    profile = [around.station(k, ion_radius) for k in range(N_POINTS)]
    table = np.array([[p[name] for name in _AT_STATION] for p in profile])
    column = {name: table[:, k] for k, name in enumerate(_AT_STATION)}
    middle = N_POINTS // 2
    length = float(np.linalg.norm(np.diff(hop.path_A, axis=0), axis=1).sum())
    narrow = int(np.argmin(column["anion_min_A"]))
    window = around.window(narrow)
    n_anions = float(parts.weight[parts.kind == _ANION].sum())
    n_atoms = float(parts.weight.sum()) + 1.0
    n_ions = float(parts.weight[parts.kind == _ION].sum()) + 1.0
    volume = float(abs(np.linalg.det(hop.lattice)))
    near = around.nearest_means(middle)
    values = [
        hop.distance_A,
        length,
        length / max(hop.distance_A, 0.1),
        *(table[k, j] for k in (0, middle, -1) for j in range(len(_AT_STATION))),
        column["anion_min_A"].min(),
        column["cation_min_A"].min(),
        column["ion_min_A"].min(),
        window[0],
        window[0] / ion_radius,
        window[1],
        _rise(column["valence"]),
        column["valence"].max(),
        _rise(column["cation_field"]),
        _rise(column["anion_field"]),
        column["coordination"][middle] - column["coordination"][[0, -1]].mean(),
        abs(column["valence"][0] - column["valence"][-1]),
        *near,
        volume / max(n_anions, 1.0),
        volume / n_atoms,
        n_ions / n_atoms,
    ]
    return np.array(values, dtype=float)


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
    """The 132 Magpie statistics of matminer (Ward et al., npj Comput. Mater. 2, 16028 (2016)).

    Args:
        composition: Any amounts; the features depend on the fractions only.
    """
    return _magpie_features(composition.reduced_formula).copy()


def composition_feature_names() -> tuple[str, ...]:
    """Names of ``composition_descriptors``, in their order."""
    return tuple(_magpie().feature_labels())


def hop_features(hops: Sequence[Hop]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Path geometry, moving ion and ``COMPOSITION_FEATURES`` of the framework of several hops.

    Returns:
        (n_hops, n_features) and the names of the columns.
    """
    all_columns = composition_feature_names()
    columns = [all_columns.index(name) for name in COMPOSITION_FEATURES]
    rows = [
        np.concatenate(
            [
                path_descriptors(hop),
                ion_descriptors(hop.working_ion),
                _magpie_features(_framework_formula(hop))[columns],
            ]
        )
        for hop in hops
    ]
    return np.array(rows, dtype=float).reshape(len(rows), len(HOP_FEATURES)), HOP_FEATURES


def equally_spaced(path_A: NDArray[np.float64], n_points: int) -> NDArray[np.float64]:
    """(n_points, 3) points along a polyline, equally spaced along its arc; ends kept."""
    steps = np.linalg.norm(np.diff(path_A, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0.0, arc[-1], n_points)
    return np.stack([np.interp(at, arc, path_A[:, k]) for k in range(3)], axis=1)


def _framework_formula(hop: Hop) -> str:
    """The framework; of a bare metal, the moving ion itself."""
    bare = all(set(site) <= {hop.working_ion} for site in hop.host_species)
    return hop.working_ion if bare else hop.framework


_ANION, _CATION, _ION = 0, 1, 2


def _kind(symbol: str, state: float, working_ion: str) -> int:
    if symbol == working_ion:
        return _ION
    # an anion of a charge-poor host may come out with state zero
    return _ANION if state < 0 or (state == 0 and symbol in ANIONS) else _CATION


class _Parts:
    """Species of the host, one entry a (site, symbol), as arrays."""

    def __init__(self, hop: Hop, states: dict[str, float]) -> None:
        entries = [
            (site, symbol, amount)
            for site, species in enumerate(hop.host_species)
            for symbol, amount in species.items()
        ]
        site = np.array([e[0] for e in entries], dtype=int)
        symbols = [e[1] for e in entries]
        self.weight = np.array([e[2] for e in entries], dtype=float)
        self.state = np.array([states[s] for s in symbols])
        self.kind = np.array([_kind(s, states[s], hop.working_ion) for s in symbols])
        self.radius = np.array([_ionic_radius(s, states[s]) for s in symbols])
        self.electronegativity = np.array([_electronegativity(s) for s in symbols])
        order = np.argsort(site, kind="stable")
        cuts = np.searchsorted(site[order], np.arange(1, len(hop.host_species)))
        self.of_site = np.split(order, cuts)


class _Surroundings:
    """Neighbours of the path points, as arrays of equal length."""

    def __init__(
        self,
        center: NDArray[np.int64],
        distance: NDArray[np.float64],
        weight: NDArray[np.float64],
        kind: NDArray[np.int64],
        charge: NDArray[np.float64],
        radius: NDArray[np.float64],
        electronegativity: NDArray[np.float64],
    ) -> None:
        self.center, self.distance, self.weight, self.kind = center, distance, weight, kind
        self.charge, self.radius, self.electronegativity = charge, radius, electronegativity

    def _rows(self, point: int, kind: int) -> NDArray[np.intp]:
        rows = np.flatnonzero((self.center == point) & (self.kind == kind))
        return rows[np.argsort(self.distance[rows], kind="stable")]

    def _nearest(self, point: int, kind: int, count: int) -> NDArray[np.float64]:
        rows = self._rows(point, kind)
        rows = rows[self.weight[rows] >= MIN_OCCUPANCY]
        found = self.distance[rows[:count]]
        return np.concatenate([found, np.full(count - len(found), CUTOFF_A)])

    def station(self, point: int, ion_radius: float) -> dict[str, float]:
        """The numbers of ``_AT_STATION`` at one point."""
        anions, cations = self._rows(point, _ANION), self._rows(point, _CATION)
        six = self._nearest(point, _ANION, 6)
        bond = ion_radius + self.radius[anions]
        distance, weight = self.distance[anions], self.weight[anions]
        return {
            "anion_min_A": six[0],
            "anion_mean4_A": six[:4].mean(),
            "anion_spread6_A": six.std(),
            "cation_min_A": self._nearest(point, _CATION, 1)[0],
            "ion_min_A": self._nearest(point, _ION, 1)[0],
            "valence": float((weight * np.exp((bond - distance) / SOFTNESS_A)).sum()),
            # a smooth count: half a neighbour at bond + 0.6 angstrom
            "coordination": float((weight / (1 + np.exp((distance - bond - 0.6) / 0.1))).sum()),
            "cation_field": self._field(cations),
            "anion_field": self._field(anions),
        }

    def _field(self, rows: NDArray[np.intp]) -> float:
        distance = np.maximum(self.distance[rows], 0.5)
        return float(
            (self.weight[rows] * self.charge[rows] * np.exp(-distance / 2) / distance).sum()
        )

    def window(self, point: int) -> tuple[float, float]:
        """Free radius at a point (nearest anion surface) and mean distance of three anions."""
        rows = self._rows(point, _ANION)
        rows = rows[self.weight[rows] >= MIN_OCCUPANCY]
        free = float((self.distance[rows] - self.radius[rows]).min()) if len(rows) else CUTOFF_A
        return free, float(self._nearest(point, _ANION, 3).mean())

    def nearest_means(self, point: int) -> tuple[float, float, float, float]:
        """Electronegativity and radius of near anions, state and electronegativity of cations.

        Means weighted by occupancy and exp(-d / 0.5 A) around one point.
        """
        result = []
        for kind, columns in (
            (_ANION, (self.electronegativity, self.radius)),
            (_CATION, (self.charge, self.electronegativity)),
        ):
            rows = self._rows(point, kind)
            if not len(rows):
                result += [0.0, 0.0]
                continue
            weight = self.weight[rows] * np.exp(
                (self.distance[rows[0]] - self.distance[rows]) / 0.5
            )
            result += [float(np.average(column[rows], weights=weight)) for column in columns]
        return result[0], result[1], result[2], result[3]


def _host_parts(hop: Hop) -> _Parts:
    whole = site_composition([*map(dict, hop.host_species), {hop.working_ion: 1.0}])
    amounts = whole.get_el_amt_dict()
    try:
        states = formula_oxidation_states(whole)
    except UnusableStructureError:
        states = {}
    default = {
        symbol: -2.0
        if symbol in ANIONS
        else float(max(Element(symbol).common_oxidation_states or (1,)))
        for symbol in amounts
    }
    return _Parts(hop, {**default, **states})


def _rise(values: NDArray[np.float64]) -> float:
    """Maximum along the path above the mean of its ends."""
    return float(values.max() - (values[0] + values[-1]) / 2)


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


@lru_cache(maxsize=1)
def _magpie() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # imported here: matminer takes seconds, and screens with a network never need it
        from matminer.featurizers.composition import ElementProperty

        return ElementProperty.from_preset("magpie", impute_nan=False)


@lru_cache(maxsize=65536)
def _magpie_features(formula: str) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = np.array(_magpie().featurize(Composition(formula)), dtype=float)
    return np.nan_to_num(values)
