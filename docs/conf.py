"""The documentation site: ``make docs`` builds it into ``docs/_build/html``, without a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ionbridge import __version__
from ionbridge.screening.campaign.campaign_template import explained_keys
from ionbridge.screening.campaign.settings import CampaignSettings
from ionbridge.screening.table import COLUMN_MEANINGS
from ionbridge.structures.configuration import settings_in
from ionbridge.structures.quantities import unit_of

HERE = Path(__file__).parent

project = "IonBridge"
author = "The IonBridge authors"
copyright = "the IonBridge authors, MIT licence"
release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "IonBridge"
html_show_sourcelink = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = True


def campaign_keys() -> Iterator[str]:
    """Every key of a campaign file, as the settings explain it."""
    yield "# Campaign file: every key\n"
    yield "`ionbridge init campaign.yaml` writes a file with all of these and their defaults.\n"
    yield from _settings(CampaignSettings, "")


def _settings(settings: type, prefix: str) -> Iterator[str]:
    nested = []
    yield "| key | default | what it does |\n|---|---|---|"
    for name, about, hint, default in explained_keys(settings):
        shown = "" if default is None or dataclasses.is_dataclass(default) else f"`{default}`"
        shown = "required" if default is dataclasses.MISSING else shown
        yield f"| `{prefix}{name}` | {shown} | {about} |"
        nested += [(name, hint)]
    yield ""
    for name, hint in nested:
        inner = settings_in(hint)
        if inner is not None:
            yield f"## {prefix}{name}\n"
            yield from _settings(inner, f"{prefix}{name}.")


def columns() -> Iterator[str]:
    """Every column of the ranked table."""
    yield "# Columns of `ranked.csv`\n"
    yield "`predict` on crystals writes the same ones after `id`. `_std` is one standard deviation,"
    yield "`_q05` and `_q95` bound the 90 % interval; `log10_` columns and their spreads are in"
    yield "decades. A value that is not known is empty.\n"
    yield "| column | unit | meaning |\n|---|---|---|"
    for name, meaning in COLUMN_MEANINGS.items():
        yield f"| `{name}` | {unit_of(name)} | {meaning} |"


def setup(app: Any) -> None:
    """Write the generated pages before the others are read."""
    folder = HERE / "_generated"
    folder.mkdir(exist_ok=True)
    for name, lines in (("campaign_keys", campaign_keys()), ("columns", columns())):
        (folder / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
