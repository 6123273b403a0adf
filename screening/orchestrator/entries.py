"""The catalogue as it is here and now: formulas, learnt models, potentials and simulations."""

from __future__ import annotations

from ionbridge.screening.orchestrator.adapted import adapted_entries
from ionbridge.screening.orchestrator.adapted_diffusivity import adapted_diffusivity_entry
from ionbridge.screening.orchestrator.application import application_entries
from ionbridge.screening.orchestrator.catalogue import Catalogue
from ionbridge.screening.orchestrator.cells import cell_entries
from ionbridge.screening.orchestrator.foreign import foreign_entries
from ionbridge.screening.orchestrator.formulas import formula_entries
from ionbridge.screening.orchestrator.manufacture import manufacture_entries
from ionbridge.screening.orchestrator.potentials import potential_entries
from ionbridge.screening.orchestrator.trained import trained_entries


def default_catalogue() -> Catalogue:
    """Everything built in, shipped, and in the user's library.

    Raises:
        IncompatibleModelError: Two models have one name.
        InputError: A model has the name of a built-in entry.
    """
    trained, broken = trained_entries()
    foreign, unusable = foreign_entries()
    return Catalogue(
        (
            *formula_entries(),
            *trained,
            *adapted_entries(),
            adapted_diffusivity_entry(),
            *potential_entries(),
            *manufacture_entries(),
            *cell_entries(),
            *application_entries(),
            *foreign,
        ),
        (*broken, *unusable),
    )
