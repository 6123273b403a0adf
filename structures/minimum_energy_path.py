"""Minimum-energy paths of one particle in three dimensions, for any energy function.

First a path of least resistance on a grid, then a string in the planes across it. Both know
nothing of where the energy comes from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

Floats = NDArray[np.float64]

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


def lowest_path_on_a_grid(
    energy: Callable[[Floats], Floats],
    start: Floats,
    end: Floats,
    longest_A: float,
    across: Floats,
) -> Floats:
    """Path of least resistance between two points, the maximum-flux path.

    Minimises the integral of exp(E / kT) along the path (S. Huo and J. E. Straub, J. Chem. Phys.
    107, 5000 (1997)) by Dijkstra's algorithm on a grid whose axes are the line between the ends,
    the direction `across`, and their normal; the grid is symmetric under exchange of the ends. Of
    ways equal by symmetry the one is taken that keeps back from the end, from `across` and from the
    normal (LEAN).

    Args:
        energy: (n, 3) points -> (n,) energies in eV.
        start: (3,) start, angstrom.
        end: (3,) end, angstrom.
        longest_A: Points p with |p - start| + |p - end| <= longest_A are allowed.
        across: (3,) unit vector normal to the line.

    Returns:
        (n, 3) points from start to end.
    """
    distance = float(np.linalg.norm(end - start))
    volume = np.pi / 6 * longest_A * (longest_A**2 - distance**2)
    step = max(GRID_SPACING_A, float(np.cbrt(volume / MAX_GRID_POINTS)))
    n_along = max(2, round(distance / step))
    spacing = np.array([distance / n_along, step, step])
    axis = (end - start) / distance
    frame = np.stack([axis, across, np.cross(axis, across)])
    beyond = int((0.5 * (longest_A - distance)) / spacing[0])
    aside = int(0.5 * np.sqrt(max(longest_A**2 - distance**2, 0.0)) / step)
    grid = np.stack(
        np.meshgrid(
            np.arange(-beyond, n_along + beyond + 1),
            np.arange(-aside, aside + 1),
            np.arange(-aside, aside + 1),
            indexing="ij",
        ),
        axis=-1,
    )
    local = grid * spacing
    to_start = np.sqrt((local**2).sum(-1))
    to_end = np.sqrt(((local - [distance, 0, 0]) ** 2).sum(-1))
    inside = to_start + to_end <= longest_A + 1e-6
    points = start + local[inside] @ frame
    side = local[inside] @ [3.0, 2.0, 1.0] / (6.0 * longest_A)
    height = energy(points)
    line = np.zeros_like(inside)
    line[beyond : beyond + n_along + 1, aside, aside] = True
    ends = np.flatnonzero(line[inside])[[0, -1]]
    is_open = (height < height[ends].max() + CEILING_EV) | line[inside]
    inside[inside] = is_open
    points, height, side = points[is_open], height[is_open], side[is_open]
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(len(points))
    source = int(number[beyond, aside, aside])
    target = int(number[beyond + n_along, aside, aside])
    floor = height[[source, target]].min()
    resistance = np.exp(np.clip(height - floor, -MOST_EV, MOST_EV) / RESISTANCE_EV)
    resistance *= 1.0 + LEAN * side
    rows, columns, lengths = _grid_edges(number, spacing)
    cost = lengths * 0.5 * (resistance[rows] + resistance[columns])
    graph = csr_array((cost, (rows, columns)), shape=(len(points), len(points)))
    _, before = dijkstra(graph, directed=False, indices=source, return_predecessors=True)
    chain = [target]
    while chain[-1] != source:
        chain.append(int(before[chain[-1]]))
    return points[chain[::-1]]


_HALF_OF_26 = [
    (i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) > (0, 0, 0)
]


def _grid_edges(
    number: NDArray[np.int64], spacing: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Pairs of neighbouring grid points (26 neighbours), each once, and their lengths."""
    rows, columns, lengths = [], [], []
    for step in _HALF_OF_26:
        here = number[tuple(slice(max(0, -s), -s if s > 0 else None) for s in step)]
        there = number[tuple(slice(max(0, s), s if s < 0 else None) for s in step)]
        both = (here >= 0) & (there >= 0)
        rows.append(here[both])
        columns.append(there[both])
        lengths.append(np.full(len(rows[-1]), np.linalg.norm(np.array(step) * spacing)))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(lengths)


def resample(path: Floats, n_images: int) -> Floats:
    """Images equally spaced along the arc of a smooth curve (cubic spline) through a path.

    Args:
        path: (n, 3) points.
        n_images: Number of images, ends included.

    Returns:
        (n_images, 3); the ends are those of the path.
    """
    knots = _arc(path)
    fine = np.linspace(0, knots[-1], 20 * len(path))
    curve = CubicSpline(knots, path)(fine) if len(path) > 2 else _linear(knots, path, fine)
    out = _linear(_arc(curve), curve, np.linspace(0, _arc(curve)[-1], n_images))
    out[0], out[-1] = path[0], path[-1]
    return out


def relax_string(
    derivatives: Callable[[Floats], tuple[Floats, Floats, Floats]], path: Floats
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
        derivatives: (n, 3) points -> energy (n,), gradient (n, 3), Hessian (n, 3, 3).
        path: (n, 3) first guess.

    Returns:
        (N_STRING_IMAGES, 3) images equally spaced along the arc.
    """
    images = _equally_spaced(path, N_STRING_IMAGES)
    cap = np.full(len(images) - 2, MAX_STEP_A)
    before = np.zeros((len(images) - 2, 3))
    step = np.inf
    for _ in range(MAX_ITERATIONS):
        tangent = images[2:] - images[:-2]
        tangent /= np.linalg.norm(tangent, axis=1)[:, None]
        _, gradient, hessian = derivatives(images[1:-1])
        plane = np.eye(3) - tangent[:, :, None] * tangent[:, None, :]
        stiffness, mode = np.linalg.eigh(plane @ hessian @ plane)
        bend = images[2:] - 2 * images[1:-1] + images[:-2]
        spring = RESISTANCE_EV / np.mean(np.sum(np.diff(images, axis=0) ** 2, axis=1))
        force = np.einsum("nij,nj->ni", plane, spring * bend - gradient)
        in_modes = np.einsum("nji,nj->ni", mode, force)
        in_modes /= np.maximum(np.abs(stiffness) + 2 * spring, LEAST_STIFFNESS_EV_A2)
        move = np.einsum("nij,nj->ni", mode, in_modes)
        cap = np.where((move * before).sum(1) < 0, 0.5 * cap, np.minimum(1.2 * cap, MAX_STEP_A))
        size = np.linalg.norm(move, axis=1)
        move *= np.minimum(1.0, cap / np.maximum(size, 1e-12))[:, None]
        before = move
        moved = images.copy()
        moved[1:-1] += move
        moved = _equally_spaced(moved, N_STRING_IMAGES)
        step, last = float(np.minimum(size, cap).max()), step
        if step < CONVERGED_STEP_A:
            share = (last - CONVERGED_STEP_A) / (last - step) if np.isfinite(last) else 1.0
            return images + share * (moved - images)
        images = moved
    return images


def _arc(path: Floats) -> Floats:
    """(n,) arc length from the first point."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])


def _linear(knots: Floats, path: Floats, at: Floats) -> Floats:
    return np.stack([np.interp(at, knots, path[:, k]) for k in range(3)], axis=1)


def _equally_spaced(path: Floats, n_images: int) -> Floats:
    knots = _arc(path)
    out = _linear(knots, path, np.linspace(0, knots[-1], n_images))
    out[0], out[-1] = path[0], path[-1]
    return out
