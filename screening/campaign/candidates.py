"""The candidates of a campaign: reference crystals, generated ones, and files, in this order."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from pathlib import Path

from pymatgen.core import Composition

from ionbridge.models.checkpoint import sha256
from ionbridge.screening.campaign.settings import CandidateSettings
from ionbridge.screening.errors import InputError
from ionbridge.screening.prediction.estimate import REFERENCE_SOURCE
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.frameworks.substitution import Recipe, recipes
from ionbridge.structures.frameworks.substitution_counts import spread_recipes, stream_counts, taken
from ionbridge.structures.io.file_text import MAX_FILE_MB
from ionbridge.structures.io.reading import detect_kind, input_files, iter_records
from ionbridge.structures.records import Crystal, FailedRecord

Candidate = Crystal | FailedRecord
COUNTED_ONE_BY_ONE = 5000
"""So many generated candidates are gone through to count them; of more the number is known."""
COUNTED_MB = 20
"""Larger files are not read only to say how far a campaign is."""
NEAR = 2e-3
"""Difference of the shares of elements that one formula may hide."""


@dataclass(frozen=True)
class Candidates:
    """All candidates of a campaign, in their order, made anew each time they are asked for.

    Of usable records with one id all but the first are failed ones. Of generated candidates those
    that repeat a reference crystal (same family and formula) are left out.

    Attributes:
        settings: The sources.
        working_ions: Mobile ions of the generated candidates.
        seed: Seed of the generation.
        limit: Keep only the first so many.
    """

    settings: CandidateSettings
    working_ions: tuple[str, ...]
    seed: int
    limit: int | None = None

    def __iter__(self) -> Iterator[Candidate | Recipe]:
        """One after the other, generated ones not built yet.

        Raises:
            InputError: A file is missing or holds no crystals, a family is unknown, or there is
                nothing.
        """
        found = without_duplicates(drawn(self.settings, self.working_ions, self.seed))
        first = next(found, None)
        if first is None:
            raise InputError(
                "no candidates: the campaign needs candidates with references, prototypes or files"
            )
        return islice(chain([first], found), self.limit)

    def pieces(self, size: int) -> Iterator[tuple[int, list[Candidate | Recipe]]]:
        """(index, candidates) of every shard of so many."""
        found = iter(self)
        for index in count():
            piece = list(islice(found, size))
            if not piece:
                return
            yield index, piece

    def at(self, positions: Collection[int]) -> dict[int, Candidate]:
        """The candidates at some places of the order (from 0), built."""
        wanted = set(positions)
        shown = islice(self, max(wanted) + 1) if wanted else iter(())
        return {k: built(one) for k, one in enumerate(shown) if k in wanted}

    def counted(self, n_sample: int) -> tuple[int, list[Candidate]]:
        """How many there are, and some of them, spread over all; only these are built.

        Args:
            n_sample: Most that are built.

        Raises:
            InputError: As going through them.
        """
        prototypes = self.settings.prototypes
        few = COUNTED_ONE_BY_ONE
        if prototypes is None or min(prototypes.max_count, self.limit or few + 1) <= few:
            return counted_sample(self, n_sample)
        iter(self)  # a wrong file or family is said
        rest = replace(self.settings, prototypes=None)
        if rest.references or rest.files:
            n_rest, some = Candidates(rest, self.working_ions, self.seed).counted(n_sample)
        else:
            n_rest, some = 0, []
        counts = stream_counts(prototypes.families, self.working_ions)
        own = taken(counts, prototypes.max_count)
        if sum(own) < prototypes.max_count and not all(one.is_complete for one in counts):
            return counted_sample(self, n_sample)
        repeated = [one.n_repeats(n) for one, n in zip(counts, own, strict=True)]
        if rest.references and None in repeated:
            return counted_sample(self, n_sample)
        n_own = sum(own) - (sum(n or 0 for n in repeated) if rest.references else 0)
        n_found = min(n_rest + n_own, self.limit or n_rest + n_own)
        n_generated = round(n_sample * n_own / (n_rest + n_own))
        generated = [
            recipe.build() for recipe in spread_recipes(counts, own, n_generated, self.seed)
        ]
        others = some[:: -(-len(some) // max(n_sample - n_generated, 1)) or 1]
        return n_found, [*others, *generated][:n_sample]

    def number(self) -> int | None:
        """How many there are, where that is soon known; None where large files are to be read."""
        try:
            sizes = [
                f.stat().st_size for f, _ in input_files([Path(f) for f in self.settings.files])
            ]
        except (ValueError, OSError) as error:
            raise InputError(str(error)) from error
        return self.counted(0)[0] if sum(sizes) < 1e6 * COUNTED_MB else None


def files_checksum(files: Iterable[str]) -> str:
    """SHA-256 over the content of files and of all files in folders, their order and names.

    What is generated or comes with the program follows from the settings and the program.

    Raises:
        InputError: A file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file, name in input_files([Path(f) for f in files]):
            digest.update(f"{sha256(file)} {name}\n".encode("utf-8", "surrogateescape"))
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    return digest.hexdigest()


def built(one: Candidate | Recipe) -> Candidate:
    """The candidate as a crystal: a recipe is built."""
    return one.build() if isinstance(one, Recipe) else one


def drawn(
    settings: CandidateSettings, working_ions: tuple[str, ...], seed: int
) -> Iterator[Candidate | Recipe]:
    """The records of all sources one after the other, generated ones not built yet.

    Raises:
        InputError: A file is missing or holds no crystals, or a family is unknown; before the
            first.
    """
    references = reference_crystals() if settings.references else []
    marked = [replace(crystal, source=REFERENCE_SOURCE) for crystal in references]
    sources: list[Iterable[Candidate | Recipe]] = [marked]
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
        sources.append(recipe for recipe in generated if not repeats(recipe, references))
    if settings.files:
        files = [Path(f) for f in settings.files]
        sources.append(read_crystals(files, settings.max_file_MB))
    return chain.from_iterable(sources)


def repeats(recipe: Recipe, references: Sequence[Crystal]) -> bool:
    """Whether a generated candidate is of the family and formula of a reference crystal."""
    content = recipe.content
    alike = [c for c in references if c.family == recipe.family and _elements(c) == content.keys()]
    if not alike:
        return False
    own = Composition(content).fractional_composition
    near = [
        crystal
        for crystal in alike
        if crystal.composition.fractional_composition.almost_equals(own, atol=NEAR)
    ]
    return bool(near) and recipe.build().formula in {crystal.formula for crystal in near}


def _elements(crystal: Crystal) -> set[str]:
    return {symbol for site in crystal.species for symbol in site}


def counted_sample(candidates: Iterable[Candidate | Recipe], n: int) -> tuple[int, list[Candidate]]:
    """How many candidates there are, and at most n of them spread over the list; only these are
    kept and built.
    """
    kept: list[Candidate | Recipe] = []
    step, n_found = 1, 0
    for n_found, one in enumerate(candidates, start=1):
        if (n_found - 1) % step == 0:
            kept.append(one)
        if len(kept) > 2 * n:
            kept, step = kept[::2], 2 * step
    chosen = [kept[i * len(kept) // n] for i in range(n)] if len(kept) > n else kept
    return n_found, [built(one) for one in chosen]


def read_crystals(paths: list[Path], max_file_MB: float = MAX_FILE_MB) -> Iterator[Candidate]:
    """Crystals of files and folders, one after the other.

    Args:
        paths: Files and folders.
        max_file_MB: Largest file that is read, after unpacking.

    Raises:
        InputError: A path is missing, unreadable, or holds something else; before the first.
    """
    try:
        kind = detect_kind(paths)
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    if kind != "crystals":
        names = ", ".join(map(str, paths))
        raise InputError(f"{names}: expected crystals, found {kind.replace('_', ' ')}")
    return (
        r if isinstance(r, Crystal | FailedRecord) else FailedRecord(r.id, "not a crystal")
        for r in iter_records(paths, max_file_MB=max_file_MB)
    )


def without_duplicates(
    records: Iterable[Candidate | Recipe],
) -> Iterator[Candidate | Recipe]:
    """The same records; one that has the id of an earlier usable one is a failed record instead."""
    seen: set[str] = set()
    for record in records:
        if isinstance(record, FailedRecord):
            yield record
        elif record.id in seen:
            yield FailedRecord(record.id, "duplicate id", built(record).formula)
        else:
            seen.add(record.id)
            yield record
