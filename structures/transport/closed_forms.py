"""Closed-form ion transport: Arrhenius, mean squared displacement, Nernst-Einstein, Haven ratio.

Three diffusivities are kept apart by name. The *tracer* diffusivity D* follows tagged ions, the
*jump* (collective, charge) diffusivity the displacement of all of them, and the *carrier*
diffusivity D_c a single vacancy or interstitial. Logarithms are to base 10, their spreads in
decades.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.structures.units import (
    BOLTZMANN_EV_PER_K,
    CM2_S_PER_A2_PS,
    CM3_PER_A3,
    ELEMENTARY_CHARGE_C,
)

PREFACTOR_STD_DECADES = 0.5
"""Spread of log10 of the attempt frequency and all that multiplies it."""

VACANCY_CORRELATION_FACTORS = {
    "honeycomb": 1.0 / 3.0,
    "square": 0.46694,
    "triangular": 0.56006,
    "diamond": 0.5,
    "simple cubic": 0.65311,
    "body-centred cubic": 0.72719,
    "face-centred cubic": 0.78146,
}
"""Tracer correlation factor f of a lone vacancy with nearest-neighbour jumps.

K. Compaan and Y. Haven, Trans. Faraday Soc. 52, 786 (1956), to the digits of G. L. Montet,
Phys. Rev. B 7, 650 (1973). A lone interstitial has f = 1.
"""


def arrhenius(
    prefactor: ArrayLike, activation_energy_eV: ArrayLike, temperature_K: ArrayLike
) -> NDArray[np.float64]:
    """Arrhenius law D = D0 exp(-E_a / k_B T).

    Args:
        prefactor: D0, in the unit of the result; any shape.
        activation_energy_eV: E_a in eV, broadcastable to D0.
        temperature_K: T in K, broadcastable to D0.

    Returns:
        D in the unit of D0.
    """
    kT = BOLTZMANN_EV_PER_K * _positive("temperature_K", temperature_K)
    return np.asarray(prefactor, float) * np.exp(-np.asarray(activation_energy_eV, float) / kT)


@dataclass(frozen=True, eq=False)
class ArrheniusFit:
    """A straight line log10 D = log10 D0 - E_a / (k_B T ln 10), with its uncertainty.

    Attributes:
        activation_energy_eV: E_a in eV.
        log10_prefactor: log10 D0, D0 in the unit of the fitted data.
        covariance: (2, 2) covariance of (E_a in eV, log10 D0 in decades); ``nan`` where two
            temperatures without a ``std`` leave no residual to judge by.
    """

    activation_energy_eV: float
    log10_prefactor: float
    covariance: NDArray[np.float64]

    @property
    def activation_energy_std_eV(self) -> float:
        """One standard deviation of E_a, eV."""
        return float(np.sqrt(self.covariance[0, 0]))

    def predict(self, temperature_K: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """log10 D and the standard deviation of the fitted line, both in decades.

        Args:
            temperature_K: T in K, any shape.

        Returns:
            Value and standard deviation, each of the shape of T. The scatter of a single further
            measurement is not included.
        """
        x = decades_per_eV(temperature_K)
        row = np.stack([-x, np.ones_like(x)], axis=-1)
        value = row @ np.array([self.activation_energy_eV, self.log10_prefactor])
        return value, np.sqrt(np.einsum("...i,ij,...j->...", row, self.covariance, row))


def fit_arrhenius(
    temperature_K: ArrayLike, log10_D: ArrayLike, std: ArrayLike | None = None
) -> ArrheniusFit:
    """Weighted least squares of log10 D on 1 / (k_B T ln 10).

    The covariance is s^2 (X^T W X)^-1 with W = 1 / std^2. Without ``std`` (W = 1), s^2 is the
    residual variance. With it, s^2 = max(1, chi^2 / (n - 2)): scatter beyond the stated errors
    widens the answer, scatter below them does not narrow it.

    Args:
        temperature_K: (n,) T in K, at least two different ones.
        log10_D: (n,) log10 of a diffusivity, or of conductivity times temperature.
        std: One standard deviation of ``log10_D`` in decades, (n,) or one for all.

    Returns:
        The fit. The residual variance of few points is itself uncertain: intervals from a fit
        without ``std`` need Student's t with n - 2 degrees of freedom.
    """
    x = np.atleast_1d(decades_per_eV(temperature_K))
    y = np.atleast_1d(np.asarray(log10_D, float))
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(
            f"temperature_K {x.shape} and log10_D {y.shape} must be two lists of the same length"
        )
    if len(np.unique(x)) < 2:
        raise ValueError(
            f"{len(np.unique(x))} different temperature(s) given, at least 2 are needed for an "
            "Arrhenius fit; add a temperature"
        )
    if not np.isfinite(y).all():
        raise ValueError(
            f"log10_D has {np.sum(~np.isfinite(y))} value(s) that are not finite; "
            "drop temperatures without diffusion"
        )
    weight = np.ones_like(x)
    if std is not None:
        weight = 1.0 / np.broadcast_to(_positive("std", std), x.shape) ** 2
    design = np.stack([-x, np.ones_like(x)], axis=1)
    root = np.sqrt(weight)
    (slope, intercept), *_ = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)
    residual = design @ [slope, intercept] - y
    precision = design.T @ (design * weight[:, None])
    covariance = _variance_scale(residual, weight, std is not None) * np.linalg.inv(precision)
    return ArrheniusFit(float(slope), float(intercept), np.asarray(covariance, np.float64))


def _variance_scale(
    residual: NDArray[np.float64], weight: NDArray[np.float64], errors_known: bool
) -> float:
    """Factor s^2 of ``fit_arrhenius``."""
    freedom = len(residual) - 2
    reduced = float(weight @ residual**2) / freedom if freedom else np.nan
    if errors_known:
        return max(1.0, reduced) if freedom else 1.0
    return reduced


def random_walk_diffusivity(
    rate: ArrayLike, distance_A: ArrayLike, n_neighbors: int = 1, dimensions: int = 3
) -> NDArray[np.float64]:
    """Uncorrelated random walk on equivalent sites, D = z a^2 Gamma / (2 d).

    Args:
        rate: Rate Gamma to each neighbour in 1/ps, any shape.
        distance_A: Jump length a in angstrom, broadcastable to the rate.
        n_neighbors: Number z of equivalent neighbours.
        dimensions: Dimensions d in which the walk spreads.

    Returns:
        D in cm^2/s.
    """
    msd_per_time = n_neighbors * np.asarray(distance_A, float) ** 2 * np.asarray(rate, float)
    return msd_to_diffusivity(msd_per_time, dimensions)


def msd_to_diffusivity(slope: ArrayLike, dimensions: int = 3) -> NDArray[np.float64]:
    """Einstein relation D = (d MSD / dt) / (2 d).

    Args:
        slope: Slope of the mean squared displacement in angstrom^2/ps, any shape. The MSD of ions
            gives the tracer diffusivity; that of their summed displacement, divided by the number
            of ions, the jump diffusivity.
        dimensions: Number d of directions summed in the MSD: 1, 2 or 3.

    Returns:
        D in cm^2/s, same shape as the slope.
    """
    if dimensions not in (1, 2, 3):
        raise ValueError(f"dimensions is {dimensions!r}, expected 1, 2 or 3")
    return np.asarray(slope, float) * CM2_S_PER_A2_PS / (2 * dimensions)


def isotropic_diffusivity(tensor: ArrayLike) -> NDArray[np.float64]:
    """A third of the trace: what a polycrystal without texture shows to first order.

    Args:
        tensor: (..., 3, 3) diffusion tensor.

    Returns:
        (...) scalar diffusivity in the unit of the tensor.
    """
    return np.asarray(np.trace(np.asarray(tensor, float), axis1=-2, axis2=-1) / 3.0)


def carrier_density(n_carriers: ArrayLike, volume_A3: ArrayLike) -> NDArray[np.float64]:
    """Carriers per volume, n_c = N_c / V.

    Args:
        n_carriers: Mobile vacancies or interstitials in the cell, any shape.
        volume_A3: Cell volume in cubic angstrom.

    Returns:
        Density in cm^-3.
    """
    return np.asarray(n_carriers, float) / (_positive("volume_A3", volume_A3) * CM3_PER_A3)


def nernst_einstein(
    diffusivity: ArrayLike,
    carrier_density: ArrayLike,
    temperature: ArrayLike,
    charge: ArrayLike = 1.0,
    haven_ratio: ArrayLike = 1.0,
) -> NDArray[np.float64]:
    """Ionic conductivity sigma = n (z e)^2 D / (H k_B T).

    Two uses: n the ions and D their tracer diffusivity with the Haven ratio H; or n the carriers
    and D the diffusivity of one carrier with H = 1 (no division by H is due, a dilute carrier's
    walk is what moves the charge). Never the ions with the carrier's D.

    Args:
        diffusivity: D in cm^2/s, any shape.
        carrier_density: n in cm^-3, broadcastable to D.
        temperature: T in K.
        charge: Charge number z of the mobile ion.
        haven_ratio: H = D_tracer / D_jump, D_jump the collective (charge) diffusivity. 1 means
            uncorrelated motion.

    Returns:
        Conductivity in S/cm, same shape as D.
    """
    # (z e)^2 / (k_B T) in C/V: with k_B T in eV one factor e cancels.
    kT_eV = BOLTZMANN_EV_PER_K * _positive("temperature", temperature)
    n_z2 = np.asarray(carrier_density, float) * np.asarray(charge, float) ** 2
    D_jump = np.asarray(diffusivity, float) / _positive("haven_ratio", haven_ratio)
    return np.asarray(n_z2 * ELEMENTARY_CHARGE_C * D_jump / kT_eV)


def conductivity(
    diffusion_tensor: ArrayLike,
    carrier_density_cm3: ArrayLike,
    temperature_K: ArrayLike,
    charge: ArrayLike = 1.0,
) -> NDArray[np.float64]:
    """Direction-averaged conductivity of independent carriers, sigma = n_c q^2 D_c / k_B T.

    Args:
        diffusion_tensor: (..., 3, 3) tensor of one carrier in cm^2/s; D_c is a third of its trace.
        carrier_density_cm3: Density n_c of carriers (not of all ions) in cm^-3.
        temperature_K: T in K.
        charge: Charge number z of the mobile ion; its sign does not matter.

    Returns:
        (...) conductivity in S/cm.
    """
    D = isotropic_diffusivity(diffusion_tensor)
    return nernst_einstein(D, carrier_density_cm3, temperature_K, charge)


def haven_ratio(tracer_diffusivity: ArrayLike, jump_diffusivity: ArrayLike) -> NDArray[np.float64]:
    """Haven ratio H = D_tracer / D_jump.

    Args:
        tracer_diffusivity: D* in any unit, any shape.
        jump_diffusivity: Collective (charge) diffusivity in the same unit, broadcastable to D*.

    Returns:
        H, dimensionless. G. E. Murch, Solid State Ionics 7, 177 (1982).
    """
    return np.asarray(tracer_diffusivity, float) / _positive("jump_diffusivity", jump_diffusivity)


def tracer_diffusivity(
    carrier_diffusivity: ArrayLike,
    carrier_density: ArrayLike,
    ion_density: ArrayLike,
    correlation_factor: ArrayLike = 1.0,
) -> NDArray[np.float64]:
    """Tracer diffusivity of the ions that few carriers move, D* = f (n_c / n_ion) D_c.

    Args:
        carrier_diffusivity: D_c of one carrier, any unit, any shape.
        carrier_density: n_c, in the unit of ``ion_density``.
        ion_density: Density n_ion of all mobile ions.
        correlation_factor: f, for example from ``VACANCY_CORRELATION_FACTORS``; the default 1 is
            an upper bound for vacancies.

    Returns:
        D* in the unit of D_c.
    """
    fraction = np.asarray(carrier_density, float) / _positive("ion_density", ion_density)
    factor = np.asarray(correlation_factor, float)
    return np.asarray(factor * fraction * np.asarray(carrier_diffusivity, float))


def decades_per_eV(temperature_K: ArrayLike) -> NDArray[np.float64]:
    """1 / (k_B T ln 10): decades that one eV costs at T in K, any shape."""
    kT_eV = BOLTZMANN_EV_PER_K * _positive("temperature_K", temperature_K)
    return np.asarray(1.0 / (kT_eV * np.log(10.0)))


def _positive(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """The value as an array, or an error that names the first offender."""
    array = np.asarray(value, float)
    bad = ~(np.isfinite(array) & (array > 0))
    if bad.any():
        raise ValueError(f"{name} must be positive and finite, got {array[bad].flat[0]:g}")
    return array
