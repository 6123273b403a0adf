"""Designs through the reduced-order model: rows for all, agreement with the full model."""

import numpy as np
import pytest

pytest.importorskip("pybamm")

from ionbridge.models.cell_rom import CellRom
from ionbridge.models.library import find
from ionbridge.screening.cell.base_cells import BASE_CELLS
from ionbridge.screening.cell.designs import Design, check
from ionbridge.screening.cell.discharge import discharge
from ionbridge.screening.cell.full_charge import full_charge
from ionbridge.screening.cell.rom import (
    base_tables,
    full_charge_stoichiometries,
    predict_designs,
    transfer,
    with_curve,
)
from ionbridge.screening.errors import InputError

TOLERANCE_V = 5e-3
SAME = 2e-4


@pytest.fixture(scope="module")
def rom():
    return CellRom.load(find("cell-rom-lfp"))


@pytest.mark.parametrize("name", sorted(n for n, c in BASE_CELLS.items() if not c.filling_matters))
def test_full_charge_is_that_of_the_simulations(name):
    expected = full_charge(name)
    negative, positive = full_charge_stoichiometries(base_tables(name), {}, 1)
    assert negative[0] == pytest.approx(expected.negative, abs=SAME)
    assert positive[0] == pytest.approx(expected.positive, abs=SAME)


def test_full_charge_follows_the_design():
    change = {"Negative electrode thickness [m]": 5e-5}
    expected = full_charge("Prada2013_balanced", change)
    negative, _ = full_charge_stoichiometries(
        base_tables("Prada2013_balanced"), {k: np.array([v]) for k, v in change.items()}, 1
    )
    assert negative[0] == pytest.approx(expected.negative, abs=SAME)


def test_agrees_with_the_full_model(rom):
    design = Design("a", "Prada2013_balanced", 1.0, 298.15, {})
    truth, found = discharge(design), predict_designs([design], rom)[0]
    assert found["capacity_Ah"] == pytest.approx(truth["capacity_Ah"], rel=1e-3)
    assert found["energy_Wh"] == pytest.approx(truth["energy_Wh"], rel=1e-3)
    shares = np.linspace(0.0, 1.0, len(found["voltage_V"]))
    expected = np.interp(shares, np.linspace(0.0, 1.0, len(truth["voltage_V"])), truth["voltage_V"])
    assert np.sqrt(np.mean((found["voltage_V"] - expected) ** 2)) < TOLERANCE_V
    for name in ("end_positive_mean", "end_negative_mean", "start_positive", "fourier"):
        if truth[name] is not None:
            assert found[name] == pytest.approx(truth[name], rel=5e-3)
    assert found["irreversible_heat_J"] == pytest.approx(truth["irreversible_heat_J"], rel=0.05)


class TestBadRows:
    def rows(self, rom, **values):
        good = Design("good", "Prada2013_balanced", 1.0)
        bad = check(Design("bad", "Prada2013_balanced", **{"c_rate": 1.0, **values}))
        return predict_designs([bad, good], rom)

    @pytest.mark.parametrize(
        "values",
        [
            {"c_rate": float("nan")},
            {"c_rate": -1.0},
            {"parameters": {"Positive particle diffusivity [m2.s-1]": float("nan")}},
            {"parameters": {"Positive particle diffusivity [m2.s-1]": -1e-15}},
            {"parameters": {"Positive particle diffusivity [m2.s-1]": 5.9e-9}},
            {"parameters": {"Positive electrode porosity": -0.2}},
        ],
    )
    def test_a_bad_row_has_its_reason_and_the_others_go_on(self, rom, values):
        bad, good = self.rows(rom, **values)
        assert (bad["status"], good["status"]) == ("failed", "ok")
        assert bad["reason"]
        assert bad["design_id"] == "bad"

    def test_no_full_charge(self, rom):
        bad, good = self.rows(rom, parameters={"Upper voltage cut-off [V]": 5.9})
        assert bad["status"] == "failed"
        assert "upper voltage" in bad["reason"]
        assert good["status"] == "ok"


def test_far_design_is_out_of_domain(rom):
    rows = predict_designs([Design("fast", "Prada2013_balanced", 90.0)], rom)
    assert rows[0]["status"] == "failed" or rows[0]["in_domain"] is False


def test_base_cell_that_the_model_has_not_seen_is_flagged(rom):
    row = predict_designs([Design("other", "OKane2022", 1.0)], rom)[0]
    assert row["status"] == "ok"
    assert row["in_domain"] in (True, False)


def test_curve_changes_are_those_of_the_simulations():
    change = {"Positive electrode OCP tilt [V]": 0.2, "Positive electrode OCP step [V]": 0.1}
    tables = base_tables("Chen2020")
    changed = with_curve(tables, change)
    x = np.linspace(0.0, 1.0, len(tables.positive.potential))
    added = changed.positive.potential - tables.positive.potential
    assert added == pytest.approx(0.2 * (0.5 - x) - 0.1 * np.tanh((x - 0.5) / 0.04))


def test_unknown_strategy_names_the_nearest(rom, tmp_path):
    with pytest.raises(InputError, match="anchored"):
        transfer(rom, tmp_path, "ancored")
