"""Minimum-energy paths of one particle among fixed atoms, all in compiled loops.

First a path of least resistance on a grid, then a string in the planes across it. The energy is a
sum over a cluster of atoms, each with a weight and a kind of its own; kinds are tables of
:mod:`ionbridge.structures.bond_valence.pair_energy`.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.bond_valence.pair_energy import MIN_DISTANCE_A, slope_and_curvature
from ionbridge.structures.compiled import compiled

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GRID_SPACING_A = 0.35
MAX_GRID_POINTS = 8000
"""The grid of a very long hop is coarser, to hold about this many points."""

RESISTANCE_EV = 0.15
"""kT of the resistance exp(E/kT): low enough that a path prefers length to height."""

CEILING_EV = 10.0
"""Grid points this much above both ends are closed, except on the straight line."""

MOST_EV = 40.0
"""Energies further from that of the lower end count as this far, to keep exp(E/kT) finite."""

LEAN = 0.01
"""The resistance rises by up to this share towards the end and to the side, so that of ways equal
by symmetry it is not the last bit of an energy that takes one."""

N_STRING_IMAGES = 11
MAX_ITERATIONS = 40
MAX_STEP_A = 0.12
CONVERGED_STEP_A = 0.004
LEAST_STIFFNESS_EV_A2 = 2.0


@compiled
def tabulated_energy(
    point: Floats, atoms: Floats, kind: Integers, table: NDArray[np.float32], place: Floats
) -> float:
    """Energy at a point, eV, by lines between the entries of a table.

    Args:
        point: (3,) angstrom.
        atoms: (5, n_atoms) of :func:`_as_columns`.
        kind: (n_atoms,) rows of the table.
        table: (n_kinds, size + 1) energies at squared distances ``(i + 0.5) / scale``, the last one
            zero.
        place: (n_atoms,) room to work in.
    """
    last = table.shape[1] - 1
    p, q, r = point[0], point[1], point[2]
    x, y, z, scale, weight = atoms[0], atoms[1], atoms[2], atoms[3], atoms[4]
    for a in range(len(kind)):  # a loop by itself, of which the compiler makes vectors
        square = (x[a] - p) ** 2 + (y[a] - q) ** 2 + (z[a] - r) ** 2
        place[a] = square * scale[a] - 0.5
    energy = 0.0
    for a in range(len(kind)):
        if place[a] < last:
            at, k = max(place[a], 0.0), kind[a]
            i = int(at)
            t = at - i
            energy += weight[a] * ((1.0 - t) * table[k, i] + t * table[k, i + 1])
    return energy


@compiled
def _as_columns(position: Floats, kind: Integers, weight: Floats, scale: Floats) -> Floats:
    """(5, n_atoms) coordinates, entries of the table per angstrom^2, and factors."""
    atoms = np.empty((5, len(position)))
    for a in range(len(position)):
        for c in range(3):
            atoms[c, a] = position[a, c]
        atoms[3, a], atoms[4, a] = scale[kind[a]], weight[a]
    return atoms


@compiled
def lowest_path_on_a_grid(
    position: Floats,
    kind: Integers,
    weight: Floats,
    table: NDArray[np.float32],
    scale: Floats,
    start: Floats,
    end: Floats,
    longest_A: float,
    across: Floats,
) -> Floats:
    """Path of least resistance between two points, the maximum-flux path.

    Minimises the integral of exp(E / kT) along the path (S. Huo and J. E. Straub, J. Chem. Phys.
    107, 5000 (1997)) by Dijkstra's algorithm on a grid whose axes are the line between the ends,
    the direction `across`, and their normal; the grid is symmetric under exchange of the ends, a
    point has 26 neighbours, and energies are found out where the search comes to. Of ways equal by
    symmetry the one is taken that keeps back from the end, from `across` and from the normal
    (LEAN).

    Args:
        position: (n_atoms, 3) of the cluster, angstrom.
        kind: (n_atoms,) rows of the table.
        weight: (n_atoms,) factors.
        table: (n_kinds, size + 1), see :func:`tabulated_energy`.
        scale: (n_kinds,) entries per angstrom^2.
        start: (3,) start, angstrom.
        end: (3,) end, angstrom.
        longest_A: Points p with |p - start| + |p - end| <= longest_A are allowed.
        across: (3,) unit vector normal to the line.

    Returns:
        (n, 3) points from start to end.
    """
    axis, normal = np.empty(3), np.empty(3)
    for c in range(3):
        axis[c] = end[c] - start[c]
    distance = _length(axis[0], axis[1], axis[2])
    for c in range(3):
        axis[c] /= distance
    _cross(axis, across, normal)
    volume = math.pi / 6 * longest_A * (longest_A**2 - distance**2)
    step = max(GRID_SPACING_A, (volume / MAX_GRID_POINTS) ** (1.0 / 3.0))
    n_along = max(2, round(distance / step))
    along = distance / n_along
    beyond = int((0.5 * (longest_A - distance)) / along)
    aside = int(0.5 * math.sqrt(max(longest_A**2 - distance**2, 0.0)) / step)
    n_x, n_y = n_along + 2 * beyond + 1, 2 * aside + 1
    atoms, place = _as_columns(position, kind, weight, scale), np.empty(len(position))
    at_start = tabulated_energy(start, atoms, kind, table, place)
    at_end = tabulated_energy(end, atoms, kind, table, place)
    floor, ceiling = min(at_start, at_end), max(at_start, at_end) + CEILING_EV
    resistance = np.zeros(n_x * n_y * n_y)  # 0: not known yet, -1: closed
    cost = np.full(len(resistance), np.inf)
    before = np.full(len(resistance), -1)
    lengths = np.empty((3, 3, 3))
    for i in range(3):
        for j in range(3):
            for k in range(3):
                aside2 = ((j - 1) * step) ** 2 + ((k - 1) * step) ** 2
                lengths[i, j, k] = math.sqrt(((i - 1) * along) ** 2 + aside2)
    source = (beyond * n_y + aside) * n_y + aside
    target = ((beyond + n_along) * n_y + aside) * n_y + aside
    point = np.empty(3)
    side = along * n_along * 3.0 / (6.0 * longest_A)
    resistance[source] = _resistance(at_start - floor, 0.0)
    resistance[target] = _resistance(at_end - floor, side)
    cost[source] = 0.0
    waiting = [(0.0, source)]
    while waiting:
        so_far, node = heapq.heappop(waiting)
        if node == target:
            break
        if so_far > cost[node]:
            continue
        x, y, z = node // (n_y * n_y), (node // n_y) % n_y, node % n_y
        for i in range(max(x - 1, 0), min(x + 2, n_x)):
            u = (i - beyond) * along
            for j in range(max(y - 1, 0), min(y + 2, n_y)):
                v = (j - aside) * step
                for k in range(max(z - 1, 0), min(z + 2, n_y)):
                    there = (i * n_y + j) * n_y + k
                    if resistance[there] < 0.0 or there == node:
                        continue
                    if resistance[there] == 0.0:
                        w = (k - aside) * step
                        square = v * v + w * w
                        to_start = math.sqrt(u * u + square)
                        to_end = math.sqrt((u - distance) ** 2 + square)
                        if to_start + to_end > longest_A + 1e-6:
                            resistance[there] = -1.0
                            continue
                        for c in range(3):
                            point[c] = start[c] + u * axis[c] + v * across[c] + w * normal[c]
                        height = tabulated_energy(point, atoms, kind, table, place)
                        on_line = j == aside and k == aside and 0 <= i - beyond <= n_along
                        if height >= ceiling and not on_line:
                            resistance[there] = -1.0
                            continue
                        side = (3.0 * u + 2.0 * v + w) / (6.0 * longest_A)
                        resistance[there] = _resistance(height - floor, side)
                    mean = 0.5 * (resistance[node] + resistance[there])
                    total = so_far + mean * lengths[i - x + 1, j - y + 1, k - z + 1]
                    if total < cost[there] and total <= cost[target]:
                        cost[there] = total
                        before[there] = node
                        heapq.heappush(waiting, (total, there))
    count, node = 1, target
    while node != source:
        node = before[node]
        count += 1
    path = np.empty((count, 3))
    node = target
    for m in range(count - 1, -1, -1):
        u = (node // (n_y * n_y) - beyond) * along
        v, w = ((node // n_y) % n_y - aside) * step, (node % n_y - aside) * step
        for c in range(3):
            path[m, c] = start[c] + u * axis[c] + v * across[c] + w * normal[c]
        node = before[node]
    return path


@compiled
def _resistance(above_eV: float, side: float) -> float:
    """exp(E / kT) of an energy above the lower end, and the little by which the side is worse."""
    energy = min(max(above_eV, -MOST_EV), MOST_EV)
    return math.exp(energy / RESISTANCE_EV) * (1.0 + LEAN * side)


@compiled
def relax_string(
    position: Floats, kind: Integers, weight: Floats, slopes: Floats, path: Floats
) -> Floats:
    """Relax a path to a minimum-energy path with fixed ends.

    A simplified string (W. E, W. Ren, E. Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007)): images
    move in the planes across the path and are spaced anew along its arc. The force is that of the
    maximum-flux path, -grad E + kT curvature: the small tension keeps a path in a flat or falling
    landscape from wandering. The move is a Newton step with the absolute values of the Hessian's
    eigenvalues in that plane, so that it goes downhill in stiff and in soft directions alike; it is
    capped. Of the last move only the part is made in which the length of the moves falls below
    CONVERGED_STEP_A, so that the path follows small changes of the landscape smoothly.

    Args:
        position: (n_atoms, 3) of the cluster, angstrom.
        kind: (n_atoms,) rows of the tables.
        weight: (n_atoms,) factors.
        slopes: (n_kinds, n, 2) of
            :func:`ionbridge.structures.bond_valence.pair_energy.slope_tables`.
        path: (n, 3) first guess.

    Returns:
        (N_STRING_IMAGES, 3) images equally spaced along the arc.
    """
    images, moved = np.empty((N_STRING_IMAGES, 3)), np.empty((N_STRING_IMAGES, 3))
    _equally_spaced(path, images)
    n = N_STRING_IMAGES - 2
    cap, size = np.full(n, MAX_STEP_A), np.zeros(n)
    before, move = np.zeros((n, 3)), np.zeros((n, 3))
    step = np.inf
    atoms, away = (
        _as_columns(position, kind, weight, np.zeros(len(slopes))),
        np.empty(len(position)),
    )
    for _ in range(MAX_ITERATIONS):
        spring = 0.0
        for m in range(n + 1):
            for c in range(3):
                spring += (images[m + 1, c] - images[m, c]) ** 2
        spring = RESISTANCE_EV * (n + 1) / spring
        last, step = step, 0.0
        for m in range(n):
            _move(images, m + 1, atoms, kind, slopes, spring, away, move[m])
            size[m] = _length(move[m, 0], move[m, 1], move[m, 2])
            turned = 0.0
            for c in range(3):
                turned += move[m, c] * before[m, c]
            cap[m] = 0.5 * cap[m] if turned < 0.0 else min(1.2 * cap[m], MAX_STEP_A)
            step = max(step, min(size[m], cap[m]))
            for c in range(3):
                move[m, c] *= min(1.0, cap[m] / max(size[m], 1e-12))
                before[m, c] = move[m, c]
                move[m, c] += images[m + 1, c]
        for c in range(3):
            moved[0, c], moved[n + 1, c] = images[0, c], images[n + 1, c]
            for m in range(n):
                moved[m + 1, c] = move[m, c]
        share = 1.0
        if step < CONVERGED_STEP_A and last < np.inf:
            share = (last - CONVERGED_STEP_A) / (last - step)
        spaced = np.empty((N_STRING_IMAGES, 3))
        _equally_spaced(moved, spaced)
        for m in range(N_STRING_IMAGES):
            for c in range(3):
                images[m, c] += share * (spaced[m, c] - images[m, c])
        if step < CONVERGED_STEP_A:
            break
    return images


@compiled
def _move(
    images: Floats,
    m: int,
    atoms: Floats,
    kind: Integers,
    slopes: Floats,
    spring: float,
    away: Floats,
    move: Floats,
) -> None:
    """The step (3,) of the m-th image in the plane across the path, not capped."""
    tangent, force = np.empty(3), np.empty(3)
    for c in range(3):
        tangent[c] = images[m + 1, c] - images[m - 1, c]
        force[c] = spring * (images[m + 1, c] - 2 * images[m, c] + images[m - 1, c])
    length = _length(tangent[0], tangent[1], tangent[2])
    for c in range(3):
        tangent[c] /= length
    first, second = np.zeros(3), np.empty(3)
    least = 0
    for c in range(1, 3):
        if abs(tangent[c]) < abs(tangent[least]):
            least = c
    length = math.sqrt(1.0 - tangent[least] ** 2)
    for c in range(3):
        first[c] = ((1.0 if c == least else 0.0) - tangent[least] * tangent[c]) / length
    _cross(tangent, first, second)
    p, q, r = 0.0, 0.0, 0.0  # the Hessian in the plane
    i, j, k = images[m, 0], images[m, 1], images[m, 2]
    px, py, pz, weight = atoms[0], atoms[1], atoms[2], atoms[4]
    for a in range(len(kind)):  # as in `tabulated_energy`
        away[a] = math.sqrt((i - px[a]) ** 2 + (j - py[a]) ** 2 + (k - pz[a]) ** 2)
    for a in range(len(kind)):
        distance = max(away[a], MIN_DISTANCE_A)
        slope, curvature = slope_and_curvature(distance, slopes, kind[a])
        x, y, z = i - px[a], j - py[a], k - pz[a]
        across = weight[a] * slope / distance
        along = (weight[a] * curvature - across) / (distance * distance)
        force[0] -= across * x
        force[1] -= across * y
        force[2] -= across * z
        u = first[0] * x + first[1] * y + first[2] * z
        v = second[0] * x + second[1] * y + second[2] * z
        p += across + along * u * u
        q += along * u * v
        r += across + along * v * v
    push, pull = 0.0, 0.0
    for c in range(3):
        push += first[c] * force[c]
        pull += second[c] * force[c]
    middle, half = 0.5 * (p + r), math.sqrt((0.5 * (p - r)) ** 2 + q * q)
    angle = 0.5 * math.atan2(q, 0.5 * (p - r)) if half > 0.0 else 0.0
    cosine, sine = math.cos(angle), math.sin(angle)  # of the axis with stiffness middle + half
    along = cosine * push + sine * pull
    aside = cosine * pull - sine * push
    along /= max(abs(middle + half) + 2 * spring, LEAST_STIFFNESS_EV_A2)
    aside /= max(abs(middle - half) + 2 * spring, LEAST_STIFFNESS_EV_A2)
    for c in range(3):
        move[c] = (cosine * along - sine * aside) * first[c]
        move[c] += (sine * along + cosine * aside) * second[c]


@compiled
def _cross(a: Floats, b: Floats, out: Floats) -> None:
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@compiled
def _length(x: float, y: float, z: float) -> float:
    return math.sqrt(x * x + y * y + z * z)


@compiled
def resample(path: Floats, n_images: int) -> Floats:
    """Images equally spaced along the arc of a smooth curve through a path.

    The curve is a cubic spline with not-a-knot ends (a parabola through three points, a line
    through two).

    Args:
        path: (n, 3) points.
        n_images: Number of images, ends included.

    Returns:
        (n_images, 3); the ends are those of the path.
    """
    n = len(path)
    knots, curve = np.empty(n), np.empty((20 * n, 3))
    _arc(path, knots)
    slope = np.zeros((n, 3))
    _spline_slopes(knots, path, slope)
    i = 0
    for m in range(len(curve)):
        x = knots[n - 1] * m / (len(curve) - 1)
        while i < n - 2 and x >= knots[i + 1]:
            i += 1
        h = knots[i + 1] - knots[i]
        t = (x - knots[i]) / h
        s = 1.0 - t
        for c in range(3):
            rise = path[i + 1, c] - path[i, c]
            a, b = h * slope[i, c] - rise, rise - h * slope[i + 1, c]
            curve[m, c] = s * path[i, c] + t * path[i + 1, c] + t * s * (a * s + b * t)
    out = np.empty((n_images, 3))
    _equally_spaced(curve, out)
    for c in range(3):
        out[0, c], out[n_images - 1, c] = path[0, c], path[n - 1, c]
    return out


@compiled
def _spline_slopes(knots: Floats, path: Floats, slope: Floats) -> None:
    """Slopes (n, 3) at the knots of the cubic spline with not-a-knot ends.

    A tridiagonal system, solved by elimination from the first row to the last.
    """
    n = len(knots)
    below, on, above = np.zeros(n), np.ones(n), np.zeros(n)
    for c in range(3):
        for i in range(1, n - 1):
            h, k = knots[i] - knots[i - 1], knots[i + 1] - knots[i]
            before, after = (path[i, c] - path[i - 1, c]) / h, (path[i + 1, c] - path[i, c]) / k
            below[i], on[i], above[i] = k, 2 * (h + k), h
            slope[i, c] = 3 * (k * before + h * after)
            if i == 1:
                on[0], above[0] = (k, h + k) if n > 3 else (1.0, 1.0)
                if n > 3:
                    slope[0, c] = ((h + 2 * (h + k)) * k * before + h * h * after) / (h + k)
                else:
                    slope[0, c] = 2 * before
            if i == n - 2:
                on[n - 1], below[n - 1] = (h, h + k) if n > 3 else (1.0, 1.0)
                if n > 3:
                    slope[n - 1, c] = (k * k * before + (2 * (h + k) + k) * h * after) / (h + k)
                else:
                    slope[n - 1, c] = 2 * after
        if n == 2:
            slope[0, c] = slope[1, c] = (path[1, c] - path[0, c]) / (knots[1] - knots[0])
        for i in range(1, n):
            share = below[i] / on[i - 1]
            on[i] -= share * above[i - 1]
            slope[i, c] -= share * slope[i - 1, c]
        slope[n - 1, c] /= on[n - 1]
        for i in range(n - 2, -1, -1):
            slope[i, c] = (slope[i, c] - above[i] * slope[i + 1, c]) / on[i]


@compiled
def _arc(path: Floats, arc: Floats) -> None:
    """Arc length (n,) from the first point."""
    arc[0] = 0.0
    for m in range(1, len(path)):
        x, y = path[m, 0] - path[m - 1, 0], path[m, 1] - path[m - 1, 1]
        arc[m] = arc[m - 1] + _length(x, y, path[m, 2] - path[m - 1, 2])


@compiled
def equally_spaced(path: Floats, n_points: int) -> Floats:
    """(n_points, 3) points equally spaced along the arc of a polyline (n, 3), ends kept."""
    out = np.empty((n_points, 3))
    _equally_spaced(path, out)
    return out


@compiled
def _equally_spaced(path: Floats, out: Floats) -> None:
    """Points (n_images, 3) equally spaced along a polyline, ends kept."""
    knots = np.empty(len(path))
    _arc(path, knots)
    last, n_images = len(path) - 1, len(out)
    i = 0
    for m in range(n_images):
        x = knots[last] * m / (n_images - 1)
        while i < last - 1 and x >= knots[i + 1]:
            i += 1
        h = knots[i + 1] - knots[i]
        t = (x - knots[i]) / h if h > 0.0 else 0.0
        t = 1.0 if m == n_images - 1 else t
        for c in range(3):
            out[m, c] = (1.0 - t) * path[i, c] + t * path[i + 1, c]
    for c in range(3):
        out[0, c], out[n_images - 1, c] = path[0, c], path[last, c]
