"""CGCNN-like and ALIGNN-like networks for hops, from scratch.

A hop is three graphs: its ion at the start, at the saddle and at the end, each with the host atoms
around it. One encoder reads all three; the head sees the saddle, the sum and the absolute
difference of the ends, so that a hop and its reverse have one barrier.

ALIGNN's own package was not used: it predicts from one crystal, not from three stations of a path,
and the DGL that its original form needs has binaries for torch up to 2.2 only. What is here is its
layer written with torch-geometric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.nn import CGConv
from torch_geometric.nn.models.schnet import GaussianSmearing
from torch_geometric.utils import scatter

from benchmarks.rivals.rival_table import N_STATIONS, PATHS, Table

N_NEIGHBORS = 12
"""As in CGCNN and ALIGNN, and no further than CUTOFF_A."""
CUTOFF_A = 8.0
ANGLE_CUTOFF_A = 3.5
"""Longer bonds have no angles, as in the later releases of ALIGNN."""
N_LENGTHS, N_ANGLES = 40, 20
EPOCHS = 40
SHIFT_EV = 0.1

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HopGraphs:
    """One hop, or several, as graphs of N_STATIONS stations each.

    Attributes:
        x: (n_atoms, n_element_features + 1) element features; the last column marks the ion.
        station: (n_atoms,) which station an atom belongs to; N_STATIONS a hop.
        ion: (n_stations,) the ion's place among the atoms.
        edge_index: (2, n_edges) from neighbour to atom.
        length: (n_edges,) angstrom.
        angle_index: (2, n_angles) from bond (k, j) to bond (j, i): edges of the line graph.
        cosine: (n_angles,) of the angle at j.
    """

    x: Tensor
    station: Tensor
    ion: Tensor
    edge_index: Tensor
    length: Tensor
    angle_index: Tensor
    cosine: Tensor

    def to(self, device: str) -> HopGraphs:
        """A copy on a device."""
        return HopGraphs(*(getattr(self, f.name).to(device) for f in fields(self)))


def bonds_of(position_A: Floats) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp], Floats]:
    """Bonds of a cluster to the nearest neighbours of every atom, and the angles between them.

    Args:
        position_A: (n, 3).

    Returns:
        (2, n_edges) neighbour and atom, (n_edges,) lengths, (2, n_angles) bond (k, j) and bond
        (j, i) with k other than i, and (n_angles,) cosines of the angles at j.
    """
    distance = np.linalg.norm(position_A[:, None] - position_A[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :N_NEIGHBORS]
    dst = np.repeat(np.arange(len(position_A)), nearest.shape[1])
    src = nearest.ravel()
    near = distance[dst, src] <= CUTOFF_A
    src, dst = src[near], dst[near]
    length = distance[dst, src]
    short = np.flatnonzero(length <= ANGLE_CUTOFF_A)
    meet = dst[short][:, None] == src[short][None]
    meet &= src[short][:, None] != dst[short][None]
    first, second = (short[k] for k in np.nonzero(meet))
    at = position_A[dst[first]]
    u, v = position_A[src[first]] - at, position_A[dst[second]] - at
    norm = np.maximum(np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1), 1e-9)
    cosine = np.clip((u * v).sum(axis=1) / norm, -1.0, 1.0)
    return np.stack([src, dst]), length, np.stack([first, second]), cosine


def graphs_of(clusters: Sequence[tuple[NDArray[np.intp], Floats]], elements: Floats) -> HopGraphs:
    """The graphs of one hop from atomic numbers and positions at each station; the ion is first."""
    parts: dict[str, list[NDArray[Any]]] = {f.name: [] for f in fields(HopGraphs)}
    n_atoms = n_edges = 0
    for station, (numbers, position) in enumerate(clusters):
        edge, length, angle, cosine = bonds_of(position)
        values: tuple[NDArray[Any], ...] = (
            np.column_stack([elements[numbers], np.arange(len(numbers)) == 0]),
            np.full(len(numbers), station),
            np.array([n_atoms]),
            edge + n_atoms,
            length,
            angle + n_edges,
            cosine,
        )
        for own, value in zip(parts.values(), values, strict=True):
            own.append(value)
        n_atoms, n_edges = n_atoms + len(numbers), n_edges + len(length)
    joined = {
        name: torch.tensor(np.concatenate(own, axis=1 if name.endswith("_index") else 0))
        for name, own in parts.items()
    }
    return HopGraphs(**{k: v.float() if v.is_floating_point() else v for k, v in joined.items()})


GraphsByPath = Mapping[str, Sequence[HopGraphs]]


def all_graphs(table: Table) -> GraphsByPath:
    """Graphs of all hops by path."""
    elements = table.arrays["elements"]
    return {
        path: [
            graphs_of([table.cluster(path, hop, k) for k in range(N_STATIONS)], elements)
            for hop in range(len(table.rows))
        ]
        for path in PATHS
    }


def on_device(graphs: GraphsByPath, device: str) -> GraphsByPath:
    """A copy of all graphs on a device."""
    return {path: [graph.to(device) for graph in own] for path, own in graphs.items()}


def joined(graphs: Sequence[HopGraphs]) -> HopGraphs:
    """Several hops as one."""
    device = graphs[0].x.device

    def moved(name: str, counts: Sequence[int], own: Sequence[int]) -> Tensor:
        """A field of indices, each graph's raised by what the graphs before it hold."""
        first = torch.tensor(np.cumsum([0, *counts[:-1]]), device=device)
        total = sum(own)
        times = torch.tensor(own, device=device)
        shift = torch.repeat_interleave(first, times, output_size=total)
        return torch.cat([getattr(g, name) for g in graphs], dim=-1) + shift

    atoms, edges = [len(g.x) for g in graphs], [len(g.length) for g in graphs]
    stations = [len(g.ion) for g in graphs]
    return HopGraphs(
        x=torch.cat([g.x for g in graphs]),
        station=moved("station", stations, atoms),
        ion=moved("ion", atoms, stations),
        edge_index=moved("edge_index", atoms, edges),
        length=torch.cat([g.length for g in graphs]),
        angle_index=moved("angle_index", edges, [len(g.cosine) for g in graphs]),
        cosine=torch.cat([g.cosine for g in graphs]),
    )


class CrystalGraphEncoder(nn.Module):
    """CGCNN: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018).

    x_i <- x_i + BN(sum_j sigmoid(W_f z_ij + b_f) * softplus(W_s z_ij + b_s)), with
    z_ij = [x_i, x_j, e_ij] and e_ij the bond length in Gaussian bins.

    Args:
        n_features: Of an atom.
        width: Of the hidden states.
        n_layers: Convolutions.
    """

    def __init__(self, n_features: int, width: int, n_layers: int) -> None:
        super().__init__()
        self.bins = GaussianSmearing(0.0, CUTOFF_A, N_LENGTHS)
        self.embedding = nn.Linear(n_features, width)
        self.layers = nn.ModuleList(
            CGConv(width, dim=N_LENGTHS, batch_norm=True) for _ in range(n_layers)
        )

    def forward(self, graphs: HopGraphs) -> Tensor:
        """(n_atoms, width)."""
        x, edge = self.embedding(graphs.x), self.bins(graphs.length)
        for layer in self.layers:
            x = layer(x, graphs.edge_index, edge)
        return x


class EdgeGated(nn.Module):
    """Edge-gated graph convolution, as in ALIGNN (npj Comput. Mater. 7, 185 (2021)).

    e_ij' = e_ij + silu(BN(A x_i + B x_j + C e_ij)),
    x_i' = x_i + silu(BN(W x_i + sum_j s_ij V x_j / (sum_j s_ij + eps))), s_ij the sigmoid of the
    sum in the first line.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_gate, self.from_gate = nn.Linear(width, width), nn.Linear(width, width)
        self.edge_gate = nn.Linear(width, width)
        self.own, self.sent = nn.Linear(width, width), nn.Linear(width, width)
        self.node_norm, self.edge_norm = nn.BatchNorm1d(width), nn.BatchNorm1d(width)

    def forward(self, x: Tensor, index: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """(n_nodes, width) and (n_edges, width), as given."""
        src, dst = index
        gate = self.to_gate(x)[dst] + self.from_gate(x)[src] + self.edge_gate(e)
        share = torch.sigmoid(gate)
        weight = scatter(share, dst, dim_size=len(x))
        sent = scatter(share * self.sent(x)[src], dst, dim_size=len(x)) / (weight + 1e-6)
        x = x + nn.functional.silu(self.node_norm(self.own(x) + sent))
        return x, e + nn.functional.silu(self.edge_norm(gate))


def dense(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, n_out), nn.LayerNorm(n_out), nn.SiLU())


class LineGraphEncoder(nn.Module):
    """ALIGNN: Choudhary and DeCost, npj Comput. Mater. 7, 185 (2021).

    Bonds exchange messages along the line graph, whose edges are angles, then atoms along bonds;
    at last some layers on the bonds alone.

    Args:
        n_features: Of an atom.
        width: Of the hidden states.
        n_line_layers: Layers on line graph and graph.
        n_layers: Layers on the graph alone.
    """

    def __init__(self, n_features: int, width: int, n_line_layers: int, n_layers: int) -> None:
        super().__init__()
        self.embedding = dense(n_features, width)
        self.bond = nn.Sequential(
            GaussianSmearing(0.0, CUTOFF_A, N_LENGTHS), dense(N_LENGTHS, width)
        )
        self.angle = nn.Sequential(GaussianSmearing(-1.0, 1.0, N_ANGLES), dense(N_ANGLES, width))
        self.on_line_graph = nn.ModuleList(EdgeGated(width) for _ in range(n_line_layers))
        self.on_graph = nn.ModuleList(EdgeGated(width) for _ in range(n_line_layers))
        self.layers = nn.ModuleList(EdgeGated(width) for _ in range(n_layers))

    def forward(self, graphs: HopGraphs) -> Tensor:
        """(n_atoms, width)."""
        x, e, a = self.embedding(graphs.x), self.bond(graphs.length), self.angle(graphs.cosine)
        for on_line_graph, on_graph in zip(self.on_line_graph, self.on_graph, strict=True):
            e, a = on_line_graph(e, graphs.angle_index, a)
            x, e = on_graph(x, graphs.edge_index, e)
        for layer in self.layers:
            x, e = layer(x, graphs.edge_index, e)
        return x


class HopRegressor(nn.Module):
    """An encoder and the head that reads three stations.

    A station is the ion's state and the mean of all states around it.

    Args:
        encoder: Gives (n_atoms, width).
        width: Of its states.
        dropout: Share of the head's hidden units that training silences.
    """

    def __init__(self, encoder: nn.Module, width: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.read = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU())
        self.head = nn.Sequential(
            nn.Linear(3 * width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, 1)
        )

    def forward(self, graphs: HopGraphs) -> Tensor:
        """(n_hops,) standardised targets."""
        x = self.encoder(graphs)
        mean = scatter(x, graphs.station, dim_size=len(graphs.ion), reduce="mean")
        stations = self.read(torch.cat([x[graphs.ion], mean], dim=1))
        start, saddle, end = stations.view(-1, N_STATIONS, stations.shape[1]).unbind(1)
        ends = torch.cat([start + end, (start - end).abs()], dim=1)
        return self.head(torch.cat([saddle, ends], dim=1))[:, 0]


def cgcnn(n_features: int, settings: Mapping[str, Any]) -> HopRegressor:
    width = settings["width"]
    encoder = CrystalGraphEncoder(n_features, width, settings["n_layers"])
    return HopRegressor(encoder, width, settings["dropout"])


def alignn(n_features: int, settings: Mapping[str, Any]) -> HopRegressor:
    width = settings["width"]
    layers = settings["n_line_layers"], settings["n_layers"]
    return HopRegressor(LineGraphEncoder(n_features, width, *layers), width, settings["dropout"])


NETWORKS: dict[str, Callable[[int, Mapping[str, Any]], HopRegressor]] = {
    "cgcnn": cgcnn,
    "alignn": alignn,
}
"""Networks by name."""


@dataclass(eq=False)
class NetworkFit:
    """A network and the rows it is fitted to.

    Loss: mean absolute error of ln(barrier + SHIFT_EV), standardised; AdamW with one cycle of the
    learning rate.

    Args:
        name: One of NETWORKS.
        settings: Sizes, ``learning_rate``, ``weight_decay``, ``batch_size``, ``dropout``, ``path``.
        graphs: All hops by path, on the device.
        barrier_eV: (n,) labels of all hops; only those of ``rows`` are read.
        rows: What is learnt from.
        seed: Of weights and batches.
        device: ``cpu`` or ``cuda``.
        epochs: Passes over the rows.
    """

    name: str
    settings: Mapping[str, Any]
    graphs: GraphsByPath
    barrier_eV: Floats
    rows: NDArray[np.intp]
    seed: int
    device: str
    epochs: int = EPOCHS

    def run(self, after_epoch: Callable[[int, NetworkFit], None] | None = None) -> NetworkFit:
        """Fit; ``after_epoch`` may raise to stop."""
        known = np.log(self.barrier_eV[self.rows] + SHIFT_EV)
        self.center, self.scale = float(known.mean()), float(known.std()) + 1e-6
        target = torch.tensor((known - self.center) / self.scale, dtype=torch.float32)
        target = target.to(self.device)
        here = [self._graph(i) for i in self.rows]
        torch.manual_seed(self.seed)
        self.network = NETWORKS[self.name](here[0].x.shape[1], self.settings).to(self.device)
        rng = np.random.default_rng(self.seed)
        size = self.settings["batch_size"]
        n_batches = max(1, len(here) // size)
        optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=self.settings["weight_decay"]
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.settings["learning_rate"], total_steps=self.epochs * n_batches
        )
        for epoch in range(self.epochs):
            self.network.train()
            # a last batch of one hop would have no spread to normalise by
            for batch in np.array_split(rng.permutation(len(here)), n_batches):
                optimizer.zero_grad(set_to_none=True)
                found = self.network(joined([here[i] for i in batch]))
                (found - target[torch.tensor(batch, device=self.device)]).abs().mean().backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            if after_epoch is not None:
                after_epoch(epoch, self)
        return self

    def predict(self, rows: NDArray[np.intp]) -> Floats:
        """(n_rows,) barriers, eV."""
        self.network.eval()
        parts = []
        with torch.no_grad():
            for first in range(0, len(rows), 64):
                batch = joined([self._graph(i) for i in rows[first : first + 64]])
                parts.append(self.network(batch).double().cpu().numpy())
        t = self.center + self.scale * np.concatenate(parts)
        return np.clip(np.exp(t) - SHIFT_EV, 0.0, None)

    def _graph(self, row: int) -> HopGraphs:
        return self.graphs[self.settings["path"]][row]
