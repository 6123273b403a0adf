"""One electrode of a base cell against the metal of its ion, as a base cell of its own.

``Chen2020_positive_half_cell`` is the positive electrode, separator and electrolyte of `Chen2020`
against lithium, ``Chen2020_negative_half_cell`` its negative electrode, which a discharge fills.
As in PyBaMM's own half cells the electrode is the positive one and the metal the negative one.

The metal is written as a porous film: FILM_M thick, so that nothing drops along it, its active area
that of the foil, at 0 V however full, with more of the ion in it than any electrode takes. So a
half cell goes the one way that all cells go; PyBaMM's model of a planar metal electrode gives the
same voltage (``tests/screening/cell/test_half_cells.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ionbridge.screening.cell.base_cells import (
    BASE_CELLS,
    METALS,
    BaseCell,
    Domain,
    base_cell,
    half_of,
    potentials,
    scalars,
)
from ionbridge.screening.cell.full_charge import curve_limits, full_charge
from ionbridge.structures.units import FARADAY_C_PER_MOL

FILM_M, FILM_SHARE = 1e-6, 0.5
"""Thickness of the film that stands for the metal; part of it that is metal, the rest pores."""
FILM_MOL_M3 = 1e8
"""Of the ion in it: 190 mol/m2, fifty times a foil of 50 um."""
METAL_MOL_M3, RATE_M_S = 76900.0, 3.5e-8
"""Lithium metal, and the rate constant of its exchange current in LiPF6 in carbonates: Xu et al.,
J. Electrochem. Soc. 166, A3456 (2019), as in PyBaMM's Xu2019: j0 = F k c_metal^0.7 c^0.3."""
EMPTIEST_V, FULLEST_V = 1.5, 0.005
"""Between which a negative electrode is discharged against metal, as in PyBaMM's graphite half
cells; from where its curve begins where that is lower."""


@dataclass(frozen=True)
class HalfCell(BaseCell):
    """One electrode of a base cell against metal.

    Attributes:
        of: Base cell.
        electrode: ``Negative`` or ``Positive``: which electrode of it.
    """

    of: str = ""
    electrode: Domain = "Positive"

    @property
    def values(self) -> Any:
        """``pybamm.ParameterValues`` with the electrode as the positive one."""
        values = self._against_metal(base_cell(self.of).values)
        lower, upper, empty = cut_offs(self.of, self.electrode)
        values.update(
            {
                "Lower voltage cut-off [V]": lower,
                "Open-circuit voltage at 0% SOC [V]": empty,
                "Upper voltage cut-off [V]": upper,
                "Open-circuit voltage at 100% SOC [V]": upper,
            }
        )
        return values

    @property
    def shipped(self) -> Any:
        """The same of the set as it was published."""
        return self._against_metal(base_cell(self.of).shipped)

    def _against_metal(self, values: Any) -> Any:
        """A full cell's parameters with the electrode as positive one and the metal opposite."""
        if self.electrode == "Negative":
            values.update(_turned(values), check_already_exists=False)
        values.update(_metal(), check_already_exists=False)
        return values


def half_cell(name: str) -> HalfCell:
    """A half cell by its name.

    Args:
        name: One that ``base_cells.half_of`` knows.
    """
    of, electrode = half_of(name)
    full = BASE_CELLS[of]
    metal = METALS[full.working_ion]
    positive = electrode == "Positive"
    said = [f"{electrode.lower()} electrode of {of} against {metal}"]
    if full.working_ion != "Li":
        said.append(f"exchange current of {metal} is not known: that of lithium stands in")
    return HalfCell(
        name=name,
        pybamm_set=full.pybamm_set,
        cathode=full.cathode if positive else full.anode,
        anode=metal,
        phase_separating=full.phase_separating and positive,
        temperature_dependent=full.temperature_dependent,
        has_poles=full.has_poles,
        working_ion=full.working_ion,
        filling_matters=full.filling_matters,
        changes="; ".join(filter(None, [full.changes, *said])),
        of=of,
        electrode=electrode,
    )


@cache
def cut_offs(of: str, electrode: Domain) -> tuple[float, float, float]:
    """Lower and upper voltage of a half cell, and that at rest from which it is charged, V.

    A positive electrode begins as full as in the full cell and ends at that one's lower cut-off,
    LiFePO4 at OLIVINE_V, and one whose table ends before where that does.
    """
    table, full, limits = potentials(of), base_cell(of), curve_limits(of)
    if electrode == "Negative":
        emptiest = max(limits["Negative"][0], LEAST_FILLED)
        first = float(np.interp(emptiest, table.stoichiometry, table.negative_V))
        return FULLEST_V, min(EMPTIEST_V, first), FULLEST_V
    start, last = full_charge(of).positive, limits["Positive"][1]
    at = [start, last, FILLED]
    upper, end, filled = (float(u) for u in np.interp(at, table.stoichiometry, table.positive_V))
    lower = [scalars(of)["Lower voltage cut-off [V]"]]
    if full.phase_separating:
        lower.append(OLIVINE_V)
    if last < MOST_FILLED and not full.changes:
        lower.append(end + ABOVE_END_V)
    return max(lower), upper, max(*lower, filled)


FILLED = 0.99
"""Stoichiometry from which a positive electrode is charged, where that lies above its cut-off."""
OLIVINE_V = 2.5
"""Lithium iron phosphate against lithium is taken no further down."""
LEAST_FILLED, MOST_FILLED, ABOVE_END_V = 2e-3, 0.999, 0.01
"""Emptier than the first no negative electrode begins; a table that ends before the second ends a
discharge so far above its last point."""


def _turned(values: Any) -> dict[str, Any]:
    """What belongs to the negative electrode, by the names of the positive one's."""
    full = values.copy()

    def bound(function: Callable[..., Any]) -> Callable[..., Any]:
        """With numbers of the negative electrode that the function asks for by their names."""
        return lambda *arguments: full.process_symbol(function(*arguments))

    found = {}
    for name, value in full.items():
        for own, other in (("Negative", "Positive"), ("negative", "positive")):
            if own in name and name.replace(own, other) in full:
                found[name.replace(own, other)] = bound(value) if callable(value) else value
    return found


def _metal() -> dict[str, Any]:
    """The film that stands for the metal."""

    def exchange(salt: Any, surface: Any, most: Any, kelvin: Any) -> Any:
        return FARADAY_C_PER_MOL * RATE_M_S * METAL_MOL_M3**0.7 * salt**0.3 + 0.0 * surface

    def no_potential(stoichiometry: Any) -> Any:
        return 0.0 * stoichiometry

    return {
        "Negative electrode thickness [m]": FILM_M,
        "Negative electrode porosity": 1.0 - FILM_SHARE,
        "Negative electrode active material volume fraction": FILM_SHARE,
        "Negative particle radius [m]": 3.0 * FILM_SHARE * FILM_M,
        "Negative electrode Bruggeman coefficient (electrolyte)": 0.0,
        "Negative electrode Bruggeman coefficient (electrode)": 0.0,
        "Negative electrode conductivity [S.m-1]": 1e7,
        "Negative particle diffusivity [m2.s-1]": 1e-9,
        "Maximum concentration in negative electrode [mol.m-3]": FILM_MOL_M3,
        "Initial concentration in negative electrode [mol.m-3]": 0.5 * FILM_MOL_M3,
        "Negative electrode OCP [V]": no_potential,
        "Negative electrode OCP entropic change [V.K-1]": 0.0,
        "Negative electrode exchange-current density [A.m-2]": exchange,
    }
