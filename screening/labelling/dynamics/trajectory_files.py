"""Trajectory files -> frames, one after the other: XDATCAR, vasprun.xml, extended xyz, LAMMPS, ASE.

What GROMACS, AMBER, CHARMM and NAMD write is read through MDAnalysis where that is installed.
A frame that cannot be read is `Damage` with its reason, and reading goes on with the next frame
that is whole. Whether a file tells its time is said with every frame: a mark (a step number or a
time) and the clock that it belongs to.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase.data import chemical_symbols
from ase.io.trajectory import Trajectory as AseTrajectory
from numpy.typing import NDArray

from ionbridge.screening.errors import InputError

Floats = NDArray[np.float64]
ELEMENTS = frozenset(chemical_symbols[1:])
FLAT_CELL_A3 = 1e-6
"""A cell of less volume is none."""
CHUNK_BYTES = 1 << 20
ASE_MAGIC = b"- of Ulm"
LAMMPS_MAGIC = b"ITEM:"


@dataclass(frozen=True)
class Clock:
    """What the marks of a file's frames are.

    Attributes:
        name: As it is called in messages.
        unit_fs: Femtoseconds a unit; None where the file counts steps of a length it does not say.
        assumed: The unit is a convention, not a statement of the file.
    """

    name: str
    unit_fs: float | None = None
    assumed: bool = False


STEPS = Clock("step numbers")
ATOM_DIGITS, STEP_DIGITS = 8, 18
"""Longest numbers of atoms and of steps; a file that claims more is no trajectory."""
PICOSECONDS = Clock("times", 1e3)
TIME_KEYS = {
    "time": Clock("Time=", 1.0, assumed=True),
    "md_time": Clock("md_time=", 1.0, assumed=True),
    "time_fs": Clock("time_fs=", 1.0),
    "time_ps": Clock("time_ps=", 1e3),
    "step": STEPS,
    "md_step": STEPS,
    "timestep": STEPS,
}
"""Keys of extended xyz that say when a frame was, the first that is there counts."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One configuration.

    Attributes:
        symbols: One element an atom.
        lattice: (3, 3) rows, angstrom.
        frac: (n_atoms, 3) fractional coordinates, wrapped or not.
        mark: Step number or time, as the file states it.
        clock: What `mark` is; None where there is none.
        unwrapped: The coordinates are known to follow the atoms through the boundaries.
    """

    symbols: tuple[str, ...]
    lattice: Floats
    frac: Floats
    mark: float | None = None
    clock: Clock | None = None
    unwrapped: bool = False


@dataclass(frozen=True)
class Damage:
    """A frame that cannot be read, or lines that belong to none.

    Attributes:
        reason: What is wrong.
        n_frames: Frames that are lost by it.
    """

    reason: str
    n_frames: int = 1


@dataclass(frozen=True)
class Form:
    """What else must be known to read a file.

    Attributes:
        elements: Element of type 1, 2, ..., where the file numbers its atoms' types.
        topology: File that says what the atoms are, where the trajectory does not.
    """

    elements: tuple[str, ...] = ()
    topology: Path | None = None


class _MalformedError(ValueError):
    """Text that is not what its form promises."""


class _UnknownError(ValueError):
    """A file that does not say what must be known."""


def frames_of(path: Path, form: Form) -> Iterator[Frame | Damage]:
    """The frames of a file of any known form.

    Args:
        path: XDATCAR, vasprun.xml, extended xyz or LAMMPS dump, plain or compressed (.gz, .bz2,
            .xz), ASE .traj, or what MDAnalysis reads.
        form: See there.

    Raises:
        InputError: No such file, an unknown form, or one that needs what is not given.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such trajectory file")
    try:
        with _opened(path) as stream:
            start = stream.read(64)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    name = path.name.lower()
    name = name.removesuffix(next((s for s in _OPENERS if name.endswith(s)), ""))
    if start.startswith(ASE_MAGIC) or name.endswith(".traj"):
        return _ase_frames(path)
    if start.startswith(LAMMPS_MAGIC):
        return _text_frames(path, partial(_lammps_frames, form=form))
    for known, reader in _TEXT_READERS.items():
        if known in name:
            return _text_frames(path, partial(reader, form=form))
    if form.topology is not None or Path(name).suffix in MDANALYSIS_SUFFIXES:
        return _mdanalysis_frames(path, form)
    raise InputError(
        f"{path}: unknown form of trajectory; known are XDATCAR, vasprun.xml, .extxyz, .xyz (with "
        "the form in the file's name), LAMMPS dumps, .traj of ASE, and with --topology what "
        "MDAnalysis reads (.xtc, .trr, .nc, .dcd)"
    )


_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def _opened(path: Path) -> IO[bytes]:
    """The file, decompressed."""
    opener = _OPENERS.get(path.suffix.lower(), open)
    stream: IO[bytes] = opener(path, "rb")
    return stream


class _Lines:
    """Lines of a file, of which the last may be given back.

    Attributes:
        starts: True for a line with which a frame begins.
    """

    def __init__(self, stream: IO[bytes], starts: Callable[[bytes], bool]) -> None:
        self.stream, self.number, self.held = stream, 0, b""
        self.starts = starts

    def skip(self) -> None:
        """Go on at the next line with which a frame begins."""
        while line := self.next():
            if self.starts(line):
                self.back(line)
                return

    def end(self, n_rows: int) -> None:
        """Nothing may follow but the next frame."""
        line = self.next()
        self.back(line)
        if line.strip() and not self.starts(line) and _is_number(line.split()[-1]):
            raise _MalformedError(f"line {self.number + 1}: more lines than its {n_rows} atoms")

    def next(self) -> bytes:
        """The next line; empty at the end."""
        line, self.held = self.held or self.stream.readline(), b""
        self.number += bool(line)
        return line

    def back(self, line: bytes) -> None:
        """Give a line back."""
        self.held = line
        self.number -= bool(line)

    def needed(self) -> str:
        """The next line of a frame that has begun."""
        line = self.next()
        if not line:
            raise _MalformedError("the file ends in it")
        return line.decode("utf-8", "replace")

    def rows(self, n_rows: int) -> Floats:
        """(n, 3) numbers, three a line."""
        return _numbers(self.words(n_rows, 3), self.number)

    def words(self, n_rows: int, n_words: int) -> list[list[bytes]]:
        """Words of lines; of more words than wanted only what is no number may be left over."""
        rows = []
        for _ in range(n_rows):
            line = self.next()
            row = line.split()
            if not line:
                raise _MalformedError("the file ends in it")
            if len(row) != n_words or self.starts(line):
                number = self.number
                self.back(line)
                raise _MalformedError(f"line {number} has {len(row)} words instead of {n_words}")
            rows.append(row)
        if n_rows > 1 and not line.endswith(b"\n") and _decimals(row) < _decimals(rows[-2]):
            raise _MalformedError("the last line is cut")
        return rows


def _decimals(row: list[bytes]) -> int:
    """Digits behind the point of the last word."""
    return len(row[-1].partition(b".")[2])


def _numbers(words: list[list[bytes]], line: int) -> Floats:
    """Words as numbers that are finite; `line` is the last of them."""
    try:
        numbers = np.array(words, dtype=float)
    except ValueError as error:
        raise _MalformedError(f"not a number before line {line + 1} ({error})") from error
    if not np.isfinite(numbers).all():
        raise _MalformedError(f"numbers that are not finite before line {line + 1}")
    return numbers


def _text_frames(
    path: Path, reader: Callable[[IO[bytes]], Iterator[Frame | Damage]]
) -> Iterator[Frame | Damage]:
    """Frames of a text file; a compressed stream that breaks off is damage at its end."""
    with _opened(path) as stream:
        try:
            yield from reader(stream)
        except (EOFError, lzma.LZMAError) as error:
            yield Damage(f"the compressed stream breaks off: {error}")
        except (_MalformedError, _UnknownError) as error:
            raise InputError(f"{path}: {error}") from error


def _xdatcar_frames(stream: IO[bytes], form: Form) -> Iterator[Frame | Damage]:
    """Frames of an XDATCAR: title, scale, lattice, elements, counts, then blocks of coordinates.

    The header may be repeated, before every block (changing cell) or where runs were joined; its
    title may be blank.
    """
    lines = _Lines(stream, _starts_block)
    header: tuple[tuple[str, ...], Floats] | None = None
    while line := lines.next():
        if not _starts_block(line):
            blank = not line.strip()
            if header is not None and blank and _blank_until_block(lines):
                continue
            try:
                header = _xdatcar_header(lines, form)
            except _MalformedError as error:
                if header is None and not blank:
                    raise
                yield Damage(f"lines that are no header: {error}", n_frames=0)
                lines.skip()
                continue
            line = lines.next()
            if not _starts_block(line):
                if not line:
                    yield Damage("the file ends before its coordinates")
                    return
                raise _MalformedError(f"expected 'Direct configuration=', got {line.strip()!r}")
        if header is None:
            raise _MalformedError("coordinates without a header before them")
        symbols, lattice = header
        mark = re.search(rb"=\s*(\d+)\s*$", line)
        try:
            frac = lines.rows(len(symbols))
            lines.end(len(symbols))
        except _MalformedError as error:
            yield Damage(str(error))
            lines.skip()
            continue
        yield Frame(symbols, lattice, frac, *((float(mark[1]), STEPS) if mark else ()))


def _starts_block(line: bytes) -> bool:
    return line.lstrip()[:6].lower() == b"direct"


def _blank_until_block(lines: _Lines) -> bool:
    """True where nothing but blank lines comes before the next block, or the file's end."""
    while line := lines.next():
        if line.strip():
            lines.back(line)
            return _starts_block(line)
    return True


def _xdatcar_header(lines: _Lines, form: Form) -> tuple[tuple[str, ...], Floats]:
    """Elements and lattice; the title line is already read."""
    scale = _numbers([lines.needed().encode().split()[:1]], lines.number).ravel()
    if len(scale) != 1:
        raise _MalformedError("line 2 of the header holds no scale")
    lattice = lines.rows(3)
    names = lines.needed().split()
    counts = names if names and all(n.isdigit() for n in names) else lines.needed().split()
    if counts is names:
        names = list(form.elements)
    if not names or not all(name[0].isalpha() for name in names):
        raise _MalformedError(
            "line 6 of the header holds no elements; VASP 5 writes them there, else name them "
            "with --elements"
        )
    if len(counts) != len(names) or not all(c.isdigit() and len(c) <= ATOM_DIGITS for c in counts):
        got = " ".join(counts)[:40]
        raise _MalformedError(f"{len(names)} elements but the counts are {got!r}")
    symbols = tuple(
        name.partition("_")[0].partition("/")[0]
        for name, count in zip(names, counts, strict=True)
        for _ in range(int(count))
    )
    volume = abs(np.linalg.det(lattice))
    factor = (-scale[0] / volume) ** (1 / 3) if scale[0] < 0 else scale[0]
    return symbols, lattice * factor


def _xyz_frames(stream: IO[bytes], form: Form) -> Iterator[Frame | Damage]:
    """Frames of extended xyz: number of atoms, a line with Lattice and Properties, the atoms.

    Atoms that carry numbers of their own (a column ``id``) are put in the order of those.
    """
    lines = _Lines(stream, lambda line: line.strip().isdigit())
    whole = False
    while line := lines.next():
        if not line.strip():
            continue
        try:
            if not line.strip().isdigit() or len(line.strip()) > ATOM_DIGITS:
                got = line[:200].decode("utf-8", "replace").strip()[:40]
                raise _MalformedError(f"expected a number of atoms, got {got!r}")
            yield _xyz_frame(lines, int(line), form)
            whole = True
        except _MalformedError as error:
            if not whole and lines.number <= 2:
                raise
            yield Damage(str(error))
            lines.skip()


def _xyz_frame(lines: _Lines, n_atoms: int, form: Form) -> Frame:
    """One frame; its number of atoms is already read."""
    from ase.io.extxyz import key_val_str_to_dict

    comment = lines.needed()
    if not comment.endswith("\n"):
        raise _MalformedError("the line with the lattice is cut")
    try:
        info = {key.lower(): value for key, value in key_val_str_to_dict(comment).items()}
    except ValueError as error:
        raise _MalformedError(str(error)) from error
    if "lattice" not in info:
        raise _MalformedError("a frame without Lattice; a periodic cell is needed")
    try:
        lattice = np.asarray(info["lattice"], float).reshape(3, 3).T
    except ValueError as error:
        raise _MalformedError(f"no cell of nine numbers ({error})") from error
    columns, width = _xyz_columns(str(info.get("properties", "species:S:1:pos:R:3")))
    words = np.array(lines.words(n_atoms, width))
    first = columns["pos"]
    positions = _numbers(words[:, first : first + 3].tolist(), lines.number)
    order = np.arange(n_atoms)
    if "id" in columns:
        order = _in_order(words[:, columns["id"]], lines.number)
    mark, clock = next(
        ((float(info[key]), TIME_KEYS[key]) for key in TIME_KEYS if _is_number(info.get(key, ""))),
        (None, None),
    )
    lines.end(n_atoms)
    symbols = _symbols(words[order, columns["species"]], form)
    return Frame(symbols, lattice, positions[order] @ np.linalg.pinv(lattice), mark, clock)


def _is_number(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False


def _xyz_columns(properties: str) -> tuple[dict[str, int], int]:
    """Column of each property, and the number of columns."""
    words = properties.split(":")
    column, found = 0, {}
    try:
        for name, width in zip(words[0::3], words[2::3], strict=True):
            found[_ID_NAMES.get(name.lower(), name)] = column
            column += int(width)
    except ValueError as error:
        raise _MalformedError(f"Properties={properties} cannot be understood") from error
    if "species" not in found or "pos" not in found:
        raise _MalformedError(f"Properties={properties} names no species or pos")
    return found, column


_ID_NAMES = {"id": "id", "ids": "id", "atom_id": "id", "atom_ids": "id", "serial": "id"}


def _in_order(words: NDArray[np.bytes_], line: int) -> NDArray[np.int64]:
    """Order of atoms by their own numbers."""
    try:
        ids = words.astype(np.int64)
    except ValueError as error:
        raise _MalformedError(f"no number of an atom up to line {line} ({error})") from error
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise _MalformedError(f"atom {values[counts > 1][0]} is there {counts.max()} times")
    return np.argsort(ids)


def _symbols(words: NDArray[Any], form: Form) -> tuple[str, ...]:
    """Elements, by name or by the number of their type."""
    names = {word: word.decode() for word in set(words.tolist())}
    for word, name in names.items():
        if not name.isdigit():
            continue
        if not form.elements:
            raise _UnknownError(
                f"atoms are numbered by type (1 to {max(map(int, names))}) without elements; name "
                "them in that order: --elements Li,P,S"
            )
        if not 1 <= int(name) <= len(form.elements):
            raise _UnknownError(
                f"atoms of type {name}, but --elements names {len(form.elements)}: "
                f"{','.join(form.elements)}"
            )
        names[word] = form.elements[int(name) - 1]
    unknown = sorted(set(names.values()) - ELEMENTS)
    if unknown:
        raise _MalformedError(f"{unknown[0]!r} is no element")
    return tuple(names[word] for word in words.tolist())


def _lammps_frames(stream: IO[bytes], form: Form) -> Iterator[Frame | Damage]:
    """Frames of a LAMMPS text dump, atoms in the order of their numbers."""
    lines = _Lines(stream, _starts_dump)
    unit_fs: float | None = None
    while line := lines.next():
        if not line.strip():
            continue
        try:
            if line.startswith(b"ITEM: UNITS"):
                unit_fs = _LAMMPS_TIME_FS.get(lines.needed().strip())
                continue
            lines.back(line)
            yield _lammps_frame(lines, unit_fs, form)
        except _MalformedError as error:
            yield Damage(str(error))
            lines.skip()


_LAMMPS_TIME_FS = {"real": 1.0, "metal": 1e3, "si": 1e15, "cgs": 1e15, "electron": 1.0}


def _starts_dump(line: bytes) -> bool:
    return line.startswith((b"ITEM: TIMESTEP", b"ITEM: UNITS"))


def _lammps_frame(lines: _Lines, unit_fs: float | None, form: Form) -> Frame:
    """One frame of a LAMMPS dump."""
    mark, clock, lattice, origin = None, None, None, np.zeros(3)
    n_atoms = None
    while True:
        head = lines.needed()
        if head.startswith("ITEM: TIMESTEP"):
            if mark is not None and clock is STEPS:
                lines.back(head.encode())
                raise _MalformedError("the next frame begins before its atoms")
            mark, clock = float(_whole(lines)), STEPS
        elif head.startswith("ITEM: TIME"):
            mark = float(_numbers([lines.needed().encode().split()[:1]], lines.number)[0, 0])
            clock = Clock("times", unit_fs)
        elif head.startswith("ITEM: NUMBER OF ATOMS"):
            n_atoms = _whole(lines)
        elif head.startswith("ITEM: BOX BOUNDS"):
            lattice, origin = _lammps_box(lines, head.split()[3:])
        elif head.startswith("ITEM: ATOMS"):
            break
        else:
            raise _MalformedError(f"line {lines.number}: expected 'ITEM: ...'")
    if n_atoms is None or lattice is None:
        raise _MalformedError("atoms without their number or their box before them")
    columns = {name: k for k, name in enumerate(head.split()[2:])}
    words = np.array(lines.words(n_atoms, len(columns))).reshape(n_atoms, len(columns))
    order = np.arange(n_atoms)
    if "id" in columns:
        order = _in_order(words[:, columns["id"]], lines.number)
    kind = next((c for c in ("element", "type") if c in columns), None)
    if kind is None:
        raise _UnknownError("a LAMMPS dump without a column 'element' or 'type': what is what?")
    lines.end(n_atoms)
    symbols = _symbols(words[order, columns[kind]], form)
    frac, unwrapped = _lammps_positions(words[order], columns, lattice, origin, lines.number)
    return Frame(symbols, lattice, frac, mark, clock, unwrapped)


def _whole(lines: _Lines) -> int:
    word = lines.needed().strip()
    if not word.isdigit() or len(word) > STEP_DIGITS:
        raise _MalformedError(f"line {lines.number}: expected a whole number, got {word[:40]!r}")
    return int(word)


def _lammps_box(lines: _Lines, words: Sequence[str]) -> tuple[Floats, Floats]:
    """(lattice rows, origin) of an orthogonal, restricted or general triclinic box."""
    if words[:2] == ["abc", "origin"]:
        rows = _numbers(lines.words(3, 4), lines.number)
        return rows[:, :3], rows[:, 3]
    if words[:3] != ["xy", "xz", "yz"]:
        bounds = _numbers(lines.words(3, 2), lines.number)
        return np.diag(bounds[:, 1] - bounds[:, 0]), bounds[:, 0]
    bounds = lines.rows(3)
    xy, xz, yz = bounds[:, 2]
    low = bounds[:, 0] - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = bounds[:, 1] - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    lattice = np.diag(high - low)
    lattice[1, 0], lattice[2, 0], lattice[2, 1] = xy, xz, yz
    return lattice, low


def _lammps_positions(
    words: NDArray[Any], columns: dict[str, int], lattice: Floats, origin: Floats, line: int
) -> tuple[Floats, bool]:
    """Fractional coordinates, and whether they are unwrapped."""

    def values(*names: str) -> Floats | None:
        if not all(name in columns for name in names):
            return None
        return _numbers(words[:, [columns[name] for name in names]].tolist(), line)

    to_frac = np.linalg.pinv(lattice)
    images = values("ix", "iy", "iz")
    if (xu := values("xu", "yu", "zu")) is not None:
        return (xu - origin) @ to_frac, True
    if (xsu := values("xsu", "ysu", "zsu")) is not None:
        return xsu, True
    if (x := values("x", "y", "z")) is not None:
        frac = (x - origin) @ to_frac
    elif (xs := values("xs", "ys", "zs")) is not None:
        frac = xs
    else:
        raise _UnknownError(
            f"a LAMMPS dump without coordinates (columns: {' '.join(columns)}); expected x y z, "
            "xs ys zs, xu yu zu or xsu ysu zsu"
        )
    return (frac, False) if images is None else (frac + images, True)


_TAG = re.compile(rb"<structure\b([^>]*)>")
_ROW = re.compile(rb"<v>([^<]*)</v>")
_SYMBOL = re.compile(rb"<rc>\s*<c>\s*([A-Za-z]+)[^<]*</c>")


def _vasprun_frames(stream: IO[bytes], form: Form) -> Iterator[Frame | Damage]:
    """Frames of a vasprun.xml: every structure but the named ones (initial, final).

    Ab initio steps hold theirs in a ``calculation``; those of a machine-learnt force field stand
    by themselves. The text is searched, not parsed as a tree: neither a torn file nor two that
    were joined hide the structures that are whole.
    """
    symbols: tuple[str, ...] = ()
    clock: Clock | None = None
    text, number, closed = b"", 0, False
    while True:
        chunk = stream.read(CHUNK_BYTES)
        text += chunk
        if not symbols and b"</atominfo>" in text:
            before = text.partition(b"</atominfo>")[0]
            symbols = tuple(s.decode() for s in _SYMBOL.findall(before.partition(b"atomtypes")[0]))
            clock = _vasprun_clock(before)
        closed = closed or b"</modeling>" in text
        while (tag := _TAG.search(text)) is not None:
            if tag[1].endswith(b"/"):
                text = text[tag.end() :]
                continue
            end = text.find(b"</structure>", tag.end())
            following = _TAG.search(text, tag.end(), end if end >= 0 else len(text))
            if following is not None:
                yield Damage("a structure that is not closed")
                number += 1
                text = text[following.start() :]
                continue
            if end < 0:
                break
            body, text = text[tag.end() : end], text[end:]
            if b"name" in tag[1]:
                continue
            number += 1
            try:
                lattice = _xml_rows(body, b"basis")
                frac = _xml_rows(body, b"positions")
                if lattice.shape != (3, 3) or len(frac) != len(symbols):
                    raise _MalformedError(f"{len(frac)} positions of {len(symbols)} atoms")
            except _MalformedError as error:
                yield Damage(str(error))
                continue
            mark = None if clock is None else float(number)
            yield Frame(symbols, lattice, frac, mark, clock)
        if not chunk:
            break
        if _TAG.search(text) is None and symbols:
            text = text[-len(b"</modeling><structure ") * 4 :]
    if _TAG.search(text) is not None or not closed:
        yield Damage("the XML breaks off")


def _vasprun_clock(text: bytes) -> Clock | None:
    """Time step of a run, fs.

    Raises:
        _MalformedError: It is no molecular dynamics.
    """

    def value(name: bytes) -> float | None:
        found = re.findall(rb"<i[^>]*name=[\"']%s[\"'][^>]*>\s*([-+.\dEe]+)\s*</i>" % name, text)
        return float(found[-1]) if found else None

    algorithm, timestep = value(b"IBRION"), value(b"POTIM")
    if algorithm is not None and algorithm > 0:
        raise _MalformedError(
            f"IBRION = {algorithm:g}: a relaxation or phonon run, not molecular dynamics"
        )
    if timestep is None or timestep <= 0:
        return None
    return Clock("POTIM", timestep * max(1.0, value(b"ML_OUTBLOCK") or 1.0))


def _xml_rows(body: bytes, name: bytes) -> Floats:
    start = re.search(rb"<varray[^>]*name=[\"']%s[\"'][^>]*>" % name, body)
    if start is None:
        raise _MalformedError(f"an ionic step without {name.decode()}")
    rows = [row.split() for row in _ROW.findall(body[start.end() :].partition(b"</varray>")[0])]
    if not rows or any(len(row) != 3 for row in rows):
        raise _MalformedError("a line of coordinates is cut")
    return _numbers(rows, 0)


_TEXT_READERS: dict[str, Callable[..., Iterator[Frame | Damage]]] = {
    "xdatcar": _xdatcar_frames,
    "vasprun": _vasprun_frames,
    ".xml": _vasprun_frames,
    ".extxyz": _xyz_frames,
    ".xyz": _xyz_frames,
    ".lammpstrj": _lammps_frames,
}


def _ase_frames(path: Path) -> Iterator[Frame | Damage]:
    """Frames of an ASE trajectory."""
    try:
        trajectory = AseTrajectory(str(path))
    except Exception as error:
        raise InputError(f"{path}: no readable ASE trajectory ({error})") from error
    with trajectory:
        for i in range(len(trajectory)):
            try:
                atoms = trajectory[i]
                positions = atoms.positions
            except Exception as error:  # whatever a torn frame makes ASE raise
                yield Damage(f"it cannot be read ({error})")
                continue
            lattice = np.array(atoms.cell)
            frac = positions @ np.linalg.pinv(lattice)
            yield Frame(tuple(atoms.get_chemical_symbols()), lattice, frac)


MDANALYSIS_SUFFIXES = frozenset((".xtc", ".trr", ".nc", ".ncdf", ".dcd", ".mdcrd", ".h5md"))
"""Forms of GROMACS, AMBER, CHARMM, NAMD and H5MD."""


def _mdanalysis_frames(path: Path, form: Form) -> Iterator[Frame | Damage]:
    """Frames of whatever MDAnalysis reads, with their own times."""
    try:
        import MDAnalysis
    except ImportError as error:
        raise InputError(
            f"{path}: this form is read through MDAnalysis, which is not installed; "
            "pip install 'ionbridge[trajectories]'"
        ) from error
    if form.topology is None:
        raise InputError(
            f"{path}: such a file does not say what its atoms are; add --topology FILE "
            "(.gro, .tpr, .prmtop, .psf, .pdb)"
        )
    return _universe_frames(path, form.topology, MDAnalysis)


def _universe_frames(path: Path, topology: Path, mdanalysis: Any) -> Iterator[Frame | Damage]:
    """Frames of an MDAnalysis universe."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a topology lacks and nobody asks for
        try:
            universe = mdanalysis.Universe(str(topology), str(path), to_guess=("elements",))
            symbols = _atoms_elements(universe)
        except InputError:
            raise
        except Exception as error:
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{path} with {topology}: MDAnalysis cannot read it ({line})"
            ) from error
        for step in universe.trajectory:
            if step.dimensions is None:
                raise InputError(f"{path}: no cell; a periodic one is needed")
            lattice = np.array(step.triclinic_dimensions, float)
            frac = np.array(step.positions, float) @ np.linalg.pinv(lattice)
            yield Frame(symbols, lattice, frac, float(step.time), PICOSECONDS)


def _atoms_elements(universe: Any) -> tuple[str, ...]:
    """Elements of the topology, stated or by the atoms' names."""
    found = tuple(str(e).capitalize() for e in getattr(universe.atoms, "elements", ()))
    for name, element in zip(universe.atoms.names, found, strict=True):
        if element not in ELEMENTS:
            raise InputError(f"atom {name!r} of the topology: its element is not known")
    return found
