"""Which labels would help most: hops that a model is least sure of, far from each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ionbridge.models import library
from ionbridge.screening.campaign.acquisition import choose
from ionbridge.screening.labelling.bands.hop_cell import hop_cell_of_crystal, hop_cell_of_hop
from ionbridge.screening.labelling.bands.neb import NebSettings
from ionbridge.screening.labelling.bands.neb_labels import NebTask
from ionbridge.screening.planning.potentials import NEB_COST_S_AN_ATOM
from ionbridge.screening.planning.records import crystal_of, hop_of
from ionbridge.screening.table import Row
from ionbridge.structures.hops.sites import find_hops
from ionbridge.structures.records import UnusableStructureError

N_WANTED = 8
"""The fewest labels of which the benchmark knows what they bring."""
MAX_CRYSTALS = 12
"""Crystals whose hops are looked at."""
SPARE = 2
"""So many times as many hops are chosen, as some turn out to need cells that are too large."""


@dataclass(frozen=True, eq=False)
class WantedLabel:
    """A hop whose barrier would teach the model most.

    Attributes:
        id: Of the hop; ``<crystal>#hop<k>`` where it was found in a crystal.
        predicted_eV: What the model thinks of it.
        std_eV: How unsure it is.
        cost_s: Of computing it with CHGNet, on one core.
        task: What to compute.
    """

    id: str
    predicted_eV: float
    std_eV: float
    cost_s: float
    task: NebTask

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready to be written as JSON."""
        return {
            "id": self.id,
            "predicted_eV": round(self.predicted_eV, 4),
            "std_eV": round(self.std_eV, 4),
            "cost_s": round(self.cost_s, 1),
        }


def wanted_labels(
    tables: Mapping[str, Sequence[Row]], n: int = N_WANTED
) -> tuple[WantedLabel, ...]:
    """The hops to label first, most wanted first; those that no band can be made of are left out.

    None in a library without the model that says what it is unsure of.

    Args:
        tables: What is given: hops, or crystals to find them in.
        n: Their number.
    """
    name = library.DEFAULTS["migration_barrier"]
    tasks = _tasks(tables) if name in library.folders() else []
    if not tasks:
        return ()
    model = library.load(name)
    hops = [task.hop for task in tasks]
    prediction = model.predict(hops)
    points = model.points(hops)
    found: list[WantedLabel] = []
    for i in choose(prediction.mean, prediction.epistemic_std, points, SPARE * n, "spread"):
        n_atoms = _cell_size(tasks[i])
        if n_atoms and len(found) < n:
            mean, std = float(prediction.mean[i]), float(prediction.std[i])
            found.append(WantedLabel(hops[i].id, mean, std, NEB_COST_S_AN_ATOM * n_atoms, tasks[i]))
    return tuple(found)


def _cell_size(task: NebTask) -> int:
    """Atoms of the cell of a band; 0 where there can be none."""
    settings = NebSettings()
    limits = settings.min_distance_A, settings.max_atoms
    try:
        if task.crystal is None:
            return hop_cell_of_hop(task.hop, *limits).n_atoms
        return hop_cell_of_crystal(task.crystal, task.hop, *limits).n_atoms
    except UnusableStructureError:
        return 0


def _tasks(tables: Mapping[str, Sequence[Row]]) -> list[NebTask]:
    if tables.get("hop"):
        return [NebTask(hop_of(row)) for row in tables["hop"]]
    rows = tables.get("crystal", ())
    tasks: list[NebTask] = []
    for i in np.unique(np.linspace(0, max(len(rows) - 1, 0), MAX_CRYSTALS).astype(int)):
        if i >= len(rows):
            continue
        try:
            graph = find_hops(crystal_of(rows[i]))
        except (UnusableStructureError, ValueError):
            continue
        tasks += [NebTask(hop, graph.crystal) for hop in graph.hops]
    return tasks
