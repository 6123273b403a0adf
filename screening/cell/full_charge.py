"""Where a discharge starts: the stoichiometries of the full cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.screening.cell.base_cells import (
    base_cell,
    electrode_capacity_Ah,
    import_pybamm,
    potentials,
    scalars,
)
from ionbridge.screening.cell.inputs import CURVE_CHANGES, ELECTRODES, STEP_WIDTH
from ionbridge.structures.compiled import compiled

Floats = NDArray[np.float64]


class NoFullChargeError(ValueError):
    """The electrodes' lithium cannot be shared so that the cell reaches its upper voltage."""


@dataclass(frozen=True)
class FullCharge:
    """A cell at rest at its upper voltage.

    Attributes:
        negative: Stoichiometry of the negative electrode.
        positive: Of the positive electrode.
        negative_capacity_Ah: Charge between empty and full.
        positive_capacity_Ah: Likewise.
        concentrations: Both by PyBaMM's names of initial concentrations, mol/m3.
    """

    negative: float
    positive: float
    negative_capacity_Ah: float
    positive_capacity_Ah: float
    concentrations: Mapping[str, float]

    @property
    def usable_Ah(self) -> float:
        """Charge until the first electrode is empty or full."""
        return min(
            self.negative * self.negative_capacity_Ah,
            (1.0 - self.positive) * self.positive_capacity_Ah,
        )

    def stoichiometries(self, charge_Ah: Floats) -> tuple[Floats, Floats]:
        """Mean stoichiometries (negative, positive) after a charge was drawn."""
        return (
            self.negative - charge_Ah / self.negative_capacity_Ah,
            self.positive + charge_Ah / self.positive_capacity_Ah,
        )


def open_circuit(
    base: str, given: Mapping[str, Any], negative: Floats, positive: Floats, kelvin: float
) -> Floats:
    """Cell voltage at rest, V, with a design's change of the cathode's curve."""
    tilt, step, where = (given.get(name, default) for name, default in CURVE_CHANGES.items())
    change = tilt * (0.5 - positive) - step * np.tanh((positive - where) / STEP_WIDTH)
    return np.asarray(potentials(base).open_circuit(negative, positive, kelvin) + change)


EDGE = 1e-5
"""How near to empty and full the formulas of open-circuit curves are followed: beyond it PyBaMM's
guard against their ends, 1e-6 V / x, adds more than a tenth of a volt to them."""
N_PLACES, WITH_POLES = (33, 33, 33, 33), (2001, 65, 65)
"""Places at which the voltage is looked at, round by round; where a curve has poles the first round
is finer than they are wide."""


@cache
def curve_limits(base: str) -> dict[str, tuple[float, float]]:
    """``Negative`` and ``Positive`` -> stoichiometries between which their curve is known.

    Those of the table where the set has one, EDGE from empty and full where it has a formula.
    """
    pybamm = import_pybamm()
    shipped = base_cell(base).shipped
    found = {}
    for electrode in ELECTRODES:
        curve = shipped[f"{electrode} electrode OCP [V]"]
        symbol = curve(pybamm.StateVector(slice(0, 1))) if callable(curve) else curve
        tables = [s.x[0] for s in symbol.pre_order() if isinstance(s, pybamm.Interpolant)]
        found[electrode] = (
            max(EDGE, *(float(x.min()) for x in tables), EDGE),
            min(1.0 - EDGE, *(float(x.max()) for x in tables), 1.0 - EDGE),
        )
    return found


def _charging(base: str, given: Mapping[str, Any], n: int) -> _Charging:
    """What sharing the lithium of n designs is about."""
    full: dict[str, Any] = {**scalars(base), **given}
    each = np.zeros(n)
    capacity = {e: each + electrode_capacity_Ah(full, e) for e in ELECTRODES}

    def lithium(electrode: str) -> Any:
        name = f"concentration in {electrode.lower()} electrode [mol.m-3]"
        return capacity[electrode] * full[f"Initial {name}"] / full[f"Maximum {name}"]

    total = np.asarray(lithium("Negative") + lithium("Positive"), dtype=float)
    limits = curve_limits(base)
    low, high = limits["Positive"]
    return _Charging(
        base=base,
        change={
            k: (each + np.asarray(given.get(k, d), dtype=float))[:, None]
            for k, d in CURVE_CHANGES.items()
        },
        capacity=capacity,
        lithium=total,
        upper_V=each + np.asarray(full["Upper voltage cut-off [V]"], dtype=float),
        least=np.maximum(
            limits["Negative"][0], (total - high * capacity["Positive"]) / capacity["Negative"]
        ),
        greatest=np.minimum(
            limits["Negative"][1], (total - low * capacity["Positive"]) / capacity["Negative"]
        ),
    )


@dataclass(frozen=True, eq=False)
class _Charging:
    """Sharing the lithium of n designs; all (n,) but ``change``.

    Attributes:
        base: Base cell.
        change: CURVE_CHANGES, (n, 1) each.
        capacity: Electrode -> charge between empty and full, Ah.
        lithium: In both electrodes, Ah.
        upper_V: Voltage to reach.
        least: Stoichiometry of the negative electrode within both known curves.
        greatest: Likewise.
    """

    base: str
    change: Mapping[str, Floats]
    capacity: Mapping[str, Floats]
    lithium: Floats
    upper_V: Floats
    least: Floats
    greatest: Floats

    def positive(self, negative: Floats) -> Floats:
        """Stoichiometry of the positive electrode, (n, m)."""
        held = self.lithium[:, None] - negative * self.capacity["Negative"][:, None]
        return np.asarray(held / self.capacity["Positive"][:, None])

    def voltage(self, negative: Floats) -> Floats:
        """At rest at the reference temperature, V, (n, m)."""
        kelvin = potentials(self.base).reference_K
        return open_circuit(self.base, self.change, negative, self.positive(negative), kelvin)

    def crossing(self) -> tuple[Floats, Floats]:
        """Interval of the negative electrode's stoichiometry in which the voltage is reached."""
        table = potentials(self.base)
        return _crossing(
            np.array(WITH_POLES if base_cell(self.base).has_poles else N_PLACES),
            np.stack([self.least, self.greatest, self.lithium, self.upper_V]),
            np.stack([self.capacity["Negative"], self.capacity["Positive"]]),
            np.stack([self.change[k][:, 0] for k in CURVE_CHANGES]),
            np.stack([table.stoichiometry, table.negative_V, table.positive_V]),
        )


@compiled
def _between(x: float, grid: Floats, values: Floats) -> float:
    """``np.interp`` of one number."""
    if x <= grid[0]:
        return float(values[0])
    if x >= grid[-1]:
        return float(values[-1])
    k = np.searchsorted(grid, x, side="right") - 1
    return float(values[k] + (x - grid[k]) / (grid[k + 1] - grid[k]) * (values[k + 1] - values[k]))


@compiled
def _crossing(
    counts: NDArray[np.int64], cells: Floats, capacity: Floats, change: Floats, curves: Floats
) -> tuple[Floats, Floats]:
    """See `_Charging.crossing`; columns are cells, ``curves`` the potentials by stoichiometry."""
    n = cells.shape[1]
    lower, upper = np.full(n, np.nan), np.full(n, np.nan)
    for i in range(n):
        low, high = cells[0, i], cells[1, i]
        found = low < high
        for count in counts:
            if not found:
                break
            found, steepest, best = False, np.inf, 0
            step, before = (high - low) / (count - 1), 0.0
            for k in range(count):
                x = high if k == count - 1 else low + k * step
                y = (cells[2, i] - x * capacity[0, i]) / capacity[1, i]
                over = _between(y, curves[0], curves[2]) - _between(x, curves[0], curves[1])
                over += change[0, i] * (0.5 - y)
                over -= change[1, i] * np.tanh((y - change[2, i]) / STEP_WIDTH)
                over -= cells[3, i]
                # Ramadass2004's fitted curve has poles; where one makes it cross, it does so far
                # more steeply
                if k > 0 and before <= 0.0 < over and over - before < steepest:
                    found, steepest, best = True, over - before, k
                before = over
            if found:
                low, high = (
                    low + (best - 1) * step,
                    high if best == count - 1 else low + best * step,
                )
        if found:
            lower[i], upper[i] = low, high
    return lower, upper


def full_charge_stoichiometries(
    base: str, given: Mapping[str, ArrayLike], n: int
) -> tuple[Floats, Floats]:
    """Negative and positive stoichiometry at full charge of n designs; NaN where there is none.

    Args:
        base: Base cell.
        given: What the designs set, (n,) or scalars.
        n: Number of designs.
    """
    charging = _charging(base, given, n)
    negative = charging.crossing()[1]
    return negative, charging.positive(negative[:, None])[:, 0]


def full_charge(base: str, given: Mapping[str, float] | None = None) -> FullCharge:
    """Charge a cell to its upper voltage at rest, at the reference temperature.

    The lithium is that of the parameter set's initial concentrations, in electrodes of the design's
    size: what PyBaMM does for ``initial_soc=1``.

    Args:
        base: Base cell.
        given: What a design sets.

    Raises:
        NoFullChargeError: No share of the lithium gives that voltage within the open-circuit
            curves.
    """
    given = given or {}
    charging = _charging(base, given, 1)
    found = full_charge_stoichiometries(base, given, 1)
    x, y = (float(s[0]) for s in found)
    if not np.isfinite(x):
        raise NoFullChargeError(_no_full_charge(charging))
    full = {**scalars(base), **given}
    most = {
        e: full[f"Maximum concentration in {e.lower()} electrode [mol.m-3]"] for e in ELECTRODES
    }
    return FullCharge(
        negative=x,
        positive=y,
        negative_capacity_Ah=float(charging.capacity["Negative"][0]),
        positive_capacity_Ah=float(charging.capacity["Positive"][0]),
        concentrations={
            "Initial concentration in negative electrode [mol.m-3]": x * most["Negative"],
            "Initial concentration in positive electrode [mol.m-3]": y * most["Positive"],
        },
    )


def _no_full_charge(charging: _Charging) -> str:
    """Why one design does not reach its upper voltage."""
    upper, lithium = float(charging.upper_V[0]), float(charging.lithium[0])
    low, high = float(charging.least[0]), float(charging.greatest[0])
    if low >= high:
        return f"the electrodes cannot share the lithium that is in them ({lithium:.4g} Ah)"
    x = np.linspace(low, high, 101)[None]
    volts, y = charging.voltage(x)[0], charging.positive(x)[0]
    if volts[-1] < upper:
        return (
            f"at rest the cell reaches {volts[-1]:.3f} V, below the upper cut-off of {upper:g} V: "
            f"there the negative electrode is filled to {x[0, -1]:.4g} and the positive to "
            f"{y[-1]:.3g}, and an open-circuit curve or the lithium ends"
        )
    return (
        f"at rest the cell lies at {volts[0]:.3f} V or more, above the upper cut-off of {upper:g} V"
    )
