"""A fitted cell solved with PyBaMM's DFN, with its own heat: what the closed form is checked by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cells.measured_cell import PARAMETERS, CellBasis, FittedCell
from ionbridge.screening.cell.base_cells import import_pybamm
from ionbridge.screening.cell.discharge import quiet
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

N_THROUGH, N_SEPARATOR, N_RADIAL = 20, 10, 30
TOLERANCE = 1e-5
BEYOND_V = 0.3
"""How far below the lower cut-off a cell is followed."""
_VOLUME_M3, _THICKNESS_M = 1e-5, 1e-5
"""Of the lumped cell: only heat capacity and heat loss count, which are set exactly."""


@dataclass(frozen=True, eq=False)
class DfnCell:
    """A parameter set whose PARAMETERS can be set from solve to solve.

    Attributes:
        values: ``pybamm.ParameterValues`` of the base set.
        basis: The same set as tables, and the cell's heat balance.
    """

    values: Any
    basis: CellBasis

    def discharge(
        self, parameters: Floats, current_A: float, ambient_K: float, longest_Ah: float
    ) -> tuple[Floats, Floats, Floats]:
        """One discharge from full charge at constant current.

        Args:
            parameters: (n_parameters,).
            current_A: Positive.
            ambient_K: Of the surroundings, and of the cell at first.
            longest_Ah: Charge at which to stop at the latest.

        Returns:
            (n,) charge in Ah, voltage in V, temperature in K.

        Raises:
            ValueError: The solver gave up; its first words.
        """
        pybamm = import_pybamm()
        inputs = {name: float(v) for name, v in zip(PARAMETERS, parameters, strict=True)}
        inputs |= {"current_A": current_A, "ambient_K": ambient_K}
        try:
            with quiet():
                longest = longest_Ah / current_A * SECONDS_PER_HOUR
                solution = self._simulation.solve([0.0, longest], inputs=inputs)
        except (pybamm.SolverError, pybamm.ModelError, ValueError, RuntimeError) as error:
            raise ValueError(str(error).strip().split("\n")[0][:160]) from error
        time = np.asarray(solution.t, dtype=float)
        return (
            current_A * time / SECONDS_PER_HOUR,
            np.asarray(solution["Voltage [V]"].entries, dtype=float),
            np.asarray(solution["Volume-averaged cell temperature [K]"].entries, dtype=float),
        )

    def fitted_values(self, cell: FittedCell) -> Any:
        """``pybamm.ParameterValues`` of a fit, its own equilibrium in the positive electrode's."""
        pybamm = import_pybamm()
        numbers = dict(zip(PARAMETERS, cell.parameters.tolist(), strict=True))
        values = self.values.copy()
        values.update(self._changes(numbers.__getitem__, math.exp), check_already_exists=False)
        shipped = values["Positive electrode OCP [V]"]
        window = self.basis.windows(cell.parameters, cell.capacity_Ah)["Positive"]
        span = (window[1] - window[0]) / cell.capacity_Ah
        filling = window[0] + cell.residual.charge_Ah * span
        above = cell.residual.voltage_V

        def potential(stoichiometry: Any) -> Any:
            base = shipped(stoichiometry) if callable(shipped) else shipped
            inside = pybamm.maximum(pybamm.minimum(stoichiometry, filling[-1]), filling[0])
            return base + pybamm.Interpolant(filling, above, inside, name="own_equilibrium")

        values.update({"Positive electrode OCP [V]": potential})
        return values

    def _changes(self, put: Callable[[str], Any], exp: Callable[[Any], Any]) -> dict[str, Any]:
        """The base set's values that PARAMETERS move.

        Args:
            put: Parameter -> number or symbol.
            exp: Of such a number or symbol.
        """
        values = self.values

        def scaled(name: str, factor: str) -> Callable[..., Any] | Any:
            shipped = values[name]
            scale = exp(put(factor))
            if callable(shipped):
                return lambda *arguments: scale * shipped(*arguments)
            return scale * shipped

        scalars = self.basis.tables.scalars
        changed: dict[str, Any] = {
            "Contact resistance [Ohm]": put("resistance") / self.basis.nominal_Ah
        }
        for name in ("conductivity [S.m-1]", "diffusivity [m2.s-1]"):
            changed[f"Electrolyte {name}"] = scaled(f"Electrolyte {name}", "electrolyte_transport")
        for domain in ("negative", "positive"):
            part = domain.capitalize()
            long = f"{domain} electrode [mol.m-3]"
            log = put("capacity") + (put("negative_excess") if domain == "negative" else 0.0)
            most = scalars[f"Maximum concentration in {long}"] * exp(log)
            changed[f"Maximum concentration in {long}"] = most
            changed[f"Initial concentration in {long}"] = most * put(f"{domain}_full")
            exchange = f"{part} electrode exchange-current density [A.m-2]"
            changed[exchange] = scaled(exchange, f"{domain}_exchange_current")
            diffusivity = f"{part} particle diffusivity [m2.s-1]"
            changed[diffusivity] = scaled(diffusivity, f"{domain}_diffusivity")
        return changed

    @cached_property
    def _simulation(self) -> Any:
        pybamm = import_pybamm()
        put = pybamm.InputParameter
        values = self.values.copy()
        changed = {
            **self._changes(put, pybamm.exp),
            "Current function [A]": put("current_A"),
            "Ambient temperature [K]": put("ambient_K"),
            "Initial temperature [K]": put("ambient_K"),
            "Upper voltage cut-off [V]": 100.0,
            "Lower voltage cut-off [V]": max(self.basis.lower_V - BEYOND_V, 0.1),
        }
        options = {"contact resistance": "true"}
        if np.isfinite(self.basis.heat_capacity_J_K):
            options["thermal"] = "lumped"
            loss = self.basis.heat_loss_W_K * pybamm.exp(put("heat_loss"))
            changed |= {
                "Cell volume [m3]": _VOLUME_M3,
                "Cell cooling surface area [m2]": 1.0,
                "Total heat transfer coefficient [W.m-2.K-1]": loss,
            }
            layers = ("Negative electrode", "Positive electrode", "Separator")
            collectors = ("Negative current collector", "Positive current collector")
            for layer in (*layers, *collectors):
                changed[f"{layer} density [kg.m-3]"] = 1.0
                changed[f"{layer} specific heat capacity [J.kg-1.K-1]"] = (
                    self.basis.heat_capacity_J_K / _VOLUME_M3
                )
                changed[f"{layer} thermal conductivity [W.m-1.K-1]"] = 1.0
            for layer in collectors:
                changed[f"{layer} thickness [m]"] = _THICKNESS_M
                changed[f"{layer} conductivity [S.m-1]"] = 1e8
        values.update(changed, check_already_exists=False)
        return pybamm.Simulation(
            pybamm.lithium_ion.DFN(options),
            parameter_values=values,
            var_pts={
                "x_n": N_THROUGH, "x_s": N_SEPARATOR, "x_p": N_THROUGH,
                "r_n": N_RADIAL, "r_p": N_RADIAL,
            },
            solver=pybamm.IDAKLUSolver(rtol=TOLERANCE, atol=0.1 * TOLERANCE),
        )  # fmt: skip
