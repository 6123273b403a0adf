"""Loops compiled for the processor that they run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
"""Both make less to compile: no test before a division, no entry for C."""


def compiled(function: F) -> F:
    """The function in machine code, made at its first call and kept on disk for the next process.

    Where no folder can be written (a read-only installation without a home) every process makes
    its own.
    """
    try:
        return cast(F, numba.njit(cache=True, **_OPTIONS)(function))
    except RuntimeError:
        return cast(F, numba.njit(**_OPTIONS)(function))
