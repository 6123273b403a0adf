"""Protocols of evaluation: families, ions or both left out, few shots; and a report of leaks.

Which records go where depends on their ids, formulas, families and the seed, never on the order in
which they came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.features.splits import (
    GroupedKFold,
    RandomKFold,
    Split,
    Splittable,
    framework,
    hash_of,
)
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.records import Crystal, Hop


@dataclass(frozen=True)
class LeakReport:
    """Reduced formulas that stand on both sides of a split.

    Attributes:
        formulas: The shared reduced formulas, sorted.
        n_train: Training records that have one of them.
        n_test: Test records that have one of them.
    """

    formulas: tuple[str, ...]
    n_train: int
    n_test: int

    @property
    def is_clean(self) -> bool:
        """True if nothing is shared."""
        return not self.formulas


@dataclass(frozen=True)
class LeaveFamilyOut:
    """One family held out at a time; the training part keeps no framework of the held-out one.

    Attributes:
        min_size: Families with fewer records are not held out by themselves but together, as
            ``others``.
    """

    min_size: int = 1

    def split(self, records: Sequence[Splittable]) -> Iterator[Split]:
        """Families by name, ``others`` last."""
        names = [canonical_family(record.family) for record in records]
        yield from _leave_out(records, _small_together(names, self.min_size))


@dataclass(frozen=True)
class LeaveIonOut:
    """One working ion held out at a time.

    Attributes:
        min_size: Ions with fewer records are held out together, as ``others``.
        share_frameworks: Keep frameworks of the held-out ion in training, there with other ions
            (LiFePO4 helps NaFePO4). False takes them out.
    """

    min_size: int = 1
    share_frameworks: bool = False

    def split(self, records: Sequence[Splittable]) -> Iterator[Split]:
        """Ions by symbol, ``others`` last."""
        names = _small_together([str(record.working_ion) for record in records], self.min_size)
        yield from _leave_out(records, names, self.share_frameworks)


@dataclass(frozen=True)
class LeaveFamilyAndIonOut:
    """One ion of one family held out at a time, from what shares neither with it.

    The hardest of the splits: nothing of the family, nothing of the ion and no framework of the
    held-out part is learnt from.
    """

    def split(self, records: Sequence[Splittable]) -> Iterator[Split]:
        """Family and ion by name."""
        families = np.array([canonical_family(record.family) for record in records])
        ions = np.array([str(record.working_ion) for record in records])
        frameworks = np.array([framework(record) for record in records])
        for family, ion in sorted(set(zip(families.tolist(), ions.tolist(), strict=True))):
            test = (families == family) & (ions == ion)
            near = (families == family) | (ions == ion) | np.isin(frameworks, frameworks[test])
            parts = (~near, test, near & ~test)
            yield Split(f"{family} {ion}", *(np.flatnonzero(part) for part in parts))


@dataclass(frozen=True)
class FewShotSplit:
    """A family held out, but for ``n_shots`` of its host frameworks, drawn by ``seed``.

    All records of a drawn framework are learnt from (one crystal that was computed gives all its
    hops), so shots and test share no framework.

    Attributes:
        n_shots: Host frameworks of the family to learn from.
        seed: Of the draw.
        min_test: Families that would keep fewer test records are passed over.
    """

    n_shots: int = 8
    seed: int = 0
    min_test: int = 8

    def split(self, records: Sequence[Splittable]) -> Iterator[Split]:
        """Families by name; ``Split.train`` holds the other families and then the shots."""
        for base in LeaveFamilyOut().split(records):
            names = {framework(records[k]) for k in base.test}
            drawn = set(sorted(names, key=lambda g: hash_of(g, self.seed))[: self.n_shots])
            shots = [k for k in base.test if framework(records[k]) in drawn]
            test = [k for k in base.test if framework(records[k]) not in drawn]
            if len(drawn) < self.n_shots or len(test) < self.min_test:
                continue
            yield Split(base.name, _index([*base.train, *shots]), _index(test), base.dropped)


SPLITTERS: dict[str, Callable[..., Any]] = {
    "random": RandomKFold,
    "grouped": GroupedKFold,
    "leave-family-out": LeaveFamilyOut,
    "leave-ion-out": LeaveIonOut,
    "leave-family-and-ion-out": LeaveFamilyAndIonOut,
    "few-shot": FewShotSplit,
}
"""Splitters by name."""


def reduced_formula(record: Splittable) -> str:
    """Reduced formula with the working ion; of a hop, of the host with the moving ion back."""
    if isinstance(record, Hop):
        sites = (*record.host_species, {record.working_ion: 1.0})
        return Crystal(record.id, record.lattice, sites, record.host_frac).formula
    return record.composition.reduced_formula


def leak_report(train: Sequence[Splittable], test: Sequence[Splittable]) -> LeakReport:
    """Which reduced formulas stand on both sides; ids say nothing, data sets number differently.

    Hops are compared by host framework, which is stricter.
    """

    def key(record: Splittable) -> str:
        return framework(record) if isinstance(record, Hop) else reduced_formula(record)

    train_keys, test_keys = [key(r) for r in train], [key(r) for r in test]
    shared = set(train_keys) & set(test_keys)
    return LeakReport(
        formulas=tuple(sorted(shared)),
        n_train=sum(k in shared for k in train_keys),
        n_test=sum(k in shared for k in test_keys),
    )


def _leave_out(
    records: Sequence[Splittable], names: Sequence[str], share_frameworks: bool = False
) -> Iterator[Split]:
    frameworks = [framework(record) for record in records]
    for name in sorted(set(names), key=lambda n: (n == "others", n)):
        test = [k for k, n in enumerate(names) if n == name]
        held = set() if share_frameworks else {frameworks[k] for k in test}
        rest = [k for k, n in enumerate(names) if n != name]
        train = [k for k in rest if frameworks[k] not in held]
        dropped = [k for k in rest if frameworks[k] in held]
        yield Split(name, _index(train), _index(test), _index(dropped))


def _small_together(names: Sequence[str], min_size: int) -> list[str]:
    counts = {name: names.count(name) for name in set(names)}
    return [name if counts[name] >= min_size else "others" for name in names]


def _index(values: Sequence[int]) -> NDArray[np.intp]:
    return np.array(values, dtype=np.intp)
