"""``ionbridge pretrain``: an encoder from signals that need no labels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import USABLE, add_command, check_output, say


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    command = add_command(
        commands,
        "pretrain",
        _run,
        "pretrain the hop encoder on signals that need no labels",
        "ionbridge pretrain models/configs/hop_encoder.yaml --data data --out models/my-encoder",
    )
    command.add_argument("config", type=Path, metavar="CONFIG.yaml", help="settings of the run")
    command.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with the public data sets"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="MODEL_DIR", help="folder of the model"
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge.models.hop_networks.pretraining import PretrainingConfig, pretrain

    config = PretrainingConfig.from_yaml(args.config)
    check_output(args.out / "card.yaml")
    pretrain(config, args.data, args.out, progress=sys.stderr.isatty())
    say(f"wrote {args.out}")
    return USABLE
