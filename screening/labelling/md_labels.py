"""Crystals -> diffusivities by molecular dynamics, with an Arrhenius fit over temperatures."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from screening.errors import InputError
from screening.labelling.calculators import CalculatorChoice
from screening.labelling.diffusion_label import Label, arrhenius_label, motion
from screening.labelling.md import METHOD, Dynamics, DynamicsError, run_dynamics, simulation_cell
from screening.labelling.trajectory import read_trajectory
from screening.shards import write_json
from structures.composition import working_ion
from structures.io import crystal_to_json
from structures.ordering import Ordered
from structures.records import Crystal, FailedRecord, UnusableStructureError

Report = Callable[[str, float, int], None]
"""Called with the crystal's id, the temperature and the steps made."""


@dataclass(frozen=True)
class MdSettings:
    """What is simulated, and how it is analysed.

    Attributes:
        temperatures_K: Temperatures in K, in the order in which they are run.
        calculator: Forces.
        dynamics: Steps, time step and thermostat.
        min_width_A: Least distance of an atom from its periodic copies, angstrom.
        skip_ps: Left out of the analysis at the start of a run, for equilibration.
    """

    temperatures_K: tuple[float, ...]
    calculator: CalculatorChoice = field(default_factory=CalculatorChoice)
    dynamics: Dynamics = field(default_factory=Dynamics)
    min_width_A: float = 8.0
    skip_ps: float = 1.0


def md_labels(
    records: Sequence[Crystal | FailedRecord],
    settings: MdSettings,
    folder: Path,
    report: Report = lambda id, temperature_K, steps: None,
) -> Iterator[list[Label]]:
    """The labels so far, after every finished run.

    Args:
        records: Crystals, ordered or disordered.
        settings: See there.
        folder: Of the trajectories; a run that is in it goes on from its last frame.
        report: Progress.

    Yields:
        One label a crystal that has been begun: the last list is the whole answer.

    Raises:
        InputError: The folder holds a run of the same name with other settings, or the calculator
            cannot be made.
    """
    calculator = settings.calculator.make()
    folder.mkdir(parents=True, exist_ok=True)
    labels: list[Label] = []
    for record in records:
        labels.append({"id": record.id, "status": "failed", "reason": ""})
        try:
            if isinstance(record, FailedRecord):
                raise UnusableStructureError(record.reason)
            ion = working_ion(record)
            if not record.occupancy(ion).any():
                raise UnusableStructureError(f"no working ion '{ion}' in {record.formula}")
            cell = simulation_cell(record, settings.min_width_A, settings.dynamics.seed)
        except UnusableStructureError as error:
            labels[-1]["reason"] = str(error).removeprefix(f"{record.id}: ")
            yield labels
            continue
        runs: list[Label] = []
        for temperature_K in settings.temperatures_K:
            path = folder / f"{_file_name(record.id)}_{temperature_K:g}K.traj"
            _claim(path, cell, temperature_K, settings)
            progress = partial(report, record.id, temperature_K)
            reason = ""
            try:
                run_dynamics(
                    cell.crystal, calculator, temperature_K, settings.dynamics, path, progress
                )
            except DynamicsError as error:
                reason = str(error)
            runs.append(run_label(path, ion, temperature_K, settings, reason))
            labels[-1] = crystal_label(record, ion, cell, runs, settings)
            yield labels


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


def _claim(path: Path, cell: Ordered, temperature_K: float, settings: MdSettings) -> None:
    """Write down what a run is, or refuse to go on with one that is something else."""
    record = json.dumps(crystal_to_json(cell.crystal), sort_keys=True)
    claim: dict[str, Any] = {
        "cell_sha256": hashlib.sha256(record.encode()).hexdigest(),
        "temperature_K": temperature_K,
        "calculator": settings.calculator.name,
        "calculator_arguments": dict(settings.calculator.arguments),
        **asdict(settings.dynamics),
    }
    del claim["n_steps"]  # a run may be made longer
    file = path.with_suffix(".json")
    if not path.exists() or not file.exists():
        write_json(file, claim)
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    changed = [key for key in claim if before.get(key) != claim[key]]
    if changed:
        raise InputError(
            f"{path}: cannot go on with this run, changed since: {', '.join(changed)}; name "
            "another --out or remove it"
        )


def _file_name(id: str) -> str:
    """An id as a file's name."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", id)


def as_document(labels: Sequence[Label]) -> dict[str, Any]:
    """What goes into the file."""
    return {"labels": list(labels)}
