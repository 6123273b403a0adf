"""What trees see of an insertion host: composition, redox couples of its metals, density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from ionbridge.structures.chemistry.oxidation import BRANCHES, assign
from ionbridge.structures.features.conductor_descriptors import (
    CELL_FEATURES,
    COMPOSITION_FEATURES,
    atomic_fractions,
    composition_block,
    conductor_descriptors,
    conductor_ion,
    known_blocks,
)
from ionbridge.structures.io.tables import ConductivityRow

INTENSIVE_CELL_FEATURES = (
    "volume_per_atom_A3",
    "volume_per_anion_A3",
    "volume_per_ion_A3",
    "packing_fraction",
    "free_volume_per_ion_A3",
)
"""Numbers of a cell that do not depend on which cell was chosen."""
EXTRACTED_SHARES = (0.1, 0.5, 1.0)
"""Shares of the working ions whose extraction is priced."""
REDOX_FEATURES = (
    *(f"redox_V_{share:g}" for share in EXTRACTED_SHARES),
    "redox_covered",
    "ion_charge",
    "ion_electronegativity",
    "ion_mass_u",
)
ION_CHARGE = {"Mg": 2, "Ca": 2, "Zn": 2, "Al": 3}
"""Charge number of working ions that are not monovalent."""


def host_descriptors(
    row: ConductivityRow, elements: Sequence[str], with_cell: bool
) -> NDArray[np.float64]:
    """Composition, shares of the given elements, redox couples, and intensive numbers of the cell.

    Args:
        row: Composition of the discharged host, with its cell where ``with_cell``.
        elements: Columns with atomic fractions.
        with_cell: Whether the numbers of the cell are wanted.

    Raises:
        UnusableStructureError: If the row holds no working ion.
    """
    parts = [composition_block(row), redox_block(row)]
    parts.append(atomic_fractions(row.composition, elements))
    if with_cell:
        whole = conductor_descriptors(row, (), ("cell",))
        start = len(COMPOSITION_FEATURES)
        parts.append(
            np.array([whole[start + CELL_FEATURES.index(n)] for n in INTENSIVE_CELL_FEATURES])
        )
    return np.concatenate(parts)


def has_cell(row: ConductivityRow) -> bool:
    """Whether a row has a cell that fits its composition."""
    return "cell" in known_blocks(row)


def redox_block(row: ConductivityRow) -> NDArray[np.float64]:
    """(n_features,) numbers of ``REDOX_FEATURES``.

    The price of an assignment of oxidation states is the sum of the potentials of the couples used
    (V against Li+/Li, see ``ionbridge.structures.chemistry.oxidation``). Taking ions out and
    looking at the price anew gives the potential at which the metals pay for them: a voltage
    without structure. Where the couples do not reach, the price of what is reached stands, and
    ``redox_covered`` says how much.
    """
    amounts = row.composition.get_el_amt_dict()
    ion = conductor_ion(row)
    charge = ION_CHARGE.get(ion, 1)
    known = {symbol: n for symbol, n in amounts.items() if symbol in BRANCHES}
    voltages, covered = [], 0.0
    for share in EXTRACTED_SHARES:
        voltage, covered = _extraction(known, ion, share * amounts[ion], charge)
        voltages.append(voltage)
    element = Element(ion)
    own = [float(charge), float(element.X), float(element.atomic_mass)]
    return np.array([*voltages, covered, *own])


def _extraction(
    amounts: dict[str, float], ion: str, extracted: float, charge: int
) -> tuple[float, float]:
    """Mean potential (V) of taking ions out, and the share of their charge that couples pay."""
    left = {**amounts, ion: amounts[ion] - extracted}
    left = {symbol: n for symbol, n in left.items() if n > 1e-9}
    if not left or len(amounts) < 2:
        return 0.0, 0.0
    before, after = assign(amounts), assign(left)
    price = after.price_V * sum(left.values()) - before.price_V * sum(amounts.values())
    paid = _positive_charge(after.states, left, ion) - _positive_charge(before.states, amounts, ion)
    wanted = extracted * charge
    return price / wanted, float(np.clip(paid / wanted, 0.0, 1.0))


def _positive_charge(states: Mapping[str, float], amounts: dict[str, float], ion: str) -> float:
    return sum(n * states.get(s, 0.0) for s, n in amounts.items() if s != ion)
