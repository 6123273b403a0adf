"""Strategies of few labels that are only measured: small networks, mixtures, medians of several.

Beside those of :mod:`ionbridge.models.regressors.few_shot`, which ship. Networks are small
perceptrons pretrained on the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ionbridge.models.regressors import few_shot
from ionbridge.models.regressors.few_shot import STRATEGIES as SHIPPED
from ionbridge.models.regressors.few_shot import Floats, Predictor, is_new
from ionbridge.models.regressors.gaussian_process import PathProcess
from ionbridge.structures.configuration import nearest

HIDDEN = (48, 24)
PRETRAINING_STEPS, TUNING_STEPS, SCRATCH_STEPS = 300, 100, 120
RIDGE_ALPHAS = np.logspace(-1, 4, 11)


@dataclass(frozen=True, eq=False)
class Source(few_shot.Source):
    """A source of the property of the labels or of another one, with parts and further sources.

    Attributes:
        is_same: True where the source has the property of the labels, so that it can be joined
            with them and used as it is; False where it is another property.
        parts: Named subsets of rows that make sources of their own, for mixtures.
        others: Sources of further properties, for mixtures.
    """

    is_same: bool = True
    parts: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    others: tuple[Source, ...] = ()

    @cached_property
    def network(self) -> Network:
        """Perceptron pretrained on all columns of the source."""
        return Network.pretrained(self.descriptors, self.target, self.seed)

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """Its own network, those of its parts, and those of other properties."""
        parts = [
            Network.pretrained(self.descriptors[rows], self.target[rows], self.seed)
            for rows in self.parts.values()
        ]
        return (self.network, *parts, *(other.network for other in self.others))

    def without(self, descriptors: Floats) -> Source:
        """The source without rows that are among (n, n_features) labels: they would leak."""
        kept = is_new(self.descriptors, descriptors)
        parts = {name: rows[kept] for name, rows in self.parts.items()}
        return self if kept.all() else replace(super().without(descriptors), parts=parts)

    def views(self, descriptors: Floats) -> tuple[Floats, ...]:
        """What it and the further sources say, (n,) each."""
        return tuple(one.predict(descriptors) for one in (self, *self.others))


Fit = Callable[[Source, Floats, Floats], Predictor]


@dataclass(frozen=True)
class Strategy:
    """A way to learn from a source and a few labels.

    Attributes:
        name: Of it.
        transfers: Whether it uses the source.
        needs_same: Whether the source must have the property of the labels.
        fit: Source, (n, n_features) descriptors and (n,) targets of the labels -> predictor.
    """

    name: str
    transfers: bool
    needs_same: bool
    fit: Fit


class Network:
    """A small perceptron with its own scaling of inputs and target.

    Args:
        model: Layers; the last one is the head.
        center: (n_features,) subtracted from the inputs; scale divides them.
        scale: See center.
        offset: Subtracted from the target; spread divides it.
        spread: See offset.
    """

    def __init__(
        self, model: nn.Sequential, center: Floats, scale: Floats, offset: float, spread: float
    ) -> None:
        self.model = model
        self.center, self.scale = center, scale
        self.offset, self.spread = offset, spread

    @classmethod
    def fresh(cls, descriptors: Floats, target: Floats, seed: int) -> Network:
        """Random weights, scaled to some rows."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            sizes = (descriptors.shape[1], *HIDDEN)
            for n_in, n_out in pairwise(sizes):
                layers += [nn.Linear(n_in, n_out), nn.SiLU()]
            model = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1))
        scale = descriptors.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        spread = float(target.std()) or 1.0
        return cls(model, descriptors.mean(axis=0), scale, float(target.mean()), spread)

    @classmethod
    def pretrained(cls, descriptors: Floats, target: Floats, seed: int) -> Network:
        """Trained on all rows of a source."""
        network = cls.fresh(descriptors, target, seed)
        network.train(descriptors, target, PRETRAINING_STEPS, network.model.parameters())
        return network

    def inputs(self, descriptors: Floats) -> Tensor:
        """Scaled and clipped, single precision."""
        scaled = np.clip((descriptors - self.center) / self.scale, -4.0, 4.0)
        return torch.as_tensor(scaled, dtype=torch.float32)

    def train(
        self,
        descriptors: Floats,
        target: Floats,
        steps: int,
        parameters: Iterable[nn.Parameter],
        rate: float = 3e-3,
    ) -> None:
        """Full-batch AdamW on the absolute error."""
        x = self.inputs(descriptors)
        y = torch.as_tensor((target - self.offset) / self.spread, dtype=torch.float32)
        optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-2)
        for _ in range(steps):
            optimiser.zero_grad()
            loss = (self.model(x).squeeze(-1) - y).abs().mean()
            loss.backward()
            optimiser.step()

    def copied(self, target: Floats | None = None) -> Network:
        """A copy to tune; with targets of another property its output is scaled to them."""
        model = deepcopy(self.model)
        offset, spread = self.offset, self.spread
        if target is not None:
            offset, spread = float(target.mean()), float(target.std()) or 1.0
        return Network(model, self.center, self.scale, offset, spread)

    def embed(self, descriptors: Floats) -> Floats:
        """(n, HIDDEN[-1]) activations below the head."""
        with torch.no_grad():
            return self.model[:-1](self.inputs(descriptors)).double().numpy()

    def predict(self, descriptors: Floats) -> Floats:
        """(n,) predicted targets for (n, n_features) descriptors."""
        with torch.no_grad():
            raw = self.model(self.inputs(descriptors)).squeeze(-1).double().numpy()
        return np.asarray(raw * self.spread + self.offset)


def _scratch_network(source: Source, x: Floats, y: Floats) -> Predictor:
    network = Network.fresh(x, y, source.seed)
    network.train(x, y, SCRATCH_STEPS, network.model.parameters())
    return network.predict


def _line(source: Source, x: Floats, y: Floats) -> Predictor:
    from sklearn.linear_model import RidgeCV

    found = RidgeCV(RIDGE_ALPHAS).fit(source.predict(x)[:, None], y)
    return lambda new: found.predict(source.predict(new)[:, None])


def _joint_process(source: Source, x: Floats, y: Floats) -> Predictor:
    known = source.process
    process = PathProcess(
        np.concatenate([known.inputs, x[:, source.core]]),
        np.concatenate([known.target, y]),
        known.theta,
    )
    return lambda new: process.predict(new[:, source.core])[0]


def _tuned(source: Source, x: Floats, y: Floats) -> Network:
    return source.network.copied(None if source.is_same else y)


def _full(source: Source, x: Floats, y: Floats) -> Predictor:
    network = _tuned(source, x, y)
    network.train(x, y, TUNING_STEPS, network.model.parameters(), rate=1e-3)
    return network.predict


def _last(source: Source, x: Floats, y: Floats) -> Predictor:
    network = _tuned(source, x, y)
    network.train(x, y, TUNING_STEPS, network.model[-1].parameters(), rate=1e-2)
    return network.predict


def _embedded(networks: Sequence[Network], x: Floats, y: Floats) -> Predictor:
    def seen(rows: Floats) -> Floats:
        return np.concatenate([network.embed(rows) for network in networks], axis=1)

    from sklearn.linear_model import RidgeCV

    center = seen(x).mean(axis=0)
    scale = seen(x).std(axis=0) + 1e-6
    ridge = RidgeCV(RIDGE_ALPHAS).fit((seen(x) - center) / scale, y)
    return lambda new: ridge.predict((seen(new) - center) / scale)


def _one_embedding(source: Source, x: Floats, y: Floats) -> Predictor:
    return _embedded((source.network,), x, y)


def _mixture(source: Source, x: Floats, y: Floats) -> Predictor:
    return _embedded(source.networks, x, y)


def _committee(*members: Fit) -> Fit:
    def fit(source: Source, x: Floats, y: Floats) -> Predictor:
        predictors = [member(source, x, y) for member in members]
        return lambda new: np.mean([predict(new) for predict in predictors], axis=0)

    return fit


STRATEGIES: Mapping[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy("mean", False, False, SHIPPED["mean"]),
        Strategy("trees", False, False, SHIPPED["trees"]),
        Strategy("process", False, False, SHIPPED["process"]),
        Strategy("network-scratch", False, False, _scratch_network),
        Strategy("zero-shot", True, True, SHIPPED["zero-shot"]),
        Strategy("offset", True, True, SHIPPED["offset"]),
        Strategy("line", True, False, _line),
        Strategy("process-joint", True, True, _joint_process),
        Strategy("trees-joint", True, True, SHIPPED["trees-joint"]),
        Strategy("residual", True, True, SHIPPED["residual"]),
        Strategy("stacked", True, False, SHIPPED["stacked"]),
        Strategy("network-full", True, False, _full),
        Strategy("network-last", True, False, _last),
        Strategy("embedding", True, False, _one_embedding),
        Strategy("mixture", True, False, _mixture),
        Strategy("committee", True, True, _committee(_joint_process, SHIPPED["trees-joint"])),
        Strategy("committee-other", True, False, _committee(SHIPPED["stacked"], _mixture)),
    )
}
"""Strategies by name."""


BLEND, AND = "median of ", ", "


def blend_name(names: Sequence[str]) -> str:
    """The name of the median of several strategies; of one, its own."""
    return names[0] if len(names) == 1 else BLEND + AND.join(names)


def members(name: str) -> tuple[str, ...]:
    """The strategies that a name stands for: those of a blend, else itself."""
    return tuple(name.removeprefix(BLEND).split(AND)) if name.startswith(BLEND) else (name,)


def blended(predictions: Sequence[Floats]) -> Floats:
    """The median of what several strategies say: one that runs away moves nothing."""
    return np.asarray(np.median(np.stack(predictions), axis=0))


def strategy_named(name: str) -> Strategy:
    """A strategy, or the blend of several, by its name.

    Raises:
        ValueError: Unknown; the message names the nearest.
    """
    names = members(name)
    for one in names:
        if one not in STRATEGIES:
            raise ValueError(f"unknown strategy {one!r}; {nearest(one, list(STRATEGIES))}")
    parts = [STRATEGIES[one] for one in names]
    if len(parts) == 1:
        return parts[0]

    def fit(source: Source, x: Floats, y: Floats) -> Predictor:
        predictors = [part.fit(source, x, y) for part in parts]
        return lambda new: blended([predict(new) for predict in predictors])

    return Strategy(name, any(p.transfers for p in parts), any(p.needs_same for p in parts), fit)


def usable_strategies(source: Source) -> tuple[Strategy, ...]:
    """Those that make sense for a source."""
    same = source.is_same
    return tuple(
        s for s in STRATEGIES.values() if (same or not s.needs_same) and s.name != _unfit(same)
    )


def _unfit(same: bool) -> str:
    """The committee that is not for this kind of source."""
    return "committee-other" if same else "committee"
