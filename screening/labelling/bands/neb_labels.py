"""Crystals and hops to labelled hop records by the nudged elastic band, one file, resumable."""

from __future__ import annotations

import gzip
import json
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from pymatgen.core import Composition

from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import Executor
from ionbridge.screening.execution.folder_lock import locked_file
from ionbridge.screening.execution.sealed_rows import (
    SEAL,
    check_same,
    checksum,
    sealed,
    sealed_rows,
)
from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
from ionbridge.screening.labelling.bands.checked_calculator import BrokenCalculationError
from ionbridge.screening.labelling.bands.hop_cell import (
    HopCell,
    hop_cell_of_crystal,
    hop_cell_of_hop,
)
from ionbridge.screening.labelling.bands.neb import (
    NebResult,
    NebSettings,
    neb_barrier,
    relaxed_crystal,
)
from ionbridge.screening.table import Row
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.io.reading import crystal_to_json, hop_to_json, write_json_lines
from ionbridge.structures.records import Crystal, FailedRecord, Hop, UnusableStructureError

Floats = NDArray[np.float64]

METHOD = "mlip_neb"
INPUT = "input_sha256"
"""Column with the checksum of what a row was made of."""
CHARGE = "neutral cell"
"""A missing ion takes its electron along: no charged defects."""


@dataclass(frozen=True, eq=False)
class NebTask:
    """One hop to be computed.

    Attributes:
        hop: The hop on the path to start from.
        crystal: The primitive crystal that it was found in; None for a hop record.
    """

    hop: Hop
    crystal: Crystal | None = None

    @property
    def id(self) -> str:
        """Id of the hop that is labelled."""
        return self.hop.id


def neb_tasks(
    records: Iterable[Crystal | Hop | FailedRecord], max_hops: int | None = None
) -> list[NebTask | FailedRecord]:
    """The hops of all records, in their order; what cannot be used stays as a failed record.

    Args:
        records: Crystals and hops.
        max_hops: Only so many of the shortest hops of each crystal; None for all of them.
    """
    tasks: list[NebTask | FailedRecord] = []
    for record in records:
        try:
            if isinstance(record, FailedRecord):
                tasks.append(record)
            elif isinstance(record, Hop):
                tasks.append(NebTask(profiled(record)))
            else:
                graph = find_hops(record)
                tasks += [NebTask(hop, graph.crystal) for hop in graph.hops[:max_hops]]
        except (UnusableStructureError, ValueError) as error:
            tasks.append(FailedRecord(record.id, str(error)))
    return tasks


@dataclass(frozen=True)
class NebLabeller:
    """A function from tasks to rows, for an executor.

    Attributes:
        calculator: What computes the energies.
        settings: How.
    """

    calculator: CalculatorChoice
    settings: NebSettings = field(default_factory=NebSettings)

    def __call__(self, tasks: Sequence[NebTask | FailedRecord]) -> list[Row]:
        """One row a task: a hop record with its label, or a reason."""
        return [self._row(task) for task in tasks]

    @property
    def provenance(self) -> dict[str, Any]:
        """What every row says about how it was made; rows of one file share it."""
        return {
            "method": METHOD,
            "calculator": self.calculator.name,
            "calculator_version": self.calculator.version,
            "calculator_arguments": dict(self.calculator.arguments),
            "charge": CHARGE,
            "neb": asdict(self.settings),
        }

    def _row(self, task: NebTask | FailedRecord) -> Row:
        if isinstance(task, FailedRecord):
            return failed_neb_row(task, task.reason)
        started, cpu = time.perf_counter(), time.process_time()
        try:
            calculator = shared_calculator(self.calculator)
            cell = self._cell(task, calculator)
            result = neb_barrier(cell, calculator, self.settings)
        except (UnusableStructureError, BrokenCalculationError) as error:
            return {**failed_neb_row(task, str(error)), **self.provenance}
        except Exception as error:  # one hop of many: a row, with the kind of error
            reason = f"{type(error).__name__}: {error}"
            return {**failed_neb_row(task, reason), **self.provenance}
        spent = {
            "wall_s": round(time.perf_counter() - started, 1),
            "cpu_s": round(time.process_time() - cpu, 1),
        }
        return {**labelled_record(task.hop, cell, result), **self.provenance, **spent}

    def _cell(self, task: NebTask, calculator: Calculator) -> HopCell:
        distance, most = self.settings.min_distance_A, self.settings.max_atoms
        if task.crystal is None:
            return hop_cell_of_hop(task.hop, distance, most)
        # what is refused is refused before any work
        hop_cell_of_crystal(task.crystal, task.hop, distance, most)
        relaxed = relaxed_crystal(task.crystal, calculator, self.settings)
        return hop_cell_of_crystal(task.crystal, task.hop, distance, most, relaxed)


def shared_calculator(choice: CalculatorChoice) -> Calculator:
    """The calculator, made once a process."""
    return _made(choice.name, json.dumps(dict(choice.arguments)))


@lru_cache(maxsize=1)
def _made(name: str, arguments: str) -> Calculator:
    return CalculatorChoice(name, json.loads(arguments)).make()


def labelled_record(hop: Hop, cell: HopCell, result: NebResult) -> Row:
    """The hop record of a result.

    Its host is the crystal around no particular ion, its path that of the band. A band that did not
    converge leaves ``barrier_eV`` out and has it as ``unconverged_barrier_eV``: no bound either, as
    its highest image is pushed up by forces across the path and lies below the top of the path
    until it has climbed there.
    """
    inverse = np.linalg.inv(cell.lattice)
    profile = hop.extra.get("bvse_profile_eV")
    record = Hop(
        id=cell.id,
        working_ion=cell.working_ion,
        lattice=cell.lattice,
        host_species=tuple({symbol: 1.0} for symbol in cell.symbols),
        host_frac=cell.host_A @ inverse,
        path_frac=result.path_A @ inverse,
        barrier_eV=round(result.barrier_eV, 4) if result.converged else None,
        barrier_backward_eV=round(result.barrier_backward_eV, 4) if result.converged else None,
        family=cell.family,
        extra={
            "composition": _formula(cell),
            "carrier": cell.carrier,
            "n_atoms": cell.n_atoms,
            "image_distance_A": round(cell.copies_A, 2),
            "image_energies_eV": [
                round(float(e - result.energies_eV[0]), 4) for e in result.energies_eV
            ],
            "bvse_barrier_eV": None if profile is None else round(float(max(profile)), 4),
            "final_force_eV_A": round(result.force_eV_A, 4),
            "n_steps": result.n_steps,
            "n_endpoint_steps": result.n_endpoint_steps,
            "n_force_calls": result.n_force_calls,
            "symmetric": result.symmetric,
            "converged": result.converged,
            "status": "ok" if result.converged else "failed",
            "reason": result.reason,
        },
    )
    row = hop_to_json(record)
    if cell.note:
        row["note"] = cell.note
        row["n_passed_sites"], row["passed_sites_A"] = len(cell.passed_A), cell.passed_A.tolist()
    if not result.converged:
        row["unconverged_barrier_eV"] = round(result.barrier_eV, 4)
        row["unconverged_barrier_backward_eV"] = round(result.barrier_backward_eV, 4)
    return row


def _formula(cell: HopCell) -> str:
    """Formula of the cell's content, moving ion included."""
    return str(Composition(Counter((*cell.symbols, cell.working_ion))).reduced_formula)


def failed_neb_row(task: NebTask | FailedRecord, reason: str) -> Row:
    """The row of a hop that has no result."""
    reason = " ".join(reason.removeprefix(f"{task.id}: ").split())
    return {"id": task.id, "converged": False, "status": "failed", "reason": reason}


def label_neb(
    tasks: Sequence[NebTask | FailedRecord],
    labeller: NebLabeller,
    out: Path,
    executor: Executor,
    report: Callable[[Row], object] = lambda row: None,
) -> list[Row]:
    """Compute all tasks that a file does not hold yet; the file grows hop by hop.

    Each row is there whole or not at all, so that a run killed at any moment goes on where it was.
    Rows that do not hold, or were made of another hop of the same id, are computed again and said.

    Args:
        tasks: What to compute; the ids of those that can be are unique.
        labeller: Calculator and settings.
        out: JSON lines (``.jsonl`` or ``.jsonl.gz``), in the order of the tasks; rows of other
            tasks that it holds follow.
        executor: Where it is computed.
        report: Is told every new row.

    Returns:
        The rows of all tasks.

    Raises:
        InputError: The file holds rows made otherwise, cannot be read, or another process works
            on it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked_file(out):
        made_of = [(task.id, input_checksum(task)) for task in tasks]
        wanted = frozenset(made_of)
        done = finished_rows(out, labeller, wanted)
        missing = {i: [task] for i, task in enumerate(tasks) if made_of[i] not in done}
        if missing:
            labeller.calculator.make()  # one line now rather than a reason in every row
        for i, (row,) in executor.map_shards(labeller, missing.items(), failed_neb_row):
            done[made_of[i]] = sealed({**row, INPUT: made_of[i][1]})
            report(done[made_of[i]])
            asked = [done[key] for key in made_of if key in done]
            others = [row for key, row in done.items() if key not in wanted]  # of earlier runs
            write_json_lines(out, [*asked, *others])
        return [done[key] for key in made_of]


def input_checksum(task: NebTask | FailedRecord) -> str:
    """SHA-256 of what a label is made of: the hop, and the crystal that it was found in."""
    if isinstance(task, FailedRecord):
        return checksum(task.reason)
    crystal = None if task.crystal is None else crystal_to_json(task.crystal)
    return checksum(json.loads(json.dumps([hop_to_json(task.hop), crystal], default=str)))


Made = tuple[str, str]
"""Id of a row, and checksum of what it was made of."""


def finished_rows(out: Path, labeller: NebLabeller, made_of: Collection[Made]) -> dict[Made, Row]:
    """Rows of a file that hold; on stderr why others do not.

    Args:
        out: The file.
        labeller: What must have made them.
        made_of: What the wanted rows must be made of.

    Raises:
        InputError: They were made with another calculator or other settings, or carry no
            checksums.
    """
    rows: dict[Made, Row] = {}
    wanted_ids = {id for id, _ in made_of}
    lines = _lines(out)
    if any(line.strip() for line in lines) and not any(f'"{SEAL}"' in line for line in lines):
        raise InputError(
            f"{out}: no file of labels to go on with, none of its lines carries a checksum; give "
            "another --out"
        )
    for number, found in sealed_rows(lines):
        if isinstance(found, dict):
            key = str(found.get("id")), str(found.get(INPUT))
            if key in made_of or key[0] not in wanted_ids:
                rows[key] = found
                continue
            found = f"{key[0]} was another hop"
        print(
            f"ionbridge: {out}: line {number}: {found}; left out, computed again if asked for",
            file=sys.stderr,
        )
    wanted = _flat(json.loads(json.dumps(labeller.provenance)))
    for row in rows.values():
        check_same(f"{out}: its rows were", {**wanted, **_flat(row)}, wanted)
    return rows


def read_rows(out: Path) -> list[Row]:
    """Rows of a finished file of labels, as they were written; none where there is no file.

    Raises:
        InputError: It is no such file.
    """
    try:
        return [json.loads(line) for line in _lines(out) if line.strip()]
    except ValueError as error:
        raise InputError(f"{out}: no file of labels ({error})") from error


def _lines(out: Path) -> list[str]:
    """Lines of a file of labels; none where there is no file yet.

    Raises:
        InputError: It cannot be read.
    """
    if not out.exists():
        return []
    opener = gzip.open if out.suffix == ".gz" else open
    try:
        with opener(out, "rt", encoding="utf-8", errors="replace") as stream:
            return list(stream)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{out}: no file of labels to go on with ({error})") from error


def _flat(row: Row) -> Row:
    """The row with its settings beside its other keys."""
    return {**row, **row.get("neb", {}), "neb": None}
