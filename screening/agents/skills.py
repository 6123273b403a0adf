"""How to work with the tools, in pages that come with the package: ``skills/<name>/SKILL.md``.

Clients of the server get them as prompts and as resources, any language model through the tool
``read_skill``. A page begins with its name and with when to use it, and ends with a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent / "skills"
PAGE = "SKILL.md"
_FENCE = "---\n"


@dataclass(frozen=True)
class Skill:
    """One page.

    Attributes:
        name: As it is asked for.
        description: What it is for, and when to use it.
        text: The page itself, Markdown.
    """

    name: str
    description: str
    text: str


@cache
def skills() -> dict[str, Skill]:
    """All of them by name."""
    found = {}
    for page in sorted(FOLDER.glob(f"*/{PAGE}")):
        _, head, text = page.read_text(encoding="utf-8").split(_FENCE, 2)
        about = yaml.safe_load(head)
        found[about["name"]] = Skill(about["name"], about["description"], text.strip() + "\n")
    return found
