"""Base cells that can age: published parameter sets, completed by O'Kane 2022's graphite side.

`Prada2013` (LFP) has no ageing, no heat and no temperature dependence; `Ai2020` (LCO) has SEI and
cracks but no plating and no rate for the loss of active material. Both get the graphite-electrolyte
interface of O'Kane et al., Phys. Chem. Chem. Phys. 24, 7909 (2022). So growth of the SEI and of
cracks, plating and loss of active material follow the same equations with the same constants in
both cells; what differs is the electrodes around them, hence potentials, currents and stresses.
Neither cell loses positive active material: no measured rate was found for LCO or LFP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ionbridge.models.cells.graphite import REFERENCE_K, Graphite
from ionbridge.screening.cell.ageing_base import BASES, LCO, LFP
from ionbridge.screening.cell.base_cells import import_pybamm
from ionbridge.screening.errors import InputError
from ionbridge.structures.configuration import nearest
from ionbridge.structures.units import FARADAY_C_PER_MOL, GAS_CONSTANT_J_MOL_K, SECONDS_PER_HOUR


@dataclass(frozen=True)
class Addition:
    """Parameters that a base set lacks or gives up, and where they come from.

    Attributes:
        source: PyBaMM set that they are copied from, or where the numbers come from.
        reason: Why they are needed and why this source.
        names: PyBaMM names that are copied from the set.
        values: Numbers that are stated here.
    """

    source: str
    reason: str
    names: tuple[str, ...] = ()
    values: Mapping[str, float] | None = None


SEI_GROWTH = Addition(
    "OKane2022",
    "solvent-diffusion limited SEI; its activation energy of 38 kJ/mol gives the calendar ageing "
    "its temperature dependence (Ai2020 states 0)",
    (
        "Ratio of lithium moles to SEI moles",
        "SEI partial molar volume [m3.mol-1]",
        "SEI solvent diffusivity [m2.s-1]",
        "Bulk solvent concentration [mol.m-3]",
        "SEI growth activation energy [J.mol-1]",
        "SEI open-circuit potential [V]",
        "SEI resistivity [Ohm.m]",
        "Initial SEI thickness [m]",
        "Initial SEI on cracks thickness [m]",
    ),
)
PLATING = Addition(
    "OKane2022",
    "partially reversible plating on graphite; dead lithium forms at a rate limited by the SEI",
    (
        "Lithium metal partial molar volume [m3.mol-1]",
        "Lithium plating kinetic rate constant [m.s-1]",
        "Lithium plating transfer coefficient",
        "Exchange-current density for plating [A.m-2]",
        "Exchange-current density for stripping [A.m-2]",
        "Initial plated lithium concentration [mol.m-3]",
        "Typical plated lithium concentration [mol.m-3]",
        "Dead lithium decay constant [s-1]",
        "Dead lithium decay rate [s-1]",
    ),
)
CRACKS = Addition(
    "OKane2022",
    "stress in graphite particles, fatigue cracks by Paris' law, SEI on their faces",
    (
        "Negative electrode partial molar volume [m3.mol-1]",
        "Negative electrode Young's modulus [Pa]",
        "Negative electrode Poisson's ratio",
        "Negative electrode reference concentration for free of deformation [mol.m-3]",
        "Negative electrode volume change",
        "Negative electrode initial crack length [m]",
        "Negative electrode initial crack width [m]",
        "Negative electrode number of cracks per unit area [m-2]",
        "Negative electrode Paris' law constant b",
        "Negative electrode Paris' law constant m",
        "Negative electrode cracking rate",
        "Cell thermal expansion coefficient [m.K-1]",
    ),
)
ACTIVE_MATERIAL = Addition(
    "OKane2022",
    "loss of graphite driven by tensile stress (Ai2020 sets its rate to 0)",
    (
        "Negative electrode LAM constant proportional term [s-1]",
        "Negative electrode LAM constant exponential term",
        "Negative electrode critical stress [Pa]",
    ),
)
GRAPHITE_TEMPERATURE = Addition(
    "OKane2022",
    "Prada2013's diffusivity in graphite is a number without activation energy, and stress, cracks "
    "and loss of active material were fitted with this one",
    ("Negative particle diffusivity [m2.s-1]",),
)
ELECTROLYTE_TEMPERATURE = Addition(
    "OKane2022",
    "LiPF6 in carbonates with activation energies; Prada2013's transport does not know temperature",
    ("Electrolyte diffusivity [m2.s-1]", "Electrolyte conductivity [S.m-1]"),
)
HEAT = Addition(
    "OKane2022",
    "densities, heat capacities and current collectors of a wound cell with graphite; they only "
    "enter as one heat capacity of the cell",
    (
        *(
            f"{part} {quantity}"
            for part in (
                "Negative current collector",
                "Negative electrode",
                "Separator",
                "Positive electrode",
                "Positive current collector",
            )
            for quantity in ("density [kg.m-3]", "specific heat capacity [J.kg-1.K-1]")
        ),
        "Negative current collector thickness [m]",
        "Positive current collector thickness [m]",
        "Negative current collector conductivity [S.m-1]",
        "Positive current collector conductivity [S.m-1]",
        "Total heat transfer coefficient [W.m-2.K-1]",
    ),
)
CAN_26650 = Addition(
    "geometry of a 26650 can",
    "Prada2013 describes a cylindrical 2.3 Ah cell of 26 mm by 65 mm",
    values={"Cell volume [m3]": 3.451e-5, "Cell cooling surface area [m2]": 6.371e-3},
)

ADDITIONS: dict[str, tuple[Addition, ...]] = {
    LCO: (SEI_GROWTH, PLATING, CRACKS, ACTIVE_MATERIAL),
    LFP: (
        SEI_GROWTH,
        PLATING,
        CRACKS,
        ACTIVE_MATERIAL,
        GRAPHITE_TEMPERATURE,
        ELECTROLYTE_TEMPERATURE,
        HEAT,
        CAN_26650,
    ),
}
"""What was added to each of ``BASES`` or replaced, in this order."""


def added(name: str) -> tuple[str, ...]:
    """Names of all parameters of a base cell that do not come from its published set."""
    return tuple(n for a in ADDITIONS[name] for n in (*a.names, *(a.values or {})))


def ageing_parameters(name: str) -> Any:
    """PyBaMM parameter values of a base cell with everything that the ageing submodels need.

    Args:
        name: One of ``BASES``.

    Raises:
        InputError: Unknown name.
        MissingExtraError: PyBaMM is not installed.
    """
    if name not in BASES:
        raise InputError(f"no base cell that ages is called '{name}'; {nearest(name, list(BASES))}")
    pybamm = import_pybamm()
    values = dict(pybamm.ParameterValues(BASES[name].base))
    for addition in ADDITIONS[name]:
        if addition.names:
            donor = pybamm.ParameterValues(addition.source)
            values |= {key: donor[key] for key in addition.names}
        values |= addition.values or {}
    return pybamm.ParameterValues(values)


FULL_FILLING = {LCO: 0.841, LFP: 0.805}
"""Lithium in the charged graphite after the charge of a cycle, share of its sites (simulated)."""


def graphite_side(name: str) -> Graphite:
    """What the closed forms of ageing need to know of a base cell's graphite.

    Args:
        name: One of ``BASES``.
    """
    values = ageing_parameters(name)
    pybamm = import_pybamm()

    def at(key: str, *arguments: float) -> float:
        value = values[f"Negative {key}"]
        if callable(value):
            value = values.evaluate(value(*(pybamm.Scalar(x) for x in arguments)))
        return float(np.ravel(value)[0])

    sites = float(values["Maximum concentration in negative electrode [mol.m-3]"])
    salt = float(values["Initial concentration in electrolyte [mol.m-3]"])
    warm, cold = REFERENCE_K, REFERENCE_K - 25.0
    diffusivity, exchange = (
        [at(key, *arguments, kelvin) for kelvin in (warm, cold)]
        for key, arguments in (
            ("particle diffusivity [m2.s-1]", (0.5,)),
            ("electrode exchange-current density [A.m-2]", (salt, sites / 2, sites)),
        )
    )
    volume_m3 = at("electrode thickness [m]") * float(
        values["Electrode height [m]"]
        * values["Electrode width [m]"]
        * values["Number of electrodes connected in parallel to make a cell"]
    )
    active, radius = at("electrode active material volume fraction"), at("particle radius [m]")
    nominal = float(values["Nominal cell capacity [A.h]"])
    graphite_Ah = active * volume_m3 * sites * FARADAY_C_PER_MOL / SECONDS_PER_HOUR
    fillings = np.linspace(0.005, 0.995, 100)
    potential = np.interp(
        np.linspace(0, 1, 101), fillings, [at("electrode OCP [V]", x) for x in fillings]
    )
    return Graphite(
        nominal_Ah=nominal,
        particle_radius_m=radius,
        diffusivity_m2_s=diffusivity[0],
        diffusivity_activation_J_mol=_activation(diffusivity, warm, cold),
        exchange_current_A_m2=exchange[0],
        exchange_current_activation_J_mol=_activation(exchange, warm, cold),
        current_A_m2=nominal / (3 * active / radius * volume_m3),
        capacity_share=nominal / graphite_Ah,
        full_filling=FULL_FILLING[name],
        potential_V=tuple(float(round(v, 5)) for v in potential),
    )


def _activation(values: list[float], warm: float, cold: float) -> float:
    """Activation energy, J/mol, from values at two temperatures."""
    slope = float(np.log(values[0] / values[1])) / (1 / cold - 1 / warm)
    return round(slope * GAS_CONSTANT_J_MOL_K, 1)
