"""``ionbridge plan``: from what is given to the goal, through the library of models."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ionbridge.screening.commands.command import (
    UNUSABLE,
    USABLE,
    add_calculator,
    add_command,
    check_output,
    say,
)
from ionbridge.structures.plain_text import for_terminal

if TYPE_CHECKING:
    from ionbridge.screening.planning.catalogue import Conditions
    from ionbridge.screening.planning.inputs import Given
    from ionbridge.screening.planning.planner import Chain, Plan

GOALS = (
    "migration_barrier, diffusivity, conductivity, voltage, cell_capacity, cell_energy, "
    "cycle_life, and every other number of the catalogue"
)


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
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
        "--temperature-K",
        type=float,
        metavar="T",
        help="default: 300; of a designs table, what it states",
    )
    command.add_argument(
        "--c-rate",
        type=float,
        metavar="C",
        help="default: 1; of a designs table, what it states",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    command.add_argument(
        "--max-cost-min",
        type=float,
        default=30.0,
        metavar="T",
        help="chains that take longer are chosen only where no other can run inside its domain "
        "(default: 30 min on one core)",
    )
    command.add_argument("--execute", action="store_true", help="run the chosen chain")
    command.add_argument(
        "--allow-labels",
        action="store_true",
        help="with --execute: where labels would help and none are given, compute those that the "
        "plan proposes (nudged elastic band), adapt the nearest models to them and plan again; "
        "labels are kept one by one",
    )
    command.add_argument(
        "--max-labels", type=int, default=8, metavar="N", help="most of them (default: 8)"
    )
    command.add_argument(
        "--label-budget-min",
        type=float,
        default=60.0,
        metavar="T",
        help="most time for all of them, minutes (default: 60)",
    )
    add_calculator(command)
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for plan.json and, with --execute, the steps and results; run again, it goes "
        "on with the steps that are there",
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.execution.folder_lock import locked_folder
    from ionbridge.screening.execution.shards import write_json
    from ionbridge.screening.planning.catalogue import Conditions
    from ionbridge.screening.planning.execution_steps import (
        PLAN_FILE,
        RESULT_FILE,
        TABLE_FILE,
    )
    from ionbridge.screening.planning.inputs import read_givens
    from ionbridge.screening.planning.planner import plan

    for name, value in (
        ("--c-rate", args.c_rate),
        ("--max-cost-min", args.max_cost_min),
        ("--max-labels", args.max_labels),
        ("--label-budget-min", args.label_budget_min),
    ):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name}: expected a positive number, got {value}")
    if args.execute and args.out is None:
        raise InputError("--execute needs --out DIR: the folder for steps and results")
    if args.allow_labels and not args.execute:
        raise InputError("--allow-labels needs --execute: labels are computed, not only proposed")
    asked = {n: v for n in ("temperature_K", "c_rate") if (v := getattr(args, n)) is not None}
    at = Conditions(**asked, seed=args.seed, stated=frozenset(asked))
    givens = read_givens(args.given)
    made = plan(args.goal, givens, at=at, max_cost_s=60.0 * args.max_cost_min)
    if args.out is None:
        return _planned(args, made, givens, at)
    for file in (PLAN_FILE, RESULT_FILE, TABLE_FILE):
        check_output(args.out / file, *args.given)
    with locked_folder(args.out):
        write_json(args.out / PLAN_FILE, made.to_dict())
        return _planned(args, made, givens, at)


def _planned(args: argparse.Namespace, made: Plan, givens: list[Given], at: Conditions) -> int:
    """Show a plan, and run it where that is asked for."""
    from ionbridge.screening.planning.execution_steps import execute
    from ionbridge.screening.planning.planner import plan

    if args.allow_labels and made.wanted:
        labels = _labels(args, made)
        if labels is not None:
            made = plan(args.goal, [*givens, labels], at=at, max_cost_s=60.0 * args.max_cost_min)
    elif args.allow_labels:
        say("no labels are computed: the plan proposes none")
    print(for_terminal(described(made)))
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


def _labels(args: argparse.Namespace, made: Plan) -> Given | None:
    """The labels that a plan wants, computed; None where too few succeed to learn from."""
    from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
    from ionbridge.screening.planning.formulas import FEWEST_LABELS
    from ionbridge.screening.planning.label_runs import HOPS_FILE, LabelBudget, compute_labels

    calculator = CalculatorChoice.parsed(args.calculator, args.calculator_arguments)
    budget = LabelBudget(args.max_labels, args.label_budget_min, calculator)
    tell = _tell_label if sys.stderr.isatty() else None
    found = compute_labels(made.wanted, budget, args.out, tell)
    for row in found.rows:
        if row["status"] != "ok":
            say(f"label {row['id']}: {row['status']}: {row['reason']}")
    n_ok = 0 if found.given is None else len(found.given.tables["hop_labels"])
    say(f"{n_ok} of {len(found.rows)} labels in {args.out / HOPS_FILE}")
    if n_ok < FEWEST_LABELS:
        say(f"fewer than {FEWEST_LABELS}: the plan goes on without them")
        return None
    return found.given


def _tell(k: int, n: int, entry: str) -> None:
    say(f"step {k + 1} of {n}: {entry}")


def _tell_label(k: int, n: int, hop: str) -> None:
    say(f"step {k + 1} of {n}: label {hop}")


def described(made: Plan) -> str:
    """The plan as text: chosen chain, runners-up, why, warnings."""
    from ionbridge.screening.planning.conditions import words
    from ionbridge.screening.planning.planner import duration

    lines = [f"goal: {made.goal} ({made.unit}) {words(made.conditions)}".rstrip()]
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
            f"labels that would help most (--execute --allow-labels computes them, about "
            f"{duration(total)} in all): "
            + ", ".join(f"{label.id} (+-{label.std_eV:.2f} eV)" for label in made.wanted)
        )
    return "\n".join(lines)


def _summary(chain: Chain, unit: str) -> str:
    from ionbridge.screening.planning.planner import duration

    error = "error not validated" if chain.error is None else f"+-{chain.error:.2g} {unit}"
    marks = "" if chain.is_inside else ", OUT OF DOMAIN"
    marks += "" if chain.is_available else ", cannot run here"
    return f"{chain.words} ({error}, {duration(chain.cost_s)}{marks})"
