"""Energy of a mobile ion on a periodic grid: percolation and local minima."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionbridge.structures.crystals.neighbors import periodic_edges

_TOUCHING = np.ones((3, 3, 3), dtype=int)


@dataclass(frozen=True, eq=False)
class Landscape:
    """Energy on the grid points ``(i/nx, j/ny, k/nz)`` of a periodic cell.

    Attributes:
        energy_eV: (nx, ny, nz) energies; very large inside atoms.
        lattice: (3, 3) rows, angstrom.
    """

    energy_eV: NDArray[np.floating]
    lattice: NDArray[np.float64]

    @property
    def minimum_eV(self) -> float:
        """Lowest energy on the grid."""
        return float(self.energy_eV.min())

    def percolation_barriers(
        self, max_energy_eV: float = 10.0, tolerance_eV: float = 0.002
    ) -> tuple[float, float, float]:
        """Lowest energies above the minimum at which the ion crosses the crystal in 1, 2, 3 D.

        The region below a threshold percolates in d dimensions when one connected component of it
        (26 neighbours, periodic) has closed loops with d independent lattice translations.

        Args:
            max_energy_eV: Above this the answer is infinity.
            tolerance_eV: The answer is at most this much above the exact threshold of the grid.
        """
        below = self.energy_eV - self.minimum_eV
        known = {0.0: 0, max_energy_eV: percolation_dimension(below < max_energy_eV)}
        barriers = []
        for wanted in (1, 2, 3):
            if known[max_energy_eV] < wanted:
                barriers.append(np.inf)
                continue
            while True:
                low = max(e for e, d in known.items() if d < wanted)
                high = min(e for e, d in known.items() if d >= wanted)
                if high - low <= tolerance_eV:
                    break
                middle = 0.5 * (low + high)
                known[middle] = percolation_dimension(below < middle)
            barriers.append(high)
        return barriers[0], barriers[1], barriers[2]

    def minima(
        self, max_energy_eV: float = 1.0, min_separation_A: float = 1.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Local minima, lowest first: candidate interstitial sites.

        A position is refined by the parabola through its two neighbours along every grid axis.

        Args:
            max_energy_eV: Highest energy above the global minimum.
            min_separation_A: Of two closer minima only the lower one is kept.

        Returns:
            ``frac (n, 3)`` in [0, 1), and ``energy (n,)`` in eV above the global minimum.
        """
        from scipy.ndimage import minimum_filter  # most crystals do without

        energy = self.energy_eV.astype(np.float64) - self.minimum_eV
        lowest = (energy == minimum_filter(energy, size=3, mode="wrap")) & (energy <= max_energy_eV)
        index = np.argwhere(lowest)
        value = energy[tuple(index.T)]
        order = np.lexsort((*index.T[::-1], value))
        index, value = index[order], value[order]
        shape = np.array(energy.shape)
        frac: NDArray[np.float64] = index / shape
        for axis in range(3):
            step = np.eye(3, dtype=int)[axis]
            left = energy[tuple(((index - step) % shape).T)]
            right = energy[tuple(((index + step) % shape).T)]
            curvature = left + right - 2 * value
            frac[:, axis] += (
                np.where(curvature > 1e-9, 0.5 * (left - right) / np.maximum(curvature, 1e-9), 0.0)
                / shape[axis]
            )
        frac %= 1.0
        kept = np.ones(len(frac), dtype=bool)
        src, dst, _, _ = periodic_edges(self.lattice, frac, min_separation_A)
        for i in np.unique(src[src < dst]):
            if kept[i]:
                kept[dst[(src == i) & (dst > i)]] = False
        return frac[kept], value[kept]


def percolation_dimension(open_points: NDArray[np.bool_]) -> int:
    """Number of independent lattice translations along which open grid points connect.

    Components of the cell, padded by one repeated layer, are the nodes of a quotient graph; a
    repeated point joins its component to that of the original with the translation between them.
    The rank of the loop translations of a component is its dimension; the largest is returned.
    Components touch through faces, edges and corners.

    Args:
        open_points: (nx, ny, nz) mask of a periodic grid.
    """
    from scipy.ndimage import label

    labels, n_components = label(np.pad(open_points, ((0, 1),) * 3, mode="wrap"), _TOUCHING)
    if n_components == 0:
        return 0
    edges: set[tuple[int, int, int]] = set()
    for axis in range(3):
        first, last = np.take(labels, 0, axis).ravel(), np.take(labels, -1, axis).ravel()
        inside = first > 0
        pairs = np.unique(last[inside].astype(np.int64) * (n_components + 1) + first[inside])
        edges.update(
            (int(p) // (n_components + 1), int(p) % (n_components + 1), axis) for p in pairs
        )
    neighbors: dict[int, list[tuple[int, NDArray[np.int64]]]] = {}
    unit = np.eye(3, dtype=np.int64)
    for last_label, first_label, axis in sorted(edges):
        # the point of `last_label` is the image, one cell further, of the point of `first_label`
        neighbors.setdefault(last_label, []).append((first_label, unit[axis]))
        neighbors.setdefault(first_label, []).append((last_label, -unit[axis]))
    cell: dict[int, NDArray[np.int64]] = {}
    best = 0
    for root in neighbors:
        if root in cell:
            continue
        cell[root] = np.zeros(3, dtype=np.int64)
        loops = []
        queue = deque([root])
        while queue:
            node = queue.popleft()
            for other, shift in neighbors[node]:
                reached = cell[node] + shift
                if other not in cell:
                    cell[other] = reached
                    queue.append(other)
                elif (reached != cell[other]).any():
                    loops.append(reached - cell[other])
        if loops:
            best = max(best, int(np.linalg.matrix_rank(np.array(loops))))
    return best
