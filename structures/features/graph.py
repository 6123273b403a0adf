"""A hop as a graph: the periodic framework, and probe nodes at the images of the path.

Every field a network may read is defined here, with its shape. The framework (everything but the
working ion) exchanges messages along periodic edges, so that its features do not depend on which
site is vacant. Working ions that stay in the host speak to the path alone. Hence a site's energy,
which is read from the framework, is one number for all the hops that start or end there.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Element
from torch import Tensor

from ionbridge.structures.bond_valence.minimum_energy_path import equally_spaced
from ionbridge.structures.chemistry.composition import formula_oxidation_states
from ionbridge.structures.crystals.neighbors import neighbors_within, periodic_edges
from ionbridge.structures.hops.hops import EXCLUSION_A, SAME_POINT_A, emptied_sites
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import (
    Crystal,
    Hop,
    Occupancy,
    UnusableStructureError,
    site_composition,
)

if TYPE_CHECKING:
    from torch_geometric.data import Data

HOST_CUTOFF_A = 4.0
PROBE_CUTOFF_A = 5.0
N_PROBES = 7
"""Probe nodes of a hop: every second point of its path, both ends included."""
SPECIES_FEATURES = (
    "oxidation_state",
    "ionic_radius",
    "electronegativity",
    "period",
    "is_anion",
    "d_electrons",
    "s_block",
    "p_block",
    "d_block",
    "f_block",
    "mendeleev",
    "occupancy",
)
PATH_SCALARS = (
    "bvse_kra",
    "bvse_site_difference",
    "bvse_missing",
    "hop_length",
    "tortuosity",
    "bottleneck_anion",
    "bottleneck_cation",
    "end_anion",
    "end_cation",
    "working_ion_nearest",
    "end_coordination",
    "saddle_coordination",
    "volume_per_atom",
    "ion_charge",
    "framework_charge_density",
)
OXIDATION_SCALE = 4.0
SPLIT_SITE_A = 0.2
BVSE_CAP_EV = 6.0
"""Bond-valence energies above this carry no more information for the network."""


class HopData:
    """A host and one or more hops in it, or a batch of such.

    Fields (n_host framework and working-ion atoms, n_hops hops of N_PROBES probes each), named as
    in PyTorch Geometric:
        x: (n_host, len(SPECIES_FEATURES)) occupancy-weighted species features.
        weight: (n_host,) total occupancy of the site.
        edge_index: (2, n_edges) framework to framework, periodic, within HOST_CUTOFF_A.
        edge_length: (n_edges,) angstrom.
        probe_index: (2, n_probe_edges) host atom, probe; within PROBE_CUTOFF_A of an image.
        probe_length: (n_probe_edges,) angstrom.
        probe_from_ion: (n_probe_edges,) bool, True where the host atom is a working ion.
        ion: (n_hops, len(SPECIES_FEATURES)) features of the moving ion.
        scalars: (n_hops, len(PATH_SCALARS)) path geometry and bond-valence numbers.
        encoded: (n_host, n_features) where a network's answer for the framework is kept.
        batch: (n_host,) of a batch: the graph of each atom.
    """

    x: Tensor
    weight: Tensor
    edge_index: Tensor
    edge_length: Tensor
    probe_index: Tensor
    probe_length: Tensor
    probe_from_ion: Tensor
    ion: Tensor
    scalars: Tensor
    encoded: Tensor
    batch: Tensor

    def __init__(self, **fields: Tensor) -> None:
        self.__dict__.update(fields)

    @classmethod
    def batch_of(cls, graphs: Sequence[HopData]) -> HopData:
        """Graphs side by side: host indices count on, and so do those of probes."""
        n_host = [graph.num_nodes for graph in graphs]
        n_probes = [len(graph.ion) * N_PROBES if "ion" in graph else 0 for graph in graphs]
        host, probe = (torch.tensor([0, *n]).cumsum(0)[:-1] for n in (n_host, n_probes))
        offsets = {
            "edge_index": torch.stack([host, host]),
            "probe_index": torch.stack([host, probe]),
        }
        fields = {}
        for name in graphs[0].keys():  # noqa: SIM118
            parts = [graph[name] for graph in graphs]
            if name in offsets:
                shift = offsets[name].T[:, :, None]
                fields[name] = torch.cat([p + s for p, s in zip(parts, shift, strict=True)], 1)
            else:
                fields[name] = torch.cat(parts)
        fields["batch"] = torch.arange(len(graphs)).repeat_interleave(torch.tensor(n_host))
        return cls(**fields)

    @property
    def num_nodes(self) -> int:
        """Number of atoms of the host."""
        return len(self.x)

    def keys(self) -> KeysView[str]:
        """Names of the fields that are set."""
        return self.__dict__.keys()

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def __getitem__(self, name: str) -> Tensor:
        found: Tensor = self.__dict__[name]
        return found

    def __setitem__(self, name: str, value: Tensor) -> None:
        self.__dict__[name] = value

    def to_pyg(self) -> Data:
        """The graph for PyTorch Geometric, whose batches, loaders and layers take it as it is.

        Predictions do without, since importing PyTorch Geometric slows the start of every worker.
        """
        found: Data = _pyg_class()(**self.__dict__, num_nodes=self.num_nodes)
        return found

    def clone(self) -> HopData:
        """A copy that shares nothing."""
        return HopData(**{name: value.clone() for name, value in self.__dict__.items()})

    def to(self, device: torch.device | str) -> HopData:
        """The graph on a device."""
        return HopData(**{name: value.to(device) for name, value in self.__dict__.items()})


@lru_cache
def _pyg_class() -> Any:
    from torch_geometric.data import Data

    class HopGraph(Data):
        """How host and probe indices count on in a batch, and which axis they are joined along."""

        def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
            n_host = self.x.shape[0]
            if key == "probe_index":
                return torch.tensor([[n_host], [self.ion.shape[0] * N_PROBES]])
            return n_host if key == "edge_index" else super().__inc__(key, value, *args, **kwargs)

        def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
            joined = key in ("probe_index", "edge_index")
            return 1 if joined else super().__cat_dim__(key, value, *args, **kwargs)

    return HopGraph


def hop_graph(hop: Hop) -> HopData:
    """The graph of a hop whose path avoids the host (see
    :mod:`ionbridge.structures.hops.hop_profile`).

    Args:
        hop: Host and path; ``extra["bvse_profile_eV"]`` is used where it is there.

    Returns:
        A graph of one hop; fields at :class:`HopData`.

    Raises:
        UnusableStructureError: No framework atom lies within reach of the path.
    """
    host = _Host.of(hop.id, hop.lattice, hop.host_species, hop.host_frac, hop)
    return host.with_hops([hop])


def migration_graph_data(graph: MigrationGraph) -> HopData:
    """The graph of all symmetry-unique hops of a crystal, which share one primitive host.

    Gives the network the same environments as :func:`hop_graph` on each of ``graph.hops`` (whose
    hosts are supercells), at a fraction of the cost.

    Args:
        graph: Sites and hops of a crystal.

    Returns:
        A graph of ``len(graph.hops)`` hops; fields at :class:`HopData`.

    Raises:
        UnusableStructureError: No framework atom lies within reach of a path.
    """
    crystal, hops = graph.crystal, graph.hops
    host = _Host.of(crystal.id, crystal.lattice, crystal.species, crystal.frac, hops[0])
    return host.with_hops(hops)


def crystal_graph(crystal: Crystal, displacement_A: NDArray[np.float64]) -> tuple[HopData, Tensor]:
    """A whole crystal as a framework, without hops: for what is to be learnt of frameworks.

    Args:
        crystal: Its working ion, if it has one, is an atom like any other.
        displacement_A: (n_sites, 3) cartesian; the graph is that of the displaced atoms, along the
            bonds of the true ones.

    Returns:
        A graph with the host fields of :class:`HopData`, and (n_edges,) the true bond lengths.

    Raises:
        UnusableStructureError: No bonds.
    """
    try:
        states = formula_oxidation_states(crystal.composition)
    except UnusableStructureError:  # a metal: atoms without charges
        states = {}
    src, dst, shift, length = periodic_edges(crystal.lattice, crystal.frac, HOST_CUTOFF_A)
    keep = length > SPLIT_SITE_A
    if not keep.any():
        raise UnusableStructureError(f"{crystal.id}: no bonds within {HOST_CUTOFF_A} angstrom")
    src, dst, shift, length = src[keep], dst[keep], shift[keep], length[keep]
    moved = crystal.frac @ crystal.lattice + displacement_A
    vectors = moved[dst] + shift @ crystal.lattice - moved[src]
    graph = HopData(
        x=torch.tensor(
            np.stack([species_features(part, states) for part in crystal.species]),
            dtype=torch.float32,
        ),
        weight=torch.tensor([sum(p.values()) for p in crystal.species], dtype=torch.float32),
        edge_index=torch.tensor(np.stack([src, dst]), dtype=torch.long),
        edge_length=torch.tensor(np.linalg.norm(vectors, axis=1), dtype=torch.float32),
    )
    return graph, torch.tensor(length, dtype=torch.float32)


@dataclass(frozen=True, eq=False)
class _Host:
    """The atoms of a cell as graph nodes, with the edges of the framework."""

    id: str
    lattice: NDArray[np.float64]
    frac: NDArray[np.float64]
    x: NDArray[np.float64]
    weight: NDArray[np.float64]
    is_ion: NDArray[np.bool_]
    edge_index: NDArray[np.int64]
    edge_length: NDArray[np.float64]
    states: Mapping[str, float]

    @classmethod
    def of(
        cls,
        id: str,
        lattice: NDArray[np.float64],
        species: Sequence[Occupancy],
        site_frac: NDArray[np.float64],
        hop: Hop,
    ) -> _Host:
        states = _oxidation_states(hop)
        sites, weight, is_ion = _split_sites(species, hop.working_ion)
        framework = np.flatnonzero(~is_ion)
        if framework.size == 0:
            raise UnusableStructureError(f"{id}: the host holds no atom but {hop.working_ion}")
        frac = site_frac[[s for s, _ in sites]]
        src, dst, _, length = periodic_edges(lattice, frac[framework], HOST_CUTOFF_A)
        keep = length > SPLIT_SITE_A  # two species that share a site do not bond
        return cls(
            id=id,
            lattice=lattice,
            frac=frac,
            x=_features_of_sites([part for _, part in sites], states),
            weight=weight,
            is_ion=is_ion,
            edge_index=np.stack([framework[src[keep]], framework[dst[keep]]]),
            edge_length=length[keep],
            states=states,
        )

    def with_hops(self, hops: Sequence[Hop]) -> HopData:
        """Add the probes of every hop (whose own cell may be a supercell of this one)."""
        paths = np.stack([equally_spaced(hop.path_A, N_PROBES) for hop in hops])
        probe, atom, shift, distance = neighbors_within(
            self.lattice, self.frac, paths.reshape(-1, 3), PROBE_CUTOFF_A
        )
        position = (self.frac[atom] + shift) @ self.lattice
        hop_of, image = np.divmod(probe, N_PROBES)
        sites = [emptied_sites(hop) for hop in hops]
        emptied = np.full((len(hops), max(map(len, sites)), 3), np.inf)
        for k, own in enumerate(sites):
            emptied[k, : len(own)] = own
        distance_A = np.linalg.norm(position[:, None] - emptied[hop_of], axis=-1)
        keep = ~_emptied(distance_A, self.is_ion[atom], image)
        probe, atom, distance, hop_of = probe[keep], atom[keep], distance[keep], hop_of[keep]
        seen = np.bincount(hop_of[~self.is_ion[atom]], minlength=len(hops))
        if not seen.all():
            raise UnusableStructureError(
                f"{hops[int(np.argmin(seen))].id}: no framework atom within {PROBE_CUTOFF_A} "
                "angstrom of the path"
            )
        ion = species_features({hops[0].working_ion: 1.0}, self.states)
        scalars = _path_scalars(hops, paths, self, probe, atom, distance)
        return HopData(
            x=torch.tensor(self.x, dtype=torch.float32),
            weight=torch.tensor(self.weight, dtype=torch.float32),
            edge_index=torch.tensor(self.edge_index, dtype=torch.long),
            edge_length=torch.tensor(self.edge_length, dtype=torch.float32),
            probe_index=torch.tensor(np.stack([atom, probe]), dtype=torch.long),
            probe_length=torch.tensor(distance, dtype=torch.float32),
            probe_from_ion=torch.tensor(self.is_ion[atom]),
            ion=torch.tensor(np.repeat(ion[None], len(hops), axis=0), dtype=torch.float32),
            scalars=torch.tensor(scalars, dtype=torch.float32),
        )


def _features_of_sites(
    parts: Sequence[Occupancy], states: Mapping[str, float]
) -> NDArray[np.float64]:
    """(n_sites, len(SPECIES_FEATURES)) features of sites, those of one content found once."""
    kinds: dict[tuple[tuple[str, float], ...], int] = {}
    number = [kinds.setdefault(tuple(part.items()), len(kinds)) for part in parts]
    return np.stack([species_features(dict(kind), states) for kind in kinds])[number]


def species_features(part: Occupancy, states: Mapping[str, float]) -> NDArray[np.float64]:
    """(len(SPECIES_FEATURES),) occupancy-weighted features of what sits on one site."""
    total = sum(part.values())
    mean = sum(
        (amount / total) * np.array(_element_features(symbol, round(states.get(symbol, 0.0), 2)))
        for symbol, amount in part.items()
    )
    return np.concatenate([mean, [total]])


@lru_cache(maxsize=4096)
def _element_features(symbol: str, state: float) -> tuple[float, ...]:
    element = Element(symbol)
    radii = element.ionic_radii
    if radii:
        radius = float(radii[min(radii, key=lambda s: abs(s - state))])
    else:
        radius = float(element.atomic_radius or 1.5)
    electronegativity = float(element.X) if np.isfinite(element.X) else 1.6
    valence_d = 0.0
    if element.is_transition_metal:
        valence_d = float(np.clip(element.group - state, 0.0, 10.0))
    return (
        state / OXIDATION_SCALE,
        radius,
        electronegativity / 2.0,
        element.row / 4.0,
        float(state < 0),
        valence_d / 10.0,
        *(float(element.block == block) for block in "spdf"),
        float(element.mendeleev_no or 50.0) / 100.0,
    )


def _oxidation_states(hop: Hop) -> Mapping[str, float]:
    known = hop.extra.get("oxidation_states")
    if known is not None:  # those of the whole crystal, from which the hop was made
        return dict(known)
    species = (*hop.host_species, {hop.working_ion: 1.0})
    return formula_oxidation_states(site_composition(species))


def _split_sites(
    site_species: Sequence[Occupancy], working_ion: str
) -> tuple[list[tuple[int, dict[str, float]]], NDArray[np.float64], NDArray[np.bool_]]:
    """Sites shared by the working ion and the framework become one node each."""
    sites: list[tuple[int, dict[str, float]]] = []
    for index, species in enumerate(site_species):
        rest = {k: v for k, v in species.items() if k != working_ion and v > 0}
        if rest:
            sites.append((index, rest))
        if species.get(working_ion, 0.0) > 0:
            sites.append((index, {working_ion: species[working_ion]}))
    weights = np.array([sum(part.values()) for _, part in sites])
    is_ion = np.array([list(part) == [working_ion] for _, part in sites], dtype=bool)
    return sites, weights, is_ion


def _emptied(
    distance_A: NDArray[np.float64], is_ion: NDArray[np.bool_], image: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which atoms an image does not see, because the sites of a hop are empty.

    Of the framework atoms that share a mixed site with the ion, the first and the last image miss
    only those on their own site, so that the framework around a site is the same for every hop
    that starts or ends there.

    Args:
        distance_A: (n, n_sites) distance of the atom from the emptied sites: the first image, the
            last one, and what the path leads over.
        is_ion: (n,) True where the atom is a working ion.
        image: (n,) index of the image in its path.
    """
    shares = distance_A < SAME_POINT_A
    own = np.zeros_like(shares)
    own[image == 0, 0] = True
    own[image == N_PROBES - 1, 1] = True
    inner = (image > 0) & (image < N_PROBES - 1)
    shared = (shares & (own | inner[:, None])).any(axis=1)
    return np.asarray(np.where(is_ion, distance_A.min(axis=1) < EXCLUSION_A, shared))


def _path_scalars(
    hops: Sequence[Hop],
    paths: NDArray[np.float64],
    host: _Host,
    probe: NDArray[np.int64],
    atom: NDArray[np.int64],
    distance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n_hops, len(PATH_SCALARS)) numbers of whole paths, the same for a hop and its reverse."""
    charge, weight, is_ion = host.x[:, 0] * OXIDATION_SCALE, host.weight, host.is_ion
    kinds = {
        "anion": (charge < 0) & ~is_ion,
        "cation": (charge >= 0) & ~is_ion,
        "ion": is_ion,
    }
    n_hops = len(hops)
    nearest = {}
    for name, mask in kinds.items():
        chosen = mask[atom] & (weight[atom] > 0.1)
        found = np.full(n_hops * N_PROBES, PROBE_CUTOFF_A)
        np.minimum.at(found, probe[chosen], distance[chosen])
        nearest[name] = found.reshape(n_hops, N_PROBES)
    anion = kinds["anion"][atom]
    # a smooth count of anion neighbours
    count = weight[atom[anion]] / (1.0 + np.exp((distance[anion] - 2.9) / 0.15))
    coordination = np.bincount(probe[anion], weights=count, minlength=n_hops * N_PROBES)
    coordination = coordination.reshape(n_hops, N_PROBES)
    bond_valence = np.array([_bond_valence_scalars(hop) for hop in hops])
    length = np.linalg.norm(np.diff(paths, axis=1), axis=2).sum(axis=1)
    straight = np.linalg.norm(paths[:, -1] - paths[:, 0], axis=1)
    volume = float(abs(np.linalg.det(host.lattice)))
    framework = np.where(is_ion, 0.0, weight)
    inner, one = slice(1, N_PROBES - 1), np.ones(n_hops)
    return np.column_stack(
        [
            bond_valence,
            straight / 3.0,
            length / np.maximum(straight, 0.5) - 1.0,
            nearest["anion"].min(axis=1),
            nearest["cation"][:, inner].min(axis=1),
            0.5 * (nearest["anion"][:, 0] + nearest["anion"][:, -1]),
            0.5 * (nearest["cation"][:, 0] + nearest["cation"][:, -1]),
            nearest["ion"][:, inner].min(axis=1),
            0.5 * (coordination[:, 0] + coordination[:, -1]) / 4.0,
            coordination[:, N_PROBES // 2] / 4.0,
            volume / framework.sum() / 10.0 * one,
            host.states.get(hops[0].working_ion, 1.0) * one,
            float((np.clip(charge, 0, None) * framework).sum()) / volume * 10.0 * one,
        ]
    )


def _bond_valence_scalars(hop: Hop) -> tuple[float, float, float]:
    """Saddle above the mean of both ends, difference of the ends, and whether there is neither."""
    profile = hop.extra.get("bvse_profile_eV")
    if profile is None:
        return 0.0, 0.0, 1.0
    energy = np.asarray(profile, dtype=float)
    energy = energy - 0.5 * (energy[0] + energy[-1])  # either way along the path
    energy = np.clip(energy, -BVSE_CAP_EV, BVSE_CAP_EV)
    return float(energy.max()), abs(float(energy[-1] - energy[0])), 0.0
