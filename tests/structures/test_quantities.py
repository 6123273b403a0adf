"""Columns say what they hold: unit, logarithm, statistic; every quantity keeps to that."""

import pytest

from ionbridge.structures.quantities import (
    QUANTITIES,
    UNITS,
    beside,
    split,
    spread_columns,
    unit_of,
)

NUMBERS = [quantity for quantity in QUANTITIES.values() if quantity.is_number]
NAMED_BY_ITSELF = {"cycle_life", "years_of_service", "capacity_cost", "throughput_cost"}
"""Quantities whose name says the unit."""


@pytest.mark.parametrize(
    ("column", "spread", "unit"),
    [
        ("percolation_barrier_eV", "percolation_barrier_std_eV", "eV"),
        ("energy_above_hull_eV_atom", "energy_above_hull_std_eV_atom", "eV/atom"),
        ("log10_diffusivity_cm2_s", "log10_diffusivity_std", "log10 of cm^2/s"),
        ("measured_log10_conductivity_S_cm", "measured_log10_conductivity_std", "log10 of S/cm"),
        ("capacity_Ah", "capacity_std_Ah", "Ah"),
        ("capacity_mAh_g", "capacity_std_mAh_g", "mAh/g"),
        ("log10_cycle_life", "log10_cycle_life_std", "log10 of cycles"),
        ("capacity_fade", "capacity_fade_std", "fraction"),
        ("log10_conductivity_std", "log10_conductivity_std_std", "decades"),
        ("why", "why_std", ""),
    ],
)
def test_a_column_says_its_unit_and_where_its_spread_is(
    column: str, spread: str, unit: str
) -> None:
    assert beside(column, "std") == spread
    assert unit_of(column) == unit


def test_spreads_are_found_among_the_columns_there_are() -> None:
    columns = ("std", "capacity_Ah", "energy_Wh", "energy_std_Wh", "log10_x_std", "x_eV", "std")
    assert spread_columns(columns[1:]) == {"energy_Wh": "energy_std_Wh", "x_eV": "std"}
    assert spread_columns(("std", "x_eV")) == {}


@pytest.mark.parametrize("quantity", NUMBERS, ids=lambda quantity: quantity.name)
def test_a_quantity_and_its_column_state_one_unit(quantity) -> None:
    assert quantity.is_log10 == quantity.column.startswith("log10_")
    unit = quantity.unit.removeprefix("decades of ")
    end = UNITS.get(split(quantity.column)[1])
    if quantity.name in NAMED_BY_ITSELF or unit in ("fraction", "ratio"):
        assert end is None
    else:
        assert end is not None
        assert end.replace("^", "") == unit
    assert quantity.units[quantity.given_unit] == 1.0
    assert len(set(quantity.columns())) == 4


def test_one_way_to_a_quantity_stands_before_the_unit() -> None:
    alone = QUANTITIES["conductivity"].by("composition", "from the formula")
    assert alone.column == "log10_conductivity_composition_S_cm"
    assert alone.spread == "log10_conductivity_composition_std"
    assert QUANTITIES["percolation_barrier"].by("2d", "").column == "percolation_barrier_2d_eV"
