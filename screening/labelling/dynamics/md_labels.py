"""Crystals -> diffusivities by molecular dynamics, with an Arrhenius fit over temperatures."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import Executor
from ionbridge.screening.execution.folder_lock import locked_folder
from ionbridge.screening.execution.sealed_rows import check_same
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.dynamics.diffusion_label import Label, arrhenius_label, motion
from ionbridge.screening.labelling.dynamics.md import (
    METHOD,
    Dynamics,
    DynamicsError,
    run_dynamics,
    simulation_cell,
    sums_file,
)
from ionbridge.screening.labelling.dynamics.trajectory import read_trajectory
from ionbridge.screening.temperatures import check_temperatures
from ionbridge.structures.chemistry.composition import working_ion
from ionbridge.structures.chemistry.ordering import Ordered
from ionbridge.structures.io.reading import crystal_to_json
from ionbridge.structures.records import Crystal, FailedRecord, UnusableStructureError

LONGEST_NAME = 120
CELL = "cell_sha256"
"""Key of the checksum of the cell that a run is of."""


@dataclass(frozen=True)
class MdSettings:
    """What is simulated, and how it is analysed.

    Attributes:
        temperatures_K: Temperatures in K, each once, COLDEST_K to HOTTEST_K, in the order in
            which they are run.
        calculator: Forces.
        dynamics: Steps, time step and thermostat.
        min_width_A: Least distance of an atom from its periodic copies, angstrom.
        skip_ps: Left out of the analysis at the start of a run, for equilibration.

    Raises:
        InputError: No ions move in solids at such a temperature, or one stands there twice.
    """

    temperatures_K: tuple[float, ...]
    calculator: CalculatorChoice = field(default_factory=CalculatorChoice)
    dynamics: Dynamics = field(default_factory=Dynamics)
    min_width_A: float = 8.0
    skip_ps: float = 1.0

    def __post_init__(self) -> None:
        """Refuse temperatures that cannot be simulated."""
        check_temperatures(self.temperatures_K)


@dataclass(frozen=True, eq=False)
class MdTask:
    """One run: a crystal at one temperature.

    Attributes:
        record: Which of the records it belongs to.
        crystal: As it was given.
        ion: Working ion.
        cell: What is simulated.
        temperature_K: Temperature in K.
        path: Trajectory.
    """

    record: int
    crystal: Crystal
    ion: str
    cell: Ordered
    temperature_K: float
    path: Path


@dataclass(frozen=True)
class MdRunner:
    """Runs tasks to their end and analyses them; the work of one process.

    Attributes:
        settings: See there.
    """

    settings: MdSettings

    def __call__(self, tasks: Sequence[MdTask]) -> list[Label]:
        """One label a task; a run that fails gives one with its reason and what it had."""
        return [self._label(task) for task in tasks]

    def _label(self, task: MdTask) -> Label:
        reason = ""
        try:
            run_dynamics(
                task.cell.crystal,
                self.settings.calculator.make(),
                task.temperature_K,
                self.settings.dynamics,
                task.path,
                made_by=json.dumps(_claim(task, self.settings), sort_keys=True),
            )
        except DynamicsError as error:
            reason = str(error)
        return run_label(task.path, task.ion, task.temperature_K, self.settings, reason)


def md_labels(
    records: Sequence[Crystal | FailedRecord],
    settings: MdSettings,
    folder: Path,
    executor: Executor,
) -> Iterator[list[Label]]:
    """The labels so far, after every finished run.

    Args:
        records: Crystals, ordered or disordered.
        settings: See there.
        folder: Of the trajectories; a run that is in it goes on from its last frame.
        executor: Where the runs take place, each in one process.

    Yields:
        One label a record, in their order; the last list is the whole answer.

    Raises:
        InputError: The folder holds a run of the same name with other settings or without
            checksums, another process works in it, or the calculator cannot be made.
    """
    settings.calculator.make()  # so that one that cannot be had is known before any work
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):
        yield from _labels(records, settings, folder, executor)


def _labels(
    records: Sequence[Crystal | FailedRecord],
    settings: MdSettings,
    folder: Path,
    executor: Executor,
) -> Iterator[list[Label]]:
    """See `md_labels`; the folder is there and held by this process alone."""
    labels: list[Label] = []
    tasks: list[MdTask] = []
    for k, record in enumerate(records):
        labels.append({"id": record.id, "status": "failed", "reason": "not run"})
        try:
            tasks += _tasks(k, record, settings, folder)
        except UnusableStructureError as error:
            labels[-1]["reason"] = str(error).removeprefix(f"{record.id}: ")
    for task in tasks:
        _check_claim(task, settings)
    yield labels
    runs: dict[int, Label] = {}
    shards = {i: [task] for i, task in enumerate(tasks)}
    for i, (run,) in executor.map_shards(MdRunner(settings), shards.items(), _lost):
        runs[i] = run
        task = tasks[i]
        own = [runs[j] for j in sorted(runs) if tasks[j].record == task.record]
        labels[task.record] = crystal_label(task.crystal, task.ion, task.cell, own, settings)
        yield labels


def _tasks(
    number: int, record: Crystal | FailedRecord, settings: MdSettings, folder: Path
) -> list[MdTask]:
    """The runs of one record.

    Raises:
        UnusableStructureError: It cannot be simulated.
    """
    if isinstance(record, FailedRecord):
        raise UnusableStructureError(record.reason)
    ion = working_ion(record)
    if not record.occupancy(ion).any():
        raise UnusableStructureError(f"no working ion '{ion}' in {record.formula}")
    cell = simulation_cell(record, settings.min_width_A, settings.dynamics.seed)
    return [
        MdTask(number, record, ion, cell, T, folder / f"{file_name(record.id)}_{T:g}K.traj")
        for T in settings.temperatures_K
    ]


def _lost(task: MdTask, reason: str) -> Label:
    """The label of a run whose process died."""
    return {"temperature_K": task.temperature_K, "status": "failed", "reason": reason}


def run_label(
    path: Path, ion: str, temperature_K: float, settings: MdSettings, failure: str = ""
) -> Label:
    """The label of one run; of one that failed, with what it had.

    Args:
        path: Its trajectory.
        ion: Working ion.
        temperature_K: Temperature in K.
        settings: Of the run.
        failure: Why it did not end well.
    """
    try:
        trajectory = read_trajectory(path, settings.dynamics.frame_interval_fs, settings.skip_ps)
    except InputError as error:
        return {
            "temperature_K": temperature_K,
            "status": "failed",
            "reason": failure or str(error),
        }
    label = motion(trajectory, ion, temperature_K).label
    return {**label, "status": "failed", "reason": failure} if failure else label


def crystal_label(
    crystal: Crystal, ion: str, cell: Ordered, runs: list[Label], settings: MdSettings
) -> Label:
    """The label of a crystal: its runs, their Arrhenius fit, and how all came about."""
    n_ok = sum(run["status"] == "ok" for run in runs)
    dynamics = asdict(settings.dynamics)
    return {
        "id": crystal.id,
        "formula": cell.crystal.formula,
        "working_ion": ion,
        "family": crystal.family,
        "source": crystal.source,
        "method": METHOD,
        "calculator": settings.calculator.name,
        "calculator_version": settings.calculator.version,
        "settings": {**dynamics, "ensemble": "NVT", "skip_ps": settings.skip_ps},
        "n_atoms": cell.crystal.n_sites,
        "cell_made": f"{cell.how}; lattice as given, atoms relaxed before the run",
        "runs": runs,
        "arrhenius": arrhenius_label(runs),
        "status": "ok" if n_ok else runs[0]["status"],
        "reason": "" if n_ok else runs[0]["reason"],
    }


def _claim(task: MdTask, settings: MdSettings) -> dict[str, Any]:
    """What decides a run but its length: a run may be made longer."""
    record = json.dumps(crystal_to_json(task.cell.crystal), sort_keys=True)
    claim: dict[str, Any] = {
        CELL: hashlib.sha256(record.encode()).hexdigest(),
        "temperature_K": task.temperature_K,
        "calculator": settings.calculator.name,
        "calculator_version": settings.calculator.version,
        "calculator_arguments": dict(settings.calculator.arguments),
        **asdict(settings.dynamics),
    }
    del claim["n_steps"]
    return claim


def _check_claim(task: MdTask, settings: MdSettings) -> None:
    """Write down what a run is, or refuse to go on with one that is something else."""
    path, claim = task.path, _claim(task, settings)
    file = path.with_suffix(".json")
    if not path.exists():
        write_json(file, claim)
        return
    again = "; name another --out or remove it"
    if not sums_file(path).exists():
        raise InputError(f"{path}: cannot go on with this run, no checksums lie beside it{again}")
    try:
        before = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{file}: cannot be read ({type(error).__name__}){again}") from error
    of_cell = claim.pop(CELL)
    check_same(f"{path}: this run was", before, claim)
    if before.get(CELL) != of_cell:
        raise InputError(
            f"{path}: this run was of another crystal, or of another cell of it (--min-width-A, "
            f"--working-ion){again}"
        )


def file_name(id: str) -> str:
    """An id as a file's name; one that has to be changed or cut gets a checksum of the whole id."""
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", id)[:LONGEST_NAME]
    if plain == id:
        return plain
    return f"{plain}-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
