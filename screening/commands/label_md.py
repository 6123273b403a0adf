"""``ionbridge label md``: diffusivities by molecular dynamics, or from trajectories that exist."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import (
    add_calculator,
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
        "md",
        _run,
        "diffusivity and conductivity with 95 % intervals, from trajectories that exist or from "
        "molecular dynamics of crystals (NVT, any ASE calculator; run again, it goes on where it "
        "was); a plot is written beside. Where too few jumps were seen, no diffusivity is quoted",
        "ionbridge label md --trajectory XDATCAR.gz --interval-fs 100 --working-ion Li "
        "--temperature-K 500 --out li.json\n"
        "  ionbridge label md --trajectory run800.extxyz run1000.extxyz --interval-fs 20 "
        "--working-ion Na --temperature-K 800,1000 --out na.json\n"
        "  ionbridge label md Li6PS5Cl.cif --calculator chgnet --temperatures-K 600,800,1000 "
        "--steps 10000 --timestep-fs 2 --out li6ps5cl.json",
    )
    method.add_argument(
        "input", nargs="*", type=Path, metavar="INPUT", help="crystals to be simulated"
    )
    method.add_argument(
        "--out", type=Path, required=True, metavar="FILE.json", help="the labels; plot beside it"
    )
    method.add_argument(
        "--working-ion",
        metavar="ION",
        help="symbol of the mobile ion (default for crystals: their own)",
    )
    existing = method.add_argument_group("trajectories that exist")
    existing.add_argument(
        "--trajectory",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="XDATCAR, vasprun.xml, .extxyz, .xyz, LAMMPS dump (plain, .gz, .bz2 or .xz), ASE "
        ".traj; with --topology .xtc, .trr, .nc, .dcd; several are taken as one temperature each",
    )
    existing.add_argument(
        "--interval-fs",
        type=float,
        metavar="F",
        help="time between two frames of the file, fs; may be left out where the file states it",
    )
    existing.add_argument(
        "--elements",
        metavar="LIST",
        help="elements of the atom types 1, 2, ... of a LAMMPS dump without them: Li,P,S",
    )
    existing.add_argument(
        "--topology",
        type=Path,
        metavar="FILE",
        help="what the atoms of a GROMACS, AMBER, CHARMM or NAMD trajectory are (needs MDAnalysis)",
    )
    existing.add_argument(
        "--temperature-K", metavar="T", help="of the run, K; one for each trajectory: 800,1000"
    )
    simulated = method.add_argument_group("molecular dynamics")
    add_calculator(simulated)
    simulated.add_argument(
        "--temperatures-K", metavar="T", default="800,1000,1200", help="default: 800,1000,1200"
    )
    simulated.add_argument(
        "--steps", type=int, default=10000, metavar="N", help="at each temperature (default: 10000)"
    )
    simulated.add_argument(
        "--timestep-fs", type=float, default=2.0, metavar="F", help="time step, fs (default: 2)"
    )
    simulated.add_argument(
        "--min-width-A",
        type=float,
        default=8.0,
        metavar="L",
        help="least distance of an atom from its periodic copies, angstrom (default: 8)",
    )
    simulated.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    add_workers(method)
    method.add_argument(
        "--skip-ps",
        type=float,
        metavar="T",
        help="left out at the start, ps (default: 0 for trajectories, 1 for simulations)",
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError

    if bool(args.trajectory) == bool(args.input):
        raise InputError("label md needs crystals to simulate or --trajectory FILE, one of the two")
    if args.skip_ps is not None and not 0 <= args.skip_ps < math.inf:
        raise InputError(f"--skip-ps: expected 0 or more, got {args.skip_ps}")
    return _analyse(args) if args.trajectory else _simulate(args)


def _analyse(args: argparse.Namespace) -> int:
    """Labels of trajectories that exist."""
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.execution.shards import write_json
    from ionbridge.screening.labelling.dynamics.diffusion_label import arrhenius_label
    from ionbridge.screening.labelling.dynamics.msd_plot import write_plot
    from ionbridge.screening.labelling.dynamics.trajectory_files import Form
    from ionbridge.screening.temperatures import check_temperature

    for option in ("working_ion", "temperature_K"):
        if getattr(args, option) is None:
            name = "--" + option.replace("_", "-")
            raise InputError(f"{name} is missing: --trajectory needs it")
    if args.interval_fs is not None and not 0 < args.interval_fs < math.inf:
        raise InputError(f"--interval-fs: expected a positive number, got {args.interval_fs}")
    temperatures = numbers("--temperature-K", args.temperature_K)
    if len(temperatures) != len(args.trajectory):
        raise InputError(
            f"--temperature-K: {len(temperatures)} temperature(s) for {len(args.trajectory)} "
            "trajectories; give one for each, 800,1000"
        )
    for kelvin in temperatures:
        check_temperature(kelvin)
    _check_outputs(args, args.trajectory)
    form = Form(_elements(args.elements), args.topology)
    labels = [
        _label(path, temperature_K, form, args)
        for path, temperature_K in zip(args.trajectory, temperatures, strict=True)
    ]
    fit = arrhenius_label(labels) if len(labels) > 1 else None
    document = labels[0] if fit is None else {"runs": labels, "arrhenius": fit}
    write_json(args.out, document)
    read = [label for label in labels if label["status"] != "failed"]
    plot = args.out.with_suffix(".png")
    write_plot(plot, read, fit, args.trajectory[0].name)
    say(f"wrote {args.out} and {plot.name}")
    for label in labels:
        say(f"{label['id']}: {label['reason']}" if label not in read else _summary(label))
    return status(len(read), labels)


def _label(path: Path, temperature_K: float, form: Any, args: argparse.Namespace) -> dict[str, Any]:
    """The label of one trajectory; one of several that cannot be used is a failed row."""
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.labelling.dynamics.diffusion_label import motion
    from ionbridge.screening.labelling.dynamics.trajectory import read_trajectory

    start = {"id": path.name, "temperature_K": temperature_K}
    try:
        trajectory = read_trajectory(path, args.interval_fs, args.skip_ps or 0.0, form=form)
        try:
            label = motion(trajectory, args.working_ion, temperature_K).label
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    except InputError as error:
        if len(args.trajectory) == 1:
            raise
        return {**start, "status": "failed", "reason": str(error)}
    for note in label["notes"]:
        say(f"{path}: {note}")
    return {**start, "interval_fs": trajectory.interval_fs, **label}


def _elements(text: str | None) -> tuple[str, ...]:
    """Elements, separated by commas."""
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.labelling.dynamics.trajectory_files import ELEMENTS

    names = tuple(word.strip() for word in text.split(",")) if text else ()
    unknown = [name for name in names if name not in ELEMENTS]
    if unknown:
        raise InputError(f"--elements: {unknown[0]!r} is no element; expected Li,P,S")
    return names


def _simulate(args: argparse.Namespace) -> int:
    """Labels by molecular dynamics."""
    from collections import Counter
    from dataclasses import replace

    from tqdm import tqdm

    from ionbridge.screening.errors import InputError
    from ionbridge.screening.execution.executor import LocalProcesses
    from ionbridge.screening.execution.executors import executor_from
    from ionbridge.screening.execution.shards import write_json
    from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
    from ionbridge.screening.labelling.dynamics.label_file import as_document
    from ionbridge.screening.labelling.dynamics.md import Dynamics
    from ionbridge.screening.labelling.dynamics.md_labels import (
        MdSettings,
        file_name,
        md_labels,
    )
    from ionbridge.screening.labelling.dynamics.msd_plot import write_plot
    from ionbridge.screening.prediction.files import read_input
    from ionbridge.structures.plain_text import number_of
    from ionbridge.structures.records import Crystal, FailedRecord

    if args.steps < 1:
        raise InputError(f"--steps: expected 1 or more, got {args.steps}")
    if not 0 < args.timestep_fs <= 20:
        raise InputError(f"--timestep-fs: expected more than 0, at most 20, got {args.timestep_fs}")
    settings = MdSettings(
        temperatures_K=numbers("--temperatures-K", args.temperatures_K),
        calculator=CalculatorChoice.parsed(args.calculator, args.calculator_arguments),
        dynamics=Dynamics(n_steps=args.steps, timestep_fs=args.timestep_fs, seed=args.seed),
        min_width_A=args.min_width_A,
        skip_ps=1.0 if args.skip_ps is None else args.skip_ps,
    )
    simulated_fs = args.steps * args.timestep_fs - 1e3 * settings.skip_ps
    if simulated_fs < settings.dynamics.frame_interval_fs:
        raise InputError(
            f"--steps {args.steps} of {args.timestep_fs:g} fs are "
            f"{1e-3 * args.steps * args.timestep_fs:g} ps, nothing is left after the "
            f"{settings.skip_ps:g} ps of equilibration; take more steps, or a shorter --skip-ps"
        )
    _check_outputs(args, args.input)
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
        raise InputError(f"label md needs crystals, not {data.kind.replace('_', ' ')}")
    folder = args.out.with_name(f"{args.out.stem}_runs")
    executor = executor_from("local", args.workers)
    if isinstance(executor, LocalProcesses):
        executor = LocalProcesses(
            executor.n_workers, preload=("ionbridge.screening.labelling.dynamics.md_labels",)
        )
    n_runs = sum(isinstance(r, Crystal) for r in records) * len(settings.temperatures_K)
    length = number_of(args.steps, "step")
    say(f"{number_of(n_runs, 'run')} of {length}; trajectories grow in {folder}")
    labels: list[Any] = []
    with tqdm(total=n_runs, unit=" runs", disable=not sys.stderr.isatty()) as bar:
        for labels in md_labels(records, settings, folder, executor):
            write_json(args.out, as_document(labels))
            bar.n = sum(len(label.get("runs", [])) for label in labels)
            bar.refresh()
    for label in labels:
        runs = [run for run in label.get("runs", []) if "msd_curve" in run]
        if runs:
            own = "" if len(labels) == 1 else f"_{file_name(label['id'])}"
            name = f"{args.out.stem}{own}.png"
            write_plot(args.out.with_name(name), runs, label["arrhenius"], label["formula"])
        for run in runs:
            say(f"{label['id']}: {_summary(run)}")
    counts = Counter(label["status"] for label in labels)
    found = ", ".join(filter(None, (counted(counts), refused(counts["refused"]))))
    say(f"wrote {args.out} ({found})")
    return status(counts["ok"] + counts["refused"], labels, records)


def _check_outputs(args: argparse.Namespace, inputs: Sequence[Path]) -> None:
    """Refuse a document or a plot that cannot be written, or would replace what is read."""
    from ionbridge.screening.errors import InputError

    plot = args.out.with_suffix(".png")
    if plot == args.out:
        raise InputError(f"{args.out}: the plot has this name; name the labels FILE.json")
    for file in (args.out, plot):
        check_output(file, *inputs)


def _summary(label: Any) -> str:
    """One line on a run."""
    flags = "".join(f"; {flag}" for flag in label["flags"])
    run = f"{label['temperature_K']:g} K, {label['duration_ps']:.4g} ps"
    if label["status"] != "ok":
        return f"{run}: {label['status']}, {label['reason']} (MSD {label['msd_A2']:.3g} Å²){flags}"
    return (
        f"{run}: D = {label['tracer_diffusivity_cm2_s']:.2e} "
        f"[{label['tracer_diffusivity_cm2_s_lower']:.1e}, "
        f"{label['tracer_diffusivity_cm2_s_upper']:.1e}] cm²/s from {label['n_jumps']} jumps, "
        f"conductivity {label['conductivity_S_cm']:.2e} S/cm{flags}"
    )
