"""Tasks of the orchestrator's benchmark: a source, a few labels of something new, rows to test on.

Hops: one family or ion of the NEB set is the target, all other hops (no framework shared) the
source. Bulk properties: one property is the source of another, on crystals that differ in
composition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from benchmarks.transfer.adaptation_strategies import Source
from ionbridge.models.regressors.gaussian_process import path_scalars
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.descriptors import hop_features
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.hops.hop_profile import profiled
from ionbridge.structures.records import Crystal, Hop
from ionbridge.structures.sources import materials_project, neb_barriers

HOP_LABELS = (8, 16, 32)
BULK_LABELS = (8, 16, 32, 128)
MIN_TEST = 15
N_BULK_SOURCE, N_BULK_TEST = 1500, 250
LOG = LogShift(0.1)
BULK = ("formation_energy", "band_gap", "voltage", "bulk_modulus", "shear_modulus")
ION_GROUPS = (("Li",), ("Na", "K", "Rb"), ("Mg", "Ca", "Zn", "Al", "Sr"))
"""Working ions whose hops make a part of the source of its own."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Task:
    """One choice to be made.

    Attributes:
        name: ``family:olivine``, ``ion:K``, ``bulk:formation_energy->band_gap``.
        kind: ``family``, ``ion`` or ``bulk``.
        source: What may be transferred.
        descriptors: (n_labels, n_features) of the labels.
        target: (n_labels,) in the space of the strategies.
        groups: Of the labels; what must not be divided by cross-validation.
        test: (n_test, n_features).
        test_target: (n_test,) in the same space.
        is_log: Whether errors are to be taken in eV after LOG.inverse.
        n_labels: Number of labels.
        seed: Of the draw.
    """

    name: str
    kind: str
    source: Source
    descriptors: Floats
    target: Floats
    groups: tuple[str, ...]
    test: Floats
    test_target: Floats
    is_log: bool
    n_labels: int
    seed: int

    def error(self, target: Floats, predicted: Floats) -> Floats:
        """Absolute errors, hops in eV."""
        if self.is_log:
            return np.abs(LOG.inverse(target) - LOG.inverse(np.minimum(predicted, 3.0)))
        return np.abs(target - predicted)


@dataclass(frozen=True, eq=False)
class HopTable:
    """Descriptors of all hops, computed once."""

    hops: tuple[Hop, ...]
    descriptors: Floats
    target: Floats
    core: tuple[int, ...]


def hop_table(data: Path, cache: Path) -> HopTable:
    """Path scalars, path features and composition statistics of the NEB hops."""
    hops = tuple(neb_barriers.load(data).records)
    if cache.exists():
        stored = np.load(cache)
        if list(stored["ids"]) == [hop.id for hop in hops]:
            return _table(hops, stored["scalars"], stored["features"])
    ready = [profiled(hop) for hop in hops]
    scalars, (features, _) = path_scalars(ready), hop_features(hops)
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cache, ids=[hop.id for hop in hops], scalars=scalars, features=features)
    return _table(hops, scalars, features)


def _table(hops: tuple[Hop, ...], scalars: Floats, features: Floats) -> HopTable:
    barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
    return HopTable(
        hops,
        np.nan_to_num(np.concatenate([scalars, features], axis=1)),
        LOG.forward(barrier),
        tuple(range(scalars.shape[1])),
    )


def hop_tasks(table: HopTable, n_seeds: int) -> Iterator[Task]:
    """All families and ions with enough hops, labels drawn framework by framework."""
    families = np.array([canonical_family(hop.family) for hop in table.hops])
    ions = np.array([hop.working_ion for hop in table.hops])
    frameworks = np.array([hop.framework for hop in table.hops])
    sound = np.array([not neb_barriers.is_implausible(hop) for hop in table.hops])
    targets = [("family", name, families == name) for name in sorted(set(families))]
    targets += [("ion", name, ions == name) for name in sorted(set(ions))]
    for kind, name, member in targets:
        own = np.flatnonzero(member & sound)
        if len(own) < HOP_LABELS[0] + MIN_TEST:
            continue
        rest = np.flatnonzero(~member & sound & ~np.isin(frameworks, frameworks[own]))
        source = Source(
            table.descriptors[rest],
            table.target[rest],
            table.core,
            parts={
                "+".join(group): rows
                for group in ION_GROUPS
                if (rows := np.isin(ions[rest], group)).sum() >= 2 * MIN_TEST
            },
        )
        for n in HOP_LABELS:
            for seed in range(n_seeds):
                drawn = _drawn(frameworks[own], n, seed)
                test = np.setdiff1d(np.arange(len(own)), drawn)
                # hops of the frameworks that were drawn would be too easy
                apart = test[~np.isin(frameworks[own[test]], frameworks[own[drawn]])]
                test = apart if len(apart) >= MIN_TEST else test
                if len(drawn) < n or len(test) < MIN_TEST:
                    continue
                yield Task(
                    f"{kind}:{name}",
                    kind,
                    source,
                    table.descriptors[own[drawn]],
                    table.target[own[drawn]],
                    tuple(frameworks[own[drawn]]),
                    table.descriptors[own[test]],
                    table.target[own[test]],
                    True,
                    n,
                    seed,
                )


def _drawn(groups: NDArray[Any], n: int, seed: int) -> NDArray[np.intp]:
    """Indices of n labels: whole groups in random order, the last one cut."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(sorted(set(groups)))
    return np.concatenate([rng.permutation(np.flatnonzero(groups == g)) for g in order])[:n]


@lru_cache(maxsize=1)
def _element_table() -> tuple[dict[str, int], Floats]:
    """A few numbers of each element, standardised."""
    symbols = [e.symbol for e in Element if e.Z <= 94]
    rows = []
    for symbol in symbols:
        e = Element(symbol)
        radius = float(e.atomic_radius or 1.5)
        melting = float(e.melting_point or 1000.0)
        x = float(e.X) if e.X == e.X else 2.0
        rows.append([x, radius, e.row, e.group, e.Z, float(e.atomic_mass), melting, e.mendeleev_no])
    values = np.array(rows, dtype=float)
    return {s: i for i, s in enumerate(symbols)}, values


def crystal_descriptors(crystal: Crystal) -> Floats:
    """Mean, spread, lowest and highest of element numbers; density; shares of elements."""
    index, values = _element_table()
    amounts = crystal.composition.get_el_amt_dict()
    rows = np.array([index[s] for s in amounts])
    share = np.array(list(amounts.values()), dtype=float)
    share /= share.sum()
    own = values[rows]
    mean = share @ own
    spread = np.sqrt(np.maximum(share @ (own - mean) ** 2, 0.0))
    volume = crystal.volume_A3 / sum(amounts.values())
    covered = float(share @ own[:, 1] ** 3) / volume
    fractions = np.zeros(len(values))
    fractions[rows] = share
    numbers = [*mean, *spread, *own.min(axis=0), *own.max(axis=0)]
    return np.array([volume, covered, float(len(rows)), *numbers, *fractions])


N_CORE = 3 + 2 * 8
"""Density, number of elements, means and spreads: what a Gaussian process sees."""


def bulk_tables(data: Path, cache: Path) -> dict[str, tuple[Floats, Floats, list[str]]]:
    """Descriptors, values and reduced formulas of each property."""
    if cache.exists():
        stored = np.load(cache)
        return {
            name: (stored[f"{name}.x"], stored[f"{name}.y"], list(stored[f"{name}.formula"]))
            for name in BULK
        }
    rng = np.random.default_rng(0)
    bulk = materials_project.load_bulk(data).records
    bulk = [bulk[i] for i in rng.permutation(len(bulk))[: 4 * N_BULK_SOURCE]]
    elastic = materials_project.load_elastic(data).records
    pairs = [p for p in materials_project.load_electrode_pairs(data).records if p.discharged]
    sets: dict[str, Sequence[tuple[Crystal, float]]] = {
        "formation_energy": [(c, c.extra["formation_energy_per_atom_eV"]) for c in bulk[::2]],
        "band_gap": [(c, c.extra["band_gap_eV"]) for c in bulk[1::2] if c.extra["band_gap_eV"] > 0],
        "voltage": [(p.discharged, p.voltage_V) for p in pairs if p.discharged is not None],
        "bulk_modulus": [(c, np.log10(c.extra["K_VRH_GPa"])) for c in elastic[::2]],
        "shear_modulus": [(c, np.log10(c.extra["G_VRH_GPa"])) for c in elastic[1::2]],
    }
    tables = {}
    arrays: dict[str, Any] = {}
    for name, rows in sets.items():
        index, _ = _element_table()
        rows = [r for r in rows if set(r[0].composition.get_el_amt_dict()) <= set(index)]
        x = np.array([crystal_descriptors(crystal) for crystal, _ in rows])
        y = np.array([value for _, value in rows], dtype=float)
        formula = [crystal.formula for crystal, _ in rows]
        good = np.isfinite(x).all(axis=1) & np.isfinite(y)
        tables[name] = (x[good], y[good], [f for f, g in zip(formula, good, strict=True) if g])
        arrays |= {
            f"{name}.{k}": v for k, v in zip(("x", "y", "formula"), tables[name], strict=True)
        }
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cache, **arrays)
    return tables


def bulk_tasks(tables: dict[str, tuple[Floats, Floats, list[str]]], n_seeds: int) -> Iterator[Task]:
    """Every property as the source of every other one, compositions kept apart."""
    core = tuple(range(N_CORE))
    for target in BULK:
        x, y, formulas = tables[target]
        names = np.array(formulas)
        for seed in range(n_seeds):
            order = np.random.default_rng(seed).permutation(len(y))
            test = order[:N_BULK_TEST]
            pool = order[N_BULK_TEST:][~np.isin(names[order[N_BULK_TEST:]], names[test])]
            sources = {
                name: _bulk_source(tables[name], set(names[test]), core, seed)
                for name in BULK
                if name != target
            }
            for name in sources:
                others = tuple(s for other, s in sources.items() if other != name)
                own = sources[name]
                source = Source(
                    own.descriptors, own.target, core, is_same=False, others=others, seed=seed
                )
                for n in BULK_LABELS:
                    drawn = pool[:n]
                    yield Task(
                        f"bulk:{name}->{target}",
                        "bulk",
                        source,
                        x[drawn],
                        y[drawn],
                        tuple(names[drawn]),
                        x[test],
                        y[test],
                        False,
                        n,
                        seed,
                    )


def _bulk_source(
    table: tuple[Floats, Floats, list[str]], held: set[str], core: tuple[int, ...], seed: int
) -> Source:
    x, y, formulas = table
    kept = np.flatnonzero([f not in held for f in formulas])[:N_BULK_SOURCE]
    return Source(x[kept], y[kept], core, is_same=False, seed=seed)
