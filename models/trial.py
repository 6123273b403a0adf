"""A model of somebody else is tried on something small before it is used.

Its settings and weights may fit each other, and yet not what is made of a record: another number of
descriptors, say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pymatgen.core import Composition

from ionbridge.models.adaptation.few_shot_conductivities import FewLabelConductivity
from ionbridge.models.conductors.conductivity import ConductivityTrees
from ionbridge.models.conductors.diffusivity import DiffusivityProcess
from ionbridge.models.hop_networks.ensemble import HopEnsemble
from ionbridge.models.regressors.baseline import Baseline
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


def try_model(model: Any) -> None:
    """Predict one small record; models of neither hops nor compositions are not tried.

    Raises:
        Exception: Whatever a model raises that cannot predict.
    """
    record: Any
    if isinstance(model, Baseline | HopEnsemble):
        record = SMALL_HOP
    elif isinstance(model, ConductivityTrees | FewLabelConductivity | DiffusivityProcess):
        record = SMALL_ROW
    else:
        return
    try:
        at_300_K = (300.0,) if isinstance(model, DiffusivityProcess) else ()
        found = model.predict([record], *at_300_K)
        values = [found.mean, found.std, *model.interval(found)]
        model.in_domain([record])
    except UnusableStructureError:  # of another ion, perhaps
        return
    if not all(np.isfinite(value).all() for value in values):
        raise ValueError(f"of {record.id} it predicts {values[0][0]} ± {values[1][0]}")
