"""The most probable measured conductivity and diffusivity of a crystal, from two sources.

What measurements of similar compositions say (:mod:`ionbridge.models.conductors.conductivity`) and
what the hops of the crystal say (percolation barrier, diffusion tensor, carriers) are two estimates
of one number with errors of known size and correlation. They are combined so that the variance is
least. Where no measured chemistry is near, the spread that the first states says little of its
error; there both sources count by how far they were off on regions of chemistry, or on elements,
that were left out of the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ionbridge.models.checkpoint import Arrays
from ionbridge.models.estimator import Estimator
from ionbridge.models.transforms import LogShift
from ionbridge.structures.transport.closed_forms import (
    PREFACTOR_STD_DECADES,
    decades_per_eV,
    nernst_einstein,
)
from ionbridge.structures.units import ROOM_TEMPERATURE_K

Floats = NDArray[np.float64]

LOWEST_EV, HIGHEST_EV, N_GRID = 0.02, 4.0, 400
"""Grid on which the posterior of a barrier is integrated."""
LEAST_BARRIER_EV = 0.03
"""A lower percolation barrier counts as this: no ion moves with less than the heat of a room."""
SCALE = LogShift(0.1)
"""Errors of -log10 sigma are alike on this scale; it ends at 1.3 S/cm, beyond which no ion goes."""
CARRIES = 2 / 3
"""A source with this weight carries the estimate; less, and both do."""
N_FOLDS = 10
_SIGMAS_90 = float(ndtri(0.95))


@dataclass(frozen=True)
class HopNetworkResult:
    """What the hops of one crystal say, and of what kind the crystal is.

    Attributes:
        log10_diffusivity_cm2_s: Of one carrier, with the barriers as predicted.
        temperature_K: T of that diffusivity.
        barrier_eV: Percolation barrier.
        barrier_std_eV: One sigma of it.
        carrier_density_cm3: Carriers that the network counts, one a formula unit by default.
        ion_density_cm3: All working ions.
        charge_number: Of the working ion.
        is_ion_full: True where every site of the ion is full: carriers must first be made.
        is_host_ordered: True where no site of the host is shared or partly filled.
        is_ion_full_by_symmetry: The same of all sites that the framework makes equal
            (:mod:`ionbridge.structures.crystals.hidden_disorder`): an ordered cell of a disordered
            crystal has empty ones among them.
        is_host_ordered_by_symmetry: The same of the host.
        is_electrode: True for a host with a redox-active metal.
        in_domain: Whether the barriers lie in the domain of the hop model.
    """

    log10_diffusivity_cm2_s: float
    temperature_K: float
    barrier_eV: float
    barrier_std_eV: float
    carrier_density_cm3: float
    ion_density_cm3: float
    charge_number: int
    is_ion_full: bool
    is_host_ordered: bool
    is_ion_full_by_symmetry: bool
    is_host_ordered_by_symmetry: bool
    is_electrode: bool
    in_domain: bool


@dataclass(frozen=True)
class CompositionResult:
    """What measured compositions say of one crystal at room temperature, log10 of S/cm.

    Attributes:
        mean: The most probable value.
        std: One sigma, as the model states it.
        in_domain: Whether measured compositions are near.
        elements_known: Whether all its elements were measured with this ion.
    """

    mean: float
    std: float
    in_domain: bool
    elements_known: bool = True


@dataclass(frozen=True)
class Outside:
    """How far both sources are off where no measured composition is near.

    Attributes:
        composition_std: Of measured compositions, decades.
        hop_std: Of the hops, decades.
        correlation: Of both errors.
        interval_factor: Half width of the 90 % interval in sigmas, on ``SCALE``.
    """

    composition_std: float = 2.5
    hop_std: float = 2.5
    correlation: float = 0.5
    interval_factor: float = _SIGMAS_90


@dataclass(frozen=True)
class Value:
    """An estimate on a log10 scale: mean, one sigma, and the 90 % interval."""

    mean: float
    std: float
    lower: float
    upper: float

    def shifted(self, decades: float) -> Value:
        """The same times ten to the given power."""
        return Value(self.mean + decades, self.std, self.lower + decades, self.upper + decades)


@dataclass(frozen=True)
class Estimate:
    """Conduction of one crystal at one temperature.

    Attributes:
        conductivity: log10 of S/cm.
        diffusivity: log10 of cm^2/s: of all ions by Nernst-Einstein; for an electrode, which is
            made of carriers, that of one carrier by the hops.
        activation_energy_eV: Slope of ln(sigma T), and its one sigma.
        composition: What measured compositions say, log10 of S/cm; None where nothing is said.
        hop_network: What the hops say.
        hop_network_diffusivity: The same of the diffusivity of one carrier, log10 of cm^2/s.
        conductivity_source: ``composition``, ``hop_network`` or ``both``: what carries it.
        diffusivity_source: ``conductivity`` (Nernst-Einstein) or ``hop_network``.
        in_domain: Whether what lies in its own domain has a third of the weight; not where the
            diffusivity of an electrode comes from hops outside of theirs, nor where no conductor of
            this ion was measured (of an electrode, whose diffusivity needs none, it may be).
    """

    conductivity: Value
    diffusivity: Value
    activation_energy_eV: tuple[float, float]
    composition: Value | None
    hop_network: Value | None
    hop_network_diffusivity: Value | None
    conductivity_source: str
    diffusivity_source: str
    in_domain: bool


@dataclass
class ConductionEstimate(Estimator):
    """Combines what measured compositions and what hops say; see the module.

    Attributes:
        barrier_median_eV: Median of the prior of activation energies, a lognormal distribution.
        barrier_log_std: Its spread in ln E.
        barrier_error_eV: How far percolation barriers without error are from measured slopes.
        hop_coefficients: (6,) measured log10 sigma = c0 + c1 [ion sites full] + c2 [host ordered]
            + c3, c4 [the same by the framework's symmetry] - c5 ln(percolation barrier / eV):
            errors of barriers are alike on that scale.
        hop_std: One sigma of that, decades at room temperature.
        correlation: Of the errors of both sources.
        neldel_eV: (2,) E = e0 + e1 log10 sigma at room temperature: prefactor and activation energy
            go together (Meyer and Neldel, Z. Tech. Phys. 18, 588 (1937)).
        neldel_std_eV: One sigma of that.
        interval_factor: Half width of the 90 % interval in sigmas, on ``SCALE``.
        far: Errors on compositions of known elements outside the domain.
        unseen: Errors on compositions with an element that was never measured.
    """

    barrier_median_eV: float = 0.42
    barrier_log_std: float = 0.4
    barrier_error_eV: float = 0.12
    hop_coefficients: tuple[float, ...] = (-5.0, -1.0, -1.0, -1.0, -1.0, 1.0)
    hop_std: float = 2.5
    correlation: float = 0.0
    neldel_eV: tuple[float, float] = (0.09, -0.07)
    neldel_std_eV: float = 0.1
    interval_factor: float = _SIGMAS_90
    far: Outside = Outside()
    unseen: Outside = Outside()

    kind: ClassVar[str] = "conduction_estimate"
    quantity = "conduction"

    def fit_activation_energies(self, log10_sigma: Floats, energy_eV: Floats) -> Self:
        """Learn the Meyer-Neldel line and the prior of barriers from measured slopes.

        Args:
            log10_sigma: (n,) at room temperature, S/cm.
            energy_eV: (n,) activation energies of the same rows.
        """
        slope, start = _least_absolute(log10_sigma, energy_eV)
        self.neldel_eV = (start, slope)
        self.neldel_std_eV = _robust_std(energy_eV - start - slope * log10_sigma)
        log = np.log(energy_eV)
        self.barrier_median_eV = float(np.exp(np.median(log)))
        self.barrier_log_std = _robust_std(log - np.median(log))
        return self

    def fit(
        self,
        hops: Sequence[HopNetworkResult | None],
        compositions: Sequence[CompositionResult],
        log10_sigma: Floats,
        groups: Sequence[str],
        outside: Sequence[tuple[int, CompositionResult]] = (),
    ) -> Self:
        """Learn how far both sources are off.

        A measured crystal may stand here twice, as it was refined and as an ordered cell, so that
        ordered cells, which most crystals that are asked for are, are priced as well as the others.

        Args:
            hops: (n,) results of the hops; None where a row has no usable crystal.
            compositions: (n,) predictions that saw neither paper nor composition of their row.
            log10_sigma: (n,) measured at room temperature, S/cm; no bounds.
            groups: (n,) paper of each row.
            outside: Further predictions of some rows, by index, from models that lack one of the
                row's elements, or all measured compositions near it.

        After it ``out_of_fold_`` holds the combined :class:`Value` of each row at room temperature,
        and ``hops_out_of_fold_`` (n,) what the hops say, NaN where there are none, both by
        coefficients that saw nothing of the row's paper.
        """
        self.card_ = {}
        error = np.array([c.mean for c in compositions]) - log10_sigma
        own = np.array([i for i, h in enumerate(hops) if h is not None])
        x = np.array([self._hop_inputs(h) for h in hops if h is not None])
        y, paper = log10_sigma[own], np.array(groups)[own]
        found = np.full(len(own), np.nan)
        for k in range(N_FOLDS):
            test = _fold(paper, N_FOLDS) == k
            if test.any():
                found[test] = x[test] @ _regression(x[~test], y[~test])
        self.hop_coefficients = tuple(map(float, _regression(x, y)))
        self.hop_std = float(np.sqrt(np.mean((found - y) ** 2)))
        self.correlation = float(np.corrcoef(found - y, error[own])[0, 1])
        by_hops = np.full(len(hops), np.nan)
        by_hops[own] = found
        beyond = [(i, c) for i, c in outside if np.isfinite(by_hops[i]) and not c.in_domain]
        self.far = self._outside([x for x in beyond if x[1].elements_known], by_hops, log10_sigma)
        self.unseen = self._outside(
            [x for x in beyond if not x[1].elements_known], by_hops, log10_sigma
        )
        pairs = [
            (c, None if np.isnan(h) else float(h))
            for c, h in zip(compositions, by_hops, strict=True)
        ]
        self.interval_factor = self._factor(pairs, log10_sigma)
        self.out_of_fold_ = [self.combined(c, h)[0] for c, h in pairs]
        self.hops_out_of_fold_ = by_hops
        return self

    def _factor(
        self, pairs: Sequence[tuple[CompositionResult, float | None]], log10_sigma: Floats
    ) -> float:
        """Half width in sigmas of the interval that holds 90 % of the values."""
        plain = [self._combined(c, h, 1.0)[0] for c, h in pairs]
        mean, spread = np.array([[-v.mean, v.std] for v in plain]).T
        gap = np.abs(SCALE.forward(mean) - SCALE.forward(-log10_sigma))
        return float(np.quantile(gap / SCALE.forward_std(mean, spread), 0.9))

    def _outside(
        self,
        rows: Sequence[tuple[int, CompositionResult]],
        by_hops: Floats,
        log10_sigma: Floats,
    ) -> Outside:
        """How far both sources are off on rows outside the domain; a guess where they are few.

        Errors there are mostly offsets, alike for all rows of an element or a region; their mean
        squares count.
        """
        if len(rows) < N_FOLDS:
            return Outside()
        at = np.array([i for i, _ in rows], dtype=int)
        error = np.array([c.mean for _, c in rows]) - log10_sigma[at]
        gap = by_hops[at] - log10_sigma[at]
        found = Outside(
            float(np.sqrt(np.mean(error**2))),
            float(np.sqrt(np.mean(gap**2))),
            float(np.corrcoef(gap, error)[0, 1]),
        )
        pairs = [(c, float(by_hops[i])) for i, c in rows]
        factor = replace(self, far=found, unseen=found)._factor(pairs, log10_sigma[at])
        return replace(found, interval_factor=factor)

    def combined(
        self, composition: CompositionResult | None, by_hops: float | None
    ) -> tuple[Value, float]:
        """The value at room temperature, and the weight of the composition in it.

        Args:
            composition: What measured compositions say.
            by_hops: log10 of S/cm by the hops, on the scale of experiment.
        """
        outside = self._outside_of(composition)
        factor = self.interval_factor if outside is None else outside.interval_factor
        return self._combined(composition, by_hops, factor / _SIGMAS_90)

    def estimate(
        self,
        hops: HopNetworkResult | None,
        composition: CompositionResult | None,
        temperature_K: float,
        ion_density_cm3: float | None = None,
    ) -> Estimate:
        """Combine what is known of one crystal.

        Args:
            hops: From the crystal's hops; None where only a composition is known.
            composition: From measured compositions; None for an ion without any.
            temperature_K: T of the answer.
            ion_density_cm3: All working ions; known from the hops where these are given.

        Raises:
            ValueError: Nothing is known, or no density of ions.
        """
        if hops is None and composition is None:
            raise ValueError("neither hops nor a composition to estimate conduction from")
        own = None if hops is None else self._diffusivity_of_hops(hops, temperature_K)
        known = None if composition is None else self._of_composition(composition)
        at_room = None if hops is None else self.by_hops(hops)
        room, weight = self.combined(composition, at_room)
        energy, sigma = self._arrhenius(room, temperature_K)
        density = ion_density_cm3 if hops is None else hops.ion_density_cm3
        if density is None:
            raise ValueError("without hops the density of the ions is needed for a diffusivity")
        charge = 1 if hops is None else hops.charge_number
        by_hops = own is not None and hops is not None and hops.is_electrode
        diffusivity = (
            own
            if by_hops and own
            else sigma.shifted(-_log10_sigma_of(1.0, density, temperature_K, charge))
        )
        trusted = weight if composition is not None and composition.in_domain else 0.0
        trusted += 1.0 - weight if hops is not None and hops.in_domain else 0.0
        # an electrode's diffusivity is that of its hops; these conduct as those of measured ions do
        is_known = hops.in_domain if by_hops and hops else composition is not None
        return Estimate(
            conductivity=sigma,
            diffusivity=diffusivity,
            activation_energy_eV=energy,
            composition=None
            if known is None
            else self._arrhenius(self._value(*known), temperature_K)[1],
            hop_network=None
            if at_room is None
            else self._arrhenius(self._value(at_room, self.hop_std), temperature_K)[1],
            hop_network_diffusivity=own,
            conductivity_source=_source(weight),
            diffusivity_source="hop_network" if by_hops else "conductivity",
            in_domain=is_known and trusted >= 1 - CARRIES,
        )

    def by_hops(self, hops: HopNetworkResult) -> float:
        """log10 of the conductivity at room temperature that the hops alone speak for, S/cm."""
        return float(np.dot(self.hop_coefficients, self._hop_inputs(hops)))

    def barrier(self, barrier_eV: float, std_eV: float) -> tuple[float, float]:
        """Mean and one sigma of the activation energy, given a percolation barrier, eV.

        The prior is what experiments show, so that a barrier of 0.05 +- 0.1 eV becomes a possible
        one, and a barrier that is hardly known becomes a usual one.
        """
        grid = np.linspace(LOWEST_EV, HIGHEST_EV, N_GRID)
        error = np.hypot(std_eV, self.barrier_error_eV)
        prior = (np.log(grid) - np.log(self.barrier_median_eV)) / self.barrier_log_std
        log = -0.5 * prior**2 - np.log(grid) - 0.5 * ((barrier_eV - grid) / error) ** 2
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        mean = float(weight @ grid)
        return mean, float(np.sqrt(weight @ (grid - mean) ** 2))

    def _diffusivity_of_hops(self, hops: HopNetworkResult, temperature_K: float) -> Value:
        """log10 of the diffusivity of one carrier with the posterior barrier, cm^2/s."""
        energy, std_eV = self.barrier(hops.barrier_eV, hops.barrier_std_eV)
        per_eV = float(decades_per_eV(temperature_K))
        mean = hops.log10_diffusivity_cm2_s - energy * per_eV
        mean += hops.barrier_eV * float(decades_per_eV(hops.temperature_K))
        std = float(np.hypot(std_eV * per_eV, PREFACTOR_STD_DECADES))
        return Value(mean, std, mean - _SIGMAS_90 * std, mean + _SIGMAS_90 * std)

    def _hop_inputs(self, hops: HopNetworkResult) -> Floats:
        """(6,) what the regression of the hops sees."""
        stated = hops.is_ion_full, hops.is_host_ordered
        hidden = hops.is_ion_full_by_symmetry, hops.is_host_ordered_by_symmetry
        ease = -np.log(max(hops.barrier_eV, LEAST_BARRIER_EV))
        return np.array([1.0, *stated, *hidden, ease], dtype=float)

    def _outside_of(self, found: CompositionResult | None) -> Outside | None:
        """The errors that count for a composition outside the domain; None for one inside."""
        if found is None or found.in_domain:
            return None
        return self.far if found.elements_known else self.unseen

    def _of_composition(self, found: CompositionResult) -> tuple[float, float]:
        outside = self._outside_of(found)
        return found.mean, found.std if outside is None else outside.composition_std

    def _combined(
        self, composition: CompositionResult | None, hops: float | None, widening: float
    ) -> tuple[Value, float]:
        """The value of least variance at room temperature, and the weight of the composition."""
        if composition is None:
            assert hops is not None
            return self._value(hops, self.hop_std, widening), 0.0
        mean, std = self._of_composition(composition)
        if hops is None:
            return self._value(mean, std, widening), 1.0
        outside = self._outside_of(composition)
        correlation = self.correlation if outside is None else outside.correlation
        hop_std = self.hop_std if outside is None else outside.hop_std
        # what is near counts no less than what is far, whatever it states of itself
        counted = min(std, self.far.composition_std) if outside is None else std
        both = correlation * counted * hop_std
        weight = (hop_std**2 - both) / (counted**2 + hop_std**2 - 2 * both)
        weight = float(np.clip(weight, 0.0, 1.0))
        rest, both = 1.0 - weight, correlation * std * hop_std
        variance = (weight * std) ** 2 + (rest * hop_std) ** 2 + 2 * weight * rest * both
        return self._value(weight * mean + rest * hops, float(np.sqrt(variance)), widening), weight

    def _value(self, mean: float, std: float, widening: float = 1.0) -> Value:
        """Mean and spread with an interval whose upper end no solid exceeds."""
        t = SCALE.forward(np.array([-mean]))
        half = _SIGMAS_90 * widening * SCALE.forward_std(np.array([-mean]), np.array([std]))
        lower, upper = -SCALE.inverse(t + half), -SCALE.inverse(t - half)
        return Value(mean, std * widening, float(min(lower[0], mean)), float(max(upper[0], mean)))

    def _arrhenius(self, room: Value, temperature_K: float) -> tuple[tuple[float, float], Value]:
        """Activation energy (mean, std) and the value at another temperature."""
        start, slope = self.neldel_eV
        energy = max(start + slope * room.mean, 0.05)
        step = float(decades_per_eV(temperature_K) - decades_per_eV(ROOM_TEMPERATURE_K))
        mean = room.mean - energy * step + np.log10(ROOM_TEMPERATURE_K / temperature_K)
        std = float(np.hypot(room.std * (1.0 - slope * step), self.neldel_std_eV * step))
        widening = std / room.std
        std_eV = float(np.hypot(slope * room.std, self.neldel_std_eV))
        value = Value(
            float(mean),
            std,
            float(mean + (room.lower - room.mean) * widening),
            float(mean + (room.upper - room.mean) * widening),
        )
        return (float(energy), std_eV), value

    def __sklearn_is_fitted__(self) -> bool:
        return True  # what fitting finds are parameters, which have usual values

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        """Its few numbers are all in the settings."""
        coefficients = np.array(self.hop_coefficients, dtype=float)
        return {"hop_coefficients": coefficients}, {"settings": self._settings()}

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        given = config["settings"]
        settings: dict[str, Any] = {
            f.name: tuple(v) if isinstance(v := given[f.name], list) else v for f in fields(cls)
        }
        for name in ("far", "unseen"):
            settings[name] = Outside(**settings[name])
        return cls(**settings)


def _log10_sigma_of(
    diffusivity_cm2_s: float, density_cm3: float, temperature_K: float, charge: int
) -> float:
    return float(
        np.log10(nernst_einstein(diffusivity_cm2_s, density_cm3, temperature_K, charge=charge))
    )


def _source(weight: float) -> str:
    if weight >= CARRIES:
        return "composition"
    return "hop_network" if weight <= 1 - CARRIES else "both"


def _fold(groups: NDArray[np.str_], n_folds: int) -> NDArray[np.int_]:
    """(n,) fold of each row: groups in sorted order are dealt round."""
    return np.unique(groups, return_inverse=True)[1] % n_folds


def _regression(x: Floats, y: Floats) -> Floats:
    """Least squares with a slope of the last column that is not negative."""
    found = np.linalg.lstsq(x, y, rcond=None)[0]
    slope = max(0.0, float(found[-1]))
    rest = np.linalg.lstsq(x[:, :-1], y - slope * x[:, -1], rcond=None)[0]
    return np.append(rest, slope)


def _least_absolute(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope and start of the line of least absolute deviations, by reweighted least squares."""
    weight = np.ones(len(x))
    slope = start = 0.0
    for _ in range(50):
        slope, start = np.polyfit(x, y, 1, w=np.sqrt(weight))
        weight = 1.0 / np.maximum(np.abs(y - slope * x - start), 1e-4)
    return float(slope), float(start)


def _robust_std(values: Floats) -> float:
    """Half the width of the middle 68.27 % of the values."""
    low, high = np.quantile(values, ndtr([-1.0, 1.0]))
    return float(0.5 * (high - low))
