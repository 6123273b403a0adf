"""How many candidates substitution gives, by family, ion and number of elements beyond one a slot.

    python -m benchmarks.make.substitution_counts

Writes structures/frameworks/substitution_counts.yaml, from which ``screen --dry-run`` knows how
many candidates there will be without going through them. Run again when prototypes, radii,
oxidation states or the rules of substitution change; a slow test compares.
"""

from __future__ import annotations

import random
from collections import Counter

import yaml

from ionbridge.screening.campaign.candidates import repeats
from ionbridge.screening.execution.shards import write_atomically
from ionbridge.structures.frameworks.prototypes import PROTOTYPES, reference_crystals
from ionbridge.structures.frameworks.substitution import MAX_COMPLEXITY, SUBSTITUTED_IONS, stream
from ionbridge.structures.frameworks.substitution_counts import COUNTS_FILE

LARGE = (
    *("NASICON", "alluaudite", "fluorophosphate", "lithium niobate", "maricite"),
    *("orthosilicate", "oxyphosphate", "pyrophosphate"),
)
"""Families of which the most complex candidates are not counted: there are too many."""


def counts(family: str, ion: str) -> list[int | None]:
    """Candidates of each complexity, then those of each that repeat a reference crystal."""
    references = reference_crystals()
    own: Counter[int] = Counter()
    known: Counter[int] = Counter()
    most = MAX_COMPLEXITY - 1 if family in LARGE else MAX_COMPLEXITY
    for recipe in stream(family, ion, random.Random(0), most):
        own[recipe.complexity] += 1
        known[recipe.complexity] += repeats(recipe, references)
    levels = range(MAX_COMPLEXITY + 1)
    found: list[int | None] = [*(own[k] for k in levels), *(known[k] for k in levels)]
    if family in LARGE:
        found[MAX_COMPLEXITY] = None
    return found


def main() -> None:
    families = sorted({prototype.family for prototype in PROTOTYPES.values()})
    found = {}
    for family in families:
        found[family] = {ion: counts(family, ion) for ion in SUBSTITUTED_IONS}
        print(family, found[family], flush=True)
    head = f"# {__doc__.splitlines()[0]}\n# Made by benchmarks/make/substitution_counts.py.\n"
    write_atomically(COUNTS_FILE, head + yaml.safe_dump(found, default_flow_style=None))


if __name__ == "__main__":
    main()
