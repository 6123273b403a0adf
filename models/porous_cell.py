"""A cell whose salt runs short, resolved along its thickness: what no closed form follows.

Where the electrolyte of the positive electrode is used up, the reaction moves with the salt, and
when a discharge ends is decided by how far both have come. So these cells are stepped through time
on a coarse mesh (porous-electrode theory: Doyle, Fuller and Newman, J. Electrochem. Soc. 140, 1526
(1993)), all of them at once: salt and potentials implicitly with Newton's method, diffusion in the
particles by the modes of the sphere's exact response.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ionbridge.models.single_particle import (
    EDGE,
    SATURATED_SLOPE_V,
    Cells,
    ElectrodeTables,
    between,
    diffusion_lag,
    lookup,
)

Floats = NDArray[np.float64]

N_NODES = (20, 4, 20)
"""Of the negative electrode, the separator and the positive electrode."""
N_MODES = 16
STEP_V, LARGEST_STEP_V = 0.02, 0.05
"""By how much the voltage falls in a step; one that falls further is taken again, half as long."""
FIRST_STEP = 1e-4
"""Of the time until the lithium ends."""
N_STEPS, N_ITERATIONS = 400, 12
CONVERGED_V = 1e-4
FASTEST_GROWTH = 1.5
LEAST_SALT = 1e-4
SMALLEST = 1e-26
"""Concentrations, relative to the initial one, vanish exponentially within the first where more
salt is asked for than there is: down to so small a share of it."""
LEAST_FOR_PROPERTIES = 10.0
"""Conductivity and diffusivity are taken at no lower concentration, mol/m3, as in the full model:
below it what laws for electrolytes say is nothing that was measured."""


@dataclass(frozen=True, eq=False)
class Course:
    """Discharges of n cells, step by step.

    Attributes:
        time: (n_steps, n) s, ascending; NaN once a cell has ended.
        voltage: (n_steps, n) V.
        surface: (2, n) mean surface stoichiometry of both electrodes in the end.
        reached: (n,) whether the lower voltage ended the discharge.
    """

    time: Floats
    voltage: Floats
    surface: Floats
    reached: NDArray[np.bool_]

    def curves(self, lower_V: Floats, share: Floats) -> tuple[Floats, Floats]:
        """When discharges end, (n, 1) s, and their voltages at shares of that, (n, m).

        Args:
            lower_V: (n, 1) where the discharges end.
            share: (m,) 0 to 1.
        """
        n = len(lower_V)
        end, volts = np.zeros((n, 1)), np.empty((n, len(share)))
        for i in range(n):
            known = np.isfinite(self.time[:, i])
            time, voltage = self.time[known, i], self.voltage[known, i]
            end[i] = time[-1]
            if self.reached[i] and len(time) > 1:
                end[i] = np.interp(-lower_V[i], -voltage[-2:], time[-2:])
            volts[i] = np.interp(share * end[i], time, voltage)
        return end, volts


@cache
def _modes() -> tuple[Floats, Floats]:
    """Amplitudes and rates with h(Fo) = sum a (1 - exp(-r Fo)) for the sphere's response h."""
    fourier = np.geomspace(1e-6, 3.0, 400)
    rates = np.geomspace(20.19, 3e6, N_MODES)
    response = -np.expm1(-np.outer(fourier, rates))
    truth = diffusion_lag(fourier)
    amplitudes, _ = nnls(response / truth[:, None], np.ones(len(fourier)))
    return amplitudes, rates


@dataclass
class _State:
    """What changes with time, n cells; electrode nodes stand one after the other."""

    time: Floats  # (n,)
    step: Floats  # (n,)
    volts: Floats  # (n,)
    salt: Floats  # (n, all nodes), relative
    mean: Floats  # (n, electrode nodes)
    modes: Floats  # (n, electrode nodes, N_MODES)
    current: Floats  # (n, inner faces of both electrodes), part carried by the electrolyte

    def take(self, rows: NDArray[np.intp]) -> _State:
        return _State(*(getattr(self, k)[rows] for k in self.__dataclass_fields__))

    def where(self, chosen: NDArray[np.bool_], other: _State) -> _State:
        """This state for the chosen cells, the other for the rest."""

        def pick(a: Floats, b: Floats) -> Floats:
            return np.where(chosen.reshape(-1, *([1] * (a.ndim - 1))), a, b)

        names = self.__dataclass_fields__
        return _State(*(pick(getattr(self, k), getattr(other, k)) for k in names))


_NEGATIVE, _SEPARATOR, _POSITIVE = N_NODES
_ELECTRODES = _NEGATIVE + _POSITIVE
_OWN = np.r_[0:_NEGATIVE, _NEGATIVE + _SEPARATOR : sum(N_NODES)]
"""Which of all nodes belong to electrodes."""
_REGION = np.repeat((0, 1, 2), N_NODES)
_SIGN = np.repeat((1.0, -1.0), (_NEGATIVE, _POSITIVE))
_SIZE = np.repeat((_NEGATIVE, _POSITIVE), (_NEGATIVE, _POSITIVE)).astype(float)
_LEFT = np.r_[0 : _NEGATIVE - 1, _NEGATIVE : _ELECTRODES - 1]
"""Electrode node at the left of each inner face."""


def _sharing() -> tuple[Floats, Floats]:
    """Reaction of each node over the even one, as base + matrix times currents at inner faces."""
    n_faces = _ELECTRODES - 2
    matrix, base = np.zeros((_ELECTRODES, n_faces)), np.zeros(_ELECTRODES)
    for face, left in enumerate(_LEFT):
        matrix[left, face] += _SIGN[left] * _SIZE[left]
        matrix[left + 1, face] -= _SIGN[left + 1] * _SIZE[left + 1]
    base[_NEGATIVE - 1] = base[_NEGATIVE] = 1.0
    return base * _SIZE, matrix


_BASE, _SHARE = _sharing()


def porous_discharge(cells: Cells) -> Course:
    """Step cells until their lower voltage, or until their lithium ends.

    Args:
        cells: n cells of one base cell.
    """
    problem = _Problem(cells)
    state = problem.start()
    active = np.arange(len(cells))
    times, volts = [np.zeros(len(cells))], [state.volts]
    surface, reached = np.zeros((2, len(cells))), np.zeros(len(cells), dtype=bool)
    for _ in range(N_STEPS):
        state, advanced, at_surface = problem.advance(state)
        row_t, row_v = np.full((2, len(cells)), np.nan)
        row_t[active[advanced]], row_v[active[advanced]] = (
            state.time[advanced],
            state.volts[advanced],
        )
        times.append(row_t)
        volts.append(row_v)
        surface[0, active] = at_surface[:, :_NEGATIVE].mean(axis=1)
        surface[1, active] = at_surface[:, _NEGATIVE:].mean(axis=1)
        below = advanced & (state.volts <= problem.lower)
        ended = below | (state.time >= problem.longest) | (state.step < 1e-9 * problem.longest)
        if ended.any():
            reached[active[below]] = True
            kept = np.flatnonzero(~ended)
            if not len(kept):
                break
            active, state, problem = active[kept], state.take(kept), problem.take(kept)
    return Course(np.array(times), np.array(volts), surface, reached)


class _Problem:
    """What does not change with time, n cells."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        salt = cells.salt
        self.salt = salt
        width = salt.thickness / np.array(N_NODES)
        self.width = width[:, _REGION]
        self.room = salt.porosity[:, _REGION] * self.width * salt.start  # mol/m2
        self.efficiency = salt.efficiency[:, _REGION]
        self.rate = _spread(cells.negative.rate, cells.positive.rate)
        self.diffusion_time = _spread(cells.negative.diffusion_time, cells.positive.diffusion_time)
        self.reaction = _spread(cells.negative.reaction, cells.positive.reaction)
        self.exchange = _spread(
            cells.negative.log_exchange_factor, cells.positive.log_exchange_factor
        )
        self.solid = _spread(cells.negative.solid, cells.positive.solid) / _SIZE
        self.lower, self.longest = cells.lower_V[:, 0], cells.duration[:, 0]
        self.kelvin = cells.temperature - cells.tables.scalars.get(
            "Reference temperature [K]", cells.temperature
        )
        self.source = _SIGN / _SIZE * salt.flux  # (n, electrode nodes) mol/m2/s at an even reaction

    def take(self, rows: NDArray[np.intp]) -> _Problem:
        return _Problem(self.cells.take(rows))

    def start(self) -> _State:
        n = len(self.cells)
        even = np.concatenate(
            [np.arange(1, _NEGATIVE) / _NEGATIVE, np.arange(1, _POSITIVE)[::-1] / _POSITIVE]
        )
        mean = _spread(self.cells.negative.start, self.cells.positive.start)
        state = _State(
            time=np.zeros(n),
            step=FIRST_STEP * self.longest,
            volts=np.full(n, np.inf),
            salt=np.ones((n, sum(N_NODES))),
            mean=mean,
            modes=np.zeros((n, _ELECTRODES, N_MODES)),
            current=np.broadcast_to(even, (n, len(even))).copy(),
        )
        tiny = _State(**{**state.__dict__, "step": 1e-9 * self.longest})
        state.volts = self._solved(tiny)[0].volts
        return state

    def advance(self, state: _State) -> tuple[_State, NDArray[np.bool_], Floats]:
        """One step, or for cells whose voltage falls too far half a step's length."""
        state.step = np.minimum(state.step, np.maximum(self.longest - state.time, 0.0) + 1e-12)
        found, converged, surface = self._solved(state)
        fall = np.abs(state.volts - found.volts)
        ended = found.volts <= self.lower
        near = state.volts - self.lower < LARGEST_STEP_V
        good = converged & ((fall <= LARGEST_STEP_V) | (ended & near))
        growth = between(STEP_V / np.maximum(fall, 1e-6), 0.4, FASTEST_GROWTH)
        found.step = state.step * growth
        halved = _State(**{**state.__dict__, "step": 0.4 * state.step})
        return found.where(good, halved), good, surface

    def _solved(self, state: _State) -> tuple[_State, NDArray[np.bool_], Floats]:
        """The state a step later, whether Newton converged, and the surfaces' stoichiometries."""
        step = state.step[:, None]
        amplitudes, rates = _modes()
        decay = np.exp(-(step / self.diffusion_time)[..., None] * rates)
        gained = amplitudes * (1.0 - decay)
        scale = self.rate * self.diffusion_time
        before = state.mean + scale * (state.modes * decay).sum(axis=2)
        slope = self.rate * step + scale * gained.sum(axis=2)  # d(surface)/d(reaction)
        quiet, response = self._salt_response(state)
        conductance, factor = self._electrolyte(state.salt)
        between_nodes = 0.5 * (self.width[:, 1:] + self.width[:, :-1])
        at_faces = 0.5 * (conductance[:, 1:] + conductance[:, :-1])
        ohmic = self.cells.salt.density * between_nodes / at_faces  # V
        left, right = _OWN[_LEFT], _OWN[_LEFT] + 1
        ohm = ohmic[:, left]
        wet = factor[:, left] + factor[:, right]
        solid = self.solid[:, _LEFT]
        current = state.current.copy()
        converged = np.zeros(len(current), dtype=bool)
        slope_of_reaction = _SHARE
        for _ in range(N_ITERATIONS):
            reaction = _BASE + current @ slope_of_reaction.T
            raw = quiet + np.einsum("nij,nj->ni", response, reaction)
            rest = np.exp(-np.abs(raw) / LEAST_SALT)
            salt = np.maximum(raw, 0.0) + LEAST_SALT * np.log1p(rest)
            salt = np.maximum(salt, LEAST_SALT * SMALLEST)
            kept = np.where(raw > 0.0, 1.0, rest) / (1.0 + rest)  # d(salt)/d(raw)
            own = salt[:, _OWN]
            surface = before + slope * reaction
            value, by_reaction, by_salt = self._interface(surface, slope, reaction, own)
            salt_l, salt_r = own[:, _LEFT], own[:, _LEFT + 1]
            both = salt_l + salt_r
            residual = (
                value[:, _LEFT + 1]
                - value[:, _LEFT]
                + solid * (1.0 - current)
                - ohm * current
                + wet * (salt_r - salt_l) / both
            )
            error = np.abs(residual).max(axis=1)
            converged = error < CONVERGED_V
            if converged.all():
                break
            # by the reaction at each node, then by the currents at the faces
            local = response[:, _OWN, :] * kept[:, _OWN, None]
            whole = by_salt[..., None] * local
            diagonal = np.arange(_ELECTRODES)
            whole[:, diagonal, diagonal] += by_reaction
            by_left, by_right = -2.0 * wet * salt_r / both**2, 2.0 * wet * salt_l / both**2
            by_node = (
                whole[:, _LEFT + 1]
                - whole[:, _LEFT]
                + by_right[..., None] * local[:, _LEFT + 1]
                + by_left[..., None] * local[:, _LEFT]
            )
            jacobian = by_node @ slope_of_reaction
            faces = np.arange(len(_LEFT))
            jacobian[:, faces, faces] -= solid + ohm
            moved = np.linalg.solve(jacobian, -residual[..., None])[..., 0]
            current = current + moved
        modes = state.modes * decay + gained * reaction[..., None]
        found = _State(
            time=state.time + state.step,
            step=state.step,
            volts=self._terminal(value, salt, ohmic, factor, current),
            salt=raw,
            mean=state.mean + self.rate * step * reaction,
            modes=modes,
            current=current,
        )
        converged &= np.isfinite(found.volts)
        return found, converged, surface

    def _salt_response(self, state: _State) -> tuple[Floats, Floats]:
        """Salt after the step without a reaction, (n, nodes), and by the reactions, a matrix."""
        step = state.step[:, None]
        diffusivity = self.efficiency * np.maximum(
            self.salt.diffusivity.at(
                np.maximum(state.salt * self.salt.start, LEAST_FOR_PROPERTIES)
            ),
            1e-16,
        )
        half = self.width / 2 / diffusivity
        transfer = self.salt.start / (half[:, 1:] + half[:, :-1])  # mol/m2/s by relative salt
        n_nodes = self.room.shape[1]
        matrix = np.zeros((len(step), n_nodes, n_nodes))
        i = np.arange(n_nodes)
        matrix[:, i, i] = self.room / step
        matrix[:, i[:-1], i[:-1]] += transfer
        matrix[:, i[1:], i[1:]] += transfer
        matrix[:, i[:-1], i[1:]] -= transfer
        matrix[:, i[1:], i[:-1]] -= transfer
        inverse = np.linalg.inv(matrix)
        quiet = np.einsum("nij,nj->ni", inverse, self.room / step * state.salt)
        return quiet, inverse[:, :, _OWN] * self.source[:, None, :]

    def _electrolyte(self, salt: Floats) -> tuple[Floats, Floats]:
        """Effective conductivity, S/m, and prefactor of the logarithm of the salt, V, of nodes."""
        own = self.salt
        known = np.maximum(salt * own.start, LEAST_FOR_PROPERTIES)
        kappa = self.efficiency * np.maximum(own.conductivity.at(known), 1e-6)
        factor = self.cells.concentration * own.relative_factor.at(salt * own.start)
        return kappa, factor

    def _interface(
        self, surface: Floats, slope: Floats, reaction: Floats, salt: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Potential of the solid against the electrolyte; derivatives by reaction and by salt."""
        tables, thermal = self.cells.tables, self.cells.thermal
        value, steep = np.empty_like(surface), np.empty_like(surface)
        exchange = np.empty_like(surface)
        for part, own in (
            (slice(0, _NEGATIVE), tables.negative),
            (slice(_NEGATIVE, None), tables.positive),
        ):
            value[:, part], steep[:, part], exchange[:, part] = _tabulated(own, surface[:, part])
            if tables.has_entropic:
                inside = between(surface[:, part], 0.0, 1.0)
                value[:, part] += self.kelvin * np.interp(
                    inside, np.linspace(0.0, 1.0, len(own.entropic)), own.entropic
                )
        drive = 0.5 * self.reaction * np.exp(-(exchange + self.exchange)) / np.sqrt(salt)
        argument = drive * reaction
        eta = 2.0 * thermal * np.arcsinh(argument)
        bent = 2.0 * thermal / np.sqrt(1.0 + argument**2)
        value = value + _SIGN * eta
        return value, steep * slope + _SIGN * bent * drive, _SIGN * bent * argument * (-0.5 / salt)

    def _terminal(
        self, value: Floats, salt: Floats, ohmic: Floats, factor: Floats, current: Floats
    ) -> Floats:
        """Terminal voltage, V."""
        carried = np.ones((len(salt), sum(N_NODES) - 1))
        carried[:, : _NEGATIVE - 1] = current[:, : _NEGATIVE - 1]
        carried[:, -(_POSITIVE - 1) :] = current[:, _NEGATIVE - 1 :]
        relative = np.diff(salt, axis=1) / (salt[:, 1:] + salt[:, :-1])
        along = (factor[:, 1:] + factor[:, :-1]) * relative - ohmic * carried
        solid = 0.5 * (self.solid[:, 0] + self.solid[:, -1])
        return np.asarray(
            value[:, -1] - value[:, 0] + along.sum(axis=1) - solid - self.cells.contact[:, 0]
        )


def _spread(negative: Floats, positive: Floats) -> Floats:
    """(n, electrode nodes) from (n, 1) of both electrodes."""
    return np.concatenate(
        [np.repeat(negative, _NEGATIVE, axis=1), np.repeat(positive, _POSITIVE, axis=1)], axis=1
    )


def _tabulated(own: ElectrodeTables, surface: Floats) -> tuple[Floats, Floats, Floats]:
    """Potential, its slope, and ln of the exchange current density, at surfaces."""
    n = len(own.potential)
    inside = between(surface, 0.0, 1.0)
    position = inside * (n - 1)
    index = np.minimum(position.astype(np.intp), n - 2)
    left = own.potential[index]
    rise = own.potential[index + 1] - left
    beyond = surface - inside
    value = left + rise * (position - index) - SATURATED_SLOPE_V * beyond
    slope = np.where(beyond == 0.0, rise * (n - 1), -SATURATED_SLOPE_V)
    return value, slope, lookup(own.log_exchange, between(surface, EDGE, 1.0 - EDGE))
