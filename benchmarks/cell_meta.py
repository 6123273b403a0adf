"""A source model that is easy to carry on: meta-learning over the source chemistries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from ionbridge.models.cells.cell_correction import Curves, Training, fit, points
from ionbridge.models.cells.cell_rom import CellRom, usable
from ionbridge.models.cells.single_particle import Cells


@dataclass(frozen=True)
class Reptile:
    """First-order meta-learning (Nichol, Achiam and Schulman, arXiv:1803.02999).

    Each round tunes the weights on a few curves of one chemistry and moves them a part of the way,
    so that the weights end where few steps on few curves lead far, whichever chemistry it is.

    Attributes:
        rounds: Chemistries drawn.
        n_curves: Curves a draw.
        step: Part of the way in the first round; it falls linearly to none.
        inner: How weights are tuned on the curves of a draw.
        seed: Of the draws.
    """

    rounds: int = 300
    n_curves: int = 16
    step: float = 0.5
    inner: Training = field(
        default_factory=lambda: Training(steps=20, batch=16, learning_rate=3e-3)
    )
    seed: int = 0

    def __call__(
        self, source: CellRom, records: Sequence[Cells], labels: Sequence[Curves]
    ) -> CellRom:
        """A source model whose weights start where the given one's ended.

        Args:
            source: Model fitted to all the chemistries together.
            records: Cells of one chemistry each.
            labels: Their curves.
        """
        pairs = [usable(c, y) for c, y in zip(records, labels, strict=True)]
        tasks = [points([c], [y], source.standard_) for c, y in pairs if len(y)]
        generator = torch.Generator().manual_seed(self.seed)
        weights = source.parameters_
        for i in range(self.rounds):
            task = tasks[int(torch.randint(len(tasks), (1,), generator=generator))]
            rows = torch.randperm(len(task), generator=generator)[: self.n_curves]
            found = fit(weights, task.take(rows), replace(self.inner, seed=i))
            part = self.step * (1.0 - i / self.rounds)
            weights = {k: torch.lerp(v, found[k], part) for k, v in weights.items()}
        return source.moved_to(records[0], weights, source.training)
