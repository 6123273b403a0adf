"""A pretrained hop encoder: networks that know hops in general and wait for labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from ionbridge.models.checkpoint import load_model, save_model
from ionbridge.models.estimator import Estimator
from ionbridge.models.hop_networks.network import HopNetworkConfig, network_of


class HopEncoder(Estimator):
    """Weights to start a fine-tuning from.

    Args:
        network: Sizes of the networks.
        weights: One ``state_dict`` for each pretrained network.
        card: What they were pretrained on.
    """

    kind = "hop_encoder"
    quantity = "hop_encoding"

    def __init__(
        self,
        network: HopNetworkConfig,
        weights: Sequence[Mapping[str, Tensor]],
        card: Mapping[str, Any],
    ) -> None:
        self.network = network
        self.weights = weights
        self.card_ = dict(card)

    def save(self, directory: Path) -> None:
        """Write the model folder: weights, settings and the card."""
        tensors = {
            f"member{k}.{name}": value
            for k, weights in enumerate(self.weights)
            for name, value in weights.items()
        }
        config = {
            "kind": self.kind,
            "quantity": self.quantity,
            "n_members": len(self.weights),
            "network": asdict(self.network),
        }
        save_model(directory, tensors, config, self.card_)

    @classmethod
    def load(cls, directory: Path) -> HopEncoder:
        """Read a model folder that :meth:`save` wrote."""
        tensors, config, card = load_model(directory)
        weights: list[Mapping[str, Tensor]] = []
        n_members = len({name.partition(".")[0] for name in tensors})
        if config["n_members"] != n_members:
            raise ValueError(f"n_members {config['n_members']!r}, weights of {n_members}")
        for k in range(n_members):
            prefix = f"member{k}."
            weights.append(
                {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}
            )
        network = HopNetworkConfig(**config["network"])
        for own in weights:
            network_of(network, own)
        return cls(network, weights, card)
