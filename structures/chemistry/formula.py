"""The conventional formula of a crystal: the same text for any cell of it, with its polyanions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce

FULL = 0.99
"""A site is full from this occupancy on."""
WHOLE = 2e-3
"""Amounts this close to a whole number are whole."""
LARGEST_MULTIPLE = 6
"""Of a formula whose only whole amount is one element's, at most so many are taken together."""
POLYANIONS: Mapping[tuple[str, str], int] = {
    **{(centre, "O"): 4 for centre in ("P", "S", "Si", "As", "Ge", "Se", "V", "Mo", "W", "Cl")},
    **{(centre, "O"): 3 for centre in ("B", "C", "N")},
    **{(centre, "S"): 4 for centre in ("P", "Sb", "As", "Si", "Ge", "Sn")},
    **{(centre, "Se"): 4 for centre in ("P", "Sb", "As", "Si", "Ge", "Sn")},
    **{(centre, "H"): 4 for centre in ("B", "Al")},
    ("C", "N"): 1,
}
"""Centre and ligand of the polyanions that a formula names, with the number of ligands."""


def conventional_formula(species: Sequence[Mapping[str, float]]) -> str:
    """``Na3V2(PO4)3``, ``Li10GeP2S12``, ``Na0.7CoO2``: one text for a crystal, whatever its cell.

    Full sites with one content (an element, or a mixture) are counted, and the formula is that of
    the least cell in which all these counts are whole. Where there are one or two contents and only
    one element has a whole amount, so many formulas are taken together as make all of them whole
    (LiFeO2 of rock salt).
    Elements are ordered by electronegativity; polyanions with their own ligands are bracketed.

    Args:
        species: One ``{symbol: occupancy}`` a site.
    """
    return _formula(tuple(tuple(site.items()) for site in species))


@lru_cache(maxsize=1024)
def _formula(species: tuple[tuple[tuple[str, float], ...], ...]) -> str:
    total: dict[str, float] = {}
    count: dict[tuple[tuple[str, float], ...], int] = {}
    for site in species:
        for symbol, amount in site:
            total[symbol] = total.get(symbol, 0.0) + amount
        if sum(amount for _, amount in site) >= FULL:
            content = tuple(sorted((k, round(v, 3)) for k, v in site))
            count[content] = count.get(content, 0) + 1
    units = reduce(math.gcd, count.values()) if count else len(species)
    amounts = {symbol: n / units for symbol, n in total.items() if n > 1e-8}
    if len(count) <= 2 and sum(_is_whole(n) for n in amounts.values()) <= 1:
        multiples = range(2, LARGEST_MULTIPLE + 1)
        whole = (m for m in multiples if all(_is_whole(m * n) for n in amounts.values()))
        multiple = next(whole, 1)
        amounts = {symbol: multiple * n for symbol, n in amounts.items()}
    return _text({s: amounts[s] for s in sorted(amounts, key=_electronegativity)})


def _text(amounts: dict[str, float]) -> str:
    for (centre, ligand), n in POLYANIONS.items():
        number = amounts.get(centre, 0.0)
        if _is_whole(number) and round(number) > 1 and ligand in amounts:
            if abs(amounts[ligand] - n * number) > WHOLE:
                continue
            group = f"({centre}{ligand}{_number(n)}){round(number)}"
            parts = {s: f"{s}{_number(a)}" for s, a in amounts.items() if s != centre}
            return "".join((parts | {ligand: group}).values())
    return "".join(f"{s}{_number(a)}" for s, a in amounts.items())


@lru_cache(maxsize=256)
def _electronegativity(symbol: str) -> tuple[float, str]:
    from pymatgen.core import Element

    value = float(Element(symbol).X) if symbol in Element.__members__ else math.nan
    return (value if math.isfinite(value) else 10.0, symbol)


def _is_whole(n: float) -> bool:
    return abs(n - round(n)) < WHOLE and round(n) > 0


def _number(n: float) -> str:
    if _is_whole(n):
        return "" if round(n) == 1 else str(round(n))
    return f"{n:.4f}".rstrip("0").rstrip(".")
