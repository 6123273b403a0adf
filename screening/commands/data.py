"""``ionbridge data``: the public data sets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import UNUSABLE, USABLE, add_command, check_output, say


def add(commands: Any) -> None:
    """Add the parser."""
    command = add_command(
        commands,
        "data",
        _data_list,
        "list, fetch, convert and check the public data sets",
        "ionbridge data check --data data",
    )
    verbs = command.add_subparsers(metavar="VERB", required=True)
    add_command(verbs, "list", _data_list, "name the public data sets", "ionbridge data list")
    fetch = add_command(
        verbs,
        "fetch",
        _data_fetch,
        "say where a data set is had and where its files go",
        "ionbridge data fetch obelix",
    )
    convert = add_command(
        verbs,
        "convert",
        _data_convert,
        "convert a data set to records of this program",
        "ionbridge data convert neb_barriers --data data --out hops.jsonl.gz",
    )
    check = add_command(
        verbs,
        "check",
        _data_check,
        "check which data sets are there, whole and readable",
        "ionbridge data check --data data",
    )
    for verb in (fetch, convert):
        verb.add_argument("name", metavar="NAME", help="name of the data set")
    for verb in (convert, check):
        verb.add_argument(
            "--data", type=Path, required=True, metavar="DIR", help="folder of the data sets"
        )
    convert.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="records (.jsonl, .jsonl.gz)"
    )


def _data_list(args: argparse.Namespace) -> int:
    from ionbridge.structures.sources.catalogue import SOURCES

    for source in SOURCES.values():
        print(f"{source.name:24s} {source.title} ({source.licence})")
    return USABLE


def _data_fetch(args: argparse.Namespace) -> int:
    print(_source(args.name).how_to_get)
    return USABLE


def _data_convert(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError
    from ionbridge.structures.io import write_json_lines
    from ionbridge.structures.records import Crystal, Hop

    source = _source(args.name)
    check_output(args.out, args.data)
    if source.missing(args.data):
        raise InputError(
            f"{args.data}: {', '.join(source.missing(args.data))} missing; {source.how_to_get}"
        )
    loaded = source.load(args.data)
    if not all(isinstance(record, Crystal | Hop) for record in loaded.records):
        raise InputError(
            f"{args.name} holds no crystals or hops; its files are read as they are: "
            f"{', '.join(source.files)}"
        )
    write_json_lines(args.out, loaded.records)
    dropped = ", ".join(f"{n} {reason}" for reason, n in loaded.dropped.items()) or "none"
    say(f"wrote {args.out} ({len(loaded)} records; left out: {dropped})")
    return USABLE


def _data_check(args: argparse.Namespace) -> int:
    from ionbridge.structures.sources.catalogue import SOURCES

    n_whole = 0
    for source in SOURCES.values():
        missing = source.missing(args.data)
        if missing:
            print(f"{source.name:24s} missing: {', '.join(missing)}")
            continue
        n_whole += 1
        dropped = ", ".join(f"{n} {reason}" for reason, n in source.load(args.data).dropped.items())
        for name, digest in source.checksums(args.data).items():
            print(f"{source.name:24s} {digest[:16]} {name}" + (f" ({dropped})" if dropped else ""))
    return USABLE if n_whole else UNUSABLE


def _source(name: str) -> Any:
    """A public data set by name, or the line that names the known ones."""
    from ionbridge.screening.errors import InputError
    from ionbridge.structures.sources.catalogue import find_source

    try:
        return find_source(name)
    except ValueError as error:
        raise InputError(str(error)) from error
