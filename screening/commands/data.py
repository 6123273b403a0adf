"""``ionbridge data``: the public data sets."""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import UNUSABLE, USABLE, add_command, check_output, say

STARTERS = ("starter-hops", "starter-neb-hops", "starter-crystals")
"""Bond-valence barriers, CHGNet bands, and well-known conductors and electrodes."""


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
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
        "fetch a data set from where it is published, going on where it broke off",
        "ionbridge data fetch obelix --data data",
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
    export = add_command(
        verbs,
        "export",
        _data_export,
        "write the small data that come with the package to a file",
        "ionbridge data export starter-hops --out hops.jsonl",
    )
    export.add_argument("name", metavar="NAME", choices=STARTERS, help=", ".join(STARTERS))
    optimade = add_command(
        verbs,
        "optimade",
        _data_optimade,
        "fetch the structures that an OPTIMADE provider has for a filter, as candidates",
        "ionbridge data optimade materials_project "
        '--filter \'elements HAS ALL "Li","S" AND nelements<=4\' --out candidates.jsonl',
    )
    optimade.add_argument(
        "provider", metavar="URL", help="base address of the provider, or materials_project"
    )
    optimade.add_argument(
        "--filter", default="", metavar="F", help="in OPTIMADE's language (default: everything)"
    )
    optimade.add_argument(
        "--max-count", type=int, metavar="N", help="at most N entries (default: all of them)"
    )
    optimade.add_argument(
        "--page-limit", type=int, default=100, metavar="N", help="entries a page (default: 100)"
    )
    optimade.add_argument(
        "--timeout-s", type=float, default=60.0, metavar="S", help="longest silence (default: 60)"
    )
    optimade.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="OPTIMADE entries, a line each (.jsonl)",
    )
    for verb in (fetch, convert):
        verb.add_argument("name", metavar="NAME", help="name of the data set")
    fetch.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder of the data sets (default: data)",
    )
    for verb in (convert, check):
        verb.add_argument(
            "--data", type=Path, required=True, metavar="DIR", help="folder of the data sets"
        )
    for verb in (convert, export):
        verb.add_argument(
            "--out", type=Path, required=True, metavar="FILE", help="records (.jsonl, .jsonl.gz)"
        )


def _data_list(args: argparse.Namespace) -> int:
    from ionbridge.structures.sources.catalogue import SOURCES

    width = max(map(len, SOURCES))
    for source in SOURCES.values():
        print(f"{source.name:{width}s} {source.title} ({source.licence})")
    return USABLE


def _data_fetch(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError
    from ionbridge.structures.sources.download import fetch
    from ionbridge.structures.sources.web import FetchError

    source = _source(args.name)
    say(f"{source.name}: {source.title}; licence: {source.licence}; cite {source.citation}")
    try:
        for line in fetch(source, args.data, _bar):
            print(line)
    except FetchError as error:
        raise InputError(str(error)) from error
    return USABLE


def _data_optimade(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError
    from ionbridge.structures.sources.optimade import OptimadeQuery, fetch_structures
    from ionbridge.structures.sources.web import FetchError

    if args.out.suffix != ".jsonl":
        raise InputError(f"--out: expected a name that ends in .jsonl, got {args.out}")
    if not args.timeout_s > 0:
        raise InputError(f"--timeout-s: expected more than 0, got {args.timeout_s:g}")
    check_output(args.out)
    try:
        query = OptimadeQuery(args.provider, args.filter, args.max_count, args.page_limit)
        n = fetch_structures(
            query, args.out, _bar(args.out.name, "entries"), timeout_s=args.timeout_s
        )
    except FetchError as error:
        raise InputError(str(error)) from error
    if not n:
        say(f"ionbridge: {args.provider}: no entry for the filter {args.filter!r}")
        return UNUSABLE
    say(f"wrote {args.out} ({n} entries; what was asked is in {args.out.name}.query.json)")
    return USABLE


def _bar(name: str, unit: str = "B") -> Callable[[int, int | None], None]:
    """A progress bar for a file, on a terminal."""
    from tqdm import tqdm

    bar = tqdm(desc=name, unit=unit, unit_scale=True, disable=not sys.stderr.isatty())

    def told(done: int, of: int | None) -> None:
        bar.total = of
        bar.update(done - bar.n)
        if done == of:
            bar.close()

    return told


def _data_export(args: argparse.Namespace) -> int:
    from ionbridge.screening.campaign.starter import (
        starter_crystals,
        starter_hops,
        starter_neb_hops,
    )
    from ionbridge.structures.io.reading import write_json_lines
    from ionbridge.structures.plain_text import number_of

    check_output(args.out)
    read: dict[str, Callable[[], Sequence[Any]]] = dict(
        zip(STARTERS, (starter_hops, starter_neb_hops, starter_crystals), strict=True)
    )
    records = read[args.name]()
    write_json_lines(args.out, records)
    say(f"wrote {args.out} ({number_of(len(records), 'record')})")
    return USABLE


def _data_convert(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError
    from ionbridge.structures.io.reading import write_json_lines
    from ionbridge.structures.plain_text import number_of
    from ionbridge.structures.records import Crystal, Hop

    source = _source(args.name)
    check_output(args.out, args.data)
    if source.missing(args.data):
        raise InputError(
            f"{args.data}: {', '.join(source.missing(args.data))} missing; {source.how_to_get}"
        )
    loaded = _loaded(source, args.data)
    if isinstance(loaded, str):
        raise InputError(loaded)
    if not all(isinstance(record, Crystal | Hop) for record in loaded.records):
        raise InputError(
            f"{args.name} holds no crystals or hops; its files are read as they are: "
            f"{', '.join(source.files)}"
        )
    write_json_lines(args.out, loaded.records)
    dropped = ", ".join(f"{n} {reason}" for reason, n in loaded.dropped.items()) or "none"
    say(f"wrote {args.out} ({number_of(len(loaded), 'record')}; left out: {dropped})")
    return USABLE


def _data_check(args: argparse.Namespace) -> int:
    from ionbridge.structures.sources.catalogue import SOURCES

    n_whole = n_broken = 0
    for source in SOURCES.values():
        missing = source.missing(args.data)
        if missing:
            print(f"{source.name:24s} missing: {', '.join(missing)}")
            continue
        loaded = _loaded(source, args.data)
        if isinstance(loaded, str):
            n_broken += 1
            print(f"{source.name:24s} broken: {loaded}")
            continue
        n_whole += 1
        dropped = ", ".join(f"{n} {reason}" for reason, n in loaded.dropped.items())
        for name, digest in source.checksums(args.data).items():
            print(f"{source.name:24s} {digest[:16]} {name}" + (f" ({dropped})" if dropped else ""))
    return USABLE if n_whole and not n_broken else UNUSABLE


def _loaded(source: Any, data_dir: Path) -> Any:
    """The records of a source, or the line that says which of its files is not what it was."""
    from ionbridge.structures.sources.download import changed

    try:
        altered = changed(source, data_dir)
        return altered or source.load(data_dir)
    except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return f"{source.name}: its files in {data_dir} cannot be read ({why})"


def _source(name: str) -> Any:
    """A public data set by name, or the line that names the known ones."""
    from ionbridge.screening.errors import InputError
    from ionbridge.structures.sources.catalogue import find_source

    try:
        return find_source(name)
    except ValueError as error:
        raise InputError(str(error)) from error
