"""Ways to fine-tune a pretrained network: which parameters move, and how fast.

Whether a network is tuned at all, or something else learnt from the labels, is the choice of
:mod:`ionbridge.models.adaptation`, whose strategies name these among others. Each way is a small
class with one method, ``prepare``, that readies a network and returns the
optimiser groups. Parameters that no group names stay as they were.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ionbridge.models.hop_networks.network import HopNetwork

ParameterGroups = list[dict[str, Any]]

GENERAL = ("embed_atom", "host_layers")
"""What knows the framework: general across chemistries."""

MIDDLE = ("framework_message", "ion_message", "embed_ion", "path_layer", "attention")
"""What reads the path."""

HEADS = ("barrier_head", "scale_head", "site_head", "scalar_branch")
"""What turns the reading into energies."""


@dataclass(frozen=True)
class FullFineTuning:
    """All layers, the deeper ones slower (layer-wise learning rates, Howard & Ruder 2018).

    Attributes:
        layer_decay: Factor on the learning rate from one depth to the next.
    """

    layer_decay: float = 0.4
    freezes_host: ClassVar[bool] = False

    def prepare(self, network: HopNetwork) -> ParameterGroups:
        """Heads at full rate, the path layers and the framework each slower by the decay."""
        return [
            {"params": _parameters(network, names), "lr_factor": self.layer_decay**depth}
            for depth, names in enumerate((HEADS, MIDDLE, GENERAL))
        ]


@dataclass(frozen=True)
class GradualUnfreezing:
    """Heads first, then the path layers, then the framework (Howard & Ruder, arXiv:1801.06146).

    Attributes:
        path_from: Share of the epochs after which the path layers move.
        host_from: Share of the epochs after which the framework layers move.
    """

    path_from: float = 0.25
    host_from: float = 0.5
    freezes_host: ClassVar[bool] = False

    def prepare(self, network: HopNetwork) -> ParameterGroups:
        """All parameters; ``from_fraction`` says when each group begins to move."""
        parts = ((HEADS, 0.0), (MIDDLE, self.path_from), (GENERAL, self.host_from))
        return [
            {"params": _parameters(network, names), "lr_factor": 1.0, "from_fraction": begin}
            for names, begin in parts
        ]


@dataclass(frozen=True)
class FrozenHost:
    """The classical recipe: general layers are kept, the path layers and heads retrained."""

    freezes_host: ClassVar[bool] = True

    def prepare(self, network: HopNetwork) -> ParameterGroups:
        """Everything but the framework layers."""
        return [{"params": _parameters(network, MIDDLE + HEADS), "lr_factor": 1.0}]


@dataclass(frozen=True)
class HeadsOnly:
    """Tune the output heads alone; the encoder stays as it was pretrained."""

    freezes_host: ClassVar[bool] = True

    def prepare(self, network: HopNetwork) -> ParameterGroups:
        """Freeze all but the heads; give the parameters that move."""
        return [{"params": _parameters(network, HEADS), "lr_factor": 1.0}]


@dataclass(frozen=True)
class LowRankAdapters:
    """Low-rank updates of the frozen layers, W + BA (Hu et al., arXiv:2106.09685), and the heads.

    Attributes:
        rank: Rank of the update of each weight matrix.
    """

    rank: int = 4
    freezes_host: ClassVar[bool] = False

    def prepare(self, network: HopNetwork) -> ParameterGroups:
        """Adapters on every linear layer below the heads, and the heads themselves."""
        adapters: list[Tensor] = []
        for name in GENERAL + MIDDLE:
            for module in getattr(network, name).modules():
                if isinstance(module, nn.Linear):
                    adapter = _LowRank(module.weight, self.rank)
                    parametrize.register_parametrization(module, "weight", adapter)
                    adapters += list(adapter.parameters())
        return [
            {"params": adapters, "lr_factor": 1.0},
            {"params": _parameters(network, HEADS), "lr_factor": 1.0},
        ]


@dataclass(frozen=True)
class FromScratch:
    """No transfer: the pretrained weights are thrown away and everything is learnt anew."""

    freezes_host: ClassVar[bool] = False

    def prepare(self, network: HopNetwork) -> ParameterGroups:
        """All parameters, after a fresh start."""
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
        return [{"params": list(network.parameters()), "lr_factor": 1.0}]


FineTuning = (
    FullFineTuning | GradualUnfreezing | FrozenHost | HeadsOnly | LowRankAdapters | FromScratch
)
FINE_TUNINGS: dict[str, type[FineTuning]] = {
    "full": FullFineTuning,
    "gradual": GradualUnfreezing,
    "frozen": FrozenHost,
    "heads": HeadsOnly,
    "lora": LowRankAdapters,
    "scratch": FromScratch,
}


def fine_tuning_from_json(value: dict[str, Any]) -> FineTuning:
    """Make a way to fine-tune from what :func:`fine_tuning_to_json` gave."""
    fields = dict(value)
    name = fields.pop("name")
    if name not in FINE_TUNINGS:
        raise ValueError(f"unknown strategy {name!r}; known: {', '.join(FINE_TUNINGS)}")
    return FINE_TUNINGS[name](**fields)


def fine_tuning_to_json(way: FineTuning) -> dict[str, Any]:
    """Name and fields of a way to fine-tune."""
    name = next(n for n, kind in FINE_TUNINGS.items() if isinstance(way, kind))
    return {"name": name, **asdict(way)}


def merge_adapters(network: HopNetwork) -> None:
    """Fold low-rank adapters into the weights, so that the network has its plain form again."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


class _LowRank(nn.Module):
    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        n_out, n_in = weight.shape
        self.down = nn.Parameter(torch.randn(rank, n_in) / n_in**0.5)
        self.up = nn.Parameter(torch.zeros(n_out, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight.detach() + self.up @ self.down


def _parameters(network: HopNetwork, names: tuple[str, ...]) -> list[nn.Parameter]:
    modules = [getattr(network, name) for name in names]
    return [p for module in modules if module is not None for p in module.parameters()]
