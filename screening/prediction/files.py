"""What ``ionbridge predict`` does: any input to a table, as many rows out as in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, tee
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from ionbridge.models.library import DEFAULTS
from ionbridge.screening.campaign.refine_settings import RefineSettings
from ionbridge.screening.campaign.refinement import Refiner, better, fidelity_columns, refused_row
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import Executor, Work
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.conductivities import (
    COLUMNS_WITH_SOURCES,
    CONDUCTIVITY_COLUMNS,
    FROM_CRYSTAL,
    conductivity_rows,
    with_crystal,
)
from ionbridge.screening.prediction.crystals import CrystalPredictor, loaded_model
from ionbridge.screening.prediction.diffusivities import DIFFUSIVITY_COLUMNS, diffusivity_rows
from ionbridge.screening.prediction.fidelity import Method, choice_of
from ionbridge.screening.prediction.hops import (
    HOP_COLUMNS,
    POTENTIAL_COLUMNS,
    HopPredictor,
    any_model,
)
from ionbridge.screening.prediction.rows import failed_prediction
from ionbridge.screening.table import COLUMNS, Row, checked_row, failed_row
from ionbridge.structures.io.file_text import MAX_FILE_MB
from ionbridge.structures.io.reading import InputKind, InputRecord, iter_records, survey
from ionbridge.structures.io.tables import ROOM_RANGE_K, ConductivityRow
from ionbridge.structures.records import Crystal, FailedRecord

Quantity = Literal["migration_barrier", "diffusivity", "conductivity"]
Potential = Literal["none", "rigid", "short", "band"]
METHOD: dict[Potential, Method] = {
    "none": "network",
    "rigid": "energies",
    "short": "short",
    "band": "neb",
}
READS_RIGID = "hop-barrier-chgnet"
"""The shipped model that reads energies in a rigid host itself."""

CRYSTAL_COLUMNS = ("id", *COLUMNS)
SHARD_SIZE = 16
AT_A_TIME = 2000
"""Rows of a table that are predicted together."""


@dataclass(frozen=True)
class Input:
    """Records of an input, and what they are.

    Attributes:
        kind: ``hops``, ``crystals`` or ``conductivity_table``.
        records: As they came; what could not be read is a failed record.
        found: One line that says what was found.
    """

    kind: InputKind
    records: Sequence[InputRecord]
    found: str


@dataclass(frozen=True)
class InputStream:
    """Records of an input that are read one after the other, each time they are asked for.

    Attributes:
        kind: See `Input`.
        records: See `Input`.
        found: See `Input`.
    """

    kind: InputKind
    records: RecordStream
    found: str


@dataclass(frozen=True)
class RecordStream:
    """The records of some files and folders.

    Attributes:
        paths: Files and folders.
        cifs: Folder with ``<ID>.cif`` for the rows of a table.
        max_file_MB: Largest file that is read, after unpacking.
    """

    paths: tuple[Path, ...]
    cifs: Path | None
    max_file_MB: float

    def __iter__(self) -> Iterator[InputRecord]:
        """One after the other."""
        return iter_records(self.paths, None, self.cifs, self.max_file_MB)


@dataclass(frozen=True)
class Predictions:
    """A table of predictions.

    Attributes:
        columns: Their order.
        rows: One a record, in the order of the input (for migration barriers of crystals: one a
            hop).
        model: Name or folder of the model that made them.
    """

    columns: Sequence[str]
    rows: list[Row]
    model: str

    @property
    def n_ok(self) -> int:
        """Number of rows with a result."""
        return sum(row["status"] == "ok" for row in self.rows)


def read_input(
    paths: Sequence[Path], cifs: Path | None = None, max_file_MB: float = MAX_FILE_MB
) -> Input:
    """Read what the command line names.

    Args:
        paths: Files and folders.
        cifs: Folder with ``<ID>.cif`` for the rows of a table.
        max_file_MB: Largest file that is read, after unpacking.

    Raises:
        InputError: Missing, unreadable, of no known form, or of several kinds.
    """
    found = stream_input(paths, cifs, max_file_MB)
    try:
        return Input(found.kind, list(found.records), found.found)
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error


def stream_input(
    paths: Sequence[Path], cifs: Path | None = None, max_file_MB: float = MAX_FILE_MB
) -> InputStream:
    """As `read_input`, the records not read yet."""
    if cifs is not None and not cifs.is_dir():
        raise InputError(f"--cifs {cifs}: no such folder")
    try:
        found = survey(paths)
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    return InputStream(found.kind, RecordStream(tuple(paths), cifs, max_file_MB), found.message)


def known_by_number(data: InputStream) -> Input | InputStream:
    """The input as it is, or read where it is small, so that its number of records is known.

    Raises:
        InputError: It cannot be read.
    """
    try:
        first = list(islice(data.records, AT_A_TIME + 1))
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    return data if len(first) > AT_A_TIME else Input(data.kind, first, data.found)


def predict(
    data: Input,
    quantity: Quantity | None,
    model: str | None,
    conditions: Conditions,
    executor: Executor,
    progress: bool = False,
    potential: Potential | None = None,
) -> Predictions:
    """Predict every record of an input; see :func:`predicted`."""
    columns, rows, name = predicted(
        data, quantity, model, conditions, executor, progress, potential
    )
    return Predictions(columns, list(rows), name)


def predicted(
    data: Input | InputStream,
    quantity: Quantity | None,
    model: str | None,
    conditions: Conditions,
    executor: Executor,
    progress: bool = False,
    potential: Potential | None = None,
) -> tuple[Sequence[str], Iterator[Row], str]:
    """Predict the records of an input one after the other.

    Args:
        data: Hops, crystals or rows of a conductivity table.
        quantity: By default the one that fits the kind of input.
        model: Name or folder; by default the best shipped one. A hop model predicts those rows
            of a conductivity table that have a CIF. A conductivity model predicts all rows; those
            with a CIF get the estimate that their crystal gets.
            A model of diffusivities takes the compositions of such a table.
        conditions: Temperature and sampling of crystals.
        executor: Where the work is done.
        progress: Whether to show a progress bar.
        potential: What a universal potential computes beside the model: nothing, energies of the
            ion on its path in a rigid host, a short relaxation, or a band; of a crystal, for the
            hops that decide. By default what the model reads.

    Returns:
        Columns, rows in the order of the records, and name or folder of the model.

    Raises:
        MissingExtraError: The potential is not installed.
        InputError: The quantity, or the temperature, cannot be had from this kind of input.
        IncompatibleModelError: Unknown or broken model.
    """
    rows: Iterator[Row]
    is_table = data.kind == "conductivity_table"
    method = METHOD[potential or "none"]
    settings = RefineSettings()
    if is_table and method != "network":
        raise InputError("--potential: a conductivity table has no hops; give hops or crystals")
    name = model or DEFAULTS["conductivity" if is_table else "migration_barrier"]
    if data.kind == "hops" and quantity not in (None, "migration_barrier"):
        raise InputError(
            f"hops give migration_barrier, not {quantity}; give crystals for {quantity}"
        )
    learnt = any_model(name).quantity if is_table else None
    if learnt == "diffusivity":
        if quantity not in (None, "diffusivity"):
            raise InputError(f"model '{name}' predicts diffusivity, not {quantity}")
        at = conditions.temperature_K
        lines = partial(diffusivity_rows, any_model(name), temperature_K=at)
        rows = (r for part in _some_at_a_time(data.records) for r in lines(part))
        return DIFFUSIVITY_COLUMNS, rows, name
    if is_table and quantity not in (None, "conductivity"):
        raise InputError(f"a conductivity table gives conductivity, not {quantity}")
    if learnt == "conductivity":
        _check_room_temperature(name, conditions.temperature_K)
        with_cif = _has_crystals(data.records)
        for_rows, for_crystals = tee(data.records) if with_cif else (data.records, ())
        known = partial(conductivity_rows, any_model(name))
        rows = (r for part in _some_at_a_time(for_rows) for r in known(part))
        if not with_cif:
            return CONDUCTIVITY_COLUMNS, rows, name
        beside = CrystalPredictor(DEFAULTS["migration_barrier"], conditions)
        crystals = map(_crystal_of, for_crystals)
        found = _mapped(beside, crystals, failed_row, executor, progress, _size(data.records))
        own = name != DEFAULTS["conductivity"]
        both = (with_crystal(row, crystal, own) for row, crystal in zip(rows, found, strict=True))
        return COLUMNS_WITH_SOURCES, both, name
    size = _size(data.records)
    if data.kind == "hops" or quantity == "migration_barrier":
        if any_model(name).inputs != "hop":
            predicts = any_model(name).quantity
            raise InputError(f"model '{name}' predicts {predicts}, not barriers of hops")
        if potential == "rigid":
            name = model or READS_RIGID
            if any_model(name).asks_for_profile:
                method = "network"  # joined by the model itself
        if method != "network":
            choice_of(method, settings).make()  # one line now rather than a note in every row
        work = HopPredictor(name, method, potential != "none", settings)
        rows = _mapped(work, data.records, failed_prediction, executor, progress, size)
        rows = (r for row in rows for r in row.get("hops", [row]))
        return HOP_COLUMNS if method == "network" else POTENTIAL_COLUMNS, rows, name
    loaded_model(name)
    predictor = CrystalPredictor(name, conditions)
    if data.kind == "crystals" and method == "network":
        rows = _mapped(predictor, data.records, failed_row, executor, progress, size)
        return CRYSTAL_COLUMNS, ({"id": r["candidate_id"], **r} for r in rows), name
    if data.kind == "crystals":
        choice_of(method, settings).make()
        work_on = partial(_refined, predictor, Refiner(method, predictor, settings))
        refined = (
            row
            for part in _some_at_a_time(data.records)
            for row in work_on(part, executor, progress)
        )
        return CRYSTAL_COLUMNS, ({"id": r["candidate_id"], **r} for r in refined), name
    rows = _mapped(predictor, map(_crystal_of, data.records), failed_row, executor, progress, size)
    return CONDUCTIVITY_COLUMNS, map(_conductivity_row, rows), name


def _refined(
    predictor: CrystalPredictor,
    refiner: Refiner,
    records: Sequence[InputRecord],
    executor: Executor,
    progress: bool,
) -> list[Row]:
    """Rows of crystals, where they have a result joined with what a potential says."""
    rows = list(_mapped(predictor, records, failed_row, executor, progress, len(records)))
    ok = [k for k, row in enumerate(rows) if row["status"] == "ok"]
    chosen = [records[k] for k in ok]
    refined = _mapped(refiner, chosen, refused_row, executor, progress, len(chosen))
    for k, row in zip(ok, refined, strict=True):
        rows[k] = better({**rows[k], **fidelity_columns("network")}, row)
    return rows


def _some_at_a_time(records: Iterable[InputRecord]) -> Iterator[list[InputRecord]]:
    left = iter(records)
    while some := list(islice(left, AT_A_TIME)):
        yield some


def _has_crystals(records: Sequence[InputRecord] | RecordStream) -> bool:
    """Whether a row of a table has a crystal beside it."""
    if isinstance(records, RecordStream) and records.cifs is None:
        return False
    return any(isinstance(r, ConductivityRow) and r.crystal is not None for r in records)


def _size(records: Sequence[InputRecord] | RecordStream) -> int | None:
    return None if isinstance(records, RecordStream) else len(records)


def _check_room_temperature(name: str, temperature_K: float) -> None:
    low, high = ROOM_RANGE_K
    if not low <= temperature_K <= high:
        raise InputError(
            f"model '{name}' knows room temperature only ({low:g} to {high:g} K), not "
            f"{temperature_K:g} K; rows with a CIF (<ID>.cif in the folder of --cifs) are "
            f"predicted at any temperature with --model {DEFAULTS['migration_barrier']}"
        )


def _crystal_of(record: InputRecord) -> Crystal | FailedRecord:
    """The crystal of a row of a conductivity table, or why there is none."""
    if not isinstance(record, ConductivityRow):
        return record if isinstance(record, FailedRecord) else FailedRecord(record.id, "no table")
    if record.crystal is None:
        of_cif = [note for note in record.notes if ".cif" in note]
        why = "; ".join(of_cif) or "no CIF for this row (name their folder with --cifs)"
        return FailedRecord(record.id, f"{why}: this model starts from crystals", record.formula)
    return record.crystal


def _conductivity_row(row: Row) -> Row:
    """The columns of a conductivity table from those of a crystal."""
    return {
        "id": row["candidate_id"],
        **{k: row[k] for k in CONDUCTIVITY_COLUMNS if k in row},
        **{name: row[c] for name, c in FROM_CRYSTAL.items() if name in CONDUCTIVITY_COLUMNS},
    }


def _mapped(
    work: Work,
    records: Iterable[Any],
    failed: Callable[[Any, str], Row],
    executor: Executor,
    progress: bool,
    size: int | None,
) -> Iterator[Row]:
    """Rows of all records in their order, as they are ready."""
    left = iter(records)
    pieces = iter(lambda: list(islice(left, SHARD_SIZE)), [])
    done: dict[int, list[Row]] = {}
    following = 0
    with tqdm(total=size, unit=" records", disable=not progress) as bar:
        for index, rows in executor.map_shards(work, enumerate(pieces), failed):
            done[index] = rows
            bar.update(len(rows))
            while following in done:
                yield from map(checked_row, done.pop(following))
                following += 1
