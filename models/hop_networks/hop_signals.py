"""Hop signals in bulk: bond-valence profiles of the hops of thousands of crystals.

These labels cost tens of milliseconds a hop and need no data but structures. They are made here,
kept in shards that a cut-off run goes on from, and used to pretrain hop networks.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from ionbridge.models.hop_networks.training import Example
from ionbridge.structures.chemistry.composition import working_ion
from ionbridge.structures.features.graph import N_PROBES, HopData, migration_graph_data
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import Crystal, UnusableStructureError
from ionbridge.structures.worker_server import map_in_workers

GRAPH_FIELDS = (
    "x",
    "weight",
    "edge_index",
    "edge_length",
    "probe_index",
    "probe_length",
    "probe_from_ion",
    "ion",
    "scalars",
)
TARGETS = ("profile_eV", "forward_eV", "backward_eV")
SHARD_SIZE = 100
NON_METALS = frozenset(
    ["H", "B", "C", "N", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Sb", "Te", "I"]
)
"""Oxides with one of these are polyanions, or have a second anion."""


@dataclass(frozen=True)
class Sampling:
    """Which crystals give signals, and how many hops each.

    Attributes:
        working_ions: Ions whose crystals are used, each in its share of ``n_crystals``.
        n_crystals: Crystals in all.
        max_atoms: Larger cells are left out.
        max_hops: Symmetry-unique hops a crystal, drawn at random.
        cathodes_only: Only lithium oxides of cobalt, nickel and manganese: the layered family and
            its kin, where data have always been rich.
        seed: Of the draw.
    """

    working_ions: tuple[str, ...] = ("Li", "Na", "K", "Mg", "Ca", "Zn")
    n_crystals: int = 6000
    max_atoms: int = 60
    max_hops: int = 6
    cathodes_only: bool = False
    seed: int = 0


def choose_crystals(
    crystals: Iterable[Crystal], sampling: Sampling, held_out: frozenset[str]
) -> tuple[list[Crystal], int]:
    """Crystals to make signals from; none whose formula belongs to an evaluation set.

    Args:
        crystals: The pool.
        sampling: How many, of which ions.
        held_out: Reduced formulas, and reduced formulas without the working ion, kept out.

    Returns:
        The chosen crystals with their working ion set, and how many candidates were held out.
    """
    pools: dict[str, list[Crystal]] = {ion: [] for ion in sampling.working_ions}
    n_held_out = 0
    for crystal in crystals:
        if crystal.n_sites > sampling.max_atoms:
            continue
        try:
            ion = working_ion(crystal)
        except UnusableStructureError:
            continue
        if ion not in pools or (sampling.cathodes_only and not is_rich_cathode(crystal)):
            continue
        if {crystal.formula, framework_formula(crystal, ion)} & held_out:
            n_held_out += 1
            continue
        pools[ion].append(replace(crystal, working_ion=ion))
    share = sampling.n_crystals // len(pools)
    rng = np.random.default_rng(sampling.seed)
    chosen: list[Crystal] = []
    spare: list[Crystal] = []
    for pool in pools.values():
        order = rng.permutation(len(pool))
        chosen += [pool[i] for i in order[:share]]
        spare += [pool[i] for i in order[share:]]
    missing = min(sampling.n_crystals - len(chosen), len(spare))
    chosen += [spare[i] for i in rng.permutation(len(spare))[:missing]]
    return [chosen[i] for i in rng.permutation(len(chosen))], n_held_out


def is_rich_cathode(crystal: Crystal) -> bool:
    """True for oxides of lithium with cobalt, nickel or manganese and no other non-metal."""
    elements = {symbol for site in crystal.species for symbol in site}
    return (
        {"Li", "O"} <= elements
        and bool(elements & {"Co", "Ni", "Mn"})
        and not (elements & NON_METALS)
    )


def framework_formula(crystal: Crystal, ion: str) -> str:
    """Reduced formula without the working ion; empty where nothing else is there."""
    rest = crystal.composition.as_dict()
    rest.pop(ion, None)
    return type(crystal.composition)(rest).reduced_formula if rest else ""


def signal_hops(crystal: Crystal, sampling: Sampling) -> MigrationGraph:
    """The hops of a crystal that give signals, in its migration graph.

    Raises:
        UnusableStructureError: No hops, or no bond valences for the chemistry.
    """
    graph = find_hops(crystal)
    hops = [hop for hop in graph.hops if "bvse_profile_eV" in hop.extra]
    if not hops:
        raise UnusableStructureError(f"{crystal.id}: no bond valences for {crystal.formula}")
    rng = np.random.default_rng([sampling.seed, crc32(crystal.id.encode())])
    chosen = [hops[i] for i in rng.permutation(len(hops))[: sampling.max_hops]]
    return replace(graph, hops=tuple(chosen))


def signal_example(crystal: Crystal, sampling: Sampling) -> Example:
    """Graph and bond-valence targets of some hops of a crystal.

    Targets: ``profile_eV`` (n_hops, N_PROBES) above the mean of both ends, ``forward_eV`` and
    ``backward_eV`` (n_hops,).

    Raises:
        UnusableStructureError: No hops, or no bond valences for the chemistry.
    """
    graph = signal_hops(crystal, sampling)
    data = migration_graph_data(graph)
    profiles, forward, backward = [], [], []
    for hop in graph.hops:
        energy = np.asarray(hop.extra["bvse_profile_eV"], dtype=float)
        arc = np.linspace(0.0, 1.0, len(energy))
        images = np.interp(np.linspace(0.0, 1.0, N_PROBES), arc, energy)
        profiles.append(images - 0.5 * (energy[0] + energy[-1]))
        forward.append(energy.max() - energy[0])
        backward.append(energy.max() - energy[-1])
    values = (np.array(profiles), np.array(forward), np.array(backward))
    targets = {
        n: torch.tensor(v, dtype=torch.float32) for n, v in zip(TARGETS, values, strict=True)
    }
    ids = tuple(hop.id for hop in graph.hops)
    return Example(data, targets, framework_formula(crystal, graph.working_ion), ids)


def make_signals(
    crystals: Sequence[Crystal], sampling: Sampling, folder: Path, workers: int = 2
) -> list[Example]:
    """Signals of all crystals, in shards under ``folder``; shards that are there are not redone.

    Args:
        crystals: From :func:`choose_crystals`.
        sampling: How many hops each.
        folder: Where ``signals-<k>.safetensors`` lie or will lie.
        workers: Processes; with one, the work is done in this one.

    Returns:
        One example for each crystal that has hops.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [crystals[i : i + SHARD_SIZE] for i in range(0, len(crystals), SHARD_SIZE)]
    paths = [folder / f"signals-{k:04d}.safetensors" for k in range(len(parts))]
    todo = [k for k, path in enumerate(paths) if not path.exists()]
    tasks = [(parts[k], sampling, paths[k]) for k in todo]
    bar = partial(tqdm, total=len(todo), desc="hop signals", unit="shard", disable=None)
    for _ in bar(map_in_workers(_make_shard, tasks, workers, (__name__,))):
        pass
    return [example for path in paths for example in read_shard(path)]


def _make_shard(task: tuple[Sequence[Crystal], Sampling, Path]) -> None:
    crystals, sampling, path = task
    examples = []
    for crystal in crystals:
        try:
            examples.append(signal_example(crystal, sampling))
        except UnusableStructureError:
            continue
    write_shard(path, examples)


def with_potential(examples: Sequence[Example], file: Path) -> list[Example]:
    """The examples of which a universal potential has seen a hop, with its energies as targets.

    Args:
        examples: With the ids of their hops.
        file: JSON lines (gzipped), one hop a line: ``id`` and ``frozen_eV``, (N_PROBES,) energies
            along the path while the host stands still; other lines are skipped.

    Returns:
        Examples with the targets of :func:`signal_example`; NaN for hops that are not in the file.
    """
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    energies = {row["id"]: np.array(row["frozen_eV"]) for row in rows if "frozen_eV" in row}
    unknown = np.full(N_PROBES, np.nan)
    found = []
    for example in examples:
        if not any(id in energies for id in example.ids):
            continue
        seen = np.stack([energies.get(id, unknown) for id in example.ids])
        first, last, top = seen[:, 0], seen[:, -1], seen.max(axis=1)
        values = (seen - 0.5 * (first + last)[:, None], top - first, top - last)
        targets = {
            n: torch.tensor(v, dtype=torch.float32) for n, v in zip(TARGETS, values, strict=True)
        }
        found.append(replace(example, targets=targets))
    return found


def write_shard(path: Path, examples: Sequence[Example]) -> None:
    """Write examples to one safetensors file, whole or not at all."""
    tensors: dict[str, Tensor] = {"n_examples": torch.tensor(len(examples))}
    for k, example in enumerate(examples):
        tensors |= {f"{k}.{n}": example.graph[n].contiguous() for n in GRAPH_FIELDS}
        tensors |= {f"{k}.target.{n}": v.contiguous() for n, v in example.targets.items()}
    temporary = path.with_suffix(".tmp")
    names = {
        "groups": json.dumps([example.group for example in examples]),
        "ids": json.dumps([example.ids for example in examples]),
    }
    save_file(tensors, temporary, metadata=names)
    os.replace(temporary, path)


def read_shard(path: Path) -> Iterator[Example]:
    """Read the signals that :func:`write_shard` wrote."""
    with safe_open(path, framework="pt") as file:
        groups, ids = (json.loads(file.metadata()[name]) for name in ("groups", "ids"))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for k, (group, hops) in enumerate(zip(groups, ids, strict=True)):
        fields: dict[str, Tensor] = {n: tensors[f"{k}.{n}"] for n in GRAPH_FIELDS}
        targets = {n: tensors[f"{k}.target.{n}"] for n in TARGETS}
        graph = HopData(**fields)
        yield Example(graph, targets, group, tuple(hops))
