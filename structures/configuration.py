"""Mappings from YAML to frozen dataclasses, checked key by key.

An unknown key is answered with the nearest known one, a wrong type with one line that names the
key, what was expected and what was given.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""That of libyaml, ten times as fast, where PyYAML was built with it."""


class ConfigurationError(ValueError):
    """A setting that cannot be understood; the message names it and what was expected."""


_TYPE_NAMES = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}


def plain_yaml(text: str) -> Any:
    """The values in a YAML text: mappings, lists, texts and numbers.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    return yaml.load(text, Loader=_Loader)


def nearest(name: str, known: Sequence[str]) -> str:
    """``did you mean 'x'?`` for the closest known name, or the list of all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(sorted(known))


def from_mapping(cls: type[T], data: Any, where: str) -> T:
    """Build a frozen dataclass from a mapping, recursively.

    Args:
        cls: The dataclass.
        data: What the YAML file holds at this place.
        where: Dotted path of the place, for messages.

    Raises:
        ConfigurationError: Unknown key, missing key or wrong type.
    """
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"{where}: expected a mapping of settings, got {_shown(data)}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    for key in data:
        if key not in fields:
            raise ConfigurationError(
                f"{where}: unknown key '{key}'; {nearest(str(key), list(fields))}"
            )
    values = {k: _checked(hints[k], v, f"{where}: {k}") for k, v in data.items()}
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise ConfigurationError(f"{where}: key '{name}' is missing")
    return cls(**values)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value as the annotated type, or a ConfigurationError that names the place."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        return _checked(next(a for a in get_args(hint) if a is not type(None)), value, where)
    if origin is Literal:
        if value not in get_args(hint):
            choices = " | ".join(map(str, get_args(hint)))
            raise ConfigurationError(f"{where}: expected {choices}, got {_shown(value)}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigurationError(f"{where}: expected a list, got {_shown(value)}")
        element = get_args(hint)[0]
        return tuple(_checked(element, v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ConfigurationError(f"{where}: expected a mapping, got {_shown(value)}")
        element = get_args(hint)[1]
        return {
            k: v if element is Any else _checked(element, v, f"{where}: {k}")
            for k, v in value.items()
        }
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return from_mapping(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ConfigurationError(f"{where}: expected {_TYPE_NAMES[hint]}, got {_shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{where}: expected a finite number, got {value}")
    return value


def _shown(value: Any) -> str:
    """A value and its type, short enough for one line."""
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"
