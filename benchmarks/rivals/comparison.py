"""Ours against rivals tuned with the same budget, inside the training folds.

    python -m benchmarks.rivals.comparison --work DIR [--data DIR] [--workers N] [--device D]
        [--only M ...]
    python -m benchmarks.rivals.comparison --work DIR --summary

The published hops with their families dealt to five folds; no host framework on both sides. A tuned
model has N_TRIALS trials of Optuna's TPE in every outer fold, the untuned settings being the first;
what is minimised is the MAE in eV over inner folds by host framework (networks: one inner part,
unpromising trials stopped by the median). --data makes WORK/table.npz; everything but the models of
OWN needs only that file, numpy, scikit-learn, torch-geometric and Optuna. Every finished (model,
fold) is a line of WORK/rows.jsonl and every trial of a network stands in WORK/trials.log; neither
is run again. --summary writes the result alone; what WORK lacks of an earlier result on the same
data stays in it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.json_lines import read
from benchmarks.rivals.graph_rivals import EPOCHS, NetworkFit, all_graphs, on_device
from benchmarks.rivals.rival_models import (
    RIVALS,
    SEED,
    SIMPLE,
    Floats,
    Rival,
    Rows,
    Settings,
    Space,
)
from benchmarks.rivals.rival_table import N_FOLDS, PATHS, Table, table_of
from ionbridge.structures.features.splits import Split

RESULT = Path(__file__).parents[1] / "results" / "rivals.json"
N_TRIALS = 30
N_INNER = 3
N_NETWORK_INNER = 4
"""Networks are tuned on one part of so many."""
WARMUP_EPOCHS, STARTUP_TRIALS = 8, 5
COMPARED_WITH = "trees-tuned"
TUNED = "-tuned"

Objective = Callable[[optuna.Trial, Settings], float]


NETWORK: Space = {
    "width": CategoricalDistribution((32, 64, 96)),
    "dropout": FloatDistribution(0.0, 0.5),
    "learning_rate": FloatDistribution(3e-4, 2e-2, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-1, log=True),
    "batch_size": CategoricalDistribution((16, 32, 64)),
    "path": CategoricalDistribution(PATHS),
}
NETWORK_UNTUNED: Settings = {
    "width": 64,
    "dropout": 0.0,
    "learning_rate": 3e-3,
    "weight_decay": 1e-4,
    "batch_size": 32,
    "path": "given",
}
NETWORK_SPACES: dict[str, tuple[Settings, Space]] = {
    "alignn": (
        {**NETWORK_UNTUNED, "n_line_layers": 2, "n_layers": 2},
        {
            **NETWORK,
            "n_line_layers": IntDistribution(1, 3),
            "n_layers": IntDistribution(1, 3),
        },
    ),
    "cgcnn": ({**NETWORK_UNTUNED, "n_layers": 3}, {**NETWORK, "n_layers": IntDistribution(1, 5)}),
}
"""Untuned settings and choices by network; the slowest first."""


SHIPPED = {
    "hop-barrier": "learned",
    "hop-barrier, rigid profile": "fed",
    "hop-barrier, short relaxation": "short",
}
"""The model as it ships, by what hops bring: strategies of benchmarks.transfer.few_shot."""
OWN = ("own-network-scratch", "own-network-pretrained", *SHIPPED)
"""Our network alone from scratch, and pretrained and averaged with a process (one member each,
settings as shipped); and what ships."""
MODELS = (
    *(f"{name}{TUNED}" for name in NETWORK_SPACES),
    *NETWORK_SPACES,
    *OWN,
    *SIMPLE,
    *RIVALS,
    *(f"{name}{TUNED}" for name in RIVALS),
)


@dataclass(frozen=True)
class Run:
    """How this call works.

    Attributes:
        work: Folder of table, finished rows and trials.
        data: Folder that holds neb_barriers/; only OWN needs it.
        device: Of the graph networks.
        until: Of time.monotonic(); later no trial and no fit is started.
        n_trials: Of a tuning.
        epochs: Of the graph networks; None for their own number.
    """

    work: Path
    data: Path | None
    device: str
    until: float
    n_trials: int
    epochs: int | None


def tuned(
    space: Space,
    untuned: Settings,
    objective: Objective,
    run: Run,
    seed: int,
    storage: Any = None,
    name: str | None = None,
) -> optuna.Study | None:
    """A finished study, whose first trial is the untuned settings; None once the time is over.

    Args:
        space: What may be chosen.
        untuned: Where to start.
        objective: MAE in eV of some settings; may raise TrialPruned.
        run: Number of trials and end.
        seed: Of the sampler.
        storage: Of Optuna, in which a study that was cut off goes on; None keeps it in memory.
        name: Of the study in the storage.
    """
    pruner = optuna.pruners.MedianPruner(STARTUP_TRIALS, WARMUP_EPOCHS)
    study = optuna.create_study(
        storage=storage, study_name=name, load_if_exists=True, pruner=pruner
    )
    over = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    done = len(study.get_trials(deepcopy=False, states=over))
    study.sampler = optuna.samplers.TPESampler(seed=seed + done)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(untuned))
    for _ in range(run.n_trials - done):
        if time.monotonic() > run.until:
            return None
        trial = study.ask(dict(space))
        try:
            study.tell(trial, objective(trial, trial.params))
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return study


def tune_rival(rival: Rival, table: Table, split: Split, run: Run, fold: int) -> Any:
    inner = table.inner_folds(split.train, N_INNER)

    def objective(trial: optuna.Trial, settings: Settings) -> float:
        errors = [
            np.abs(rival.predict(table, s.train, s.test, settings) - table.barrier_eV[s.test])
            for s in inner
        ]
        return float(np.concatenate(errors).mean())

    return tuned(rival.space, rival.untuned, objective, run, SEED + 1000 * fold)


def network_fit(name: str, settings: Settings, table: Table, rows: Rows, run: Run) -> Any:
    """A graph network before its fit."""
    epochs = run.epochs or EPOCHS
    graphs = graphs_on(run.work, run.device)
    return NetworkFit(name, settings, graphs, table.barrier_eV, rows, SEED, run.device, epochs)


@lru_cache(maxsize=1)
def graphs_on(work: Path, device: str) -> Any:
    """The inherited graphs, copied to the device once a process."""
    return on_device(_GRAPHS[work], device)


def tune_network(name: str, table: Table, split: Split, run: Run, fold: int) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    untuned, space = NETWORK_SPACES[name]
    inner = table.inner_folds(split.train, N_NETWORK_INNER)[0]

    def objective(trial: optuna.Trial, settings: Settings) -> float:
        error = np.nan

        def after(epoch: int, fit: Any) -> None:
            nonlocal error
            if epoch % 4 == 3 or epoch == fit.epochs - 1:
                error = float(np.abs(fit.predict(inner.test) - table.barrier_eV[inner.test]).mean())
                trial.report(error, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

        network_fit(name, settings, table, inner.train, run).run(after)
        return error

    storage = JournalStorage(JournalFileBackend(str(run.work / "trials.log")))
    seed = SEED + 1000 * fold
    return tuned(space, untuned, objective, run, seed, storage, f"{name} {fold}")


def own_network(name: str, table: Table, split: Split, run: Run) -> Floats:
    """Our network, with the effort that its number of labels is given."""
    from dataclasses import replace

    from ionbridge.models.adaptation.barriers import Base, ensemble_config
    from ionbridge.models.hop_networks.ensemble import HopEnsemble
    from ionbridge.models.hop_networks.finetuning import FromScratch, FrozenHost

    assert run.data is not None
    hops = published(run.data)
    base = Base.of("hop-encoder")
    scratch = name == "own-network-scratch"
    strategy = FromScratch() if scratch else FrozenHost()
    config = ensemble_config(base, strategy, len(split.train), SEED, 1, "cpu")
    if scratch:
        config = replace(config, process_weight=0.0)
    model = HopEnsemble(config, () if scratch else base.weights)
    model.fit([hops[i] for i in split.train], table.barrier_eV[split.train])
    return model.predict([hops[i] for i in split.test]).mean


def shipped(name: str, split: Split, run: Run) -> Floats:
    """The model that ships, with computed labels; hyperparameters are found on the fold."""
    from benchmarks.transfer.few_shot_strategies import STRATEGIES
    from benchmarks.transfer.few_shot_tasks import Task

    assert run.data is not None
    none = split.test[:0]
    task = Task("", 0, SEED, split.train, none, split.test)
    return STRATEGIES[SHIPPED[name]](few_shot_table(run.data), task).mean


@lru_cache(maxsize=1)
def few_shot_table(data: Path) -> Any:
    from benchmarks.transfer.few_shot_tasks import Table

    return Table.load(data)


@lru_cache(maxsize=1)
def published(data: Path) -> tuple[Any, ...]:
    from ionbridge.structures.sources import neb_barriers

    return neb_barriers.load(data).records


def finished(name: str, fold: int, table: Table, run: Run) -> dict[str, Any] | None:
    """Out-of-fold predictions of one model in one fold; None once the time is over."""
    if time.monotonic() > run.until:
        return None
    started = time.perf_counter()
    split = table.folds()[fold]
    base = name.removesuffix(TUNED)
    row: dict[str, Any] = {"model": name, "fold": fold, "device": "cpu"}
    study, settings, seconds = None, None, 0.0
    if name.endswith(TUNED):
        if base in RIVALS:
            study = tune_rival(RIVALS[base], table, split, run, fold)
        else:
            study = tune_network(base, table, split, run, fold)
        if study is None:
            return None
        settings = study.best_params
        trials = study.get_trials(deepcopy=False)
        states = [trial.state.name for trial in trials]
        # some may have run in an earlier call
        seconds = sum(t.duration.total_seconds() for t in trials if t.duration is not None)
        started = time.perf_counter()
        row |= {
            "chosen": settings,
            "inner_mae_eV": round(study.best_value, 4),
            "inner_mae_untuned_eV": round(trials[0].value, 4) if trials[0].value else None,
            "trials": {state: states.count(state) for state in sorted(set(states))},
        }
    if base in RIVALS:
        settings = settings or RIVALS[base].untuned
        mean = RIVALS[base].predict(table, split.train, split.test, settings)
    elif base in NETWORK_SPACES:
        settings = settings or NETWORK_SPACES[base][0]
        row |= {"device": run.device, "epochs": run.epochs or EPOCHS}
        mean = network_fit(base, settings, table, split.train, run).run().predict(split.test)
    elif base in SHIPPED:
        mean = shipped(name, split, run)
    elif base in OWN:
        mean = own_network(name, table, split, run)
    else:
        mean = SIMPLE[name](table, split.train, split.test)
    row["ids"] = [table.rows[i].id for i in split.test]
    row["mean_eV"] = np.round(mean, 4).tolist()
    row["seconds"] = round(seconds + time.perf_counter() - started, 1)
    return row


_TABLES: dict[Path, Table] = {}
_GRAPHS: dict[Path, Any] = {}


def task(name: str, fold: int, run: Run) -> dict[str, Any] | None:
    return finished(name, fold, _TABLES[run.work], run)


def work_off(names: Sequence[str], folds: Sequence[int], run: Run, workers: int) -> int:
    """Do every (model, fold) that is not there yet, the slowest models first.

    Returns:
        How many broke; the reasons are on stderr, and the others are done all the same.
    """
    table = _TABLES[run.work] = Table.load(run.work / "table.npz")
    file = run.work / "rows.jsonl"
    done = {(row["model"], row["fold"]) for row in read(file)}
    tasks = [
        (name, fold)
        for name in MODELS
        if name in names
        for fold in folds
        if (name, fold) not in done
    ]
    if any(name.removesuffix(TUNED) in NETWORK_SPACES for name, _ in tasks):
        _GRAPHS[run.work] = all_graphs(table)
    n_broken = 0
    context = get_context("fork")  # workers inherit table and graphs
    with (
        ProcessPoolExecutor(workers, mp_context=context) as pool,
        file.open("a", encoding="utf-8") as stream,
    ):
        jobs = {pool.submit(task, name, fold, run): (name, fold) for name, fold in tasks}
        for job in as_completed(jobs):
            try:
                row = job.result()
            except Exception as error:
                n_broken += 1
                print(*jobs[job], f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                continue
            if row is not None:
                stream.write(json.dumps(row) + "\n")
                stream.flush()
                print(row["model"], row["fold"], row["seconds"], "s", flush=True)
    return n_broken


def summary(work: Path) -> dict[str, Any]:
    """Scores of the models whose folds are all there, and what tuning chose."""
    from benchmarks.shipped_hop_barrier import scores

    table = Table.load(work / "table.npz")
    place = {row.id: i for i, row in enumerate(table.rows)}
    folds = table.folds()
    found: dict[str, list[dict[str, Any]]] = {}
    for row in read(work / "rows.jsonl"):
        found.setdefault(row["model"], []).append(row)
    whole = {}
    for name in MODELS:
        rows = sorted(found.get(name, []), key=lambda row: row["fold"])
        if [row["fold"] for row in rows] == list(range(len(folds))):
            mean = np.full(len(place), np.nan)
            for row in rows:
                mean[[place[i] for i in row["ids"]]] = row["mean_eV"]
            whole[name] = mean, rows
    reference = whole[COMPARED_WITH][0] if COMPARED_WITH in whole else None
    models = {}
    for name, (mean, rows) in whole.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a constant has no correlation within families
            entry = scores(table.rows, table.barrier_eV, mean, reference)  # type: ignore[arg-type]
        entry = {k: None if v != v else v for k, v in entry.items()}
        if "mae_minus_trees_eV" in entry:
            entry[f"mae_minus_{COMPARED_WITH}_eV"] = entry.pop("mae_minus_trees_eV")
        entry["seconds"] = round(sum(row["seconds"] for row in rows), 1)
        entry["device"] = rows[0]["device"]
        if name.removesuffix(TUNED) in NETWORK_SPACES:
            entry["epochs"] = rows[0].get("epochs", EPOCHS)
        if "chosen" in rows[0]:
            keys = ("chosen", "inner_mae_eV", "inner_mae_untuned_eV", "trials")
            entry["folds"] = [{key: row[key] for key in keys} for row in rows]
        models[name] = entry
    return {
        "data_sha256": table.data_sha256,
        "n": len(table.rows),
        "seed": SEED,
        "trials": N_TRIALS,
        "inner_folds": {"networks": f"1 of {N_NETWORK_INNER}", "others": N_INNER},
        "folds": [
            {
                "families": sorted({table.rows[i].family for i in split.test}),
                "n_train": len(split.train),
                "n_test": len(split.test),
                "n_dropped": len(split.dropped),
            }
            for split in folds
        ],
        "models": models,
        "unfinished": [name for name in MODELS if name not in whole],
    }


def beside_earlier(out: dict[str, Any]) -> dict[str, Any]:
    """A result with those models of the earlier one that it lacks, if that is of the same data."""
    earlier = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    if earlier.get("data_sha256") != out["data_sha256"]:
        return out
    known = {**earlier["models"], **out["models"]}
    models = {name: known[name] for name in MODELS if name in known}
    return {**out, "models": models, "unfinished": [n for n in MODELS if n not in models]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of table and rows")
    parser.add_argument("--data", type=Path, help="folder that holds neb_barriers/")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="of the networks")
    parser.add_argument("--only", nargs="*", choices=MODELS, metavar="MODEL", help="these models")
    parser.add_argument("--fold", nargs="*", type=int, help="these outer folds")
    parser.add_argument("--minutes", type=float, default=np.inf, help="start nothing after")
    parser.add_argument("--trials", type=int, default=N_TRIALS, help="fewer for a look")
    parser.add_argument("--epochs", type=int, help="fewer for a look")
    parser.add_argument("--summary", action="store_true", help="only write the result")
    args = parser.parse_args()
    until = time.monotonic() + 60 * args.minutes
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    args.work.mkdir(parents=True, exist_ok=True)
    names = [n for n in args.only or MODELS if args.data is not None or n not in OWN]
    if not (args.work / "table.npz").exists():
        if args.data is None:
            parser.error(f"{args.work / 'table.npz'} is not there; give --data DIR to make it")
        table_of(args.data).save(args.work / "table.npz")
    if not args.summary:
        run = Run(args.work, args.data, args.device, until, args.trials, args.epochs)
        folds = range(N_FOLDS) if args.fold is None else args.fold
        sys.exit(1 if work_off(names, folds, run, args.workers) else 0)
    out = beside_earlier(summary(args.work))
    RESULT.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    for name, entry in out["models"].items():
        shown = {k: v for k, v in entry.items() if k != "folds"}
        print(f"{name:24s} {shown}")
    print("unfinished:", ", ".join(out["unfinished"]) or "none", file=sys.stderr)


if __name__ == "__main__":
    main()
