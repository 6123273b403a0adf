"""Hyperparameters of a Gaussian process with any covariance: likelihood times a wide prior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

Floats = NDArray[np.float64]

MAX_STEPS = 60
FARTHEST = 5.0
"""No hyperparameter moves further than this from where it starts."""


def most_likely(
    covariance: Callable[[Tensor], Tensor], target: Floats, start: Floats, width: Floats
) -> Floats:
    r"""Hyperparameters at the maximum of the posterior, by L-BFGS-B from the prior's centre.

    Minimises :math:`\frac12 y^T K^{-1} y + \frac12 \ln |K| + \frac12 \sum_k ((\theta_k - s_k) /
    w_k)^2` (Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006, eq.
    5.8, with a normal prior).

    Args:
        covariance: (n_theta,) hyperparameters -> (n, n) covariance of the labels, noise included.
        target: (n,) labels, their mean removed.
        start: (n_theta,) centre of the prior.
        width: (n_theta,) its standard deviations.

    Returns:
        (n_theta,) hyperparameters.
    """
    y, center, spread = torch.tensor(target), torch.tensor(start), torch.tensor(width)

    def loss(values: Floats) -> tuple[float, Floats]:
        theta = torch.tensor(values, requires_grad=True)
        root = torch.linalg.cholesky(covariance(theta))
        solved = torch.linalg.solve_triangular(root, y[:, None], upper=False)
        value = 0.5 * (solved**2).sum() + root.diagonal().log().sum()
        value = value + 0.5 * (((theta - center) / spread) ** 2).sum()
        (slope,) = torch.autograd.grad(value, theta)
        return float(value.detach()), slope.numpy()

    bounds = [(value - FARTHEST, value + FARTHEST) for value in start]
    options = {"maxiter": MAX_STEPS}
    return np.asarray(
        minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    )
