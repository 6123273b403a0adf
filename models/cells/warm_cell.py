"""A cell that warms itself, at constant current and in closed form.

The closed form of ``ionbridge.models.cells.single_particle`` with what changes during a measured
discharge: the cell's temperature follows its own heat (one lumped heat capacity, Newton's law of
cooling: Bernardi, Pawlikowski and Newman, J. Electrochem. Soc. 132, 5 (1985)), diffusivities in the
particles follow filling and temperature (in warped time, the integral of D / R^2), and a measured
equilibrium may differ from the base set's by a small curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cells.electrolyte_profile import PropertyRows
from ionbridge.models.cells.single_particle import (
    INITIAL_SALT,
    SHORTEST,
    Cells,
    CellTables,
    ElectrodeState,
    accumulated,
    between,
    diffusion_lag,
    discharge,
    equilibrium,
    mean_stoichiometries,
    potential_slope,
    unevenness,
    voltage,
)
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

N_NEWTON = 4
N_PASSES = 3
"""Of temperature and voltage; the second changes the voltage by less than 1 mV at 2C."""
LEAST_SLOPE_V = 1e-3


@dataclass(frozen=True, eq=False)
class HeatBalance:
    """Lumped heat balances of n cells.

    Attributes:
        capacity_J_K: (n, 1) heat capacity.
        loss_W_K: (n, 1) heat lost to the surroundings for each kelvin above them.
    """

    capacity_J_K: Floats
    loss_W_K: Floats


@dataclass(frozen=True, eq=False)
class EquilibriumCurve:
    """What a measured equilibrium lies above the base set's, by the charge that is gone.

    Attributes:
        charge_Ah: (k,) ascending from 0.
        voltage_V: (k,).
    """

    charge_Ah: Floats
    voltage_V: Floats

    def at(self, charge_Ah: Floats) -> Floats:
        """V, any shape; constant beyond its ends."""
        return np.interp(charge_Ah, self.charge_Ah, self.voltage_V)


@dataclass(frozen=True, eq=False)
class WarmCourse:
    """Discharges of n cells at (n, m) moments.

    Attributes:
        voltage_V: At the terminals.
        temperature_K: Of the cell.
        reach_Ah: Charge that would be gone at rest with the surfaces as they are.
        overpotential_V: What the voltage lies below the equilibrium of the mean fillings.
    """

    voltage_V: Floats
    temperature_K: Floats
    reach_Ah: Floats
    overpotential_V: Floats


def warm_discharge(
    cells: Cells,
    time: Floats,
    heat: HeatBalance,
    diffusivity_shapes: Mapping[str, PropertyRows] | None = None,
    residual: EquilibriumCurve | None = None,
) -> WarmCourse:
    """Discharge cells that warm themselves.

    Args:
        cells: n cells; their temperature is that of the surroundings.
        time: (n, m) s, ascending from 0.
        heat: Their heat balances.
        diffusivity_shapes: ``Negative`` and ``Positive`` -> the particle diffusivity over its value
            at half filling, (n, n_sto) on a uniform grid of fillings from 0 to 1.
        residual: What the equilibrium lies above that of the cells' tables.
    """
    shapes = {k: (v, v.integral()) for k, v in (diffusivity_shapes or {}).items()}
    ambient = cells.temperature
    means = mean_stoichiometries(cells, time)
    step = np.diff(time, axis=1, prepend=time[:, :1])
    decay = np.exp(-step * heat.loss_W_K / heat.capacity_J_K)
    kelvin = np.broadcast_to(ambient, time.shape)
    reach = np.empty_like(time)
    for _ in range(N_PASSES):
        now = _at_temperature(cells, kelvin)
        now, fourier = _diffusing(now, means, step, shapes)
        state = discharge(now, time, fourier)
        volts = voltage(now, state) + unevenness(now, state, time).gain
        reach = _reach_Ah(cells, state.negative.surface, state.positive.surface)
        rest, entropic = equilibrium(now, means)
        if residual is not None:
            volts = volts + residual.at(reach)
            rest = rest + residual.at(cells.current * time / SECONDS_PER_HOUR)
        lost = between(rest - volts, 0.0, 5.0)
        power = cells.current * (lost - kelvin * entropic)
        middle = 0.5 * (power + np.concatenate([power[:, :1], power[:, :-1]], axis=1))
        gained = middle * (1.0 - decay) / heat.loss_W_K
        kelvin = ambient + accumulated(decay, gained)
    return WarmCourse(volts, kelvin, reach, lost)


def _at_temperature(cells: Cells, kelvin: Floats) -> Cells:
    """The cells with every property at (n, m) temperatures."""
    tables = cells.tables
    ratio = kelvin / cells.temperature
    conductivity = _salt_ratio(cells, tables.conductivity, kelvin)
    diffusivity = _salt_ratio(cells, tables.diffusivity, kelvin)
    full = np.ones_like(kelvin)

    def electrode(own: ElectrodeState) -> ElectrodeState:
        material = own.tables
        faster = np.exp(_change(tables, material.log_diffusivity, kelvin, cells.temperature))
        exchange = own.log_exchange_factor + _change(
            tables, material.log_exchange_factor, kelvin, cells.temperature
        )
        return replace(
            own,
            diffusion_time=own.diffusion_time / faster,
            log_exchange_factor=exchange,
            ohmic=own.ohmic / conductivity,
            depletion=np.maximum(own.depletion / diffusivity, -0.98),
            rate=own.rate * full,
            start=own.start * full,
            reaction=own.reaction * full,
            crowding=own.crowding * full,
        )

    return replace(
        cells,
        negative=electrode(cells.negative),
        positive=electrode(cells.positive),
        temperature=kelvin,
        thermal=cells.thermal * ratio,
        relaxation=cells.relaxation / diffusivity,
        separator=cells.separator / conductivity,
        concentration=cells.concentration * ratio,
    )


def _diffusing(
    cells: Cells,
    means: tuple[Floats, Floats],
    step: Floats,
    shapes: Mapping[str, tuple[PropertyRows, PropertyRows]],
) -> tuple[Cells, Floats]:
    """Diffusion times that give the surface where diffusivity changes with filling, and (2, n, m)
    Fourier numbers.

    With F the integral of D over filling (Kirchhoff), F(surface) = F(mean) + rate R^2 h: exact for
    a constant diffusivity, and to first order in its change within a particle.
    """
    found, fourier = [], []
    for part, own, mean in zip(
        ("Negative", "Positive"), (cells.negative, cells.positive), means, strict=True
    ):
        if part not in shapes:
            found.append(own)
            fourier.append(np.maximum(_integral(1.0 / own.diffusion_time, step), SHORTEST))
            continue
        relative, integral = shapes[part]
        inside = between(mean, 0.0, 1.0)
        local = relative.at(inside)
        number = np.maximum(_integral(local / own.diffusion_time, step), SHORTEST)
        lag = diffusion_lag(number)
        wanted = own.rate * own.diffusion_time * lag
        start = integral.at(inside)
        surface = mean + wanted / local
        for _ in range(N_NEWTON):
            at = between(surface, 0.0, 1.0)
            slope = relative.at(at)
            beyond = slope * (surface - at)
            surface = surface - (integral.at(at) + beyond - start - wanted) / slope
            surface = between(surface, -1.0, 2.0)
        found.append(replace(own, diffusion_time=(surface - mean) / (own.rate * lag)))
        fourier.append(number)
    return replace(cells, negative=found[0], positive=found[1]), np.stack(fourier)


def _salt_ratio(cells: Cells, table: Floats, kelvin: Floats) -> Floats:
    """A property of the electrolyte over its value at the surroundings' temperature."""
    start = cells.tables.scalars[INITIAL_SALT]
    concentrations = cells.tables.concentrations
    logs = np.log(
        [np.interp(start, concentrations, np.broadcast_to(r, concentrations.shape)) for r in table]
    )
    return np.exp(_change(cells.tables, logs, kelvin, cells.temperature))


def _change(tables: CellTables, values: Floats, kelvin: Floats, reference: Floats) -> Floats:
    """Of a quantity tabulated by temperature, from the reference's; linear in 1/T."""
    inverse = 1.0 / tables.temperatures[::-1]
    found: Any = np.interp(1.0 / kelvin, inverse, values[::-1])
    return np.asarray(found - np.interp(1.0 / reference, inverse, values[::-1]))


def _integral(values: Floats, step: Floats) -> Floats:
    """Trapezoids from the first moment on, (n, m)."""
    before = np.concatenate([values[:, :1], values[:, :-1]], axis=1)
    return np.cumsum(0.5 * (values + before) * step, axis=1)


def _reach_Ah(cells: Cells, negative: Floats, positive: Floats) -> Floats:
    """Charge gone at rest with these surfaces; the electrode whose potential bends more counts."""
    gone, weights = [], []
    for own, surface in ((cells.negative, negative), (cells.positive, positive)):
        by_charge = own.rate / cells.current * SECONDS_PER_HOUR
        gone.append((surface - own.start) / by_charge)
        slope = potential_slope(own.tables, surface) * np.abs(by_charge)
        weights.append(np.maximum(slope, LEAST_SLOPE_V))
    total = weights[0] + weights[1]
    return np.asarray((gone[0] * weights[0] + gone[1] * weights[1]) / total)
