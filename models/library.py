"""Models by name: those that come with the package and the user's own; any model folder, by path.

The user's own lie in the folders of the environment variable ``IONBRIDGE_LIBRARY`` (several are
divided like ``PATH``), by default in ``~/.ionbridge/models``, one folder a model. An installed
package adds models by entry points of the group ``ionbridge.models``: the name of the entry point
is the model's name, and what it loads is the path of its folder, or a function that gives it.
"""

from __future__ import annotations

import difflib
import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import yaml

from ionbridge.models.ageing_rom import AgeingRom
from ionbridge.models.baselines import BASELINES
from ionbridge.models.cell_discrepancy import CellDiscrepancy
from ionbridge.models.cell_rom import CellRom
from ionbridge.models.checkpoint import CARD, CONFIG, IncompatibleModelError, load_model
from ionbridge.models.conduction_estimate import ConductionEstimate
from ionbridge.models.conductivity import ConductivityTrees
from ionbridge.models.cycle_life import CycleLife
from ionbridge.models.diffusivity import DiffusivityProcess
from ionbridge.models.encoder import HopEncoder
from ionbridge.models.ensemble import HopEnsemble
from ionbridge.models.few_label_conductivity import FewLabelConductivity
from ionbridge.models.few_label_model import FewLabelModel
from ionbridge.models.physics_fed import PhysicsFed
from ionbridge.models.property_trees import PropertyTrees

LIBRARY = Path(__file__).parent / "library"
LIBRARY_VARIABLE = "IONBRIDGE_LIBRARY"
ENTRY_POINTS = "ionbridge.models"
KINDS: dict[str, Any] = {
    HopEnsemble.kind: HopEnsemble,
    HopEncoder.kind: HopEncoder,
    ConductivityTrees.kind: ConductivityTrees,
    ConductionEstimate.kind: ConductionEstimate,
    CellRom.kind: CellRom,
    CellDiscrepancy.kind: CellDiscrepancy,
    PropertyTrees.kind: PropertyTrees,
    FewLabelModel.kind: FewLabelModel,
    PhysicsFed.kind: PhysicsFed,
    FewLabelConductivity.kind: FewLabelConductivity,
    AgeingRom.kind: AgeingRom,
    CycleLife.kind: CycleLife,
    DiffusivityProcess.kind: DiffusivityProcess,
    **BASELINES,
}
DEFAULTS = {
    "migration_barrier": "hop-barrier",
    "conductivity": "conductivity-trees",
    "conduction": "conduction-estimate",
}
"""The best shipped model for each quantity."""


def user_libraries() -> tuple[Path, ...]:
    """Folders with the user's own models, whether they exist or not; new ones go to the first."""
    stated = os.environ.get(LIBRARY_VARIABLE, "")
    folders = [Path(part).expanduser() for part in stated.split(os.pathsep) if part]
    return tuple(folders) or (Path.home() / ".ionbridge" / "models",)


def folders() -> dict[str, tuple[Path, ...]]:
    """Every model's name and the folders that claim it: one, unless names clash."""
    found: dict[str, list[Path]] = {}
    for library in (LIBRARY, *user_libraries()):
        for path in sorted(library.glob(f"*/{CONFIG}")):
            found.setdefault(path.parent.name, []).append(path.parent)
    for point in entry_points(group=ENTRY_POINTS):
        found.setdefault(point.name, []).append(_folder_of(point))
    return {name: tuple(dict.fromkeys(p.resolve() for p in found[name])) for name in sorted(found)}


def _folder_of(point: Any) -> Path:
    try:
        value = point.load()
        return Path(value() if callable(value) else value)
    except Exception as error:  # code of another package
        raise IncompatibleModelError(
            f"entry point {point.name!r} of {ENTRY_POINTS} ({point.value}) gives no model folder "
            f"({type(error).__name__}: {error})"
        ) from error


def names() -> list[str]:
    """Names of all models, sorted.

    Raises:
        IncompatibleModelError: Two folders claim one name.
    """
    known = folders()
    for name in known:
        _only(name, known)
    return list(known)


def _only(name: str, known: dict[str, tuple[Path, ...]]) -> Path:
    if len(known[name]) > 1:
        raise IncompatibleModelError(
            f"several models are called {name!r}: {', '.join(map(str, known[name]))}; rename or "
            "remove all but one"
        )
    return known[name][0]


def find(name: str | Path) -> Path:
    """Folder of a model.

    Args:
        name: Name of a shipped or user's model, or the path of a model folder.

    Raises:
        IncompatibleModelError: Neither, or several; the message names the known ones.
    """
    known = folders()
    if str(name) in known:
        return _only(str(name), known)
    folder = Path(name)
    if folder.is_dir():
        return folder
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise IncompatibleModelError(
        f"unknown model {str(name)!r}: {hint}known models are {', '.join(known) or 'none'}; "
        "a path to a model folder works, too"
    )


def load(name: str | Path) -> Any:
    """A fitted model by name or folder.

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
    """The card of a model: what it predicts, from what, how well, under which licence.

    Raises:
        IncompatibleModelError: Unknown name, missing or altered file.
    """
    return load_model(find(name))[2]


def read_card(folder: Path) -> dict[str, Any]:
    """The card in a model folder, its weights neither read nor checked.

    Raises:
        IncompatibleModelError: The card is missing or no mapping.
    """
    try:
        value = yaml.safe_load((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise IncompatibleModelError(f"{folder / CARD}: cannot be read ({first})") from None
    if not isinstance(value, dict):
        raise IncompatibleModelError(f"{folder / CARD}: holds no card")
    return value
