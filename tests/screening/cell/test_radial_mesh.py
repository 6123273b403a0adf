"""The radial mesh follows a sphere under constant flux, whose surface has a closed form."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from ionbridge.screening.cell.radial_mesh import EDGES, N_CELLS, NODES

Floats = NDArray[np.float64]

FOURIER = np.geomspace(1e-4, 1.0, 30)


def closed_form(fourier: Floats) -> Floats:
    """Surface concentration of a unit sphere that takes up a unit flux (Carslaw and Jaeger 9.7)."""
    roots = np.array(
        [brentq(lambda x: np.tan(x) - x, k * np.pi + 1e-6, (k + 0.5) * np.pi - 1e-9)
         for k in range(1, 400)]
    )  # fmt: skip
    series = np.exp(-np.outer(fourier, roots**2)) / roots**2
    return 3.0 * fourier + 0.2 - 2.0 * series.sum(axis=1)


def finite_volumes(edges: Floats, nodes: Floats, fourier: Floats) -> Floats:
    """The same with finite volumes, extrapolated to the surface as PyBaMM does."""
    n = len(nodes)
    volume = (edges[1:] ** 3 - edges[:-1] ** 3) / 3.0
    exchange = edges[1:-1] ** 2 / np.diff(nodes)
    matrix = np.zeros((n, n))
    inner = np.arange(n - 1)
    matrix[inner, inner] -= exchange / volume[:-1]
    matrix[inner, inner + 1] += exchange / volume[:-1]
    matrix[inner + 1, inner] += exchange / volume[1:]
    matrix[inner + 1, inner + 1] -= exchange / volume[1:]
    scale = np.sqrt(volume)
    symmetric = scale[:, None] * matrix / scale[None, :]
    rates, modes = np.linalg.eigh(0.5 * (symmetric + symmetric.T))
    rates = np.minimum(rates, -1e-13)
    drive = modes[-1] / scale[-1]
    amplitude = np.expm1(rates * fourier[:, None]) / rates * drive
    last = amplitude @ modes[-2:].T / scale[-2:]
    reach = (1.0 - nodes[-1]) / (nodes[-1] - nodes[-2])
    return np.asarray(last[:, 1] + reach * (last[:, 1] - last[:, 0]))


def test_surface_follows_the_closed_form() -> None:
    relative = finite_volumes(EDGES, NODES, FOURIER) / closed_form(FOURIER) - 1.0
    assert np.abs(relative).max() < 1e-4


def test_a_uniform_mesh_of_as_many_cells_does_not() -> None:
    edges = np.linspace(0.0, 1.0, N_CELLS + 1)
    nodes = 0.5 * (edges[1:] + edges[:-1])
    relative = finite_volumes(edges, nodes, FOURIER) / closed_form(FOURIER) - 1.0
    assert np.abs(relative).max() > 0.1


def test_every_node_lies_in_its_cell() -> None:
    assert (EDGES[:-1] < NODES).all()
    assert (EDGES[1:] > NODES).all()
