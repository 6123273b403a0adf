"""A universal potential's energies of hops as pretrained networks expect them: none is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from ionbridge.models.checkpoint import Arrays
from ionbridge.models.hop_networks.encoder import HopEncoder
from ionbridge.models.hop_networks.hop_graphs import graph_of
from ionbridge.models.hop_networks.network import (
    HopNetwork,
    HopNetworkConfig,
    arrays_of,
    network_of,
    weights_of,
)
from ionbridge.models.hop_networks.training import pick_device
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.graph import HopData
from ionbridge.structures.records import Hop

ENCODER = Path(__file__).parents[1] / "library" / "hop-encoder"
BATCH_SIZE = {"cpu": 8, "cuda": 64}
"""Graphs that go through a network together; on a processor what stays in its caches."""
HIGHEST_EV, LARGEST_DIFFERENCE_EV = 6.0, 2.0
"""Energies of an ion in a rigid host are cut here: beyond, they say that it is far, not how far."""
SITE_SHARE = 0.5
"""Share of a difference of site energies in a rigid host that is left when the host gives way."""
SAME_SITE_EV = 1e-3
"""Sites whose energies differ by less are one by symmetry: the rounding of their coordinates."""
DECIMALS = 5
"""Differences are rounded so: trees would tell ends that are equal by symmetry by their noise."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearnedEnergies:
    """Networks pretrained on a universal potential's energies, asked for these of other hops.

    What the potential knows of tens of thousands of hops reaches a hop that it never saw for the
    price of a forward pass; the networks are not tuned to labels, so the few there are stay free
    for the model that reads these energies.

    Attributes:
        config: Sizes of the networks.
        networks: As they were pretrained.
    """

    config: HopNetworkConfig
    networks: tuple[HopNetwork, ...]
    _found: WeakKeyDictionary[Hop, Floats] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )

    @classmethod
    def of(cls, encoder: HopEncoder) -> LearnedEnergies:
        """The networks of a pretrained encoder."""
        config = replace(encoder.network, use_scalars=False)
        networks = (network_of(config, weights).eval() for weights in encoder.weights)
        return cls(config, tuple(networks))

    @classmethod
    @lru_cache(maxsize=1)
    def shipped(cls) -> LearnedEnergies:
        """Those of the encoder that comes with the package."""
        return cls.of(HopEncoder.load(ENCODER))

    def to(self, device: str) -> None:
        """Move the networks to ``auto``, ``cpu`` or ``cuda``.

        Raises:
            ValueError: No such device.
        """
        for network in self.networks:
            network.to(pick_device(device))

    @property
    def device(self) -> str:
        """Where the networks are: ``cpu`` or ``cuda``."""
        return next(self.networks[0].parameters()).device.type

    def energies(self, graphs: Sequence[HopData]) -> tuple[Floats, Floats, Floats]:
        """Mean energies of all hops of some graphs, eV.

        Returns:
            Three arrays (n_hops,): initial site, final site, saddle above the mean of both.
        """
        parts: list[Floats] = [np.zeros((3, 0))]
        size = BATCH_SIZE[self.device]
        with torch.inference_mode():
            for first in range(0, len(graphs), size):
                batch = HopData.batch_of(graphs[first : first + size]).to(self.device)
                outputs = [network(batch) for network in self.networks]
                each = [torch.stack([o.start_eV, o.end_eV, o.kra_eV]) for o in outputs]
                parts.append(torch.stack(each).mean(dim=0).double().cpu().numpy())
        start, end, saddle = np.concatenate(parts, axis=1)
        return start, end, saddle

    def energies_of(self, hops: Sequence[Hop]) -> tuple[Floats, Floats, Floats]:
        """:meth:`energies` of (n_hops,) hops, found once for each."""
        missing = [hop for hop in dict.fromkeys(hops) if hop not in self._found]
        found = np.stack(self.energies([graph_of(hop) for hop in missing]), axis=1)
        self._found.update(zip(missing, found, strict=True))
        start, end, saddle = np.array([self._found[hop] for hop in hops]).reshape(-1, 3).T
        return start, end, saddle

    def weights(self) -> list[Mapping[str, torch.Tensor]]:
        """One state a network, to start a fine-tuning from."""
        return [network.state_dict() for network in self.networks]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The weights under the names of a model folder."""
        return arrays_of("network", self.weights())

    @classmethod
    def of_arrays(cls, arrays: Arrays, config: HopNetworkConfig) -> LearnedEnergies:
        """Make it anew from what :meth:`arrays` gave."""
        return cls.of(HopEncoder(config, weights_of("network", arrays)))


def learned_view(energies: tuple[Floats, Floats, Floats], target: LogShift) -> Floats:
    """(n_hops, 2) saddle (logarithm) and difference of the ends, the same both ways.

    Args:
        energies: From :meth:`LearnedEnergies.energies`.
        target: The logarithm.
    """
    start, end, saddle = energies
    height = target.forward(np.clip(saddle, 0.0, HIGHEST_EV))
    difference = np.round(np.abs(end - start), DECIMALS)
    return np.column_stack([height, np.clip(difference, 0.0, LARGEST_DIFFERENCE_EV)])


def site_difference(energies: tuple[Floats, Floats, Floats]) -> Floats:
    """(n_hops,) energy of the final site above that of the initial one, eV, the host giving way.

    Args:
        energies: From :meth:`LearnedEnergies.energies`.
    """
    start, end, _ = energies
    difference = SITE_SHARE * (end - start)
    return np.where(np.abs(difference) < SAME_SITE_EV, 0.0, difference)
