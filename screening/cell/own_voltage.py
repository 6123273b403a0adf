"""The candidate's own voltage in place of the base cathode's: given, or from the shipped model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from ionbridge.structures.io.tables import ConductivityRow

GIVEN_COLUMN = "average_voltage_V"
"""Against the metal of the ion."""
MODEL = "voltage"
CHANGED = ("specific_energy", "pulse_power", "duty_cycle_energy")
"""Figures of merit in proportion to the voltage. A curve and both of its cut-offs moved by the same
voltage leave charge, heat and losses as they are."""


def own_voltage_V(row: Mapping[str, Any]) -> tuple[float, float, str] | None:
    """Average voltage of a candidate, its standard deviation, and where it is from.

    Args:
        row: A row of ``ranked.csv``; GIVEN_COLUMN, where it has a number, goes before the model.

    Returns:
        None where neither is to be had.
    """
    try:
        given = float(row.get(GIVEN_COLUMN) or "nan")
    except (TypeError, ValueError):
        given = math.nan
    if math.isfinite(given):
        return given, 0.0, "as given"
    formula, ion = row.get("formula"), row.get("working_ion")
    if not formula or ion != "Li":
        return None
    return _predicted(str(formula))


@cache
def _predicted(formula: str) -> tuple[float, float, str] | None:
    from pymatgen.core import Composition

    from ionbridge.models.library import load

    try:
        composition = Composition(formula)
    except ValueError:
        return None
    if "Li" not in composition:
        return None
    found = load(MODEL).predict([ConductivityRow(formula, formula, composition)])
    return float(found.mean[0]), float(found.std[0]), f"by the model '{MODEL}' from the formula"
