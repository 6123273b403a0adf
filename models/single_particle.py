"""A lithium-ion cell at constant current in closed form: one particle an electrode, one electrolyte.

Diffusion in the spheres is exact (constant flux), reaction overpotentials are Butler-Volmer's at
the surface, and the electrolyte is the uniform-reaction profile that relaxes with one time constant
(after Marquis et al., J. Electrochem. Soc. 166, A3693 (2019)). What a porous-electrode model adds is
the uneven reaction across the electrodes; ``models.cell_rom`` learns it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from structures.units import BOLTZMANN_EV_PER_K, FARADAY_C_PER_MOL

Floats = NDArray[np.float64]

SHORTEST, LONGEST = 1e-7, 2.0
"""Fourier numbers between which the lag is tabulated; sqrt(Fo) holds before, 1/15 after."""
N_FOURIER = 2000
SATURATED_SLOPE_V = 500.0
"""Volts a unit of stoichiometry with which a potential goes on beyond empty and full."""
EDGE = 1e-4
"""Exchange currents are not followed closer than this to an empty or full surface."""
DEPLETED = 0.02
"""Least electrolyte concentration, relative to the initial one."""
N_SECTIONS, N_ROUNDS = 16, 3
"""Of the search for the end of discharge."""


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
        ohmic_steady: Factor of the electrolyte's ohmic drop at the steady profile.
        lower_V: Voltage at which the discharge ends.
        contact: I times contact resistance, V.
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
    ohmic_steady: Floats
    lower_V: Floats
    contact: Floats

    def __len__(self) -> int:
        return len(self.c_rate)

    def take(self, index: ArrayLike) -> Cells:
        """The chosen cells, by integers, mask or slice."""
        rows = index if isinstance(index, slice) else np.asarray(index)

        def chosen(record: Any) -> dict[str, Any]:
            names = [f.name for f in fields(record)]
            values = {name: getattr(record, name) for name in names}
            return {k: v[rows] for k, v in values.items() if isinstance(v, np.ndarray)}

        return replace(
            self,
            negative=replace(self.negative, **chosen(self.negative)),
            positive=replace(self.positive, **chosen(self.positive)),
            **chosen(self),
        )

    @property
    def full_capacity_Ah(self) -> Floats:
        """(n, 1) charge that the scarcer electrode could give at no current at all."""
        return self.current * self.duration / 3600.0


@dataclass(frozen=True, eq=False)
class Surface:
    """One electrode at (n, m) moments.

    Attributes:
        mean: Mean stoichiometry.
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
    return np.where(fourier < 0.02, short, long)


def diffusion_lag(fourier: ArrayLike) -> Floats:
    """Surface minus mean stoichiometry in units of rate R^2 / D, any shape.

    Args:
        fourier: D t / R^2.
    """
    tau = np.asarray(fourier, dtype=float)
    step = np.log(LONGEST / SHORTEST) / (N_FOURIER - 1)
    position = (np.log(np.maximum(tau, SHORTEST)) - np.log(SHORTEST)) / step
    index = np.minimum(position.astype(np.intp), N_FOURIER - 2)
    part = np.minimum(position - index, 1.0)
    table = _lag_table()
    lag = table[index] * (1.0 - part) + table[index + 1] * part
    return np.where(tau < SHORTEST, lag * np.sqrt(np.maximum(tau, 0.0) / SHORTEST), lag)


def lookup(table: Floats, stoichiometry: Floats) -> Floats:
    """Linear interpolation on the uniform grid of [0, 1], clipped to it; any shape."""
    position = np.clip(stoichiometry, 0.0, 1.0) * (len(table) - 1)
    index = np.minimum(position.astype(np.intp), len(table) - 2)
    left = table[index]
    return np.asarray(left + (table[index + 1] - left) * (position - index))


def potential(table: Floats, stoichiometry: Floats) -> Floats:
    """Open-circuit potential, V, that falls steeply beyond full and rises beyond empty."""
    clipped = np.clip(stoichiometry, 0.0, 1.0)
    return lookup(table, clipped) - SATURATED_SLOPE_V * (stoichiometry - clipped)


def _by_temperature(tables: CellTables, values: Floats, temperature: Floats) -> Floats:
    """Interpolation in 1/T, exact for Arrhenius laws of logarithms; (n, ...) for (n_T, ...)."""
    grid = 1.0 / tables.temperatures[::-1]
    position = np.interp(1.0 / temperature, grid, np.arange(len(grid))[::-1].astype(float))
    index = np.minimum(position.astype(np.intp), len(grid) - 2)
    part = (position - index).reshape(-1, *([1] * (values.ndim - 1)))
    return np.asarray(values[index] * (1.0 - part) + values[index + 1] * part)


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
        overrides: Parameter name -> (n,) values that replace the base cell's scalars; the
            particle diffusivities, "Electrolyte conductivity [S.m-1]" and "Electrolyte
            diffusivity [m2.s-1]" are taken as they are, at any temperature and concentration.
    """
    given = {k: np.atleast_1d(np.asarray(v, dtype=float)) for k, v in (overrides or {}).items()}
    rate = np.atleast_1d(np.asarray(c_rate, dtype=float))
    kelvin = np.atleast_1d(np.asarray(temperature_K, dtype=float))
    n = max(len(rate), len(kelvin), *(len(v) for v in given.values()), 1)
    rate, kelvin = np.broadcast_to(rate, n), np.broadcast_to(kelvin, n)

    def scalar(name: str) -> Floats:
        return np.broadcast_to(given.get(name, tables.scalars[name]), n)

    current = rate * tables.scalars["Nominal cell capacity [A.h]"]
    area = (
        scalar("Electrode height [m]")
        * scalar("Electrode width [m]")
        * scalar("Number of electrodes connected in parallel to make a cell")
    )
    density = current / area
    start = scalar("Initial concentration in electrolyte [mol.m-3]")
    thermal = BOLTZMANN_EV_PER_K * kelvin  # R T / F in volts
    electrolyte = {
        "Electrolyte conductivity [S.m-1]": tables.conductivity,
        "Electrolyte diffusivity [m2.s-1]": tables.diffusivity,
        "Thermodynamic factor": tables.thermodynamic_factor,
    }
    by_kelvin = {k: _by_temperature(tables, v, kelvin) for k, v in electrolyte.items()}

    def of_electrolyte(name: str, concentration: Floats) -> Floats:
        if name in given:
            return np.broadcast_to(given[name], n)
        step = tables.concentrations[1]
        position = np.clip(concentration / step, 0.0, len(tables.concentrations) - 1.001)
        index = position.astype(np.intp)
        table, row = by_kelvin[name], np.arange(n)
        left = table[row, index]
        return np.asarray(left + (table[row, index + 1] - left) * (position - index))

    transport: dict[str, Floats] = {}
    thickness: dict[str, Floats] = {}
    porosity: dict[str, Floats] = {}
    for part, long in (("Negative", "Negative electrode"), ("Separator", "Separator"),
                       ("Positive", "Positive electrode")):  # fmt: skip
        porosity[part] = scalar(f"{long} porosity")
        thickness[part] = scalar(f"{long} thickness [m]")
        exponent = scalar(f"{long} Bruggeman coefficient (electrolyte)")
        transport[part] = porosity[part] ** exponent

    transference = scalar("Cation transference number")
    salt = of_electrolyte("Electrolyte diffusivity [m2.s-1]", start)
    flux = density * (1.0 - transference) / FARADAY_C_PER_MOL
    # steady profile of a uniform reaction: parabolas in the electrodes, a line between them
    fall = {
        k: flux * thickness[k] / (salt * transport[k] * (1.0 if k == "Separator" else 2.0))
        for k in transport
    }
    mean = {
        "Negative": fall["Negative"] * 2 / 3 + fall["Separator"] + fall["Positive"],
        "Separator": fall["Separator"] / 2 + fall["Positive"],
        "Positive": fall["Positive"] / 3,
    }
    volume = {k: porosity[k] * thickness[k] for k in porosity}
    level = sum(volume[k] * mean[k] for k in volume) / sum(volume.values())
    shift = {k: mean[k] - level for k in mean}
    # Rayleigh quotient of the steady profile: its relaxation time
    spread = {
        "Negative": fall["Negative"] ** 2 * 4 / 45,
        "Separator": fall["Separator"] ** 2 / 12,
        "Positive": fall["Positive"] ** 2 * 4 / 45,
    }
    stored = sum(volume[k] * (spread[k] + shift[k] ** 2) for k in volume)
    moved = sum(
        salt * transport[k] * fall[k] ** 2 / thickness[k] * (1.0 if k == "Separator" else 4 / 3)
        for k in volume
    )
    relaxation = stored / moved
    initial = of_electrolyte("Electrolyte conductivity [S.m-1]", start)
    drop = {k: density * thickness[k] / (initial * transport[k]) for k in transport}
    steady = {}
    for k, weight in (("Negative", 1 / 3), ("Separator", 1.0), ("Positive", 1 / 3)):
        local = np.maximum(start + shift[k], DEPLETED * start)
        kappa = of_electrolyte("Electrolyte conductivity [S.m-1]", local)
        steady[k] = weight * drop[k] * initial / np.maximum(kappa, 1e-3 * initial)
    at_first = drop["Negative"] / 3 + drop["Separator"] + drop["Positive"] / 3

    def electrode(part: str, own: ElectrodeTables, sign: float) -> ElectrodeState:
        active = scalar(f"{part} electrode active material volume fraction")
        largest = scalar(f"Maximum concentration in {part.lower()} electrode [mol.m-3]")
        radius = scalar(f"{part} particle radius [m]")
        first = scalar(f"Initial concentration in {part.lower()} electrode [mol.m-3]") / largest
        name = f"{part} particle diffusivity [m2.s-1]"
        diffusivity = (
            np.broadcast_to(given[name], n)
            if name in given
            else np.exp(_by_temperature(tables, own.log_diffusivity, kelvin))
        )
        filling = density / (FARADAY_C_PER_MOL * thickness[part] * active * largest)
        solid = scalar(f"{part} electrode conductivity [S.m-1]") * active ** scalar(
            f"{part} electrode Bruggeman coefficient (electrode)"
        )
        return ElectrodeState(
            tables=own,
            rate=_column(sign * filling),
            start=_column(first),
            diffusion_time=_column(radius**2 / diffusivity),
            reaction=_column(density * radius / (3.0 * active * thickness[part])),
            log_exchange_factor=_column(
                _by_temperature(tables, own.log_exchange_factor, kelvin)
                + 0.5 * np.log(start / tables.scalars["Initial concentration in electrolyte [mol.m-3]"])
            ),
            ohmic=_column(drop[part]),
            solid=_column(density * thickness[part] / solid),
            depletion=_column(shift[part] / start),
            room=_column(np.where(sign > 0, 1.0 - first, first)),
        )  # fmt: skip

    negative = electrode("Negative", tables.negative, -1.0)
    positive = electrode("Positive", tables.positive, 1.0)
    factor = of_electrolyte("Thermodynamic factor", start)
    return Cells(
        tables=tables,
        negative=negative,
        positive=positive,
        temperature=_column(kelvin),
        thermal=_column(thermal),
        c_rate=_column(rate),
        current=_column(current),
        duration=np.minimum(
            negative.room / np.abs(negative.rate), positive.room / np.abs(positive.rate)
        ),
        relaxation=_column(relaxation),
        separator=_column(drop["Separator"]),
        concentration=_column(2.0 * (1.0 - transference) * factor * thermal),
        ohmic_steady=_column(sum(steady.values()) / at_first),
        lower_V=_column(scalar("Lower voltage cut-off [V]")),
        contact=_column(current * scalar("Contact resistance [Ohm]")),
    )


def _column(values: Floats) -> Floats:
    return np.asarray(values, dtype=float).reshape(-1, 1)


def discharge(cells: Cells, time: Floats) -> Discharge:
    """The closed form at given moments.

    Args:
        cells: n cells.
        time: (n, m) seconds since the start.
    """
    settled = 1.0 - np.exp(-time / cells.relaxation)
    thermal = cells.thermal
    negative = _surface(cells.negative, time, settled, thermal)
    positive = _surface(cells.positive, time, settled, thermal)
    at_first = cells.negative.ohmic / 3 + cells.separator + cells.positive.ohmic / 3
    polarisation = np.log(
        _concentration(cells.negative, settled) / _concentration(cells.positive, settled)
    )
    drop = (
        at_first * (1.0 + settled * (cells.ohmic_steady - 1.0))
        + (cells.negative.solid + cells.positive.solid) / 3
        + cells.concentration * polarisation
        + cells.contact
        - _entropic(cells, negative, positive)
    )
    return Discharge(negative, positive, settled, drop)


def _concentration(electrode: ElectrodeState, settled: Floats) -> Floats:
    """Mean electrolyte concentration in the electrode over the initial one."""
    return np.maximum(1.0 + settled * electrode.depletion, DEPLETED)


def _surface(electrode: ElectrodeState, time: Floats, settled: Floats, thermal: Floats) -> Surface:
    mean = electrode.start + electrode.rate * time
    scale = electrode.rate * electrode.diffusion_time
    surface = mean + scale * diffusion_lag(time / electrode.diffusion_time)
    log_exchange = (
        lookup(electrode.tables.log_exchange, np.clip(surface, EDGE, 1.0 - EDGE))
        + electrode.log_exchange_factor
        + 0.5 * np.log(_concentration(electrode, settled))
    )
    drive = electrode.reaction * np.exp(-log_exchange)
    return Surface(mean, surface, 2.0 * thermal * np.arcsinh(0.5 * drive))


def voltage(
    cells: Cells,
    state: Discharge,
    shift_negative: ArrayLike = 0.0,
    shift_positive: ArrayLike = 0.0,
) -> Floats:
    """Terminal voltage, V, (n, m); the shifts are added to the surface stoichiometries."""
    return (
        potential(cells.positive.tables.potential, state.positive.surface + shift_positive)
        - potential(cells.negative.tables.potential, state.negative.surface + shift_negative)
        - state.positive.overpotential
        - state.negative.overpotential
        - state.drop
    )


def _entropic(cells: Cells, negative: Surface, positive: Surface) -> ArrayLike:
    """Open-circuit voltage at the cells' temperatures minus that at the reference, V."""
    tables = cells.tables
    if not (tables.positive.entropic.any() or tables.negative.entropic.any()):
        return 0.0
    kelvin = cells.temperature - tables.scalars["Reference temperature [K]"]
    return kelvin * (
        lookup(tables.positive.entropic, positive.surface)
        - lookup(tables.negative.entropic, negative.surface)
    )


def equilibrium_voltage(cells: Cells, state: Discharge) -> Floats:
    """Open-circuit voltage at the mean stoichiometries, V, (n, m); the heat is counted from it."""
    tables = cells.tables
    value = potential(tables.positive.potential, state.positive.mean) - potential(
        tables.negative.potential, state.negative.mean
    )
    return np.asarray(value + _entropic(cells, state.negative, state.positive))


def end_of_discharge(cells: Cells) -> Floats:
    """(n, 1) seconds until the closed form reaches the lower voltage.

    The bracket is narrowed N_ROUNDS times by evaluating N_SECTIONS moments at once.
    """

    def terminal(time: Floats) -> Floats:
        return voltage(cells, discharge(cells, time))

    return first_crossing(terminal, cells.lower_V, cells.duration)


def first_crossing(function: Callable[[Floats], Floats], level: Floats, longest: Floats) -> Floats:
    """(n, 1) first moment at which a falling function passes a level, or the longest.

    Args:
        function: (n, m) moments -> (n, m) values.
        level: (n, 1).
        longest: (n, 1).
    """
    grid = np.linspace(0.0, 1.0, N_SECTIONS + 1)
    low, width = np.zeros_like(longest), longest
    for _ in range(N_ROUNDS):
        value = function(low + width * grid)
        below = value <= level
        below[:, -1] = True
        last = np.maximum(below.argmax(axis=1), 1)[:, None]
        width = width / N_SECTIONS
        low = low + (last - 1) * width
    before = np.take_along_axis(value, last - 1, axis=1)
    after = np.take_along_axis(value, last, axis=1)
    part = (before - level) / np.maximum(before - after, 1e-12)
    return np.asarray(low + width * np.clip(part, 0.0, 1.0))
