"""A Gaussian process on a dozen numbers of the path: strong where labels are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct, Kernel, Matern, WhiteKernel

from models.baseline import Arrays, Baseline, Floats
from models.hop_graphs import graph_of
from models.prediction import Prediction
from models.transforms import LogShift
from structures.records import Hop

CLIP = 4.0
"""Standardised inputs are clipped to plus and minus this: beyond it a line knows nothing."""


@dataclass
class GaussianProcessBaseline(Baseline):
    """Matern 3/2 plus a linear kernel on the path scalars, target ln(barrier + shift).

    Inputs are the numbers of :data:`structures.graph.PATH_SCALARS` (bond-valence barrier, path
    geometry, coordination). The linear part carries trends to families never seen; the Matern part
    bends them where there are labels. Hyperparameters maximise the marginal likelihood (Rasmussen
    and Williams, Gaussian Processes for Machine Learning, MIT Press 2006). The noise is aleatoric,
    the posterior spread epistemic. A hop and its reverse get one value.

    Attributes:
        shift_eV: Keeps the logarithm of the smallest barriers at bay.
    """

    shift_eV: float = 0.05

    kind: ClassVar[str] = "gaussian_process"

    def _fit(self, hops: Sequence[Hop], barriers: Floats) -> None:
        inputs = path_scalars(hops)
        self.center_, self.scale_ = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
        self.inputs_ = self._scaled(inputs)
        self.target_ = LogShift(self.shift_eV).forward(barriers)
        self._condition(_kernel(), optimise=len(hops) > 2)

    def _scaled(self, inputs: Floats) -> Floats:
        return np.clip((inputs - self.center_) / self.scale_, -CLIP, CLIP)

    def _condition(self, kernel: Kernel, optimise: bool) -> None:
        self.process_ = GaussianProcessRegressor(
            kernel, normalize_y=True, optimizer="fmin_l_bfgs_b" if optimise else None
        ).fit(self.inputs_, self.target_)

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        mean, total = self.process_.predict(self._scaled(path_scalars(hops)), return_std=True)
        unit = float(self.process_._y_train_std)
        noise = unit * np.sqrt(self.process_.kernel_.k2.noise_level)
        log = LogShift(self.shift_eV)
        barrier = log.inverse(mean)
        epistemic = np.sqrt(np.maximum(total**2 - noise**2, 0.0))
        return Prediction(
            mean=barrier,
            aleatoric_std=log.inverse_std(barrier, np.full(len(hops), noise)),
            epistemic_std=log.inverse_std(barrier, epistemic),
        )

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        arrays = {
            "inputs": self.inputs_,
            "target": self.target_,
            "center": self.center_,
            "scale": self.scale_,
            "theta": self.process_.kernel_.theta,
        }
        return arrays, {"settings": asdict(self)}

    @classmethod
    def _restore(cls, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        model = cls(**settings["settings"])
        model.inputs_, model.target_ = arrays["inputs"], arrays["target"]
        model.center_, model.scale_ = arrays["center"], arrays["scale"]
        model._condition(_kernel().clone_with_theta(arrays["theta"]), optimise=False)
        return model


def path_scalars(hops: Sequence[Hop]) -> Floats:
    """(n_hops, len(PATH_SCALARS)) numbers of each hop's bond-valence path."""
    return np.concatenate([graph_of(hop).scalars.double().numpy() for hop in hops])


def _kernel() -> Kernel:
    smooth = 1.0 * Matern(3.0, (0.3, 100.0), nu=1.5)
    linear = 0.1 * DotProduct(1.0, "fixed")
    return smooth + linear + WhiteKernel(0.3, (1e-3, 10.0))
