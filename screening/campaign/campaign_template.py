"""A commented campaign file: every key with its default, explained by the settings themselves."""

from __future__ import annotations

import dataclasses
import re
import textwrap
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ionbridge.screening.campaign.settings import CampaignSettings

WIDTH = 96
START = """\
# A campaign of IonBridge. Lines that begin with "# " and a key show the default: take the mark
# away to change it.    ionbridge screen THIS_FILE --out results/mine    (--dry-run tells the cost)
"""
GIVEN = {
    "name": "my-campaign",
    "working_ions": "[Li, Na]",
    "temperature_K": "300",
    "candidates": "\n  references: true\n  prototypes: {families: [], max_count: 200}\n  files: []",
    "rank_by": "lcb",
}
"""Keys that the file sets; all others are shown."""


def campaign_template() -> str:
    """The text of the file; as it stands it is a campaign that runs."""
    lines = [START]
    for name, about, hint, default in explained_keys(CampaignSettings):
        lines += _comment(about)
        nested = _settings_of(hint)
        if name in GIVEN:
            lines.append(f"{name}: {GIVEN[name]}".replace(": \n", ":\n"))
        elif nested is None:
            lines.append(f"# {name}: {_yaml(default)}")
        else:
            lines.append(f"# {name}:")
        if nested is not None:
            for key, text, own_hint, value in explained_keys(nested):
                lines += _comment(f"{key}: {text}{_choices(own_hint)}", "    ")
                if name not in GIVEN:
                    lines.append(f"#   {key}: {_yaml(value)}")
        lines.append("")
    return "\n".join(lines)


def explained_keys(settings: type) -> Iterator[tuple[str, str, Any, Any]]:
    """Name, explanation, type and default of every key."""
    about = _explanations(settings.__doc__ or "")
    hints = get_type_hints(settings)
    for field in dataclasses.fields(settings):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        yield field.name, about.get(field.name, ""), hints[field.name], default


def _explanations(docstring: str) -> dict[str, str]:
    """The entries below ``Attributes:`` of a docstring, each as one paragraph."""
    _, _, text = docstring.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(text).splitlines():
        entry = re.match(r"(\w+): (.*)", line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif line.strip() and name:
            found[name] += " " + line.strip()
    return {k: v.replace("``", "") for k, v in found.items()}


def _comment(text: str, indent: str = "") -> list[str]:
    start = f"#{indent} "
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start) if text else []


def _settings_of(hint: Any) -> type | None:
    """The settings class of a key that holds further keys."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((o for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)), None)


def _choices(hint: Any) -> str:
    """The words that a key takes."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    words = [w for o in options if get_origin(o) is Literal for w in get_args(o)]
    return f" One of {', '.join(map(str, words))}." if words else ""


def _yaml(value: Any) -> str:
    """A default as YAML."""
    if value is None or value is dataclasses.MISSING or dataclasses.is_dataclass(value):
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    return "{}" if value == {} else str(value)
