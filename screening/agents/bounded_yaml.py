"""YAML of clients: plain values only, and not many, also after aliases are resolved."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import yaml

from ionbridge.screening.errors import InputError

MOST_VALUES = 10_000
DEEPEST = 40
STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def plain_mapping(content: bytes, name: str) -> dict[str, Any]:
    """A mapping of plain values; no tag of YAML makes an object of anything else.

    Args:
        content: Text of the file.
        name: Of the file, for messages.

    Raises:
        InputError: No YAML, no mapping, nested too deeply, or too many values.
    """
    depths = accumulate(STEPS[byte] for byte in content if byte in STEPS)
    if max(depths, default=0) > DEEPEST:  # the parser would take seconds to give up
        raise InputError(f"{name}: nested more than {DEEPEST} deep")
    try:
        data = yaml.safe_load(content.decode("utf-8"))
        n_values = _count(data, MOST_VALUES)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: no readable YAML ({line})") from None
    if not isinstance(data, dict) or n_values > MOST_VALUES:
        raise InputError(f"{name}: expected a mapping of at most {MOST_VALUES} values")
    return data


def _count(value: Any, most: int) -> int:
    """Number of values in nested lists and mappings, counted no further than a bound."""
    if not isinstance(value, list | dict):
        return 1
    n = 1
    for child in value.values() if isinstance(value, dict) else value:
        n += _count(child, most - n)
        if n > most:
            break
    return n
