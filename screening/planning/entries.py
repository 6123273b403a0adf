"""The catalogue as it is here and now: formulas, learnt models, potentials and simulations."""

from __future__ import annotations

from pathlib import Path

from ionbridge.screening.planning.adapted import adapted_entries
from ionbridge.screening.planning.application import application_entries
from ionbridge.screening.planning.catalogue import Catalogue, Entry
from ionbridge.screening.planning.cells import cell_entries
from ionbridge.screening.planning.fitted_cells import fitted_entries
from ionbridge.screening.planning.formulas import formula_entries
from ionbridge.screening.planning.manufacture import manufacture_entries
from ionbridge.screening.planning.potentials import potential_entries
from ionbridge.screening.planning.settings_files import adapter_folders
from ionbridge.screening.planning.trained import trained_entries


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
            *potential_entries(),
            *manufacture_entries(),
            *cell_entries(),
            *fitted_entries(),
            *application_entries(),
            *foreign,
        ),
        (*broken, *unusable),
    )


def _foreign_entries(folders: list[Path]) -> tuple[list[Entry], list[tuple[str, str]]]:
    if not folders:  # what checks them takes a while to import
        return [], []
    from ionbridge.screening.planning.foreign import foreign_entries

    return foreign_entries(folders)
