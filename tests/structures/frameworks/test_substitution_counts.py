"""What is known beforehand of the candidates is what going through them finds."""

from collections import Counter

import pytest

from benchmarks.make.substitution_counts import counts
from ionbridge.structures.frameworks.prototypes import PROTOTYPES
from ionbridge.structures.frameworks.substitution import SUBSTITUTED_IONS, recipes
from ionbridge.structures.frameworks.substitution_counts import spread_recipes, stream_counts, taken

FAMILIES = sorted({prototype.family for prototype in PROTOTYPES.values()})


def known(families: list[str] | None = None, ions: tuple[str, ...] = SUBSTITUTED_IONS) -> list:
    return stream_counts(families, ions)


@pytest.mark.parametrize("family", ["LISICON", "antifluorite"])
def test_the_numbers_are_those_of_the_program(family: str) -> None:
    for one in known([family]):
        found = counts(family, one.ion)
        assert [n or 0 for n in found] == [*one.by_complexity, *one.repeats]
        assert one.is_complete == (None not in found)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_all_numbers_are_those_of_the_program(family: str) -> None:
    for one in known([family]):
        found = counts(family, one.ion)
        assert [n or 0 for n in found] == [*one.by_complexity, *one.repeats]
        assert one.is_complete == (None not in found)


@pytest.mark.parametrize("max_count", [0, 1, 7, 90, 131, 10**6])
def test_so_many_are_taken_of_each_as_are_drawn_in_turn(max_count: int) -> None:
    families = ["LISICON", "antifluorite"]
    found = known(families, ("Li", "Na"))
    drawn = Counter((r.family, r.working_ion) for r in recipes(families, ("Li", "Na"), max_count))
    assert taken(found, max_count) == [drawn[one.family, one.ion] for one in found]


def test_a_sample_has_every_family_in_its_proportion() -> None:
    found = known()
    own = taken(found, 200_000)
    assert sum(own) == min(200_000, sum(one.n for one in found))
    sample = list(spread_recipes(found, own, 16, 0))
    assert len(sample) == 16
    assert all(recipe.is_sound() for recipe in sample)
    share = Counter((recipe.family, recipe.working_ion) for recipe in sample)
    for one, n in zip(found, own, strict=True):
        assert abs(share[one.family, one.ion] - 16 * n / sum(own)) < 1


def test_repeats_are_known_where_no_seed_decides() -> None:
    (one,) = known(["LGPS"], ("Li",))
    simple = one.by_complexity[0]
    assert one.n_repeats(0) == 0
    assert one.n_repeats(simple) == one.n_repeats(one.n) == 1
    assert one.n_repeats(simple - 1) is None
