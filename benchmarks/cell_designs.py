"""Cell designs spread evenly over ranges by Sobol's sequence, for training cell models."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from ionbridge.screening.cell.base_cells import scalars
from ionbridge.screening.cell.designs import REFERENCE_K, Design, check
from ionbridge.screening.cell.inputs import CONTACT
from ionbridge.structures.units import SECONDS_PER_HOUR


@dataclass(frozen=True)
class Space:
    """The ranges over which designs are spread, as factors of the base cell unless said otherwise.

    Attributes:
        c_rate: 1/h, logarithmic.
        fourier: 3600 D / (C R^2) of the cathode, logarithmic: diffusion time over discharge time.
        diffusion_limited: Below this ``fourier`` diffusion limits; half of the designs lie there.
        radius: Cathode particles, logarithmic; its diffusivity follows from ``fourier``.
        coating: Both coatings, so that the balance stays.
        balance: Negative coating alone.
        porosity: Of the cathode, absolute, added; its active fraction gives way.
        conductivity: Of the electrolyte, logarithmic.
        salt_diffusivity: Of the electrolyte, logarithmic.
        exchange: Cathode's exchange current density, logarithmic.
        contact_V: Contact resistance times the current of 1C, V.
        tilt_V: Change of the cathode's open-circuit curve, see ``inputs.CURVE_CHANGES``.
        step_V: Likewise.
    """

    c_rate: tuple[float, float] = (0.1, 5.0)
    fourier: tuple[float, float] = (0.02, 10.0)
    diffusion_limited: float = 0.15
    radius: tuple[float, float] = (0.5, 2.0)
    coating: tuple[float, float] = (0.6, 1.6)
    balance: tuple[float, float] = (0.95, 1.2)
    porosity: tuple[float, float] = (-0.08, 0.08)
    conductivity: tuple[float, float] = (0.4, 2.0)
    salt_diffusivity: tuple[float, float] = (0.4, 2.0)
    exchange: tuple[float, float] = (0.3, 3.0)
    contact_V: tuple[float, float] = (0.0, 0.03)
    tilt_V: tuple[float, float] = (0.0, 0.0)
    step_V: tuple[float, float] = (0.0, 0.0)


def sobol_designs(
    base: str, n: int, seed: int, space: Space | None = None, stratified: bool = True
) -> list[Design]:
    """Designs spread evenly over a space (scrambled Sobol sequence).

    Args:
        base: Base cell.
        n: Number of designs.
        seed: Of the scrambling.
        space: Ranges.
        stratified: Put half of the designs below ``space.diffusion_limited``.
    """
    space = space or Space()
    base_values = scalars(base)
    points = qmc.Sobol(13, seed=seed).random_base2(max(1, math.ceil(math.log2(n))))[:n]

    def linear(u: float, bounds: tuple[float, float]) -> float:
        return bounds[0] + u * (bounds[1] - bounds[0])

    def logarithmic(u: float, bounds: tuple[float, float]) -> float:
        return float(np.exp(linear(u, (math.log(bounds[0]), math.log(bounds[1])))))

    designs = []
    for i, u in enumerate(points):
        rate = logarithmic(u[0], space.c_rate)
        fourier, part = space.fourier, float(u[1])
        if stratified:  # one coordinate, cut in half: successive points alternate between halves
            limit = space.diffusion_limited
            fourier = (fourier[0], limit) if part < 0.5 else (limit, fourier[1])
            part = 2.0 * part % 1.0
        radius = base_values["Positive particle radius [m]"] * logarithmic(u[2], space.radius)
        diffusivity = logarithmic(part, fourier) * rate * radius**2 / SECONDS_PER_HOUR
        coating, balance = linear(u[3], space.coating), linear(u[4], space.balance)
        added = linear(u[5], space.porosity)
        porosity = base_values["Positive electrode porosity"]
        active = base_values["Positive electrode active material volume fraction"]
        values = {
            "Positive particle diffusivity [m2.s-1]": diffusivity,
            "Positive particle radius [m]": radius,
            "Positive electrode thickness [m]": base_values["Positive electrode thickness [m]"]
            * coating,
            "Negative electrode thickness [m]": base_values["Negative electrode thickness [m]"]
            * coating
            * balance,
            "Positive electrode porosity": porosity + added,
            "Positive electrode active material volume fraction": active
            * (1.0 - porosity - added)
            / (1.0 - porosity),
            "Electrolyte conductivity factor": logarithmic(u[6], space.conductivity),
            "Electrolyte diffusivity factor": logarithmic(u[7], space.salt_diffusivity),
            "Positive electrode exchange-current density factor": logarithmic(u[8], space.exchange),
            CONTACT: linear(u[9], space.contact_V) / base_values["Nominal cell capacity [A.h]"],
        }
        if space.tilt_V[1] > 0.0 or space.step_V[1] > 0.0:
            values["Positive electrode OCP tilt [V]"] = linear(u[10], space.tilt_V)
            values["Positive electrode OCP step [V]"] = linear(u[11], space.step_V)
            values["Positive electrode OCP step stoichiometry"] = float(u[12])
        designs.append(check(Design(f"{base}-{seed}-{i:05d}", base, rate, REFERENCE_K, values)))
    return designs
