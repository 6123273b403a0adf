"""A table of a few hops whose barriers are known, for tests of the few-shot scripts."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from benchmarks.transfer.few_shot_tasks import Table
from ionbridge.models.barriers.hop_barrier import Inputs
from ionbridge.structures.records import Hop

METALS = ("Fe", "Mn", "Co", "Ni", "Ti", "V", "Cr", "Cu", "Zn", "Al", "Sc", "Y")


def hop(name: str, metal: str, family: str, anion: str = "O", **extra: object) -> Hop:
    """One jump in a host of a metal and an anion."""
    frac = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    path = np.array([[0, 0.5, 0], [0, 0.5, 0.5]])
    species = ({metal: 1.0}, {anion: 1.0})
    return Hop(name, "Li", 4 * np.eye(3), species, frac, path, family=family, extra=extra)


def table(hops: Sequence[Hop], barrier_eV: Sequence[float]) -> Table:
    """Hops with one descriptor, which says nothing."""
    nothing = np.zeros((len(hops), 1))
    unread = cast("Inputs", None)  # no strategy of these tests reads energies
    none = (unread, np.zeros(0))
    return Table(tuple(hops), np.array(barrier_eV, dtype=float), nothing, nothing, unread, none)
