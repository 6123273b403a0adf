"""Cycle ageing from physics: 500 cycles of a lithium-ion cell with every loss told apart.

PyBaMM's single-particle model with electrolyte carries solvent-diffusion limited SEI growth,
partially reversible plating, cracks with SEI on their faces, stress-driven loss of graphite, the
clogging of pores and a lumped temperature. One cycle: constant-current discharge to a depth or the
lower voltage, rest, constant-current constant-voltage charge to C/20, rest. A single model serves
all steps: its current obeys an algebraic equation whose target is an input, so that nothing is
built, copied or concatenated between steps, and a cycle costs tens of milliseconds.

The surface potential is solved for (surface form algebraic). With PyBaMM's default, inverted
kinetics, lithium of the SEI on cracks is taken from the electrolyte's salt and not from the
electrodes, so that the largest loss of all never shows in the capacity.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from benchmarks.ageing_parameters import ageing_parameters
from ionbridge.models.cells.ageing_rom import AgeingHistory
from ionbridge.models.cells.graphite import Cycling
from ionbridge.screening.cell.ageing_base import LCO, LFP
from ionbridge.screening.cell.base_cells import import_pybamm
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import Executor, TimeLimitExceededError, time_limit
from ionbridge.screening.execution.shards import ShardFolder, fingerprint, write_json
from ionbridge.screening.table import Row
from ionbridge.structures.units import FARADAY_C_PER_MOL

LOSSES = ("sei_Ah", "sei_on_cracks_Ah", "plating_Ah", "active_material_Ah")
"""Lithium inventory lost to each mechanism since the start."""
CHANNELS = (*LOSSES, "active_material_lost", "crack_growth", "resistance_growth")
"""What is recorded over cycles: losses in Ah, the share of graphite lost, the share by which cracks
got longer, and the share by which polarisation over current in mid-discharge grew."""
RECORDED = ("cycle", "elapsed_h", "discharge_Ah", "capacity_Ah", *CHANNELS)
CHECK_C_RATE = 0.1
"""Rate of the discharge that measures capacity, 1/h."""
SETTLING_CYCLES = 2
"""Cycles solved before a recorded one when the cycles between are skipped."""
FARADAY_AH_PER_MOL = FARADAY_C_PER_MOL / 3600.0

SHIPPED_RUNS = Path(__file__).parent / "data" / "ageing_runs.jsonl.gz"

OPTIONS = {
    "SEI": "solvent-diffusion limited",
    "SEI film resistance": "average",
    "SEI porosity change": "true",
    "SEI on cracks": "true",
    "lithium plating": "partially reversible",
    "lithium plating porosity change": "true",
    "particle mechanics": ("swelling and cracking", "none"),
    "stress-induced diffusion": ("true", "false"),
    "loss of active material": ("stress-driven", "none"),
    "x-average side reactions": "true",
    "surface form": "algebraic",
    "thermal": "lumped",
}

RANGES: dict[str, tuple[float, float]] = {
    "charge_c_rate": (0.2, 2.0),
    "discharge_c_rate": (0.2, 2.0),
    "temperature_K": (273.15, 318.15),
    "depth_of_discharge": (0.3, 1.0),
}
"""Ends of the design; rates are spread evenly in their logarithm."""


@dataclass(frozen=True)
class AgeingRun:
    """How a cell is cycled.

    Attributes:
        id: Unique name.
        base_cell: A base that ages, see ``ionbridge.screening.cell.ageing_base``.
        charge_c_rate: Charging current over nominal capacity, 1/h.
        discharge_c_rate: Discharging current over nominal capacity, 1/h.
        temperature_K: Of the surroundings and at the start.
        depth_of_discharge: Charge taken out in a cycle over nominal capacity; less if the lower
            cut-off comes first.
    """

    id: str
    base_cell: str
    charge_c_rate: float
    discharge_c_rate: float
    temperature_K: float
    depth_of_discharge: float

    def __post_init__(self) -> None:
        limits = {
            "charge_c_rate": (0.01, 10.0),
            "discharge_c_rate": (0.01, 10.0),
            "temperature_K": (233.0, 353.0),
            "depth_of_discharge": (0.01, 1.0),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{self.id}: {name} must lie in {low:g} to {high:g}, got {value}")


@dataclass(frozen=True)
class Numerics:
    """Mesh, tolerances and length of a run.

    Attributes:
        n_cycles: Cycles of a run.
        electrolyte_points: Cells in each of negative electrode, separator, positive electrode.
        particle_points: Cells over the particle radius.
        relative_tolerance: Of the solver.
        absolute_tolerance: Of the solver, on states scaled to the order of one.
        rest_s: Rest after discharge and after charge.
        every_cycle: Solve every cycle. Otherwise two before each recorded one, and the state
            between them follows its drift over a cycle.
        compiled: Compile the equations with the system's C compiler: worth it for many runs.
    """

    n_cycles: int = 500
    electrolyte_points: int = 5
    particle_points: int = 16
    relative_tolerance: float = 1e-4
    absolute_tolerance: float = 1e-6
    rest_s: float = 600.0
    every_cycle: bool = False
    compiled: bool = False


def recorded_cycles(n_cycles: int) -> tuple[int, ...]:
    """Two dozen cycle numbers, dense at the start, where losses grow fastest; 1, 2, 3 first."""
    early = np.geomspace(1, n_cycles, 18).round().astype(int)
    even = np.linspace(n_cycles / 10, n_cycles, 10).round().astype(int)
    return tuple(int(n) for n in np.unique([1, 2, 3, *early, *even]) if 1 <= n <= n_cycles)


def design(base_cell: str, n_runs: int, seed: int) -> list[AgeingRun]:
    """Sobol points over ``RANGES``; every prefix covers them evenly.

    Args:
        base_cell: A base that ages.
        n_runs: Number of runs.
        seed: Of the scrambling.
    """
    points = qmc.Sobol(len(RANGES), scramble=True, rng=seed).random_base2(
        int(np.ceil(np.log2(max(n_runs, 2))))
    )[:n_runs]
    runs = []
    for k, point in enumerate(points):
        values = {}
        for share, (name, (low, high)) in zip(point, RANGES.items(), strict=True):
            if name.endswith("c_rate"):
                values[name] = float(round(low * (high / low) ** share, 4))
            else:
                values[name] = float(round(low + (high - low) * share, 4))
        runs.append(AgeingRun(f"{base_cell.split('_')[0]}-{k:03d}", base_cell, **values))
    return runs


def training_design(n_lco: int = 60, n_lfp: int = 24) -> list[AgeingRun]:
    """The shipped training runs: two LCO, then one LFP, so that any prefix is balanced."""
    lco, lfp = design(LCO, n_lco, seed=0), design(LFP, n_lfp, seed=1)
    mixed: list[AgeingRun] = []
    while lco or lfp:
        mixed += [*lco[:2], *lfp[:1]]
        lco, lfp = lco[2:], lfp[1:]
    return mixed


class AgeingCell:
    """A discretised cell that can be cycled; built once for a base cell and its numerics.

    Args:
        base_cell: A base that ages.
        numerics: Mesh and tolerances.
    """

    def __init__(self, base_cell: str, numerics: Numerics) -> None:
        pybamm = import_pybamm()
        self.numerics = numerics
        parameters = ageing_parameters(base_cell)
        self.capacity_Ah = float(parameters["Nominal cell capacity [A.h]"])
        # PyBaMM counts SEI and plating in one electrode pair, active material in the whole cell
        pairs = float(parameters["Number of electrodes connected in parallel to make a cell"])
        self._pairs = {"sei_Ah": pairs, "sei_on_cracks_Ah": pairs, "plating_Ah": pairs}
        self.lower_V = float(parameters["Lower voltage cut-off [V]"])
        self.upper_V = float(parameters["Upper voltage cut-off [V]"])
        parameters.update(
            {"Ambient temperature [K]": "[input]", "Initial temperature [K]": "[input]"}
        )
        model = pybamm.lithium_ion.SPMe({**OPTIONS, "operating mode": _controlled_current})
        volt, ampere = model.variables["Voltage [V]"], model.variables["Current [A]"]
        stop = pybamm.InputParameter
        model.events = [
            pybamm.Event(
                "end of step",
                stop("stop voltage sign") * (volt - stop("stop voltage [V]"))
                + stop("stop current sign") * (ampere - stop("stop current [A]"))
                + stop("no stop"),
            )
        ]
        n_x, n_r = numerics.electrolyte_points, numerics.particle_points
        points = {"x_n": n_x, "x_s": n_x, "x_p": n_x, "r_n": n_r, "r_p": n_r}
        self._solver = pybamm.IDAKLUSolver(
            rtol=numerics.relative_tolerance,
            atol=numerics.absolute_tolerance,
            options={"compile": numerics.compiled},
        )
        simulation = pybamm.Simulation(
            model, parameter_values=parameters, var_pts=points, solver=self._solver
        )
        simulation.build()
        self._model = simulation.built_model

    def start(self, temperature_K: float) -> Any:
        """The charged state of the parameter set.

        Lithium in graphite is a millionth away from uniform: the stress of exactly uniform lithium
        is plus or minus a rounding error, whose power 2.2 in Paris' law is not a number.
        """
        inputs = _inputs(temperature_K)
        vector = self._model.concatenated_initial_conditions.evaluate(0, inputs=inputs)
        (outermost,) = (
            self._model.y_slices[variable][0].stop - 1
            for variable in self._model.y_slices
            if variable.name == "X-averaged negative particle concentration [mol.m-3]"
        )
        vector[outermost] *= 1 + 1e-6
        return self._solution(0.0, vector, inputs)

    def step(
        self,
        state: Any,
        temperature_K: float,
        duration_s: float,
        *,
        current_A: float = 0.0,
        hold_V: float | None = None,
        stop_V: float | None = None,
        stop_current_A: float | None = None,
    ) -> Any:
        """Go on from a state to the end of one step.

        Args:
            state: Solution of the step before.
            temperature_K: Of the surroundings.
            duration_s: Longest duration of the step.
            current_A: Positive on discharge; not used while a voltage is held.
            hold_V: Voltage to hold instead of a current.
            stop_V: Voltage that ends the step.
            stop_current_A: Charging current, negative, that ends the holding of a voltage.

        Returns:
            The solution of this step; the state as it was, where its end is already reached.

        Raises:
            pybamm.SolverError: The equations could not be solved.
        """
        sign = 1.0 if current_A > 0 else -1.0
        inputs = _inputs(temperature_K) | {
            "hold": 0.0 if hold_V is None else 1.0,
            "target voltage [V]": hold_V or 0.0,
            "target current [A]": current_A,
            "stop voltage sign": 0.0 if stop_V is None else sign,
            "stop voltage [V]": stop_V or 0.0,
            "stop current sign": 0.0 if stop_current_A is None else -1.0,
            "stop current [A]": stop_current_A or 0.0,
            "no stop": 1.0 if stop_V is None and stop_current_A is None else 0.0,
        }
        state = state.last_state
        state.termination = "final time"  # an event of the last step does not end this one
        try:
            return self._solver.step(state, self._model, duration_s, inputs=inputs, save=False)
        except import_pybamm().SolverError as error:
            if "non-positive at initial conditions" in str(error):
                return state  # the step is over before it begins
            raise

    def cycle(self, state: Any, run: AgeingRun) -> tuple[Any, dict[str, float]]:
        """One cycle: discharge, rest, charge at constant current, then voltage, rest.

        Returns:
            The state after it; ``discharge_Ah``, ``cycle_h`` (duration) and ``resistance_Ohm``,
            open-circuit minus terminal voltage over current in the middle of the discharge.
        """
        step = partial(self.step, temperature_K=run.temperature_K)
        discharge_A = run.discharge_c_rate * self.capacity_Ah
        half_s = 1800.0 * run.depth_of_discharge / run.discharge_c_rate
        longest_s = 3600.0 * (1.5 / run.charge_c_rate + 20.0)
        charge_A = -run.charge_c_rate * self.capacity_Ah
        begun_s = float(state.t[-1])
        state = step(state, duration_s=half_s, current_A=discharge_A, stop_V=self.lower_V)
        gap_V = self.value(state, "Bulk open-circuit voltage [V]") - self.value(
            state, "Voltage [V]"
        )
        if float(state.t[-1]) - begun_s > half_s * (1 - 1e-6):
            state = step(state, duration_s=half_s, current_A=discharge_A, stop_V=self.lower_V)
        discharge_s = float(state.t[-1]) - begun_s
        state = step(state, duration_s=self.numerics.rest_s)
        state = step(state, duration_s=longest_s, current_A=charge_A, stop_V=self.upper_V)
        state = step(
            state,
            duration_s=longest_s,
            hold_V=self.upper_V,
            stop_current_A=-self.capacity_Ah / 20.0,
        )
        state = step(state, duration_s=self.numerics.rest_s)
        return state, {
            "discharge_Ah": discharge_A * discharge_s / 3600.0,
            "cycle_h": (float(state.t[-1]) - begun_s) / 3600.0,
            "resistance_Ohm": gap_V / discharge_A,
        }

    def health(self, state: Any, temperature_K: float) -> dict[str, float]:
        """Lithium lost to each mechanism (Ah), graphite, cracks, and the capacity left.

        The capacity is that of a slow discharge which branches off and disturbs nothing.
        """
        found = {
            name: FARADAY_AH_PER_MOL * self._pairs.get(name, 1.0) * self.value(state, variable)
            for name, variable in _INVENTORY.items()
        }
        graphite = "X-averaged negative electrode active material volume fraction"
        found["graphite"] = self.value(state, graphite)
        found["crack_m"] = self.value(state, "X-averaged negative particle crack length [m]")
        slow_A = CHECK_C_RATE * self.capacity_Ah
        check = self.step(
            state, temperature_K, 7200 / CHECK_C_RATE, current_A=slow_A, stop_V=self.lower_V
        )
        found["capacity_Ah"] = slow_A * float(check.t[-1] - state.t[-1]) / 3600.0
        return found

    def vector(self, state: Any) -> NDArray[np.float64]:
        """(n_states,) the state at the end of a step."""
        return np.array(state.last_state.all_ys[-1][:, -1], dtype=float)

    def moved(self, state: Any, shift: NDArray[np.float64]) -> Any:
        """A state with its vector shifted."""
        vector = self.vector(state) + shift
        return self._solution(float(state.t[-1]), vector, state.all_inputs[-1])

    def _solution(self, time_s: float, vector: NDArray[np.float64], inputs: Any) -> Any:
        return import_pybamm().Solution(
            np.array([time_s]), vector.reshape(-1, 1), self._model, inputs, termination="final time"
        )

    def value(self, state: Any, name: str) -> float:
        """A PyBaMM variable at the end of a step, averaged over the cell where it varies."""
        return float(np.mean(state.last_state[name].entries))


def _inputs(temperature_K: float) -> dict[str, float]:
    """All inputs of the model, for an open circuit."""
    return {
        "hold": 0.0,
        "target voltage [V]": 0.0,
        "target current [A]": 0.0,
        "stop voltage sign": 0.0,
        "stop voltage [V]": 0.0,
        "stop current sign": 0.0,
        "stop current [A]": 0.0,
        "no stop": 1.0,
        "Ambient temperature [K]": temperature_K,
        "Initial temperature [K]": temperature_K,
    }


def _controlled_current(variables: Mapping[str, Any]) -> Any:
    """Residual of the current: zero at the wanted voltage or at the wanted current."""
    pybamm = import_pybamm()
    hold = pybamm.InputParameter("hold")
    voltage = variables["Voltage [V]"] - pybamm.InputParameter("target voltage [V]")
    current = variables["Current [A]"] - pybamm.InputParameter("target current [A]")
    return hold * voltage + (1 - hold) * current


_INVENTORY = {
    "sei_Ah": "Loss of lithium to negative SEI [mol]",
    "sei_on_cracks_Ah": "Loss of lithium to negative SEI on cracks [mol]",
    "plating_Ah": "Loss of lithium to negative lithium plating [mol]",
    "active_material_Ah": "Loss of lithium due to loss of active material in negative electrode "
    "[mol]",
}
LEAST_DISCHARGE = 0.05
"""A cell that gives less than this share of the nominal capacity in a cycle is at its end."""


def simulate_ageing(run: AgeingRun, numerics: Numerics | None = None) -> Row:
    """Cycle a cell and record its losses.

    Args:
        run: How it is cycled.
        numerics: Mesh, tolerances, number of cycles; the default is that of the training runs.

    Returns:
        A JSON-ready row: the run's settings, one list for each of ``RECORDED`` over the recorded
        cycles, losses from the end of cycle 0, ``nominal_Ah``, ``seconds``,
        ``status`` (``ok``, or ``failed`` with a ``reason`` and the cycles up to the failure).
    """
    numerics = numerics or Numerics()
    started = time.perf_counter()
    cell = _cell(run.base_cell, numerics)
    row: Row = {**asdict(run), "nominal_Ah": cell.capacity_Ah, "n_cycles": numerics.n_cycles}
    records: list[dict[str, float]] = []
    status, reason = "ok", ""
    try:
        for record in _cycles(cell, run, numerics):
            records.append(record)
            if record["discharge_Ah"] < LEAST_DISCHARGE * cell.capacity_Ah:
                status, reason = "failed", f"no capacity left at cycle {record['cycle']:.0f}"
                break
    except import_pybamm().SolverError as error:
        status, reason = "failed", f"solver: {str(error).splitlines()[0][:120]}"
    row |= {name: [record[name] for record in records] for name in RECORDED}
    seconds = round(time.perf_counter() - started, 1)
    return row | {"seconds": seconds, "status": status, "reason": reason}


def _cycles(cell: AgeingCell, run: AgeingRun, numerics: Numerics) -> Iterator[dict[str, float]]:
    """Cycle the cell; yields a record at the chosen cycle numbers, 0 first.

    The state y at the end of a cycle drifts slowly. Where recorded cycles lie apart, y is carried
    over the gap g by its drift s over the last cycle and the change s' of s a cycle,
    y + g s + g (g + 1) / 2 s', and two cycles are solved: one to settle, one for the drift.
    """
    state, _ = cell.cycle(
        cell.start(run.temperature_K), run
    )  # leads away from the state of the parameter set
    state, last = cell.cycle(state, run)
    start = cell.health(state, run.temperature_K) | last
    elapsed_h, now, drift_at = 0.0, 0, 0
    drift = bend = np.zeros(len(cell.vector(state)))
    yield _record(0, elapsed_h, start, start)
    for wanted in recorded_cycles(numerics.n_cycles):
        gap = wanted - now - SETTLING_CYCLES
        if gap > 0 and not numerics.every_cycle:
            state = cell.moved(state, gap * drift + gap * (gap + 1) / 2 * bend)
            elapsed_h += gap * last["cycle_h"]
            now += gap
        while now < wanted:
            before = cell.vector(state)
            state, last = cell.cycle(state, run)
            elapsed_h += last["cycle_h"]
            now += 1
        found = cell.vector(state) - before
        bend = (found - drift) / (now - drift_at)
        drift, drift_at = found, now
        yield _record(now, elapsed_h, cell.health(state, run.temperature_K) | last, start)


def _record(
    cycle: int, elapsed_h: float, found: Mapping[str, float], start: Mapping[str, float]
) -> dict[str, float]:
    """Losses since the start."""
    return {
        "cycle": float(cycle),
        "elapsed_h": elapsed_h,
        "discharge_Ah": found["discharge_Ah"],
        "capacity_Ah": found["capacity_Ah"],
        **{name: found[name] - start[name] for name in LOSSES},
        "active_material_lost": 1 - found["graphite"] / start["graphite"],
        "crack_growth": found["crack_m"] / start["crack_m"] - 1,
        "resistance_growth": found["resistance_Ohm"] / start["resistance_Ohm"] - 1,
    }


def simulate_runs(
    runs: Sequence[AgeingRun],
    folder: Path,
    numerics: Numerics,
    executor: Executor,
    limit_s: float = 3600.0,
) -> list[Row]:
    """Simulate what is not in the folder yet, one shard a run, and return all rows.

    Args:
        runs: In their order; the folder belongs to this list.
        folder: Made if it is not there.
        numerics: The same for all runs.
        executor: Where the runs are solved.
        limit_s: A run that takes longer is a failed row.

    Raises:
        InputError: The folder holds other runs, or runs with other numerics.
    """
    settings = json.loads(json.dumps([asdict(numerics), [asdict(run) for run in runs]]))
    stamp = folder / "settings.json"
    try:
        known = json.loads(stamp.read_text(encoding="utf-8")) if stamp.exists() else settings
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{stamp}: cannot be read ({error}); choose a new folder") from error
    if known != settings:
        raise InputError(f"{folder} holds ageing runs with other settings; choose a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(stamp, settings)
    shards = ShardFolder(folder / "shards", fingerprint(settings))
    whole, _ = shards.kept({k: [str(k)] for k in range(len(runs))})
    left = {k: [run] for k, run in enumerate(runs) if k not in whole}
    work = partial(_simulate_shard, numerics=numerics, limit_s=limit_s)
    for index, rows in executor.map_shards(work, left.items(), _failed):
        shards.write(index, [str(index)], rows)
    return [row for k in range(len(runs)) for row in shards.read(k)]


def _simulate_shard(runs: Sequence[AgeingRun], numerics: Numerics, limit_s: float) -> list[Row]:
    """Rows of one shard; a run that takes too long is a failed row."""
    rows = []
    for run in runs:
        try:
            with time_limit(limit_s):
                rows.append(simulate_ageing(run, numerics))
        except TimeLimitExceededError as error:
            rows.append(_failed(run, str(error)))
    return rows


def _failed(run: AgeingRun, reason: str) -> Row:
    """The row of a run that gave nothing."""
    return {**asdict(run), "status": "failed", "reason": reason}


def save_runs(rows: Sequence[Row], path: Path) -> None:
    """Write rows as gzipped JSON lines, numbers to six digits; the same rows give the same file."""
    lines = [json.dumps(_short(row), ensure_ascii=False) + "\n" for row in rows]
    path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


def _short(value: Any) -> Any:
    """Floats to six significant digits, in lists and mappings too."""
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_short(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def load_runs(path: Path = SHIPPED_RUNS) -> list[Row]:
    """Rows written by `save_runs`; by default the shipped training runs."""
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def histories(rows: Sequence[Row], base_cell: str) -> list[AgeingHistory]:
    """Simulated runs of a base cell as what an ageing model learns from; failed ones left out.

    Args:
        rows: From `simulate_runs`.
        base_cell: One of ``BASES``.
    """
    found = []
    for row in rows:
        if row["base_cell"] != base_cell or row["status"] != "ok":
            continue
        cycle = np.array(row["cycle"], dtype=float)
        channels = {name: np.array(row[name], dtype=float) for name in CHANNELS if name in row}
        capacity = np.array(row["capacity_Ah"], dtype=float)
        channels["capacity_lost"] = 1 - capacity / capacity[0]
        later = cycle > 0
        cycling = Cycling(**{key: row[key] for key in Cycling.__dataclass_fields__})
        found.append(
            AgeingHistory(cycling, cycle[later], {k: v[later] for k, v in channels.items()})
        )
    return found


@lru_cache(maxsize=4)
def _cell(base_cell: str, numerics: Numerics) -> AgeingCell:
    """Built once for all runs of a process."""
    return AgeingCell(base_cell, numerics)
