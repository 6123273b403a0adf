"""A pretrained hop encoder: networks that know hops in general and wait for labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from torch import Tensor

from ionbridge.models.checkpoint import Arrays
from ionbridge.models.estimator import Estimator
from ionbridge.models.hop_networks.network import (
    HopNetworkConfig,
    arrays_of,
    network_of,
    weights_of,
)


class HopEncoder(Estimator):
    """Weights to start a fine-tuning from.

    Args:
        network: Sizes of the networks.
        weights: One ``state_dict`` for each pretrained network.
    """

    kind = "hop_encoder"
    quantity = "hop_encoding"

    def __init__(self, network: HopNetworkConfig, weights: Sequence[Mapping[str, Tensor]]) -> None:
        self.network, self.weights = network, weights

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        return arrays_of("member", self.weights), {
            "quantity": self.quantity,
            "n_members": len(self.weights),
            "network": asdict(self.network),
        }

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        weights = weights_of("member", arrays)
        if config["n_members"] != len(weights):
            raise ValueError(f"n_members {config['n_members']!r}, weights of {len(weights)}")
        network = HopNetworkConfig(**config["network"])
        for own in weights:
            network_of(network, own)
        return cls(network, weights)
