"""Batches of simulated discharges: worker processes, kill limit, resumable shards, one loader.

A folder of simulations has ``designs.csv`` (what was asked) and ``shards/*.jsonl`` (one row a
design, as `discharge` returns it, failures with their reason). `load_simulations` reads it into
arrays: the training data of the reduced-order models. ``python -m benchmarks.cell_simulations``
writes one folder a base cell below ``results/cell_simulations``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.screening.cell.base_cells import import_pybamm
from ionbridge.screening.cell.cell_model import N_THROUGH, cell_model
from ionbridge.screening.cell.designs import KEYS, Design, to_table
from ionbridge.screening.cell.discharge import END_STATES, FINER, N_POINTS, discharge, failed
from ionbridge.screening.cell.experiment_spread import SPREADS
from ionbridge.screening.cell.protocols import ProtocolRuns
from ionbridge.screening.cell.radial_mesh import FITTED, RadialMesh
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import (
    Executor,
    LocalProcesses,
    ThisProcess,
    TimeLimitExceededError,
    time_limit,
)
from ionbridge.screening.execution.folder_lock import LOCK_FILE, locked_folder
from ionbridge.screening.execution.shards import (
    DamagedShardError,
    ShardFolder,
    fingerprint,
    write_atomically,
    write_json,
)
from ionbridge.screening.table import Row, to_csv

Floats = NDArray[np.float64]

TIME_LIMIT_S = 60.0
"""Longest time for one discharge, the building of the model included."""

SHARD_SIZE = 16
DESIGNS_FILE, SETTINGS_FILE, SHARDS_FOLDER = "designs.csv", "settings.json", "shards"

RESULTS = (
    "capacity_Ah",
    "energy_Wh",
    "mean_voltage_V",
    "irreversible_heat_J",
    "reversible_heat_J",
    "fourier",
    "start_negative",
    "start_positive",
    *END_STATES,
)
"""What a solved discharge is described by, beside its curves."""


@dataclass(frozen=True)
class Discharges:
    """The work of one process: a list of designs to a list of rows.

    Attributes:
        model: ``DFN``, ``SPMe`` or ``SPM``.
        time_limit_s: Longest time for one design.
        mesh: Along the particle radius.
    """

    model: str = "DFN"
    time_limit_s: float = TIME_LIMIT_S
    mesh: RadialMesh = FITTED

    def __call__(self, designs: Sequence[Design]) -> list[Row]:
        """One row a design, in their order."""
        return [self._one(design) for design in designs]

    def _one(self, design: Design) -> Row:
        try:
            with time_limit(self.time_limit_s):
                return discharge(design, self.model, self.mesh)
        except TimeLimitExceededError as error:
            cell_model.cache_clear()  # a model interrupted while it was set up cannot be used again
            return failed(design, str(error))


def processes(workers: int | None = None) -> Executor:
    """Worker processes with PyBaMM at hand.

    Args:
        workers: Their number; None for one a core, 0 for none beside this process.
    """
    import_pybamm()
    preload = ("torch", "pybamm")
    if workers is None:
        return LocalProcesses(preload=preload)
    if workers < 0:
        raise InputError(f"--workers: expected 0 or more, got {workers}")
    return LocalProcesses(workers, preload) if workers else ThisProcess()


def simulate(
    designs: Sequence[Design],
    folder: Path,
    executor: Executor,
    work: Discharges | ProtocolRuns | None = None,
    resume: bool = False,
) -> Iterator[tuple[int, list[Row]]]:
    """Solve designs and keep the rows in a folder; yields (shard, rows) of those newly solved.

    Args:
        designs: What to solve; designs of one base cell are best kept together.
        folder: Where ``designs.csv`` and ``shards`` go.
        executor: Where the work is done.
        work: How it is done.
        resume: Go on with the shards that are there.

    Raises:
        InputError: The folder holds something else, or other designs.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    with locked_folder(folder):
        yield from _simulated(designs, folder, executor, work or Discharges(), resume)


def _simulated(
    designs: Sequence[Design],
    folder: Path,
    executor: Executor,
    work: Discharges | ProtocolRuns,
    resume: bool,
) -> Iterator[tuple[int, list[Row]]]:
    """See `simulate`; the folder is held by this process alone."""
    rows, columns = to_table(designs)
    table = to_csv(rows, columns)
    settings = {**asdict(work), "n_points": N_POINTS, "n_through": [N_THROUGH, FINER]}
    del settings["time_limit_s"]
    shards = ShardFolder(folder / SHARDS_FOLDER, fingerprint([settings, table]))
    if resume and (folder / DESIGNS_FILE).exists():
        try:
            known_designs = (folder / DESIGNS_FILE).read_text(encoding="utf-8")
            known_settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{folder}: cannot be resumed ({error}); choose another") from error
        if known_designs != table:
            raise InputError(f"{folder}: it holds other designs; choose another folder")
        if known_settings != settings:
            raise InputError(f"{folder}: it was solved with another model; choose another folder")
    elif any(p.name != LOCK_FILE for p in folder.iterdir()):
        raise InputError(f"{folder}: not empty; pass --resume to go on with it, or choose another")
    else:
        write_json(folder / SETTINGS_FILE, settings)
        write_atomically(folder / DESIGNS_FILE, table)
    pieces = {
        i: list(designs[first : first + SHARD_SIZE])
        for i, first in enumerate(range(0, len(designs), SHARD_SIZE))
    }
    ids = {i: [design.design_id for design in piece] for i, piece in pieces.items()}
    whole, damaged = shards.kept(ids)
    for index, why in damaged.items():
        print(f"ionbridge: {shards.file(index)}: {why}; solved again", file=sys.stderr)
    open_shards = {i: piece for i, piece in pieces.items() if i not in whole}
    for index, found in executor.map_shards(work, open_shards.items(), failed):
        shards.write(index, ids[index], found)
        yield index, found


def stored_rows(folder: Path) -> list[Row]:
    """All rows of a folder, in the order of its designs.

    Raises:
        InputError: A shard is not what was written.
    """
    shards = ShardFolder(folder / SHARDS_FOLDER)
    rows: list[Row] = []
    for index in sorted(shards.finished()):
        try:
            rows += shards.read(index)
        except DamagedShardError as error:
            raise InputError(
                f"{shards.file(index)}: {error}; `ionbridge cell simulate --resume` solves it again"
            ) from error
    return rows


@dataclass(frozen=True, eq=False)
class Simulations:
    """Solved discharges of one base cell as arrays; failed ones are left out.

    Attributes:
        base_cell: Its name.
        design_id: (n,) names.
        c_rate: (n,).
        temperature_K: (n,).
        parameters: Name -> (n,) values that the designs set, NaN where one does not.
        results: Name of RESULTS -> (n,), NaN where unknown.
        share: (n_points,) shares of the capacity at which the curves are given, 0 to 1.
        voltage_V: (n, n_points).
        open_circuit_V: (n, n_points) of the cell at rest at the same charge.
        failed: Design -> reason.
    """

    base_cell: str
    design_id: NDArray[np.str_]
    c_rate: Floats
    temperature_K: Floats
    parameters: Mapping[str, Floats]
    results: Mapping[str, Floats]
    share: Floats
    voltage_V: Floats
    open_circuit_V: Floats
    failed: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.c_rate)


def load_simulations(folder: Path) -> Simulations:
    """The simulations of a folder as arrays.

    Raises:
        InputError: The folder holds none, or those of several base cells.
    """
    rows = stored_rows(folder)
    solved = [row for row in rows if row["status"] == "ok"]
    if not solved:
        raise InputError(f"{folder}: no solved simulations in it")
    bases = sorted({row["base_cell"] for row in solved})
    if len(bases) > 1:
        raise InputError(f"{folder}: several base cells ({', '.join(bases)}); keep one a folder")
    known = {*KEYS, *RESULTS, *SPREADS, "voltage_V", "open_circuit_V", "status", "reason"}
    names = dict.fromkeys(name for row in solved for name in row if name not in known)

    def column(name: str) -> Floats:
        return np.array([_number(row.get(name)) for row in solved])

    return Simulations(
        base_cell=bases[0],
        design_id=np.array([row["design_id"] for row in solved]),
        c_rate=column("c_rate"),
        temperature_K=column("temperature_K"),
        parameters={name: column(name) for name in names},
        results={name: column(name) for name in RESULTS},
        share=np.linspace(0.0, 1.0, N_POINTS),
        voltage_V=np.array([row["voltage_V"] for row in solved]),
        open_circuit_V=np.array([row["open_circuit_V"] for row in solved]),
        failed={r["design_id"]: r["reason"] for r in rows if r["status"] != "ok"},
    )


def _number(value: Any) -> float:
    """A value as a float, NaN for none."""
    return float("nan") if value is None else float(value)
