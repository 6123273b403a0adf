"""Where a discharge starts: the stoichiometries of the full cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionbridge.screening.cell.base_cells import electrode_capacity_Ah, potentials, scalars
from ionbridge.screening.cell.inputs import CURVE_CHANGES, ELECTRODES, STEP_WIDTH

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
    base: str, given: Mapping[str, float], negative: Floats, positive: Floats, kelvin: float
) -> Floats:
    """Cell voltage at rest, V, with a design's change of the cathode's curve."""
    tilt, step, where = (given.get(name, default) for name, default in CURVE_CHANGES.items())
    change = tilt * (0.5 - positive) - step * np.tanh((positive - where) / STEP_WIDTH)
    return np.asarray(potentials(base).open_circuit(negative, positive, kelvin) + change)


def full_charge(base: str, given: Mapping[str, float] | None = None) -> FullCharge:
    """Charge a cell to its upper voltage at rest, at the reference temperature.

    The lithium is that of the parameter set's initial concentrations, in electrodes of the design's
    size: what PyBaMM does for ``initial_soc=1``.

    Args:
        base: Base cell.
        given: What a design sets.

    Raises:
        NoFullChargeError: No share of the lithium gives that voltage.
    """
    given = given or {}
    full = {**scalars(base), **given}
    capacity = {e: electrode_capacity_Ah(full, e) for e in ELECTRODES}
    most = {
        e: full[f"Maximum concentration in {e.lower()} electrode [mol.m-3]"] for e in ELECTRODES
    }
    lithium = sum(
        capacity[e] * full[f"Initial concentration in {e.lower()} electrode [mol.m-3]"] / most[e]
        for e in ELECTRODES
    )
    if "Upper voltage cut-off [V]" in given:
        upper = given["Upper voltage cut-off [V]"]
    else:
        upper = full.get("Open-circuit voltage at 100% SOC [V]", full["Upper voltage cut-off [V]"])
    reference = potentials(base).reference_K
    least = max(0.0, (lithium - capacity["Positive"]) / capacity["Negative"])
    greatest = min(1.0, lithium / capacity["Negative"])

    def positive(x: Floats) -> Floats:
        return np.asarray((lithium - x * capacity["Negative"]) / capacity["Positive"])

    def excess(x: Floats) -> Floats:
        return open_circuit(base, given, x, positive(x), reference) - upper

    x = np.linspace(least, greatest, 2001)
    over = excess(x)
    crossings = np.flatnonzero((over[:-1] <= 0.0) & (over[1:] > 0.0))
    if len(crossings) == 0:
        raise NoFullChargeError(
            f"the lithium in the electrodes ({lithium:.4g} Ah) does not give {upper:g} V at rest"
        )
    # Ramadass2004's fitted curve has poles; where one makes it cross, it does so far more steeply
    at = min(crossings, key=lambda i: over[i + 1] - over[i])
    low, high = float(x[at]), float(x[at + 1])
    for _ in range(60):
        middle = 0.5 * (low + high)
        if excess(np.array(middle)) > 0.0:
            high = middle
        else:
            low = middle
    y = float(positive(np.array(high)))
    return FullCharge(
        negative=high,
        positive=y,
        negative_capacity_Ah=capacity["Negative"],
        positive_capacity_Ah=capacity["Positive"],
        concentrations={
            "Initial concentration in negative electrode [mol.m-3]": high * most["Negative"],
            "Initial concentration in positive electrode [mol.m-3]": y * most["Positive"],
        },
    )
