"""Mappings from YAML to frozen dataclasses, checked by pydantic.

An unknown key is answered with the nearest known one, a wrong value with one line that names the
key, what was expected and what was given. Pydantic is imported when there is something to check.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import PurePath
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

T = TypeVar("T")

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""That of libyaml, ten times as fast, where PyYAML was built with it."""


class ConfigurationError(ValueError):
    """A setting that cannot be understood; the message names it and what was expected."""


EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping of settings",
    "finite_number": "a finite number",
    "too_short": "at least {min_length}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
    "literal_error": "{expected}",
}
"""Kind of error of pydantic -> what was expected, with what pydantic says of it."""


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
    """Build a frozen dataclass from a mapping, recursively; pydantic checks every value.

    Args:
        cls: The dataclass; its annotations say what is allowed.
        data: What the YAML file holds at this place.
        where: Dotted path of the place, for messages.

    Raises:
        ConfigurationError: Unknown key, missing key, or a value that is not allowed.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    strict = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    try:  # as JSON, in which a list is a tuple's only form and a mapping a dataclass's
        text = json.dumps({where: data}, default=_as_text)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{where}: expected texts and numbers ({error})") from None
    try:
        return TypeAdapter(dict[str, cls], config=strict).validate_json(text)[where]  # type: ignore[valid-type]
    except ValidationError as error:
        problems = error.errors(include_url=False)
    unknown = [problem for problem in problems if problem["type"] == "unexpected_keyword_argument"]
    raise ConfigurationError(_in_one_line(cls, (unknown or problems)[0]))


def _in_one_line(cls: type, problem: Mapping[str, Any]) -> str:
    """The key, what was expected there and what was given; or the nearest known key."""
    place, kind = problem["loc"], problem["type"]
    if kind in ("unexpected_keyword_argument", "missing"):
        *place, name = place
    where = "".join(f"[{p}]" if isinstance(p, int) else f": {p}" for p in place)[2:]
    if kind == "missing":
        return f"{where}: key '{name}' is missing"
    if kind == "unexpected_keyword_argument":
        inside: Any = cls
        for key in place[1:]:
            if isinstance(key, str):
                inside = settings_in(get_type_hints(inside)[key])
        known = [field.name for field in dataclasses.fields(inside)]
        return f"{where}: unknown key '{name}'; {nearest(name, known)}"
    if kind == "value_error":
        return f"{where}: {problem['ctx']['error']}"
    context = problem.get("ctx", {})
    expected = EXPECTED[kind].format(**context) if kind in EXPECTED else problem["msg"]
    if kind == "literal_error":
        expected = expected.replace("'", "").replace(", ", " | ").replace(" or ", " | ")
    return f"{where}: expected {expected}, got {_shown(problem['input'])}"


def settings_in(hint: Any) -> Any:
    """The dataclass that an annotation holds, as it is, as an option or in a list; else None."""
    if dataclasses.is_dataclass(hint):
        return hint
    return next(filter(None, map(settings_in, get_args(hint))), None)


def _as_text(value: Any) -> str:
    """A date as YAML has it, or a path."""
    if isinstance(value, date | PurePath):
        return str(value)
    raise TypeError(f"got {_shown(value)}")


def _shown(value: Any) -> str:
    """A value and its type, short enough for one line."""
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"
