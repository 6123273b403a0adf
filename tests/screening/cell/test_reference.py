"""The yardstick is what the campaign itself would say of the base cell's cathode."""

import pytest

pytest.importorskip("pybamm")

from ionbridge.screening.cell.base_cells import base_cell
from ionbridge.screening.cell.reference import reference_log10_diffusivity
from ionbridge.screening.prediction.conduction import Conditions


def test_lfp_is_among_the_references() -> None:
    warm = reference_log10_diffusivity(base_cell("Prada2013"), None, Conditions(400.0, n_draws=8))
    cold = reference_log10_diffusivity(base_cell("Prada2013"), None, Conditions(300.0, n_draws=8))
    assert warm is not None
    assert cold is not None
    assert -16.0 < cold < warm < -4.0


def test_a_cathode_without_a_reference_crystal() -> None:
    assert reference_log10_diffusivity(base_cell("Chen2020"), None, Conditions()) is None
