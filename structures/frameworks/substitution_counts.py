"""How many candidates substitution gives, known beforehand: nothing is gone through."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from ionbridge.structures.configuration import plain_yaml
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.frameworks.substitution import MAX_COMPLEXITY, Recipe, stream

COUNTS_FILE = Path(__file__).parent / "substitution_counts.yaml"
"""Family -> ion -> candidates of each complexity (null: not counted), then those of each that
repeat a reference."""
FARTHEST = 48
"""A sample takes none of a stream's candidates beyond this place."""


@dataclass(frozen=True)
class StreamCount:
    """Candidates of one family and ion.

    Attributes:
        family: Framework family.
        ion: Working ion.
        by_complexity: How many of each complexity, simple ones first.
        repeats: How many of each repeat a reference crystal.
        is_complete: False where there are more, which are not counted.
    """

    family: str
    ion: str
    by_complexity: tuple[int, ...]
    repeats: tuple[int, ...]
    is_complete: bool = True

    @property
    def n(self) -> int:
        """Number of all recipes that were counted."""
        return sum(self.by_complexity)

    def n_repeats(self, n_taken: int) -> int | None:
        """How many of the first so many repeat a reference; None where that depends on the seed."""
        before = found = 0
        for n, own in zip(self.by_complexity, self.repeats, strict=True):
            if own and before < n_taken < before + n:
                return None
            found += own if n_taken >= before + n else 0
            before += n
        return found


@lru_cache(maxsize=1)
def _known() -> dict[str, dict[str, list[int | None]]]:
    found: dict[str, dict[str, list[int | None]]] = plain_yaml(COUNTS_FILE.read_text("utf-8"))
    return found


def stream_counts(
    families: Collection[str] | None, working_ions: Sequence[str]
) -> list[StreamCount]:
    """What there is of every family and ion, in the order in which candidates are drawn in turn.

    Where the most complex ones are not counted, the others are.
    """
    levels = MAX_COMPLEXITY + 1
    return [
        StreamCount(
            family,
            ion,
            tuple(n or 0 for n in row[:levels]),
            tuple(n or 0 for n in row[levels:]),
            None not in row,
        )
        for family in sorted(families or {p.family for p in PROTOTYPES.values()})
        for ion in working_ions
        for row in [_known()[family][ion]]
    ]


def taken(counts: Sequence[StreamCount], max_count: int) -> list[int]:
    """How many of each are among the first so many that are drawn in turn."""
    left = min(max_count, sum(one.n for one in counts))
    low, high = 0, max((one.n for one in counts), default=0)
    while low < high:  # the last whole round
        middle = (low + high + 1) // 2
        if sum(min(one.n, middle) for one in counts) <= left:
            low = middle
        else:
            high = middle - 1
    found = [min(one.n, low) for one in counts]
    left -= sum(found)
    for k, one in enumerate(counts):
        if left and one.n > low:
            found[k] += 1
            left -= 1
    return found


def spread_recipes(
    counts: Sequence[StreamCount], taken: Sequence[int], n: int, seed: int
) -> Iterator[Recipe]:
    """At most n recipes, of each family and ion in proportion to how many are taken of it.

    Only the simple ones of a stream are looked at: its framework decides what a crystal costs.

    Args:
        counts: Of the streams.
        taken: How many of each there are.
        n: How many are wanted.
        seed: Of their order.
    """
    total = sum(taken)
    n = min(n, total)
    places = [(2 * i + 1) * total // (2 * n) for i in range(n)]
    before = 0
    for one, own in zip(counts, taken, strict=True):
        here = [place - before for place in places if before <= place < before + own]
        before += own
        wanted = [k * min(own, FARTHEST) // own for k in here]
        if wanted:
            first = list(islice(stream(one.family, one.ion, random.Random(seed)), max(wanted) + 1))
            yield from (first[k] for k in wanted)
