"""The cells that candidates are put into: published parameter sets, and two that we completed.

`Ai2020`, `Prada2013`, ... are PyBaMM's sets as they are. A set that we changed has a name of its
own and says what was changed and why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.screening.errors import InputError, MissingExtraError
from ionbridge.structures.configuration import nearest
from ionbridge.structures.units import FARADAY_C_PER_MOL, GAS_CONSTANT_J_MOL_K, SECONDS_PER_HOUR

Floats = NDArray[np.float64]
Domain = str
"""``Negative`` or ``Positive``."""

FULL_POTENTIAL_V = 2.0
"""To which the tail of `Ai2020_extended` falls at full lithiation, vs Li."""


@dataclass(frozen=True)
class BaseCell:
    """A base cell by name.

    Attributes:
        name: As the column ``base_cell`` has it.
        pybamm_set: PyBaMM's parameter set that it starts from.
        cathode: Active material of the positive electrode.
        anode: Active material of the negative electrode.
        phase_separating: Whether the cathode separates into phases, so that its diffusivity is an
            apparent one and a thermodynamic factor has no meaning.
        temperature_dependent: Whether electrolyte and cathode change with temperature as shipped.
        has_poles: Whether the fitted open-circuit curve of the cathode has poles, which no
            reduced-order model follows.
        working_ion: Ion that moves between the electrodes.
        filling_matters: Whether diffusivities change with filling by an order of magnitude or more,
            which no reduced-order model of one diffusivity follows.
        changes: What we changed, and why; empty for a set as shipped.
    """

    name: str
    pybamm_set: str
    cathode: str
    anode: str = "graphite"
    phase_separating: bool = False
    temperature_dependent: bool = True
    has_poles: bool = False
    working_ion: str = "Li"
    filling_matters: bool = False
    changes: str = ""

    @property
    def values(self) -> Any:
        """A fresh ``pybamm.ParameterValues``; the caller may change it.

        Raises:
            MissingExtraError: PyBaMM is not installed.
        """
        pybamm = import_pybamm()
        values = pybamm.ParameterValues(self.pybamm_set)
        if self.name in CHANGES:
            values.update(CHANGES[self.name](values), check_already_exists=False)
        return values

    @property
    def shipped(self) -> Any:
        """``pybamm.ParameterValues`` before our changes: how far its tables were measured."""
        return import_pybamm().ParameterValues(self.pybamm_set)

    @property
    def nominal_capacity_Ah(self) -> float:
        """The capacity that C-rates refer to."""
        return float(scalars(self.name)["Nominal cell capacity [A.h]"])


BASE_CELLS: dict[str, BaseCell] = {
    cell.name: cell
    for cell in (
        BaseCell("Ai2020", "Ai2020", "LiCoO2"),
        BaseCell(
            "Ai2020_extended",
            "Ai2020",
            "LiCoO2",
            changes="The measured open-circuit curve of LiCoO2 ends at a stoichiometry of 0.9989 "
            "and 3.41 V, above what the surface of a particle reaches when diffusion limits. It is "
            f"smoothed within 0.7 mV and goes on, C1, to {FULL_POTENTIAL_V} V at full lithiation.",
        ),
        BaseCell("Marquis2019", "Marquis2019", "LiCoO2"),
        BaseCell("Ramadass2004", "Ramadass2004", "LiCoO2", has_poles=True),
        BaseCell(
            "Prada2013",
            "Prada2013",
            "LiFePO4",
            phase_separating=True,
            temperature_dependent=False,
        ),
        BaseCell(
            "Prada2013_balanced",
            "Prada2013",
            "LiFePO4",
            phase_separating=True,
            temperature_dependent=False,
            changes="As shipped the graphite ends the discharge with a third of the LiFePO4 "
            "unused. The LiFePO4 coating is thinned from 80 to 57.3 um, so that it holds the "
            "nominal 2.3 Ah between stoichiometries of 0.004 and 0.98, and the graphite coating "
            "thickened from 34 to 43.2 um: 1.3 times as much usable lithium as the LiFePO4 takes "
            "up.",
        ),
        BaseCell(
            "Prada2013_thermal",
            "Prada2013",
            "LiFePO4",
            phase_separating=True,
            changes="Prada2013_balanced, with the temperature dependence of OKane2022: activation "
            "energies of 17 kJ/mol for conductivity and diffusivity of the electrolyte, 30.3 "
            "kJ/mol for diffusion in graphite. The LiFePO4's diffusivity stays that of 298 K; a "
            "candidate brings its own activation energy.",
        ),
        BaseCell("Chen2020", "Chen2020", "LiNi0.8Mn0.1Co0.1O2", "graphite-SiOx"),
        BaseCell("Mohtat2020", "Mohtat2020", "LiNi0.33Mn0.33Co0.33O2"),
        BaseCell("OKane2022", "OKane2022", "LiNi0.8Mn0.1Co0.1O2", "graphite-SiOx"),
        BaseCell(
            "Chayambuka2022",
            "Chayambuka2022",
            "Na3V2(PO4)2F3",
            "hard carbon",
            temperature_dependent=False,
            working_ion="Na",
            filling_matters=True,
        ),
    )
}


def base_cell(name: str) -> BaseCell:
    """A base cell by name, half cells included, or that of a folder of ``ionbridge cell fit``.

    Raises:
        InputError: There is none of that name; the nearest one is named.
    """
    if name not in BASE_CELLS:
        if half_of(name)[0]:
            # by name: half cells are made of base cells, so that their module imports this one
            half: BaseCell = import_module("ionbridge.screening.cell.half_cells").half_cell(name)
            return half
        if is_fit(name):
            # by name: fits are made of base cells, so that their module imports this one
            module = import_module("ionbridge.screening.cell.fitted_base")
            found: BaseCell = module.fitted_base(name)
            return found
        raise InputError(f"unknown base cell '{name}'; {nearest(name, list(BASE_CELLS))}")
    return BASE_CELLS[name]


METALS = {"Li": "lithium", "Na": "sodium"}
"""Working ion -> what the other electrode of a half cell is of."""


def half_of(name: str) -> tuple[str, Domain]:
    """Base cell and electrode of a half cell's name; the first is empty where it names none."""
    for electrode in ("Negative", "Positive"):
        of = name.removesuffix(f"_{electrode.lower()}_half_cell")
        if of != name and of in BASE_CELLS:
            return of, electrode
    return "", ""


def is_base_cell(name: str) -> bool:
    """Whether `base_cell` knows a name."""
    return name in BASE_CELLS or bool(half_of(name)[0]) or is_fit(name)


FIT_FILE = "fit.json"


def is_fit(name: str) -> bool:
    """Whether a name is that of a folder of ``ionbridge cell fit``."""
    return bool(name) and (Path(name) / FIT_FILE).is_file()


def import_pybamm() -> Any:
    """PyBaMM with its telemetry off.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"
    try:
        import pybamm
    except ImportError as error:
        raise MissingExtraError("cell", "simulating cells") from error
    return pybamm


@cache
def scalars(name: str) -> Mapping[str, float]:
    """Every parameter of a base cell that is a plain number, SI."""
    found = {}
    for key, value in base_cell(name).values.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[key] = float(value)
    return found


@dataclass(frozen=True, eq=False)
class Potentials:
    """Open-circuit potentials of both electrodes as tables.

    Attributes:
        stoichiometry: (n,) grid, finer towards empty and full.
        negative_V: (n,) at the reference temperature, vs Li.
        positive_V: (n,).
        negative_entropic_V_K: (n,) dU/dT.
        positive_entropic_V_K: (n,).
        reference_K: Reference temperature.
    """

    stoichiometry: Floats
    negative_V: Floats
    positive_V: Floats
    negative_entropic_V_K: Floats
    positive_entropic_V_K: Floats
    reference_K: float

    def open_circuit(self, negative: Floats, positive: Floats, temperature_K: float) -> Floats:
        """Cell voltage at rest, V, at stoichiometries of any one shape."""
        kelvin = temperature_K - self.reference_K
        p = np.interp(positive, self.stoichiometry, self.positive_V)
        n = np.interp(negative, self.stoichiometry, self.negative_V)
        turned = kelvin * self.entropic(negative, positive) if kelvin else 0.0
        return np.asarray(p - n + turned)

    def entropic(self, negative: Floats, positive: Floats) -> Floats:
        """dU/dT of the cell, V/K."""
        p = np.interp(positive, self.stoichiometry, self.positive_entropic_V_K)
        n = np.interp(negative, self.stoichiometry, self.negative_entropic_V_K)
        return np.asarray(p - n)


@cache
def potentials(name: str) -> Potentials:
    """The open-circuit potentials of a base cell, as PyBaMM's models see them."""
    pybamm = import_pybamm()
    values = base_cell(name).values
    edge = np.geomspace(1e-6, 1e-2, 200)
    grid = np.concatenate([edge, np.linspace(0.01, 0.99, 3921)[1:-1], (1.0 - edge)[::-1]])
    symbols = pybamm.LithiumIonParameters()
    reference = float(values["Reference temperature [K]"])

    def table(electrode: Any, kelvin: float) -> Floats:
        symbol = electrode.prim.U(pybamm.Vector(grid), pybamm.Scalar(kelvin))
        found = np.asarray(values.process_symbol(symbol).evaluate(), dtype=float).ravel()
        return np.broadcast_to(found, grid.shape)

    negative, positive = table(symbols.n, reference), table(symbols.p, reference)
    return Potentials(
        stoichiometry=grid,
        negative_V=negative,
        positive_V=positive,
        negative_entropic_V_K=table(symbols.n, reference + 1.0) - negative,
        positive_entropic_V_K=table(symbols.p, reference + 1.0) - positive,
        reference_K=reference,
    )


def electrode_capacity_Ah(parameters: Mapping[str, float], domain: Domain) -> float:
    """Charge between empty and full of one electrode: F A L eps c_max.

    Args:
        parameters: Numbers by PyBaMM's names.
        domain: ``Negative`` or ``Positive``.
    """
    return (
        FARADAY_C_PER_MOL
        / SECONDS_PER_HOUR
        * electrode_area_m2(parameters)
        * parameters[f"{domain} electrode thickness [m]"]
        * parameters[f"{domain} electrode active material volume fraction"]
        * parameters[f"Maximum concentration in {domain.lower()} electrode [mol.m-3]"]
    )


def electrode_area_m2(parameters: Mapping[str, float]) -> float:
    """Area of one electrode, all layers together."""
    return (
        parameters["Electrode height [m]"]
        * parameters["Electrode width [m]"]
        * parameters["Number of electrodes connected in parallel to make a cell"]
    )


def _extended(values: Any) -> dict[str, Any]:
    """LiCoO2's open-circuit curve of `Ai2020`, smoothed and continued to full lithiation.

    Continuation: U(x) = U_e + U_e' w (exp((x - x_e) / w) - 1) beyond the last point x_e, w such
    that U(1) = FULL_POTENTIAL_V; below the first point a straight line. The cubic interpolant
    through 480 measured points makes the solver take five times as many steps.
    """
    import pybamm
    from pybamm.input.parameters.lithium_ion import Ai2020
    from scipy.interpolate import UnivariateSpline
    from scipy.optimize import brentq

    points, measured = Ai2020.lico2_ocp_Ai2020_data[1]
    x, u = np.ravel(points), np.ravel(measured)
    spline = UnivariateSpline(x, u, k=3, s=len(x) * SMOOTHING_V**2)
    knots = spline.get_knots()
    inner = np.unique(np.linspace(knots[:-1], knots[1:], 4))
    first, last = x[0], x[-1]
    end, slope = float(spline(last)), float(spline(last, 1))

    def tail(at: Any, width: float) -> Any:
        return end + slope * width * np.expm1((at - last) / width)

    width = brentq(lambda w: tail(1.0, w) - FULL_POTENTIAL_V, 1e-4, 1e-2)
    below = np.linspace(0.0, first, 11)[:-1]
    beyond = np.linspace(last, 1.0005, 40)[1:]
    grid = np.concatenate([below, inner, beyond])
    curve = np.concatenate(
        [
            float(spline(first)) + float(spline(first, 1)) * (below - first),
            spline(inner),
            tail(beyond, width),
        ]
    )

    def potential(stoichiometry: Any) -> Any:
        return pybamm.Interpolant(
            grid, curve, stoichiometry, name="lico2_ocp_extended", interpolator="cubic"
        )

    return {"Positive electrode OCP [V]": potential}


def _balanced(values: Any) -> dict[str, Any]:
    """`Prada2013` with coatings such that LiFePO4 ends the discharge."""
    return {
        "Positive electrode thickness [m]": 57.3e-6,
        "Negative electrode thickness [m]": 43.2e-6,
    }


def _thermal(values: Any) -> dict[str, Any]:
    """`Prada2013_balanced` with activation energies of O'Kane 2022."""
    import pybamm

    reference = float(values["Reference temperature [K]"])

    def activated(name: str, energy_J_mol: float) -> Callable[[Any, Any], Any]:
        shipped = values[name]

        def function(state: Any, kelvin: Any) -> Any:
            value = shipped(state, kelvin) if callable(shipped) else shipped
            exponent = energy_J_mol / GAS_CONSTANT_J_MOL_K * (1.0 / reference - 1.0 / kelvin)
            return value * pybamm.exp(exponent)

        return function

    return {
        **_balanced(values),
        **{name: activated(name, energy) for name, energy in ACTIVATION_J_MOL.items()},
    }


ACTIVATION_J_MOL = {
    "Electrolyte conductivity [S.m-1]": 17000.0,
    "Electrolyte diffusivity [m2.s-1]": 17000.0,
    "Negative particle diffusivity [m2.s-1]": 30300.0,
}
"""Of PyBaMM's OKane2022."""

SMOOTHING_V = 1e-4
"""Root mean square by which the smoothed curve of `Ai2020_extended` may leave the measured one."""

CHANGES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Ai2020_extended": _extended,
    "Prada2013_balanced": _balanced,
    "Prada2013_thermal": _thermal,
}
