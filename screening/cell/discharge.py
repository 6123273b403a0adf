"""One discharge at constant current and temperature, solved with PyBaMM."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.screening.cell.base_cells import (
    METALS,
    base_cell,
    import_pybamm,
    potentials,
    scalars,
)
from ionbridge.screening.cell.cell_model import N_THROUGH, CellModel, cell_model, split
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.experiment_spread import (
    COARSE_MESH,
    FINER_MESH,
    MESH,
    stated_spreads,
    unsupported,
)
from ionbridge.screening.cell.full_charge import NoFullChargeError, full_charge, open_circuit
from ionbridge.screening.cell.inputs import ELECTRODES
from ionbridge.screening.cell.radial_mesh import FITTED, RadialMesh
from ionbridge.screening.table import Row
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

N_POINTS = 101
"""Points of a voltage curve, at even shares of the capacity."""

SAME_TEMPERATURE_K = 2.0
"""Within this a cell is at its reference temperature."""

END_STATES = (
    "end_negative_mean",
    "end_negative_surface",
    "end_positive_mean",
    "end_positive_surface",
)
"""Stoichiometries at the end, means through the electrode."""


def row_of(design: Design, **values: Any) -> Row:
    """The row of a design with what is known of it."""
    return {**design.to_dict(), **values}


def failed(design: Design, reason: str) -> Row:
    """The row of a design that gave no result."""
    return row_of(design, status="failed", reason=" ".join(reason.split()))


FINER = 80
"""Mesh cells through each electrode and the separator where the salt runs short or the electrolyte
conducts so little that the reaction stays near the separator."""
SHORT_OF_SALT, STEEP_V = 0.1, 0.075
"""Least concentration of the electrolyte anywhere, over the initial one, below which the salt runs
short; largest drop of its potential through an electrode, above which it conducts too little."""


def discharge(
    design: Design, model: str = "DFN", mesh: RadialMesh = FITTED, n_through: int | None = None
) -> Row:
    """Solve a design, where salt or conduction ask for it once more on a finer mesh.

    Args:
        design: What to solve.
        model: ``DFN``, ``SPMe`` or ``SPM``.
        mesh: Along the particle radius.
        n_through: Mesh cells through each electrode and the separator, whatever the salt does.

    Returns:
        The design's values and, where it could be solved, ``capacity_Ah``, ``energy_Wh``,
        ``mean_voltage_V``, ``irreversible_heat_J`` and ``reversible_heat_J`` (set free),
        ``fourier`` (3600 D / (C R^2) of the cathode, None where its diffusivity is a function),
        ``start_negative``, ``start_positive`` and the END_STATES (stoichiometries),
        ``voltage_V`` and ``open_circuit_V`` (N_POINTS at even shares of the capacity);
        ``..._std_...`` (``..._surrogate_...``: by the mesh alone) and ``experiment``, as a
        prediction has them; ``status`` and ``reason``.

        Irreversible heat is what the cell at rest would have given more:
        integral of (U(q) - V) I dt, heat of mixing included.
    """
    if design.trouble:
        return failed(design, design.trouble)
    found, (least, drop) = _discharge(design, model, mesh, n_through or N_THROUGH)
    if found["status"] != "ok":
        return found
    short, (share, volts) = least < SHORT_OF_SALT, MESH
    if short or drop > STEEP_V:
        share, volts = COARSE_MESH
        finer = found if n_through else _discharge(design, model, mesh, FINER)[0]
        if finer["status"] == "ok" and n_through in (None, FINER):
            found, (share, volts) = finer, FINER_MESH
    capacity, energy = found["capacity_Ah"], found["energy_Wh"]
    about = unsupported(
        design.base_cell, design.c_rate, design.temperature_K, design.parameters, short
    )
    spreads = stated_spreads(about, (capacity, share * capacity), (energy, share * energy), volts)
    return {**found, **spreads}


def _discharge(
    design: Design, model: str, mesh: RadialMesh, n_through: int
) -> tuple[Row, tuple[float, float]]:
    """The row of a design; its least salt over the initial one, and its electrolyte's drop in V."""
    given = dict(design.parameters)
    solved, fixed = split(given)
    try:
        start = full_charge(design.base_cell, given)
    except NoFullChargeError as error:
        return failed(design, str(error)), NO_SOLUTION
    nominal = given.get(
        "Nominal cell capacity [A.h]", scalars(design.base_cell)["Nominal cell capacity [A.h]"]
    )
    current = design.c_rate * nominal
    lower = {**scalars(design.base_cell), **given}["Lower voltage cut-off [V]"]
    pybamm = import_pybamm()
    try:
        built = cell_model(design.base_cell, fixed, model, mesh, n_through)
        solution = _solve(built, design, solved, current, start.concentrations, start.usable_Ah)
    except (pybamm.SolverError, pybamm.ModelError, ValueError, RuntimeError) as error:
        return failed(design, _in_short(error)), NO_SOLUTION
    if "Minimum voltage" not in str(solution.termination):
        reason = f"the lower cut-off was not reached ({solution.termination})"
        return failed(design, reason), NO_SOLUTION
    seconds = np.linspace(0.0, float(solution.t[-1]), N_POINTS)
    volts = np.asarray(solution["Voltage [V]"](seconds), dtype=float)
    if not np.isfinite(volts).all():
        return failed(design, "the solution is not finite"), NO_SOLUTION
    volts[-1] = lower
    charge = current * seconds / SECONDS_PER_HOUR
    negative, positive = start.stoichiometries(charge)
    rest = open_circuit(design.base_cell, given, negative, positive, design.temperature_K)
    entropic = potentials(design.base_cell).entropic(negative, positive)
    steps = np.asarray(solution.t, dtype=float)
    energy = _energy(solution, steps, current)
    at_rest = float(np.trapezoid(rest, charge))
    capacity = float(charge[-1])
    salt = np.asarray(solution["Electrolyte concentration [mol.m-3]"].entries, dtype=float)
    row = row_of(
        design,
        capacity_Ah=capacity,
        energy_Wh=energy,
        mean_voltage_V=energy / capacity,
        irreversible_heat_J=(at_rest - energy) * SECONDS_PER_HOUR,
        reversible_heat_J=0.0
        - design.temperature_K * float(np.trapezoid(entropic, charge)) * SECONDS_PER_HOUR,
        fourier=_fourier(design),
        start_negative=start.negative,
        start_positive=start.positive,
        end_negative_mean=float(negative[-1]),
        end_negative_surface=_last(solution, "negative"),
        end_positive_mean=float(positive[-1]),
        end_positive_surface=_last(solution, "positive"),
        voltage_V=[round(float(v), 6) for v in volts],
        open_circuit_V=[round(float(v), 6) for v in rest],
        status="ok",
        reason=caution(design),
    )
    drops = [
        float(np.ptp(np.asarray(solution[f"{e} electrolyte potential [V]"].entries), axis=0).max())
        for e in ELECTRODES
    ]
    return row, (float(salt.min() / salt[:, 0].mean()), max(drops))


NO_SOLUTION = (1.0, 0.0)


def _solve(
    built: CellModel,
    design: Design,
    solved: dict[str, float],
    current_A: float,
    concentrations: Any,
    usable_Ah: float,
) -> Any:
    """Solve until the voltage or the lithium ends."""
    inputs = built.inputs(solved, current_A, design.temperature_K, concentrations)
    longest = usable_Ah / current_A * SECONDS_PER_HOUR
    with quiet():
        return built.simulation.solve([0.0, longest], inputs=inputs)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the compiled solver says on stderr from the user; its failures become rows."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _energy(solution: Any, steps: Floats, current_A: float) -> float:
    """Integral of V I dt in Wh, Simpson's rule between the solver's steps."""
    middle = 0.5 * (steps[1:] + steps[:-1])
    at_steps = np.asarray(solution["Voltage [V]"](steps), dtype=float)
    at_middle = np.asarray(solution["Voltage [V]"](middle), dtype=float)
    parts = np.diff(steps) * (at_steps[1:] + 4.0 * at_middle + at_steps[:-1]) / 6.0
    return float(parts.sum()) * current_A / SECONDS_PER_HOUR


def _last(solution: Any, domain: str) -> float:
    """Mean surface stoichiometry of an electrode at the end."""
    variable = f"X-averaged {domain} particle surface stoichiometry"
    return float(np.ravel(solution[variable](solution.t[-1]))[0])


def _fourier(design: Design) -> float | None:
    """3600 D / (C R^2) of the cathode where its diffusivity is a number."""
    values = {**scalars(design.base_cell), **design.parameters}
    diffusivity = values.get("Positive particle diffusivity [m2.s-1]")
    if diffusivity is None:
        return None
    diffusivity *= values.get("Positive particle diffusivity factor", 1.0)
    radius = values["Positive particle radius [m]"]
    return SECONDS_PER_HOUR * diffusivity / (design.c_rate * radius**2)


def caution(design: Design) -> str:
    """What to keep in mind of a design that is discharged; empty where there is nothing."""
    cell = base_cell(design.base_cell)
    off = abs(design.temperature_K - scalars(design.base_cell)["Reference temperature [K]"])
    said = []
    if not cell.temperature_dependent and off > SAME_TEMPERATURE_K:
        said.append(f"electrolyte and diffusivities of {cell.name} do not depend on temperature")
    if cell.anode == METALS["Na"]:
        said.append("the exchange current of sodium metal is not known: that of lithium stands in")
    if overcharged(design):
        said.append(
            f"charged above the {scalars(cell.name)[_UPPER]:g} V of {cell.name}, where nothing "
            "says that its open-circuit curves hold"
        )
    return "; ".join(said)


def overcharged(design: Design) -> bool:
    """Whether a discharge starts above the base cell's own upper cut-off."""
    return bool(design.parameters.get(_UPPER, 0.0) > scalars(design.base_cell)[_UPPER])


_UPPER = "Upper voltage cut-off [V]"


def _in_short(error: BaseException) -> str:
    """The first line of a solver's complaint, in words where we know it."""
    text = str(error).strip().split("\n")[0]
    if "initial conditions" in text and "non-positive" in text:
        return "the voltage lies below the lower cut-off from the first moment"
    return f"solver: {text[:160]}"
