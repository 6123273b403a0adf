"""Temperatures at which a solid conducts: what may be asked for."""

from __future__ import annotations

from collections.abc import Sequence

from ionbridge.screening.errors import InputError

HOTTEST_K = 4500.0
"""No solid is known to stand more: carbides and nitrides of hafnium and tantalum melt below."""


def check_temperature(kelvin: float) -> None:
    """Refuse a temperature at which there is no solid.

    Raises:
        InputError: It is not above 0 K, or above HOTTEST_K.
    """
    if not 0 < kelvin <= HOTTEST_K:
        raise InputError(
            f"a temperature lies above 0 K and is {HOTTEST_K:g} K at most, where no solid is left, "
            f"not {kelvin:g} K"
        )


def check_temperatures(temperatures_K: Sequence[float]) -> None:
    """Refuse temperatures that cannot be simulated one by one.

    Raises:
        InputError: There is no solid at one of them, or one stands there twice.
    """
    for k, kelvin in enumerate(temperatures_K):
        check_temperature(kelvin)
        if kelvin in temperatures_K[:k]:
            raise InputError(f"the temperature {kelvin:g} K stands there twice")
