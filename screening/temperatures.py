"""Temperatures at which ions move in solids: what may be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from ionbridge.screening.errors import InputError

COLDEST_K = 50.0
"""Below, no ion is seen to hop in a solid, and predictions are off by hundreds of decades."""
HOTTEST_K = 4500.0
"""No solid is known to stand more: carbides and nitrides of hafnium and tantalum melt below."""


def check_temperature(kelvin: float) -> None:
    """Refuse a temperature at which no ions move in a solid.

    Raises:
        InputError: It is below COLDEST_K or above HOTTEST_K, or no number.
    """
    if not isinstance(kelvin, Real):
        raise InputError(f"temperature: expected a number of kelvin, got {kelvin!r}")
    if not COLDEST_K <= kelvin <= HOTTEST_K:
        raise InputError(
            f"a temperature is {COLDEST_K:g} to {HOTTEST_K:g} K, where ions move in solids, "
            f"not {kelvin:g} K"
        )


def check_temperatures(temperatures_K: Sequence[float]) -> None:
    """Refuse temperatures that cannot be simulated one by one.

    Raises:
        InputError: No ions move in solids at one of them, or one stands there twice.
    """
    for k, kelvin in enumerate(temperatures_K):
        check_temperature(kelvin)
        if kelvin in temperatures_K[:k]:
            raise InputError(f"the temperature {kelvin:g} K stands there twice")
