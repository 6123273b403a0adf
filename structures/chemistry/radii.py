"""Ionic radii: Shannon, Acta Cryst. A 32, 751 (1976), as tabulated by pymatgen."""

from __future__ import annotations

from functools import lru_cache

from pymatgen.core import Element

_COORDINATION = {"I": 1, "II": 2, "III": 3, "IIIPY": 3, "IV": 4, "IVPY": 4, "IVSQ": 4, "V": 5,
                 "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "X": 10, "XI": 11, "XII": 12,
                 "XIV": 14}  # fmt: skip

_LOW_SPIN = {("Co", 3), ("Co", 4), ("Ni", 3), ("Ni", 4)}
"""Ions that are low spin in nearly all oxides; the others are taken as high spin."""


@lru_cache(maxsize=4096)
def ionic_radius(symbol: str, state: float, coordination: int = 6) -> float | None:
    """Shannon's effective ionic radius in angstrom.

    Args:
        symbol: Element symbol.
        state: Oxidation state; an average is interpolated between the tabulated states around it.
        coordination: Coordination number; the nearest tabulated one is taken.

    Returns:
        The radius (of the usual spin state where both are tabulated), or None where no state of
        the same sign within one unit is tabulated.
    """
    table = Element(symbol).data.get("Shannon radii") or {}
    radii = {
        int(q): _at_coordination(sites, coordination, (symbol, int(q)) in _LOW_SPIN)
        for q, sites in table.items()
        if q  # some elements have a row without a state
    }
    below = [q for q in radii if q <= state and q * state > 0]
    above = [q for q in radii if q >= state and q * state > 0]
    if below and above:
        low, high = max(below), min(above)
        if low == high:
            return radii[low]
        weight = (state - low) / (high - low)
        return (1 - weight) * radii[low] + weight * radii[high]
    nearest = max(below) if below else min(above) if above else None
    return radii[nearest] if nearest is not None and abs(nearest - state) <= 1 else None


def _at_coordination(
    sites: dict[str, dict[str, dict[str, float]]], coordination: int, low_spin: bool
) -> float:
    label = min(sites, key=lambda k: (abs(_COORDINATION[k] - coordination), len(k)))
    spins = sites[label]
    usual = "Low Spin" if low_spin else "High Spin"
    spin = usual if usual in spins else next(iter(spins))
    return float(spins[spin]["ionic_radius"])
