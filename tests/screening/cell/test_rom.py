"""Designs through the reduced-order model: rows for all, agreement with the full model."""

import numpy as np
import pytest

pytest.importorskip("pybamm")

from ionbridge.models.cells.cell_rom import CellRom
from ionbridge.models.cells.single_particle import end_of_discharge
from ionbridge.models.library import find
from ionbridge.screening.cell.base_cells import BASE_CELLS
from ionbridge.screening.cell.designs import Design, check
from ionbridge.screening.cell.discharge import discharge
from ionbridge.screening.cell.rom import (
    base_tables,
    predict_designs,
    training_data,
    transfer,
    with_curve,
)
from ionbridge.screening.cell.shipped import rom_for
from ionbridge.screening.cell.simulation import load_simulations, simulate
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executor import ThisProcess

TOLERANCE_V = 5e-3


@pytest.fixture(scope="module")
def rom():
    return CellRom.load(find("cell-rom-lfp"))


OWN_VALUES = {
    "Maximum concentration in negative electrode [mol.m-3]": 29820.0,
    "Maximum concentration in positive electrode [mol.m-3]": 60000.0,
    "Initial concentration in negative electrode [mol.m-3]": 28000.0,
    "Lower voltage cut-off [V]": 3.0,
    "Upper voltage cut-off [V]": 4.1,
    "Nominal cell capacity [A.h]": 4.0,
    "Number of electrodes connected in parallel to make a cell": 2.0,
    "Cation transference number": 0.5,
    "Initial concentration in electrolyte [mol.m-3]": 1300.0,
    "Thermodynamic factor": 1.4,
}


@pytest.mark.parametrize("name", OWN_VALUES)
def test_what_a_design_sets_is_what_is_predicted(name):
    """Every way to a capacity starts from the design's own values."""
    design = check(Design("a", "Chen2020", 1.0, 298.15, {name: OWN_VALUES[name]}))
    assert not design.trouble
    truth = discharge(design)
    (found,) = predict_designs([design], CellRom.load(find("cell-rom-source")))
    for column in ("capacity_Ah", "energy_Wh", "start_negative", "start_positive"):
        assert found[column] == pytest.approx(truth[column], rel=OF_A_SURROGATE)


OF_A_SURROGATE = 6e-3
"""Relative, on a chemistry that the model has few simulations of."""


@pytest.mark.parametrize("name", sorted(n for n, c in BASE_CELLS.items() if not c.filling_matters))
@pytest.mark.parametrize("domain", ["negative", "positive"])
def test_exchange_currents_go_with_the_maximum_concentration(name, domain):
    """At one stoichiometry, in all base cells: what `make_cells` takes from it."""
    pybamm = pytest.importorskip("pybamm")
    particle = getattr(pybamm.LithiumIonParameters(), domain[0]).prim
    values = BASE_CELLS[name].values
    most = f"Maximum concentration in {domain} electrode [mol.m-3]"
    found = []
    for factor in (1.0, 1.3):
        own = values.copy()
        own.update({most: factor * values[most]})
        salt = pybamm.Scalar(1000.0)
        symbol = particle.j0(salt, 0.4 * particle.c_max, pybamm.Scalar(298.15))
        found.append(float(own.process_symbol(symbol).evaluate()))
    assert found[1] / found[0] == pytest.approx(1.3, rel=1e-6)


def test_a_law_of_salt_and_transference_measured_as_one_stays_one():
    """Ai2020 divides by 1 - t+; a design with another t+ keeps the product."""
    given = {"Cation transference number": 0.6}
    design = check(Design("a", "Ai2020_extended", 2.0, 298.15, given))
    truth = discharge(design)
    (found,) = predict_designs([design], CellRom.load(find("cell-rom-lco")))
    assert found["mean_voltage_V"] == pytest.approx(truth["mean_voltage_V"], abs=TOLERANCE_V)


def test_simulations_teach_with_the_values_that_each_had(tmp_path):
    """Rows that leave a cell empty have the base cell's value, the others their own."""
    least = "Maximum concentration in negative electrode [mol.m-3]"
    given = ({}, {least: 31000.0}, {"Electrolyte conductivity [S.m-1]": 0.7}, TILTED)
    designs = [
        check(Design(f"{i}", "Prada2013_balanced", 1.0, 298.15, dict(g)))
        for i, g in enumerate(given)
    ]
    for _ in simulate(designs, tmp_path / "runs", ThisProcess()):
        pass
    records, labels, rows = training_data(load_simulations(tmp_path / "runs"))
    assert sorted(rows.tolist()) == [0, 1, 2, 3]
    assert [len(r) for r in records] == [3, 1]
    for record, curves in zip(records, labels, strict=True):
        end = end_of_discharge(record)
        capacity = (record.current * end / 3600.0)[:, 0]
        assert capacity == pytest.approx(curves.capacity_Ah, rel=OF_A_SURROGATE)


TILTED = {"Positive electrode OCP tilt [V]": 0.1}


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
        assert "below the upper cut-off of 5.9 V" in bad["reason"]
        assert good["status"] == "ok"


@pytest.mark.parametrize(("base", "c_rate"), [("Chen2020", 3.0), ("OKane2022", 2.5)])
def test_where_the_salt_runs_short_the_stated_interval_holds(base, c_rate):
    design = check(Design("a", base, c_rate))
    truth = discharge(design)
    (found,) = predict_designs([design], CellRom.load(find("cell-rom-source")))
    assert "the salt runs short" in found["reason"]
    assert found["in_domain"] is True
    off = abs(found["capacity_Ah"] - truth["capacity_Ah"])
    stated = np.hypot(found["capacity_std_surrogate_Ah"], truth["capacity_std_surrogate_Ah"])
    assert off < 1.645 * stated
    assert "none" in found["experiment"]


def test_what_was_compared_with_nothing_is_out_of_domain():
    model = CellRom.load(find("cell-rom-source"))
    thick = {f"{d} electrode thickness [m]": 1.9e-3 for d in ("Negative", "Positive")}
    slow = {"Electrolyte conductivity [S.m-1]": 0.02, "Electrolyte diffusivity [m2.s-1]": 1e-11}
    for given, said in ((thick, "positive coating"), (slow, "electrolyte conductivity")):
        (row,) = predict_designs([check(Design("a", "Chen2020", 0.5, 298.15, given))], model)
        assert row["in_domain"] is False
        assert said in row["reason"]


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


@pytest.mark.parametrize(("base", "conductivity"), [("Ai2020_extended", 0.1), ("Chen2020", 0.03)])
def test_a_solid_electrolyte_that_conducts_little_is_as_simulated(base, conductivity):
    """The reaction stays next to the separator, which the usual mesh and what is learnt miss."""
    given = {"Cation transference number": 1.0, "Electrolyte conductivity [S.m-1]": conductivity}
    design = check(Design("a", base, 1.0, 298.15, given))
    truth, usual = discharge(design), discharge(design, n_through=20)
    (found,) = predict_designs([design], CellRom.load(find(rom_for(base))))
    assert found["in_domain"]
    assert found["capacity_Ah"] == pytest.approx(truth["capacity_Ah"], rel=5e-3)
    assert found["mean_voltage_V"] == pytest.approx(truth["mean_voltage_V"], abs=3e-3)
    assert abs(usual["mean_voltage_V"] - truth["mean_voltage_V"]) > 5e-3
