"""``ionbridge cell``: candidates in a cell, by simulation or by reduced-order model."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.cell_ageing import add_verbs as add_ageing_verbs
from ionbridge.screening.commands.command import (
    USABLE,
    add_command,
    add_workers,
    check_new_folder,
    check_output,
    counted,
    say,
    status,
)


def add(commands: Any) -> None:
    """Add the parser and its verbs."""
    command = add_command(
        commands,
        "cell",
        _say_verbs,
        "discharge cells: simulate, predict, fit, train, transfer, export",
        "ionbridge cell simulate designs.csv --out results/designs",
    )
    verbs = command.add_subparsers(metavar="VERB", required=True)
    _add_simulate(verbs)
    _add_predict(verbs)
    _add_fit(verbs)
    _add_train(verbs)
    _add_transfer(verbs)
    _add_export(verbs)
    add_ageing_verbs(verbs)


def _say_verbs(args: argparse.Namespace) -> int:
    """Never called: a verb is required."""
    raise AssertionError("a verb is required")


def _add_simulate(verbs: Any) -> None:
    simulate = add_command(
        verbs,
        "simulate",
        _simulate,
        "solve a table of designs with a physics-based model (PyBaMM)",
        "ionbridge cell simulate designs.csv --out results/designs --resume\n\n"
        "designs.csv, one discharge from full charge a row; further columns replace the base\n"
        "cell's values (an empty cell leaves it):\n"
        "  design_id,base_cell,c_rate,temperature_K,Positive particle diffusivity [m2.s-1]\n"
        "  slow,Ai2020_extended,1,298.15,1e-15\n"
        "  fast,Ai2020_extended,1,298.15,1e-13\n\n"
        "NAME_positive_half_cell and NAME_negative_half_cell are one electrode of a base cell\n"
        "against the metal of its ion",
    )
    simulate.add_argument("designs", type=Path, metavar="DESIGNS.csv", help="one design a row")
    simulate.add_argument(
        "--model",
        choices=("DFN", "SPMe", "SPM"),
        default="DFN",
        help="how much physics (default: DFN, porous electrodes)",
    )
    simulate.add_argument(
        "--protocol",
        default="discharge",
        metavar="NAME",
        help="discharge (default), charge (CC-CV), cycle, pulse (resistance) or drive_cycle, each "
        "at the design's c_rate",
    )
    simulate.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of results"
    )
    simulate.add_argument(
        "--resume", action="store_true", help="go on with what is solved in DIR already"
    )
    simulate.add_argument(
        "--time-limit-s",
        type=float,
        default=60.0,
        metavar="S",
        help="longest time for one design (default: 60)",
    )
    add_workers(simulate)


def _add_predict(verbs: Any) -> None:
    predict = add_command(
        verbs,
        "predict",
        _predict,
        "predict a table of designs with a reduced-order model: at once, with uncertainty",
        "ionbridge cell predict designs.csv --out results/predicted",
    )
    predict.add_argument(
        "designs", type=Path, nargs="?", metavar="DESIGNS.csv", help="as for simulate"
    )
    predict.add_argument(
        "--fitted",
        type=Path,
        metavar="DIR",
        help="folder of 'cell fit': predict that cell at --c-rates in place of DESIGNS.csv",
    )
    predict.add_argument(
        "--c-rates", metavar="C,C,...", help="of the fitted cell, relative to its nominal capacity"
    )
    predict.add_argument(
        "--model",
        metavar="NAME|DIR",
        help="reduced-order model (default: the shipped one of the base cell's chemistry)",
    )
    predict.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of results")


def _add_fit(verbs: Any) -> None:
    fit = add_command(
        verbs,
        "fit",
        _fit,
        "fit a cell to measured discharges; parameters with intervals, BPX, and other rates by "
        "'cell predict --fitted'",
        "ionbridge cell fit cells.yaml --cell my_cell --curves my_cell/C20.csv --out results/fit\n"
        "  ionbridge cell predict --fitted results/fit --c-rates 0.5,1,2 --out results/rates\n\n"
        "cells.yaml (only the chemistry is required; what is left out is guessed, and said):\n"
        "  my_cell:\n"
        "    chemistry: {positive: LiFePO4, negative: graphite}\n"
        "    nominal_capacity_Ah: 2.0\n"
        "    lower_cutoff_V: 2.0\n"
        "    parameter_set: my_cell.json   # BPX, or a set of PyBaMM\n\n"
        "curves: time_s,current_A,discharge_capacity_Ah,voltage_V,temperature_C; the slowest\n"
        "gives the balance of the electrodes",
    )
    fit.add_argument("cells", type=Path, metavar="CELLS.yaml", help="what is known of cells")
    fit.add_argument("--cell", required=True, metavar="NAME", help="of a cell in it")
    fit.add_argument(
        "--curves", type=Path, nargs="+", required=True, metavar="FILE.csv", help="one a discharge"
    )
    fit.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the fit")


def _add_train(verbs: Any) -> None:
    train = add_command(
        verbs,
        "train",
        _train,
        "train a reduced-order model on simulated designs",
        "ionbridge cell train results/lco --out models/my-cell",
    )
    train.add_argument(
        "simulations",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folders that 'cell simulate' wrote, one base cell each",
    )
    train.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    train.add_argument(
        "--out", type=Path, required=True, metavar="MODEL_DIR", help="folder of the model"
    )


def _add_transfer(verbs: Any) -> None:
    transfer = add_command(
        verbs,
        "transfer",
        _transfer,
        "carry a reduced-order model to a chemistry with few simulations",
        "ionbridge cell transfer --base models/my-cell --simulations results/lfp --out models/lfp",
    )
    transfer.add_argument(
        "--base", required=True, metavar="NAME|DIR", help="model of the source chemistry"
    )
    transfer.add_argument(
        "--simulations",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder that 'cell simulate' wrote for the new chemistry",
    )
    transfer.add_argument(
        "--strategy", default="auto", metavar="NAME", help="auto (default): what was measured best"
    )
    transfer.add_argument(
        "--out", type=Path, required=True, metavar="MODEL_DIR", help="folder of the model"
    )


def _add_export(verbs: Any) -> None:
    export = add_command(
        verbs,
        "export",
        _export,
        "write a design's cell as a BPX file, which PyBaMM and other programs read",
        "ionbridge cell export designs.csv --design slow --out slow.json",
    )
    export.add_argument("designs", type=Path, metavar="DESIGNS.csv", help="as for simulate")
    export.add_argument(
        "--design", metavar="ID", help="design_id of the row (default: the only one)"
    )
    export.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="BPX file")


def _simulate(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ionbridge.screening.cell.designs import read_designs
    from ionbridge.screening.cell.protocols import ProtocolRuns, protocol
    from ionbridge.screening.cell.simulation import Discharges, processes, simulate, stored_rows
    from ionbridge.screening.cell.tables import protocol_columns, write_tables
    from ionbridge.screening.errors import InputError

    if not 0 < args.time_limit_s < float("inf"):
        raise InputError(f"--time-limit-s: expected a positive number, got {args.time_limit_s}")
    work: Discharges | ProtocolRuns = Discharges(args.model, args.time_limit_s)
    columns = None
    if args.protocol != "discharge":
        if args.model != "DFN":
            raise InputError(f"--protocol {args.protocol} is solved with DFN, not {args.model}")
        columns = protocol_columns(protocol(args.protocol))
        work = ProtocolRuns(args.protocol, args.time_limit_s)
    designs = read_designs(args.designs)
    executor = processes(args.workers)
    with tqdm(total=len(designs), unit="cell", disable=not sys.stderr.isatty()) as bar:
        for _, solved in simulate(designs, args.out, executor, work, args.resume):
            bar.update(len(solved))
    rows = stored_rows(args.out)
    write_tables(rows, args.out, columns)
    settings = {"solver": args.model, "protocol": args.protocol}
    _record(args.out, "cell simulate", rows, settings, (), [args.designs])
    return _wrote(args.out, rows, curves=columns is None)


def _predict(args: argparse.Namespace) -> int:
    from ionbridge.screening.cell.designs import read_designs
    from ionbridge.screening.cell.rom import predict_designs
    from ionbridge.screening.cell.shipped import OTHERS, rom_for
    from ionbridge.screening.cell.tables import write_tables
    from ionbridge.screening.errors import InputError

    if args.fitted is not None:
        return _predict_fitted(args)
    if args.c_rates is not None:
        raise InputError("--c-rates belongs to --fitted DIR; a table of designs has its own c_rate")
    if args.designs is None:
        raise InputError("give DESIGNS.csv, or --fitted DIR with --c-rates")
    check_new_folder(args.out)
    designs = read_designs(args.designs)
    usable = {d.base_cell for d in designs if not d.trouble}
    names = {
        d.base_cell: args.model or (rom_for(d.base_cell) if d.base_cell in usable else OTHERS)
        for d in designs
    }
    found: dict[int, Any] = {}
    for name in dict.fromkeys(names.values()):
        own = [i for i, d in enumerate(designs) if names[d.base_cell] == name]
        rows = predict_designs([designs[i] for i in own], _cell_rom(name))
        found.update(zip(own, rows, strict=True))
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [found[i] for i in range(len(designs))]
    write_tables(rows, args.out)
    _record(args.out, "cell predict", rows, {}, set(names.values()), [args.designs])
    return _wrote(args.out, rows)


def _predict_fitted(args: argparse.Namespace) -> int:
    from ionbridge.models.cells.cell_discrepancy import CellDiscrepancy
    from ionbridge.models.library import find
    from ionbridge.screening.cell.fitted import (
        MODEL,
        FittedPredictor,
        parse_rates,
        predict_rates,
        read_fit,
    )
    from ionbridge.screening.cell.tables import write_fitted_tables
    from ionbridge.screening.errors import InputError

    if args.designs is not None:
        raise InputError("give DESIGNS.csv or --fitted DIR, not both")
    if args.c_rates is None:
        raise InputError("--fitted DIR needs --c-rates, for example 0.5,1,2")
    rates = parse_rates(args.c_rates)
    fit = read_fit(args.fitted)
    model = CellDiscrepancy.load(find(args.model or MODEL))
    check_new_folder(args.out)
    rows = predict_rates(FittedPredictor(fit, model), rates)
    args.out.mkdir(parents=True, exist_ok=True)
    write_fitted_tables(rows, args.out)
    settings = {"c_rates": args.c_rates}
    _record(args.out, "cell predict", rows, settings, [args.model or MODEL], [args.fitted])
    return _wrote(args.out, rows)


def _fit(args: argparse.Namespace) -> int:
    from ionbridge.screening.cell.base_cells import FIT_FILE
    from ionbridge.screening.cell.experiments import read_experiment
    from ionbridge.screening.cell.fitted import BPX_FILE, fit_experiment, write_fit

    experiment = read_experiment(args.cells, args.cell, args.curves)
    check_new_folder(args.out)
    fit = fit_experiment(experiment)
    write_fit(fit, args.out)
    for note in fit.notes:
        say(f"note: {note}")
    say(f"wrote {args.out / FIT_FILE} and {BPX_FILE}")
    return USABLE


def _train(args: argparse.Namespace) -> int:
    from ionbridge.screening.cell.rom import train

    check_new_folder(args.out)
    train(args.simulations, seed=args.seed).save(args.out)
    say(f"wrote {args.out}")
    return USABLE


def _transfer(args: argparse.Namespace) -> int:
    from ionbridge.screening.cell.rom import transfer

    check_new_folder(args.out)
    transfer(_cell_rom(args.base), args.simulations, args.strategy).save(args.out)
    say(f"wrote {args.out}")
    return USABLE


def _export(args: argparse.Namespace) -> int:
    from ionbridge.screening.cell.bpx import export
    from ionbridge.screening.cell.designs import read_designs
    from ionbridge.screening.errors import InputError
    from ionbridge.structures.configuration import nearest

    check_output(args.out, args.designs)
    designs = {d.design_id: d for d in read_designs(args.designs)}
    name = args.design
    if name is None:
        if len(designs) > 1:
            raise InputError(
                f"{args.designs} has {len(designs)} designs; name one with --design ID"
            )
        name = next(iter(designs))
    if name not in designs:
        raise InputError(f"no design '{name}'; {nearest(name, list(designs))}")
    for note in export(designs[name], args.out):
        say(f"note: {note}")
    say(f"wrote {args.out}")
    return USABLE


def _record(
    out: Path,
    command: str,
    rows: Sequence[Any],
    settings: Mapping[str, Any],
    models: Iterable[str],
    inputs: Sequence[Path],
) -> None:
    """Beside the tables, what another group needs to repeat them, and the cells as linked data."""
    from ionbridge.models.checkpoint import model_checksum
    from ionbridge.models.library import find
    from ionbridge.screening.campaign.provenance import write_cells, write_crate
    from ionbridge.screening.execution.program import installed_version

    write_cells(out, ({"id": r["design_id"], **r} for r in rows if r["status"] == "ok"))
    used = {name: model_checksum(find(name)) for name in sorted(models)}
    record = {
        "settings": settings,
        "model": {"name": ", ".join(used), "sha256": ", ".join(used.values())} if used else None,
        "versions": {name: installed_version(name) for name in ("ionbridge", "pybamm", "torch")},
    }
    write_crate(out, command, f"discharges of {len(rows)} designs by IonBridge", record, inputs)


def _cell_rom(name: str) -> Any:
    """A reduced-order cell model by name or folder."""
    from ionbridge.models.cells.cell_rom import CellRom
    from ionbridge.models.library import find

    return CellRom.load(find(name))


def _wrote(out: Path, rows: list[Any], curves: bool = True) -> int:
    """Say what was written; the exit status."""
    counts = Counter(row["status"] for row in rows)
    say(f"wrote {out / 'kpis.csv'}{' and curves.csv' if curves else ''} ({counted(counts)})")
    return status(counts["ok"], rows)
