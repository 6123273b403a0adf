"""``ionbridge label kmc``: diffusivities of many ions at once, by kinetic Monte Carlo."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import (
    add_command,
    add_workers,
    check_output,
    counted,
    numbers,
    refused,
    say,
    status,
)


def add(methods: Any) -> None:
    """Add the parser of this command to the others."""
    method = add_command(
        methods,
        "kmc",
        _run,
        "diffusivity and conductivity of crystals whose ions block each other, by kinetic Monte "
        "Carlo on the hops that the model of barriers knows: tracer and jump diffusivity, "
        "correlation factors and Haven ratio at each temperature. Meant for partly filled "
        "lattices: ions are as many as refined, and site energies are those at which their "
        "occupancies are as refined. Where all sites are full, the vacancies must be stated. "
        "Intervals are of the sampling alone (seconds a crystal, more for large cells); barriers "
        "are known less well, log10_diffusivity_model_std says how much. Run again, it goes on "
        "where it was",
        "ionbridge label kmc Li7La3Zr2O12.cif --temperatures-K 300,500,700 --out garnet.json\n"
        "  ionbridge label kmc LiFePO4.cif --vacancy-fraction 0.01 --out lfp.json\n"
        "  ionbridge finetune --labels garnet.json --out my-diffusion",
    )
    method.add_argument("input", nargs="+", type=Path, metavar="INPUT", help="crystals")
    method.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the labels")
    method.add_argument(
        "--temperatures-K", metavar="T", default="300", help="300,500,700 (default: 300)"
    )
    method.add_argument(
        "--working-ion", metavar="ION", help="symbol of the mobile ion (default: their own)"
    )
    method.add_argument(
        "--model",
        metavar="NAME|DIR",
        help="model of hop barriers (default: the best that ships)",
    )
    method.add_argument(
        "--vacancy-fraction",
        type=float,
        metavar="X",
        help="share of the ions that is missing where all sites are full; such crystals are "
        "refused without it, others do not need it",
    )
    method.add_argument(
        "--dielectric-constant",
        type=float,
        metavar="E",
        help="let ions repel each other as charges in a medium of this constant, up to 6 angstrom "
        "(default: only sites closer than 1.5 angstrom exclude each other)",
    )
    method.add_argument(
        "--jumps-per-ion", type=int, default=3000, metavar="N", help="default: 3000"
    )
    method.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    add_workers(method)


def _run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from tqdm import tqdm

    from ionbridge.models.library import DEFAULTS
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.execution.executor import LocalProcesses
    from ionbridge.screening.execution.executors import executor_from
    from ionbridge.screening.labelling.dynamics.kmc_gas import UNUSED_SHARE
    from ionbridge.screening.labelling.dynamics.kmc_labels import KmcSettings, kmc_labels
    from ionbridge.screening.prediction.crystals import loaded_model
    from ionbridge.screening.prediction.files import read_input
    from ionbridge.structures.records import WORKING_IONS, Crystal, FailedRecord

    if args.working_ion not in (None, *WORKING_IONS):
        raise InputError(
            f"--working-ion: {args.working_ion!r} is no mobile ion known here; expected one of "
            f"{', '.join(WORKING_IONS)}"
        )
    executor = executor_from("local", args.workers)
    settings = KmcSettings(
        temperatures_K=numbers("--temperatures-K", args.temperatures_K),
        model=args.model or DEFAULTS["migration_barrier"],
        vacancy_fraction=args.vacancy_fraction,
        dielectric_constant=args.dielectric_constant,
        jumps_per_ion=args.jumps_per_ion,
        seed=args.seed,
    )
    check_output(args.out, *args.input)
    loaded_model(settings.model)  # one line now rather than a reason in every label
    data = read_input(args.input)
    say(data.found)
    records: list[Crystal | FailedRecord] = [
        replace(r, working_ion=args.working_ion)
        if isinstance(r, Crystal) and args.working_ion
        else r
        for r in data.records
        if isinstance(r, Crystal | FailedRecord)
    ]
    if data.kind != "crystals" or not records:
        raise InputError(f"label kmc needs crystals, not {data.kind.replace('_', ' ')}")
    if isinstance(executor, LocalProcesses):
        executor = LocalProcesses(
            executor.n_workers, preload=("ionbridge.screening.labelling.dynamics.kmc_labels",)
        )
    labels: list[Any] = []
    with tqdm(total=len(records), unit=" crystals", disable=not sys.stderr.isatty()) as bar:
        for labels in kmc_labels(records, settings, args.out, executor):
            bar.n = sum(label["reason"] != "not run" for label in labels)
            bar.refresh()
    for label in labels:
        if label["status"] == "failed":
            say(f"{label['id']}: {label['reason']}")
        elif UNUSED_SHARE in label["carriers"]:
            say(f"{label['id']}: {UNUSED_SHARE}")
        for run in label["runs"]:
            say(f"{label['id']}: {_summary(run)}")
    counts = Counter(label["status"] for label in labels)
    found = ", ".join(filter(None, (counted(counts), refused(counts["refused"]))))
    say(f"wrote {args.out} ({found})")
    return status(counts["ok"] + counts["refused"], labels, records)


def _summary(run: Any) -> str:
    """One line on a run."""
    kelvin = f"{run['temperature_K']:g} K"
    if run["status"] != "ok":
        return (
            f"{kelvin}: D below {run['tracer_diffusivity_cm2_s_upper']:.1e} cm²/s, no motion seen"
        )
    flags = "".join(f"; {flag}" for flag in run["flags"])
    known = f"{kelvin}: D = {run['tracer_diffusivity_cm2_s']:.2e} cm²/s"
    if run["conductivity_S_cm"] is None:
        return f"{known}; conductivity below {run['conductivity_S_cm_upper']:.1e} S/cm{flags}"
    return (
        f"{known}, f = {run['tracer_correlation_factor']:.3f}, Haven ratio "
        f"{run['haven_ratio']:.2f}, conductivity {run['conductivity_S_cm']:.2e} S/cm "
        f"(barriers leave {run['log10_diffusivity_model_std']:.1f} decades){flags}"
    )
