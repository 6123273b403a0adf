"""Energy above the convex hull of a candidate: the record's own, else by a potential against
references that the user names, else by the shipped model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ionbridge.models.conductors.host_properties import PropertyTrees
from ionbridge.models.library import find
from ionbridge.screening.prediction.reference_hull import ReferenceHull
from ionbridge.structures.bond_valence.bond_sums import bond_valences
from ionbridge.structures.features.conductor_descriptors import table_row
from ionbridge.structures.quantities import QUANTITIES
from ionbridge.structures.records import Crystal, UnusableStructureError

MODEL = "energy-above-hull"
HULL = QUANTITIES["energy_above_hull"]
VALUE, STD, SOURCE = HULL.column, HULL.spread, "energy_above_hull_source"

INDEX = "global_instability_index_vu"
LARGEST_INDEX_VU = 0.5
"""Of the well-known crystals that the project carries none is beyond it (Li3N has 0.47)."""


@lru_cache(maxsize=1)
def hull_model() -> PropertyTrees:
    """The shipped model of energies above hull, loaded once a process."""
    return PropertyTrees.load(find(MODEL))


def with_stability(
    crystal: Crystal, hull: ReferenceHull | None = None, time_limit_s: float = np.inf
) -> Crystal:
    """The crystal with energy above hull, its source and its global instability index in ``extra``.

    A record that brings an energy keeps it (source ``record``). One that the references of a hull
    cannot judge gets that of the shipped model, and a note that says why. No energy is given where
    the model knows nothing of the working ion, and no index where bond valences do not know a pair.
    A crystal whose atoms are not where bond valences want them gets a note.

    Args:
        crystal: Its working ion known.
        hull: Of named references; None for the shipped model.
        time_limit_s: Longest time of a relaxation.
    """
    try:
        index = bond_valences(crystal).global_instability_index_vu
    except UnusableStructureError:
        return _with_hull(crystal, hull, time_limit_s)
    crystal = replace(crystal, extra={**crystal.extra, INDEX: index})
    if index > LARGEST_INDEX_VU:
        crystal = crystal.with_notes(
            f"global instability index {index:.2f} vu: atoms are not where bond valences want "
            "them; see ionbridge inspect"
        )
    return _with_hull(crystal, hull, time_limit_s)


def _with_hull(crystal: Crystal, hull: ReferenceHull | None, time_limit_s: float) -> Crystal:
    if isinstance(crystal.extra.get(VALUE), int | float):
        return replace(crystal, extra={SOURCE: "record", **crystal.extra})
    if hull is not None:
        try:
            energy = hull.energy_above_eV_atom(crystal, time_limit_s)
        except UnusableStructureError as error:
            crystal = crystal.with_notes(f"energy above hull by the shipped model: {error}")
        else:
            source = f"{hull.settings.calculator} against {len(hull.entries)} references"
            return replace(crystal, extra={**crystal.extra, VALUE: energy, SOURCE: source})
    row = table_row(crystal)
    try:
        prediction = hull_model().predict([row])
    except UnusableStructureError:
        return crystal
    extra = {
        VALUE: float(np.maximum(prediction.mean[0], 0.0)),
        STD: float(prediction.std[0]),
        SOURCE: f"model {MODEL}",
    }
    return replace(crystal, extra={**crystal.extra, **extra})
