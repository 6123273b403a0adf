"""The reduced-order cell model at work: simulations to training data, designs to tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cells.cell_correction import Curves, Training
from ionbridge.models.cells.cell_rom import CellPrediction, CellRom
from ionbridge.models.cells.cell_transfer import CELL_TRANSFERS, Automatic
from ionbridge.models.cells.single_particle import (
    Cells,
    CellTables,
    make_cells,
)
from ionbridge.screening.cell.base_cells import BASE_CELLS, base_cell
from ionbridge.screening.cell.cell_tables import tabulate
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.discharge import (
    END_STATES,
    caution,
    failed,
    overcharged,
    row_of,
)
from ionbridge.screening.cell.experiment_spread import stated_spreads, unsupported
from ionbridge.screening.cell.full_charge import (
    NoFullChargeError,
    full_charge,
    full_charge_stoichiometries,
)
from ionbridge.screening.cell.inputs import CURVE_CHANGES, STEP_WIDTH, TRANSFERENCE
from ionbridge.screening.cell.simulation import Simulations, load_simulations
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import Row
from ionbridge.structures.configuration import nearest
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

STEPPED: dict[str, tuple[float, float]] = {
    "c_rate": (0.0, 5.0),
    "temperature_K": (263.0, 323.0),
    "positive coating, m": (0.0, 8e-4),
    "electrolyte conductivity, S/m": (0.2, 2.0),
    "electrolyte diffusivity, m2/s": (2e-11, 8e-10),
    "share of the charge drawn": (0.028, 1.0),
}
"""Between which stepped cells were compared with DFN on fine meshes (benchmarks.cell_salt);
electrolytes as they are at first."""
SINGLE_ION = {
    "electrolyte conductivity, S/m": (0.006, 100.0),
    "electrolyte diffusivity, m2/s": (0.0, np.inf),
}
"""The same where no salt gradient forms."""
STEPS = {
    True: "the salt runs short: solved along the thickness, not learnt",
    False: "unlike the training simulations: solved along the thickness, not learnt",
}
"""Whether the salt runs short -> what a row says of a stepped cell."""


@cache
def base_tables(name: str) -> CellTables:
    """Tables of a base cell, made with PyBaMM.

    Raises:
        InputError: Unknown name.
        MissingExtraError: PyBaMM is not installed.
    """
    return tabulate(base_cell(name).values, name)


def with_curve(tables: CellTables, change: Mapping[str, float]) -> CellTables:
    """A base cell with another cathode, see ``inputs.CURVE_CHANGES``.

    Args:
        tables: The base cell.
        change: Values of CURVE_CHANGES; their defaults where missing.
    """
    tilt, step, where = (change.get(k, default) for k, default in CURVE_CHANGES.items())
    x = np.linspace(0.0, 1.0, len(tables.positive.potential))
    added = tilt * (0.5 - x) - step * np.tanh((x - where) / STEP_WIDTH)
    positive = replace(tables.positive, potential=tables.positive.potential + added)
    name = f"{tables.name} tilt {tilt:.6g} step {step:.6g} at {where:.6g}"
    return replace(tables, name=name, positive=positive)


def training_data(
    simulations: Simulations, tables: CellTables | None = None
) -> tuple[list[Cells], list[Curves], NDArray[np.intp]]:
    """Simulated discharges as cells and curves, one record an open-circuit curve.

    A parameter that a design leaves to the base cell is NaN in its row, and the base cell's here.

    Args:
        simulations: Of one base cell.
        tables: That base cell; made with PyBaMM by default.

    Returns:
        Cells, curves, and the rows of the simulations that they are, in their order.
    """
    tables = tables or base_tables(simulations.base_cell)
    n = len(simulations)
    given = {k: v for k, v in simulations.parameters.items() if k not in CURVE_CHANGES}
    changes = {k: simulations.parameters.get(k, np.full(n, np.nan)) for k in CURVE_CHANGES}
    curves: dict[tuple[float, ...], list[int]] = {}
    for i in range(n):
        of_row = zip(changes.values(), CURVE_CHANGES.values(), strict=True)
        curve = tuple(float(v[i]) if np.isfinite(v[i]) else default for v, default in of_row)
        curves.setdefault(curve, []).append(i)
    records: list[Cells] = []
    labels: list[Curves] = []
    rows: list[NDArray[np.intp]] = []
    for curve, members in curves.items():
        own = np.array(members)
        change = dict(zip(CURVE_CHANGES, curve, strict=True))
        records.append(
            _cells(
                tables if change == CURVE_CHANGES else with_curve(tables, change),
                simulations.c_rate[own],
                simulations.temperature_K[own],
                {k: v[own] for k, v in given.items()},
                simulations.results["start_negative"][own],
                simulations.results["start_positive"][own],
            )
        )
        labels.append(Curves(simulations.results["capacity_Ah"][own], simulations.voltage_V[own]))
        rows.append(own)
    return records, labels, np.concatenate(rows)


def unfit(base: str) -> str:
    """Why a base cell has no reduced-order model; empty where it can have one."""
    cell = base_cell(base)
    if cell.has_poles:
        return (
            f"the fitted open-circuit curve of {base} has poles, which no reduced-order model "
            "follows; use 'ionbridge cell simulate'"
        )
    if cell.filling_matters:
        return (
            f"diffusivities of {base} change with filling by orders of magnitude, which no "
            "reduced-order model follows; use 'ionbridge cell simulate'"
        )
    return ""


def predict_designs(
    designs: Sequence[Design], model: CellRom, uncertainty: bool = True
) -> list[Row]:
    """What the model says about designs, in the form of ``discharge.discharge``'s rows.

    Args:
        designs: Checked designs; those with ``trouble`` come out as failed rows.
        model: The reduced-order model.
        uncertainty: Whether the columns ``..._std_...`` are filled.

    Raises:
        MissingExtraError: A base cell that the model does not carry, and PyBaMM is not installed.
    """
    why = [d.trouble or unfit(d.base_cell) for d in designs]
    rows: list[Row] = [failed(d, w) if w else {} for d, w in zip(designs, why, strict=True)]
    for tables, names, own in _groups(designs, model):
        chosen = [designs[i] for i in own]
        given = {k: np.array([d.parameters[k] for d in chosen]) for k in names}
        base, curve = chosen[0].base_cell, chosen[0].parameters
        change = {k: curve[k] for k in CURVE_CHANGES if k in curve}
        negative, positive = full_charge_stoichiometries(base, {**given, **change}, len(own))
        ok = np.flatnonzero(np.isfinite(negative))
        for i in set(range(len(own))) - set(ok.tolist()):
            rows[own[i]] = failed(chosen[i], _no_full_charge(chosen[i]))
        if not len(ok):
            continue
        cells = _cells(
            tables,
            np.array([chosen[i].c_rate for i in ok]),
            np.array([chosen[i].temperature_K for i in ok]),
            {k: v[ok] for k, v in given.items()},
            negative[ok],
            positive[ok],
        )
        short = cells.salt_is_short
        stepped = short | ~model.in_domain(cells)
        found = model.predict(cells, uncertainty=uncertainty, stepped=stepped)
        for j, i in enumerate(ok.tolist()):
            start = (float(negative[i]), float(positive[i]))
            how = STEPS[bool(short[j])] if stepped[j] else ""
            rows[own[i]] = _row(chosen[i], cells, found, how, start, j)
    return rows


def cell_of(design: Design) -> Cells:
    """A design as a cell of its base cell's own tables, that starts at full charge."""
    given = {k: np.array([v]) for k, v in design.parameters.items()}
    change = {k: v for k, v in design.parameters.items() if k in CURVE_CHANGES}
    tables = base_tables(design.base_cell)
    return _cells(
        with_curve(tables, change) if change else tables,
        np.array([design.c_rate]),
        np.array([design.temperature_K]),
        {k: v for k, v in given.items() if k not in CURVE_CHANGES},
        *full_charge_stoichiometries(design.base_cell, given, 1),
    )


def _no_full_charge(design: Design) -> str:
    """Why a design does not reach its upper voltage."""
    try:
        full_charge(design.base_cell, design.parameters)
    except NoFullChargeError as error:
        return str(error)
    raise AssertionError(f"{design.design_id} has a full charge")


def _groups(
    designs: Sequence[Design], model: CellRom
) -> Iterable[tuple[CellTables, tuple[str, ...], list[int]]]:
    """Designs that are predicted at once: one base cell, one curve, the same parameters given."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for i, design in enumerate(designs):
        if not (design.trouble or unfit(design.base_cell)):
            curve = tuple(design.parameters.get(k) for k in CURVE_CHANGES)
            names = tuple(k for k in design.parameters if k not in CURVE_CHANGES)
            found.setdefault((design.base_cell, curve, names), []).append(i)
    for (base, curve, names), own in found.items():
        tables = model.tables_.get(base) or base_tables(base)
        change = {k: v for k, v in zip(CURVE_CHANGES, curve, strict=True) if v is not None}
        yield with_curve(tables, change) if change else tables, names, own


def _row(
    design: Design,
    cells: Cells,
    found: CellPrediction,
    how: str,
    start: tuple[float, float],
    j: int,
) -> Row:
    """The row of one predicted design; ``how``: one of STEPS, empty where it was learnt."""
    ends = dict(zip(END_STATES, found.end_stoichiometry[j].tolist(), strict=True))
    scalars = {
        name: float(getattr(found, name)[j])
        for name in (
            "capacity_Ah", "capacity_std_Ah", "energy_Wh", "energy_std_Wh", "mean_voltage_V",
            "mean_voltage_std_V", "irreversible_heat_J", "reversible_heat_J",
        )
    }  # fmt: skip
    if not scalars["capacity_Ah"] > 0.0:
        return failed(design, "the voltage lies below the lower cut-off from the first moment")
    about = unsupported(
        design.base_cell, design.c_rate, design.temperature_K, design.parameters, how == STEPS[True]
    )
    spreads = stated_spreads(
        about,
        (scalars["capacity_Ah"], scalars["capacity_std_Ah"]),
        (scalars["energy_Wh"], scalars["energy_std_Wh"]),
        scalars["mean_voltage_std_V"],
    )
    reasons = [caution(design)]
    far = _beyond_stepped(design, cells, scalars["capacity_Ah"], j) if how else ""
    reasons += [how, far]
    return row_of(
        design,
        **{**{k: v for k, v in scalars.items() if np.isfinite(v)}, **spreads},
        fourier=float(SECONDS_PER_HOUR / cells.c_rate[j, 0] / cells.positive.diffusion_time[j, 0]),
        start_negative=start[0],
        start_positive=start[1],
        **ends,
        voltage_V=found.voltage_V[j].tolist(),
        in_domain=not far and not overcharged(design),
        status="ok",
        reason="; ".join(filter(None, reasons)),
    )


def _beyond_stepped(design: Design, cells: Cells, capacity_Ah: float, j: int) -> str:
    """What of a stepped cell lies outside STEPPED, in words; empty where nothing does."""
    own = cells.take(np.array([j]))
    values = (
        own.c_rate,
        own.temperature,
        own.salt.thickness[:, 2:],
        own.salt.conductivity.at(own.salt.start),
        own.salt.diffusivity.at(own.salt.start),
        capacity_Ah / own.full_capacity_Ah,
    )
    single_ion = design.parameters.get(TRANSFERENCE, 0.0) == 1.0
    ranges = {**STEPPED, **SINGLE_ION} if single_ion else STEPPED
    return "; ".join(
        f"{name} is {float(value[0, 0]):.3g}, compared with full simulations: {low:g} to {high:g}"
        for (name, (low, high)), value in zip(ranges.items(), values, strict=True)
        if not low <= value[0, 0] <= high
    )


def train(folders: Sequence[Path], training: Training | None = None, seed: int = 0) -> CellRom:
    """A reduced-order model of simulated discharges.

    Args:
        folders: Of ``ionbridge cell simulate``, one base cell each.
        training: Settings of the fit.
        seed: Of initial weights and batches.

    Raises:
        InputError: A folder holds no solved simulations.
    """
    records: list[Cells] = []
    labels: list[Curves] = []
    for folder in folders:
        simulations = load_simulations(folder)
        if unfit(simulations.base_cell):
            raise InputError(f"{folder}: {unfit(simulations.base_cell)}")
        cells, curves, _ = training_data(simulations)
        records += cells
        labels += curves
    settings = replace(training or Training(), seed=seed)
    model = CellRom(settings, seed=seed).fit(records, labels)
    model.carry_only(BASE_CELLS)
    return model


def transfer(source: CellRom, folder: Path, strategy: str = "auto") -> CellRom:
    """A model carried to the chemistry of a few simulations.

    Args:
        source: Model of other chemistries.
        folder: Simulations of the new one.
        strategy: A name of ``models.cells.cell_transfer.CELL_TRANSFERS``; ``auto`` takes what
            does best on held-out ones of these simulations.

    Raises:
        InputError: Unknown strategy, or no solved simulations.
    """
    known = [*CELL_TRANSFERS, "auto"]
    if strategy not in known:
        raise InputError(f"unknown strategy '{strategy}'; {nearest(strategy, known)}")
    simulations = load_simulations(folder)
    if unfit(simulations.base_cell):
        raise InputError(f"{folder}: {unfit(simulations.base_cell)}")
    cells, curves, _ = training_data(simulations)
    if len(cells) > 1:
        raise InputError(f"{folder}: several open-circuit curves; transfer takes one chemistry")
    how = Automatic() if strategy == "auto" else CELL_TRANSFERS[strategy]
    return how.adapt(source, cells[0], curves[0])


def _cells(
    tables: CellTables,
    c_rate: Floats,
    temperature_K: Floats,
    given: Mapping[str, Floats],
    negative: Floats,
    positive: Floats,
) -> Cells:
    """Designs as cells that start at the stoichiometries of the full cell, all arrays (n,)."""
    start = {}
    for domain, stoichiometry in (("negative", negative), ("positive", positive)):
        name = f"Maximum concentration in {domain} electrode [mol.m-3]"
        own = given.get(name, np.full(len(c_rate), np.nan))
        most = np.where(np.isnan(own), tables.scalars[name], own)
        start[f"Initial concentration in {domain} electrode [mol.m-3]"] = stoichiometry * most
    return make_cells(tables, c_rate, temperature_K, {**given, **start})
