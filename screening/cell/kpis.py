"""Figures of merit of a cell from its constant-current discharges; values in, values out.

They need no more than discharge curves, so simulation and reduced-order model give the same
columns. What a curve cannot know is estimated, and each docstring says how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

PULSE_STATE = 0.5
"""Share of the slowest discharge's capacity that is drawn when the pulse comes."""

BEYOND_FASTEST = 10.0
"""Times the fastest current, up to where losses are extrapolated."""

DUTY_CYCLE: tuple[tuple[float, float], ...] = (
    (0.2, 120.0),
    (1.0, 60.0),
    (3.0, 10.0),
    (0.5, 90.0),
    (0.0, 20.0),
)
"""(C-rate, seconds) of one round of the duty cycle: cruising, climbing, overtaking, rest. Mean
0.53C; it is repeated until the voltage falls below the lower cut-off."""


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
    def from_row(
        cls,
        row: Mapping[str, Any],
        nominal_Ah: float,
        lower_V: float,
        open_circuit: Callable[[Floats], Floats],
    ) -> Curve:
        """From a row of a simulation or of the reduced-order model.

        Args:
            row: As `ionbridge.screening.cell.discharge.discharge` returns it.
            nominal_Ah: What the C-rate refers to.
            lower_V: Cut-off.
            open_circuit: Voltage of the cell at rest at a charge drawn in Ah.
        """
        volts = np.asarray(row["voltage_V"], dtype=float)
        charge = float(row["capacity_Ah"]) * np.linspace(0.0, 1.0, len(volts))
        return cls(
            c_rate=float(row["c_rate"]),
            current_A=float(row["c_rate"]) * nominal_Ah,
            charge_Ah=charge,
            voltage_V=volts,
            open_circuit_V=open_circuit(charge),
            lower_V=lower_V,
            reversible_heat_J=float(row["reversible_heat_J"]),
        )

    @property
    def capacity_Ah(self) -> float:
        """Charge drawn at the cut-off."""
        return float(self.charge_Ah[-1])

    @property
    def energy_Wh(self) -> float:
        """Energy drawn from full charge to cut-off, Wh."""
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
    current interpolated between the curves and beyond the fastest one in proportion; a current
    whose discharge ends just there is found from the capacities. The losses are those of a
    discharge that came there at that rate: a lower bound for a short pulse, whose diffusion has not
    settled.
    """
    ordered = sorted(curves, key=lambda c: c.c_rate)
    slowest = ordered[0]
    charge = PULSE_STATE * slowest.capacity_Ah
    rest = float(np.interp(charge, slowest.charge_Ah, slowest.open_circuit_V))
    reached = [c for c in ordered if c.capacity_Ah > charge]
    amperes = [0.0, *(c.current_A for c in reached)]
    losses = [0.0, *(float(c.loss_V(np.array(charge))) for c in reached)]
    if len(reached) < len(ordered):
        last, next_one = reached[-1], ordered[len(reached)]
        part = (last.capacity_Ah - charge) / (last.capacity_Ah - next_one.capacity_Ah)
        amperes.append(last.current_A + part * (next_one.current_A - last.current_A))
        losses.append(rest - slowest.lower_V)
    else:
        amperes.append(amperes[-1] * BEYOND_FASTEST)
        losses.append(losses[-1] * BEYOND_FASTEST)
    current = np.linspace(0.0, amperes[-1], 4001)
    volts = rest - np.interp(current, amperes, losses)
    return float((current * volts)[volts >= slowest.lower_V - 1e-9].max())


def duty_cycle_energy_Wh(
    curves: Sequence[Curve], cycle: Sequence[tuple[float, float]] = DUTY_CYCLE
) -> float:
    """Energy drawn by a duty cycle until one of its steps falls below the cut-off.

    Quasi-static, rounds short against the discharge: the voltage of a step is that of a discharge
    at its rate at the same charge drawn, losses interpolated between the rates at hand. The
    protocol ``drive_cycle`` simulates it.
    """
    ordered = sorted(curves, key=lambda c: c.c_rate)
    slowest = ordered[0]
    rates = np.array([0.0, *(c.c_rate for c in ordered)])
    charge = np.linspace(0.0, slowest.capacity_Ah, 2001)
    losses = np.array([np.zeros_like(charge), *(c.loss_V(charge) for c in ordered)])
    rest = np.interp(charge, slowest.charge_Ah, slowest.open_circuit_V)
    total = sum(rate * seconds for rate, seconds in cycle)
    mean_V, able = np.zeros_like(charge), np.ones(len(charge), dtype=bool)
    for rate, seconds in cycle:
        if rate == 0.0:
            continue
        k = int(np.clip(np.searchsorted(rates, rate), 1, len(rates) - 1))
        part = (rate - rates[k - 1]) / (rates[k] - rates[k - 1])
        below = (1.0 - part) * losses[k - 1] if part < 1.0 else 0.0
        volts = rest - (below + part * losses[k])
        able &= np.greater_equal(volts, slowest.lower_V)
        mean_V += rate * seconds / total * np.where(np.isfinite(volts), volts, 0.0)
    end = len(able) if able.all() else int(np.argmin(able))
    return float(np.trapezoid(mean_V[:end], charge[:end])) if end > 1 else 0.0
