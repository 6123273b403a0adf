"""Tasks of few-shot learning: hops of other families, a few host frameworks of one, the rest of it.

The draws are nested: what is learnt from with k frameworks is learnt from with 2 k too. A family
that keeps fewer than MIN_TEST hops after a draw is passed over for this draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.protocols import FewShotSplit, LeaveFamilyOut
from benchmarks.shipped_hop_barrier import seen, shipped_labels, without
from ionbridge.models.barriers.hop_barrier import Inputs
from ionbridge.structures.features.descriptors import hop_features
from ionbridge.structures.records import Hop
from ionbridge.structures.sources import neb_barriers

SHOTS = (0, 1, 2, 4, 8, 16)
MIN_TEST = 8
"""Hops of a family that must remain."""
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Key = tuple[int, int, str]
"""Frameworks learnt from, draw, family."""


@dataclass(frozen=True, eq=False)
class Table:
    """All hops with their descriptors.

    Attributes:
        hops: (n,) hops on their bond-valence paths.
        barrier_eV: (n,) labels.
        features: (n, n_features) path geometry and composition.
        scalars: (n, n_scalars) path scalars.
        inputs: What `hop-barrier` sees, with the energies of universal potentials.
        computed: Inputs and barriers in eV of the computed labels that `hop-barrier` learns from;
            they are of no published framework.
    """

    hops: tuple[Hop, ...]
    barrier_eV: Floats
    features: Floats
    scalars: Floats
    inputs: Inputs
    computed: tuple[Inputs, Floats]

    @classmethod
    def load(cls, data: Path) -> Table:
        """The published hops, with what universal potentials say of them."""
        hops = tuple(seen(neb_barriers.load(data).records))
        inputs = without(Inputs.of(hops), "band")
        barrier = np.array([hop.barrier_eV for hop in hops], dtype=float)
        computed = shipped_labels(len(hops))
        return cls(hops, barrier, hop_features(hops)[0], inputs.scalars, inputs, computed)


@dataclass(frozen=True, eq=False)
class Task:
    """What is learnt from and what is asked, as indices into the table.

    Attributes:
        family: Held out.
        k: Host frameworks of it that are learnt from.
        seed: Of the draw.
        others: Hops of other families.
        shots: Hops of the family to learn from.
        test: Hops to predict.
    """

    family: str
    k: int
    seed: int
    others: Rows
    shots: Rows
    test: Rows

    @property
    def train(self) -> Rows:
        """All hops to learn from."""
        return np.concatenate([self.others, self.shots])

    @property
    def key(self) -> Key:
        """What tells it from the others."""
        return self.k, self.seed, self.family


def tasks(hops: Sequence[Hop], n_draws: int) -> Iterator[Task]:
    """Every family without labels once, then with 1 to 16 frameworks in every draw."""
    for left_out in LeaveFamilyOut(MIN_TEST).split(hops):
        if left_out.name != "others":
            yield Task(left_out.name, 0, 0, left_out.train, left_out.test[:0], left_out.test)
    bases = {split.name: split for split in LeaveFamilyOut().split(hops)}
    for k in SHOTS[1:]:
        for seed in range(n_draws):
            for split in FewShotSplit(k, seed, MIN_TEST).split(hops):
                others = bases[split.name].train
                shots = np.setdiff1d(split.train, others)
                yield Task(split.name, k, seed, others, shots, split.test)
