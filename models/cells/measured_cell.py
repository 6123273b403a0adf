"""A measured cell: discharge curves, the base set it starts from, and the parameters that fit it.

The forward model is ``warm_cell.warm_discharge``. Which electrode holds how much and where the full
cell starts (the balance) comes from the slowest curve; what that curve still differs by is taken
as the cell's own equilibrium. Resistance, exchange currents and diffusivities follow from faster
curves, held by a prior that was learnt on other measured cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares

from ionbridge.models.cells.electrolyte_profile import PropertyRows
from ionbridge.models.cells.single_particle import CellTables, make_cells
from ionbridge.models.cells.warm_cell import (
    EquilibriumCurve,
    HeatBalance,
    WarmCourse,
    warm_discharge,
)
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

BALANCE = ("capacity", "negative_excess", "negative_full", "positive_full")
KINETICS = (
    "resistance",
    "negative_exchange_current",
    "positive_exchange_current",
    "negative_diffusivity",
    "positive_diffusivity",
    "electrolyte_transport",
    "heat_loss",
)
PARAMETERS = BALANCE + KINETICS
"""In this order in every vector. ``capacity`` of both electrodes, ``negative_excess`` of the
negative one alone, exchange currents, diffusivities, the electrolyte's transport and the heat loss
are ln of a factor to the base set; ``..._full`` are stoichiometries of the full cell;
``resistance`` is a series resistance times the nominal current, V."""

SHARES = np.concatenate([[0.0, 1e-3, 3e-3, 6e-3], np.linspace(0.01, 1.0, 120)])
"""Of a curve's charge, at which model and measurement are compared."""
N_EFFECTIVE = 8.0
"""Independent points of a curve: what a model lacks is alike over an eighth of a discharge."""
OWN_EQUILIBRIUM_V, OWN_EQUILIBRIUM_SHARE = 0.03, 0.15
"""How far a cell lies off its base set (31 mV in four measured cells), and over which part of the
charge that changes: the balance is read from where knees stand, not from levels."""
VOLTAGE_ERROR_V, CHARGE_ERROR = 3e-3, 2e-3
"""What a curve is trusted to: V, and parts of its charge, which counts where the curve is steep."""
TEMPERATURE_ERROR_K = 0.5
SMOOTH_SHARE = 0.012
"""Over which parts of the charge a measured equilibrium is smoothed."""
LEAST_SHARE, MOST_SHARE = 1e-3, 1.0 - 1e-3
N_EVALUATIONS, N_ROUNDS = 25, 2
LARGEST_DEFECT_V = 0.1
STEP = 1e-4
RATES_APART = 1.5
"""Curves whose rates differ by more tell balance and kinetics apart."""


@dataclass(frozen=True, eq=False)
class MeasuredCurve:
    """One constant-current discharge from full charge.

    Attributes:
        name: As it was given.
        current_A: Positive.
        charge_Ah: (n,) ascending from 0.
        voltage_V: (n,).
        ambient_K: Temperature of the surroundings.
        temperature_K: (n,) of the cell, where it was measured.
        rest_V: Voltage before the current was switched on, where it was measured.
    """

    name: str
    current_A: float
    charge_Ah: Floats
    voltage_V: Floats
    ambient_K: float
    temperature_K: Floats | None = None
    rest_V: float | None = None

    @property
    def capacity_Ah(self) -> float:
        """Charge at the end of the curve."""
        return float(self.charge_Ah[-1])

    def at(self, shares: Floats) -> Floats:
        """Voltage at shares of the charge."""
        return np.interp(shares * self.capacity_Ah, self.charge_Ah, self.voltage_V)


@dataclass(frozen=True)
class Prior:
    """Where parameters lie before a curve is seen, means and standard deviations by PARAMETERS.

    Attributes:
        mean: Kinetics alone; the balance starts from the base set.
        std: Of all.
    """

    mean: Mapping[str, float] = field(default_factory=dict)
    std: Mapping[str, float] = field(
        default_factory=lambda: {
            "capacity": 0.1, "negative_excess": 0.03,
            "negative_full": 0.01, "positive_full": 0.01, "resistance": 0.02,
            "negative_exchange_current": 1.0, "positive_exchange_current": 1.0,
            "negative_diffusivity": 1.0, "positive_diffusivity": 1.0,
            "electrolyte_transport": 0.3, "heat_loss": 0.5,
        }
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class CellBasis:
    """What a fit starts from.

    Attributes:
        tables: The base set.
        diffusivity_shapes: ``Negative``, ``Positive`` -> (n_sto,) ln of the particle diffusivity
            over that at half filling, on a uniform grid of [0, 1].
        nominal_Ah: Capacity that C-rates refer to.
        lower_V: Where discharges end.
        heat_capacity_J_K: Of the cell; infinite for one held at its surroundings' temperature.
        heat_loss_W_K: To the surroundings.
    """

    tables: CellTables
    diffusivity_shapes: Mapping[str, Floats]
    nominal_Ah: float
    lower_V: float
    heat_capacity_J_K: float
    heat_loss_W_K: float

    @property
    def start(self) -> Floats:
        """PARAMETERS of the base set."""
        found = np.zeros(len(PARAMETERS))
        for i, domain in ((2, "negative"), (3, "positive")):
            scalars = self.tables.scalars
            share = (
                scalars[f"Initial concentration in {domain} electrode [mol.m-3]"]
                / scalars[f"Maximum concentration in {domain} electrode [mol.m-3]"]
            )
            found[i] = np.clip(share, LEAST_SHARE, MOST_SHARE)
        found[4] = scalars.get("Contact resistance [Ohm]", 0.0) * self.nominal_Ah
        return found

    def overrides(self, parameters: Floats) -> dict[str, Floats]:
        """Values by PyBaMM's names, (n,) each, of (n, n_parameters)."""
        p = {name: parameters[:, i] for i, name in enumerate(PARAMETERS)}
        values: dict[str, Floats] = {
            "Contact resistance [Ohm]": p["resistance"] / self.nominal_Ah,
            "Electrolyte conductivity factor": np.exp(p["electrolyte_transport"]),
            "Electrolyte diffusivity factor": np.exp(p["electrolyte_transport"]),
        }
        for domain in ("negative", "positive"):
            long = f"{domain} electrode [mol.m-3]"
            base = self.tables.scalars[f"Maximum concentration in {long}"]
            excess = p["negative_excess"] if domain == "negative" else 0.0
            most = base * np.exp(p["capacity"] + excess)
            values[f"Maximum concentration in {long}"] = most
            values[f"Initial concentration in {long}"] = most * p[f"{domain}_full"]
            name = domain.capitalize()
            exchange = np.exp(p[f"{domain}_exchange_current"])
            values[f"{name} electrode exchange-current density factor"] = exchange
            diffusivity = np.exp(p[f"{domain}_diffusivity"])
            values[f"{name} particle diffusivity factor"] = diffusivity
        return values

    def windows(self, parameters: Floats, capacity_Ah: float) -> dict[str, tuple[float, float]]:
        """``Negative`` and ``Positive`` -> least and greatest stoichiometry of a discharge.

        Args:
            parameters: (n_parameters,).
            capacity_Ah: Its charge.
        """
        nominal = self.tables.scalars["Nominal cell capacity [A.h]"]
        values = self.overrides(parameters[None])
        cells = make_cells(self.tables, capacity_Ah / nominal, 298.15, values)
        found = {}
        for name, own in (("Negative", cells.negative), ("Positive", cells.positive)):
            start = own.start.item()
            end = start + own.rate.item() * SECONDS_PER_HOUR
            found[name] = (
                float(np.clip(min(start, end), 0.0, 1.0)),
                float(min(max(start, end), 1.0)),
            )
        return found

    def discharge(
        self,
        parameters: Floats,
        current_A: Floats,
        charge_Ah: Floats,
        ambient_K: Floats,
        residual: EquilibriumCurve | None = None,
    ) -> WarmCourse:
        """Discharges of n cells.

        Args:
            parameters: (n, n_parameters).
            current_A: (n,).
            charge_Ah: (n, m) ascending from 0.
            ambient_K: (n,).
            residual: What the equilibrium lies above the base set's.
        """
        scalars = self.tables.scalars
        rate = current_A / scalars["Nominal cell capacity [A.h]"]
        cells = make_cells(self.tables, rate, ambient_K, self.overrides(parameters))
        heat = HeatBalance(
            np.full((len(cells), 1), self.heat_capacity_J_K),
            self.heat_loss_W_K * np.exp(parameters[:, -1:]),
        )
        shapes = {}
        for domain, logs in self.diffusivity_shapes.items():
            rows = np.broadcast_to(np.exp(logs), (len(cells), len(logs)))
            shapes[domain] = PropertyRows(np.ascontiguousarray(rows), 1.0 / (len(logs) - 1))
        time = charge_Ah * SECONDS_PER_HOUR / current_A[:, None]
        return warm_discharge(cells, time, heat, shapes, residual)


@dataclass(frozen=True, eq=False)
class FittedCell:
    """What curves say about a cell.

    Attributes:
        basis: What the fit started from.
        parameters: PARAMETERS at the maximum of the posterior.
        covariance: Of the parameters (Laplace).
        prior: That held them.
        residual: The cell's own equilibrium above the base set's.
        slowest_A: Current of the slowest curve.
        capacity_Ah: Charge of that curve.
    """

    basis: CellBasis
    parameters: Floats
    covariance: Floats
    prior: Prior
    residual: EquilibriumCurve
    slowest_A: float
    capacity_Ah: float

    @property
    def std(self) -> Floats:
        """Standard deviation of the parameters."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def informed(self) -> dict[str, float]:
        """Parameter -> share of the prior's width that the curves took away, 0 to 1."""
        return {
            name: float(np.clip(1.0 - s / self.prior.std[name], 0.0, 1.0))
            for name, s in zip(PARAMETERS, self.std, strict=True)
        }

    def diffusion_s(self, electrode: str, temperature_K: float) -> float:
        """Radius squared over diffusivity of an electrode's particles at half filling, s.

        Args:
            electrode: ``Negative`` or ``Positive``.
            temperature_K: Of the cell.
        """
        tables = self.basis.tables
        values = self.basis.overrides(self.parameters[None])
        cells = make_cells(tables, 1.0, temperature_K, values)
        own = cells.negative if electrode == "Negative" else cells.positive
        return float(own.diffusion_time[0, 0])

    def course(self, current_A: float, charge_Ah: Floats, ambient_K: float) -> WarmCourse:
        """One discharge of the fitted cell at (m,) charges; arrays of the result are (1, m)."""
        return self.basis.discharge(
            self.parameters[None],
            np.array([current_A]),
            np.asarray(charge_Ah, dtype=float)[None],
            np.array([ambient_K]),
            self.residual,
        )


Solver = Callable[[Floats, MeasuredCurve], Floats | None]
"""Parameters and a curve -> its voltage at SHARES by a fuller model; None where that gives up."""


def fit_cell(
    basis: CellBasis,
    curves: Sequence[MeasuredCurve],
    prior: Prior | None = None,
    solver: Solver | None = None,
) -> FittedCell:
    """Fit a cell to measured discharges.

    Args:
        basis: Base set and heat balance.
        curves: At least one; the slowest gives the balance.
        prior: Of the parameters.
        solver: A fuller model. What it lies off the closed form at the parameters found is added to
            the closed form and the fit is taken again, so that both have the same optimum.

    Raises:
        ValueError: No curve.
    """
    if not curves:
        raise ValueError("expected at least one measured curve")
    prior = prior or Prior()
    mean = basis.start
    for i, name in enumerate(PARAMETERS):
        mean[i] += prior.mean.get(name, 0.0)
    ordered = sorted(curves, key=lambda c: c.current_A)
    slow = slow_curves(ordered)
    fast = ordered[len(slow) :]
    n_balance = len(BALANCE)
    own = list(range(n_balance))
    # levels first: where an electrode ends far too early, knees do not say which way to go
    found, _ = _Fit(basis, slow, mean, prior, own).solve(mean)
    balance = _Fit(basis, slow, mean, prior, own, whitening=_own_whitening(slow))
    found, covariance = balance.solve(found)
    residual = own_equilibrium(basis, slow, found, _solved(solver, found, slow))
    if fast:
        free = list(range(n_balance, len(PARAMETERS)))
        for _ in range(N_ROUNDS):
            kinetics = _Fit(
                basis,
                [*slow, *fast],
                mean,
                prior,
                free,
                residual,
                _defects(basis, solver, found, [*slow, *fast]),
            )
            found, faster = kinetics.solve(found)
            residual = own_equilibrium(basis, slow, found, _solved(solver, found, slow))
        covariance[np.ix_(free, free)] = faster[np.ix_(free, free)]
    return FittedCell(
        basis=basis,
        parameters=found,
        covariance=covariance,
        prior=prior,
        residual=residual,
        slowest_A=ordered[0].current_A,
        capacity_Ah=max(c.capacity_Ah for c in slow),
    )


class _Fit:
    """Regularised least squares of some parameters, all curves and derivatives in one batch."""

    def __init__(
        self,
        basis: CellBasis,
        curves: Sequence[MeasuredCurve],
        mean: Floats,
        prior: Prior,
        free: list[int],
        residual: EquilibriumCurve | None = None,
        defects: Floats | float = 0.0,
        whitening: Floats | None = None,
    ) -> None:
        self.basis, self.curves, self.mean, self.free = basis, curves, mean, free
        self.defects = defects
        self.residual = residual
        self.std = np.array([prior.std[name] for name in PARAMETERS])
        self.volts = np.stack([c.at(SHARES) for c in curves])
        self.charge = np.stack([SHARES * c.capacity_Ah for c in curves])
        if whitening is None:
            weight = np.sqrt(N_EFFECTIVE / len(SHARES))
            whitening = np.stack([np.diag(weight * curve_weights(c)) for c in curves])
        self.whitening = whitening

    def solve(self, start: Floats) -> tuple[Floats, Floats]:
        """Parameters, and the covariance of all: those held have the prior's."""
        free = self.free
        low, high = np.full(len(PARAMETERS), -np.inf), np.full(len(PARAMETERS), np.inf)
        low[2:4], high[2:4] = LEAST_SHARE, MOST_SHARE
        low[len(BALANCE)] = 0.0  # no resistance is negative
        begin = np.clip(start[free], low[free] + 1e-6, high[free] - 1e-6)
        solved = least_squares(
            lambda p: self._residuals(start, p[None])[0],
            begin,
            lambda p: self._jacobian(start, p),
            bounds=(low[free], high[free]),
            x_scale=self.std[free],
            max_nfev=N_EVALUATIONS,
        )
        found = start.copy()
        found[free] = solved.x
        covariance = np.diag(self.std**2)
        information = solved.jac.T @ solved.jac
        covariance[np.ix_(free, free)] = np.linalg.inv(information)
        return found, covariance

    def _residuals(self, start: Floats, points: Floats) -> Floats:
        k, n = len(points), len(self.curves)
        whole = np.tile(start, (k, 1))
        whole[:, self.free] = points
        course = self.basis.discharge(
            np.repeat(whole, n, axis=0),
            np.tile([c.current_A for c in self.curves], k),
            np.tile(self.charge, (k, 1)),
            np.tile([c.ambient_K for c in self.curves], k),
            self.residual,
        )
        volts = course.voltage_V.reshape(k, n, -1) + self.defects
        off = np.nan_to_num(volts - self.volts, nan=1e3, posinf=1e3, neginf=-1e3)
        parts = [np.einsum("nij,knj->kni", self.whitening, off).reshape(k, -1)]
        kelvin = course.temperature_K.reshape(k, n, -1)
        for i, curve in enumerate(self.curves):
            if curve.temperature_K is not None:
                measured = np.interp(self.charge[i], curve.charge_Ah, curve.temperature_K)
                weight = np.sqrt(N_EFFECTIVE / len(SHARES)) / TEMPERATURE_ERROR_K
                parts.append((kelvin[:, i] - measured) * weight)
        parts.append((points - self.mean[self.free]) / self.std[self.free])
        whole = np.concatenate(parts, axis=1)
        return np.asarray(np.nan_to_num(whole, nan=1e3, posinf=1e3, neginf=-1e3))

    def _jacobian(self, start: Floats, point: Floats) -> Floats:
        steps = STEP * np.eye(len(point))
        values = self._residuals(start, np.vstack([point, point + steps]))
        return np.asarray((values[1:] - values[0]).T / STEP)


def slow_curves(curves: Sequence[MeasuredCurve]) -> list[MeasuredCurve]:
    """The slowest curve, and those that are hardly faster."""
    slowest = min(c.current_A for c in curves)
    return [c for c in curves if c.current_A <= RATES_APART * slowest]


def _solved(
    solver: Solver | None, parameters: Floats, curves: Sequence[MeasuredCurve]
) -> list[Floats] | None:
    """Curves by the fuller model, None where there is none or it gives up."""
    if solver is None:
        return None
    found = []
    for curve in curves:
        volts = solver(parameters, curve)
        if volts is None:
            return None
        found.append(volts)
    return found


def _defects(
    basis: CellBasis, solver: Solver | None, parameters: Floats, curves: Sequence[MeasuredCurve]
) -> Floats | float:
    """(n, m) what the fuller model lies above the closed form, V, within LARGEST_DEFECT_V."""
    solved = _solved(solver, parameters, curves)
    if solved is None:
        return 0.0
    n = len(curves)
    course = basis.discharge(
        np.tile(parameters, (n, 1)),
        np.array([c.current_A for c in curves]),
        np.stack([SHARES * c.capacity_Ah for c in curves]),
        np.array([c.ambient_K for c in curves]),
    )
    off = np.stack(solved) - course.voltage_V
    return np.clip(off, -LARGEST_DEFECT_V, LARGEST_DEFECT_V)


def _own_whitening(curves: Sequence[MeasuredCurve]) -> Floats:
    """(n, m, m) by which errors at SHARES become independent, each curve's own equilibrium apart.

    That is a Gaussian process along the charge, beside what a curve is trusted to.
    """
    apart = (SHARES[:, None] - SHARES[None, :]) / OWN_EQUILIBRIUM_SHARE
    own = OWN_EQUILIBRIUM_V**2 * np.exp(-0.5 * apart**2)
    found = []
    for curve in curves:
        lower = cholesky(own + np.diag(curve_weights(curve) ** -2.0), lower=True)
        found.append(solve_triangular(lower, np.eye(len(SHARES)), lower=True))
    return np.stack(found)


def curve_weights(curve: MeasuredCurve) -> Floats:
    """1 / error of a curve at SHARES, 1/V: less where it is steep."""
    volts = gaussian_filter1d(curve.at(SHARES), 1.0)
    slope = np.abs(np.gradient(volts, SHARES))
    return np.asarray(1.0 / np.sqrt(VOLTAGE_ERROR_V**2 + (CHARGE_ERROR * slope) ** 2))


def own_equilibrium(
    basis: CellBasis,
    slow: Sequence[MeasuredCurve],
    parameters: Floats,
    solved: Sequence[Floats] | None = None,
) -> EquilibriumCurve:
    """What slow curves lie above the model, smoothed, by the charge that the surfaces show gone.

    Args:
        basis: Base set.
        slow: Curves.
        parameters: (n_parameters,).
        solved: Voltages of the curves at SHARES by another solver than the closed form.
    """
    n = len(slow)
    course = basis.discharge(
        np.tile(parameters, (n, 1)),
        np.array([c.current_A for c in slow]),
        np.stack([SHARES * c.capacity_Ah for c in slow]),
        np.array([c.ambient_K for c in slow]),
    )
    modelled = course.voltage_V if solved is None else np.stack(list(solved))
    above = np.stack([c.at(SHARES) for c in slow]) - modelled
    weight = np.stack([curve_weights(c) for c in slow]) ** 2
    reach = course.reach_Ah
    most = float(max(reach.max(), max(c.capacity_Ah for c in slow)))
    grid = np.linspace(0.0, most, 241)
    width = SMOOTH_SHARE * most
    # local straight lines, so that the ends are not flattened
    apart = (reach.ravel()[None, :] - grid[:, None]) / width
    kernel = np.exp(-0.5 * apart**2) * weight.ravel()[None, :] + 1e-300
    total = kernel.sum(axis=1)
    centre = (kernel * apart).sum(axis=1) / total
    level = (kernel * above.ravel()).sum(axis=1) / total
    spread = (kernel * (apart - centre[:, None]) ** 2).sum(axis=1) + 0.05 * total
    slope = (kernel * (apart - centre[:, None]) * above.ravel()).sum(axis=1) / spread
    shift = np.clip(-centre, -2.0, 2.0)
    return EquilibriumCurve(grid, level + slope * shift)
