"""``ionbridge models``: list, show and check models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from screening.commands.command import USABLE, add_command


def add(commands: Any) -> None:
    """Add the parser."""
    command = add_command(
        commands,
        "models",
        _models_list,
        "list, show and check models",
        "ionbridge models show hop-barrier",
    )
    verbs = command.add_subparsers(metavar="VERB", required=True)
    add_command(verbs, "list", _models_list, "name the shipped models", "ionbridge models list")
    show = add_command(
        verbs, "show", _models_show, "print a model's card", "ionbridge models show hop-barrier"
    )
    check = add_command(
        verbs,
        "check",
        _models_check,
        "check that a model's files are whole and unaltered",
        "ionbridge models check hop-barrier --data hops.jsonl.gz",
    )
    for verb in (show, check):
        verb.add_argument("name", metavar="NAME", help="shipped model or model folder")
    check.add_argument("--data", type=Path, metavar="DIR", help="labelled records to compare with")


def _models_list(args: argparse.Namespace) -> int:
    from models.library import card, names

    for name in names():
        print(f"{name:24s} {card(name).get('predicts', '')}")
    return USABLE


def _models_show(args: argparse.Namespace) -> int:
    import yaml

    from models.library import card

    print(yaml.safe_dump(card(args.name), sort_keys=False, allow_unicode=True, width=100), end="")
    return USABLE


def _models_check(args: argparse.Namespace) -> int:
    from models.library import find, load

    load(args.name)
    print(f"{find(args.name)}: files whole, checksums as in the card, weights loaded")
    if args.data is not None:
        from screening.conduction import Conditions
        from screening.evaluation import evaluate
        from screening.execution import ThisProcess
        from screening.predictions import predict, read_input

        data = read_input([args.data])
        scores = evaluate(data, predict(data, None, args.name, Conditions(), ThisProcess()))
        mae = scores["mae"]
        unit = "eV" if scores["quantity"].endswith("_eV") else "decades"
        print(
            f"{data.found}: MAE {mae['value']:.3f} [{mae['lower']:.3f}, {mae['upper']:.3f}] {unit} "
            f"on {scores['n_predicted']} of {scores['n']} labelled records"
        )
    return USABLE
