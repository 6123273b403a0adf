"""The catalogue as it is here and now: formulas, learnt models, potentials and simulations."""

from __future__ import annotations

import os
from pathlib import Path

from ionbridge.screening.planning.adapted import adapted_entries
from ionbridge.screening.planning.adapted_diffusivity import adapted_diffusivity_entry
from ionbridge.screening.planning.application import application_entries
from ionbridge.screening.planning.catalogue import Catalogue, Entry
from ionbridge.screening.planning.cells import cell_entries
from ionbridge.screening.planning.fitted_cells import fitted_entries
from ionbridge.screening.planning.formulas import formula_entries
from ionbridge.screening.planning.manufacture import manufacture_entries
from ionbridge.screening.planning.potentials import potential_entries
from ionbridge.screening.planning.trained import trained_entries

ADAPTERS_VARIABLE = "IONBRIDGE_ADAPTERS"
USUAL_ADAPTERS = "~/.ionbridge/adapters"
ADAPTER = "adapter.yaml"


def default_catalogue() -> Catalogue:
    """Everything built in, shipped, and in the user's library.

    Raises:
        IncompatibleModelError: Two models have one name.
        InputError: A model has the name of a built-in entry.
    """
    trained, broken = trained_entries()
    foreign, unusable = _foreign_entries(adapter_folders())
    return Catalogue(
        (
            *formula_entries(),
            *trained,
            *adapted_entries(),
            adapted_diffusivity_entry(),
            *potential_entries(),
            *manufacture_entries(),
            *cell_entries(),
            *fitted_entries(),
            *application_entries(),
            *foreign,
        ),
        (*broken, *unusable),
    )


def adapter_folders() -> list[Path]:
    """Folders that hold an adapter of a model of others, those of the user alone."""
    stated = os.environ.get(ADAPTERS_VARIABLE) or USUAL_ADAPTERS
    roots = [Path(part).expanduser() for part in stated.split(os.pathsep) if part]
    return [path.parent for root in roots for path in sorted(root.glob(f"*/{ADAPTER}"))]


def _foreign_entries(folders: list[Path]) -> tuple[list[Entry], list[tuple[str, str]]]:
    if not folders:  # what checks them takes a while to import
        return [], []
    from ionbridge.screening.planning.foreign import foreign_entries

    return foreign_entries(folders)
