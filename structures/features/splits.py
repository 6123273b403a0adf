"""Folds that do not leak: whole host frameworks, or other groups, on one side.

Every splitter takes records and gives ``Split`` objects of index arrays. Which records go where
depends on their ids or groups and the seed, never on the order in which they came in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition

from ionbridge.structures.records import WORKING_IONS, Hop

Splittable = Any
"""A record with ``id`` and, as the splitter needs, ``composition``, ``family``, ``working_ion``."""


@dataclass(frozen=True, eq=False)
class Split:
    """One division of the records.

    Attributes:
        name: Of the part held out ("fold 3", "spinel", "Mg").
        train: Indices of the records to learn from.
        test: Indices of the records held out.
        dropped: Indices on neither side, because they would leak.
    """

    name: str
    train: NDArray[np.intp]
    test: NDArray[np.intp]
    dropped: NDArray[np.intp]


@dataclass(frozen=True)
class RandomKFold:
    """Records at random into folds. It flatters every model: neighbours sit on both sides."""

    n_folds: int = 10
    seed: int = 0

    def split(self, records: Sequence[Splittable]) -> Iterator[Split]:
        """Yield the folds in order, each with its training and test indices."""
        keys = [record.id for record in records]
        yield from _folds(keys, self.n_folds, self.seed)


@dataclass(frozen=True)
class GroupedKFold:
    """Whole groups into folds of nearly equal size.

    Attributes:
        n_folds: Number of folds.
        seed: Of the order in which equally large groups are dealt out.
        group: Group name of a record; by default its host framework.
    """

    n_folds: int = 10
    seed: int = 0
    group: Callable[[Splittable], str] | None = None

    def n_groups(self, records: Sequence[Splittable]) -> int:
        """Number of groups among the records: the most folds there can be."""
        return len(set(map(self.group or framework, records)))

    def split(self, records: Sequence[Splittable]) -> Iterator[Split]:
        """Yield the folds in order, each with its training and test indices."""
        group = self.group or framework
        yield from _folds([group(record) for record in records], self.n_folds, self.seed)


def framework(record: Splittable) -> str:
    """Reduced formula of a record without its working ion: what a grouped split keeps together.

    A record that names no working ion loses the first of ``WORKING_IONS`` that it holds.
    """
    if isinstance(record, Hop):
        return record.framework
    ion = getattr(record, "working_ion", None)
    amounts = record.composition.get_el_amt_dict()
    ion = ion or next((symbol for symbol in WORKING_IONS if symbol in amounts), None)
    rest = {symbol: amount for symbol, amount in amounts.items() if symbol != ion}
    return Composition(rest or amounts).reduced_formula


def _folds(keys: Sequence[str], n_folds: int, seed: int) -> Iterator[Split]:
    """Largest groups first, each to the smallest fold so far; ties by a hash of key and seed."""
    counts: dict[str, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    if n_folds < 2 or len(counts) < n_folds:
        raise ValueError(f"{n_folds} folds need 2 or more and no more than {len(counts)} groups")
    sizes = [0] * n_folds
    fold_of: dict[str, int] = {}
    for key in sorted(counts, key=lambda k: (-counts[k], hash_of(k, seed))):
        fold_of[key] = int(np.argmin(sizes))
        sizes[fold_of[key]] += counts[key]
    folds = np.array([fold_of[key] for key in keys])
    for k in range(n_folds):
        yield Split(f"fold {k}", np.flatnonzero(folds != k), np.flatnonzero(folds == k), _index([]))


def hash_of(key: str, seed: int) -> str:
    """A number in hexadecimal digits that orders keys at random, the same on every machine."""
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def _index(values: Sequence[int]) -> NDArray[np.intp]:
    return np.array(values, dtype=np.intp)
