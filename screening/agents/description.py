"""What an input holds, and whether the shipped models know such things: a look before any work."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ionbridge.screening.agents.answers import EXTRAPOLATION
from ionbridge.screening.commands.command import say
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.chemistry.composition import working_ion
from ionbridge.structures.frameworks.family_names import canonical_family
from ionbridge.structures.io.reading import InputRecord, read_records, survey
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import (
    Bound,
    Crystal,
    FailedRecord,
    Hop,
    UnusableStructureError,
)

N_SHOWN = 10
SHIPPED = Path(__file__).parents[2] / "models" / "library"
KNOWN_BY = {
    "hops": "hop-barrier",
    "crystals": "hop-barrier",
    "conductivity_table": "conductivity-trees",
}
"""Shipped model that an input of a kind would be given to."""


def describe(paths: Sequence[Path], cifs: Path | None = None) -> dict[str, Any]:
    """Kind, counts, ions, families, labels and failures of an input, as plain values.

    Args:
        paths: Files or folders of one kind.
        cifs: Folder with the CIFs of a conductivity table.

    Raises:
        InputError: Nothing in it can be read.
    """
    try:
        found = survey(paths)
        records = read_records(paths, cifs=cifs)
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    failed = [r for r in records if isinstance(r, FailedRecord)]
    ions = Counter(filter(None, map(_ion, records)))
    families = Counter(canonical_family(f) for f in map(_family, records) if f)
    labels = [label for label in map(_label, records) if label is not None]
    return {
        "kind": found.kind,
        "found": found.message,
        "n_records": len(records),
        "n_failed": len(failed),
        "failed": [{"id": r.id, "reason": r.reason} for r in failed[:N_SHOWN]],
        "examples": [_example(r) for r in records if not isinstance(r, FailedRecord)][:N_SHOWN],
        "working_ions": dict(ions.most_common()),
        "families": dict(families.most_common(N_SHOWN)),
        "labels": _labels(found.kind, labels),
        "warnings": list(_unknown(found.kind, ions, families)),
    }


def main(arguments: Sequence[str]) -> int:
    """``describe [--cifs DIR] --out FILE INPUT...``, for a job."""
    parser = argparse.ArgumentParser(prog="ionbridge describe")
    parser.add_argument("--cifs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("inputs", nargs="+", type=Path)
    args = parser.parse_args(arguments)
    try:
        write_json(args.out, describe(args.inputs, args.cifs))
    except InputError as error:
        say(f"ionbridge: {' '.join(str(error).split())}")
        return 2
    return 0


def shipped_card(name: str) -> Mapping[str, Any]:
    """Card of a shipped model, read without its weights."""
    card: Mapping[str, Any] = yaml.safe_load((SHIPPED / name / "card.yaml").read_text("utf-8"))
    return card


def _unknown(kind: str, ions: Iterable[str], families: Iterable[str]) -> Iterable[str]:
    """What the model for this kind of input has never seen."""
    model = KNOWN_BY[kind]
    card = shipped_card(model)
    for what, found in (("working_ions", set(ions)), ("families", set(families))):
        unknown = sorted(found - set(card.get(what, ())))
        if unknown:
            yield (
                f"{EXTRAPOLATION}: {what.replace('_', ' ')} {', '.join(unknown[:N_SHOWN])} were "
                f"not in the training set of {model}; labels of them (finetune) tell how far "
                "it is off"
            )


def _example(record: InputRecord) -> dict[str, str]:
    formula = (
        f"{record.working_ion} in {record.framework}" if isinstance(record, Hop) else record.formula
    )
    return {"id": record.id, "formula": formula}


def _ion(record: InputRecord) -> str | None:
    if isinstance(record, Hop):
        return record.working_ion
    if isinstance(record, Crystal):
        try:
            return working_ion(record)
        except UnusableStructureError:
            return None
    return None


def _family(record: InputRecord) -> str | None:
    return None if isinstance(record, FailedRecord) else record.family


def _label(record: InputRecord) -> tuple[float, Bound] | None:
    if isinstance(record, Hop) and record.barrier_eV is not None:
        return record.barrier_eV, record.bound
    if isinstance(record, ConductivityRow) and record.label is not None:
        return record.label.value, record.label.bound
    return None


def _labels(kind: str, labels: Sequence[tuple[float, Bound]]) -> dict[str, Any]:
    """Their number, range and middle; bounds are counted apart."""
    values = [value for value, bound in labels if bound == "="]
    n_bounds = len(labels) - len(values)
    if not values:
        return {"n": 0, **({"n_bounds": n_bounds} if n_bounds else {})}
    name = "barrier_eV" if kind == "hops" else "log10_conductivity_S_cm"
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return {
        "n": len(values),
        **({"n_bounds": n_bounds} if n_bounds else {}),
        "column": name,
        "min": ordered[0],
        "median": middle,
        "max": ordered[-1],
    }
