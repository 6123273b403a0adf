"""What else a cell is asked to do: charge, cycle, pulse, drive. Solved with PyBaMM (DFN).

Each protocol is a small class with its own fields and one method, `run`: a design to the columns of
its KPIs. `c_rate` of the design is the rate of its discharge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from ionbridge.screening.cell.base_cells import base_cell, import_pybamm, scalars
from ionbridge.screening.cell.cell_model import N_THROUGH, solvable
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.discharge import (
    SAME_TEMPERATURE_K,
    caution,
    failed,
    quiet,
    row_of,
)
from ionbridge.screening.cell.experiment_spread import ONLY_DISCHARGES
from ionbridge.screening.cell.full_charge import NoFullChargeError, full_charge
from ionbridge.screening.cell.inputs import CURVE_CHANGES, ELECTRODES, FACTORS
from ionbridge.screening.cell.kpis import DUTY_CYCLE, PULSE_STATE
from ionbridge.screening.cell.radial_mesh import N_CELLS, radial_submesh
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import TimeLimitExceededError, time_limit
from ionbridge.screening.table import Row
from ionbridge.structures.configuration import nearest
from ionbridge.structures.units import SECONDS_PER_HOUR


class CellProtocol(Protocol):
    """What is done with a cell."""

    columns: ClassVar[tuple[str, ...]]

    def run(self, cell: Cell) -> dict[str, float]:
        """Run the protocol on a cell and give the values of ``columns``."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A design made ready for PyBaMM's experiments.

    Attributes:
        values: ``pybamm.ParameterValues`` of the design.
        nominal_Ah: What C-rates refer to.
        c_rate: Of the design.
        lower_V: Lower cut-off.
        upper_V: Upper cut-off.
    """

    values: Any
    nominal_Ah: float
    c_rate: float
    lower_V: float
    upper_V: float

    @classmethod
    def of(cls, design: Design) -> Cell:
        """From a design.

        Raises:
            InputError: The design uses a factor or a changed curve, or a temperature that the base
                cell knows nothing of.
        """
        import_pybamm()
        cell = base_cell(design.base_cell)
        values = cell.values
        given = dict(design.parameters)
        beyond = [n for n in given if n in FACTORS or n in CURVE_CHANGES or "tortuosity" in n]
        if beyond:
            raise InputError(f"'{beyond[0]}' is known to constant-current discharges only")
        off = abs(design.temperature_K - float(values["Reference temperature [K]"]))
        if not cell.temperature_dependent and off > SAME_TEMPERATURE_K:
            raise InputError(
                f"refused at {design.temperature_K:g} K: electrolyte and diffusivities of "
                f"{cell.name} do not depend on temperature; use Prada2013_thermal"
            )
        numbers = {**scalars(design.base_cell), **given}
        nominal = numbers["Nominal cell capacity [A.h]"]
        lower, upper = numbers["Lower voltage cut-off [V]"], numbers["Upper voltage cut-off [V]"]
        own_lower = "Lower voltage cut-off [V]" in given
        empty = lower if own_lower else float(values["Open-circuit voltage at 0% SOC [V]"])
        full_charge(design.base_cell, given)  # PyBaMM charges it below; this says why it could not
        values.update(
            {
                **solvable(given),
                "Current function [A]": design.c_rate * nominal,
                "Ambient temperature [K]": design.temperature_K,
                "Initial temperature [K]": design.temperature_K,
                "Open-circuit voltage at 0% SOC [V]": empty,
                "Open-circuit voltage at 100% SOC [V]": upper,
            }
        )
        return cls(values, nominal, design.c_rate, lower, upper)

    def simulation(self, **how: Any) -> Any:
        """A ``pybamm.Simulation`` of the cell with the mesh that diffusion needs."""
        import pybamm

        options = {"contact resistance": "true", "calculate discharge energy": "true"}
        model = pybamm.lithium_ion.DFN(options)
        submeshes = dict(model.default_submesh_types)
        for electrode in ELECTRODES:
            radius = float(self.values[f"{electrode} particle radius [m]"])
            submeshes[f"{electrode.lower()} particle"] = radial_submesh(radius)
        through = dict.fromkeys(("x_n", "x_s", "x_p"), N_THROUGH)
        return pybamm.Simulation(
            model,
            parameter_values=self.values,
            var_pts={**through, "r_n": N_CELLS, "r_p": N_CELLS},
            submesh_types=submeshes,
            solver=pybamm.IDAKLUSolver(rtol=1e-5, atol=1e-6),
            **how,
        )

    def steps(self, steps: Sequence[str], soc: float, period_s: float = 20.0) -> Any:
        """Solve an experiment from a state of charge; the solution, one cycle a step."""
        import pybamm

        experiment = pybamm.Experiment(list(steps), period=f"{period_s:g} seconds")
        with quiet():
            return self.simulation(experiment=experiment).solve(initial_soc=soc)


def _energy_Wh(part: Any) -> float:
    """Integral of V I dt of one step; positive when the cell gives."""
    return _gained(part, "Discharge energy [W.h]")


def _charge_Ah(part: Any) -> float:
    """Integral of I dt of one step; positive when the cell gives."""
    return _gained(part, "Discharge capacity [A.h]")


def _gained(part: Any, variable: str) -> float:
    """By how much a variable of the model grew in a step."""
    course = part[variable].entries
    return float(course[-1] - course[0])


def _parts(solution: Any, n: int) -> list[Any]:
    """The steps of a solved experiment.

    Raises:
        RuntimeError: It ended early.
    """
    if len(solution.cycles) < n or any(c is None for c in solution.cycles[:n]):
        raise RuntimeError(f"the protocol ended early ({solution.termination})")
    return list(solution.cycles[:n])


@dataclass(frozen=True)
class Charge:
    """Constant current to the upper cut-off, constant voltage to C/20, from empty.

    A charge at C/20 or below has no part at constant voltage.

    Attributes:
        cut_off_rate: C-rate at which the constant-voltage part ends.
    """

    cut_off_rate: float = 0.05
    columns: ClassVar[tuple[str, ...]] = (
        "charge_capacity_Ah",
        "charge_energy_Wh",
        "charge_time_s",
        "constant_current_share",
    )

    def run(self, cell: Cell) -> dict[str, float]:
        """Charge at the design's rate."""
        steps = _charge_steps(cell, self.cut_off_rate)
        parts = _parts(cell.steps(steps, soc=0.0), len(steps))
        charge = -sum(_charge_Ah(p) for p in parts)
        first, last = (parts[i]["Time [s]"].entries for i in (0, -1))
        return {
            "charge_capacity_Ah": charge,
            "charge_energy_Wh": -sum(_energy_Wh(p) for p in parts),
            "charge_time_s": float(last[-1] - first[0]),
            "constant_current_share": -_charge_Ah(parts[0]) / charge,
        }


@dataclass(frozen=True)
class Cycle:
    """CC-CV charge, then discharge at the same rate: what comes back of what was put in.

    The second cycle is taken, which starts and ends in the same state: without side reactions as
    much charge comes back as was put in.

    Attributes:
        cut_off_rate: C-rate at which the charge ends.
    """

    cut_off_rate: float = 0.05
    columns: ClassVar[tuple[str, ...]] = (
        "capacity_Ah",
        "energy_Wh",
        "round_trip_efficiency",
        "coulombic_efficiency",
    )

    def run(self, cell: Cell) -> dict[str, float]:
        """Cycle twice from full charge."""
        one = [
            f"Discharge at {cell.c_rate:g}C until {cell.lower_V:g} V",
            *_charge_steps(cell, self.cut_off_rate),
        ]
        parts = _parts(cell.steps([*one, *one], soc=1.0), 2 * len(one))
        charge, out = parts[1 : len(one)], parts[len(one)]
        put_in = -sum(_energy_Wh(p) for p in charge)
        return {
            "capacity_Ah": _charge_Ah(out),
            "energy_Wh": _energy_Wh(out),
            "round_trip_efficiency": _energy_Wh(out) / put_in,
            "coulombic_efficiency": _charge_Ah(out) / -sum(_charge_Ah(p) for p in charge),
        }


def _charge_steps(cell: Cell, cut_off_rate: float) -> list[str]:
    """CC-CV at the design's rate."""
    steps = [f"Charge at {cell.c_rate:g}C until {cell.upper_V:g} V"]
    if cell.c_rate > cut_off_rate:
        steps.append(f"Hold at {cell.upper_V:g} V until {cut_off_rate:g}C")
    return steps


@dataclass(frozen=True)
class Pulse:
    """A discharge pulse from rest: resistance, and the power down to the cut-off.

    Attributes:
        seconds: Its length.
        soc: State of charge from which it starts.
    """

    seconds: float = 10.0
    soc: float = 1.0 - PULSE_STATE
    columns: ClassVar[tuple[str, ...]] = ("pulse_resistance_Ohm", "pulse_power_W")

    def run(self, cell: Cell) -> dict[str, float]:
        """One pulse at the design's rate; the power follows from the resistance (HPPC).

        P = V_min (U - V_min) / R, U the voltage at rest.
        """
        solution = cell.steps(
            ["Rest for 1 second", f"Discharge at {cell.c_rate:g}C for {self.seconds:g} seconds"],
            self.soc,
            period_s=min(1.0, self.seconds / 10.0),
        )
        rest, pulse = _parts(solution, 2)
        before, after = (float(p["Voltage [V]"].entries[-1]) for p in (rest, pulse))
        resistance = (before - after) / (cell.c_rate * cell.nominal_Ah)
        return {
            "pulse_resistance_Ohm": resistance,
            "pulse_power_W": cell.lower_V * (before - cell.lower_V) / resistance,
        }


@dataclass(frozen=True)
class DriveCycle:
    """A duty cycle repeated until the voltage falls below the lower cut-off.

    Attributes:
        cycle: (C-rate, seconds) of one round; the design's rate multiplies all of them.
        ramp_s: Time from one step to the next.
    """

    cycle: tuple[tuple[float, float], ...] = field(default=DUTY_CYCLE)
    ramp_s: float = 1.0
    columns: ClassVar[tuple[str, ...]] = (
        "duty_cycle_energy_Wh",
        "duty_cycle_capacity_Ah",
        "duty_cycle_rounds",
    )

    def run(self, cell: Cell) -> dict[str, float]:
        """Repeat the power profile from full charge until the voltage limit."""
        import pybamm

        round_s = sum(seconds for _, seconds in self.cycle)
        mean_rate = sum(rate * seconds for rate, seconds in self.cycle) / round_s
        rounds = int(np.ceil(1.5 * SECONDS_PER_HOUR / (cell.c_rate * mean_rate * round_s))) + 1
        seconds, amperes = [0.0], [self.cycle[0][0]]
        for rate, duration in self.cycle * rounds:
            start = seconds[-1]
            seconds += [start + self.ramp_s, start + duration]
            amperes += [rate, rate]
        current = np.array(amperes) * cell.c_rate * cell.nominal_Ah
        times = np.array(seconds)
        cell.values["Current function [A]"] = pybamm.Interpolant(times, current, pybamm.t)
        with quiet():
            solution = cell.simulation().solve(times, initial_soc=1.0)
        if "Minimum voltage" not in str(solution.termination):
            raise RuntimeError(f"the lower cut-off was not reached ({solution.termination})")
        return {
            "duty_cycle_energy_Wh": _energy_Wh(solution),
            "duty_cycle_capacity_Ah": _charge_Ah(solution),
            "duty_cycle_rounds": float(solution.t[-1]) / round_s,
        }


PROTOCOLS: Mapping[str, CellProtocol] = {
    "charge": Charge(),
    "cycle": Cycle(),
    "pulse": Pulse(),
    "drive_cycle": DriveCycle(),
}
"""Beside ``discharge``, the constant-current discharge from full charge."""


def protocol(name: str) -> CellProtocol:
    """A protocol by name.

    Raises:
        InputError: There is none of that name.
    """
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol '{name}'; {nearest(name, ['discharge', *PROTOCOLS])}")
    return PROTOCOLS[name]


@dataclass(frozen=True)
class ProtocolRuns:
    """The work of one process: designs to rows with a protocol's columns.

    Attributes:
        name: Of the protocol.
        time_limit_s: Longest time for one design.
    """

    name: str
    time_limit_s: float = 120.0

    def __call__(self, designs: Sequence[Design]) -> list[Row]:
        """One row a design, in their order."""
        return [self._one(design) for design in designs]

    def _one(self, design: Design) -> Row:
        import pybamm

        if design.trouble:
            return failed(design, design.trouble)
        try:
            with time_limit(self.time_limit_s):
                found = protocol(self.name).run(Cell.of(design))
        except (TimeLimitExceededError, InputError, NoFullChargeError) as error:
            return failed(design, str(error))
        except (pybamm.SolverError, pybamm.ModelError, ValueError, RuntimeError) as error:
            return failed(design, f"solver: {str(error).strip().splitlines()[0][:160]}")
        if not np.isfinite(list(found.values())).all():
            return failed(design, "the solution is not finite")
        return row_of(
            design, **found, experiment=ONLY_DISCHARGES, status="ok", reason=caution(design)
        )
