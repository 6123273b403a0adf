"""The reduced-order cell model at work: simulations to training data, designs to tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.cell_correction import Curves, Training
from ionbridge.models.cell_rom import CellPrediction, CellRom
from ionbridge.models.cell_transfer import STRATEGIES, Automatic
from ionbridge.models.single_particle import (
    Cells,
    CellTables,
    first_crossing,
    make_cells,
    potential,
)
from ionbridge.screening.cell.base_cells import BASE_CELLS, base_cell
from ionbridge.screening.cell.cell_tables import tabulate
from ionbridge.screening.cell.designs import Design
from ionbridge.screening.cell.discharge import END_STATES, failed, row_of
from ionbridge.screening.cell.experiment_spread import (
    CAPACITY,
    ENERGY,
    MEAN_VOLTAGE_V,
    N_CELLS,
    unsupported,
    with_experiment,
)
from ionbridge.screening.cell.inputs import CURVE_CHANGES, STEP_WIDTH
from ionbridge.screening.cell.simulation import Simulations, load_simulations
from ionbridge.screening.errors import InputError
from ionbridge.screening.table import Row
from ionbridge.structures.configuration import nearest
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]

STEPPED_UP_TO = 5.0
"""C-rate up to which the spreads of cells short of salt were measured."""


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

    Args:
        simulations: Of one base cell.
        tables: That base cell; made with PyBaMM by default.

    Returns:
        Cells, curves, and the rows of the simulations that they are, in their order.
    """
    tables = tables or base_tables(simulations.base_cell)
    changed = {k: v for k, v in simulations.parameters.items() if k in CURVE_CHANGES}
    records: list[Cells] = []
    labels: list[Curves] = []
    rows: list[NDArray[np.intp]] = []
    groups: Iterable[NDArray[np.intp]] = [np.arange(len(simulations))]
    if changed:
        groups = [np.array([i]) for i in range(len(simulations))]
    for own in groups:
        change = {k: float(v[own[0]]) for k, v in changed.items()}
        records.append(
            make_cells(
                with_curve(tables, change) if changed else tables,
                simulations.c_rate[own],
                simulations.temperature_K[own],
                {
                    **{
                        k: v[own]
                        for k, v in simulations.parameters.items()
                        if k not in CURVE_CHANGES and np.isfinite(v[own]).all()
                    },
                    **_start(
                        tables,
                        simulations.results["start_negative"][own],
                        simulations.results["start_positive"][own],
                    ),
                },
            )
        )
        labels.append(Curves(simulations.results["capacity_Ah"][own], simulations.voltage_V[own]))
        rows.append(own)
    return records, labels, np.concatenate(rows)


def full_charge_stoichiometries(
    tables: CellTables, given: Mapping[str, Floats], n: int
) -> tuple[Floats, Floats]:
    """Negative and positive stoichiometry at the upper voltage at rest, (n,) each, NaN for none.

    The vectorised twin of ``full_charge.full_charge``, which says what is meant.
    """

    def values(name: str) -> Floats:
        value = given.get(name)
        return np.full(n, tables.scalars.get(name, np.nan)) if value is None else value

    def capacity(domain: str) -> Floats:
        return np.asarray(
            values(f"{domain} electrode thickness [m]")
            * values(f"{domain} electrode active material volume fraction")
            * values(f"Maximum concentration in {domain.lower()} electrode [mol.m-3]")
        )

    def lithium(domain: str) -> Floats:
        name = f"{domain.lower()} electrode [mol.m-3]"
        share = values(f"Initial concentration in {name}") / values(
            f"Maximum concentration in {name}"
        )
        return share * capacity(domain)

    own = "Upper voltage cut-off [V]"
    at_rest = "Open-circuit voltage at 100% SOC [V]"
    upper = values(at_rest if own not in given and at_rest in tables.scalars else own)
    negative, positive = capacity("Negative"), capacity("Positive")
    total = lithium("Negative") + lithium("Positive")
    least = np.maximum(0.0, (total - positive) / negative)
    most = np.minimum(1.0, total / negative)

    def excess(emptied: Floats) -> Floats:
        x = most[:, None] - emptied
        y = (total[:, None] - x * negative[:, None]) / positive[:, None]
        found = potential(tables.positive.potential, y) - potential(tables.negative.potential, x)
        return np.asarray(found - upper[:, None])

    span = np.maximum(most - least, 0.0)[:, None]
    nothing = np.zeros((n, 1))
    x = most - first_crossing(excess, nothing, nothing, span, n_rounds=2)[:, 0]
    y = (total - x * negative) / positive
    unreached = (excess(nothing)[:, 0] <= 0.0) | (excess(span)[:, 0] > 0.0)
    return np.where(unreached, np.nan, x), np.where(unreached, np.nan, y)


def unfit(base: str) -> str:
    """Why a base cell has no reduced-order model; empty where it can have one."""
    if base in BASE_CELLS and BASE_CELLS[base].has_poles:
        return (
            f"the fitted open-circuit curve of {base} has poles, which no reduced-order model "
            "follows; use 'ionbridge cell simulate'"
        )
    if base in BASE_CELLS and BASE_CELLS[base].filling_matters:
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
    rows: list[Row] = [failed(d, d.trouble or unfit(d.base_cell)) for d in designs]
    for tables, names, own in _groups(designs, model):
        chosen = [designs[i] for i in own]
        given = {k: np.array([d.parameters[k] for d in chosen]) for k in names}
        negative, positive = full_charge_stoichiometries(tables, given, len(own))
        ok = np.flatnonzero(np.isfinite(negative))
        for i in set(range(len(own))) - set(ok.tolist()):
            rows[own[i]] = failed(
                chosen[i], "the electrodes' lithium does not give the upper voltage at rest"
            )
        if not len(ok):
            continue
        cells = make_cells(
            tables,
            np.array([chosen[i].c_rate for i in ok]),
            np.array([chosen[i].temperature_K for i in ok]),
            {
                **{k: v[ok] for k, v in given.items()},
                **_start(tables, negative[ok], positive[ok]),
            },
        )
        found, known = model.predict(cells, uncertainty=uncertainty), model.in_domain(cells)
        short = cells.salt_is_short
        for j, i in enumerate(ok.tolist()):
            start = (float(negative[i]), float(positive[i]))
            rows[own[i]] = _row(chosen[i], cells, found, bool(known[j]), bool(short[j]), start, j)
    return rows


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
    known: bool,
    short: bool,
    start: tuple[float, float],
    j: int,
) -> Row:
    """The row of one predicted design."""
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
    spreads = _with_experiment(scalars)
    reason = ""
    if short:
        reason = "the salt runs short: solved along the thickness, not learnt"
        known = bool(cells.c_rate[j, 0] <= STEPPED_UP_TO)
    elif not known:
        reason = "outside the range of the training simulations"
    return row_of(
        design,
        **{k: v for k, v in {**scalars, **spreads}.items() if np.isfinite(v)},
        experiment=unsupported(design.base_cell, design.c_rate, design.temperature_K)
        or f"spreads include model against experiment ({N_CELLS} cells)",
        fourier=float(SECONDS_PER_HOUR / cells.c_rate[j, 0] / cells.positive.diffusion_time[j, 0]),
        start_negative=start[0],
        start_positive=start[1],
        **ends,
        voltage_V=found.voltage_V[j].tolist(),
        in_domain=known,
        status="ok",
        reason=reason,
    )


def _with_experiment(scalars: Mapping[str, float]) -> dict[str, float]:
    """Spreads with that of the model against experiment, and what the surrogate's alone is."""
    capacity, energy = scalars["capacity_std_Ah"], scalars["energy_std_Wh"]
    return {
        "capacity_std_surrogate_Ah": capacity,
        "energy_std_surrogate_Wh": energy,
        "capacity_std_Ah": with_experiment(capacity, scalars["capacity_Ah"], CAPACITY),
        "energy_std_Wh": with_experiment(energy, scalars["energy_Wh"], ENERGY),
        "mean_voltage_std_V": with_experiment(scalars["mean_voltage_std_V"], 1.0, MEAN_VOLTAGE_V),
    }


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
        strategy: A name of ``ionbridge.models.cell_transfer.STRATEGIES``; ``auto`` takes what
            does best on held-out ones of these simulations.

    Raises:
        InputError: Unknown strategy, or no solved simulations.
    """
    known = [*STRATEGIES, "auto"]
    if strategy not in known:
        raise InputError(f"unknown strategy '{strategy}'; {nearest(strategy, known)}")
    simulations = load_simulations(folder)
    if unfit(simulations.base_cell):
        raise InputError(f"{folder}: {unfit(simulations.base_cell)}")
    cells, curves, _ = training_data(simulations)
    if len(cells) > 1:
        raise InputError(f"{folder}: several open-circuit curves; transfer takes one chemistry")
    how = Automatic() if strategy == "auto" else STRATEGIES[strategy]
    return how.adapt(source, cells[0], curves[0])


def _start(tables: CellTables, negative: Floats, positive: Floats) -> dict[str, Floats]:
    """Initial concentrations from the stoichiometries of the full cell."""
    found = {}
    for domain, stoichiometry in (("negative", negative), ("positive", positive)):
        most = tables.scalars[f"Maximum concentration in {domain} electrode [mol.m-3]"]
        found[f"Initial concentration in {domain} electrode [mol.m-3]"] = stoichiometry * most
    return found
