"""The graphite side of a cell, where it ages: what drives each loss, in closed form.

Four losses happen at the graphite, and their drivers follow from a few numbers of the cell: time
and temperature (SEI), the tensile stress of lithium leaving a particle (cracks, lost material), the
potential of its surface against lithium (plating). Written with these numbers, two chemistries
become comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.units import FARADAY_C_PER_MOL, GAS_CONSTANT_J_MOL_K, SECONDS_PER_HOUR

Floats = NDArray[np.float64]

REFERENCE_K = 298.15
REST_H = 1 / 3
"""Rests of a cycle, h."""
SEI_RATE_M2_H = 2 * 2.5e-22 * 2636.0 * 9.585e-5 * SECONDS_PER_HOUR
"""2 D c V of solvent-diffusion limited growth, m^2/h (O'Kane 2022: solvent diffusivity 2.5e-22
m^2/s, solvent 2636 mol/m^3, SEI volume 9.585e-5 m^3/mol)."""
SEI_ACTIVATION_J_MOL = 38000.0
SEI_START_M, CRACK_SEI_START_M = 5e-9, 5e-13
"""Thickness of the SEI at the start, on particles and on the faces of cracks."""
PARIS_EXPONENT = 2.2
LOSS_EXPONENT = 2.0
"""Powers of the stress in crack growth and in the loss of active material."""
N_POINTS = 41


@dataclass(frozen=True)
class Cycling:
    """How a cell is cycled.

    Attributes:
        charge_c_rate: Charging current over nominal capacity, 1/h.
        discharge_c_rate: Discharging current over nominal capacity, 1/h.
        temperature_K: Of the surroundings.
        depth_of_discharge: Charge taken out in a cycle over nominal capacity.
    """

    charge_c_rate: float
    discharge_c_rate: float
    temperature_K: float
    depth_of_discharge: float

    def __post_init__(self) -> None:
        for name in ("charge_c_rate", "discharge_c_rate", "temperature_K", "depth_of_discharge"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value}")
        if self.depth_of_discharge > 1:
            raise ValueError(f"depth_of_discharge is a share, got {self.depth_of_discharge}")
        if not 200 < self.temperature_K < 400:
            raise ValueError(f"temperature_K is in kelvin, got {self.temperature_K}")

    @property
    def cycle_h(self) -> float:
        """Duration of a cycle without the end of the charge at constant voltage, h."""
        moving = 1 / self.charge_c_rate + 1 / self.discharge_c_rate
        return self.depth_of_discharge * moving + REST_H


@dataclass(frozen=True)
class Graphite:
    """What the closed forms need to know of a cell's graphite.

    Attributes:
        nominal_Ah: Nominal capacity of the cell.
        particle_radius_m: Radius R.
        diffusivity_m2_s: Of lithium in a particle at half filling and 298.15 K.
        diffusivity_activation_J_mol: Its activation energy.
        exchange_current_A_m2: At half filling and 298.15 K.
        exchange_current_activation_J_mol: Its activation energy.
        current_A_m2: Interfacial current density at 1C.
        capacity_share: Nominal capacity of the cell over that of its graphite.
        full_filling: Lithium in the charged graphite, share of sites.
        potential_V: Open-circuit potential at evenly spaced fillings from 0 to 1.
    """

    nominal_Ah: float
    particle_radius_m: float
    diffusivity_m2_s: float
    diffusivity_activation_J_mol: float
    exchange_current_A_m2: float
    exchange_current_activation_J_mol: float
    current_A_m2: float
    capacity_share: float
    full_filling: float
    potential_V: tuple[float, ...]

    @property
    def area_m2(self) -> float:
        """Surface of all graphite particles of the cell, m^2."""
        return self.nominal_Ah / self.current_A_m2

    def gradient(self, c_rate: Floats, temperature_K: Floats) -> Floats:
        """Mean minus surface filling of a particle in the quasi-steady state, C s R^2 / 15 D.

        Args:
            c_rate: Current over nominal capacity, 1/h.
            temperature_K: Broadcastable to it.
        """
        diffusivity = self.diffusivity_m2_s * arrhenius(
            self.diffusivity_activation_J_mol, temperature_K
        )
        diffusion_h = self.particle_radius_m**2 / (15 * diffusivity * SECONDS_PER_HOUR)
        return np.asarray(c_rate * self.capacity_share * diffusion_h)

    def overpotential_V(self, c_rate: Floats, temperature_K: Floats) -> Floats:
        """Kinetic overpotential 2RT/F asinh(j / 2 j0), V, positive."""
        j0 = self.exchange_current_A_m2 * arrhenius(
            self.exchange_current_activation_J_mol, temperature_K
        )
        thermal = GAS_CONSTANT_J_MOL_K * temperature_K / FARADAY_C_PER_MOL
        return np.asarray(2 * thermal * np.arcsinh(c_rate * self.current_A_m2 / (2 * j0)))

    def surface_potential_V(self, filling: Floats) -> Floats:
        """Open-circuit potential against lithium at a surface filling."""
        grid = np.linspace(0, 1, len(self.potential_V))
        return np.interp(filling, grid, self.potential_V)


def arrhenius(activation_J_mol: float, temperature_K: Floats) -> Floats:
    """exp(-E/R (1/T - 1/298.15 K))."""
    scale = -activation_J_mol / GAS_CONSTANT_J_MOL_K
    return np.asarray(np.exp(scale * (1 / np.asarray(temperature_K) - 1 / REFERENCE_K)))


def sei_growth_m(hours: Floats, temperature_K: Floats, start_m: float) -> Floats:
    """Growth of an SEI limited by the diffusion of solvent, L = sqrt(L0^2 + 2 D c V t) - L0.

    Constants of O'Kane et al., Phys. Chem. Chem. Phys. 24, 7909 (2022).

    Args:
        hours: Time, h.
        temperature_K: Broadcastable to it.
        start_m: L0, m.
    """
    growth = SEI_RATE_M2_H * arrhenius(SEI_ACTIVATION_J_MOL, temperature_K) * hours
    return np.asarray(growth / (np.sqrt(start_m**2 + growth) + start_m))


@dataclass(frozen=True, eq=False)
class Drivers:
    """Closed forms of n cells at k cycle numbers, (n, k) each, up to a factor.

    Attributes:
        sei: Growth of the SEI, nm.
        sei_on_cracks: Growth of the SEI on the faces of cracks, nm.
        plating: Dead lithium: plated lithium in equilibrium with the surface, exp(-F phi / R T),
            held over the cycle, times the rate at which it dies, which falls as the SEI grows.
        cracks: Stress to the power of Paris' law, over the discharge, times cycles.
        active_material: Stress squared, over the discharge, times cycles.
    """

    sei: Floats
    sei_on_cracks: Floats
    plating: Floats
    cracks: Floats
    active_material: Floats


def drivers(graphite: Graphite, cyclings: Sequence[Cycling], cycles: Sequence[float]) -> Drivers:
    """What physics says the losses are proportional to.

    Args:
        graphite: Of the cell.
        cyclings: (n,) ways of cycling.
        cycles: (k,) cycle numbers.
    """
    charge, discharge, temperature, depth, cycle_h = (
        np.array([getattr(c, name) for c in cyclings], dtype=float)[:, None]
        for name in (
            "charge_c_rate",
            "discharge_c_rate",
            "temperature_K",
            "depth_of_discharge",
            "cycle_h",
        )
    )
    cycle = np.asarray(cycles, dtype=float)[None, :]
    hours = cycle_h * cycle
    sei = sei_growth_m(hours, temperature, SEI_START_M)
    # lithium leaves the particle on discharge: only then is its surface under tension
    stress = graphite.gradient(discharge, temperature)
    discharging = cycle * depth / discharge
    # share of the time weighted by L0 / L: the integral of 1 / L over time is 2 (L - L0) / rate
    dying = sei / (SEI_RATE_M2_H * arrhenius(SEI_ACTIVATION_J_MOL, temperature)) / cycle_h
    return Drivers(
        sei=sei * 1e9,
        sei_on_cracks=sei_growth_m(hours, temperature, CRACK_SEI_START_M) * 1e9,
        plating=dying * 1e-9 * _plated(graphite, charge, discharge, temperature, depth),
        cracks=(stress / 0.01) ** PARIS_EXPONENT * discharging,
        active_material=(stress / 0.01) ** LOSS_EXPONENT * discharging,
    )


def _plated(
    graphite: Graphite, charge: Floats, discharge: Floats, temperature: Floats, depth: Floats
) -> Floats:
    """(n, 1) integral of exp(-F phi / R T) over one cycle, h; phi is the surface potential."""
    share = np.linspace(0, 1, N_POINTS)[None, :]
    filling = graphite.full_filling - graphite.capacity_share * depth * share
    slope = FARADAY_C_PER_MOL / (GAS_CONSTANT_J_MOL_K * temperature)

    def mean(rate: Floats, sign: float) -> Floats:
        surface = np.clip(filling + sign * graphite.gradient(rate, temperature), 0.0, 1.0)
        phi = graphite.surface_potential_V(surface)
        phi = phi - sign * graphite.overpotential_V(rate, temperature)
        return np.asarray(np.exp(-slope * phi).mean(axis=1, keepdims=True))

    resting = np.exp(-slope * graphite.surface_potential_V(filling[:, [0, -1]]))
    return np.asarray(
        mean(charge, 1.0) * depth / charge
        + mean(discharge, -1.0) * depth / discharge
        + resting.mean(axis=1, keepdims=True) * REST_H
    )
