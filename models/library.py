"""The shipped models, by name; any model folder, by path."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from models.baselines import BASELINES
from models.checkpoint import CONFIG, IncompatibleModelError, load_model
from models.conductivity import ConductivityTrees
from models.encoder import HopEncoder
from models.ensemble import HopEnsemble

LIBRARY = Path(__file__).parent / "library"
KINDS: dict[str, Any] = {
    HopEnsemble.kind: HopEnsemble,
    HopEncoder.kind: HopEncoder,
    ConductivityTrees.kind: ConductivityTrees,
    **BASELINES,
}
DEFAULTS = {"migration_barrier": "hop-barrier", "conductivity": "conductivity-trees"}
"""The best shipped model for each quantity."""


def names() -> list[str]:
    """Names of the shipped models, sorted."""
    return sorted(path.parent.name for path in LIBRARY.glob(f"*/{CONFIG}"))


def find(name: str | Path) -> Path:
    """Folder of a model.

    Args:
        name: A shipped model's name or the path of a model folder.

    Raises:
        IncompatibleModelError: Neither; the message names the shipped models and the nearest.
    """
    if (LIBRARY / str(name) / CONFIG).is_file():
        return LIBRARY / str(name)
    folder = Path(name)
    if folder.is_dir():
        return folder
    near = difflib.get_close_matches(str(name), names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise IncompatibleModelError(
        f"unknown model {str(name)!r}: {hint}shipped models are {', '.join(names()) or 'none'}; "
        "a path to a model folder works, too"
    )


def load(name: str | Path) -> Any:
    """A fitted model by shipped name or folder.

    Raises:
        IncompatibleModelError: Unknown name, missing or altered file, unknown kind.
    """
    folder = find(name)
    _, config, _ = load_model(folder)
    kind = config.get("kind")
    if kind not in KINDS:
        raise IncompatibleModelError(
            f"{folder / CONFIG}: unknown kind {kind!r}; known: {', '.join(KINDS)}"
        )
    return KINDS[kind].load(folder)


def card(name: str | Path) -> dict[str, Any]:
    """The card of a model: what it predicts, from what, how well, under which licence."""
    return load_model(find(name))[2]
