"""What our own model says of a base cell's cathode: the yardstick of candidates beside it."""

from __future__ import annotations

from pymatgen.core import Composition

from ionbridge.screening.cell.base_cells import BaseCell
from ionbridge.screening.execution.executor import ThisProcess
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.files import Input, predict
from ionbridge.structures.frameworks.prototypes import reference_crystals


def reference_log10_diffusivity(
    cell: BaseCell, model: str | None, conditions: Conditions
) -> float | None:
    """``log10_diffusivity_cm2_s`` of the base cell's cathode, None where it cannot be predicted.

    Args:
        cell: Its cathode is looked up among the reference crystals.
        model: Name or folder of the hop model that predicted the candidates.
        conditions: Those of the candidates.
    """
    wanted = Composition(cell.cathode).reduced_formula
    for crystal in reference_crystals():
        if Composition(crystal.formula).reduced_formula == wanted:
            data = Input("crystals", [crystal], cell.cathode)
            row = predict(data, "diffusivity", model, conditions, ThisProcess()).rows[0]
            return float(row["log10_diffusivity_cm2_s"]) if row["status"] == "ok" else None
    return None
