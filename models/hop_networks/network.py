"""The hop-conditioned network: framework and path in, site energies and a saddle out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ionbridge.models.checkpoint import Arrays, under
from ionbridge.models.hop_networks.layers import (
    GaussianBasis,
    HostInteraction,
    PathConvolution,
    ProbeMessage,
    mlp,
)
from ionbridge.structures.features.graph import (
    HOST_CUTOFF_A,
    N_PROBES,
    PATH_SCALARS,
    PROBE_CUTOFF_A,
    SPECIES_FEATURES,
    HopData,
)

LARGEST = {"n_features": 2048, "n_layers": 32, "n_basis": 512}
"""Sizes beyond which nothing is allocated: a hundred times those that are of use."""


@dataclass(frozen=True)
class HopNetworkConfig:
    """Sizes of a :class:`HopNetwork`.

    Attributes:
        n_features: Width of atom and probe features.
        n_layers: Rounds of messages in the framework.
        n_basis: Radial basis functions an edge.
        use_scalars: Whether bond-valence and path scalars enter through a residual branch.
        dropout: Dropout before the heads.
    """

    n_features: int = 48
    n_layers: int = 2
    n_basis: int = 20
    use_scalars: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, most in LARGEST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 < value <= most:
                raise ValueError(f"network: {name} {value!r}; expected an integer from 1 to {most}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"network: dropout {self.dropout!r}; expected 0 or more, below 1")

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready to be written as JSON."""
        return asdict(self)


class HopOutput(NamedTuple):
    """What the network says of a batch of hops (energies in eV).

    Attributes:
        start_eV: (n_hops,) energy of the ion on its initial site, from the framework alone.
        end_eV: (n_hops,) the same for its final site.
        kra_eV: (n_hops,) kinetically resolved barrier: saddle above the mean of both sites.
        log_scale: (n_hops,) log of the Laplace scale of the barrier in the space of
            :class:`ionbridge.models.transforms.LogShift`.
        profile: (n_hops, N_PROBES) energy along the path, in units of the profile scale.
        embedding: (n_hops, 2 n_features) what the heads read.
    """

    start_eV: Tensor
    end_eV: Tensor
    kra_eV: Tensor
    log_scale: Tensor
    profile: Tensor
    embedding: Tensor

    @property
    def forward_eV(self) -> Tensor:
        """(n_hops,) saddle minus initial site."""
        return self.kra_eV + 0.5 * (self.end_eV - self.start_eV)

    @property
    def backward_eV(self) -> Tensor:
        """(n_hops,) saddle minus final site."""
        return self.kra_eV - 0.5 * (self.end_eV - self.start_eV)


class HopNetwork(nn.Module):
    r"""Barrier of a hop from its framework and its path.

    Framework atoms exchange messages (:class:`HostInteraction`); every image of the path gathers
    what surrounds it (:class:`ProbeMessage`), once from the framework and once from the working
    ions that stay; images talk to their neighbours (:class:`PathConvolution`). Then

    .. math::
        \epsilon_a = s(p_a^{framework}), \quad
        K = |\epsilon_1 - \epsilon_0| / 2 + \mathrm{softplus}(k(z) + r(\text{scalars})), \quad
        E_f = K + (\epsilon_1 - \epsilon_0) / 2

    where z is an attention average over the images. Since a site's energy depends on the
    framework alone, forward minus backward barriers sum to zero round every loop of hops. K is
    the kinetically resolved barrier of Van der Ven et al., Phys. Rev. B 64, 184307 (2001).

    Args:
        config: Sizes.

    Shapes:
        - **input:** a :class:`ionbridge.structures.features.graph.HopData` batch of n_hops hops
        - **output:** a :class:`HopOutput` of n_hops rows
    """

    scalar_mean: Tensor
    scalar_std: Tensor

    def __init__(self, config: HopNetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, n_species = config.n_features, len(SPECIES_FEATURES)
        self.embed_atom = mlp(n_species, width, width)
        self.host_basis = GaussianBasis(HOST_CUTOFF_A, config.n_basis)
        self.host_layers = nn.ModuleList(
            HostInteraction(width, config.n_basis) for _ in range(config.n_layers)
        )
        self.probe_basis = GaussianBasis(PROBE_CUTOFF_A, config.n_basis)
        self.framework_message = ProbeMessage(width, config.n_basis)
        self.ion_message = ProbeMessage(width, config.n_basis)
        self.embed_ion = mlp(n_species, width, width)
        self.path_layer = PathConvolution(width)
        self.profile_head = mlp(width, width, 1)
        self.site_head = mlp(width, width, 1)
        self.attention = nn.Linear(width, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.barrier_head = mlp(2 * width, width, 1)
        self.scale_head = mlp(2 * width, width, 1)
        self.scalar_branch = mlp(len(PATH_SCALARS), width, 1) if config.use_scalars else None
        self.register_buffer("scalar_mean", torch.zeros(len(PATH_SCALARS)))
        self.register_buffer("scalar_std", torch.ones(len(PATH_SCALARS)))

    def encode(self, data: HopData) -> Tensor:
        """(n_host, n_features) features of the host atoms; working ions hear nothing.

        A graph that carries ``encoded`` (see
        :func:`ionbridge.models.hop_networks.ensemble.with_encoded_host`) is taken at its word.
        """
        if "encoded" in data:
            return data.encoded
        h = self.embed_atom(data.x)
        basis = self.host_basis(data.edge_length)
        for layer in self.host_layers:
            h = layer(h, data.weight, data.edge_index, basis)
        found: Tensor = h
        return found

    def forward(self, data: HopData) -> HopOutput:
        """Site energies, kinetically resolved barrier, spread and profile of every hop."""
        n_hops = data.ion.shape[0]
        n_probes = n_hops * N_PROBES
        h = self.encode(data)
        basis = self.probe_basis(data.probe_length)
        from_ion = data.probe_from_ion
        framework = self.framework_message(
            h, data.weight, data.probe_index[:, ~from_ion], basis[~from_ion], n_probes
        )
        ions = self.ion_message(
            h, data.weight, data.probe_index[:, from_ion], basis[from_ion], n_probes
        )
        moving = self.embed_ion(data.ion)[:, None]
        framework = framework.view(n_hops, N_PROBES, -1) + moving
        start, end = self.site_head(framework[:, [0, -1]]).squeeze(-1).unbind(dim=1)
        probes = self.path_layer(framework + ions.view(n_hops, N_PROBES, -1))
        attention = torch.softmax(self.attention(probes), dim=1)
        ends = 0.5 * (probes[:, 0] + probes[:, -1])
        z = self.dropout(torch.cat([(attention * probes).sum(dim=1), ends], dim=-1))
        raw = self.barrier_head(z).squeeze(-1)
        if self.scalar_branch is not None:
            scaled = ((data.scalars - self.scalar_mean) / self.scalar_std).clamp(-5, 5)
            raw = raw + self.scalar_branch(scaled).squeeze(-1)
        kra = F.softplus(raw) + 0.5 * (end - start).abs()
        return HopOutput(
            start_eV=start,
            end_eV=end,
            kra_eV=kra,
            log_scale=self.scale_head(z).squeeze(-1).clamp(-4.0, 1.5),
            profile=self.profile_head(probes).squeeze(-1),
            embedding=z,
        )


def network_of(config: HopNetworkConfig, weights: Mapping[str, Tensor]) -> HopNetwork:
    """A network with given weights; nothing is allocated before their shapes are known to fit.

    Raises:
        ValueError: Weights are missing, too many, or of other shapes than the sizes ask for.
    """
    with torch.device("meta"):
        wanted = {name: tuple(t.shape) for name, t in HopNetwork(config).state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ValueError(
                f"network: weight {name[:60]!r} of shape {found.get(name)}, expected "
                f"{wanted.get(name)}"
            )
    network = HopNetwork(config)
    network.load_state_dict(dict(weights))
    return network


def arrays_of(prefix: str, weights: Sequence[Mapping[str, Tensor]]) -> dict[str, NDArray[Any]]:
    """The weights of several networks as arrays: ``<prefix><k>.<name>`` of network k.

    Args:
        prefix: Before the number of a network.
        weights: One ``state_dict`` a network.
    """
    return {
        f"{prefix}{k}.{name}": value.cpu().numpy()
        for k, own in enumerate(weights)
        for name, value in own.items()
    }


def weights_of(prefix: str, arrays: Arrays) -> list[Mapping[str, Tensor]]:
    """Inverse of :func:`arrays_of`; other arrays are left out."""
    networks = {name.partition(".")[0] for name in arrays if name.startswith(prefix)}
    return [
        {name: torch.from_numpy(value) for name, value in under(f"{prefix}{k}.", arrays).items()}
        for k in range(len(networks))
    ]
