"""The hop network beyond the contract: its heads and its capacity to learn."""

import numpy as np
import pytest
import torch

from ionbridge.models.hop_networks.losses import BarrierLoss
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig
from ionbridge.models.hop_networks.training import Example, TrainingConfig, collate, fit_network
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.graph import N_PROBES, hop_graph
from tests.small_crystals import skew_hop
from tests.tolerances import TIGHT

MEMORISED_EV = 0.03
"""Error of a memorised barrier between 0.1 and 1.5 eV."""
MEMORISED_LOSS = -2.0
"""Likelihood of a spread that knows it: the least possible is -4, a constant reaches about -0.3."""


@pytest.fixture(scope="module")
def graphs():
    return [hop_graph(skew_hop(k)) for k in range(16)]


def network(**sizes) -> HopNetwork:
    torch.manual_seed(0)
    return HopNetwork(HopNetworkConfig(**{"n_features": 16, "n_basis": 12, **sizes})).eval()


def test_barriers_follow_from_sites_and_kra(graphs):
    out = network()(graphs[0])
    torch.testing.assert_close(out.forward_eV - out.backward_eV, out.end_eV - out.start_eV)
    torch.testing.assert_close(0.5 * (out.forward_eV + out.backward_eV), out.kra_eV)
    assert (out.kra_eV >= 0.5 * (out.end_eV - out.start_eV).abs()).all()
    assert out.profile.shape == (1, N_PROBES)


def test_scalars_count_only_where_they_are_switched_on(graphs):
    other = graphs[0].clone()
    other.scalars = graphs[0].scalars + 1.0
    with_branch, without = network(), network(use_scalars=False)
    assert not torch.equal(with_branch(other).kra_eV, with_branch(graphs[0]).kra_eV)
    torch.testing.assert_close(without(other).kra_eV, without(graphs[0]).kra_eV)
    assert without.scalar_branch is None


def test_scalars_are_standardised_and_outliers_are_capped(graphs):
    net = network()
    net.scalar_mean.copy_(graphs[0].scalars[0])
    far, farther = graphs[0].clone(), graphs[0].clone()
    far.scalars, farther.scalars = graphs[0].scalars + 10.0, graphs[0].scalars + 1e6
    torch.testing.assert_close(net(far).kra_eV, net(farther).kra_eV)


def test_the_scale_stays_in_its_bounds(graphs):
    net = network()
    with torch.no_grad():
        net.scale_head[-1].bias.fill_(100.0)
    assert float(net(graphs[0]).log_scale.detach()) == pytest.approx(1.5)


def test_dropout_is_quiet_in_evaluation(graphs):
    net = network(dropout=0.5)
    torch.testing.assert_close(net(graphs[0]).kra_eV, net(graphs[0]).kra_eV)
    net.train()
    assert not torch.equal(net(graphs[0]).kra_eV, net(graphs[0]).kra_eV)


def test_config_survives_json():
    config = HopNetworkConfig(n_features=7, dropout=0.1)
    assert HopNetworkConfig(**config.to_json()) == config


def test_sixteen_hops_can_be_memorised(graphs):
    barrier = np.random.default_rng(0).uniform(0.1, 1.5, len(graphs))
    examples = [
        Example(graph, {"forward_eV": torch.tensor([b], dtype=torch.float32)})
        for graph, b in zip(graphs, barrier, strict=True)
    ]
    net = network(n_features=32)
    settings = TrainingConfig(epochs=150, batch_size=8, learning_rate=4e-3, device="cpu")
    history = fit_network(net, examples, BarrierLoss(LogShift().shift_eV), settings)
    batch, _ = collate(examples, torch.device("cpu"))
    with torch.no_grad():
        error = net(batch).forward_eV.double().numpy() - barrier
    assert np.median(np.abs(error)) < MEMORISED_EV
    assert history[-1]["train"] < MEMORISED_LOSS


def test_the_same_seed_gives_the_same_network():
    for one, two in zip(network().parameters(), network().parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=TIGHT)
