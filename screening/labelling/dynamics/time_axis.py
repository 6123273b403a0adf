"""When the frames of a trajectory were: step numbers or times, holes, repeats, changes of spacing.

Time is counted in units of the smallest spacing of frames that was seen, so that frames that are
missing or written more rarely leave gaps of whole numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import NDArray

from ionbridge.screening.labelling.dynamics.trajectory_files import Clock

SNAP = 0.05
"""Spacings this close to a whole multiple are one; printed times are rounded."""
OFF_GRID = 0.1
"""A frame further from the even grid, of its spacing, is not on it."""
FILLED, FILLED_IN_A_ROW = 0.05, 2
"""So much of an even stretch, and so many frames in a row, may be filled in."""
COMMON = 0.1
"""A spacing that fewer of the gaps have is an exception."""
AS_GOOD = 0.9
"""A finer spacing is taken when its stretch has this part of the longest one's length."""
CLEAR = 0.9
"""A spacing of this part of all gaps is the spacing of the file."""
AGREEMENT = 0.01
"""A stated interval within this of the given one is the same."""
ASSUMED_UNITS_FS = {"fs": 1.0, "ps": 1e3, "ASE's unit of time": 1.0 / units.fs}
"""What times without a unit may be in."""


class TimeError(ValueError):
    """A time axis that is missing, or contradicts what is given."""


@dataclass(frozen=True)
class Advance:
    """What time did from one frame to the next.

    Attributes:
        gap: Units that passed; 0 for a frame that is not to be used.
        finer: The unit became smaller by this factor.
        realigned: The even grid starts anew at this frame.
        notes: (kind, text) of what a reader should know.
    """

    gap: float
    finer: int = 1
    realigned: bool = False
    notes: tuple[tuple[str, str], ...] = ()


class TimeAxis:
    """Follows the marks of a file's frames.

    Attributes:
        position: Units since the first frame.
        smallest_gap: In units.
    """

    def __init__(self, mark: float | None, clock: Clock | None) -> None:
        self.clock = clock if mark is not None else None
        self.start = self.last = self.highest = mark
        self.unit: float | None = None
        self.position, self.smallest_gap = 0.0, np.inf
        self.gaps: Counter[float] = Counter()
        self.first_gap: float | None = None
        self.was_off_grid = False

    def advance(self, mark: float | None, n_lost: int, same: bool) -> Advance:
        """Go to the next frame.

        Args:
            mark: Step number or time of the frame.
            n_lost: Frames between that could not be read.
            same: The frame repeats the one before it atom for atom.
        """
        notes: list[tuple[str, str]] = []
        if mark is None or self.last is None or self.start is None or self.highest is None:
            return Advance(0.0) if same else self._passed(1.0 + n_lost, n_lost == 0)
        before, self.last = self.last, mark
        if mark <= before and mark <= self.start:
            self.start = self.highest = mark
            if same:
                return Advance(0.0)
            name = self.clock.name if self.clock else "marks"
            notes.append(
                ("restart", f"its {name} begin anew at {mark:g}; it is taken as the next one")
            )
            return self._passed(1.0 + n_lost, False, notes)
        if mark <= self.highest:
            if not same and mark <= before:
                notes.append(
                    (
                        "overlap",
                        f"it goes back to {mark:g} after {before:g}; frames are left out until "
                        f"{self.highest:g} is passed",
                    )
                )
            return Advance(0.0, notes=tuple(notes))
        step, self.highest = mark - max(before, self.highest), mark
        if self.unit is None:
            self.unit = step / (1 + n_lost)
        gap = step / self.unit
        if abs(gap - round(gap)) <= SNAP * max(1.0, gap * 0.02) and gap > 0.5:
            return self._passed(float(round(gap)), n_lost == 0, notes)
        finer = round(1.0 / gap)
        if gap < 1.0 and abs(1.0 / gap - finer) <= SNAP * finer:
            self._refine(finer)
            passed = self._passed(1.0, n_lost == 0, notes)
            return Advance(passed.gap, finer, passed.realigned, passed.notes)
        notes.append(
            ("uneven", f"it comes {gap:.3g} spacings after the one before it, off the even times")
        )
        return self._passed(gap, False, notes)

    def _refine(self, finer: int) -> None:
        """Take a smaller unit."""
        assert self.unit is not None, "a unit is known before it is refined"
        self.unit /= finer
        self.position *= finer
        self.smallest_gap *= finer
        self.gaps = Counter({gap * finer: n for gap, n in self.gaps.items()})
        if self.first_gap is not None:
            self.first_gap *= finer

    def _passed(
        self, gap: float, counted: bool, notes: list[tuple[str, str]] | None = None
    ) -> Advance:
        """Let time pass; after two frames off the grid it starts anew."""
        self.position += gap
        if counted:
            self.gaps[gap] += 1
            self.first_gap = gap if self.first_gap is None else self.first_gap
            self.smallest_gap = min(self.smallest_gap, gap)
        off_grid = abs(self.position - round(self.position)) > OFF_GRID
        realigned = off_grid and self.was_off_grid
        if realigned:
            self.position = float(np.ceil(self.position))
        self.was_off_grid = off_grid and not realigned
        return Advance(gap, realigned=realigned, notes=tuple(notes or ()))

    @property
    def usual_gap(self) -> float:
        """The commonest gap in units."""
        return max(self.gaps, key=lambda gap: self.gaps[gap], default=1.0)

    def is_before(self, start_fs: float, interval_fs: float | None) -> bool:
        """True where the next frame is at least as near to a start, as far as time is known."""
        gap = self.first_gap or 1.0
        if interval_fs is None:
            unit_fs = self.clock.unit_fs if self.clock is not None else None
            interval_fs = gap * (unit_fs or 0.0) * (self.unit or 0.0)
        return (self.position / gap + 0.5) * interval_fs < start_fs * (1 - 1e-9)

    def unit_fs(self, interval_fs: float | None) -> tuple[float, list[str]]:
        """Femtoseconds a unit, and notes.

        Args:
            interval_fs: Time between two frames as the user gives it.

        Raises:
            TimeError: None is given or stated, or the two contradict each other.
        """
        usual = self.usual_gap
        stated = self.clock.unit_fs if self.clock is not None else None
        if self.clock is None or stated is None or self.unit is None:
            if interval_fs is None:
                has = f"it has {self.clock.name} only" if self.clock else "it states no times"
                raise TimeError(f"--interval-fs is missing, the time between two frames; {has}")
            return self._given(interval_fs, usual)
        clock, spacing = self.clock, usual * self.unit
        if interval_fs is None:
            note = f"{clock.name} is taken as femtoseconds" if clock.assumed else ""
            return self.unit * stated, [note] if note else []
        choices = ASSUMED_UNITS_FS if clock.assumed else {"": stated}
        common = [g for g, n in self.gaps.items() if n >= COMMON * self.gaps.total()]
        for name, size in choices.items():
            for gap in sorted(common, key=lambda gap: gap != usual):
                if abs(gap * self.unit * size / interval_fs - 1) <= AGREEMENT:
                    note = (
                        f"{clock.name} is taken to be in {name}" if name not in ("", "fs") else ""
                    )
                    return self.unit * size, [note] if note else []
        raise TimeError(
            f"--interval-fs {interval_fs:g} contradicts the file: its frames are "
            f"{spacing * stated:g} fs apart by its {clock.name}"
            f"{' (taken as fs)' if clock.assumed else ''}; leave it out, or correct it"
        )

    def _given(self, interval_fs: float, usual: float) -> tuple[float, list[str]]:
        """The given interval, put on the file's own steps where these are uneven."""
        if len(self.gaps) < 2:
            return interval_fs / usual, []
        clear = self.gaps[usual] >= CLEAR * self.gaps.total()
        steps = usual * (self.unit or 1.0)
        name = f"{steps:g} steps" if self.clock is not None else "one frame"
        if not clear and usual != self.first_gap:
            spacings = ", ".join(f"{g * (self.unit or 1.0):g}" for g in sorted(self.gaps)[:5])
            raise TimeError(
                f"the spacing of the frames changes ({spacings} steps), so --interval-fs may mean "
                "any of them; split the file where it changes"
            )
        if clear:
            return interval_fs / usual, []
        return interval_fs / usual, [
            f"the spacing of the frames changes; --interval-fs {interval_fs:g} is taken for "
            f"{name}, as in the first frames"
        ]


@dataclass(frozen=True, eq=False)
class Stretch:
    """Frames at even times.

    Attributes:
        index: (n,) stored frames that are on them.
        at: (n,) their place on the even grid, from 0 on; holes are to be filled.
        spacing: Units from one grid point to the next.
    """

    index: NDArray[np.int64]
    at: NDArray[np.int64]
    spacing: int

    @property
    def duration(self) -> int:
        """Units from first to last."""
        return int(self.at[-1]) * self.spacing

    @property
    def n_filled(self) -> int:
        """Grid points without a frame."""
        return int(self.at[-1]) + 1 - len(self.at)


def even_stretch(segment: NDArray[np.int64], position: NDArray[np.int64]) -> Stretch:
    """The longest stretch of frames that are evenly spaced.

    A few single frames that are missing may be filled in. Of all common spacings the finest is
    taken whose stretch is about as long as the longest.

    Args:
        segment: (n,) frames with one number follow each other without a break.
        position: (n,) rising whole units of time.
    """
    gaps = np.diff(position)[np.diff(segment) == 0]
    if not len(gaps):
        return Stretch(np.zeros(1, np.int64), np.zeros(1, np.int64), 1)
    spacings, counts = np.unique(gaps, return_counts=True)
    common = counts >= COMMON * len(gaps)
    common |= counts == counts.max()
    found = [
        max(_stretches(segment, position, int(spacing)), key=lambda stretch: stretch.duration)
        for spacing in spacings[common]
    ]
    longest = max(stretch.duration for stretch in found)
    return next(stretch for stretch in found if stretch.duration >= AS_GOOD * longest)


def _stretches(
    segment: NDArray[np.int64], position: NDArray[np.int64], spacing: int
) -> list[Stretch]:
    """All stretches of one spacing."""
    result = []
    for number in np.unique(segment):
        inside = np.flatnonzero(segment == number)
        offset = position[inside] - position[inside[0]]
        inside, offset = inside[offset % spacing == 0], offset[offset % spacing == 0]
        for run in _runs(offset // spacing, 1 + FILLED_IN_A_ROW):
            at = offset[run] // spacing
            whole = Stretch(inside[run], at - at[0], spacing)
            if whole.n_filled <= FILLED * (whole.at[-1] + 1):
                result.append(whole)
                continue
            result += [
                Stretch(inside[run][part], at[part] - at[part][0], spacing) for part in _runs(at, 1)
            ]
    return result


def _runs(at: NDArray[np.int64], longest_gap: int) -> list[NDArray[np.int64]]:
    """Indices of runs without a longer gap."""
    return np.split(np.arange(len(at)), np.flatnonzero(np.diff(at) > longest_gap) + 1)
