"""How an olivine ends a discharge: particles that are connected unequally fill one after the other.

On a flat potential nothing evens out what neighbouring particles take up, so that those with a good
contact fill first and the rest carry the current through what resistance they have: the end of a
discharge widens and gives less in proportion to the current. Four groups of particles of one size,
shares, contact resistances and open-circuit potential as measured on one LiFePO4 electrode, C/25 to
5C (resistive reactant: Safari and Delacourt, J. Electrochem. Soc. 158, A63 (2011), eqs. 2 to 10,
table I); how fast lithium diffuses in them is the cell's own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cells.cell_discrepancy import PARTS, RatedCurve
from ionbridge.models.cells.single_particle import on_grid
from ionbridge.structures.compiled import compiled

Floats = NDArray[np.float64]

SHARES = np.array([0.25, 0.62, 0.08, 0.05])
"""Of the electrode's capacity, by group."""
CONTACT_V_H = 7.4363e-3 * np.array([0.08, 2.88, 7.81, 36.99])
"""Drop at the contact of a group's particles that fill within an hour, V h: the published ohm m2
times the current density of particles of 36.5 nm and 22.806 kmol/m3."""
HALF = 0.5
"""Part of the discharge from which on an olivine's end is seen; up to there a set's polarisation
holds, and what it is there."""
N_STEPS, FINEST = 300, 0.03
"""Steps over a discharge, and how much shorter the last ones are."""
N_FILLINGS = 4001
N_HALVINGS = 36
FASTEST = 60.0
"""Of a group over the electrode's mean."""
N_PLACES = 2001
FALLEN_V = -10.0
"""Potential of an olivine that takes up no more."""


def open_circuit_V(filling: Floats) -> Floats:
    """Potential of LiyFePO4 against lithium at fillings y of 0 to 1, V (eq. 10)."""
    free = 1.0 - filling
    return np.asarray(
        3.4323
        - 0.8428 * np.exp(-80.2493 * free**1.3198)
        - 3.2470e-6 * np.exp(20.2645 * free**3.8003)
        + 3.2482e-6 * np.exp(20.2646 * free**3.7995)
    )


_POTENTIAL = open_circuit_V(np.linspace(0.0, 1.0, N_FILLINGS))


@compiled
def _uptake(
    level: float,
    most: float,
    diffusion_h: float,
    filling: Floats,
    gradient: Floats,
    shares: Floats,
    contact: Floats,
    table: Floats,
    taken: Floats,
) -> float:
    """What all groups take up at a potential; ``taken`` becomes that of each, parts an hour."""
    total = 0.0
    for g in range(len(shares)):
        # no particle takes up more than its surface has room for
        room = 3.0 * (35.0 * (1.0 - filling[g]) - 8.0 * gradient[g]) / diffusion_h
        little, much = 0.0, min(most, max(room, 0.0))
        for _ in range(N_HALVINGS):
            middle = 0.5 * (little + much)
            lag = (8.0 * gradient[g] + middle * diffusion_h / 3.0) / 35.0
            if on_grid(table, filling[g] + lag) - contact[g] * middle < level:
                much = middle
            else:
                little = middle
        taken[g] = 0.5 * (little + much)
        total += shares[g] * taken[g]
    return total


@compiled
def _discharge(
    rate: float,
    diffusion_h: float,
    start: float,
    lower_V: float,
    shares: Floats,
    contact: Floats,
    table: Floats,
) -> tuple[Floats, Floats]:
    """See ``olivine_discharge``; surfaces by a polynomial of three parameters (eqs. 2 to 4)."""
    n = len(shares)
    filling, gradient, taken = np.full(n, start), np.zeros(n), np.zeros(n)
    most = int(N_STEPS / FINEST) + N_STEPS
    drawn, volts = np.empty(most), np.empty(most)
    state = (FASTEST * rate, diffusion_h, filling, gradient, shares, contact, table, taken)
    for step in range(most):
        low, high = lower_V - 1.0, table[0]
        for _ in range(N_HALVINGS):
            level = 0.5 * (low + high)
            if _uptake(level, *state) > rate:
                low = level
            else:
                high = level
        left = 1.0
        for g in range(n):
            left -= shares[g] * filling[g]
        drawn[step], volts[step] = 1.0 - start - left, low
        if low < lower_V:
            return drawn[: step + 1], volts[: step + 1]
        less = rate / _uptake(low, *state)
        hours = min(1.0, max(FINEST, 4.0 * left)) / (rate * N_STEPS)
        for g in range(n):
            taken[g] *= less
            relaxed = 1.0 + 30.0 * hours / diffusion_h
            gradient[g] = (gradient[g] + 7.5 * taken[g] * hours) / relaxed
            filling[g] = min(1.0, filling[g] + taken[g] * hours)
    return drawn, volts


def olivine_discharge(
    rate: float, diffusion_h: float, start: float, lower_V: float, contact: float = 1.0
) -> tuple[Floats, Floats]:
    """An olivine filled at a constant rate.

    Args:
        rate: Parts of its capacity in an hour.
        diffusion_h: Radius of the particles squared over their diffusivity, h.
        start: Filling at first.
        lower_V: Where it ends.
        contact: Factor to the contact resistances.

    Returns:
        (m,) filling taken up, ascending from 0, and (m,) potential against lithium, V, without
        the overpotential of the reaction; the last one below ``lower_V``.
    """
    return _discharge(rate, diffusion_h, start, lower_V, SHARES, contact * CONTACT_V_H, _POTENTIAL)


def ended(
    record: RatedCurve, diffusion_h: tuple[float, float], start: float, lower_V: float
) -> RatedCurve:
    """A predicted discharge that ends as an olivine does, from the slow curve and at its rate.

    The slow curve is taken to end where the olivine is full. Up to half of the charge the
    prediction stays as it is; from there on it falls by what the olivine falls more than in the
    slow discharge, its own parameter set's polarisation staying what it is at half. Where the set
    alone falls further, what else limits it does.

    Args:
        record: Predicted with a parameter set.
        diffusion_h: Radius squared over diffusivity of the set's particles in the slow discharge
            and in this one, h.
        start: Filling of the full cell.
        lower_V: Where discharges end.

    Returns:
        Polarisation and capacity anew. A discharge hardly faster than the slow one stays as it is.
    """
    faster = record.rate - record.slow_rate
    whole = (1.0 - start) * record.rate, (1.0 - start) * record.slow_rate
    at_half = float(np.interp(HALF, PARTS, record.polarisation_V))
    if faster <= 0.0 or at_half <= 0.0:
        return record
    # what the set polarises in all is not less than what the contacts do
    own = float(SHARES[1] / CONTACT_V_H[1]) * at_half / ((1.0 - start) * faster)
    contact = min(1.0, own)
    slow_at, slow_V = olivine_discharge(whole[1], diffusion_h[0], start, lower_V, contact)
    at, volts = olivine_discharge(whole[0], diffusion_h[1], start, lower_V, contact)
    place = np.linspace(0.0, 1.0, N_PLACES)
    filling = place * slow_at[-1]
    below = np.interp(filling, slow_at, slow_V) - np.interp(filling, at, volts, right=FALLEN_V)
    known = min(float(np.interp(HALF, place, below)), at_half)
    beyond = np.where(place > HALF, np.maximum(below - known, 0.0), 0.0)
    held = np.interp(np.minimum(place, HALF), PARTS, record.polarisation_V)
    curve = np.interp(place, PARTS, record.slow_V) - held - beyond
    alone = record.slow_V - record.polarisation_V
    by_set = np.interp(place, PARTS * record.capacity, alone, right=FALLEN_V)
    curve = np.maximum(np.minimum(curve, by_set), lower_V - 1.0)
    gone = np.flatnonzero(curve <= lower_V)
    if len(gone) and gone[0] == 0:
        return record
    capacity = 1.0
    if len(gone):
        pair = slice(gone[0] - 1, gone[0] + 1)
        capacity = float(np.interp(-lower_V, -curve[pair], place[pair]))
    found = np.interp(PARTS * capacity, place, curve)
    return replace(record, polarisation_V=record.slow_V - found, capacity=capacity)
