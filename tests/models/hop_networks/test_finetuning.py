"""Strategies move exactly the parameters that they name."""

import pytest
import torch
from torch import Tensor

from ionbridge.models.hop_networks.finetuning import (
    FINE_TUNINGS,
    GENERAL,
    HEADS,
    MIDDLE,
    FineTuning,
    FrozenHost,
    FullFineTuning,
    HeadsOnly,
    LowRankAdapters,
    fine_tuning_from_json,
    fine_tuning_to_json,
    merge_adapters,
)
from ionbridge.models.hop_networks.losses import BarrierLoss
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig
from ionbridge.models.hop_networks.training import Example, TrainingConfig, fit_network
from ionbridge.structures.features.graph import hop_graph
from tests.small_crystals import skew_hop

CONFIG = HopNetworkConfig(n_features=10, n_layers=2, n_basis=8)
SETTINGS = TrainingConfig(epochs=3, batch_size=2, learning_rate=5e-3, device="cpu")
ALL = GENERAL + MIDDLE + HEADS


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    barrier = torch.tensor([[0.3], [0.9], [0.5], [1.2]])
    return [
        Example(hop_graph(skew_hop(k)), {"forward_eV": barrier[k], "backward_eV": barrier[-1 - k]})
        for k in range(4)
    ]


@pytest.fixture
def network() -> HopNetwork:
    torch.manual_seed(11)
    return HopNetwork(CONFIG)


def state(network: HopNetwork) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in network.state_dict().items()}


def tuned(network: HopNetwork, strategy: FineTuning, examples: list[Example]) -> set[str]:
    """Names of the tensors that a strategy changed."""
    before = state(network)
    groups = strategy.prepare(network)
    fit_network(network, examples, BarrierLoss(0.1), SETTINGS, parameter_groups=groups)
    merge_adapters(network)
    after = state(network)
    assert after.keys() == before.keys()
    return {k for k in before if not torch.equal(before[k], after[k])}


def parts(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_every_layer_belongs_to_one_depth(network):
    layers = {name for name, child in network.named_children() if list(child.parameters())}
    assert layers == {*ALL, "profile_head"}  # which barriers say nothing about
    assert len(ALL) == len(set(ALL))


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (FullFineTuning(), set(ALL)),
        (FrozenHost(), set(MIDDLE + HEADS)),
        (HeadsOnly(), set(HEADS)),
        (FINE_TUNINGS["scratch"](), {*ALL, "profile_head"}),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, set) else "",
)
def test_a_strategy_moves_its_layers_and_leaves_the_others_bit_for_bit(
    network, strategy, expected, examples
):
    assert parts(tuned(network, strategy, examples)) == expected


def test_deeper_layers_are_slower():
    groups = FullFineTuning(layer_decay=0.5).prepare(HopNetwork(CONFIG))
    assert [g["lr_factor"] for g in groups] == [1.0, 0.5, 0.25]


def test_adapters_add_a_matrix_of_low_rank_and_vanish(network, examples):
    before = state(network)
    changed = tuned(network, LowRankAdapters(rank=2), examples)
    plain = HopNetwork(CONFIG)
    plain.load_state_dict(network.state_dict())  # the plain form again
    assert parts(changed) == set(ALL)
    after = state(network)
    adapted = [k for k in changed if not k.startswith((*HEADS,)) and k.endswith("weight")]
    assert adapted
    for name in adapted:
        rank = torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-4)
        assert 1 <= int(rank) <= 2, name
    below = {k for k in changed if k.split(".")[0] in GENERAL + MIDDLE}
    assert all(name.endswith("weight") for name in below)  # biases stay


def test_fresh_adapters_change_nothing(network):
    graph = hop_graph(skew_hop(0))
    before = network.eval()(graph).forward_eV
    LowRankAdapters().prepare(network)
    torch.testing.assert_close(network(graph).forward_eV, before, rtol=0, atol=0)
    merge_adapters(network)
    torch.testing.assert_close(network(graph).forward_eV, before, rtol=0, atol=0)


def test_scratch_forgets_the_base(network):
    before = state(network)
    FINE_TUNINGS["scratch"]().prepare(network)
    for name, value in state(network).items():
        if name.split(".")[0] in ALL:
            assert not torch.equal(value, before[name]), name


def test_a_network_without_scalars_can_be_tuned():
    network = HopNetwork(HopNetworkConfig(n_features=4, n_basis=4, use_scalars=False))
    assert len(HeadsOnly().prepare(network)[0]["params"]) == 3 * 4


@pytest.mark.parametrize("name", FINE_TUNINGS)
def test_strategies_survive_json(name):
    strategy = FINE_TUNINGS[name]()
    assert fine_tuning_from_json(fine_tuning_to_json(strategy)) == strategy
    assert fine_tuning_to_json(strategy)["name"] == name


def test_an_unknown_strategy_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown strategy 'half'; known: full, gradual, frozen"):
        fine_tuning_from_json({"name": "half"})


def test_gradual_unfreezing_begins_with_the_heads_and_ends_with_everything():
    network = HopNetwork(HopNetworkConfig(n_features=6, n_layers=1, n_basis=5))
    groups = FINE_TUNINGS["gradual"]().prepare(network)
    begins = [group["from_fraction"] for group in groups]
    assert begins == sorted(begins)
    assert begins[0] == 0.0
    heads = {id(p) for p in network.barrier_head.parameters()}
    assert heads <= {id(p) for p in groups[0]["params"]}
    host = {id(p) for p in network.host_layers.parameters()}
    assert host <= {id(p) for p in groups[-1]["params"]}
