"""The entry that fills a gap: a model adapted to the labels given, by the call of ``finetune``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ionbridge.models import library
from ionbridge.models.checkpoint import WEIGHTS
from ionbridge.models.validation import GROUPED, validation_row, write_validation
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.planning.catalogue import Entry, StepContext, Tables, ValidatedError
from ionbridge.screening.planning.formulas import FEWEST_LABELS, MAE_TO_STD
from ionbridge.screening.planning.quantities import Row
from ionbridge.screening.planning.records import hop_of
from ionbridge.screening.planning.trained import loaded, predicted_hops
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.records import Hop

CHOICE_FILE = "choice.json"
TIME_LIMIT_S = 90.0
"""For the comparison of ways to adapt; what is not done by then is left out, and said."""


def adapted_entries() -> tuple[Entry, ...]:
    """One for hops: the shipped model, adapted to labelled hops of the new chemistry."""
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


def adapted(rows: Sequence[Row], seed: int = 0) -> Any:
    """The model that ``finetune`` makes of labelled hops; what was made before is remembered.

    Args:
        rows: Hops with ``barrier_eV``.
        seed: Of folds and fits.

    Raises:
        InputError: Fewer than FEWEST_LABELS labels, or labels that nothing can be learnt from.
    """
    return _adapted(json.dumps([dict(row) for row in rows], sort_keys=True, default=str), seed)


@lru_cache(maxsize=2)
def _adapted(text: str, seed: int) -> Any:
    from ionbridge.models.adaptation.barriers import Base, adapt  # seconds, for who runs it

    rows = json.loads(text)
    if len(rows) < FEWEST_LABELS:
        raise InputError(
            f"{len(rows)} labelled hops: at least {FEWEST_LABELS} are needed to compare ways to "
            "learn from them; label some more (ionbridge label neb)"
        )
    barrier_eV = np.array([float(row["barrier_eV"]) for row in rows])
    base = Base.of(library.DEFAULTS["migration_barrier"])
    hops = [hop_of(row) for row in rows]
    try:
        return adapt(hops, barrier_eV, base, seed=seed, limit_s=TIME_LIMIT_S)
    except ValueError as error:
        raise InputError(f"labelled hops: {error}") from error


def _judged(tables: Tables) -> Mapping[str, ValidatedError]:
    """The error on the labels given, in cross-validation, of the way that was chosen."""
    try:
        card = adapted(tables["hop_labels"]).card_
    except InputError:
        return {}
    found = card["validation"]
    basis = f"{found['n']} labels given, {found['split']}: {card['strategy']}"
    std = ValidatedError(MAE_TO_STD * found["mae_eV"], found["n"], basis)
    return {"migration_barrier": std}


def kept(model: Any, folder: Path) -> Path:
    """An adapted model in a library, with its card and validation rows; one that is there stays.

    Args:
        model: From :func:`adapted`.
        folder: The library.
    """
    target = folder / _name(model.validated_)
    if not (target / WEIGHTS).is_file():
        model.save(target, {"name": target.name, **model.card_})
        rows = [
            validation_row(hop.id, hop.family, hop.working_ion, found, label)
            for hop, found, label in model.validated_
        ]
        write_validation(target, GROUPED, rows)
        write_json(target / CHOICE_FILE, choice_of(model))
    return target


def choice_of(model: Any) -> dict[str, Any]:
    """What was compared for an adapted model and why it was chosen, as JSON."""
    card = model.card_
    found = card["validation"]
    return {
        "strategy": card["strategy"],
        "base": card["base"],
        "cross_validated_error": card.get("compared_mae_eV", {}),
        "not_compared": card.get("not_compared", {}),
        "why": f"{card['strategy']}: {found['mae_eV']:.3g} eV on {found['n']} labels, "
        f"{found['split']}; labels joined with those of the base stand unless another way is "
        "better beyond doubt",
    }


def _run(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    model = adapted(tables["hop_labels"], context.at.seed)
    write_json(context.folder / CHOICE_FILE, choice_of(model))
    folder = kept(model, library.user_libraries()[0])
    write_json(context.folder / "model.json", {"name": folder.name, "folder": str(folder)})
    return {"migration_barrier": predicted_hops(loaded(folder), tables["hop"])}


def _name(validated: Sequence[tuple[Hop, float, float]]) -> str:
    """For example ``adapted-olivine-Na-1f3c9a``: what it is for, and which labels it saw."""
    hops = [hop for hop, _, _ in validated]
    families = sorted({canonical_family(hop.family) for hop in hops if hop.family})
    ions = sorted({hop.working_ion for hop in hops})
    what = families[0] if len(families) == 1 else "hops"
    text = ";".join(f"{hop.id}:{label:.6g}" for hop, _, label in validated)
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    plain = re.sub(r"[^A-Za-z0-9]+", "-", f"{what}-{'-'.join(ions[:3])}").strip("-")
    return f"adapted-{plain}-{digest}"
