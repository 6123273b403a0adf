"""CHGNet on many cells at once: energies and forces of a batch in one call, for a GPU.

CHGNet: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023). Its own batches are assembled graph by
graph at every call; here the neighbours are found once, off the GPU, and kept while atoms move by
little. Energies are relative to the reference energies of the elements, which cancel between
images of one hop.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from chgnet.graph import CrystalGraphConverter
from chgnet.model.model import BatchedGraph, CHGNet
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure
from torch import Tensor

from ionbridge.screening.labelling.bands.hop_cell import HopCell

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cell:
    """One periodic structure.

    Attributes:
        symbols: Elements of its n atoms.
        lattice: (3, 3) rows, angstrom.
        positions_A: (n, 3) cartesian.
    """

    symbols: tuple[str, ...]
    lattice: Floats
    positions_A: Floats


@dataclass(frozen=True, eq=False)
class Topology:
    """Who is whose neighbour in a batch of cells: all that a worker hands over.

    Attributes:
        numbers: (n_atoms,) atomic numbers.
        owners: (n_atoms,) cell of each atom.
        edges: (n_edges, 2) directed neighbours.
        shifts_A: (n_edges, 3) lattice translation of the second one.
        undirected: (n_edges,) undirected edge of each directed one.
        directed: (n_undirected,) one of its directed edges.
        angles: (n_angles, 3) atom and two undirected edges.
        angle_edges: (n_angles, 2) the directed edges of the angle.
    """

    numbers: NDArray[np.int32]
    owners: NDArray[np.int32]
    edges: NDArray[np.int32]
    shifts_A: NDArray[np.float32]
    undirected: NDArray[np.int32]
    directed: NDArray[np.int32]
    angles: NDArray[np.int32]
    angle_edges: NDArray[np.int32]


def topology(cells: Sequence[Cell]) -> Topology:
    """The neighbours of all atoms of some cells, within the cutoffs of CHGNet."""
    return joined([_topology_of(cell) for cell in cells])


def joined(parts: Sequence[Topology]) -> Topology:
    """One batch of several, their cells in the given order."""
    offsets = np.zeros(4, dtype=np.int64)  # cells, atoms, directed and undirected edges so far
    moved: dict[str, list[NDArray[Any]]] = {name: [] for name in Topology.__annotations__}
    for part in parts:
        n_cells, n_atoms, n_edges, n_undirected = offsets
        shift: dict[str, Any] = {
            "owners": n_cells,
            "edges": n_atoms,
            "undirected": n_undirected,
            "directed": n_edges,
            "angles": [n_atoms, n_undirected, n_undirected],
            "angle_edges": n_edges,
        }
        for name, values in moved.items():
            value = getattr(part, name)
            values.append(value + np.asarray(shift.get(name, 0), dtype=value.dtype))
        offsets += [part.owners[-1] + 1, len(part.numbers), len(part.edges), len(part.directed)]
    return Topology(**{name: np.concatenate(values) for name, values in moved.items()})


def _topology_of(cell: Cell) -> Topology:
    structure = Structure(
        Lattice(cell.lattice), cell.symbols, cell.positions_A, coords_are_cartesian=True
    )
    graph = _converter()(structure)
    edges = graph.atom_graph.reshape(-1, 2).numpy()
    # the converter counts translations from atoms inside the cell, these may be outside
    frac = cell.positions_A @ np.linalg.inv(cell.lattice)
    moved = np.rint(frac - graph.atom_frac_coord.detach().double().numpy())
    image = graph.neighbor_image.reshape(-1, 3).double().numpy()
    image = image + moved[edges[:, 0]] - moved[edges[:, 1]]
    angles = graph.bond_graph.reshape(-1, 5).numpy()
    return Topology(
        numbers=np.array([atomic_numbers[s] for s in cell.symbols], dtype=np.int32),
        owners=np.zeros(len(cell.symbols), dtype=np.int32),
        edges=edges.astype(np.int32),
        shifts_A=(image @ cell.lattice).astype(np.float32),
        undirected=graph.directed2undirected.numpy().astype(np.int32),
        directed=graph.undirected2directed.numpy().astype(np.int32),
        angles=angles[:, [0, 1, 3]].astype(np.int32),
        angle_edges=angles[:, [2, 4]].astype(np.int32),
    )


class ChgnetBatch:
    """Energies and forces of a batch of cells whose neighbours are known.

    Args:
        found: Neighbours, from :func:`topology`; atoms may since have moved by a few tenths of an
            angstrom.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, found: Topology, device: str) -> None:
        self.device = device
        self.n_cells = int(found.owners[-1]) + 1
        self.owners = self._indices(found.owners)
        self._numbers = self._indices(found.numbers)
        self._edges = self._indices(found.edges)
        self._shifts = torch.as_tensor(found.shifts_A, device=device)
        self._undirected = self._indices(found.undirected)
        self._directed = self._indices(found.directed)
        self._angles = self._indices(found.angles)
        self._angle_edges = self._indices(found.angle_edges)

    def energies(self, positions_A: Tensor) -> Tensor:
        """(n_cells,) eV, of (n_atoms, 3) positions."""
        with torch.no_grad():
            return self._energies(positions_A)

    def energies_and_forces(self, positions_A: Tensor) -> tuple[Tensor, Tensor]:
        """(n_cells,) eV and (n_atoms, 3) eV/angstrom, of (n_atoms, 3) positions."""
        moved = positions_A.detach().requires_grad_()
        energies = self._energies(moved)
        (gradient,) = torch.autograd.grad(energies.sum(), moved)
        return energies.detach(), -gradient

    def _energies(self, positions_A: Tensor) -> Tensor:
        model = _model(self.device)
        first, second = self._edges.unbind(dim=1)
        vectors = positions_A[first] - positions_A[second] - self._shifts
        lengths = vectors.norm(dim=1)
        vectors = vectors / lengths[:, None]
        undirected = lengths[self._directed]
        expansion = model.bond_basis_expansion
        i, j = self._angle_edges.unbind(dim=1)
        graph = BatchedGraph(
            atomic_numbers=self._numbers,
            bond_bases_ag=expansion.rbf_expansion_ag(undirected),
            bond_bases_bg=expansion.rbf_expansion_bg(undirected),
            angle_bases=model.angle_basis_expansion(vectors[i], vectors[j]),
            batched_atom_graph=self._edges,
            batched_bond_graph=self._angles,
            atom_owners=self.owners.int(),
            directed2undirected=self._undirected,
            atom_positions=[positions_A],
            strains=[],
            volumes=[],
        )
        per_atom = model._compute(graph)["e"]
        found: Tensor = per_atom * torch.bincount(self.owners) if model.is_intensive else per_atom
        return found

    def _indices(self, values: NDArray[np.int32]) -> Tensor:
        return torch.as_tensor(values, device=self.device).long()


@lru_cache(maxsize=1)
def _converter() -> CrystalGraphConverter:
    return CrystalGraphConverter(
        atom_graph_cutoff=6, bond_graph_cutoff=3, on_isolated_atoms="ignore", verbose=False
    )


@lru_cache(maxsize=2)
def _model(device: str) -> CHGNet:
    with contextlib.redirect_stdout(io.StringIO()):
        model = CHGNet.load(use_device=device, verbose=False)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()


Neighbours = Callable[[Sequence[Cell]], Topology]
"""Finds the neighbours of some cells, in another process perhaps."""


def frozen_profiles(
    hops: Sequence[HopCell], n_images: int, neighbours: Neighbours, device: str
) -> list[Floats]:
    """Energies with the ion at equally spaced points of its path, the host as it stands.

    Returns:
        (n_images + 2,) eV above the first image for each hop.
    """
    cells = [cell_of(hop, image) for hop in hops for image in hop.images(n_images)]
    batch = ChgnetBatch(neighbours(cells), device)
    energies = batch.energies(positions_of(cells, device)).double().cpu().numpy()
    return list(energies.reshape(len(hops), -1) - energies.reshape(len(hops), -1)[:, :1])


def cell_of(hop: HopCell, positions_A: Floats) -> Cell:
    """The cell of a hop with its atoms, the moving ion last, at (n_atoms, 3) positions."""
    return Cell((*hop.symbols, hop.working_ion), hop.lattice, positions_A)


def positions_of(cells: Sequence[Cell], device: str) -> Tensor:
    """(n_atoms, 3) positions of all atoms of some cells, angstrom, in single precision."""
    joined = np.concatenate([cell.positions_A for cell in cells])
    return torch.as_tensor(joined, dtype=torch.float32, device=device)
