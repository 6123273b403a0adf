"""Networks that carry what measured cells' models lack, beside the Gaussian process that ships.

The same places: part of the charge, rate, and what is lacking over the predicted polarisation and
over the rate. Pretrained on the curves of other cells and tuned to what is known of a new one;
ways and settings are those between simulated cells (``ionbridge.models.cells.cell_transfer``).
Printed by ``python -m benchmarks.cell_experiment compare``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from ionbridge.models.cells.cell_correction import HIDDEN, Parameters, Training, forward
from ionbridge.models.cells.cell_discrepancy import (
    CHARGE_NOISE,
    PARTS,
    PLACES,
    TAPER,
    RatedCurve,
    Widths,
)
from ionbridge.models.cells.cell_transfer import CAREFUL

Floats = NDArray[np.float64]

SEEDS = 5
RANK = 2
ERROR_V, ERROR_SHARE = 0.01, 0.005
"""Errors of a voltage and of ln of a capacity beyond which they count less than squared."""
WIDTHS = Widths()
LAST = len(HIDDEN)
NEW_WEIGHTS = {
    "last layer": [f"{k}{LAST}" for k in "wb"],
    "all layers": [f"{k}{i}" for i in range(LAST + 1) for k in "wb"],
    "low rank": [f"{k}{LAST}" for k in "wb"] + [f"{k}{i}" for i in range(LAST) for k in "uv"],
}
"""What of a pretrained network moves."""
HELD = replace(CAREFUL, anchor=1.0)
"""With weights held at where they start."""


@dataclass(frozen=True, eq=False)
class Points:
    """What is lacking of several curves, float32 (n,) and (n, 3) places.

    Attributes:
        x: Place on the discharge and ln of the rate in the process's widths, whether it is the
            capacity's.
        size: (n, 2) what the network's two answers are multiplied with.
        lacking: V, or ln of a capacity; NaN where nothing is known.
        error: Unit of its error.
    """

    x: torch.Tensor
    size: torch.Tensor
    lacking: torch.Tensor
    error: torch.Tensor

    @classmethod
    def of(cls, records: Sequence[RatedCurve], labels: Sequence[Floats]) -> Points:
        """Curves as points."""
        parts: tuple[list[Floats], ...] = ([], [], [], [])
        taper = np.minimum((1.0 - PARTS) / TAPER, 1.0)
        for record, label in zip(records, labels, strict=True):
            faster = record.rate - record.slow_rate
            size = np.stack(
                [
                    WIDTHS.polarisation * record.polarisation_V * taper,
                    WIDTHS.rate_V * faster * taper,
                ],
                axis=1,
            )
            slope = np.gradient(record.slow_V - record.polarisation_V, PARTS)
            place = np.append(PLACES / WIDTHS.long, 0.0)
            is_capacity = np.append(np.zeros(len(PARTS)), 1.0)
            rate = np.full(len(place), np.log(record.rate) / WIDTHS.log_rate)
            parts[0].append(np.stack([place, rate, is_capacity], axis=1))
            parts[1].append(np.vstack([size, [WIDTHS.capacity * faster, 0.0]]))
            parts[2].append(label)
            parts[3].append(np.append(np.hypot(ERROR_V, CHARGE_NOISE * slope), ERROR_SHARE))
        return cls(*(torch.from_numpy(np.concatenate(p).astype(np.float32)) for p in parts))

    def answers(self, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(SEEDS, n) what a network of each seed finds lacking."""
        return (forward(parameters, self.x) * self.size).sum(dim=-1)


def fresh() -> Parameters:
    """A network for each seed that finds nothing lacking."""
    generator = torch.Generator().manual_seed(0)
    found: Parameters = {}
    for i, (a, b) in enumerate(pairwise((3, *HIDDEN, 2))):
        weight = torch.randn(SEEDS, a, b, generator=generator) / a**0.5
        found[f"w{i}"] = weight * (0.0 if i == LAST else 1.0)
        found[f"b{i}"] = torch.zeros(SEEDS, 1, b)
    return found


def fitted(
    start: Parameters, data: Points, training: Training, names: Sequence[str] | None = None
) -> Parameters:
    """Weights fitted to points; as they were where nothing is known.

    Args:
        start: Weights to start from; not changed.
        data: Points.
        training: Steps, learning rate, decay and anchor.
        names: Of the weights that move; all by default.
    """
    known = torch.isfinite(data.lacking)
    if not known.any():
        return start
    data = Points(data.x[known], data.size[known], data.lacking[known], data.error[known])
    free = {k: start[k].clone().requires_grad_() for k in names or start}
    optimizer = torch.optim.AdamW(
        free.values(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, training.steps
    )
    for _ in range(training.steps):
        error = (data.answers({**start, **free}) - data.lacking) / data.error
        loss = (torch.sqrt(1.0 + error**2) - 1.0).mean(dim=1).sum()
        if training.anchor:
            moved = [((free[k] - start[k]) ** 2).sum() for k in free]
            loss = loss + training.anchor * torch.stack(moved).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {**start, **{k: v.detach() for k, v in free.items()}}


def carried(
    source: Parameters, known: Points, record: RatedCurve
) -> dict[str, NDArray[np.float64]]:
    """Way -> (SEEDS, n_parts + 1) what is lacking of a curve.

    Args:
        source: Weights learnt on other cells.
        known: Of the new cell.
        record: The curve, predicted.
    """
    generator = torch.Generator().manual_seed(1)
    wider = dict(source)
    for i in range(LAST):
        a, b = source[f"w{i}"].shape[1:]
        wider[f"u{i}"] = torch.randn(SEEDS, a, RANK, generator=generator) / a**0.5
        wider[f"v{i}"] = torch.zeros(SEEDS, RANK, b)
    models = {
        "nothing tuned": source,
        "scratch": fitted(fresh(), known, Training()),
        "scratch, held": fitted(fresh(), known, HELD),
        "all layers, held": fitted(source, known, HELD),
    }
    for way, names in NEW_WEIGHTS.items():
        start = wider if way == "low rank" else source
        models[way] = fitted(start, known, CAREFUL, names)
    wanted = Points.of([record], [np.full(len(PARTS) + 1, np.nan)])
    with torch.inference_mode():
        return {way: wanted.answers(m).numpy().astype(float) for way, m in models.items()}
