"""A file of labels that grows with every crystal and is gone on with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import Executor
from ionbridge.screening.execution.folder_lock import locked_file
from ionbridge.screening.execution.sealed_rows import SEAL, check_same, checksum, sealed
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.labelling.dynamics.diffusion_label import Label
from ionbridge.structures.io.reading import crystal_to_json
from ionbridge.structures.records import Crystal, FailedRecord

Record = Crystal | FailedRecord
INPUT = "input_sha256"
"""Key of the checksum of the crystal that a label was made of."""


def as_document(labels: Sequence[Label]) -> dict[str, Any]:
    """What goes into the file."""
    return {"labels": list(labels)}


def growing_labels(
    records: Sequence[Record],
    labeller: Callable[[Sequence[Crystal]], list[Label]],
    failed: Callable[[Record, str], Label],
    method: str,
    decides: Mapping[str, Any],
    out: Path,
    executor: Executor,
) -> Iterator[list[Label]]:
    """The labels so far, after every crystal; those that the file holds are not made again.

    Args:
        records: Crystals, their ids unique.
        labeller: Crystals to labels, for an executor.
        failed: The label of a record that was not simulated.
        method: What all labels of the file are made by.
        decides: Settings, and whatever else decides a label beside its crystal.
        out: JSON document, ``{"labels": [...]}``.
        executor: Where they are simulated.

    Yields:
        One label a record, in their order; the last list is the whole answer.

    Raises:
        InputError: The file holds something else, or labels made with other settings, or another
            process works on it.
    """
    with locked_file(out):
        settings = json.loads(json.dumps(decides))
        made_of = [_claim(record, settings) for record in records]
        kept = _kept(out, settings, method)
        labels = [
            kept.get(claim[INPUT], failed(record, _reason(record)))
            for record, claim in zip(records, made_of, strict=True)
        ]
        missing = {
            k: [record]
            for k, record in enumerate(records)
            if isinstance(record, Crystal) and made_of[k][INPUT] not in kept
        }
        yield labels
        for k, (label,) in executor.map_shards(labeller, missing.items(), failed):
            labels[k] = sealed({**label, **made_of[k]})
            write_json(out, as_document(labels))
            yield labels
        write_json(out, as_document(labels))


def _reason(record: Record) -> str:
    return record.reason if isinstance(record, FailedRecord) else "not run"


def _claim(record: Record, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a label."""
    content = crystal_to_json(record) if isinstance(record, Crystal) else record.reason
    return {
        "settings": settings,
        INPUT: checksum(json.loads(json.dumps([record.id, content], default=str))),
    }


def _kept(out: Path, settings: Mapping[str, Any], method: str) -> dict[str, Label]:
    """Labels of an earlier run by their input; on stderr which are made again.

    Raises:
        InputError: The file holds no labels of this method, or such made with other settings.
    """
    if not out.exists():
        return {}
    another = "; give another --out"
    try:
        labels = json.loads(out.read_text(encoding="utf-8"))["labels"]
        given = [dict(label) for label in labels if label["method"] == method]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{out}: no labels of `label {method}` to go on with{another}") from error
    if len(given) != len(labels):
        raise InputError(f"{out}: holds labels of another method{another}")
    kept = {}
    for label in given:
        if SEAL not in label:
            continue  # a record that could not be read, or one whose turn had not come
        if sealed(label) != label:
            print(
                f"ionbridge: {out}: {label.get('id')}: its checksum differs; made again",
                file=sys.stderr,
            )
            continue
        check_same(f"{out}: its labels were", label["settings"], settings)
        kept[str(label[INPUT])] = label
    return kept
