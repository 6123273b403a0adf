"""``ionbridge init``: a commented campaign file to start from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import USABLE, add_command, say


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    command = add_command(
        commands,
        "init",
        _run,
        "write a campaign file with every key explained, ready to run",
        "ionbridge init my-campaign.yaml && ionbridge screen my-campaign.yaml --out results/mine",
    )
    command.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=Path("campaign.yaml"),
        metavar="FILE.yaml",
        help="default: campaign.yaml; a file that is there is not touched",
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.campaign.campaign_template import campaign_template
    from ionbridge.screening.commands.command import check_output
    from ionbridge.screening.errors import InputError
    from ionbridge.screening.execution.shards import write_atomically

    if args.file.exists():
        raise InputError(f"{args.file}: is there already; name another file")
    check_output(args.file)
    write_atomically(args.file, campaign_template())
    say(f"wrote {args.file}; next: ionbridge screen {args.file} --out results/mine --dry-run")
    return USABLE
