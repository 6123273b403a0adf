"""The fit loop: chance from seeds only, cuts that leave no trace, the best epoch kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ionbridge.models.hop_networks.losses import BarrierLoss, masked_l1
from ionbridge.models.hop_networks.network import HopNetwork, HopNetworkConfig, HopOutput
from ionbridge.models.hop_networks.training import (
    Example,
    TrainingConfig,
    collate,
    evaluate_loss,
    fit_network,
    pick_device,
)
from ionbridge.structures.features.graph import hop_graph, migration_graph_data
from ionbridge.structures.hops.sites import find_hops
from tests.small_crystals import ROCK_SALT, skew_hop

SETTINGS = TrainingConfig(epochs=6, batch_size=4, learning_rate=5e-3, seed=1, device="cpu")
LOSS = BarrierLoss(0.1)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    barrier = np.random.default_rng(0).uniform(0.1, 1.5, 10)
    return [
        Example(hop_graph(skew_hop(k)), {"forward_eV": torch.tensor([b], dtype=torch.float32)})
        for k, b in enumerate(barrier)
    ]


def network() -> HopNetwork:
    torch.manual_seed(5)
    return HopNetwork(HopNetworkConfig(n_features=8, n_layers=1, n_basis=8, dropout=0.2))


def same_weights(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


class Cut:
    """A loss that is interrupted at its n-th call, as by a signal."""

    def __init__(self, loss, calls: int) -> None:
        self.loss, self.calls = loss, calls

    def __call__(self, output: HopOutput, targets: dict[str, Tensor]) -> Tensor:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return self.loss(output, targets)


def test_the_same_seed_gives_the_same_weights_whatever_chance_did_before(examples):
    one, two, other = network(), network(), network()
    first = fit_network(one, examples, LOSS, SETTINGS)
    torch.manual_seed(1234)
    np.random.seed(99)  # noqa: NPY002
    assert fit_network(two, examples, LOSS, SETTINGS) == first
    assert same_weights(one, two)
    fit_network(other, examples, LOSS, replace(SETTINGS, seed=2))
    assert not same_weights(one, other)


def test_fitting_leaves_the_global_generators_alone(examples):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    net = HopNetwork(HopNetworkConfig(n_features=4, n_layers=1, n_basis=4))
    torch.manual_seed(7)
    fit_network(net, examples[:2], LOSS, replace(SETTINGS, epochs=1))
    torch.testing.assert_close(torch.rand(3), expected)


@pytest.mark.parametrize("calls", [1, 9, 14, 17])
def test_a_fit_that_was_cut_off_ends_with_the_same_weights(examples, calls, tmp_path):
    training, validation = examples[:7], examples[7:]
    whole, cut = network(), network()
    history = fit_network(whole, training, LOSS, SETTINGS, validation=validation)
    checkpoint = tmp_path / "work" / "fit.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit_network(
            cut,
            training,
            Cut(LOSS, calls),
            SETTINGS,
            validation=validation,
            checkpoint=checkpoint,
        )
    again = network()
    resumed = fit_network(
        again, training, LOSS, SETTINGS, validation=validation, checkpoint=checkpoint
    )
    assert resumed == history
    assert same_weights(again, whole)


def test_a_finished_fit_is_not_done_again(examples, tmp_path):
    checkpoint = tmp_path / "fit.safetensors"
    one, two = network(), network()
    fit_network(one, examples, LOSS, SETTINGS, checkpoint=checkpoint)
    fit_network(two, examples, Cut(LOSS, 0), SETTINGS, checkpoint=checkpoint)
    assert same_weights(one, two)


def test_early_stopping_keeps_the_best_epoch_and_stops_after_patience(examples):
    """The validation targets contradict the training, so that the loss must rise."""
    training = examples[:6]
    validation = [Example(e.graph, {"forward_eV": e.targets["forward_eV"] + 3.0}) for e in training]
    settings = replace(SETTINGS, epochs=40, patience=3, learning_rate=1e-2)
    net = network()
    history = fit_network(net, training, LOSS, settings, validation=validation)
    losses = [h["validation"] for h in history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + settings.patience < settings.epochs
    kept = evaluate_loss(net, validation, LOSS, settings.batch_size)
    assert kept == pytest.approx(min(losses), abs=1e-6)


def test_a_fit_that_stopped_early_stays_stopped(examples, tmp_path):
    training = examples[:6]
    validation = [Example(e.graph, {"forward_eV": e.targets["forward_eV"] + 3.0}) for e in training]
    settings = replace(SETTINGS, epochs=40, patience=1, learning_rate=1e-2)
    checkpoint = tmp_path / "fit.safetensors"
    one, two = network(), network()
    history = fit_network(
        one, training, LOSS, settings, validation=validation, checkpoint=checkpoint
    )
    assert len(history) < settings.epochs
    again = fit_network(
        two, training, Cut(LOSS, 0), settings, validation=validation, checkpoint=checkpoint
    )
    assert again == history
    assert same_weights(one, two)


def test_only_the_named_groups_move_at_their_own_rates(examples):
    net = network()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    groups = [
        {"params": list(net.barrier_head.parameters()), "lr_factor": 1.0},
        {"params": list(net.site_head.parameters()), "lr_factor": 0.0},
    ]
    fit_network(net, examples, LOSS, SETTINGS, parameter_groups=groups)
    moved = {k.split(".")[0] for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"barrier_head"}


def test_the_mean_loss_counts_every_graph_once(examples):
    net = network()
    loss = lambda out, targets: masked_l1(out.forward_eV, targets["forward_eV"])  # noqa: E731
    batch, targets = collate(examples, torch.device("cpu"))
    net.eval()
    expected = float(loss(net(batch), targets).detach())
    for size in (1, 3, 10):
        assert evaluate_loss(net, examples, loss, size) == pytest.approx(expected, rel=1e-5)


def test_collating_joins_targets_in_the_order_of_the_hops(examples):
    crystal = migration_graph_data(find_hops(ROCK_SALT))
    several = Example(crystal, {"forward_eV": torch.full((len(crystal.scalars),), 9.0)})
    batch, targets = collate([examples[0], several, examples[1]], torch.device("cpu"))
    assert len(batch.scalars) == len(targets["forward_eV"]) == 2 + len(crystal.scalars)
    assert float(targets["forward_eV"][1]) == 9.0
    torch.testing.assert_close(batch.scalars[-1], examples[1].graph.scalars[0])


def test_training_lowers_the_loss_and_leaves_the_examples_as_they_were(examples):
    before = examples[0].graph.clone()
    net = network()
    history = fit_network(net, examples, LOSS, replace(SETTINGS, epochs=20))
    assert history[-1]["train"] < history[0]["train"]
    assert not net.training
    for key in before.keys():  # noqa: SIM118
        assert torch.equal(torch.as_tensor(before[key]), torch.as_tensor(examples[0].graph[key]))


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="no training examples"):
        fit_network(network(), [], LOSS, SETTINGS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_that_is_not_there_is_said_so(examples):
    with pytest.raises(ValueError, match=r"no CUDA device.*--device cpu") as caught:
        fit_network(network(), examples, LOSS, replace(SETTINGS, device="cuda"))
    assert "\n" not in str(caught.value)
    assert pick_device("auto") == torch.device("cpu")


@pytest.mark.gpu
def test_a_gpu_learns_what_the_cpu_learns(examples):
    """Same order of batches and same start; sums differ in their last digits only."""
    nets = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(5)
        nets[device] = HopNetwork(HopNetworkConfig(n_features=8, n_layers=1, n_basis=8))
        fit_network(nets[device], examples, LOSS, replace(SETTINGS, epochs=2, device=device))
    batch, _ = collate(examples, torch.device("cpu"))
    cpu, gpu = (net.cpu()(batch).forward_eV for net in nets.values())
    torch.testing.assert_close(cpu, gpu, rtol=0.01, atol=0.01)
