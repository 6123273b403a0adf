"""One fit loop for every network: batches, early stopping, checkpoints, resume."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from ionbridge.structures.features.graph import HopData


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is fitted.

    Attributes:
        epochs: Passes over the examples.
        batch_size: Graphs in a batch.
        learning_rate: Peak rate of AdamW; it falls to zero along half a cosine.
        weight_decay: Decoupled weight decay.
        patience: Stop after so many epochs without a better validation loss; None never stops.
        max_gradient_norm: Gradients are clipped to this norm.
        seed: Order of the batches.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    patience: int | None = None
    max_gradient_norm: float = 1.0
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class Example:
    """A graph with what is known of its hops.

    Attributes:
        graph: A host with n_hops hops.
        targets: Tensors with n_hops rows; NaN where unknown.
        group: What a split keeps together (the host framework).
        ids: Of the hops, where they have names.
    """

    graph: HopData
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    group: str = ""
    ids: tuple[str, ...] = ()


Loss = Callable[[Any, Mapping[str, Tensor]], Tensor]


def collate(examples: Sequence[Example], device: torch.device) -> tuple[Any, dict[str, Tensor]]:
    """One batch of graphs and their targets, on a device."""
    from torch_geometric.data import Batch  # slow to import, and predictions do without

    batch = Batch.from_data_list([e.graph.to_pyg() for e in examples]).to(device)
    names = examples[0].targets.keys()
    return batch, {n: torch.cat([e.targets[n] for e in examples]).to(device) for n in names}


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ValueError: CUDA was asked for and is not there, or no device has this name.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device is there; use --device cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}; known: auto, cpu, cuda") from None


def fit_network(
    network: nn.Module,
    examples: Sequence[Example],
    loss: Loss,
    config: TrainingConfig,
    *,
    parameter_groups: list[dict[str, Any]] | None = None,
    validation: Sequence[Example] = (),
    checkpoint: Path | None = None,
    progress: str | None = None,
) -> list[dict[str, float]]:
    """Fit a network in place; with a validation part the best epoch's weights are kept.

    Args:
        network: Any module that maps a batch to an output which ``loss`` understands.
        examples: Training graphs with targets.
        loss: Scalar loss of an output and its targets.
        config: Settings.
        parameter_groups: AdamW groups (``params`` and ``lr_factor``, and
            ``from_fraction``: the share of the epochs after which a group begins to move); all
            parameters by default.
        validation: Graphs for early stopping; keep whole groups on one side.
        checkpoint: File for weights, optimiser and epoch; a fit that was cut off goes on from it
            and ends with the same weights.
        progress: Name on the progress bar; None shows none.

    Returns:
        One entry an epoch with ``epoch``, ``train`` and, where there is one, ``validation`` loss.
    """
    if not examples:
        raise ValueError("no training examples were given; at least one is needed")
    device = pick_device(config.device)
    network.to(device)
    groups = parameter_groups or [{"params": list(network.parameters()), "lr_factor": 1.0}]
    optimizer = torch.optim.AdamW(
        [{"params": g["params"], "lr": config.learning_rate} for g in groups],
        weight_decay=config.weight_decay,
    )
    history: list[dict[str, float]] = []
    best: tuple[float, dict[str, Tensor]] | None = None
    first = 0
    if checkpoint is not None and checkpoint.exists():
        first, history, best = _resume(checkpoint, network, optimizer)
    bar = tqdm(
        range(first, config.epochs),
        initial=first,
        total=config.epochs,
        desc=progress,
        disable=None if progress else True,
    )
    for epoch in bar:
        if _stale(history, config.patience):
            break
        rate = config.learning_rate * 0.5 * (1.0 + np.cos(np.pi * epoch / config.epochs))
        for group, given in zip(optimizer.param_groups, groups, strict=True):
            begun = epoch >= given.get("from_fraction", 0.0) * config.epochs
            group["lr"] = rate * given.get("lr_factor", 1.0) * begun
        entry = {"epoch": float(epoch)}
        entry["train"] = _one_epoch(network, examples, loss, config, optimizer, epoch, device)
        if validation:
            entry["validation"] = evaluate_loss(network, validation, loss, config.batch_size)
            if best is None or entry["validation"] < best[0]:
                best = (entry["validation"], _copy_state(network))
        history.append(entry)
        bar.set_postfix({k: f"{v:.3f}" for k, v in entry.items() if k != "epoch"})
        if checkpoint is not None:
            _save_progress(checkpoint, network, optimizer, epoch + 1, history, best)
    if best is not None:
        network.load_state_dict(best[1])
    network.eval()
    return history


def evaluate_loss(
    network: nn.Module, examples: Sequence[Example], loss: Loss, batch_size: int
) -> float:
    """Mean loss over examples, without gradients."""
    device = next(network.parameters()).device
    network.eval()
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(examples), batch_size):
            part = examples[start : start + batch_size]
            batch, targets = collate(part, device)
            total += float(loss(network(batch), targets)) * len(part)
    return total / len(examples)


def _one_epoch(
    network: nn.Module,
    examples: Sequence[Example],
    loss: Loss,
    config: TrainingConfig,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    device: torch.device,
) -> float:
    network.train()
    order = np.random.default_rng([config.seed, epoch]).permutation(len(examples))
    trained = [p for g in optimizer.param_groups for p in g["params"]]
    total = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 100_003 + epoch)  # dropout, the same after a resume
        for start in range(0, len(order), config.batch_size):
            part = [examples[i] for i in order[start : start + config.batch_size]]
            batch, targets = collate(part, device)
            optimizer.zero_grad()
            value = loss(network(batch), targets)
            value.backward()
            nn.utils.clip_grad_norm_(trained, config.max_gradient_norm)
            optimizer.step()
            total += float(value.detach()) * len(part)
    return total / len(examples)


def _stale(history: Sequence[Mapping[str, float]], patience: int | None) -> bool:
    """True if the best validation loss is ``patience`` epochs old."""
    losses = [h["validation"] for h in history if "validation" in h]
    if patience is None or not losses:
        return False
    return len(losses) - 1 - int(np.argmin(losses)) >= patience


def _copy_state(network: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in network.state_dict().items()}


def _save_progress(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    history: list[dict[str, float]],
    best: tuple[float, dict[str, Tensor]] | None,
) -> None:
    tensors = {f"network.{k}": v for k, v in _copy_state(network).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    keys = ("epoch", "train", "validation")
    tensors["history"] = torch.tensor(
        [[h.get(k, float("nan")) for k in keys] for h in history], dtype=torch.float64
    )
    tensors["epoch"] = torch.tensor(epoch)
    if best is not None:
        tensors["best_loss"] = torch.tensor(best[0], dtype=torch.float64)
        tensors |= {f"best.{k}": v for k, v in best[1].items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, temporary)
    os.replace(temporary, path)


def _resume(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, list[dict[str, float]], tuple[float, dict[str, Tensor]] | None]:
    tensors = load_file(path)

    def part(prefix: str) -> dict[str, Tensor]:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    network.load_state_dict(part("network."))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimizer.").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    history = [
        {k: float(v) for k, v in zip(("epoch", "train", "validation"), row, strict=True) if v == v}
        for row in tensors["history"]
    ]
    best = (float(tensors["best_loss"]), part("best.")) if "best_loss" in tensors else None
    return int(tensors["epoch"]), history, best
