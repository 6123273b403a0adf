"""What measured compositions say of others: by a second route, and by limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Composition

from ionbridge.models.conductors.conductivity import kept_together
from ionbridge.models.conductors.measured_neighbours import (
    NOISE,
    MeasuredNeighbours,
    element_positions,
)
from ionbridge.structures.io.tables import ConductivityRow

FORMULAS = (
    *("Li3PS4", "Li7P3S11", "Li3PS4", "Li4GeS4"),
    *("Li10GeP2S12", "Li2SiS3", "LiAlCl4", "Li2ZrCl6"),
)
PAPERS = ("a", "a", "b", "b", "c", "d", "d", "e")
ELEMENTS = sorted({str(e) for f in FORMULAS for e in Composition(f)})


def row(formula: str, paper: str) -> ConductivityRow:
    return ConductivityRow(f"{formula} {paper}", formula, Composition(formula), doi=paper)


ROWS = [row(f, p) for f, p in zip(FORMULAS, PAPERS, strict=True)]
FORM = replace(ROWS[4], id="form", measured_composition=ROWS[4].composition)
TARGET = np.random.default_rng(0).normal(1.5, 0.5, len(ROWS))


def fitted(rows, target):
    return MeasuredNeighbours.fit(rows, target, [kept_together(r) for r in rows], ELEMENTS)


def test_a_training_row_sees_what_a_fit_without_its_paper_and_composition_says():
    """The Schur complement against the fit that it stands for; the mean is that of all rows."""
    rows, target = [*ROWS, FORM], np.append(TARGET, TARGET[4])
    _, columns = fitted(rows, target)
    for i, one in enumerate(rows):
        rest = [k for k, r in enumerate(ROWS) if not kept_together(r) & kept_together(one)]
        scale = np.linalg.solve(  # the process is linear in labels less their mean
            np.exp(-_distance(rest) / 3.0) + NOISE * np.eye(len(rest)), TARGET[rest] - TARGET.mean()
        )
        expected = TARGET.mean() + np.exp(-_distance_to(one, rest) / 3.0) @ scale
        assert columns[i, 0] == pytest.approx(expected, abs=1e-9)
        same = [k for k in rest if set(ROWS[k].composition) == set(one.composition)]
        assert columns[i, 2] == len(same)
        mean = (TARGET[same].sum() + TARGET.mean()) / (len(same) + 1)
        assert columns[i, 1] == pytest.approx(mean)


def _distance(rest):
    at = element_positions([ROWS[k] for k in rest], ELEMENTS)
    return np.abs(at[:, None] - at[None]).sum(axis=2)


def _distance_to(one, rest):
    at = element_positions([ROWS[k] for k in rest], ELEMENTS)
    return np.abs(element_positions([one], ELEMENTS) - at).sum(axis=1)


def test_far_from_all_that_is_measured_stands_the_mean():
    found, _ = fitted(ROWS, TARGET)
    far = found.columns([row("LiF", "z")])[0]  # fluorine was never measured: no place of its own
    assert far[1:] == pytest.approx([TARGET.mean(), 0.0])
    near = found.columns([row("Li3PS4", "z")])[0]
    assert abs(near[0] - TARGET[[0, 2]].mean()) < abs(TARGET.mean() - TARGET[[0, 2]].mean()) + 0.3
    assert near[2] == 3.0  # lithium, phosphorus and sulfur


def test_the_earth_mover_moves_between_neighbours_of_the_table():
    """Half of the atoms, by the steps between two elements in Pettifor's order."""
    rows = [row("LiCl", "a"), row("LiBr", "b"), row("LiI", "c")]
    at = element_positions(rows, ["Li", "Cl", "Br", "I"])
    steps = [abs(a - b) for a, b in ((99, 98), (98, 97))]
    assert np.abs(at[0] - at[1]).sum() == pytest.approx(0.5 * steps[0])
    assert np.abs(at[0] - at[2]).sum() == pytest.approx(0.5 * sum(steps))


def test_saved_and_loaded_it_says_the_same():
    found, _ = fitted(ROWS, TARGET)
    again = MeasuredNeighbours.of_arrays(found.arrays(), ELEMENTS)
    asked = [row("Li6PS5Cl", "z"), row("Li3PS4", "z")]
    assert (again.columns(asked) == found.columns(asked)).all()
