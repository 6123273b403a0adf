"""A base cell's functions as tables, so that a reduced-order model needs no PyBaMM to be used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cells.single_particle import CellTables, ElectrodeTables

Floats = NDArray[np.float64]

N_STOICHIOMETRIES = 4001
TEMPERATURES_K = np.arange(253.15, 338.2, 5.0)
CONCENTRATIONS = np.linspace(0.0, 4000.0, 81)
"""mol/m3."""
INNER = 1e-6
"""How near to empty and full the potentials are evaluated."""


def tabulate(parameters: Any, name: str) -> CellTables:
    """Tables of a parameter set.

    Args:
        parameters: ``pybamm.ParameterValues`` of a lithium-ion cell.
        name: Name of the base cell.
    """
    import pybamm

    symbols = pybamm.LithiumIonParameters()
    kelvin = float(parameters["Reference temperature [K]"])
    first = float(parameters["Initial concentration in electrolyte [mol.m-3]"])
    stoichiometry = np.clip(np.linspace(0.0, 1.0, N_STOICHIOMETRIES), INNER, 1.0 - INNER)

    def values(symbol: Any) -> Floats:
        found = parameters.process_symbol(symbol).evaluate()
        return np.asarray(found, dtype=float).ravel()

    def column(numbers: Floats) -> Any:
        return pybamm.Vector(np.asarray(numbers, dtype=float))

    def electrode(domain: Any) -> ElectrodeTables:
        particle = domain.prim
        x = column(stoichiometry)

        def exchange(at: float) -> Floats:
            level = pybamm.Scalar(first) * pybamm.Vector(np.ones(N_STOICHIOMETRIES))
            return np.log(values(particle.j0(level, x * particle.c_max, pybamm.Scalar(at))))

        def potential(at: float) -> Floats:
            return np.broadcast_to(values(particle.U(x, pybamm.Scalar(at))), N_STOICHIOMETRIES)

        at_reference = exchange(kelvin)
        half = N_STOICHIOMETRIES // 2
        diffusivity = [
            values(particle.D(column(np.array([0.5])) * particle.c_max, pybamm.Scalar(t)))[0]
            for t in TEMPERATURES_K
        ]
        base = potential(kelvin)
        return ElectrodeTables(
            potential=base,
            entropic=(potential(kelvin + 10.0) - base) / 10.0,
            log_exchange=at_reference,
            log_exchange_factor=np.array(
                [exchange(t)[half] - at_reference[half] for t in TEMPERATURES_K]
            ),
            log_diffusivity=np.log(np.array(diffusivity)),
        )

    def electrolyte(function: Any) -> Floats:
        rows = []
        for t in TEMPERATURES_K:
            found = values(function(column(np.maximum(CONCENTRATIONS, 1.0)), pybamm.Scalar(t)))
            rows.append(np.broadcast_to(found, len(CONCENTRATIONS)))
        return np.array(rows)

    scalars = {}
    for key, value in parameters.items():
        try:
            scalars[key] = float(value)
        except (TypeError, ValueError):
            continue
    return CellTables(
        name=name,
        temperatures=TEMPERATURES_K,
        concentrations=CONCENTRATIONS,
        negative=electrode(symbols.n),
        positive=electrode(symbols.p),
        conductivity=electrolyte(symbols.kappa_e),
        diffusivity=electrolyte(symbols.D_e),
        thermodynamic_factor=electrolyte(
            lambda c, t: symbols.chi(c, t) / (2.0 * (1.0 - symbols.t_plus(c, t)))
        ),
        scalars=scalars,
    )
