"""Crystals in VASP's POSCAR form, read as VASP does, and refused where it would not say."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.io.json_records import check_geometry, checked_species
from ionbridge.structures.io.site_symbols import occupants
from ionbridge.structures.plain_text import clean_text
from ionbridge.structures.records import Crystal, Occupancy, UnusableStructureError

MAX_ATOMS = 1_000_000

_FLAGS = {"t", "f", ".true.", ".false.", ".t.", ".f.", "true", "false"}


def crystal_in_poscar(text: str) -> Crystal:
    """The crystal of a POSCAR or CONTCAR.

    A negative scale is the volume; three scales are those of the Cartesian axes; both go for
    Cartesian positions, too. Velocities and what follows them are passed over.

    Raises:
        UnusableStructureError: With the line that is wrong.
    """
    lines = text.splitlines()
    scale = _numbers(lines, 1, (1, 3), "the scale, or three")
    vectors = np.array([_numbers(lines, k, (3,), "a cell vector") for k in (2, 3, 4)])
    if len(scale) == 3:
        if min(scale) <= 0:
            raise UnusableStructureError(f"line 2: three scales must be positive, got {scale}")
        stretch = np.array(scale)
    elif scale[0] < 0:
        volume = float(abs(np.linalg.det(vectors)))
        if not volume > 0:
            raise UnusableStructureError("lines 3 to 5: the cell vectors span no volume")
        stretch = np.full(3, (-scale[0] / volume) ** (1 / 3))
    elif scale[0] > 0:
        stretch = np.full(3, scale[0])
    else:
        raise UnusableStructureError("line 2: the scale is 0")
    lattice = vectors * stretch
    check_geometry(lattice)

    symbols, counts, row = _contents(lines)
    if sum(counts) > MAX_ATOMS:
        raise UnusableStructureError(f"{sum(counts)} atoms; at most {MAX_ATOMS} are read")
    notes: list[str] = []
    mode = _word(lines, row)
    is_selective = mode[:1].lower() == "s"
    if is_selective:
        row += 1
        mode = _word(lines, row)
    if mode[:1].lower() not in ("d", "c", "k"):
        if not mode or _is_number(mode):
            raise UnusableStructureError(
                f"line {row + 1}: expected Direct or Cartesian, got {_shown(lines, row)}"
            )
        notes.append(f"{clean_text(mode)[:20]!r} read as Direct, as VASP does")
    positions, trailing = _positions(lines, row + 1, sum(counts), is_selective)
    if symbols is None:
        symbols, counts = _trailing_symbols(trailing, counts)
    sites: list[Occupancy] = []
    for symbol, count in zip(symbols, counts, strict=True):
        inside = occupants(_without_potential(symbol))
        if inside.hydrogens:
            raise UnusableStructureError(f"unknown element {clean_text(symbol)!r}")
        if inside.note:
            notes.append(f"'{clean_text(symbol)}': {inside.note}")
        sites += [inside.shares] * count
    _check_trailing(trailing, sites, row + 2)
    frac = positions
    if mode[:1].lower() in ("c", "k"):
        frac = (positions * stretch) @ np.linalg.inv(lattice)
    kept = [k for k, site in enumerate(sites) if site]
    species, scaled = checked_species([dict(sites[k]) for k in kept], "site")
    check_geometry(lattice, frac=frac)
    crystal = Crystal(id="", lattice=lattice, species=species, frac=frac[kept])
    return crystal.with_notes(*notes, *scaled)


def _contents(lines: list[str]) -> tuple[list[str] | None, list[int], int]:
    """Symbols (None in the VASP 4 form), counts, and the line after them."""
    words = _words(lines, 5)
    if words and all(re.fullmatch(r"\d+", word) for word in words):
        return None, _counts(words, 5), 6
    counts = _words(lines, 6)
    if not words or not counts or not all(re.fullmatch(r"\d+", word) for word in counts):
        shown = _shown(lines, 6)
        raise UnusableStructureError(f"line 7: expected the number of atoms of each, got {shown}")
    if len(words) != len(counts):
        raise UnusableStructureError(
            f"line 6 names {len(words)} elements, line 7 has {len(counts)} numbers of atoms"
        )
    return words, _counts(counts, 6), 7


def _counts(words: list[str], row: int) -> list[int]:
    counts = [int(word) if len(word) < 10 else MAX_ATOMS + 1 for word in words]
    if not sum(counts):
        raise UnusableStructureError(f"line {row + 1}: no atoms")
    return counts


def _positions(
    lines: list[str], first: int, n_atoms: int, is_selective: bool
) -> tuple[NDArray[np.float64], list[str]]:
    """(n_atoms, 3) positions as written, and the symbol after each where one stands there."""
    positions = np.empty((n_atoms, 3))
    trailing: list[str] = []
    for k in range(n_atoms):
        row = first + k
        if row >= len(lines) or not lines[row].strip():
            raise UnusableStructureError(f"the file ends after {k} of {n_atoms} atoms")
        positions[k] = _numbers(lines, row, (3,), "a position", exactly=False)
        rest = _words(lines, row)[3:]
        if is_selective:
            flags = rest[:3]
            if len(flags) < 3 or not all(flag.lower() in _FLAGS for flag in flags):
                raise UnusableStructureError(
                    f"line {row + 1}: expected three flags T or F (selective dynamics), "
                    f"got {_shown(lines, row)}"
                )
            rest = rest[3:]
        trailing.append(rest[0] if rest else "")
    after = first + n_atoms
    if after < len(lines):
        words = _words(lines, after)
        if len(words) >= 3 and all(_is_number(word) for word in words[:3]):
            raise UnusableStructureError(
                f"line {after + 1}: more positions than the {n_atoms} atoms stated"
            )
    return positions, trailing


def _trailing_symbols(trailing: list[str], counts: list[int]) -> tuple[list[str], list[int]]:
    """Symbols of the VASP 4 form, where each position names its element."""
    groups, start = [], 0
    for count in counts:
        named = set(trailing[start : start + count])
        if len(named) != 1 or not re.fullmatch(r"[A-Z][a-z]?[\d+-]*", next(iter(named))):
            raise UnusableStructureError(
                "no element symbols (VASP 4 form); add their line above the atom counts"
            )
        groups.append(re.sub(r"[\d+-]", "", named.pop()))
        start += count
    return groups, counts


def _check_trailing(trailing: list[str], sites: Sequence[Occupancy], first: int) -> None:
    """Refuse symbols after the positions that contradict the line of elements."""
    for k, (word, site) in enumerate(zip(trailing, sites, strict=True)):
        match = re.fullmatch(r"([A-Z][a-z]?)[\d+-]*", word)
        if match is None:
            continue
        try:
            named = occupants(match[1]).shares
        except UnusableStructureError:
            continue
        if set(named) != set(site):
            raise UnusableStructureError(
                f"line {first + k}: atom {k + 1} is named {word}, by the line of elements it is "
                f"{' '.join(site) or 'a vacancy'}"
            )


def _without_potential(symbol: str) -> str:
    """``Fe`` of ``Fe_pv/0a1b2c``, as VASP 6 writes it."""
    return re.split(r"[_/:]", symbol, maxsplit=1)[0]


def _words(lines: list[str], row: int) -> list[str]:
    return re.split(r"[!#]", lines[row], maxsplit=1)[0].split() if row < len(lines) else []


def _word(lines: list[str], row: int) -> str:
    return next(iter(_words(lines, row)), "")


def _is_number(word: str) -> bool:
    return (
        len(word) < 60
        and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d{1,3})?", word) is not None
    )


def _numbers(
    lines: list[str], row: int, lengths: tuple[int, ...], what: str, exactly: bool = True
) -> list[float]:
    words = []
    for word in _words(lines, row):
        if not _is_number(word):
            break
        words.append(float(word.lower().replace("d", "e")))
    longest = max(lengths)
    if len(words) < min(lengths) or (exactly and len(words) not in lengths):
        raise UnusableStructureError(
            f"line {row + 1}: expected {what} ({longest} numbers), got {_shown(lines, row)}"
            if row < len(lines)
            else f"the file ends before line {row + 1} ({what})"
        )
    return words[:longest]


def _shown(lines: list[str], row: int) -> str:
    return repr(clean_text(lines[row].strip())[:40]) if row < len(lines) else "the end of the file"
