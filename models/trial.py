"""A model of somebody else is tried on something small before it is used.

Its settings and weights may fit each other, and yet not what is made of a record: another number of
descriptors, say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pymatgen.core import Composition

from ionbridge.models.estimator import Estimator
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Hop, UnusableStructureError

SMALL_HOP = Hop(
    id="rock-salt LiCl",
    working_ion="Li",
    lattice=5.14 * np.eye(3),
    host_species=(*[{"Li": 1.0}] * 2, *[{"Cl": 1.0}] * 4),
    host_frac=np.array(
        [[0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0.5, 0.5, 0.5]]
    ),
    path_frac=np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0]]),
)
SMALL_ROW = ConductivityRow(
    id="Li3InCl6", formula="Li3InCl6", composition=Composition({"Li": 3, "In": 1, "Cl": 6})
)


SMALL = {"hop": SMALL_HOP, "composition": SMALL_ROW}


def try_model(model: Estimator) -> None:
    """Predict one small record; models of neither hops nor compositions are not tried.

    Raises:
        Exception: Whatever a model raises that cannot predict.
    """
    record: Any = SMALL.get(model.inputs)
    if record is None:
        return
    asked: Any = model
    try:
        found = asked.predict([record])
        values = [found.mean, found.std, *asked.interval(found)]
        asked.in_domain([record])
    except UnusableStructureError:  # of another ion, perhaps
        return
    if not all(np.isfinite(value).all() for value in values):
        raise ValueError(f"of {record.id} it predicts {values[0][0]} ± {values[1][0]}")
