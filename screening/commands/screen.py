"""``ionbridge screen``: run a campaign."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import (
    USABLE,
    add_command,
    add_workers,
    counted,
    say,
    status,
)


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    command = add_command(
        commands,
        "screen",
        _run,
        "run a campaign: candidates to a ranked table, a report and hop paths",
        "ionbridge screen campaign.yaml --out results/garnets --resume",
    )
    command.add_argument(
        "campaign",
        nargs="?",
        type=Path,
        metavar="CAMPAIGN.yaml",
        help="settings of the campaign (default: the one that comes with ionbridge)",
    )
    command.add_argument("--out", type=Path, metavar="DIR", help="folder of the campaign")
    command.add_argument(
        "--resume", action="store_true", help="go on with the campaign that is in DIR"
    )
    command.add_argument(
        "--renew",
        action="store_true",
        help="like --resume, but start afresh where settings, model or versions changed",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="say what would run and what it would cost"
    )
    command.add_argument("--limit", type=int, metavar="N", help="only the first N candidates")
    command.add_argument("--seed", type=int, metavar="N", help="instead of the campaign's seed")
    command.add_argument(
        "--executor",
        default="local",
        metavar="WHERE",
        help="local (default), dask://HOST:PORT, slurm or kubernetes (docs/machines.md)",
    )
    add_workers(command)
    command.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the networks run (default: auto, CUDA where there is one)",
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.campaign.campaign import TABLE_FILE, Campaign, check_folder
    from ionbridge.screening.errors import InputError

    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit: expected 1 or more, got {args.limit}")
    campaign = Campaign.from_yaml(args.campaign, limit=args.limit, seed=args.seed)
    if args.dry_run:
        cost = campaign.estimate(args.executor, args.workers)
        print(f"{campaign.settings.name}: {cost}")
        return USABLE
    if args.out is None:
        raise InputError("--out DIR is missing: the folder of the campaign")
    check_folder(args.out, args.resume or args.renew)
    campaign.run(args.out, args.resume, args.executor, args.workers, args.device, renew=args.renew)
    counts = Counter(campaign.record_["counts"])
    say(f"wrote {args.out / TABLE_FILE} ({counted(counts)}) and report.html beside it")
    n_usable = counts["ok"] + counts["filtered"]
    return status(n_usable, campaign.table_, campaign.candidate_stream())
