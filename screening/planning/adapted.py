"""Entries that fill a gap: models adapted to the labels given, by the call of ``finetune``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ionbridge.models import library
from ionbridge.models.checkpoint import WEIGHTS
from ionbridge.models.validation import GROUPED, validation_row, write_validation
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.planning.catalogue import (
    Entry,
    EntryDomain,
    StepContext,
    Tables,
    ValidatedError,
)
from ionbridge.screening.planning.formulas import FEWEST_LABELS, MAE_TO_STD
from ionbridge.screening.planning.records import hop_of, label_of
from ionbridge.screening.planning.trained import (
    loaded,
    predicted_conductivities,
    predicted_diffusivities,
    predicted_hops,
)
from ionbridge.screening.table import Row
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.io.tables import QUANTITY as CONDUCTIVITY
from ionbridge.structures.io.tables import ROOM_RANGE_K
from ionbridge.structures.records import Hop

CHOICE_FILE, CARD_FILE = "choice.json", "card.json"
DIFFUSIVITY = "log10_diffusivity_cm2_s"
MOST_FOR_NETWORKS = 24
"""Labels; with more, a plan compares the ways to adapt that take seconds, and names the others."""


@dataclass(frozen=True, eq=False)
class Kind:
    """What one kind of labels is good for.

    Attributes:
        name: Of the entry.
        about: What it does, in a line.
        labels: Quantity that holds the labels.
        given: Quantity that predictions are made of.
        quantity: What is predicted.
        fidelity: See `Entry`.
        cost_s: Seconds for one record.
        conditions: See `Entry`.
        record: Row of a label -> record that is learnt from.
        predicted: Model, rows and temperature in K -> rows of the quantity.
        ranges: Conditions that it holds for; see `EntryDomain`.
    """

    name: str
    about: str
    labels: str
    given: str
    quantity: str
    fidelity: str
    cost_s: float
    conditions: tuple[str, ...]
    record: Callable[[Row], Any]
    predicted: Callable[[Any, Sequence[Row], float], list[Row]]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


HOPS = Kind(
    "adapted-hop-model",
    "learns from the labels given, by whatever way of transfer, or none, is best",
    "hop_labels",
    "hop",
    "migration_barrier",
    "dft",
    1.0,
    (),
    hop_of,
    lambda model, rows, temperature_K: predicted_hops(model, rows),
)
DIFFUSIVITIES = Kind(
    "adapted-diffusivity-model",
    "learns Arrhenius lines over compositions from the diffusivities given",
    "diffusivity_labels",
    "composition",
    "diffusivity",
    "potential",
    0.5,
    ("temperature_K",),
    partial(label_of, quantity=DIFFUSIVITY),
    predicted_diffusivities,
)
CONDUCTIVITIES = Kind(
    "adapted-conductivity-model",
    "learns from the conductivities given, beside those that the shipped model knows or without",
    "conductivity_labels",
    "composition",
    "conductivity",
    "experiment",
    0.01,
    ("temperature_K",),
    partial(label_of, quantity=CONDUCTIVITY),
    lambda model, rows, temperature_K: predicted_conductivities(model, rows),
    {"temperature_K": ROOM_RANGE_K},
)


def adapted_entries() -> tuple[Entry, ...]:
    """One a kind of labels: the shipped model, adapted to those of the new chemistry."""
    return tuple(
        Entry(
            name=kind.name,
            kind="process",
            about=kind.about,
            inputs=(kind.labels, kind.given),
            outputs=(kind.quantity,),
            fidelity=kind.fidelity,
            cost_s=kind.cost_s,
            domain=EntryDomain(ranges=kind.ranges),
            conditions=kind.conditions,
            judge=partial(_judged, kind),
            judged_on=kind.labels,
            learns=True,
            run=partial(_run, kind),
        )
        for kind in (HOPS, CONDUCTIVITIES, DIFFUSIVITIES)
    )


def adapted(kind: Kind, rows: Sequence[Row], seed: int = 0) -> tuple[Any, dict[str, Any]]:
    """The model that ``finetune`` makes of labels, and its card; what was made is remembered.

    Args:
        kind: Of the labels.
        rows: Those labels.
        seed: Of folds and fits.

    Raises:
        InputError: Fewer than FEWEST_LABELS labels, or labels that nothing can be learnt from.
    """
    return _adapted(kind, json.dumps([*map(dict, rows)], sort_keys=True, default=str), seed)


@lru_cache(maxsize=8)
def _adapted(kind: Kind, text: str, seed: int) -> tuple[Any, dict[str, Any]]:
    from ionbridge.models.adaptation.adapt import adapt  # seconds, for who runs it

    rows = json.loads(text)
    if len(rows) < FEWEST_LABELS:
        raise InputError(
            f"{len(rows)} labels of {kind.quantity}: at least {FEWEST_LABELS} are needed to "
            "compare ways to learn from them; label some more (ionbridge label)"
        )
    try:
        records = [kind.record(row) for row in rows]
        return adapt(records, seed=seed, most_for_networks=MOST_FOR_NETWORKS)
    except ValueError as error:
        raise InputError(f"labels of {kind.quantity}: {error}") from error


def _judged(kind: Kind, tables: Tables) -> Mapping[str, ValidatedError]:
    """The error on the labels given, in cross-validation, of the way that was chosen."""
    try:
        _, card = adapted(kind, tables[kind.labels])
    except InputError:
        return {}
    found = card["validation"]
    if not found["n"]:
        return {}
    split, error = found["split"].partition(";")[0], found.get("mae_eV", found.get("mae"))
    basis = f"{found['n']} labels given, {split}: {card['strategy']}"
    if line := found.get("mae_of_the_common_line"):
        basis += f", {error:.2f} decades; one Arrhenius line for all {line:.2f}"
    return {kind.quantity: ValidatedError(MAE_TO_STD * error, found["n"], basis)}


def kept(model: Any, folder: Path) -> Path:
    """An adapted hop model in a library, with card and validation rows; one that is there stays.

    Args:
        model: From :func:`adapted`.
        folder: The library.
    """
    target = folder / _name(model.validated_)
    if not (target / WEIGHTS).is_file():
        model.save(target)
        rows = [
            validation_row(hop.id, hop.family, hop.working_ion, found, label)
            for hop, found, label in model.validated_
            if hop.bound == "="
        ]
        write_validation(target, GROUPED, rows)
        write_json(target / CHOICE_FILE, choice_of(model))
    return target


def choice_of(model: Any) -> dict[str, Any]:
    """What was compared for an adapted hop model and why it was chosen, as JSON."""
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


def _run(kind: Kind, tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    model, card = adapted(kind, tables[kind.labels], context.at.seed)
    write_json(context.folder / CARD_FILE, card)
    if kind is HOPS:
        write_json(context.folder / CHOICE_FILE, choice_of(model))
        folder = kept(model, library.user_libraries()[0])
        write_json(context.folder / "model.json", {"name": folder.name, "folder": str(folder)})
        model = loaded(folder)
    return {kind.quantity: kind.predicted(model, tables[kind.given], context.at.temperature_K)}


def _name(validated: Sequence[tuple[Hop, float, float]]) -> str:
    """For example ``adapted-olivine-Na-1f3c9a``: what it is for, and which labels it saw."""
    hops = [hop for hop, _, _ in validated]
    families = sorted({canonical_family(hop.family) for hop in hops if hop.family})
    ions = sorted({hop.working_ion for hop in hops})
    what = families[0] if len(families) == 1 else "hops"
    text = ";".join(f"{hop.id}:{hop.bound.strip('=')}{label:.6g}" for hop, _, label in validated)
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    plain = re.sub(r"[^A-Za-z0-9]+", "-", f"{what}-{'-'.join(ions[:3])}").strip("-")
    return f"adapted-{plain}-{digest}"
