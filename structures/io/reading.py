"""Files and folders to records, and records to files.

One bad file, line or row is a ``FailedRecord`` with its reason; as many records come out as there
were inputs.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from ionbridge.structures.io.file_text import MAX_FILE_MB, PACKED, open_text
from ionbridge.structures.io.foreign_json import crystals_in_foreign_json, foreign_form
from ionbridge.structures.io.json_records import (
    crystal_from_json,
    crystal_to_json,
    hop_from_json,
    hop_to_json,
    is_hop_json,
)
from ionbridge.structures.io.structure_files import NAMES, crystal_of_cif, crystals_in_file
from ionbridge.structures.io.tables import (
    ConductivityRow,
    composition_difference,
    conductivity_row,
    is_conductivity_table,
    open_table,
)
from ionbridge.structures.plain_text import clean_text, readable_name, well_formed
from ionbridge.structures.records import (
    ContradictionError,
    Crystal,
    FailedRecord,
    Hop,
    UnusableStructureError,
)

__all__ = [
    "ConductivityRow",
    "InputRecord",
    "InputSurvey",
    "crystal_from_json",
    "crystal_to_json",
    "detect_kind",
    "hop_from_json",
    "hop_to_json",
    "input_files",
    "iter_records",
    "read_records",
    "survey",
    "write_cif",
    "write_extxyz",
    "write_json_lines",
]

InputRecord = Crystal | Hop | ConductivityRow | FailedRecord
InputKind = Literal["hops", "crystals", "conductivity_table"]
PathLike = str | os.PathLike[str]

_FORMS = {
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".cif": "cif",
    ".mcif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".contcar": "poscar",
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".traj": "traj",
}
_BROKEN_STREAM = (EOFError, OSError, zlib.error, lzma.LZMAError)
_PEEKED_LINES = 20


@dataclass(frozen=True)
class InputSurvey:
    """What an input holds, found by names and first lines.

    Attributes:
        kind: What the records are.
        counts: Number of files by what they are ("CIF", "hop file", ...).
    """

    kind: InputKind
    counts: Mapping[str, int]

    @property
    def message(self) -> str:
        """For example ``found crystals: 3 CIF, 1 crystal file``."""
        parts = ", ".join(f"{n} {name}" for name, n in self.counts.items())
        return f"found {self.kind.replace('_', ' ')}: {parts}"


def read_records(
    path: PathLike | Sequence[PathLike],
    working_ion: str | None = None,
    cifs: PathLike | None = None,
    max_file_MB: float = MAX_FILE_MB,
) -> list[InputRecord]:
    """All records of a file, a folder (recursively, in sorted order), or several of them.

    Args:
        path: CIF, POSCAR/CONTCAR, extended XYZ, ASE trajectory, JSON lines (crystals or hops), JSON
            of pymatgen, OPTIMADE or ASE, conductivity table in CSV, each also gzipped, or folders
            of them. Other files in a folder are passed over.
        working_ion: Set on crystals that name none.
        cifs: Folder with ``<ID>.cif`` for rows of a conductivity table.
        max_file_MB: Largest file that is read, after unpacking.

    Raises:
        ValueError: If the path does not exist or is a file of no known form.
    """
    return list(iter_records(path, working_ion, cifs, max_file_MB))


def iter_records(
    path: PathLike | Sequence[PathLike],
    working_ion: str | None = None,
    cifs: PathLike | None = None,
    max_file_MB: float = MAX_FILE_MB,
) -> Iterator[InputRecord]:
    """As ``read_records``, one record at a time."""
    seen: set[str] = set()
    for file, name in input_files(path):
        name = clean_text(name)
        for record in _file_records(file, name, None if cifs is None else Path(cifs), max_file_MB):
            if isinstance(record, FailedRecord):  # it takes no id from one that can be read
                yield _one_line(replace(record, file=readable_name(file)))
                continue
            if record.id in seen:
                formula = "" if isinstance(record, Hop) else record.formula
                yield FailedRecord(record.id, "duplicate id", formula, file=readable_name(file))
                continue
            seen.add(record.id)
            if working_ion and isinstance(record, Crystal) and record.working_ion is None:
                record = replace(record, working_ion=working_ion)
            yield record


def _one_line(record: FailedRecord) -> FailedRecord:
    """The record with nothing in it that a table or a terminal cannot show."""
    reason = clean_text(" ".join(record.reason.split()))
    return replace(
        record, id=clean_text(record.id), reason=reason, formula=clean_text(record.formula)
    )


def detect_kind(paths: PathLike | Sequence[PathLike]) -> InputKind:
    """What the input holds; see ``survey``."""
    return survey(paths).kind


def survey(paths: PathLike | Sequence[PathLike]) -> InputSurvey:
    """What the input holds, without reading all of it.

    Raises:
        ValueError: If it is missing, unreadable, of no known form, or mixed.
    """
    counts: Counter[str] = Counter()
    kinds: dict[InputKind, str] = {}
    columns = ""
    for file, _ in input_files(paths):
        kind, name = _kind_of_file(file)
        if kind is None:
            columns = columns or name
            continue
        counts[name] += 1
        kinds.setdefault(kind, file.name)
    given = _as_list(paths)
    if not kinds:
        raise ValueError(
            f"{', '.join(map(str, given))}: no hops, crystals or conductivity rows found; expected "
            "JSON lines (.jsonl, .json, .gz), CIF, POSCAR, extended XYZ or a conductivity table (a "
            "CSV file with a column 'Reduced Composition', 'True Composition' or 'Formula')"
            + columns
        )
    if len(kinds) > 1:
        found = ", ".join(f"{kind.replace('_', ' ')} ({name})" for kind, name in kinds.items())
        hint = "; pass CIFs of a table with --cifs" if "conductivity_table" in kinds else ""
        raise ValueError(f"mixed input: {found}; give one kind at a time{hint}")
    return InputSurvey(next(iter(kinds)), dict(counts))


def write_json_lines(path: PathLike, records: Iterable[Crystal | Hop | Mapping[str, Any]]) -> None:
    """Write one JSON object a line, gzipped if the name ends in ``.gz``; atomic (rename).

    Args:
        path: Target; parent folders are made.
        records: Crystals, hops, or plain objects written as they are.
    """
    lines = (well_formed(json.dumps(_to_json(r), ensure_ascii=False)) + "\n" for r in records)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part(target)
    if target.suffix == ".gz":
        # no name and no time in the header: equal records give equal bytes
        with part.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream:
            stream.writelines(line.encode() for line in lines)
    else:
        with part.open("w", encoding="utf-8") as text:
            text.writelines(lines)
    os.replace(part, target)


def write_cif(record: Crystal | Hop, path: PathLike) -> None:
    """Write a crystal, or a hop with its path images as partly filled sites, as CIF (P1).

    Occupancies of the images of a hop are one over their number: the ion is there once.
    """
    crystal = record if isinstance(record, Crystal) else _hop_as_crystal(record)
    from pymatgen.io.cif import CifWriter  # its tables of space groups take a tenth of a second

    _write_text(Path(path), str(CifWriter(crystal.to_pymatgen())))


def write_extxyz(hop: Hop, path: PathLike) -> None:
    """Write a hop as extended XYZ, one frame an image, the moving ion last.

    Disordered host sites show their most abundant element; column ``occupancy`` has its amount.
    """
    import ase
    import ase.io

    frames = []
    major = [max(site.items(), key=lambda item: item[1]) for site in hop.host_species]
    for image in hop.path_frac:
        frame = ase.Atoms(
            symbols=[symbol for symbol, _ in major] + [hop.working_ion],
            scaled_positions=np.vstack([hop.host_frac, image]),
            cell=hop.lattice,
            pbc=True,
        )
        # scaled_positions wraps nothing: the path stays unwrapped
        frame.set_array("occupancy", np.array([amount for _, amount in major] + [1.0]))
        frames.append(frame)
    text = io.StringIO()
    ase.io.write(text, frames, format="extxyz")
    _write_text(Path(path), text.getvalue())


def _to_json(record: Crystal | Hop | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(record, Crystal):
        return crystal_to_json(record)
    if isinstance(record, Hop):
        return hop_to_json(record)
    return record


def _hop_as_crystal(hop: Hop) -> Crystal:
    share = {hop.working_ion: 1.0 / len(hop.path_frac)}
    return Crystal(
        id=hop.id,
        lattice=hop.lattice,
        species=hop.host_species + (share,) * len(hop.path_frac),
        frac=np.vstack([hop.host_frac, hop.path_frac]),
    )


def _write_text(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part(target)
    part.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(part, target)


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.part")


def _as_list(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    if isinstance(paths, str | os.PathLike):
        return [Path(paths)]
    return [Path(p) for p in paths]


def input_files(paths: PathLike | Sequence[PathLike]) -> Iterator[tuple[Path, str]]:
    """(file, id prefix) of every file of a known form; the prefix is the path without suffix."""
    for given in _as_list(paths):
        if given.is_dir():
            for file in sorted(p for p in given.rglob("*") if p.is_file()):
                if _is_input(file):
                    yield file, _without_suffix(file.relative_to(given))
        elif given.is_file():
            if _form(given) is None:
                known = ", ".join(_FORMS)
                raise ValueError(
                    f"{given}: not a known form of input; expected a name ending in {known} "
                    "(or .gz, .bz2, .xz after it), or POSCAR/CONTCAR"
                )
            yield given, _without_suffix(Path(given.name))
        else:
            raise ValueError(f"{given}: no such file or folder")


def _is_input(file: Path) -> bool:
    """True for a file of a folder that is read; tables of anything else are passed over."""
    form = _form(file)
    if form is None or file.name.startswith("."):
        return False
    return form != "csv" or _kind_of_file(file)[0] is not None


def _form(file: Path) -> str | None:
    name = _unpacked_name(file)
    form = _FORMS.get(Path(name).suffix.lower())
    if form is None and name.upper().startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    return form


def _without_suffix(path: Path) -> str:
    name = _unpacked_name(path)
    if Path(name).suffix.lower() in _FORMS:
        name = Path(name).stem
    return readable_name(path.with_name(name).as_posix())


def _unpacked_name(path: Path) -> str:
    return path.stem if path.suffix.lower() in PACKED else path.name


def _file_records(file: Path, name: str, cifs: Path | None, max_MB: float) -> Iterator[InputRecord]:
    form = _form(file)
    assert form is not None
    if form == "json":
        items = _json_items(file, max_MB)
    elif form == "csv":
        items = _table_items(file, cifs, max_MB)
    else:
        items = _structure_items(file, form, max_MB)
    yield from _named(items, name)


Item = tuple[InputRecord | None, str]
"""A record, or None and the reason why there is none; records without an id have an empty one."""


def _named(items: Iterator[Item], name: str) -> Iterator[InputRecord]:
    """Give records without an id the file's name, plus ``#k`` if the file holds several."""
    current = next(items, None)
    if current is None:
        yield FailedRecord(name, "file holds no records")
        return
    following = next(items, None)
    several = following is not None
    k = 0
    while current is not None:
        record, reason = current
        id = f"{name}#{k}" if several else name
        if record is None:
            yield FailedRecord(id, reason)
        elif record.id:
            yield record
        else:
            yield replace(record, id=id)
        current, following = following, next(items, None)
        k += 1


def _structure_items(file: Path, form: str, max_MB: float) -> Iterator[Item]:
    done = 0
    try:
        for found in crystals_in_file(file, form, max_MB):
            if isinstance(found, ContradictionError):
                yield FailedRecord("", str(found), read=found.crystal), ""
            elif isinstance(found, UnusableStructureError):
                yield None, str(found)
            else:
                yield found, ""
            done += 1
    except _BROKEN_STREAM as error:
        yield None, _broken(file, error, done)


def _json_items(file: Path, max_MB: float) -> Iterator[Item]:
    done = 0
    try:
        with open_text(file, max_MB) as stream:
            for number, data in _json_values(stream):
                for item in _json_records(data, number):
                    yield item
                    done += 1
    except _BROKEN_STREAM as error:
        yield None, _broken(file, error, done)


def _json_values(stream: TextIO) -> Iterator[tuple[int, Any]]:
    """(line number, value) of every object: one a line, or a whole-file array or object.

    A line that is no JSON gives the error that says so.
    """
    lines: Iterator[tuple[int, str]]
    lines = ((number, line) for number, line in enumerate(stream, start=1) if line.strip())
    first = next(lines, None)
    if first is None:
        return
    if first[1].lstrip().startswith("[") or _goes_on(first[1]):
        rest = [first, *lines]
        content = _parsed("".join(line for _, line in rest), first[0])
        if not isinstance(content, UnusableStructureError):
            for element in content if isinstance(content, list) else [content]:
                yield first[0], element
            return
        lines = iter(rest)
    else:
        yield first[0], _parsed(first[1], first[0])
    for number, line in lines:
        yield number, _parsed(line, number)


def _goes_on(line: str) -> bool:
    """True for a line that is the start of an object over several lines."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line.rstrip())
    except (RecursionError, ValueError):
        pass
    return False


def _parsed(text: str, number: int) -> Any:
    """The value of a JSON text, or the error that says what is wrong with it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at column {error.colno}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError:  # an integer of thousands of digits
        reason = "a number too long to read"
    return UnusableStructureError(f"line {number}: invalid JSON ({reason})")


def _json_records(data: Any, number: int) -> Iterator[Item]:
    """The records of one JSON value."""
    if isinstance(data, UnusableStructureError):
        yield None, str(data)
        return
    if not isinstance(data, dict):
        yield None, f"line {number}: expected a JSON object, got {type(data).__name__}"
        return
    if "x-optimade" in data:  # the header of OPTIMADE's JSON lines
        return
    form = foreign_form(data)
    if form is not None:
        for id, found in crystals_in_foreign_json(data, form):
            if isinstance(found, UnusableStructureError):
                yield (FailedRecord(id, str(found)), "") if id else (None, str(found))
            else:
                yield replace(found, id=id), ""
        return
    try:
        yield (hop_from_json(data) if is_hop_json(data) else crystal_from_json(data, id="")), ""
    except UnusableStructureError as error:
        if data.get("id"):
            formula = str(data.get("formula") or "")
            yield FailedRecord(str(data["id"]), str(error), formula), ""
        else:
            yield None, f"line {number}: {error}"


def _table_items(file: Path, cifs: Path | None, max_MB: float) -> Iterator[Item]:
    done = 0
    try:
        with open_table(file, max_MB) as (columns, rows):
            if not is_conductivity_table(columns):
                yield None, f"not a conductivity table (columns: {', '.join(columns[:8])})"
                return
            for row in rows:
                record = conductivity_row(row, "")
                yield (
                    (
                        record
                        if not isinstance(record, ConductivityRow)
                        else _with_cif(record, cifs, max_MB)
                    ),
                    "",
                )
                done += 1
    except _BROKEN_STREAM as error:
        yield None, _broken(file, error, done)
    except ValueError as error:
        yield None, str(error)


def _with_cif(row: ConductivityRow, cifs: Path | None, max_MB: float) -> ConductivityRow:
    """The row with its crystal; one without, or with an unusable CIF, goes on and says so."""
    if cifs is None or not row.id:
        return row
    try:
        crystal = crystal_of_cif(cifs, row.id, max_MB)
    except UnusableStructureError as error:
        reason = f"{row.id}.cif is not used: {error}"
        notes = (*row.notes, reason)
        return replace(row, notes=notes, extra={**row.extra, "cif_error": str(error)})
    if crystal is None:
        return replace(row, notes=(*row.notes, f"no {row.id}.cif in the folder of --cifs"))
    difference = composition_difference(row.composition, crystal.composition)
    if difference:
        crystal = crystal.with_notes(f"{row.id}.cif holds {crystal.formula}: {difference}")
    notes = (*row.notes, *crystal.notes)
    return replace(row, crystal=replace(crystal, family=row.family), notes=notes)


def _broken(file: Path, error: Exception, done: int) -> str:
    if isinstance(error, EOFError | zlib.error | lzma.LZMAError):
        packing = {".bz2": "bzip2", ".xz": "xz"}.get(file.suffix.lower(), "gzip")
        return f"{file.name} ends early (truncated or damaged {packing}) after {done} records"
    return f"{file.name} cannot be read: {' '.join(str(error).split())}"


def _kind_of_file(file: Path) -> tuple[InputKind | None, str]:
    """What a file holds and its name; without a kind, what can be said of it."""
    form = _form(file)
    if form == "json":
        return _kind_of_json(file)
    if form == "csv":
        try:
            with open_table(file) as (columns, _):
                pass
        except (*_BROKEN_STREAM, ValueError):
            return None, ""
        if is_conductivity_table(columns):
            return "conductivity_table", "conductivity table"
        return None, f"; {file.name} has the columns {', '.join(columns)}"
    return "crystals", NAMES[str(form)]


def _kind_of_json(file: Path) -> tuple[InputKind | None, str]:
    try:
        with open_text(file) as stream:
            for _, (_, data) in zip(range(_PEEKED_LINES), _json_values(stream), strict=False):
                if not isinstance(data, dict):
                    continue
                if is_hop_json(data):
                    return "hops", "hop file"
                if "species" in data or foreign_form(data) is not None:
                    return "crystals", "crystal file"
    except _BROKEN_STREAM:
        pass
    return None, ""
