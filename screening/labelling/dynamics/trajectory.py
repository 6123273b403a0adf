"""Trajectories on disk -> unwrapped positions at even times, in bounded memory.

Frames come from `ionbridge.screening.labelling.dynamics.trajectory_files`. Atoms are followed
through the periodic boundaries from frame to frame; when the buffer is full, every second frame in
it is dropped and half as many are kept from there on. Where the file states step numbers or times,
these are the time axis: frames that are written twice count once, holes and changes of the spacing
are seen, and what is analysed is the longest stretch of frames at even times.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionbridge.screening.errors import InputError
from ionbridge.screening.labelling.dynamics.time_axis import (
    OFF_GRID,
    Stretch,
    TimeAxis,
    TimeError,
    even_stretch,
)
from ionbridge.screening.labelling.dynamics.trajectory_files import (
    FLAT_CELL_A3,
    Damage,
    Form,
    Frame,
    frames_of,
)

MAX_NUMBERS = 16_000_000
"""Coordinates that are kept: 128 MB, 13,000 frames of 400 atoms."""
MIN_STORED_FRAMES = 200
"""At least so many frames are kept of the largest cells."""
CELL_TOLERANCE_A = 1e-3
"""A cell that changes by more varies."""
LARGEST_STRAIN = 0.1
"""A cell that changes by more, of its own size, is another crystal or a box turned over."""
SAFE_STEP = 0.4
"""A step between frames beyond this part of the cell's width may have crossed it unseen."""
LOST_STEP, LEAST_ATOMS = 0.3, 4
"""Half of an element's atoms, of at least so many, do not move by this part of the cell between two
frames: they came in another order, or too much time passed."""
SAME_POSITION = 1e-9
"""Fractional coordinates this close are the same numbers."""
N_NAMED = 3
"""So many frames of one kind of trouble are named one by one."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Unwrapped positions of all atoms at even times.

    Attributes:
        symbols: One element an atom.
        lattice: (3, 3) rows, angstrom; their mean where they vary.
        positions_A: (n_stored, n_atoms, 3) unwrapped cartesian positions; the first frame first.
        stride: Frames from one stored frame to the next.
        last_A: (n_atoms, 3) positions in the last frame, stored or not.
        n_frames: Evenly spaced frames.
        interval_fs: Time between two of them.
        notes: What a reader should know: damage, holes, what was left out or assumed.
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
    path: Path,
    interval_fs: float | None = None,
    skip_ps: float = 0.0,
    max_numbers: int = MAX_NUMBERS,
    form: Form | None = None,
) -> Trajectory:
    """Read a trajectory of any known form.

    Args:
        path: See `ionbridge.screening.labelling.dynamics.trajectory_files.frames_of`.
        interval_fs: Time between two frames of the file in fs; may be left out where the file
            states times. Where the spacing of its step numbers changes, that of the first frames.
        skip_ps: Left out at the start, for equilibration.
        max_numbers: Most coordinates that are kept.
        form: Elements of numbered types, a topology: what the file itself does not say.

    Raises:
        InputError: No such file, an unknown or broken form, fewer than two whole frames, a number
            or order of atoms that changes, a cell that changes by much, an interval that is missing
            or contradicts the file's own times.
    """
    follower: _Follower | None = None
    damages = _Damages()
    number = 0
    try:
        for frame in frames_of(path, form or Form()):
            number += frame.n_frames if isinstance(frame, Damage) else 1
            if isinstance(frame, Damage):
                damages.add(number, frame)
                continue
            if follower is None:
                follower = _Follower(frame, path, max_numbers, interval_fs, skip_ps, number)
            else:
                follower.add(frame, number, damages.since_last_frame)
            damages.since_last_frame, damages.at_end = 0, ""
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    notes = damages.notes(number)
    n_whole = follower.n_whole if follower is not None else 0
    if follower is None or n_whole < 2:
        left = f" after {skip_ps:g} ps of equilibration" if skip_ps else ""
        n_same = follower.n_same if follower is not None else 0
        same = f" and {n_same} like it, nothing moves" if n_same else ""
        why = f" ({'; '.join(notes)})" if notes else ""
        raise InputError(
            f"{path}: {n_whole} whole frame(s){same}{left}, at least 2 are needed for motion{why}"
        )
    try:
        return follower.trajectory(notes)
    except TimeError as error:
        raise InputError(f"{path}: {error}") from error


class _Damages:
    """Frames that could not be read."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.n_events, self.n_frames, self.since_last_frame = 0, 0, 0
        self.at_end = ""

    def add(self, number: int, damage: Damage) -> None:
        """Take note of one."""
        self.n_events += 1
        self.n_frames += damage.n_frames
        self.since_last_frame += damage.n_frames
        self.at_end = damage.reason
        if len(self.named) < N_NAMED:
            where = f"frame {number} is left out" if damage.n_frames else f"after frame {number}"
            self.named.append(f"{where}: {damage.reason}")

    def notes(self, n_frames: int) -> tuple[str, ...]:
        """What to say of them, in a file of so many frames."""
        named, n_more = list(self.named), self.n_events - len(self.named)
        if n_more:
            named.append(f"{n_more} more damaged places, {self.n_frames} frames lost in all")
        if self.at_end:
            if not n_more:
                named.pop()
            n_whole = n_frames - self.n_frames
            named.append(
                f"the file ends in mid-frame; its {n_whole} whole frames are used ({self.at_end})"
            )
        return tuple(named)


@dataclass(eq=False)
class _Stored:
    """A frame that is kept.

    Attributes:
        segment: Frames with one number follow each other without a break.
        at: Units of time since the first frame.
        number: Of the frame in the file.
        frac: (n_atoms, 3) unwrapped fractional coordinates.
    """

    segment: int
    at: int
    number: int
    frac: Floats


class _Follower:
    """Follows atoms through periodic boundaries and keeps a regular selection of frames."""

    def __init__(
        self,
        first: Frame,
        path: Path,
        max_numbers: int,
        interval_fs: float | None,
        skip_ps: float,
        number: int,
    ) -> None:
        self.first, self.path = first, path
        self.interval_fs, self.skip_fs = interval_fs, 1e3 * skip_ps
        self.axis = TimeAxis(first.mark, first.clock)
        capacity = max(MIN_STORED_FRAMES, max_numbers // max(1, 3 * len(first.symbols)))
        self.capacity = capacity - capacity % 2
        elements = [
            np.flatnonzero(np.array(first.symbols) == symbol) for symbol in set(first.symbols)
        ]
        self.elements = [atoms for atoms in elements if len(atoms) >= LEAST_ATOMS]
        self.lattice_sum, self.n_lattices, self.strain = np.zeros((3, 3)), 0, 0.0
        self.notes: list[str] = []
        self.n_noted: Counter[str] = Counter()
        self.longest_step, self.longest_in_a_unit = 0.0, 0.0
        self.n_whole, self.n_same = 0, 0
        self.segment, self.stride = 0, 1
        self.stored: list[_Stored] = []
        self.last: _Stored | None = None
        self._check_cell(first, number)
        self.frac, self.unwrapped = first.frac, first.frac.copy()
        self._keep(number)

    def add(self, frame: Frame, number: int, n_lost: int) -> None:
        """Take the next frame; `n_lost` before it could not be read."""
        where = f"{self.path}: frame {number}"
        if len(frame.symbols) != len(self.first.symbols):
            raise InputError(
                f"{where} has {len(frame.symbols)} atoms, the first has {len(self.first.symbols)}"
            )
        if frame.symbols != self.first.symbols:
            raise InputError(f"{where} lists its elements in another order than the first")
        self._check_cell(frame, number)
        step = frame.frac - self.frac
        if not frame.unwrapped:
            step -= np.rint(step)
        same = bool(np.abs(step).max() < SAME_POSITION)
        time = self.axis.advance(frame.mark, n_lost, same)
        if time.finer > 1:
            self._refine(time.finer)
        for kind, text in time.notes:
            self._note(kind, f"frame {number}: {text}")
        if same:
            self.n_same += 1
            self._note("same", f"frame {number} repeats the one before it and counts once")
            return
        if time.gap == 0.0:
            return
        self.frac = frame.frac
        self.unwrapped += step
        if time.realigned or not self._can_follow(np.abs(step), time.gap, frame, number):
            self.segment += 1
        self._keep(number)

    def _can_follow(self, step: Floats, gap: float, frame: Frame, number: int) -> bool:
        """False where the atoms' ways across a hole, or their order, are unknown."""
        if frame.unwrapped:
            return True
        longest = float(step.max())
        far = self.longest_in_a_unit * np.sqrt(gap) > SAFE_STEP
        if far and gap > 1.5 * self.axis.smallest_gap:
            self._note(
                "hole",
                f"frame {number} comes {gap:g} spacings after the one before it, too long to "
                "follow the atoms",
            )
            return False
        if any(np.median(step[atoms].max(axis=1)) > LOST_STEP for atoms in self.elements):
            self._note(
                "lost",
                f"frame {number}: half of the atoms of one element move by more than {LOST_STEP:g} "
                "of the cell at once, so their order changes or frames are too far apart",
            )
            return False
        self.longest_step = max(self.longest_step, longest)
        self.longest_in_a_unit = max(self.longest_in_a_unit, longest / np.sqrt(gap))
        return True

    def _refine(self, finer: int) -> None:
        """Count time in smaller units."""
        for stored in self.stored:
            stored.at *= finer
        if self.stride > 1:
            self.stride *= finer
        self.longest_in_a_unit /= np.sqrt(finer)

    def _keep(self, number: int) -> None:
        """Keep the frame that was reached if it is one of the regular selection."""
        if self.skip_fs and self.axis.is_before(self.skip_fs, self.interval_fs):
            return
        self.n_whole += 1
        at = round(self.axis.position)
        if abs(self.axis.position - at) > OFF_GRID:
            return
        self.last = _Stored(self.segment, at, number, self.unwrapped.copy())
        if at % self.stride == 0:
            self.stored.append(self.last)
        while len(self.stored) > self.capacity:
            self.stride *= 2
            self.stored = [stored for stored in self.stored if stored.at % self.stride == 0]

    def _note(self, kind: str, text: str) -> None:
        """Say a thing; of many of a kind only the first."""
        self.n_noted[kind] += 1
        if self.n_noted[kind] <= N_NAMED:
            self.notes.append(text)

    def trajectory(self, notes: tuple[str, ...]) -> Trajectory:
        """What was read.

        Raises:
            TimeError: The time between frames is unknown or contradictory.
            InputError: No two frames in a row can be used.
        """
        unit_fs, said = self.axis.unit_fs(self.interval_fs)
        at = np.array([stored.at for stored in self.stored])
        stretch = even_stretch(np.array([stored.segment for stored in self.stored]), at)
        used = [self.stored[k] for k in stretch.index]
        if len(used) < 2:
            why = "; ".join((*notes, *self.notes))
            raise InputError(f"{self.path}: no two frames in a row can be used ({why})")
        base = stretch.spacing // self.stride
        if base * self.stride != stretch.spacing:
            base = stretch.spacing
        last = self._last_of(used, base)
        n_frames = 1 + (last.at - used[0].at) // base
        lattice = self.lattice_sum / self.n_lattices
        return Trajectory(
            symbols=self.first.symbols,
            lattice=lattice,
            positions_A=_filled(np.array([stored.frac for stored in used]), stretch.at) @ lattice,
            stride=stretch.spacing // base,
            last_A=last.frac @ lattice,
            n_frames=n_frames,
            interval_fs=base * unit_fs,
            notes=(*notes, *said, *self._told(stretch, used[0], last, base, unit_fs)),
        )

    def _last_of(self, used: list[_Stored], base: int) -> _Stored:
        """The last frame of the stretch: that of the file where it belongs to it."""
        last, end = self.last, used[-1]
        if last is None or self.stored[-1] is not end or last.segment != end.segment:
            return end
        return last if (last.at - end.at) % base == 0 else end

    def _told(
        self, stretch: Stretch, first: _Stored, last: _Stored, base: int, unit_fs: float
    ) -> list[str]:
        """Notes on what was done."""
        n_more = sum(max(0, n - N_NAMED) for n in self.n_noted.values())
        told = [*self.notes, *([f"{n_more} more frames of these kinds"] if n_more else [])]
        if stretch.n_filled:
            told.append(
                f"{stretch.n_filled} of {stretch.at[-1] + 1} frames are missing and were filled in "
                "on straight lines"
            )
        if first.segment > 0 or self.last is None or last.number < self.last.number:
            told.append(
                f"only frames {first.number} to {last.number} are used, the longest stretch at "
                f"even times, {base * unit_fs:g} fs apart"
            )
        elif base != self.axis.usual_gap:
            told.append(f"frames at even times are used, {base * unit_fs:g} fs apart")
        if self.longest_step > SAFE_STEP:
            told.append(
                f"an atom moves by {self.longest_step:.2f} of the cell between two frames; its "
                "way may have been lost, write frames more often"
            )
        if self.strain > 0:
            told.append(
                f"the cell varies by up to {100 * self.strain:.2g} %; motion is relative to it, "
                "in lengths of the mean cell"
            )
        return told

    def _check_cell(self, frame: Frame, number: int) -> None:
        """Take the frame's cell into account, or refuse it."""
        where = f"{self.path}: frame {number}"
        if not np.isfinite(frame.frac).all() or not np.isfinite(frame.lattice).all():
            raise InputError(f"{where} holds numbers that are not finite")
        if abs(np.linalg.det(frame.lattice)) < FLAT_CELL_A3:
            raise InputError(f"{where} has no cell; a periodic one is needed")
        self.lattice_sum += frame.lattice
        self.n_lattices += 1
        change = frame.lattice - self.first.lattice
        if np.abs(change).max() < CELL_TOLERANCE_A:
            return
        strain = float(np.linalg.norm(np.linalg.solve(self.first.lattice, change), 2))
        self.strain = max(self.strain, strain)
        if strain > LARGEST_STRAIN:
            raise InputError(
                f"{where}: the cell differs from the first frame's by {100 * strain:.3g} %, more "
                f"than the {100 * LARGEST_STRAIN:g} % of one crystal in motion; cut the file there"
            )


def _filled(frac: Floats, at: NDArray[np.int64]) -> Floats:
    """Frames at all even times; those between are on straight lines."""
    if len(frac) == at[-1] + 1:
        return frac
    wanted = np.arange(at[-1] + 1)
    after = np.searchsorted(at, wanted)
    before = np.maximum(after - (at[after] != wanted), 0)
    share = (wanted - at[before]) / np.maximum(at[after] - at[before], 1)
    return np.asarray(frac[before] + share[:, None, None] * (frac[after] - frac[before]))
