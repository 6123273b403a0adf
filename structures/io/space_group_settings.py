"""Symmetry operations of a space group in a named setting, and what a name may mean.

Operations come from spglib's database (530 settings). Names that its tables lack (``C m c a``,
``C -1``, old cubic ones) are found in gemmi's, and any further Hall symbol is expanded by gemmi.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property, lru_cache

import gemmi
import numpy as np
import spglib
from numpy.typing import NDArray

from ionbridge.structures.crystals.symmetry import from_spglib

TRANSLATION_TOLERANCE = 2e-3
"""A written translation this close to n/24 is n/24 (0.3333, 0.167)."""
MAX_OPERATIONS = 192 * 32
"""Operations of the largest space group, times lattice points of a cell that is not a standard one
(magnetic and super cells)."""
_STEPS = 5040
"""Translations are compared to one part in this."""

_ORIGINS = {"s": "1", "z": "2", "1": "1", "2": "2", "o1": "1", "o2": "2"}
_CHOICES = ("1", "2", "H", "R")
"""Origins and axes that are written after a symbol; other choices are part of it."""
_AXES = {"h": "H", "hr": "H", "r": "R", "rr": "R"}


@dataclass(frozen=True, eq=False)
class Operations:
    """Operations x -> W x + w on fractional coordinates.

    Attributes:
        rotation: (n, 3, 3) integer matrices W.
        translation: (n, 3) vectors w, in cell vectors, 0 <= w < 1.
        name: What to call them in a message.
        choice: Axes, origin or cell choice of the setting (``H``, ``2``, ``b1``), where it has one.
        number: International number of the space group, where it is known by name.
    """

    rotation: NDArray[np.int64]
    translation: NDArray[np.float64]
    name: str
    choice: str = ""
    number: int | None = field(default=None)

    def __len__(self) -> int:
        return len(self.rotation)

    @cached_property
    def key(self) -> frozenset[tuple[int, ...]]:
        """The same for the same operations in any order."""
        return frozenset(_keys(self.rotation, self.translation))

    @cached_property
    def is_group(self) -> bool:
        """True if the product of any two is one of them, and the identity is among them."""
        if len(self) > MAX_OPERATIONS or len(self.key) != len(self):
            return False
        identity = (*np.eye(3, dtype=int).ravel().tolist(), 0, 0, 0)
        if identity not in self.key:
            return False
        for rotation, translation in zip(self.rotation, self.translation, strict=True):
            products = _keys(rotation @ self.rotation, self.translation @ rotation.T + translation)
            if not self.key.issuperset(products):
                return False
        return True

    @cached_property
    def found_number(self) -> int | None:
        """International number that spglib finds for the operations; None where it finds none."""
        if self.number is not None:
            return self.number
        found = from_spglib(
            spglib.get_spacegroup_type_from_symmetry, self.rotation, self.translation
        )
        return None if found is None else int(found.number)


def _keys(rotation: NDArray[np.int64], translation: NDArray[np.float64]) -> list[tuple[int, ...]]:
    steps = np.rint(translation * _STEPS).astype(np.int64) % _STEPS
    flat = np.hstack([rotation.reshape(-1, 9), steps])
    return [tuple(row) for row in flat.tolist()]


def snapped(translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Translations in [0, 1), those close to n/24 put there."""
    nearest = np.rint(translation * 24) / 24
    close = np.abs(translation - nearest) < TRANSLATION_TOLERANCE
    return np.asarray(np.where(close, nearest, translation) % 1.0)


@cache
def from_database(hall_number: int) -> Operations:
    """Operations of one of the 530 settings, by spglib's number of it."""
    known = from_spglib(spglib.get_spacegroup_type, hall_number)
    found = from_spglib(spglib.get_symmetry_from_database, hall_number)
    assert known is not None
    assert found is not None
    name = known.international.split("=")[-1].strip().replace("_", "")
    suffix = f" :{known.choice[0]}" if known.choice[:1] in _CHOICES else ""
    return Operations(
        rotation=found["rotations"].astype(np.int64),
        translation=snapped(np.asarray(found["translations"], dtype=float)),
        name=name + suffix,
        choice=known.choice,
        number=int(known.number),
    )


def by_hall(symbol: str) -> Operations | None:
    """Operations of a Hall symbol; None if it is none.

    Args:
        symbol: As ``-P 2ac 2n``; blanks and underscores are read alike.
    """
    number = _hall_numbers().get(_hall_key(symbol))
    if number is not None:
        return from_database(number)
    try:
        group = gemmi.symops_from_hall(symbol.replace("_", " ").strip())
    except (RuntimeError, ValueError):
        return None
    return _from_gemmi(group, f"Hall {symbol}", "", None)


def by_number(number: int) -> list[Operations]:
    """Standard setting of a space group; where it has two origins or axes, both, the first first.

    Args:
        number: International number, 1 to 230.
    """
    settings = [from_database(k) for k in _numbered()[number]]
    standard = [s for s in settings if s.choice in ("", "1", "2", "H", "R", "b", "b1")]
    return standard or settings[:1]


def by_name(symbol: str) -> list[Operations]:
    """Every setting that a Hermann-Mauguin symbol may mean; empty if it is none.

    Short monoclinic symbols (``P 21/n``) mean one setting for each unique axis, b first; a symbol
    without its origin or axes means all of them, the first of the tables first.

    Args:
        symbol: Short or full, with blanks, underscores or neither; the choice of origin or axes
            may follow (``:2``, ``S``/``Z``, ``:R``, ``H``).
    """
    plain, choice = _split_choice(symbol)
    numbers = _names().get(plain, ())
    settings = [from_database(k) for k in numbers]
    if choice:
        settings = [s for s in settings if choice in (s.choice, s.choice[:1])]
    if settings:
        return settings
    found = [
        _from_gemmi(group.operations(), group.xhm(), group.ext.strip("\0"), group.number)
        for group in gemmi.spacegroup_table()
        if _plain(group.hm) == plain or _plain(group.short_name()) == plain
    ]
    if choice:
        found = [s for s in found if s.choice == choice]
    if not found:
        group = gemmi.find_spacegroup_by_name(symbol.replace("_", "").strip())
        if group is not None and choice in ("", group.ext.strip("\0")):
            twins = [g for g in gemmi.spacegroup_table() if g.hm == group.hm]
            found = [
                _from_gemmi(g.operations(), g.xhm(), g.ext.strip("\0"), g.number)
                for g in twins
                if choice in ("", g.ext.strip("\0"))
            ]
    return [_in_database(s) for s in found]


def parse_operations(texts: Sequence[str]) -> Operations:
    """Operations written as coordinate triplets, each once.

    Args:
        texts: Such as ``-x+1/2, y, z+0.5``; a fourth part (time reversal) is passed over.

    Raises:
        ValueError: One of them is no triplet; it is named.
    """
    found = [_parse_triplet(text) for text in texts]
    rotation = np.array([r for r, _ in found], dtype=np.int64).reshape(-1, 3, 3)
    translation = snapped(np.array([t for _, t in found], dtype=float).reshape(-1, 3))
    first = {key: k for k, key in reversed(list(enumerate(_keys(rotation, translation))))}
    kept = sorted(first.values())
    return Operations(rotation[kept], translation[kept], f"{len(kept)} listed operations")


def composed(inner: Operations, centring: Operations) -> Operations:
    """All products of operations with centring translations (magnetic CIFs list them apart)."""
    rotation = np.concatenate([c @ inner.rotation for c in centring.rotation])
    translation = np.concatenate(
        [
            inner.translation @ c.T + t
            for c, t in zip(centring.rotation, centring.translation, strict=True)
        ]
    )
    translation = snapped(translation)
    first = {key: k for k, key in reversed(list(enumerate(_keys(rotation, translation))))}
    kept = sorted(first.values())
    return Operations(rotation[kept], translation[kept], f"{len(kept)} listed operations")


_TERM = re.compile(r"([+-]?)(?:(\d+/\d+|\d*\.\d+|\d+\.?)\*?)?([xyzabcuvw]?)")


def _parse_triplet(text: str) -> tuple[list[list[int]], list[float]]:
    parts = "".join(text.lower().split()).strip("'\"").split(",")
    if len(parts) not in (3, 4) or (len(parts) == 4 and parts[3] not in ("+1", "-1", "1", "m")):
        raise ValueError(f"{text!r} is no symmetry operation")
    rows, shifts = [], []
    for part in parts[:3]:
        row, shift, position = [Fraction(0)] * 3, Fraction(0), 0
        while position < len(part):
            term = _TERM.match(part, position)
            if term is None or not (term[2] or term[3]) or (position and not term[1]):
                raise ValueError(f"{text!r} is no symmetry operation")
            try:
                amount = Fraction(term[2] or 1) * (-1 if term[1] == "-" else 1)
            except ZeroDivisionError:
                raise ValueError(f"{text!r} is no symmetry operation") from None
            if term[3]:
                row["xyzabcuvw".index(term[3]) % 3] += amount
            else:
                shift += amount
            position = term.end()
        if not part or any(x.denominator != 1 or abs(x) > 8 for x in row) or abs(shift) > 1000:
            raise ValueError(f"{text!r} is no symmetry operation")
        rows.append([int(x) for x in row])
        shifts.append(float(shift))
    if abs(round(float(np.linalg.det(np.array(rows, dtype=float))))) != 1:
        raise ValueError(f"{text!r} is no symmetry operation")
    return rows, shifts


def _plain(symbol: str) -> str:
    plain = re.sub(r"[\s_'\"]", "", symbol).lower()
    return re.sub(r"\((?:#|no\.?)?\d+\)$|#\d+$", "", plain)  # Pnma (62)


def _split_choice(symbol: str) -> tuple[str, str]:
    """Plain symbol, and the choice of origin or axes that it ends in."""
    text = _plain(symbol)
    stem, colon, suffix = text.partition(":")
    if colon:
        return stem, _ORIGINS.get(suffix) or _AXES.get(suffix) or suffix
    if text in _names():
        return text, ""
    stripped = re.sub(r"\(?origin(choice)?([12])\)?$", r"\2", text)
    for length in (2, 1):
        stem, suffix = stripped[:-length], stripped[-length:]
        choice = _ORIGINS.get(suffix) or _AXES.get(suffix)
        if choice and stem in _names():
            return stem, choice
    if text[:1] == "h" and "r" + text[1:] in _names():
        return "r" + text[1:], "H"
    return text, ""


def _hall_key(symbol: str) -> str:
    return re.sub(r"\s+", " ", symbol.replace("_", " ").strip()).lower()


@lru_cache
def _numbered() -> dict[int, list[int]]:
    """Settings of each space group."""
    found = defaultdict(list)
    for k in range(1, 531):
        found[_type(k).number].append(k)
    return dict(found)


def _type(hall_number: int) -> spglib.SpaceGroupType:
    known = from_spglib(spglib.get_spacegroup_type, hall_number)
    assert known is not None
    return known


@lru_cache
def _hall_numbers() -> dict[str, int]:
    return {_hall_key(_type(k).hall_symbol): k for k in reversed(range(1, 531))}


@lru_cache
def _names() -> dict[str, tuple[int, ...]]:
    """Settings by plain symbol."""
    found: dict[str, list[int]] = defaultdict(list)
    for k in range(1, 531):
        known = _type(k)
        own = [part.strip() for part in known.international.split("=")]
        # in the tables the first part is the name of the type, whatever the setting
        names = {own[-1]} if len(own) > 1 else {own[0], known.international_full}
        if 3 <= known.number <= 15:
            names |= {known.international_full, " ".join(own[-1:])}
            names |= {" ".join(p for p in known.international_full.split() if p != "1")}
        for name in {_plain(name) for name in names}:
            found[name].append(k)
    for name in list(found):  # before 1935, and in many programs since: m 3 for m -3
        number = _type(found[name][0]).number
        if 200 <= number <= 206 or 221 <= number <= 230:
            old = name.replace("-3", "3")
            if old not in found:
                found[old] = found[name]
    return {name: tuple(numbers) for name, numbers in found.items()}


def _from_gemmi(group: gemmi.GroupOps, name: str, choice: str, number: int | None) -> Operations:
    operations = list(group)
    return Operations(
        rotation=np.array([op.rot for op in operations], dtype=np.int64) // gemmi.Op.DEN,
        translation=snapped(np.array([op.tran for op in operations], dtype=float) / gemmi.Op.DEN),
        name=name,
        choice=choice,
        number=number,
    )


@lru_cache
def _database_keys() -> dict[frozenset[tuple[int, ...]], int]:
    return {from_database(k).key: k for k in reversed(range(1, 531))}


def _in_database(operations: Operations) -> Operations:
    """The setting of spglib's database with these operations, where it has one."""
    number = _database_keys().get(operations.key)
    return operations if number is None else from_database(number)
