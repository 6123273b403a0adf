"""``ionbridge models``: list, show, check and validate models."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import UNUSABLE, USABLE, add_command, say


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    command = add_command(
        commands,
        "models",
        _models_list,
        "list, show and check models: shipped ones, your own, formulas and simulations",
        "ionbridge models show hop-barrier",
    )
    verbs = command.add_subparsers(metavar="VERB", required=True)
    listing = add_command(
        verbs,
        "list",
        _models_list,
        "name every entry of the catalogue with what it needs, gives and how far it is off; your "
        "own models lie in ~/.ionbridge/models or the folders of IONBRIDGE_LIBRARY",
        "ionbridge models list --gives migration_barrier",
    )
    listing.add_argument("--gives", metavar="QUANTITY", help="only entries that give it")
    listing.add_argument("--json", action="store_true", help="everything, as JSON")
    show = add_command(
        verbs,
        "show",
        _models_show,
        "print a model's card, or what the catalogue knows of a formula or simulation",
        "ionbridge models show hop-barrier",
    )
    check = add_command(
        verbs,
        "check",
        _models_check,
        "check a model's files, and recompute the validation that its card states",
        "ionbridge models check voltage --data data",
    )
    measure = add_command(
        verbs,
        "validate",
        _models_validate,
        "measure a model of others (adapter.yaml) on your labelled rows; only then may a plan use "
        "it (docs/foreign_models.md)",
        "ionbridge models validate my-voltages --rows measured.csv",
    )
    measure.add_argument(
        "--rows",
        type=Path,
        required=True,
        metavar="FILE",
        help="a table with Formula and the column of its quantity, or hops with barrier_eV",
    )
    measure.add_argument(
        "--temperature-K", type=float, default=300.0, metavar="T", help="of the rows (default: 300)"
    )
    for verb in (show, check, measure):
        verb.add_argument("name", metavar="NAME", help="name of a model, or a model folder")
    check.add_argument(
        "--data",
        type=Path,
        metavar="DIR|FILE",
        help="folder of the public data sets (labels and errors of every validation row are "
        "recomputed), or a file of labelled records to score the model on; without it the "
        "starter rows that come with the package",
    )


def _models_list(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.planning.catalogue import quantity
    from ionbridge.screening.planning.entries import default_catalogue
    from ionbridge.structures.plain_text import for_terminal

    catalogue = default_catalogue()
    entries = catalogue.entries
    gives = getattr(args, "gives", None)
    if gives is not None:
        entries = catalogue.providers(quantity(gives).name)
    for name, reason in catalogue.broken:
        say(f"ionbridge: model '{name}' is left out: {reason}")
    if getattr(args, "json", False):
        print(json.dumps([entry.to_dict() for entry in entries], indent=1))
        return USABLE
    if not entries:
        raise InputError(f"no entry gives {gives}")
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        errors = [
            f"+-{error.std:.2g} {quantity(name).unit}" if error.std else "exact"
            for name in entry.outputs
            if (error := entry.error_of(name, ())) is not None
        ]
        stated = f" ({', '.join(errors)})" if errors else ""
        where = "" if entry.origin in ("built in", "shipped") else f" [{entry.origin}]"
        missing = f" [{entry.unavailable}]" if entry.unavailable else ""
        needs, gives_all = " + ".join(entry.inputs), " + ".join(entry.outputs)
        line = (
            f"{entry.name:{width}s} {entry.kind:10s} {needs} -> {gives_all}{stated}{where}{missing}"
        )
        print(for_terminal(line))
    if any(entry.errors for entry in entries):
        say(
            "+-: one standard deviation of the errors on rows that the model had not seen (68 % of "
            "them are smaller); of conductivities and diffusivities in decades"
        )
    if gives is None:
        named = {entry.name for entry in catalogue.entries} | {name for name, _ in catalogue.broken}
        for line in _others(named):
            print(for_terminal(line))
    return USABLE


def _others(named: set[str]) -> list[str]:
    """Models that are no step of a plan: encoders to start from."""
    from ionbridge.models.checkpoint import IncompatibleModelError
    from ionbridge.models.library import folders, read_card

    lines = []
    for name, paths in folders().items():
        if name not in named:
            try:
                lines.append(f"{name:24s} {'base':10s} {read_card(paths[0]).get('predicts', '')}")
            except IncompatibleModelError as error:
                say(f"ionbridge: model '{name}' is left out: {error}")
    return lines


def _models_show(args: argparse.Namespace) -> int:
    import yaml

    from ionbridge.models.library import card, folders

    if args.name in folders() or Path(args.name).is_dir():
        shown = card(args.name)
    else:
        from ionbridge.screening.planning.entries import default_catalogue

        shown = default_catalogue()[args.name].to_dict()
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100), end="")
    return USABLE


def _models_check(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.planning.checking import check

    if args.data is not None and not args.data.exists():
        raise InputError(f"--data {args.data}: no such file or folder")
    report = check(args.name, args.data if args.data is not None and args.data.is_dir() else None)
    for line in report.lines:
        print(line)
    for fault in report.faults:
        say(f"ionbridge: {report.name}: {fault}")
    if args.data is not None and args.data.is_file():
        print(_scored(args.name, args.data))
    return UNUSABLE if report.faults else USABLE


def _models_validate(args: argparse.Namespace) -> int:
    import tempfile

    from ionbridge.screening.planning.foreign import validate

    with tempfile.TemporaryDirectory() as work:
        found = validate(args.name, args.rows, Path(work), args.temperature_K)
    print(
        f"{args.name}: MAE {found['mae']:.3g}, RMSE {found['rmse']:.3g}, mean error "
        f"{found['bias']:+.3g} {found['unit']} on {found['n']} rows; the mean of the labels is off "
        f"by {found['mae_of_the_mean']:.3g}"
    )
    return USABLE


def _scored(name: str, path: Path) -> str:
    """Error of a model on a file of labelled records."""
    from ionbridge.screening.execution.executor import ThisProcess
    from ionbridge.screening.prediction.conduction import Conditions
    from ionbridge.screening.prediction.evaluation import evaluate
    from ionbridge.screening.prediction.files import predict, read_input

    data = read_input([path])
    scores = evaluate(data, predict(data, None, name, Conditions(), ThisProcess()))
    mae = scores["mae"]
    unit = "eV" if scores["quantity"].endswith("_eV") else "decades"
    return (
        f"{data.found}: MAE {mae['value']:.3f} [{mae['lower']:.3f}, {mae['upper']:.3f}] {unit} "
        f"on {scores['n_predicted']} of {scores['n']} labelled records"
    )
