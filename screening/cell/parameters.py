"""A candidate's predicted properties become parameters of a cell.

Cathodes. The table's ``log10_diffusivity_cm2_s`` is D_c, the diffusivity of one carrier. With a
share 1 - x of the sites vacant the charge diffusivity of the ions is D_J = D* / H = (1 - x) D_c
(D* tracer diffusivity, H Haven ratio), and a gradient of concentration moves them with the chemical
diffusivity (Weppner and Huggins, J. Electrochem. Soc. 124, 1569 (1977))

    D_chem = theta D_J,    theta = d ln a / d ln x = -(F x / R T) dU/dx

theta comes from the open-circuit curve of the base cell's cathode; for an ideal lattice gas
theta = 1 / (1 - x) and D_chem = D_c. One number stands for the window of the cell: the mean of
log10 D_chem over it.

Where a host separates into phases (LiFePO4), theta loses its meaning: it is zero between the
phases, and base sets hold an apparent fit. Then the base cell's diffusivity is scaled by the ratio
of the predicted diffusivities of candidate and base material, and called apparent.

Electrolytes. The conductivity replaces the base cell's; a single-ion conductor has a transference
number of 1, so that no salt gradient forms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionbridge.screening.cell.base_cells import (
    BASE_CELLS,
    BaseCell,
    Potentials,
    base_cell,
    import_pybamm,
    potentials,
    scalars,
)
from ionbridge.screening.cell.full_charge import NoFullChargeError, full_charge
from ionbridge.screening.cell.inputs import CONDUCTIVITY, TRANSFERENCE, problem
from ionbridge.structures.transport.closed_forms import arrhenius
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, M2_PER_CM2, S_M_PER_S_CM

Floats = NDArray[np.float64]

CATHODE_DIFFUSIVITY = "Positive particle diffusivity [m2.s-1]"

CHEMICAL, APPARENT, BULK = "chemical", "apparent", "bulk conductivity"
"""What kind of value a candidate's is, once it is in the cell."""


class NoCellError(ValueError):
    """A candidate cannot be put into the cell; one line that says why."""


@dataclass(frozen=True)
class CandidateParameters:
    """What a candidate sets in a base cell.

    Attributes:
        base_cell: Its name.
        values: By PyBaMM's names, SI.
        log10_std: Spread of log10 of the value that carries the candidate's uncertainty.
        uncertain: Name of that value.
        kind: CHEMICAL, APPARENT or BULK.
        activation_energy_eV: With which that value was brought to the cell's temperature; None
            where it was not known, and the value is that of the candidate's own temperature.
        from_candidate: What was taken from the candidate, for a person to read.
        from_base: What the base cell stands in for.
    """

    base_cell: str
    values: Mapping[str, float]
    log10_std: float
    uncertain: str
    kind: str
    activation_energy_eV: float | None
    from_candidate: tuple[str, ...] = field(default=())
    from_base: tuple[str, ...] = field(default=())


def thermodynamic_factor(
    stoichiometry: ArrayLike, potential_V: ArrayLike, temperature_K: float
) -> Floats:
    """Thermodynamic factor: theta = -(F x / R T) dU/dx.

    Args:
        stoichiometry: (n,) ascending filling x.
        potential_V: (n,) open-circuit potential vs the metal.
        temperature_K: T.

    Returns:
        (n,) theta; 1 / (1 - x) for an ideal lattice gas, 0 on a plateau.
    """
    x = np.asarray(stoichiometry, dtype=float)
    slope = np.gradient(np.asarray(potential_V, dtype=float), x)
    return np.asarray(-x * slope / (BOLTZMANN_EV_PER_K * temperature_K))


def chemical_factor(
    table: Potentials, window: tuple[float, float], temperature_K: float
) -> tuple[float, float]:
    """log10 of D_chem / D_c over a window of fillings: its mean and its standard deviation.

    Args:
        table: Open-circuit potentials; the positive one is used.
        window: Least and greatest filling.
        temperature_K: T.

    Raises:
        NoCellError: The curve rises or is flat through most of the window.
    """
    x = np.linspace(*window, 201)
    curve = np.interp(x, table.stoichiometry, table.positive_V)
    factor = thermodynamic_factor(x, curve, temperature_K) * (1.0 - x)
    falling = factor > 0.0
    if falling.mean() < 0.5:
        raise NoCellError("the open-circuit curve does not fall: it gives no thermodynamic factor")
    logs = np.log10(factor[falling])
    return float(logs.mean()), float(logs.std())


def candidate_parameters(
    row: Mapping[str, Any],
    base: str,
    temperature_K: float,
    reference_log10_diffusivity: float | None = None,
    absolute: bool = False,
    design: Mapping[str, float] | None = None,
) -> CandidateParameters:
    """Put a candidate into a base cell.

    Args:
        row: A row of ``ranked.csv``: ``candidate_id``, ``role``, ``working_ion``,
            ``temperature_K``, ``log10_diffusivity_cm2_s`` or ``log10_conductivity_S_cm`` with their
            spreads, ``activation_energy_eV`` of the conductivity, ``percolation_barrier_eV``.
        base: Name of the base cell.
        temperature_K: Of the cell.
        reference_log10_diffusivity: ``log10_diffusivity_cm2_s`` of the base cell's own cathode,
            predicted by the same model at the row's temperature; needed where it separates into
            phases.
        absolute: Use the absolute value for such hosts too.
        design: What the cell's design sets, by PyBaMM's names: its window of fillings is the one
            over which the chemical diffusivity is a mean.

    Raises:
        NoCellError: The row has no such value, or the cell cannot take it.
    """
    cell = base_cell(base)
    ion = row.get("working_ion") or cell.working_ion
    if ion != cell.working_ion:
        fitting = [c.name for c in BASE_CELLS.values() if c.working_ion == ion]
        known = (
            f"base cells of {ion}: {', '.join(fitting)}" if fitting else f"none of {ion} is known"
        )
        raise NoCellError(
            f"{base} is a cell of {cell.working_ion}, the candidate's ion is {ion}; {known}"
        )
    role = row.get("role")
    if role == "electrolyte":
        return _electrolyte(row, cell, temperature_K)
    if role not in (None, "", "electrode"):
        raise NoCellError(f"role '{role}' has no place in a cell; known: electrode, electrolyte")
    carrier, std, activation = _value(
        row, "log10_diffusivity_cm2_s", "log10_diffusivity_std", temperature_K
    )
    taken: tuple[str, ...]
    shipped = scalars(base).get(CATHODE_DIFFUSIVITY)
    if cell.phase_separating and not absolute:
        if reference_log10_diffusivity is None or not math.isfinite(reference_log10_diffusivity):
            raise NoCellError(
                f"{cell.cathode} separates into phases: its diffusivity is scaled by candidate "
                f"over {cell.cathode}, and no predicted diffusivity of {cell.cathode} is at hand"
            )
        if shipped is None:
            shipped = _diffusivity_at(base, temperature_K)
        asked = float(row["log10_diffusivity_cm2_s"])
        ratio = asked - reference_log10_diffusivity
        log10 = math.log10(shipped) + ratio
        kind, activation = APPARENT, None
        taken = (
            f"apparent diffusivity: {shipped:.3g} m2/s of {base} times 10^{ratio:.2f}, the ratio "
            f"of the predicted diffusivities of candidate and {cell.cathode}",
        )
    else:
        try:
            start = full_charge(base, design)
        except NoFullChargeError as error:
            raise NoCellError(f"{base}: {error}") from error
        last = start.positive + start.usable_Ah / start.positive_capacity_Ah
        factor, spread = chemical_factor(
            potentials(base), (start.positive, min(last, 0.99)), temperature_K
        )
        log10 = carrier + math.log10(M2_PER_CM2) + factor
        std = math.hypot(std, spread)
        kind = CHEMICAL
        taken = (
            f"chemical diffusivity: the carrier's times 10^{factor:.2f}, mean of theta (1 - x) "
            f"over the window of {base}",
        )
    if 10.0**log10 < SLOWEST_M2_S:
        taken = (*taken, f"slower than any cell: taken as {SLOWEST_M2_S:g} m2/s")
    values = {CATHODE_DIFFUSIVITY: max(10.0**log10, SLOWEST_M2_S)}
    return _checked(
        CandidateParameters(
            base,
            values,
            std,
            CATHODE_DIFFUSIVITY,
            kind,
            activation,
            taken,
            (
                "open-circuit curves, reaction rates, electrode design and capacity",
                "anode, separator and electrolyte",
            ),
        )
    )


def _diffusivity_at(base: str, kelvin: float) -> float:
    """Mean over filling, of its logarithm, of a cathode's diffusivity that is a function, m2/s."""
    pybamm = import_pybamm()
    values, symbols = base_cell(base).values, pybamm.LithiumIonParameters().p.prim
    filling = pybamm.Vector(np.linspace(0.01, 0.99, 99))
    symbol = symbols.D(filling * symbols.c_max, pybamm.Scalar(kelvin))
    found = np.asarray(values.process_symbol(symbol).evaluate(), dtype=float)
    return float(np.exp(np.log(found).mean()))


def _electrolyte(row: Mapping[str, Any], cell: BaseCell, kelvin: float) -> CandidateParameters:
    """A candidate in place of the electrolyte."""
    log10, std, activation = _value(
        row, "log10_conductivity_S_cm", "log10_conductivity_std", kelvin
    )
    predicted = 10.0**log10 * S_M_PER_S_CM
    used, note = predicted, "bulk conductivity"
    if ENOUGH_S_M < predicted <= IMPLAUSIBLE_S_M:  # a prediction is an upper bound
        used, note = ENOUGH_S_M, f"bulk conductivity {predicted:.3g}, taken as {ENOUGH_S_M:g} S/m"
    if predicted < LEAST_S_M:
        used, note = LEAST_S_M, f"bulk conductivity {predicted:.3g}, taken as {LEAST_S_M:g} S/m"
    values = {CONDUCTIVITY: used, TRANSFERENCE: 1.0}
    return _checked(
        CandidateParameters(
            cell.name,
            values,
            std,
            CONDUCTIVITY,
            BULK,
            activation,
            (note, "transference number 1: a single-ion conductor"),
            (
                "both electrodes with their pores, filled by the candidate",
                "electrode design and contact without resistance",
            ),
        )
    )


def _value(
    row: Mapping[str, Any], column: str, std_column: str, kelvin: float
) -> tuple[float, float, float | None]:
    """log10 of a property at the cell's temperature, its spread, its activation energy."""
    value, std = _number(row.get(column)), _number(row.get(std_column))
    if value is None:
        raise NoCellError(f"the row has no {column}")
    barrier, own = _number(row.get("percolation_barrier_eV")), _number(row.get("temperature_K"))
    if column == "log10_conductivity_S_cm":  # its own slope; a barrier stands in for one
        slope = _number(row.get("activation_energy_eV"))
        barrier = barrier if slope is None else slope
    if own is None or own == kelvin:
        return value, std or 0.0, barrier
    if barrier is None:
        if abs(own - kelvin) > SAME_TEMPERATURE_K:
            raise NoCellError(
                f"{column} is of {own:g} K, the cell is at {kelvin:g} K, and the row has no barrier"
            )
        return value, std or 0.0, None
    moved = float(np.log10(arrhenius(1.0, barrier, kelvin) / arrhenius(1.0, barrier, own)))
    if column == "log10_conductivity_S_cm":  # sigma T is what an Arrhenius law describes
        moved += math.log10(own / kelvin)
    return value + moved, std or 0.0, barrier


ENOUGH_S_M, IMPLAUSIBLE_S_M = 100.0, 1e5
"""Above the first no cell gains any more; above the second a unit is wrong."""

SLOWEST_M2_S, LEAST_S_M = 1e-22, 1e-6
"""Below these no cell gives anything, however much slower a prediction is."""

SAME_TEMPERATURE_K = 5.0
"""Closer than this a property without an activation energy is taken as it is."""


def _checked(parameters: CandidateParameters) -> CandidateParameters:
    """Refuse values that no cell can have."""
    trouble = problem(parameters.base_cell, parameters.values)
    if trouble:
        raise NoCellError(trouble)
    return parameters


def _number(value: Any) -> float | None:
    """A finite number, or None for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
