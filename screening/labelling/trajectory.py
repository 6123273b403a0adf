"""Trajectories on disk -> unwrapped positions in bounded memory.

XDATCAR and vasprun.xml (VASP), extended xyz and ASE .traj are read frame by frame, the first three
also gzipped. Atoms are followed through the periodic boundaries from frame to frame; when the
buffer is full, every second frame in it is dropped and half as many are kept from there on.
"""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase.io.trajectory import Trajectory as AseTrajectory
from numpy.typing import NDArray

from ionbridge.screening.errors import InputError
from ionbridge.structures.geometry import perpendicular_widths

MAX_NUMBERS = 16_000_000
"""Coordinates that are kept: 128 MB, 13,000 frames of 400 atoms."""
MIN_STORED_FRAMES = 200
"""At least so many frames are kept of the largest cells."""
CELL_TOLERANCE_A = 1e-3
"""A cell that changes by more is another ensemble."""
SAFE_STEP = 0.4
"""A step between frames beyond this part of the cell's width may have crossed it unseen."""

Floats = NDArray[np.float64]


class TornTrajectoryError(ValueError):
    """The file ends in mid-frame; the frames before are whole."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One configuration.

    Attributes:
        symbols: One element an atom.
        lattice: (3, 3) rows, angstrom.
        frac: (n_atoms, 3) fractional coordinates, wrapped or not.
    """

    symbols: tuple[str, ...]
    lattice: Floats
    frac: Floats


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Unwrapped positions of all atoms, a regular selection of the frames.

    Attributes:
        symbols: One element an atom.
        lattice: (3, 3) rows, angstrom; the same in all frames.
        positions_A: (n_stored, n_atoms, 3) unwrapped cartesian positions; the first frame first.
        stride: Frames of the file from one stored frame to the next.
        last_A: (n_atoms, 3) positions in the last frame of the file, stored or not.
        n_frames: Whole frames in the file.
        interval_fs: Time between two frames of the file.
        notes: What a reader should know: a torn end, steps too long to follow.
    """

    symbols: tuple[str, ...]
    lattice: Floats
    positions_A: Floats
    stride: int
    last_A: Floats
    n_frames: int
    interval_fs: float
    notes: tuple[str, ...] = ()

    @property
    def stored_interval_ps(self) -> float:
        """Time between two stored frames in ps."""
        return self.interval_fs * self.stride * 1e-3

    @property
    def duration_ps(self) -> float:
        """From the first to the last frame, ps."""
        return (self.n_frames - 1) * self.interval_fs * 1e-3

    @property
    def volume_A3(self) -> float:
        """Volume of the cell in cubic angstrom."""
        return float(abs(np.linalg.det(self.lattice)))


def read_trajectory(
    path: Path, interval_fs: float, skip_ps: float = 0.0, max_numbers: int = MAX_NUMBERS
) -> Trajectory:
    """Read a trajectory of any known form.

    Args:
        path: XDATCAR, vasprun.xml, extended xyz (.xyz, .extxyz) or ASE .traj; all but the last
            may be gzipped.
        interval_fs: Time between two frames of the file in fs.
        skip_ps: Left out at the start, for equilibration.
        max_numbers: Most coordinates that are kept.

    Raises:
        InputError: No such file, an unknown or broken form, fewer than two whole frames, a cell,
            number or order of atoms that changes, coordinates that are not finite.
    """
    frames = _frames(path)
    n_skipped = round(skip_ps * 1e3 / interval_fs)
    follower: _Follower | None = None
    notes = []
    count = 0
    try:
        for frame in frames:
            count += 1
            if count <= n_skipped:
                continue
            if follower is None:
                follower = _Follower(frame, path, max_numbers)
            else:
                follower.add(frame)
    except TornTrajectoryError as error:
        notes.append(f"the file ends in mid-frame; its {count} whole frames are used ({error})")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if follower is None or follower.n_frames < 2:
        left = f" after {skip_ps:g} ps of equilibration" if n_skipped else ""
        number = follower.n_frames if follower else 0
        raise InputError(f"{path}: {number} whole frame(s){left}, at least 2 are needed for motion")
    return follower.trajectory(interval_fs, tuple(notes))


class _Follower:
    """Follows atoms through periodic boundaries and keeps a regular selection of frames."""

    def __init__(self, first: Frame, path: Path, max_numbers: int) -> None:
        self.first, self.path = first, path
        self._check_finite(first, 1)
        self.n_frames, self.stride = 1, 1
        capacity = max(MIN_STORED_FRAMES, max_numbers // max(1, 3 * len(first.symbols)))
        self.capacity = capacity - capacity % 2
        self.frac = first.frac
        self.unwrapped = first.frac.copy()
        self.stored = [self.unwrapped.copy()]
        self.longest_step = 0.0
        self.widths = perpendicular_widths(first.lattice)

    def add(self, frame: Frame) -> None:
        """Take the next frame."""
        self.n_frames += 1
        where = f"{self.path}: frame {self.n_frames}"
        if len(frame.symbols) != len(self.first.symbols):
            raise InputError(
                f"{where} has {len(frame.symbols)} atoms, the first has {len(self.first.symbols)}"
            )
        if frame.symbols != self.first.symbols:
            raise InputError(f"{where} lists its elements in another order than the first")
        change = np.abs(frame.lattice - self.first.lattice).max()
        if not change < CELL_TOLERANCE_A:
            raise InputError(
                f"{where}: the cell differs from the first frame's by {change:.3g} angstrom; "
                "diffusion is read from runs at constant volume"
            )
        self._check_finite(frame, self.n_frames)
        step = frame.frac - self.frac
        step -= np.rint(step)
        self.longest_step = max(self.longest_step, float(np.abs(step).max()))
        self.unwrapped += step
        self.frac = frame.frac
        if (self.n_frames - 1) % self.stride == 0:
            self.stored.append(self.unwrapped.copy())
            if len(self.stored) > self.capacity:
                self.stored = self.stored[::2]
                self.stride *= 2

    def trajectory(self, interval_fs: float, notes: tuple[str, ...]) -> Trajectory:
        """What was read."""
        if self.longest_step > SAFE_STEP:
            notes += (
                f"an atom moves by {self.longest_step:.2f} of the cell between two frames; its "
                "way may have been lost, write frames more often",
            )
        return Trajectory(
            symbols=self.first.symbols,
            lattice=self.first.lattice,
            positions_A=np.array(self.stored) @ self.first.lattice,
            stride=self.stride,
            last_A=self.unwrapped @ self.first.lattice,
            n_frames=self.n_frames,
            interval_fs=interval_fs,
            notes=notes,
        )

    def _check_finite(self, frame: Frame, number: int) -> None:
        if not np.isfinite(frame.frac).all() or not np.isfinite(frame.lattice).all():
            raise InputError(f"{self.path}: frame {number} holds numbers that are not finite")
        if abs(np.linalg.det(frame.lattice)) < 1e-6:
            raise InputError(f"{self.path}: frame {number} has no cell; a periodic one is needed")


def _frames(path: Path) -> Iterator[Frame]:
    """The frames of a file of any known form."""
    if not path.is_file():
        raise InputError(f"{path}: no such trajectory file")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".traj"):
        return _ase_frames(path)
    for known, reader in _TEXT_READERS.items():
        if known in name:
            return _text_frames(path, reader)
    raise InputError(
        f"{path}: unknown form of trajectory; known are XDATCAR, vasprun.xml, .extxyz, .xyz (with "
        "the form in the file's name, gzipped or not) and .traj"
    )


def _text_frames(path: Path, reader: Callable[[IO[bytes]], Iterator[Frame]]) -> Iterator[Frame]:
    """Frames of a text file; a gzip stream that breaks off is a torn trajectory."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
        frames = reader(stream)  # type: ignore[arg-type]
        while True:
            try:
                frame = next(frames)
            except StopIteration:
                return
            except EOFError as error:
                raise TornTrajectoryError("the compressed stream breaks off") from error
            except _MalformedError as error:
                raise InputError(f"{path}: {error}") from error
            yield frame


class _MalformedError(ValueError):
    """Text that is not what its form promises."""


def _xdatcar_frames(stream: IO[bytes]) -> Iterator[Frame]:
    """Frames of an XDATCAR: title, scale, lattice, elements, counts, then blocks of coordinates.

    The header may be repeated, before every block (changing cell) or where runs were joined.
    """
    header: tuple[tuple[str, ...], Floats] | None = None
    for raw in stream:
        line = raw.decode("utf-8", "replace")
        if header is None or not line.lower().lstrip().startswith("direct"):
            if header is not None and not line.strip():
                continue
            header = _xdatcar_header(stream)
            line = _next_line(stream)
            if not line.lower().lstrip().startswith("direct"):
                raise _MalformedError(f"expected 'Direct configuration=', got {line.strip()!r}")
        symbols, lattice = header
        yield Frame(symbols, lattice, _rows(stream, len(symbols)))


def _xdatcar_header(stream: IO[bytes]) -> tuple[tuple[str, ...], Floats]:
    """Elements and lattice; the title line is already read."""
    scale = _numbers(_next_line(stream), 1)[0]
    lattice = _rows(stream, 3)
    names = _next_line(stream).split()
    if not names or not all(name[0].isalpha() for name in names):
        raise _MalformedError("line 6 of the header holds no elements; VASP 5 writes them there")
    counts = _next_line(stream).split()
    if len(counts) != len(names) or not all(c.isdigit() for c in counts):
        raise _MalformedError(f"{len(names)} elements but the counts are {' '.join(counts)!r}")
    symbols = tuple(
        name.partition("_")[0].partition("/")[0]
        for name, count in zip(names, counts, strict=True)
        for _ in range(int(count))
    )
    volume = abs(np.linalg.det(lattice))
    factor = (-scale / volume) ** (1 / 3) if scale < 0 else scale
    return symbols, lattice * factor


def _xyz_frames(stream: IO[bytes]) -> Iterator[Frame]:
    """Frames of extended xyz: number of atoms, a line with Lattice and Properties, the atoms."""
    from ase.io.extxyz import key_val_str_to_dict

    for raw in stream:
        first = raw.decode("utf-8", "replace").strip()
        if not first:
            continue
        if not first.isdigit():
            raise _MalformedError(f"expected a number of atoms, got {first[:40]!r}")
        comment = _next_line(stream)
        if not comment.endswith("\n"):
            raise TornTrajectoryError("the line with the lattice is cut")
        try:
            info = key_val_str_to_dict(comment)
        except ValueError as error:
            raise _MalformedError(str(error)) from error
        if "Lattice" not in info:
            raise _MalformedError("a frame without Lattice; a periodic cell is needed")
        lattice = np.asarray(info["Lattice"], float).reshape(3, 3).T
        species, position = _xyz_columns(str(info.get("Properties", "species:S:1:pos:R:3")))
        words = [line.split() for line in _lines(stream, int(first))]
        if any(len(row) < position + 3 for row in words):
            raise TornTrajectoryError("a line of atoms is cut")
        positions = _array([row[position : position + 3] for row in words])
        symbols = tuple(row[species] for row in words)
        yield Frame(symbols, lattice, positions @ np.linalg.inv(lattice))


def _xyz_columns(properties: str) -> tuple[int, int]:
    """Columns of the element and of the first coordinate."""
    words = properties.split(":")
    column, found = 0, {}
    for name, width in zip(words[0::3], words[2::3], strict=True):
        found[name] = column
        column += int(width)
    if "species" not in found or "pos" not in found:
        raise _MalformedError(f"Properties={properties} names no species or pos")
    return found["species"], found["pos"]


def _vasprun_frames(stream: IO[bytes]) -> Iterator[Frame]:
    """Frames of a vasprun.xml: the structure of every ionic step."""
    symbols: tuple[str, ...] = ()
    try:
        parents: list[Any] = []
        for event, element in ElementTree.iterparse(stream, events=("start", "end")):
            if event == "start":
                parents.append(element)
                continue
            parents.pop()
            if element.tag == "atominfo":
                rows = element.findall("./array[@name='atoms']/set/rc")
                symbols = tuple((row.findtext("c") or "").strip() for row in rows)
            elif element.tag == "calculation":
                lattice = _xml_rows(element, "./structure/crystal/varray[@name='basis']/v")
                frac = _xml_rows(element, "./structure/varray[@name='positions']/v")
                yield Frame(symbols, lattice, frac)
            if element.tag in ("calculation", "scstep", "dos", "eigenvalues") and parents:
                parents[-1].remove(element)
    except ElementTree.ParseError as error:
        raise TornTrajectoryError(f"the XML breaks off: {error}") from error


def _xml_rows(element: Any, where: str) -> Floats:
    rows = [(v.text or "").split() for v in element.findall(where)]
    if not rows:
        raise _MalformedError("an ionic step without a structure")
    return _array(rows)


_TEXT_READERS: dict[str, Callable[[IO[bytes]], Iterator[Frame]]] = {
    "xdatcar": _xdatcar_frames,
    "vasprun": _vasprun_frames,
    ".xml": _vasprun_frames,
    ".extxyz": _xyz_frames,
    ".xyz": _xyz_frames,
}


def _ase_frames(path: Path) -> Iterator[Frame]:
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
                raise TornTrajectoryError(f"frame {i + 1} cannot be read") from error
            lattice = np.array(atoms.cell)
            if abs(np.linalg.det(lattice)) < 1e-6:
                raise InputError(f"{path}: frame {i + 1} has no cell; a periodic one is needed")
            yield Frame(
                tuple(atoms.get_chemical_symbols()), lattice, positions @ np.linalg.inv(lattice)
            )


def _next_line(stream: IO[bytes]) -> str:
    """The next line of a frame that has begun."""
    raw = stream.readline()
    if not raw:
        raise TornTrajectoryError("the last frame is not whole")
    return raw.decode("utf-8", "replace")


def _lines(stream: IO[bytes], n_lines: int) -> list[str]:
    """Lines of a frame; where the file ends without a line's end, its last number may be cut."""
    lines = [_next_line(stream) for _ in range(n_lines)]
    if n_lines > 1 and not lines[-1].endswith("\n") and _decimals(lines[-1]) < _decimals(lines[-2]):
        raise TornTrajectoryError("the last line is cut")
    return lines


def _decimals(line: str) -> int:
    """Digits behind the point of the last word."""
    return len(line.split()[-1].partition(".")[2]) if line.split() else 0


def _rows(stream: IO[bytes], n_rows: int) -> Floats:
    """(n, 3) numbers, one row a line."""
    return _array([line.split()[:3] for line in _lines(stream, n_rows)])


def _numbers(line: str, n: int) -> Floats:
    return _array([line.split()[:n]])[0]


def _array(rows: list[list[str]]) -> Floats:
    """Words as numbers; rows of unequal length are a line that breaks off."""
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise TornTrajectoryError("a line of coordinates is cut")
    try:
        return np.array(rows, dtype=float)
    except ValueError as error:
        raise _MalformedError(f"not a number among coordinates ({error})") from error
