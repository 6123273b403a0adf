"""What measured compositions say of one like them, as columns that other learners see.

A Gaussian process on the earth mover's distance between compositions (C. J. Hargreaves et al.,
Chem. Mater. 32, 10610 (2020)), and the mean over compositions of the same elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element
from scipy.spatial.distance import cdist

from ionbridge.models.checkpoint import Arrays
from ionbridge.structures.features.conductor_descriptors import atomic_fractions
from ionbridge.structures.io.tables import ConductivityRow

Floats = NDArray[np.float64]

COLUMNS = ("neighbours_process", "same_elements_mean", "same_elements_number")
LENGTH = 3.0
"""Of the kernel exp(-d / LENGTH): steps in Pettifor's order of the elements."""
NOISE = 0.3
"""Share of the labels' variance that a composition does not tell."""


def element_positions(rows: Sequence[ConductivityRow], elements: Sequence[str]) -> Floats:
    """(n, n_elements - 1) distribution of each composition over Pettifor's order of the elements.

    City-block distances between rows are earth mover's distances.

    Args:
        rows: (n,) rows.
        elements: Those that count, in any order.
    """
    ordered = sorted(elements, key=lambda e: Element(e).mendeleev_no)
    position = np.array([float(Element(e).mendeleev_no) for e in ordered])
    share = np.array([atomic_fractions(row.composition, ordered) for row in rows])
    found = np.cumsum(share.reshape(len(rows), -1), axis=1)[:, :-1] * np.diff(position)
    return np.asarray(found.astype(np.float32), dtype=float)  # as the disk will keep them


@dataclass(frozen=True, eq=False)
class MeasuredNeighbours:
    """Measured compositions and what they say.

    Attributes:
        elements: That are told apart.
        position: (n, n_elements - 1) of the measured compositions, :func:`element_positions`.
        weight: (n,) of the process.
        mean: Of all targets.
        kinds: (n_kinds, n_elements + 1) 1 for each element of a kind of composition; the last for
            others.
        sums: (n_kinds,) sum of the targets of the kind.
        numbers: (n_kinds,) how many they are.
    """

    elements: tuple[str, ...]
    position: Floats
    weight: Floats
    mean: float
    kinds: NDArray[np.int_]
    sums: Floats
    numbers: Floats

    @classmethod
    def fit(
        cls,
        rows: Sequence[ConductivityRow],
        target: Floats,
        groups: Sequence[frozenset[str]],
        elements: Sequence[str],
    ) -> tuple[Self, Floats]:
        """From rows, some of which are further forms of a measured one.

        What is said of a training row is without all rows that share a group with it: the inverse
        of the covariance of the others is a Schur complement of the inverse of all.

        Args:
            rows: (n,) rows; those with a ``measured_composition`` are further forms, not counted.
            target: (n,) labels.
            groups: (n,) paper and compositions of each row.
            elements: That are told apart.

        Returns:
            The neighbours, and the (n, 3) ``COLUMNS`` of the training rows.
        """
        counted = [i for i, row in enumerate(rows) if row.measured_composition is None]
        own = [rows[i] for i in counted]
        label, position = target[counted], element_positions(own, elements)
        mean = float(label.mean())
        covariance = np.exp(-cdist(position, position, "cityblock") / LENGTH)
        inverse = np.linalg.inv(covariance + NOISE * np.eye(len(own)))
        weight = inverse @ (label - mean)
        kinds, kind = np.unique(_kinds(own, elements), axis=0, return_inverse=True)
        kind = kind.ravel()
        sums = np.bincount(kind, label, len(kinds)).astype(float)
        numbers = np.bincount(kind, minlength=len(kinds)).astype(float)
        found = cls(tuple(elements), position, weight, mean, kinds, sums, numbers)

        members: dict[str, list[int]] = {}
        for k, i in enumerate(counted):
            for group in groups[i]:
                members.setdefault(group, []).append(k)
        near = found._near(rows)
        at = found._kind_of(rows)
        columns = np.empty((len(rows), len(COLUMNS)))
        for i in range(len(rows)):
            out = sorted({k for group in groups[i] for k in members.get(group, [])})
            lost = np.linalg.solve(inverse[np.ix_(out, out)], weight[out])
            rest = weight - inverse[:, out] @ lost
            same = [k for k in out if kind[k] == at[i]]
            total = sums[at[i]] - label[same].sum() if at[i] >= 0 else 0.0
            number = numbers[at[i]] - len(same) if at[i] >= 0 else 0.0
            columns[i] = mean + near[i] @ rest, (total + mean) / (number + 1.0), number
        return found, columns

    def columns(self, rows: Sequence[ConductivityRow]) -> Floats:
        """(n, 3) ``COLUMNS`` of rows: a mean of few is drawn to that of all."""
        at = self._kind_of(rows)
        total = np.where(at >= 0, self.sums[at], 0.0)
        number = np.where(at >= 0, self.numbers[at], 0.0)
        process = self.mean + self._near(rows) @ self.weight
        return np.column_stack([process, (total + self.mean) / (number + 1.0), number])

    def _near(self, rows: Sequence[ConductivityRow]) -> Floats:
        """(n, n_measured) covariance with the measured compositions."""
        position = element_positions(rows, self.elements)
        return np.asarray(np.exp(-cdist(position, self.position, "cityblock") / LENGTH))

    def _kind_of(self, rows: Sequence[ConductivityRow]) -> NDArray[np.int_]:
        """(n,) kind of each row; -1 for elements that no measured row has together."""
        known = {tuple(kind): k for k, kind in enumerate(self.kinds.tolist())}
        return np.array([known.get(tuple(k), -1) for k in _kinds(rows, self.elements).tolist()])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its numbers by name, for the disk."""
        return {
            "position": self.position.astype(np.float32),
            "weight": self.weight,
            "mean": np.array([self.mean]),
            "kinds": self.kinds.astype(np.uint8),
            "sums": self.sums,
            "numbers": self.numbers,
        }

    @classmethod
    def of_arrays(cls, arrays: Arrays, elements: Sequence[str]) -> Self:
        """Inverse of :meth:`arrays`; the elements are those that it was fitted with."""
        position, weight, sums, numbers = (
            arrays[name].astype(float) for name in ("position", "weight", "sums", "numbers")
        )
        mean, kinds = float(arrays["mean"][0]), arrays["kinds"].astype(int)
        return cls(tuple(elements), position, weight, mean, kinds, sums, numbers)


def _kinds(rows: Sequence[ConductivityRow], elements: Sequence[str]) -> NDArray[np.int_]:
    """(n, n_elements + 1) 1 for each element of a row, and whether it holds others."""
    own = [{str(e) for e in row.composition} for row in rows]
    held = [[int(e in o) for e in elements] + [int(not o <= set(elements))] for o in own]
    return np.array(held, dtype=int).reshape(len(rows), len(elements) + 1)
