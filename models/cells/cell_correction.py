"""The learned part of the cell model: a small ensemble of networks that correct local states.

At every moment and in both electrodes one network sees ``ionbridge.models.cells.cell_features`` and
answers with two numbers: by how much the surface stoichiometry that decides the voltage differs
from that of the single particle, and a remaining overpotential. The voltage follows through the
open-circuit curve, so that plateaus, steps and the steep end of a discharge need not be learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ionbridge.models.cells.cell_features import NAMES, electrode_features, fill_potential
from ionbridge.models.cells.single_particle import (
    SATURATED_SLOPE_V,
    Cells,
    Discharge,
    Unevenness,
    discharge,
    unevenness,
)
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]
Parameters = dict[str, Tensor]
"""Weights ``w0, b0, w1, b1, w2, b2``, the first axis being the members."""

N_MEMBERS = 5
HIDDEN = (24, 24)
N_NODES = 101
NODES = np.linspace(0.0, 1.0, N_NODES)
"""Fractions of the capacity at which labels are given."""
STOICHIOMETRY_STEP = 0.1
"""Shift of the stoichiometry for an output of one."""
SLOPE_V = 3.0
"""Volts a capacity at which an error counts as one of capacity: 3 mV are worth 0.1 %."""
ERROR_V = (0.0002, 0.003)
"""Errors beyond this count less than squared: where nothing, and where all is to be corrected. Else
small corrections, which a chemistry of good conductors needs, would not be learnt from others."""
LARGEST = 5.0
"""Standardised features are cut here: outside the training range the correction stays what it is
at its border."""
END_WEIGHT = 3.0


@dataclass(frozen=True, eq=False)
class Curves:
    """Discharge curves of n cells, each over its own capacity.

    Attributes:
        capacity_Ah: (n,).
        voltage_V: (n, N_NODES) at ``NODES`` times the capacity.
    """

    capacity_Ah: Floats
    voltage_V: Floats

    def __len__(self) -> int:
        return len(self.capacity_Ah)

    def take(self, index: NDArray[np.intp] | slice) -> Curves:
        """The curves of the chosen indices."""
        return Curves(self.capacity_Ah[index], self.voltage_V[index])

    @classmethod
    def of(cls, curves: Sequence[tuple[Floats, Floats]]) -> Curves:
        """From pairs of discharge capacity in Ah, ascending from 0, and voltage in V."""
        capacity = np.array([q[-1] for q, _ in curves], dtype=float)
        voltage = [np.interp(NODES * q[-1], q, v) for q, v in curves]
        return cls(capacity, np.array(voltage, dtype=float))


@dataclass(frozen=True, eq=False)
class Standard:
    """Mean and spread of the features in training, (len(NAMES),) each."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def fit(cls, features: NDArray[np.float32]) -> Standard:
        """Centre and scale of the columns of features (..., len(NAMES))."""
        rows = features.reshape(-1, len(NAMES))
        return cls(rows.mean(axis=0), rows.std(axis=0) + np.float32(0.1))

    def __call__(self, features: NDArray[np.float32]) -> Tensor:
        """Standardised, cut at LARGEST, as a tensor."""
        scaled = (features - self.mean) / self.spread
        return torch.from_numpy(np.clip(scaled, -LARGEST, LARGEST))


def gate(cells: Cells) -> Floats:
    """(2, n, 1) share of what the networks may correct: nothing at no current.

    With r = ohmic drops over R T / F and the salt's depletion, the closed form leaves errors of
    second order: r^2 / (1 + r^2). Nor is there anything to learn where the salt does not last.
    """
    drops = [
        (e.ohmic + e.solid) / cells.thermal + 2.0 * np.abs(e.depletion)
        for e in (cells.negative, cells.positive)
    ]
    squared = np.stack(drops) ** 2
    return np.asarray(squared / (1.0 + squared) * cells.salt_lasts[:, None])


def initial(seed: int, n_members: int = N_MEMBERS, hidden: Sequence[int] = HIDDEN) -> Parameters:
    """Fresh weights whose correction is zero."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [len(NAMES), *hidden, 2]
    found: Parameters = {}
    for i, (a, b) in enumerate(pairwise(sizes)):
        weight = torch.randn(n_members, a, b, generator=generator) / a**0.5
        found[f"w{i}"] = weight * (0.0 if i == len(hidden) else 1.0)
        found[f"b{i}"] = torch.zeros(n_members, 1, b)
    return found


def forward(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Members' outputs before scaling.

    h <- silu(h W + b) twice, then linear. ``u`` and ``v``, where present, are low-rank additions
    to the hidden weights: W + u v (Hu et al., arXiv:2106.09685).

    Args:
        parameters: Weights.
        x: (2, n, m, len(NAMES)) standardised features.

    Returns:
        (n_members, 2, n, m, 2): stoichiometry shift, overpotential.
    """
    n_members, n_layers = len(parameters["b0"]), len([k for k in parameters if k[0] == "w"])
    h = x.reshape(1, -1, x.shape[-1]).expand(n_members, -1, -1)
    for i in range(n_layers):
        weight = parameters[f"w{i}"]
        if f"u{i}" in parameters:
            weight = weight + parameters[f"u{i}"] @ parameters[f"v{i}"]
        h = torch.baddbmm(parameters[f"b{i}"], h, weight)
        if i < n_layers - 1:
            h = torch.nn.functional.silu(h)
    return h.reshape(n_members, *x.shape[:-1], 2)


@dataclass(frozen=True, eq=False)
class Points:
    """Everything that training needs of N curves, as float32 tensors.

    Attributes:
        x: (2, N, m, n_features) standardised.
        gate: (2, N, 1).
        z: (2, N, m) filling coordinate of the surfaces in the closed form.
        tables: (n_tables, n_sto) potentials along it.
        table: (2, N) which of them.
        rest: (N, m) what the closed form adds to the two potentials, V.
        thermal: (N, 1) R T / F, V.
        target: (N, m) V.
        error: (N, 1) unit of the voltage's error, V.
        sweep: (2, N, 1) by how much the mean stoichiometries change over the discharge.
    """

    x: Tensor
    gate: Tensor
    z: Tensor
    tables: Tensor
    table: Tensor
    rest: Tensor
    thermal: Tensor
    target: Tensor
    error: Tensor
    sweep: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: Tensor) -> Points:
        """The curves of the chosen indices."""
        return Points(
            self.x[:, index], self.gate[:, index], self.z[:, index], self.tables,
            self.table[:, index], self.rest[index], self.thermal[index], self.target[index],
            self.error[index], self.sweep[:, index],
        )  # fmt: skip


def features_at_nodes(
    cells: Cells, curves: Curves
) -> tuple[Discharge, Unevenness, NDArray[np.float32]]:
    """The closed form and its features at the moments of the labels."""
    time = NODES * (curves.capacity_Ah[:, None] / cells.current * SECONDS_PER_HOUR)
    state = discharge(cells, time)
    uneven = unevenness(cells, state, time)
    return state, uneven, electrode_features(cells, state, uneven, time)


def points(records: Sequence[Cells], labels: Sequence[Curves], standard: Standard) -> Points:
    """Training tensors of several base cells' curves."""
    parts: dict[str, list[NDArray[np.floating]]] = {
        k: [] for k in ("x", "gate", "z", "rest", "thermal", "target", "error", "sweep")
    }
    tables: list[Floats] = []
    table: list[NDArray[np.intp]] = []
    for cells, curves in zip(records, labels, strict=True):
        state, uneven, features = features_at_nodes(cells, curves)
        seconds = curves.capacity_Ah[:, None] / cells.current * SECONDS_PER_HOUR
        parts["x"].append(standard(features).numpy())
        parts["gate"].append(gate(cells))
        parts["error"].append(ERROR_V[0] + ERROR_V[1] * gate(cells).max(axis=0))
        parts["z"].append(np.stack([1.0 - state.negative.surface, state.positive.surface]))
        parts["rest"].append(
            uneven.gain - state.negative.overpotential - state.positive.overpotential - state.drop
        )
        parts["thermal"].append(cells.thermal)
        parts["target"].append(curves.voltage_V)
        parts["sweep"].append(np.abs([cells.negative.rate, cells.positive.rate]) * seconds)
        table.append(np.stack([np.full(len(curves), len(tables) + i) for i in (0, 1)]))
        tables += [
            fill_potential(cells.tables.negative, is_negative=True),
            fill_potential(cells.tables.positive, is_negative=False),
        ]

    def joined(name: str) -> Tensor:
        axis = 1 if name in ("x", "gate", "z", "sweep") else 0
        return torch.from_numpy(np.concatenate(parts[name], axis=axis).astype(np.float32))

    return Points(
        **{name: joined(name) for name in parts},
        tables=torch.from_numpy(np.array(tables, dtype=np.float32)),
        table=torch.from_numpy(np.concatenate(table, axis=1)),
    )


def voltages(parameters: Mapping[str, Tensor], data: Points) -> tuple[Tensor, Tensor]:
    """Corrected voltages, differentiable, and how steep the open-circuit curves are there.

    Returns:
        Two tensors (n_members, N, m): V, and V a whole discharge.
    """
    out = forward(parameters, data.x)
    z = data.z + STOICHIOMETRY_STEP * data.gate * out[..., 0]
    eta = data.thermal * (data.gate * out[..., 1]).sum(dim=1)
    potentials, slopes = _lookup(data.tables, data.table[..., None].expand_as(data.z), z)
    return potentials.sum(dim=1) + data.rest - eta, (slopes.abs() * data.sweep).sum(dim=1)


def _lookup(tables: Tensor, table: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope of row ``table`` at z, steep beyond [0, 1]; the value differentiable in z."""
    inside = z.clamp(0.0, 1.0)
    position = inside * (tables.shape[1] - 1)
    index = position.detach().long().clamp(max=tables.shape[1] - 2)
    flat, at = tables.reshape(-1), table * tables.shape[1] + index
    left, rise = flat[at], flat[at + 1] - flat[at]
    outside = z - inside
    slope = torch.where(outside == 0, rise * (tables.shape[1] - 1), -SATURATED_SLOPE_V)
    return left + rise * (position - index) - SATURATED_SLOPE_V * outside, slope


@dataclass(frozen=True)
class Training:
    """How weights are fitted.

    Attributes:
        steps: Of AdamW, under one learning rate cycle.
        batch: Curves a step.
        n_points: Of a curve's points a step, besides its first and last.
        learning_rate: Its largest value.
        weight_decay: Decoupled.
        anchor: Strength with which weights are held at where they start, over the curves' number.
        seed: Of batches and points.
    """

    steps: int = 1200
    batch: int = 32
    n_points: int = 16
    learning_rate: float = 1e-2
    weight_decay: float = 1e-3
    anchor: float = 0.0
    seed: int = 0


def fit(
    start: Mapping[str, Tensor],
    data: Points,
    training: Training,
    trainable: Sequence[str] | None = None,
    shares: Tensor | None = None,
) -> Parameters:
    """Weights fitted to curves.

    The error of a point is that of the voltage, or that of the capacity where the curve is steep,
    under the pseudo-Huber loss.

    Args:
        start: Weights to start from; not changed.
        data: Curves.
        training: Settings.
        trainable: Names of the weights to fit; all by default.
        shares: (n_members, N) weight of each curve for each member; all alike by default.
    """
    names = list(start) if trainable is None else list(trainable)
    fixed = {k: v for k, v in start.items() if k not in names}
    free = {k: start[k].clone().requires_grad_() for k in names}
    generator = torch.Generator().manual_seed(training.seed)
    optimizer = torch.optim.AdamW(
        free.values(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, training.steps
    )
    n, m = data.target.shape
    ends = torch.tensor([0, m - 1])
    for _ in range(training.steps):
        rows = torch.randperm(n, generator=generator)[: training.batch]
        columns = torch.cat(
            [torch.randperm(m - 2, generator=generator)[: training.n_points] + 1, ends]
        )
        batch = _columns(data.take(rows), columns)
        found, slope = voltages({**fixed, **free}, batch)
        error = (found - batch.target) / torch.sqrt(1.0 + (slope / SLOPE_V) ** 2) / batch.error
        loss = torch.sqrt(1.0 + error**2) - 1.0
        weight = torch.ones(len(columns))
        weight[-1] = END_WEIGHT
        value = (loss * weight).mean(dim=-1)
        if shares is not None:
            value = value * shares[:, rows]
        total = value.mean(dim=1).sum()
        if training.anchor:
            moved = sum(((free[k] - start[k]) ** 2).sum() for k in names)
            total = total + training.anchor / n * moved
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    return {**start, **{k: v.detach() for k, v in free.items()}}


def _columns(data: Points, columns: Tensor) -> Points:
    """The chosen moments of all curves."""
    return Points(
        data.x[:, :, columns], data.gate, data.z[:, :, columns], data.tables, data.table,
        data.rest[:, columns], data.thermal, data.target[:, columns], data.error, data.sweep,
    )  # fmt: skip
