"""Tools that show the library: the catalogue's entries and the cards of models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ionbridge.screening.agents import tool_arguments as given
from ionbridge.screening.agents.answers import Answer, card_answer, short
from ionbridge.screening.agents.bounded_yaml import plain_mapping
from ionbridge.screening.agents.caller import Caller
from ionbridge.screening.agents.skills import skills
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import Entry
from ionbridge.structures.configuration import nearest

LARGEST_CARD = 2**20
CARD = "card.yaml"
NOT_VALIDATED = "not validated: no error can be stated"


def read_skill(caller: Caller, a: given.ReadSkill) -> Answer:
    """A page that comes with the package."""
    known = skills()
    if a.name not in known:
        raise InputError(f"no skill '{a.name}'; {nearest(a.name, list(known))}")
    return Answer(known[a.name].description, data={"page": known[a.name].text})


def list_models(caller: Caller, a: given.ListModels) -> Answer:
    """Entries of the catalogue, one short row each."""
    from ionbridge.screening.planning.entries import default_catalogue

    catalogue = default_catalogue()
    rows = [
        _row(entry)
        for entry in catalogue.entries
        if (a.quantity is None or a.quantity in entry.outputs)
        and (a.working_ion is None or _knows(entry, a.working_ion))
    ]
    broken = tuple(f"{name} cannot be used: {reason}" for name, reason in catalogue.broken)
    return Answer(
        summary=f"{len(rows)} models, formulas and simulations.",
        warnings=broken,
        data={"models": rows},
    )


def show_model(caller: Caller, a: given.ShowModel) -> Answer:
    """An entry of the catalogue with the card behind it, or the card of a model folder."""
    if "/" in a.name:
        return model_folder(caller, a.name)
    from ionbridge.screening.planning.entries import default_catalogue

    entry = default_catalogue()[a.name]
    row = _row(entry)
    if entry.folder is None:
        return Answer(f"{entry.name}: {entry.about}.", _doubts(entry), data=row)
    content = (Path(entry.folder) / CARD).read_bytes()
    answer = card_answer(entry.name, plain_mapping(content, f"{entry.name}/{CARD}"))
    return replace(
        answer, warnings=(*answer.warnings, *_doubts(entry)), data={**row, "card": answer.data}
    )


def model_folder(caller: Caller, path: str) -> Answer:
    """The card of a model folder of the workspace."""
    content = caller.workspace.read(f"{path}/{CARD}", LARGEST_CARD)
    return card_answer(path, plain_mapping(content, f"{path}/{CARD}"))


def _row(entry: Entry) -> dict[str, Any]:
    """What decides whether to use an entry."""
    data = entry.to_dict()
    row = {
        "name": entry.name,
        "kind": entry.kind,
        "about": entry.about,
        "needs": list(entry.inputs),
        "gives": [f"{o['quantity']} [{o['unit']}]" for o in data["outputs"]],
        "error": {
            output: f"± {e.std:.2g} ({e.basis}{f', {e.n_rows} rows' if e.n_rows else ''})"
            for output in entry.outputs
            if (e := entry.error_of(output, ())) is not None
        }
        or NOT_VALIDATED,
        "working_ions": sorted(entry.domain.working_ions),
        "seconds_each": entry.cost_s,
        "origin": entry.origin,
        "unavailable": entry.unavailable,
    }
    return {key: short(value) for key, value in row.items() if value not in ("", [], {})}


def _doubts(entry: Entry) -> tuple[str, ...]:
    return (f"cannot run here: {entry.unavailable}",) if entry.unavailable else ()


def _knows(entry: Entry, ion: str) -> bool:
    return not entry.domain.working_ions or ion in entry.domain.working_ions
