"""Entries of measured cells: a fit to measured discharges, and other rates of the fitted cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ionbridge.models import library
from ionbridge.screening.errors import InputError
from ionbridge.screening.planning.catalogue import Entry, StepContext, Tables, ValidatedError
from ionbridge.screening.planning.cells import (
    NOMINAL_AH,
    NOMINAL_V,
    discharge_tables,
    power_of,
)
from ionbridge.screening.planning.formulas import MAE_TO_STD
from ionbridge.screening.planning.records import row_by_row
from ionbridge.screening.planning.trained import loaded
from ionbridge.screening.table import Row
from ionbridge.structures.records import UnusableStructureError

DISCREPANCY = "cell-discrepancy"
"""Shipped model of what fitted cells lack at other rates."""


def fitted_entries() -> tuple[Entry, ...]:
    """Measured discharges to a fitted cell, and what that gives at any rate."""
    missing = "" if DISCREPANCY in library.folders() else "its model is not shipped"
    return (
        Entry(
            name="cell-fit",
            kind="simulation",
            about="a cell fitted to its measured discharges, as ionbridge cell fit does",
            inputs=("measured_discharges",),
            outputs=("fitted_cell",),
            fidelity="experiment",
            cost_s=60.0,
            licence="BSD-3-Clause (PyBaMM)",
            extra="cell",
            run=_fitted,
        ),
        Entry(
            name="fitted-cell-discharge",
            kind="rom",
            about="discharges of a fitted cell at any rate, with what measured cells taught",
            inputs=("fitted_cell",),
            outputs=("cell_capacity", "cell_energy", "cell_power"),
            fidelity="experiment",
            cost_s=5.0,
            errors=_errors(),
            training_sets=("measured discharges of three cells",),
            extra="cell",
            missing=missing,
            conditions=("c_rate",),
            run=_discharged,
        ),
    )


def _errors() -> Mapping[str, Mapping[str, ValidatedError]]:
    """Of cells that were left out, as the card of the discrepancy states them."""
    if DISCREPANCY not in library.folders():
        return {}
    stated = library.read_card(library.find(DISCREPANCY)).get("validation", {})
    share = MAE_TO_STD * float(stated["capacity_error_percent"]) / 100.0
    rows, volts = int(stated["n"]), float(stated["rmse_mV"]) / 1000.0
    basis = "measured rates of cells left out, a slow discharge given"
    power = power_of(NOMINAL_AH, NOMINAL_V, volts)["log10_power_std"]
    stds = {
        "cell_capacity": share * NOMINAL_AH,
        "cell_energy": share * NOMINAL_AH * NOMINAL_V + volts * NOMINAL_AH,
        "cell_power": power,
    }
    return {name: {"all": ValidatedError(std, rows, basis)} for name, std in stds.items()}


def _fitted(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.cell.experiments import read_experiment
    from ionbridge.screening.cell.fitted import fit_document, fit_experiment

    def fit(row: Row) -> Row:
        files = [Path(curve) for curve in row["curves"]]
        try:
            found = fit_experiment(read_experiment(Path(row["cells_file"]), row["id"], files))
        except InputError as error:
            raise UnusableStructureError(str(error)) from error
        return {"id": row["id"], "fit": fit_document(found), "status": "ok"}

    return {"fitted_cell": row_by_row(tables["measured_discharges"], fit)}


def _discharged(tables: Tables, context: StepContext) -> Mapping[str, list[Row]]:
    from ionbridge.screening.cell.fitted import FittedPredictor, fit_of, predict_rates

    discrepancy: Any = loaded(library.find(DISCREPANCY))
    c_rate = context.at.c_rate

    def discharge(row: Row) -> Row:
        fit = fit_of(row["fit"], row["id"])
        found = predict_rates(FittedPredictor(fit, discrepancy), {row["id"]: c_rate})[0]
        if found["status"] != "ok":
            raise UnusableStructureError(found["reason"])
        volts, std_V = float(found["mean_voltage_V"]), float(found["mean_voltage_std_V"])
        return {
            "id": row["id"],
            "capacity_Ah": found["capacity_Ah"],
            "energy_Wh": found["energy_Wh"],
            "mean_voltage_V": volts,
            "std": found["capacity_std_Ah"],
            "energy_std_Wh": found["energy_std_Wh"],
            **power_of(c_rate * fit.base.basis.nominal_Ah, volts, std_V),
            "c_rate": c_rate,
            "temperature_K": found["temperature_K"],
            "in_domain": found["in_domain"],
            "status": "ok",
            "reason": found["reason"],
        }

    return dict(discharge_tables(row_by_row(tables["fitted_cell"], discharge)))
