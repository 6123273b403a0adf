"""Figures of merit of a cell from its constant-current discharges; values in, values out.

They need no more than discharge curves, so simulation and reduced-order model give the same
columns. What a curve cannot know is estimated, and each docstring says how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

PULSE_STATE = 0.5
"""Share of the slowest discharge's capacity that is drawn when the pulse comes."""

DUTY_CYCLE: tuple[tuple[float, float], ...] = (
    (0.2, 120.0),
    (1.0, 60.0),
    (3.0, 10.0),
    (0.5, 90.0),
    (0.0, 20.0),
)
"""(C-rate, seconds) of one round of the duty cycle: cruising, climbing, overtaking, rest. Mean
0.48C; it is repeated until the voltage falls below the lower cut-off."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One constant-current discharge from full charge.

    Attributes:
        c_rate: Current over nominal capacity.
        current_A: Current.
        charge_Ah: (n,) ascending from 0.
        voltage_V: (n,).
        open_circuit_V: (n,) of the cell at rest at the same charge.
        lower_V: Cut-off.
        reversible_heat_J: Set free.
    """

    c_rate: float
    current_A: float
    charge_Ah: Floats
    voltage_V: Floats
    open_circuit_V: Floats
    lower_V: float
    reversible_heat_J: float = 0.0

    @classmethod
    def from_row(cls, row: Mapping[str, Any], nominal_Ah: float, lower_V: float) -> Curve:
        """From a row as `screening.cell.discharge.discharge` returns it."""
        volts = np.asarray(row["voltage_V"], dtype=float)
        return cls(
            c_rate=float(row["c_rate"]),
            current_A=float(row["c_rate"]) * nominal_Ah,
            charge_Ah=float(row["capacity_Ah"]) * np.linspace(0.0, 1.0, len(volts)),
            voltage_V=volts,
            open_circuit_V=np.asarray(row["open_circuit_V"], dtype=float),
            lower_V=lower_V,
            reversible_heat_J=float(row["reversible_heat_J"]),
        )

    @property
    def capacity_Ah(self) -> float:
        """Charge drawn at the cut-off."""
        return float(self.charge_Ah[-1])

    @property
    def energy_Wh(self) -> float:
        """Energy drawn."""
        return float(np.trapezoid(self.voltage_V, self.charge_Ah))

    @property
    def irreversible_heat_J(self) -> float:
        """Energy that the cell at rest would have given more."""
        lost = np.trapezoid(self.open_circuit_V - self.voltage_V, self.charge_Ah)
        return float(lost) * SECONDS_PER_HOUR

    def loss_V(self, charge_Ah: Floats) -> Floats:
        """Open-circuit voltage minus voltage at a charge; infinite beyond the end."""
        loss = np.interp(charge_Ah, self.charge_Ah, self.open_circuit_V - self.voltage_V)
        return np.where(charge_Ah > self.charge_Ah[-1], np.inf, loss)


def retention(curve: Curve, slowest: Curve) -> float:
    """Capacity over that of the slowest discharge."""
    return curve.capacity_Ah / slowest.capacity_Ah


def mean_heat_W(curve: Curve) -> float:
    """Heat set free over the duration of the discharge, reversible part included."""
    seconds = curve.capacity_Ah / curve.current_A * SECONDS_PER_HOUR
    return (curve.irreversible_heat_J + curve.reversible_heat_J) / seconds


def round_trip_efficiency(curve: Curve) -> float:
    """Energy out over energy in at one rate, if charging loses as much as discharging did.

    E / (E + 2 E_lost), E_lost the irreversible heat. Charging a cell whose diffusion limits is less
    symmetric than that; the protocol ``cycle`` simulates both ways.
    """
    lost = curve.irreversible_heat_J / SECONDS_PER_HOUR
    return curve.energy_Wh / (curve.energy_Wh + 2.0 * lost)


def pulse_power_W(curves: Sequence[Curve]) -> float:
    """Greatest power at PULSE_STATE down to the cut-off voltage.

    The largest of I V over currents at which V stays above the cut-off, loss of voltage against
    current interpolated between the curves and beyond the fastest one in proportion. The losses are
    those of a discharge that came there at that rate: a lower bound for a short pulse, whose
    diffusion has not settled.
    """
    ordered = sorted(curves, key=lambda c: c.c_rate)
    charge = np.array(PULSE_STATE * ordered[0].capacity_Ah)
    reached = [c for c in ordered if np.isfinite(c.loss_V(charge))]
    amperes = np.array([0.0, *(c.current_A for c in reached)])
    losses = np.array([0.0, *(float(c.loss_V(charge)) for c in reached)])
    rest = float(np.interp(charge, ordered[0].charge_Ah, ordered[0].open_circuit_V))
    beyond = 10.0
    amperes = np.append(amperes, amperes[-1] * beyond)
    if len(reached) == len(ordered):
        losses = np.append(losses, losses[-1] * beyond)
    else:  # a faster discharge ended before this charge: its loss is at least all there was
        stopped = ordered[len(reached)]
        amperes[-1] = stopped.current_A
        losses = np.append(losses, max(rest - stopped.lower_V, losses[-1] + 1e-6))
    current = np.linspace(0.0, amperes[-1], 4001)
    volts = rest - np.interp(current, amperes, losses)
    allowed = volts >= ordered[0].lower_V
    return float((current * volts)[allowed].max())


def duty_cycle_energy_Wh(
    curves: Sequence[Curve], cycle: Sequence[tuple[float, float]] = DUTY_CYCLE
) -> float:
    """Energy drawn by repeating a duty cycle until a step falls below the cut-off.

    Quasi-static: the voltage of a step is that of a discharge at its rate at the same charge
    drawn, losses interpolated between the rates at hand. The protocol ``drive_cycle`` simulates it.
    """
    ordered = sorted(curves, key=lambda c: c.c_rate)
    nominal = ordered[0].current_A / ordered[0].c_rate
    rates = np.array([0.0, *(c.c_rate for c in ordered)])
    grid = np.linspace(0.0, ordered[0].capacity_Ah, 2001)
    losses = np.array([np.zeros_like(grid), *(c.loss_V(grid) for c in ordered)])
    rest = np.interp(grid, ordered[0].charge_Ah, ordered[0].open_circuit_V)
    volts = {}
    for rate in dict.fromkeys(rate for rate, _ in cycle):
        k = int(np.clip(np.searchsorted(rates, rate), 1, len(rates) - 1))
        part = (rate - rates[k - 1]) / (rates[k] - rates[k - 1])
        volts[rate] = rest - (
            losses[k] if part == 1.0 else losses[k - 1] + part * (losses[k] - losses[k - 1])
        )
    energy = charge = 0.0
    while True:
        for rate, seconds in cycle:
            step = rate * nominal * seconds / SECONDS_PER_HOUR
            if charge + step > grid[-1]:
                return energy
            after = float(np.interp(charge + step, grid, volts[rate]))
            before = float(np.interp(charge, grid, volts[rate]))
            if not after >= ordered[0].lower_V:
                return energy
            energy += 0.5 * (before + after) * step
            charge += step
