"""Diffusivities of molecular dynamics, learnt over composition and temperature at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from torch import Tensor

from ionbridge.models.checkpoint import Arrays, named, under
from ionbridge.models.domain import Domain
from ionbridge.models.estimator import Estimator
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.censored import censored
from ionbridge.models.regressors.few_shot import SAME_ROW
from ionbridge.models.regressors.gaussian_process import CLIP
from ionbridge.models.regressors.marginal_likelihood import most_likely
from ionbridge.structures.features.conductor_descriptors import conductor_ion
from ionbridge.structures.features.descriptors import (
    composition_descriptors,
    composition_feature_names,
)
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Label, sides
from ionbridge.structures.transport.closed_forms import decades_per_eV

Floats = NDArray[np.float64]
Sides = NDArray[np.int_]

"""Where the truth lies of a label."""
PARAMETERS = ("length", "linear", "value", "energy", "both", "own_value", "own_energy", "noise")
START = np.array(
    [np.log(3.0), np.log(0.1), *np.log([0.1, 0.01]), 0.0, *np.log([0.01, 0.002, 0.01])]
)
WIDTH = np.full(len(PARAMETERS), 1.5)
PROPERTIES = (
    "Electronegativity",
    "CovalentRadius",
    "GSvolume_pa",
    "MeltingT",
    "AtomicWeight",
    "Column",
    "Row",
    "MendeleevNumber",
    "NUnfilled",
    "NdUnfilled",
    "NpValence",
    "GSbandgap",
)
"""Elemental properties of Magpie (Ward et al., npj Comput. Mater. 2, 16028 (2016))."""
MAX_SEARCH_ROWS = 400
"""Labels on which hyperparameters are found; all labels are learnt from."""
JITTER = 1e-8
FEWEST_VALUES = 2
ASKED_K = 300.0
"""Temperature where none is named, that of campaigns."""


@dataclass(frozen=True, eq=False)
class ArrheniusPrediction:
    """Arrhenius lines of n compositions.

    Attributes:
        activation_energy_eV: (n,) slopes.
        activation_energy_std_eV: (n,) one standard deviation.
        log10_D_reference: (n,) log10 D at ``reference_K``, in the unit of the labels.
        log10_D_reference_std: (n,) one standard deviation, decades.
        reference_K: Temperature at which slope and value are told apart best.
    """

    activation_energy_eV: Floats
    activation_energy_std_eV: Floats
    log10_D_reference: Floats
    log10_D_reference_std: Floats
    reference_K: float


class DiffusivityProcess(Estimator):
    r"""A Gaussian process whose every composition is an Arrhenius line.

    .. math:: \log_{10} D(x, T) = a(x) + w(T)\, E(x) + \epsilon, \quad
       w(T) = -\Bigl(\frac1T - \frac1{T_0}\Bigr) \frac{1}{k_B \ln 10}

    The value a at the reference temperature and the activation energy E have a prior of their own:
    the common line of all labels, plus a Matern 3/2 and a linear kernel on the composition, the
    two coregionalised (Bonilla, Chai and Williams, NIPS 2007), plus a part that is each
    composition's own. A label with a stated standard deviation has that noise beside the common
    one; bounds enter as bounds (:func:`ionbridge.models.regressors.censored.censored`). All of it
    is one normal distribution, so lines come with intervals at any temperature, and a composition
    with labels keeps its own line.

    Labels are log10 D in any one unit, each with its temperature, all of one method: diffusivities
    of different methods differ by more than noise.

    Example::

        rows = [conductivity_row({"Formula": f}, f) for f in ("Li15Si4", "Li3PS4", "Li10GeP2S12")]
        labels = [
            Label("log10_diffusivity_cm2_s", -4.1, std=0.1, temperature_K=1000, method="aimd"),
            Label("log10_diffusivity_cm2_s", -4.9, std=0.2, temperature_K=800, method="aimd"),
            Label("log10_diffusivity_cm2_s", -6.0, bound="<", temperature_K=600, method="aimd"),
        ]
        model = DiffusivityProcess().fit(rows, labels)
        model.predict(rows, 700.0).mean
        model.arrhenius(rows).activation_energy_eV
    """

    kind: ClassVar[str] = "diffusivity_process"
    quantity = "diffusivity"
    inputs: ClassVar[str] = "composition"

    def __init__(self, inflation: float = 1.0) -> None:
        """Store what spreads are multiplied with so that 90 % intervals hold."""
        self.inflation = inflation

    def fit(
        self,
        records: Sequence[ConductivityRow],
        labels: Sequence[Label],
        theta: Floats | None = None,
    ) -> Self:
        """Learn from compositions and their labels.

        Args:
            records: (n,) compositions, one a label; their own labels are not looked at.
            labels: (n,) log10 D with temperature, as values or bounds; ``std`` in decades.
            theta: Log hyperparameters; None finds them.

        Raises:
            ValueError: Numbers of rows and labels differ, a label without a temperature or not
                finite, several methods, or fewer than two values.
            UnusableStructureError: A composition without a working ion.
        """
        _check(records, labels)
        self.card_ = {}
        self.method_ = labels[0].method
        self.descriptors_ = diffusivity_descriptors(records)
        self.temperature_K_ = np.array([label.temperature_K for label in labels], dtype=float)
        self.label_ = np.array([label.value for label in labels], dtype=float)
        self.side_ = sides(labels)
        self.stated_ = np.array([label.std or 0.0 for label in labels])
        self.ions_ = sorted({conductor_ion(row) for row in records})
        elements = frozenset(str(e) for row in records for e in row.composition)
        groups = [row.composition.reduced_formula for row in records]
        self.domain_ = Domain.fit(self.descriptors_, groups, elements)
        self._learn(theta)
        return self

    def _learn(self, theta: Floats | None) -> None:
        inverse = 1.0 / self.temperature_K_
        self.reference_K_ = float(1.0 / (0.5 * (inverse.min() + inverse.max())))
        exact = self.side_ == 0
        w = self._lever(self.temperature_K_)
        self._line = _common_line(w[exact], self.label_[exact])
        self._center = self.descriptors_.mean(axis=0)
        self._scale = self.descriptors_.std(axis=0) + 1e-6
        target = self.label_ - self._line[0] - w * self._line[1]
        self.theta_ = self._found(w, target) if theta is None else theta
        x = self._scaled(self.descriptors_)
        prior = _covariance(torch.tensor(self.theta_), x, w, x, w).numpy()
        noise = np.exp(self.theta_[-1]) + self.stated_**2
        target, noise = censored(prior, target, noise, self.side_)
        self._x, self._w = x, w
        self._root = np.linalg.cholesky(prior + np.diag(noise + JITTER))
        self._solved = np.linalg.solve(self._root.T, np.linalg.solve(self._root, target))

    def _found(self, w: Floats, target: Floats) -> Floats:
        rows = np.flatnonzero(self.side_ == 0)
        if len(rows) > MAX_SEARCH_ROWS:
            rows = np.sort(np.random.default_rng(0).permutation(rows)[:MAX_SEARCH_ROWS])
        x, levers = self._scaled(self.descriptors_[rows]), w[rows]
        stated = torch.tensor(self.stated_[rows] ** 2 + JITTER)

        def covariance(theta: Tensor) -> Tensor:
            noise = theta[-1].exp() + stated
            return _covariance(theta, x, levers, x, levers) + torch.diag(noise)

        return most_likely(covariance, target[rows], START, WIDTH)

    def predict(
        self, records: Sequence[ConductivityRow], temperature_K: ArrayLike = ASKED_K
    ) -> Prediction:
        """log10 D of a simulation of each composition at a temperature.

        Args:
            records: (n,) compositions.
            temperature_K: In K, (n,) or one for all.

        Returns:
            log10 D; aleatoric is a simulation's noise, epistemic all that is not known of the line.

        Raises:
            UnusableStructureError: A composition without a working ion.
        """
        n = len(records)
        w = np.broadcast_to(self._lever(np.asarray(temperature_K, dtype=float)), (n,))
        mean, variance = self._posterior(records, np.ones(n), w)
        noise = np.full(n, np.exp(0.5 * self.theta_[-1]))
        return Prediction(mean, self.inflation * noise, self.inflation * np.sqrt(variance))

    def arrhenius(self, records: Sequence[ConductivityRow]) -> ArrheniusPrediction:
        """Value at the reference temperature and activation energy of each composition.

        Raises:
            UnusableStructureError: A composition without a working ion.
        """
        one, zero = np.ones(len(records)), np.zeros(len(records))
        value, value_variance = self._posterior(records, one, zero)
        energy, energy_variance = self._posterior(records, zero, one)
        return ArrheniusPrediction(
            energy,
            self.inflation * np.sqrt(energy_variance),
            value,
            self.inflation * np.sqrt(value_variance),
            self.reference_K_,
        )

    def interval(self, prediction: Prediction) -> tuple[Floats, Floats]:
        """Lower and upper end of the 90 % interval, log10 D."""
        half = ndtri(0.95) * prediction.std
        return prediction.mean - half, prediction.mean + half

    def in_domain(self, records: Sequence[ConductivityRow]) -> NDArray[np.bool_]:
        """(n,) True where ion and elements were seen and the composition is near labels."""
        seen = [
            conductor_ion(row) in self.ions_
            and {str(e) for e in row.composition} <= self.domain_.elements
            for row in records
        ]
        near = self.domain_.distance(diffusivity_descriptors(records)) <= 1.0
        return np.array(seen, dtype=bool) & near

    def _posterior(
        self, records: Sequence[ConductivityRow], value: Floats, energy: Floats
    ) -> tuple[Floats, Floats]:
        """Mean and variance of ``value * a + energy * E``, (n,) each."""
        if not records:
            return np.zeros(0), np.zeros(0)
        x = self._scaled(diffusivity_descriptors(records))
        theta = torch.tensor(self.theta_)
        cross = _covariance(theta, x, energy, self._x, self._w, value).numpy()
        mean = value * self._line[0] + energy * self._line[1] + cross @ self._solved
        half = np.linalg.solve(self._root, cross.T)
        prior = _variance(self.theta_, x, value, energy)
        return mean, np.maximum(prior - (half**2).sum(axis=0), 0.0)

    def _lever(self, temperature_K: Floats) -> Floats:
        """Decades that one eV gains at T over the reference temperature."""
        return np.asarray(decades_per_eV(self.reference_K_) - decades_per_eV(temperature_K))

    def _scaled(self, descriptors: Floats) -> Floats:
        found: Floats = np.clip((descriptors - self._center) / self._scale, -CLIP, CLIP)
        return found

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        """Its labels and hyperparameters."""
        arrays = {
            "descriptors": self.descriptors_,
            "temperature_K": self.temperature_K_,
            "label": self.label_,
            "side": self.side_,
            "stated": self.stated_,
            "theta": self.theta_,
            **named("domain.", self.domain_.arrays()),
        }
        return arrays, {
            **self._settings(),
            "method": self.method_,
            "threshold": self.domain_.threshold,
            "elements": sorted(self.domain_.elements),
        }

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        if not 0.0 < config["inflation"] < np.inf:
            raise ValueError(f"inflation {config['inflation']}; expected a positive number")
        model = cls(config["inflation"])
        model.descriptors_, model.temperature_K_ = arrays["descriptors"], arrays["temperature_K"]
        model.label_, model.side_, model.stated_ = (arrays[k] for k in ("label", "side", "stated"))
        model.method_ = config["method"]
        model.domain_ = Domain.of_arrays(
            under("domain.", arrays), config["threshold"], config["elements"]
        )
        model._learn(arrays["theta"])
        return model


def diffusivity_descriptors(records: Sequence[ConductivityRow]) -> Floats:
    """(n, 1 + 2 len(PROPERTIES)) share of the working ion; mean and spread of each property.

    Raises:
        UnusableStructureError: A composition without a working ion.
    """
    names = composition_feature_names()
    columns = [names.index(f"MagpieData {s} {p}") for p in PROPERTIES for s in ("mean", "avg_dev")]
    return np.array(
        [
            [
                row.composition.get_atomic_fraction(conductor_ion(row)),
                *composition_descriptors(row.composition)[columns],
            ]
            for row in records
        ]
    ).reshape(len(records), 1 + len(columns))


def _check(records: Sequence[ConductivityRow], labels: Sequence[Label]) -> None:
    if len(records) != len(labels):
        raise ValueError(f"{len(records)} rows and {len(labels)} labels")
    cold = [row.id for row, label in zip(records, labels, strict=True) if not label.temperature_K]
    if cold:
        raise ValueError(f"{cold[0]}: a diffusivity needs its temperature_K")
    if not np.isfinite([label.value for label in labels]).all():
        raise ValueError("labels must be finite; give zero diffusivity as an upper bound")
    methods = sorted({str(label.method) for label in labels})
    if len(methods) > 1:
        raise ValueError(f"labels of several methods ({', '.join(methods)}); keep those of one")
    values = sum(label.bound == "=" for label in labels)
    if values < FEWEST_VALUES:
        raise ValueError(
            f"{values} diffusivities that are values, not bounds; {FEWEST_VALUES} are needed"
        )


def _common_line(w: Floats, value: Floats) -> Floats:
    """(2,) value at the reference temperature and activation energy of all labels together."""
    if np.ptp(w) < 1e-9:
        return np.array([value.mean(), 0.0])
    return np.asarray(np.polyfit(w, value, 1)[::-1])


def _covariance(
    theta: Tensor, xa: Floats, wa: Floats, xb: Floats, wb: Floats, va: Floats | None = None
) -> Tensor:
    """(n_a, n_b) covariance of ``va a(x) + wa E(x)`` with ``a(x) + wb E(x)``, without noise."""
    length, linear, value, energy, _, own_value, own_energy, _ = theta.exp()
    a, b = torch.tensor(xa), torch.tensor(xb)
    distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    near = 3.0**0.5 * distance / length
    alike = (1.0 + near) * torch.exp(-near) + linear * (1.0 + a @ b.T) / xa.shape[1]
    left = torch.ones(len(xa), dtype=torch.double) if va is None else torch.tensor(va)
    wl, wr = torch.tensor(np.array(wa)), torch.tensor(np.array(wb))
    product = wl[:, None] * wr[None]
    values = left[:, None].expand_as(product)
    crossed = left[:, None] * wr[None] + wl[:, None]
    both = torch.tanh(theta[4]) * (value * energy).sqrt()
    line = value * values + both * crossed + energy * product
    own = own_value * values + own_energy * product
    found: Tensor = line * alike + own * (distance < SAME_ROW)
    return found


def _variance(theta: Floats, x: Floats, value: Floats, energy: Floats) -> Floats:
    """(n,) prior variance of ``value a + energy E``."""
    _, linear, s_value, s_energy, _, own_value, own_energy, _ = np.exp(theta)
    both = np.tanh(theta[4]) * np.sqrt(s_value * s_energy)
    line = s_value * value**2 + 2.0 * both * value * energy + s_energy * energy**2
    alike = 1.0 + linear * (1.0 + (x**2).sum(axis=1)) / x.shape[1]
    return np.asarray(line * alike + own_value * value**2 + own_energy * energy**2)
