"""Energy above the convex hull of a candidate: the record's own, else by the shipped model."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ionbridge.models.library import load
from ionbridge.models.property_trees import PropertyTrees
from ionbridge.structures.conductor_descriptors import table_row
from ionbridge.structures.records import Crystal, UnusableStructureError

MODEL = "energy-above-hull"
VALUE, STD, SOURCE = (
    "energy_above_hull_eV_atom",
    "energy_above_hull_std_eV_atom",
    "energy_above_hull_source",
)


@lru_cache(maxsize=1)
def hull_model() -> PropertyTrees:
    """The shipped model of energies above hull, loaded once a process."""
    model = load(MODEL)
    assert isinstance(model, PropertyTrees)
    return model


def with_stability(crystal: Crystal) -> Crystal:
    """The crystal with energy above hull, its spread and its source in ``extra``.

    A record that brings a value keeps it (source ``record``). No value is given where the model
    knows nothing of the working ion.
    """
    if isinstance(crystal.extra.get(VALUE), int | float):
        return replace(crystal, extra={SOURCE: "record", **crystal.extra})
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
