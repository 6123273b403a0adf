"""Losses on the outputs of the hop network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ionbridge.models.hop_networks.network import HopOutput


def laplace_nll(prediction: Tensor, target: Tensor, log_scale: Tensor) -> Tensor:
    r"""Mean negative log-likelihood of a Laplace distribution, :math:`|y - \hat y|/b + \ln b`.

    Args:
        prediction: Location, any shape.
        target: Same shape; rows that are NaN are left out.
        log_scale: ln b, same shape.

    Returns:
        Scalar; zero where no target is known.
    """
    known = torch.isfinite(target)
    if not known.any():
        return prediction.sum() * 0.0
    error = (prediction[known] - target[known]).abs()
    return (error * torch.exp(-log_scale[known]) + log_scale[known]).mean()


def masked_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the entries whose target is finite; zero if there are none."""
    known = torch.isfinite(target)
    if not known.any():
        return prediction.sum() * 0.0
    return (prediction[known] - target[known]).abs().mean()


class BarrierLoss:
    """Laplace likelihood of ln(barrier + shift), for hops with a labelled barrier.

    Targets: ``forward_eV`` (n_hops,), and ``backward_eV`` where known (NaN elsewhere).

    Args:
        shift_eV: Shift of :class:`ionbridge.models.transforms.LogShift`.
    """

    def __init__(self, shift_eV: float) -> None:
        self.shift_eV = shift_eV

    def __call__(self, output: HopOutput, targets: Mapping[str, Tensor]) -> Tensor:
        """Scalar loss of a batch."""
        total = torch.zeros(())
        for name, value in (
            ("forward_eV", output.forward_eV),
            ("backward_eV", output.backward_eV),
        ):
            if name in targets:
                target = torch.log(targets[name].clamp(min=0.0) + self.shift_eV)
                total = total + laplace_nll(
                    torch.log(value + self.shift_eV), target, output.log_scale
                )
        return total


class ProfileLoss:
    """L1 on a computed energy profile along the path and on the barriers that it implies.

    Targets: ``profile_eV`` (n_hops, N_PROBES) relative to the mean of its ends, ``forward_eV`` and
    ``backward_eV`` (n_hops,).

    Args:
        shift_eV: Shift of :class:`ionbridge.models.transforms.LogShift`.
        cap_eV: Energies are clipped to plus and minus this before they are compared.
    """

    def __init__(self, shift_eV: float, cap_eV: float) -> None:
        self.barrier = BarrierLoss(shift_eV)
        self.cap_eV = cap_eV

    def __call__(self, output: HopOutput, targets: Mapping[str, Tensor]) -> Tensor:
        """Scalar loss of a batch."""
        profile = targets["profile_eV"].clamp(-self.cap_eV, self.cap_eV)
        return self.barrier(output, targets) + masked_l1(output.profile, profile)
