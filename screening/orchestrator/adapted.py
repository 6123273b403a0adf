"""The entry that fills a gap: a model adapted to the user's labels, measured before it is used."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models import library
from ionbridge.models.checkpoint import WEIGHTS
from ionbridge.models.few_label import blended, members, usable_strategies
from ionbridge.models.few_label_model import LARGEST_T, SCALE, FewLabelModel, hop_descriptors
from ionbridge.models.validation import GROUPED, validation_row, write_validation
from ionbridge.screening.errors import InputError
from ionbridge.screening.orchestrator.adaptation import (
    Choice,
    StrategyPrior,
    choose,
    cross_validated,
    trial_of,
)
from ionbridge.screening.orchestrator.catalogue import Entry, StepContext, Tables, ValidatedError
from ionbridge.screening.orchestrator.formulas import FEWEST_LABELS, MAE_TO_STD
from ionbridge.screening.orchestrator.quantities import Row
from ionbridge.screening.orchestrator.records import hop_of
from ionbridge.screening.orchestrator.trained import loaded, predicted_hops
from ionbridge.screening.orchestrator.tuned_networks import (
    ZERO_SHOT,
    against_networks,
    is_network,
    tuned_network,
    tuned_networks,
)
from ionbridge.screening.shards import write_json
from ionbridge.structures.family_names import canonical_family
from ionbridge.structures.records import Hop

SOURCE = "hop-descriptors"
"""Shipped model whose hops are the source."""
AS_IT_IS = "zero-shot"
"""The strategy that learns nothing from the labels."""
CHOICE_FILE = "choice.json"
Floats = NDArray[np.float64]


def adapted_entries() -> tuple[Entry, ...]:
    """One for hops: the nearest models, adapted to labelled hops of the new chemistry."""
    return (
        Entry(
            name="adapted-hop-model",
            kind="process",
            about="learns from the labels given, by whatever way of transfer, or none, is best",
            inputs=("hop_labels", "hop"),
            outputs=("migration_barrier",),
            fidelity="dft",
            cost_s=1.0,
            judge=_judged,
            run=_run,
        ),
    )


def _judged(tables: Tables) -> Mapping[str, ValidatedError]:
    """The error on the labels given, in cross-validation, of the way that would be chosen."""
    rows = tables["hop_labels"]
    try:
        choice = compared(rows).choice
    except InputError:
        return {}
    after, before = choice.cv[choice.strategy], choice.cv.get(AS_IT_IS)
    basis = f"{len(rows)} labels given, cross-validated by framework: {choice.strategy}"
    if before is not None:
        gain = 1.0 - after / before if before > 0 else 0.0
        basis += f", {after:.2f} eV; the source as it is {before:.2f} eV, gain {gain:.0%}"
    return {"migration_barrier": ValidatedError(MAE_TO_STD * after, len(rows), basis)}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Every way to learn from some labels, compared on them.

    Attributes:
        hops: (n,) labelled hops.
        barrier_eV: (n,) their barriers.
        choice: What was compared and chosen.
        held_out_eV: (n,) cross-validated barriers of the chosen way.
        spread: One sigma of its errors on SCALE.
        left_out: Networks that were not compared, with the reason.
        base: What networks start from.
        seed: Of folds and fits.
    """

    hops: tuple[Hop, ...]
    barrier_eV: Floats
    choice: Choice
    held_out_eV: Floats
    spread: float
    left_out: Mapping[str, str]
    base: str
    seed: int

    @property
    def name(self) -> str:
        """Of the adapted model in the user's library."""
        return _name(self.hops, self.barrier_eV)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**self.choice.to_dict(), "not_compared": dict(self.left_out)}


def compared(rows: Sequence[Row], seed: int = 0) -> Comparison:
    """Compare every way to learn from labelled hops; what was compared before is remembered.

    Args:
        rows: Hops with ``barrier_eV``.
        seed: Of folds and fits.

    Raises:
        InputError: Fewer than FEWEST_LABELS labels.
    """
    return _compared(json.dumps([dict(row) for row in rows], sort_keys=True, default=str), seed)


@lru_cache(maxsize=2)
def _compared(text: str, seed: int) -> Comparison:
    rows = json.loads(text)
    if len(rows) < FEWEST_LABELS:
        raise InputError(
            f"{len(rows)} labelled hops: at least {FEWEST_LABELS} are needed to compare ways to "
            "learn from them; label some more (ionbridge label neb)"
        )
    hops = [hop_of(row) for row in rows]
    barrier_eV = np.array([float(row["barrier_eV"]) for row in rows])
    known = library.load(SOURCE)
    groups = [hop.framework for hop in hops]
    x, t = hop_descriptors(hops), SCALE.forward(barrier_eV)
    source = known.source_.without(x)
    held_out = cross_validated(usable_strategies(source), source, x, t, groups, seed)
    held_out = {name: np.minimum(v, LARGEST_T) for name, v in held_out.items()}
    found = {name: SCALE.inverse(v) for name, v in held_out.items()}
    choice = choose(trial_of("hops", found, barrier_eV), StrategyPrior.load())
    chosen = blended([found[name] for name in members(choice.strategy)])
    tuned = tuned_networks(hops, barrier_eV, groups, seed)
    choice = against_networks(choice, chosen, tuned.held_out_eV, barrier_eV)
    if choice.strategy in tuned.held_out_eV:
        chosen = tuned.held_out_eV[choice.strategy][None]
    values = chosen.mean(axis=0)
    spread = float(np.sqrt(np.mean((SCALE.forward(chosen) - t) ** 2)))
    return Comparison(
        tuple(hops), barrier_eV, choice, values, spread, tuned.left_out, tuned.base, seed
    )


def fitted(comparison: Comparison) -> Any:
    """The chosen way, fitted to all labels: a model with ``predict``, ``in_domain``, ``save``."""
    strategy = comparison.choice.strategy
    hops, barrier_eV = list(comparison.hops), comparison.barrier_eV
    if is_network(strategy):
        return tuned_network(strategy, comparison.base, hops, barrier_eV, comparison.seed)
    model = FewLabelModel(strategy, comparison.spread, comparison.seed)
    return model.from_source(library.load(SOURCE)).fit(hops, barrier_eV)


def kept(comparison: Comparison, folder: Path) -> Path:
    """The adapted model in a library, with its card and validation rows; one that is there stays.

    Args:
        comparison: What was compared and chosen.
        folder: The library.
    """
    target = folder / comparison.name
    if not (target / WEIGHTS).is_file():
        fitted(comparison).save(target, {"name": comparison.name, **_card(comparison)})
        rows = zip(comparison.hops, comparison.held_out_eV, comparison.barrier_eV, strict=True)
        write_validation(
            target,
            GROUPED,
            [validation_row(h.id, h.family, h.working_ion, p, b) for h, p, b in rows],
        )
        write_json(target / CHOICE_FILE, comparison.to_dict())
    return target


def _run(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    comparison = compared(tables["hop_labels"], context.at.seed)
    write_json(context.folder / CHOICE_FILE, comparison.to_dict())
    if comparison.choice.strategy == ZERO_SHOT:  # a copy of a shipped model is nothing new
        model = fitted(comparison)
    else:
        folder = kept(comparison, library.user_libraries()[0])
        write_json(context.folder / "model.json", {"name": comparison.name, "folder": str(folder)})
        model = loaded(folder)
    return {"migration_barrier": predicted_hops(model, tables["hop"])}


def _name(hops: Sequence[Hop], barrier_eV: Floats) -> str:
    """For example ``adapted-olivine-Na-1f3c9a``: what it is for, and which labels it saw."""
    families = sorted({canonical_family(hop.family) for hop in hops if hop.family})
    ions = sorted({hop.working_ion for hop in hops})
    what = families[0] if len(families) == 1 else "hops"
    text = ";".join(f"{h.id}:{b:.6g}" for h, b in zip(hops, barrier_eV, strict=True))
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    plain = re.sub(r"[^A-Za-z0-9]+", "-", f"{what}-{'-'.join(ions[:3])}").strip("-")
    return f"adapted-{plain}-{digest}"


def _card(comparison: Comparison) -> dict[str, Any]:
    choice, hops = comparison.choice, comparison.hops
    parent = comparison.base if is_network(choice.strategy) else SOURCE
    source = library.read_card(library.find(parent))
    error_eV = float(np.mean(np.abs(comparison.held_out_eV - comparison.barrier_eV)))
    trained = source.get("trained_on", {})
    return {
        "predicts": "migration barrier of a hop, eV",
        "quantity": "migration_barrier",
        "inputs": ["hop"],
        "working_ions": sorted({hop.working_ion for hop in hops}),
        "families": sorted({canonical_family(hop.family) for hop in hops if hop.family}),
        "elements": sorted(
            {e for hop in hops for s in hop.host_species for e in s}
            | {hop.working_ion for hop in hops}
        ),
        "trained_on": {
            "data": [{"name": "labels of the user", "n_hops": len(hops)}]
            + (list(trained.get("data", ())) if choice.transfers else []),
            "methods": sorted({hop.method for hop in hops if hop.method}),
        },
        "descent": {
            "from": parent if choice.transfers else None,
            "from_checksum": source.get("checksums_sha256", {}).get(WEIGHTS),
            "strategy": choice.strategy,
            "chosen_because": choice.why,
            "transfer_hurts": choice.transfer_hurts,
        },
        "validation": {
            "split": "grouped by host framework on the labels given",
            "n": len(hops),
            "mae_eV": round(error_eV, 4),
        },
        "seed": comparison.seed,
        "licence": "that of the labels",
    }
