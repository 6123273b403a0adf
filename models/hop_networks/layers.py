"""The layers of the hop network: radial basis, message passing, messages along a path."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GaussianBasis(nn.Module):
    r"""Distances in a basis of Gaussians under a cosine cutoff.

    .. math:: b_k(d) = e^{-\gamma (d - \mu_k)^2} \; \tfrac12 (1 + \cos(\pi d / d_c))

    after Schütt et al., SchNet, `arXiv:1706.08566 <https://arxiv.org/abs/1706.08566>`_.

    Args:
        cutoff_A: Cutoff d_c in angstrom; the basis is zero there and beyond.
        n_basis: Number of Gaussians.

    Shapes:
        - **input:** distances (n_edges,), angstrom
        - **output:** (n_edges, n_basis)
    """

    centers: Tensor

    def __init__(self, cutoff_A: float, n_basis: int) -> None:
        super().__init__()
        self.cutoff_A = cutoff_A
        # real on the meta device, too: linspace would import sympy there, a second of every start
        centers = torch.linspace(0.8, cutoff_A, n_basis, device="cpu")
        self.register_buffer("centers", centers)
        self.gamma = 0.5 / ((cutoff_A - 0.8) / (n_basis - 1)) ** 2

    def forward(self, length: Tensor) -> Tensor:
        """Basis values for every distance."""
        envelope = 0.5 * (torch.cos(torch.pi * length / self.cutoff_A) + 1.0)
        envelope = envelope * (length < self.cutoff_A)
        return torch.exp(-self.gamma * (length[:, None] - self.centers) ** 2) * envelope[:, None]


class HostInteraction(nn.Module):
    r"""Continuous-filter message passing among framework atoms, weighted by occupancy.

    .. math:: h_i \leftarrow h_i + U\Big(\sum_{j} w_j \, V h_j \odot F(b(d_{ij}))\Big)

    after SchNet, `arXiv:1706.08566 <https://arxiv.org/abs/1706.08566>`_, with the occupancy w_j
    of the sender.

    Args:
        n_features: Width of the atom features.
        n_basis: Width of the radial basis.

    Shapes:
        - **input:** features (n_host, n_features), weight (n_host,), edge index (2, n_edges),
          basis (n_edges, n_basis)
        - **output:** (n_host, n_features)
    """

    def __init__(self, n_features: int, n_basis: int) -> None:
        super().__init__()
        self.value = nn.Linear(n_features, n_features, bias=False)
        self.filter = nn.Linear(n_basis, n_features, bias=False)
        self.update = mlp(n_features, n_features, n_features)

    def forward(self, h: Tensor, weight: Tensor, edge_index: Tensor, basis: Tensor) -> Tensor:
        """Features after one round of messages."""
        src, dst = edge_index
        message = (self.value(h) * weight[:, None])[dst] * self.filter(basis)
        found: Tensor = h + self.update(summed(message, src, h.shape[0]))
        return found


class ProbeMessage(nn.Module):
    r"""What a point of the path sees of the atoms around it.

    .. math:: p_k = U\Big(\sum_j w_j \, V h_j \odot F(b(d_{kj}))\Big)

    Shapes:
        - **input:** atom features (n_host, n_features), weight (n_host,), probe index
          (2, n_edges) from atom to probe, basis (n_edges, n_basis)
        - **output:** (n_probes, n_features)
    """

    def __init__(self, n_features: int, n_basis: int) -> None:
        super().__init__()
        self.value = nn.Linear(n_features, n_features, bias=False)
        self.filter = nn.Linear(n_basis, n_features, bias=False)
        self.update = mlp(n_features, n_features, n_features)

    def forward(
        self, h: Tensor, weight: Tensor, probe_index: Tensor, basis: Tensor, n_probes: int
    ) -> Tensor:
        """(n_probes, n_features) features of the probes, from the atoms around them."""
        atom, probe = probe_index
        message = (self.value(h) * weight[:, None])[atom] * self.filter(basis)
        found: Tensor = self.update(summed(message, probe, n_probes))
        return found


class PathConvolution(nn.Module):
    r"""Messages between neighbouring images of a path; the same when the path is run backwards.

    .. math:: p_k \leftarrow p_k + U([p_k, \; p_{k-1} + p_{k+1}])

    Shapes:
        - **input:** (n_hops, n_images, n_features)
        - **output:** (n_hops, n_images, n_features)
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.update = mlp(2 * n_features, n_features, n_features)

    def forward(self, p: Tensor) -> Tensor:
        """Probe features after hearing from the images on either side."""
        ahead = torch.cat([p[:, 1:], p[:, -1:]], dim=1)
        behind = torch.cat([p[:, :1], p[:, :-1]], dim=1)
        found: Tensor = p + self.update(torch.cat([p, ahead + behind], dim=-1))
        return found


def summed(values: Tensor, index: Tensor, n: int) -> Tensor:
    """(n, n_features) sums of (n_values, n_features) rows that have one index."""
    return values.new_zeros(n, values.shape[1]).index_add(0, index, values)


def mlp(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    """Two linear layers with a SiLU between them."""
    return nn.Sequential(nn.Linear(n_in, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_out))
