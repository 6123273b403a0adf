"""Formulations of the reduced-order cell model on LiCoO2, and the shipped models.

200 held-out discharges of Ai2020_extended, 300 to learn from, nothing chosen on the former.

    python -m benchmarks.cell_rom --data results/cell_simulations --ship models/library
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.cell_transfer import (
    LCO,
    LFP,
    LIMIT,
    SOURCE_HIDDEN,
    SOURCE_TRAINING,
    SOURCES,
    checksum,
    parts,
    source_model,
)
from ionbridge.models.cells.cell_correction import Curves
from ionbridge.models.cells.cell_rom import FRACTIONS, CellRom, groups
from ionbridge.models.cells.cell_transfer import CELL_TRANSFERS
from ionbridge.models.cells.porous_cell import porous_discharge
from ionbridge.models.cells.single_particle import Cells, equilibrium, mean_stoichiometries
from ionbridge.screening.cell.rom import training_data
from ionbridge.screening.cell.simulation import Simulations, load_simulations
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.units import SECONDS_PER_HOUR

Floats = NDArray[np.float64]
Learner = Callable[[Floats, Floats, Floats], Floats]
Formulation = Callable[[Cells, Curves, Floats, Cells, Floats], tuple[Floats, Floats]]

RESULT = Path(__file__).parent / "results" / "cell_rom.json"
N_TRAIN = 300
SIZES = (64, N_TRAIN)
N_BASIS, OPERATOR_STEPS = 24, 3000
"""Of the DeepONet: functions of the share of the capacity, steps of training."""


def raw_inputs(simulations: Simulations) -> Floats:
    """(n, d) logarithms of what the designs set, and of the C-rate."""
    columns = [simulations.c_rate, *simulations.parameters.values()]
    return np.column_stack([np.log(np.abs(c) + 1e-9) for c in columns if np.isfinite(c).all()])


def mapped(x: Floats, y: Floats, at: Floats) -> Floats:
    """A network of two layers from inputs to a curve and a number, both standardised."""
    scaler = StandardScaler().fit(y)
    network = make_pipeline(
        StandardScaler(),
        MLPRegressor(
            hidden_layer_sizes=(48, 48), solver="lbfgs", alpha=1e-2, max_iter=250, random_state=0
        ),
    )
    found = network.fit(x, scaler.transform(y)).predict(at)
    return np.asarray(scaler.inverse_transform(found))


def operator(x: Floats, y: Floats, at: Floats) -> Floats:
    """The same with a DeepONet: branch of the inputs times trunk of the share of the capacity.

    Lu et al., Nat. Mach. Intell. 3, 218 (2021). The number is an output of the branch of its own.
    """
    torch.manual_seed(0)
    inputs, outputs = StandardScaler().fit(x), StandardScaler().fit(y)
    tensors = [inputs.transform(x), outputs.transform(y), inputs.transform(at)]
    own, target, new = (torch.tensor(a, dtype=torch.float32) for a in tensors)
    share = torch.tensor(FRACTIONS, dtype=torch.float32)[:, None]

    def layers(n_in: int, n_out: int) -> torch.nn.Sequential:
        steps = [torch.nn.Linear(n_in, 48), torch.nn.SiLU(), torch.nn.Linear(48, 48)]
        return torch.nn.Sequential(*steps, torch.nn.SiLU(), torch.nn.Linear(48, n_out))

    branch, trunk = layers(x.shape[1], N_BASIS + 1), layers(1, N_BASIS)

    def answer(given: torch.Tensor) -> torch.Tensor:
        weights = branch(given)
        return torch.cat([weights[:, :-1] @ trunk(share).T, weights[:, -1:]], dim=1)

    free = [*branch.parameters(), *trunk.parameters()]
    optimizer = torch.optim.AdamW(free, lr=5e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, OPERATOR_STEPS)
    for _ in range(OPERATOR_STEPS):
        rows = torch.randperm(len(own))[:32]
        loss = ((answer(own[rows]) - target[rows]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        return np.asarray(outputs.inverse_transform(answer(new).numpy()))


def curve_and_capacity(curves: Curves, base_V: Floats | float, base_Ah: Floats) -> Floats:
    """Targets: voltage over the share of the capacity minus a base, and a log ratio."""
    ratio = np.log(curves.capacity_Ah / base_Ah)
    return np.column_stack([curves.voltage_V - base_V, ratio])


def at_rest(cells: Cells, capacity_Ah: Floats) -> Floats:
    """(n, len(FRACTIONS)) open-circuit voltage over a capacity, not below the cut-off."""
    time_s = FRACTIONS * (capacity_Ah[:, None] / cells.current * SECONDS_PER_HOUR)
    return np.maximum(equilibrium(cells, mean_stoichiometries(cells, time_s))[0], cells.lower_V)


def raw(cells: Cells, curves: Curves, x: Floats, test: Cells, at: Floats) -> tuple[Floats, Floats]:
    """Inputs as they are to voltage and capacity."""
    found = mapped(x, curve_and_capacity(curves, 0.0, np.ones(len(curves))), at)
    return found[:, :-1], np.exp(found[:, -1])


def dimensionless(
    cells: Cells, curves: Curves, x: Floats, test: Cells, at: Floats, learner: Learner = mapped
) -> tuple[Floats, Floats]:
    """Dimensionless groups to voltage and share of the full capacity."""
    full, full_test = cells.full_capacity_Ah[:, 0], test.full_capacity_Ah[:, 0]
    found = learner(groups(cells), curve_and_capacity(curves, 0.0, full), groups(test))
    return found[:, :-1], full_test * np.exp(found[:, -1])


def overpotential(
    cells: Cells, curves: Curves, x: Floats, test: Cells, at: Floats
) -> tuple[Floats, Floats]:
    """Dimensionless groups to the distance from the open-circuit voltage."""
    full, full_test = cells.full_capacity_Ah[:, 0], test.full_capacity_Ah[:, 0]
    rest = at_rest(cells, curves.capacity_Ah)
    found = mapped(groups(cells), curve_and_capacity(curves, rest, full), groups(test))
    capacity = full_test * np.exp(np.minimum(found[:, -1], 0.0))
    return found[:, :-1] + at_rest(test, capacity), capacity


def correction(
    cells: Cells, curves: Curves, x: Floats, test: Cells, at: Floats, learner: Learner = mapped
) -> tuple[Floats, Floats]:
    """Dimensionless groups to what a curve differs by from the closed form."""
    bare = closed_form(cells)
    own, new = (bare.predict(c, uncertainty=False, stepped=False) for c in (cells, test))
    found = learner(
        groups(cells), curve_and_capacity(curves, own.voltage_V, own.capacity_Ah), groups(test)
    )
    return found[:, :-1] + new.voltage_V, new.capacity_Ah * np.exp(found[:, -1])


def process(
    cells: Cells, curves: Curves, x: Floats, test: Cells, at: Floats
) -> tuple[Floats, Floats]:
    """The same with Gaussian processes on principal curves."""
    found = closed_form(cells).with_residual(cells, curves, calibrate=False)
    return _both(found, test)


def local(
    cells: Cells, curves: Curves, x: Floats, test: Cells, at: Floats, short: bool = False
) -> tuple[Floats, Floats]:
    """Ours: local states corrected, both electrodes by one network."""
    model = CellRom(SOURCE_TRAINING, hidden=SOURCE_HIDDEN)
    return _both(model.fit([cells], [curves], calibrate=False), test, short)


def resolved(
    cells: Cells, curves: Curves, x: Floats, test: Cells, at: Floats
) -> tuple[Floats, Floats]:
    """No learning, but every cell stepped through time on a coarse mesh."""
    end, volts = porous_discharge(test).curves(test.lower_V, FRACTIONS)
    return volts, (test.current * end / SECONDS_PER_HOUR)[:, 0]


def no_learning(
    cells: Cells, curves: Curves, x: Floats, test: Cells, at: Floats
) -> tuple[Floats, Floats]:
    """The closed form alone."""
    return _both(closed_form(cells), test)


def closed_form(cells: Cells) -> CellRom:
    """A model whose weights are zero."""
    return CellRom(hidden=SOURCE_HIDDEN).unlearnt(cells)


def _both(model: CellRom, cells: Cells, short: bool = False) -> tuple[Floats, Floats]:
    found = model.predict(cells, uncertainty=False, stepped=None if short else False)
    return found.voltage_V, found.capacity_Ah


FORMULATIONS: dict[str, Formulation] = {
    "raw inputs to voltage": raw,
    "dimensionless groups to voltage": dimensionless,
    "dimensionless groups to voltage, DeepONet": partial(dimensionless, learner=operator),
    "overpotential against open circuit": overpotential,
    "closed form, no learning": no_learning,
    "correction of the curve, network": correction,
    "correction of the curve, DeepONet": partial(correction, learner=operator),
    "correction of the curve, Gaussian process": process,
    "correction of local states": local,
    "correction of local states, short of salt: resolved (shipped)": partial(local, short=True),
    "all resolved along the thickness, no learning": resolved,
}


def scored(volts: Floats, capacity: Floats, curves: Curves, lasts: Any, fourier: Floats) -> Any:
    """Means and medians over held-out discharges; those whose salt lasts apart."""
    rmse = 1e3 * np.sqrt(((volts - curves.voltage_V) ** 2).mean(axis=1))
    error = 100.0 * np.abs(capacity / curves.capacity_Ah - 1.0)
    found = {}
    for name, rows in (
        ("all", np.ones(len(rmse), dtype=bool)),
        ("salt_lasts", lasts),
        ("salt_lasts_diffusion_limited", lasts & (fourier < LIMIT)),
    ):
        found[name] = {
            "n": int(rows.sum()),
            "rmse_mV": round(float(rmse[rows].mean()), 3),
            "rmse_median_mV": round(float(np.median(rmse[rows])), 3),
            "rmse_95_mV": round(float(np.quantile(rmse[rows], 0.95)), 3),
            "capacity_percent": round(float(error[rows].mean()), 4),
            "capacity_median_percent": round(float(np.median(error[rows])), 4),
        }
    return found


def coverage(model: CellRom, cells: Cells, curves: Curves) -> dict[str, float]:
    """Share of held-out values in the 90 % intervals and of cells in the domain; the error."""
    found = model.predict(cells)
    energy = curves.capacity_Ah * np.trapezoid(curves.voltage_V, FRACTIONS, axis=1)
    pairs = {
        "voltage": (found.voltage_V - curves.voltage_V, found.voltage_std_V),
        "capacity": (found.capacity_Ah - curves.capacity_Ah, found.capacity_std_Ah),
        "energy": (found.energy_Wh - energy, found.energy_std_Wh),
    }
    shares = {k: round(float((np.abs(e) <= 1.645 * s).mean()), 3) for k, (e, s) in pairs.items()}
    error = np.abs(found.capacity_Ah / curves.capacity_Ah - 1.0)
    return {
        **shares,
        "in_domain": round(float(model.in_domain(cells).mean()), 3),
        "capacity_error_percent": round(float(100.0 * error.mean()), 4),
        "n": len(error),
    }


def ship(data: Path, library: Path, work: Path) -> dict[str, Any]:
    """Write the shipped models; spreads are calibrated on validation discharges."""
    report: dict[str, Any] = {}
    own = {}
    for base in (LCO, LFP):
        records, labels, _ = training_data(load_simulations(data / base))
        rows = parts(len(labels[0]))
        own[base] = [(records[0].take(r), labels[0].take(r)) for r in rows]
    test, validation, _ = own[LCO]
    for name, key in (("cell-rom-lco", "lco"), ("cell-rom-source", "all")):
        model = source_model(data, key, work)
        model.calibrate_on([validation[0]], [validation[1]])
        report[name] = coverage(model, *_lasting(test))
        model.save(library / name, card(name, SOURCES[key], data, report[name]))
    source = CellRom.load(library / "cell-rom-source")
    test, validation, training = own[LFP]
    few = np.arange(min(64, len(training[1])))
    model = CELL_TRANSFERS["process_target"].adapt(
        source, training[0].take(few), training[1].take(few), calibrate=False
    )
    model.calibrate_on([validation[0]], [validation[1]])
    report["cell-rom-lfp"] = coverage(model, *_lasting(test))
    model.save(library / "cell-rom-lfp", card("cell-rom-lfp", (LFP,), data, report["cell-rom-lfp"]))
    return report


def _lasting(pair: tuple[Cells, Curves]) -> tuple[Cells, Curves]:
    rows = np.flatnonzero(pair[0].salt_lasts)
    return pair[0].take(rows), pair[1].take(rows)


def card(
    name: str, bases: tuple[str, ...], data: Path, held_out: dict[str, float]
) -> dict[str, Any]:
    """What a shipped model is, and how well it does."""
    return {
        "name": name,
        "predicts": "constant-current discharge of a cell: curve, capacity, energy, heat",
        "quantity": "cell_discharge",
        "inputs": [
            "base cell, C-rate, temperature, PyBaMM parameters that replace the base cell's"
        ],
        "base_cells": list(bases),
        "trained_on": {
            "data": [
                {"name": f"DFN discharges of {b}", "sha256": checksum(data / b)} for b in bases
            ],
            "methods": ["PyBaMM DFN, isothermal, 298.15 K"],
        },
        "validation": {
            "protocol": "200 discharges of "
            + ("Prada2013_balanced" if name.endswith("lfp") else "Ai2020_extended")
            + " that nothing was fitted to; errors in benchmarks/results/cell_rom.json and "
            "cell_transfer.json, share of values in the 90 % intervals:",
            **held_out,
        },
        "limits": [
            "isothermal constant-current discharge from full charge; labels at 298.15 K only",
            "cells that run short of salt are stepped through time: slower, not learnt",
        ],
        "licence": "MIT",
    }


def main() -> None:
    """Compare, write the result, ship."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("results/cell_simulations"))
    parser.add_argument("--work", type=Path, default=Path("results/cell_transfer"))
    parser.add_argument("--ship", type=Path, help="folder of the shipped models")
    parser.add_argument("--only-ship", action="store_true")
    parser.add_argument("--only", nargs="*", choices=list(FORMULATIONS), help="measure these again")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.ship:
        report = ship(args.data, args.ship, args.work)
        print(report)
        write_json(RESULT.with_name("cell_rom_shipped.json"), report)
    if args.only_ship:
        return
    simulations = load_simulations(args.data / LCO)
    records, labels, _ = training_data(simulations)
    cells, curves, x = records[0], labels[0], raw_inputs(simulations)
    test, _, pool = parts(len(curves))
    lasts, fourier = cells.salt_lasts, simulations.results["fourier"]
    table: dict[str, Any] = {}
    if args.only and RESULT.exists():
        before = json.loads(RESULT.read_text(encoding="utf-8"))["formulations"]
        table = {k: v for k, v in before.items() if k in FORMULATIONS}
    result = {
        "base_cell": LCO, "n_test": len(test), "settings": asdict(SOURCE_TRAINING),
        "data_sha256": checksum(args.data / LCO), "formulations": table,
    }  # fmt: skip
    for name in args.only or FORMULATIONS:
        formulation = FORMULATIONS[name]
        for n in SIZES:
            rows, start = pool[:n], time.process_time()
            volts, capacity = formulation(
                cells.take(rows), curves.take(rows), x[rows], cells.take(test), x[test]
            )
            found = scored(volts, capacity, curves.take(test), lasts[test], fourier[test])
            found["cpu_s"] = round(time.process_time() - start, 1)
            table.setdefault(name, {})[str(n)] = found
            print(name, n, found["all"], found["salt_lasts"], flush=True)
            write_json(RESULT, result)


if __name__ == "__main__":
    main()
