"""The layers one by one: formulas by hand, symmetries, occupancy as a weight."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ionbridge.models.hop_networks.layers import (
    GaussianBasis,
    HostInteraction,
    PathConvolution,
    ProbeMessage,
    mlp,
)
from tests.tolerances import INVARIANCE, TIGHT

CUTOFF_A = 4.0
N_BASIS = 6
WIDTH = 5


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def host() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, occupancies, edges (with a double bond and a self image), basis."""
    edges = torch.tensor([[0, 1, 1, 2, 0, 2, 0], [1, 0, 2, 1, 2, 0, 0]])
    length = torch.tensor([2.0, 2.0, 2.5, 2.5, 3.1, 3.1, 3.9])
    basis = GaussianBasis(CUTOFF_A, N_BASIS)(length)
    return torch.randn(3, WIDTH), torch.tensor([1.0, 0.3, 0.7]), edges, basis


def test_the_basis_is_a_gaussian_under_a_cosine():
    basis = GaussianBasis(CUTOFF_A, N_BASIS)
    d = np.array([0.9, 2.0, 3.3])
    centers = np.linspace(0.8, CUTOFF_A, N_BASIS)
    width = centers[1] - centers[0]
    expected = np.exp(-0.5 * ((d[:, None] - centers) / width) ** 2)
    expected *= 0.5 * (1 + np.cos(np.pi * d / CUTOFF_A))[:, None]
    np.testing.assert_allclose(basis(torch.tensor(d)), expected, rtol=1e-5, atol=TIGHT)


def test_the_basis_fades_to_zero_with_its_slope():
    basis = GaussianBasis(CUTOFF_A, N_BASIS).double()
    near = basis(torch.tensor([CUTOFF_A - 1e-4, CUTOFF_A, CUTOFF_A + 1.0]).double())
    assert (near.abs() < TIGHT).all()
    length = torch.tensor([CUTOFF_A - 1e-5], dtype=torch.float64, requires_grad=True)
    basis(length).sum().backward()
    assert abs(float(length.grad)) < 1e-3


def test_messages_are_the_sum_of_the_formula(host):
    h, weight, edges, basis = host
    layer = HostInteraction(WIDTH, N_BASIS)
    total = torch.zeros_like(h)
    for k, (i, j) in enumerate(edges.T):
        total[i] += weight[j] * layer.value(h[j]) * layer.filter(basis[k])
    expected = h + layer.update(total)
    torch.testing.assert_close(layer(h, weight, edges, basis), expected)


def test_host_messages_follow_a_permutation(host):
    h, weight, edges, basis = host
    layer = HostInteraction(WIDTH, N_BASIS)
    order = torch.tensor([2, 0, 1])
    place = torch.argsort(order)
    permuted = layer(h[order], weight[order], place[edges], basis)
    torch.testing.assert_close(permuted, layer(h, weight, edges, basis)[order])


def test_an_empty_site_sends_nothing_and_a_half_filled_one_half(host):
    h, _, _, basis = host
    layer = ProbeMessage(WIDTH, N_BASIS)
    alone = torch.tensor([[1], [0]])

    def message(occupancy: float) -> Tensor:
        weight = torch.tensor([1.0, occupancy, 1.0])
        seen = (layer.value(h) * weight[:, None])[alone[0]] * layer.filter(basis[:1])
        out = layer(h, weight, alone, basis[:1], 1)
        torch.testing.assert_close(out, layer.update(seen))
        return seen

    assert (message(0.0) == 0).all()
    torch.testing.assert_close(message(0.5), 0.5 * message(1.0))


def test_probes_without_neighbours_are_there_and_finite(host):
    h, weight, _, _ = host
    layer = ProbeMessage(WIDTH, N_BASIS)
    nothing = torch.zeros((2, 0), dtype=torch.long)
    out = layer(h, weight, nothing, torch.zeros(0, N_BASIS), 4)
    assert out.shape == (4, WIDTH)
    torch.testing.assert_close(out, layer.update(torch.zeros(4, WIDTH)))


def test_a_path_read_backwards_gives_its_features_backwards():
    layer = PathConvolution(WIDTH)
    p = torch.randn(2, 7, WIDTH)
    torch.testing.assert_close(layer(p.flip(1)), layer(p).flip(1))


def test_images_hear_their_neighbours_and_nobody_else():
    layer = PathConvolution(WIDTH)
    p = torch.randn(1, 7, WIDTH)
    changed = p.clone()
    changed[0, 2] += 1.0
    difference = (layer(changed) - layer(p)).abs().sum(dim=-1)[0]
    assert (difference[[1, 2, 3]] > INVARIANCE).all()
    assert (difference[[0, 4, 5, 6]] == 0).all()


def test_a_path_of_one_image_is_its_own_neighbour():
    layer = PathConvolution(WIDTH)
    p = torch.randn(1, 1, WIDTH)
    torch.testing.assert_close(layer(p), p + layer.update(torch.cat([p, 2 * p], dim=-1)))


def test_mlp_is_two_linear_maps_with_silu_between():
    net = mlp(3, 4, 2)
    x = torch.randn(6, 3)
    hidden = x @ net[0].weight.T + net[0].bias
    expected = (hidden * torch.sigmoid(hidden)) @ net[2].weight.T + net[2].bias
    torch.testing.assert_close(net(x), expected)
