"""``ionbridge plan``: from what is given to the goal, through the library of models."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screening.commands.command import UNUSABLE, USABLE, add_command, say

if TYPE_CHECKING:
    from screening.orchestrator.planner import Chain, Plan

GOALS = (
    "migration_barrier, diffusivity, conductivity, voltage, cell_capacity, cell_energy, "
    "cycle_life, and every other number of the catalogue"
)


def add(commands: Any) -> None:
    """Add the parser."""
    command = add_command(
        commands,
        "plan",
        _run,
        "find, compare and run chains of models from what you have to what you want to know",
        "ionbridge plan --goal diffusivity --given LiFePO4.cif my-hops.jsonl --execute --out plan",
    )
    command.add_argument("--goal", required=True, metavar="QUANTITY", help=GOALS)
    command.add_argument(
        "--given",
        required=True,
        nargs="+",
        action="extend",
        metavar="FILE|chemistry:NAME",
        help="crystals, hops, labelled hops, conductivity tables, trajectories, cell designs, "
        "cycling data; chemistry:LiFePO4, chemistry:olivine, chemistry:LFP; or a value with its "
        "unit, diffusivity=1e-10cm2/s",
    )
    command.add_argument(
        "--temperature-K", type=float, default=300.0, metavar="T", help="default: 300"
    )
    command.add_argument("--c-rate", type=float, default=1.0, metavar="C", help="default: 1")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    command.add_argument("--execute", action="store_true", help="run the chosen chain")
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for plan.json and, with --execute, the steps and results; run again, it goes "
        "on with the steps that are there",
    )


def _run(args: argparse.Namespace) -> int:
    from screening.errors import InputError
    from screening.orchestrator.catalogue import Conditions
    from screening.orchestrator.execution_steps import PLAN_FILE, execute
    from screening.orchestrator.givens import read_givens
    from screening.orchestrator.planner import plan
    from screening.shards import write_json

    for name, value in (("--temperature-K", args.temperature_K), ("--c-rate", args.c_rate)):
        if not 0 < value < float("inf"):
            raise InputError(f"{name}: expected a positive number, got {value}")
    if args.execute and args.out is None:
        raise InputError("--execute needs --out DIR: the folder for steps and results")
    made = plan(
        args.goal,
        read_givens(args.given),
        at=Conditions(args.temperature_K, args.c_rate, args.seed),
    )
    print(described(made))
    if args.out is not None:
        try:
            args.out.mkdir(parents=True, exist_ok=True)
            write_json(args.out / PLAN_FILE, made.to_dict())
        except OSError as error:
            raise InputError(f"{args.out}: cannot be written ({error.strerror})") from error
    if made.chosen is None:
        say(f"ionbridge: {made.why}")
        return UNUSABLE
    if not args.execute:
        return USABLE
    result = execute(made, args.out, _tell if sys.stderr.isatty() else None)
    if result.status != "ok":
        say(f"ionbridge: {result.reason}; finished steps are kept in {args.out}")
        return UNUSABLE
    n_ok = sum(row["status"] == "ok" for row in result.rows)
    say(f"wrote {args.out / 'result.csv'} ({n_ok} of {len(result.rows)} rows)")
    return USABLE


def _tell(k: int, n: int, entry: str) -> None:
    say(f"step {k + 1} of {n}: {entry}")


def described(made: Plan) -> str:
    """The plan as text: chosen chain, runners-up, why, warnings."""
    from screening.orchestrator.planner import duration

    lines = [f"goal: {made.goal} ({made.unit}) at {made.at.temperature_K:g} K"]
    lines += [
        f"given: {name}" + (f" ({found})" if found else "") for name, found in made.given.items()
    ]
    if made.chosen is not None and made.chosen.steps:
        lines += ["", f"chosen: {_summary(made.chosen, made.unit)}"]
        for k, step in enumerate(made.chosen.steps, start=1):
            errors = ", ".join(
                f"{name} +-{error:.2g}" if error is not None else f"{name} not validated"
                for name, error in step.errors.items()
            )
            lines.append(
                f"  {k}. {step.entry} [{step.kind}]: {' + '.join(step.inputs)} -> "
                f"{' + '.join(step.outputs)}"
                + (f" ({errors})" if errors else "")
                + f"; {step.n_records} records, {duration(step.cost_s)}"
                + (f"; {step.basis}" if step.basis else "")
            )
    for chain in made.runners_up:
        lines.append(f"runner-up: {_summary(chain, made.unit)}")
    lines += ["", f"why: {made.why}"]
    lines += [f"warning: {text}" for text in made.warnings]
    if made.wanted:
        total = sum(label.cost_s for label in made.wanted)
        lines.append(
            f"labels that would help most (ionbridge label neb, about {duration(total)} in all): "
            + ", ".join(f"{label.id} (+-{label.std_eV:.2f} eV)" for label in made.wanted)
        )
    return "\n".join(lines)


def _summary(chain: Chain, unit: str) -> str:
    from screening.orchestrator.planner import duration

    error = "error not validated" if chain.error is None else f"+-{chain.error:.2g} {unit}"
    marks = "" if chain.is_inside else ", OUT OF DOMAIN"
    marks += "" if chain.is_available else ", cannot run here"
    return f"{chain.words} ({error}, {duration(chain.cost_s)}{marks})"
