"""The published hops as one file of plain arrays, and the folds that all rivals share.

Whatever needs bond valences, Magpie statistics or a potential's energies is computed once, so that
rivals can be tuned where none of these is installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.features.splits import GroupedKFold, Split

PATHS = ("given", "relaxed")
"""The published path (mostly a straight line), and that of least bond-valence energy."""
CLUSTER_A = 5.0
"""Host atoms this near to the ion are what a graph network from scratch sees of a station."""
N_STATIONS = 3
N_FOLDS = 5
NAMES = ("id", "family", "framework", "working_ion")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Row:
    """What splits and scores ask of a hop."""

    id: str
    family: str
    framework: str
    working_ion: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Table:
    """n hops with everything that any rival reads.

    Attributes:
        rows: (n,) names.
        barrier_eV: (n,) labels.
        arrays: ``geometry_given``, ``geometry_relaxed`` (n, n_geometry): path and ion descriptors;
            ``composition_few`` (n, 8), ``composition_all`` (n, 132): Magpie columns; ``scalars``
            (n, n_scalars) and ``view``, ``learned``, see
            :class:`ionbridge.models.barriers.hop_barrier.Inputs`; ``bond_valence_eV``,
            ``chgnet_eV``, ``mace_eV`` (n,): saddles, NaN where there is none; ``clusters``
            (n_atoms, 4): atomic number and position relative to the ion, which stands first;
            ``cluster_start`` (2 * n * N_STATIONS + 1,): where a cluster begins, by path, hop and
            station; ``elements`` (101, n_element_features).
        data_sha256: Of the file that the hops come from.
    """

    rows: tuple[Row, ...]
    barrier_eV: Floats
    arrays: Mapping[str, NDArray[Any]]
    data_sha256: str

    def folds(self) -> list[Split]:
        """Families dealt to N_FOLDS folds of nearly equal size, whole ones, the largest first.

        Training rows whose host framework also occurs in the fold are dropped.
        """
        frameworks = np.array([row.framework for row in self.rows])
        found = []
        for split in GroupedKFold(N_FOLDS, group=family_of).split(self.rows):
            held = np.isin(frameworks[split.train], frameworks[split.test])
            train, dropped = split.train[~held], split.train[held]
            found.append(Split(split.name, train, split.test, dropped))
        return found

    def inner_folds(self, rows: NDArray[np.intp], n_folds: int) -> list[Split]:
        """Host frameworks of some rows dealt to folds; indices are those of the table."""
        chosen = [self.rows[i] for i in rows]
        return [
            Split(split.name, rows[split.train], rows[split.test], rows[split.dropped])
            for split in GroupedKFold(n_folds, group=framework_of).split(chosen)
        ]

    def cluster(self, path: str, hop: int, station: int) -> tuple[NDArray[np.intp], Floats]:
        """Atomic numbers (n_atoms,) and positions (n_atoms, 3), angstrom, about the ion."""
        k = (PATHS.index(path) * len(self.rows) + hop) * N_STATIONS + station
        first, last = self.arrays["cluster_start"][k : k + 2]
        part = self.arrays["clusters"][first:last]
        return part[:, 0].astype(np.intp), part[:, 1:].astype(float)

    def save(self, file: Path) -> None:
        """Write the arrays."""
        stored: dict[str, Any] = {
            key: np.array([getattr(row, key) for row in self.rows]) for key in NAMES
        }
        stored["sys_name"] = np.array([row.extra["sys_name"] for row in self.rows])
        stored |= {"barrier_eV": self.barrier_eV, "data_sha256": np.array(self.data_sha256)}
        stored |= self.arrays
        np.savez_compressed(file, **stored)

    @classmethod
    def load(cls, file: Path) -> Table:
        """What ``save`` wrote."""
        with np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
        names = [arrays.pop(key).tolist() for key in (*NAMES, "sys_name")]
        rows = tuple(
            Row(id, family, framework, ion, {"sys_name": system})
            for id, family, framework, ion, system in zip(*names, strict=True)
        )
        checksum = str(arrays.pop("data_sha256"))
        return cls(rows, arrays.pop("barrier_eV"), arrays, checksum)


def family_of(row: Row) -> str:
    return row.family


def framework_of(row: Row) -> str:
    return row.framework


def table_of(data: Path) -> Table:
    """The table of the published hops.

    Args:
        data: Folder that holds neb_barriers/.
    """
    # imported here: where the table is read, none of these is needed
    from pymatgen.core import Composition

    from benchmarks.shipped_hop_barrier import seen
    from ionbridge.models.barriers.hop_barrier import Inputs, view_of
    from ionbridge.models.checkpoint import sha256
    from ionbridge.models.regressors.baselines import bond_valence_barriers
    from ionbridge.models.regressors.gaussian_process import path_scalars
    from ionbridge.structures.features.descriptors import (
        COMPOSITION_FEATURES,
        composition_descriptors,
        hop_features,
    )
    from ionbridge.structures.hops.hop_profile import profiled
    from ionbridge.structures.sources import neb_barriers

    given = seen(neb_barriers.load(data).records)
    relaxed = [profiled(hop) for hop in given]
    n_few = len(COMPOSITION_FEATURES)
    features = {"given": hop_features(given)[0], "relaxed": hop_features(relaxed)[0]}
    band = np.array([float(hop.extra.get("mace_relax_eV") or np.nan) for hop in given])
    parts = [
        cluster_of(hop, station)
        for hops in (given, relaxed)
        for hop in hops
        for station in stations_of(hop)
    ]
    arrays: dict[str, NDArray[Any]] = {
        **{f"geometry_{path}": features[path][:, :-n_few] for path in PATHS},
        "composition_few": features["given"][:, -n_few:],
        "composition_all": np.array(
            [composition_descriptors(Composition(hop.framework)) for hop in given]
        ),
        "scalars": path_scalars(relaxed),
        "view": np.array([view_of(hop) for hop in given]),
        "learned": Inputs.of(given).learned,
        "bond_valence_eV": bond_valence_barriers(relaxed),
        "chgnet_eV": np.array([saddle_of(hop) for hop in given]),
        "mace_eV": band,
        "clusters": np.concatenate(parts).astype(np.float32),
        "cluster_start": np.cumsum([0, *map(len, parts)]),
        "elements": element_features(),
    }
    rows = tuple(
        Row(
            hop.id,
            str(hop.family),
            hop.framework,
            hop.working_ion,
            {"sys_name": hop.extra["sys_name"]},
        )
        for hop in given
    )
    barrier = np.array([hop.barrier_eV for hop in given], dtype=float)
    return Table(rows, barrier, arrays, sha256(data / neb_barriers.HOPS_FILE))


def saddle_of(hop: Any) -> float:
    """Highest of a potential's energies along the path above its first point, eV."""
    from ionbridge.models.barriers.hop_barrier import PROFILE

    energies = hop.extra.get(PROFILE)
    return float("nan") if energies is None else float(max(energies) - energies[0])


def stations_of(hop: Any) -> Floats:
    """(N_STATIONS, 3) first point, saddle and last point of a path, angstrom.

    The saddle is the highest inner point of a bond-valence path, and the middle of any other.
    """
    from ionbridge.structures.bond_valence.minimum_energy_path import equally_spaced

    path = hop.path_A
    profile = hop.extra.get("bvse_profile_eV")
    if profile is None:
        return equally_spaced(path, N_STATIONS)
    return path[[0, 1 + int(np.argmax(profile[1:-1])), -1]]


def cluster_of(hop: Any, center_A: Floats) -> Floats:
    """(n_atoms, 4) the ion at a point and the host within CLUSTER_A of it."""
    from pymatgen.core import Element

    from ionbridge.structures.crystals.neighbors import neighbors_within

    _, atom, shift, _ = neighbors_within(
        hop.lattice, hop.host_frac, np.asarray(center_A)[None], CLUSTER_A
    )
    # every site of the published hosts holds one element
    symbols = [max(hop.host_species[a], key=hop.host_species[a].__getitem__) for a in atom]
    numbers = [Element(symbol).Z for symbol in (hop.working_ion, *symbols)]
    around = (hop.host_frac[atom] + shift) @ hop.lattice - center_A
    return np.column_stack([numbers, np.concatenate([np.zeros((1, 3)), around])])


def element_features() -> Floats:
    """(101, n) one-hot group, period and block, and binned properties, by atomic number.

    The kind of atom vector that CGCNN and ALIGNN read (Xie and Grossman, Phys. Rev. Lett. 120,
    145301 (2018)).
    """
    from pymatgen.core import Element

    table = []
    for number in range(1, 101):
        element = Element.from_Z(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # noble gases have no electronegativity
            electronegativity = float(np.nan_to_num(float(element.X)))
        binned = [
            (electronegativity, np.linspace(0.5, 4.0, 10)),
            (float(element.atomic_radius or 1.5), np.linspace(0.25, 2.6, 10)),
            (float(element.mendeleev_no or 50.0), np.linspace(0.0, 103.0, 10)),
        ]
        table.append(
            np.concatenate(
                [
                    np.eye(18)[element.group - 1],
                    np.eye(9)[element.row - 1],
                    np.eye(4)["spdf".index(element.block)],
                    *(np.exp(-(((v - c) / (c[1] - c[0])) ** 2)) for v, c in binned),
                ]
            )
        )
    return np.array([np.zeros(len(table[0])), *table])
