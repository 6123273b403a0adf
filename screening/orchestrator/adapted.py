"""The entry that fills a gap: a model adapted to the user's labels, measured before it is used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import library
from models.checkpoint import WEIGHTS
from models.few_label import usable_strategies
from models.few_label_model import LARGEST_T, SCALE, FewLabelModel, hop_descriptors
from models.validation import GROUPED, validation_row, write_validation
from screening.errors import InputError
from screening.orchestrator.adaptation import Choice, StrategyPrior, Trial, choose, cross_validated
from screening.orchestrator.catalogue import Entry, StepContext, Tables, ValidatedError
from screening.orchestrator.formulas import FEWEST_LABELS, MAE_TO_STD
from screening.orchestrator.quantities import Row
from screening.orchestrator.records import hop_of
from screening.orchestrator.trained import loaded, predicted_hops, were_trained_on
from screening.shards import write_json
from structures.family_names import canonical_family
from structures.records import Hop

SOURCE = "hop-descriptors"
"""Shipped model whose hops are the source."""
NETWORK = "hop-barrier"
"""Shipped network, compared as it is."""
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
    hops, labels = _labels(tables)
    try:
        adapted = adapted_to(hops, labels)
    except InputError:
        return {}
    error = ValidatedError(
        MAE_TO_STD * adapted.choice.cv[adapted.choice.strategy],
        len(hops),
        f"{len(hops)} labels given, cross-validated by framework",
    )
    return {"migration_barrier": error}


def _labels(tables: Tables) -> tuple[list[Hop], Floats]:
    rows = tables["hop_labels"]
    return [hop_of(row) for row in rows], np.array([float(row["barrier_eV"]) for row in rows])


@dataclass(frozen=True, eq=False)
class Adapted:
    """A model adapted to labels.

    Attributes:
        model: Fitted, with ``predict``, ``in_domain`` and ``save``.
        name: In the user's library.
        choice: What was compared and chosen.
        card: Its descent, its errors.
        folder: Where it was kept; None before.
    """

    model: Any
    name: str
    choice: Choice
    card: Mapping[str, Any]
    folder: Path | None = None


def adapted_to(hops: Sequence[Hop], barrier_eV: Floats, seed: int = 0) -> Adapted:
    """Compare every way to learn from labelled hops, and fit the one of least expected error.

    Args:
        hops: (n,) labelled hops of the new chemistry.
        barrier_eV: (n,) their barriers.
        seed: Of folds and fits.

    Raises:
        InputError: Fewer than FEWEST_LABELS labels.
    """
    if len(hops) < FEWEST_LABELS:
        raise InputError(
            f"{len(hops)} labelled hops: at least {FEWEST_LABELS} are needed to compare ways to "
            "learn from them; label some more (ionbridge label neb)"
        )
    known = library.load(SOURCE)
    groups = [hop.framework for hop in hops]
    x, t = hop_descriptors(hops), SCALE.forward(barrier_eV)
    source = known.source_.without(x)
    held_out = cross_validated(usable_strategies(source), source, x, t, groups, seed)
    found = {name: SCALE.inverse(np.minimum(v, LARGEST_T)) for name, v in held_out.items()}
    network = library.load(NETWORK)
    if not were_trained_on(network, hops).any():
        found[NETWORK] = network.predict(hops).mean
    cv = {name: float(np.mean(np.abs(v - barrier_eV))) for name, v in found.items()}
    choice = choose(Trial("hops", len(hops), cv), StrategyPrior.load())
    card = _card(choice, hops, cv[choice.strategy], seed)
    if choice.strategy == NETWORK:
        model: Any = network
    else:
        spread = float(np.sqrt(np.mean((held_out[choice.strategy] - t) ** 2)))
        model = FewLabelModel(choice.strategy, spread, seed).from_source(known)
        model.fit(hops, barrier_eV)
    held = found[choice.strategy]
    rows = [
        validation_row(hop.id, hop.family, hop.working_ion, p, b)
        for hop, p, b in zip(hops, held, barrier_eV, strict=True)
    ]
    return Adapted(model, _name(hops, barrier_eV), choice, {**card, "validation_rows": rows})


def kept(adapted: Adapted, folder: Path) -> Path:
    """Write an adapted model with its card and validation rows; a folder that is there is kept."""
    card = dict(adapted.card)
    rows = card.pop("validation_rows")
    target = folder / adapted.name
    if not (target / WEIGHTS).is_file():
        adapted.model.save(target, {"name": adapted.name, **card})
        write_validation(target, GROUPED, rows)
        write_json(target / CHOICE_FILE, adapted.choice.to_dict())
    return target


def _run(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    hops, labels = _labels(tables)
    adapted = adapted_to(hops, labels, context.at.seed)
    write_json(context.folder / CHOICE_FILE, adapted.choice.to_dict())
    model = adapted.model
    if adapted.choice.strategy != NETWORK:  # a copy of a shipped model is nothing new
        folder = kept(adapted, library.user_libraries()[0])
        write_json(context.folder / "model.json", {"name": adapted.name, "folder": str(folder)})
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


def _card(choice: Choice, hops: Sequence[Hop], error_eV: float, seed: int) -> dict[str, Any]:
    source = library.read_card(library.find(SOURCE))
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
            "from": SOURCE if choice.transfers else None,
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
        "seed": seed,
        "licence": "that of the labels",
    }
