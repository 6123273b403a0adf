"""Signals of whole crystals: computed bulk properties, and bond lengths behind noise.

They teach the framework layers of a hop network before it sees a hop. The heads that read them are
thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ionbridge.models.hop_networks.layers import mlp, summed
from ionbridge.models.hop_networks.losses import masked_l1
from ionbridge.models.hop_networks.network import HopNetwork
from ionbridge.models.hop_networks.training import Example
from ionbridge.structures.features.graph import crystal_graph
from ionbridge.structures.records import Crystal, UnusableStructureError
from ionbridge.structures.sources import materials_project
from ionbridge.structures.worker_server import map_in_workers

PROPERTIES = (
    "formation_energy_eV_atom",
    "band_gap_eV",
    "magnetization_muB_atom",
    "log_bulk_modulus_GPa",
    "log_shear_modulus_GPa",
    "voltage_V",
    "volume_change",
)
"""Each is standardised over the crystals that have it; the others are NaN."""
Task = tuple[Crystal, NDArray[np.float64]]
LARGEST_VOLUME_CHANGE = 1.0
CHUNK_SIZE = 100
NOISE_A = 0.08
"""Standard deviation of the displacements that bond lengths are to be freed of."""


class HostOutput(NamedTuple):
    """What is read off a batch of crystals.

    Attributes:
        properties: (n_crystals, len(PROPERTIES)) standardised.
        length_change: (n_edges,) true minus seen bond length, in units of NOISE_A.
    """

    properties: Tensor
    length_change: Tensor


class HostNetwork(nn.Module):
    """The framework layers of a hop network under heads for whole crystals.

    Args:
        network: Its `encode` is trained.

    Shapes:
        - **input:** a batch of :func:`ionbridge.structures.features.graph.crystal_graph`
        - **output:** a :class:`HostOutput`
    """

    def __init__(self, network: HopNetwork) -> None:
        super().__init__()
        self.network = network
        width = network.config.n_features
        self.property_head = mlp(width, width, len(PROPERTIES))
        self.length_head = mlp(width + network.config.n_basis, width, 1)

    def forward(self, data: object) -> HostOutput:
        """Properties of each crystal and what is to be added to each bond length."""
        h = self.network.encode(data)  # type: ignore[arg-type]
        source, target = data.edge_index  # type: ignore[attr-defined]
        basis = self.network.host_basis(data.edge_length)  # type: ignore[attr-defined]
        bonds = torch.cat([h[source] + h[target], basis], dim=-1)
        crystal, n_atoms = data.batch.unique(return_counts=True)  # type: ignore[attr-defined]
        pooled = summed(h, data.batch, len(crystal)) / n_atoms[:, None]  # type: ignore[attr-defined]
        return HostOutput(self.property_head(pooled), self.length_head(bonds).squeeze(-1))


class HostLoss:
    """L1 on the properties that are known and on the bond lengths.

    Targets: ``properties`` (n_crystals, len(PROPERTIES)) and ``length_change`` (n_edges,), NaN
    where unknown.
    """

    def __call__(self, output: HostOutput, targets: Mapping[str, Tensor]) -> Tensor:
        """Scalar loss of a batch."""
        return masked_l1(output.properties, targets["properties"]) + masked_l1(
            output.length_change, targets["length_change"]
        )


@dataclass(frozen=True, eq=False)
class LabelledCrystal:
    """A crystal and what is computed of it.

    Attributes:
        crystal: The crystal.
        values: (len(PROPERTIES),) NaN where unknown.
    """

    crystal: Crystal
    values: NDArray[np.float64]


def labelled_crystals(
    data: Path, held_out: frozenset[str], n_crystals: int, max_atoms: int, seed: int
) -> list[LabelledCrystal]:
    """Crystals with bulk properties from a data folder, none of a held-out formula.

    Args:
        data: Folder that holds ``materials_project``; sets that are not there are left out.
        held_out: Reduced formulas, also without the working ion, kept out.
        n_crystals: Most of each set.
        max_atoms: Larger cells are left out.
        seed: Of the draw.
    """
    found: list[LabelledCrystal] = []
    for values in _sets(data):
        usable = [
            (crystal, value)
            for crystal, value in values
            if crystal.n_sites <= max_atoms and not _formulas(crystal) & held_out
        ]
        order = np.random.default_rng(seed).permutation(len(usable))[:n_crystals]
        found += [LabelledCrystal(usable[i][0], usable[i][1]) for i in order]
    return found


def host_examples(
    labelled: Sequence[LabelledCrystal], noisy: bool, seed: int, workers: int
) -> list[Example]:
    """Graphs with targets: bond lengths of displaced atoms, or properties of the crystal as it is.

    Args:
        labelled: From :func:`labelled_crystals`.
        noisy: True for bond lengths, False for properties.
        seed: Of the displacements.
        workers: Processes.
    """
    table = np.array([entry.values for entry in labelled])
    known = np.isfinite(table).any(axis=0)
    scaled = np.full_like(table, np.nan)
    of = table[:, known]
    scaled[:, known] = (of - np.nanmean(of, axis=0)) / (np.nanstd(of, axis=0) + 1e-9)
    tasks = [
        (entry.crystal, np.full_like(row, np.nan) if noisy else row)
        for entry, row in zip(labelled, scaled, strict=True)
    ]
    make = partial(_example, noise_A=NOISE_A if noisy else 0.0, seed=seed)
    chunks = [tasks[i : i + CHUNK_SIZE] for i in range(0, len(tasks), CHUNK_SIZE)]
    made = dict(map_in_workers(partial(_examples, make), chunks, workers, (__name__,)))
    return [example for i in range(len(chunks)) for example in made[i]]


def _examples(make: Callable[[Task], Example | None], tasks: Sequence[Task]) -> list[Example]:
    return [example for task in tasks if (example := make(task)) is not None]


def _example(task: Task, noise_A: float, seed: int) -> Example | None:
    crystal, values = task
    rng = np.random.default_rng([seed, crc32(crystal.id.encode())])
    shift = noise_A * rng.standard_normal((crystal.n_sites, 3))
    try:
        graph, true_length = crystal_graph(crystal, shift)
    except UnusableStructureError:
        return None
    change = (true_length - graph.edge_length) / NOISE_A
    if noise_A == 0:
        change = torch.full_like(change, torch.nan)
    properties = torch.tensor(values[None], dtype=torch.float32)
    targets = {"properties": properties, "length_change": change}
    return Example(graph, targets, crystal.formula)


def _sets(data: Path) -> Iterable[list[tuple[Crystal, NDArray[np.float64]]]]:
    """Crystals of each set with their values in the order of PROPERTIES."""
    if (data / materials_project.BULK_FILE).is_file():
        yield [
            (
                crystal,
                _values(
                    crystal.extra["formation_energy_per_atom_eV"],
                    crystal.extra["band_gap_eV"],
                    abs(crystal.extra["total_magnetization_muB"]) / crystal.n_sites,
                ),
            )
            for crystal in materials_project.load_bulk(data).records
        ]
    if (data / materials_project.ELASTIC_FILE).is_file():
        yield [
            (c, _values(bulk=c.extra["K_VRH_GPa"], shear=c.extra["G_VRH_GPa"]))
            for c in materials_project.load_elastic(data).records
        ]
    if (data / materials_project.PAIRS_FILE).is_file():
        yield [
            (
                pair.discharged,
                _values(voltage=pair.voltage_V, change=pair.extra.get("max_delta_volume_frac")),
            )
            for pair in materials_project.load_electrode_pairs(data).records
            if pair.discharged is not None
        ]


def _values(
    energy: float = np.nan,
    gap: float = np.nan,
    moment: float = np.nan,
    bulk: float = np.nan,
    shear: float = np.nan,
    voltage: float = np.nan,
    change: float | None = None,
) -> NDArray[np.float64]:
    """In the order of PROPERTIES."""
    moduli = (np.log(m) if m > 0 else np.nan for m in (bulk, shear))
    usable = change is not None and 0 <= change <= LARGEST_VOLUME_CHANGE
    return np.array([energy, gap, moment, *moduli, voltage, change if usable else np.nan])


def _formulas(crystal: Crystal) -> set[str]:
    """Reduced formulas of the crystal, whole and without each alkali-like ion."""
    amounts = crystal.composition.as_dict()
    kind = type(crystal.composition)
    return {crystal.formula} | {
        kind({k: v for k, v in amounts.items() if k != ion}).reduced_formula
        for ion in ("Li", "Na", "K", "Mg", "Ca", "Zn", "Al")
        if ion in amounts and len(amounts) > 1
    }
