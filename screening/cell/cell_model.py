"""PyBaMM's model of a base cell, built once, whose geometry too can be set from solve to solve.

Thickness, radius and area belong to the mesh and cannot be inputs of a PyBaMM model. But the
equations keep their form when lengths are scaled. With L = s L0 for an electrode and R for its
particles, the cell on the fixed lengths L0, R0 with

    porosity s e, active fraction s a, transport efficiency B / s, electronic conductivity / s
    particle diffusivity D (R0 / R)^2, exchange current density j0 R0 / R
    current I A0 / A, contact resistance Rc A / A0

has the same voltage, concentrations and stoichiometries at all times. Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ionbridge.screening.cell.base_cells import base_cell, electrode_area_m2, import_pybamm, scalars
from ionbridge.screening.cell.inputs import (
    CONDUCTIVITY,
    CONTACT,
    CURVE_CHANGES,
    ELECTRODES,
    ELECTROLYTE_DIFFUSIVITY,
    FACTORS,
    FUNCTIONS,
    LAYERS,
    REGIONS,
    STEP_WIDTH,
    TRANSFERENCE,
)
from ionbridge.screening.cell.radial_mesh import FITTED, RadialMesh

L0_M = 2e-3
"""Electrode and separator thickness of the model that is solved."""

N_THROUGH = 20
"""Mesh cells through each electrode and the separator."""

GRADING = 2.5
"""Of the finer meshes: ln of the largest over the smallest cell of an electrode."""

RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-5, 1e-6

SINGLE_ION = 1.0 - 1e-9
"""Some sets divide by 1 - t+; at 1 - 1e-9 no salt gradient forms either."""


def solvable(given: Mapping[str, float]) -> dict[str, float]:
    """A design's parameters with a transference number that every set can be evaluated at."""
    if TRANSFERENCE not in given:
        return dict(given)
    return {**given, TRANSFERENCE: min(given[TRANSFERENCE], SINGLE_ION)}


_AS_THEY_ARE = (
    TRANSFERENCE,
    "Initial concentration in electrolyte [mol.m-3]",
    "Lower voltage cut-off [V]",
)


@dataclass(frozen=True)
class CellModel:
    """A model that is ready to be solved.

    Attributes:
        simulation: ``pybamm.Simulation`` of the scaled model.
        base: Name of the base cell.
        fixed: Parameters that were set when the model was built.
    """

    simulation: Any
    base: str
    fixed: Mapping[str, float]

    def inputs(
        self,
        given: Mapping[str, float],
        current_A: float,
        temperature_K: float,
        concentrations: Mapping[str, float],
    ) -> dict[str, float]:
        """Inputs of one solve.

        Args:
            given: What a design sets, without what was fixed.
            current_A: Discharge current.
            temperature_K: Ambient and initial.
            concentrations: Initial ones of both electrodes by PyBaMM's names, mol/m3.
        """
        base = scalars(self.base)
        full = solvable({**base, **self.fixed, **given})
        area = electrode_area_m2(full) / electrode_area_m2(base)
        values = {
            "Current function [A]": current_A / area,
            "Ambient temperature [K]": temperature_K,
            CONTACT: full[CONTACT] * area,
            **concentrations,
        }
        for name in _AS_THEY_ARE:
            values[name] = full[name]
        for name in FUNCTIONS:
            values[name] = given.get(name, 0.0)
            values[_share(name)] = 0.0 if name in given else 1.0
        for name in FACTORS:
            values[name] = given.get(name, 1.0)
        for name, default in CURVE_CHANGES.items():
            values[name] = given.get(name, default)
        for region in REGIONS:
            stretch = full[f"{region} thickness [m]"] / L0_M
            porosity = full[f"{region} porosity"]
            tortuosity = given.get(f"{region} tortuosity factor (electrolyte)")
            efficiency = (
                porosity ** full[f"{region} Bruggeman coefficient (electrolyte)"]
                if tortuosity is None
                else porosity / tortuosity
            )
            values[f"{region} stretch"] = stretch
            values[f"{region} porosity"] = porosity
            values[f"{region} efficiency"] = efficiency
        for electrode in ELECTRODES:
            region = f"{electrode} electrode"
            values[f"{region} active"] = full[f"{region} active material volume fraction"]
            values[f"{region} solid efficiency"] = (1.0 - values[f"{region} porosity"]) ** full[
                f"{region} Bruggeman coefficient (electrode)"
            ]
            values[f"{electrode} radius ratio"] = (
                base[f"{electrode} particle radius [m]"] / full[f"{electrode} particle radius [m]"]
            )
        return values


@lru_cache(maxsize=8)
def cell_model(
    base: str,
    fixed: tuple[tuple[str, float], ...] = (),
    model: str = "DFN",
    mesh: RadialMesh = FITTED,
    n_through: int = N_THROUGH,
) -> CellModel:
    """Build the model of a base cell.

    Args:
        base: Base cell.
        fixed: Parameters that are no inputs (see ``split``), and their values.
        model: ``DFN``, ``SPMe`` or ``SPM``.
        mesh: Along the particle radius.
        n_through: Mesh cells through each electrode and the separator.
    """
    pybamm = import_pybamm()
    values = base_cell(base).values
    values.update(dict(fixed))
    values.update(_scaled(values), check_already_exists=False)
    options = {"transport efficiency": "tortuosity factor", "contact resistance": "true"}
    equations = getattr(pybamm.lithium_ion, model)(options)
    submeshes = dict(equations.default_submesh_types)
    for electrode in ELECTRODES:
        radius = float(values[f"{electrode} particle radius [m]"])
        submeshes[f"{electrode.lower()} particle"] = mesh.generator(radius)
        if n_through > N_THROUGH:  # fronts of salt and reaction begin at the separator
            submeshes[f"{electrode.lower()} electrode"] = pybamm.MeshGenerator(
                pybamm.Exponential1DSubMesh,
                {"side": "right" if electrode == "Negative" else "left", "stretch": GRADING},
            )
    through = dict.fromkeys(("x_n", "x_s", "x_p"), n_through)
    simulation = pybamm.Simulation(
        equations,
        parameter_values=values,
        var_pts={**through, **dict.fromkeys(("r_n", "r_p"), mesh.n_cells)},
        submesh_types=submeshes,
        solver=pybamm.IDAKLUSolver(rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE),
    )
    return CellModel(simulation, base, dict(fixed))


def split(given: Mapping[str, float]) -> tuple[dict[str, float], tuple[tuple[str, float], ...]]:
    """A design's parameters: inputs of a solve, and those that the model is built with."""
    solved = {name: value for name, value in given.items() if _is_input(name)}
    return solved, tuple(sorted((k, v) for k, v in given.items() if k not in solved))


def _is_input(name: str) -> bool:
    """Whether a parameter can change from solve to solve."""
    geometry = (
        "thickness [m]",
        "porosity",
        "active material volume fraction",
        "particle radius [m]",
        "Bruggeman coefficient (electrolyte)",
        "Bruggeman coefficient (electrode)",
        "tortuosity factor (electrolyte)",
    )
    if "current collector" in name:
        return False
    return (
        name in (*_AS_THEY_ARE, *FUNCTIONS, *FACTORS, *CURVE_CHANGES, CONTACT, *_STATE)
        or name.endswith(geometry)
        or name in ("Electrode height [m]", "Electrode width [m]", LAYERS)
    )


_STATE = (
    "Initial concentration in negative electrode [mol.m-3]",
    "Initial concentration in positive electrode [mol.m-3]",
    "Nominal cell capacity [A.h]",
    "Upper voltage cut-off [V]",
)
"""Decide where and how fast a discharge starts; the model sees them through its inputs."""


def _share(name: str) -> str:
    """The input that switches the base cell's function on (1) or off (0)."""
    return f"{name} of the base cell"


def _scaled(values: Any) -> dict[str, Any]:
    """The parameters of the scaled model, expressed in its inputs."""
    import pybamm

    put = pybamm.InputParameter

    def function(name: str, factor: str, scale: Any) -> Callable[..., Any]:
        shipped = values[name]

        def scaled(*arguments: Any) -> Any:
            value = shipped(*arguments) if callable(shipped) else shipped
            return (put(name) + put(_share(name)) * put(factor) * value) * scale

        return scaled

    def exchange(name: str, factor: str, ratio: Any) -> Callable[..., Any]:
        shipped = values[name]

        def scaled(*arguments: Any) -> Any:
            value = shipped(*arguments) if callable(shipped) else shipped
            return put(factor) * ratio * value

        return scaled

    def cathode_potential(shipped: Any) -> Callable[..., Any]:
        def changed(stoichiometry: Any) -> Any:
            tilt, step, where = (put(name) for name in CURVE_CHANGES)
            value = shipped(stoichiometry) if callable(shipped) else shipped
            return (
                value
                + tilt * (0.5 - stoichiometry)
                - step * pybamm.tanh((stoichiometry - where) / STEP_WIDTH)
            )

        return changed

    scaled: dict[str, Any] = {
        "Current function [A]": put("Current function [A]"),
        "Ambient temperature [K]": put("Ambient temperature [K]"),
        "Initial temperature [K]": put("Ambient temperature [K]"),
        CONTACT: put(CONTACT),
        **{name: put(name) for name in _AS_THEY_ARE},
        "Upper voltage cut-off [V]": 100.0,
        CONDUCTIVITY: function(CONDUCTIVITY, "Electrolyte conductivity factor", 1.0),
        ELECTROLYTE_DIFFUSIVITY: function(
            ELECTROLYTE_DIFFUSIVITY, "Electrolyte diffusivity factor", 1.0
        ),
    }
    for region in REGIONS:
        stretch, porosity = put(f"{region} stretch"), put(f"{region} porosity")
        scaled[f"{region} thickness [m]"] = L0_M
        scaled[f"{region} porosity"] = porosity * stretch
        scaled[f"{region} tortuosity factor (electrolyte)"] = (
            porosity * stretch**2 / put(f"{region} efficiency")
        )
    for electrode in ELECTRODES:
        region, ratio = f"{electrode} electrode", put(f"{electrode} radius ratio")
        stretch, porosity = put(f"{region} stretch"), put(f"{region} porosity")
        diffusivity = f"{electrode} particle diffusivity [m2.s-1]"
        current = f"{region} exchange-current density [A.m-2]"
        scaled[f"{region} active material volume fraction"] = put(f"{region} active") * stretch
        scaled[f"{region} tortuosity factor (electrode)"] = (
            (1.0 - porosity * stretch) * stretch / put(f"{region} solid efficiency")
        )
        scaled[diffusivity] = function(
            diffusivity, f"{electrode} particle diffusivity factor", ratio**2
        )
        scaled[current] = exchange(current, f"{region} exchange-current density factor", ratio)
        scaled[f"Initial concentration in {electrode.lower()} electrode [mol.m-3]"] = put(
            f"Initial concentration in {electrode.lower()} electrode [mol.m-3]"
        )
    scaled["Positive electrode OCP [V]"] = cathode_potential(values["Positive electrode OCP [V]"])
    return scaled
