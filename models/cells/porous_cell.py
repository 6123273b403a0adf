"""A cell whose salt runs short, resolved along its thickness: what no closed form follows.

Where the electrolyte of the positive electrode is used up, the reaction moves with the salt, and
when a discharge ends is decided by how far both have come. So these cells are stepped through time
along their thickness (porous-electrode theory: Doyle, Fuller and Newman, J. Electrochem. Soc. 140,
1526 (1993)): salt and potentials implicitly with Newton's method, diffusion in the particles by the
modes of the sphere's exact response. The inner loops are compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ionbridge.models.cells.single_particle import (
    EDGE,
    SATURATED_SLOPE_V,
    Cells,
    ElectrodeState,
    diffusion_lag,
)

Floats = NDArray[np.float64]

N_NODES = (60, 4, 60)
"""Of the negative electrode, the separator and the positive electrode."""
GRADING = 1.5
"""Node edges of an electrode lie at this power of even shares, finer towards the separator, where
fronts of salt are sharpest."""
N_MODES = 16
STEP_V, LARGEST_STEP_V = 0.01, 0.025
"""By how much the voltage falls in a step; one that falls further is taken again, half as long."""
FIRST_STEP, LONGEST_STEP = 1e-4, 0.01
"""Of the time until the lithium ends."""
N_STEPS, N_ITERATIONS = 2000, 30
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
        time: n arrays (n_steps,) s, ascending from 0.
        voltage: n arrays (n_steps,) V.
        surface: (2, n) mean surface stoichiometry of both electrodes in the end.
        reached: (n,) whether the lower voltage ended the discharge.
    """

    time: tuple[Floats, ...]
    voltage: tuple[Floats, ...]
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
        for i, (time, voltage) in enumerate(zip(self.time, self.voltage, strict=True)):
            end[i] = time[-1]
            if self.reached[i] and len(time) > 1:
                end[i] = np.interp(-lower_V[i], -voltage[-2:], time[-2:])
            volts[i] = np.interp(share * end[i], time, voltage)
        return end, volts


def porous_discharge(cells: Cells, n_nodes: tuple[int, int, int] = N_NODES) -> Course:
    """Step cells until their lower voltage, or until their lithium ends.

    Args:
        cells: n cells of one base cell.
        n_nodes: Of the negative electrode, the separator and the positive electrode.
    """
    found = [_stepped(*_of_one(cells, i, n_nodes)) for i in range(len(cells))]
    return Course(
        time=tuple(f[0] for f in found),
        voltage=tuple(f[1] for f in found),
        surface=np.array([f[2] for f in found]).reshape(-1, 2).T,
        reached=np.array([f[3] for f in found], dtype=bool),
    )


@cache
def _modes() -> tuple[Floats, Floats]:
    """Amplitudes and rates with h(Fo) = sum a (1 - exp(-r Fo)) for the sphere's response h."""
    fourier = np.geomspace(1e-6, 3.0, 400)
    rates = np.geomspace(20.19, 3e6, N_MODES)
    response = -np.expm1(-np.outer(fourier, rates))
    truth = diffusion_lag(fourier)
    amplitudes, _ = nnls(response / truth[:, None], np.ones(len(fourier)))
    return amplitudes, rates


def _of_one(cells: Cells, i: int, n_nodes: tuple[int, int, int]) -> tuple[Any, ...]:
    """What `_stepped` asks of one cell."""
    salt, tables = cells.salt, cells.tables
    counts = np.array(n_nodes)
    region = np.repeat((0, 1, 2), counts)
    negative, separator, positive = (np.linspace(0.0, 1.0, k + 1) for k in n_nodes)
    finer = (np.diff(negative**GRADING)[::-1], np.diff(separator), np.diff(positive**GRADING))
    share = np.concatenate(finer)
    width = share * salt.thickness[i][region]
    start = float(salt.start[i, 0])
    kelvin = float(cells.temperature[i, 0])
    cell = np.array(
        [
            start,
            salt.density[i, 0],
            salt.flux[i, 0],
            cells.thermal[i, 0],
            cells.concentration[i, 0],
            cells.contact[i, 0],
            cells.lower_V[i, 0],
            cells.duration[i, 0],
            kelvin - tables.scalars.get("Reference temperature [K]", kelvin),
        ]
    )

    def electrode(own: ElectrodeState) -> list[float]:
        names = ("rate", "start", "diffusion_time", "reaction", "log_exchange_factor", "solid")
        return [float(getattr(own, name)[i, 0]) for name in names]

    sides = np.array([electrode(cells.negative), electrode(cells.positive)])
    laws = np.stack([tables.both[k].reshape(2, -1) for k in ("potential", "log_exchange")])
    entropic = tables.both["entropic"].reshape(2, -1)
    properties = tuple(
        np.ascontiguousarray(p.values[i])
        for p in (salt.conductivity, salt.diffusivity, salt.relative_factor)
    )
    steps = np.array([salt.conductivity.step, salt.diffusivity.step, salt.relative_factor.step])
    return (
        counts,
        share,
        width,
        salt.porosity[i][region] * width * start,
        salt.efficiency[i][region],
        cell,
        sides,
        laws,
        entropic if tables.has_entropic else entropic[:, :0],
        *properties,
        steps,
        *_modes(),
    )


@numba.njit(cache=True)
def _property(row: Floats, step: float, concentration: float) -> float:
    """A property of the electrolyte: linear between concentrations, constant beyond."""
    n = len(row)
    if n == 1:
        return float(row[0])
    place = min(max(concentration / step, 0.0), n - 1.001)
    k = int(place)
    return float(row[k] + (row[k + 1] - row[k]) * (place - k))


@numba.njit(cache=True)
def _interface(
    surface: float,
    reaction: float,
    salt: float,
    sign: float,
    side: Floats,
    potential: Floats,
    log_exchange: Floats,
    entropic: Floats,
    thermal: float,
    kelvin: float,
) -> tuple[float, float, float, float]:
    """Solid against electrolyte, V; derivatives by surface, reaction and salt."""
    n = len(potential)
    inside = min(max(surface, 0.0), 1.0)
    place = inside * (n - 1)
    k = min(int(place), n - 2)
    rise = potential[k + 1] - potential[k]
    value = potential[k] + rise * (place - k) - SATURATED_SLOPE_V * (surface - inside)
    steep = rise * (n - 1) if surface == inside else -SATURATED_SLOPE_V
    if len(entropic):
        value += kelvin * (entropic[k] + (entropic[k + 1] - entropic[k]) * (place - k))
    place = min(max(surface, EDGE), 1.0 - EDGE) * (n - 1)
    k = min(int(place), n - 2)
    exchange = log_exchange[k] + (log_exchange[k + 1] - log_exchange[k]) * (place - k)
    drive = 0.5 * side[3] * np.exp(-(exchange + side[4])) / np.sqrt(salt)
    argument = drive * reaction
    bent = 2.0 * thermal / np.sqrt(1.0 + argument * argument)
    value += sign * 2.0 * thermal * np.arcsinh(argument)
    return value, steep, sign * bent * drive, -0.5 * sign * bent * argument / salt


@numba.njit(cache=True)
def _stepped(
    counts: NDArray[np.int64],
    share: Floats,
    width: Floats,
    room: Floats,
    efficiency: Floats,
    cell: Floats,
    sides: Floats,
    laws: Floats,
    entropic: Floats,
    conductivity: Floats,
    diffusivity: Floats,
    relative_factor: Floats,
    steps: Floats,
    amplitudes: Floats,
    mode_rates: Floats,
) -> tuple[Floats, Floats, Floats, bool]:
    """One cell through time: moments, voltages, last surfaces, whether the lower voltage came.

    Unknown at each node: the salt, relative to the initial one, and the part of the current that
    the electrolyte carries at the node's right face. Both equations couple neighbours alone, so
    that a Newton step is one sweep with blocks of two.
    """
    start_salt, density, flux, thermal, prefactor, contact, lower, longest, kelvin = cell
    n_neg, n_sep, n_pos = counts
    n = n_neg + n_sep + n_pos
    n_modes = len(mode_rates)
    side = np.empty(n, dtype=np.int64)
    for k in range(n):
        side[k] = 0 if k < n_neg else (1 if k >= n_neg + n_sep else -1)
    sign = np.array([1.0, -1.0])

    salt, mean = np.ones(n), np.zeros(n)
    current = np.ones(n)
    modes = np.zeros((n, n_modes))
    for k in range(n):
        if side[k] >= 0:
            mean[k] = sides[side[k], 1]
            even = sign[side[k]] * share[k]
            current[k] = (current[k - 1] if k > 0 else 0.0) + even
    before_salt, before_current, before_step = salt.copy(), current.copy(), 0.0

    times, volts = np.zeros(N_STEPS + 1), np.zeros(N_STEPS + 1)
    n_taken, time, last_volts = 0, 0.0, np.inf
    step, first = FIRST_STEP * longest, True
    new_salt, new_current = np.empty(n), np.empty(n)
    reaction, surface, value, wet = np.zeros(n), np.zeros(n), np.zeros(n), np.ones(n)
    by_current, by_salt, kept = np.zeros(n), np.zeros(n), np.ones(n)
    rest = np.zeros(n)
    conductance, factor, transfer, ohmic = np.empty(n), np.empty(n), np.zeros(n), np.zeros(n)
    decay, gained = np.empty((2, n_modes)), np.empty((2, n_modes))
    scale, slope = np.empty(2), np.empty(2)
    upper = np.empty((n, 2, 2))
    right, moved = np.empty((n, 2)), np.zeros((n, 2))
    last_surface = np.zeros(2)
    reached = False
    for _ in range(4 * N_STEPS):
        taken = 1e-9 * longest if first else min(step, longest - time + 1e-12)
        # properties follow the salt as it was
        for k in range(n):
            known = max(salt[k] * start_salt, LEAST_FOR_PROPERTIES)
            conductance[k] = efficiency[k] * max(_property(conductivity, steps[0], known), 1e-6)
            factor[k] = prefactor * _property(relative_factor, steps[2], salt[k] * start_salt)
            spread = efficiency[k] * max(_property(diffusivity, steps[1], known), 1e-16)
            rest[k] = 0.5 * width[k] / spread
        for k in range(n - 1):
            transfer[k] = start_salt / (rest[k] + rest[k + 1])
            ohmic[k] = (
                0.5 * density * (width[k] / conductance[k] + width[k + 1] / conductance[k + 1])
            )
        for e in range(2):
            scale[e] = sides[e, 0] * sides[e, 2]
            slope[e] = sides[e, 0] * taken
            for m in range(n_modes):
                decay[e, m] = np.exp(-taken / sides[e, 2] * mode_rates[m])
                gained[e, m] = amplitudes[m] * (1.0 - decay[e, m])
                slope[e] += scale[e] * gained[e, m]
        for k in range(n):
            new_salt[k], new_current[k] = salt[k], current[k]
            if before_step > 0.0:  # as the last step went
                part = min(taken / before_step, 1.0)
                new_salt[k] += part * (salt[k] - before_salt[k])
                new_current[k] += part * (current[k] - before_current[k])
            if side[k] >= 0:
                settled = 0.0
                for m in range(n_modes):
                    settled += modes[k, m] * decay[side[k], m]
                rest[k] = mean[k] + scale[side[k]] * settled
        converged, part, last_worst = False, 1.0, 0.0
        for iteration in range(N_ITERATIONS):
            for k in range(n):
                wet[k], kept[k] = new_salt[k], 1.0
                if new_salt[k] < 40.0 * LEAST_SALT:
                    gone = np.exp(-abs(new_salt[k]) / LEAST_SALT)
                    wet[k] = max(new_salt[k], 0.0) + LEAST_SALT * np.log1p(gone)
                    wet[k] = max(wet[k], LEAST_SALT * SMALLEST)
                    kept[k] = (1.0 if new_salt[k] > 0.0 else gone) / (1.0 + gone)
                e = side[k]
                if e < 0:
                    continue
                left = new_current[k - 1] if k > 0 else 0.0
                reaction[k] = sign[e] / share[k] * (new_current[k] - left)
                surface[k] = rest[k] + slope[e] * reaction[k]
                value[k], steep, by_reaction, by_salt[k] = _interface(
                    surface[k],
                    reaction[k],
                    wet[k],
                    sign[e],
                    sides[e],
                    laws[0, e],
                    laws[1, e],
                    entropic[e],
                    thermal,
                    kelvin,
                )
                by_current[k] = (steep * slope[e] + by_reaction) * sign[e] / share[k]
            # the sweep: eliminate from the left, then substitute from the right
            worst = 0.0
            for k in range(n):
                into = transfer[k - 1] if k > 0 else 0.0
                out = transfer[k] if k < n - 1 else 0.0
                before = new_current[k - 1] if k > 0 else 0.0
                left_salt = new_salt[k - 1] if k > 0 else 0.0
                right_salt = new_salt[k + 1] if k < n - 1 else 0.0
                r0 = -(
                    room[k] / taken * (new_salt[k] - salt[k])
                    + into * (new_salt[k] - left_salt)
                    + out * (new_salt[k] - right_salt)
                    - flux * (new_current[k] - before)
                )
                a00, a01 = -into, (flux if k > 0 else 0.0)
                b00, b01 = room[k] / taken + into + out, -flux
                c00 = -out
                inner = k < n - 1 and side[k] >= 0 and side[k + 1] == side[k]
                if inner:
                    e = side[k]
                    solid = sides[e, 5] * 0.5 * (share[k] + share[k + 1])
                    both = wet[k] + wet[k + 1]
                    driven = factor[k] + factor[k + 1]
                    gap = (
                        value[k + 1]
                        - value[k]
                        + solid * (1.0 - new_current[k])
                        - ohmic[k] * new_current[k]
                        + driven * (wet[k + 1] - wet[k]) / both
                    )
                    worst = max(worst, abs(gap))
                    r1 = -gap
                    a11 = by_current[k] if k > 0 else 0.0
                    b10 = (-by_salt[k] - 2.0 * driven * wet[k + 1] / both**2) * kept[k]
                    b11 = -solid - ohmic[k] - by_current[k] - by_current[k + 1]
                    c10 = (by_salt[k + 1] + 2.0 * driven * wet[k] / both**2) * kept[k + 1]
                    c11 = by_current[k + 1]
                else:
                    r1 = (0.0 if k == n - 1 else 1.0) - new_current[k]
                    a11, b10, b11, c10, c11 = 0.0, 0.0, 1.0, 0.0, 0.0
                if k > 0:
                    u = upper[k - 1]
                    b00 -= a00 * u[0, 0] + a01 * u[1, 0]
                    b01 -= a00 * u[0, 1] + a01 * u[1, 1]
                    b10 -= a11 * u[1, 0]
                    b11 -= a11 * u[1, 1]
                    r0 -= a00 * right[k - 1, 0] + a01 * right[k - 1, 1]
                    r1 -= a11 * right[k - 1, 1]
                determinant = b00 * b11 - b01 * b10
                upper[k, 0, 0] = (b11 * c00 - b01 * c10) / determinant
                upper[k, 0, 1] = -b01 * c11 / determinant
                upper[k, 1, 0] = (b00 * c10 - b10 * c00) / determinant
                upper[k, 1, 1] = b00 * c11 / determinant
                right[k, 0] = (b11 * r0 - b01 * r1) / determinant
                right[k, 1] = (b00 * r1 - b10 * r0) / determinant
            if worst < CONVERGED_V and iteration > 0:
                converged = True
                break
            if iteration > 1 and part > 0.05 and worst > last_worst:  # too far: half way back
                part *= 0.5
                for k in range(n):
                    new_salt[k] -= part * moved[k, 0]
                    new_current[k] -= part * moved[k, 1]
                continue
            part, last_worst = 1.0, worst
            for k in range(n - 2, -1, -1):
                right[k, 0] -= upper[k, 0, 0] * right[k + 1, 0] + upper[k, 0, 1] * right[k + 1, 1]
                right[k, 1] -= upper[k, 1, 0] * right[k + 1, 0] + upper[k, 1, 1] * right[k + 1, 1]
            for k in range(n):
                moved[k] = right[k]
                new_salt[k] += right[k, 0]
                new_current[k] += right[k, 1]
        terminal = value[n - 1] - value[0] - contact
        terminal -= 0.5 * (sides[0, 5] * share[0] + sides[1, 5] * share[n - 1])
        for k in range(n - 1):
            both = wet[k] + wet[k + 1]
            terminal += (factor[k] + factor[k + 1]) * (wet[k + 1] - wet[k]) / both
            terminal -= ohmic[k] * new_current[k]
        converged = converged and np.isfinite(terminal)
        if first:
            first, last_volts = False, terminal
            volts[0] = terminal
            continue
        fall = abs(last_volts - terminal)
        ended = terminal <= lower
        close = last_volts - lower < LARGEST_STEP_V
        for e in range(2):
            last_surface[e] = 0.0
        for k in range(n):
            if side[k] >= 0:
                last_surface[side[k]] += surface[k] * share[k]
        if converged and (fall <= LARGEST_STEP_V or (ended and close)):
            for k in range(n):
                before_salt[k], before_current[k] = salt[k], current[k]
                salt[k], current[k] = new_salt[k], new_current[k]
                e = side[k]
                if e >= 0:
                    mean[k] += sides[e, 0] * taken * reaction[k]
                    for m in range(n_modes):
                        modes[k, m] = modes[k, m] * decay[e, m] + gained[e, m] * reaction[k]
            before_step, last_volts = taken, terminal
            time += taken
            n_taken += 1
            times[n_taken], volts[n_taken] = time, terminal
            grown = min(max(STEP_V / max(fall, 1e-6), 0.4), FASTEST_GROWTH)
            step = min(taken * grown, LONGEST_STEP * longest)
            if ended:
                reached = True
                break
            if time >= longest or n_taken == N_STEPS:
                break
        else:
            step = 0.4 * taken
            if step < 1e-9 * longest:
                break
    return times[: n_taken + 1].copy(), volts[: n_taken + 1].copy(), last_surface, reached
