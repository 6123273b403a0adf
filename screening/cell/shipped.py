"""Which shipped reduced-order model predicts which base cell."""

from __future__ import annotations

from ionbridge.screening.cell.base_cells import base_cell

ROMS = {"LiCoO2": "cell-rom-lco", "LiFePO4": "cell-rom-lfp"}
"""Cathode -> model."""

OTHERS = "cell-rom-source"
"""Of all chemistries together."""


def rom_for(base: str) -> str:
    """Name of the model for a base cell.

    Raises:
        InputError: Unknown base cell.
    """
    return ROMS.get(base_cell(base).cathode, OTHERS)
