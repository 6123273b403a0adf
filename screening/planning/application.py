"""What a cell is worth in use: energy of a day's duty, years of service, cost a kilowatt-hour."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ionbridge.screening.planning.catalogue import Entry, StepContext, Tables, ValidatedError
from ionbridge.screening.planning.formulas import EXACT, combined
from ionbridge.screening.table import Row

DAYS_A_YEAR = 365.25
MEAN_CAPACITY = 0.9
"""Of a life from full capacity to 80 % of it, faded evenly."""
TYPICAL_ENERGY_WH = 8.0
"""Where the cost of a kilowatt-hour is linearised, in units of itself, for its error."""
MEAN_CAPACITY_STD_DECADES = 0.02
"""Fade that is not even: between 0.85 and 0.95 of the capacity over the life."""
CALENDAR_STD_DECADES = 0.15


def application_entries() -> tuple[Entry, ...]:
    """Entries from a cell to its duty, service life and price."""
    return (
        Entry(
            name="duty-cycle",
            kind="formula",
            about="energy of a day's duty that the cell can deliver",
            inputs=("cell_energy", "duty_cycle"),
            outputs=("delivered_energy",),
            fidelity="physics",
            cost_s=1e-4,
            errors={"delivered_energy": {"all": EXACT}},
            sensitivities=lambda at: {("delivered_energy", "cell_energy"): 1.0},
            run=_delivered,
        ),
        Entry(
            name="years-of-service",
            kind="formula",
            about="cycle life over cycles a day",
            inputs=("cycle_life", "duty_cycle"),
            outputs=("years_of_service",),
            fidelity="physics",
            cost_s=1e-4,
            errors={
                "years_of_service": {
                    "all": ValidatedError(CALENDAR_STD_DECADES, 0, "calendar ageing is not counted")
                }
            },
            sensitivities=lambda at: {("years_of_service", "cycle_life"): 1.0},
            run=_years,
        ),
        Entry(
            name="price-of-capacity",
            kind="formula",
            about="price of the cell over the energy of one discharge",
            inputs=("cell_energy", "prices"),
            outputs=("capacity_cost",),
            fidelity="physics",
            cost_s=1e-4,
            errors={"capacity_cost": {"all": EXACT}},
            sensitivities=lambda at: {
                ("capacity_cost", "cell_energy"): 1.0 / (TYPICAL_ENERGY_WH * math.log(10.0))
            },
            run=_capacity_cost,
        ),
        Entry(
            name="price-of-throughput",
            kind="formula",
            about="price of the cell over the energy that it delivers until 80 % of its capacity",
            inputs=("cell_energy", "cycle_life", "prices"),
            outputs=("throughput_cost",),
            fidelity="physics",
            cost_s=1e-4,
            errors={
                "throughput_cost": {
                    "all": ValidatedError(
                        MEAN_CAPACITY_STD_DECADES, 0, "even fade to 80 %; full cycles, no losses"
                    )
                }
            },
            sensitivities=lambda at: {
                ("throughput_cost", "cycle_life"): 1.0,
                ("throughput_cost", "cell_energy"): 1.0 / (TYPICAL_ENERGY_WH * math.log(10.0)),
            },
            run=_throughput_cost,
        ),
    )


def _delivered(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def delivered(energy: Row, duty: Row) -> Row:
        available = energy["energy_Wh"] * duty["cycles_per_day"]
        met = min(available, duty["energy_Wh_per_day"])
        return {"delivered_energy_Wh": met, "std": energy["std"] * duty["cycles_per_day"]}

    return {"delivered_energy": combined(tables["cell_energy"], tables["duty_cycle"], delivered)}


def _years(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def years(life: Row, duty: Row) -> Row:
        a_year = math.log10(duty["cycles_per_day"] * DAYS_A_YEAR)
        return {
            "log10_years_of_service": life["log10_cycle_life"] - a_year,
            "std": math.hypot(life["std"], CALENDAR_STD_DECADES),
        }

    return {"years_of_service": combined(tables["cycle_life"], tables["duty_cycle"], years)}


def _capacity_cost(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def cost(energy: Row, prices: Row) -> Row:
        return {
            "log10_capacity_cost_per_kWh": math.log10(
                prices["cell_price"] / (1e-3 * energy["energy_Wh"])
            ),
            "std": energy["std"] / (energy["energy_Wh"] * math.log(10.0)),
        }

    return {"capacity_cost": combined(tables["cell_energy"], tables["prices"], cost)}


def _throughput_cost(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    def worn(energy: Row, life: Row) -> Row:
        relative = energy["std"] / (energy["energy_Wh"] * math.log(10.0))
        return {
            "log10_throughput_kWh": math.log10(MEAN_CAPACITY * 1e-3 * energy["energy_Wh"])
            + life["log10_cycle_life"],
            "std": math.hypot(relative, life["std"], MEAN_CAPACITY_STD_DECADES),
        }

    def cost(throughput: Row, prices: Row) -> Row:
        value = math.log10(prices["cell_price"]) - throughput["log10_throughput_kWh"]
        return {"log10_throughput_cost_per_kWh": value, "std": throughput["std"]}

    throughputs = combined(tables["cell_energy"], tables["cycle_life"], worn)
    return {"throughput_cost": combined(throughputs, tables["prices"], cost)}
