"""The ``ionbridge`` command: parse, build a configuration, call one function, write the answer.

Exit status: 0 written, with at least one usable row; 2 something given cannot be used (one line on
stderr says what); 1 an internal error, which is a bug.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

USABLE, INTERNAL_ERROR, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = parser().parse_args(argv)
    from models.checkpoint import IncompatibleModelError
    from screening.errors import InputError
    from structures.configuration import ConfigurationError

    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except (InputError, ConfigurationError, IncompatibleModelError) as error:
        print(f"ionbridge: {' '.join(str(error).split())}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("ionbridge: interrupted; screen --resume goes on from here", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = _Parser(
        prog="ionbridge",
        description="Screens battery materials by how fast their ions move: crystals in, hops, "
        "barriers with uncertainty, diffusivity and conductivity out, best candidates first.",
        epilog="Start with:  ionbridge screen --out results   (the campaign that comes with it)",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _add_screen(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_pretrain(commands)
    _add_finetune(commands)
    _add_label(commands)
    _add_models(commands)
    _add_data(commands)
    return top


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str, example: str
) -> argparse.ArgumentParser:
    """A subcommand with its example."""
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(command=run)
    return added


def _add_workers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="local processes (default: one a core; 0: none beside this one)",
    )


def _add_screen(commands: Any) -> None:
    command = _command(
        commands,
        "screen",
        _screen,
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
        "--executor", default="local", metavar="WHERE", help="local (default) or dask://HOST:PORT"
    )
    _add_workers(command)
    command.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the networks run (default: auto, CUDA where there is one)",
    )


def _add_predict(commands: Any) -> None:
    command = _command(
        commands,
        "predict",
        _predict,
        "predict hops, crystals or a conductivity table: one row out for each in",
        "ionbridge predict LiFePO4.cif --out predictions.csv",
    )
    _add_input(command, many=True)
    command.add_argument(
        "--temperature-K",
        type=float,
        default=300.0,
        metavar="T",
        help="of diffusivity and conductivity (default: 300)",
    )
    command.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="the table")
    _add_workers(command)


def _add_evaluate(commands: Any) -> None:
    command = _command(
        commands,
        "evaluate",
        _evaluate,
        "compare predictions with the labels of an input, and with simple models",
        "ionbridge evaluate hops.jsonl.gz --out scores.json",
    )
    _add_input(command, many=False)
    command.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the scores")
    _add_workers(command)


def _add_input(command: argparse.ArgumentParser, many: bool) -> None:
    command.add_argument(
        "input",
        nargs="+" if many else 1,
        type=Path,
        metavar="INPUT",
        help="hop file, crystal file, conductivity table, CIF, POSCAR, extxyz, or folder of them",
    )
    command.add_argument(
        "--quantity",
        choices=("migration_barrier", "diffusivity", "conductivity"),
        help="default: what fits the input",
    )
    command.add_argument(
        "--model", metavar="NAME|DIR", help="shipped model or model folder (default: the best)"
    )
    command.add_argument(
        "--cifs", type=Path, metavar="DIR", help="folder with <ID>.cif for the rows of a table"
    )


def _add_pretrain(commands: Any) -> None:
    command = _command(
        commands,
        "pretrain",
        _pretrain,
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


def _add_finetune(commands: Any) -> None:
    command = _command(
        commands,
        "finetune",
        _finetune,
        "adapt a model to labelled hops; the way to do so is measured unless it is given",
        "ionbridge finetune --labels my-hops.jsonl --out models/mine",
    )
    command.add_argument(
        "--labels", type=Path, required=True, metavar="FILE", help="hops with barrier_eV"
    )
    command.add_argument(
        "--base", metavar="NAME|DIR", help="model to start from (default: the best shipped one)"
    )
    command.add_argument(
        "--quantity", choices=("migration_barrier",), help="default: what fits the labels"
    )
    command.add_argument(
        "--strategy",
        default="auto",
        metavar="NAME",
        help="auto (default: measured), full, gradual, heads, lora, scratch, ...",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    command.add_argument(
        "--out", type=Path, required=True, metavar="MODEL_DIR", help="folder of the model"
    )


def _add_label(commands: Any) -> None:
    command = _command(
        commands,
        "label",
        _label,
        "make labels by simulation; bvse: bond-valence barriers of hops or of a crystal's hops",
        "ionbridge label bvse crystals.jsonl --out hops.jsonl",
    )
    command.add_argument("method", choices=("bvse",), help="how the barriers are found")
    command.add_argument("input", nargs="+", type=Path, metavar="INPUT", help="hops or crystals")
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="hop records (.jsonl, .jsonl.gz)"
    )


def _add_models(commands: Any) -> None:
    command = _command(
        commands,
        "models",
        _models_list,
        "list, show and check models",
        "ionbridge models show hop-barrier",
    )
    verbs = command.add_subparsers(metavar="VERB", required=True)
    _command(verbs, "list", _models_list, "name the shipped models", "ionbridge models list")
    show = _command(
        verbs, "show", _models_show, "print a model's card", "ionbridge models show hop-barrier"
    )
    check = _command(
        verbs,
        "check",
        _models_check,
        "check that a model's files are whole and unaltered",
        "ionbridge models check hop-barrier --data hops.jsonl.gz",
    )
    for verb in (show, check):
        verb.add_argument("name", metavar="NAME", help="shipped model or model folder")
    check.add_argument("--data", type=Path, metavar="DIR", help="labelled records to compare with")


def _add_data(commands: Any) -> None:
    command = _command(
        commands,
        "data",
        _data_list,
        "list, fetch, convert and check the public data sets",
        "ionbridge data check --data data",
    )
    verbs = command.add_subparsers(metavar="VERB", required=True)
    _command(verbs, "list", _data_list, "name the public data sets", "ionbridge data list")
    fetch = _command(
        verbs,
        "fetch",
        _data_fetch,
        "say where a data set is had and where its files go",
        "ionbridge data fetch obelix",
    )
    convert = _command(
        verbs,
        "convert",
        _data_convert,
        "convert a data set to records of this program",
        "ionbridge data convert neb_barriers --data data --out hops.jsonl.gz",
    )
    check = _command(
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


def _screen(args: argparse.Namespace) -> int:
    from screening.campaign import TABLE_FILE, Campaign, check_folder
    from screening.errors import InputError

    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit: expected 1 or more, got {args.limit}")
    campaign = Campaign.from_yaml(args.campaign, limit=args.limit, seed=args.seed)
    if args.dry_run:
        cost = campaign.estimate(args.executor, args.workers)
        print(
            f"{campaign.settings.name}: {cost.n_candidates} candidates, "
            f"about {cost.seconds_each:.2f} s each ({cost.n_timed} timed), {cost.n_workers} "
            f"workers: about {cost.seconds / 60:.1f} min"
        )
        return USABLE
    if args.out is None:
        raise InputError("--out DIR is missing: the folder of the campaign")
    check_folder(args.out, args.resume or args.renew)
    campaign.run(args.out, args.resume, args.executor, args.workers, args.device, renew=args.renew)
    counts = Counter(row["status"] for row in campaign.rows_)
    _say(f"wrote {args.out / TABLE_FILE} ({_counted(counts)}) and report.html beside it")
    return _status(counts["ok"] + counts["filtered"], campaign.rows_)


def _predict(args: argparse.Namespace) -> int:
    from screening.conduction import Conditions
    from screening.errors import InputError
    from screening.execution import executor_from
    from screening.predictions import predict, read_input
    from screening.shards import write_atomically
    from screening.table import to_csv

    if not 0 < args.temperature_K < float("inf"):
        raise InputError(f"--temperature-K: expected a positive number, got {args.temperature_K}")
    _check_output(args.out)
    data = read_input(args.input, args.cifs)
    _say(data.found)
    predictions = predict(
        data,
        args.quantity,
        args.model,
        Conditions(temperature_K=args.temperature_K),
        executor_from("local", args.workers),
        progress=sys.stderr.isatty(),
    )
    write_atomically(args.out, to_csv(predictions.rows, predictions.columns))
    counts = Counter(row["status"] for row in predictions.rows)
    _say(f"wrote {args.out} ({_counted(counts)})")
    return _status(predictions.n_ok, predictions.rows)


def _evaluate(args: argparse.Namespace) -> int:
    from screening.conduction import Conditions
    from screening.evaluation import evaluate
    from screening.execution import executor_from
    from screening.predictions import predict, read_input
    from screening.shards import write_json

    _check_output(args.out)
    data = read_input(args.input, args.cifs)
    _say(data.found)
    predictions = predict(
        data,
        args.quantity,
        args.model,
        Conditions(),
        executor_from("local", args.workers),
        progress=sys.stderr.isatty(),
    )
    result = evaluate(data, predictions)
    write_json(args.out, result)
    _say(f"wrote {args.out} ({result['n_predicted']} of {result['n']} labelled rows predicted)")
    return _status(result["n_predicted"], predictions.rows)


def _pretrain(args: argparse.Namespace) -> int:
    from models.pretraining import PretrainingConfig, pretrain

    config = PretrainingConfig.from_yaml(args.config)
    _check_output(args.out / "card.yaml")
    pretrain(config, args.data, args.out, progress=sys.stderr.isatty())
    _say(f"wrote {args.out}")
    return USABLE


def _finetune(args: argparse.Namespace) -> int:
    import numpy as np

    from models.adaptation import Base, adapt
    from models.library import DEFAULTS
    from screening.errors import InputError
    from screening.predictions import read_input
    from structures.records import Hop

    _check_output(args.out / "card.yaml")
    data = read_input([args.labels])
    _say(data.found)
    hops = [r for r in data.records if isinstance(r, Hop) and r.barrier_eV is not None]
    if not hops:
        raise InputError(f"{args.labels}: no hop with a barrier_eV to learn from")
    try:
        base = Base.of(args.base or DEFAULTS["migration_barrier"])
        model = adapt(
            hops,
            np.array([hop.barrier_eV for hop in hops]),
            base,
            args.strategy,
            seed=args.seed,
            progress=sys.stderr.isatty(),
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    model.save(args.out)
    _say(f"wrote {args.out} ({len(hops)} of {len(data.records)} records had a barrier)")
    return USABLE


def _label(args: argparse.Namespace) -> int:
    from screening.errors import InputError
    from screening.labelling.bvse import bvse_labels
    from screening.predictions import read_input
    from structures.io import write_json_lines
    from structures.records import Crystal, FailedRecord, Hop

    _check_output(args.out)
    data = read_input(args.input)
    if data.kind == "conductivity_table":
        raise InputError("label bvse needs hops or crystals, not a conductivity table")
    _say(data.found)
    records = [r for r in data.records if isinstance(r, Crystal | Hop | FailedRecord)]
    labels = list(bvse_labels(records))
    write_json_lines(args.out, labels)
    counts = Counter(label["status"] for label in labels)
    _say(f"wrote {args.out} ({_counted(counts)})")
    return _status(counts["ok"], labels)


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


def _data_list(args: argparse.Namespace) -> int:
    from structures.sources.catalogue import SOURCES

    for source in SOURCES.values():
        print(f"{source.name:24s} {source.title} ({source.licence})")
    return USABLE


def _data_fetch(args: argparse.Namespace) -> int:
    print(_source(args.name).how_to_get)
    return USABLE


def _data_convert(args: argparse.Namespace) -> int:
    from screening.errors import InputError
    from structures.io import write_json_lines
    from structures.records import Crystal, Hop

    source = _source(args.name)
    _check_output(args.out)
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
    _say(f"wrote {args.out} ({len(loaded)} records; left out: {dropped})")
    return USABLE


def _data_check(args: argparse.Namespace) -> int:
    from structures.sources.catalogue import SOURCES

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
    from screening.errors import InputError
    from structures.sources.catalogue import find_source

    try:
        return find_source(name)
    except ValueError as error:
        raise InputError(str(error)) from error


def _check_output(path: Path) -> None:
    """Refuse an output file that cannot be written, before any work is done."""
    from screening.errors import InputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        probe = path.with_name(f".{path.name}.partial")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path}: output cannot be written ({error.strerror})") from error


def _status(n_usable: int, rows: Sequence[Any]) -> int:
    """Exit status of a table; where not one row is usable, one line says why."""
    if n_usable:
        return USABLE
    reasons = Counter(row.get("reason") or "" for row in rows).most_common(1)
    why = f": {reasons[0][0]}" if reasons else ""
    _say(f"ionbridge: not one usable row of {len(rows)}{why}")
    return UNUSABLE


def _counted(counts: Counter[str]) -> str:
    """For example ``12 ok, 1 failed``."""
    return ", ".join(f"{counts[s]} {s}" for s in ("ok", "filtered", "failed") if counts[s])


def _say(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
