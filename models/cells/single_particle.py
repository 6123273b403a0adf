"""A lithium-ion cell at constant current in closed form: one particle for each electrode.

Diffusion in the spheres is exact (constant flux), reaction overpotentials are Butler-Volmer's at
the surface, and the electrolyte is the profile of a uniform reaction that relaxes with one time
constant (after Marquis et al., J. Electrochem. Soc. 166, A3693 (2019)). What a porous-electrode
model adds is the uneven reaction across the electrodes; ``ionbridge.models.cells.cell_rom`` learns
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from ionbridge.models.cells.electrolyte_profile import (
    DEPLETED,
    REGIONS,
    WEIGHTS,
    PropertyRows,
    ohmic_factor,
    steady_profile,
)
from ionbridge.structures.compiled import compiled
from ionbridge.structures.units import BOLTZMANN_EV_PER_K, FARADAY_C_PER_MOL, SECONDS_PER_HOUR

Floats = NDArray[np.float64]

SHORTEST, LONGEST = 1e-7, 2.0
"""Fourier numbers between which the lag is tabulated; sqrt(Fo) holds before, 1/15 after."""
N_FOURIER = 2000
LOG_SHORTEST = float(np.log(SHORTEST))
LOG_STEP = float(np.log(LONGEST / SHORTEST)) / (N_FOURIER - 1)
SATURATED_SLOPE_V = 500.0
"""Volts a unit of stoichiometry with which a potential goes on beyond empty and full."""
CROWDED = 0.05
"""Crowding beyond which the closed form says little about a cell."""
SHORT_OF_SALT = -0.5
"""Change of the mean concentration beyond which what is learnt errs by a tenth of a per cent."""
OVERSHOOT = 0.1
"""How far beyond empty or full a surface is followed."""
EDGE = 1e-4
"""Exchange currents are not followed closer than this to an empty or full surface."""
SLOPE_STEP = 1e-3
FLAT_V = 1e-4
"""Slopes of a potential below this are taken as this, V."""
INITIAL_SALT = "Initial concentration in electrolyte [mol.m-3]"
TRANSFERENCE = "Cation transference number"
THERMODYNAMIC_FACTOR = "Thermodynamic factor"
N_SECTIONS, N_ROUNDS = 32, 3
"""Of the search for the end of discharge."""
_GRID = np.linspace(0.0, 1.0, N_SECTIONS + 1)


@dataclass(frozen=True, eq=False)
class ElectrodeTables:
    """What an electrode's material is, tabulated.

    Attributes:
        potential: (n_sto,) open-circuit potential on a uniform grid of [0, 1], V.
        entropic: (n_sto,) its temperature coefficient, V/K.
        log_exchange: (n_sto,) ln of the exchange current density in A/m2 at the initial
            electrolyte concentration and the reference temperature.
        log_exchange_factor: (n_T,) ln of its factor at each temperature.
        log_diffusivity: (n_T,) ln of the particle diffusivity in m2/s.
    """

    potential: Floats
    entropic: Floats
    log_exchange: Floats
    log_exchange_factor: Floats
    log_diffusivity: Floats


@dataclass(frozen=True, eq=False)
class CellTables:
    """A base cell: materials as tables, geometry and limits as scalars named like PyBaMM's.

    Attributes:
        name: Name of the base cell.
        temperatures: (n_T,) K, ascending.
        concentrations: (n_c,) electrolyte concentrations, mol/m3, uniform from 0.
        negative: Negative electrode.
        positive: Positive electrode.
        conductivity: (n_T, n_c) of the electrolyte, S/m.
        diffusivity: (n_T, n_c) of the electrolyte, m2/s.
        thermodynamic_factor: (n_T, n_c), 1 + dlnf/dlnc.
        scalars: Every other parameter in SI.
    """

    name: str
    temperatures: Floats
    concentrations: Floats
    negative: ElectrodeTables
    positive: ElectrodeTables
    conductivity: Floats
    diffusivity: Floats
    thermodynamic_factor: Floats
    scalars: Mapping[str, float]

    @cached_property
    def both(self) -> Mapping[str, Floats]:
        """Tables of both electrodes by their names, the positive's behind the negative's."""
        names = ("potential", "entropic", "log_exchange")
        return {
            k: np.concatenate([getattr(self.negative, k), getattr(self.positive, k)]) for k in names
        }

    @cached_property
    def has_entropic(self) -> bool:
        """Whether potentials change with temperature."""
        return bool(self.positive.entropic.any() or self.negative.entropic.any())


@dataclass(frozen=True, eq=False)
class ElectrodeState:
    """One electrode of n cells; everything (n, 1) but ``tables``.

    Attributes:
        tables: Its material.
        rate: d(mean stoichiometry)/dt, 1/s; positive where it fills.
        start: Stoichiometry of the full cell.
        diffusion_time: R^2 / D, s.
        reaction: Mean interfacial current density |j|, A/m2.
        log_exchange_factor: ln of the exchange current's factor at the temperature.
        ohmic: I L / kappa_eff at the initial concentration, V.
        solid: I L / sigma_eff, V.
        depletion: Mean steady electrolyte concentration over the initial one, minus 1.
        room: Fraction of the electrode that is left to fill or empty.
        crowding: By how much more than the mean what takes part in the reaction takes, once the
            salt has settled: 1 / depth - 1, see ``electrolyte_profile.Profile``.
    """

    tables: ElectrodeTables
    rate: Floats
    start: Floats
    diffusion_time: Floats
    reaction: Floats
    log_exchange_factor: Floats
    ohmic: Floats
    solid: Floats
    depletion: Floats
    room: Floats
    crowding: Floats


@dataclass(frozen=True, eq=False)
class Salt:
    """The electrolyte of n cells; regions in the order of REGIONS.

    Attributes:
        start: (n, 1) initial concentration, mol/m3.
        density: (n, 1) current over the electrodes' area, A/m2.
        flux: (n, 1) density (1 - t+) / F, mol/m2/s.
        thickness: (n, 3) m.
        porosity: (n, 3).
        efficiency: (n, 3) effective over bulk transport.
        diffusivity: m2/s.
        conductivity: S/m.
        relative_factor: 1 + dlnf/dlnc over that at the initial concentration.
    """

    start: Floats
    density: Floats
    flux: Floats
    thickness: Floats
    porosity: Floats
    efficiency: Floats
    diffusivity: PropertyRows
    conductivity: PropertyRows
    relative_factor: PropertyRows

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Salt:
        """That of the chosen cells."""

        def chosen(value: Floats | PropertyRows) -> Any:
            if isinstance(value, PropertyRows):
                return replace(value, values=value.values[index])
            return value[index]

        return Salt(**{f.name: chosen(getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Cells:
    """n cells of one base cell under constant discharge current; arrays are (n, 1).

    Attributes:
        tables: The base cell.
        negative: Negative electrode.
        positive: Positive electrode.
        temperature: K.
        thermal: R T / F, V.
        c_rate: Current over the nominal one.
        current: A.
        duration: s until the scarcer electrode's mean stoichiometry has reached its end.
        relaxation: Time constant of the electrolyte, s.
        separator: I L / kappa_eff of the separator, V.
        concentration: Prefactor 2 (1 - t+) (1 + dlnf/dlnc) R T / F, V.
        curvature: What averages of ln c differ by from logarithms of averages, both electrodes.
        ohmic_steady: Factor of the electrolyte's ohmic drop at the steady profile.
        lower_V: Voltage at which the discharge ends.
        contact: I times contact resistance, V.
        salt: The electrolyte itself.
    """

    tables: CellTables
    negative: ElectrodeState
    positive: ElectrodeState
    temperature: Floats
    thermal: Floats
    c_rate: Floats
    current: Floats
    duration: Floats
    relaxation: Floats
    separator: Floats
    concentration: Floats
    curvature: Floats
    ohmic_steady: Floats
    lower_V: Floats
    contact: Floats
    salt: Salt

    def __len__(self) -> int:
        return len(self.c_rate)

    @cached_property
    def packed(self) -> Floats:
        """(OF_CELL + 2 OF_ELECTRODE, n, 1) what the compiled loops ask of cells.

        (.., n, m) where something changes with time.
        """
        kelvin = self.temperature - self.tables.scalars.get("Reference temperature [K]", np.nan)
        columns = [
            self.relaxation, self.thermal, self.separator, self.ohmic_steady, self.concentration,
            self.curvature, self.contact, kelvin,
        ]  # fmt: skip
        for own in (self.negative, self.positive):
            columns += [
                own.rate, own.start, own.diffusion_time, own.reaction, own.log_exchange_factor,
                own.depletion, own.crowding, own.ohmic, own.solid,
            ]  # fmt: skip
        found = np.empty((len(columns), len(self), max(c.shape[1] for c in columns)))
        for row, column in zip(found, columns, strict=True):
            row[...] = column
        return found

    @property
    def salt_lasts(self) -> NDArray[np.bool_]:
        """(n,) False where salt that has settled does not reach all of the positive electrode."""
        return np.asarray(self.positive.crowding[:, 0] <= CROWDED)

    @property
    def salt_is_short(self) -> NDArray[np.bool_]:
        """(n,) True where the positive electrode loses half of its salt or more, or all of it."""
        return np.asarray(~self.salt_lasts | (self.positive.depletion[:, 0] < SHORT_OF_SALT))

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Cells:
        """The chosen cells, by integers, mask or slice."""

        def chosen(record: Any) -> dict[str, Any]:
            names = [f.name for f in fields(record)]
            values = {name: getattr(record, name) for name in names}
            return {k: v[index] for k, v in values.items() if isinstance(v, np.ndarray)}

        return replace(
            self,
            negative=replace(self.negative, **chosen(self.negative)),
            positive=replace(self.positive, **chosen(self.positive)),
            salt=self.salt.take(index),
            **chosen(self),
        )

    @property
    def full_capacity_Ah(self) -> Floats:
        """(n, 1) charge that the scarcer electrode could give at no current at all."""
        return self.current * self.duration / SECONDS_PER_HOUR


@dataclass(frozen=True, eq=False)
class Surface:
    """One electrode at (n, m) moments.

    Attributes:
        mean: Mean stoichiometry of what takes part.
        surface: Stoichiometry at the surface; beyond [0, 1] where diffusion cannot follow.
        overpotential: Of the reaction, V, positive.
    """

    mean: Floats
    surface: Floats
    overpotential: Floats


@dataclass(frozen=True, eq=False)
class Discharge:
    """The closed form at (n, m) moments.

    Attributes:
        negative: Negative electrode.
        positive: Positive electrode.
        settled: How far the electrolyte's profile has formed, 0 to 1.
        drop: Ohmic drops, concentration overpotential and the change of the open-circuit voltage
            from the reference temperature to the cells', V, counted as a loss.
    """

    negative: Surface
    positive: Surface
    settled: Floats
    drop: Floats


@cache
def _lag_table() -> Floats:
    """h(Fo) = (surface - mean) D / (rate R^2) of a sphere under constant flux, on a log grid.

    Carslaw and Jaeger, Conduction of Heat in Solids, 9.7: 1/15 - 2/3 sum exp(-l^2 Fo) / l^2 with
    tan l = l; for short times the half-space form with curvature, exact but for exp(-1/Fo).
    """
    fourier = np.exp(np.linspace(np.log(SHORTEST), np.log(LONGEST), N_FOURIER))
    short = (np.exp(fourier) * (1.0 + erf(np.sqrt(fourier))) - 1.0) / 3.0 - fourier
    roots = (np.arange(1, 31) + 0.5) * np.pi
    for _ in range(50):
        roots = np.arange(1, 31) * np.pi + np.arctan(roots)
    long = 1 / 15 - 2 / 3 * (np.exp(-np.outer(fourier, roots**2)) / roots**2).sum(axis=1)
    found: Floats = np.where(fourier < 0.02, short, long)
    return found


def diffusion_lag(fourier: ArrayLike) -> Floats:
    """Surface minus mean stoichiometry in units of rate R^2 / D, any shape.

    Args:
        fourier: D t / R^2.
    """
    tau = np.asarray(fourier, dtype=float)
    position = (np.log(np.maximum(tau, SHORTEST)) - LOG_SHORTEST) * (1.0 / LOG_STEP)
    index = np.minimum(position.astype(np.intp), N_FOURIER - 2)
    part = np.minimum(position - index, 1.0)
    table = _lag_table()
    left = table[index]
    lag = left + (table[index + 1] - left) * part
    return np.asarray(lag * np.sqrt(between(tau, 0.0, SHORTEST) * (1.0 / SHORTEST)))


def lookup(table: Floats, stoichiometry: Floats) -> Floats:
    """Linear interpolation on the uniform grid of [0, 1], clipped to it; any shape."""
    return _interpolated(table, between(stoichiometry, 0.0, 1.0))


def between(values: Floats, low: float, high: float) -> Floats:
    """``np.clip``, which takes several times as long on a handful of values."""
    return np.asarray(np.minimum(np.maximum(values, low), high))


def _interpolated(table: Floats, inside: Floats) -> Floats:
    position = inside * (len(table) - 1)
    index = np.minimum(position.astype(np.intp), len(table) - 2)
    left = table[index]
    return np.asarray(left + (table[index + 1] - left) * (position - index))


def potential(table: Floats, stoichiometry: Floats) -> Floats:
    """Open-circuit potential, V, that falls steeply beyond full and rises beyond empty."""
    inside = between(stoichiometry, 0.0, 1.0)
    return _interpolated(table, inside) - SATURATED_SLOPE_V * (stoichiometry - inside)


def make_cells(
    tables: CellTables,
    c_rate: ArrayLike,
    temperature_K: ArrayLike,
    overrides: Mapping[str, ArrayLike] | None = None,
) -> Cells:
    """Cells ready to be discharged.

    Args:
        tables: The base cell.
        c_rate: (n,) or scalar, relative to the base cell's nominal capacity.
        temperature_K: (n,) or scalar.
        overrides: Parameter name -> (n,) values that replace the base cell's. Diffusivities and
            "Electrolyte conductivity [S.m-1]" are taken as they are, at any temperature and
            concentration; "... factor" multiplies the base cell's function; "<region> tortuosity
            factor (electrolyte)" takes the place of the Bruggeman coefficient. Where a value is NaN
            the base cell's stays. Exchange current densities go with the maximum concentration, as
            sqrt(c (c_max - c)) does at one stoichiometry.
    """
    given = {k: np.atleast_1d(np.asarray(v, dtype=float)) for k, v in (overrides or {}).items()}
    rate = np.atleast_1d(np.asarray(c_rate, dtype=float))
    kelvin = np.atleast_1d(np.asarray(temperature_K, dtype=float))
    n = max(len(rate), len(kelvin), *(len(v) for v in given.values()), 1)
    values = _Values(tables, given, np.broadcast_to(kelvin, n), n)
    current = np.broadcast_to(rate, n) * values("Nominal cell capacity [A.h]")
    density = current / (
        values("Electrode height [m]")
        * values("Electrode width [m]")
        * values("Number of electrodes connected in parallel to make a cell")
    )
    start = values(INITIAL_SALT)
    thermal = BOLTZMANN_EV_PER_K * values.temperature  # R T / F in volts
    thickness = {k: values(f"{k} thickness [m]") for k in REGIONS}
    porosity = {k: values(f"{k} porosity") for k in REGIONS}
    efficiency = {k: values.efficiency(k, porosity[k]) for k in REGIONS}
    conductivity = values.of_salt("Electrolyte conductivity", "[S.m-1]", tables.conductivity)
    diffusivity = values.of_salt("Electrolyte diffusivity", "[m2.s-1]", tables.diffusivity)
    salt_free = 1.0 - np.minimum(values(TRANSFERENCE), 1.0)
    flux = density * salt_free / FARADAY_C_PER_MOL
    profile = steady_profile(diffusivity, start, flux, thickness, porosity, efficiency)
    initial = conductivity.at(start[:, None])[:, 0]
    drops = np.stack([density * thickness[k] / (initial * efficiency[k]) for k in REGIONS])
    logs = (np.log(profile.relative) * WEIGHTS).sum(axis=2)
    means = np.log((profile.relative * WEIGHTS).sum(axis=2))

    def electrode(part: str, own: ElectrodeTables, sign: float, region: int) -> ElectrodeState:
        long = f"{part} electrode"
        active = values(f"{long} active material volume fraction")
        largest = values(f"Maximum concentration in {long.lower()} [mol.m-3]")
        radius = values(f"{part} particle radius [m]")
        first = values(f"Initial concentration in {long.lower()} [mol.m-3]") / largest
        filling = density / (FARADAY_C_PER_MOL * thickness[long] * active * largest)
        solid = values(f"{long} conductivity [S.m-1]") * (1.0 - porosity[long]) ** values(
            f"{long} Bruggeman coefficient (electrode)"
        )
        exchange = (
            values.by_temperature(own.log_exchange_factor)
            + np.log(values(f"{long} exchange-current density factor"))
            + np.log(largest / tables.scalars[f"Maximum concentration in {long.lower()} [mol.m-3]"])
            + 0.5 * np.log(start / tables.scalars[INITIAL_SALT])
        )
        return ElectrodeState(
            tables=own,
            rate=_column(sign * filling),
            start=_column(first),
            diffusion_time=_column(radius**2 / values.diffusivity(part, own)),
            reaction=_column(density * radius / (3.0 * active * thickness[long])),
            log_exchange_factor=_column(exchange),
            ohmic=_column(drops[region]),
            solid=_column(density * thickness[long] / solid),
            depletion=_column(np.exp(means[region]) - 1.0),
            room=_column(np.where(sign > 0, 1.0 - first, first)),
            crowding=_column(1.0 / profile.depth - 1.0 if sign > 0 else np.zeros(n)),
        )

    negative = electrode("Negative", tables.negative, -1.0, 0)
    positive = electrode("Positive", tables.positive, 1.0, 2)
    factor = values.by_temperature(tables.thermodynamic_factor)
    if THERMODYNAMIC_FACTOR in tables.scalars:
        factor = np.broadcast_to(values(THERMODYNAMIC_FACTOR)[:, None], factor.shape)
        diffusing = salt_free
    else:  # a law for (1 - t+) (1 + dlnf/dlnc), which were measured as one
        diffusing = 1.0 - np.full(n, tables.scalars.get(TRANSFERENCE, np.nan))
    factors = PropertyRows(factor, tables.concentrations[1])
    factor = factors.at(start[:, None])[:, 0]
    return Cells(
        tables=tables,
        negative=negative,
        positive=positive,
        temperature=_column(values.temperature),
        thermal=_column(thermal),
        c_rate=_column(np.broadcast_to(rate, n)),
        current=_column(current),
        duration=np.minimum(
            negative.room / np.abs(negative.rate), positive.room / np.abs(positive.rate)
        ),
        relaxation=_column(profile.relaxation),
        separator=_column(drops[1]),
        concentration=_column(2.0 * diffusing * factor * thermal),
        curvature=_column((logs[0] - logs[2]) - (means[0] - means[2])),
        ohmic_steady=_column(ohmic_factor(conductivity, start, profile, drops)),
        lower_V=_column(values("Lower voltage cut-off [V]")),
        contact=_column(current * values("Contact resistance [Ohm]")),
        salt=Salt(
            start=_column(start),
            density=_column(density),
            flux=_column(flux),
            thickness=_regions(thickness),
            porosity=_regions(porosity),
            efficiency=_regions(efficiency),
            diffusivity=diffusivity,
            conductivity=conductivity,
            relative_factor=replace(factors, values=factors.values / factor[:, None]),
        ),
    )


def _regions(values: Mapping[str, Floats]) -> Floats:
    """(n, 3) from (n,) of each region."""
    return np.stack([values[k] for k in REGIONS], axis=1)


@dataclass(frozen=True, eq=False)
class _Values:
    """Parameters of n cells: what was given, else the base cell's."""

    tables: CellTables
    given: Mapping[str, Floats]
    temperature: Floats
    n: int

    def __call__(self, name: str) -> Floats:
        """(n,) a number; a factor that is not given is 1."""
        base = self.tables.scalars.get(name, 1.0 if name.endswith(" factor") else np.nan)
        return self.given_or(name, self._ones * base)

    @cached_property
    def _ones(self) -> Floats:
        return np.ones(self.n)

    def given_or(self, name: str, base: Floats) -> Floats:
        """(n,) what was given of a parameter, the base cell's where nothing was."""
        value = self.given.get(name)
        if value is None:
            return base
        return np.where(np.isnan(value), base, value)

    def by_temperature(self, values: Floats) -> Floats:
        """(n, ...) for (n_T, ...): interpolated in 1/T, exact for logarithms of Arrhenius laws."""
        index, part = self._place
        if self.n == 1:  # slices are views
            k, share = index[0], part[0]
            return np.asarray(values[k : k + 1] * (1.0 - share) + values[k + 1 : k + 2] * share)
        part = part.reshape(-1, *([1] * (values.ndim - 1)))
        return np.asarray(values[index] * (1.0 - part) + values[index + 1] * part)

    @cached_property
    def _place(self) -> tuple[NDArray[np.intp], Floats]:
        """Index and part of the temperatures' interval, (n,) each."""
        grid = 1.0 / self.tables.temperatures[::-1]
        rows = np.arange(len(grid), dtype=float)[::-1]
        position = np.interp(1.0 / self.temperature, grid, rows)
        index = np.minimum(position.astype(np.intp), len(grid) - 2)
        return index, position - index

    def of_salt(self, name: str, unit: str, table: Floats) -> PropertyRows:
        """A property of the electrolyte as rows of one cell each."""
        given = self.given.get(f"{name} {unit}")
        if given is not None and not np.isnan(given).any():
            return PropertyRows(np.broadcast_to(given, self.n)[:, None], 1.0)
        rows = self.by_temperature(table) * self(f"{name} factor")[:, None]
        if given is not None:
            rows = np.where(np.isnan(given)[:, None], rows, given[:, None])
        return PropertyRows(rows, self.tables.concentrations[1])

    def efficiency(self, region: str, porosity: Floats) -> Floats:
        """(n,) effective over bulk transport in a region's electrolyte."""
        pores = porosity ** self(f"{region} Bruggeman coefficient (electrolyte)")
        name = f"{region} tortuosity factor (electrolyte)"
        return np.asarray(porosity / self.given_or(name, porosity / pores))

    def diffusivity(self, part: str, own: ElectrodeTables) -> Floats:
        """(n,) in the particles, m2/s."""
        base = np.exp(self.by_temperature(own.log_diffusivity))
        base = base * self(f"{part} particle diffusivity factor")
        return self.given_or(f"{part} particle diffusivity [m2.s-1]", base)


def _column(values: Floats) -> Floats:
    return np.asarray(values, dtype=float).reshape(-1, 1)


def discharge(cells: Cells, time: Floats, fourier: Floats | None = None) -> Discharge:
    """The closed form at given moments.

    Args:
        cells: n cells.
        time: (n, m) seconds since the start.
        fourier: (2, n, m) integral of D / R^2 over time of both electrodes, where it changes.
    """
    tables = cells.tables
    n = len(tables.positive.potential)
    mean, surface, overpotential, settled, drop = _closed_form(
        np.ascontiguousarray(time),
        cells.packed,
        _NO_FOURIER if fourier is None else np.ascontiguousarray(fourier),
        tables.both["log_exchange"].reshape(2, n),
        tables.both["entropic"].reshape(2, n) if tables.has_entropic else _NO_ENTROPY,
        _lag_table(),
    )
    sides = [Surface(mean[i], surface[i], overpotential[i]) for i in (0, 1)]
    return Discharge(sides[0], sides[1], settled, drop)


_NO_FOURIER, _NO_ENTROPY = np.empty((2, 0, 0)), np.empty((2, 0))
OF_CELL, OF_ELECTRODE = 8, 9
"""Rows of ``Cells.packed`` that belong to the cell, and to each electrode."""


@compiled
def on_grid(table: Floats, inside: float) -> float:
    """Linear interpolation on the uniform grid of [0, 1]."""
    last = len(table) - 2
    position = inside * (last + 1)
    k = min(max(int(position), 0), last)
    return float(table[k] + (table[k + 1] - table[k]) * (position - k))


@compiled
def _lag(fourier: float, table: Floats) -> float:
    """`diffusion_lag` of one number."""
    position = (np.log(max(fourier, SHORTEST)) - LOG_SHORTEST) * (1.0 / LOG_STEP)
    k = min(max(int(position), 0), N_FOURIER - 2)
    lag = table[k] + (table[k + 1] - table[k]) * min(position - k, 1.0)
    return float(lag * np.sqrt(min(max(fourier, 0.0), SHORTEST) * (1.0 / SHORTEST)))


@compiled
def _closed_form(
    time: Floats,
    packed: Floats,
    fourier: Floats,
    log_exchange: Floats,
    entropic: Floats,
    lag_table: Floats,
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Mean and surface stoichiometries and overpotentials (2, n, m), settled and drop (n, m)."""
    n, m = time.shape
    varies = packed.shape[2] > 1
    mean, surface, lost = np.empty((2, n, m)), np.empty((2, n, m)), np.empty((2, n, m))
    settled, drop = np.empty((n, m)), np.empty((n, m))
    salt, turned = np.empty(2), np.empty(2)
    for i in range(n):
        for j in range(m):
            at = j if varies else 0
            t, thermal = time[i, j], packed[1, i, at]
            part = 1.0 - np.exp(-t / packed[0, i, at])
            crowded = t - packed[0, i, at] * part
            ohmic, solid = packed[2, i, at], 0.0
            for e in range(2):
                first = OF_CELL + e * OF_ELECTRODE
                rate, tau = packed[first, i, at], packed[first + 2, i, at]
                crowding = packed[first + 6, i, at]
                ohmic += packed[first + 7, i, at] / 3
                solid += packed[first + 8, i, at]
                salt[e] = max(1.0 + part * packed[first + 5, i, at], DEPLETED)
                mean[e, i, j] = packed[first + 1, i, at] + rate * (t + crowding * crowded)
                more = 1.0 + crowding * part
                number = fourier[e, i, j] if fourier.shape[1] else t / tau
                x = mean[e, i, j] + rate * tau * more * _lag(number, lag_table)
                x = min(max(x, -OVERSHOOT), 1.0 + OVERSHOOT)
                surface[e, i, j] = x
                exchange = on_grid(log_exchange[e], min(max(x, EDGE), 1.0 - EDGE))
                drive = packed[first + 3, i, at] * more
                drive *= np.exp(-(exchange + packed[first + 4, i, at]))
                lost[e, i, j] = 2.0 * thermal * np.arcsinh(0.5 * drive / np.sqrt(salt[e]))
                turned[e] = (
                    on_grid(entropic[e], min(max(x, 0.0), 1.0)) if entropic.shape[1] else 0.0
                )
            settled[i, j] = part
            drop[i, j] = (
                ohmic * (1.0 + part * (packed[3, i, at] - 1.0))
                + solid / 3
                + packed[4, i, at] * (np.log(salt[0] / salt[1]) + part * packed[5, i, at])
                + packed[6, i, at]
            )
            if entropic.shape[1]:
                drop[i, j] -= packed[7, i, at] * (turned[1] - turned[0])
    return mean, surface, lost, settled, drop


def voltage(
    cells: Cells,
    state: Discharge,
    shift_negative: Floats | float = 0.0,
    shift_positive: Floats | float = 0.0,
) -> Floats:
    """Terminal voltage, V, (n, m); the shifts are added to the surface stoichiometries."""
    negative, positive = state.negative, state.positive
    return _terminal(
        negative.surface + shift_negative,
        positive.surface + shift_positive,
        negative.overpotential,
        positive.overpotential,
        state.drop,
        cells.tables.both["potential"].reshape(2, -1),
    )


@compiled
def _terminal(
    negative: Floats, positive: Floats, lost_n: Floats, lost_p: Floats, drop: Floats, table: Floats
) -> Floats:
    """See ``voltage``; potentials fall steeply beyond full and rise beyond empty."""
    found = np.empty(drop.shape)
    n, m = drop.shape
    for i in range(n):
        for j in range(m):
            x, y = negative[i, j], positive[i, j]
            x_in, y_in = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
            low = on_grid(table[0], x_in) - SATURATED_SLOPE_V * (x - x_in)
            high = on_grid(table[1], y_in) - SATURATED_SLOPE_V * (y - y_in)
            found[i, j] = high - low - (lost_p[i, j] + lost_n[i, j] + drop[i, j])
    return found


@dataclass(frozen=True, eq=False)
class Unevenness:
    """First cosine of the reaction across each electrode: j = mean (1 + a cos(pi xi)).

    xi is 0 at the separator and 1 at the current collector.

    Attributes:
        amplitude: (2, n, m) a, negative electrode first.
        spread: (2, n, m) amplitude of the stoichiometry that it has left behind.
        gain: (n, m) by how much the cell's voltage lies above that of an even reaction, V.
    """

    amplitude: Floats
    spread: Floats
    gain: Floats


def unevenness(cells: Cells, state: Discharge, time: Floats) -> Unevenness:
    """How the reaction crowds at one side of the electrodes, and what the open circuit does to it.

    Along the first cosine the potentials balance: (R_ct + (W + S) / pi^2) a + |U'| s = 2 (W - S) /
    pi^2 with the charge transfer's slope R_ct, the ohmic drops W in the electrolyte and S in the
    solid, and the spread s that grows by ds/dt = a rate. On a plateau nothing holds it back. The
    mean drop falls by (W - S) a / pi^2; summed over all cosines this is the series of Newman's
    linear electrode, sqrt(R W) coth(sqrt(W / R)).

    Args:
        cells: n cells.
        state: The closed form.
        time: (n, m) s, ascending from 0.
    """
    tables = cells.tables
    amplitude, spread, gain = _uneven(
        np.ascontiguousarray(time),
        cells.packed,
        np.stack([state.negative.surface, state.positive.surface]),
        np.stack([state.negative.overpotential, state.positive.overpotential]),
        tables.both["potential"].reshape(2, len(tables.positive.potential)),
        _lag_table(),
    )
    return Unevenness(amplitude, spread, gain)


@compiled
def _uneven(
    time: Floats,
    packed: Floats,
    surface: Floats,
    overpotential: Floats,
    potentials: Floats,
    lag_table: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Amplitude and spread (2, n, m), gain (n, m)."""
    n, m = time.shape
    varies = packed.shape[2] > 1
    amplitude, spread, gain = np.empty((2, n, m)), np.empty((2, n, m)), np.zeros((n, m))
    for e in range(2):
        first = OF_CELL + e * OF_ELECTRODE
        for i in range(n):
            left = 0.0
            for j in range(m):
                at = j if varies else 0
                thermal, tau = packed[1, i, at], packed[first + 2, i, at]
                ohmic, solid = packed[first + 7, i, at], packed[first + 8, i, at]
                ratio = np.sinh(0.5 * overpotential[e, i, j] / thermal)
                transfer = 2.0 * thermal * ratio / np.sqrt(1.0 + ratio**2)
                x = min(max(surface[e, i, j], SLOPE_STEP), 1.0 - SLOPE_STEP)
                ahead_V = on_grid(potentials[e], x + SLOPE_STEP)
                slope = abs(ahead_V - on_grid(potentials[e], x - SLOPE_STEP)) / (2.0 * SLOPE_STEP)
                fill = abs(packed[first, i, at])
                # within a particle the surface runs ahead of the mean, in the same proportion
                ahead = fill * tau * _lag(time[i, j] / tau, lag_table)
                resistance = transfer + (ohmic + solid) / np.pi**2 + slope * ahead
                drive = 2.0 * (ohmic - solid) / np.pi**2
                if j > 0:
                    filled = fill * (time[i, j] - time[i, j - 1])
                    if slope * filled < 1e-3 * resistance:
                        left += drive * filled / resistance
                    else:
                        decay = np.exp(-slope * filled / resistance)
                        left = decay * left + drive / max(slope, FLAT_V) * (1.0 - decay)
                spread[e, i, j] = left
                amplitude[e, i, j] = (drive - slope * left) / resistance
                gain[i, j] += 0.5 * drive * amplitude[e, i, j]
    return amplitude, spread, gain


def accumulated(decay: Floats, gained: Floats) -> Floats:
    """s_i = decay_i s_(i-1) + gained_i along the last axis from s_0 = gained_0, by doubling."""
    kept, total = decay.copy(), gained.copy()
    reach, m = 1, decay.shape[-1]
    while reach < m:
        total[..., reach:] += kept[..., reach:] * total[..., :-reach].copy()
        kept[..., reach:] *= kept[..., :-reach].copy()
        reach *= 2
    return total


def potential_slope(tables: ElectrodeTables, stoichiometry: Floats) -> Floats:
    """|dU/dx| within [0, 1], V, any shape."""
    x = between(stoichiometry, SLOPE_STEP, 1.0 - SLOPE_STEP)
    ahead, behind = (_interpolated(tables.potential, x + d) for d in (SLOPE_STEP, -SLOPE_STEP))
    return np.asarray(np.abs(ahead - behind) / (2.0 * SLOPE_STEP))


def mean_stoichiometries(cells: Cells, time: Floats) -> tuple[Floats, Floats]:
    """Of both electrodes at (n, m) moments, negative first."""
    negative, positive = cells.negative, cells.positive
    return negative.start + negative.rate * time, positive.start + positive.rate * time


def equilibrium(cells: Cells, mean: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """The cell at rest: voltage in V and dU/dT in V/K, (n, m) each.

    Args:
        cells: n cells.
        mean: (n, m) stoichiometries of the negative and the positive electrode.
    """
    tables = cells.tables
    negative, positive = mean
    entropic = lookup(tables.positive.entropic, positive) - lookup(
        tables.negative.entropic, negative
    )
    kelvin = cells.temperature - tables.scalars["Reference temperature [K]"]
    value = potential(tables.positive.potential, positive)
    return value - potential(tables.negative.potential, negative) + kelvin * entropic, entropic


def end_of_discharge(cells: Cells, n_rounds: int = N_ROUNDS) -> Floats:
    """(n, 1) seconds until the closed form reaches the lower voltage.

    Args:
        cells: n cells.
        n_rounds: Of the search; each is N_SECTIONS times finer than the one before.
    """

    def terminal(root: Floats) -> Floats:
        return voltage(cells, discharge(cells, root**2 * cells.duration))

    # in the square root of the time: a discharge may end long before the lithium does
    nothing = np.zeros_like(cells.duration)
    root = first_crossing(terminal, cells.lower_V, nothing, nothing + 1.0, n_rounds)
    return np.asarray(root**2 * cells.duration)


def first_crossing(
    function: Callable[[Floats], Floats],
    level: Floats,
    low: Floats,
    width: Floats,
    n_rounds: int = N_ROUNDS,
) -> Floats:
    """(n, 1) first place at which a falling function passes a level, or the end of the interval.

    Args:
        function: (n, m) places -> (n, m) values.
        level: (n, 1).
        low: (n, 1) where the interval begins.
        width: (n, 1) its length.
        n_rounds: Each evaluates N_SECTIONS + 1 places at once and keeps one section.
    """
    rows = np.arange(len(level))
    for _ in range(n_rounds):
        value = function(low + width * _GRID)
        below = value <= level
        below[:, -1] = True
        last = np.maximum(below.argmax(axis=1), 1)
        width = width / N_SECTIONS
        low = low + (last - 1)[:, None] * width
    before, after = value[rows, last - 1][:, None], value[rows, last][:, None]
    part = (before - level) / np.maximum(before - after, 1e-12)
    return np.asarray(low + width * between(part, 0.0, 1.0))
