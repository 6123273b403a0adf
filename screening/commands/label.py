"""``ionbridge label``: labels by simulation, one method each."""

from __future__ import annotations

import argparse
from typing import Any

from ionbridge.screening.commands import label_bvse, label_kmc, label_md, label_neb

METHODS = (label_bvse, label_kmc, label_md, label_neb)


def add(commands: Any) -> None:
    """Add the parser with those of the methods."""
    command = commands.add_parser(
        "label",
        help="make labels by simulation",
        description="Make labels by simulation: barriers of hops (bvse, neb), diffusivities of\n"
        "crystals (kmc, md).",
        epilog="example:\n  ionbridge label bvse crystals.jsonl --out hops.jsonl",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    methods = command.add_subparsers(metavar="METHOD", required=True)
    for method in METHODS:
        method.add(methods)
