"""What agents may say to ``screen``: a campaign as people write it, each key in narrower bounds.

Keys, types, defaults and explanations are read off `CampaignSettings`; only bounds stand here. What
names code, the keyword arguments of calculators, is left out.
"""

from __future__ import annotations

import types
from dataclasses import MISSING, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Field, GetPydanticSchema, create_model
from pydantic_core.core_schema import no_info_after_validator_function

from ionbridge.screening.agents.tool_arguments import (
    Arguments,
    Cores,
    ModelName,
    Wait,
    Word,
    WorkspacePath,
)
from ionbridge.screening.campaign.campaign_template import explained_keys
from ionbridge.screening.campaign.settings import CampaignSettings
from ionbridge.screening.temperatures import COLDEST_K, HOTTEST_K
from ionbridge.structures.configuration import from_mapping

MOST_NAMES = 128
BOUNDS: dict[Any, tuple[float, float]] = {
    int: (0, 100_000),
    float: (-1e30, 1e30),
    "seed": (0, 2**31 - 1),
    "temperature_K": (COLDEST_K, HOTTEST_K),
    "attempt_frequency_THz": (0.01, 1000.0),
    "candidates.max_file_MB": (0.001, 512.0),
    "n_draws": (1, 4096),
    "time_limit_s": (1.0, 3600.0),
    "n_paths": (0, 1000),
    "active.rounds": (1, 20),
    "active.batch": (1, 100),
    "active.max_hops": (1, 100),
    "active.max_atoms": (1, 1000),
    "active.time_limit_min": (0.1, 1440.0),
    "stability.max_atoms": (1, 1000),
    "refine.n_energies": (0, 10_000),
    "refine.n_short": (0, 1000),
    "refine.n_neb": (0, 1000),
    "refine.time_budget_min": (0.1, 10_000.0),
    "refine.max_hops": (1, 100),
    "refine.max_atoms": (1, 1000),
    "cell.top_n": (1, 100),
    "cell.temperature_K": (250.0, 335.0),
}
"""Least and most of a number: by its key, else by its type."""

Calculator = Literal["chgnet", "sevennet"]
TEXTS: dict[str, Any] = {
    "candidates.files": WorkspacePath,
    "filters.known_compounds": WorkspacePath,
    "stability.references": WorkspacePath,
    "model": ModelName,
    "active.calculator": Calculator,
    "stability.calculator": Calculator,
    "refine.calculator": Calculator,
    "refine.short_calculator": Calculator,
}
"""Forms of texts that are more than a word."""


def narrowed(settings: type, place: str = "") -> type[Arguments]:
    """The arguments that agents give for a dataclass of settings.

    Args:
        settings: The dataclass.
        place: Its own key and a dot; empty for the whole campaign.
    """
    hints = get_type_hints(settings, include_extras=True)
    keys: dict[str, Any] = {}
    for name, about, plain, default in explained_keys(settings):
        if get_origin(plain) is dict:
            continue
        kind = _narrowed(hints[name], f"{place}{name}")
        shown: dict[str, Any] = {"default": ... if default is MISSING else default}
        if isinstance(default, tuple):
            shown = {"default_factory": list}
            about += f" Default: {', '.join(map(str, default))}." if default else ""
        elif is_dataclass(default):
            shown = {"default_factory": kind}
        keys[name] = (kind, Field(description=about or None, **shown))
    about = (settings.__doc__ or "").partition("\n\n")[0]
    return create_model(settings.__name__, __base__=Arguments, __doc__=about, **keys)


def _narrowed(hint: Any, key: str) -> Any:
    """The type that agents may give for an annotation of the settings."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[_narrowed(parts[0], key), *parts[1:]]
    if origin in (Union, types.UnionType):
        return _narrowed(next(part for part in parts if part is not type(None)), key) | None
    if origin is tuple:
        return Annotated[list[_narrowed(parts[0], key)], Field(max_length=MOST_NAMES)]  # type: ignore[misc]
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return narrowed(hint, f"{key}.")
    if hint is str:
        return TEXTS.get(key, Word)
    if origin is Literal or hint is bool:
        return hint
    least, most = BOUNDS.get(key, BOUNDS[hint])
    return Annotated[hint, Field(ge=least, le=most)]


def _settings(given: Arguments) -> CampaignSettings:
    return from_mapping(CampaignSettings, given.model_dump(exclude_unset=True), "settings")


CampaignArguments = narrowed(CampaignSettings)
Campaign = Annotated[
    CampaignSettings,
    GetPydanticSchema(
        lambda _, handler: no_info_after_validator_function(_settings, handler(CampaignArguments))
    ),
]


class Screen(Arguments):
    """A campaign, as settings or as a campaign file; exactly one of the two."""

    campaign: Campaign | None = None
    campaign_file: WorkspacePath | None = Field(
        default=None, description="YAML with the same keys; paths in it are relative to it"
    )
    limit: int | None = Field(
        default=None, ge=1, le=1_000_000, description="only the first N candidates"
    )
    cores: Cores = 1
    wait_s: Wait = 20.0
