"""Losses against torch's own distributions, and what they leave out."""

import math

import pytest
import torch

from ionbridge.models.hop_networks.losses import BarrierLoss, ProfileLoss, laplace_nll, masked_l1
from ionbridge.models.hop_networks.network import HopOutput
from ionbridge.structures.features.graph import N_PROBES

NAN = float("nan")


def output(kra: list[float], difference: float = 0.0, log_scale: float = -1.0) -> HopOutput:
    n = len(kra)
    return HopOutput(
        start_eV=torch.zeros(n),
        end_eV=torch.full((n,), difference),
        kra_eV=torch.tensor(kra, requires_grad=True),
        log_scale=torch.full((n,), log_scale),
        profile=torch.zeros(n, N_PROBES),
        embedding=torch.zeros(n, 4),
    )


def test_laplace_is_that_of_torch_up_to_a_constant():
    torch.manual_seed(0)
    prediction, target, log_scale = torch.randn(3, 20)
    expected = -torch.distributions.Laplace(prediction, log_scale.exp()).log_prob(target).mean()
    loss = laplace_nll(prediction, target, log_scale)
    torch.testing.assert_close(loss, expected - math.log(2.0))


def test_laplace_is_least_where_the_scale_is_the_mean_error():
    error = torch.rand(1000) * 0.3
    log_scale = torch.linspace(-5, 1, 601)
    losses = torch.stack([laplace_nll(error, 0 * error, s.expand(1000)) for s in log_scale])
    assert float(log_scale[losses.argmin()].exp()) == pytest.approx(float(error.mean()), rel=0.01)


@pytest.mark.parametrize("loss", [lambda p, t: laplace_nll(p, t, torch.zeros_like(p)), masked_l1])
def test_unknown_targets_neither_count_nor_spoil_gradients(loss):
    prediction = torch.tensor([1.0, 5.0, 2.0], requires_grad=True)
    value = loss(prediction, torch.tensor([1.5, NAN, 4.0]))
    assert float(value.detach()) == pytest.approx(1.25)
    value.backward()
    torch.testing.assert_close(prediction.grad, torch.tensor([-0.5, 0.0, -0.5]))


@pytest.mark.parametrize("loss", [lambda p, t: laplace_nll(p, t, torch.zeros_like(p)), masked_l1])
def test_no_known_target_is_a_zero_that_can_be_differentiated(loss):
    prediction = torch.tensor([1.0, 2.0], requires_grad=True)
    value = loss(prediction, torch.tensor([NAN, NAN]))
    value.backward()
    assert float(value.detach()) == 0.0
    assert (prediction.grad == 0).all()


def test_the_barrier_loss_compares_logarithms_of_both_ways():
    out = output([0.5, 0.7], difference=0.2)
    targets = {"forward_eV": torch.tensor([0.6, 0.4]), "backward_eV": torch.tensor([NAN, 0.6])}
    # forward 0.6 and 0.8, backward 0.4 and 0.6: one error, ln(0.9 / 0.5), among two known
    expected = (0.5 * math.log(0.9 / 0.5) * math.e - 1.0) - 1.0
    loss = BarrierLoss(0.1)(out, targets)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_negative_labels_count_as_no_barrier():
    out = output([0.5])
    losses = [
        float(BarrierLoss(0.1)(out, {"forward_eV": torch.tensor([b])}).detach())
        for b in (-0.3, 0.0)
    ]
    assert losses[0] == losses[1]


def test_the_profile_loss_clips_what_carries_no_information():
    out = output([0.5])
    profile = torch.zeros(1, N_PROBES)
    profile[0, 3] = 900.0
    targets = {"profile_eV": profile, "forward_eV": torch.tensor([0.5])}
    loss = ProfileLoss(0.1, cap_eV=6.0)(out, targets)
    assert float(loss.detach()) == pytest.approx(6.0 / N_PROBES - 1.0, rel=1e-5)
