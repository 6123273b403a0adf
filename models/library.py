"""Models by name: those that come with the package and the user's own; any model folder, by path.

The user's own lie in the folders of the environment variable ``IONBRIDGE_LIBRARY`` (several are
divided like ``PATH``), by default in ``~/.ionbridge/models``, one folder a model. An installed
package adds models by entry points of the group ``ionbridge.models``: the name of the entry point
is the model's name, and what it loads is the path of its folder, or a function that gives it.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from ionbridge.models.checkpoint import (
    CARD,
    CONFIG,
    IncompatibleModelError,
    belonging_together,
    read_mapping,
    read_model,
)
from ionbridge.structures.worker_server import in_worker

LIBRARY = Path(__file__).parent / "library"
LIBRARY_VARIABLE = "IONBRIDGE_LIBRARY"
ENTRY_POINTS = "ionbridge.models"


class _Kinds(Mapping[str, Any]):
    """Classes by the kind that a model folder names; imported, and with it torch, when asked for.

    Args:
        homes: The module of ``ionbridge.models`` and the class of each.
    """

    def __init__(self, homes: Mapping[str, tuple[str, str]]) -> None:
        self._homes = homes

    def __getitem__(self, kind: str) -> Any:
        module, name = self._homes[kind]
        return getattr(import_module(f"ionbridge.models.{module}"), name)

    def __contains__(self, kind: object) -> bool:
        return kind in self._homes  # without importing it

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)


KINDS = _Kinds(
    {
        "hop_ensemble": ("hop_networks.ensemble", "HopEnsemble"),
        "hop_encoder": ("hop_networks.encoder", "HopEncoder"),
        "conductivity_trees": ("conductors.conductivity", "ConductivityTrees"),
        "conduction_estimate": ("conductors.conduction_estimate", "ConductionEstimate"),
        "cell_rom": ("cells.cell_rom", "CellRom"),
        "cell-discrepancy": ("cells.cell_discrepancy", "CellDiscrepancy"),
        "property_trees": ("conductors.host_properties", "PropertyTrees"),
        "physics_fed": ("barriers.hop_barrier", "HopBarrierModel"),
        "few_label_conductivity": ("adaptation.few_shot_conductivities", "FewLabelConductivity"),
        "ageing_rom": ("cells.ageing_rom", "AgeingRom"),
        "cycle_life": ("cells.cycle_life", "CycleLife"),
        "formation_life": ("cells.formation_life", "FormationLife"),
        "diffusivity_process": ("conductors.diffusivity", "DiffusivityProcess"),
        "global_mean": ("regressors.baselines", "GlobalMean"),
        "family_mean": ("regressors.baselines", "FamilyIonMean"),
        "trees": ("regressors.baselines", "ExtraTreesBaseline"),
        "bond_valence": ("regressors.baselines", "BondValenceBarrier"),
        "gaussian_process": ("regressors.gaussian_process", "GaussianProcessBaseline"),
    }
)
DEFAULTS = {
    "migration_barrier": "hop-barrier",
    "conductivity": "conductivity-trees",
    "conduction": "conduction-estimate",
}
"""The best shipped model for each quantity."""
ALIASES = {"hop-barrier-chgnet": "hop-barrier"}
"""Names that ask a shipped model for more: CHGNet's energies are computed for hops without."""


def user_libraries() -> tuple[Path, ...]:
    """Folders with the user's own models, whether they exist or not; new ones go to the first.

    Raises:
        IncompatibleModelError: A folder is of a user that does not exist.
    """
    stated = os.environ.get(LIBRARY_VARIABLE, "")
    try:
        own = [Path(part).expanduser() for part in stated.split(os.pathsep) if part]
        return tuple(own) or (Path.home() / ".ionbridge" / "models",)
    except RuntimeError as error:
        raise IncompatibleModelError(f"{LIBRARY_VARIABLE}: {stated}: {error}") from error


def folders() -> dict[str, tuple[Path, ...]]:
    """Every model's name and the folders that claim it: one, unless names clash.

    A shipped model is known by its name whatever else has it; an entry point that gives no folder
    is left out, see :func:`broken_entry_points`.
    """
    found: dict[str, list[Path]] = {}
    for library in (LIBRARY, *user_libraries()):
        for path in sorted(library.glob(f"*/{CONFIG}")):
            found.setdefault(path.parent.name, []).append(path.parent)
    for name, value in _entry_points().items():
        if isinstance(value, Path):
            found.setdefault(name, []).append(value)
    return {name: tuple(dict.fromkeys(p.resolve() for p in found[name])) for name in sorted(found)}


def broken_entry_points() -> dict[str, str]:
    """Names of entry points that give no model folder, and why."""
    return {name: value for name, value in _entry_points().items() if isinstance(value, str)}


def _entry_points() -> dict[str, Path | str]:
    """The folder that each entry point gives, or why it gives none."""
    found: dict[str, Path | str] = {}
    for point in _points(entry_points):
        try:
            value = point.load()
            found[point.name] = Path(value() if callable(value) else value)
        except Exception as error:  # code of another package
            why = " ".join(f"{type(error).__name__}: {error}".split())
            found[point.name] = (
                f"entry point {point.name!r} of {ENTRY_POINTS} ({point.value}) gives no model "
                f"folder ({why})"
            )
    return found


@lru_cache(maxsize=1)
def _points(scan: Callable[..., Iterable[EntryPoint]]) -> tuple[EntryPoint, ...]:
    """The entry points, looked for once a process: every installed distribution is opened."""
    return tuple(scan(group=ENTRY_POINTS))


def names() -> list[str]:
    """Names of all models, sorted; one that several folders claim is among them."""
    return list(folders())


def only(name: str, known: Mapping[str, tuple[Path, ...]]) -> Path:
    """The folder of a name: the shipped one where there is one, which is then said once.

    Args:
        name: Of a model that is known.
        known: Names and folders, of :func:`folders`.

    Raises:
        IncompatibleModelError: Several folders claim the name, none of them shipped.
    """
    first, *others = known[name]
    if not others:
        return first
    if first.parent == LIBRARY.resolve():
        _say_hidden(name, others[0])
        return first
    raise IncompatibleModelError(
        f"several models are called {name!r}: {', '.join(map(str, known[name]))}; rename or "
        "remove all but one, or name one by its path"
    )


@lru_cache(maxsize=64)
def _say_hidden(name: str, other: Path) -> None:
    if not in_worker():
        print(
            f"ionbridge: {name} is the shipped model; {other} has the same name and is reached by "
            "its path",
            file=sys.stderr,
        )


def find(name: str | Path) -> Path:
    """Folder of a model.

    Args:
        name: Name of a shipped or user's model, or the path of a model folder.

    Raises:
        IncompatibleModelError: Neither, or several; the message names the known ones.
    """
    known = folders()
    name = ALIASES.get(str(name), name)
    if str(name) in known:
        return only(str(name), known)
    folder = Path(name)
    if folder.is_dir():
        return folder
    if (why := broken_entry_points().get(str(name))) is not None:
        raise IncompatibleModelError(why)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise IncompatibleModelError(
        f"unknown model {str(name)!r}: {hint}known models are {', '.join(known) or 'none'}; "
        "a path to a model folder works, too"
    )


def load(name: str | Path) -> Any:
    """A fitted model by name or folder.

    Raises:
        IncompatibleModelError: Unknown name, missing or altered file, unknown kind, settings and
            weights that do not belong together.
    """
    folder = find(name)
    stored = read_model(folder)
    kind = stored.config.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise IncompatibleModelError(
            f"{folder / CONFIG}: unknown kind {str(kind)[:60]!r}; known: {', '.join(KINDS)}"
        )
    model = KINDS[kind].of_stored(folder, stored)
    if LIBRARY.resolve() not in folder.resolve().parents:
        from ionbridge.models.trial import try_model  # brings torch, as the model does

        with belonging_together(folder, kind):
            try_model(model)
    if str(name) in ALIASES:
        model.asks_for_profile = True
    return model


def card(name: str | Path) -> dict[str, Any]:
    """The card of a model: what it predicts, from what, how well, under which licence.

    Raises:
        IncompatibleModelError: Unknown name, missing or altered file.
    """
    return read_model(find(name)).card


def read_card(folder: Path) -> dict[str, Any]:
    """The card in a model folder, its weights neither read nor checked.

    Raises:
        IncompatibleModelError: The card is missing or no mapping.
    """
    return read_mapping(folder / CARD)
