"""The candidates of a campaign: reference crystals, generated ones, and files, in this order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pymatgen.core import Composition

from ionbridge.screening.errors import InputError
from ionbridge.screening.estimate import REFERENCE_SOURCE
from ionbridge.screening.settings import CandidateSettings
from ionbridge.structures.io import crystal_to_json, detect_kind, iter_records
from ionbridge.structures.prototypes import reference_crystals
from ionbridge.structures.records import Crystal, FailedRecord
from ionbridge.structures.substitution import Recipe, recipes

Candidate = Crystal | FailedRecord
NEAR = 2e-3
"""Difference of the shares of elements that one formula may hide."""


def collect(
    settings: CandidateSettings,
    working_ions: tuple[str, ...],
    seed: int,
    limit: int | None = None,
) -> list[Candidate]:
    """All candidates in their order; of records with one id all but the first are failed ones.

    Of generated candidates those that repeat a reference crystal (same family and formula) are
    left out.

    Args:
        settings: The sources.
        working_ions: Mobile ions of the generated candidates.
        seed: Seed of the generation.
        limit: Keep only the first so many.

    Raises:
        InputError: A file is missing or holds no crystals, a family is unknown, or nothing is left.
    """
    found = (
        one.build() if isinstance(one, Recipe) else one
        for one in drawn(settings, working_ions, seed)
    )
    candidates = without_duplicates(found)[:limit]
    if not candidates:
        raise InputError(
            "no candidates: the campaign needs candidates with references, prototypes or files"
        )
    return candidates


def drawn(
    settings: CandidateSettings, working_ions: tuple[str, ...], seed: int
) -> Iterator[Candidate | Recipe]:
    """The candidates of :func:`collect` one after the other, generated ones not built yet.

    Raises:
        InputError: A file is missing or holds no crystals, or a family is unknown.
    """
    references = reference_crystals() if settings.references else []
    yield from (replace(crystal, source=REFERENCE_SOURCE) for crystal in references)
    if settings.prototypes is not None:
        try:
            generated = recipes(
                families=list(settings.prototypes.families) or None,
                working_ions=working_ions,
                max_count=settings.prototypes.max_count,
                seed=seed,
            )
        except (KeyError, ValueError) as error:
            raise InputError(f"candidates: prototypes: {error.args[0]}") from error
        yield from (recipe for recipe in generated if not _repeats(recipe, references))
    if settings.files:
        yield from read_crystals([Path(f) for f in settings.files])


def _repeats(recipe: Recipe, references: Sequence[Crystal]) -> bool:
    """Whether a generated candidate is of the family and formula of a reference crystal."""
    own = Composition(recipe.content).fractional_composition
    near = [
        crystal
        for crystal in references
        if crystal.family == recipe.family
        and crystal.composition.fractional_composition.almost_equals(own, atol=NEAR)
    ]
    return bool(near) and recipe.build().formula in {crystal.formula for crystal in near}


def counted_sample(candidates: Iterable[Candidate | Recipe], n: int) -> tuple[int, list[Candidate]]:
    """How many candidates there are, and at most n of them spread over the list; only these are
    kept and built.
    """
    kept: list[Candidate | Recipe] = []
    step, count = 1, 0
    for count, one in enumerate(candidates, start=1):
        if (count - 1) % step == 0:
            kept.append(one)
        if len(kept) > 2 * n:
            kept, step = kept[::2], 2 * step
    chosen = [kept[i * len(kept) // n] for i in range(n)] if len(kept) > n else kept
    return count, [one.build() if isinstance(one, Recipe) else one for one in chosen]


def read_crystals(paths: list[Path]) -> list[Candidate]:
    """Crystals of files and folders.

    Raises:
        InputError: A path is missing, unreadable, or holds something else.
    """
    try:
        kind = detect_kind(paths)
        if kind != "crystals":
            names = ", ".join(map(str, paths))
            raise InputError(f"{names}: expected crystals, found {kind.replace('_', ' ')}")
        records = list(iter_records(paths))
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    return [
        r if isinstance(r, Crystal | FailedRecord) else FailedRecord(r.id, "not a crystal")
        for r in records
    ]


def without_duplicates(records: Iterable[Candidate]) -> list[Candidate]:
    """The same records; one whose id came before is a failed record instead."""
    seen: set[str] = set()
    result: list[Candidate] = []
    for record in records:
        if record.id in seen and isinstance(record, Crystal):
            record = FailedRecord(record.id, "duplicate id", record.formula)
        seen.add(record.id)
        result.append(record)
    return result


def checksum(candidates: Iterable[Candidate]) -> str:
    """SHA-256 over the candidates as JSON lines: equal for equal candidates in equal order."""
    digest = hashlib.sha256()
    for candidate in candidates:
        if isinstance(candidate, Crystal):
            data = crystal_to_json(candidate)
        else:
            data = {"id": candidate.id, "reason": candidate.reason}
        digest.update(json.dumps(data, sort_keys=True, default=str).encode())
        digest.update(b"\n")
    return digest.hexdigest()
