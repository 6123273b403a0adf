"""Carrying a cell model to a chemistry with few simulations: the ways and their choice.

What is learnt from are whole discharge curves, and a way is a function of the source model and of
these; labels of one number a record are the matter of :mod:`ionbridge.models.adaptation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ionbridge.models.cells.cell_correction import (
    SLOPE_V,
    Curves,
    Parameters,
    Training,
    fit,
    points,
)
from ionbridge.models.cells.cell_rom import CellRom, usable
from ionbridge.models.cells.single_particle import Cells

Floats = NDArray[np.float64]

CAREFUL = Training(steps=300, learning_rate=3e-3)
"""Settings for weights that have been learnt elsewhere."""


class CellTransfer(Protocol):
    """One way from a source model and few target curves to a target model."""

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
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
    cells, curves = usable(cells, curves)
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
    """Tune every weight of the source network."""

    training: Training = CAREFUL

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """Carry the source model to a new base cell, see :class:`CellTransfer`."""
        return _tuned(source, source.parameters_, cells, curves, self.training, None, calibrate)


@dataclass(frozen=True)
class LastLayers:
    """The classical recipe: the first layers stay, the last ``n_layers`` are tuned."""

    n_layers: int = 2
    training: Training = CAREFUL

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """Carry the source model to a new base cell, see :class:`CellTransfer`."""
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
        """Carry the source model to a new base cell, see :class:`CellTransfer`."""
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
        """Carry the source model to a new base cell, see :class:`CellTransfer`."""
        model = CellRom(self.training, source.n_members, source.hidden, self.seed)
        return model.fit([cells], [curves], calibrate=calibrate)


@dataclass(frozen=True)
class NoLearning:
    """The source model as it is."""

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """Carry the source model to a new base cell, see :class:`CellTransfer`."""
        return source.moved_to(cells, source.parameters_, source.training)


@dataclass(frozen=True)
class ClosedForm:
    """The single particle without any correction."""

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """Carry the source model to a new base cell, see :class:`CellTransfer`."""
        nothing = {k: torch.zeros_like(v) for k, v in source.parameters_.items()}
        return source.moved_to(cells, nothing, source.training)


@dataclass(frozen=True)
class ResidualProcess:
    """A Gaussian process on what a network (or the closed form) leaves over.

    Attributes:
        base: Gives the model whose residual is learnt.
    """

    base: CellTransfer = field(default_factory=ClosedForm)

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """Carry the source model to a new base cell, see :class:`CellTransfer`."""
        base = self.base.adapt(source, cells, curves, calibrate=False)
        return base.with_residual(*usable(cells, curves), calibrate)


CELL_TRANSFERS: Mapping[str, CellTransfer] = {
    "anchored": FullTuning(replace(CAREFUL, anchor=1.0)),
    "full": FullTuning(),
    "last_layers": LastLayers(),
    "heads": LastLayers(1),
    "lora": LowRank(),
    "scratch": Scratch(),
    "scratch_anchored": Scratch(Training(steps=300, learning_rate=3e-3, anchor=1.0)),
    "no_learning": NoLearning(),
    "closed_form": ClosedForm(),
    "process_target": ResidualProcess(),
    "process_transferred": ResidualProcess(NoLearning()),
}
"""By the word of ``cell transfer --strategy``."""


@dataclass(frozen=True)
class Automatic:
    """The strategy that does best on held-out curves of the target.

    Every candidate is tried on folds of the curves that are there; none that hurts is taken. What a
    candidate scores is the mean over curves of the root mean square error in V plus SLOPE_V times
    the relative error of the capacity.

    Attributes:
        candidates: Names of ``CELL_TRANSFERS``, cheapest first: that wins a tie.
        n_folds: Parts of the curves.
        seed: Of the parts.
    """

    candidates: tuple[str, ...] = (
        "closed_form",
        "no_learning",
        "process_target",
        "process_transferred",
        "anchored",
    )
    n_folds: int = 4
    seed: int = 0

    def scores(self, source: CellRom, cells: Cells, curves: Curves) -> dict[str, float]:
        """Held-out score of every candidate, V."""
        fold = np.random.default_rng(self.seed).permutation(len(curves)) % self.n_folds
        found = {}
        for name in self.candidates:
            strategy, errors = CELL_TRANSFERS[name], []
            for i in np.unique(fold):
                kept, out = np.flatnonzero(fold != i), np.flatnonzero(fold == i)
                model = strategy.adapt(source, cells.take(kept), curves.take(kept), calibrate=False)
                errors.append(error_V(model, cells.take(out), curves.take(out)))
            found[name] = float(np.concatenate(errors).mean())
        return found

    def adapt(
        self, source: CellRom, cells: Cells, curves: Curves, *, calibrate: bool = True
    ) -> CellRom:
        """Carry the source model to a new base cell, see :class:`CellTransfer`."""
        cells, curves = usable(cells, curves)
        best = self.candidates[0]
        if len(curves) >= self.n_folds:
            found = self.scores(source, cells, curves)
            best = min(found, key=lambda name: found[name])
        return CELL_TRANSFERS[best].adapt(source, cells, curves, calibrate=calibrate)


def error_V(model: CellRom, cells: Cells, curves: Curves) -> Floats:
    """(n,) root mean square error of each curve, V, plus SLOPE_V times that of its capacity."""
    found = model.predict(cells, uncertainty=False, stepped=False)
    squared = ((found.voltage_V - curves.voltage_V) ** 2).mean(axis=1)
    return np.asarray(
        np.sqrt(squared) + SLOPE_V * np.abs(found.capacity_Ah / curves.capacity_Ah - 1.0)
    )
