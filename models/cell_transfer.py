"""Carrying a cell model to a chemistry with few simulations: the strategies and their choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from models.cell_correction import Curves, Parameters, Training, fit, points
from models.cell_rom import FRACTIONS, CellPrediction, CellRom, at_fractions, groups
from models.single_particle import Cells

Floats = NDArray[np.float64]

CAREFUL = Training(steps=600, learning_rate=3e-3)
"""Settings for weights that have been learnt elsewhere."""
N_COMPONENTS = 6
"""Principal curves of a Gaussian process."""


class CellModel(Protocol):
    """Whatever predicts discharges."""

    def predict(self, cells: Cells, *, uncertainty: bool = True) -> CellPrediction:
        """Discharges of n cells of one base cell."""


class Strategy(Protocol):
    """One way from a source model and few target curves to a target model."""

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellModel:
        """A model for the target chemistry."""


def _tuned(
    source: CellRom,
    start: Parameters,
    cells: Cells,
    curves: Curves,
    training: Training,
    trainable: Sequence[str] | None,
    calibrate: bool,
) -> CellRom:
    data = points([cells], [curves], source.standard_)
    found = fit(start, data, training, trainable)
    model = source.moved_to(cells, _merged(found), training)
    if calibrate:
        model.calibrate([cells], [curves], start, trainable)
    return model


def _merged(parameters: Parameters) -> Parameters:
    """Low-rank additions become part of the weights."""
    found = {k: v for k, v in parameters.items() if k[0] in "wb"}
    for k in [k for k in parameters if k[0] == "u"]:
        found[f"w{k[1:]}"] = found[f"w{k[1:]}"] + parameters[k] @ parameters[f"v{k[1:]}"]
    return found


@dataclass(frozen=True)
class FullTuning:
    """Every weight is tuned."""

    training: Training = CAREFUL

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """See :class:`Strategy`."""
        return _tuned(source, source.parameters_, cells, curves, self.training, None, calibrate)


@dataclass(frozen=True)
class LastLayers:
    """The classical recipe: the first layers stay, the last ``n_layers`` are tuned."""

    n_layers: int = 2
    training: Training = CAREFUL

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """See :class:`Strategy`."""
        depth = len(source.hidden) + 1
        names = [f"{k}{i}" for i in range(depth - self.n_layers, depth) for k in "wb"]
        return _tuned(source, source.parameters_, cells, curves, self.training, names, calibrate)


@dataclass(frozen=True)
class LowRank:
    """Hidden weights get an addition of low rank, the output layer is tuned (arXiv:2106.09685)."""

    rank: int = 2
    training: Training = CAREFUL
    seed: int = 0

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """See :class:`Strategy`."""
        generator = torch.Generator().manual_seed(self.seed)
        start = dict(source.parameters_)
        last = len(source.hidden)
        names = [f"w{last}", f"b{last}"]
        for i in range(last):
            members, a, b = start[f"w{i}"].shape
            start[f"u{i}"] = torch.randn(members, a, self.rank, generator=generator) / a**0.5
            start[f"v{i}"] = torch.zeros(members, self.rank, b)
            names += [f"u{i}", f"v{i}"]
        return _tuned(source, start, cells, curves, self.training, names, calibrate)


@dataclass(frozen=True)
class Scratch:
    """The same model on the target's curves alone."""

    training: Training = field(default_factory=Training)
    seed: int = 0

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """See :class:`Strategy`."""
        model = CellRom(self.training, source.n_members, source.hidden, self.seed)
        return model.fit([cells], [curves], calibrate=calibrate)


@dataclass(frozen=True)
class NoLearning:
    """The source model as it is."""

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """See :class:`Strategy`."""
        return source.moved_to(cells, source.parameters_, source.training)


@dataclass(frozen=True)
class ClosedForm:
    """The single particle without any correction."""

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """See :class:`Strategy`."""
        nothing = {k: torch.zeros_like(v) for k, v in source.parameters_.items()}
        return source.moved_to(cells, nothing, source.training)


@dataclass(frozen=True)
class ResidualProcess:
    """A Gaussian process on what a network (or the closed form) leaves over.

    Attributes:
        base: Gives the model whose residual is learnt.
        seed: Of the kernel's optimisation.
    """

    base: Strategy = field(default_factory=ClosedForm)
    seed: int = 0

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellModel:
        """See :class:`Strategy`."""
        base = self.base.adapt(source, cells, curves, calibrate=False)
        return _WithProcess(base, self.seed).fit(cells, curves)


@dataclass
class _WithProcess:
    """A model plus a Gaussian process on its residual curves and log capacities.

    Inputs are the dimensionless groups of a cell; the residual over the share of the capacity is
    reduced to principal curves, each with a process of its own.
    """

    base: CellModel
    seed: int

    def fit(self, cells: Cells, curves: Curves) -> Self:
        """Learn the residual."""
        found = self.base.predict(cells, uncertainty=False)
        residual = at_fractions(curves) - found.voltage_V
        x = groups(cells)
        self.center_, self.scale_ = x.mean(axis=0), x.std(axis=0) + 1e-3
        _, _, axes = np.linalg.svd(residual, full_matrices=False)
        self.axes_ = axes[: min(N_COMPONENTS, len(curves))]
        ratio = np.log(curves.capacity_Ah / found.capacity_Ah)
        targets = np.column_stack([residual @ self.axes_.T, ratio])
        self.size_ = np.sqrt((targets**2).mean(axis=0)) + 1e-9
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(
            np.full(x.shape[1], 4.0), (0.3, 100.0)
        ) + WhiteKernel(1e-2, (1e-5, 1.0))
        if len(curves) < 4 * x.shape[1]:  # too few to tell the inputs apart
            kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(4.0, (0.3, 100.0)) + WhiteKernel(
                1e-2, (1e-5, 1.0)
            )
        scaled = (x - self.center_) / self.scale_
        self.processes_ = [
            GaussianProcessRegressor(kernel, random_state=self.seed).fit(scaled, t)
            for t in (targets / self.size_).T
        ]
        return self

    def predict(self, cells: Cells, *, uncertainty: bool = True) -> CellPrediction:
        """The base model's discharges with the residual added."""
        found = self.base.predict(cells, uncertainty=False)
        scaled = (groups(cells) - self.center_) / self.scale_
        moments = [p.predict(scaled, return_std=True) for p in self.processes_]
        mean = np.stack([m for m, _ in moments], axis=1) * self.size_
        std = np.stack([s for _, s in moments], axis=1) * self.size_
        volts = found.voltage_V + mean[:, :-1] @ self.axes_
        capacity = found.capacity_Ah * np.exp(mean[:, -1])
        mean_V = np.asarray(np.trapezoid(volts, FRACTIONS, axis=1))
        spread = np.sqrt(std[:, :-1] ** 2 @ self.axes_**2)
        mean_std = np.sqrt((spread**2).mean(axis=1))
        return replace(
            found,
            voltage_V=volts,
            voltage_std_V=spread,
            capacity_Ah=capacity,
            capacity_std_Ah=capacity * std[:, -1],
            mean_voltage_V=mean_V,
            mean_voltage_std_V=mean_std,
            energy_Wh=capacity * mean_V,
            energy_std_Wh=capacity * mean_V * np.hypot(std[:, -1], mean_std / mean_V),
        )


STRATEGIES: Mapping[str, Strategy] = {
    "anchored": FullTuning(replace(CAREFUL, anchor=1.0)),
    "full": FullTuning(),
    "last_layers": LastLayers(),
    "heads": LastLayers(1),
    "lora": LowRank(),
    "scratch": Scratch(),
    "no_learning": NoLearning(),
    "closed_form": ClosedForm(),
    "process_target": ResidualProcess(),
    "process_transferred": ResidualProcess(NoLearning()),
}
"""The strategies by name."""
